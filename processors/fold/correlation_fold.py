"""The fold of correlation keys: which WfRuns have a key, and what waits under it. A part of a shard's fold.

`processors.core.rules.correlating` decides; this module joins it to bytes: records in; ExternalEvents, log, dead
letters and rows out. A turn that folds something of it writes its rows with it, so there is no tail of a log to replay.
Rows are kept in memory, encoded, and decoded while a record touches them: about as many as WfRuns that have keys.
"""

import heapq
from collections.abc import Mapping, Sequence
from typing import Final

from processors.codec import Codec, DecodeError
from processors.core.records.commands import (
    CorrelatedEvent,
    CorrelationCommand,
    CorrelationTimerFired,
    ExternalEvent,
)
from processors.core.records.events import Cause, CorrelationDecided, CorrelationOutcome
from processors.core.records.model import Correlation, KeptCorrelatedEvent, RecordHeader
from processors.core.records.topic_names import (
    CORRELATED_EVENTS,
    CORRELATION_COMMANDS,
    CORRELATION_EVENTS,
    CORRELATIONS,
    EXTERNAL_EVENTS,
)
from processors.core.rules.context import Context
from processors.core.rules.correlating import correlate, due_ms, is_empty
from processors.fold.inputs import DeadLetter, DeadLetterReason, InputRecord
from processors.fold.output_encoder import OutputEncoder
from processors.fold.outputs import OutputRecord
from processors.fold.stores import BrokenState
from processors.kafka.partitioner import partition_of

HEAP_SLACK: Final = 64
"""The heap of timers is made anew when it has more than twice the entries that count, and this many more."""
ARMED_AT_ONCE: Final = 1_000
"""Number of loaded rows whose timers are armed by one turn."""
TURN_BYTES: Final = 16 * 1024 * 1024
"""When a turn has posted so many bytes, the next one goes on. A single event may be 64 MiB for all its WfRuns."""


def kept_event(record: InputRecord, event_id: str, until_ms: int) -> KeptCorrelatedEvent:
    """Return a record with a CorrelatedEvent as it is kept."""
    headers = [RecordHeader(name, value) for name, value in record.headers]
    return KeptCorrelatedEvent(event_id, record.offset, record.timestamp_ms, until_ms, record.value or b"", headers)


class CorrelationFold:
    """The correlation keys of one partition."""

    def __init__(self, partition: int, partitions: int, codec: Codec, context: Context, encoder: OutputEncoder) -> None:
        self._partition, self._partitions = partition, partitions
        self._codec, self._context, self._encoder = codec, context, encoder
        self._rows: dict[str, bytes] = {}
        """Key of a row -> the row."""
        self._changed: dict[str, Correlation] = {}
        """Key of a row -> what it is from this turn on."""
        self._due: dict[str, int] = {}
        """Key of a row -> when its timer is due, in ms since 1970."""
        self._heap: list[tuple[int, str]] = []
        """When to hand out a timer, and the key of its row. One that `_due` does not have so is no longer armed."""
        self._unarmed: list[str] = []
        """Keys of loaded rows whose timers may have to be armed."""
        self._posted_bytes = 0
        """Bytes of the ExternalEvents since `take_rows`."""

    # Loading.

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take a record of `correlations`: a row, or None for a row that is gone."""
        name = key.decode(errors="surrogateescape")
        if value is None:
            self._rows.pop(name, None)
        else:
            self._rows[name] = value

    def restored(self) -> None:
        """Begin to arm the timers of all rows, which have come. Raises BrokenState for a row that cannot be read."""
        self._unarmed = list(self._rows)
        self._arm_some()

    def _arm_some(self) -> None:
        """Arm the timers of some rows of those that were loaded. To decode a million at once would take seconds."""
        for _ in range(min(ARMED_AT_ONCE, len(self._unarmed))):
            name = self._unarmed[-1]
            if name in self._rows and name not in self._changed:  # else it was armed when a record changed it
                self._arm(name, self._row(name))
            self._unarmed.pop()

    def _row(self, name: str) -> Correlation:
        try:
            row = self._codec.decode(self._rows[name])
        except DecodeError as error:
            raise BrokenState(f"{CORRELATIONS}[{self._partition}], key {name!r}: {error}") from error
        if not isinstance(row, Correlation):
            found = type(row).__name__
            raise BrokenState(f"{CORRELATIONS}[{self._partition}], key {name!r}: a {found} does not belong there")
        return row

    # Folding.

    def fold(self, record: InputRecord, command: CorrelationCommand, cause: Cause) -> list[OutputRecord]:
        """Take a record about a key, and return what comes of it but for rows."""
        before = Correlation(command.correlation_key, command.external_event_def)
        name = before.row_key
        if name in self._changed:
            before = self._changed[name]
        elif name in self._rows:
            before = self._row(name)
        arrived, limits = self._arrived(record, command), self._context.limits
        definitions, time_ms = self._context.definitions, record.timestamp_ms
        log, after = correlate(before, command, arrived, cause, time_ms, definitions, limits)
        if after != before:
            self._changed[name] = after
        # Early: the brokers' clock is behind ours by so much.
        early_ms = command.due_ms - time_ms if isinstance(command, CorrelationTimerFired) else 0
        self._arm(name, after, max(early_ms, 0))
        events = {it.external_event_id: it for it in before.kept}
        if arrived is not None:
            events.setdefault(arrived.external_event_id, arrived)
        outputs = []
        for decided in log:
            outputs.append(self._logged(decided))
            if decided.outcome is CorrelationOutcome.POSTED and decided.external_event_id is not None:
                outputs += self._posts(decided, events[decided.external_event_id])
            elif decided.outcome is CorrelationOutcome.EXPIRED and decided.external_event_id is not None:
                outputs.append(self._expired(decided, events[decided.external_event_id]))
        return outputs

    def _arrived(self, record: InputRecord, command: CorrelationCommand) -> KeptCorrelatedEvent | None:
        """Return a CorrelatedEvent as it would be kept."""
        if not isinstance(command, CorrelatedEvent):
            return None
        until_ms = record.timestamp_ms + self._context.limits.kept_correlated_ms
        return kept_event(record, command.external_event_id, until_ms)

    def _logged(self, decided: CorrelationDecided) -> OutputRecord:
        key, value = decided.correlation_key.encode(), self._codec.encode(decided)
        return OutputRecord(CORRELATION_EVENTS, self._partition, key, value, timestamp_ms=decided.time_ms)

    def _posts(self, decided: CorrelationDecided, event: KeptCorrelatedEvent) -> list[OutputRecord]:
        """Return the ExternalEvents that a correlated event becomes, one for each WfRun."""
        command = self._codec.decode(event.value)
        assert isinstance(command, CorrelatedEvent)
        outputs = []
        for wf_run in decided.wf_runs:
            key = wf_run.wf_run_id.encode()
            post = ExternalEvent(
                wf_run.wf_run_id,
                command.external_event_def,
                command.external_event_id,
                command.content,
                definitions_position=command.definitions_position,
            )
            partition, value = partition_of(key, self._partitions), self._codec.encode(post)
            self._posted_bytes += len(value)
            outputs.append(OutputRecord(EXTERNAL_EVENTS, partition, key, value))
        return outputs

    def _expired(self, decided: CorrelationDecided, event: KeptCorrelatedEvent) -> OutputRecord:
        """Return the dead letter of an event for which no WfRun came: its record as it was."""
        key, headers = decided.correlation_key.encode(), tuple((it.name, it.value) for it in event.headers)
        place = (CORRELATED_EVENTS, self._partition, event.offset, event.timestamp_ms)
        days = self._context.limits.kept_correlated_ms / 86_400_000
        message = (
            f"no WfRun registered the correlation key for ExternalEventDef '{decided.external_event_def}' within "
            f"{days:g} days"
        )
        letter = DeadLetter(DeadLetterReason.NOT_CORRELATED, message)
        return self._encoder.dead_letter(InputRecord(*place, key, event.value, headers), letter)

    # Timers.

    def _arm(self, name: str, correlation: Correlation, later_ms: int = 0) -> None:
        """Arm the timer of a row, or disarm it. It is handed out `later_ms` after it is due."""
        due = due_ms(correlation, self._context.limits)
        if due is None:
            self._due.pop(name, None)
        elif self._due.get(name) != due or later_ms:
            self._due[name] = due
            heapq.heappush(self._heap, (due + later_ms, name))
            if len(self._heap) > 2 * len(self._due) + HEAP_SLACK:
                self._heap = [(at_ms, name) for name, at_ms in self._due.items()]
                heapq.heapify(self._heap)

    def due_timers(self, now_ms: int, limit: int) -> Sequence[OutputRecord]:
        """Return timers that are due, as records for `correlation-commands`, each once (rule kept-events-expire).

        Raises BrokenState for a row that cannot be read.
        """
        self._arm_some()
        outputs: list[OutputRecord] = []
        while self._heap and self._heap[0][0] <= now_ms and len(outputs) < limit:
            _, name = heapq.heappop(self._heap)
            due = self._due.get(name)
            if due is not None and due <= now_ms:
                event_def, _, key = name.partition("/")
                value = self._codec.encode(CorrelationTimerFired(key, event_def, due))
                outputs.append(OutputRecord(CORRELATION_COMMANDS, self._partition, key.encode(), value))
        return outputs

    def fire_again(self, fired: CorrelationTimerFired) -> None:
        """Hand out a timer again whose record was skipped: it is still armed, as a restart would find."""
        name = Correlation(fired.correlation_key, fired.external_event_def).row_key
        if name in self._due:
            heapq.heappush(self._heap, (self._due[name] + 1, name))

    def next_timer_ms(self) -> int | None:
        """Return when `due_timers` is to be called, in ms since 1970; None if there is no timer."""
        if self._unarmed:
            return 0
        while self._heap and self._heap[0][1] not in self._due:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    # Handing out.

    @property
    def is_full(self) -> bool:
        """Say whether more was posted since `take_rows` than one turn should hold in memory."""
        return self._posted_bytes >= TURN_BYTES

    def take_rows(self) -> list[OutputRecord]:
        """Return the rows that have changed since the last call."""
        self._posted_bytes = 0
        if not self._changed:
            return []
        outputs = []
        for name, correlation in self._changed.items():
            row = self._encoder.row(CORRELATIONS, name, None if is_empty(correlation) else correlation)
            self.restore(row.key or b"", row.value)
            outputs.append(row)
        self._changed = {}
        return outputs

    @property
    def rows(self) -> Mapping[str, Correlation]:
        """All rows, decoded, by key: for those who look at a shard."""
        return {name: self._row(name) for name in sorted(self._rows)}
