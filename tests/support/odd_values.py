"""Values that Python programs may pass: some that no record can hold, and some that look odd and are values."""

import datetime as dt
import decimal
from collections import OrderedDict, namedtuple
from enum import IntEnum, StrEnum
from typing import Any

from processors.core.records.values import VALUE_BYTES_MAX, Timestamp


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Odd:
    """A class of a user."""


Point = namedtuple("Point", "x y")  # noqa: PYI024  users have these


def nested(depth: int) -> Any:
    value: Any = 1
    for number in range(depth):
        value = [value] if number % 2 else {"k": value}
    return value


def circle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def laughing(layers: int) -> Any:
    value: Any = ["ha"]
    for _ in range(layers):
        value = [value] * 10
    return value


SHARED = "x" * 10_000
AWARE = dt.datetime(2026, 1, 1, 1, 0, 0, 999, tzinfo=dt.timezone(dt.timedelta(hours=1)))
NAIVE = dt.datetime(2026, 1, 1)  # noqa: DTZ001  a naive datetime is the mistake here
BAD_SCALARS: list[Any] = [
    2**63, -(2**63) - 1, 10**5_000, float("nan"), float("inf"), float("-inf"), "\ud800", "a\udfff", {1, 2},
    frozenset(), object(), Odd(), decimal.Decimal(1), 1j, NAIVE, dt.date(2026, 1, 1),
    dt.timedelta(1), bytearray(b"x"), memoryview(b"x"), Odd,
    range(3), iter([1]), len, Ellipsis, NotImplemented,
]  # fmt: skip
"""Values that are none, alone or in JSON."""
BAD_VALUES: list[Any] = [
    *BAD_SCALARS,
    *([it] for it in BAD_SCALARS),
    *({"k": {"l": [0, it]}} for it in BAD_SCALARS),
    [AWARE], {"k": AWARE},
    [b"x"], {"k": Timestamp(0)}, {1: 2}, {None: 1}, {b"k": 1}, {"\ud800": 1}, [{(): 1}], (1, 2), Point(1, 2), Level.LOW,
    Colour.RED, OrderedDict(k=1), Timestamp("x"), Timestamp(2**63), Timestamp(True), Timestamp(1.5), nested(101),  # type: ignore[arg-type]
    nested(5_000), circle(), laughing(12), [SHARED] * 10_000, "x" * (VALUE_BYTES_MAX + 1), b"x" * (VALUE_BYTES_MAX + 1),
    ["é" * VALUE_BYTES_MAX],
]  # fmt: skip
GOOD_VALUES: list[Any] = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 0.0, -0.0, 1e308, 5e-324, "", "text", "\x00", "é🦊", b"", b"\xff",
    Timestamp(0), Timestamp(-(2**63)), [], {}, [1, 2.5, None, True, "x"], {"k": [{"l": 1}]}, nested(100), [Level.LOW],
    {"k": Colour.RED}, [(1, 2)], [Point(1, 2)], [OrderedDict(k=1)], [2**63 - 1, -(2**63)], "x" * 200_000,
]  # fmt: skip
"""Values that the engine takes. Tuples and enums within JSON are written as the types that they are kinds of."""
