"""What somebody should look at now, as far as a view tells: how much, since when, and what is new.

Each function reads on the connection that it is given, and is bounded: by an index, and by a limit. Knows the tables.
Does not write.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, RowMapping, func, select

from halter.view import tables as t
from halter.view.paging import counted_up_to

COUNTED_MAX: Final = 10_000
"""Where to stop counting: beyond, a number is `10,000+`."""
ROWS_MAX: Final = 200
"""Most WfRuns in quarantine that are told."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that have something in common: how many, since when, and what."""

    name: str
    count: int
    since_ms: int | None
    more: str = ""


def alarms(connection: Connection) -> dict[str, int]:
    """How much in each place asks to be looked at, by the address of the place."""
    letters = counted_up_to(
        connection, select(t.dead_letters.c.partition).where(t.dead_letters.c.retries == 0), COUNTED_MAX
    )
    caught = counted_up_to(connection, select(t.wf_runs.c.wf_run_id).where(t.wf_runs.c.quarantined == 1), COUNTED_MAX)
    return {"/dead-letters": letters, "/partitions": caught}


def quarantined(connection: Connection, limit: int = ROWS_MAX) -> Sequence[RowMapping]:
    """The WfRuns in quarantine, the longest first."""
    c = t.wf_runs.c
    query = select(t.wf_runs).where(c.quarantined == 1).order_by(c.quarantined_ms).limit(limit)
    return connection.execute(query).mappings().all()


def dead_letters_by_reason(connection: Connection) -> list[Group]:
    """The dead letters that nobody has retried, by reason."""
    c = t.dead_letters.c
    newest = select(c.reason, c.at_ms).where(c.retries == 0).order_by(c.at_ms.desc()).limit(COUNTED_MAX).subquery().c
    query = (
        select(newest.reason, func.count(), func.max(newest.at_ms))
        .group_by(newest.reason)
        .order_by(func.count().desc())
    )
    return [Group(reason, count, last_ms) for reason, count, last_ms in connection.execute(query)]


def failed_since(connection: Connection, code: str, after_ms: int) -> Group:
    """The WfRuns that failed with a code after a time: how many, the last of them, and the message of that."""
    c = t.wf_runs.c
    query = select(c.changed_ms, c.failure_message).where(c.failure_code == code, c.changed_ms >= after_ms)
    last = connection.execute(query.order_by(c.changed_ms.desc()).limit(1)).first()
    count = counted_up_to(connection, query, COUNTED_MAX)
    return Group(code, count, last[0] if last else None, (last[1] or "") if last else "")


def overdue_tasks(connection: Connection, now_ms: int) -> list[Group]:
    """The task attempts that should have timed out, by TaskDef: the workers are behind."""
    c = t.tasks.c
    some = select(c.task_def, c.until_ms).where(c.status == "OUT", c.until_ms < now_ms).limit(COUNTED_MAX).subquery().c
    query = select(some.task_def, func.count(), func.min(some.until_ms)).group_by(some.task_def).limit(10)
    return [Group(name or "?", count, since_ms) for name, count, since_ms in connection.execute(query)]


def tasks_out(connection: Connection) -> list[Group]:
    """The task attempts that are out, by TaskDef, with the oldest."""
    c = t.tasks.c
    some = select(c.task_def, c.requested_ms).where(c.status == "OUT").limit(COUNTED_MAX).subquery().c
    query = (
        select(some.task_def, func.count(), func.min(some.requested_ms))
        .group_by(some.task_def)
        .order_by(func.count().desc())
        .limit(12)
    )
    return [Group(name or "?", count, since_ms) for name, count, since_ms in connection.execute(query)]


def recent_failures(connection: Connection, limit: int = 8) -> Sequence[RowMapping]:
    """The newest failures that ended a thread."""
    c = t.failures.c
    query = select(t.failures).where(c.handler.is_(None)).order_by(c.failed_ms.desc()).limit(limit)
    return connection.execute(query).mappings().all()


def by_wf_spec(connection: Connection) -> dict[str, dict[str, int]]:
    """How many WfRuns of each WfSpec there are, by status. It looks at all: for views with few WfRuns."""
    c = t.wf_runs.c
    query = (
        select(c.wf_spec_name, c.status, func.count()).where(c.status.is_not(None)).group_by(c.wf_spec_name, c.status)
    )
    found: dict[str, dict[str, int]] = {}
    for name, status, count in connection.execute(query).all():
        found.setdefault(name, {})[status] = count
    return found
