"""WfRuns as lists show them: each with what holds its threads and what these wait for.

Each function reads on the connection that it is given. Knows the tables. Does not know which WfRuns are asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, FromClause, RowMapping, and_, func, select

from halter.view import tables as t

HELD_SHOWN: Final = 20
"""Most halt reasons, and most waits, that a line has."""
THREADS_MAX: Final = 2**31 - 1
W: Final = t.wf_runs.c
COLUMNS: Final = (
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


def lines_of(connection: Connection, rows: Sequence[RowMapping]) -> list[WfRunLine]:
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
