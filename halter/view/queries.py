"""The lists of a view: WfRuns, dead letters, ExternalEvents, partitions, and how many of what there are.

The command line and the console read by these functions. Each is given a connection and reads what it says at one
moment. None looks at more than `LOOKED_AT` rows for a page, whatever is asked and however large the view is:

- If few WfRuns are meant by one of the filters (an index tells), those are fetched, the other filters are applied, and
  they are sorted.
- Else the index of the order is walked. If it has been walked so far without a full page, the page says where to go on.

Knows the tables. Does not write.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    and_,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

from halter.view import tables as t
from halter.view.filters import ANY, BadFilter, Sort, SortBy, WfRunFilter, checked, one_of
from halter.view.paging import LIMIT, Count, Page, Place, count_up_to, counted_up_to, cursor, limit_of, place_of
from halter.view.projection import texts_of
from processors.core.records.failures import UMBRELLAS

LOOKED_AT: Final = 5_000
"""Most rows that a page is looked for in."""
COUNTED: Final = 10_000
"""Where counting ends: beyond, a number is `10,000+`."""
AT_NODE: Final = 1_000
"""Where counting the threads at one node ends."""
NEWEST: Final = Sort()

TRUE: Final = true()
ONE: Final[ColumnElement[int]] = literal_column("1")
"""Written into the query: an index of some rows only is not used for a value that comes later."""

Condition: TypeAlias = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class HaltLine:
    """A halt reason of a thread."""

    thread: int
    kind: str
    external_event_def: str | None
    external_event_id: str | None
    handler: int | None
    by_thread: int | None
    since_ms: int | None


@dataclass(frozen=True, slots=True)
class WaitLine:
    """What a thread waits for."""

    thread: int
    waits_for: str
    name: str | None
    """The ExternalEventDef or TaskDef."""
    attempt: int | None
    attempts: int | None
    condition: str | None
    since_ms: int | None
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class WfRunLine:
    """A WfRun, as a list shows it. Times are milliseconds since 1970."""

    wf_run_id: str
    partition: int
    incarnation: int
    wf_spec_name: str | None
    wf_spec_version: str | None
    status: str | None
    seq: int
    started_ms: int | None
    changed_ms: int
    ended_ms: int | None
    failure_code: str | None
    failure_message: str | None
    cause_code: str | None
    halted: bool
    quarantined: bool
    node_name: str | None
    live_threads: int
    variables: Mapping[str, Any]
    forked_from: str | None
    halt_reasons: tuple[HaltLine, ...] = ()
    waits: tuple[WaitLine, ...] = ()


# WfRuns.


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
    return Page(_lines(connection, rows), None if more is None else cursor(more))


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
    rows = connection.execute(select(*_COLUMNS).where(t.wf_runs.c.wf_run_id == wf_run_id)).mappings().all()
    return next(iter(_lines(connection, rows)), None)


W: Final = t.wf_runs.c
_COLUMNS: Final = (
    W.wf_run_id,
    W.partition,
    W.incarnation,
    W.wf_spec_name,
    W.wf_spec_version,
    W.status,
    W.seq,
    W.started_ms,
    W.changed_ms,
    W.ended_ms,
    W.failure_code,
    W.failure_message,
    W.cause_code,
    W.halted,
    W.quarantined,
    W.node_name,
    W.live_threads,
    W.variables,
    W.forked_from,
)


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


@dataclass(slots=True)
class _Given:
    """One of the filters."""

    holds: Condition
    """True of the rows of `wf_runs` that are meant; it is cheap for one row."""
    ids: Select[Any] | None = None
    """The ids of all that are meant, by an index; None if no index tells."""
    parts: Sequence[Condition] = ()
    """Conditions of which exactly one is true of each that is meant. For each an index has those of which it is true by
    the time of their last event. Empty if there is no such index.
    """


class _Asked:
    """The WfRuns that a filter means."""

    def __init__(self, connection: Connection, given: WfRunFilter, now_ms: int | None) -> None:
        self._connection = connection
        now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        self._given = list(_filters(checked(given), now))
        for name, _ in given.variables:
            _expect_searchable(connection, name)
        self._few = self._smallest()

    @property
    def are_few(self) -> bool:
        """True if one of the filters means few WfRuns."""
        return self._few is not None

    def _smallest(self) -> _Given | None:
        """Return the filter that means the fewest WfRuns, if these are few."""
        sizes = [
            (size, index)
            for index, one in enumerate(self._given)
            if one.ids is not None and (size := self._size(one.ids, LOOKED_AT)) <= LOOKED_AT
        ]
        return self._given[min(sizes)[1]] if sizes else None

    def _size(self, rows: Select[Any], most: int) -> int:
        return counted_up_to(self._connection, rows, most)

    def _all_of_few(self) -> Select[Any]:
        assert self._few is not None
        assert self._few.ids is not None
        others = [it.holds for it in self._given if it is not self._few]
        # The limit keeps the few together: they are found first, and each is then looked up.
        few = self._few.ids.distinct().limit(LOOKED_AT + 1).subquery("few")
        return select(*_COLUMNS).select_from(few.join(t.wf_runs, few.c.wf_run_id == W.wf_run_id)).where(*others)

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
        most = LOOKED_AT if rest else limit + 1
        walked, _ = self._walked(order, start, most)
        joined = walked.join(t.wf_runs, walked.c.wf_run_id == W.wf_run_id)
        query = select(*_COLUMNS).select_from(joined).where(*rest).order_by(*order.by(walked.c)).limit(limit + 1)
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
                return self._bounded(ids.distinct(), at_most)
        walked, rest = self._walked(_Order(NEWEST), None, LOOKED_AT)
        joined = walked.join(t.wf_runs, walked.c.wf_run_id == W.wf_run_id)
        found = self._bounded(select(literal(1)).select_from(joined).where(*rest), at_most)
        return Count(found.number, found.is_exact and self._size(select(walked), LOOKED_AT) < LOOKED_AT)

    def counted_to_the_end(self) -> int:
        """Return how many are meant, exactly."""
        if self._few is not None:
            return self._size(self._all_of_few(), LOOKED_AT)
        order, start, number = _Order(Sort(SortBy.ID)), None, 0
        while True:
            walked, rest = self._walked(order, start, LOOKED_AT)
            joined = walked.join(t.wf_runs, walked.c.wf_run_id == W.wf_run_id)
            number += self._size(select(literal(1)).select_from(joined).where(*rest), LOOKED_AT)
            last = select(walked).order_by(*order.by(walked.c)).offset(LOOKED_AT - 1).limit(1)
            found = self._connection.execute(last).mappings().first()
            if found is None:
                return number
            start = order.place(found)

    def _bounded(self, rows: Select[Any], at_most: int) -> Count:
        return count_up_to(self._connection, rows, at_most)


def _filters(given: WfRunFilter, now_ms: int) -> Iterator[_Given]:
    """Yield each filter that is given. Those whose index gives the order come first."""
    ids = select(W.wf_run_id)
    if given.failed_with is not None:
        yield _failed_with(given.failed_with)
    if given.quarantined is not None:
        holds = W.quarantined == (ONE if given.quarantined else literal_column("0"))
        yield _Given(holds, ids.where(holds), [holds]) if given.quarantined else _Given(holds)
    if given.halted_for == ANY:
        yield _Given(W.halted == ONE, ids.where(W.halted == ONE), [W.halted == ONE])
    if len(given.status) == 1:
        holds = W.status == given.status[0]
        yield _Given(holds, ids.where(holds), [holds])
    if given.wf_spec is not None:
        holds = W.wf_spec_name == given.wf_spec
        yield _Given(holds, ids.where(holds), [holds])
    if len(given.status) > 1:
        holds = W.status.in_(given.status)
        yield _Given(holds, ids.where(holds), [W.status == it for it in given.status])
    if given.wf_spec_version is not None:
        version = given.wf_spec_version
        yield _Given(W.wf_spec_version == version if "." in version else W.wf_spec_version.startswith(f"{version}."))
    yield from _filters_by_threads(given)
    for name, value in given.variables:
        yield _has_value(name, value)
    if given.older_than_ms is not None or given.started_before_ms is not None:
        latest = min(
            now_ms if given.older_than_ms is None else now_ms - given.older_than_ms,
            now_ms if given.started_before_ms is None else given.started_before_ms,
        )
        yield _Given(W.started_ms <= latest, ids.where(W.started_ms <= latest))
    if given.unchanged_for_ms is not None:
        holds = W.changed_ms <= now_ms - given.unchanged_for_ms
        yield _Given(holds, ids.where(holds))
    if given.text is not None:
        yield _Given(W.search_text.contains(given.text, autoescape=True))


def _failed_with(name: str) -> _Given:
    """Return the filter by the failure of a WfRun, or by the one that brought it about in a thread below.

    Names mean what they mean to `catch`: some stand for several.
    """
    if name == ANY:
        return _Given(W.failure_code.is_not(None), select(W.wf_run_id).where(W.failure_code.is_not(None)))
    names = sorted(UMBRELLAS.get(name, {name}))
    parts = [column == it for it in names for column in (W.failure_code, W.cause_code)]
    ids = union_all(*(select(W.wf_run_id).where(it) for it in parts)).subquery()
    return _Given(or_(*parts), select(ids.c.wf_run_id), parts)


def _has_value(name: str, value: str) -> _Given:
    """Return the filter by a value of a Variable: by the texts that it may have, of which some are of numbers alone."""
    c, texts = t.searchable.c, texts_of(value)
    is_it = c.text_value == value if texts.of_any == {value} else c.text_value.in_(sorted(texts.of_any))
    if texts.of_numbers:
        is_it = or_(is_it, c.number_value.is_not(None))
        among = c.text_value.in_(sorted(texts.of_any | texts.of_numbers))
        return _of_table(t.searchable, c.name == name, among, is_it)
    return _of_table(t.searchable, c.name == name, is_it)


def _filters_by_threads(given: WfRunFilter) -> Iterator[_Given]:
    """Yield the filters by what holds a thread, and by what it waits for."""
    if given.halted_for not in (None, ANY):
        yield _of_table(t.halt_reasons, t.halt_reasons.c.kind == given.halted_for)
    if given.waits_for is not None:
        kind, _, name = given.waits_for.partition(":")
        conditions = [t.waits.c.waits_for == kind]
        if name:
            column = t.waits.c.external_event_def if kind == "EXTERNAL_EVENT" else t.waits.c.task_def
            conditions.append(column == name)
        yield _of_table(t.waits, *conditions)


def _of_table(table: FromClause, *conditions: Condition) -> _Given:
    """Return a filter by rows of another table that has the id of their WfRun."""
    there = exists().where(table.c.wf_run_id == W.wf_run_id, *conditions).correlate(t.wf_runs)
    return _Given(there, select(table.c.wf_run_id).where(*conditions))


def _expect_searchable(connection: Connection, name: str) -> None:
    """Raise BadFilter if no WfSpec marks a Variable `searchable`."""
    known = searchable_variables(connection)
    if name in known:
        return
    are = f"searchable are {', '.join(sorted(known)[:10])}" if known else "no WfSpec marks any"
    raise BadFilter(
        f"var: Variable '{name[:60]}' is not searchable: {are}. A WfSpec marks it by `searchable: true`; `text` "
        "looks for a part of any value"
    )


def searchable_variables(connection: Connection) -> set[str]:
    """Return the names of the Variables that a WfSpec marks `searchable`."""
    marked = select(t.definitions.c.searchable).where(t.definitions.c.kind == "WF_SPEC")
    return {name for names in connection.scalars(marked) for name in names or ()}


def _lines(connection: Connection, rows: Sequence[RowMapping]) -> list[WfRunLine]:
    """Return WfRuns with what holds their threads and what these wait for."""
    ids = [row["wf_run_id"] for row in rows]
    held, waiting = _by_wf_run(connection, t.halt_reasons, ids), _by_wf_run(connection, t.waits, ids)
    return [
        WfRunLine(
            **{name: row[name] for name in row if name not in ("halted", "quarantined", "variables")},
            halted=bool(row["halted"]),
            quarantined=bool(row["quarantined"]),
            variables=row["variables"] or {},
            halt_reasons=tuple(_halt_line(it) for it in held.get(row["wf_run_id"], ())),
            waits=tuple(_wait_line(it) for it in waiting.get(row["wf_run_id"], ())),
        )
        for row in rows
    ]


HELD_SHOWN: Final = 20
"""Most halt reasons, and most waits, that a line has."""
THREADS_MAX: Final = 2**31 - 1


def _by_wf_run(connection: Connection, table: FromClause, ids: Sequence[str]) -> dict[str, list[RowMapping]]:
    """Return the first rows that a table has of each WfRun, by thread. Few more are read, whatever it has."""
    found: dict[str, list[RowMapping]] = {}
    if ids:
        of, it = table.alias("of"), table.c
        last = select(of.c.thread).where(of.c.wf_run_id == W.wf_run_id).order_by(of.c.thread, of.c.position)
        until = func.coalesce(last.offset(HELD_SHOWN - 1).limit(1).correlate(t.wf_runs).scalar_subquery(), THREADS_MAX)
        joined = t.wf_runs.join(table, and_(it.wf_run_id == W.wf_run_id, it.thread <= until))
        query = select(table).select_from(joined).where(W.wf_run_id.in_(ids))
        for row in connection.execute(query.order_by(W.wf_run_id, it.thread, it.position)).mappings():
            those = found.setdefault(row["wf_run_id"], [])
            if len(those) < HELD_SHOWN:
                those.append(row)
    return found


def _halt_line(row: RowMapping) -> HaltLine:
    event = row["external_event_def"], row["external_event_id"]
    return HaltLine(row["thread"], row["kind"], *event, row["handler"], row["by_thread"], row["since_ms"])


def _wait_line(row: RowMapping) -> WaitLine:
    name = row["external_event_def"] or row["task_def"]
    attempts = row["attempt"], row["attempts"]
    return WaitLine(
        row["thread"], row["waits_for"], name, *attempts, row["condition"], row["since_ms"], row["until_ms"]
    )


# How many of what there are.


@dataclass(frozen=True, slots=True)
class Stats:
    """How many of what there are. Numbers are bounded: beyond, they are `100,000+` or `10,000+`."""

    by_status: Mapping[str, Count]
    by_wf_spec: Mapping[str, Count]
    """WfSpec -> its WfRuns."""
    halted_by_reason: Mapping[str, "Oldest"]
    """Kind of halt reason -> how many threads have one, and since when the oldest has it."""
    waiting: Mapping[str, "Oldest"]
    """Kind of wait -> as above."""
    failures: Mapping[str, Count]
    """The name of a failure -> the WfRuns that ended with it; the most frequent first."""
    causes: Mapping[str, Count]
    """The name of a failure of a thread below -> the WfRuns that failed because of it, with another name."""
    quarantined: Count
    dead_letters: Mapping[str, Count]
    """Reason -> how many."""
    dead_letters_from: Mapping[str, Count]
    """WORKER, BINDING or SINK -> how many."""
    tasks_out: Count
    unclaimed_events: Count
    lag: "Lag"


@dataclass(frozen=True, slots=True)
class Oldest:
    """How many there are of a kind, and the oldest of them."""

    count: Count
    since_ms: int | None


STALE_MS: Final = 30_000
"""A view that has heard nothing of Kafka for so long is not kept current by anybody."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the view is behind the log."""

    records: int
    """Records that it has still to read."""
    seen_ms: int | None
    """When that was last looked at; None: never."""

    def is_stale(self, now_ms: int) -> bool:
        """Return True if nobody keeps the view current."""
        return self.seen_ms is None or now_ms - self.seen_ms > STALE_MS


def stats(connection: Connection) -> Stats:
    """Return how many of what there are."""
    return Stats(
        by_status=_by_value(connection, W.status, WF_RUNS_COUNTED),
        by_wf_spec=_by_value(connection, W.wf_spec_name, WF_RUNS_COUNTED),
        halted_by_reason=_oldest(connection, t.halt_reasons, t.halt_reasons.c.kind),
        waiting=_oldest(connection, t.waits, t.waits.c.waits_for),
        failures=_most_first(_by_value(connection, W.failure_code, COUNTED)),
        causes=_most_first(_by_value(connection, W.cause_code, COUNTED)),
        quarantined=count_up_to(connection, select(literal(1)).where(W.quarantined == ONE), COUNTED),
        dead_letters=_by_value(connection, t.dead_letters.c.reason, COUNTED),
        dead_letters_from=_by_value(connection, t.dead_letters.c.origin, COUNTED),
        tasks_out=count_up_to(connection, select(literal(1)).where(t.tasks.c.status == "OUT"), COUNTED),
        unclaimed_events=count_up_to(
            connection, select(literal(1)).where(t.external_events.c.status == "UNCLAIMED"), COUNTED
        ),
        lag=lag(connection),
    )


def _most_first(counts: Mapping[str, Count]) -> dict[str, Count]:
    return dict(sorted(counts.items(), key=lambda it: (-it[1].number, it[0])))


WF_RUNS_COUNTED: Final = 100_000
"""Where counting WfRuns by status and by WfSpec ends."""
VALUES_MAX: Final = 200
"""Most different values of a column that are counted."""


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


def _by_value(connection: Connection, column: ColumnElement[Any], at_most: int) -> dict[str, Count]:
    """Return how many rows have each value of a column, up to a bound."""
    return {
        it: count_up_to(connection, select(literal(1)).where(column == it), at_most)
        for it in different_values(connection, column)
    }


def _oldest(connection: Connection, table: FromClause, kind: ColumnElement[Any]) -> dict[str, Oldest]:
    found = {}
    for name in different_values(connection, kind):
        since = table.c.since_ms
        oldest = select(since).where(kind == name, since.is_not(None)).order_by(since).limit(1)
        number = count_up_to(connection, select(literal(1)).select_from(table).where(kind == name), COUNTED)
        found[name] = Oldest(number, connection.scalar(oldest))
    return found


def lag(connection: Connection) -> Lag:
    """Return how far the view is behind the log."""
    total, seen = connection.execute(select(func.sum(t.partitions.c.lag), func.min(t.partitions.c.seen_ms))).one()
    return Lag(int(total or 0), seen)


@dataclass(frozen=True, slots=True)
class AtNode:
    """Live threads that stand at a node."""

    thread_spec: str
    node: str
    count: Count
    by_status: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Newest:
    """The WfRuns of a WfSpec by status, among those that had the newest events."""

    by_status: Mapping[str, int]
    is_all: bool
    """True if these are all that there are."""


def newest_of(connection: Connection, wf_spec: str, version: str | None = None) -> Newest:
    """Return how many WfRuns of a WfSpec there are by status, of one version or of all, among LOOKED_AT of them.

    Numbers that are counted up to bounds one by one cannot be compared: these can.
    """
    newest = select(W.status, W.wf_spec_version).where(W.wf_spec_name == wf_spec)
    walked = newest.order_by(W.changed_ms.desc(), W.wf_run_id.desc()).limit(LOOKED_AT).subquery().c
    query = select(walked.status, walked.wf_spec_version, func.count()).group_by(walked.status, walked.wf_spec_version)
    rows = connection.execute(query).all()
    found: dict[str, int] = {}
    for status, of, number in rows:
        if status is not None and version in (None, of):
            found[status] = found.get(status, 0) + number
    return Newest(found, sum(number for _, _, number in rows) < LOOKED_AT)


def nodes_of(connection: Connection, wf_spec: str, version: str | None = None) -> list[AtNode]:
    """Return how many live threads of WfRuns of a WfSpec stand at each node, in a fixed order, up to AT_NODE each.

    `version`: of this version alone, `major.revision`.
    """
    of_spec = [W.wf_spec_name == wf_spec, *([W.wf_spec_version == version] if version is not None else [])]
    threads = t.thread_runs.c
    found: dict[tuple[str, str], dict[str, int]] = {}
    whole: dict[tuple[str, str], bool] = {}
    for spec, node, status in _nodes(connection):
        here = and_(
            threads.thread_spec == spec, threads.node_name == node, threads.status == status, threads.hot == ONE
        )
        some = select(threads.wf_run_id).where(here).limit(AT_NODE + 1).subquery()
        meant = select(func.count()).select_from(some.join(t.wf_runs, some.c.wf_run_id == W.wf_run_id))
        number = connection.scalar(meant.where(*of_spec)) or 0
        looked = connection.scalar(select(func.count()).select_from(some)) or 0
        whole[spec, node] = whole.get((spec, node), True) and looked <= AT_NODE
        if number:
            found.setdefault((spec, node), {})[status] = number
    return [
        AtNode(*place, Count(sum(found.get(place, {}).values()), is_exact), found.get(place, {}))
        for place, is_exact in sorted(whole.items())
        if place in found
    ]


LIVE: Final = ("RUNNING", "HALTING", "HALTED", "ERROR")


def _nodes(connection: Connection) -> Iterator[tuple[str, str, str]]:
    """Yield ThreadSpec, node and status for which there are hot threads."""
    threads, hot = t.thread_runs.c, t.thread_runs.c.hot == ONE
    for spec in different_values(connection, threads.thread_spec, hot):
        of_spec = and_(hot, threads.thread_spec == spec)
        for node in different_values(connection, threads.node_name, of_spec):
            at_node = and_(of_spec, threads.node_name == node)
            for status in different_values(connection, threads.status, at_node):
                if status in LIVE:
                    yield spec, node, status


# What else there are lists of.


@dataclass(frozen=True, slots=True)
class DeadLetterLine:
    """A dead letter, as a list shows it."""

    partition: int
    offset: int
    reason: str
    message: str
    source_topic: str
    source_partition: int | None
    source_offset: int | None
    wf_run_id: str | None
    at_ms: int
    origin: str
    mapping: str | None
    retries: int
    last_outcome: str | None

    @property
    def name(self) -> str:
        """How commands name it: `3@1041`."""
        return f"{self.partition}@{self.offset}"

    @property
    def source(self) -> str:
        """Where it comes from: the binding or the sink that wrote it, or the topic that workers read."""
        return self.source_topic if self.mapping is None else f"{self.origin.lower()} {self.mapping}"


def dead_letters(
    connection: Connection,
    *,
    reason: str | None = None,
    topic: str | None = None,
    mapping: str | None = None,
    wf_run_id: str | None = None,
    retried: bool | None = None,
    after: str | None = None,
    limit: int = LIMIT,
) -> Page[DeadLetterLine]:
    """Return a page of dead letters, the newest first. Raises BadCursor."""
    limit, c = limit_of(limit), t.dead_letters.c
    columns = c.at_ms, c.partition, c.letter_offset
    query = select(t.dead_letters)
    if reason is not None:
        query = query.where(c.reason == reason)
    if after is not None:
        query = query.where(tuple_(*columns) < tuple_(*map(literal, place_of(after, [int, int, int]))))
    query = query.order_by(*(it.desc() for it in columns))
    given = ("source_topic", topic), ("mapping", mapping), ("wf_run_id", wf_run_id)
    rest: list[_Rest] = [(name, value) for name, value in given if value is not None]
    if retried is not None:
        rest.append(("retries", _AT_LEAST_ONE if retried else 0))
    names = ("at_ms", "partition", "letter_offset")
    rows, more = _walked_page(connection, query, rest, names, limit)
    return Page([_dead_letter_line(it) for it in rows], more)


def dead_letter(connection: Connection, partition: int, offset: int) -> DeadLetterLine | None:
    """Return a dead letter; None if the view has none there."""
    c = t.dead_letters.c
    there = select(t.dead_letters).where(c.partition == partition, c.letter_offset == offset)
    row = connection.execute(there).mappings().first()
    return None if row is None else _dead_letter_line(row)


def _dead_letter_line(row: RowMapping) -> DeadLetterLine:
    told = {name: row[name] for name in row if name != "letter_offset"}
    return DeadLetterLine(**told, offset=row["letter_offset"])


@dataclass(frozen=True, slots=True)
class ExternalEventLine:
    """An ExternalEvent, and what became of it."""

    wf_run_id: str
    external_event_def: str
    external_event_id: str
    status: str
    posted_ms: int
    thread: int | None
    claimed_by_thread: int | None
    purpose: str | None
    handler: int | None
    seq: int


BECAME: Final = ("UNCLAIMED", "CLAIMED", "DROPPED", "SUPERSEDED")
"""What may have become of an ExternalEvent."""


def external_events(
    connection: Connection,
    *,
    wf_run_id: str | None = None,
    external_event_def: str | None = None,
    status: str | None = None,
    after: str | None = None,
    limit: int = LIMIT,
) -> Page[ExternalEventLine]:
    """Return a page of ExternalEvents, the newest first. Raises BadFilter and BadCursor."""
    limit, c = limit_of(limit), t.external_events.c
    if status is not None:
        one_of("status", status, BECAME)
    names = ("posted_ms", "wf_run_id", "external_event_def", "external_event_id")
    columns = [c[name] for name in names]
    query = select(t.external_events)
    if after is not None:
        query = query.where(tuple_(*columns) < tuple_(*map(literal, place_of(after, [int, str, str, str]))))
    query = query.order_by(*(it.desc() for it in columns))
    if wf_run_id is None and external_event_def is None and status is None:
        # An index sorts those of each status.
        of_each = [query.where(c.status == it).limit(limit + 1) for it in BECAME]
        found = [row for it in of_each for row in connection.execute(it).mappings()]
        found.sort(key=lambda row: tuple(row[name] for name in names), reverse=True)
        last = [found[limit - 1][name] for name in names] if len(found) > limit else None
        return Page([_external_event_line(it) for it in found[:limit]], None if last is None else cursor(last))
    asked = (c.wf_run_id, wf_run_id), (c.external_event_def, external_event_def), (c.status, status)
    (column, wanted), *rest = [(it, wanted) for it, wanted in asked if wanted is not None]
    others: list[_Rest] = [(it.key, value) for it, value in rest]
    rows, more = _walked_page(connection, query.where(column == wanted), others, names, limit)
    return Page([_external_event_line(it) for it in rows], more)


def _external_event_line(row: RowMapping) -> ExternalEventLine:
    return ExternalEventLine(**{name: row[name] for name in ExternalEventLine.__slots__})


_Rest: TypeAlias = tuple[str, str | int]
"""A column, and the value that it has to have."""
_AT_LEAST_ONE: Final = -1


def _walked_page(
    connection: Connection, query: Select[Any], rest: Sequence[_Rest], names: Sequence[str], limit: int
) -> tuple[Sequence[RowMapping], str | None]:
    """Return a page of a query that an index sorts, of rows that have the rest, and where the next one begins."""
    most = LOOKED_AT if rest else limit + 1
    walked = query.limit(most).subquery("walked")
    order = [walked.c[name].desc() for name in names]
    has = [walked.c[name] > 0 if value == _AT_LEAST_ONE else walked.c[name] == value for name, value in rest]
    rows = connection.execute(select(walked).where(*has).order_by(*order).limit(limit + 1)).mappings().all()
    last: RowMapping | None = rows[limit - 1] if len(rows) > limit else None
    if last is None and rest:
        last = connection.execute(select(walked).order_by(*order).offset(most - 1).limit(1)).mappings().first()
    return rows[:limit], None if last is None else cursor([last[name] for name in names])


@dataclass(frozen=True, slots=True)
class PartitionLine:
    """How far the view has read a partition."""

    partition: int
    log_offset: int
    lag: int
    seen_ms: int
    event_ms: int | None


def partitions(connection: Connection) -> list[PartitionLine]:
    """Return how far each partition is read."""
    c = t.partitions.c
    columns = c.partition, c.log_offset, c.lag, c.seen_ms, c.event_ms
    return [PartitionLine(*row) for row in connection.execute(select(*columns).order_by(c.partition))]
