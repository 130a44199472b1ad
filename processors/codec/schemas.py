"""The Avro schemas: the files of `schemas/` put together, and the fingerprints by which records name them.

One file holds one record or enum, which refers to others by their full names. A *self-contained* schema has the
definition of each name where it first occurs, as every Avro library wants it. This form is published, released and
fingerprinted. The fingerprint is CRC-64-AVRO of the parsing canonical form. Documentation, defaults and logical types
do not change it, so two schemas that differ only in these have one fingerprint.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

from processors.codec.errors import SchemaProblem
from processors.codec.resources import resource

Schema: TypeAlias = str | list[Any] | dict[str, Any]
"""Avro's own form of a schema: a name, a union, or anything else."""

NAMESPACE: Final = "halter"
PARTS_FOLDER: Final = "types"
RELEASED_FOLDER: Final = "released"
PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
FINGERPRINTS_FILE: Final = "fingerprints.json"


@dataclass(frozen=True)
class RecordSchema:
    """The schema of a record that stands alone on a topic, self-contained."""

    name: str
    """The name without the namespace, which its class and its file have too."""
    folder: str
    """commands, definitions, events, operator, state or tasks; for a released schema `released/<version>`."""
    schema: dict[str, Any]

    @cached_property
    def fingerprint(self) -> bytes:
        """Its CRC-64-AVRO: 8 bytes, little-endian, as single-object encoding has it."""
        return fingerprint_of(self.schema)

    @property
    def text(self) -> str:
        """The schema as JSON text, for a file."""
        return json.dumps(self.schema, indent=2, ensure_ascii=False) + "\n"

    @cached_property
    def names(self) -> Mapping[str, dict[str, Any]]:
        """Full name -> definition, for every record and enum in it."""
        return {full_name(definition): definition for definition in definitions_in(self.schema)}


def fingerprint_of(schema: Schema) -> bytes:
    """Return the CRC-64-AVRO of a self-contained schema: 8 bytes, little-endian. Raises SchemaProblem."""
    import fastavro.schema  # here: the names of commands and topics are known without it

    try:
        canonical = fastavro.schema.to_parsing_canonical_form(schema)
    except (fastavro.schema.SchemaParseException, KeyError, TypeError) as error:
        raise SchemaProblem(f"{type_name(schema)}: expected an Avro schema: {error}") from error
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


def full_name(definition: Mapping[str, Any]) -> str:
    """Return the name of a record or enum, namespace included."""
    name: str = definition["name"]
    return name if "." in name else f"{definition.get('namespace', NAMESPACE)}.{name}"


def short_name(name: str) -> str:
    """Return the last part of a full name."""
    return name.rpartition(".")[2]


def type_name(schema: Schema) -> str:
    """Return a primitive's name, a full name, or `array`, `map`, `union`; for a logical type, the type that it
    annotates.
    """
    if isinstance(schema, list):
        return "union"
    if isinstance(schema, dict):
        return full_name(schema) if "name" in schema else str(schema["type"])
    return schema


def chain_field(definition: Mapping[str, Any]) -> str | None:
    """Return the last field if it is an optional record of the same kind. No other recursion is supported."""
    if definition["type"] != "record" or not definition["fields"]:
        return None
    last = definition["fields"][-1]
    name: str = last["name"]
    is_chain = isinstance(last["type"], list) and [type_name(t) for t in last["type"]] == [
        "null",
        full_name(definition),
    ]
    return name if is_chain else None


def definitions_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every definition of a record or enum in a schema, outermost first."""
    match schema:
        case list():
            for branch in schema:
                yield from definitions_in(branch)
        case {"type": "record"}:
            yield schema
            for field in schema["fields"]:
                yield from definitions_in(field["type"])
        case {"type": "enum"}:
            yield schema
        case {"type": "array", "items": inner} | {"type": "map", "values": inner}:
            yield from definitions_in(inner)


class Schemas:
    """All schemas of an installation: the current ones, and those of every release."""

    def __init__(self, folder: Path) -> None:
        """Read a folder of schemas. Raises SchemaProblem, which names the file."""
        self.folder = folder
        self._definitions: dict[str, dict[str, Any]] = {}
        self._folders: dict[str, str] = {}
        self._released: dict[str, Mapping[str, RecordSchema]] = {}
        for file in sorted(folder.glob("*/*.avsc")):
            if file.parent.name != RELEASED_FOLDER:
                self._add(file)
        if not self._definitions:
            raise SchemaProblem(f"expected schemas in {folder}/*/*.avsc, found none")

    @staticmethod
    def load(folder: Path | None = None) -> "Schemas":
        """Return the schemas that come with Halter, read once, or read those of another folder of the same shape."""
        return _of_this_installation() if folder is None else Schemas(folder)

    def _add(self, file: Path) -> None:
        schema = read_json(file)
        if not isinstance(schema, dict) or schema.get("type") not in ("record", "enum"):
            raise SchemaProblem(f"{file}: expected a record or an enum")
        if schema.get("name") != file.stem or schema.get("namespace") != NAMESPACE:
            raise SchemaProblem(
                f"{file}: expected name '{file.stem}' and namespace '{NAMESPACE}', found name "
                f"{schema.get('name')!r} and namespace {schema.get('namespace')!r}"
            )
        name = full_name(schema)
        if name in self._definitions:
            raise SchemaProblem(f"{file}: {name} stands in the folder '{self._folders[name]}' as well")
        self._definitions[name] = schema
        self._folders[name] = file.parent.name

    @cached_property
    def records(self) -> Mapping[str, RecordSchema]:
        """Record name -> current schema, for records that stand alone on a topic; sorted by folder and name."""
        names = sorted((folder, name) for name, folder in self._folders.items() if folder != PARTS_FOLDER)
        return {
            short_name(name): RecordSchema(short_name(name), folder, self._self_contained(name))
            for folder, name in names
        }

    @cached_property
    def names(self) -> Mapping[str, dict[str, Any]]:
        """Full name -> definition as its file has it, for every record and enum."""
        return self._definitions

    def _self_contained(self, name: str) -> dict[str, Any]:
        schema = self._inlined(name, set(), name)
        assert isinstance(schema, dict)
        return schema

    def _inlined(self, schema: Schema, seen: set[str], where: str) -> Schema:
        """Return the schema with the definition of each name where it first occurs."""
        match schema:
            case str():
                if schema in PRIMITIVES or schema in seen:
                    return schema
                definition = self._definitions.get(schema)
                if definition is None:
                    raise SchemaProblem(
                        f"{where}: expected the full name of a schema in {self.folder}, found {schema!r}"
                    )
                seen.add(schema)
                if definition["type"] != "record":
                    return definition
                fields = [
                    {**field, "type": self._inlined(field["type"], seen, f"{schema}.{field['name']}")}
                    for field in definition["fields"]
                ]
                return {**definition, "fields": fields}
            case list():
                return [self._inlined(branch, seen, where) for branch in schema]
            case {"type": "array", "items": inner}:
                return {**schema, "items": self._inlined(inner, seen, where)}
            case {"type": "map", "values": inner}:
                return {**schema, "values": self._inlined(inner, seen, where)}
            case {"type": str() as primitive} if primitive in PRIMITIVES:
                return schema
            case _:
                raise SchemaProblem(f"{where}: expected a type, found {json.dumps(schema)[:80]}")

    @cached_property
    def versions(self) -> tuple[str, ...]:
        """The released versions, the oldest first, as the names of their folders."""
        released = self.folder / RELEASED_FOLDER
        names = [path.name for path in released.iterdir()] if released.is_dir() else []
        return tuple(sorted(names, key=lambda name: ([*map(int, re.findall(r"\d+", name))], name)))

    def released(self, version: str) -> Mapping[str, RecordSchema]:
        """Return record name -> schema, as released with a version. Its files are read once."""
        if version not in self._released:
            folder = self.folder / RELEASED_FOLDER / version
            self._released[version] = {
                file.stem: RecordSchema(file.stem, f"{RELEASED_FOLDER}/{version}", read_json(file))
                for file in sorted(folder.glob("*.avsc"))
            }
        return self._released[version]

    def released_one(self, version: str, name: str) -> RecordSchema | None:
        """Return the schema of one record, as released with a version; None if it had none."""
        file = self.folder / RELEASED_FOLDER / version / f"{name}.avsc"
        return RecordSchema(name, f"{RELEASED_FOLDER}/{version}", read_json(file)) if file.is_file() else None

    def find(self, fingerprint: bytes) -> RecordSchema | None:
        """Return the current or released schema with this fingerprint (8 bytes); None if there is none.

        The lists of the releases come first: to find a record that is in them, only one fingerprint has to be computed.
        """
        place = self._released_by_fingerprint.get(fingerprint)
        if place is None:
            return next((it for it in self.records.values() if it.fingerprint == fingerprint), None)
        version, name = place
        current = self.records.get(name)
        if current is not None and current.fingerprint == fingerprint:
            return current
        return self.released(version)[name]

    def export(self, folder: Path) -> None:
        """Write every current schema, self-contained, as `<record>.avsc`, and the list of their fingerprints."""
        for name, record in self.records.items():
            (folder / f"{name}.avsc").write_text(record.text, encoding="utf-8")
        fingerprints = {name: record.fingerprint.hex() for name, record in sorted(self.records.items())}
        (folder / FINGERPRINTS_FILE).write_text(json.dumps(fingerprints, indent=2) + "\n", encoding="utf-8")

    def export_released(self, folder: Path) -> int:
        """Write every schema of a release that is another one now, as `released/<version>/<record>.avsc`.

        Records may still be written with these, so a reader needs them too. Returns how many there are.
        """
        written = {it.fingerprint for it in self.records.values()}
        before = len(written)
        for version in reversed(self.versions):
            for name, record in self.released(version).items():
                if record.fingerprint not in written:
                    written.add(record.fingerprint)
                    file = folder / RELEASED_FOLDER / version / f"{name}.avsc"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(record.text, encoding="utf-8")
        return len(written) - before

    @cached_property
    def _released_by_fingerprint(self) -> Mapping[bytes, tuple[str, str]]:
        """Fingerprint -> (version, record name), from the lists that each release wrote."""
        found = {}
        for version in self.versions:
            file = self.folder / RELEASED_FOLDER / version / FINGERPRINTS_FILE
            for name, fingerprint in read_json(file).items():
                found[bytes.fromhex(fingerprint)] = (version, name)
        return found


@cache
def _of_this_installation() -> Schemas:
    return Schemas(resource("schemas"))


def read_json(file: Path) -> Any:
    """Read a JSON file of the schemas. Raises SchemaProblem, which names it."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SchemaProblem(f"{file}: expected JSON: {error}") from error
