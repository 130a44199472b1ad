"""Bounds of a look into the view, and ways to look that stay within them.

No question reads more than `LOOKED_AT` rows for a page, whatever is asked and however large the view is. Each function
here leaps or walks along an index. Knows no table.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, literal, literal_column, select, true

from halter.view.paging import Count, count_up_to, cursor

LOOKED_AT: Final = 5_000
"""Most rows that a page is looked for in."""
COUNTED: Final = 10_000
"""Where counting ends: beyond, a number is `10,000+`."""
VALUES_MAX: Final = 200
"""Most different values of a column that are counted."""
TRUE: Final = true()
ONE: Final[ColumnElement[int]] = literal_column("1")
"""Written into the query: an index of some rows only is not used for a value that comes later."""
Condition: TypeAlias = ColumnElement[bool]


def different_values(connection: Connection, column: ColumnElement[Any], where: Condition = TRUE) -> list[str]:
    """Return the different values of a column, ascending. An index leaps from one to the next."""
    values: list[str] = []
    last: str | None = None
    while len(values) < VALUES_MAX:
        above = column.is_not(None) if last is None else column > last
        last = connection.scalar(select(column).where(where, above).order_by(column).limit(1))
        if last is None:
            break
        values.append(last)
    return values


def counted_by_value(connection: Connection, column: ColumnElement[Any], at_most: int) -> dict[str, Count]:
    """Return how many rows have each value of a column, up to a bound."""
    return {
        it: count_up_to(connection, select(literal(1)).where(column == it), at_most)
        for it in different_values(connection, column)
    }


Rest: TypeAlias = tuple[str, str | int]
"""A column, and the value that it has to have."""


AT_LEAST_ONE: Final = -1


def walked_page(
    connection: Connection, query: Select[Any], rest: Sequence[Rest], names: Sequence[str], limit: int
) -> tuple[Sequence[RowMapping], str | None]:
    """Return a page of a query that an index sorts, of rows that have the rest, and where the next one begins."""
    most = LOOKED_AT if rest else limit + 1
    walked = query.limit(most).subquery("walked")
    order = [walked.c[name].desc() for name in names]
    has = [walked.c[name] > 0 if value == AT_LEAST_ONE else walked.c[name] == value for name, value in rest]
    rows = connection.execute(select(walked).where(*has).order_by(*order).limit(limit + 1)).mappings().all()
    last: RowMapping | None = rows[limit - 1] if len(rows) > limit else None
    if last is None and rest:
        last = connection.execute(select(walked).order_by(*order).offset(most - 1).limit(1)).mappings().first()
    return rows[:limit], None if last is None else cursor([last[name] for name in names])
