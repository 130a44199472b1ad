"""Checks any Python object as a value, and JSON that somebody typed, before a record is made of it.

Whoever sends a record asks here first: a record that no worker can take would be a dead letter. The errors name the
place of the trouble, and never quote a value.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from processors.core.records.values import (
    INT_MAX,
    INT_MIN,
    TYPE_NAMES,
    VALUE_BYTES_MAX,
    VALUE_DEPTH_MAX,
    TellableProblem,
    Timestamp,
    Value,
)


class UnfitValue(TellableProblem):
    """No record can hold a value. `path` is the place of the trouble, `reason` names it without the value."""

    def __init__(self, what: str, path: tuple[object, ...], reason: str) -> None:
        super().__init__(f"{what}{_path_text(path)}: {reason}")
        self.path, self.reason = path, reason


class OversizedValue(UnfitValue):
    """Values are larger than a record may be."""


class TooDeepValue(UnfitValue):
    """JSON nests deeper than it may."""


PATH_STEPS_SHOWN_MAX: Final = 8
KEY_LENGTH_SHOWN_MAX: Final = 40


def _path_text(path: tuple[object, ...]) -> str:
    steps = [f"[{_short_key(step) if isinstance(step, str) else step}]" for step in path[:PATH_STEPS_SHOWN_MAX]]
    return "".join(steps) + ("…" if len(path) > PATH_STEPS_SHOWN_MAX else "")


def _short_key(key: str) -> str:
    return repr(key if len(key) <= KEY_LENGTH_SHOWN_MAX else key[: KEY_LENGTH_SHOWN_MAX - 1] + "…")


def check_value(value: object, what: str, room: int = VALUE_BYTES_MAX, depth_max: int = VALUE_DEPTH_MAX) -> int:
    """Check any Python object as a value; raises UnfitValue if no record can hold it. Returns the room that is left.

    Whoever sends a record asks first: the record would be a dead letter. `room` is the number of bytes that are left
    for the value. Its size is estimated from below, as written: what is shared inside a value counts each time.
    """
    if not isinstance(value, dict | list):
        problem = _top_problem(value)
        if problem is not None:
            raise UnfitValue(what, (), problem)
        return _room_left(room - (len(value) if isinstance(value, str | bytes) else 1), what)
    if type(value) not in TYPE_NAMES:
        raise UnfitValue(what, (), f"expected {_VALUES_IN_WORDS}, found {_named(value)}")
    containers: list[object] = [value]
    # For each container: the one it is in, its key or index there, and how deep it is.
    around: list[tuple[int, object, int]] = [(-1, None, 1)]
    for number, container in enumerate(containers):  # which grows while it is gone through
        depth = around[number][2]
        if depth > depth_max:
            raise TooDeepValue(what, (), f"expected JSON of at most {depth_max} levels, found more")
        if isinstance(container, dict):
            for key in container:
                problem = (
                    _scalar_problem(key, _KEYS_IN_WORDS)
                    if isinstance(key, str)
                    else f"expected {_KEYS_IN_WORDS}, found a key that is {_named(key)}"
                )
                if problem is not None:
                    raise UnfitValue(what, _path(around, number), problem)
                room -= len(key)
        for step, item in _items(container):
            if isinstance(item, _CONTAINERS):
                containers.append(item)
                around.append((number, step, depth + 1))
            else:
                problem = _scalar_problem(item, _JSON_IN_WORDS)
                if problem is not None:
                    raise UnfitValue(what, (*_path(around, number), step), problem)
                if isinstance(item, str):
                    room -= len(item)
            room -= 1
            if room < 0:
                _room_left(room, what)
    return room


def check_text(value: object, what: str) -> None:
    """Check any Python object as a text; raises UnfitValue for what is no text, or no text that can be written."""
    if type(value) is str and value.isascii():
        return
    problem = _scalar_problem(value, "text") if isinstance(value, str) else f"expected text, found {_named(value)}"
    if problem is not None:
        raise UnfitValue(what, (), problem)


_CONTAINERS: Final = (dict, list, tuple)
_VALUES_IN_WORDS: Final = "None, a bool, an int, a float, text, bytes, a Timestamp, a dict or a list"
_KEYS_IN_WORDS: Final = "keys that are text"
_JSON_IN_WORDS: Final = "null, true or false, a number of 64 bits, text, an object or a list"


@dataclass(frozen=True, slots=True)
class _NoNumber:
    """A stand-in for a number in a JSON text that no value can be."""

    problem: str


def _top_problem(value: object) -> str | None:
    if isinstance(value, _NoNumber):
        return value.problem
    if value is not None and type(value) not in TYPE_NAMES:
        return f"expected {_VALUES_IN_WORDS}, found {_named(value)}"
    if isinstance(value, bytes):
        return None
    if isinstance(value, Timestamp):
        # Only where the core is compiled has its annotation seen to it.
        milliseconds: object = value.epoch_ms
        if type(milliseconds) is not int:
            return f"expected a Timestamp of whole milliseconds, found {_named(milliseconds)}"
        return _int_problem(milliseconds, "a Timestamp of milliseconds")
    return _scalar_problem(value, _VALUES_IN_WORDS)


def _scalar_problem(value: object, expected: str) -> str | None:
    """Return what is wrong with a scalar of JSON, without its value; None if nothing is."""
    # What nearly all are is asked first: who posts many events asks it of each of their values.
    if type(value) is str:
        if value.isascii():
            return None
    elif type(value) is int and INT_MIN <= value <= INT_MAX:
        return None
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return _int_problem(value, "a whole number")
    if isinstance(value, float):
        if math.isfinite(value):
            return None
        name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return f"expected a finite number, found {name}"
    if isinstance(value, _NoNumber):
        return value.problem
    if not isinstance(value, str):
        return f"expected {expected}, found {_named(value)}"
    if value.isascii():
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"expected {expected}, found half of a surrogate pair"
    return None


def _int_problem(value: int, expected: str) -> str | None:
    if INT_MIN <= value <= INT_MAX:
        return None
    bits = (value if value >= 0 else ~value).bit_length() + 1
    return f"expected {expected} of at most 64 bits, found one of {bits}"


def _named(value: object) -> str:
    return "None" if value is None else f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _items(container: object) -> Iterable[tuple[object, object]]:
    if isinstance(container, dict):
        return container.items()
    return enumerate(container) if isinstance(container, list | tuple) else ()


def _path(around: list[tuple[int, object, int]], number: int) -> tuple[object, ...]:
    """Return the place of a container in the one that is around all of them."""
    steps: list[object] = []
    while number > 0:
        above, step, _ = around[number]
        steps.append(step)
        number = above
    return tuple(reversed(steps))


def _room_left(room: int, what: str) -> int:
    if room < 0:
        raise OversizedValue(what, (), f"expected at most {VALUE_BYTES_MAX} bytes, found more")
    return room


DIGITS_READ_MAX: Final = 1_000
"""The most digits of a whole number that are read: Python takes long over more, and no value has as many."""


class NotJson(TellableProblem):
    """A text is no JSON at all, not even JSON that is out of bounds. `position`: where in it that shows, from 0."""

    def __init__(self, position: int) -> None:
        super().__init__("not JSON")
        self.position = position


def typed_json(text: str, what: str) -> Value:
    """Return the value of JSON that somebody typed; raises NotJson, or UnfitValue for JSON that is no value.

    It is stricter than `from_json`: a key that is there twice is refused, because one of the two would be lost.
    """
    twice: list[str] = []

    def each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    twice.append(key)
                seen.add(key)
        return found

    try:
        value: Value = json.loads(text, object_pairs_hook=each_key_once, parse_int=_any_int, parse_float=_any_float)
    except json.JSONDecodeError as exc:
        raise NotJson(exc.pos) from exc
    except RecursionError as exc:
        raise TooDeepValue(what, (), f"expected JSON of at most {VALUE_DEPTH_MAX} levels, found more") from exc
    if text.strip() in ("NaN", "Infinity", "-Infinity"):
        raise NotJson(0)  # words, which Python's reader takes
    check_value(value, what)
    if twice:
        raise UnfitValue(what, (), f"expected each key once, found {_short_key(twice[0])} again")
    return value


def _any_int(text: str) -> object:
    if len(text) <= DIGITS_READ_MAX:
        return int(text)
    return _NoNumber(f"expected a whole number of at most 64 bits, found one of {len(text.lstrip('-'))} digits")


def _any_float(text: str) -> object:
    value = float(text)
    return (
        value if math.isfinite(value) else _NoNumber("expected a finite number, found a number too large for a DOUBLE")
    )
