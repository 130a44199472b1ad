"""Decodes what only workers write, and says where it was if a newer release has written it.

Readers of the log, of rows and of definitions come by here, so all of them say the same.
"""

from collections.abc import Callable
from dataclasses import replace

from confluent_kafka import Message

from halter.client.errors import LaterRelease
from halter.client.reading import offset_of
from processors.codec import Codec, Record, UnknownSchema
from processors.core.records.events import DefinitionAccepted, DefinitionRejected, LogEntry
from processors.fold.outputs import asked_of
from processors.kafka.headers import headers_of


def log_entry(codec: Codec, record: Message) -> LogEntry:
    """Return the entry in a record of `wf-events`. Raises LaterRelease."""
    entry = entry_in(codec, record.value() or b"", lambda: where(record))
    asked = asked_of(headers_of(record) or ())
    return entry if asked is None else replace(entry, asked=asked)


def entry_in(codec: Codec, value: bytes, place: Callable[[], str]) -> LogEntry:
    """Return the entry in the value of such a record. Raises LaterRelease, which names the `place`."""
    entry = decoded(codec, value, "event", place)
    assert isinstance(entry, LogEntry)
    return entry


def definition_outcome(codec: Codec, record: Message) -> DefinitionAccepted | DefinitionRejected:
    """Return the outcome in a record of `definition-events`. Raises LaterRelease."""
    outcome = decoded(codec, record.value() or b"", "outcome of a definition command", lambda: where(record))
    assert isinstance(outcome, DefinitionAccepted | DefinitionRejected)
    return outcome


def where(record: Message) -> str:
    """Return the place of a record as it stands in a sentence."""
    return f"{record.topic()}[{record.partition()}]@{offset_of(record)}"


def decoded(codec: Codec, value: bytes, what: str, place: Callable[[], str]) -> Record:
    """Return a record that a worker has written. Raises LaterRelease, which names the place and what is there."""
    try:
        return codec.decode(value)
    except UnknownSchema as unknown:
        raise LaterRelease(
            f"{place()}: this {what} was written by a newer release than this program is of: upgrade this program "
            f"({unknown})"
        ) from unknown
