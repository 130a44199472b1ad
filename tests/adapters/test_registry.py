"""The Schema Registry's wire format, as a second framing behind the same codec."""

import io
import json
import socket
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.codec import Codec, DecodeError, NotSingleObject, Undecodable, UnknownSchema
from processors.codec.registry import ConfluentRegistry, Registry, RegistryNotInstalled, RegistryUnavailable, WireFormat
from processors.core.commands import StopWfRun
from tests.support.records import ANY_RECORD, SCHEMAS, comparable


class RegistryInMemory:
    """What a Schema Registry does, without one: ids for texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.subjects: set[str] = set()
        self.asked = 0

    def register(self, subject: str, schema: str) -> int:
        """The place of the text, from 1."""
        self.subjects.add(subject)
        if schema not in self.texts:
            self.texts.append(schema)
        return self.texts.index(schema) + 1

    def schema(self, schema_id: int) -> str | None:
        """The text at a place."""
        self.asked += 1
        return self.texts[schema_id - 1] if 0 < schema_id <= len(self.texts) else None


def confluent() -> Registry:
    return ConfluentRegistry({"url": "mock://halter"})


def wire_codec(registry: Registry) -> Codec:
    return Codec.load(SCHEMAS, WireFormat(SCHEMAS, registry))


CODEC = wire_codec(RegistryInMemory())


@settings(max_examples=200, deadline=None)
@given(ANY_RECORD)
def test_every_record_is_read_as_it_was_written(record: Any) -> None:
    data = CODEC.encode(record)
    assert data[:1] == b"\0"
    assert comparable(CODEC.decode(data)) == comparable(record)
    assert data[5:] == Codec.load(SCHEMAS).encode(record)[10:]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_random_bytes_raise_a_decode_error_or_are_a_record(data: bytes) -> None:
    for framed in (data, b"\0\0\0\0\1" + data):
        try:
            CODEC.decode(framed)
        except DecodeError as error:
            assert isinstance(error, NotSingleObject | UnknownSchema | Undecodable)  # noqa: PT017


@pytest.mark.parametrize("make", [RegistryInMemory, confluent])
def test_a_record_is_that_of_any_client_of_the_registry(make: Any) -> None:
    registry = make()
    codec = wire_codec(registry)
    data = codec.encode(StopWfRun("w", 3))
    text = registry.schema(int.from_bytes(data[1:5], "big"))
    found = fastavro.schemaless_reader(io.BytesIO(data[5:]), fastavro.parse_schema(json.loads(text)), None)
    assert found == {"wf_run_id": "w", "thread": 3, "command_id": None}
    # Another worker, with nothing in memory, finds the schema by its id.
    assert wire_codec(registry).decode(data) == StopWfRun("w", 3)


@pytest.mark.parametrize("make", [RegistryInMemory, confluent])
def test_an_id_that_the_registry_does_not_know_is_an_unknown_schema(make: Any) -> None:
    with pytest.raises(UnknownSchema, match="found 4711") as caught:
        wire_codec(make()).decode(b"\0" + (4711).to_bytes(4, "big") + b"abc")
    assert caught.value.fingerprint == (4711).to_bytes(4, "big")


def test_unknown_ids_are_asked_for_once() -> None:
    registry = RegistryInMemory()
    codec = wire_codec(registry)
    for _ in range(3):
        with pytest.raises(UnknownSchema):
            codec.decode(b"\0\0\0\0\x09")
    assert registry.asked == 1


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '"string"',
        "[]",
        '{"type": "record", "name": "x"}',
        '{"type": "record", "name": "halter.StopWfRun", "fields": [{"name": "a\\n    import os", "type": "long"}]}',
    ],
)
def test_what_else_a_registry_holds_is_not_trusted(text: str) -> None:
    registry = RegistryInMemory()
    registry.register("halter.StopWfRun", text)
    with pytest.raises(UnknownSchema):
        wire_codec(registry).decode(b"\0\0\0\0\1\0\0\0")


def test_a_subject_is_the_full_name_of_the_record() -> None:
    registry = RegistryInMemory()
    wire_codec(registry).encode(StopWfRun("w"))
    assert registry.subjects == {"halter.StopWfRun"}


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\xc3\x01abcdefgh"])
def test_another_framing_is_refused(data: bytes) -> None:
    with pytest.raises(NotSingleObject, match="expected a Schema Registry's wire format"):
        CODEC.decode(data)


def test_a_registry_that_does_not_answer_is_not_the_records_fault() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        codec = wire_codec(ConfluentRegistry({"url": url, "max.retries": 0}))
        with pytest.raises(RegistryUnavailable, match=f"cannot ask {url} for schema 1"):
            codec.decode(b"\0\0\0\0\1abc")
        with pytest.raises(RegistryUnavailable, match=r"cannot register halter\.StopWfRun"):
            codec.encode(StopWfRun("w"))


def test_settings_that_the_client_refuses_are_a_sentence() -> None:
    with pytest.raises(RegistryUnavailable, match="settings are refused"):
        ConfluentRegistry({"url": "mock://halter", "no.such.setting": 1})


def test_without_its_client_a_registry_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(RegistryNotInstalled, match=r"halter-kafka\[registry\]"):
        ConfluentRegistry({"url": "mock://halter"})
