"""The load of a shard's state: takes rows as they come, looks at them, and finds what follows from them.

Rows of WfRuns go into the store and are only looked at (`Glance`). The partition's own row and the definitions are
decoded. Wrong rows of a WfRun are noted: they are its own trouble, and the partition goes on (docs/adr/0007).
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, cast

from processors.codec import Codec, DecodeError, Record
from processors.core.records.events import Definition, LogEntry
from processors.core.records.fold_position import FoldPosition
from processors.core.records.model import WfRun
from processors.core.records.topic_names import DEFINITIONS, FOLD_POSITIONS
from processors.core.rules.context import Limits
from processors.fold.census import Census, Standing, standing
from processors.fold.definition_commands import DefinitionFold
from processors.fold.rows import RowRecord, wf_run_of
from processors.fold.stores import BrokenState, Glance, Row, Seen, WfRunStore
from processors.fold.timers import Timers

WF_RUNS_AT_ONCE: Final = 1_000


class Restoration:
    """The load of one shard. Used once: `take` for each row, `check` until there is nothing left, `finish`."""

    def __init__(
        self,
        partition: int,
        codec: Codec,
        limits: Limits,
        store: WfRunStore,
        timers: Timers,
        definitions: DefinitionFold | None,
        note_quarantine: Callable[[str, bool], None],
        census: Census | None = None,
    ) -> None:
        """`timers` and `definitions` are filled. `note_quarantine` is told of a WfRun whether it is in quarantine, and
        `census` how it stands.
        """
        self._partition, self._codec, self._store = partition, codec, store
        self._timers, self._definitions, self._note_quarantine = timers, definitions, note_quarantine
        self._glance, self._census = Glance(partition, codec, limits), census
        self._unchecked: Iterator[tuple[str, list[Row]]] | None = None
        self._definition_rows: dict[bytes, bytes] = {}
        self.broken: list[BrokenState] = []
        """The errors of rows that are wrong. A command for such a WfRun raises it again."""

    def take(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Take a record of a state topic."""
        if topic != DEFINITIONS:
            self._store.put(topic, key, value)
        elif value is not None:
            self._definition_rows[key] = value

    def check(self, at_most: int) -> bool:
        """Look at the rows of so many WfRuns. Return True if there may be more to look at."""
        if self._unchecked is None:
            self._unchecked = self._store.news()
        checked = 0
        for wf_run_id, rows in islice(self._unchecked, at_most):
            checked += 1
            try:
                seen = self._glance.at(wf_run_id, rows)
            except BrokenState as error:
                self.broken.append(error)
                quarantined = self._glance.is_quarantined(rows)
            else:
                quarantined = seen.quarantined
                self._timers.add(seen.timers)
                if self._census is not None:
                    self._count(self._census, wf_run_id, seen, rows)
            if quarantined:
                self._note_quarantine(wf_run_id, True)
        return checked == at_most

    def finish(self) -> FoldPosition | None:
        """Look at the rest, and return the position up to which the partition was folded; None if it never was.

        Raises BrokenState if the partition's own row, or a definition, cannot be read.
        """
        while self.check(WF_RUNS_AT_ONCE):
            pass
        self._timers.add(self._store.timers(), journaled=True)
        if self._census is not None:
            self._census.restored_from_notes()
        for wf_run_id in self._store.quarantined():
            self._note_quarantine(wf_run_id, self._glance.is_quarantined(self._store.rows(wf_run_id)))
        position = self._position()
        for key, value in self._definition_rows.items():
            row = Row(DEFINITIONS, key, value)
            definition = self._decoded(row)
            if self._definitions is None or not isinstance(definition, Definition):
                raise self._misplaced(row, definition)
            self._definitions.restore(definition)
        self._definition_rows.clear()
        return position

    def _count(self, census: Census, wf_run_id: str, seen: Seen, rows: Iterable[Row]) -> None:
        """Tell the census how a WfRun stands. Only one that something may hold is decoded for it."""
        run: WfRun | None = None
        found: Standing | None = None if seen.status is None else (seen.wf_spec, seen.status)
        if seen.may_be_held:
            try:
                run = wf_run_of(wf_run_id, (cast("RowRecord", self._decoded(row)) for row in rows))
            except BrokenState:
                pass  # the next command for it says so
            else:
                found = standing(run)
        census.restored(wf_run_id, found, run)

    def _position(self) -> FoldPosition | None:
        value = self._store.position()
        if value is None:
            return None
        row = Row(FOLD_POSITIONS, str(self._partition).encode(), value)
        position = self._decoded(row)
        if not isinstance(position, FoldPosition):
            raise self._misplaced(row, position)
        return position

    def log_entry(self, row: Row) -> LogEntry:
        """Return the entry that a record of the log holds. Raises BrokenState."""
        entry = self._decoded(row)
        if not isinstance(entry, LogEntry):
            raise self._misplaced(row, entry)
        return entry

    def broken_row(self, row: Row, why: object) -> BrokenState:
        """Return the error that names a row, or a record of the log."""
        return self._glance.broken(row, why)

    def _decoded(self, row: Row) -> Record:
        try:
            return self._codec.decode(row.value)
        except DecodeError as error:
            raise self._glance.broken(row, error) from error

    def _misplaced(self, row: Row, found: Record) -> BrokenState:
        return self._glance.broken(row, f"a {type(found).__name__} does not belong there")
