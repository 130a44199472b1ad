"""Rules of the group's offsets: the latest are told while something is pending, the settled ones once nothing is."""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from processors.runtime.group.clock import Clock
from processors.runtime.group.group_offsets import (
    PENDING_SECONDS,
    Committed,
    GroupOffsets,
    Look,
    committed_in_background,
)
from processors.runtime.group.names import Place
from processors.runtime.group.waiting import PATIENCE_SECONDS

PLACE: Place = ("wf-commands", 0)
OTHER: Place = ("wf-commands", 1)
NO_OFFSET = -1001
STEP_SECONDS = 0.1


class Questions:
    """An asker that keeps the questions; the test answers them."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[TopicPartition], Future[list[TopicPartition]]]] = []

    def __call__(self, partitions: list[TopicPartition], _seconds: float) -> "Future[list[TopicPartition]]":
        future: Future[list[TopicPartition]] = Future()
        self.asked.append((partitions, future))
        return future

    def answer(self, offset: int, owner: str = "halter-one") -> None:
        """Answer the last one: the same offset for each partition."""
        partitions, future = self.asked[-1]
        future.set_result([TopicPartition(it.topic, it.partition, offset, owner) for it in partitions])

    def fail(self, code: int) -> None:
        """Answer the last one with an error."""
        self.asked[-1][1].set_exception(KafkaException(KafkaError(code)))


class Group(Clock):
    """The two questions, and a clock that moves by a step whenever it is waited."""

    def __init__(self) -> None:
        self.as_it_is, self.once_settled, self.now = Questions(), Questions(), 0.0
        self.offsets = GroupOffsets(self.as_it_is, self.once_settled, self)

    def monotonic(self) -> float:
        return self.now

    def looking(self, *places: Place) -> Iterator[None]:
        """Begin to look; go on with `told`."""
        work = self.offsets.look(places)
        next(work)
        return work

    def told(self, work: Any) -> tuple[Look, float]:
        """Wait for the answer. Returns it with the seconds that it took."""
        begun = self.now
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value, self.now - begun
            self.now += STEP_SECONDS


def test_what_is_settled_is_told_without_waiting_for_the_other_answer() -> None:
    group = Group()
    work = group.looking(PLACE, OTHER)
    group.once_settled.answer(7)
    committed = {PLACE: Committed(7, "halter-one"), OTHER: Committed(7, "halter-one")}
    assert group.told(work) == (Look(committed, is_settled=True), 0.0)


def test_nothing_committed_has_no_offset_and_no_owner() -> None:
    group = Group()
    work = group.looking(PLACE)
    group.once_settled.answer(NO_OFFSET, "")
    assert group.told(work)[0].committed == {PLACE: Committed(None, "")}


def test_nothing_is_asked_about_no_partitions() -> None:
    group = Group()
    assert group.told(group.offsets.look([])) == (Look({}, is_settled=True), 0.0)
    assert group.once_settled.asked == group.as_it_is.asked == []


def test_while_offsets_are_pending_it_is_told_as_it_is_soon_and_one_question_waits_for_the_end() -> None:
    group = Group()
    for _ in range(3):
        work = group.looking(PLACE)
        group.as_it_is.answer(5, "halter-dead")
        look, seconds = group.told(work)
        assert look == Look({PLACE: Committed(5, "halter-dead")}, is_settled=False)
        assert seconds <= PENDING_SECONDS + 2 * STEP_SECONDS
    assert len(group.once_settled.asked) == 1
    group.once_settled.answer(9)
    assert group.told(group.offsets.look([PLACE]))[0] == Look({PLACE: Committed(9, "halter-one")}, is_settled=True)


def test_the_question_that_waits_for_the_end_is_asked_anew_for_other_shards() -> None:
    group = Group()
    work = group.looking(PLACE, OTHER)
    group.as_it_is.answer(5)
    group.told(work)
    group.looking(PLACE)
    assert [[it.partition for it in asked] for asked, _ in group.once_settled.asked] == [[0, 1], [0]]


def test_offsets_that_stay_pending_until_the_question_is_over_are_pending() -> None:
    group = Group()
    work = group.looking(PLACE)
    group.as_it_is.answer(5)
    group.once_settled.fail(KafkaError._TIMED_OUT)
    assert group.told(work)[0] == Look({PLACE: Committed(5, "halter-one")}, is_settled=False)


@pytest.mark.parametrize("code", [KafkaError.NOT_COORDINATOR, KafkaError.GROUP_AUTHORIZATION_FAILED])
def test_a_refusal_is_raised_whichever_question_it_answers(code: int) -> None:
    for is_settled in (True, False):
        group = Group()
        work = group.looking(PLACE)
        (group.once_settled if is_settled else group.as_it_is).fail(code)
        with pytest.raises(KafkaException) as raised:
            group.told(work)
        assert raised.value.args[0].code() == code


def test_a_coordinator_that_is_silent_is_an_error_and_nothing_is_taken_for_pending() -> None:
    group = Group()
    work = group.looking(PLACE)
    group.once_settled.fail(KafkaError._TIMED_OUT)
    with pytest.raises(KafkaException):
        group.told(work)


def test_questions_that_the_client_forgets_fail_after_a_while() -> None:
    group = Group()
    with pytest.raises(KafkaException, match="has not answered"):
        group.told(group.looking(PLACE))
    assert group.now < PATIENCE_SECONDS + 2 * STEP_SECONDS


class Silent:
    """A consumer that finds no coordinator, and knows why."""

    def __init__(self, reason: KafkaError | None) -> None:
        self.reason = reason

    def committed(self, *_: object, **__: object) -> list[TopicPartition]:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def poll(self, *_: object) -> Any:
        return None if self.reason is None else self

    def error(self) -> KafkaError | None:
        return self.reason


@pytest.mark.parametrize("code", [None, KafkaError.GROUP_AUTHORIZATION_FAILED])
def test_a_consumer_that_was_refused_says_so_and_not_that_time_was_over(code: int | None) -> None:
    consumer: Any = Silent(None if code is None else KafkaError(code))
    with pytest.raises(KafkaException) as raised:
        committed_in_background(consumer, [TopicPartition(*PLACE)], 1.0).result(10)
    assert raised.value.args[0].code() == (code or KafkaError._TIMED_OUT)
