"""Forks through the fold of a partition: their records, rows, what a restart finds, and what comes in as bytes."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.core.records.commands import (
    ExternalEvent,
    ForkWfRun,
    PutWfSpec,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    StartTaskRun,
    StopWfRun,
)
from processors.core.records.events import Rejected, RejectionCode, TaskRequest, WfRunForked
from processors.core.records.failures import VAR_ERROR, failure_of
from processors.core.records.model import Status, TaskRunStatus, Timer, TimerKind, WfRun
from processors.core.records.values import TIME_MS_MAX, to_json
from processors.core.rules.snapshots import snapshot_of
from processors.fold.inputs import DeadLetterReason
from tests.fold.test_hostile import SPEC, Outcomes, hostile, rig_with
from tests.support.shard_rig import ShardRig
from tests.support.states import thread_key

SOURCE, FORK = "source", "fork"


def rig_at_work() -> ShardRig:
    """Return a shard with a WfRun that is interrupted while its task is out, and has an ExternalEvent to come."""
    rig = rig_with()
    rig.turn(RunWf(SOURCE, "s", {"any": [1, 2]}), ExternalEvent(SOURCE, "go", "g1", "text"))
    rig.turn(ExternalEvent(SOURCE, "stop", "s1", "why"), ExternalEvent(SOURCE, "go", "g2", "later"))
    return rig


def source(rig: ShardRig) -> WfRun:
    return rig.shard.wf_runs[SOURCE]


def threads_of(run: WfRun) -> list[Any]:
    return [thread_key(it) for it in run.threads.values()]


# (rules fork-starts-and-forks, fork-requests-tasks-anew)
@pytest.mark.parametrize("rows", [True, False])
def test_a_fork_is_there_after_a_restart_from_rows_and_from_the_log(rows: bool) -> None:
    rig = rig_at_work()
    came = rig.turn(ForkWfRun(FORK, snapshot_of(source(rig))), rows=rows)
    [request] = [it for it in came if isinstance(it, TaskRequest)]
    assert (request.wf_run_id, request.attempt, request.input) == (FORK, 1, {"any": [1, 2]})
    live = threads_of(rig.shard.wf_runs[FORK])
    rig.crash()
    assert threads_of(rig.shard.wf_runs[FORK]) == live == threads_of(source(rig))
    assert [*rig.shard.wf_runs[FORK].external_events] == [*source(rig).external_events]
    assert rig.events(StopWfRun(FORK), ResumeWfRun(FORK)) == ["Halt", "HaltReasonResolved"]


def test_the_timers_of_a_fork_fire() -> None:
    rig = rig_with()
    rig.turn(RunWf(SOURCE, "s"))
    rig.now_ms += 20_000
    snapshot = snapshot_of(source(rig), rig.now_ms)
    rig.now_ms += 3_600_000
    rig.turn(ForkWfRun(FORK, snapshot))
    rig.now_ms += 39_999
    assert not [it for it in rig.fire_due() if it.wf_run_id == FORK]
    rig.now_ms += 1
    assert [type(it.event).__name__ for it in rig.fire_due()][:2] == ["TimerMatured", "ThreadFailed"]


def test_told_to_write_an_earlier_release_a_worker_refuses_to_fork() -> None:
    rig = ShardRig(release="0.2.0")
    command = ForkWfRun(FORK, snapshot_of(source(rig_at_work())))
    [entry] = rig.log(rig.record("wf-commands", FORK.encode(), rig_with().codec.encode(command)))
    assert isinstance(entry.event, Rejected)
    assert entry.event.code is RejectionCode.FAILED_PRECONDITION


def test_a_state_that_is_too_large_is_a_dead_letter() -> None:
    rig = rig_at_work()
    snapshot = snapshot_of(source(rig))
    main = replace(snapshot.threads[0], variables=snapshot.threads[0].variables | {"text": "x" * 300_000})
    rig.turn(ForkWfRun(FORK, replace(snapshot, threads=[main])))
    [letter] = [it for it in rig.outputs if it.topic == "dead-letters"]
    assert dict(letter.headers)["halter.reason"].decode() == DeadLetterReason.TOO_LARGE


@hostile
@given(
    changes=st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.none() | st.integers(0, 500),
)
def test_whatever_bytes_a_fork_has_the_partition_goes_on(changes: list[tuple[int, int]], cut: int | None) -> None:
    outcomes = Outcomes(rig_at_work())
    rig = outcomes.rig
    value = bytearray(rig.codec.encode(ForkWfRun(FORK, snapshot_of(source(rig)))))
    for place, byte in changes:
        value[10 + place % (len(value) - 10)] = byte
    outcomes.fold(rig.record("wf-commands", FORK.encode(), bytes(value[:cut])))
    if FORK in rig.shard.wf_runs:
        outcomes.fold(*(rig.command(it) for it in (ExternalEvent(FORK, "go", "x", "y"), StopWfRun(FORK))))
        rig.now_ms += 120_000
        rig.fire_due()
        outcomes.fold(rig.command(ResumeWfRun(FORK)))
        rig.crash()
        outcomes.fold(rig.command(ExternalEvent(FORK, "stop", "z", "y")))
    outcomes.goes_on()


@pytest.mark.parametrize("time_ms", [-(2**63), 2**63 - 1])
@pytest.mark.parametrize("field", ["start_by_ms", "retry_at_ms"])
def test_a_fork_is_written_whatever_times_its_attempt_has(field: str, time_ms: int) -> None:
    rig = rig_at_work()
    snapshot = snapshot_of(source(rig))
    main = snapshot.threads[0]
    assert main.node.task is not None
    task = replace(main.node.task, **{field: time_ms})
    timer = Timer(TimerKind.TASK_TIMEOUT, 2**63 - 1)
    if field == "retry_at_ms":
        task, timer = replace(task, status=TaskRunStatus.RETRYING), replace(timer, kind=TimerKind.TASK_BACKOFF)
    node = replace(main.node, task=task, timer=timer)
    odd = replace(snapshot, at_ms=TIME_MS_MAX, threads=[replace(main, node=node)])
    spec = copy.deepcopy(SPEC)
    spec["threads"]["main"]["nodes"]["work"]["run_timeout_s"] = 60
    rig.turn(PutWfSpec("s", to_json(spec)))
    assert "WfRunForked" in rig.events(ForkWfRun(FORK, odd, 0, 1))


BELOW = {
    "name": "below",
    "entrypoint": "main",
    "threads": {
        "main": {
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "child"},
                "child": {"kind": "START_THREAD", "thread": "child", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "done"},
                "done": {"kind": "EXIT"},
            }
        },
        "child": {
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "work"},
                "work": {"kind": "TASK", "task": "work", "next": "done"},
                "done": {"kind": "EXIT"},
            }
        },
    },
}


def test_an_attempt_of_a_forged_state_that_was_rescued_past_is_not_started() -> None:
    rig = rig_with(BELOW)
    rig.turn(RunWf(SOURCE, "below"))
    snapshot = snapshot_of(source(rig))
    main, child = snapshot.threads
    failure = failure_of(VAR_ERROR, "forged: its attempt is out")
    node = replace(child.node, timer=None, failure=failure)
    failed = replace(child, status=Status.ERROR, failure=failure, ended_ms=snapshot.at_ms, node=node)
    rig.turn(ForkWfRun(FORK, replace(snapshot, threads=[main, failed])), StopWfRun(FORK))
    assert rig.events(RescueThreadRun(FORK, 1, skip_current_node=True)) == ["ThreadRescued", "Halt"]
    fork = rig.shard.wf_runs[FORK]
    assert fork.threads[1].task_out
    assert rig.events(StartTaskRun(FORK, fork.incarnation, 1, child.node.position, 1)) == ["Rejected"]


def test_the_event_is_complete_without_the_log_of_the_source() -> None:
    rig = rig_at_work()
    rig.log(ForkWfRun(FORK, snapshot_of(source(rig))))
    of_fork = [rig.codec.decode(value or b"") for key, value in rig.log_records if key == FORK.encode()]
    forked = of_fork[1].event  # type: ignore[union-attr]
    assert isinstance(forked, WfRunForked)
    assert {it.wf_run_id for it in (*forked.threads, *forked.external_events)} == {FORK}
