"""Checks of what a node's expressions give, where the type alone does not say what is expected."""

from typing import Final

from processors.core.records.values import Value, ValueProblem, describe, kind_of

DURATION_S_MAX: Final = 1_000 * 366 * 24 * 3600
"""A thousand years: longer times are a mistake, and the sum with a date still fits everywhere."""


def seconds_ms(value: Value, field: str) -> int:
    """Return a number of seconds as milliseconds; raises ValueProblem for other things (rule durations-are-bounded)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= DURATION_S_MAX:
        expected = f"{field}: expected a number of seconds from 0 to {DURATION_S_MAX}, found"
        raise ValueProblem(f"{expected} {describe(value)}", f"{expected} {kind_of(value)}")
    return round(value * 1000)


def list_of(value: Value, field: str) -> list[Value]:
    """Return the value if it is a list; raises ValueProblem."""
    if not isinstance(value, list):
        expected = f"{field}: expected JSON_ARR, found"
        raise ValueProblem(f"{expected} {describe(value)}", f"{expected} {kind_of(value)}")
    return value
