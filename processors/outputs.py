"""What a fold hands out: records for topics, by the topics' logical names. Knows nothing of Kafka or Avro."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """One record to write. `topic` is without the prefix; the partition is always said, never left to a client.

    `value` is None for a tombstone.
    """

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int | None = None
    """Of the record, where it tells when something happened, so that it is found by time; None: when it is written."""
