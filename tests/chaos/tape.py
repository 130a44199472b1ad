"""Everything that the topics of one installation show to a read_committed reader.

The verdict needs only a tape. So it can be tested with wrong tapes, and made again later from the evidence of a run.
"""

import gzip
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.chaos.avro import as_current, decode

INPUTS: Final = ("wf-commands", "external-events", "task-reports", "definition-commands")
STATE: Final = ("wf-runs", "thread-runs", "wf-run-external-events")
FOLD_POSITIONS: Final = "fold-positions"
LOG: Final = "wf-events"
DEAD_LETTERS: Final = "dead-letters"
CORRELATED_EVENTS: Final = "correlated-events"
DEFINITION_EVENTS: Final = "definition-events"
DEFINITIONS: Final = "definitions"
TASK_REQUESTS: Final = "task-requests"
TASK_CANCELLATIONS: Final = "task-cancellations"
OF_TASKS: Final = (TASK_REQUESTS, TASK_CANCELLATIONS)
TOPICS: Final = (*INPUTS, LOG, DEAD_LETTERS, DEFINITION_EVENTS, DEFINITIONS, *OF_TASKS, *STATE, FOLD_POSITIONS)

Headers = tuple[tuple[str, bytes], ...]


class RecordAddress(NamedTuple):
    """The address of a record, with its topic without the prefix."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class TapeRecord(NamedTuple):
    """One record. Its offset is not its index: aborted records and markers leave holes."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass
class Tape:
    """Records by logical topic and partition, in order."""

    partitions: int
    topics: dict[str, dict[int, list[TapeRecord]]] = field(default_factory=dict)
    read_at_ms: int = 0
    """The time when reading began. Whatever was due long before must be there."""
    definitions_end: int | None = None
    """The end of `definitions`, aborted records included; None for the marker after its last record."""

    def of(self, topic: str) -> Iterator[tuple[RecordAddress, TapeRecord]]:
        """Yield the records of a topic, partition after partition."""
        for partition, records in sorted(self.topics.get(topic, {}).items()):
            for record in records:
                yield RecordAddress(topic, partition, record.offset), record

    def inputs(self) -> Iterator[tuple[RecordAddress, TapeRecord]]:
        """Yield all input records."""
        for topic in INPUTS:
            yield from self.of(topic)

    def last_values(self, topic: str) -> dict[tuple[int, bytes], bytes]:
        """Return what compaction leaves: the last value of each key, without keys that end in a tombstone."""
        found: dict[tuple[int, bytes], bytes] = {}
        for address, record in self.of(topic):
            key = (address.partition, record.key or b"")
            if record.value is None:
                found.pop(key, None)
            else:
                found[key] = record.value
        return found

    def in_current_schemas(self) -> "Tape":
        """Return the tape that would be there if today's schemas had written the records of an earlier release."""
        topics = {
            topic: {
                partition: [record._replace(value=as_current(record.value)) for record in records]
                for partition, records in partitions.items()
            }
            for topic, partitions in self.topics.items()
        }
        return Tape(self.partitions, topics, self.read_at_ms, self.definitions_end)

    def save(self, path: Path) -> None:
        """Save the tape as evidence."""
        with gzip.open(path, "wb") as file:
            pickle.dump(self, file)

    @staticmethod
    def load(path: Path) -> "Tape":
        """Load a tape that `save` has written. Load only your own files: they are pickles."""
        with gzip.open(path, "rb") as file:
            tape: Tape = pickle.load(file)
        return tape


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the log, decoded."""

    partition: int
    record: TapeRecord
    name: str
    fields: dict[str, Any]

    @property
    def cause(self) -> RecordAddress:
        """The address of the input that caused it."""
        cause = self.fields["cause"]
        return RecordAddress(cause["topic"], cause["partition"], cause["offset"])

    def __str__(self) -> str:
        return f"{LOG}[{self.partition}]@{self.record.offset} {self.name} of {self.fields['wf_run_id']!r}"


def entries(tape: Tape) -> Iterator[Entry]:
    """Yield the log, decoded, partition after partition."""
    for address, record in tape.of(LOG):
        name, fields = decode(record.value or b"")
        yield Entry(address.partition, record, name, fields)


def source_of(letter: TapeRecord) -> RecordAddress:
    """Return the address of the input that a dead letter was."""
    headers = {name: value.decode() for name, value in letter.headers if name.startswith("halter.")}
    return RecordAddress(headers["halter.topic"], int(headers["halter.partition"]), int(headers["halter.offset"]))
