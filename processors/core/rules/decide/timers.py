"""TimerFired: what a timer that is due does to a thread, to a WfRun that is over, and to ExternalEvents of no WfRun."""

from typing import Final

from processors.core.records.commands import TimerFired
from processors.core.records.events import Event, Ignored, TaskAttemptEnded, TimerMatured, WfRunDeleted
from processors.core.records.model import TERMINAL, TaskStatus, Timer, TimerKind, WfRun
from processors.core.records.values import Timestamp, iso_of
from processors.core.rules.context import Context, Limits
from processors.core.rules.decide.reports import retry_at
from processors.core.rules.nodes.tasks import NO_REPORT

EARLY: Final = "early: by the WfRun's time the timer is not due yet"
"""Why a `TimerFired` is ignored although its timer stays armed: its owner fires it again."""


def fired(run: WfRun, timer_fired: TimerFired, context: Context, time_ms: int) -> Event:
    """Return what a timer does: something only if it is armed exactly as it says, and due.

    Otherwise it is stale or early (rules stale-timer-ignored, early-timer-stays-armed). It does its work also while its
    thread is halted; the thread uses that when it resumes (rule timers-go-on-while-halted).
    """
    name = type(timer_fired).__name__
    if not run.exists and run.external_events and timer_fired.incarnation == run.incarnation:
        return _never_started(run, timer_fired, context, time_ms)
    if run.incarnation != timer_fired.incarnation or not run.exists:
        return Ignored(name, "its WfRun is gone")
    timer = Timer(timer_fired.kind, timer_fired.due_ms)
    if timer_fired.kind is TimerKind.RETENTION:
        return _retention_ended(run, timer)
    thread = run.threads.get(timer_fired.thread)
    if (
        thread is None
        or thread.status in TERMINAL
        or thread.node.position != timer_fired.position
        or thread.node.timer != timer
    ):
        return Ignored(name, "the timer is not armed any more")
    if run.time_ms < timer_fired.due_ms:
        return Ignored(name, EARLY)
    if timer_fired.kind is not TimerKind.TASK_TIMEOUT:
        return TimerMatured(thread.number, timer_fired.position, timer)
    assert thread.node.task is not None
    return TaskAttemptEnded(
        thread=thread.number,
        position=timer_fired.position,
        attempt=thread.node.task.attempt,
        status=TaskStatus.TIMEOUT,
        message=NO_REPORT,
        retry_at_ms=retry_at(run, thread, TaskStatus.TIMEOUT),
    )


def _retention_ended(run: WfRun, timer: Timer) -> Event:
    """Return the deletion of a WfRun whose retention has ended (rule retention-ends-in-deletion)."""
    if run.timer != timer:
        return Ignored(TimerFired.__name__, "the timer is not armed any more")
    if run.time_ms < timer.due_ms:
        return Ignored(TimerFired.__name__, EARLY)
    return WfRunDeleted("its retention ended")


def unstarted_until_ms(run: WfRun, limits: Limits) -> int:
    """Return until when ExternalEvents are kept that came for an id under which nothing was started."""
    latest = next(reversed(run.external_events.values()))
    return latest.posted_ms + limits.unstarted_ms


def _never_started(run: WfRun, timer_fired: TimerFired, context: Context, time_ms: int) -> Event:
    """Return the deletion of ExternalEvents whose WfRun was never started (rule unstarted-events-end)."""
    due_ms = unstarted_until_ms(run, context.limits)
    if timer_fired.kind is not TimerKind.RETENTION or timer_fired.due_ms != due_ms:
        return Ignored(TimerFired.__name__, "the timer is not armed any more")
    if time_ms < due_ms:
        return Ignored(TimerFired.__name__, EARLY)
    since = iso_of(Timestamp(due_ms - context.limits.unstarted_ms))
    return WfRunDeleted(f"it was not started, and its latest ExternalEvent came at {since}")
