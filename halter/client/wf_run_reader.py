"""Reads WfRuns: the present state from their rows and the tail of the log, and their history from the log.

`show` reads the compacted state topics, which have every live WfRun whatever its age. Rows follow the log, so it folds
what the log has behind them: it is right whether a worker runs or not. `history` reads the log, as far back as Kafka
keeps it. Both look for one key in one partition. The state of a WfRun says from when on to read the log.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Final

from confluent_kafka import Message

from halter.client.errors import BeginningMissing
from halter.client.history import History
from halter.client.reading import FROM_THE_START, PartitionReader
from halter.client.wf_run_rows import WfRunRows
from processors.codec import Codec
from processors.core.records.events import LogEntry, WfRunStarted
from processors.core.records.model import NO_INCARNATION, WfRun
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
        key = wf_run_id.encode()
        rows, position = self._rows.of(wf_run_id, self._number(key))
        behind = None if position is None else position.log_position
        return wf_run_at_end(wf_run_id, rows, position, [] if behind is None else self._entries(key, behind))

    def _entries(self, key: bytes, start: int) -> list[LogEntry]:
        """The entries of the log about an id, from an offset on."""
        messages = self._reader.read(self._topics.wf_events, self._number(key), start)
        return [entry for _, entry in self._decoded(key, messages)]

    def _decoded(self, key: bytes, messages: Iterable[Message]) -> Iterator[tuple[int, LogEntry]]:
        """The entries about an id among records of the log, each with its offset."""
        for message in messages:
            if message.key() == key:
                entry = self._codec.decode(message.value() or b"")
                assert isinstance(entry, LogEntry)
                yield message.offset() or 0, entry

    def _number(self, key: bytes) -> int:
        """The partition of a WfRun id; or of `partition/n`, the key of what an operator did to a whole partition."""
        partitions = self._topics.partitions
        named = (number for number in range(partitions) if key == partition_key(number).encode())
        return next(named, partition_of(key, partitions))

    def history(self, wf_run_id: str, *, from_start: bool = False) -> History:
        """The events of a WfRun id: from the beginning of its present WfRun, or all that the log has."""
        start = FROM_THE_START if from_start else self.beginning(wf_run_id)
        entries = self._entries(wf_run_id.encode(), start)
        return History.of(wf_run_id, entries, complete=start == FROM_THE_START)

    def log(self, wf_run_id: str, start: int) -> Iterator[tuple[int, LogEntry]]:
        """Yield the events of a WfRun id from an offset of its partition on, each with its offset, as they are read."""
        key = wf_run_id.encode()
        return self._decoded(key, self._reader.read(self._topics.wf_events, self._number(key), start))

    def follow(self, wf_run_id: str, start: int) -> Iterator[tuple[int, LogEntry] | None]:
        """Do the same as `log`, and go on for ever with what comes. None stands for: no more for the moment."""
        key = wf_run_id.encode()
        for message in self._reader.follow(self._topics.wf_events, self._number(key), start):
            yield from [None] if message is None else self._decoded(key, [message])

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

    def beginning(self, wf_run_id: str) -> int:
        """The offset from which on the log can have events of the present WfRun: none is older than its first."""
        run = self._state(wf_run_id)
        if run is None or run.started_ms is None:
            return FROM_THE_START
        first_ms = min([run.started_ms, *(event.posted_ms for event in run.external_events.values())])
        start_ms = first_ms - CLOCKS_DIFFER_MS
        return self._reader.offset_at(self._topics.wf_events, self._number(wf_run_id.encode()), start_ms)
