"""Checks that every committed input has its outcome exactly once, in order, and that there are no other outcomes.

An outcome is a block of log entries with one cause that stand together; or a dead letter; or, for a definition command,
a record of `definition-events`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.avro import decode
from tests.chaos.findings import Finding, Kind
from tests.chaos.tape import (
    CORRELATED_EVENTS,
    DEAD_LETTERS,
    DEFINITION_EVENTS,
    FOLD_POSITIONS,
    LOG,
    OF_TASKS,
    STATE,
    Entry,
    RecordAddress,
    Tape,
    TapeRecord,
    source_of,
)

REFUSALS: Final = frozenset({"Rejected", "Ignored"})
VOID: Final = b"void-"
"""The beginning of every id that a producer puts into a transaction that it aborts, and of no other id."""


@dataclass(slots=True)
class Block:
    """Log entries with one cause that stand together."""

    cause: RecordAddress
    partition: int
    entries: list[Entry] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        """Return True if the input changed nothing."""
        return self.entries[0].name in REFUSALS


def blocks_of(log: Iterable[Entry]) -> list[Block]:
    """Cut the log where the cause changes."""
    blocks: list[Block] = []
    for entry in log:
        last = blocks[-1] if blocks else None
        if last is None or last.partition != entry.partition or last.cause != entry.cause:
            last = Block(entry.cause, entry.partition)
            blocks.append(last)
        last.entries.append(entry)
    return blocks


def check_outcomes(tape: Tape, blocks: list[Block]) -> Iterator[Finding]:
    """Compare inputs with outcomes."""
    inputs = dict(tape.inputs())
    outcomes: Counter[RecordAddress] = Counter()
    orders: dict[tuple[str, int, str], int] = defaultdict(lambda: -1)

    def outcome(of: RecordAddress, where: str, partition: int, said: str) -> Iterator[Finding]:
        outcomes[of] += 1
        if of not in inputs:
            yield Finding(Kind.FROM_NOWHERE, f"{said} has cause {of}, which no read_committed reader sees")
        if of.topic != "definition-commands" and of.partition != partition:
            yield Finding(Kind.FROM_NOWHERE, f"{said} has cause {of}, a record of another partition")
        line = (where, partition, of.topic)
        if of.offset < orders[line]:
            yield Finding(Kind.OUT_OF_ORDER, f"{said}: the outcome of {of} comes after that of @{orders[line]}")
        orders[line] = max(orders[line], of.offset)

    for block in blocks:
        yield from outcome(block.cause, LOG, block.partition, str(block.entries[0]))
        yield from check_block(block)
    for address, letter in tape.of(DEAD_LETTERS):
        source = source_of(letter)
        if source.topic == CORRELATED_EVENTS:
            continue  # an event that waited for a correlation key: another judge looks at it
        yield from outcome(source, DEAD_LETTERS, address.partition, str(address))
        if (record := inputs.get(source)) is not None and not same_record(letter, record):
            yield Finding(Kind.DECIDED, f"{address}: not the bytes of {source}")
    for address, event in tape.of(DEFINITION_EVENTS):
        it = decode(event.value or b"")[1]["cause"]
        cause = RecordAddress(it["topic"], it["partition"], it["offset"])
        yield from outcome(cause, DEFINITION_EVENTS, 0, str(address))
    for address in inputs:
        if outcomes[address] == 0:
            yield Finding(Kind.LOST, f"{address} has no outcome")
        elif outcomes[address] > 1:
            yield Finding(Kind.DOUBLED, f"{address} has {outcomes[address]} outcomes")


def check_block(block: Block) -> Iterator[Finding]:
    """Expect that an input has an effect or is refused, and that no record of its outcome is there twice."""
    names = [entry.name for entry in block.entries]
    if len(names) > 1 and REFUSALS & set(names):
        yield Finding(Kind.DOUBLED, f"{block.cause} was taken and refused: {', '.join(names)}")
    if len({entry.record.value for entry in block.entries}) < len(names):
        yield Finding(Kind.DOUBLED, f"{block.cause}: a record of its outcome is there twice: {', '.join(names)}")


def same_record(letter: TapeRecord, record: TapeRecord) -> bool:
    """Return True if a dead letter is its input, apart from the added headers."""
    own = tuple(header for header in letter.headers if not header[0].startswith("halter."))
    return (letter.key, letter.value, own) == (record.key, record.value, record.headers)


def check_aborted(tape: Tape) -> Iterator[Finding]:
    """Expect that no id of an aborted transaction is visible anywhere."""
    for topic in (LOG, DEAD_LETTERS, *OF_TASKS, *STATE, FOLD_POSITIONS):
        for address, record in tape.of(topic):
            if VOID in (record.value or b"") or VOID in (record.key or b""):
                yield Finding(Kind.FROM_NOWHERE, f"{address} holds something of an aborted transaction")


def check_seq(log: Iterable[Entry]) -> Iterator[Finding]:
    """Expect that the events of each incarnation of a WfRun are numbered 1, 2, 3 …, on one partition, in order."""
    last: dict[tuple[str, int], int] = defaultdict(int)
    for entry in log:
        wf_run_id, incarnation, seq = (entry.fields[name] for name in ("wf_run_id", "incarnation", "seq"))
        if entry.record.key != wf_run_id.encode():
            yield Finding(Kind.SEQ, f"{entry}: its key is {entry.record.key!r}")
        if incarnation < 0:
            if seq != 0:
                yield Finding(Kind.SEQ, f"{entry}: seq {seq} where no WfRun exists")
            continue
        before = last[wf_run_id, incarnation]
        if seq != before + 1:
            how = "repeats or goes back" if seq <= before else "leaves a gap"
            yield Finding(Kind.SEQ, f"{entry}, incarnation {incarnation}: seq {seq} after {before} {how}")
        last[wf_run_id, incarnation] = seq
