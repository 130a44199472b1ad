"""Decodes records of the log, and says which record it was if that cannot be done."""

from confluent_kafka import Message

from halter.client.errors import LaterRelease
from halter.client.reading import offset_of
from processors.codec import Codec, UnknownSchema
from processors.core.records.events import LogEntry


def log_entry(codec: Codec, record: Message) -> LogEntry:
    """Return the entry in a record of `wf-events`. Raises LaterRelease."""
    try:
        entry = codec.decode(record.value() or b"")
    except UnknownSchema as unknown:
        raise LaterRelease(
            f"{record.topic()}[{record.partition()}]@{offset_of(record)}: {unknown}. A worker of a later release than "
            "this client has written it: upgrade the client"
        ) from unknown
    assert isinstance(entry, LogEntry)
    return entry
