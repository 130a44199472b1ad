"""What the group has committed, asked of its coordinator without blocking: as it is, and once nothing is pending.

Knows consumers that are never in the group, and threads that wait for them: the one call of confluent_kafka that asks
this safely waits for its answer (ADR 11). Knows nothing of what the answers are for.
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
"""Asks what is committed for partitions, for so many seconds at most."""

PENDING_SECONDS: Final = 0.5
"""What else but pending offsets keeps one question from its answer for so long when the other has its own?"""


def committed_in_background(
    consumer: Consumer, partitions: list[TopicPartition], seconds: float
) -> "Future[list[TopicPartition]]":
    """Ask in a thread of its own. The thread, and with it the consumer, are gone when the answer has come."""
    future: Future[list[TopicPartition]] = Future()

    def ask() -> None:
        try:
            future.set_result(consumer.committed(partitions, timeout=seconds))
        except KafkaException as exception:
            # What the consumer could not do at all, as to find the coordinator, it tells whoever polls.
            message = consumer.poll(0)
            error = None if message is None else message.error()
            future.set_exception(exception if error is None else KafkaException(error))
        except BaseException as error:  # noqa: BLE001  whoever waits for the answer hears of it
            future.set_exception(error)

    threading.Thread(target=ask, name="group-offsets", daemon=True).start()
    return future


@dataclass(frozen=True, slots=True)
class Committed:
    """What the group has committed for a partition. `owner`: the transactional id of the worker that did it."""

    offset: int | None
    owner: str


@dataclass(frozen=True, slots=True)
class Look:
    """`committed`: what was committed last; `is_settled`: no transaction is open that commits something else."""

    committed: Mapping[Place, Committed]
    is_settled: bool


class GroupOffsets:
    """For one load: connections that rest for long may be dead, and nobody sees it."""

    def __init__(self, as_it_is: Asker, once_settled: Asker, clock: Clock = CLOCK) -> None:
        self._as_it_is, self._once_settled, self._clock = as_it_is, once_settled, clock
        self._question: Future[list[TopicPartition]] | None = None
        self._places: list[Place] = []
        self._asked_at = 0.0

    def look(self, places: Collection[Place]) -> Waiting[Look]:
        """Return what is committed, and whether for good. Raises KafkaException.

        For good is what is known within PENDING_SECONDS of the other answer; Kafka that is slow with the one and quick
        with the other looks as if something were pending.
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
        """Return the question that is under way, or a new one."""
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
