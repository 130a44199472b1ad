"""Lists of WfRuns: a page of those that a filter means, and how many there are.

Each function reads on the connection that it is given, and what it says is of one moment. None looks at more than
`LOOKED_AT` rows for a page, however large the view is:

- If few WfRuns are meant by one of the filters (an index tells), those are fetched, the other filters are applied, and
  they are sorted.
- Else the index of the order is walked. If it has been walked so far without a full page, the page says where to go on.

Knows the tables. Does not write.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    func,
    literal,
    select,
    true,
    tuple_,
    union_all,
)

from halter.view import looking
from halter.view import tables as t
from halter.view.conditions import Given, conditions_of, expect_searchable
from halter.view.filters import Sort, SortBy, WfRunFilter, checked
from halter.view.looking import COUNTED, TRUE, Condition
from halter.view.paging import LIMIT, Count, Page, Place, count_up_to, counted_up_to, cursor, limit_of, place_of
from halter.view.wf_run_lines import COLUMNS, WfRunLine, lines_of

NEWEST: Final = Sort()
W: Final = t.wf_runs.c


def wf_runs(
    connection: Connection,
    filter: WfRunFilter = WfRunFilter(),  # noqa: A002, B008  a value
    sort: Sort = NEWEST,
    after: str | None = None,
    limit: int = LIMIT,
    *,
    now_ms: int | None = None,
) -> Page[WfRunLine]:
    """Return a page of WfRuns. Raises BadFilter and BadCursor."""
    limit = limit_of(limit)
    asked = _Asked(connection, filter, now_ms)
    order = _Order(sort)
    start = None if after is None else place_of(after, order.kinds)
    rows, more = asked.few(order, start, limit) if asked.are_few else asked.walk(order, start, limit)
    return Page(lines_of(connection, rows), None if more is None else cursor(more))


def count(
    connection: Connection,
    filter: WfRunFilter = WfRunFilter(),  # noqa: A002, B008  a value
    at_most: int = COUNTED,
    *,
    now_ms: int | None = None,
) -> Count:
    """Return how many WfRuns there are, up to a bound; if that takes too long to tell, at least how many."""
    asked = _Asked(connection, filter, now_ms)
    return asked.counted(at_most)


def count_all(connection: Connection, filter: WfRunFilter, *, now_ms: int | None = None) -> int:  # noqa: A002
    """Return how many WfRuns there are, exactly, however long it takes: it looks at so many rows at a time."""
    return _Asked(connection, filter, now_ms).counted_to_the_end()


def manually_halted(connection: Connection, wf_run_ids: Sequence[str]) -> dict[str, list[int]]:
    """Return which threads of WfRuns have the halt reason MANUAL_HALT, ascending. It is not there: none has."""
    c, found = t.halt_reasons.c, dict[str, list[int]]()
    there = select(c.wf_run_id, c.thread).where(c.wf_run_id.in_(wf_run_ids), c.kind == "MANUAL_HALT")
    for wf_run_id, thread in connection.execute(there.order_by(c.wf_run_id, c.thread)):
        found.setdefault(wf_run_id, []).append(thread)
    return found


def wf_run(connection: Connection, wf_run_id: str) -> WfRunLine | None:
    """Return a WfRun; None if the view has none of this id."""
    rows = connection.execute(select(*COLUMNS).where(t.wf_runs.c.wf_run_id == wf_run_id)).mappings().all()
    return next(iter(lines_of(connection, rows)), None)


class _Order:
    """The columns by which a list of WfRuns is sorted."""

    def __init__(self, sort: Sort) -> None:
        self.sort = sort
        by_time = {SortBy.CHANGED: "changed_ms", SortBy.STARTED: "started_ms"}
        self.names = (by_time[sort.by], "wf_run_id") if sort.by in by_time else ("wf_run_id",)
        self.kinds = [int, str] if len(self.names) == 2 else [str]
        self.has = W.started_ms.is_not(None) if sort.by is SortBy.STARTED else true()
        """True of the WfRuns that can be sorted so."""

    def by(self, of: Any) -> list[ColumnElement[Any]]:
        """Return what to order by, with columns of a table or a subquery."""
        columns = [of[name] for name in self.names]
        return [it.desc() if self.sort.descends else it.asc() for it in columns]

    def behind(self, start: Place | None) -> Condition:
        """Return what is true of the rows behind a place."""
        if start is None:
            return true()
        columns, place = tuple_(*(W[name] for name in self.names)), tuple_(*map(literal, start))
        return columns < place if self.sort.descends else columns > place

    def place(self, row: RowMapping) -> Place:
        """Return the place of a row."""
        return tuple(row[name] for name in self.names)


class _Asked:
    """The WfRuns that a filter means."""

    def __init__(self, connection: Connection, given: WfRunFilter, now_ms: int | None) -> None:
        self._connection = connection
        now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        self._given = list(conditions_of(checked(given), now))
        for name, _ in given.variables:
            expect_searchable(connection, name)
        self._few = self._smallest()

    @property
    def are_few(self) -> bool:
        """True if one of the filters means few WfRuns."""
        return self._few is not None

    def _smallest(self) -> Given | None:
        """Return the filter that means the fewest WfRuns, if these are few."""
        sizes = [
            (size, index)
            for index, one in enumerate(self._given)
            if one.ids is not None and (size := self._size(one.ids, looking.LOOKED_AT)) <= looking.LOOKED_AT
        ]
        return self._given[min(sizes)[1]] if sizes else None

    def _size(self, rows: Select[Any], most: int) -> int:
        return counted_up_to(self._connection, rows, most)

    def _all_of_few(self) -> Select[Any]:
        assert self._few is not None
        assert self._few.ids is not None
        others = [it.holds for it in self._given if it is not self._few]
        # The limit keeps the few together: they are found first, and each is then looked up.
        few = self._few.ids.distinct().limit(looking.LOOKED_AT + 1).subquery("few")
        return select(*COLUMNS).select_from(few.join(t.wf_runs, few.c.wf_run_id == W.wf_run_id)).where(*others)

    def few(self, order: _Order, start: Place | None, limit: int) -> tuple[Sequence[RowMapping], Place | None]:
        """Return a page of the few that are meant, and where the next one begins."""
        query = self._all_of_few().where(order.has, order.behind(start)).order_by(*order.by(W)).limit(limit + 1)
        rows = self._connection.execute(query).mappings().all()
        return rows[:limit], order.place(rows[limit - 1]) if len(rows) > limit else None

    def _walked(self, order: _Order, start: Place | None, most: int) -> tuple[FromClause, list[Condition]]:
        """Return the first rows behind a place in an order, and what is still to be looked at of each."""
        by_change = order.sort.by is SortBy.CHANGED
        led = next((it for it in self._given if it.parts and by_change), None)
        rest = [it for it in self._given if it is not led]

        def first_of(part: Condition) -> Select[Any]:
            query = select(W.wf_run_id, *(W[name] for name in order.names if name != "wf_run_id"))
            return query.where(part, order.has, order.behind(start)).order_by(*order.by(W)).limit(most)

        firsts = [first_of(it) for it in (led.parts if led is not None else (TRUE,))]
        query = firsts[0]
        if len(firsts) > 1:  # each index gives its first ones, and the first of all are among those
            together = union_all(*(select(it.subquery()) for it in firsts)).subquery()
            query = select(together).order_by(*order.by(together.c)).limit(most)
        return query.subquery("walked"), [it.holds for it in rest]

    def walk(self, order: _Order, start: Place | None, limit: int) -> tuple[Sequence[RowMapping], Place | None]:
        """Return a page of the many that are meant, and where the next one begins."""
        _, rest = self._walked(order, start, 1)
        most = looking.LOOKED_AT if rest else limit + 1
        walked, _ = self._walked(order, start, most)
        joined = walked.join(t.wf_runs, walked.c.wf_run_id == W.wf_run_id)
        query = select(*COLUMNS).select_from(joined).where(*rest).order_by(*order.by(walked.c)).limit(limit + 1)
        rows = self._connection.execute(query).mappings().all()
        if len(rows) > limit:
            return rows[:limit], order.place(rows[limit - 1])
        if not rest:
            return rows, None
        last = select(walked).order_by(*order.by(walked.c)).offset(most - 1).limit(1)
        found = self._connection.execute(last).mappings().first()
        return rows, None if found is None else order.place(found)

    def counted(self, at_most: int) -> Count:
        """Return how many are meant."""
        if self._few is not None:
            return self._bounded(self._all_of_few(), at_most)
        if len(self._given) <= 1:
            ids = self._given[0].ids if self._given else select(W.wf_run_id)
            if ids is not None:
                return self._different(ids, at_most)
        walked, rest = self._walked(_Order(NEWEST), None, looking.LOOKED_AT)
        joined = walked.join(t.wf_runs, walked.c.wf_run_id == W.wf_run_id)
        found = self._bounded(select(literal(1)).select_from(joined).where(*rest), at_most)
        return Count(found.number, found.is_exact and self._size(select(walked), looking.LOOKED_AT) < looking.LOOKED_AT)

    def _different(self, ids: Select[Any], at_most: int) -> Count:
        """Return how many different ids there are, by one more row than the bound: an id may be in several rows."""
        rows = ids.limit(at_most + 1).subquery().c.wf_run_id
        found, different = self._connection.execute(select(func.count(), func.count(rows.distinct()))).one()
        return Count(min(different, at_most), is_exact=found <= at_most)

    def counted_to_the_end(self) -> int:
        """Return how many are meant, exactly."""
        if self._few is not None:
            return self._size(self._all_of_few(), looking.LOOKED_AT)
        order, start, number = _Order(Sort(SortBy.ID)), None, 0
        while True:
            walked, rest = self._walked(order, start, looking.LOOKED_AT)
            joined = walked.join(t.wf_runs, walked.c.wf_run_id == W.wf_run_id)
            number += self._size(select(literal(1)).select_from(joined).where(*rest), looking.LOOKED_AT)
            last = select(walked).order_by(*order.by(walked.c)).offset(looking.LOOKED_AT - 1).limit(1)
            found = self._connection.execute(last).mappings().first()
            if found is None:
                return number
            start = order.place(found)

    def _bounded(self, rows: Select[Any], at_most: int) -> Count:
        return count_up_to(self._connection, rows, at_most)
