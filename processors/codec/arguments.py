"""Checks the fields of a record against its schema before the record is made. Raises UnfitValue.

The encoder makes only the checks that cost nothing: it writes `True` for 1, and a list for a tuple. Here types must be
exact, values must be within the bounds that a reader takes, and the error names the field.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from processors.codec.records import CLASSES, ENUMS, JSON
from processors.codec.schemas import NAMESPACE, Schema, short_name, type_name
from processors.core.records.value_checks import UnfitValue, check_text, check_value
from processors.core.records.values import VALUE_BYTES_MAX

_BITS: Final = {"int": 32, "long": 64}


class Arguments:
    """Checks fields of the records of these schemas."""

    def __init__(self, names: Mapping[str, Mapping[str, Any]]) -> None:
        """`names`: full name -> definition of every record and enum that occurs."""
        self._names = names
        self._fields: dict[str, dict[str, tuple[Schema, bool, bool]]] = {}
        """Record -> field -> the schema without null, whether null and whether any value may be there."""

    def of(self, record: object) -> dict[str, object]:
        """Return the fields of a record with their values."""
        fields = self._names[f"{NAMESPACE}.{type(record).__name__}"]["fields"]
        return {field["name"]: getattr(record, field["name"]) for field in fields}

    def check(self, record: str, given: Mapping[str, object]) -> None:
        """Check the fields that are given for a record. The others have defaults.

        Raises UnfitValue for the first field that does not fit the schema of the record.
        """
        room = VALUE_BYTES_MAX
        fields = self._fields.get(record) or self._fields_of(record)
        for name, value in given.items():
            if name not in fields:
                continue
            schema, takes_none, takes_any = fields[name]
            if takes_any:
                room = check_value(value, name, room)
            elif value is not None or not takes_none:
                if schema == "string":
                    check_text(value, name)
                else:
                    room = self._checked(schema, value, name, room)

    def _fields_of(self, record: str) -> dict[str, tuple[Schema, bool, bool]]:
        found: dict[str, tuple[Schema, bool, bool]] = {}
        for field in self._names[f"{NAMESPACE}.{record}"]["fields"]:
            schema, takes_any = field["type"], _takes_any(field["type"])
            takes_none = isinstance(schema, list) and not takes_any
            inner = next(branch for branch in schema if branch != "null") if takes_none else schema
            found[field["name"]] = inner, takes_none, takes_any
        self._fields[record] = found
        return found

    def _checked(self, schema: Schema, value: object, what: str, room: int) -> int:
        if isinstance(schema, list):
            if _takes_any(schema):
                return check_value(value, what, room)
            if value is None and "null" in schema:
                return room
            schema = self._branch(schema, value, what)
        kind = type_name(schema)
        if kind == "map":
            return self._checked_map(schema, value, what, room)
        if kind == "array":
            return self._checked_array(schema, value, what, room)
        if short_name(kind) in CLASSES:
            return self._checked_record(short_name(kind), value, what, room)
        if kind == "string":
            check_text(value, what)
        elif kind == "boolean":
            _check(type(value) is bool, what, "True or False", value)
        elif kind in _BITS:
            _check(type(value) is int, what, "an int", value)
            bits = _BITS[kind]
            if not -(1 << bits - 1) <= value < 1 << bits - 1:  # type: ignore[operator]
                raise UnfitValue(what, (), f"expected an int of {bits} bits, found one that does not fit")
        else:
            enum: type[StrEnum] = ENUMS[short_name(kind)]
            _check(type(value) is enum, what, f"a {enum.__name__} ({', '.join(enum)})", value)
        return room

    @staticmethod
    def _branch(union: list[Any], value: object, what: str) -> Schema:
        """Return the branch of a union that a value is to fit: of several records, the one of its class."""
        branches = [branch for branch in union if branch != "null"]
        if len(branches) == 1:
            return branches[0]  # type: ignore[no-any-return]
        names = {short_name(type_name(branch)): branch for branch in branches}
        _check(type(value).__name__ in names, what, f"one of {', '.join(names)}", value)
        return names[type(value).__name__]  # type: ignore[no-any-return]

    def _checked_record(self, name: str, value: object, what: str, room: int) -> int:
        """Check a record inside another, field by field."""
        _check(type(value) is CLASSES[name], what, f"a {name}", value)
        for field in self._names[f"{NAMESPACE}.{name}"]["fields"]:
            room = self._checked(field["type"], getattr(value, field["name"]), f"{what}.{field['name']}", room)
        return room

    def _checked_array(self, schema: Schema, value: object, what: str, room: int) -> int:
        assert isinstance(schema, dict)
        _check(isinstance(value, list), what, "a list", value)
        assert isinstance(value, list)
        for index, item in enumerate(value):
            room = self._checked(schema["items"], item, f"{what}[{index}]", room)
        return room

    def _checked_map(self, schema: Schema, value: object, what: str, room: int) -> int:
        assert isinstance(schema, dict)
        _check(isinstance(value, Mapping), what, "a dict", value)
        for key, item in value.items():  # type: ignore[attr-defined]
            check_text(key, f"a name in {what}")
            room = self._checked(schema["values"], item, f"{what}[{key[:40]!r}]", room - len(key))
        return room


def _takes_any(schema: Schema) -> bool:
    """Return True if a schema is that of a `Value`."""
    return isinstance(schema, list) and any(short_name(type_name(branch)) == JSON for branch in schema)


def _check(fits: bool, what: str, expected: str, value: object) -> None:
    if not fits:
        raise UnfitValue(what, (), f"expected {expected}, found {type(value).__name__}")
