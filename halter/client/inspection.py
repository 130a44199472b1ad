"""Reads WfRuns: the present state from their rows, and their history from the log.

`show` reads the compacted state topics, which have every live WfRun whatever its age. `history` reads the log, as far
back as Kafka keeps it. Both look for one key in one partition. The row of a WfRun says from when on to read the log.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from confluent_kafka import Message

from halter.client.errors import BeginningMissing
from halter.client.reading import FROM_THE_START, PartitionReader
from processors.codec import Codec
from processors.core.records.events import (
    ArrivalFailed,
    ChildFailureHandled,
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
    TaskAttemptRequested,
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
from processors.core.rules.engine import new_run, replay
from processors.fold.inputs import partition_key
from processors.fold.rows import RowRecord, assemble
from processors.kafka.partitioner import partition_of
from processors.kafka.topics import Topics

CATCH_UP_SECONDS: Final = 5.0
CLOCKS_DIFFER_MS: Final = 10 * 60 * 1000
"""Largest difference between clocks: times of a WfRun are the broker's, those of log records may be a worker's."""


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
        """Replay the events up to the end of the WfRun, so that it still has its threads and their Variables.

        Raises BeginningMissing.
        """
        entries = self._last()
        if not any(isinstance(entry.event, WfRunStarted) for entry in entries):
            raise BeginningMissing(self.wf_run_id)
        for index in range(len(entries) - 1, -1, -1):
            event = entries[index].event
            if isinstance(event, WfRunStarted):
                break
            if isinstance(event, WfRunEnded) and event.status is not Status.ERROR:
                return replay(entries[:index], new_run(self.wf_run_id))
        return replay(entries, new_run(self.wf_run_id))

    def _last(self) -> list[LogEntry]:
        """The events that made the last WfRun: its own, and those of ExternalEvents that came before it.

        Earlier WfRuns of the id left nothing behind, so their beginning may be missing.
        """
        entries = self.entries
        started = [index for index, entry in enumerate(entries) if isinstance(entry.event, WfRunStarted)]
        before = entries[: started[-1]] if started else entries
        deleted = [index for index, entry in enumerate(before) if isinstance(entry.event, WfRunDeleted)]
        last = entries[deleted[-1] + 1 :] if deleted else entries
        if not _is_whole(last):
            raise BeginningMissing(self.wf_run_id)
        return last


def _is_whole(entries: list[LogEntry]) -> bool:
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
            | TaskAttemptEnded()
            | WaitStarted()
            | ChildFailureHandled()
            | WorkflowEventThrown()
            | ThreadCompleted()
            | ThreadRetired()
            | ThreadRescued()
            | WfRunEnded()
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


class WfRunReader:
    """Finds the rows and the events of one WfRun id."""

    def __init__(self, reader: PartitionReader, topics: Topics, codec: Codec) -> None:
        self._reader, self._topics, self._codec = reader, topics, codec

    def show(self, wf_run_id: str, at_least: tuple[int, int] | None = None) -> WfRun | None:
        """The state of a WfRun, put together from its rows; None if it has none.

        `at_least` is the incarnation and seq of an event that is known to have happened. Rows become visible a moment
        after the log, and this waits for them. The rows of a busy WfRun may be from slightly different moments.
        """
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while True:
            run = self._rows(wf_run_id)
            if at_least is None or self._position(run) >= at_least or time.monotonic() > deadline:
                return run

    @staticmethod
    def _position(run: WfRun | None) -> tuple[int, int]:
        return (NO_INCARNATION, 0) if run is None else (run.incarnation, run.seq)

    def _rows(self, wf_run_id: str) -> WfRun | None:
        own = wf_run_id.encode()
        below = own + b"/"
        topics = self._topics
        found = [
            self._latest(topics.wf_runs, own, lambda key: key == own),
            self._latest(topics.thread_runs, own, lambda key: key.startswith(below)),
            self._latest(topics.wf_run_external_events, own, lambda key: key.startswith(below)),
            self._latest(topics.kept_inputs, own, lambda key: key.startswith(below)),
        ]
        rows = []
        for row in (row for of_topic in found for row in of_topic.values()):
            assert isinstance(row, RowRecord)
            rows.append(row)
        return assemble(wf_run_id, rows)

    def _latest(self, topic: str, wf_run_id: bytes, wanted: Callable[[bytes], bool]) -> dict[bytes, object]:
        """The latest row of each key, without tombstones. Only the rows that are wanted are decoded."""
        values: dict[bytes, bytes | None] = {}
        for message in self._partition(topic, wf_run_id, FROM_THE_START):
            key = message.key() or b""
            if wanted(key):
                values[key] = message.value()
        return {key: self._codec.decode(value) for key, value in values.items() if value is not None}

    def _partition(self, topic: str, wf_run_id: bytes, start: int) -> Iterator[Message]:
        yield from self._reader.read(topic, self._number(wf_run_id), start)

    def _number(self, key: bytes) -> int:
        """The partition of a WfRun id; or of `partition/n`, the key of what an operator did to a whole partition."""
        partitions = self._topics.partitions
        named = (number for number in range(partitions) if key == partition_key(number).encode())
        return next(named, partition_of(key, partitions))

    def history(self, wf_run_id: str, *, from_start: bool = False) -> History:
        """The events of a WfRun id: from the beginning of its present WfRun, or all that the log has."""
        key = wf_run_id.encode()
        start = FROM_THE_START if from_start else self._beginning(wf_run_id)
        entries = []
        for message in self._partition(self._topics.wf_events, key, start):
            if message.key() == key:
                entry = self._codec.decode(message.value() or b"")
                assert isinstance(entry, LogEntry)
                entries.append(entry)
        return History.of(wf_run_id, entries, complete=start == FROM_THE_START)

    def ended(self, wf_run_id: str) -> WfRun:
        """The state of a WfRun when it ended, replayed from the log. Raises BeginningMissing."""
        history = self.history(wf_run_id)
        try:
            return history.final_state()
        except BeginningMissing:
            if not any(isinstance(entry.event, WfRunStarted) for entry in history.entries):
                raise
        # An ExternalEvent that it took may have come long before it. The row that would say when is gone.
        return self.history(wf_run_id, from_start=True).final_state()

    def _beginning(self, wf_run_id: str) -> int:
        """The offset from which on the log can have events of the present WfRun: none is older than its first."""
        run = self._rows(wf_run_id)
        if run is None or run.started_ms is None:
            return FROM_THE_START
        first_ms = min([run.started_ms, *(event.posted_ms for event in run.external_events.values())])
        start_ms = first_ms - CLOCKS_DIFFER_MS
        return self._reader.offset_at(self._topics.wf_events, self._number(wf_run_id.encode()), start_ms)
