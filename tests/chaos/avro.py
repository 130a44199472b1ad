"""Reads and writes Halter's bytes with fastavro and the files of `schemas/` alone.

It shares no code with `processors.codec`: fastavro loads the schemas, and records become dicts. A walk along the schema
turns dicts into the core's dataclasses, to fold them, and back, to compare them byte for byte.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

import fastavro
import fastavro.schema
from fastavro.repository.base import AbstractSchemaRepository, SchemaRepositoryError

from processors.core.records import commands, events, model, values
from processors.core.records.events import LogEntry

SCHEMAS: Final = Path(__file__).parents[2] / "schemas"
NAMESPACE: Final = "halter."
MARKER: Final = b"\xc3\x01"
HEADER_BYTES: Final = 10
OF_EVERY_ENTRY: Final = ("wf_run_id", "incarnation", "seq", "time_ms")

CLASSES: Final[Mapping[str, Any]] = {
    name: found
    for module in (values, commands, events, model)
    for name, found in vars(module).items()
    if isinstance(found, type) and (is_dataclass(found) or issubclass(found, StrEnum))
}
EVENTS: Final = frozenset(path.stem for path in (SCHEMAS / "events").glob("*.avsc"))


class Files(AbstractSchemaRepository):
    """Finds the schema of a full name in `schemas/<folder>/<name>.avsc`. Times stay longs: dates have less range."""

    def load(self, name: str) -> Any:
        found = list(SCHEMAS.glob(f"[!r]*/{name.removeprefix(NAMESPACE)}.avsc"))
        if len(found) != 1:
            raise SchemaRepositoryError(f"expected one file for {name}, found {found}")
        return without_logical_types(json.loads(found[0].read_text(encoding="utf-8")))


def without_logical_types(schema: Any) -> Any:
    """Return the schema without its annotations. Bytes and fingerprint are the same."""
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    if isinstance(schema, dict):
        kept = {key: value for key, value in schema.items() if key != "logicalType"}
        return {key: without_logical_types(value) if key in INNER else value for key, value in kept.items()}
    return schema


INNER: Final = frozenset({"type", "items", "values", "fields"})


@cache
def schema_of(name: str) -> Any:
    """Return the schema of a record, parsed by fastavro, with the schemas that it refers to."""
    return fastavro.schema.load_schema(NAMESPACE + name, repo=Files())


@cache
def header_of(name: str) -> bytes:
    """Return the prefix of single-object encoding for a record of this name."""
    canonical = fastavro.schema.to_parsing_canonical_form(schema_of(name))
    return MARKER + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


@cache
def names_by_header() -> Mapping[bytes, str]:
    """Return every record that may stand alone on a topic, by the ten bytes that it begins with."""
    names = [path.stem for path in SCHEMAS.glob("[!rt]*/*.avsc")] + [path.stem for path in SCHEMAS.glob("tasks/*.avsc")]
    return {header_of(name): name for name in names}


@cache
def released_by_header() -> Mapping[bytes, tuple[str, Any]]:
    """Return the schemas of released versions whose bytes differ from today's, with the name of each record."""
    found = {}
    for path in SCHEMAS.glob("released/*/*.avsc"):
        schema = without_logical_types(json.loads(path.read_text(encoding="utf-8")))
        canonical = fastavro.schema.to_parsing_canonical_form(schema)
        header = MARKER + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
        if header not in names_by_header():
            found[header] = path.stem, fastavro.parse_schema(schema, named_schemas={})
    return found


def decode(data: bytes) -> tuple[str, dict[str, Any]]:
    """Return a record's name and fields. A record in a union is the pair of its full name and fields.

    Records of an earlier release get today's fields. Raises ValueError for bytes of no schema in `schemas/`, and for
    bytes that go on after the record.
    """
    header = data[:HEADER_BYTES]
    name, writer = released_by_header().get(header, (names_by_header().get(header), None))
    if name is None:
        raise ValueError(f"no schema has the fingerprint {header.hex(' ')}")
    body, today = io.BytesIO(data[HEADER_BYTES:]), schema_of(name)
    fields_of: Any = fastavro.schemaless_reader(
        body, writer or today, today if writer else None, return_record_name=True
    )
    if rest := body.read():
        raise ValueError(f"{name}: {len(rest)} bytes follow the record")
    return name, fields_of


@cache
def of_last_release(name: str) -> tuple[bytes, Any] | None:
    """Return the header and schema of a record in the last release; None if it has the same bytes today, or is new."""
    folders = sorted(SCHEMAS.glob("released/*"), key=lambda path: [int(part) for part in path.name.split(".")])
    file = folders[-1] / f"{name}.avsc"
    if not file.is_file():
        return None
    schema = without_logical_types(json.loads(file.read_text(encoding="utf-8")))
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    header = MARKER + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
    return None if header == header_of(name) else (header, fastavro.parse_schema(schema, named_schemas={}))


def encode(name: str, record: Mapping[str, Any]) -> bytes:
    """Return the bytes of a record given as `decode` gives it.

    What can be read back from the schema of the last release as it is, has that schema.
    """
    today = written(record, schema_of(name), strict=True)
    last = of_last_release(name)
    if last is not None:
        header, schema = last
        before = written(record, schema)
        read: Any = fastavro.schemaless_reader(io.BytesIO(before), schema, schema_of(name), return_record_name=True)
        if written(read, schema_of(name)) == today:  # a NaN is not equal to itself
            return header + before
    return header_of(name) + today


def written(record: Any, schema: Any, *, strict: bool = False) -> bytes:
    """Return a record as the schema has it, without a header. `strict`: it has no other fields."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema, record, strict=strict)
    return body.getvalue()


def as_current(data: bytes | None) -> bytes | None:
    """Return the bytes that are written today for a record of an earlier release. Other bytes stay as they are."""
    if data is None or data[:HEADER_BYTES] not in released_by_header():
        return data
    return encode(*decode(data))


# The core's classes.


@cache
def definitions() -> Mapping[str, Any]:
    """Return full name -> definition, for everything in `schemas/`."""
    found = (without_logical_types(json.loads(path.read_text())) for path in SCHEMAS.glob("[!r]*/*.avsc"))
    return {f"{NAMESPACE}{definition['name']}": definition for definition in found}


def log_entry(name: str, record: Mapping[str, Any]) -> LogEntry:
    """Return a record of the log as the core has it."""
    own = definitions()[NAMESPACE + name]["fields"][len(OF_EVERY_ENTRY) + 1 :]
    event = CLASSES[name](**{field["name"]: to_core(record[field["name"]], field["type"]) for field in own})
    cause = to_core(record["cause"], f"{NAMESPACE}Cause")
    wf_run_id, incarnation, seq, time_ms = (record[field] for field in OF_EVERY_ENTRY)
    return LogEntry(wf_run_id, incarnation, seq, time_ms, cause, event)


def to_core(value: Any, schema: Any) -> Any:
    """Return a value that fastavro has read as the core has it."""
    match schema:
        case list():
            # A record says which one it is. Of the other branches, at most one is of the value's type.
            if isinstance(value, tuple):
                return to_core(value[1], value[0])
            named = [branch for branch in schema if isinstance(branch, str) and branch.startswith(NAMESPACE)]
            if value is None:
                return None
            if isinstance(value, dict) and len(named) == 1:
                return to_core(value, named[0])
            other = [branch for branch in schema if branch != "null"]
            return to_core(value, other[0]) if len(other) == 1 else value
        case {"type": "array", "items": items}:
            return [to_core(item, items) for item in value]
        case {"type": "map", "values": inner}:
            return {key: to_core(item, inner) for key, item in value.items()}
        case {"type": str() as name}:
            return to_core(value, name)
        case "halter.Json":
            return values.from_json(value["json"])
        case str() if schema.startswith(NAMESPACE):
            cls, definition = CLASSES[schema.removeprefix(NAMESPACE)], definitions()[schema]
            if definition["type"] == "enum":
                return cls(value)
            taken = {field.name for field in fields(cls)}
            return cls(
                **{
                    field["name"]: to_core(value[field["name"]], field["type"])
                    for field in definition["fields"]
                    if field["name"] in taken
                }
            )
        case _:
            return value


def from_core(value: Any, schema: Any) -> Any:
    """Return a value of the core as fastavro writes it."""
    match schema:
        case list():
            branch = next(branch for branch in schema if takes(branch, value))
            inner = from_core(value, branch)
            is_named = isinstance(branch, str) and branch.startswith(NAMESPACE)
            is_record = is_named and definitions()[branch]["type"] == "record"
            return (branch, inner) if is_record else inner
        case {"type": "array", "items": items}:
            return [from_core(item, items) for item in value]
        case {"type": "map", "values": inner}:
            return {key: from_core(item, inner) for key, item in value.items()}
        case {"type": str() as name}:
            return from_core(value, name)
        case "halter.Json":
            return {"json": values.to_json(value)}
        case str() if schema.startswith(NAMESPACE):
            definition = definitions()[schema]
            if definition["type"] == "enum":
                return value.value
            return {
                field["name"]: from_core(getattr(value, field["name"]), field["type"]) for field in definition["fields"]
            }
        case _:
            return value


PRIMITIVES: Final = {
    type(None): "null", bool: "boolean", int: "long", float: "double", str: "string", bytes: "bytes",
    dict: "halter.Json", list: "halter.Json",
}  # fmt: skip


def takes(branch: dict[str, Any] | str, value: Any) -> bool:
    """Return True if a branch of a union is the one for a value of the core."""
    if isinstance(branch, dict):
        kind = branch["type"]
        return isinstance(value, {"array": list, "map": dict}[kind]) if kind in ("array", "map") else takes(kind, value)
    if branch.startswith(NAMESPACE) and branch != "halter.Json":
        return type(value).__name__ == str(branch).removeprefix(NAMESPACE)
    return PRIMITIVES.get(type(value)) == branch or (branch == "int" and type(value) is int)


def row(record: Any) -> bytes:
    """Return the bytes of a row of a state topic."""
    name = type(record).__name__
    return encode(name, from_core(record, NAMESPACE + name))
