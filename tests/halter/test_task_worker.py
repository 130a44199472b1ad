"""The task worker over a queue in memory."""

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from halter.client import InvalidArgument, NotDelivered, Sending, TopicMissing, registry
from halter.client.arguments import Arguments
from halter.task_worker import (
    BadExceptionName,
    BusinessException,
    Task,
    TaskWorker,
    WorkerNotStarted,
    progress,
    reports,
    runners,
    session,
)
from halter.task_worker.offsets import finished_by
from halter.task_worker.shapes import Unfit
from halter.task_worker.work import WAITING_MAX
from processors.codec import Codec
from processors.codec.registry import RegistryUnavailable
from processors.core.records.commands import (
    PutTaskDef,
    PutWfSpec,
    ReportTaskProgress,
    ReportTaskRun,
    RunWf,
    StartTaskRun,
)
from processors.core.records.events import CancellationReason, TaskCancellation, TaskRequest
from processors.core.records.failures import RESERVED
from processors.core.records.model import TaskStatus
from processors.core.records.values import Value, to_json
from processors.core.wf_spec.definitions import Definitions
from tests.support.odd_values import BAD_VALUES, GOOD_VALUES
from tests.support.shard_rig import ShardRig
from tests.support.waiting import wait_until

CODEC = Codec.load()
DEADLINE_MS = 60_000


class Record:
    """A record of the queue."""

    def __init__(self, partition: int, offset: int, start_by_ms: int | None = None, progress: Value = None) -> None:
        request = TaskRequest(
            f"w{partition}-{offset}", 0, 0, 1, 1, "t", {}, 0, DEADLINE_MS, start_by_ms=start_by_ms, progress=progress
        )
        self.value, self.offset, self.partition = lambda: CODEC.encode(request), lambda: offset, lambda: partition
        self.topic, self.error = lambda: "task-requests", lambda: None


class World:
    """A queue of requests, a client, and a record of what was done. Each partition has its own requests."""

    def __init__(self, requests: int, partitions: int = 1, concurrency: int = 1) -> None:
        self.now_ms = 0
        self.queues = {number: deque(range(requests)) for number in range(partitions)}
        self.requests, self.concurrency = requests * partitions, concurrency
        self.held: dict[int, TopicPartition] = {}
        self.expected: list[str] = []
        """The topics that were looked for, in order."""
        self.start_by_ms: int | None = None
        self.progress_before: Value = None
        self.sent: list[tuple[str, Any]] = []
        """Starts, progress and reports in their order: the WfRun, and the record that Kafka has been given."""
        self.posted: list[ReportTaskRun] = []
        self.on_their_way: deque[Sending] = deque()
        self.stays_away: Callable[[str], bool] = lambda _: False
        """The WfRuns of whose reports Kafka says nothing yet."""
        self.undelivered: dict[str, Sending] = {}
        self.resent = 0
        self.refuses: KafkaError | None = None
        self.paused: list[int] = []
        self.polls = 0
        self.commits_fail = False
        self.is_prepared = False
        self.refuses_offset: Callable[[TopicPartition], KafkaError | None] = lambda _: None
        self.worker: TaskWorker | None = None
        self.codec: Any = CODEC
        self.topics = SimpleNamespace(
            task_queue=lambda _: "task-requests",
            task_group="workers",
            task_reports="task-reports",
            wf_events="wf-events",
            task_cancellations="task-cancellations",
        )
        self.reader = SimpleNamespace(expect=self._expect)
        self.workers = SimpleNamespace(task_workers=lambda *_: set())
        self.settings = SimpleNamespace(consumer=lambda **_: {}, explaining=self._explaining, tracing=lambda: None)

    @contextmanager
    def _explaining(self, _: str, *_more: Any) -> Iterator[None]:
        yield

    def _expect(self, topic: str) -> None:
        self.expected.append(topic)
        if topic == "task-cancellations":
            raise TopicMissing("an engine of 0.2.0 has none")

    def cancel(self, wf_run_id: str, reason: CancellationReason) -> None:
        """Tell the task worker what the topic of cancellations would."""
        assert self.worker is not None
        assert self.worker._session is not None
        self.worker._session._work.cancel(TaskCancellation(wf_run_id, 0, 0, 1, 1, "t", reason, 0, 1))

    # The consumer's side.

    def new_consumer(self) -> Any:
        return self

    def subscribe(self, _: list[str], on_assign: Callable[..., None], on_revoke: Callable[..., None], **_more: Any):
        assert "task-cancellations" in self.expected, "else what is cancelled meanwhile would be missed"
        self.on_assign, self.on_revoke = on_assign, on_revoke
        self.assign()

    def ours(self) -> list[TopicPartition]:
        return [TopicPartition("task-requests", number) for number in self.queues]

    def assign(self) -> None:
        self.on_assign(self, self.ours())

    def read_again(self) -> None:
        """Take the partitions away, and give them back: they are read again from the committed offsets."""
        self.on_revoke(self, self.ours())
        for number in self.queues:
            begin = self.held[number].offset if number in self.held else 0
            self.queues[number] = deque(range(begin, self.requests // len(self.queues)))
        self.assign()

    def poll(self, seconds: float) -> Record | None:
        self.polls += 1
        self.between_polls()
        for number in self.queues:
            if number not in self.paused and self.queues[number]:
                return Record(number, self.queues[number].popleft(), self.start_by_ms, self.progress_before)
        if self.is_done() and self.worker is not None:
            self.worker.stop()
        time.sleep(min(seconds, 0.001))
        return None

    def between_polls(self) -> None:
        """Something that a test does in the thread that polls."""

    def is_done(self) -> bool:
        return sum(it.offset for it in self.held.values()) == self.requests or self.commits_fail

    def committed_offsets(self) -> dict[int, int]:
        return {number: it.offset for number, it in self.held.items()}

    def committed(self, partitions: list[TopicPartition], _: float) -> list[TopicPartition]:
        return [self.held.get(it.partition, TopicPartition(it.topic, it.partition)) for it in partitions]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[Any]:
        assert not asynchronous
        if self.commits_fail:
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        errors = {it: self.refuses_offset(it) for it in offsets}
        for it in [it for it, error in errors.items() if error is None]:
            early = [key for key in list(self.undelivered) if key.startswith(f"w{it.partition}-")]
            assert all(int(key.split("-")[1]) >= it.offset for key in early), "an offset passed an undelivered report"
            self.held[it.partition] = it
        return [SimpleNamespace(topic=it.topic, partition=it.partition, error=error) for it, error in errors.items()]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused += [it.partition for it in partitions]

    def resume(self, partitions: list[TopicPartition]) -> None:
        for it in partitions:
            if it.partition in self.paused:
                self.paused.remove(it.partition)

    def close(self) -> None:
        self.on_revoke(self, self.ours())

    # The client's side.

    check = Arguments(CODEC).encoded

    def definitions(self) -> Definitions:
        return Definitions()

    def prepare_to_send(self, topic: str) -> None:
        assert topic == "task-reports"
        self.is_prepared = True

    def send_soon(self, command: Any, value: bytes, told: Callable[[Sending], None], parent: None) -> Sending:
        assert parent is None, "nothing is traced here"
        assert self.is_prepared, "a first report must not ask Kafka, which may be away then"
        record = CODEC.decode(value)
        sent = Sending("task-reports", type(command).__name__, command.wf_run_id, told)
        self.sent.append((command.wf_run_id, record))
        if isinstance(record, ReportTaskRun):
            self.resent += command in self.posted
            self.posted.append(command)
            self.undelivered[record.wf_run_id] = sent
        self.on_their_way.append(sent)
        return sent

    def poll_sent(self, seconds: float) -> None:
        for _ in range(len(self.on_their_way)):
            one = self.on_their_way.popleft()
            if self.stays_away(one.key):
                self.on_their_way.append(one)
            else:
                error, self.refuses = self.refuses, None
                one.report(error, SimpleNamespace())  # type: ignore[arg-type]
        time.sleep(min(seconds, 0.0005))

    def until_delivered(self, sending: Iterable[Sending]) -> None:
        (one,) = sending
        assert one.message is not None, "nobody may wait for one record"
        if one.error is not None:
            raise NotDelivered("no")
        if one.kind == ReportTaskRun.__name__:
            del self.undelivered[one.key]

    # The run.

    def run(self, monkeypatch: pytest.MonkeyPatch, handle: Callable[..., Any] = lambda _: None) -> "World":
        return self.run_worker(monkeypatch, {"t": handle})

    def run_worker(self, monkeypatch: pytest.MonkeyPatch, handlers: Mapping[str, Callable[..., Any]]) -> "World":
        monkeypatch.setattr(session, "Consumer", lambda _: self.new_consumer())
        monkeypatch.setattr(session, "COMMIT_SECONDS", 0.001)
        self.worker = TaskWorker(
            self,  # type: ignore[arg-type]
            handlers,
            concurrency=self.concurrency,
            follow_reports=False,
            clock_ms=lambda: self.now_ms,
        )
        self.drained = self.worker.run(grace_s=self.grace_s)
        return self

    grace_s = 10.0


def test_each_request_is_run_and_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(300, partitions=3, concurrency=8).run(monkeypatch)
    assert sorted(it.wf_run_id for it in world.posted) == sorted(f"w{p}-{n}" for p in range(3) for n in range(300))
    assert world.committed_offsets() == {0: 300, 1: 300, 2: 300}
    assert world.drained
    assert world.worker is not None
    assert (world.worker.counts.started, world.worker.counts.succeeded, world.worker.counts.running) == (900, 900, 0)


@pytest.mark.parametrize("is_async", [False, True])
def test_so_many_handlers_run_at_a_time_and_no_more(monkeypatch: pytest.MonkeyPatch, is_async: bool) -> None:
    world = World(100, concurrency=32)
    running, most, lock, all_there = [0], [0], threading.Lock(), threading.Barrier(32)

    def count(by: int) -> None:
        with lock:
            running[0] += by
            most[0] = max(most[0], running[0])

    def meeting(task: Task) -> None:
        count(1)
        if int(task.wf_run_id.split("-")[1]) < 32:
            all_there.wait(10)  # breaks, and fails the attempt, if fewer than 32 run
        count(-1)

    async def pausing(_: Task) -> None:
        count(1)
        await asyncio.sleep(0.02)
        count(-1)

    world.run(monkeypatch, pausing if is_async else meeting)
    assert {it.status for it in world.posted} == {TaskStatus.SUCCESS}
    assert most[0] == 32


def test_a_slow_handler_holds_up_neither_the_others_nor_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(100, concurrency=2)
    others_done = threading.Event()

    def handle(task: Task) -> None:
        if task.wf_run_id == "w0-0":
            assert others_done.wait(10)
            # Nothing behind the first request may be committed, however much is finished there.
            polls = world.polls
            wait_until("the polls that go on", lambda: world.polls > polls + 10)
            assert world.committed_offsets().get(0, 0) == 0
            assert finished_by(0, world.held[0].metadata) == set(range(1, 100))
        elif task.wf_run_id == "w0-99":
            others_done.set()

    world.run(monkeypatch, handle)
    assert {it.status for it in world.posted} == {TaskStatus.SUCCESS}


def test_a_long_queue_in_one_partition_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ROOM_SECONDS", 1.0)  # waited for once, and not for each request
    world = World(400, partitions=2, concurrency=1)
    world.queues[1] = deque()
    before = time.monotonic()
    begun: list[str] = []

    def handle(task: Task) -> None:
        begun.append(task.wf_run_id)
        if len(begun) == 1:  # 255 others of the partition wait already
            wait_until("a full partition", lambda: world.paused == [0])
            world.queues[1].extend(range(400))
            polls = world.polls
            wait_until("requests of the other partition", lambda: world.polls > polls + 10)

    world.run(monkeypatch, handle)
    assert "w1-0" in begun[:3]
    assert len(begun) == 800
    assert time.monotonic() - before < 30


def test_no_more_is_taken_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(5_000)
    left: list[int] = []

    def handle(_: Task) -> None:
        if not left:
            wait_until("a full partition", lambda: world.paused == [0])
            left.append(len(world.queues[0]))

    world.run(monkeypatch, handle)
    assert left == [5_000 - WAITING_MAX - 1]
    assert world.committed_offsets() == {0: 5_000}


def test_who_is_told_to_stop_finishes_what_runs_and_begins_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(100, concurrency=4)
    begun = []

    def handle(task: Task) -> None:
        begun.append(task.wf_run_id)
        if len(begun) == 4:
            assert world.worker is not None
            world.worker.stop()
        wait_until("the word", lambda: world.worker is not None and world.worker._stopped.is_set())
        time.sleep(0.05)

    world.run(monkeypatch, handle)
    assert begun == [it.wf_run_id for it in sorted(world.posted, key=lambda it: it.wf_run_id)]
    assert len(begun) == 4
    assert world.committed_offsets() == {0: 4}
    assert world.drained


@pytest.mark.parametrize("is_async", [False, True])
def test_what_still_runs_after_the_grace_is_not_committed(monkeypatch: pytest.MonkeyPatch, is_async: bool) -> None:
    world, let_go, cancelled = World(10), threading.Event(), threading.Event()
    world.grace_s = 0.05

    def stop_at_the_third(task: Task) -> bool:
        if task.wf_run_id == "w0-2":
            assert world.worker is not None
            world.worker.stop()
        return task.wf_run_id == "w0-2"

    def handle(task: Task) -> None:
        if stop_at_the_third(task):
            let_go.wait(10)

    async def handle_async(task: Task) -> None:
        if stop_at_the_third(task):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    with capture_logs() as logs:
        world.run(monkeypatch, handle_async if is_async else handle)
    [given_up] = [it["records"] for it in logs if it["event"] == "attempts_given_up"]
    assert "task-requests[0]@2" in given_up
    let_go.set()
    assert not world.drained
    assert world.committed_offsets() == {0: 2}
    assert [it.wf_run_id for it in world.posted] == ["w0-0", "w0-1"]
    assert cancelled.is_set() == is_async


def test_a_partition_that_comes_back_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts that run across a rebalance are reported once, and what is finished behind them is not run again."""
    monkeypatch.setattr(session, "REVOKE_SECONDS", 0.02)
    world, let_go = World(50, concurrency=4), threading.Event()

    def handle(task: Task) -> None:
        if task.wf_run_id == "w0-3":
            assert let_go.wait(10)

    def between_polls() -> None:
        if len(world.posted) == 49 and not let_go.is_set():
            world.read_again()
            assert world.committed_offsets() == {0: 3}
            world.read_again()
            let_go.set()

    monkeypatch.setattr(world, "between_polls", between_polls)
    world.run(monkeypatch, handle)
    assert sorted(it.wf_run_id for it in world.posted) == sorted(f"w0-{n}" for n in range(50))
    assert world.committed_offsets() == {0: 50}


class Forgotten:
    """A consumer whose coordinator has lost its question: it hears nothing, and waits."""

    def __init__(self) -> None:
        self.is_closed = threading.Event()

    def subscribe(self, _: list[str], **callbacks: Callable[..., None]) -> None:
        self.callbacks = callbacks

    def poll(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.001))

    def close(self) -> None:
        self.callbacks["on_revoke"](self, [TopicPartition("task-requests", 0)])  # late, and about nothing of ours
        self.is_closed.set()


def test_a_group_that_says_nothing_is_joined_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SILENT_SECONDS", 0.02)
    world, forgotten = World(20), [Forgotten(), Forgotten()]
    consumers: Iterator[Any] = iter([*forgotten, world])
    monkeypatch.setattr(world, "new_consumer", lambda: next(consumers))
    world.run(monkeypatch)
    assert world.committed_offsets() == {0: 20}
    assert all(it.is_closed.wait(5) for it in forgotten)


def test_a_report_is_sent_again_while_brokers_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "AGAIN_SECONDS", 0.0)
    world = World(3)
    world.refuses = KafkaError(KafkaError._MSG_TIMED_OUT)
    world.run(monkeypatch)
    assert (world.resent, world.committed_offsets()) == (1, {0: 3})


def test_without_its_report_no_offset_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(3)
    world.refuses = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(NotDelivered):
        world.run(monkeypatch)
    assert world.committed_offsets().get(0, 0) == 0


def test_a_group_that_moved_on_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    world.commits_fail = True
    with capture_logs() as logs:
        world.run(monkeypatch)
    assert [it for it in logs if it["event"] == "offsets_not_committed"]


def test_an_offset_that_was_refused_alone_is_committed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka raises nothing then: the other partitions are committed."""
    world, refused = World(1, partitions=2), list[int]()

    def refuses(it: TopicPartition) -> KafkaError | None:
        if it.partition == 1 and it.offset == 1 and len(refused) < 3:
            refused.append(it.offset)
            return KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
        return None

    monkeypatch.setattr(world, "refuses_offset", refuses)
    world.run(monkeypatch)
    assert world.committed_offsets() == {0: 1, 1: 1}


def test_brokers_that_take_only_short_metadata_get_the_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    world, let_go, lengths = World(20, concurrency=2), threading.Event(), list[int]()

    def refuses(it: TopicPartition) -> KafkaError | None:
        lengths.append(len(it.metadata or ""))
        return KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE) if it.metadata else None

    def handle(task: Task) -> None:
        if task.wf_run_id == "w0-3":
            assert let_go.wait(10)

    def between_polls() -> None:
        if world.committed_offsets() == {0: 3} and any(lengths):
            let_go.set()

    monkeypatch.setattr(world, "refuses_offset", refuses)
    monkeypatch.setattr(world, "between_polls", between_polls)
    world.run(monkeypatch, handle)
    assert world.committed_offsets() == {0: 20}


def test_an_attempt_whose_deadline_has_passed_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(10)

    def handle(_: Task) -> None:
        world.now_ms += DEADLINE_MS // 2

    world.run(monkeypatch, handle)
    assert [it.wf_run_id for it in world.posted] == ["w0-0", "w0-1"]
    assert world.worker is not None
    assert world.worker.counts.as_dict() == {
        "started": 2, "succeeded": 2, "exceptions": 0, "failed": 0, "cancelled": 0, "expired": 8, "running": 0,
    }  # fmt: skip
    assert world.committed_offsets() == {0: 10}


def records_of(world: World, wf_run_id: str = "w0-0") -> list[Any]:
    return [record for id_, record in world.sent if id_ == wf_run_id]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_request_that_counts_its_time_from_the_start_is_told_of_it_first(
    monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    world, deadlines = World(3), list[float]()
    world.start_by_ms = DEADLINE_MS - 5_000

    def handle(task: Task) -> None:
        deadlines.append(task.deadline.timestamp())
        world.now_ms += 7_000

    async def handle_async(task: Task) -> None:
        handle(task)

    world.run(monkeypatch, handle_async if is_async else handle)
    for number in range(3):
        start, report = records_of(world, f"w0-{number}")
        assert start == StartTaskRun(f"w0-{number}", 0, 0, 1, 1)
        assert report.status is TaskStatus.SUCCESS
    assert deadlines == [5.0, 12.0, 19.0]


def test_a_request_that_counts_its_time_from_itself_has_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    (record,) = records_of(World(1).run(monkeypatch))
    assert isinstance(record, ReportTaskRun)


def test_who_has_waited_too_long_is_not_run_and_reported_behind_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    world, begun = World(3), list[str]()
    world.start_by_ms = 1_000

    def handle(task: Task) -> None:
        begun.append(task.wf_run_id)
        world.now_ms = 1_001 if task.wf_run_id == "w0-0" else DEADLINE_MS

    world.run(monkeypatch, handle)
    assert begun == ["w0-0"]
    start, report = records_of(world, "w0-1")
    assert isinstance(start, StartTaskRun)
    assert report.status is TaskStatus.FAILED
    assert report.message == "not started: it had waited 1 ms too long by the clock of the task worker"
    assert world.worker is not None
    assert (world.worker.counts.started, world.worker.counts.expired) == (1, 2)
    assert world.committed_offsets() == {0: 3}


@pytest.mark.parametrize("code", [KafkaError._MSG_TIMED_OUT, KafkaError.MSG_SIZE_TOO_LARGE])
def test_a_start_that_kafka_has_not_taken_is_logged_and_not_sent_again(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    world = World(1)
    world.start_by_ms, world.refuses = DEADLINE_MS - 5_000, KafkaError(code)
    with capture_logs() as logs:
        world.run(monkeypatch, lambda _: wait_until("the answer", lambda: world.refuses is None))
    assert [type(it) for it in records_of(world)] == [StartTaskRun, ReportTaskRun]
    assert [it["wf_run_id"] for it in logs if it["event"] == "start_not_sent"] == ["w0-0"]
    assert world.committed_offsets() == {0: 1}


def test_a_slow_partition_holds_up_the_reports_of_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(20, partitions=2, concurrency=4)
    world.stays_away = lambda wf_run_id: wf_run_id.startswith("w0-") and world.committed_offsets().get(1) != 20
    world.run(monkeypatch)
    assert world.committed_offsets() == {0: 20, 1: 20}


@pytest.mark.parametrize("is_async", [False, True])
def test_progress_is_sent_once_a_second_the_newest_before_a_report_of_failure_and_nothing_after_it(
    monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 10.0)
    world, tasks = World(1), list[Task]()
    world.progress_before = {"page": 7}

    def first(task: Task) -> None:
        assert task.progress == {"page": 7}
        tasks.append(task)
        task.report_progress({"page": 8})

    def rest(task: Task) -> None:
        content: dict[str, Value] = {}
        for page in range(1_000):
            content["page"] = page
            task.report_progress(content)
        content["page"] = -1  # as it is after the call does not matter
        raise RuntimeError("the disk is full")

    def handle(task: Task) -> None:
        first(task)
        wait_until("the first progress", lambda: world.sent)
        rest(task)

    async def handle_async(task: Task) -> None:
        first(task)
        while not world.sent:  # noqa: ASYNC110  no event is worth the lines
            await asyncio.sleep(0.001)
        rest(task)

    world.run(monkeypatch, handle_async if is_async else handle)
    tasks[0].report_progress("too late")
    one, last, report = records_of(world)
    assert one == ReportTaskProgress("w0-0", 0, 0, 1, 1, {"page": 8})
    assert last == ReportTaskProgress("w0-0", 0, 0, 1, 1, {"page": 999})
    assert report.status is TaskStatus.FAILED


def test_a_success_needs_no_last_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 10.0)
    world = World(1)

    def handle(task: Task) -> None:
        task.report_progress(1)
        wait_until("the first progress", lambda: world.sent)
        task.report_progress(2)

    _, report = records_of(world.run(monkeypatch, handle))
    assert report.status is TaskStatus.SUCCESS


@pytest.mark.parametrize("number", range(len(BAD_VALUES)))
def test_progress_that_no_record_can_hold_is_refused_where_it_is_reported(number: int) -> None:
    task = Task({}, TaskRequest("w", 0, 0, 1, 1, "t", {}, 0, DEADLINE_MS))
    with pytest.raises(InvalidArgument, match="progress"):
        task.report_progress(BAD_VALUES[number])


def test_progress_is_bounded_and_the_sentence_says_how() -> None:
    task = Task({}, TaskRequest("w", 0, 0, 1, 1, "t", {}, 0, DEADLINE_MS))
    task.report_progress("x" * 16_384)
    with pytest.raises(InvalidArgument, match=r"expected at most 16384 bytes, found 16385"):
        task.report_progress("x" * 16_385)


FINAL = [CancellationReason.TIMED_OUT, CancellationReason.DELETED]
ADVICE = sorted(set(CancellationReason) - set(FINAL))
USELESS = sorted(set(CancellationReason) - {CancellationReason.STOPPED})


def only_report(world: World, wf_run_id: str = "w0-0") -> ReportTaskRun | None:
    found = [it for it in world.posted if it.wf_run_id == wf_run_id]
    assert len(found) < 2
    return found[0] if found else None


@pytest.mark.parametrize("reason", ADVICE)
def test_a_handler_hears_that_its_attempt_was_cancelled_and_what_it_returns_counts(
    monkeypatch: pytest.MonkeyPatch, reason: CancellationReason
) -> None:
    world, heard = World(2), list[Any]()

    def handle(task: Task) -> str:
        if task.wf_run_id == "w0-0":
            heard.extend((task.cancelled, task.wait_cancelled(0.0)))
            threading.Timer(0.01, world.cancel, ("w0-0", reason)).start()
            heard.extend((task.wait_cancelled(10), task.cancelled, task.wait_cancelled()))
        return "done"

    world.run(monkeypatch, handle)
    assert heard == [None, None, reason, reason, reason]
    assert {it.status for it in world.posted} == {TaskStatus.SUCCESS}
    assert world.committed_offsets() == {0: 2}


@pytest.mark.parametrize("reason", USELESS)
def test_a_coroutine_is_cancelled_and_reported_unless_its_attempt_is_over(
    monkeypatch: pytest.MonkeyPatch, reason: CancellationReason
) -> None:
    world, cleaned_up = World(2), list[str]()

    async def handle(task: Task) -> None:
        if task.wf_run_id == "w0-0":
            threading.Timer(0.01, world.cancel, ("w0-0", reason)).start()
            try:
                await asyncio.sleep(10)
            finally:
                cleaned_up.append(task.wf_run_id)

    world.run(monkeypatch, handle)
    report = only_report(world)
    assert cleaned_up == ["w0-0"]
    assert world.committed_offsets() == {0: 2}
    assert world.worker is not None
    assert (world.worker.counts.cancelled, world.worker.counts.running) == (1, 0)
    if reason in FINAL:
        assert report is None
    else:
        assert report is not None
        assert (report.status, (report.message or "")[:11]) == (TaskStatus.FAILED, "cancelled: ")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stop_ends_no_attempt_by_itself_because_the_wf_run_may_be_resumed(
    monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    """One runs when its WfRun is stopped, the other waits."""
    world, heard = World(2), dict[str, Any]()

    def stop_both(task: Task) -> None:
        if task.wf_run_id == "w0-0":
            assert world.worker is not None
            assert world.worker._session is not None
            work = world.worker._session._work
            wait_until("the next request", lambda: work.concerns("w0-1"))
            for it in ("w0-0", "w0-1"):
                world.cancel(it, CancellationReason.STOPPED)
        heard[task.wf_run_id] = task.wait_cancelled(10)

    async def handle(task: Task) -> str:
        await asyncio.to_thread(stop_both, task)
        return "done"

    def handle_in_thread(task: Task) -> str:
        stop_both(task)
        return "done"

    world.run(monkeypatch, handle if is_async else handle_in_thread)
    assert heard == dict.fromkeys(("w0-0", "w0-1"), CancellationReason.STOPPED)
    assert [it.status for it in world.posted] == [TaskStatus.SUCCESS, TaskStatus.SUCCESS]


def test_a_coroutine_that_catches_its_cancellation_says_itself_what_came_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)

    async def handle(task: Task) -> str:
        threading.Timer(0.01, world.cancel, (task.wf_run_id, CancellationReason.LOST)).start()
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            world.cancel(task.wf_run_id, CancellationReason.FAILED_ABOVE)  # a second one does not disturb it
            await asyncio.sleep(0.01)
        return f"saved after {task.cancelled}"

    (report,) = world.run(monkeypatch, handle).posted
    assert (report.status, report.output) == (TaskStatus.SUCCESS, "saved after LOST")


@pytest.mark.parametrize("reason", USELESS)
@pytest.mark.parametrize("is_async", [False, True])
def test_an_attempt_that_is_cancelled_while_it_waits_is_not_started(
    monkeypatch: pytest.MonkeyPatch, reason: CancellationReason, is_async: bool
) -> None:
    world, begun = World(3), list[str]()

    def cancel_the_next(task: Task) -> None:
        begun.append(task.wf_run_id)
        if task.wf_run_id == "w0-0":
            assert world.worker is not None
            assert world.worker._session is not None
            work = world.worker._session._work
            wait_until("the next request", lambda: work.concerns("w0-1"))
            world.cancel("w0-1", reason)

    async def handle(task: Task) -> None:
        await asyncio.to_thread(cancel_the_next, task)

    world.run(monkeypatch, handle if is_async else cancel_the_next)
    report = only_report(world, "w0-1")
    assert begun == ["w0-0", "w0-2"]
    assert world.committed_offsets() == {0: 3}
    if reason in FINAL:
        assert report is None
    else:
        assert report is not None
        assert (report.message or "").startswith("cancelled before it started: ")


def test_a_result_that_comes_after_the_time_out_is_not_sent_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)

    def handle(task: Task) -> str:
        world.cancel(task.wf_run_id, CancellationReason.TIMED_OUT)
        return "receipt"

    with capture_logs() as logs:
        world.run(monkeypatch, handle)
    (line,) = [it for it in logs if it["event"] == "report_not_sent"]
    assert (line["status"], line["reason"], line["wf_run_id"]) == ("SUCCESS", "its time was up", "w0-0")
    assert world.posted == []
    assert world.committed_offsets() == {0: 1}


def test_a_task_has_a_log_whose_lines_name_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as logs:
        World(1).run(monkeypatch, lambda task: task.log.info("charging", cents=5))
    (line,) = [it for it in logs if it["event"] == "charging"]
    assert {**WHOSE, "cents": 5}.items() <= line.items()


def test_threads_that_a_coroutine_leaves_behind_are_waited_for_within_the_grace_and_then_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, let_go, hung = World(1), threading.Event(), list[threading.Thread]()
    world.grace_s = 0.3

    def hang() -> None:
        hung.append(threading.current_thread())
        let_go.wait(30)

    async def handle(task: Task) -> None:
        asyncio.get_running_loop().run_in_executor(None, hang)
        while not hung:  # noqa: ASYNC110  no event is worth the lines
            await asyncio.sleep(0.001)

    before = time.monotonic()
    with capture_logs() as logs:
        world.run(monkeypatch, handle)
    let_go.set()
    assert world.drained
    assert 0.2 < time.monotonic() - before < 10
    assert [it["running"] for it in logs if it["event"] == "threads_given_up"] == [1]
    assert hung[0].daemon  # others keep the process


def test_a_coroutine_may_run_as_much_in_threads_as_handlers_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "LOOP_THREADS_MIN", 1)
    world, all_there = World(40, concurrency=40), threading.Barrier(40)

    async def handle(_: Task) -> None:
        await asyncio.to_thread(all_there.wait, 10)

    world.run(monkeypatch, handle)
    assert {it.status for it in world.posted} == {TaskStatus.SUCCESS}


def test_a_handler_that_exits_fails_its_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    (report,) = World(1).run(monkeypatch, lambda _: sys.exit(3)).posted
    assert (report.status, report.message) == (TaskStatus.FAILED, "SystemExit: 3")


def test_a_coroutine_of_a_plain_function_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async def charge() -> str:
        return "receipt"

    (report,) = World(1).run(monkeypatch, lambda _: charge()).posted
    assert "make it `async def`" in (report.message or "")


@pytest.mark.parametrize("raised", [ValueError("no"), BusinessException("no-stock", "no"), asyncio.CancelledError("x")])
def test_what_a_coroutine_raises_is_reported(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> None:
    async def failing(_: Task) -> None:
        raise raised

    (report,) = World(1).run(monkeypatch, failing).posted
    is_business = isinstance(raised, BusinessException)
    assert report.status is (TaskStatus.EXCEPTION if is_business else TaskStatus.FAILED)


@pytest.mark.parametrize("number", range(len(BAD_VALUES)))
def test_a_result_that_no_record_can_hold_fails_the_attempt_at_once(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (report,) = World(1).run(monkeypatch, lambda _: BAD_VALUES[number]).posted
    assert report.status is TaskStatus.FAILED
    assert report.message is not None
    assert report.message.startswith("its result cannot be reported: output")
    assert "expected" in report.message


@pytest.mark.parametrize("number", range(len(GOOD_VALUES)))
def test_a_result_that_is_a_value_is_reported(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    (report,) = World(1).run(monkeypatch, lambda _: GOOD_VALUES[number]).posted
    assert report.status is TaskStatus.SUCCESS


@pytest.mark.parametrize("message", ["\ud800", "x" * 1_000_000, "\x00"])
def test_what_a_handler_raises_is_reported_whatever_its_text(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    def failing(_: Task) -> Value:
        raise RuntimeError(message)

    with capture_logs() as logs:
        (report,) = World(1).run(monkeypatch, failing).posted
    assert report.status is TaskStatus.FAILED
    assert (report.message or "").startswith("RuntimeError: ")
    for line in logs:  # a log on stdout takes UTF-8 only
        assert len(str(line).encode()) < 50_000


def test_a_record_that_is_no_request_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody passes over it: it may be a request of a later release."""
    world = World(3)
    world.codec = SimpleNamespace(decode=lambda _: CODEC.decode(b"?"), prepare=lambda *_: None)
    with pytest.raises(session.UnreadableRequest, match=r"^task-requests\[0\]@0: expected Avro"):
        world.run(monkeypatch)
    assert world.committed_offsets().get(0, 0) == 0


def test_a_task_worker_that_was_stopped_may_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(2).run(monkeypatch)
    assert world.worker is not None
    world.queues[0].append(2)
    world.requests += 1
    assert world.worker.run(grace_s=1)
    assert world.committed_offsets() == {0: 3}


def test_a_coroutine_that_cancels_itself_fails_its_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(_: Task) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    posted = World(2).run(monkeypatch, handle).posted
    assert [it.status for it in posted] == [TaskStatus.FAILED] * 2


class WithoutText(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class Incomplete(BusinessException):
    """A subclass that does not call our __init__."""

    def __init__(self) -> None:
        pass


class Nameless(BusinessException):
    @property
    def name(self) -> str:
        raise KeyError

    @name.setter
    def name(self, _: str) -> None:
        pass


@pytest.mark.parametrize(
    "raised", [WithoutText(), Incomplete(), Nameless("fine"), UnicodeDecodeError("x", b"", 0, 1, "")]
)
def test_what_a_handler_raises_is_reported_whatever_its_class(
    monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def failing(_: Task) -> Value:
        raise raised

    (report,) = World(1).run(monkeypatch, failing).posted
    assert report.status is TaskStatus.FAILED


@pytest.mark.parametrize("number", range(len(BAD_VALUES)))
def test_a_business_exception_whose_content_no_record_can_hold_fails_the_attempt(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(_: Task) -> Value:
        raise BusinessException("no-stock", content=BAD_VALUES[number])

    (report,) = World(1).run(monkeypatch, failing).posted
    assert report.status is TaskStatus.FAILED
    assert "content" in (report.message or "")


WHOSE = {"task_def": "t", "wf_run_id": "w0-0", "thread": 0, "attempt": 1}


def logged(monkeypatch: pytest.MonkeyPatch, handle: Callable[[Task], Value]) -> list[dict[str, Any]]:
    """The lines of the log about one attempt. Each names the attempt."""
    with capture_logs() as logs:
        World(1).run(monkeypatch, handle)
    lines: list[dict[str, Any]] = [dict(it) for it in logs if it.get("task_def")]
    for line in lines:
        assert {name: line.get(name) for name in WHOSE} == WHOSE
    return lines


def test_a_bug_of_a_handler_is_logged_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: Task) -> Value:
        raise KeyError("price")

    (line,) = logged(monkeypatch, failing)
    assert line["event"] == "attempt_failed"
    assert "in failing" in line["stack"]
    assert line["stack"].endswith("KeyError: 'price'")


def test_an_input_that_does_not_fit_is_told_without_the_traceback_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: Task) -> Value:
        raise Unfit("photo.part: expected int, found STR")

    (line,) = logged(monkeypatch, failing)
    assert (line["event"], line["error"]) == ("attempt_failed", "photo.part: expected int, found STR")
    assert "stack" not in line


def test_a_result_that_cannot_be_reported_is_logged_with_its_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = logged(monkeypatch, lambda _: {1: 2})  # type: ignore[dict-item, return-value]
    assert line["event"] == "result_unfit"


def test_an_attempt_that_is_too_late_is_logged_as_the_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.halter.test_task_worker.DEADLINE_MS", 0)
    (line,) = logged(monkeypatch, lambda _: None)
    assert line["event"] == "expired"


def test_a_business_exception_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: Task) -> Value:
        raise BusinessException("no-stock")

    assert logged(monkeypatch, failing) == []


@pytest.mark.parametrize(
    ("handlers", "sentence"),
    [
        (None, "expected handlers as a mapping of a TaskDef's name to what is called, found None"),
        (
            print,
            "expected handlers as a mapping of a TaskDef's name to what is called, found builtin_function_or_method",
        ),
        ([("t", print)], "expected handlers as a mapping of a TaskDef's name to what is called, found list"),
        ({"t": print, 5: print}, "handlers: expected names of TaskDefs, found int"),
        *(
            ({name: print}, f"(not first or last), found {name!r}")
            for name in ("", " ", "a/b", "-t", "charge_card", "t\n", "\ud800")
        ),
        ({"x" * 1_000: print}, f"found {'x' * 80!r}"),
        ({"t": "charge"}, "handlers['t']: expected a function of one Task, found str"),
        ({"t": None}, "handlers['t']: expected a function of one Task, found None"),
    ],
)
def test_handlers_are_names_of_task_defs_and_what_is_called(handlers: Any, sentence: str) -> None:
    with pytest.raises(WorkerNotStarted) as refused:
        TaskWorker(World(0), handlers)  # type: ignore[arg-type]
    assert str(refused.value).endswith(sentence)


def test_a_task_worker_without_handlers_does_not_start() -> None:
    with pytest.raises(WorkerNotStarted, match="expected a handler for at least one TaskDef, found none"):
        TaskWorker(World(0)).run()  # type: ignore[arg-type]


BAD_NAMES: list[Any] = [
    "", "bad name!", "-x", "x-", "_x", "x_", "a/b", "é", "x" * 129, "\ud800", "a\n", None, 5, b"x", *sorted(RESERVED),
    "ERROR", "EXCEPTION",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_business_exception_has_a_name_that_the_engine_takes(monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    with pytest.raises(BadExceptionName, match="expected"):
        BusinessException(name)

    def failing(_: Task) -> Value:
        raise BusinessException(name, "no")

    def renamed(_: Task) -> Value:
        exception = BusinessException("fine", "no")
        exception.name = name
        raise exception

    for handler in (failing, renamed):
        (report,) = World(1).run(monkeypatch, handler).posted
        assert report.status is TaskStatus.FAILED
        assert "expected" in (report.message or "")


@pytest.mark.parametrize("name", ["x", "no-stock", "no_stock", "NO-STOCK", "7", "x" * 128, "timeout", "Error"])
def test_other_names_are_reported_as_they_are(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def failing(_: Task) -> Value:
        raise BusinessException(name, "no")

    (report,) = World(1).run(monkeypatch, failing).posted
    assert (report.status, report.failure_name) == (TaskStatus.EXCEPTION, name)


@given(name=st.text(st.sampled_from("aZ09-_ é!\n"), max_size=6) | st.sampled_from(sorted(RESERVED)))
def test_a_name_can_be_raised_exactly_if_the_engine_takes_it(name: str) -> None:
    try:
        BusinessException(name)
        raised = True
    except BadExceptionName:
        raised = False
    rig = ShardRig()
    rig.turn(PutTaskDef("t"), PutWfSpec("s", to_json(WITH_A_TASK)))
    rig.turn(RunWf("w", "s"))
    report = ReportTaskRun("w", rig.shard.wf_runs["w"].incarnation, 0, 1, 1, TaskStatus.EXCEPTION, None, name)
    assert raised == (rig.events(report) != ["Rejected"])


WITH_A_TASK: Any = {
    "name": "s",
    "entrypoint": "main",
    "threads": {
        "main": {
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "work"},
                "work": {"kind": "TASK", "task": "t", "next": "done"},
                "done": {"kind": "EXIT"},
            }
        }
    },
}


class CodecWithRegistry:
    """The codec, behind a registry that is away for some questions."""

    encode, check_record = staticmethod(CODEC.encode), staticmethod(CODEC.check_record)

    def __init__(self, away_for: Iterable[int], at_question: Callable[[int], None] = lambda _: None) -> None:
        self.away_for, self.at_question, self.questions = set(away_for), at_question, 0

    def _ask(self) -> None:
        self.questions += 1
        self.at_question(self.questions)
        if self.questions in self.away_for:
            raise RegistryUnavailable("cannot ask")

    def prepare(self, names: Iterable[str]) -> None:
        assert set(names) == session.NEEDED
        self._ask()

    def decode(self, data: bytes) -> Any:
        self._ask()
        return CODEC.decode(data)


def test_a_registry_that_is_away_is_waited_for_before_a_task_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ASKED_AGAIN_SECONDS", 0.0)
    world = World(3)
    world.codec = CodecWithRegistry({1, 2, 5, 6})
    world.run(monkeypatch)
    assert [report.status for report in world.posted] == [TaskStatus.SUCCESS] * 3
    assert world.committed_offsets() == {0: 3}
    assert world.codec.questions == 8


def test_who_is_told_to_stop_while_he_waits_leaves_the_request_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ASKED_AGAIN_SECONDS", 0.0)
    world = World(3)

    def stop_at_the_fifth(question: int) -> None:
        if question == 5:
            assert world.worker is not None
            world.worker.stop()

    world.codec = CodecWithRegistry(range(3, 100), stop_at_the_fifth)
    world.run(monkeypatch)
    assert len(world.posted) == world.held[0].offset == 1
