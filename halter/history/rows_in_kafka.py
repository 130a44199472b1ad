"""Reads all rows of a partition, while workers may write them."""

from itertools import chain

from halter.client.client import Client
from halter.client.log_records import decoded
from halter.history.checking_state import RowKey, RowsRead
from processors.core.records.errors import HalterError
from processors.core.records.fold_position import FoldPosition
from processors.core.records.topic_names import (
    FOLD_POSITIONS,
    KEPT_INPUTS,
    THREAD_RUNS,
    WF_RUN_EXTERNAL_EVENTS,
    WF_RUNS,
)


class NeverFolded(HalterError):
    """A partition has no row that says how far it is folded. Whoever asked starts a worker first."""


def rows_in_kafka(client: Client, partition: int) -> RowsRead:
    """Read the rows of a partition. Raises NeverFolded.

    A transaction does not become visible in all topics at the same moment. So what came while the rows were read is
    read as well, and the WfRuns of which there were rows in it count as moved.
    """
    prefix = client.topics.prefix
    topics = [prefix + topic for topic in (WF_RUNS, THREAD_RUNS, WF_RUN_EXTERNAL_EVENTS, KEPT_INPUTS, FOLD_POSITIONS)]
    rows: dict[RowKey, bytes] = {}
    moved: set[str] = set()
    positions: list[bytes | None] = []
    with client.reader.side_by_side(topics, partition) as side_by_side:
        position: bytes | None = None
        for is_first in (True, False):
            for message in chain.from_iterable(side_by_side.read_to(side_by_side.ends())):
                topic, key, value = (message.topic() or "").removeprefix(prefix), message.key() or b"", message.value()
                if topic == FOLD_POSITIONS:
                    position = value
                    continue
                if not is_first:
                    moved.add(key.partition(b"/")[0].decode(errors="backslashreplace"))
                if value is None:
                    rows.pop((topic, key), None)
                else:
                    rows[topic, key] = value
            positions.append(position)
    before, later = (_position(client, value, partition) for value in positions)
    return RowsRead(rows, before, later, frozenset(moved))


def _position(client: Client, value: bytes | None, partition: int) -> FoldPosition:
    if value is None:
        raise NeverFolded(
            f"expected a row of {client.topics.fold_positions} for partition {partition}, found none: no worker has "
            "written its state yet"
        )
    position = decoded(client.codec, value, "FoldPosition", lambda: f"{client.topics.fold_positions}, key {partition}")
    assert isinstance(position, FoldPosition)
    return position
