"""The offsets of the group: asks its coordinator without blocking, for the latest ones and for the settled ones.

Knows consumers that never join the group, and threads that wait for them: the one call of confluent_kafka that is safe
blocks until it has its answer (ADR 11). Knows nothing of what the answers are for.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.names import Place
from processors.runtime.group.waiting import ANSWER_SECONDS, PATIENCE_SECONDS, Waiting, unanswered

Asker = Callable[[list[TopicPartition], float], "Future[list[TopicPartition]]"]
"""Asks what is committed for partitions. The seconds are its time-out."""

PENDING_SECONDS: Final = 0.5
"""When one question has its answer and the other has none after this time, offsets are pending."""


def committed_in_background(
    consumer: Consumer, partitions: list[TopicPartition], seconds: float
) -> "Future[list[TopicPartition]]":
    """Ask in a thread of its own. The thread and its hold on the consumer end when the answer has come."""
    future: Future[list[TopicPartition]] = Future()

    def ask() -> None:
        try:
            future.set_result(consumer.committed(partitions, timeout=seconds))
        except KafkaException as exception:
            # If the consumer could not even find the coordinator, only a poll tells it.
            message = consumer.poll(0)
            error = None if message is None else message.error()
            future.set_exception(exception if error is None else KafkaException(error))
        except BaseException as error:  # noqa: BLE001  the future passes it on
            future.set_exception(error)

    threading.Thread(target=ask, name="group-offsets", daemon=True).start()
    return future


@dataclass(frozen=True, slots=True)
class Committed:
    """The offset that the group has committed for a partition. `owner`: the transactional id of who committed it."""

    offset: int | None
    owner: str


@dataclass(frozen=True, slots=True)
class Look:
    """An answer: what was committed last, and whether no transaction is open that commits something else."""

    committed: Mapping[Place, Committed]
    is_settled: bool


class GroupOffsets:
    """Asks for the offsets of one load. Each load has its own, because idle connections may be dead unnoticed."""

    def __init__(self, as_it_is: Asker, once_settled: Asker, clock: Clock = CLOCK) -> None:
        self._as_it_is, self._once_settled, self._clock = as_it_is, once_settled, clock
        self._question: Future[list[TopicPartition]] | None = None
        self._places: list[Place] = []
        self._asked_at = 0.0

    def look(self, places: Collection[Place]) -> Waiting[Look]:
        """Return what is committed, and whether that is settled. Raises KafkaException.

        It is settled if the second answer comes within PENDING_SECONDS of the first. If Kafka is slow with the second
        alone, it looks as if something were pending.
        """
        if not places:
            return Look({}, is_settled=True)
        settled = self._settled(list(places))
        asked_at = self._clock.monotonic()
        latest = self._as_it_is(self._named(places), ANSWER_SECONDS)
        answered_at = None
        while not settled.done():
            now = self._clock.monotonic()
            if latest.done() and answered_at is None:
                answered_at = now
            if answered_at is not None and now - answered_at > PENDING_SECONDS:
                return Look(self._told(latest), is_settled=False)
            if now - asked_at > PATIENCE_SECONDS:
                raise unanswered()
            yield
        self._question = None
        try:
            return Look(self._told(settled), is_settled=True)
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError._TIMED_OUT or not latest.done():
                raise
        return Look(self._told(latest), is_settled=False)

    def _settled(self, places: list[Place]) -> "Future[list[TopicPartition]]":
        """Return the question that still waits for its answer, or a new one."""
        now = self._clock.monotonic()
        question = self._question
        if question is None or self._places != places or now - self._asked_at > PATIENCE_SECONDS:
            question = self._once_settled(self._named(places), ANSWER_SECONDS)
            self._question, self._places, self._asked_at = question, places, now
        return question

    @staticmethod
    def _named(places: Collection[Place]) -> list[TopicPartition]:
        return [TopicPartition(*place) for place in places]

    @staticmethod
    def _told(answer: "Future[Any]") -> Mapping[Place, Committed]:
        found = {}
        for partition in answer.result():
            if partition.error:
                raise KafkaException(partition.error)
            offset = partition.offset if partition.offset >= 0 else None
            found[partition.topic, partition.partition] = Committed(offset, partition.metadata or "")
        return found
