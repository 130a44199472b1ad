"""Any record: Hypothesis strategies and Avro types, both derived from the type hints of the dataclasses.

They share nothing with the codec: the codec compiles from the schemas, and this module reads the classes.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, get_args, get_origin

from hypothesis import strategies as st

from processors.codec.records import EVENTS, RECORDS
from processors.codec.schemas import Schemas
from processors.core.records import commands, events, model, values
from processors.core.records.events import Cause, LogEntry
from processors.core.records.model import WfRun
from processors.core.records.values import Timestamp, Value

SCHEMAS = Schemas.load()
LONG = st.integers(-(2**63), 2**63 - 1)
INT = st.integers(-(2**31), 2**31 - 1)
TEXT = st.text(max_size=20)
FLOAT = st.floats(allow_nan=False)
JSON_SCALAR = st.none() | st.booleans() | LONG | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(
    JSON_SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict | list))
VALUES: st.SearchStrategy[Value] = (
    st.none() | st.booleans() | LONG | FLOAT | TEXT | st.binary(max_size=20) | st.builds(Timestamp, LONG) | JSON
)
VALUE_UNION = ["null", "boolean", "long", "double", "string", "bytes", "halter.Json", "halter.Timestamp"]

NAMES: Mapping[str, Any] = {
    name: value for module in (values, commands, events, model) for name, value in vars(module).items()
}
NOT_PERSISTED = {WfRun: {"threads", "external_events", "kept_inputs", "changes", "index", "spec"}}
"""Fields of a class that are not in its schema: they are derived from other rows, or from definitions."""
DERIVED = {"WfRun": {"status"}}
"""Fields of a schema that a reader ignores: they are properties of the class."""


def is_value(hint: Any) -> bool:
    """Return True if a type hint is `Value`, which is written as text because it refers to itself."""
    return hint == Value


def evaluated(hint: Any) -> Any:
    """Return the type that a forward reference stands for."""
    return eval(hint, dict(NAMES)) if isinstance(hint, str) and not is_value(hint) else hint


def persisted_fields(cls: type) -> list[dataclasses.Field[Any]]:
    """Return the fields of a class that its schema has."""
    return [field for field in dataclasses.fields(cls) if field.name not in NOT_PERSISTED.get(cls, ())]


def avro_type(hint: Any, field_name: str) -> Any:
    """Return the Avro type that a type hint asks for, named types by their full names."""
    hint = evaluated(hint)
    if is_value(hint):
        return VALUE_UNION
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        branches = [avro_type(argument, field_name) for argument in arguments if argument is not type(None)]
        if type(None) in arguments:
            return ["null", *branches]
        return branches
    if origin is list:
        return {"type": "array", "items": avro_type(arguments[0], field_name)}
    if origin is dict:
        return {"type": "map", "values": avro_type(arguments[1], field_name)}
    if hint is int and field_name.endswith("_ms"):
        return {"type": "long", "logicalType": "timestamp-millis"}
    simple = {bool: "boolean", int: "long", float: "double", str: "string", bytes: "bytes", type(None): "null"}
    return simple.get(hint) or f"halter.{hint.__name__}"


def is_32_bit(cls: type, field_name: str) -> bool:
    """Return True if the schema keeps a number in 32 bits, which a type hint cannot say."""
    fields = {field["name"]: field["type"] for field in SCHEMAS.names[f"halter.{cls.__name__}"]["fields"]}
    return fields.get(field_name) in ("int", ["null", "int"])


def strategy(hint: Any, integers: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    """Return values of a type hint."""
    hint = evaluated(hint)
    if is_value(hint):
        return VALUES
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([strategy(argument, integers) for argument in arguments])
    if origin is list:
        return st.lists(strategy(arguments[0], integers), max_size=3)
    if origin is dict:
        return st.dictionaries(TEXT, strategy(arguments[1], integers), max_size=3)
    if hint is type(None):
        return st.none()
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    if dataclasses.is_dataclass(hint):
        return instances(hint)
    return {bool: st.booleans(), int: integers, str: TEXT, float: FLOAT, bytes: st.binary(max_size=20)}[hint]


def instances(cls: Any) -> st.SearchStrategy[Any]:
    """Return objects of a dataclass."""
    return st.deferred(
        lambda: st.builds(
            cls,
            **{
                field.name: strategy(field.type, INT if is_32_bit(cls, field.name) else LONG)
                for field in persisted_fields(cls)
            },
        )
    )


def log_entries(event: Any) -> st.SearchStrategy[LogEntry]:
    """Return entries of the log that hold an event of a class."""
    return st.builds(LogEntry, TEXT, LONG, LONG, LONG, instances(Cause), instances(event))


@st.composite
def wf_runs(draw: st.DrawFn) -> WfRun:
    """Return WfRuns with the thread 0 that gives them their status."""
    run: WfRun = draw(instances(WfRun))
    if run.wf_spec is not None:
        run.threads[0] = draw(instances(model.ThreadRun))
    return run


def records(name: str) -> st.SearchStrategy[Any]:
    """Return records of a name that stands alone on a topic."""
    if name in EVENTS:
        return log_entries(EVENTS[name])
    return wf_runs() if name == WfRun.__name__ else instances(RECORDS[name])


ALL_NAMES = sorted({**RECORDS, **EVENTS})
ANY_RECORD: st.SearchStrategy[Any] = st.sampled_from(ALL_NAMES).flatmap(records)


def filled(hint: Any, value: str, field_name: str = "", *, inside: frozenset[type] = frozenset()) -> Any:
    """Return one object of a type hint with every field set: each Value, message and bytes is or has `value`.

    A class inside itself, such as the cause of a Failure, is left out.
    """
    hint = evaluated(hint)
    if is_value(hint):
        return value
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        branches = [branch for branch in map(evaluated, arguments) if branch is not type(None) and branch not in inside]
        return filled(branches[0], value, field_name, inside=inside) if branches else None
    if origin is list:
        return [filled(arguments[0], value, field_name, inside=inside)]
    if origin is dict:
        return {"key": filled(arguments[1], value, field_name, inside=inside)}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return next(iter(hint))
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return hint(
            **{
                field.name: filled(field.type, value, field.name, inside=inside | {hint})
                for field in persisted_fields(hint)
            }
        )
    text = value if field_name == "message" else field_name
    return {bool: True, int: 1, float: 1.0, str: text, bytes: value.encode()}[hint]


def with_values(told: Any, hint: Any, value: str, field_name: str = "") -> Any:
    """Return a copy of an object of a type hint with `value` in the place of each Value and message of a failure."""
    hint = evaluated(hint)
    if told is None:
        return None
    if is_value(hint):
        return value
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        hint = type(told)
    elif origin is list:
        return [with_values(it, arguments[0], value, field_name) for it in told]
    elif origin is dict:
        return {key: with_values(it, arguments[1], value, field_name) for key, it in told.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        parts = {
            it.name: with_values(getattr(told, it.name), it.type, value, f"{hint.__name__}.{it.name}")
            for it in dataclasses.fields(hint)
        }
        return dataclasses.replace(told, **parts)
    return value if field_name == "Failure.message" else told


def comparable(record: Any) -> Any:
    """Return what must be the same before and after: a WfRun has no equality of its own, and holds other rows."""
    if isinstance(record, WfRun):
        return {field.name: getattr(record, field.name) for field in persisted_fields(WfRun)}
    return record


def plain(value: Any, schema: Any, tagged: bool) -> Any:
    """Return a record as other Avro libraries have it: dicts; if tagged, with the branch of a union beside it."""
    match schema:
        case list():
            branch = next(branch for branch in schema if takes(branch, value))
            inner = plain(value, branch, tagged)
            return (branch, inner) if tagged and isinstance(branch, str) and branch.startswith("halter.") else inner
        case {"type": "array", "items": items}:
            return [plain(item, items, tagged) for item in value]
        case {"type": "map", "values": inner_schema}:
            return {key: plain(item, inner_schema, tagged) for key, item in value.items()}
        case "halter.Json":
            return {"json": values.to_json(value)}
        case str() if schema.startswith("halter.") and SCHEMAS.names[schema]["type"] == "record":
            definition = SCHEMAS.names[schema]
            return {
                field["name"]: plain(getattr(value, field["name"]), field["type"], tagged)
                for field in definition["fields"]
            }
        case str() if schema.startswith("halter."):
            return value.value
        case _:
            return value


def plain_record(record: Any, *, tagged: bool) -> dict[str, Any]:
    """Return a record that stands alone, as other Avro libraries have it."""
    if not isinstance(record, LogEntry):
        found: dict[str, Any] = plain(record, f"halter.{type(record).__name__}", tagged)
        return found
    fields = SCHEMAS.names[f"halter.{type(record.event).__name__}"]["fields"]
    return {
        field["name"]: plain(
            getattr(record if hasattr(record, field["name"]) else record.event, field["name"]), field["type"], tagged
        )
        for field in fields
    }


PRIMITIVES = {
    type(None): "null", bool: "boolean", int: "long", float: "double", str: "string", bytes: "bytes",
    dict: "halter.Json", list: "halter.Json",
}  # fmt: skip


def takes(branch: Any, value: Any) -> bool:
    """Return True if a branch of a union is the one for a value."""
    if isinstance(branch, dict):
        return isinstance(value, {"array": list, "map": dict}.get(branch["type"], int))
    if branch.startswith("halter.") and branch != "halter.Json":
        return type(value).__name__ == branch.rpartition(".")[2]
    return PRIMITIVES.get(type(value)) == branch or (branch == "int" and type(value) is int)


def without_logical_types(schema: Any) -> Any:
    """Return the schema with plain longs for times: no library's date has the range of a long."""
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    if isinstance(schema, dict):
        return {
            key: without_logical_types(inner) if key in ("type", "items", "values", "fields") else inner
            for key, inner in schema.items()
            if key != "logicalType"
        }
    return schema
