"""Lists of ExternalEvents, the newest first, and what became of each. Knows the tables. Does not write."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, RowMapping, literal, select, tuple_

from halter.view import tables as t
from halter.view.filters import one_of
from halter.view.looking import Rest, walked_page
from halter.view.paging import LIMIT, Page, cursor, limit_of, place_of

BECAME: Final = ("UNCLAIMED", "CLAIMED", "DROPPED", "SUPERSEDED")
"""What may have become of an ExternalEvent."""


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
    others: list[Rest] = [(it.key, value) for it, value in rest]
    rows, more = walked_page(connection, query.where(column == wanted), others, names, limit)
    return Page([_external_event_line(it) for it in rows], more)


def statuses_of(connection: Connection, wf_run_ids: Iterable[str]) -> dict[str, str]:
    """Return the status of each of these WfRuns. One that never started has none."""
    c = t.wf_runs.c
    query = select(c.wf_run_id, c.status).where(c.wf_run_id.in_(set(wf_run_ids)), c.status.is_not(None))
    return {it.wf_run_id: it.status for it in connection.execute(query)}


def _external_event_line(row: RowMapping) -> ExternalEventLine:
    return ExternalEventLine(**{name: row[name] for name in ExternalEventLine.__slots__})
