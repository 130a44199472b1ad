"""Commands: the effect of each, or why it is refused.

`decide` yields the command's first events; what follows from them is for `advance`. Every command has an outcome: an
effect, `Rejected` (code and sentence) or `Ignored`. Nothing outside imports the modules in here, only this package:

refusals   the checks that several commands share
forks      ForkWfRun
wf_runs    RunWf, RunWfAndPost, StopWfRun, ResumeWfRun, DeleteWfRun
posting    ExternalEvent, also that of a RunWfAndPost
reports    StartTaskRun, ReportTaskProgress, ReportTaskRun
timers     TimerFired
rescues    RescueThreadRun
migrations MigrateWfRun
"""

from collections.abc import Iterator
from typing import assert_never

from processors.core.records.commands import (
    Command,
    DeleteWfRun,
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
from processors.core.records.events import Event, Rejected, WfRunStarted
from processors.core.records.model import TERMINAL, WfRun
from processors.core.rules.context import Context
from processors.core.rules.decide.forks import forked
from processors.core.rules.decide.migrations import migrated
from processors.core.rules.decide.posting import posted
from processors.core.rules.decide.refusals import Refusal, check_id, check_repeat
from processors.core.rules.decide.reports import attempt_started, progressed, reported
from processors.core.rules.decide.rescues import rescued
from processors.core.rules.decide.timers import EARLY, fired, unstarted_until_ms
from processors.core.rules.decide.wf_runs import (
    check_release,
    deleted,
    is_posted,
    resumed,
    started,
    started_for,
    stopped,
)
from processors.core.rules.external_events import drop_unfit
from processors.core.rules.interrupts import offer

__all__ = ["EARLY", "Refusal", "check_id", "decide", "unstarted_until_ms", "what_follows"]


def decide(run: WfRun, command: Command, context: Context, time_ms: int) -> Iterator[Event]:
    """Yield the events that a command itself brings about.

    A command that is refused is one `Rejected`, and changes nothing (rule rejection-changes-nothing).
    `time_ms` is the time of its record; the WfRun's may be ahead of it. When this goes on after a `yield`, that event
    has happened.
    """
    try:
        if not run.exists:
            check_id(command.wf_run_id)
        check_repeat(run, command)
        match command:
            case RunWf():
                yield started(run, command, context)
                if context.binds_event_defs:
                    yield from drop_unfit(run, context)
            case RunWfAndPost():
                check_release(context)
                if run.exists:
                    yield from _taken_in(run, command.event(), context, time_ms)
                else:
                    yield started_for(run, command, context)
                    yield from drop_unfit(run, context)
            case ForkWfRun():
                yield from forked(run, command, context)
            case ExternalEvent():
                yield from _taken_in(run, command, context, time_ms)
            case ReportTaskRun():
                yield reported(run, command)
            case StartTaskRun():
                yield attempt_started(run, command, context, time_ms)
            case ReportTaskProgress():
                yield progressed(run, command, context)
            case TimerFired():
                yield fired(run, command, context, time_ms)
            case StopWfRun():
                yield from stopped(run, command)
            case ResumeWfRun():
                yield resumed(run, command)
            case RescueThreadRun():
                yield from rescued(run, command)
            case MigrateWfRun():
                yield from migrated(run, command, context)
            case DeleteWfRun():
                yield deleted(run, command)
            case _:
                assert_never(command)
    except Refusal as refusal:
        name = type(command).__name__
        yield Rejected(name, refusal.code, f"{name} for WfRun {command.wf_run_id!r}: {refusal}")


def _taken_in(run: WfRun, command: ExternalEvent, context: Context, time_ms: int) -> Iterator[Event]:
    """Post an ExternalEvent and offer it to the threads of a WfRun that runs. Raises Refusal."""
    yield posted(run, command, context, time_ms)
    if run.exists and run.status not in TERMINAL:
        key = (command.external_event_def, command.external_event_id)
        yield from offer(run, context, run.external_events[key])


# (rule start-then-post)
def what_follows(run: WfRun, command: Command, first: Event) -> ExternalEvent | None:
    """Return the command to decide next, when all that came of a command has happened; None for all but one.

    A RunWfAndPost that has started a WfRun goes on as if its ExternalEvent had come right behind. `first` is the first
    event that came of the command.
    """
    if isinstance(command, RunWfAndPost) and isinstance(first, WfRunStarted) and not is_posted(run, command):
        return command.event()
    return None
