"""JSON inside records: what a `Json` may hold, checked the same way when it is read and when it is written.

What was read must always be writable again, on any later turn: so a text is refused here that Python would parse and
could not write (half a surrogate pair, numbers that become infinite) or could write only from a shallow stack.
"""

import math
from typing import Any, Final

from processors.core.values import Value, ValueProblem, from_json, to_json

DEPTH_MAX: Final = 100
"""Levels of nesting. Far more than people write; far less than what exhausts Python's stack."""


def read_json(text: str) -> Value:
    """The object or array that a JSON text stands for; raises ValueProblem."""
    value = from_json(text)
    if not isinstance(value, dict | list):
        raise ValueProblem(f"expected a JSON object or array, found {text[:40]}")
    check_depth(value, text)
    # Only numbers with an exponent or hundreds of digits overflow, and only escapes make lone surrogates.
    if ("e" in text or "E" in text or "\\u" in text or len(text) > 300) and not is_writable(value):
        raise ValueProblem("expected JSON of finite numbers and whole characters")
    return value


def write_json(value: Value) -> bytes:
    """The JSON text of a dict or list, as UTF-8; raises ValueProblem or UnicodeEncodeError."""
    text = to_json(value)
    check_depth(value, text)
    return text.encode()


def check_depth(value: Value, text: str) -> None:
    """Raise ValueProblem if a value, whose text is given, is nested too deeply."""
    # Brackets in strings count too, so many of them prove nothing; few of them prove that it is shallow.
    if text.count("[") + text.count("{") > DEPTH_MAX and depth_of(value) > DEPTH_MAX:
        raise ValueProblem(f"expected JSON of at most {DEPTH_MAX} levels")


def depth_of(value: Value) -> int:
    """How many objects and arrays are inside one another."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def is_writable(value: Value) -> bool:
    """Whether a parsed value can be written again as it stands."""
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.keys()
            pending += item.values()
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, float):
            if not math.isfinite(item):
                return False
        elif isinstance(item, str) and not item.isascii():
            try:
                item.encode()
            except UnicodeEncodeError:
                return False
    return True
