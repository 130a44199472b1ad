"""The next commands for a WfRun in some state: the moves of a search, and those that must be refused without a trace.

Bounds are read from the state if it shows them: how many ExternalEvents there are, who is stopped. So two ways to the
same state go on alike. Stop, resume, failure, time-out and delete may come any number of times, anywhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from processors.core.records.commands import (
    Command,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    ReportTaskProgress,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    RunWfAndPost,
    StartTaskRun,
    StopWfRun,
    TimerFired,
)
from processors.core.records.events import Ignored, Rejected
from processors.core.records.model import TERMINAL, ManualHalt, Status, TaskStatus, ThreadRun, TimerKind, WfRun
from processors.core.records.spec import ExternalEventNode
from processors.core.records.values import PROGRESS_BYTES_MAX
from processors.core.rules.snapshots import snapshot_of

RUN = RunWf("w1", "small")
BEYOND = 1
"""How far beyond the greatest thread number refused commands go."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that may come. What is not in here may come without end."""

    events: Mapping[str, int]
    """ExternalEventDef -> the most ExternalEvents of it."""
    before: int = 2
    """How many of them may come before the WfRun."""
    rescues: int = 1
    versions: tuple[tuple[int, int], ...] = ()
    """Versions to which it may migrate, major and revision, any number of times."""


@dataclass(frozen=True, slots=True)
class Move:
    """A command that may come next."""

    command: Command
    time_ms: int
    """The time of its record."""
    steps: int = 1
    """How far it takes a search. Unusual moves count more, so usual ones are searched to greater depth."""
    rescues: int = 0
    """How many rescues it uses up."""


def moves(run: WfRun, time_ms: int, bounds: Bounds, rescues: int) -> Iterator[Move]:
    """Yield everything that may come next, with so many rescues left."""
    if not run.exists:
        yield Move(RUN, time_ms)
        for name, event_id in _next_events(run, bounds):
            yield Move(RunWfAndPost(run.wf_run_id, RUN.wf_spec_name, name, event_id), time_ms, steps=2)
        if len(run.external_events) < bounds.before:
            yield from _events(run, time_ms, bounds)
        return
    if run.final_status is not None:
        return  # over for good: `refusals` and `end_of` have what may still come
    yield from _events(run, time_ms, bounds)
    for thread in run.threads.values():
        if thread.status not in TERMINAL:
            yield from _of_live_thread(run, thread, time_ms)
        elif thread.status is Status.ERROR and rescues:
            for skip in (False, True):
                rescue = RescueThreadRun(run.wf_run_id, thread.number, skip_current_node=skip)
                yield Move(rescue, time_ms, steps=3, rescues=1)
    assert run.wf_spec is not None
    for version in bounds.versions:
        if version != (run.wf_spec.major, run.wf_spec.revision):
            yield Move(MigrateWfRun(run.wf_run_id, *version), time_ms, steps=3)
    for index, timer in enumerate(_timers(run)):
        late_for_others = index > 0 and timer.due_ms > time_ms
        steps = 3 if late_for_others else 2 if timer.kind is TimerKind.TASK_TIMEOUT else 1
        yield Move(timer, max(time_ms, timer.due_ms), steps)


def _next_events(run: WfRun, bounds: Bounds) -> Iterator[tuple[str, str]]:
    """Yield the ExternalEvents that may still come: ExternalEventDef and id, which ends with their number."""
    for name, times in bounds.events.items():
        posted = sum(posted_name == name for posted_name, _ in run.external_events)
        if posted < times:
            yield name, f"{name}{posted + 1}"


def _events(run: WfRun, time_ms: int, bounds: Bounds) -> Iterator[Move]:
    for name, event_id in _next_events(run, bounds):
        posted = int(event_id.removeprefix(name)) - 1
        event = ExternalEvent(run.wf_run_id, name, event_id)
        yield Move(event, time_ms, steps=1 + posted)
        asking = [thread.number for thread in run.threads.values() if _asks_for(run, thread, name)]
        if len(asking) > 1:
            for number in asking:
                yield Move(replace(event, thread=number), time_ms, steps=3 + posted)


def _asks_for(run: WfRun, thread: ThreadRun, event_def: str) -> bool:
    if thread.status in TERMINAL:
        return False
    spec = run.spec_of(thread)
    node = spec.nodes[thread.node.node]
    awaited = isinstance(node, ExternalEventNode) and node.external_event_def == event_def
    return awaited or event_def in spec.interrupt_of


def _of_live_thread(run: WfRun, thread: ThreadRun, time_ms: int) -> Iterator[Move]:
    if thread.task_out:
        yield from _before_the_report(run, thread, time_ms)
        report = _report(run, thread)
        yield Move(report, time_ms)
        yield Move(replace(report, status=TaskStatus.FAILED, message="broken"), time_ms, steps=2)
        exception = replace(report, status=TaskStatus.EXCEPTION, failure_name="oops", message="no")
        yield Move(exception, time_ms, steps=2)
    if ManualHalt() in thread.halt_reasons:
        yield Move(ResumeWfRun(run.wf_run_id, thread.number), time_ms)
    else:
        yield Move(StopWfRun(run.wf_run_id, thread.number), time_ms, steps=3)


def _before_the_report(run: WfRun, thread: ThreadRun, time_ms: int) -> Iterator[Move]:
    """Yield the start of an attempt and a progress of it, once each, where the start moves the time-out."""
    task = thread.node.task
    assert task is not None
    if task.start_by_ms is None:
        return
    if task.started_ms is None:
        start = StartTaskRun(run.wf_run_id, *_attempt(run, thread))
        yield Move(start, time_ms)
        if time_ms < task.start_by_ms:
            yield Move(start, task.start_by_ms, steps=2)
    elif task.progress is None:
        yield Move(ReportTaskProgress(run.wf_run_id, *_attempt(run, thread), "so far"), time_ms, steps=2)


def _attempt(run: WfRun, thread: ThreadRun) -> tuple[int, int, int, int]:
    assert thread.node.task is not None
    return run.incarnation, thread.number, thread.node.position, thread.node.task.attempt


def _report(run: WfRun, thread: ThreadRun) -> ReportTaskRun:
    return ReportTaskRun(run.wf_run_id, *_attempt(run, thread), TaskStatus.SUCCESS)


def _timers(run: WfRun) -> list[TimerFired]:
    """Return the armed timers of live threads' nodes, the next due first."""
    armed = [
        TimerFired(run.wf_run_id, run.incarnation, thread.number, thread.node.position, timer.kind, timer.due_ms)
        for thread in run.threads.values()
        if (timer := thread.node.timer) is not None and thread.status not in TERMINAL
    ]
    return sorted(armed, key=lambda timer: (timer.due_ms, timer.thread))


def refusals(run: WfRun, time_ms: int) -> Iterator[tuple[Command, type[Rejected | Ignored]]]:
    """Yield commands that must change nothing in this state, and the event by which the log says so.

    They are late, early and repeated records, records for what never was, and orders that are fulfilled already.
    """
    for event in run.external_events.values():
        repeat = ExternalEvent(run.wf_run_id, event.external_event_def, event.external_event_id, thread=event.thread)
        yield repeat, Rejected
        if run.exists:
            yield RunWfAndPost(run.wf_run_id, RUN.wf_spec_name, *event.key), Rejected
    yield RunWfAndPost(run.wf_run_id, RUN.wf_spec_name, "unknown", "u1"), Rejected
    if not run.exists:
        yield RunWfAndPost(run.wf_run_id, "unknown", "unknown", "u1"), Rejected
        yield StopWfRun(run.wf_run_id), Rejected
        return
    yield RUN, Rejected
    yield ForkWfRun(run.wf_run_id, snapshot_of(run)), Rejected
    yield MigrateWfRun(run.wf_run_id, 9), Rejected
    assert run.wf_spec is not None
    has_ended = run.status in TERMINAL and run.status is not Status.ERROR
    same = MigrateWfRun(run.wf_run_id, run.wf_spec.major, run.wf_spec.revision)
    yield same, Rejected if has_ended else Ignored
    for number in range(run.greatest_thread_number + 1 + BEYOND):
        yield from _refusals_of(run, number, time_ms)


def _refusals_of(run: WfRun, number: int, time_ms: int) -> Iterator[tuple[Command, type[Rejected | Ignored]]]:
    unknown: type[Rejected | Ignored] = Ignored if run.was_used(number) else Rejected
    thread = run.threads.get(number)
    if thread is None or thread.status is not Status.ERROR:
        yield RescueThreadRun(run.wf_run_id, number), Rejected
    if thread is None or ManualHalt() not in thread.halt_reasons:
        yield ResumeWfRun(run.wf_run_id, number), unknown
    if thread is None or thread.status in TERMINAL or ManualHalt() in thread.halt_reasons:
        yield StopWfRun(run.wf_run_id, number), unknown
    position = 0 if thread is None else thread.node.position
    report = ReportTaskRun(run.wf_run_id, run.incarnation, number, position, 1, TaskStatus.SUCCESS)
    if thread is not None and thread.status not in TERMINAL and thread.task_out:
        out = _report(run, thread)
        yield replace(out, attempt=out.attempt + 1), Rejected
        yield replace(out, incarnation=out.incarnation + 1), Rejected
        yield replace(out, attempt=out.attempt - 1), Rejected
        attempt = _attempt(run, thread)
        if thread.node.task is not None and thread.node.task.started_ms is not None:
            yield StartTaskRun(run.wf_run_id, *attempt), Ignored
        yield replace(StartTaskRun(run.wf_run_id, *attempt), attempt=out.attempt + 1), Rejected
        yield ReportTaskProgress(run.wf_run_id, *attempt, "x" * (PROGRESS_BYTES_MAX + 1)), Rejected
    else:
        yield report, Rejected
        yield StartTaskRun(run.wf_run_id, run.incarnation, number, position, 1), Rejected
        yield ReportTaskProgress(run.wf_run_id, run.incarnation, number, position, 1), Rejected
    if position:
        yield replace(report, position=position - 1), Rejected
    timer = None if thread is None or thread.status in TERMINAL else thread.node.timer
    kind = TimerKind.SLEEP if timer is None else timer.kind
    due_ms = time_ms if timer is None else timer.due_ms
    fired = TimerFired(run.wf_run_id, run.incarnation, number, position, kind, due_ms)
    if timer is None or timer.due_ms > time_ms:
        yield fired, Ignored
    if timer is not None:
        yield replace(fired, position=position + 1), Ignored
        yield replace(fired, due_ms=timer.due_ms - 1), Ignored
        yield replace(fired, incarnation=run.incarnation + 1), Ignored
