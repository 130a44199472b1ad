"""How far the view has read each partition, and how far it is behind the log. Knows the tables. Does not write."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from halter.view import tables as t
from processors.kafka.partitioner import partition_of

STALE_MS: Final = 30_000
"""A view that has heard nothing of Kafka for so long is not kept current by anybody."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the view is behind the log."""

    records: int
    """Records that it has still to read."""
    seen_ms: int | None
    """When that was last looked at; None: never."""

    def is_stale(self, now_ms: int) -> bool:
        """Return True if nobody keeps the view current."""
        return self.seen_ms is None or is_stale(self.seen_ms, now_ms)


def is_stale(seen_ms: int, now_ms: int) -> bool:
    """Return True if what was looked at last at a time is not kept current."""
    return now_ms - seen_ms > STALE_MS


def lag(connection: Connection) -> Lag:
    """Return how far the view is behind the log."""
    total, seen = connection.execute(select(func.sum(t.partitions.c.lag), func.min(t.partitions.c.seen_ms))).one()
    return Lag(int(total or 0), seen)


@dataclass(frozen=True, slots=True)
class PartitionLine:
    """How far the view has read a partition."""

    partition: int
    log_offset: int
    lag: int
    seen_ms: int
    event_ms: int | None


def partition_count(connection: Connection) -> int:
    """Return how many partitions the installation has; 0 if nothing was read yet."""
    return connection.execute(select(t.source.c.partitions)).scalar() or 0


def partition_of_id(connection: Connection, wf_run_id: str) -> PartitionLine | None:
    """Return how far the partition of a WfRun is read; None if nothing is."""
    count = partition_count(connection)
    if not count:
        return None
    number = partition_of(wf_run_id.encode(), count)
    return next((it for it in partitions(connection) if it.partition == number), None)


def partitions(connection: Connection) -> list[PartitionLine]:
    """Return how far each partition is read."""
    c = t.partitions.c
    columns = c.partition, c.log_offset, c.lag, c.seen_ms, c.event_ms
    return [PartitionLine(*row) for row in connection.execute(select(*columns).order_by(c.partition))]
