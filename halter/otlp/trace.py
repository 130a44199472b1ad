"""Makes the trace of a WfRun from its events: which spans there are, and when.

There is a span for the WfRun, below it one for each thread, nested as the threads are, one for each task attempt below
its thread, and one for each ExternalEvent. Everything else that happened is an event of the span in which it happened.
The ids follow from the WfRun alone, so the trace of a WfRun is the same whenever it is made.

Pure, and knows no OpenTelemetry. It is given the events as they may be seen: whoever calls it has taken masked values
out of them. It folds them with `evolve` to see which threads have ended, and runs no rule.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, TypeAlias

from halter.client.errors import BeginningMissing
from halter.client.history import external_events_needed_by, is_whole, lives
from halter.history.logged import Logged
from halter.show.history import cause_text
from halter.show.log_text import failure_text, thread_of, what_happened
from halter.show.times import iso
from processors.core.records.events import (
    Cause,
    Event,
    ExternalEventPosted,
    LogEntry,
    NodeCompleted,
    NodeFailed,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptProgressed,
    TaskAttemptRequested,
    TaskAttemptStarted,
    ThreadFailed,
    ThreadRescued,
    WfRunEnded,
    WfRunForked,
    WfRunMigrated,
    WfRunStarted,
)
from processors.core.records.model import (
    FAILED,
    TERMINAL,
    Changes,
    ExternalEventKey,
    ExternalEventStatus,
    Status,
    TaskRunStatus,
    TaskStatus,
    ThreadRun,
    ThreadType,
    WfRunExternalEvent,
)
from processors.core.rules.evolve import evolve, new_run

Key: TypeAlias = tuple[str | int, ...]
"""Tells a span from the others of its trace: `("thread", 3)`."""
Attribute: TypeAlias = str | int | bool

WF_RUN: Final[Key] = ("wf_run",)
UNFINISHED: Final = "halter.unfinished"
"""The attribute of a span that has not ended, and is given an end all the same."""


class Kind(Enum):
    """What a span is to those outside of the engine."""

    INTERNAL = auto()
    CLIENT = auto()
    """Somebody else does it: a task worker."""
    CONSUMER = auto()
    """It came from outside."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened in a span."""

    name: str
    time_ms: int
    attributes: dict[str, Attribute]


@dataclass(frozen=True, slots=True)
class Link:
    """The cause of a span: another span of the trace, or the record that was the cause, if its producer traced it; or
    another trace."""

    to: "Key | Cause | Trace"
    why: str


@dataclass(slots=True)
class Span:
    """One span. Times are in ms since 1970."""

    key: Key
    parent: Key | None
    name: str
    kind: Kind
    start_ms: int
    attributes: dict[str, Attribute]
    end_ms: int | None = None
    """None until it has ended."""
    failure: str | None = None
    """Why it failed; None if it has not."""
    has_completed: bool = False
    moments: list[Moment] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of one WfRun."""

    wf_run_id: str
    incarnation: int
    spans: Sequence[Span] = ()
    """Each with an end. Those that have not ended yet have the attribute UNFINISHED."""

    @property
    def id(self) -> bytes:
        """The id of the trace, 16 bytes."""
        return self._digest(())[:16]

    def id_of(self, key: Key) -> bytes:
        """Return the id of a span, 8 bytes."""
        return self._digest(key)[:8]

    def _digest(self, key: Key) -> bytes:
        return hashlib.sha256(json.dumps(["halter", self.wf_run_id, self.incarnation, *key]).encode()).digest()


def traces(wf_run_id: str, logged: Sequence[Logged], *, previous: bool = False) -> Iterator[Trace]:
    """Yield the trace of the last WfRun of an id, or of all of which there are events.

    Raises BeginningMissing if the log no longer has the beginning of the last one. Earlier ones without beginning, and
    ids under which nothing was started, have no trace.
    """
    entries = [it.entry for it in logged]
    found = [entries[start:end] for start, end in lives(entries) if start < end]
    if found and not is_whole(found[-1]):
        raise BeginningMissing(wf_run_id)
    for life in found if previous else found[-1:]:
        if is_whole(life) and any(isinstance(entry.event, WfRunStarted) for entry in life):
            yield _Tracer(wf_run_id, life).trace()


class _Tracer:
    """Makes the trace of one WfRun."""

    def __init__(self, wf_run_id: str, entries: Sequence[LogEntry]) -> None:
        self._run, self._entries = new_run(wf_run_id), entries
        begun = next(entry for entry in entries if isinstance(entry.event, WfRunStarted))
        assert isinstance(begun.event, WfRunStarted)
        self._incarnation, self._start_ms = begun.incarnation, begun.time_ms
        self._spans: dict[Key, Span] = {}
        self._posted: dict[ExternalEventKey, Key] = {}
        self._root = self._begin(WF_RUN, None, begun.event.wf_spec.name, begun)
        self._root.attributes |= {
            "halter.wf_run.id": wf_run_id,
            "halter.wf_run.incarnation": begun.incarnation,
            "halter.wf_spec": str(begun.event.wf_spec),
        }
        self._root.links.append(Link(begun.cause, "started by"))

    def trace(self) -> Trace:
        """Return the trace."""
        for entry in self._entries:
            evolve(self._run, entry)
            self._take(entry)
            self._see_ends(entry)
        self._end_all()
        return Trace(self._run.wf_run_id, self._incarnation, list(self._spans.values()))

    def _begin(self, key: Key, parent: Key | None, name: str, entry: LogEntry, kind: Kind = Kind.INTERNAL) -> Span:
        """Begin a span. What came before the WfRun begins with it: otherwise a day without anything comes first."""
        span = Span(key, parent, name, kind, max(entry.time_ms, self._start_ms), _where(entry))
        self._spans[key] = span
        return span

    def _take(self, entry: LogEntry) -> None:
        """Begin a span with an event, end one, or note it as something that happened in one."""
        event = entry.event
        match event:
            case WfRunStarted():
                self._thread(0, WF_RUN, event.thread_spec, ThreadType.ENTRYPOINT, entry)
            case SpawnChild():
                span = self._thread(event.thread, thread_key(event.parent), event.spec, event.type, entry)
                if event.external_event_def is not None and event.external_event_id is not None:
                    self._link(span, (event.external_event_def, event.external_event_id), "started by")
            case ExternalEventPosted():
                self._post(event, entry.time_ms, entry).links.append(Link(entry.cause, "posted by"))
            case WfRunForked():
                self._fork(event, entry)
                self._note(event, entry)
            case WfRunMigrated():
                self._root.attributes["halter.wf_spec"] = str(event.wf_spec)
                self._note(event, entry)
            case TaskAttemptRequested():
                self._request(event, entry)
            case TaskAttemptStarted():
                self._spans[task_key(event)].attributes |= {
                    "halter.task.started": iso(event.started_ms),
                    "halter.task.deadline": iso(event.deadline_ms),
                }
                self._note_in(self._spans[task_key(event)], event, entry)
            case TaskAttemptProgressed():
                self._note_in(self._spans[task_key(event)], event, entry)
            case TaskAttemptEnded():
                self._end_attempt(event, entry)
            case _:
                self._note(event, entry)
        for key in [] if isinstance(event, ExternalEventPosted) else external_events_needed_by(event):
            self._end(self._posted[key], entry.time_ms)

    def _thread(self, number: int, parent: Key, spec: str, kind: ThreadType, entry: LogEntry) -> Span:
        span = self._begin(thread_key(number), parent, spec, entry)
        span.attributes |= {"halter.thread.number": number, "halter.thread.type": str(kind)}
        return span

    def _fork(self, event: WfRunForked, entry: LogEntry) -> None:
        """Begin the threads and ExternalEvents that the WfRun has from another one, whose trace it leads to."""
        source = Trace(event.source_wf_run_id, event.source_incarnation)
        self._root.links.append(Link(source, "forked from"))
        for row in event.threads[1:]:
            parent = thread_key(row.parent or 0)
            self._thread(row.number, parent if parent in self._spans else WF_RUN, row.thread_spec, row.type, entry)
        for external_event in event.external_events:
            span = self._post(external_event, external_event.posted_ms, entry)
            if external_event.status is not ExternalEventStatus.UNCLAIMED:
                self._end(span.key, entry.time_ms)

    def _post(self, event: ExternalEventPosted | WfRunExternalEvent, posted_ms: int, entry: LogEntry) -> Span:
        name, event_id = event.external_event_def, event.external_event_id
        # An id that was forgotten may come again. An ExternalEvent from before the WfRun has no seq of its own.
        key = self._posted[name, event_id] = ("external_event", name, event_id, entry.seq)
        span = self._begin(key, WF_RUN, name, entry, Kind.CONSUMER)
        span.attributes |= {"halter.external_event.id": event_id, "halter.external_event.posted": iso(posted_ms)}
        return span

    def _request(self, event: TaskAttemptRequested, entry: LogEntry) -> None:
        span = self._begin(task_key(event), thread_key(event.thread), event.task_def, entry, Kind.CLIENT)
        span.attributes |= {
            "halter.task.attempt": event.attempt,
            "halter.task.node": event.node,
            "halter.task.status": str(TaskRunStatus.OUT),
            "halter.task.deadline": iso(event.deadline_ms),
        }
        if event.queue is not None:
            span.attributes["halter.task.queue"] = event.queue

    def _end_attempt(self, event: TaskAttemptEnded, entry: LogEntry) -> None:
        key = task_key(event)
        span = self._spans[key]
        self._end(key, entry.time_ms)
        span.attributes["halter.task.status"] = str(event.status)
        span.links.append(Link(entry.cause, "reported by"))
        if event.retry_at_ms is not None:
            span.attributes["halter.task.retry_at"] = iso(event.retry_at_ms)
        span.has_completed = event.status is TaskStatus.SUCCESS
        if not span.has_completed:
            span.failure = ": ".join(filter(None, (event.failure_name or str(event.status), event.message)))

    def _note_in(self, span: Span, event: Event, entry: LogEntry) -> None:
        what = {"halter.what": what_happened(event)} | _where(entry)
        span.moments.append(Moment(type(event).__name__, max(entry.time_ms, self._start_ms), what))

    def _note(self, event: Event, entry: LogEntry) -> None:
        """Note an event in the span of its thread, or in that of the WfRun."""
        number = thread_of(event)
        span = self._spans[thread_key(int(number[1:]))] if number else self._root
        self._note_in(span, event, entry)
        if isinstance(event, NodeCompleted | NodeFailed | ThreadFailed):
            for key in external_events_needed_by(event):
                self._link(span, key, "took")
        if isinstance(event, ThreadFailed) and event.failure.cause_thread is not None:
            cause = thread_key(event.failure.cause_thread)
            if cause in self._spans:  # the other WfRun may have had it before the fork
                span.links.append(Link(cause, "failed because of"))

    def _link(self, span: Span, key: ExternalEventKey, why: str) -> None:
        """Lead from a span to an ExternalEvent, and to what its producer did then, if that was traced."""
        posted = self._spans[self._posted[key]]
        span.links.append(Link(posted.key, why))
        span.links.extend(Link(it.to, why) for it in posted.links)

    def _see_ends(self, entry: LogEntry) -> None:
        """End the spans of threads that have ended or left, and go on with those that were rescued."""
        changes, self._run.changes = self._run.changes, Changes()
        live = (self._run.threads[number] for number in changes.threads if number in self._run.threads)
        for thread in [*changes.left, *live]:
            self._see(thread, has_left=thread.number not in self._run.threads, time_ms=entry.time_ms)
        for key in changes.external_events & self._run.external_events.keys():
            status = str(self._run.external_events[key].status)
            self._spans[self._posted[key]].attributes["halter.external_event.status"] = status
        if isinstance(entry.event, WfRunEnded):
            self._end(WF_RUN, entry.time_ms)
            self._root.has_completed = entry.event.status is Status.COMPLETED
            self._root.attributes["halter.wf_run.status"] = str(entry.event.status)
        elif isinstance(entry.event, ThreadRescued):
            self._root.end_ms = None
            self._root.attributes.pop("halter.wf_run.status", None)

    def _see(self, thread: ThreadRun, *, has_left: bool, time_ms: int) -> None:
        span = self._spans[thread_key(thread.number)]
        span.attributes["halter.thread.status"] = str(thread.status)
        if has_left or thread.status in TERMINAL:
            # A thread that was HALTED when its WfRun failed leaves when the WfRun is deleted, long after.
            self._end(span.key, time_ms if self._root.end_ms is None else self._root.end_ms)
        else:
            span.end_ms = None
        span.has_completed = thread.status is Status.COMPLETED
        failed = thread.failure is not None and thread.status in FAILED
        span.failure = failure_text(thread.failure) if thread.failure is not None and failed else None

    def _end(self, key: Key, time_ms: int) -> None:
        """End a span, if it has not ended before."""
        span = self._spans[key]
        if span.end_ms is None:
            span.end_ms = max(span.start_ms, time_ms)

    def _end_all(self) -> None:
        """End what has not ended: with the WfRun, or with the newest event, and then say so."""
        goes_on = self._root.end_ms is None
        end_ms = self._entries[-1].time_ms if self._root.end_ms is None else self._root.end_ms
        for key, span in self._spans.items():
            if goes_on and span.end_ms is None:
                span.attributes[UNFINISHED] = True
            self._end(key, end_ms)
        self._root.failure = self._spans[thread_key(0)].failure


def thread_key(number: int) -> Key:
    """Return the key of a thread's span."""
    return "thread", number


def task_key(
    event: TaskAttemptRequested | TaskAttemptStarted | TaskAttemptProgressed | TaskAttemptEnded,
) -> Key:
    """Return the key of a task attempt's span."""
    return "task", event.thread, event.position, event.attempt


def _where(entry: LogEntry) -> dict[str, Attribute]:
    """Return where the log has an event, and which record was its cause."""
    return {"halter.seq": entry.seq, "halter.cause": cause_text(entry.cause)}
