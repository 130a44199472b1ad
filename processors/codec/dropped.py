"""Tells what the schemas of an earlier release have no field for: it is refused, or written with today's schema.

While workers of two versions run side by side, both must write what the older one can read, and does not lose when it
writes the row again. A field that was added since may therefore hold only its default, which readers fill in.

Once they do not, a record that says nothing new is still written with the schema of the last release. Whoever reads
that one reads it: task workers and consumers that are upgraded later, and workers of that release if one goes back.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from processors.codec.errors import SchemaProblem
from processors.codec.schemas import Schema, short_name, type_name

Definitions = Mapping[str, Mapping[str, Any]]


class Dropped:
    """The fields of a record and its parts that an older schema lacks."""

    def __init__(self, older: Definitions, current: Definitions, whose: str) -> None:
        self._whose = whose
        self._kept = {
            short_name(name): [field["name"] for field in definition["fields"]]
            for name, definition in older.items()
            if definition["type"] == "record"
        }
        self._dropped = {
            short_name(name): [
                (field["name"], field["default"])
                for field in current[name]["fields"]
                if field["name"] not in {kept["name"] for kept in definition["fields"]}
            ]
            for name, definition in older.items()
            if definition["type"] == "record"
        }

        self._inside = {
            short_name(name): [
                (field["name"], short_name(inner), is_plain)
                for field in definition["fields"]
                for inner, is_plain in _records_in(field["type"], older)
            ]
            for name, definition in older.items()
            if definition["type"] == "record"
        }
        """Record -> the fields that hold records, with the kind of these, and whether it is one of them or none."""

    def refused(self, write: Callable[..., bytes]) -> Callable[..., bytes]:
        """Return a writer that raises ValueError if a field that would be dropped holds more than its default."""

        def write_all(record: Any, *parts: bytes) -> bytes:
            for name, value in self._in(record):
                raise ValueError(
                    f"expected what {self._whose} have a field for, found {name} = {value!r}: "
                    "once no worker of that version is left, unset HALTER_SCHEMAS"
                )
            return write(record, *parts)

        return write_all

    def only_if_needed(
        self, name: str, before: Callable[..., bytes], now: Callable[..., bytes]
    ) -> Callable[..., bytes]:
        """Return a writer of records of this name: as `before` unless a field that would be dropped is said, as `now`.

        It is asked for every row and task request, so it knows the ways to these fields.
        """
        ways = [(path, self._dropped[kind]) for path, kind in self._ways(name, (), ()) if self._dropped[kind]]

        def write(record: Any, *parts: bytes) -> bytes:
            for path, fields in ways:
                value = record
                for step in path:
                    value = getattr(value, step)
                    if value is None:
                        break
                else:
                    for field, default in fields:
                        if not is_default(getattr(value, field), default):
                            return now(record, *parts)
            return before(record, *parts)

        return write

    def _ways(self, kind: str, path: tuple[str, ...], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield the way to each record inside one, with its kind. Raises SchemaProblem for fields added in a list."""
        yield path, kind
        for name, inner, is_plain in self._inside[kind]:
            if inner in above or inner == kind:
                continue  # a chain; its links are as the first
            if is_plain:
                yield from self._ways(inner, (*path, name), (*above, kind))
            elif any(self._dropped[below] for _, below in self._ways(inner, (), (*above, kind))):
                raise SchemaProblem(f"{kind}.{name}: expected fields to be added in no list, map or union of records")

    def _in(self, value: Any) -> Iterator[tuple[str, Any]]:
        """Yield the fields of a value that would be dropped, with their values."""
        if is_dataclass(value):
            kind = type(value).__name__
            for name, default in self._dropped.get(kind, ()):
                found = getattr(value, name)
                if not is_default(found, default):
                    yield f"{kind}.{name}", found
            for name in self._kept.get(kind, ()):
                # An event lacks the fields of its LogEntry: WfRun, number, time and cause.
                yield from self._in(getattr(value, name, None))
        elif isinstance(value, list | tuple):
            for item in value:
                yield from self._in(item)
        elif isinstance(value, dict):
            for item in value.values():
                yield from self._in(item)


def has_all_fields(current: Definitions, older: Definitions) -> bool:
    """Return True if nothing of older definitions is gone, as `compatibility` demands of what was released."""
    for name, definition in older.items():
        now = current.get(name, {})
        if {it["name"] for it in definition.get("fields", ())} - {it["name"] for it in now.get("fields", ())}:
            return False
        if set(definition.get("symbols", ())) - set(now.get("symbols", ())):
            return False
    return True


def _records_in(schema: Schema, known: Definitions) -> Iterator[tuple[str, bool]]:
    """Yield the full name of each record directly in the type of a field, and whether it is there alone, or null."""
    match schema:
        case ["null", inner]:
            yield from _records_in(inner, known)
        case list():
            for branch in schema:
                yield from ((name, False) for name, _ in _records_in(branch, known))
        case {"type": "array", "items": inner} | {"type": "map", "values": inner}:
            yield from ((name, False) for name, _ in _records_in(inner, known))
        case _:
            name = type_name(schema)
            if name in known and known[name]["type"] == "record":
                yield name, True


def is_default(value: Any, default: Any) -> bool:
    """Return True if a value is the one that a reader fills in for a field with that default, as Avro writes it."""
    if isinstance(value, Enum):
        value = value.name
    if isinstance(default, list | dict):
        return not value and value is not None
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return bool(value == default) and (value is None) == (default is None)
