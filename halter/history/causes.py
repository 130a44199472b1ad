"""From an input record to everything that it caused, and from anything that was caused back to its record.

The log says which record brought an event about. So the effects of a record are the events with that cause, the task
requests among them, and what came back for those. The way back begins at a log entry, a task request or cancellation, a
dead letter or a row, as it was read from its topic. Pure; `cause_text` has the words.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from halter.history.logged import Logged
from halter.history.source import Place
from processors.core.records.commands import TaskWorkerCommand, TimerFired
from processors.core.records.events import (
    Cause,
    LogEntry,
    TaskAttemptEnded,
    TaskAttemptProgressed,
    TaskAttemptRequested,
    TaskAttemptStarted,
    TaskCancellation,
    TaskRequest,
    TimerArmed,
    TimerMatured,
    WfRunForked,
)
from processors.core.records.model import KeptInput, ThreadRun, Timer, TimerKind, WfRun, WfRunExternalEvent
from processors.core.records.record import record
from processors.fold.inputs import HEADER_PREFIX, Headers, mapping_of


@record
class Answer:
    """What came back for an effect: start, progress and report for a task request, the timer for one that was armed."""

    effect: Logged
    """The event that asked for it."""
    event: Logged
    """The event that it brought about; its cause is the record that came back."""


@record
class Effects:
    """What a record caused in one WfRun."""

    events: list[Logged]
    answers: list[Answer]


def place_of(cause: Cause) -> Place:
    """Return where the record lies that is a cause."""
    return cause.topic, cause.partition, cause.offset


def effects_of(log: Sequence[Logged], place: Place) -> Effects:
    """Return what a record caused, from the log of a WfRun."""
    events = [it for it in log if place_of(it.entry.cause) == place]
    asked = {key: it for it in events for key in _asks(it.entry)}
    answers = [Answer(asked[key], it) for it in log if (key := _answers(it.entry)) in asked and key is not None]
    return Effects(events, answers)


_Asked = tuple[int, int, int, int | Timer]
"""Incarnation, thread, position, and an attempt or a timer."""


def _asks(entry: LogEntry) -> Iterator[_Asked]:
    """Yield what an event asks for: a task attempt, or a timer; a fork for the timers that came along."""
    event = entry.event
    match event:
        case TaskAttemptRequested():
            yield entry.incarnation, event.thread, event.position, event.attempt
        case TimerArmed():
            yield entry.incarnation, event.thread, event.position, event.timer
        case TaskAttemptEnded(retry_at_ms=int() as due_ms):
            yield entry.incarnation, event.thread, event.position, Timer(TimerKind.TASK_BACKOFF, due_ms)
        case WfRunForked():
            for it in event.threads:
                if it.node.timer is not None:
                    yield entry.incarnation, it.number, it.node.position, it.node.timer


def _answers(entry: LogEntry) -> _Asked | None:
    """Return what an event answers."""
    event = entry.event
    match event:
        case TaskAttemptStarted() | TaskAttemptProgressed() | TaskAttemptEnded():
            return entry.incarnation, event.thread, event.position, event.attempt
        case TimerMatured():
            return entry.incarnation, event.thread, event.position, event.timer
    return None


def asked_by(log: Iterable[Logged], command: TaskWorkerCommand | TimerFired | TaskRequest) -> Logged | None:
    """Return the event that asked for an answer or a timer, or that a task request carries out; None if it is gone.

    The answers of a task worker are asked for by the request of the attempt. So is the timer of its time-out, or by its
    start.
    """
    if isinstance(command, TimerFired):
        timer = Timer(command.kind, command.due_ms)
        of_timer = {(command.incarnation, command.thread, command.position, timer)}
        return next((it for it in log if of_timer & {*_asks(it.entry)} or _times_out(it.entry, command)), None)
    attempt = command.incarnation, command.thread, command.position, command.attempt
    return next((it for it in log if attempt in _asks(it.entry)), None)


def _times_out(entry: LogEntry, fired: TimerFired) -> bool:
    """Return True if an event requested or started the attempt whose time-out a timer is."""
    event = entry.event
    return (
        isinstance(event, TaskAttemptRequested | TaskAttemptStarted)
        and fired.kind is TimerKind.TASK_TIMEOUT
        and (entry.incarnation, event.thread, event.position) == (fired.incarnation, fired.thread, fired.position)
        and event.deadline_ms == fired.due_ms
    )


def event_with(log: Iterable[Logged], seq: int) -> Logged | None:
    """Return the event with a seq, of the newest WfRun that has one."""
    found = None
    for it in log:
        if it.entry.seq == seq:
            found = it
    return found


def written_by(log: Sequence[Logged], row: Any) -> Logged | None:
    """Return the newest event that a row of a state topic, or a TaskCancellation, follows from; None if it is gone."""
    match row:
        case WfRun() | TaskCancellation():
            return _newest(it for it in log if (it.entry.incarnation, it.entry.seq) == (row.incarnation, row.seq))
        case ThreadRun():
            return _newest(it for it in log if _is_about(it.entry, row.number))
        case WfRunExternalEvent():
            return _newest(it for it in log if _names(it.entry, row))
        case _:
            return None


def _newest(found: Iterable[Logged]) -> Logged | None:
    newest = None
    for it in found:
        newest = it
    return newest


def _is_about(entry: LogEntry, number: int) -> bool:
    """Return True if an event changed a thread: it is about it, brought it along, or wrote a Variable of it."""
    if isinstance(entry.event, WfRunForked):
        return any(it.number == number for it in entry.event.threads)
    writes = getattr(entry.event, "writes", ())
    return getattr(entry.event, "thread", None) == number or any(it.thread == number for it in writes)


def _names(entry: LogEntry, row: WfRunExternalEvent) -> bool:
    """Return True if an event is about an ExternalEvent, or brought it along."""
    if isinstance(entry.event, WfRunForked):
        return any(it.key == row.key for it in entry.event.external_events)
    event = getattr(entry.event, "reason", entry.event)
    key = getattr(event, "external_event_def", None), getattr(event, "external_event_id", None)
    own = getattr(entry.event, "external_event_def", None), getattr(entry.event, "external_event_id", None)
    return row.key in (key, own)


def origin_of_dead_letter(headers: Headers) -> Place | None:
    """Return where the input of a dead letter lies; None if it is from no worker: from a binding, or none of ours."""
    if mapping_of(headers) is not None:
        return None
    ours = {name.removeprefix(HEADER_PREFIX): value for name, value in headers if name.startswith(HEADER_PREFIX)}
    try:
        return ours["topic"].decode(), int(ours["partition"]), int(ours["offset"])
    except (KeyError, ValueError):
        return None


def origin_of_kept(row: KeptInput) -> Place:
    """Return where the record of a kept input lies."""
    return row.topic, row.partition, row.offset
