"""Task attempts through the fold of a partition: requests, rows, timers, what a restart finds, earlier releases."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from processors.core.records.commands import (
    PutTaskDef,
    PutWfSpec,
    QuarantineWfRun,
    ReleaseWfRun,
    ReportTaskProgress,
    ReportTaskRun,
    RunWf,
    StartTaskRun,
)
from processors.core.records.events import (
    DefinitionRejected,
    Rejected,
    RejectionCode,
    TaskAttemptEnded,
    TaskAttemptStarted,
    TaskRequest,
)
from processors.core.records.model import TaskStatus
from tests.support.shard_rig import START_MS, ShardRig

NODES = {
    "start": {"kind": "ENTRYPOINT", "next": "work"},
    "work": {"kind": "TASK", "task": "t", "queue_timeout_s": 100, "run_timeout_s": 10, "retries": 1, "next": "end"},
    "end": {"kind": "EXIT"},
}
SPEC = {"name": "s", "entrypoint": "main", "threads": {"main": {"nodes": NODES}}}


def rig_at_work(release: str | None = None) -> tuple[ShardRig, TaskRequest]:
    """Return a shard with a WfRun whose first attempt is out, and the request."""
    rig = ShardRig(release=release)
    rig.turn(PutTaskDef("t"), PutWfSpec("s", json.dumps(SPEC)))
    (request,) = [it for it in rig.turn(RunWf("w", "s")) if isinstance(it, TaskRequest)]
    return rig, request


def named(request: TaskRequest) -> tuple[Any, ...]:
    return request.wf_run_id, request.incarnation, request.thread, request.position, request.attempt


# (rule queueing-is-not-running)
def test_a_request_says_by_when_it_must_be_started() -> None:
    _, request = rig_at_work()
    assert (request.start_by_ms, request.deadline_ms) == (START_MS + 100_000, START_MS + 110_000)
    assert request.progress is None


@pytest.mark.parametrize("rows", [True, False])
def test_what_was_started_and_reported_is_there_after_a_restart_from_rows_and_from_the_log(rows: bool) -> None:
    rig, request = rig_at_work()
    rig.now_ms += 30_000
    rig.turn(StartTaskRun(*named(request)), ReportTaskProgress(*named(request), {"line": 3}), rows=rows)
    before = rig.shard.wf_runs["w"].threads[0].node
    rig.crash()
    assert rig.shard.wf_runs["w"].threads[0].node == before
    rig.now_ms += 10_000
    came = rig.fire_due()
    assert [type(it.event).__name__ for it in came] == ["TaskAttemptEnded", "TaskAttemptRequested"]
    (again,) = [it for it in map(rig.codec.decode, _values(rig, "task-requests")) if getattr(it, "attempt", 0) == 2]
    assert isinstance(again, TaskRequest)
    assert (again.progress, again.start_by_ms) == ({"line": 3}, rig.now_ms + 100_000)


def _values(rig: ShardRig, topic: str) -> list[bytes]:
    return [it.value for it in rig.outputs if it.topic == topic and it.value is not None]


def test_no_timer_fires_for_an_attempt_that_was_started_before_its_own_time() -> None:
    rig, request = rig_at_work()
    rig.now_ms += 99_999
    rig.turn(StartTaskRun(*named(request)))
    rig.now_ms += 9_999
    assert rig.fire_due() == []
    rig.now_ms += 1
    (ended, _) = rig.fire_due()
    assert isinstance(ended.event, TaskAttemptEnded)
    assert ended.event.status is TaskStatus.TIMEOUT


# (rule quarantine-stops-time)
def test_a_start_that_a_quarantine_kept_is_in_time_by_its_own_record() -> None:
    rig, request = rig_at_work()
    rig.turn(QuarantineWfRun("w"))
    rig.now_ms += 50_000
    rig.turn(StartTaskRun(*named(request)))
    rig.now_ms += 3_600_000
    entries = rig.log(ReleaseWfRun("w"))
    (started,) = [it.event for it in entries if isinstance(it.event, TaskAttemptStarted)]
    assert (started.started_ms, started.deadline_ms) == (START_MS + 50_000, START_MS + 60_000)


COMMANDS: list[Callable[[TaskRequest], Any]] = [
    lambda request: StartTaskRun(*named(request)),
    lambda request: ReportTaskProgress(*named(request), 1),
]


@pytest.mark.parametrize("release", ["0.1.0", "0.2.0"])
def test_beside_workers_of_an_earlier_release_nothing_is_said_that_they_cannot_read(release: str) -> None:
    rig = ShardRig(release=release)
    (refused,) = [it for it in rig.turn(PutTaskDef("t"), PutWfSpec("s", json.dumps(SPEC))) if _is_refused(it)]
    assert refused.code == RejectionCode.FAILED_PRECONDITION
    assert "queue_timeout_s and run_timeout_s" in refused.message
    plain = json.loads(json.dumps(SPEC).replace('"queue_timeout_s": 100, "run_timeout_s": 10', '"timeout_s": 10'))
    rig.turn(PutWfSpec("s", json.dumps(plain)))
    (request,) = [it for it in rig.turn(RunWf("w", "s")) if isinstance(it, TaskRequest)]
    today = ShardRig().codec
    for command in COMMANDS:
        [entry] = rig.log(rig.record("task-reports", b"w", today.encode(command(request))))
        assert isinstance(entry.event, Rejected)
        assert entry.event.code is RejectionCode.FAILED_PRECONDITION
    assert "WfRunEnded" in rig.events(ReportTaskRun(*named(request), TaskStatus.SUCCESS))


def _is_refused(came: Any) -> bool:
    return isinstance(came, DefinitionRejected)
