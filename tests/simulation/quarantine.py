"""The verdict on runs in which operators acted.

A paused partition passes over nothing, inputs that a quarantine kept are decided after its release, and the state is
that of a run in which nothing broke.

Each input has one outcome, apart from operators' commands and the notes (InputKept) of what is kept. The whole log is
what deciding again gives, byte for byte. Deciding in the same order without any operator leaves the same rows, except
for the fields that count the events of the log.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

from processors.codec import Codec
from processors.core.records.topic_names import OPERATOR_COMMANDS
from processors.fold.inputs import InputRecord, ReadInput
from processors.fold.outputs import OutputRecord
from processors.fold.shard_folds import ShardFolds
from tests.chaos.avro import decode
from tests.chaos.findings import Finding, Kind
from tests.chaos.redeciding import RecordedDefinitions, as_record, names, same
from tests.chaos.tape import DEAD_LETTERS, LOG, STATE, Entry, RecordAddress, Tape, TapeRecord, source_of

KEPT_INPUTS: Final = "kept-inputs"
OF_OPERATORS: Final = frozenset(
    {
        "InputKept",
        "WfRunQuarantined",
        "WfRunReleased",
        "SkipAccepted",
        "SkipLapsed",
        "RecordSkipped",
    }
)
COUNTS: Final = frozenset({"seq", "posted_seq", "matured_seq", "definitions_position"})
"""Fields that count or cite log entries."""
FOLDED: Final = ("wf-commands", "external-events", "task-reports", OPERATOR_COMMANDS)


def findings_with_operators(
    tape: Tape, log: list[Entry], codec: Codec, skipped: set[tuple[str, int, int]]
) -> Iterator[Finding]:
    """Yield everything that is wrong beyond what holds for every log. `skipped` are the records an operator skipped."""
    inputs = {address: record for topic in FOLDED for address, record in tape.of(topic)}
    yield from check_outcomes(tape, log, inputs, skipped)
    if rows := tape.last_values(KEPT_INPUTS):
        yield Finding(Kind.LOST, f"{len(rows)} inputs are kept still: {sorted(key for _, key in rows)[:3]}")
    for partition in range(tape.partitions):
        yield from Again(tape, codec, partition, inputs).check([it for it in log if it.partition == partition])


def is_decision(entry: Entry) -> bool:
    """Return True if the rules made an entry of an input."""
    return entry.name not in OF_OPERATORS and entry.cause.topic != OPERATOR_COMMANDS


def check_outcomes(
    tape: Tape, log: list[Entry], inputs: dict[RecordAddress, TapeRecord], skipped: set[tuple[str, int, int]]
) -> Iterator[Finding]:
    """Expect that each input is decided once, or that an operator had it skipped."""
    outcomes: Counter[RecordAddress] = Counter()
    passed = {entry.cause for entry in log if entry.name == "RecordSkipped"}
    kept = Counter(entry.cause for entry in log if entry.name == "InputKept")
    last: RecordAddress | None = None
    latest: dict[tuple[str, int], int] = defaultdict(lambda: -1)
    for entry in log:
        if entry.cause.topic in FOLDED and entry.cause not in inputs:
            yield Finding(Kind.FROM_NOWHERE, f"{entry} has cause {entry.cause}, which no read_committed reader sees")
        if is_decision(entry) and entry.cause != last:
            outcomes[entry.cause] += 1
        last = entry.cause if is_decision(entry) else None
        line = entry.cause.topic, entry.cause.partition
        if is_decision(entry) and entry.cause in kept:
            continue
        if entry.cause.offset < latest[line]:
            yield Finding(
                Kind.OUT_OF_ORDER, f"{entry}: the outcome of {entry.cause} comes after that of {latest[line]}"
            )
        latest[line] = max(latest[line], entry.cause.offset)
    for _, letter in tape.of(DEAD_LETTERS):
        if source_of(letter) not in passed:
            outcomes[source_of(letter)] += 1
    for address in inputs:
        wanted = 0 if address in passed or address.topic == OPERATOR_COMMANDS else 1
        if outcomes[address] != wanted:
            how = Kind.LOST if outcomes[address] < wanted else Kind.DOUBLED
            yield Finding(how, f"{address} has {outcomes[address]} outcomes, expected {wanted}")
        if kept[address] > 1:
            yield Finding(Kind.DOUBLED, f"{address} is kept {kept[address]} times")
    for address in passed:
        if tuple(address) not in skipped:
            yield Finding(Kind.LOST, f"{address} was passed over, and nobody had asked for it")


class Again:
    """Decides the inputs of a partition again, with the operators' commands and without."""

    def __init__(self, tape: Tape, codec: Codec, partition: int, inputs: dict[RecordAddress, TapeRecord]) -> None:
        self._tape, self._codec, self._partition, self._inputs = tape, codec, partition, inputs

    def check(self, log: list[Entry]) -> Iterator[Finding]:
        """Compare. `log` is that of this partition."""
        try:
            decided = [it for it in self._decided(first_of_each(log)) if it.topic == LOG]
            unbroken = self._decided(first_of_each(filter(is_decision, log)))
        except Exception as error:  # noqa: BLE001  whatever is raised: the finding is that it cannot be decided again
            yield Finding(Kind.DECIDED, f"partition {self._partition} cannot be decided again: {error!r}")
            return
        for number in range(max(len(decided), len(log))):
            one = [as_record(it) for it in decided[number : number + 1]]
            other = [it.record for it in log[number : number + 1]]
            if not same(one, other):
                where = f"{LOG}[{self._partition}], entry {number}"
                yield Finding(Kind.DECIDED, f"{where}: decided again {names(one)}, recorded {names(other)}")
                break
        for topic in STATE:
            expected, found = last_values(unbroken, topic), self._rows(topic)
            for key in sorted(expected.keys() | found.keys()):
                if expected.get(key) != found.get(key):
                    differs = f"{topic}[{self._partition}], key {key!r}"
                    yield Finding(Kind.STATE, f"{differs}: not the row of a run in which nothing broke")

    def _decided(self, order: Iterable[Entry]) -> list[OutputRecord]:
        """Return all outputs of the inputs of these entries."""
        view = RecordedDefinitions(self._codec, self._tape)
        shard = ShardFolds(self._tape.partitions, self._codec, view).create(self._partition)
        outputs: list[OutputRecord] = []
        for entry in order:
            address, record = entry.cause, self._inputs[entry.cause]
            view.move_to(entry.fields["cause"]["definitions_position"])
            shard.fold(ReadInput(InputRecord(*address, record.timestamp_ms, record.key, record.value, record.headers)))
            outputs += shard.take_outputs()
        return outputs

    def _rows(self, topic: str) -> dict[bytes, Any]:
        values = self._tape.last_values(topic)
        return {key: without_counts(decode(it)) for (number, key), it in values.items() if number == self._partition}


def first_of_each(log: Iterable[Entry]) -> Iterator[Entry]:
    """Return the first entry of each cause."""
    seen = set()
    for entry in log:
        if entry.cause not in seen:
            seen.add(entry.cause)
            yield entry


def last_values(outputs: list[OutputRecord], topic: str) -> dict[bytes, Any]:
    """Return what compaction leaves of a topic."""
    rows = {it.key or b"": it.value for it in outputs if it.topic == topic}
    return {key: without_counts(decode(value)) for key, value in rows.items() if value is not None}


def without_counts(value: Any) -> Any:
    """Return a row without the fields that depend on how many entries the log has."""
    match value:
        case dict():
            return {key: without_counts(item) for key, item in value.items() if key not in COUNTS}
        case list() | tuple():
            return [without_counts(item) for item in value]
    return value
