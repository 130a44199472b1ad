"""Names in a filter of which the view knows nothing, each with the one that may be meant.

A list that is empty because a name was mistyped looks like one that is empty because all is well. Knows the tables.
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, select

from halter.view import tables as t
from halter.view.filters import ANY, WfRunFilter
from halter.view.queries import LOOKED_AT, different_values
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
                found.append(f"no dead letter has {what} '{_short(name)}'{_meant(name, known)}")
    return found


def _of_wf_spec(connection: Connection, given: WfRunFilter) -> Iterator[str]:
    name, version = given.wf_spec, given.wf_spec_version
    if name is None:
        return
    c = t.definitions.c
    is_it = and_(c.kind == "WF_SPEC", c.name == name)
    if not _has(connection, is_it) and not _has(connection, t.wf_runs.c.wf_spec_name == name):
        known = different_values(connection, c.name, c.kind == "WF_SPEC")
        yield f"the view knows no WfSpec '{_short(name)}'{_meant(name, known)}"
    elif version is not None:
        there = connection.scalars(select(c.version).where(is_it).order_by(c.major, c.revision)).all()
        if there and not any(it == version or it.startswith(f"{version}.") for it in there):
            newest = ", ".join(there[-NAMED_MAX:])
            yield f"the view knows no version {version} of WfSpec '{_short(name)}'; the newest are {newest}"


def _of_failure(connection: Connection, given: WfRunFilter) -> Iterator[str]:
    name = given.failed_with
    if name is None or name == ANY or name in RESERVED:
        return
    c = t.wf_runs.c
    if not _has(connection, c.failure_code == name) and not _has(connection, c.cause_code == name):
        known = {*different_values(connection, c.failure_code), *different_values(connection, c.cause_code)}
        yield f"no WfRun in the view has ever failed with '{_short(name)}'{_meant(name, known | RESERVED)}"


def _of_wait(connection: Connection, given: WfRunFilter) -> Iterator[str]:
    kind, _, name = (given.waits_for or "").partition(":")
    if not name:
        return
    what, kind_of_definition, column = OF_WAITS[kind]
    c = t.definitions.c
    is_defined = _has(connection, and_(c.kind == kind_of_definition, c.name == name))
    if not is_defined and not _has(connection, column == name):
        known = different_values(connection, c.name, c.kind == kind_of_definition)
        yield f"the view knows no {what} '{_short(name)}'{_meant(name, known)}"


def _has(connection: Connection, condition: ColumnElement[bool]) -> bool:
    return connection.execute(select(1).where(condition).limit(1)).first() is not None


def _meant(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence: the name that is near, whatever the case, or some of those that there are."""
    by_folded: dict[str, Any] = {it.casefold(): it for it in sorted(known)}
    near = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{by_folded[near[0]]}'?"
    some = list(by_folded.values())[:NAMED_MAX]
    return f"; there are {', '.join(some)}{' and more' if len(by_folded) > NAMED_MAX else ''}" if some else ""


def _short(name: str) -> str:
    return name if len(name) <= 60 else name[:59] + "…"
