"""How many live threads stand at each node of a WfSpec, and how its newest WfRuns are. Bounded, as all looks are.

Knows the tables. Does not write.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, and_, func, select

from halter.view import looking
from halter.view import tables as t
from halter.view.looking import ONE, different_values
from halter.view.paging import Count

AT_NODE: Final = 1_000
"""Where counting the threads at one node ends."""
LIVE: Final = ("RUNNING", "HALTING", "HALTED", "ERROR")
W: Final = t.wf_runs.c


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
    # An index has all that the inner query asks for, so a database does not look for the newest of all WfRuns instead.
    newest = select(W.wf_run_id).where(W.wf_spec_name == wf_spec).order_by(W.changed_ms.desc(), W.wf_run_id.desc())
    walked = newest.limit(looking.LOOKED_AT).subquery()
    joined = walked.join(t.wf_runs, walked.c.wf_run_id == W.wf_run_id)
    query = select(W.status, W.wf_spec_version, func.count()).select_from(joined)
    rows = connection.execute(query.group_by(W.status, W.wf_spec_version)).all()
    found: dict[str, int] = {}
    for status, of, number in rows:
        if status is not None and version in (None, of):
            found[status] = found.get(status, 0) + number
    return Newest(found, sum(number for _, _, number in rows) < looking.LOOKED_AT)


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
