"""Writes rows in bulk, into SQLite and PostgreSQL alike: a statement for each table, with all of its rows.

Knows tables and rows; does not know what they mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, delete, func, update
from sqlalchemy.dialects import postgresql, sqlite

from halter.view import tables
from halter.view.projection import Row

ONLY_IF_KNOWN: Final = {
    "wf_runs": frozenset({"forked_from"}),
    "tasks": frozenset({"task_def", "node_name", "requested_ms", "started_ms", "until_ms", "log_offset"}),
    "external_events": frozenset({"purpose", "handler", "log_offset"}),
}
"""Columns that keep what they have where a row says nothing."""
OF_ENTRYPOINT: Final = frozenset(
    {"failure_code", "failure_message", "cause_code", "node_name", "variables", "search_text"}
)
"""Columns of `wf_runs` that stay as thread 0 left them."""

OF_STATE: Final = (tables.state, tables.wf_runs, tables.halt_reasons, tables.waits, tables.correlation_keys)
"""Tables that follow from the state of a WfRun alone."""


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    keep: frozenset[str] = frozenset(),
    coalesced: frozenset[str] | None = None,
) -> int:
    """Insert rows, or put them in the place of those with their keys. Columns in `keep` stay as they are.

    Columns in `coalesced`, by default those of ONLY_IF_KNOWN, stay where a row says nothing.
    """
    if not rows:
        return 0
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    key = [column.name for column in table.primary_key.columns]
    if coalesced is None:
        coalesced = ONLY_IF_KNOWN.get(table.name, frozenset())
    changed = {
        name: func.coalesce(insert.excluded[name], table.c[name]) if name in coalesced else insert.excluded[name]
        for name in rows[0]
        if name not in key and name not in keep
    }
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changed), rows)
    return len(rows)


@dataclass(slots=True)
class Batch:
    """What one transaction writes of WfRuns."""

    events: list[Row] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    """Ids of WfRuns of which nothing stays; rows of a new one of the same id come after."""
    replaced: list[str] = field(default_factory=list)
    """Ids of WfRuns whose state is written anew. What the log alone tells of them stays."""
    ended_quarantines: list[str] = field(default_factory=list)
    """Ids under which nothing was started and that have no row of their own any more, if they had one."""
    wf_runs: list[Row] = field(default_factory=list)
    wf_runs_without_entrypoint: list[Row] = field(default_factory=list)
    threads: list[Row] = field(default_factory=list)
    external_events: list[Row] = field(default_factory=list)
    new_external_events: list[Row] = field(default_factory=list)
    """Those that were posted since: nothing stays of one that had the id before."""
    tasks: list[Row] = field(default_factory=list)
    failures: list[Row] = field(default_factory=list)
    _state: dict[tuple[str, str, str], bytes | None] = field(default_factory=dict)
    _replaced: dict[str, dict[str, list[Row]]] = field(default_factory=dict)

    def put_state(self, wf_run_id: str, topic: str, key: str, value: bytes | None) -> None:
        """Add a row of the state; None in place of its value if it is gone."""
        self._state[wf_run_id, topic, key] = value

    def replace(self, table: str, wf_run_id: str, rows: list[Row]) -> None:
        """Put these rows in the place of all those that a WfRun has in a table."""
        self._replaced.setdefault(table, {})[wf_run_id] = rows

    def write(self, connection: Connection) -> int:
        """Write everything. Return the number of rows that were written."""
        written = self._insert(connection, tables.events, self.events)
        for table in tables.OF_WF_RUNS if self.deleted else ():
            self._delete_of(connection, table, self.deleted)
        for table in OF_STATE if self.replaced else ():
            self._delete_of(connection, table, self.replaced)
        self._end_what_was_folded(connection)
        self._delete_of(connection, tables.wf_runs, self.ended_quarantines)
        written += upsert(connection, tables.wf_runs, self.wf_runs)
        written += upsert(connection, tables.wf_runs, self.wf_runs_without_entrypoint, keep=OF_ENTRYPOINT)
        written += upsert(connection, tables.thread_runs, self.threads)
        written += upsert(connection, tables.external_events, self.external_events)
        written += upsert(connection, tables.external_events, self.new_external_events, coalesced=frozenset())
        written += upsert(connection, tables.tasks, self.tasks)
        written += self._insert(connection, tables.failures, self.failures)
        for name, of_runs in self._replaced.items():
            table = tables.metadata.tables[name]
            self._delete_of(connection, table, list(of_runs))
            written += self._insert(connection, table, [row for rows in of_runs.values() for row in rows])
        return written + self._write_state(connection)

    def _write_state(self, connection: Connection) -> int:
        gone = [_state_key(key) for key, value in self._state.items() if value is None]
        there = [
            {"wf_run_id": wf_run_id, "topic": topic, "row_key": key, "value": value}
            for (wf_run_id, topic, key), value in self._state.items()
            if value is not None
        ]
        table = tables.state
        if gone:
            connection.execute(
                delete(table).where(
                    table.c.wf_run_id == bindparam("id"),
                    table.c.topic == bindparam("of"),
                    table.c.row_key == bindparam("key"),
                ),
                gone,
            )
        return upsert(connection, table, there)

    def _end_what_was_folded(self, connection: Connection) -> None:
        """Let nothing count as present that is not in the rows which take its place."""
        if self.replaced:
            ids = [{"of": it} for it in self.replaced]
            threads, events, tasks = tables.thread_runs, tables.external_events, tables.tasks
            of_one = threads.c.wf_run_id == bindparam("of"), threads.c.hot == 1
            connection.execute(delete(threads).where(*of_one), ids)
            connection.execute(update(events).where(events.c.wf_run_id == bindparam("of")).values(hot=0), ids)
            # `coalesce`, or SQLite takes the index of the status: each WfRun would look at all attempts that are out.
            is_out = tasks.c.wf_run_id == bindparam("of"), func.coalesce(tasks.c.status, "") == "OUT"
            connection.execute(update(tasks).where(*is_out).values(status="CANCELLED"), ids)

    @staticmethod
    def _insert(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        if rows:
            connection.execute(table.insert(), rows)
        return len(rows)

    @staticmethod
    def _delete_of(connection: Connection, table: Table, wf_run_ids: Sequence[str]) -> None:
        if wf_run_ids:
            of_one = delete(table).where(table.c.wf_run_id == bindparam("of"))
            connection.execute(of_one, [{"of": it} for it in wf_run_ids])


def _state_key(key: tuple[str, str, str]) -> dict[str, Any]:
    wf_run_id, topic, row_key = key
    return {"id": wf_run_id, "of": topic, "key": row_key}
