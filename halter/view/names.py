"""Names in a filter of which the view knows nothing, each with the one that may be meant.

A list that is empty because a name was mistyped looks like one that is empty because all is well. Knows the tables.
"""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, select

from halter.view import tables as t
from halter.view.filters import ANY, WfRunFilter, meant, short
from halter.view.looking import LOOKED_AT, different_values
from processors.core.records.failures import RESERVED
from processors.fold.inputs import DeadLetterReason

NAMED_MAX: Final = 5
"""Most names that a sentence lists."""
OF_WAITS: Final = {
    "EXTERNAL_EVENT": ("ExternalEventDef", "EXTERNAL_EVENT_DEF", t.waits.c.external_event_def),
    "TASK_REPORT": ("TaskDef", "TASK_DEF", t.waits.c.task_def),
    "TASK_RETRY": ("TaskDef", "TASK_DEF", t.waits.c.task_def),
}
"""Kind of wait -> what its name is of, the kind of that definition, and the column that has it."""


def unknown_names(connection: Connection, given: WfRunFilter) -> list[str]:
    """Return a sentence for each name in a filter that the view has never seen."""
    return [*_of_wf_spec(connection, given), *_of_failure(connection, given), *_of_wait(connection, given)]


def unknown_names_of_letters(
    connection: Connection, reason: str | None, topic: str | None, mapping: str | None
) -> list[str]:
    """Return a sentence for each name in a filter of dead letters that none of the newest ones has."""
    c = t.dead_letters.c
    newest = select(c.reason, c.source_topic, c.mapping).order_by(c.at_ms.desc()).limit(LOOKED_AT).subquery().c
    given: tuple[tuple[str, str | None, ColumnElement[Any], list[str]], ...] = (
        ("the reason", reason, newest.reason, [it.value for it in DeadLetterReason]),
        ("the topic", topic, newest.source_topic, []),
        ("the binding or sink", mapping, newest.mapping, []),
    )
    found = []
    for what, name, column, others in given:
        if name is not None and name not in others:
            known = {*connection.scalars(select(column).where(column.is_not(None)).distinct()), *others}
            if name not in known:
                found.append(f"no dead letter has {what} '{short(name)}'{meant(name, sorted(known), NAMED_MAX)}")
    return found


def unknown_names_of_events(connection: Connection, external_event_def: str | None, wf_run_id: str | None) -> list[str]:
    """Return a sentence for each name in a filter of ExternalEvents that the view has never seen."""
    found: list[str] = []
    if external_event_def is not None:
        column = t.external_events.c.external_event_def
        found += _of_definition(connection, "ExternalEventDef", "EXTERNAL_EVENT_DEF", external_event_def, column)
    if wf_run_id is not None and not _has(connection, t.wf_runs.c.wf_run_id == wf_run_id):
        found.append(f"the view has no WfRun '{short(wf_run_id)}'")
    return found


def unknown_wf_spec(connection: Connection, name: str) -> str | None:
    """Return a sentence if the view has never seen a WfSpec of this name."""
    return next(_of_definition(connection, "WfSpec", "WF_SPEC", name, t.wf_runs.c.wf_spec_name), None)


def _of_definition(
    connection: Connection, what: str, kind: str, name: str, used_in: ColumnElement[Any]
) -> Iterator[str]:
    """Yield a sentence if there is no definition of a name, and no row that uses it."""
    c = t.definitions.c
    if not _has(connection, and_(c.kind == kind, c.name == name)) and not _has(connection, used_in == name):
        known = different_values(connection, c.name, c.kind == kind)
        yield f"the view knows no {what} '{short(name)}'{meant(name, known, NAMED_MAX)}"


def _of_wf_spec(connection: Connection, given: WfRunFilter) -> Iterator[str]:
    name, version = given.wf_spec, given.wf_spec_version
    if name is None:
        return
    unknown = unknown_wf_spec(connection, name)
    if unknown is not None:
        yield unknown
    elif version is not None:
        c = t.definitions.c
        is_it = and_(c.kind == "WF_SPEC", c.name == name)
        there = connection.scalars(select(c.version).where(is_it).order_by(c.major, c.revision)).all()
        if there and not any(it == version or it.startswith(f"{version}.") for it in there):
            newest = ", ".join(there[-NAMED_MAX:])
            yield f"the view knows no version {version} of WfSpec '{short(name)}'; the newest are {newest}"


def _of_failure(connection: Connection, given: WfRunFilter) -> Iterator[str]:
    name = given.failed_with
    if name is None or name == ANY or name in RESERVED:
        return
    c = t.wf_runs.c
    if not _has(connection, c.failure_code == name) and not _has(connection, c.cause_code == name):
        columns = c.failure_code, c.cause_code
        known = sorted({*RESERVED, *(it for column in columns for it in different_values(connection, column))})
        yield f"no WfRun in the view has ever failed with '{short(name)}'{meant(name, known, NAMED_MAX)}"


def _of_wait(connection: Connection, given: WfRunFilter) -> Iterator[str]:
    kind, _, name = (given.waits_for or "").partition(":")
    if not name:
        return
    what, kind_of_definition, column = OF_WAITS[kind]
    yield from _of_definition(connection, what, kind_of_definition, name, column)


def _has(connection: Connection, condition: ColumnElement[bool]) -> bool:
    return connection.execute(select(1).where(condition).limit(1)).first() is not None
