"""Since when a WfRun is as it is, and because of which record: the state says what is so, the log why.

Sees the events of one WfRun one after the other, and remembers the last one of each kind that the present state rests
on. So whoever steps along a log asks after each step. Knows no WfSpec and decides nothing. Where the log lacks the
beginning, some origins are unknown (None).
"""

from collections.abc import Iterable

from halter.history.logged import Logged
from processors.core.records.events import (
    Cause,
    Event,
    ExternalEventPosted,
    Halt,
    NodeCompleted,
    NodeFailed,
    Resume,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptRequested,
    ThreadCompleted,
    ThreadFailed,
    ThreadHalted,
    ThreadRescued,
    ThreadRetired,
    WfRunDeleted,
    WfRunEnded,
    WfRunForked,
    WfRunQuarantined,
    WfRunReleased,
    WfRunStarted,
)
from processors.core.records.model import (
    ExternalEventKey,
    HaltReason,
    HandlingFailure,
    Interrupted,
    PendingFailure,
    PendingInterrupt,
    ThreadRun,
)
from processors.core.records.record import record


@record
class Origin:
    """An event, and the record that brought it about."""

    seq: int
    time_ms: int
    """The time of the event. It is the time at which Kafka appended the record, or that of the WfRun if that is ahead
    of it."""
    offset: int | None
    """The offset of the event on `wf-events`; None in memory."""
    cause: Cause
    event: Event
    first: Event
    """The first event that the same record brought about: it says what the record was."""


class Origins:
    """Remembers of the events of one WfRun id which of them made it what it is now."""

    def __init__(self, events: Iterable[Logged] = ()) -> None:
        self._forget()
        for logged in events:
            self.see(logged)

    def _forget(self) -> None:
        self.started: Origin | None = None
        self.ended: Origin | None = None
        """What ended the WfRun, or failed or completed its thread 0."""
        self.quarantined: Origin | None = None
        self.deleted: Origin | None = None
        """What deleted the last WfRun of the id, while nothing has come for a new one."""
        self._first: Logged | None = None
        self._statuses: dict[int, Origin] = {}
        self._halting: set[int] = set()
        self._arrivals: dict[int, Origin] = {}
        self._requests: dict[int, Origin] = {}
        self._attempt_ends: dict[int, Origin] = {}
        self._node_failures: dict[int, Origin] = {}
        self._spawned: dict[int, Origin] = {}
        self._interrupting: dict[int, ExternalEventKey] = {}
        """Interrupt Handler -> the ExternalEvent that started it."""
        self._halts: dict[int, dict[HaltReason, Origin]] = {}
        self._posted: dict[ExternalEventKey, Origin] = {}

    def see(self, logged: Logged) -> None:
        """Take note of the next event of the log."""
        entry, first = logged.entry, self._first
        event = entry.event
        # A fork starts as every WfRun does; only its second event says what it is.
        if (
            first is None
            or _record_of(first.entry.cause) != _record_of(entry.cause)
            or isinstance(event, WfRunForked | ExternalEventPosted)
        ):
            first = self._first = logged
        origin = Origin(entry.seq, entry.time_ms, logged.offset, entry.cause, event, first.entry.event)
        match event:
            case NodeCompleted(thread=number):
                self._arrivals[number] = origin
            case Halt(thread=number, reason=reason):
                self._halts.setdefault(number, {})[reason] = origin
                if number not in self._halting:
                    self._halting.add(number)
                    self._statuses[number] = origin
            case ThreadHalted(thread=number):
                self._statuses[number] = origin
            case Resume(thread=number):
                self._statuses[number] = origin
                self._halting.discard(number)
                self._halts.pop(number, None)
            case SpawnChild(thread=number):
                self._spawned[number] = self._arrivals[number] = self._statuses[number] = origin
                if event.external_event_def is not None and event.external_event_id is not None:
                    self._interrupting[number] = event.external_event_def, event.external_event_id
            case WfRunStarted():
                self.started = self._arrivals[0] = self._statuses[0] = origin
                self.deleted = None
            case WfRunForked():
                self.started = origin
                for thread in event.threads:
                    self._carry(thread, origin)
                self._posted |= dict.fromkeys((it.key for it in event.external_events), origin)
            case TaskAttemptRequested(thread=number):
                self._requests[number] = origin
            case TaskAttemptEnded(thread=number):
                self._attempt_ends[number] = origin
            case NodeFailed(thread=number):
                self._node_failures[number] = origin
            case ThreadCompleted(thread=0):
                self.ended = self._statuses[0] = origin
            case ThreadCompleted(thread=number) | ThreadRetired(thread=number):
                self._leave(number)
            case ThreadFailed(thread=number):
                self._statuses[number] = origin
                self._halts.pop(number, None)
                self._halting.discard(number)
                if number == 0:
                    self.ended = origin
            case ThreadRescued(thread=number):
                self._statuses[number] = origin
                if not event.skip_current_node:
                    self._arrivals[number] = origin
                if number == 0:
                    self.ended = None
            case ExternalEventPosted():
                self._posted[event.external_event_def, event.external_event_id] = origin
                for old in event.forgotten:
                    self._posted.pop((old.external_event_def, old.external_event_id), None)
            case WfRunEnded():
                self.ended = self.ended or origin
            case WfRunQuarantined():
                self.quarantined = origin
            case WfRunReleased():
                self.quarantined = None
            case WfRunDeleted():
                self._forget()
                self.deleted = origin

    def _carry(self, thread: ThreadRun, origin: Origin) -> None:
        """Take a fork for what brought one of its threads to where it is: its own log has nothing before that."""
        number = thread.number
        self._spawned[number] = self._arrivals[number] = self._statuses[number] = origin
        if thread.halt_reasons:
            self._halting.add(number)
            self._halts[number] = dict.fromkeys(thread.halt_reasons, origin)
        if thread.node.task is not None:
            self._requests[number] = self._attempt_ends[number] = origin
        if thread.node.failure is not None:
            self._node_failures[number] = origin
        if thread.external_event_def is not None and thread.external_event_id is not None:
            self._interrupting[number] = (thread.external_event_def, thread.external_event_id)

    def _leave(self, number: int) -> None:
        """Forget a thread that has left the state."""
        for kept in (self._statuses, self._arrivals, self._requests, self._attempt_ends, self._node_failures):
            kept.pop(number, None)
        self._spawned.pop(number, None)
        self._interrupting.pop(number, None)
        self._halts.pop(number, None)
        self._halting.discard(number)

    def status(self, thread: ThreadRun) -> Origin | None:
        """What gave a thread the status that it has."""
        return self._statuses.get(thread.number)

    def arrival(self, thread: ThreadRun) -> Origin | None:
        """What brought a thread to the node at which it is."""
        return self._arrivals.get(thread.number)

    def request(self, thread: ThreadRun) -> Origin | None:
        """What sent out the task attempt of a thread."""
        return self._requests.get(thread.number)

    def attempt_end(self, thread: ThreadRun) -> Origin | None:
        """What ended the latest task attempt of a thread."""
        return self._attempt_ends.get(thread.number)

    def spawned(self, number: int) -> Origin | None:
        """What started a thread."""
        return self.started if number == 0 else self._spawned.get(number)

    def posted(self, key: ExternalEventKey) -> Origin | None:
        """What took in an ExternalEvent."""
        return self._posted.get(key)

    def halt(self, thread: ThreadRun, reason: HaltReason) -> Origin | None:
        """What put a halt reason on a thread. For a handler that runs, it is what made the thread wait for it."""
        halts = self._halts.get(thread.number, {})
        match reason:
            case Interrupted(handler=handler):
                key = self._interrupting.get(handler)
                return halts.get(reason) if key is None else halts.get(PendingInterrupt(*key), halts.get(reason))
            case HandlingFailure():
                return halts.get(PendingFailure(thread.node.position), halts.get(reason))
            case _:
                return halts.get(reason)

    def node_failure(self, thread: ThreadRun) -> Origin | None:
        """What made the node of a thread fail, for which a failure handler runs or is to start."""
        return self._node_failures.get(thread.number)

    def interrupting_event(self, handler: int) -> ExternalEventKey | None:
        """The ExternalEvent that started an Interrupt Handler."""
        return self._interrupting.get(handler)


def _record_of(cause: Cause) -> tuple[str, int, int]:
    return cause.topic, cause.partition, cause.offset
