"""Reads WfRuns: the present state from their rows and the tail of the log, and their history from the log.

`show` reads the compacted state topics, which have every live WfRun whatever its age. Rows follow the log, so it folds
what the log has behind them: it is right whether a worker runs or not. `history` reads the log, as far back as Kafka
keeps it. Both look for one key in one partition. The state of a WfRun says from when on to read the log, and to which
times to leap (docs/adr/0017).
"""

import time
from collections.abc import Iterator
from typing import Final

from halter.client.errors import BeginningMissing
from halter.client.events_of_wf_run import EventsOfWfRun, Placed
from halter.client.history import History
from halter.client.reading import FROM_THE_START, PartitionReader
from halter.client.wf_run_rows import WfRunRows
from processors.codec import Codec
from processors.core.records.events import WfRunStarted
from processors.core.records.model import NO_INCARNATION, WfRun
from processors.core.rules.evolve import new_run
from processors.core.rules.indexing import index_of
from processors.fold.inputs import partition_key
from processors.fold.log_tail import wf_run_at_end
from processors.kafka.partitioner import partition_of
from processors.kafka.topics import Topics

CATCH_UP_SECONDS: Final = 5.0
CLOCKS_DIFFER_MS: Final = 10 * 60 * 1000
"""Largest difference between clocks: times of a WfRun are the broker's, those of log records may be a worker's."""


class WfRunReader:
    """Finds the state and the events of one WfRun id."""

    def __init__(self, reader: PartitionReader, topics: Topics, codec: Codec) -> None:
        self._reader, self._topics, self._codec = reader, topics, codec
        self._rows = WfRunRows(reader, topics, codec)

    def show(self, wf_run_id: str, at_least: tuple[int, int] | None = None) -> WfRun | None:
        """The state of a WfRun at the end of the log; None if there is nothing under its id.

        `at_least` is the incarnation and seq of an event that is known to have happened. A broker that has just become
        the leader of the log may not show it yet, so this reads again until it is there.
        """
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while True:
            run = self._state(wf_run_id)
            if at_least is None or self._position(run) >= at_least or time.monotonic() > deadline:
                return run

    @staticmethod
    def _position(run: WfRun | None) -> tuple[int, int]:
        return (NO_INCARNATION, 0) if run is None else (run.incarnation, run.seq)

    def _state(self, wf_run_id: str) -> WfRun | None:
        return self._state_and_position(wf_run_id)[0]

    def _state_and_position(self, wf_run_id: str) -> tuple[WfRun | None, int]:
        """Return the state of a WfRun, and an offset of the log from which on its further events come."""
        rows, position = self._rows.of(wf_run_id, self._number(wf_run_id.encode()))
        behind = None if position is None else position.log_position
        placed = [] if behind is None else [*self._events(wf_run_id).since(behind)]
        run = wf_run_at_end(wf_run_id, rows, position, [it.entry for it in placed])
        return run, placed[-1].offset + 1 if placed else behind or FROM_THE_START

    def at_end(self, wf_run_id: str) -> tuple[WfRun, int]:
        """Return the state of a WfRun, to which further events can be applied, and the offset from which they come.

        While there is nothing under the id, the state is that of a new WfRun.
        """
        found, position = self._state_and_position(wf_run_id)
        run = new_run(wf_run_id) if found is None else found
        run.index = index_of(run)
        return run, position

    def _events(self, wf_run_id: str) -> EventsOfWfRun:
        key = wf_run_id.encode()
        return EventsOfWfRun(self._reader, self._codec, self._topics.wf_events, self._number(key), key)

    def partition(self, wf_run_id: str) -> int:
        """The partition in which the events of a WfRun id are."""
        return self._number(wf_run_id.encode())

    def _number(self, key: bytes) -> int:
        """The partition of a WfRun id; or of `partition/n`, the key of what an operator did to a whole partition."""
        partitions = self._topics.partitions
        named = (number for number in range(partitions) if key == partition_key(number).encode())
        return next(named, partition_of(key, partitions))

    def history(self, wf_run_id: str, *, from_start: bool = False) -> History:
        """The events of a WfRun id: from the beginning of its present WfRun, or all that the log has."""
        complete, events = self._found(wf_run_id, from_start=from_start)
        return History.of(wf_run_id, (it.entry for it in events), complete=complete)

    def events(self, wf_run_id: str, *, from_start: bool = False) -> Iterator[Placed]:
        """Yield the events that `history` has, each with its offset, as they are read."""
        return self._found(wf_run_id, from_start=from_start)[1]

    def _found(self, wf_run_id: str, *, from_start: bool) -> tuple[bool, Iterator[Placed]]:
        """Return the events, and whether they are all that the log has."""
        run = None if from_start else self._state(wf_run_id)
        if run is None or run.started_ms is None:
            return True, self._events(wf_run_id).since(FROM_THE_START)
        return False, self._events(wf_run_id).of(run, self._beginning(run))

    def _beginning(self, run: WfRun) -> int:
        """The offset from which on the log can have events of a WfRun: none is older than its first.

        What came along with a fork was not posted to it.
        """
        posted = [event.posted_ms for event in run.external_events.values() if event.posted_seq >= 0]
        first_ms = min([run.started_ms or 0, *posted])
        start_ms = first_ms - CLOCKS_DIFFER_MS
        return self._reader.offset_at(self._topics.wf_events, self._number(run.wf_run_id.encode()), start_ms)

    def follow(self, wf_run_id: str, *, from_start: bool = False) -> Iterator[Placed | None]:
        """Yield the same, and go on for ever with what comes. None stands for: no more for the moment."""
        # What comes after this moment may not be in the state by which events are found.
        position = self._reader.end(self._topics.wf_events, self._number(wf_run_id.encode()))
        for placed in self.events(wf_run_id, from_start=from_start):
            yield placed
            position = max(position, placed.offset + 1)
        yield from self._events(wf_run_id).follow(position)

    def ended(self, wf_run_id: str) -> WfRun:
        """The state of a WfRun when it ended, replayed from the log. Raises BeginningMissing."""
        history = self.history(wf_run_id)
        try:
            return history.final_state()
        except BeginningMissing:
            if not any(isinstance(entry.event, WfRunStarted) for entry in history.entries):
                raise
        # An ExternalEvent that it took may have come long before it. The row that would say when is gone.
        return self.history(wf_run_id, from_start=True).final_state()
