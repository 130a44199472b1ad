"""The task worker over a queue in memory, with clocks that handlers move on."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from halter.client import NotDelivered, Sending, registry
from halter.client.arguments import Arguments
from halter.task_worker import worker as task_worker
from halter.task_worker.worker import (
    UNCOMMITTED_MAX,
    BadExceptionName,
    BusinessException,
    Task,
    TaskWorker,
    WorkerNotStarted,
)
from processors.codec import Codec
from processors.codec.registry import RegistryUnavailable
from processors.core.records.commands import PutTaskDef, PutWfSpec, ReportTaskRun, RunWf, TaskStatus
from processors.core.records.events import TaskRequest
from processors.core.records.failures import RESERVED
from processors.core.records.values import Value, to_json
from tests.support.odd_values import BAD_VALUES, GOOD_VALUES
from tests.support.shard_rig import ShardRig

CODEC = Codec.load()
DEADLINE_MS = 60_000


class Request:
    """A record of the queue."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def value(self) -> bytes:
        return CODEC.encode(TaskRequest(f"w{self._offset}", 0, 0, 1, 1, "t", {}, 0, DEADLINE_MS))

    def offset(self) -> int:
        return self._offset

    def topic(self) -> str:
        return "task-requests"

    def partition(self) -> int:
        return 0

    def error(self) -> None:
        return None


class World:
    """A queue of requests, a client, and a record of what was done in which order."""

    def __init__(self, requests: int, handler_ms: int = 0) -> None:
        self.now_ms, self.left, self.next = 0, requests, 0
        self.done: list[str] = []
        self.posted_ms: list[int] = []
        self.posted: list[ReportTaskRun] = []
        self.in_flight: list[Sending] = []
        self.delivered = self.committed = 0
        self.between_polls_ms_max = 0
        self.fails = False
        self._polled_ms, self._handler_ms = 0, handler_ms
        self.worker: TaskWorker | None = None
        self.on_revoke: Callable[[Any, list[TopicPartition]], None] = lambda *_: None
        self.codec: Any = CODEC
        self.topics = SimpleNamespace(
            task_queue=lambda _: "task-requests",
            task_group="workers",
            task_reports="task-reports",
            wf_events="wf-events",
        )
        self.reader = SimpleNamespace(expect=lambda _: None)
        self.settings = SimpleNamespace(consumer=lambda **_: {}, explaining=self._explaining)

    @contextmanager
    def _explaining(self, _: str, *_more: Any) -> Iterator[None]:
        yield

    # The consumer's side.

    def subscribe(self, _: list[str], on_revoke: Callable[[Any, list[TopicPartition]], None]) -> None:
        self.on_revoke = on_revoke

    def poll(self, seconds: float) -> Request | None:
        self.between_polls_ms_max = max(self.between_polls_ms_max, self.now_ms - self._polled_ms)
        self._polled_ms = self.now_ms
        if self.next == self.left:
            self.now_ms += int(seconds * 1000)
            return None
        self.next += 1
        return Request(self.next - 1)

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert not asynchronous
        assert not self.in_flight, "an offset is committed after the reports are delivered"
        (offset,) = offsets
        self.committed = offset.offset
        self.done.append(f"commit {self.committed}")

    def close(self) -> None:
        self.on_revoke(None, [])

    # The client's side.

    check = Arguments(CODEC).encoded

    def send_soon(self, report: ReportTaskRun, value: bytes) -> Sending:
        assert CODEC.record_name(value) == "ReportTaskRun"
        self.posted_ms.append(self.now_ms)
        self.posted.append(report)
        sent = Sending("task-reports", report.wf_run_id)
        self.in_flight.append(sent)
        return sent

    def until_delivered(self, sending: Iterable[Sending]) -> None:
        if self.fails:
            raise NotDelivered("no")
        for report in sending:
            self.in_flight.remove(report)
            self.delivered += 1
        self.done.append(f"delivered {self.delivered}")

    # The handler, and the run.

    def handle(self, _: Task) -> Value:
        self.now_ms += self._handler_ms
        return None

    def run(self, monkeypatch: pytest.MonkeyPatch, handle: Callable[[Task], Value] | None = None) -> "World":
        monkeypatch.setattr(task_worker, "Consumer", lambda _: self)
        handlers = {"t": handle or self.handle}
        clocks: dict[str, Any] = {"clock_ms": lambda: self.now_ms, "monotonic": lambda: self.now_ms / 1000}
        with TaskWorker(self, handlers, **clocks) as self.worker:  # type: ignore[arg-type]
            take = self.worker._take_next

            def take_all() -> None:
                take()
                if self.next == self.left and not self.in_flight:
                    self.worker.stop()  # type: ignore[union-attr]

            monkeypatch.setattr(self.worker, "_take_next", take_all)
            self.worker.run()
        return self


def test_a_report_is_sent_when_its_handler_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(100, handler_ms=2_000).run(monkeypatch)
    assert world.posted_ms == [2_000 * number for number in range(1, 31)], "and what is past its deadline is skipped"
    assert world.committed == 100


def test_the_group_hears_from_a_slow_worker_between_two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(20, handler_ms=2_500).run(monkeypatch)
    assert world.between_polls_ms_max == 2_500


def test_offsets_of_slow_tasks_follow_each_report(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(3, handler_ms=2_000).run(monkeypatch)
    assert world.done[:4] == ["delivered 1", "commit 1", "delivered 2", "commit 2"]


def test_reports_of_quick_tasks_are_waited_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(2 * UNCOMMITTED_MAX + 1).run(monkeypatch)
    commits = [did for did in world.done if did.startswith("commit")]
    # The first report is committed alone: the time for a commit has come already.
    assert commits == ["commit 1", f"commit {UNCOMMITTED_MAX + 1}", f"commit {2 * UNCOMMITTED_MAX + 1}"]


def test_a_worker_that_is_told_to_stop_begins_no_other_task(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(100)

    def stopping(_: Task) -> Value:
        if world.next == 5:
            assert world.worker is not None
            world.worker.stop()
        return None

    world.run(monkeypatch, stopping)
    assert (world.delivered, world.committed) == (5, 5)


def test_partitions_are_not_given_up_before_what_is_done_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(10)

    def interrupted(_: Task) -> Value:
        if world.next == 5:
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        world.run(monkeypatch, interrupted)
    assert (world.delivered, world.committed) == (4, 4), "the fifth is somebody else's"


def test_without_its_report_no_offset_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(3)
    world.fails = True
    with pytest.raises(NotDelivered):
        world.run(monkeypatch)
    assert world.committed == 0


def test_a_group_that_moved_on_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    refusals = []

    def refused(offsets: list[TopicPartition], asynchronous: bool) -> None:
        refusals.append((offsets, asynchronous))
        raise KafkaException("ILLEGAL_GENERATION")

    monkeypatch.setattr(world, "commit", refused)
    world.run(monkeypatch)
    assert len(refusals) == 1


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

    (report,) = World(1).run(monkeypatch, failing).posted
    assert report.status is TaskStatus.FAILED


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


WHOSE = {"task_def": "t", "wf_run_id": "w0", "thread": 0, "attempt": 1}


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
        ({}, "expected a handler for at least one TaskDef, found none"),
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
        assert set(names) == {"TaskRequest", "ReportTaskRun"}
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
    assert world.committed == 3
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
    assert len(world.posted) == world.committed == 1
