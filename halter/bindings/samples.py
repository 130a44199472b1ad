"""Reads records that people write down, or that other tools print, to see what they become.

A file of JSON lines has a record on each line: `{"key": "k", "value": {…}, "headers": {…}, "topic": "orders", …}`, or
what `kcat -J` prints. Any other file is the bytes of one value. Values in binary formats are written `value_base64`.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from halter.bindings.formats.framing import HEADER_LENGTH
from halter.bindings.model import Bindings, Format, FormatKind, Framing
from halter.files.yaml_files import Problem
from halter.transform import SourceRecord, TimestampType
from processors.core.records.errors import HalterError
from processors.core.records.values import INT_MAX, ValueProblem, timestamp_of
from processors.core.wf_spec.near_names import NearNames

LINES: Final = (".jsonl", ".ndjson")
"""How the names of files end that have a record on each line."""
SAMPLE_BYTES_MAX: Final = 256 * 1024 * 1024
FIELDS: Final = ("value", "value_base64", "key", "key_base64", "headers", "topic", "partition", "offset", "timestamp")
OF_KCAT: Final[Mapping[str, str]] = {"payload": "value", "ts": "timestamp", "tstype": "", "broker": ""}
"""What `kcat -J` calls the fields, and what it adds."""
BINARY: Final = (FormatKind.AVRO, FormatKind.PROTOBUF, FormatKind.BYTES)
LENGTHS: Final = {FormatKind.INTEGER: 4, FormatKind.LONG: 8}


class BadSample(HalterError):
    """A file of samples cannot be read, or a line of it is no record. Its author acts."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A record, and where it stands."""

    where: str
    record: SourceRecord


def read_samples(path: Path, bindings: Bindings, topic: str | None = None, key: str | None = None) -> list[Sample]:
    """Read the records of a file; `-` is standard input, with a record on each line. Raises BadSample.

    `topic`: that of records which name none. It may be left out if the document has one topic. `key`: that of records
    which have none.
    """
    topic = _topic(bindings, topic)
    data = _bytes_of(path)
    keyed = None if key is None else key.encode()
    if path.name != "-" and path.suffix.lower() not in LINES:
        if topic is None:
            raise BadSample(
                f"{path}: expected the topic of this value, found several in the document: {_known(bindings)}"
            )
        return [Sample(str(path), SourceRecord(topic, 0, 0, 0, TimestampType.CREATE_TIME, keyed, data))]
    samples = list[Sample]()
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            place = Problem(str(path), number, 1, "").location
            try:
                samples.append(Sample(place, _record(line, bindings, topic, keyed, len(samples))))
            except _Wrong as wrong:
                raise BadSample(f"{place}: {wrong}") from None
    if not samples:
        raise BadSample(f"{path}: expected a record on each line, found no line")
    return samples


class _Wrong(Exception):
    """A line is no record; never leaves this module."""


def _bytes_of(path: Path) -> bytes:
    import sys

    try:
        if path.name == "-":
            return sys.stdin.buffer.read(SAMPLE_BYTES_MAX)
        if path.stat().st_size > SAMPLE_BYTES_MAX:
            raise BadSample(f"{path}: expected at most {SAMPLE_BYTES_MAX} bytes, found {path.stat().st_size}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadSample(f"{path}: there is no such file") from error
    except OSError as error:
        raise BadSample(f"{path}: cannot be read: {error.strerror}") from error


def _topic(bindings: Bindings, topic: str | None) -> str | None:
    if topic is not None and topic not in bindings.topics:
        meant = NearNames().meant_or_known(topic, bindings.topics)
        raise BadSample(f"--topic: expected a topic of the document, found {topic!r}{meant}")
    return bindings.topics[0] if topic is None and len(bindings.topics) == 1 else topic


def _known(bindings: Bindings) -> str:
    return ", ".join(bindings.topics) + "; name one with --topic"


def _record(line: bytes, bindings: Bindings, topic: str | None, key: bytes | None, count: int) -> SourceRecord:
    try:
        data: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"expected a record as JSON on each line, found that it is not JSON: {error}") from None
    how = 'a value that stands for itself is written {"value": …}'
    if not isinstance(data, dict):
        raise _Wrong(f"expected a record as a JSON object, found something else; {how}")
    for name in data:
        if name not in FIELDS and name not in OF_KCAT:
            raise _Wrong(f"a record has no field {name!r}{NearNames().meant(name, FIELDS)}; {how}")
    given: dict[str, Any] = {OF_KCAT.get(name, name): it for name, it in data.items()}
    found: Any = given.get("topic", topic)
    if found is None:
        raise _Wrong(f"expected the topic of this record, because the document has several: {_known(bindings)}")
    of_topic = next((it for it in bindings.bindings if it.topic == found), None)
    if of_topic is None:
        raise _Wrong(
            f"expected a topic of the document, found {found!r}{NearNames().meant_or_known(found, bindings.topics)}"
        )
    if not given.keys() & {"value", "value_base64"}:
        raise _Wrong(f"expected the field value or value_base64, found none; a tombstone has the value null; {how}")
    value = _part(given, "value", of_topic.format, "payload" in data)
    own_key = (
        _part(given, "key", of_topic.key_format, "payload" in data) if given.keys() & {"key", "key_base64"} else key
    )
    return SourceRecord(
        found,
        _number(given, "partition", 0),
        _number(given, "offset", count),
        _time(given),
        TimestampType.LOG_APPEND_TIME if data.get("tstype") == "append" else TimestampType.CREATE_TIME,
        own_key,
        value,
        _headers(given.get("headers")),
    )


def _part(given: Mapping[str, Any], name: str, format_: Format, is_text: bool) -> bytes | None:
    """Return the bytes of a key or value. `is_text`: it is written as text, whatever the format."""
    encoded = given.get(f"{name}_base64")
    if encoded is not None:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise _Wrong(f"{name}_base64: expected base64") from None
    value = given.get(name)
    if value is None:
        return None
    if is_text and isinstance(value, str):
        return value.encode()
    return _ENCODERS.get(format_.kind, _binary)(value, name, format_)


def _json(value: Any, _name: str, format_: Format) -> bytes:
    header = b"\0" * HEADER_LENGTH if format_.framing is Framing.CONFLUENT else b""
    return header + json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def _text(value: Any, name: str, _format: Format) -> bytes:
    if not isinstance(value, str):
        raise _Wrong(f"{name}: expected text, because its format is string, found {json.dumps(value)[:80]}")
    return value.encode(errors="surrogatepass")


def _whole_number(value: Any, name: str, format_: Format) -> bytes:
    length = LENGTHS[format_.kind]
    if type(value) is not int or not -(2 ** (8 * length - 1)) <= value < 2 ** (8 * length - 1):
        raise _Wrong(f"{name}: expected a whole number of {length} bytes, found {json.dumps(value)[:80]}")
    return value.to_bytes(length, "big", signed=True)


def _binary(_value: Any, name: str, format_: Format) -> bytes:
    raise _Wrong(f"expected {name}_base64 in place of {name}, because its format is {format_.kind}")


_ENCODERS: Final[Mapping[FormatKind, Callable[[Any, str, Format], bytes]]] = {
    FormatKind.JSON: _json,
    FormatKind.STRING: _text,
    FormatKind.INTEGER: _whole_number,
    FormatKind.LONG: _whole_number,
}


def _number(given: Mapping[str, Any], name: str, default: int) -> int:
    value = given.get(name, default)
    if type(value) is not int or not 0 <= value <= INT_MAX:
        raise _Wrong(f"{name}: expected a whole number, 0 or more, found {json.dumps(value)[:80]}")
    return value


def _time(given: Mapping[str, Any]) -> int:
    value = given.get("timestamp", 0)
    if isinstance(value, str):
        try:
            return timestamp_of(value).epoch_ms
        except ValueProblem as problem:
            raise _Wrong(f"timestamp: {problem}") from None
    if type(value) is not int or not -1 <= value <= INT_MAX:
        raise _Wrong(f"timestamp: expected milliseconds or an ISO 8601 text, found {json.dumps(value)[:80]}")
    return value


def _headers(given: Any) -> tuple[tuple[str, bytes], ...]:
    """Return headers that are an object, or a list of names and values in turn, as kcat has them."""
    if given is None:
        return ()
    if isinstance(given, list) and len(given) % 2 == 0:
        pairs = list(zip(given[::2], given[1::2], strict=True))
    elif isinstance(given, dict):
        pairs = list(given.items())
    else:
        raise _Wrong('headers: expected an object of texts, as {"type": "cancelled"}')
    if not all(isinstance(name, str) and isinstance(text, str | None) for name, text in pairs):
        raise _Wrong("headers: expected texts for names and values")
    return tuple((name, (text or "").encode(errors="surrogatepass")) for name, text in pairs)
