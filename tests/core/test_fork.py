"""Forks: a WfRun that starts from the state of another goes on as that one did, and nothing else comes in that way."""

import json
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from halter.files.scenario_document import read_scenario
from halter.scenarios.comparison import difference
from halter.scenarios.memory import MemoryEngine
from halter.show.plain import plain
from processors.codec import Codec, CodecError
from processors.core.records.commands import (
    Command,
    DeleteWfRun,
    ExternalEvent,
    ForkWfRun,
    ReportTaskProgress,
    ReportTaskRun,
    ResumeWfRun,
    StartTaskRun,
    TimerFired,
)
from processors.core.records.events import (
    Cause,
    LogEntry,
    Rejected,
    RejectionCode,
    TaskAttemptRequested,
    WfRunForked,
    WfRunStarted,
)
from processors.core.records.model import (
    TERMINAL,
    AcceptedInterrupt,
    ExternalEventOutcome,
    ExternalEventStatus,
    Failure,
    FailureClass,
    HaltedByParent,
    Interrupted,
    ManualHalt,
    ParentHalted,
    PendingFailure,
    PendingInterrupt,
    Status,
    TaskRun,
    TaskRunStatus,
    TaskStatus,
    ThreadRun,
    ThreadType,
    ThreadWait,
    Timer,
    TimerKind,
    UnstartedFailureHandler,
    WfRun,
    WfRunExternalEvent,
    WfRunSnapshot,
    WfSpecId,
)
from processors.core.rules.context import Limits
from processors.core.rules.engine import handle, new_run
from processors.core.rules.snapshots import snapshot_of
from tests.core.test_properties import FEW_THREADS, START_MS, numbers, small, thorough
from tests.core.test_properties import History as RandomHistory
from tests.support import random_specs
from tests.support.checked_engine import CheckedEngine
from tests.support.random_commands import RUN_ID
from tests.support.scenario import RUN, History, event, report, stop
from tests.support.scenario import given as given_
from tests.support.states import thread_key

FORK = "fork"
HOUR_MS = 3_600_000


def fork(history: History, after_ms: int = 0, **changes: Any) -> list[LogEntry]:
    """Fork the WfRun of a history as it is now, so long afterwards."""
    snapshot = replace(snapshot_of(history.run, history.engine.time_ms), **changes)
    history.engine.time_ms += after_ms
    return history.engine.put(ForkWfRun(FORK, snapshot))


def kinds(entries: list[LogEntry]) -> list[str]:
    return [type(entry.event).__name__ for entry in entries]


def rejection(entries: list[LogEntry]) -> Rejected:
    [entry] = entries
    assert isinstance(entry.event, Rejected), entry
    return entry.event


# The start.


# (rules fork-starts-and-forks, fork-requests-tasks-anew)
def test_a_fork_starts_and_goes_on_from_the_state_and_its_tasks_are_requested_anew() -> None:
    history = given_("task-and-child", RUN, event("i"))
    entries = fork(history, HOUR_MS)
    assert kinds(entries) == ["WfRunStarted", "WfRunForked", "TaskAttemptRequested", "TaskAttemptRequested"]
    assert [entry.seq for entry in entries] == [1, 2, 3, 4]
    assert {entry.time_ms for entry in entries} == {START_MS + HOUR_MS}
    forked = entries[1].event
    assert isinstance(forked, WfRunForked)
    assert (forked.source_wf_run_id, forked.source_seq) == (RUN_ID, history.run.seq)
    for entry in entries[2:]:
        assert isinstance(entry.event, TaskAttemptRequested)
        assert (entry.event.attempt, entry.event.deadline_ms) == (1, START_MS + HOUR_MS + 60_000)
    history.engine.crash()
    source, copy = history.run, history.engine.runs[FORK]
    assert [*map(thread_key, copy.threads.values())] == [*map(thread_key, source.threads.values())]
    assert copy.started_ms == START_MS + HOUR_MS


# (rule fork-requests-tasks-anew)
def test_a_report_to_the_source_does_not_reach_the_fork() -> None:
    history = given_("task-and-child", RUN)
    fork(history)
    before = history.engine.replayed(FORK)
    history.when(report(0))
    assert difference(before, history.engine.runs[FORK]) is None


# (rule fork-keeps-remaining-time)
def test_a_timer_keeps_what_was_left_of_it() -> None:
    history = given_(
        """
        wf_specs:
          - name: small
            entrypoint: main
            threads:
              main:
                nodes:
                  start: {kind: ENTRYPOINT, next: sleep}
                  sleep: {kind: SLEEP, seconds: 60, next: end}
                  end: {kind: EXIT}
        """,
        RUN,
    )
    history.engine.pass_time(20_000)
    fork(history, 24 * HOUR_MS)
    sleeping = history.engine.runs[FORK]
    assert history.run.status is Status.RUNNING
    timer = sleeping.threads[0].node.timer
    assert timer is not None
    assert timer.due_ms == history.engine.time_ms + 40_000
    history.engine.pass_time(39_999)
    assert sleeping.status is Status.RUNNING
    history.engine.pass_time(1)
    assert history.engine.runs[FORK].status is Status.COMPLETED


# (rule fork-carries-external-events)
def test_external_events_come_along_and_are_known_again() -> None:
    history = given_("wait", RUN, event("done"))
    fork(history)
    again = history.engine.put(ExternalEvent(FORK, "done", "done1"))
    assert rejection(again).code is RejectionCode.ALREADY_EXISTS
    history.engine.put(ExternalEvent(FORK, "i", "i-new"))
    history.engine.crash()
    carried, new = history.engine.runs[FORK].external_events.values()
    assert (carried.posted_offset, carried.posted_seq) < (0, 0) <= (new.posted_offset, new.posted_seq)
    assert carried.status is ExternalEventStatus.CLAIMED, "the handler of the new one waits for it"


# (rule fork-takes-early-events)
def test_what_came_to_the_new_id_before_is_taken_as_if_it_came_now() -> None:
    history = given_("wait", RUN)
    history.engine.put(ExternalEvent(FORK, "i", "early"))
    assert kinds(fork(history))[:4] == ["WfRunStarted", "WfRunForked", "Halt", "ThreadHalted"]
    history.engine.crash()
    assert history.engine.runs[FORK].threads[0].halt_reasons == [Interrupted(1)]


# (rule fork-takes-early-events)
def test_an_event_of_the_state_that_came_to_the_new_id_too_is_in_the_way() -> None:
    history = given_("wait", RUN, event("done"))
    history.engine.put(ExternalEvent(FORK, "done", "done1"))
    assert rejection(fork(history)).code is RejectionCode.FAILED_PRECONDITION


WAITS_TEN_SECONDS = """
    external_events: {go: {}}
    wf_specs:
      - name: small
        entrypoint: main
        threads:
          main:
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, timeout_s: 10, next: end}
              end: {kind: EXIT}
    """


# (rules fork-keeps-remaining-time, event-in-time-wins)
@pytest.mark.parametrize(("came_after_s", "status"), [(5, Status.COMPLETED), (12, Status.ERROR), (None, Status.ERROR)])
def test_what_came_in_time_is_in_time_in_a_fork_too(came_after_s: int | None, status: Status) -> None:
    """Seqs say what came before the time-out, and those of a fork begin anew."""
    history = given_(WAITS_TEN_SECONDS, RUN, stop())
    for seconds in range(1, 21):
        history.engine.pass_time(1_000)
        if seconds == came_after_s:
            history.when(event("go"))
    fork(history, HOUR_MS)
    history.engine.put(ExternalEvent(FORK, "go", "later"))
    history.engine.put(ResumeWfRun(FORK))
    history.engine.crash()
    assert history.engine.runs[FORK].status is status


# (rule wf-run-id-used-once)
def test_the_id_of_a_fork_is_used_once_and_free_once_it_is_deleted() -> None:
    history = given_("wait", RUN)
    fork(history)
    assert rejection(fork(history)).code is RejectionCode.ALREADY_EXISTS
    history.engine.put(DeleteWfRun(FORK))
    assert kinds(fork(history)) == ["WfRunStarted", "WfRunForked"]


# (rule fork-of-a-live-run)
def test_no_fork_starts_from_a_wf_run_that_had_ended() -> None:
    history = given_("exit-with-children", RUN)
    live = snapshot_of(history.run)
    history.when(stop())
    failed = replace(
        live.threads[0],
        status=Status.ERROR,
        failure=Failure("TIMEOUT", "", FailureClass.ERROR),
        ended_ms=live.at_ms,
        node=replace(live.threads[0].node, timer=None),
    )
    ended = replace(live, threads=[failed, *live.threads[1:]])
    assert rejection(history.engine.put(ForkWfRun(FORK, ended))).code is RejectionCode.FAILED_PRECONDITION


def test_workers_beside_an_earlier_release_do_not_fork() -> None:
    history = given_("wait", RUN)
    history.engine.context = replace(history.engine.context, forks=False)
    assert rejection(fork(history)).code is RejectionCode.FAILED_PRECONDITION


WAITS: dict[str, Any] = {
    "variables": {"n": {"type": "INT", "default": 1}},
    "nodes": {
        "start": {"kind": "ENTRYPOINT", "next": "wait"},
        "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "end"},
        "end": {"kind": "EXIT"},
    },
}


def two_versions(second: dict[str, Any], first: dict[str, Any] = WAITS, **others: dict[str, Any]) -> History:
    """Return a WfRun of version 0.0, where another version is registered too, whose thread 0 differs in this."""
    threads = [{"main": it, **others} for it in (first, first | second)]
    specs = [{"name": "small", "entrypoint": "main", "threads": it} for it in threads]
    names = {"external_events": {"go": {}}, "tasks": {"t": {}}}
    history = given_(json.dumps(names | {"wf_specs": specs[:1]}), RUN)
    scenario, problems = read_scenario({"name": "second", "steps": [], "wf_specs": specs[1:]}, lambda name: name)
    assert scenario is not None, problems
    assert not history.engine.register(scenario.definitions)
    return history


# (rule fork-may-run-another-version)
def test_a_fork_runs_another_version_if_the_state_fits_it() -> None:
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "wait"},
        "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "more"},
        "more": {"kind": "SLEEP", "seconds": 1, "next": "end"},
        "end": {"kind": "EXIT"},
    }
    history = two_versions({"nodes": nodes})
    assert history.run.wf_spec == WfSpecId("small", 0, 0)
    latest = history.engine.context.definitions.latest_wf_spec("small")
    assert latest is not None
    assert latest != history.run.wf_spec
    entries = history.engine.put(ForkWfRun(FORK, snapshot_of(history.run), latest.major, latest.revision))
    assert isinstance(entries[0].event, WfRunStarted)
    assert entries[0].event.wf_spec == latest
    history.engine.put(ExternalEvent(FORK, "go", "g"))
    assert history.engine.runs[FORK].threads[0].node.node == "more"


# (rule fork-may-run-another-version)
def test_the_version_that_the_source_ran_need_not_be_there_if_another_is_named() -> None:
    history = two_versions({})
    history.engine.put(ExternalEvent(RUN_ID, "go", "g", thread=7))
    snapshot = snapshot_of(history.run)
    assert snapshot.external_events
    elsewhere = replace(snapshot, wf_spec=replace(snapshot.wf_spec, revision=9))
    assert rejection(history.engine.put(ForkWfRun(FORK, elsewhere))).code is RejectionCode.NOT_FOUND
    entries = history.engine.put(ForkWfRun(FORK, elsewhere, 0, 0))
    assert [type(it.event) for it in entries] == [WfRunStarted, WfRunForked]


# (rule fork-may-run-another-version)
@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ({"variables": {}}, "ThreadSpec 'main' has no Variable 'n'"),
        ({"variables": {"n": {"type": "STR"}}}, "Variable 'n': expected STR, found INT"),
        (
            {"nodes": {"start": {"kind": "ENTRYPOINT", "next": "end"}, "end": {"kind": "EXIT"}}},
            "ThreadSpec 'main' has no node 'wait'",
        ),
    ],
)
def test_a_version_that_the_state_does_not_fit_is_refused(second: dict[str, Any], problem: str) -> None:
    history = two_versions(second)
    latest = history.engine.context.definitions.latest_wf_spec("small")
    assert latest is not None
    refused = rejection(history.engine.put(ForkWfRun(FORK, snapshot_of(history.run), latest.major, latest.revision)))
    assert refused.code is RejectionCode.INVALID_ARGUMENT
    assert problem in refused.message


WORKS = {
    "start": {"kind": "ENTRYPOINT", "next": "work"},
    "work": {"kind": "TASK", "task": "t", "next": "end"},
    "end": {"kind": "EXIT"},
}


# (rule fork-may-run-another-version)
@pytest.mark.parametrize("halts", [True, False])
def test_a_version_by_which_what_waits_would_halt_otherwise_is_refused(halts: bool) -> None:
    """A handler that starts takes the place of the halt reason that waits for it: one of both would be missing."""
    interrupt = {"event": "go", "handler": "h"}
    first, second = ({"interrupts": [interrupt | {"halt": it}]} for it in (halts, not halts))
    history = two_versions(second, {"nodes": WORKS, **first}, h={"nodes": WORKS})
    history.when(stop())
    history.when(event("go"))
    latest = history.engine.context.definitions.latest_wf_spec("small")
    assert latest is not None
    snapshot = snapshot_of(history.run)
    assert snapshot.accepted_interrupts
    refused = rejection(history.engine.put(ForkWfRun(FORK, snapshot, latest.major, latest.revision)))
    assert refused.code is RejectionCode.INVALID_ARGUMENT
    assert f"says halt: {str(not halts).lower()}" in refused.message


@pytest.mark.parametrize("version", [(7, None), (0, 9), (None, 9)])
def test_a_version_that_is_not_there_is_refused(version: tuple[int, int | None]) -> None:
    history = given_("wait", RUN)
    refused = rejection(history.engine.put(ForkWfRun(FORK, snapshot_of(history.run), *version)))
    assert refused.code is RejectionCode.NOT_FOUND


# What follows: the same as from the source.


def told(entries: list[LogEntry]) -> list[Any]:
    """Return events without ids of WfRuns, times and sentences."""
    return [(type(entry.event).__name__, _without_words(plain(entry.event, times=False))) for entry in entries]


def _without_words(data: Any) -> Any:
    match data:
        case dict():
            return {name: _without_words(it) for name, it in data.items() if name not in ("message", "reason")}
        case list():
            return [_without_words(item) for item in data]
        case _:
            return data


def _has_whole_time(run: WfRun) -> bool:
    """Say whether no attempt that is out has begun or used up any of its time, which a fork gives it anew."""
    attempts = (it.node for it in run.threads.values() if it.task_out and it.status not in TERMINAL)
    return all(
        it.timer is not None
        and it.timer.due_ms == run.time_ms + 60_000
        and it.task is not None
        and it.task.started_ms is None
        for it in attempts
    )


def _for_fork(command: Command, source: WfRun, copy: WfRun, later_ms: int) -> Command:
    """Return what does to the fork what a command does to its source."""
    changed: Command = replace(command, wf_run_id=FORK)
    if isinstance(changed, StartTaskRun | ReportTaskProgress | ReportTaskRun | TimerFired):
        incarnation = copy.incarnation if changed.incarnation == source.incarnation else 10**9
        changed = replace(changed, incarnation=incarnation)
    return replace(changed, due_ms=changed.due_ms + later_ms) if isinstance(changed, TimerFired) else changed


# (rule fork-starts-and-forks)
@thorough
@given(document=small | random_specs.documents(), numbers=numbers, data=st.data())
def test_the_same_inputs_have_the_same_outcome_in_a_fork(
    document: dict[str, Any], numbers: list[int], data: st.DataObject
) -> None:
    history = RandomHistory(document, numbers, FEW_THREADS)
    source = MemoryEngine(history.context, START_MS)
    cuts = []
    for index, taken in enumerate(history.taken):
        source.time_ms = taken.time_ms
        source.put(taken.command)
        run = source.runs[RUN_ID]
        if run.exists and run.status not in TERMINAL and _has_whole_time(run):
            cuts.append(index)
    assume(cuts)
    cut = data.draw(st.sampled_from(cuts))
    later_ms = 0 if "until" in json.dumps(document) else data.draw(st.sampled_from([0, HOUR_MS, -1_000]))
    source = MemoryEngine(history.context, START_MS)
    copies = CheckedEngine(history.context, START_MS)
    for index, taken in enumerate(history.taken):
        if index > cut:
            if not source.runs[RUN_ID].exists:
                break  # what is started under its id then is another WfRun
            _take_both(taken.command, taken.time_ms, source, copies, later_ms)
            continue
        source.time_ms = taken.time_ms
        source.put(taken.command)
        if index == cut:
            copies.time_ms = source.runs[RUN_ID].time_ms + later_ms
            forked = copies.put(ForkWfRun(FORK, snapshot_of(source.runs[RUN_ID])))
            assert set(kinds(forked)) <= {
                "WfRunStarted",
                "WfRunForked",
                "TaskAttemptRequested",
                "CorrelationKeyChanged",
            }
    copies.crash()
    one, other = source.runs[RUN_ID], copies.runs[FORK]
    assert [*map(thread_key, other.threads.values())] == [*map(thread_key, one.threads.values())]
    assert other.status == one.status
    assert [it.status for it in other.external_events.values()] == [it.status for it in one.external_events.values()]


def _take_both(command: Command, time_ms: int, source: MemoryEngine, copies: MemoryEngine, later_ms: int) -> None:
    one, other = source.runs[RUN_ID], copies.runs[FORK]
    translated = _for_fork(command, one, other, later_ms)
    source.time_ms, copies.time_ms = time_ms, time_ms + later_ms
    entries = source.put(command)
    if isinstance(entries[0].event, Rejected) and "was decided before" in entries[0].event.message:
        return  # a fork does not know the ids of commands that its source has decided
    assert told(copies.put(translated)) == told(entries)


# What does not come in: a state that no rules could reach.


def _thread(number: int, **changes: Any) -> Callable[[WfRunSnapshot], WfRunSnapshot]:
    """Return what changes a thread of a snapshot."""

    def changed(snapshot: WfRunSnapshot) -> WfRunSnapshot:
        threads = [replace(it, **changes) if it.number == number else it for it in snapshot.threads]
        return replace(snapshot, threads=threads)

    return changed


def _node(number: int, **changes: Any) -> Callable[[WfRunSnapshot], WfRunSnapshot]:
    def changed(snapshot: WfRunSnapshot) -> WfRunSnapshot:
        node = next(it.node for it in snapshot.threads if it.number == number)
        return _thread(number, node=replace(node, **changes))(snapshot)

    return changed


def _task(number: int, **changes: Any) -> Callable[[WfRunSnapshot], WfRunSnapshot]:
    def changed(snapshot: WfRunSnapshot) -> WfRunSnapshot:
        task = next(it.node.task for it in snapshot.threads if it.number == number)
        assert task is not None
        return _node(number, task=replace(task, **changes))(snapshot)

    return changed


def _event(**changes: Any) -> Callable[[WfRunSnapshot], WfRunSnapshot]:
    def changed(snapshot: WfRunSnapshot) -> WfRunSnapshot:
        first, *others = snapshot.external_events
        return replace(snapshot, external_events=[replace(first, **changes), *others])

    return changed


def _snapshot(**changes: Any) -> Callable[[WfRunSnapshot], WfRunSnapshot]:
    return lambda snapshot: replace(snapshot, **changes)


def _twice(snapshot: WfRunSnapshot) -> WfRunSnapshot:
    return replace(snapshot, threads=[*snapshot.threads, snapshot.threads[-1]])


def _events_twice(snapshot: WfRunSnapshot) -> WfRunSnapshot:
    return replace(snapshot, external_events=snapshot.external_events * 2)


def _without(number: int) -> Callable[[WfRunSnapshot], WfRunSnapshot]:
    return lambda snapshot: replace(snapshot, threads=[it for it in snapshot.threads if it.number != number])


FAILED = Failure("TIMEOUT", "no", FailureClass.ERROR)
CHAIN = FAILED
for _ in range(40):
    CHAIN = replace(FAILED, cause=CHAIN, cause_thread=0)

# Thread 0 is HALTING with a task out, for an interrupt that waits for its handler; its child 1 is HALTING too.
HALTING: dict[str, tuple[Callable[[WfRunSnapshot], WfRunSnapshot], str]] = {
    "no id": (_snapshot(wf_run_id="a/b"), "expected an id"),
    "a seq below 0": (_snapshot(seq=-1), "expected a seq"),
    "a moment beyond all times": (_snapshot(at_ms=2**62), "expected a moment"),
    "no threads": (_snapshot(threads=[]), "there is no thread 0"),
    "numbers that were not used": (_snapshot(greatest_thread_number=0), "the greatest number that was used is 0"),
    "too great a number": (_snapshot(greatest_thread_number=2**60), "a greatest number of a thread"),
    "a thread twice": (_twice, "in the order of their numbers"),
    "an ExternalEvent twice": (_events_twice, "is there twice"),
    "a row of another WfRun": (_thread(1, wf_run_id="other"), "rows of one WfRun"),
    "a child that is not there": (_without(1), "its children"),
    "a parent that is not there": (_thread(1, parent=7), "has parent 7"),
    "a thread that is its own parent": (_thread(1, parent=1), "has parent 1"),
    "thread 0 with a parent": (_thread(0, parent=0), "thread 0 has a parent"),
    "another ENTRYPOINT": (_thread(1, type=ThreadType.ENTRYPOINT), "thread 0 is the ENTRYPOINT"),
    "a COMPLETED child": (_thread(1, status=Status.COMPLETED), "it would have left"),
    "a child that works for itself": (_thread(1, waiter=1), "only the failure handler"),
    "failed children that never were": (_thread(0, handled_children=[9]), "dealt with"),
    "another ThreadSpec": (_thread(1, thread_spec="none"), "there is no ThreadSpec 'none'"),
    "thread 0 of another ThreadSpec": (_thread(0, thread_spec="c"), "the entrypoint"),
    "another node": (_node(1, node="none"), "has no node 'none'"),
    "a Variable more": (_thread(1, variables={"x": 1}), "has no Variable 'x'"),
    "an output of no node": (_thread(0, outputs={"none": 1}), "output of node 'none'"),
    "an output that is no number": (_thread(0, outputs={"spawn": float("nan")}), "a finite number"),
    "a child by an ExternalEvent": (_thread(1, external_event_def="i"), "only an INTERRUPT"),
    "an INTERRUPT of no InterruptDef": (_thread(1, type=ThreadType.INTERRUPT, external_event_def="go"), "no interrupt"),
    "a start after the moment": (_thread(1, started_ms=2**50), "started and ended"),
    "too long a chain of causes": (_node(0, failure=CHAIN), "in a chain of causes"),
    "too long a name of a failure": (_node(0, failure=replace(FAILED, name="x" * 500)), "names of failures"),
    "a position below 0": (_node(0, position=-1), "a position"),
    "an arrival in the future": (_node(0, arrived_ms=2**61), "came there"),
    "a time that was over in the future": (_node(0, matured_seq=10**6), "has not been"),
    "a timer of another kind": (_node(0, timer=Timer(TimerKind.SLEEP, START_MS)), "a timer SLEEP"),
    "a timer of the WfRun": (_node(0, timer=Timer(TimerKind.RETENTION, START_MS)), "a timer RETENTION"),
    "a timer before the arrival": (_node(0, timer=Timer(TimerKind.TASK_TIMEOUT, 1)), "was due before"),
    "an attempt that is out for ever": (_node(0, timer=None), "has no time-out"),
    "a deadline of a TASK": (_node(0, deadline_ms=START_MS), "has no deadline"),
    "a TASK that waits for threads": (_node(0, waits=[ThreadWait(1)]), "waits for no threads"),
    "a node that failed, and no handler of that": (
        lambda it: _node(0, failure=FAILED)(_thread(0, status=Status.HALTING, halt_reasons=[ManualHalt()])(it)),
        "for no handler of that",
    ),
    "a TASK whose time could not be computed": (_node(0, arrival_failure=FAILED), "waits for no time"),
    "another TaskDef": (_task(0, task_def="none"), "is no TASK of TaskDef 'none'"),
    "attempt 0": (_task(0, attempt=0), "expected attempt 1"),
    "an attempt that was started before its thread came": (
        _task(0, started_ms=0),
        "between the arrival and the moment",
    ),
    "an attempt that was started later": (_task(0, started_ms=2**50), "between the arrival and the moment"),
    "a start that no node asks for": (_task(0, start_by_ms=START_MS), "the node does not ask for"),
    "a start of what is in back-off": (_task(0, status=TaskRunStatus.RETRYING, started_ms=START_MS), "or has begun"),
    "a progress that is too large": (_task(0, progress="x" * 20_000), "at most 16384 bytes, found 20000"),
    "a progress of what is done": (_task(0, status=TaskRunStatus.DONE, progress=1), "its progress is kept"),
    "an exception without a name": (
        lambda it: _task(0, status=TaskRunStatus.DONE, result=TaskStatus.EXCEPTION)(_node(0, timer=None)(it)),
        "a business exception",
    ),
    "a next attempt while one is out": (_task(0, retry_at_ms=START_MS), "the time of the next"),
    "a reason twice": (_thread(1, halt_reasons=[ParentHalted(0)] * 2), "one halt reason twice"),
    "a reason while it runs": (_thread(1, status=Status.RUNNING), "has a halt reason and is RUNNING"),
    "a child that goes on alone": (_thread(1, status=Status.RUNNING, halt_reasons=[]), "is not halted with it"),
    "HALTED with its attempt out": (_thread(1, status=Status.HALTED), "its attempt is out"),
    "HALTED for no reason": (_thread(0, status=Status.HALTED, halt_reasons=[]), "for no reason"),
    "held by a handler that never was": (_thread(0, halt_reasons=[Interrupted(5)]), "no handler that it waits for"),
    "held by another parent": (_thread(1, halt_reasons=[ParentHalted(1)]), "with which it does not halt"),
    "a loser of nobody": (_thread(1, halt_reasons=[ParentHalted(0), HaltedByParent(8, 0)]), "which there never was"),
    "a loser that is no child": (_thread(0, halt_reasons=[HaltedByParent(1, 0)]), "that it could do without"),
    "a failure that was not": (_thread(1, halt_reasons=[ParentHalted(0), PendingFailure(1)]), "has not failed"),
    "a reason without its interrupt": (_snapshot(accepted_interrupts=[]), "does not wait"),
    "an interrupt without its reason": (
        _thread(0, halt_reasons=[ManualHalt()]),
        "says halt: true, the thread says otherwise",
    ),
    "an interrupt twice": (_snapshot(accepted_interrupts=[AcceptedInterrupt(0, "i", "i1")] * 2), "is there twice"),
    "an interrupt of nobody": (_snapshot(accepted_interrupts=[AcceptedInterrupt(4, "i", "i1")]), "is not there"),
    "an interrupt by nothing": (
        _snapshot(accepted_interrupts=[AcceptedInterrupt(0, "i", "i9")]),
        "no ExternalEvent 'i9'",
    ),
    "an interrupt that the ThreadSpec has not": (
        _snapshot(accepted_interrupts=[AcceptedInterrupt(1, "i", "i1")]),
        "has no interrupt by 'i'",
    ),
    "a failure handler of a thread that did not fail": (
        _snapshot(unstarted_failure_handlers=[UnstartedFailureHandler(0, 2, "f")]),
        "its node failed",
    ),
    "a failure handler of nobody": (
        _snapshot(unstarted_failure_handlers=[UnstartedFailureHandler(9, 2, "f")]),
        "a thread that is halted",
    ),
    "an end of a live thread": (_thread(1, ended_ms=START_MS), "has an end if it has ended"),
    "a failure of a live thread": (_thread(1, failure=FAILED), "its failure does not say"),
    "something returned by a live thread": (_thread(1, output=1), "returned something"),
    "an unknown ExternalEventDef": (_event(external_event_def="none"), "no ExternalEvent 'i1'"),
    "an ExternalEvent without an id": (_event(external_event_id=""), "no ExternalEvent 'i1'"),
    "an ExternalEvent of the future": (_event(posted_seq=10**9), "posted before the moment"),
    "an ExternalEvent of a time far away": (_event(posted_ms=2**60), "posted before the moment"),
    "an ExternalEvent for a thread below 0": (_event(thread=-1), "a thread from 0 on"),
    "an outcome of a thread that never was": (
        _event(outcomes=[ExternalEventOutcome(9, ExternalEventStatus.CLAIMED)]),
        "expected outcomes in threads",
    ),
    "an outcome that is none": (
        _event(outcomes=[ExternalEventOutcome(0, ExternalEventStatus.UNCLAIMED)]),
        "is no outcome",
    ),
    "an interrupt that was dropped": (
        _event(outcomes=[ExternalEventOutcome(0, ExternalEventStatus.DROPPED)]),
        "its outcome is DROPPED",
    ),
    "outcomes left out below 0": (_event(outcomes_left_out=-1), "those left out"),
    "a content that is no number": (_event(content=float("nan")), "a finite number"),
    "an interrupt that nothing claimed": (_event(status=ExternalEventStatus.UNCLAIMED), "that was accepted"),
}


def check_refused(history: History, snapshot: WfRunSnapshot, sentence: str) -> None:
    """Check that no fork starts from a state: not by the version that it names, and not by another."""
    its = snapshot.wf_spec
    elsewhere = replace(snapshot, wf_spec=replace(its, revision=its.revision + 1))
    for command in (ForkWfRun(FORK, snapshot), ForkWfRun(FORK, elsewhere, its.major, its.revision)):
        refused = rejection(history.engine.put(command))
        assert refused.code is RejectionCode.INVALID_ARGUMENT
        assert sentence in refused.message
        assert not history.engine.runs[FORK].exists


@pytest.mark.parametrize("wrong", HALTING)
def test_a_state_is_refused_that_has(wrong: str) -> None:
    change, sentence = HALTING[wrong]
    history = given_("task-and-child", RUN, event("i"))
    snapshot = snapshot_of(history.run)
    assert kinds(history.engine.put(ForkWfRun("fits", snapshot)))[0] == "WfRunStarted"
    check_refused(history, change(snapshot), sentence)


# Thread 0 is HALTED, its handler 1 waits for an ExternalEvent.
HANDLED: dict[str, tuple[Callable[[WfRunSnapshot], WfRunSnapshot], str]] = {
    "a handler that nothing waits for": (
        _thread(0, status=Status.HALTED, halt_reasons=[ManualHalt()]),
        "does not wait for it",
    ),
    "a thread that runs beside its handler": (
        _thread(0, status=Status.RUNNING, halt_reasons=[]),
        "does not wait for it",
    ),
    "a handler of another ThreadSpec": (_thread(1, thread_spec="main"), "has no interrupt by 'i'"),
    "a handler that does not halt": (_thread(1, halts_parent=False), "its interrupt says halt: true"),
    "a handler that failed alone": (
        lambda it: _node(1, timer=None)(_thread(1, status=Status.ERROR, failure=FAILED, ended_ms=START_MS)(it)),
        "which has ended",
    ),
    "a handler that runs while its thread is stopped": (
        _thread(0, halt_reasons=[Interrupted(1), ManualHalt()]),
        "is held by more than handlers",
    ),
    "a content that nobody needs": (_event(content="left"), "nothing waits for it"),
    "a handler that hangs on nothing that moves": (
        _thread(0, halt_reasons=[PendingInterrupt("i", "i1")]),
        "does not wait",
    ),
}


@pytest.mark.parametrize("wrong", HANDLED)
def test_a_state_is_refused_where_is(wrong: str) -> None:
    change, sentence = HANDLED[wrong]
    history = given_("wait", RUN, event("i"))
    snapshot = snapshot_of(history.run)
    assert kinds(history.engine.put(ForkWfRun("fits", snapshot)))[0] == "WfRunStarted"
    check_refused(history, change(snapshot), sentence)


# (rule live-threads-are-capped)
def test_a_fork_has_no_more_live_threads_than_a_wf_run_may_have() -> None:
    history = given_("task-and-child", RUN)
    history.engine.context = replace(history.engine.context, limits=Limits(live_threads=1))
    assert "at most 1 live threads" in rejection(fork(history)).message


# Whatever comes in breaks no rule.


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in a record, by fields and indexes."""
    yield path
    if is_dataclass(value):
        for field in fields(value):
            yield from _places(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, (*path, index))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step] if isinstance(step, int) else getattr(value, step)
    return value


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a record with something else in one place."""
    if not path:
        return new
    step, *rest = path
    inner = _with(_at(value, (step,)), tuple(rest), new)
    if isinstance(step, int):
        return [*value[:step], inner, *value[step + 1 :]]
    return replace(value, **{step: inner})


NUMBERS = st.sampled_from([0, 1, 2, 3, -1, 7, 2**31 - 1, 2**53, 2**63 - 1, -(2**63), START_MS])
REASONS = st.sampled_from(
    [
        ManualHalt(),
        ParentHalted(0),
        ParentHalted(1),
        Interrupted(1),
        Interrupted(2),
        PendingFailure(1),
        HaltedByParent(0, 1),
    ]
)


def _others(value: Any, snapshot: WfRunSnapshot) -> st.SearchStrategy[Any]:
    """Return what may stand in the place of a value: something of the same kind, as far as the codec takes it."""
    names = sorted(
        {it for thread in snapshot.threads for it in (thread.thread_spec, thread.node.node, *thread.variables)}
    )
    match value:
        case bool():
            return st.just(not value)
        case StrEnum():
            return st.sampled_from(type(value))
        case int():
            return NUMBERS
        case str():
            return st.sampled_from([*names, "", "i", "go", "x" * 300])
        case list():
            changed = [value[1:], value[::-1], value * 2, []]
            more = (
                [st.lists(REASONS, max_size=3)] if not value or isinstance(value[0], ManualHalt | ParentHalted) else []
            )
            return st.one_of(st.sampled_from(changed), *more)
        case dict():
            return st.sampled_from([{}, {"x": 1}, dict.fromkeys(value, float("nan"))])
        case TaskRun() | Timer() | Failure():
            return st.none()
        case None:
            return st.sampled_from([FAILED, 0, 1, 2, "i", "i1", [], Timer(TimerKind.SLEEP, START_MS), START_MS])
        case _:
            return st.just(value)


# (rule fork-of-a-possible-state)
@thorough
@given(document=small | random_specs.documents(), numbers=numbers, data=st.data())
def test_no_snapshot_breaks_a_rule(document: dict[str, Any], numbers: list[int], data: st.DataObject) -> None:
    """A snapshot with a few things changed is refused, or goes on like any WfRun: to rows and a log that agree."""
    history = RandomHistory(document, numbers[:30], FEW_THREADS)
    run = history.engine.runs[RUN_ID]
    assume(run.exists and run.threads and run.status not in TERMINAL)
    snapshot = snapshot_of(run)
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from([*_places(snapshot)][1:]))
        other = data.draw(_others(_at(snapshot, path), snapshot))
        try:
            changed = _with(snapshot, path, other)
        except TypeError:
            continue  # the compiled core makes no record with a field of another type
        snapshot = _as_sent(changed) or snapshot
    version: tuple[int | None, int | None] = None, None
    if data.draw(st.booleans()):
        assert run.wf_spec is not None
        version = run.wf_spec.major, run.wf_spec.revision
        snapshot = replace(snapshot, wf_spec=replace(run.wf_spec, revision=run.wf_spec.revision + 50))
    engine = MemoryEngine(history.context, max(run.time_ms, 0))
    entries = engine.put(ForkWfRun(RUN_ID, snapshot, *version))
    if isinstance(entries[0].event, Rejected):
        assert len(entries) == 1
        return
    engine.crash()
    for taken in history.taken[-15:]:
        engine.time_ms = max(engine.time_ms, taken.time_ms)
        engine.put(taken.command)
    engine.pass_time(120_000)
    engine.crash()
    for thread in list(engine.runs[RUN_ID].threads.values()):
        if thread.task_out and thread.status not in TERMINAL:
            assert thread.node.task is not None
            engine.put(
                ReportTaskRun(
                    RUN_ID,
                    engine.runs[RUN_ID].incarnation,
                    thread.number,
                    thread.node.position,
                    thread.node.task.attempt,
                    TaskStatus.SUCCESS,
                )
            )
    engine.crash()


_CODEC = Codec.load()


def _as_sent(snapshot: WfRunSnapshot) -> WfRunSnapshot | None:
    """Return a snapshot as it comes in; None if there are no bytes for it: such a one never reaches a rule."""
    try:
        command = _CODEC.decode(_CODEC.encode(ForkWfRun(RUN_ID, snapshot)))
    except (CodecError, AttributeError, TypeError):
        return None
    assert isinstance(command, ForkWfRun)
    return command.snapshot


def test_rows_of_an_event_are_its_own() -> None:
    """What happens to a fork afterwards changes nothing in the event that is still to be written."""
    history = given_("task-and-child", RUN)
    snapshot = snapshot_of(history.run)
    run = new_run(FORK)
    entries = handle(
        run, ForkWfRun(FORK, snapshot), Cause("wf-commands", 0, 0, None, 0), START_MS, history.engine.context
    )
    forked = entries[1].event
    assert isinstance(forked, WfRunForked)
    before = repr(forked)
    for _ in range(3):
        handle(
            run,
            ExternalEvent(FORK, "i", f"i{_}"),
            Cause("external-events", 0, _, None, 0),
            START_MS,
            history.engine.context,
        )
    assert repr(forked) == before
    assert repr(snapshot) == repr(snapshot_of(history.run))
    assert isinstance(snapshot.threads[0], ThreadRun)
    assert all(isinstance(it, WfRunExternalEvent) for it in snapshot.external_events)
