"""Reads WfRuns: the present state from their rows, and their history from the log.

`show` reads the compacted state topics, which have every live WfRun whatever its age. `history` reads the log, as far
back as Kafka keeps it. Both look for one key in one partition. The row of a WfRun says from when on to read the log.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final

from confluent_kafka import Message

from halter.client.errors import BeginningMissing
from halter.client.history import History
from halter.client.reading import FROM_THE_START, PartitionReader
from processors.codec import Codec
from processors.core.records.events import LogEntry, WfRunStarted
from processors.core.records.model import NO_INCARNATION, WfRun
from processors.fold.inputs import partition_key
from processors.fold.rows import RowRecord, assemble
from processors.kafka.partitioner import partition_of
from processors.kafka.topics import Topics

CATCH_UP_SECONDS: Final = 5.0
CLOCKS_DIFFER_MS: Final = 10 * 60 * 1000
"""Largest difference between clocks: times of a WfRun are the broker's, those of log records may be a worker's."""


class WfRunReader:
    """Finds the rows and the events of one WfRun id."""

    def __init__(self, reader: PartitionReader, topics: Topics, codec: Codec) -> None:
        self._reader, self._topics, self._codec = reader, topics, codec

    def show(self, wf_run_id: str, at_least: tuple[int, int] | None = None) -> WfRun | None:
        """The state of a WfRun, put together from its rows; None if it has none.

        `at_least` is the incarnation and seq of an event that is known to have happened. Rows become visible a moment
        after the log, and this waits for them. The rows of a busy WfRun may be from slightly different moments.
        """
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while True:
            run = self._rows(wf_run_id)
            if at_least is None or self._position(run) >= at_least or time.monotonic() > deadline:
                return run

    @staticmethod
    def _position(run: WfRun | None) -> tuple[int, int]:
        return (NO_INCARNATION, 0) if run is None else (run.incarnation, run.seq)

    def _rows(self, wf_run_id: str) -> WfRun | None:
        own = wf_run_id.encode()
        below = own + b"/"
        topics = self._topics
        found = [
            self._latest(topics.wf_runs, own, lambda key: key == own),
            self._latest(topics.thread_runs, own, lambda key: key.startswith(below)),
            self._latest(topics.wf_run_external_events, own, lambda key: key.startswith(below)),
            self._latest(topics.kept_inputs, own, lambda key: key.startswith(below)),
        ]
        rows = []
        for row in (row for of_topic in found for row in of_topic.values()):
            assert isinstance(row, RowRecord)
            rows.append(row)
        return assemble(wf_run_id, rows)

    def _latest(self, topic: str, wf_run_id: bytes, wanted: Callable[[bytes], bool]) -> dict[bytes, object]:
        """The latest row of each key, without tombstones. Only the rows that are wanted are decoded."""
        values: dict[bytes, bytes | None] = {}
        for message in self._partition(topic, wf_run_id, FROM_THE_START):
            key = message.key() or b""
            if wanted(key):
                values[key] = message.value()
        return {key: self._codec.decode(value) for key, value in values.items() if value is not None}

    def _partition(self, topic: str, wf_run_id: bytes, start: int) -> Iterator[Message]:
        yield from self._reader.read(topic, self._number(wf_run_id), start)

    def _number(self, key: bytes) -> int:
        """The partition of a WfRun id; or of `partition/n`, the key of what an operator did to a whole partition."""
        partitions = self._topics.partitions
        named = (number for number in range(partitions) if key == partition_key(number).encode())
        return next(named, partition_of(key, partitions))

    def history(self, wf_run_id: str, *, from_start: bool = False) -> History:
        """The events of a WfRun id: from the beginning of its present WfRun, or all that the log has."""
        key = wf_run_id.encode()
        start = FROM_THE_START if from_start else self._beginning(wf_run_id)
        entries = []
        for message in self._partition(self._topics.wf_events, key, start):
            if message.key() == key:
                entry = self._codec.decode(message.value() or b"")
                assert isinstance(entry, LogEntry)
                entries.append(entry)
        return History.of(wf_run_id, entries, complete=start == FROM_THE_START)

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

    def _beginning(self, wf_run_id: str) -> int:
        """The offset from which on the log can have events of the present WfRun: none is older than its first."""
        run = self._rows(wf_run_id)
        if run is None or run.started_ms is None:
            return FROM_THE_START
        first_ms = min([run.started_ms, *(event.posted_ms for event in run.external_events.values())])
        start_ms = first_ms - CLOCKS_DIFFER_MS
        return self._reader.offset_at(self._topics.wf_events, self._number(wf_run_id.encode()), start_ms)
