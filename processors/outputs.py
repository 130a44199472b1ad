"""What a fold hands out: records for topics, by the topics' logical names. Knows nothing of Kafka or Avro."""

from typing import NamedTuple


class OutputRecord(NamedTuple):
    """One record to write. `topic` is without the prefix; the partition is always said, never left to a client.

    `value` is None for a tombstone. A NamedTuple, because an interrupt makes about ten of these and a frozen dataclass
    takes three times as long to make.
    """

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int | None = None
    """Of the record, where it tells when something happened, so that it is found by time; None: when it is written."""
