"""JSON Schemas of Python types: of dataclasses, TypedDicts and what they are made of. For the OpenAPI document."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final, Union, get_args, get_origin, get_type_hints, is_typeddict

Schema = dict[str, Any]
PLAIN: Final[Mapping[object, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
    object: {},
}


def schema_of(kind: Any, parts: dict[str, Schema]) -> Schema:
    """Return the schema of a type. That of a class goes into `parts` under its name, and is referred to."""
    if kind in PLAIN:
        return dict(PLAIN[kind])
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(it, parts) for it in arguments]}
    if origin in (list, tuple, Sequence):
        return {"type": "array", "items": schema_of(arguments[0], parts)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1], parts)}
    if kind in (dict, Mapping):
        return {"type": "object"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"type": "string", "enum": [str(it.value) for it in kind]}
    assert is_dataclass(kind) or is_typeddict(kind), f"no JSON is known for {kind}"
    name = kind.__name__
    if name not in parts:
        parts[name] = {}  # it may refer to itself
        parts[name] = _object(kind, parts)
    return {"$ref": f"#/components/schemas/{name}"}


def _object(kind: Any, parts: dict[str, Schema]) -> Schema:
    hints = get_type_hints(kind)
    if is_dataclass(kind):
        required = [it.name for it in fields(kind)]
        hints = {name: hints[name] for name in required}
    else:
        required = sorted(kind.__required_keys__)
    text = (kind.__doc__ or "").strip().split("\n\n")[0]
    return {
        "type": "object",
        "description": " ".join(text.split()),
        "properties": {name: schema_of(hint, parts) for name, hint in hints.items()},
        "required": sorted(required),
        "additionalProperties": False,
    }
