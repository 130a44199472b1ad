"""Checks that released schemas change only in ways that no reader and no record notices.

    python -m processors.codec.compatibility check
        Is everything that was released still read, and read the same?
    python -m processors.codec.compatibility release 0.2.0
        Keep the current schemas for ever, as those of a version.

Every released schema is compared with the current one, both as reader and as writer: consumers upgrade when they like,
and the log keeps records of old versions. The `avro` package checks Avro's own rules. `changes` finds differences that
those rules allow and people would not: another unit of time, another default, a name that is gone.

Documentation may be changed. A record, a field with a default, a symbol at the end of an enum, and a default of a field
that had none may be added. Any other change needs a new record, or a new field beside the old one.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from processors.codec.schemas import (
    RELEASED_FOLDER,
    RecordSchema,
    Schema,
    Schemas,
    type_name,
)
from processors.core.records.errors import HalterError
from processors.extras import needing

VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")


class Incompatible(HalterError):
    """The current schemas break what was released. Whoever changed them adds a record or a field instead."""


class AlreadyReleased(HalterError):
    """This version was released before, and a release never changes. Choose the next version."""


def check(schemas: Schemas) -> list[str]:
    """Compare the current schemas with every released one. Return the problems, a sentence each."""
    problems = []
    for version in schemas.versions:
        for name, released in schemas.released(version).items():
            current = schemas.records.get(name)
            if current is None:
                problems.append(f"{name}: released with {version}, and gone")
            else:
                problems += [f"{name} of {version}: {problem}" for problem in incompatibilities(released, current)]
    return problems


def incompatibilities(released: RecordSchema, current: RecordSchema) -> list[str]:
    """Return what an old reader, an old record or their owner would notice, a sentence each."""
    found = {
        **dict.fromkeys(unreadable(reader=current.schema, writer=released.schema, what="old records")),
        **dict.fromkeys(unreadable(reader=released.schema, writer=current.schema, what="new records, for old readers")),
        **dict.fromkeys(Comparison(released.names, current.names).changes(released.schema, current.schema, "")),
    }
    return list(found)


def unreadable(*, reader: Schema, writer: Schema, what: str) -> Iterator[str]:
    """Yield the problems that Avro's schema resolution has with reading, in the words of the `avro` package."""
    with needing("engine", "the check of released schemas"):
        import avro.errors
        import avro.schema
        from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

    try:
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
        result = checker.get_compatibility(avro.schema.parse(json.dumps(reader)), avro.schema.parse(json.dumps(writer)))
    except avro.errors.AvroException as error:
        yield f"cannot be parsed: {error}"
        return
    if result.compatibility is not SchemaCompatibilityType.compatible:
        kinds = ", ".join(dict.fromkeys(kind.value for kind in result.incompatibilities))
        yield f"{what} cannot be read: {kinds} ({'; '.join(sorted(result.messages))})"


class Comparison:
    """Goes through two versions of a schema side by side and names the differences that are not allowed."""

    def __init__(self, old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> None:
        """Full name -> definition, of the old and of the new schema."""
        self.old = old
        self.new = new
        self.compared: set[str] = set()

    def changes(self, old: Any, new: Any, where: str) -> Iterator[str]:
        """Yield each difference at and below a place of the schema, as a sentence that begins with the place."""
        place = where or "the record"
        if type_name(old) != type_name(new):
            yield f"{place}: expected type {type_name(old)}, found {type_name(new)}"
            return
        for annotation in ("logicalType", "scale", "precision", "size"):
            before, after = annotation_of(old, annotation), annotation_of(new, annotation)
            if before != after:
                yield f"{place}: expected {annotation} {before}, found {after}"
        if isinstance(old, list):
            yield from self._union(old, new, where)
        elif type_name(old) in self.old:
            yield from self._named(type_name(old), where)
        elif type_name(old) in ("array", "map"):
            inner = "items" if type_name(old) == "array" else "values"
            yield from self.changes(old[inner], new[inner], f"{where}[]")

    def _union(self, old: list[Any], new: list[Any], where: str) -> Iterator[str]:
        before, after = [type_name(branch) for branch in old], [type_name(branch) for branch in new]
        if before != after:
            yield f"{where}: expected the union {before}, found {after}"
        found = dict(zip(after, new, strict=True))
        for name, branch in zip(before, old, strict=True):
            if name in found:
                yield from self.changes(branch, found[name], where)

    def _named(self, name: str, where: str) -> Iterator[str]:
        if name in self.compared:
            return
        self.compared.add(name)
        old, new = self.old[name], self.new.get(name)
        if new is None or old["type"] != new["type"]:
            yield f"{where or name}: expected the {old['type']} {name}, found {new and new['type']}"
        elif sorted(old.get("aliases", ())) != sorted(new.get("aliases", ())):
            yield f"{name}: expected aliases {old.get('aliases')}, found {new.get('aliases')}"
        elif old["type"] == "enum":
            yield from self._enum(name, old, new)
        elif old["type"] == "record":
            yield from self._fields(name, old, new)

    @staticmethod
    def _enum(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
        symbols = old["symbols"]
        if new["symbols"][: len(symbols)] != symbols:
            yield f"{name}: expected symbols that begin with {symbols}, found {new['symbols']}"
        if old.get("default") != new.get("default"):
            yield f"{name}: expected default {old.get('default')}, found {new.get('default')}"

    def _fields(self, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
        found = {field["name"]: field for field in new["fields"]}
        for field in old["fields"]:
            where = f"{name}.{field['name']}"
            after = found.pop(field["name"], None)
            if after is None:
                yield f"{where}: expected this field, found none"
                continue
            if "default" in field and ("default" not in after or not same_json(after["default"], field["default"])):
                yield f"{where}: expected default {field['default']!r}, found {after.get('default', 'none')!r}"
            if sorted(field.get("aliases", ())) != sorted(after.get("aliases", ())):
                yield f"{where}: expected aliases {field.get('aliases')}, found {after.get('aliases')}"
            yield from self.changes(field["type"], after["type"], where)
        for added in found.values():
            if "default" not in added or added.get("aliases"):
                yield f"{name}.{added['name']}: expected a default and no aliases, because it is new"


def annotation_of(schema: Schema, annotation: str) -> Any:
    """Return an attribute that stands beside the type, such as logicalType; None if there is none."""
    return schema.get(annotation) if isinstance(schema, dict) else None


def same_json(left: Any, right: Any) -> bool:
    """Compare as JSON does. Python takes 0 for false, and 1 for 1.0."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def release(schemas: Schemas, version: str) -> Path:
    """Keep the current schemas as those of a version, self-contained and with their fingerprints.

    Returns their folder. Raises AlreadyReleased, or Incompatible with every problem.
    """
    if not VERSION.fullmatch(version):
        raise HalterError(f"expected a version such as 0.1.0, found {version!r}")
    folder = schemas.folder / RELEASED_FOLDER / version
    if folder.exists():
        raise AlreadyReleased(f"{version} has been released: {folder} is there and stays as it is")
    problems = check(schemas)
    if problems:
        raise Incompatible("the current schemas break what was released:\n" + "\n".join(problems))
    folder.mkdir(parents=True)
    schemas.export(folder)
    return folder


def run(arguments: list[str]) -> str:
    """Run `check` or `release VERSION`. Return a sentence about the result. Raises HalterError."""
    schemas = Schemas.load()
    match arguments:
        case ["check"]:
            problems = check(schemas)
            if problems:
                raise Incompatible("the current schemas break what was released:\n" + "\n".join(problems))
            return f"all that was released is read: {', '.join(schemas.versions) or 'nothing yet'}"
        case ["release", version]:
            return f"released {len(schemas.records)} schemas to {release(schemas, version)}"
        case _:
            raise HalterError("expected `check` or `release VERSION`")


if __name__ == "__main__":
    try:
        print(run(sys.argv[1:]))  # noqa: T201
    except HalterError as error:
        sys.exit(str(error))
