"""What a fold hands out: records for topics, by the topics' logical names. Knows nothing of Kafka or Avro."""

from collections.abc import Iterable
from typing import NamedTuple

from processors.core.records.errors import HalterError


class OutputTooLarge(HalterError):
    """A fold made a record that no topic takes. The bounds of the core are there to prevent it: a bug of ours."""


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


def check_sizes(outputs: Iterable[OutputRecord], most: int) -> None:
    """Raises OutputTooLarge for a value of more than so many bytes.

    Before Kafka's client refuses it: nobody could say then what it is about, and no partition could wait for that.
    """
    for output in outputs:
        if output.value is not None and len(output.value) > most:
            key = (output.key or b"").decode(errors="backslashreplace")
            raise OutputTooLarge(
                f"a record of {output.topic}, key '{key}': expected at most {most} bytes, found {len(output.value)}"
            )
