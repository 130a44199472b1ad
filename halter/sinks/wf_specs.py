"""Which WfSpec each WfRun of a partition is of. Events do not say it, but what is masked depends on it.

A WfRunStarted says it for the events behind it. Those of a WfRun that had started before the sink began to read are
known by its row, or by the log behind the rows, which are written a little later. A WfRun that is deleted while the
sink is behind is not known any more; whoever asks gets None, and leaves all values out.
"""

from collections import deque
from functools import partial
from typing import Final, TypeAlias

from halter.client.log_records import decoded, log_entry, where
from halter.client.reading import FROM_THE_START, PartitionReader
from processors.codec import Codec
from processors.core.records.events import LogEntry, WfRunStarted
from processors.core.records.fold_position import FoldPosition
from processors.core.records.model import WfRun, WfSpecId
from processors.kafka.topics import Topics

DELETED_KEPT_MAX: Final = 1_000
"""WfRuns that are deleted and still known: their last events may have to be mapped again."""
STARTED: Final = WfRunStarted.__name__.encode()
Run: TypeAlias = tuple[str, int]
"""WfRun id and incarnation."""


class WfSpecsOfRuns:
    """Knows the WfSpec of each WfRun in some partitions: the version with which it started, or that its row has."""

    def __init__(self, reader: PartitionReader, topics: Topics, codec: Codec) -> None:
        self._reader, self._topics, self._codec = reader, topics, codec
        self._ids: dict[int, dict[Run, WfSpecId]] = {}
        self._same: dict[WfSpecId, WfSpecId] = {}
        """One object for all WfRuns of a version."""
        self._deleted: dict[int, deque[Run]] = {}

    def begin(self, partition: int) -> None:
        """Learn the WfRuns that there are in a partition. Raises KafkaUnavailable, OffsetGone."""
        ids: dict[Run, WfSpecId] = {}
        # The position comes first: what it says is in the rows that are read afterwards.
        position = self._position(partition)
        for message in self._reader.read(self._topics.wf_runs, partition, FROM_THE_START):
            if (value := message.value()) is not None:
                run = decoded(self._codec, value, "row", partial(where, message))
                assert isinstance(run, WfRun)
                if run.wf_spec is not None:
                    ids[run.wf_run_id, run.incarnation] = self._one(run.wf_spec)
        if position is not None:
            for message in self._reader.read(self._topics.wf_events, partition, position):
                # Few of the log are starts, and their headers say so.
                if ("event", STARTED) in (message.headers() or ()):
                    self._note(ids, log_entry(self._codec, message))
        self._ids[partition], self._deleted[partition] = ids, deque()

    def _position(self, partition: int) -> int | None:
        newest: bytes | None = None
        for message in self._reader.read(self._topics.fold_positions, partition, FROM_THE_START):
            newest = message.value()
        if newest is None:
            return None
        position = decoded(self._codec, newest, "row", lambda: f"{self._topics.fold_positions}[{partition}]")
        assert isinstance(position, FoldPosition)
        return position.log_position

    def _note(self, ids: dict[Run, WfSpecId], entry: LogEntry) -> None:
        if isinstance(entry.event, WfRunStarted):
            ids[entry.wf_run_id, entry.incarnation] = self._one(entry.event.wf_spec)

    def _one(self, wf_spec: WfSpecId) -> WfSpecId:
        return self._same.setdefault(wf_spec, wf_spec)

    def started(self, partition: int, entry: LogEntry) -> None:
        """Learn from a WfRunStarted."""
        self._note(self._ids.setdefault(partition, {}), entry)

    def deleted(self, partition: int, entry: LogEntry) -> None:
        """Forget a WfRun, a while later."""
        waiting = self._deleted.setdefault(partition, deque())
        waiting.append((entry.wf_run_id, entry.incarnation))
        if len(waiting) > DELETED_KEPT_MAX:
            self._ids[partition].pop(waiting.popleft(), None)

    def of(self, partition: int, entry: LogEntry) -> WfSpecId | None:
        """Return the WfSpec of an event's WfRun; None if it is not known, or there is no WfRun."""
        return self._ids.get(partition, {}).get((entry.wf_run_id, entry.incarnation))
