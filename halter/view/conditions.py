"""Filters of WfRuns as conditions of SQL, each with what an index tells about it.

Knows the tables and their indexes. Does not know in which order WfRuns are listed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, FromClause, Select, exists, literal_column, or_, select, union_all

from halter.view import tables as t
from halter.view.filters import ANY, BadFilter, WfRunFilter
from halter.view.looking import ONE, Condition
from halter.view.projection import texts_of
from processors.core.records.failures import UMBRELLAS

W: Final = t.wf_runs.c


@dataclass(slots=True)
class Given:
    """One of the filters."""

    holds: Condition
    """True of the rows of `wf_runs` that are meant; it is cheap for one row."""
    ids: Select[Any] | None = None
    """The ids of all that are meant, by an index; None if no index tells."""
    parts: Sequence[Condition] = ()
    """Conditions of which exactly one is true of each that is meant. For each an index has those of which it is true by
    the time of their last event. Empty if there is no such index.
    """


def conditions_of(given: WfRunFilter, now_ms: int) -> Iterator[Given]:
    """Yield each filter that is given. Those whose index gives the order come first."""
    ids = select(W.wf_run_id)
    if given.failed_with is not None:
        yield _failed_with(given.failed_with)
    if given.quarantined is not None:
        holds = W.quarantined == (ONE if given.quarantined else literal_column("0"))
        yield Given(holds, ids.where(holds), [holds]) if given.quarantined else Given(holds)
    if given.halted_for == ANY:
        yield Given(W.halted == ONE, ids.where(W.halted == ONE), [W.halted == ONE])
    if len(given.status) == 1:
        holds = W.status == given.status[0]
        yield Given(holds, ids.where(holds), [holds])
    if given.wf_spec is not None:
        holds = W.wf_spec_name == given.wf_spec
        yield Given(holds, ids.where(holds), [holds])
    if len(given.status) > 1:
        holds = W.status.in_(given.status)
        yield Given(holds, ids.where(holds), [W.status == it for it in given.status])
    if given.wf_spec_version is not None:
        version = given.wf_spec_version
        yield Given(W.wf_spec_version == version if "." in version else W.wf_spec_version.startswith(f"{version}."))
    yield from _filters_by_threads(given)
    for name, value in given.variables:
        yield _has_value(name, value)
    if given.older_than_ms is not None or given.started_before_ms is not None:
        latest = min(
            now_ms if given.older_than_ms is None else now_ms - given.older_than_ms,
            now_ms if given.started_before_ms is None else given.started_before_ms,
        )
        yield Given(W.started_ms <= latest, ids.where(W.started_ms <= latest))
    if given.unchanged_for_ms is not None:
        holds = W.changed_ms <= now_ms - given.unchanged_for_ms
        yield Given(holds, ids.where(holds))
    if given.text is not None:
        yield Given(W.search_text.contains(given.text, autoescape=True))


def _failed_with(name: str) -> Given:
    """Return the filter by the failure of a WfRun, or by the one that brought it about in a thread below.

    Names mean what they mean to `catch`: some stand for several.
    """
    if name == ANY:
        return Given(W.failure_code.is_not(None), select(W.wf_run_id).where(W.failure_code.is_not(None)))
    names = sorted(UMBRELLAS.get(name, {name}))
    parts = [column == it for it in names for column in (W.failure_code, W.cause_code)]
    ids = union_all(*(select(W.wf_run_id).where(it) for it in parts)).subquery()
    return Given(or_(*parts), select(ids.c.wf_run_id), parts)


def _has_value(name: str, value: str) -> Given:
    """Return the filter by a value of a Variable: by the texts that it may have, of which some are of numbers alone."""
    c, texts = t.searchable.c, texts_of(value)
    is_it = c.text_value == value if texts.of_any == {value} else c.text_value.in_(sorted(texts.of_any))
    if texts.of_numbers:
        is_it = or_(is_it, c.number_value.is_not(None))
        among = c.text_value.in_(sorted(texts.of_any | texts.of_numbers))
        return _of_table(t.searchable, c.name == name, among, is_it)
    return _of_table(t.searchable, c.name == name, is_it)


def _filters_by_threads(given: WfRunFilter) -> Iterator[Given]:
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


def _of_table(table: FromClause, *conditions: Condition) -> Given:
    """Return a filter by rows of another table that has the id of their WfRun."""
    there = exists().where(table.c.wf_run_id == W.wf_run_id, *conditions).correlate(t.wf_runs)
    return Given(there, select(table.c.wf_run_id).where(*conditions))


def expect_searchable(connection: Connection, name: str) -> None:
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
