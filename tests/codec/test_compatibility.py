"""Released schemas stay readable, and the check that says so finds every kind of break."""

import copy
import io
import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from processors.codec import Codec, RecordSchema, Schemas
from processors.codec.compatibility import AlreadyReleased, Incompatible, check, incompatibilities, release, run
from processors.codec.decoders import DecoderCompiler
from processors.codec.resources import resource
from processors.codec.schemas import FINGERPRINTS_FILE, definitions_in, read_json
from processors.core.records.errors import HalterError
from processors.core.records.model import WfRun
from tests.support.records import ALL_NAMES, SCHEMAS, plain_record, records, without_logical_types

# The rules.


def test_the_current_schemas_and_all_released_ones_read_each_other() -> None:
    assert check(SCHEMAS) == []


def test_what_was_released_is_as_it_was() -> None:
    for version in SCHEMAS.versions:
        listed = read_json(SCHEMAS.folder / "released" / version / FINGERPRINTS_FILE)
        assert {name: record.fingerprint.hex() for name, record in SCHEMAS.released(version).items()} == listed


# The check itself: a schema is edited somewhere, and the check must find it.

Edit = Callable[[dict[str, Any], Callable[[list[Any]], Any]], None]
"""Changes a schema in place. The function that it is given chooses one item of a list."""


def record_definitions(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [d for d in definitions_in(schema) if d["type"] == "record" and d["fields"]]


def enum_definitions(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [d for d in definitions_in(schema) if d["type"] == "enum"]


def all_fields(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [field for d in record_definitions(schema) for field in d["fields"]]


def types_in(schema: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield every place that holds the type of a field, of items or of values: (holder, key)."""
    for field in all_fields(schema):
        yield field, "type"
        inner = field["type"]
        while isinstance(inner, dict) and inner["type"] in ("array", "map"):
            key = "items" if inner["type"] == "array" else "values"
            yield inner, key
            inner = inner[key]


def remove_field(schema: dict[str, Any], choose: Any) -> None:
    # The rest must still be a schema: a definition that others refer to by name stays.
    definition, field = choose([
        (d, f) for d in record_definitions(schema) for f in d["fields"] if not list(definitions_in(f["type"]))
    ])  # fmt: skip
    definition["fields"].remove(field)


def rename_field(schema: dict[str, Any], choose: Any) -> None:
    choose(all_fields(schema))["name"] += "_now"


def rename_field_with_an_alias(schema: dict[str, Any], choose: Any) -> None:
    field = choose(all_fields(schema))
    field.update(name=field["name"] + "_now", aliases=[field["name"]])


def add_field_without_default(schema: dict[str, Any], choose: Any) -> None:
    choose(record_definitions(schema))["fields"].append({"name": "added", "type": "string"})


def rename_record_with_an_alias(schema: dict[str, Any], choose: Any) -> None:
    schema.update(name=schema["name"] + "Now", aliases=[schema["name"]])


def move_to_another_namespace(schema: dict[str, Any], choose: Any) -> None:
    schema["namespace"] = "other"


def remove_default(schema: dict[str, Any], choose: Any) -> None:
    del choose([field for field in all_fields(schema) if "default" in field])["default"]


def change_default(schema: dict[str, Any], choose: Any) -> None:
    changeable = {"boolean": [True, False], "long": [5, 6], "int": [5, 6], "string": ["a", "b"]}
    field = choose([f for f in all_fields(schema) if "default" in f and str(f["type"]) in changeable])
    field["default"] = next(d for d in changeable[field["type"]] if d is not field["default"])


def promote(schema: dict[str, Any], choose: Any) -> None:
    promoted = {"int": "long", "long": "double", "string": "bytes"}
    holder, key = choose([(holder, key) for holder, key in types_in(schema) if str(holder[key]) in promoted])
    holder[key] = promoted[holder[key]]


def narrow(schema: dict[str, Any], choose: Any) -> None:
    holder, key = choose([(holder, key) for holder, key in types_in(schema) if holder[key] == "long"])
    holder[key] = "int"


def make_optional(schema: dict[str, Any], choose: Any) -> None:
    holder, key = choose([(holder, key) for holder, key in types_in(schema) if not isinstance(holder[key], list)])
    holder[key] = ["null", holder[key]]
    holder.pop("default", None)


def add_branch(schema: dict[str, Any], choose: Any) -> None:
    holder, key = choose([(h, k) for h, k in types_in(schema) if isinstance(h[k], list) and "float" not in h[k]])
    holder[key].append("float")


def remove_branch(schema: dict[str, Any], choose: Any) -> None:
    unions = [
        holder[key]
        for holder, key in types_in(schema)
        if isinstance(holder[key], list) and len(holder[key]) > 2 and not list(definitions_in(holder[key][-1]))
    ]
    choose(unions).pop()


def swap_branches(schema: dict[str, Any], choose: Any) -> None:
    unions = [
        holder[key]
        for holder, key in types_in(schema)
        if isinstance(holder[key], list) and len(holder[key]) > 2 and not list(definitions_in(holder[key]))
    ]
    union = choose(unions)
    union[1], union[2] = union[2], union[1]


def change_unit_of_time(schema: dict[str, Any], choose: Any) -> None:
    times = [h[k] for h, k in types_in(schema) if isinstance(h[k], dict) and "logicalType" in h[k]]
    choose(times)["logicalType"] = "timestamp-micros"


def forget_unit_of_time(schema: dict[str, Any], choose: Any) -> None:
    holder, key = choose([(h, k) for h, k in types_in(schema) if isinstance(h[k], dict) and "logicalType" in h[k]])
    holder[key] = "long"


def add_unit_of_time(schema: dict[str, Any], choose: Any) -> None:
    holder, key = choose([(holder, key) for holder, key in types_in(schema) if holder[key] == "long"])
    holder[key] = {"type": "long", "logicalType": "timestamp-millis"}


def remove_symbol(schema: dict[str, Any], choose: Any) -> None:
    enum = choose(enum_definitions(schema))
    enum["symbols"].remove(choose(enum["symbols"][1:]))


def reorder_symbols(schema: dict[str, Any], choose: Any) -> None:
    symbols = choose(enum_definitions(schema))["symbols"]
    symbols.append(symbols.pop(1))


def insert_symbol(schema: dict[str, Any], choose: Any) -> None:
    choose(enum_definitions(schema))["symbols"].insert(1, "INSERTED")


def remove_default_symbol(schema: dict[str, Any], choose: Any) -> None:
    del choose(enum_definitions(schema))["default"]


def change_default_symbol(schema: dict[str, Any], choose: Any) -> None:
    enum = choose(enum_definitions(schema))
    enum["default"] = enum["symbols"][1]


BREAKS: list[Edit] = [
    remove_field,
    rename_field,
    rename_field_with_an_alias,
    add_field_without_default,
    rename_record_with_an_alias,
    move_to_another_namespace,
    remove_default,
    change_default,
    promote,
    narrow,
    make_optional,
    add_branch,
    remove_branch,
    swap_branches,
    change_unit_of_time,
    forget_unit_of_time,
    add_unit_of_time,
    remove_symbol,
    reorder_symbols,
    insert_symbol,
    remove_default_symbol,
    change_default_symbol,
]


def change_documentation(schema: dict[str, Any], choose: Any) -> None:
    choose([*record_definitions(schema), *all_fields(schema)])["doc"] = "Better."


def add_field_with_default(schema: dict[str, Any], choose: Any) -> None:
    fields = choose(record_definitions(schema))["fields"]
    fields.insert(choose(list(range(len(fields)))), {"name": "added", "type": ["null", "string"], "default": None})


def append_symbol(schema: dict[str, Any], choose: Any) -> None:
    choose(enum_definitions(schema))["symbols"].append("ADDED")


def add_default(schema: dict[str, Any], choose: Any) -> None:
    choose([f for f in all_fields(schema) if "default" not in f and f["type"] == "string"])["default"] = ""


HARMLESS: list[Edit] = [change_documentation, add_field_with_default, append_symbol, add_default]


def edited(data: st.DataObject, edit: Edit) -> tuple[RecordSchema, RecordSchema]:
    """Return a released schema, and the same schema after an edit at some place."""

    def choose(items: list[Any]) -> Any:
        if not items:
            raise NothingToEdit
        return data.draw(st.sampled_from(range(len(items))).map(items.__getitem__))

    name = data.draw(st.sampled_from([name for name in ALL_NAMES if can_be_edited(name, edit)]))
    old = SCHEMAS.records[name]
    new = copy.deepcopy(old.schema)
    edit(new, choose)
    return old, RecordSchema(name, old.folder, new)


class NothingToEdit(Exception):
    """A schema has no place for an edit."""


@cache
def can_be_edited(name: str, edit: Edit) -> bool:
    def first(items: list[Any]) -> Any:
        if not items:
            raise NothingToEdit
        return items[0]

    try:
        edit(copy.deepcopy(SCHEMAS.records[name].schema), first)
    except NothingToEdit:
        return False
    return True


@pytest.mark.parametrize("edit", BREAKS, ids=lambda edit: edit.__name__)
def test_a_break_is_found_wherever_it_is(edit: Edit) -> None:
    @settings(max_examples=15, deadline=None)
    @given(st.data())
    def found(data: st.DataObject) -> None:
        old, new = edited(data, edit)
        assert incompatibilities(old, new)

    found()


@pytest.mark.parametrize("edit", HARMLESS, ids=lambda edit: edit.__name__)
def test_what_nobody_notices_is_allowed(edit: Edit) -> None:
    @settings(max_examples=15, deadline=None)
    @given(st.data())
    def allowed(data: st.DataObject) -> None:
        old, new = edited(data, edit)
        assert incompatibilities(old, new) == []

    allowed()


# The reader: a record of an older version becomes an object of today's class, as Avro's resolution says.


def drop_field_with_default(schema: dict[str, Any], choose: Any) -> None:
    # The link of a chain stays last. All other fields may have come later.
    definition, field = choose([
        (d, f) for d in record_definitions(schema) for f in d["fields"]
        if "default" in f and not list(definitions_in(f["type"])) and "halter.Failure" not in f["type"]
    ])  # fmt: skip
    definition["fields"].remove(field)


def had_another_field(schema: dict[str, Any], choose: Any) -> None:
    odd: Any = choose([
        "string", "double", "boolean", ["null", "bytes"], {"type": "array", "items": ["null", "long"]},
        {"type": "map", "values": {"type": "enum", "name": "halter.Odd", "symbols": ["A"]}},
        {"type": "record", "name": "halter.Odder", "fields": [{"name": "a", "type": "float"}]},
    ])  # fmt: skip
    default = {"string": "x", "double": 1.5, "boolean": True}.get(str(odd))
    if isinstance(odd, dict):
        default = {"array": [None, 3], "map": {"k": "A"}, "record": {"a": 2.5}}[odd["type"]]
    choose(record_definitions(schema))["fields"].insert(0, {"name": "odd", "type": odd, "default": default})


def had_fewer_symbols(schema: dict[str, Any], choose: Any) -> None:
    choose(enum_definitions(schema))["symbols"].pop()


def had_smaller_numbers(schema: dict[str, Any], choose: Any) -> None:
    choose([f for f in all_fields(schema) if f["type"] == "long"])["type"] = "int"


def had_another_order(schema: dict[str, Any], choose: Any) -> None:
    fields = choose([d for d in record_definitions(schema) if d["name"] != "Failure"])["fields"]
    plain = [f for f in fields if not list(definitions_in(f["type"])) and "halter." not in str(f["type"])]
    fields.insert(0, fields.pop(fields.index(choose(plain))))


OLDER: list[Edit] = [
    drop_field_with_default,
    had_another_field,
    had_fewer_symbols,
    had_smaller_numbers,
    had_another_order,
]


@pytest.mark.parametrize("edit", OLDER, ids=lambda edit: edit.__name__)
def test_records_of_older_schemas_are_read_as_fastavro_reads_them(edit: Edit) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
    @given(st.data())
    def check_one(data: st.DataObject) -> None:
        _, older = edited(data, edit)
        record = data.draw(records(older.name))
        writer = fastavro.parse_schema(without_logical_types(older.schema))
        reader = fastavro.parse_schema(without_logical_types(SCHEMAS.records[older.name].schema))
        wanted = plain_record(record, tagged=True)
        # A smaller number, a symbol that did not exist, or bytes, of which fastavro makes text when it resolves.
        assume(fastavro.validate(wanted, writer, raise_errors=False) and not holds_bytes(wanted))
        body = io.BytesIO()
        fastavro.schemaless_writer(body, writer, wanted)
        read = DecoderCompiler(older.names, SCHEMAS.names).record(older.name)
        found, end = read(body.getvalue(), 0)
        assert end == len(body.getvalue())
        if not isinstance(found, WfRun):
            expected = fastavro.schemaless_reader(io.BytesIO(body.getvalue()), writer, reader)
            assert plain_record(found, tagged=False) == expected

    check_one()


def holds_bytes(value: Any) -> bool:
    """Return True if there are bytes anywhere in a value."""
    if isinstance(value, dict):
        return any(holds_bytes(item) for item in value.values())
    return isinstance(value, bytes) or (isinstance(value, list | tuple) and any(holds_bytes(item) for item in value))


# Releasing.


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    folder = tmp_path / "schemas"
    shutil.copytree(resource("schemas"), folder, ignore=shutil.ignore_patterns("released"))
    return folder


def test_a_release_keeps_every_schema_with_its_fingerprint(copied: Path) -> None:
    folder = release(Schemas.load(copied), "0.1.0")
    schemas = Schemas.load(copied)
    assert folder == copied / "released" / "0.1.0"
    assert schemas.versions == ("0.1.0",)
    assert {n: r.schema for n, r in schemas.released("0.1.0").items()} == {
        n: r.schema for n, r in SCHEMAS.records.items()
    }
    assert check(schemas) == []


def test_a_version_is_released_once(copied: Path) -> None:
    release(Schemas.load(copied), "0.1.0")
    with pytest.raises(AlreadyReleased, match=r"0\.1\.0 has been released"):
        release(Schemas.load(copied), "0.1.0")


@pytest.mark.parametrize("version", ["", "1", "../0.1.0", "0.1.0/x", "v0.1.0"])
def test_a_version_has_three_numbers(copied: Path, version: str) -> None:
    with pytest.raises(HalterError, match="expected a version such as"):
        release(Schemas.load(copied), version)


def test_what_breaks_a_release_is_not_released(copied: Path) -> None:
    release(Schemas.load(copied), "0.1.0")
    file = copied / "commands" / "StopWfRun.avsc"
    file.write_text(file.read_text().replace('"thread"', '"number"'))
    (copied / "commands" / "DeleteWfRun.avsc").unlink()
    with pytest.raises(Incompatible) as caught:
        release(Schemas.load(copied), "0.2.0")
    assert "StopWfRun of 0.1.0: halter.StopWfRun.thread: expected this field, found none" in str(caught.value)
    assert "DeleteWfRun: released with 0.1.0, and gone" in str(caught.value)
    assert not (copied / "released" / "0.2.0").exists()


def test_records_of_a_release_are_read_by_their_fingerprint(copied: Path) -> None:
    # In this release StopWfRun has one field more and one field less.
    file = copied / "commands" / "StopWfRun.avsc"
    schema = json.loads(file.read_text())
    schema["fields"][2] = {"name": "note", "type": "string", "doc": "Gone.", "default": ""}
    file.write_text(json.dumps(schema))
    release(Schemas.load(copied), "0.1.0")
    old = Schemas.load(copied).records["StopWfRun"]
    shutil.copy(resource("schemas/commands/StopWfRun.avsc"), file)
    codec = Codec.load(Schemas.load(copied))
    data = b"\xc3\x01" + old.fingerprint + b"\x02w\x06\x08note" + b"\0\0"  # no operator, no reason
    found: Any = codec.decode(data)
    assert (found.wf_run_id, found.thread, found.command_id) == ("w", 3, None)
    assert codec.record_name(data) == "StopWfRun"
    assert codec.encode(found) != data


def test_the_command_says_what_it_did() -> None:
    assert run(["check"]).startswith("all that was released is read")
    with pytest.raises(HalterError, match="expected `check` or `release VERSION`"):
        run([])
    with pytest.raises(HalterError, match=r"expected a version such as 0\.1\.0"):
        run(["release", "nothing"])
