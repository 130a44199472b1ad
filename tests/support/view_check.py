"""Compares a view with the fold of the log: byte for byte where it keeps rows, and its tables with what follows.

The fold is that of `halter.history.state_of_log`, from the beginning of the log to where the view is.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Table, select

from halter.client import Client
from halter.client.log_records import log_entry
from halter.client.reading import FROM_THE_START
from halter.history.state_of_log import StateOfLog
from halter.view import tables
from halter.view.keeping import ends_of
from halter.view.place import View
from halter.view.projection import (
    correlation_key_rows,
    entrypoint_row,
    external_event_row,
    halt_reason_rows,
    thread_row,
    wait_rows,
    wf_run_row,
)
from processors.core.records.model import WfRun
from processors.core.rules.engine import indexed
from processors.core.rules.indexing import index_of
from processors.core.wf_spec.definitions import Definitions
from processors.fold.rows import RowRecord, wf_run_of

StateRow = tuple[str, str, str]
"""WfRun id, topic and key."""
TIMES_OF_THE_LOG = ("since_ms", "log_offset", "changed_ms", "forked_from", "purpose", "handler")
"""Columns that do not follow from a state alone."""
OF_THREAD_0 = ("failure_code", "failure_message", "cause_code", "node_name", "variables", "search_text")
"""Columns that stay as a thread 0 left them that is in no row any more."""


def differences(client: Client, view: View) -> list[str]:
    """Return in which rows a view with masked values differs from the fold of the log."""
    expected: dict[StateRow, bytes] = {}
    with view.read() as connection:
        ends = ends_of(connection)
        found = {(row.wf_run_id, row.topic, row.row_key): row.value for row in connection.execute(select(tables.state))}
        of_tables = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in tables.OF_WF_RUNS
        }
    problems: list[str] = []
    partition_of: dict[str, int] = {}
    for partition, end in ends.items():
        state = StateOfLog(partition, client.codec)
        for messages in client.reader.batches(client.topics.wf_events, partition, FROM_THE_START, end.log_offset):
            problems += [why for it in messages if (why := state.take(log_entry(client.codec, it))) is not None]
        for topic, row in state.rows():
            key = row.key.decode()
            wf_run_id = key.partition("/")[0]
            expected[wf_run_id, topic, key] = row.value
            partition_of[wf_run_id] = partition
    for place in sorted(expected.keys() | found.keys()):
        if expected.get(place) != found.get(place):
            had, has = (
                None if it is None else client.codec.decode(it) for it in (expected.get(place), found.get(place))
            )
            problems.append(f"state {place}: the log gives {had}, the view has {has}")
    return problems + list(_in_tables(client, expected, partition_of, client.definitions(), of_tables))


def _in_tables(
    client: Client,
    state: dict[StateRow, bytes],
    partition_of: dict[str, int],
    definitions: Definitions,
    found: dict[str, list[dict[str, Any]]],
) -> Iterable[str]:
    records: defaultdict[str, list[RowRecord]] = defaultdict(list)
    for (wf_run_id, _, _), value in state.items():
        record = client.codec.decode(value)
        assert isinstance(record, RowRecord)
        records[wf_run_id].append(record)
    expected: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for wf_run_id, of_one in records.items():
        run = wf_run_of(wf_run_id, of_one)
        run.index = index_of(run)
        if run.wf_spec is not None:
            indexed(run, definitions)
        _rows_of(run, partition_of[wf_run_id], expected)
    for table in (
        tables.wf_runs,
        tables.thread_runs,
        tables.halt_reasons,
        tables.waits,
        tables.external_events,
        tables.correlation_keys,
    ):
        yield from _compared(table, expected[table.name], found[table.name])


def _rows_of(run: WfRun, partition: int, rows: defaultdict[str, list[dict[str, Any]]]) -> None:
    shown: frozenset[tuple[str, str]] = frozenset()
    if run.exists or run.quarantined_ms is not None:
        entrypoint = run.threads.get(0)
        own = wf_run_row(run, partition, None)
        rows["wf_runs"].append(own if entrypoint is None else own | entrypoint_row(run, entrypoint, shown))
        rows["waits"] += wait_rows(run)
        rows["correlation_keys"] += correlation_key_rows(run)
    for thread in run.threads.values():
        rows["thread_runs"].append(thread_row(run, thread, shown, 0, None))
        rows["halt_reasons"] += halt_reason_rows(thread, [None] * len(thread.halt_reasons))
    rows["external_events"] += map(external_event_row, run.external_events.values())


def _compared(table: Table, expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> Iterable[str]:
    key = [column.name for column in table.primary_key.columns]
    left_out = set(TIMES_OF_THE_LOG) - ({"changed_ms"} if table.name == "wf_runs" else set())
    of_log = {tuple(row[it] for it in key): row for row in expected}
    of_view = {tuple(row[it] for it in key): row for row in found if row.get("hot", 1)}
    for place in sorted(of_log.keys() | of_view.keys()):
        one, other = of_log.get(place), of_view.get(place)
        if one is None or other is None:
            yield f"{table.name} {place}: the log gives {one}, the view has {other}"
            continue
        for name, value in one.items():
            if name not in left_out and other[name] != value:
                yield f"{table.name} {place}.{name}: the log gives {value!r}, the view has {other[name]!r}"
