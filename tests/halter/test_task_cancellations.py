"""Cancellations are read from a topic in memory, whose broker answers as a test tells it to."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from structlog import get_logger
from structlog.testing import capture_logs

from halter.client import TopicMissing
from halter.task_worker import cancellations
from halter.task_worker.cancellations import KEPT_OF_ONE_MAX, Cancellations
from halter.task_worker.side_thread import FATAL
from halter.task_worker.work import Work
from processors.codec import Codec
from processors.core.records.events import CancellationReason, TaskCancellation, TaskRequest
from processors.kafka.client_errors import PASSING
from tests.support.waiting import wait_until

CODEC = Codec.load()
QUESTIONS = ("get_watermark_offsets", "consume")
STOPPED, TIMED_OUT = CancellationReason.STOPPED, CancellationReason.TIMED_OUT


def request(number: int = 1, wf_run_id: str = "w") -> TaskRequest:
    return TaskRequest(wf_run_id, 1, 0, 1, number, "charge", {}, 0, 0)


def about(it: TaskRequest, reason: CancellationReason = TIMED_OUT) -> TaskCancellation:
    return TaskCancellation(it.wf_run_id, it.incarnation, it.thread, it.position, it.attempt, "charge", reason, 0, 1)


class Record:
    """A record of the topic, or an error."""

    def __init__(self, key: bytes | None, value: bytes | None, error: KafkaError | None = None) -> None:
        self.key, self.value, self.error = lambda: key, lambda: value, lambda: error


class Topic:
    """The topic, and the consumer that reads it. `before` is called before each question is answered."""

    def __init__(self, before: Callable[[str], None] = lambda _: None) -> None:
        self.records: deque[Record] = deque()
        self.before, self.assigned, self.closed = before, list[TopicPartition](), False

    def get_watermark_offsets(self, it: TopicPartition, _: float, *, cached: bool) -> tuple[int, int]:
        assert not cached
        self.before("get_watermark_offsets")
        return 0, 10 + it.partition

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = partitions

    def consume(self, _: int, __: float) -> list[Record]:
        self.before("consume")
        if not self.records:
            time.sleep(0.001)
            return []
        return [self.records.popleft()]

    def close(self) -> None:
        self.closed = True

    def tell(self, it: TaskCancellation) -> None:
        self.records.append(Record(it.wf_run_id.encode(), CODEC.encode(it)))


class Hearing:
    """A task worker that hears of cancellations; `work` has what waits and runs."""

    def __init__(self, topic: Topic, missing: bool = False) -> None:
        def expect(_: str) -> None:
            if missing:
                raise TopicMissing("topic 'task-cancellations' is missing")

        self.topic, self.work = topic, Work(8)
        self.work.assigned({("task-requests", 0): (0, None)})
        client: Any = SimpleNamespace(
            topics=Topics(), codec=CODEC, reader=SimpleNamespace(expect=expect), settings=SimpleNamespace(consumer=dict)
        )
        self.cancellations = Cancellations(client, "tasks", self.work, get_logger())
        self.taken = 0

    def begin(self) -> None:
        self.cancellations.begin(lambda: False)

    def take(self, it: TaskRequest) -> None:
        """Read a request, as a session does."""
        self.work.take(("task-requests", 0), self.taken, it, 100)
        self.taken += 1
        self.cancellations.tell_of(it)

    def start(self) -> Any:
        """Start the next attempt, and return what its handler hears."""
        attempt = self.work.next()
        assert attempt is not None
        return attempt.running


class Topics:
    task_cancellations = "task-cancellations"

    def __getitem__(self, name: str) -> Any:
        assert name == "task-cancellations"
        return SimpleNamespace(partitions=3)


@pytest.fixture
def hearing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Hearing]]:
    begun: list[Hearing] = []

    def hear(topic: Topic, *, missing: bool = False) -> Hearing:
        monkeypatch.setattr(cancellations, "Consumer", lambda _: topic)
        monkeypatch.setattr(cancellations, "AGAIN_SECONDS", 0.001)
        begun.append(Hearing(topic, missing))
        begun[-1].begin()
        return begun[-1]

    yield hear
    for it in begun:
        it.cancellations.close()


def test_all_partitions_are_read_from_the_end_that_they_have_at_the_start(hearing: Callable[..., Hearing]) -> None:
    it = hearing(Topic())
    assert [(at.partition, at.offset) for at in it.topic.assigned] == [(0, 10), (1, 11), (2, 12)]


def test_who_runs_and_who_waits_is_told_and_nobody_else(hearing: Callable[..., Hearing]) -> None:
    it = hearing(Topic())
    for number in (1, 2, 3, 4):
        it.take(request(number))
    running, other = it.start(), it.start()
    it.topic.tell(about(request(1), STOPPED))
    it.topic.tell(about(request(3)))
    it.topic.tell(about(request(4, "somebody-else")))
    assert running.wait_cancelled(10) == STOPPED
    wait_until("the last record", lambda: not it.topic.records)
    assert it.start().wait_cancelled(10) == TIMED_OUT
    assert (other.cancelled, it.start().cancelled) == (None, None)


@pytest.mark.parametrize("reason", list(CancellationReason))
def test_a_cancellation_that_is_read_before_its_request_counts_unless_the_wf_run_may_go_on(
    hearing: Callable[..., Hearing], reason: CancellationReason
) -> None:
    it = hearing(Topic())
    it.topic.tell(about(request(1), reason))
    it.topic.tell(about(request(7, "later")))
    it.take(request(1, "now"))
    it.topic.tell(about(request(1, "now")))
    assert it.start().wait_cancelled(10) == TIMED_OUT  # all before is read, too
    it.take(request(1))
    assert it.start().cancelled == (None if reason is STOPPED else reason)


def test_what_is_kept_is_bounded_in_bytes_too(hearing: Callable[..., Hearing], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellations, "KEPT_BYTES_MAX", 1_000)
    it = hearing(Topic())
    for number in range(100):
        it.topic.tell(about(request(1, f"w{number}")))
        it.topic.tell(about(request(number, "hot")))
    it.take(request(1, "now"))
    it.topic.tell(about(request(1, "now")))
    assert it.start().wait_cancelled(10) == TIMED_OUT
    size = sum(len(value) for values in it.cancellations._kept.values() for value in values)
    assert 500 < size <= 1_000
    assert it.cancellations._kept_bytes == size


def test_what_is_kept_for_later_requests_is_bounded(
    hearing: Callable[..., Hearing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancellations, "KEPT_MAX", 20)
    it = hearing(Topic())
    for number in range(100):
        it.topic.tell(about(request(1, f"w{number}")))
        it.topic.tell(about(request(number, "hot")))
    it.take(request(1, "now"))
    it.topic.tell(about(request(1, "now")))
    assert it.start().wait_cancelled(10) == TIMED_OUT
    kept = it.cancellations._kept
    assert len(kept) == 20
    assert all(len(values) <= KEPT_OF_ONE_MAX for values in kept.values())
    it.take(request(1, "w99"))
    assert it.start().cancelled == TIMED_OUT


def test_the_wf_run_that_was_cancelled_in_longest_ago_is_forgotten_first(
    hearing: Callable[..., Hearing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancellations, "KEPT_MAX", 3)
    it = hearing(Topic())
    for attempt, wf_run_id in ((1, "first"), (1, "second"), (1, "third"), (2, "first")):
        it.topic.tell(about(request(attempt, wf_run_id)))
    it.take(request(1, "now"))
    it.topic.tell(about(request(1, "now")))
    assert it.start().wait_cancelled(10) == TIMED_OUT  # all before is read, too
    it.take(request(2, "first"))
    assert it.start().cancelled == TIMED_OUT
    it.take(request(1, "second"))
    assert it.start().cancelled is None


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("code", sorted(PASSING))
def test_brokers_that_come_and_go_are_asked_again(hearing: Callable[..., Hearing], question: str, code: int) -> None:
    failures = deque([1, 2, 3])

    def fail(asked: str) -> None:
        if asked == question == "get_watermark_offsets" and failures:
            failures.popleft()
            raise KafkaException(KafkaError(code))

    topic = Topic(fail)
    if question == "consume":
        topic.records.extend(Record(None, None, KafkaError(code)) for _ in range(3))
    it = hearing(topic)
    it.take(request(1))
    it.topic.tell(about(request(1)))
    assert it.start().wait_cancelled(10) == TIMED_OUT


def test_without_the_topic_it_is_said_once_and_nothing_is_missed_else(hearing: Callable[..., Hearing]) -> None:
    with capture_logs() as logs:
        it = hearing(Topic(), missing=True)
    (line,) = logs
    assert (line["event"], line["reason"]) == ("cancellations_not_seen", "topic 'task-cancellations' is missing")
    it.take(request(1))
    assert it.start().cancelled is None


@pytest.mark.parametrize("code", FATAL)
@pytest.mark.parametrize("question", QUESTIONS)
def test_without_the_right_to_read_it_is_said_once(hearing: Callable[..., Hearing], code: int, question: str) -> None:
    def fail(asked: str) -> None:
        if asked == question == "get_watermark_offsets":
            raise KafkaException(KafkaError(code))

    topic = Topic(fail)
    if question == "consume":
        topic.records.append(Record(None, None, KafkaError(code)))
    with capture_logs() as logs:
        it = hearing(topic)
        wait_until("the line", lambda: logs)
    assert [line["event"] for line in logs] == ["cancellations_not_seen"]
    wait_until("the end of the consumer", lambda: it.topic.closed)


@pytest.mark.parametrize("value", [b"", b"?", CODEC.encode(request(1))])
def test_a_record_that_is_no_cancellation_is_passed_over(hearing: Callable[..., Hearing], value: bytes) -> None:
    it = hearing(Topic())
    it.take(request(1))
    it.topic.records += [Record(b"w", value), Record(None, value), Record(b"\xff", value), Record(b"w", None)]
    it.topic.tell(about(request(1)))
    assert it.start().wait_cancelled(10) == TIMED_OUT
