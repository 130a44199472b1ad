"""Pages of a list: where the next one begins, as a text that a URL and an option can have.

A page begins behind the last row of the one before (keyset), not at a number of rows: so the thousandth page costs
what the first does, and rows that come or go meanwhile move nothing. Also counts rows up to a bound. Knows no table.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

from sqlalchemy import Connection, Select, func, select

from processors.core.records.errors import HalterError

Line = TypeVar("Line")
Place: TypeAlias = tuple[int | str, ...]
"""The values of the columns by which a list is sorted, in one of its rows."""
LIMIT: Final = 50
"""Rows of a page, if nobody says how many."""
LIMIT_MAX: Final = 1_000
"""Most rows of a page."""
CURSOR_MAX: Final = 2_000
"""Most characters of a cursor that is read."""


class BadCursor(HalterError):
    """A text does not say where a page begins. Whoever has it begins with the first page."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Line]):
    """Some rows of a list."""

    lines: Sequence[Line]
    after: str | None
    """Where the next page begins, None behind the last row. A page may have fewer rows than were asked for and a next
    one all the same: then looking for more would have taken too long.
    """

    @property
    def is_nothing(self) -> bool:
        """True if there is no row here, and none behind it."""
        return not self.lines and self.after is None


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows there are, or at least."""

    number: int
    is_exact: bool

    def __str__(self) -> str:
        """Return it as people read it: `1,234`, or `10,000+`."""
        return f"{self.number:,}{'' if self.is_exact else '+'}"

    def of(self, what: str) -> str:
        """Return it as a number of things: `1 WfRun`, `10,000+ WfRuns`."""
        return f"{self} {self.noun(what)}"

    def noun(self, what: str) -> str:
        """Return the word for so many things."""
        return what if self.number == 1 and self.is_exact else f"{what}s"


def counted_up_to(connection: Connection, rows: Select[Any], most: int) -> int:
    """Return how many rows there are, up to a bound and one more."""
    return connection.scalar(select(func.count()).select_from(rows.limit(most + 1).subquery())) or 0


def count_up_to(connection: Connection, rows: Select[Any], most: int) -> Count:
    """Return how many rows there are, up to a bound."""
    found = counted_up_to(connection, rows, most)
    return Count(min(found, most), is_exact=found <= most)


def cursor(place: Sequence[int | str]) -> str:
    """Return the text for a place."""
    data = json.dumps(list(place), ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def place_of(text: str, kinds: Sequence[type]) -> Place:
    """Return the place that a cursor names. `kinds`: int or str for each of its values. Raises BadCursor."""
    if len(text) > CURSOR_MAX:
        raise _bad(text)
    try:
        found: Any = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        raise _bad(text) from None
    if not isinstance(found, list) or [type(it) for it in found] != list(kinds):
        raise _bad(text)
    if not all(_can_be_asked(it) for it in found):
        raise _bad(text)
    return tuple(found)


def _can_be_asked(value: int | str) -> bool:
    """Return True for a value that each database takes: 64 bits, or a text of whole characters without NUL."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return "\0" not in value and not any("\ud800" <= it <= "\udfff" for it in value)


def _bad(text: str) -> BadCursor:
    return BadCursor(
        f"after: expected a place that an earlier page of the same list gave, found '{text[:40]}': begin with "
        "the first page"
    )


def limit_of(limit: int) -> int:
    """Return a number of rows that a page may have."""
    return max(1, min(limit, LIMIT_MAX))
