"""Checks that deciding the recorded inputs again, in their recorded order, gives the recorded records byte for byte.

The log has the order of the inputs of a partition, and the position of `definitions` at which each was decided. The
engine's own fold (`processors.fold.shard_fold`) decides them again, and its outputs are compared with the topics.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from processors.codec import Codec
from processors.fold.definitions_view import DefinitionsView
from processors.fold.inputs import InputRecord, ReadInput
from processors.fold.outputs import OutputRecord
from processors.fold.shard_fold import ShardFold
from processors.fold.shard_folds import ShardFolds
from tests.chaos.avro import decode
from tests.chaos.findings import Finding, Kind
from tests.chaos.outcomes import Block
from tests.chaos.tape import (
    CORRELATED_EVENTS,
    DEAD_LETTERS,
    DEFINITION_EVENTS,
    DEFINITIONS,
    LOG,
    OF_TASKS,
    Headers,
    RecordAddress,
    Tape,
    TapeRecord,
    source_of,
)

TRACE_CONTEXT: Final = frozenset({"traceparent", "tracestate"})


class RecordedDefinitions(DefinitionsView):
    """The definitions at the positions that the log names."""

    def __init__(self, codec: Codec, tape: Tape) -> None:
        super().__init__(codec)
        self._records = [record for _, record in tape.of(DEFINITIONS)]

    def move_to(self, position: int) -> None:
        """Apply the definitions before a position. Raises ValueError for an earlier position than before."""
        if position < self.position:
            raise ValueError(f"definitions went back from {self.position} to {position}")
        while self._records and self._records[0].offset < position:
            record = self._records.pop(0)
            self.apply(record.key or b"", record.value, record.offset + 1)
        self.position = position


class Redecider:
    """Folds the inputs of one partition again."""

    def __init__(self, tape: Tape, codec: Codec, partition: int) -> None:
        self._tape, self._codec, self._partition = tape, codec, partition
        self._inputs = {address: record for address, record in tape.inputs() if address.partition == partition}
        self._view = RecordedDefinitions(codec, tape)
        self._shard: ShardFold = ShardFolds(tape.partitions, codec, self._view).create(partition)
        self._of_tasks: list[OutputRecord] = []

    def check(self, blocks: Sequence[Block]) -> Iterator[Finding]:
        """Compare the outputs of the partition's inputs with the recorded ones. `blocks`: those of this partition."""
        for block in blocks:
            try:
                outputs = self._decide(block.cause, block.entries[0].fields["cause"]["definitions_position"])
            except Exception as error:  # noqa: BLE001  whatever is raised: the finding is that it cannot be decided
                yield Finding(Kind.DECIDED, f"{block.cause} cannot be decided again: {error!r}")
                return
            decided = [as_record(output) for output in outputs if output.topic == LOG]
            found = [entry.record for entry in block.entries]
            if not same(decided, found):
                yield Finding(
                    Kind.DECIDED,
                    f"{block.cause}: decided again {names(decided)}, recorded {names(found)}",
                )
                return
        for topic in OF_TASKS:
            yield from self._compare(topic, [output for output in self._of_tasks if output.topic == topic])
        yield from self._check_dead_letters()
        if self._partition == 0:
            yield from self._check_definitions()

    def _decide(self, address: RecordAddress, definitions_position: int) -> list[OutputRecord]:
        record = self._inputs.get(address)
        if record is None:
            raise LookupError("it is not there")
        self._view.move_to(definitions_position)
        read = ReadInput(InputRecord(*address, record.timestamp_ms, record.key, record.value, record.headers))
        self._shard.fold(read)
        outputs = list(self._shard.take_outputs())
        self._of_tasks.extend(output for output in outputs if output.topic in OF_TASKS)
        return outputs

    def _check_dead_letters(self) -> Iterator[Finding]:
        decided = []
        for _, letter in self._of(DEAD_LETTERS):
            outputs = self._decide(source_of(letter), self._view.position)
            decided += [output for output in outputs if output.topic == DEAD_LETTERS]
        yield from self._compare(DEAD_LETTERS, decided)

    def _check_definitions(self) -> Iterator[Finding]:
        """Decide the definition commands again. Their fold needs no definitions but its own, so it starts empty."""
        decided: list[OutputRecord] = []
        shard = ShardFolds(self._tape.partitions, self._codec, self._view).create(0)
        for _, event in self._of(DEFINITION_EVENTS):
            cause = decode(event.value or b"")[1]["cause"]
            address = RecordAddress(cause["topic"], cause["partition"], cause["offset"])
            record = self._inputs.get(address)
            if record is None:
                return  # the check of outcomes finds it
            self._view.position = cause["definitions_position"]
            shard.fold(ReadInput(InputRecord(*address, record.timestamp_ms, record.key, record.value, record.headers)))
            decided += shard.take_outputs()
        for topic in (DEFINITION_EVENTS, DEFINITIONS):
            yield from self._compare(topic, [output for output in decided if output.topic == topic])

    def _of(self, topic: str) -> list[tuple[RecordAddress, TapeRecord]]:
        """Return what the partition has of a topic, without events that waited for a correlation key in vain."""
        return [
            (address, record)
            for address, record in self._tape.of(topic)
            if address.partition == self._partition
            and (topic != DEAD_LETTERS or source_of(record).topic != CORRELATED_EVENTS)
        ]

    def _compare(self, topic: str, outputs: list[OutputRecord]) -> Iterator[Finding]:
        decided = [as_record(output) for output in outputs]
        found = [record for _, record in self._of(topic)]
        for number in range(max(len(decided), len(found))):
            if not same(decided[number : number + 1], found[number : number + 1]):
                yield Finding(
                    Kind.DECIDED,
                    f"{topic}[{self._partition}]: record {number} of {len(found)} is not number {number} of the "
                    f"{len(decided)} that deciding again gives",
                )
                return


def as_record(output: OutputRecord) -> TapeRecord:
    """Return the record that an output is on its topic, without its offset."""
    return TapeRecord(-1, output.timestamp_ms or -1, output.key, output.value, output.headers)


def same(decided: Sequence[TapeRecord], found: Sequence[TapeRecord]) -> bool:
    """Return True if records are the same: key, value, headers, and the time if the fold gives one.

    The context of a trace is no decision: with tracing each fold has a span of its own.
    """
    return len(decided) == len(found) and all(
        (one.key, one.value, untraced(one.headers)) == (other.key, other.value, untraced(other.headers))
        and one.timestamp_ms in (-1, other.timestamp_ms)
        for one, other in zip(decided, found, strict=True)
    )


def untraced(headers: Headers) -> Headers:
    """Return headers without the context of a trace."""
    return tuple(it for it in headers if it[0] not in TRACE_CONTEXT)


def names(records: Sequence[TapeRecord]) -> str:
    """Return the kinds of these records."""
    return ", ".join(decode(record.value or b"")[0] for record in records) or "nothing"


def check_decisions(tape: Tape, blocks: Sequence[Block]) -> Iterator[Finding]:
    """Decide all partitions again."""
    for partition in range(tape.partitions):
        yield from Redecider(tape, Codec.load(), partition).check([b for b in blocks if b.partition == partition])
