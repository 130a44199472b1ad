"""The history of a WfRun id: its events, divided into incarnations, and the states that follow from them.

Pure: is given the events that `halter.client.wf_run_reader` has read from the log, and runs no rule on them. Kafka
keeps the log for a time, so a history may lack its beginning. Replaying it would give a wrong state: that is an error.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import assert_never

from halter.client.errors import BeginningMissing
from processors.core.records.events import (
    ArrivalFailed,
    ChildFailureHandled,
    CorrelationKeyChanged,
    Event,
    ExternalEventDropped,
    ExternalEventPosted,
    Halt,
    HaltReasonResolved,
    Ignored,
    InputKept,
    InterruptAccepted,
    InterruptDropped,
    InterruptSuperseded,
    LogEntry,
    NodeCompleted,
    NodeFailed,
    RecordSkipped,
    Rejected,
    Resume,
    SkipAccepted,
    SkipLapsed,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptProgressed,
    TaskAttemptRequested,
    TaskAttemptStarted,
    ThreadCompleted,
    ThreadFailed,
    ThreadHalted,
    ThreadRescued,
    ThreadRetired,
    TimerArmed,
    TimerMatured,
    WaitStarted,
    WfRunDeleted,
    WfRunEnded,
    WfRunForked,
    WfRunMigrated,
    WfRunQuarantined,
    WfRunReleased,
    WfRunStarted,
    WorkflowEventThrown,
)
from processors.core.records.model import (
    NO_INCARNATION,
    ExternalEventKey,
    PendingInterrupt,
    Status,
    ThreadType,
    WfRun,
)
from processors.core.rules.evolve import new_run, replay


@dataclass(frozen=True, slots=True)
class Incarnation:
    """The events of one WfRun. `number` is NO_INCARNATION for events that came while nothing ran under the id."""

    number: int
    entries: list[LogEntry]


@dataclass(frozen=True, slots=True)
class History:
    """The events of a WfRun id, in the order of the log. `complete` is True if the whole log was read."""

    wf_run_id: str
    incarnations: list[Incarnation]
    complete: bool

    @property
    def entries(self) -> list[LogEntry]:
        """The events of all incarnations."""
        return [entry for incarnation in self.incarnations for entry in incarnation.entries]

    @classmethod
    def of(cls, wf_run_id: str, entries: Iterable[LogEntry], *, complete: bool = True) -> "History":
        """Divide the events of a WfRun id, in the order of the log, into incarnations."""
        incarnations: list[Incarnation] = []
        for entry in entries:
            if not incarnations or incarnations[-1].number != entry.incarnation:
                incarnations.append(Incarnation(entry.incarnation, []))
            incarnations[-1].entries.append(entry)
        return cls(wf_run_id, incarnations, complete)

    def state(self) -> WfRun:
        """Replay the events: the WfRun after the last of them. No rule is run. Raises BeginningMissing."""
        return replay(self._last(), new_run(self.wf_run_id))

    def final_state(self) -> WfRun:
        """Replay the events, and leave the WfRun the threads that it had when it ended, with their Variables.

        What came after its end counts, as an event that nobody takes, up to its deletion. Raises BeginningMissing.
        """
        entries = self._last()
        if not any(isinstance(entry.event, WfRunStarted) for entry in entries):
            raise BeginningMissing(self.wf_run_id)
        for index in range(len(entries) - 1, -1, -1):
            event = entries[index].event
            if isinstance(event, WfRunStarted):
                break
            if isinstance(event, WfRunEnded) and event.status is not Status.ERROR:
                run = replay(entries[:index], new_run(self.wf_run_id))
                threads = run.threads
                replay(takewhile(lambda it: not isinstance(it.event, WfRunDeleted), entries[index:]), run)
                run.threads, run.ended_ms = threads, entries[index].time_ms
                return run
        return replay(entries, new_run(self.wf_run_id))

    def _last(self) -> list[LogEntry]:
        """The events that made the last WfRun: its own, and those of ExternalEvents that came before it.

        Earlier WfRuns of the id left nothing behind, so their beginning may be missing.
        """
        entries = self.entries
        start, end = lives(entries)[-1]
        last = entries[start:end]
        if not is_whole(last):
            raise BeginningMissing(self.wf_run_id)
        return last


class Lives:
    """Divides the events of a WfRun id by its WfRuns, as the events come: where those of each begin and end.

    ExternalEvents that came before a WfRun belong to it. What came for the id after the WfRun was deleted belongs to it
    too, as long as no other was started. Behind a deletion of which the log has no beginning, another life begins.
    """

    def __init__(self) -> None:
        self._starts, self._events = [0], 0
        self._started, self._behind_deletion = False, 0

    def see(self, entry: LogEntry) -> None:
        """Take note of the next event."""
        self._events += 1
        if isinstance(entry.event, WfRunStarted):
            if self._started and self._behind_deletion:
                self._starts.append(self._behind_deletion)
            self._started, self._behind_deletion = True, 0
        elif isinstance(entry.event, WfRunDeleted):
            self._behind_deletion = self._events
            if not self._started:
                self._starts.append(self._events)

    @property
    def all(self) -> list[tuple[int, int]]:
        """Begin and end of each life, as indexes of its first event and behind its last."""
        return [*zip(self._starts, [*self._starts[1:], self._events], strict=True)]

    @property
    def last(self) -> int:
        """The index of the first event of the last WfRun of the id, whether it was deleted or not."""
        return next((start for start, end in reversed(self.all) if start < end), 0)


def lives(entries: Iterable[LogEntry]) -> list[tuple[int, int]]:
    """Divide all events of a WfRun id by its WfRuns, as `Lives` does."""
    found = Lives()
    for entry in entries:
        found.see(entry)
    return found.all


def is_whole(entries: Sequence[LogEntry]) -> bool:
    """Return True if events begin with the first of their WfRun and have every ExternalEvent that they name."""
    posted: set[tuple[str, str]] = set()
    started = False
    for entry in entries:
        event = entry.event
        started = started or isinstance(event, WfRunStarted)
        if entry.incarnation != NO_INCARNATION and not started:
            return False
        if not posted.issuperset(external_events_needed_by(event)):
            return False
        if isinstance(event, ExternalEventPosted):
            posted.add((event.external_event_def, event.external_event_id))
        elif isinstance(event, WfRunForked):
            posted.update(it.key for it in event.external_events)
    return True


def external_events_needed_by(event: Event) -> list[ExternalEventKey]:
    """The ExternalEvents without which an event cannot be replayed."""
    match event:
        case ExternalEventPosted():
            return [(old.external_event_def, old.external_event_id) for old in event.forgotten]
        case Halt(reason=PendingInterrupt() as reason):
            return [(reason.external_event_def, reason.external_event_id)]
        case SpawnChild(type=ThreadType.INTERRUPT) | NodeCompleted() | NodeFailed() | ThreadFailed():
            name, event_id = event.external_event_def, event.external_event_id
            return [] if name is None or event_id is None else [(name, event_id)]
        case InterruptAccepted() | InterruptDropped() | InterruptSuperseded() | ExternalEventDropped():
            return [(event.external_event_def, event.external_event_id)]
        case (
            WfRunStarted()
            | WfRunForked()
            | WfRunMigrated()
            | WfRunDeleted()
            | Halt()
            | ThreadHalted()
            | SpawnChild()
            | HaltReasonResolved()
            | Resume()
            | TimerArmed()
            | TimerMatured()
            | ArrivalFailed()
            | TaskAttemptRequested()
            | TaskAttemptStarted()
            | TaskAttemptProgressed()
            | TaskAttemptEnded()
            | WaitStarted()
            | ChildFailureHandled()
            | WorkflowEventThrown()
            | ThreadCompleted()
            | ThreadRetired()
            | ThreadRescued()
            | WfRunEnded()
            | CorrelationKeyChanged()
            | WfRunQuarantined()
            | InputKept()
            | WfRunReleased()
            | SkipAccepted()
            | SkipLapsed()
            | RecordSkipped()
            | Rejected()
            | Ignored()
        ):
            return []
        case _:
            assert_never(event)
