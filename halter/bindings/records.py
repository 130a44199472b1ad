"""What the templates of a binding may use of a record: its value, its key, its headers and its place."""

from collections.abc import Callable, Mapping
from functools import partial

from halter.bindings.document import HEADERS, KEY, OFFSET, PARTITION, TIMESTAMP, TOPIC, VALUE
from halter.bindings.formats import Decoder, Undecodable
from halter.transform import SourceRecord
from halter.transform.templates import GivenValues
from processors.core.records.values import Timestamp, Value


def values_of(record: SourceRecord, value: Decoder, key: Decoder) -> GivenValues:
    """Return the scope of the templates of one record. Key and value are decoded when something asks for them."""
    finders: Mapping[str, Callable[[], Value]] = {
        VALUE: partial(_decoded, "value", record.value, value),
        KEY: partial(_decoded, "key", record.key, key),
        HEADERS: partial(_headers, record),
        TOPIC: lambda: record.topic,
        PARTITION: lambda: record.partition,
        OFFSET: lambda: record.offset,
        TIMESTAMP: lambda: Timestamp(record.timestamp_ms),
    }
    return GivenValues(finders)


def _decoded(what: str, data: bytes | None, decode: Decoder) -> Value:
    if data is None:
        return None
    try:
        return decode(data)
    except Undecodable as problem:
        raise Undecodable(f"{what}: {problem}") from None


def _headers(record: SourceRecord) -> Value:
    """Return the headers by name. Of a name that repeats, the last counts; one that is no text is null."""
    return {name: _text(data) for name, data in record.headers}


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
