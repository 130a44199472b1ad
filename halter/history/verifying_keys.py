"""Compares what was recorded of the correlation keys of a partition with what deciding again gives.

`correlation-events` has the order of the inputs about keys, and the position of `definitions` at which each was
decided. A key is compared until its first decision that differs. Knows no WfRun: its own log says which keys it has.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Final, NamedTuple, Protocol

from halter.history.deciding import Decider, Outcome, Row, Step
from halter.history.found import KeyDifference, KeyReport, Kind, Reason
from halter.history.recording import Inputs, Recorded, Recording
from processors.codec import Codec, DecodeError
from processors.core.records.events import Cause, CorrelationDecided, CorrelationOutcome, Definition, RecordSkipped
from processors.core.records.model import Correlation, KeptCorrelatedEvent
from processors.core.records.topic_names import CORRELATIONS
from processors.core.rules.context import Limits
from processors.core.rules.correlating import follow, is_empty
from processors.fold.correlation_fold import kept_event
from processors.fold.inputs import CORRELATION_INPUTS, InputRecord

CHUNK: Final = 2_000
"""Number of inputs that are decided at once."""
GONE: Final = b""
"""Stands for the record of an event that waits, if it is gone."""


class KeysRecording(Recording, Protocol):
    """What was recorded of one partition, that about keys included."""

    @property
    def decisions_begin(self) -> int | None:
        """The offset before which decisions about keys are gone; None if there is no topic with them."""

    def decisions(self) -> Iterator[Recorded]:
        """Yield what was decided about keys, from the beginning. May be called again."""


class Decided(NamedTuple):
    """All decisions about one input, as they were recorded."""

    cause: Cause
    values: list[tuple[int | None, CorrelationDecided]]
    """Each with its offset."""

    @property
    def key(self) -> str:
        """The key of the row that the input is about."""
        first = self.values[0][1]
        return Correlation(first.correlation_key, first.external_event_def).row_key


class VerifyingKeys:
    """Verifies the keys of one partition, once."""

    def __init__(self, recording: KeysRecording, decider: Decider, codec: Codec, limits: Limits | None = None) -> None:
        self._recording, self._decider, self._codec = recording, decider, codec
        self._limits = limits or Limits()
        self._inputs: Inputs = recording.inputs()
        self._next: dict[str, int] = {}
        """Topic -> the offset behind its last input on the log."""
        self._steps: list[tuple[Step, Decided | None]] = []
        self._known: set[str] | None = None
        """The keys of which is known who has them; None: all of them, because nothing is gone."""
        self._skipped: frozenset[tuple[str, int]] | None = None
        self.report = KeyReport()

    def run(self) -> KeyReport:
        """Verify, and return what was found."""
        begin = self._recording.decisions_begin
        if begin is None:
            return self.report
        if not self._decider.decides_keys:
            self.report.are_unknown = True
            return self.report
        self._define()
        if begin:
            self._known = set()
        blocks = self._blocks()
        self._take_over(blocks)
        for block in blocks:
            self._add(block)
            if len(self._steps) >= CHUNK:
                self._compare_all()
        self._compare_all()
        return self.report

    def _define(self) -> None:
        """Hand out the definitions. Of one that was deleted since, only the deletion may be left."""
        known: set[bytes] = set()
        for offset, row in self._recording.definitions():
            definition = None if row.value is None else self._codec.decode(row.value)
            if isinstance(definition, Definition) and definition.deleted and row.key not in known:
                self._decider.define(-1, Row(row.key, self._codec.encode(replace(definition, deleted=False))))
            known.add(row.key)
            self._decider.define(offset, row)

    def _blocks(self) -> Iterator[Decided]:
        """Yield the decisions, those of one input together."""
        for cause, group in groupby(self._readable(), lambda it: it[1].cause):
            yield Decided(cause, [*group])

    def _readable(self) -> Iterator[tuple[int | None, CorrelationDecided]]:
        for it in self._recording.decisions():
            decided = self._decision(it.value)
            if decided is None:
                key = it.key.decode(errors="backslashreplace")
                self._note(key, KeyDifference(Kind.UNREADABLE, self._recording.partition, it.offset, None, None, None))
            else:
                yield it.offset, decided

    def _decision(self, value: bytes) -> CorrelationDecided | None:
        try:
            decided = self._codec.decode(value)
        except DecodeError:
            return None
        return decided if isinstance(decided, CorrelationDecided) else None

    # What is gone.

    def _take_over(self, blocks: Iterator[Decided]) -> None:
        """Take the decisions whose inputs are gone as they are. Begin with the keys that follow."""
        rows: dict[str, Correlation] = {}
        cut_ms: int | None = None
        for _ in range(self._blocks_taken_over()):
            block = next(blocks)
            self._next[block.cause.topic] = block.cause.offset + 1
            self.report.taken_over += len(block.values)
            arrived = self._arrived(block)
            for _, decided in block.values:
                cut_ms = decided.time_ms if cut_ms is None else cut_ms
                before = rows.get(block.key, Correlation(decided.correlation_key, decided.external_event_def))
                rows[block.key] = follow(before, decided, arrived, self._limits)
                is_told = decided.outcome is CorrelationOutcome.POSTED
                if self._known is not None and is_told and decided.time_ms > cut_ms + self._limits.remembered_ms:
                    self._known.add(block.key)
        for key, row in rows.items():
            if any(it.value == GONE for it in row.kept):
                self.report.unverified[key] = Reason.INPUT_GONE
            elif not is_empty(row):
                self._decider.restore(CORRELATIONS, Row(key.encode(), self._codec.encode(row)))

    def _blocks_taken_over(self) -> int:
        """Return the number of blocks up to the last one whose input is gone."""
        begins: Mapping[str, int] = {topic: self._inputs.begins(topic) for topic in CORRELATION_INPUTS}
        if not any(begins.values()):
            return 0
        gone = (at for at, it in enumerate(self._blocks(), 1) if it.cause.offset < begins.get(it.cause.topic, 0))
        return max(gone, default=0)

    def _arrived(self, block: Decided) -> KeptCorrelatedEvent | None:
        """Return the event that a block says is KEPT."""
        decided = block.values[0][1]
        if decided.outcome is not CorrelationOutcome.KEPT:
            return None
        _, record = self._inputs.take(block.cause.topic, block.cause.offset)
        event_id, until_ms = decided.external_event_id or "", decided.until_ms or 0
        if record is None:
            return KeptCorrelatedEvent(event_id, block.cause.offset, decided.time_ms, until_ms, GONE)
        return kept_event(record, event_id, until_ms)

    # Inputs.

    def _add(self, block: Decided) -> None:
        """Add the input of a block to those to decide, and what lies before it and has no decision."""
        topic, offset, key = block.cause.topic, block.cause.offset, block.key
        if self._known is not None and key not in self._known:
            self.report.unverified.setdefault(key, Reason.BEGINNING_GONE)
        if topic not in CORRELATION_INPUTS or offset < self._next.get(topic, 0):
            self._note_block(block, Kind.OUT_OF_ORDER)
            return
        if topic not in self._next and self._recording.decisions_begin:
            self._inputs.seek(topic, offset)
        self._next[topic] = offset + 1
        before, record = self._inputs.take(topic, offset)
        position = block.cause.definitions_position
        self._steps += [(Step(it, position, is_logged=False), None) for it in before]
        if record is None:
            self._note_block(block, Kind.NO_INPUT)
        else:
            self._steps.append((Step(record, position), block))

    # Comparing.

    def _compare_all(self) -> None:
        steps, self._steps = self._steps, []
        outcomes = self._decider.decide([step for step, _ in steps])
        for (step, block), outcome in zip(steps, outcomes, strict=True):
            if block is not None:
                self._compare(block, outcome)
            elif outcome.dead_letter is None and not self._is_skipped(step.record):
                it = step.record
                cause = Cause(it.topic, it.partition, it.offset, None, 0)
                key = (it.key or b"").decode(errors="backslashreplace")
                self._note(key, KeyDifference(Kind.NOT_RECORDED, self._recording.partition, None, cause, None, None))

    def _is_skipped(self, record: InputRecord) -> bool:
        """Return True if an operator had an input skipped, which the log of the partition says."""
        if self._skipped is None:
            self._skipped = frozenset(self._skips())
        return (record.topic, record.offset) in self._skipped

    def _skips(self) -> Iterator[tuple[str, int]]:
        for it in self._recording.log():
            try:
                name = self._codec.record_name(it.value)
                if name == RecordSkipped.__name__:
                    (cause,) = self._codec.peek(it.value, name, ("cause",))
                    yield cause.topic, cause.offset
            except DecodeError:
                continue

    def _compare(self, block: Decided, outcome: Outcome) -> None:
        if block.key in self.report.unverified or block.key in self.report.differences:
            return
        decided = [self._decision(it.value) for it in outcome.entries]
        for index in range(max(len(block.values), len(decided))):
            offset, recorded = block.values[index] if index < len(block.values) else (None, None)
            other = decided[index] if index < len(decided) else None
            if recorded == other:
                self.report.decisions += 1
                continue
            kind = Kind.MORE if recorded is None else Kind.FEWER if other is None else Kind.OTHER_VALUE
            if outcome.raised is not None:
                kind = Kind.RAISED
            at = (self._recording.partition, offset, block.cause)
            self._note(block.key, KeyDifference(kind, *at, recorded, other, outcome.raised))
            return

    def _note_block(self, block: Decided, kind: Kind) -> None:
        offset, first = block.values[0]
        self._note(block.key, KeyDifference(kind, self._recording.partition, offset, block.cause, first, None))

    def _note(self, key: str, difference: KeyDifference) -> None:
        if key not in self.report.unverified:
            self.report.differences.setdefault(key, difference)
