"""The state that the log gives: folds entries with `evolve` alone, and holds the rows that follow from them.

It runs no rule. It holds encoded rows, and decoded only the WfRuns that were touched lately, so it takes as much memory
as a worker's state does.
"""

from collections.abc import Iterator
from typing import Final

from halter.history.deciding import Row
from processors.codec import Codec
from processors.core.records.events import LogEntry, RecordSkipped, SkipAccepted, SkipLapsed
from processors.core.records.fold_position import FoldPosition, PendingSkip
from processors.core.records.model import WfRun
from processors.core.records.topic_names import FOLD_POSITIONS, OPERATOR_COMMANDS
from processors.core.rules.engine import new_run
from processors.core.rules.evolve import COMMAND_IDS_REMEMBERED, evolve
from processors.core.rules.indexing import index_of
from processors.fold.log_tail import misfit
from processors.fold.rows import changed_rows, has_rows
from processors.fold.stores import MemoryStore, WfRuns

UNWRITTEN_MAX: Final = 2_000


class StateOfLog:
    """The rows of a partition's WfRuns after the entries that it was given, in the order of the log."""

    def __init__(self, partition: int, codec: Codec) -> None:
        self._partition, self._codec = partition, codec
        self._store = MemoryStore()
        self._runs = WfRuns(partition, self._store, codec, lambda run, _: run)
        self._unwritten: set[str] = set()
        self._offsets: dict[str, int] = {}
        self._definitions_position = 0
        self._skips: list[PendingSkip] = []
        self._command_ids: list[str] = []

    def take(self, entry: LogEntry) -> str | None:
        """Take the next entry. Return why it cannot be the next one of its WfRun, which it then leaves as it was."""
        self._note_position(entry)
        wf_run_id = entry.wf_run_id
        run = self._runs.get(wf_run_id)
        if run is None:
            run = new_run(wf_run_id)
            self._runs.hold(run)
        elif wf_run_id not in self._unwritten:
            run.index = index_of(run)
        self._unwritten.add(wf_run_id)
        why = misfit(run, entry)
        if why is not None:
            return why
        evolve(run, entry)
        if len(self._unwritten) >= UNWRITTEN_MAX:
            self._write()
        return None

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yield the rows of all WfRuns, each with its topic."""
        self._write()
        for _, rows in self._store.news():
            yield from ((row.topic, Row(row.key, row.value)) for row in rows)

    def rows_of(self, wf_run_id: str) -> dict[tuple[str, bytes], bytes]:
        """Return the rows of one WfRun: topic and key -> value."""
        self._write()
        return {(row.topic, row.key): row.value for row in self._store.rows(wf_run_id)}

    def wf_run_ids(self) -> Iterator[str]:
        """Yield the ids of all WfRuns that have rows."""
        self._write()
        return self._store.wf_run_ids()

    def position(self) -> tuple[str, Row]:
        """Return the row that says how far the partition is folded, with its topic. It names no place on the log."""
        position = FoldPosition(
            self._partition, self._offsets, self._definitions_position, self._skips, self._command_ids
        )
        return FOLD_POSITIONS, Row(str(self._partition).encode(), self._codec.encode(position))

    def _note_position(self, entry: LogEntry) -> None:
        cause, event = entry.cause, entry.event
        self._offsets[cause.topic] = max(self._offsets.get(cause.topic, 0), cause.offset + 1)
        self._definitions_position = max(self._definitions_position, cause.definitions_position)
        if isinstance(event, SkipAccepted) and event.topic != OPERATOR_COMMANDS:
            self._skips.append(PendingSkip(event.topic, event.offset, event.timestamp_ms, event.reason, event.operator))
        elif isinstance(event, SkipLapsed):
            self._skips = [it for it in self._skips if (it.topic, it.offset) != (event.topic, event.offset)]
        elif isinstance(event, RecordSkipped):
            self._skips = [it for it in self._skips if (it.topic, it.offset) != (cause.topic, cause.offset)]
        elif cause.topic == OPERATOR_COMMANDS and cause.command_id not in (None, *self._command_ids):
            self._command_ids = [*self._command_ids, cause.command_id or ""][-COMMAND_IDS_REMEMBERED:]

    def _write(self) -> None:
        for wf_run_id in self._unwritten:
            run = self._runs.get(wf_run_id)
            if run is not None:
                self._write_rows_of(run)
        self._unwritten.clear()
        self._runs.rest(())

    def _write_rows_of(self, run: WfRun) -> None:
        for topic, key, record in changed_rows(run, own_row_is_lost=False):
            self._runs.put(topic, key.encode(), None if record is None else self._codec.encode(record))
        run.changes.clear()
        if not has_rows(run):
            self._runs.remove(run.wf_run_id)
