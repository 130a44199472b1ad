"""Reads the state of WfRuns that a view has, as `evolve` made it. Masked values are not in it.

Knows the table of the rows. Does not change them.
"""

from collections.abc import Sequence
from typing import TypeAlias

from sqlalchemy import Connection, select

from halter.view import tables
from processors.codec import Codec
from processors.core.records.model import WfRun
from processors.core.rules.indexing import index_of
from processors.core.wf_spec.definitions import Definitions
from processors.fold.rows import RowRecord, wf_run_of

SizedRecord: TypeAlias = tuple[RowRecord, int]
"""A row, and the number of its bytes."""


def records_of(connection: Connection, codec: Codec, ids: Sequence[str]) -> dict[str, list[SizedRecord]]:
    """Return the rows of WfRuns, each with the number of its bytes. One that the view does not have has none."""
    found: dict[str, list[SizedRecord]] = {it: [] for it in ids}
    table = tables.state.c
    for wf_run_id, value in connection.execute(select(table.wf_run_id, table.value).where(table.wf_run_id.in_(ids))):
        record = codec.decode(value)
        assert isinstance(record, RowRecord)
        found[wf_run_id].append((record, len(value)))
    return found


def wf_runs_of(connection: Connection, codec: Codec, definitions: Definitions, ids: Sequence[str]) -> list[WfRun]:
    """Return those of these WfRuns that the view has, with their WfSpecs. Raises UnreadableWfSpec."""
    runs = []
    for wf_run_id, records in records_of(connection, codec, ids).items():
        run = wf_run_of(wf_run_id, (record for record, _ in records))
        if run.wf_spec is not None:
            run.spec, run.index = definitions.wf_spec(run.wf_spec), index_of(run)
            runs.append(run)
    return runs
