"""Refuses to write, with the schemas of an earlier release, a record for which they lack a field.

While workers of two versions run side by side, both must write what the older one can read, and does not lose when it
writes the row again. A field that was added since may therefore hold only its default, which readers fill in.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from processors.codec.schemas import short_name

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


def is_default(value: Any, default: Any) -> bool:
    """Return True if a value is the one that a reader fills in for a field with that default, as Avro writes it."""
    if isinstance(value, Enum):
        value = value.name
    if isinstance(default, list | dict):
        return not value and value is not None
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return bool(value == default) and (value is None) == (default is None)
