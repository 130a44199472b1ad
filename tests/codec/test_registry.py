"""The Schema Registry's wire format, as a second framing behind the same codec.

The client is Confluent's own, over HTTP. The registry is ours (support/schema_registry.py).
"""

import io
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from click.testing import Result
from confluent_kafka.schema_registry import record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from halter.cli import schemas
from halter.client.registry import until_prepared
from processors.codec import Codec, DecodeError, NotSingleObject, Undecodable, UnknownSchema
from processors.codec.framing import BothFramings, SingleObject
from processors.codec.registry import (
    ASKED_AGAIN_SECONDS,
    ConfluentRegistry,
    Registry,
    RegistryRefused,
    RegistrySettings,
    RegistryUnavailable,
    WireFormat,
)
from processors.core.records.commands import PutExternalEventDef, PutTaskDef, PutWfSpec, RunWf, StopWfRun
from processors.core.records.events import WfRunStarted
from processors.extras import ExtraMissing
from processors.fold.inputs import DeadLetter, DeadLetterReason, InputRecord, read_input
from processors.fold.shard_folds import ShardFolds
from processors.kafka.errors import SettingsError
from processors.kafka.settings import Settings
from processors.kafka.topics_file import load_topics
from tests.fold.test_shard_fold import CART
from tests.support.command_line import logging_as_before
from tests.support.records import ANY_RECORD, SCHEMAS, comparable
from tests.support.schema_registry import BROKEN, FORBIDDEN, NONSENSE, NOT_A_REGISTRY, UNAUTHORIZED, SchemaRegistry
from tests.support.shard_rig import ShardRig


class RegistryInMemory:
    """A Schema Registry in memory: ids for texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.subjects: set[str] = set()
        self.asked = 0

    def register(self, subject: str, schema: str) -> int:
        """Return the number of the text, from 1."""
        self.subjects.add(subject)
        if schema not in self.texts:
            self.texts.append(schema)
        return self.texts.index(schema) + 1

    def schema(self, schema_id: int) -> str | None:
        """Return the text with a number."""
        self.asked += 1
        return self.texts[schema_id - 1] if 0 < schema_id <= len(self.texts) else None


@pytest.fixture(scope="module")
def one_server() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as it:
        yield it


@pytest.fixture
def server(one_server: SchemaRegistry) -> SchemaRegistry:
    """Return the server, empty and without trouble."""
    one_server.start_anew()
    return one_server


def client_of(server: SchemaRegistry, *, registers: bool = True, **more: Any) -> ConfluentRegistry:
    return ConfluentRegistry({"url": server.url, "max.retries": 0, **more}, registers=registers)


def codec_of(registry: Registry, *, writes_wire: bool = True, release: str | None = None) -> Codec:
    """Return a codec as an installation has it."""
    framing = BothFramings(SingleObject(SCHEMAS), WireFormat(SCHEMAS, registry), writes_wire=writes_wire)
    return Codec.load(SCHEMAS, framing, release)


def wire_codec(registry: Registry) -> Codec:
    return Codec.load(SCHEMAS, WireFormat(SCHEMAS, registry))


CODEC = wire_codec(RegistryInMemory())
CONFLUENT_ENV = {"HALTER_FRAMING": "confluent", "KAFKA_SCHEMA_REGISTRY_URL": "http://halter"}


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


def test_a_record_is_that_of_any_client_of_the_registry(server: SchemaRegistry) -> None:
    data = codec_of(client_of(server)).encode(StopWfRun("w", 3))
    text = client_of(server).schema(int.from_bytes(data[1:5], "big"))
    assert text is not None
    found = fastavro.schemaless_reader(io.BytesIO(data[5:]), fastavro.parse_schema(json.loads(text)), None)
    assert found == {"wf_run_id": "w", "thread": 3, "command_id": None, "operator": None, "reason": None}
    # Confluent's own deserializer, and another worker, with nothing in memory, find the schema by its id.
    plain = AvroDeserializer(client_of(server).client)
    assert plain(data, SerializationContext("any", MessageField.VALUE)) == found
    assert codec_of(client_of(server)).decode(data) == StopWfRun("w", 3)


def test_a_record_of_any_producer_with_our_schema_is_one_of_ours(server: SchemaRegistry) -> None:
    registry = client_of(server)
    text = json.dumps(SCHEMAS.records["StopWfRun"].schema, indent=4)  # the same schema as another text
    serializer = AvroSerializer(registry.client, text, conf={"subject.name.strategy": record_subject_name_strategy})
    value = serializer(
        {"wf_run_id": "w", "thread": 3, "command_id": None, "operator": None, "reason": None},
        SerializationContext("t", MessageField.VALUE),
    )
    assert codec_of(registry, writes_wire=False).decode(value) == StopWfRun("w", 3)
    assert set(server.subjects) == {"halter.StopWfRun"}


def test_an_id_that_the_registry_does_not_know_is_an_unknown_schema(server: SchemaRegistry) -> None:
    data = b"\0" + (4711).to_bytes(4, "big") + b"abc"
    with pytest.raises(UnknownSchema, match="found 4711, which the Schema Registry does not know") as caught:
        codec_of(client_of(server)).decode(data)
    assert caught.value.fingerprint == (4711).to_bytes(4, "big")


def test_another_schema_under_an_id_is_named(server: SchemaRegistry) -> None:
    other = server.put('{"type": "record", "name": "Order", "fields": [{"name": "total", "type": "long"}]}')
    letter = read_input(
        InputRecord("wf-commands", 0, 0, 1, b"w", b"\0" + other.to_bytes(4, "big") + b"\x02"),
        codec_of(client_of(server)),
        1,
    )
    assert isinstance(letter, DeadLetter)
    assert letter.reason is DeadLetterReason.UNKNOWN_SCHEMA
    assert "another schema, 'Order'" in letter.message


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


@settings(max_examples=200, deadline=None)
@given(ANY_RECORD, st.booleans())
def test_both_framings_are_read_whichever_is_written(record: Any, writes_wire: bool) -> None:
    written = codec_of(MEMORY, writes_wire=writes_wire).encode(record)
    assert comparable(codec_of(MEMORY, writes_wire=not writes_wire).decode(written)) == comparable(record)
    assert codec_of(MEMORY).record_name(written) == Codec.load(SCHEMAS).record_name(Codec.load(SCHEMAS).encode(record))


MEMORY = RegistryInMemory()


def test_what_a_partition_is_restored_from_needs_no_registry() -> None:
    state = {name for topic in load_topics().all if topic.kind == "state" for name in topic.values}
    framing = codec_of(MEMORY).framing
    assert isinstance(framing, BothFramings)
    assert SCHEMAS.records.keys() - framing.wired == state


def test_a_partition_is_restored_while_the_registry_is_away_and_goes_on(server: SchemaRegistry) -> None:
    codec = codec_of(client_of(server))
    codec.prepare()
    rig = ShardRig(codec=codec)
    rig.turn(PutExternalEventDef("add"), PutExternalEventDef("checkout"), PutTaskDef("charge"))
    rig.turn(PutWfSpec("cart", json.dumps(CART)))
    server.trouble = BROKEN
    started, *_ = rig.turn(RunWf("c1", "cart"), rows=False)
    assert isinstance(started.event, WfRunStarted)
    rig.turn()
    # A worker that has not asked the registry yet. Only a log behind the rows would make it ask.
    fresh = codec_of(client_of(server))
    rig.factory = ShardFolds(1, fresh, rig.view, None)
    rig.crash()
    assert rig.shard.wf_runs["c1"].threads[0].variables == {"total": 0}
    framings = {output.topic: (output.value or b"")[:1] for output in rig.outputs}
    assert framings["wf-events"] == framings["definition-events"] == b"\0"
    assert {framings[topic] for topic in rig.tables if topic in framings} == {b"\xc3"}
    with pytest.raises(RegistryUnavailable):
        rig.turn(StopWfRun("c1"))


def test_after_preparation_nothing_is_asked(server: SchemaRegistry) -> None:
    codec = codec_of(client_of(server))
    codec.prepare()
    server.trouble = BROKEN
    asked = len(server.calls)
    for name in SCHEMAS.records:
        data = codec.framing.header(SCHEMAS.records[name])
        assert codec.framing.schema(data).name == name
    assert codec.decode(codec.encode(StopWfRun("w", 3))) == StopWfRun("w", 3)
    assert len(server.calls) == asked


def test_who_only_reads_the_wire_format_asks_for_nothing_before(server: SchemaRegistry) -> None:
    codec_of(client_of(server), writes_wire=False).prepare()
    assert server.calls == []


def test_an_id_is_asked_for_again_after_a_while(server: SchemaRegistry) -> None:
    seconds = 0.0
    codec = Codec.load(SCHEMAS, WireFormat(SCHEMAS, client_of(server), lambda: seconds))
    late = b"\0" + (1).to_bytes(4, "big") + b"\x02w\x00\x00\x00\x00"
    with pytest.raises(UnknownSchema):
        codec.decode(late)
    server.put(json.dumps(SCHEMAS.records["StopWfRun"].schema))
    seconds += ASKED_AGAIN_SECONDS - 1
    with pytest.raises(UnknownSchema):
        codec.decode(late)
    seconds += 1
    assert codec.decode(late) == StopWfRun("w")


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (UNAUTHORIZED, RegistryRefused, "credentials"),
        (FORBIDDEN, RegistryRefused, "halter schemas register"),
        (NOT_A_REGISTRY, RegistryRefused, "schema.registry.url"),
        (BROKEN, RegistryUnavailable, "cannot"),
        (NONSENSE, RegistryUnavailable, "cannot"),
        ((200, {}), RegistryUnavailable, "halter"),
        ((200, []), RegistryUnavailable, "halter"),
        ((200, {"id": -1}), RegistryUnavailable, "halter"),
        ((200, {"id": "x", "schema": 5}), RegistryUnavailable, "halter"),
        ((503, ""), RegistryUnavailable, "cannot"),
    ],
)
def test_a_bad_answer_is_never_the_records_fault(
    server: SchemaRegistry, trouble: Any, kind: type[RegistryUnavailable], words: str
) -> None:
    server.trouble = trouble
    with pytest.raises(kind, match=words) as writing:
        codec_of(client_of(server)).encode(StopWfRun("w"))
    assert isinstance(writing.value, RegistryRefused) is (kind is RegistryRefused)
    with pytest.raises(kind):
        read_input(InputRecord("wf-commands", 0, 0, 1, b"w", b"\0\0\0\0\1abc"), codec_of(client_of(server)), 1)


def test_a_registry_that_is_away_is_not_the_records_fault(server: SchemaRegistry) -> None:
    codec = codec_of(client_of(server))
    server.stop()
    with pytest.raises(RegistryUnavailable, match=f"cannot ask {server.url} for schema 1"):
        codec.decode(b"\0\0\0\0\1abc")
    with pytest.raises(RegistryUnavailable, match=r"cannot register halter\.StopWfRun"):
        codec.encode(StopWfRun("w"))
    server.start()
    assert codec.decode(codec.encode(StopWfRun("w"))) == StopWfRun("w")


def test_who_may_not_register_looks_up_what_others_registered(server: SchemaRegistry) -> None:
    server.read_only = True
    with pytest.raises(RegistryRefused, match="HALTER_REGISTER_SCHEMAS=false"):
        codec_of(client_of(server)).encode(StopWfRun("w"))
    with pytest.raises(RegistryRefused, match="halter schemas register"):
        codec_of(client_of(server, registers=False)).encode(StopWfRun("w"))
    server.read_only = False
    codec_of(client_of(server)).prepare()
    server.read_only = True
    codec = codec_of(client_of(server, registers=False))
    codec.prepare()
    assert codec.decode(codec.encode(StopWfRun("w"))) == StopWfRun("w")


@pytest.mark.parametrize("level", ["BACKWARD", "FORWARD", "FULL"])
def test_every_released_schema_and_the_current_one_go_under_one_subject(server: SchemaRegistry, level: str) -> None:
    server.compatibility = level
    for release in SCHEMAS.versions:
        codec_of(client_of(server), release=release).prepare()
    codec_of(client_of(server)).prepare()
    assert max(map(len, server.subjects.values())) > 1


def test_a_subject_with_anothers_schema_is_a_conflict(server: SchemaRegistry) -> None:
    other = '{"type": "record", "name": "StopWfRun", "namespace": "halter", "fields": [{"name": "id", "type": "long"}]}'
    server.subjects["halter.StopWfRun"] = [server.put(other)]
    with pytest.raises(RegistryRefused, match="incompatible with what it has under that subject"):
        codec_of(client_of(server)).encode(StopWfRun("w"))


@pytest.mark.parametrize(
    ("wants", "given"),
    [
        ({"user": "ann:secret"}, {"basic.auth.user.info": "ann:secret"}),
        (
            {"token": "t0"},
            {
                "bearer.auth.credentials.source": "STATIC_TOKEN",
                "bearer.auth.token": "t0",
                "bearer.auth.logical.cluster": "lsrc-1",
                "bearer.auth.identity.pool.id": "pool-1",
            },
        ),
    ],
)
def test_who_has_to_say_who_he_is_does(wants: dict[str, str], given: dict[str, str]) -> None:
    with SchemaRegistry(**wants) as guarded:
        env = {"KAFKA_" + f"schema.registry.{key}".upper().replace(".", "_"): value for key, value in given.items()}
        env |= {"KAFKA_SCHEMA_REGISTRY_URL": guarded.url, "HALTER_FRAMING": "confluent"}
        codec = Settings.load(None, env, {}).codec()
        assert codec.decode(codec.encode(StopWfRun("w"))) == StopWfRun("w")
        with pytest.raises(RegistryRefused, match="credentials"):
            codec_of(client_of(guarded)).encode(StopWfRun("w"))


def test_certificates_of_both_sides_are_looked_at(tmp_path: Path) -> None:
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    for name in ("server", "client"):
        command = [*make.split(), "-keyout", f"{tmp_path}/{name}.key", "-out", f"{tmp_path}/{name}.pem"]
        subprocess.run(command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    tls.load_verify_locations(tmp_path / "client.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    file = tmp_path / "kafka.properties"
    with SchemaRegistry(tls=tls) as guarded:
        lines = {
            "url": guarded.url,
            "ssl.ca.location": tmp_path / "server.pem",
            "ssl.certificate.location": tmp_path / "client.pem",
            "ssl.key.location": tmp_path / "client.key",
        }
        file.write_text("".join(f"schema.registry.{key}={value}\n" for key, value in lines.items()))
        codec = Settings.load(file, {"HALTER_FRAMING": "confluent"}, {}).codec()
        assert codec.decode(codec.encode(StopWfRun("w"))) == StopWfRun("w")
        with pytest.raises(RegistryUnavailable):
            codec_of(client_of(guarded, **{"ssl.ca.location": str(tmp_path / "server.pem")})).encode(StopWfRun("w"))


def test_settings_that_the_client_refuses_are_a_sentence() -> None:
    with pytest.raises(RegistrySettings, match=r"schema\.registry\.\* are refused"):
        ConfluentRegistry({"url": "http://halter", "no.such.setting": 1})
    with pytest.raises(RegistrySettings, match=r"timeout: expected a number, found 'soon'"):
        ConfluentRegistry({"url": "http://halter", "timeout": "soon"})
    with pytest.raises(RegistrySettings, match="refused"):
        ConfluentRegistry({"url": "http://halter", "ssl.ca.location": "/there/is/none"})


def test_without_its_client_a_registry_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(ExtraMissing, match=r"halter-kafka\[registry\]"):
        Settings.load(None, {"KAFKA_SCHEMA_REGISTRY_URL": "http://halter"}, {}).codec()


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"HALTER_FRAMING": "avro"}, "expected one of single-object, confluent, found 'avro'"),
        ({"HALTER_FRAMING": "confluent"}, "KAFKA_SCHEMA_REGISTRY_URL"),
        ({"KAFKA_SCHEMA_REGISTRY_URL": "registry:8081"}, "expected http:// or https:// and a host"),
        ({"KAFKA_SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO": "a:b"}, "expected schema.registry.url as well"),
        ({"HALTER_REGISTER_SCHEMAS": "no"}, "expected true or false, found 'no'"),
        ({**CONFLUENT_ENV, "HALTER_SCHEMAS": "0.1.0"}, "workers of 0.1.0 .* cannot read 'confluent'"),
    ],
)
def test_settings_of_framing_and_registry_that_do_not_fit_are_refused(env: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.load(None, env, {})


def test_what_is_for_the_registry_goes_to_no_client_of_kafka_and_secrets_are_not_shown() -> None:
    env = {
        "KAFKA_SCHEMA_REGISTRY_URL": "http://ann:hush@one:8081,http://two",
        "KAFKA_SCHEMA_REGISTRY_BEARER_AUTH_TOKEN": "hush",
        "KAFKA_SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO": "ann:hush",
    }
    loaded = Settings.load(None, env, {})
    for configuration in (loaded.consumer(group_id="g"), loaded.producer(), loaded.admin()):
        assert not [key for key in configuration if key.startswith("schema.registry")]
    assert "http://one:8081,http://two" in repr(loaded)
    assert "hush" not in repr(loaded)


def test_without_a_registry_the_wire_format_is_refused_with_what_to_set() -> None:
    with pytest.raises(NotSingleObject, match=r"set schema\.registry\.url"):
        Settings.load(None, {}, {}).codec().decode(b"\0\0\0\0\1abc")


def halter_schemas(*arguments: str) -> Result:
    with logging_as_before():
        return CliRunner().invoke(schemas.app, list(arguments))


def test_schemas_are_registered_from_the_command_line(server: SchemaRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SCHEMA_REGISTRY_URL", server.url)
    printed = halter_schemas("register", "--json")
    assert printed.exit_code == 0
    assert json.loads(printed.output) == {subject: ids[0] for subject, ids in sorted(server.subjects.items())}
    server.read_only = True
    again = halter_schemas("register")
    assert f"{len(server.subjects)} schemas at {server.url}" in again.output
    codec_of(client_of(server, registers=False)).prepare()
    monkeypatch.delenv("KAFKA_SCHEMA_REGISTRY_URL")
    assert isinstance(halter_schemas("register").exception, SettingsError)


def test_who_writes_waits_for_a_registry_that_is_away_and_says_so_but_not_for_one_that_refuses(
    server: SchemaRegistry,
) -> None:
    class Log:
        said: list[str] = []  # noqa: RUF012  of this test

        def warning(self, event: str, reason: str) -> None:
            self.said.append(f"{event}: {reason}")
            server.start()

    server.stop()
    codec = codec_of(client_of(server))
    until_prepared(codec, Log())
    (said,) = Log.said
    assert said.startswith("waiting_for_registry: cannot register halter.")
    server.trouble = FORBIDDEN
    until_prepared(codec, Log())
    with pytest.raises(RegistryRefused):
        until_prepared(codec_of(client_of(server)), Log())
