"""Makes plain JSON data of records. What JSON cannot hold gets a form that says what it is."""

import base64
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final, get_args

from halter.show.times import iso
from processors.core.records.model import HaltReason
from processors.core.records.values import Timestamp, iso_of

_NAMED: Final = get_args(HaltReason)


def plain(value: Any, *, times: bool = True) -> Any:
    """A value as JSON data: dataclasses as objects, enums as text, bytes as {"base64": …}, halt reasons with a name.

    Times are ISO 8601, also those that a record keeps in milliseconds: they lose the `_ms` of their names. Without
    `times` these are left out.
    """
    match value:
        case Timestamp():
            return iso_of(value)
        case Enum():
            return value.value
        case bytes():
            return {"base64": base64.b64encode(value).decode()}
        case dict():
            return {str(key): plain(item, times=times) for key, item in value.items()}
        case list() | tuple():
            return [plain(item, times=times) for item in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            named = {"reason": type(value).__name__} if isinstance(value, _NAMED) else {}
            told = dict(named)
            for field in fields(value):
                if times or not field.name.endswith("_ms"):
                    told |= plain_field(field.name, getattr(value, field.name), times=times)
            return told
        case _:
            return value


def plain_field(name: str, value: Any, *, times: bool = True) -> dict[str, Any]:
    """A field of a record as JSON data. Every field whose name ends in `_ms` is a time."""
    if name.endswith("_ms"):
        return {name.removesuffix("_ms"): None if value is None else iso(value)}
    return {name: plain(value, times=times)}
