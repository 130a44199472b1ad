"""Records on both sides of a mapping. Knows no client of Kafka, no format and no definition."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from processors.fold.inputs import Headers


class TimestampType(StrEnum):
    """Whose clock a record's time is by. A setting of its topic decides."""

    CREATE_TIME = "CREATE_TIME"
    """The producer's."""
    LOG_APPEND_TIME = "LOG_APPEND_TIME"
    """The broker's."""
    NOT_AVAILABLE = "NOT_AVAILABLE"
    """The record is older than Kafka's timestamps. Its time is -1."""


class SourceRecord(NamedTuple):
    """A record as it was read. A NamedTuple, because one is made for each record.

    `topic` is the name on the cluster. Names of headers may repeat, and a header without a value has an empty one here.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: TimestampType
    key: bytes | None
    value: bytes | None
    """None for a tombstone."""
    headers: Headers = ()

    @property
    def place(self) -> str:
        """The address of the record, as sentences have it."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


class Output(NamedTuple):
    """A record to write. `topic` is the name on the cluster, prefix included; `value` is None for a tombstone."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    """None: the one that murmur2 of the key says, as for every record of Halter's; without a key, any."""
    timestamp_ms: int | None = None
    """None: the time at which it is written. The topic may be set to take the broker's in any case."""


class RecordMapping(Protocol):
    """Says what a record becomes.

    `outputs` depends on nothing but the record and what the mapping was made of: a record that is mapped again, after
    a crash for instance, becomes the same. A record that cannot be mapped becomes a `dead_letter`, and raises nothing;
    but a Schema Registry that is away may raise RegistryUnavailable, and the record is mapped later.
    """

    @property
    def sources(self) -> Sequence[str]:
        """The topics to read, by their names on the cluster."""

    @property
    def destinations(self) -> Sequence[str]:
        """The topics that outputs may go to, by their names on the cluster, without `dead-letters`."""

    def outputs(self, record: SourceRecord) -> Sequence[Output]:
        """Return what a record becomes: in the order in which it is written, perhaps nothing."""

    def dead_letter(self, record: SourceRecord, code: str, message: str) -> Output:
        """Return the dead letter of a record whose outputs Kafka refuses. The mapping knows what it may copy."""
