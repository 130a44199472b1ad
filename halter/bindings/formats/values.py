"""Turns what libraries read into Values: what JSON has no form for becomes text."""

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

from halter.bindings.formats.problems import Undecodable
from processors.core.records.values import INT_MAX, INT_MIN, VALUE_DEPTH_MAX, Value


def plain(value: object, depth: int = 0) -> Value:
    """Return the Value that a library's object stands for. Raises Undecodable for one that nests too deep."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if INT_MIN <= value <= INT_MAX else str(value)
        case float():
            return value if math.isfinite(value) else named(value)
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case Mapping() | list() | tuple():
            if depth >= VALUE_DEPTH_MAX:
                raise Undecodable(f"expected a value of at most {VALUE_DEPTH_MAX} levels, found more")
            if isinstance(value, Mapping):
                return {str(name): plain(item, depth + 1) for name, item in value.items()}
            return [plain(item, depth + 1) for item in value]
        case datetime() | date() | time():
            return value.isoformat().replace("+00:00", "Z")
        case Decimal() | UUID():
            return str(value)
        case _:
            raise Undecodable(f"expected a value that JSON can hold, found {type(value).__name__}")


def named(number: float) -> str:
    """Return the name of a number that is none, as JSON of Protobuf has it."""
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
