"""The values that a Variable, a payload or an output may hold, and how a value becomes one of another type.

Values are plain Python: None, bool, int (64 bit), float, str, bytes, Timestamp, and for JSON dict and list.
They are shared between events and state and never changed in place: a mutation builds a new one.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
TIME_MS_MAX: Final = 253_402_300_799_999
"""The latest time that a record may have: the end of the year 9999. A deadline a thousand years later still fits."""
VALUE_BYTES_MAX: Final = 256 * 1024
"""The largest computed STR, BYTES or JSON value: without a bound, a loop of ADD or EXTEND could grow without end."""
TOTAL_BYTES_MAX: Final = 1024 * 1024
"""The most bytes of all values of one thread, or of all inputs of one task: they are one record."""
PROGRESS_BYTES_MAX: Final = 16 * 1024
"""The largest progress of a task attempt: the next request repeats it, and a task worker may report it each second."""
VALUE_DEPTH_MAX: Final = 100
"""The most levels of JSON: far below what Python's recursion takes, so nothing depends on the caller's stack."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A point in time, in milliseconds since 1970-01-01T00:00:00Z."""

    epoch_ms: int

    def __reduce__(self) -> "tuple[type[Timestamp], tuple[int]]":
        # Copies are pickled, and a compiled class that is frozen cannot be filled in afterwards.
        return Timestamp, (self.epoch_ms,)


Value: TypeAlias = "bool | int | float | str | bytes | Timestamp | dict[str, Value] | list[Value] | None"


class VariableType(StrEnum):
    """The declared type of a Variable, a payload or a return value."""

    INT = "INT"
    DOUBLE = "DOUBLE"
    BOOL = "BOOL"
    STR = "STR"
    BYTES = "BYTES"
    JSON_OBJ = "JSON_OBJ"
    JSON_ARR = "JSON_ARR"
    TIMESTAMP = "TIMESTAMP"


class ValueProblem(Exception):
    """A value cannot be computed or does not fit; the rule at hand turns it into a failure or a rejection.

    `unquoted` says the same without the values: for sentences about masked Variables.
    """

    def __init__(self, sentence: str, unquoted: str = "the value cannot be computed, or does not fit") -> None:
        super().__init__(sentence)
        self.unquoted = unquoted


class TellableProblem(ValueProblem):
    """A ValueProblem whose sentence has no value in it."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, sentence)


class TooMuchWork(TellableProblem):
    """A command computes more than it may. Everything that it computes from now on raises this at once."""

    def __init__(self) -> None:
        super().__init__("more steps of computing than a command may take")


_PYTHON_TYPES: Final[dict[VariableType, type]] = {
    VariableType.INT: int,
    VariableType.DOUBLE: float,
    VariableType.BOOL: bool,
    VariableType.STR: str,
    VariableType.BYTES: bytes,
    VariableType.JSON_OBJ: dict,
    VariableType.JSON_ARR: list,
    VariableType.TIMESTAMP: Timestamp,
}
TYPE_NAMES: Final[dict[type, VariableType]] = {python: name for name, python in _PYTHON_TYPES.items()}


def type_of(value: Value) -> VariableType | None:
    """Return the type that a value has by itself; None for null."""
    return None if value is None else TYPE_NAMES[type(value)]


def describe(value: Value) -> str:
    """Return a value in the words of an error sentence: its type and, cut short, its text."""
    if value is None:
        return "null"
    text = to_text(value)
    return f"{type_of(value)} {text if len(text) <= 60 else text[:57] + '...'}"


def kind_of(value: Value) -> str:
    """Return the type of a value, for an error sentence that must not show the value."""
    return "null" if value is None else str(type_of(value))


# (rule int-has-64-bits)
def checked_int(value: int) -> int:
    """Return the number itself if it fits in 64 bits; raises ValueProblem otherwise."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise ValueProblem(f"{value} does not fit into a 64-bit INT")


def is_number(value: int | float) -> bool:  # noqa: PYI041  compiled, a `float` would be made of every int
    """Return True if a number can be an INT or a DOUBLE: whole numbers fit in 64 bits, others are finite."""
    return math.isfinite(value) if type(value) is float else INT_MIN <= value <= INT_MAX


# (rule double-is-finite)
def fits(value: Value, declared: VariableType | None) -> bool:
    """Return True if a payload may be stored as the declared type as it stands: null always, INT also as DOUBLE.

    A DOUBLE that is no number (Avro has NaN and infinities) fits nowhere: nothing computes with it, and JSON has none.
    """
    actual = type(value)
    if actual is float and not math.isfinite(value):  # type: ignore[arg-type]
        return False
    if value is None or declared is None:
        return True
    return actual is _PYTHON_TYPES[declared] or (declared is VariableType.DOUBLE and actual is int)


# (rule int-comes-as-double)
def stored(value: Value, declared: VariableType | None) -> Value:
    """Return the payload as the declared type stores it; raises ValueProblem if it does not fit."""
    if not fits(value, declared):
        expected = f"expected {declared or 'a value'}, found"
        raise ValueProblem(f"{expected} {describe(value)}", f"{expected} {kind_of(value)}")
    if declared is VariableType.DOUBLE and type(value) is int:
        return float(value)
    return value


# (rule mutation-keeps-the-type)
def assigned(value: Value, declared: VariableType) -> Value:
    """Return the value as an assignment stores it: as `stored` does, but anything primitive may become STR."""
    if declared is VariableType.STR and value is not None and not isinstance(value, dict | list | bytes | str):
        return to_text(value)
    return stored(value, declared)


def to_text(value: Value) -> str:
    """Return the text of a value, as casts to STR and formats have it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case bytes():
            return value.hex()
        case Timestamp():
            return iso_of(value)
        case float():
            return repr(value)
        case int():
            return str(value)
        case _:
            return to_json(value)


def to_json(value: Value) -> str:
    """Return the JSON text of a value, the same for the same value; raises ValueProblem for what JSON cannot hold."""
    try:
        return _TO_JSON(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueProblem(f"not a JSON value: {exc}") from exc


# (rule value-size-bounded)
def bounded(value: Value) -> Value:
    """Return the value itself if it is within VALUE_BYTES_MAX and VALUE_DEPTH_MAX; raises ValueProblem otherwise.

    The size is that of `size_of`.
    """
    weighed(value)
    return value


CHARACTERS_PER_STEP: Final = 64
"""The number of characters of text that take as much time as one item of JSON."""


def weighed(value: Value) -> int:
    """Return the steps of computing that it takes to go through a value; raises ValueProblem as `bounded` does."""
    match value:
        case str():
            size = len(value)
            # At most four bytes for a character: short text needs no second look.
            if size * 4 > VALUE_BYTES_MAX and len(value.encode(errors="surrogatepass")) > VALUE_BYTES_MAX:
                raise TellableProblem(f"{size} characters of STR are more than {VALUE_BYTES_MAX} bytes")
            return size // CHARACTERS_PER_STEP
        case bytes():
            if len(value) > VALUE_BYTES_MAX:
                raise TellableProblem(f"{len(value)} bytes are more than {VALUE_BYTES_MAX}")
            return len(value) // CHARACTERS_PER_STEP
        case dict() | list():
            return _weighed_json(value)
        case _:
            return 0


def _weighed_json(value: Value) -> int:
    left, count = VALUE_BYTES_MAX, 0
    for items in _levels(value, VALUE_BYTES_MAX):
        count += len(items)
        for item in items:
            left -= len(item.encode(errors="surrogatepass")) if isinstance(item, str) else 1
            if left < 0:
                raise _too_large(value)
    # Only now is its text made: what is shared inside a value would be written as often as it is shared.
    if size_of(value) > VALUE_BYTES_MAX:
        raise _too_large(value)
    return count


def _too_large(value: Value) -> ValueProblem:
    return TellableProblem(f"{type_of(value)} of more than {VALUE_BYTES_MAX} bytes")


_SMALL: Final = frozenset({type(None), bool, int, float, Timestamp})


def size_of(value: Value) -> int:
    """Return the bytes that a value takes in a record: those of a text or of BYTES, and about 8 for anything else.

    JSON is measured as it is written: an escape takes six bytes, and a DOUBLE up to twenty-four.
    """
    if type(value) in _SMALL:  # nearly all values are, and every event asks
        return 8
    match value:
        case str():
            return _utf8_length(value)
        case bytes():
            return len(value)
        case dict() | list():
            return _utf8_length(to_json(value))
        case _:
            return 8


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


# (rule thread-values-bounded)
def check_total(values: Iterable[Value], what: str) -> None:
    """Check the values that one record holds; raises ValueProblem if they take more than TOTAL_BYTES_MAX together."""
    total = 0
    for value in values:
        total += size_of(value)
    if total > TOTAL_BYTES_MAX:
        raise TellableProblem(f"{what}: {total} bytes are more than {TOTAL_BYTES_MAX}")


def _levels(value: Value, items_max: int | None = None) -> Iterator[list[Value]]:
    """Yield the contents of JSON level by level, keys included; raises ValueProblem beyond VALUE_DEPTH_MAX levels.

    Raises it also as soon as a level has more than `items_max` items: what is shared inside a value exists once in
    memory and may be counted a billion times.
    """
    containers = [value] if isinstance(value, dict | list) else []
    for _ in range(VALUE_DEPTH_MAX):
        if not containers:
            return
        items: list[Value] = []
        for container in containers:
            items.extend(container)
            if isinstance(container, dict):
                items.extend(container.values())
            if items_max is not None and len(items) > items_max:
                raise _too_large(value)
        yield items
        containers = [item for item in items if isinstance(item, dict | list)]
    if containers:
        raise TellableProblem(f"JSON that nests more than {VALUE_DEPTH_MAX} deep")


def _json_int(text: str) -> int:
    # int() of a huge literal is quadratic and refused by Python past 4,300 digits: look at the length first.
    if len(text) > 20:
        raise ValueError(f"{text[:20]}… does not fit into 64 bits")
    try:
        return checked_int(int(text))
    except ValueProblem as exc:
        raise ValueError(str(exc)) from exc


def _json_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is beyond what a DOUBLE holds")
    return value


def _json_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


# Made once: `json.dumps` and `json.loads` would make a coder per call, which costs more than most values.
_TO_JSON: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_FROM_JSON: Final = json.JSONDecoder(parse_int=_json_int, parse_float=_json_float, parse_constant=_json_constant).decode


def from_json(text: str) -> Value:
    """Parse JSON text; raises ValueProblem for bad JSON, NaN, numbers beyond 64 bits and endless nesting."""
    try:
        value: Value = _FROM_JSON(text)
        if "\\u" in text:
            # Half of a surrogate pair can be written in JSON but is not text: no encoding takes it.
            _TO_JSON(value).encode()
    except ValueError as exc:
        raise ValueProblem(f"not JSON: {exc}") from exc
    except RecursionError as exc:
        # The sentence is that of `_levels`, because Python's limit depends on the caller's stack.
        raise TellableProblem(f"JSON that nests more than {VALUE_DEPTH_MAX} deep") from exc
    if text.count("[") + text.count("{") > VALUE_DEPTH_MAX:
        for _ in _levels(value):
            pass
    return value


def iso_of(value: Timestamp) -> str:
    """Return ISO 8601 in UTC with milliseconds; outside the years 1 to 9999, the bare number of milliseconds."""
    try:
        return (
            (_EPOCH + timedelta(milliseconds=value.epoch_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
    except OverflowError:
        return f"{value.epoch_ms}ms"


def timestamp_of(text: str) -> Timestamp:
    """Return the time that an ISO 8601 text says, in UTC if it has no zone; raises ValueProblem."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ValueProblem(f"{text!r} is not an ISO 8601 date") from exc
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Timestamp((moment - _EPOCH) // timedelta(milliseconds=1))


# (rule cast-is-explicit)
def cast(value: Value, target: VariableType) -> Value:
    """Return the value as another type; null stays null. Raises ValueProblem where no sensible value exists."""
    if value is None or type(value) is _PYTHON_TYPES[target]:
        return value
    converter = _CASTS.get((type(value), target))
    if converter is None:
        raise ValueProblem(
            f"{describe(value)} cannot be cast to {target}", f"{kind_of(value)} cannot be cast to {target}"
        )
    return converter(value)


def _float_to_int(value: float) -> int:
    if not math.isfinite(value):
        raise ValueProblem(f"{value} has no INT value")
    return checked_int(int(value))


_INT_TEXT: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DOUBLE_TEXT: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def _text_to_int(value: str) -> int:
    if not _INT_TEXT.fullmatch(value):
        raise ValueProblem(f"{value[:40]!r} is not an INT")
    return checked_int(int(value))


def _text_to_float(value: str) -> float:
    number = float(value) if _DOUBLE_TEXT.fullmatch(value) else math.nan
    if not math.isfinite(number):
        raise ValueProblem(f"{value[:40]!r} is not a DOUBLE")
    return number


def _text_to_bool(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueProblem(f"{value[:40]!r} is not a BOOL: expected true or false")
    return value == "true"


def _text_to_json(value: str, wanted: type) -> Value:
    parsed = from_json(value)
    if type(parsed) is not wanted:
        raise ValueProblem(f"expected JSON {'object' if wanted is dict else 'array'}, found {describe(parsed)}")
    return parsed


_CASTS: Final[dict[tuple[type, VariableType], Callable[..., Value]]] = {
    (int, VariableType.DOUBLE): float,
    (int, VariableType.TIMESTAMP): Timestamp,
    (float, VariableType.INT): _float_to_int,
    (Timestamp, VariableType.INT): lambda value: value.epoch_ms,
    (str, VariableType.INT): _text_to_int,
    (str, VariableType.DOUBLE): _text_to_float,
    (str, VariableType.BOOL): _text_to_bool,
    (str, VariableType.BYTES): lambda value: value.encode(errors="surrogatepass"),
    (str, VariableType.TIMESTAMP): timestamp_of,
    (str, VariableType.JSON_OBJ): lambda value: _text_to_json(value, dict),
    (str, VariableType.JSON_ARR): lambda value: _text_to_json(value, list),
    **{(source, VariableType.STR): to_text for source in (int, float, bool, Timestamp, dict, list)},
}


def castable(source: VariableType, target: VariableType) -> bool:
    """Return True if some value of the one type can be cast to the other."""
    return source is target or (_PYTHON_TYPES[source], target) in _CASTS
