"""Records as plain JSON data, for --json and for eyes: what is not JSON gets a form that says what it is."""

import base64
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final, get_args

from processors.core.model import HaltReason
from processors.core.values import Timestamp, iso_of

_NAMED: Final = get_args(HaltReason)


def plain(value: Any) -> Any:
    """Dataclasses as objects, enums as text, bytes as {"base64": …}, times as ISO 8601; a halt reason has its name."""
    match value:
        case Timestamp():
            return iso_of(value)
        case Enum():
            return value.value
        case bytes():
            return {"base64": base64.b64encode(value).decode()}
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            named = {"reason": type(value).__name__} if isinstance(value, _NAMED) else {}
            return {**named, **{field.name: plain(getattr(value, field.name)) for field in fields(value)}}
        case _:
            return value
