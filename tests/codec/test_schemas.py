"""The schemas fit together, fit the classes, and tell a reader in another language all it needs to know."""

import dataclasses
import json
import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import avro.schema
import fastavro.schema
import pytest
import yaml

from processors.codec import Codec, SchemaProblem, Schemas
from processors.codec.records import CLASSES, ENUMS, EVENTS, HEADER, JSON, PARTS, RECORDS, UNKNOWN
from processors.codec.resources import resource
from processors.codec.schemas import definitions_in, fingerprint_of, full_name
from processors.core.records import events
from processors.core.records.commands import ExternalEvent
from processors.core.records.events import LogEntry
from processors.fold.inputs import DeadLetterReason, InputRecord, read_input
from processors.kafka.partitioner import partition_of
from tests.support.records import DERIVED, SCHEMAS, VALUE_UNION, avro_type, persisted_fields, without_logical_types

FOLDERS = {"commands", "correlation", "definitions", "events", "operator", "state", "tasks", "types"}


def definition(name: str) -> dict[str, Any]:
    return SCHEMAS.names[f"halter.{name}"]


def field_of(cls: type, name: str) -> dataclasses.Field[Any]:
    return next(field for field in dataclasses.fields(cls) if field.name == name)


def same_but_for_32_bits(found: Any, expected: Any) -> bool:
    """Compare types. An `int` may be kept in 32 bits, if it cannot grow beyond (Kafka's partitions)."""
    return json.dumps(found).replace('"int"', '"long"') == json.dumps(expected)


def test_every_class_has_a_schema_and_every_schema_a_class() -> None:
    assert {full_name(d).removeprefix("halter.") for d in SCHEMAS.names.values()} == {*CLASSES, *ENUMS, JSON}
    assert set(SCHEMAS.records) == {*RECORDS, *EVENTS}
    assert set(EVENTS.values()) == set(get_args(events.Event))


def test_the_folder_says_what_a_record_is() -> None:
    assert {record.folder for record in SCHEMAS.records.values()} == FOLDERS - {"types"}
    assert {name for name, record in SCHEMAS.records.items() if record.folder == "events"} == set(EVENTS)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_schema_has_the_fields_of_its_class(name: str) -> None:
    cls = CLASSES[name]
    own = [field.name for field in persisted_fields(cls)]
    expected = [*HEADER, *own] if name in EVENTS else own
    found = [field["name"] for field in definition(name)["fields"]]
    assert [field for field in found if field not in DERIVED.get(name, ())] == expected


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_field_has_the_type_and_default_of_its_class(name: str) -> None:
    cls = CLASSES[name]
    fields = {field["name"]: field for field in definition(name)["fields"]}
    for field in persisted_fields(cls):
        found = fields[field.name]
        expected = avro_type(field.type, field.name)
        assert same_but_for_32_bits(found["type"], expected), f"{name}.{field.name}"
        assert found.get("default", "none") == default_of(field, expected), f"{name}.{field.name}"


def default_of(field: dataclasses.Field[Any], avro: Any) -> Any:
    """Return the default that the schema must have: that of the class, else null if the schema allows it.

    With null, producers may leave the field out.
    """
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if isinstance(avro, list) and avro[0] == "null" and avro != VALUE_UNION else "none"


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_event_begins_with_the_header(name: str) -> None:
    fields = {field["name"]: field for field in definition(name)["fields"]}
    for header in HEADER:
        assert fields[header]["type"] == avro_type(field_of(LogEntry, header).type, header)
        assert "default" not in fields[header]
    assert not set(HEADER) & {field.name for field in dataclasses.fields(EVENTS[name])}


@pytest.mark.parametrize("name", sorted(ENUMS))
def test_an_enum_has_the_symbols_of_its_class_after_unknown(name: str) -> None:
    enum: type[StrEnum] = ENUMS[name]
    assert definition(name)["symbols"] == [UNKNOWN, *(member.value for member in enum)]
    assert definition(name)["default"] == UNKNOWN


def test_everything_is_documented() -> None:
    for name, schema in SCHEMAS.names.items():
        assert schema["doc"].strip(), name
        for field in schema.get("fields", ()):
            assert field["doc"].endswith((".", "`")) and len(field["doc"]) > 5, f"{name}.{field['name']}"  # noqa: PT018


def test_what_is_a_part_is_used() -> None:
    used = {full_name(d) for record in SCHEMAS.records.values() for d in definitions_in(record.schema)}
    assert used >= {f"halter.{name}" for name in (*PARTS, *ENUMS, JSON)}


@pytest.mark.parametrize("name", sorted(SCHEMAS.records))
def test_a_published_schema_stands_alone_in_fastavro_and_in_avro(name: str) -> None:
    record = SCHEMAS.records[name]
    published = json.loads(record.text)
    fastavro.schema.parse_schema(published)
    parsed = avro.schema.parse(json.dumps(without_logical_types(published)))
    # The avro package keeps logical types in its canonical form, against the specification, so they are removed.
    assert parsed.fingerprint("CRC-64-AVRO") == record.fingerprint


def test_fingerprints_are_those_of_the_specification() -> None:
    assert fingerprint_of("int") == (0x7275D51A3F395C8F).to_bytes(8, "little")
    # Documentation, defaults, aliases and logical types are not part of the writer's schema.
    bare = {"type": "record", "name": "halter.A", "fields": [{"name": "a", "type": "long"}]}
    rich = {
        "type": "record",
        "name": "A",
        "namespace": "halter",
        "doc": "Rich.",
        "fields": [
            {"name": "a", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0, "aliases": ["b"]}
        ],
    }
    assert fingerprint_of(rich) == fingerprint_of(bare)


def test_fingerprints_differ() -> None:
    assert len({record.fingerprint for record in SCHEMAS.records.values()}) == len(SCHEMAS.records)


def test_topics_yaml_names_records_of_the_schemas() -> None:
    known = {*SCHEMAS.records, *(f"{folder}/*" for folder in FOLDERS), "bytes"}
    topics = yaml.safe_load(resource("topics.yaml").read_text(encoding="utf-8"))["topics"]
    assert {
        name: sorted({*topic["values"]} - known) for name, topic in topics.items() if {*topic["values"]} - known
    } == {}


def test_files_are_laid_out_for_people() -> None:
    for file in resource("schemas").glob("*/*.avsc"):
        text = file.read_text(encoding="utf-8")
        schema = json.loads(text)
        assert list(schema)[:4] == ["type", "name", "namespace", "doc"], file
        assert text.endswith("}\n"), file
        for field in schema.get("fields", ()):
            assert set(field) <= {"name", "type", "default", "doc", "aliases"}, f"{file}: {field['name']}"


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("A.avsc", "{", "expected JSON"),
        ("A.avsc", '"string"', "expected a record or an enum"),
        ("A.avsc", {"type": "record", "name": "B", "namespace": "halter", "fields": []}, "expected name 'A'"),
        ("A.avsc", {"type": "record", "name": "A", "fields": []}, "and namespace 'halter'"),
        (
            "A.avsc",
            {"type": "record", "name": "A", "namespace": "halter", "fields": [{"name": "a", "type": "halter.B"}]},
            "halter.A.a: expected the full name of a schema",
        ),
        (
            "A.avsc",
            {
                "type": "record",
                "name": "A",
                "namespace": "halter",
                "fields": [{"name": "a", "type": {"type": "fixed"}}],
            },
            "expected a type",
        ),
        (
            "A.avsc",
            {
                "type": "record",
                "name": "A",
                "namespace": "halter",
                "fields": [{"name": "a", "type": "long", "default": "x"}],
            },
            "expected an Avro schema",
        ),
        ("A.txt", "", "found none"),
    ],
)
def test_a_wrong_schema_file_is_named(tmp_path: Path, file: str, text: Any, sentence: str) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / file).write_text(text if isinstance(text, str) else json.dumps(text))
    with pytest.raises(SchemaProblem) as caught:
        [it.fingerprint for it in Schemas.load(tmp_path).records.values()]
    assert sentence in str(caught.value)


def test_the_schemas_of_a_release_are_read_once() -> None:
    for version in SCHEMAS.versions:
        assert SCHEMAS.released(version) is SCHEMAS.released(version)


def test_a_name_stands_in_one_folder(tmp_path: Path) -> None:
    for folder in ("events", "state"):
        (tmp_path / folder).mkdir()
        schema = {"type": "record", "name": "A", "namespace": "halter", "fields": []}
        (tmp_path / folder / "A.avsc").write_text(json.dumps(schema))
    with pytest.raises(SchemaProblem, match=r"halter\.A stands in the folder 'events' as well"):
        Schemas.load(tmp_path)


def test_the_example_for_producers_writes_a_record_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    names: dict[str, Any] = {}
    exec(example, names)
    record = InputRecord("external-events", partition_of(names["key"], 8), 0, 0, names["key"], names["value"])
    assert read_input(record, Codec.load(SCHEMAS), 8) == ExternalEvent(
        "order-41", "on-cancel", "c-7", {"reason": "changed my mind"}
    )


def test_every_reason_of_a_dead_letter_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
    assert [line.split("|")[1].strip() for line in page.splitlines() if re.match(r"\| [A-Z_]+ \|", line)] == list(
        DeadLetterReason
    )
