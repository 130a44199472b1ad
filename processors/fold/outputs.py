"""The records that a fold hands out, by the names of their topics without the prefix. Knows neither Kafka nor Avro."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from processors.core.records.errors import HalterError
from processors.core.records.events import Asked

RULES_HEADER: Final = "rules"
"""The header of a record of the log that has the version of the rules which decided it, as decimal digits."""
RULES_DIGITS_MAX: Final = 9

OPERATOR_HEADER: Final = "operator"
"""The header of a record of the log that says who asked for the command which caused it, as UTF-8."""
REASON_HEADER: Final = "reason"
"""The header that says why."""


class OutputTooLarge(HalterError):
    """A fold made a record that is too large for any topic. It is a bug: the limits of the core should prevent it."""


class OutputRecord(NamedTuple):
    """One record to write. `topic` is without the prefix. The partition is always given, never left to a client.

    `value` is None for a tombstone. A NamedTuple, because an interrupt makes about ten of these and a frozen dataclass
    takes three times as long to make.
    """

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int | None = None
    """The record's time, if it tells when something happened, so that it is found by time; None: when it is written."""


def rules_of(headers: Iterable[tuple[str, bytes]]) -> int | None:
    """Return the version of the rules that decided a record of the log, by its headers.

    None if they do not say it: 0.2.0 and earlier versions wrote it, or a worker beside them.
    """
    named = next((value for name, value in headers if name == RULES_HEADER), b"")
    return int(named) if named.isdigit() and len(named) <= RULES_DIGITS_MAX else None


def asked_headers(asked: Asked) -> tuple[tuple[str, bytes], ...]:
    """Return the headers that say who asked for a command, and why."""
    told = ((OPERATOR_HEADER, asked.operator), (REASON_HEADER, asked.reason))
    return tuple((name, text.encode()) for name, text in told if text)


def asked_of(headers: Iterable[tuple[str, bytes]]) -> Asked | None:
    """Return who asked for the command that caused a record of the log, by its headers; None if they do not say it."""
    told = {name: value.decode(errors="replace") for name, value in headers if name in (OPERATOR_HEADER, REASON_HEADER)}
    return Asked(told.get(OPERATOR_HEADER), told.get(REASON_HEADER)) if told else None


def check_sizes(outputs: Iterable[OutputRecord], most: int) -> None:
    """Raise OutputTooLarge if a value has more than `most` bytes.

    Kafka's client would refuse it later. Then nothing would say what the record is about, and no partition could be
    paused.
    """
    for output in outputs:
        if output.value is not None and len(output.value) > most:
            key = (output.key or b"").decode(errors="backslashreplace")
            raise OutputTooLarge(
                f"a record of {output.topic}, key '{key}': expected at most {most} bytes, found {len(output.value)}"
            )
