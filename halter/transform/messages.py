"""Makes a SourceRecord of what a consumer has read."""

from collections.abc import Mapping
from typing import Final

from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message

from halter.transform.records import SourceRecord, TimestampType
from processors.kafka.headers import headers_of

TIMESTAMP_TYPES: Final[Mapping[int, TimestampType]] = {
    TIMESTAMP_CREATE_TIME: TimestampType.CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME: TimestampType.LOG_APPEND_TIME,
}


def source_record(message: Message) -> SourceRecord:
    """Return a message that is no error as a record."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    kind, time_ms = message.timestamp()
    return SourceRecord(
        topic,
        partition,
        offset,
        time_ms,
        TIMESTAMP_TYPES.get(kind, TimestampType.NOT_AVAILABLE),
        message.key(),
        message.value(),
        headers_of(message) or (),
    )
