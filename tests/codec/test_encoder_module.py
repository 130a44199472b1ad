"""The encoders that mypyc compiles write the bytes that the others write, and only for the schemas they were made from.

In a checkout the module of these encoders is made here, and runs as Python. With the compiled core (`make compiled`) it
is the one of the wheel. So the records are made from the schemas: compiled classes do not tell the types of fields.
"""

import random
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_many

from processors.codec import Codec, Schemas, Unencodable
from processors.codec.encoder_module import MODULE, compiled_encoders, source_of
from processors.codec.records import EVENTS
from processors.core.records.events import Cause, LogEntry, SpawnChild, ThreadCompleted
from processors.core.records.model import ThreadType
from processors.core.records.values import Timestamp
from tests.support.compiled_core import IS_COMPILED

SCHEMAS = Schemas.load()
CAUSE = Cause("external-events", 3, 998_877, "command-1", 12)
WITHOUT = {"NodeFailed", "ArrivalFailed", "ThreadFailed", "WfRunForked"}
"""Events with a Failure, which may be a chain of any length: their encoders are not compiled."""


@pytest.fixture(scope="module", autouse=True)
def encoders() -> Iterator[ModuleType]:
    if not IS_COMPILED:
        module = ModuleType(MODULE)
        exec(compile(source_of(SCHEMAS.names), MODULE, "exec"), module.__dict__)
        sys.modules[MODULE] = module
    found = compiled_encoders(SCHEMAS.names)
    assert found is not None
    yield found
    if not IS_COMPILED:
        del sys.modules[MODULE]


def readable(data: Any) -> Any:
    """Return random data of a schema with JSON where JSON is read."""
    match data:
        case {"json": _}:
            return {"json": '{"a":[1,2.5,null]}'}
        case dict():
            return {name: readable(value) for name, value in data.items()}
        case list():
            return [readable(value) for value in data]
    return data


def written(schema: Any) -> Any:
    """Return a schema without the symbols that nobody writes."""
    match schema:
        case {"type": "enum", "symbols": [_, *symbols]}:
            return {**schema, "symbols": symbols, "default": symbols[0]}
        case dict():
            return {name: written(value) for name, value in schema.items()}
        case list():
            return [written(value) for value in schema]
    return schema


def some(name: str, codec: Codec) -> list[LogEntry]:
    """Return entries of the log with random values in all fields."""
    schema = fastavro.parse_schema(SCHEMAS.records[name].schema)
    random_schema = fastavro.parse_schema(written(SCHEMAS.records[name].schema))
    header = codec.framing.header(SCHEMAS.records[name])
    random.seed(name)
    entries: list[LogEntry] = []
    for data in generate_many(random_schema, 100):
        out = Bytes()
        fastavro.schemaless_writer(out, schema, readable(data))
        entries.append(codec.decode(header + bytes(out)))  # type: ignore[arg-type]
    return entries


def bytes_or_error(encode: Callable[[], bytes]) -> bytes | str:
    """Return what it encodes, or the sentence of its error."""
    try:
        return encode()
    except Unencodable as error:
        return str(error)


class Bytes(bytearray):
    """A file in memory."""

    def write(self, data: bytes) -> int:
        self += data
        return len(data)


def test_all_events_but_those_with_failures_are_compiled(encoders: ModuleType) -> None:
    assert {event.__name__ for event in encoders.WRITERS} == set(EVENTS) - WITHOUT


def test_the_log_is_written_by_the_compiled_encoders(encoders: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.WRITERS, ThreadCompleted, lambda *_: b"by the compiled encoder")
    codec, entry = Codec.load(SCHEMAS), LogEntry("w", 1, 1, 1, CAUSE, ThreadCompleted(0))
    codec.encode_log([entry])
    assert codec.encode_log([entry, entry]) == [b"by the compiled encoder"] * 2


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_the_log_has_the_bytes_of_the_other_encoders(name: str) -> None:
    codec = Codec.load(SCHEMAS)
    for entry in some(name, codec):
        for _ in range(2):  # before it is known that there is a compiled encoder, and after
            assert codec.encode_log([entry]) == [codec.encode(entry)]


def test_entries_of_one_command_share_their_header_and_may_be_of_all_kinds() -> None:
    codec = Codec.load(SCHEMAS)
    log = [
        LogEntry("order-41", 7, seq, 1_790_000_000_000, CAUSE, some(name, codec)[0].event)
        for seq, name in enumerate([*EVENTS, *EVENTS])
    ]
    for _ in range(2):
        assert codec.encode_log(log) == [codec.encode(entry) for entry in log]


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            True,
            False,
            0,
            -1,
            63,
            64,
            -64,
            -65,
            8191,
            8192,
            2**27 - 1,
            2**27,
            2**41 - 1,
            2**41,
            2**63 - 1,
            -(2**63),
            0.5,
            "",
            "é" * 70,
            b"",
            b"\0",
        ),
        *([], [1], {}, {"a": None}, Timestamp(0), Timestamp(-(2**63))),
        *(2**63, -(2**63) - 1, "\ud800", ThreadType.CHILD, [float("inf")], Timestamp(2**63)),
        *([] if IS_COMPILED else [{1, 2}]),  # compiled records are not made of it in the first place
    ],
    ids=repr,
)
def test_a_value_has_the_same_bytes_or_the_same_error(value: Any) -> None:
    codec = Codec.load(SCHEMAS)
    first = LogEntry("w", 1, 1, 1, CAUSE, ThreadCompleted(0))
    for event in (
        ThreadCompleted(0, value),
        SpawnChild(1, 0, "s", ThreadType.CHILD, "n", {"v": value}),
    ):
        entry = LogEntry("w", 1, 2, 1, CAUSE, event)
        codec.encode_log([first, LogEntry("w", 1, 2, 1, CAUSE, SpawnChild(1, 0, "s", ThreadType.CHILD, "n"))])
        assert bytes_or_error(lambda: codec.encode_log([entry])[0]) == bytes_or_error(lambda: codec.encode(entry))  # noqa: B023


def test_more_texts_than_are_remembered_have_the_same_bytes() -> None:
    codec = Codec.load(SCHEMAS)
    for number in range(40_000):
        entry = LogEntry(f"w-{number}", 1, 1, number, CAUSE, ThreadCompleted(0))
        (written,) = codec.encode_log([entry])
        if number % 100 == 0:
            assert written == codec.encode(entry)


def test_other_schemas_have_no_compiled_encoders() -> None:
    names = dict(SCHEMAS.names)
    halt = names["halter.Halt"]
    names["halter.Halt"] = {**halt, "fields": [*halt["fields"], {"name": "more", "type": "long", "default": 0}]}
    assert compiled_encoders(names) is None


@pytest.mark.parametrize("release", SCHEMAS.versions)
def test_an_earlier_release_is_written_with_its_schemas(release: str) -> None:
    codec, today = Codec.load(SCHEMAS, release=release), Codec.load(SCHEMAS)
    entry = LogEntry("w", 1, 1, 1, CAUSE, ThreadCompleted(0, 1))
    for _ in range(2):
        assert codec.encode_log([entry]) == [codec.encode(entry)]
        assert today.decode(codec.encode_log([entry])[0]) == entry
