"""How many of what there are in the view: WfRuns, halt reasons, waits, failures, dead letters, tasks, ExternalEvents.

Counting is bounded: beyond, a number is `100,000+` or `10,000+`. Knows the tables. Does not write.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, FromClause, literal, select

from halter.view import tables as t
from halter.view.looking import COUNTED, ONE, counted_by_value, different_values
from halter.view.paging import Count, count_up_to
from halter.view.progress import Lag, lag

W: Final = t.wf_runs.c
WF_RUNS_COUNTED: Final = 100_000
"""Where counting WfRuns by status and by WfSpec ends."""


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
    lag: Lag


@dataclass(frozen=True, slots=True)
class Oldest:
    """How many there are of a kind, and the oldest of them."""

    count: Count
    since_ms: int | None


def stats(connection: Connection) -> Stats:
    """Return how many of what there are."""
    return Stats(
        by_status=counted_by_value(connection, W.status, WF_RUNS_COUNTED),
        by_wf_spec=counted_by_value(connection, W.wf_spec_name, WF_RUNS_COUNTED),
        halted_by_reason=_oldest(connection, t.halt_reasons, t.halt_reasons.c.kind),
        waiting=_oldest(connection, t.waits, t.waits.c.waits_for),
        failures=_most_first(counted_by_value(connection, W.failure_code, COUNTED)),
        causes=_most_first(counted_by_value(connection, W.cause_code, COUNTED)),
        quarantined=count_up_to(connection, select(literal(1)).where(W.quarantined == ONE), COUNTED),
        dead_letters=counted_by_value(connection, t.dead_letters.c.reason, COUNTED),
        dead_letters_from=counted_by_value(connection, t.dead_letters.c.origin, COUNTED),
        tasks_out=count_up_to(connection, select(literal(1)).where(t.tasks.c.status == "OUT"), COUNTED),
        unclaimed_events=count_up_to(
            connection, select(literal(1)).where(t.external_events.c.status == "UNCLAIMED"), COUNTED
        ),
        lag=lag(connection),
    )


def _most_first(counts: Mapping[str, Count]) -> dict[str, Count]:
    return dict(sorted(counts.items(), key=lambda it: (-it[1].number, it[0])))


def _oldest(connection: Connection, table: FromClause, kind: ColumnElement[Any]) -> dict[str, Oldest]:
    found = {}
    for name in different_values(connection, kind):
        since = table.c.since_ms
        oldest = select(since).where(kind == name, since.is_not(None)).order_by(since).limit(1)
        number = count_up_to(connection, select(literal(1)).select_from(table).where(kind == name), COUNTED)
        found[name] = Oldest(number, connection.scalar(oldest))
    return found
