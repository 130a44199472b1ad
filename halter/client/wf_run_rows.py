"""Reads the rows of one WfRun as they were at one position of its partition.

The rows of a WfRun and the FoldPosition that they stand for are in five topics. A transaction writes all of them, but
it does not become visible in all topics at the same moment, and topics are read one after another. So whoever reads
them once may get rows of different moments, which fit neither each other nor the log.

This reads in rounds. Each round reads everything that any of the topics had when the round before was over, even what
was not committed yet. Two rounds without news of the WfRun prove that its rows are complete: the first, that whatever
wrote one of them also wrote the position that is known now; the second, that nothing of that position is missing.
"""

from collections.abc import Iterable
from typing import Final

from confluent_kafka import Message

from halter.client.log_records import decoded
from halter.client.reading import PartitionReader, SideBySide
from processors.codec import Codec
from processors.core.records.fold_position import FoldPosition
from processors.fold.rows import RowRecord
from processors.kafka.topics import Topics

QUIET_ROUNDS: Final = 2


class WfRunRows:
    """Finds the rows of a WfRun id."""

    def __init__(self, reader: PartitionReader, topics: Topics, codec: Codec) -> None:
        self._reader, self._codec = reader, codec
        self._wf_runs, self._positions = topics.wf_runs, topics.fold_positions
        self._below = (topics.thread_runs, topics.wf_run_external_events, topics.kept_inputs)
        """The topics of rows whose keys begin with the id of their WfRun."""

    def of(self, wf_run_id: str, partition: int) -> tuple[list[RowRecord], FoldPosition | None]:
        """Return the rows of a WfRun at some position, and this position; None if the partition was never folded."""
        with self._reader.side_by_side((self._wf_runs, *self._below, self._positions), partition) as topics:
            rows = _Rows(wf_run_id.encode(), topics, self._wf_runs, self._positions, str(partition).encode())
            rows.read()
        found = [self._row(*place, value) for place, value in rows.values.items() if value is not None]
        return found, self._position(rows.position, partition)

    def _row(self, topic: str, key: bytes, value: bytes) -> RowRecord:
        row = decoded(self._codec, value, "row", lambda: f"{topic}, key {key.decode(errors='backslashreplace')}")
        assert isinstance(row, RowRecord)
        return row

    def _position(self, value: bytes | None, partition: int) -> FoldPosition | None:
        if value is None:
            return None
        position = decoded(self._codec, value, "FoldPosition", lambda: f"{self._positions}, key {partition}")
        assert isinstance(position, FoldPosition)
        return position


class _Rows:
    """The rows of a WfRun, and the position of its partition, as far as they were read."""

    def __init__(self, wf_run_id: bytes, topics: SideBySide, wf_runs: str, positions: str, position_key: bytes) -> None:
        self._own, self._below, self._topics = wf_run_id, wf_run_id + b"/", topics
        self._wf_runs, self._positions, self._position_key = wf_runs, positions, position_key
        self.values: dict[tuple[str, bytes], bytes | None] = {}
        self.position: bytes | None = None

    def read(self) -> None:
        """Read until the rows are those of the position."""
        quiet, ends = 0, self._topics.ends()
        self._round(ends)
        position = self.position
        while True:
            before, ends = ends, self._topics.ends()
            if self._topics.has_read(ends) or not self._topics.has_read(before):
                return  # nothing is written, or a transaction stays open of which nothing is visible
            if self._round(ends):
                quiet = 0
                continue
            quiet += 1
            if quiet == 1:
                position = self.position
            elif quiet == QUIET_ROUNDS:
                self.position = position
                return

    def _round(self, ends: dict[str, int]) -> bool:
        """Read to these ends. Return True if there was anything of the WfRun."""
        news = False
        for records in self._topics.read_to(ends):
            for record in self._looked_for(records):
                topic, key = record.topic() or "", record.key() or b""
                if topic == self._positions:
                    self.position = record.value()
                elif key == self._own if topic == self._wf_runs else key.startswith(self._below):
                    self.values[topic, key] = record.value()
                    news = True
        return news

    def _looked_for(self, records: Iterable[Message]) -> list[Message]:
        """Return the records that may be of the WfRun, or its position. Of others, only the key is looked at."""
        own, position = self._own, self._position_key
        return [it for it in records if (key := it.key()) is not None and (key == position or key.startswith(own))]
