"""One WfRun as the view has it: its threads as a tree, what holds them, its ExternalEvents and its task attempts.

Each function reads on the connection that it is given, and is bounded: by an index, and by a limit. Knows the tables.
Does not write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, func, select

from halter.view import tables as t
from halter.view.paging import Count, count_up_to

THREADS_MAX: Final = 300
"""Most threads of a WfRun at a time."""
ALL_MAX: Final = 10_000
"""Most rows about these threads, and where counting ends."""
ROWS_MAX: Final = 200
"""Most ExternalEvents, and most task attempts."""


@dataclass(frozen=True, slots=True)
class SeenWfRun:
    """A WfRun as the view has it, at one seq."""

    row: RowMapping
    threads: Sequence[RowMapping]
    thread_count: int
    reasons: Mapping[int, Sequence[RowMapping]]
    waits: Mapping[int, Sequence[RowMapping]]
    has_more: bool
    """There are threads with greater numbers than those that are shown."""
    depths: Mapping[int, int]
    """How many threads are above each, as far as they are shown."""


def wf_run(connection: Connection, wf_run_id: str, *, from_thread: int | None = None) -> SeenWfRun | None:
    """A WfRun with its threads, in the order of a tree; None if the view has none of this id.

    Where there are more than THREADS_MAX, live ones come first. `from_thread`: those from this number on instead.
    """
    row = connection.execute(select(t.wf_runs).where(t.wf_runs.c.wf_run_id == wf_run_id)).mappings().first()
    if row is None:
        return None
    c = t.thread_runs.c
    of_it = c.wf_run_id == wf_run_id
    count = connection.scalar(select(func.count()).select_from(t.thread_runs).where(of_it)) or 0
    query = select(t.thread_runs).where(of_it)
    if from_thread is None:
        query = query.order_by(c.hot.desc(), c.thread)
    else:
        query = query.where(c.thread >= from_thread).order_by(c.thread)
    threads = _as_tree(connection.execute(query.limit(THREADS_MAX)).mappings().all())
    numbers = [it["thread"] for it in threads]
    return SeenWfRun(
        row,
        threads,
        count,
        _of_threads(connection, t.halt_reasons, wf_run_id, numbers),
        _of_threads(connection, t.waits, wf_run_id, numbers),
        bool(numbers)
        and connection.scalar(select(c.thread).where(of_it, c.thread > max(numbers)).limit(1)) is not None,
        _depths(threads),
    )


def external_events_of(connection: Connection, wf_run_id: str, limit: int = ROWS_MAX) -> Sequence[RowMapping]:
    """The newest ExternalEvents of a WfRun."""
    c = t.external_events.c
    query = select(t.external_events).where(c.wf_run_id == wf_run_id).order_by(c.posted_ms.desc(), c.seq.desc())
    return connection.execute(query.limit(limit)).mappings().all()


def external_events_count(connection: Connection, wf_run_id: str) -> Count:
    """How many ExternalEvents of a WfRun there are, up to a bound."""
    rows = select(t.external_events.c.seq).where(t.external_events.c.wf_run_id == wf_run_id)
    return count_up_to(connection, rows, ALL_MAX)


def tasks_of(connection: Connection, wf_run_id: str, limit: int = ROWS_MAX) -> Sequence[RowMapping]:
    """The newest task attempts of a WfRun."""
    c = t.tasks.c
    query = select(t.tasks).where(c.wf_run_id == wf_run_id).order_by(c.requested_ms.desc(), c.thread, c.attempt.desc())
    return connection.execute(query.limit(limit)).mappings().all()


def tasks_count(connection: Connection, wf_run_id: str) -> Count:
    """How many task attempts of a WfRun there are, up to a bound."""
    return count_up_to(connection, select(t.tasks.c.attempt).where(t.tasks.c.wf_run_id == wf_run_id), ALL_MAX)


def _as_tree(rows: Sequence[RowMapping]) -> list[RowMapping]:
    """Order threads so that each follows the one above it. One whose parent is not there stands at the top."""
    known = {it["thread"] for it in rows}
    below: dict[int | None, list[RowMapping]] = {}
    for it in sorted(rows, key=lambda it: it["thread"]):
        below.setdefault(it["parent"] if it["parent"] in known else None, []).append(it)
    ordered: list[RowMapping] = []
    open_ = below.get(None, [])[::-1]
    while open_:
        it = open_.pop()
        ordered.append(it)
        open_.extend(below.get(it["thread"], [])[::-1])
    return ordered


def _depths(threads: Sequence[RowMapping]) -> dict[int, int]:
    """How deep each thread of a tree is. A parent comes before its children."""
    depths: dict[int, int] = {}
    for it in threads:
        depths[it["thread"]] = depths.get(it["parent"], -1) + 1
    return depths


def _of_threads(
    connection: Connection, table: Any, wf_run_id: str, numbers: Sequence[int]
) -> dict[int, list[RowMapping]]:
    wanted, found = set(numbers), dict[int, list[RowMapping]]()
    if not wanted:
        return found
    of_them = table.c.wf_run_id == wf_run_id, table.c.thread >= min(wanted), table.c.thread <= max(wanted)
    query = select(table).where(*of_them).order_by(table.c.thread, table.c.position)
    for it in connection.execute(query.limit(ALL_MAX)).mappings():
        if it["thread"] in wanted:
            found.setdefault(it["thread"], []).append(it)
    return found
