"""Reading state topics from their beginning to a known end.

Under read_committed the end of a partition is reported at the last stable offset; the caller has settled the
topics, so that is the high watermark it names as the end, and reading stops nowhere before it.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from processors.runtime.clients import Clients
from processors.runtime.names import Place
from processors.runtime.waiting import Waiting

RECORDS_AT_ONCE = 10_000
READ_SECONDS = 0.02
FETCH_WAIT_MS = 10

Rows = dict[bytes, bytes]
"""The latest value of each key."""


class Restore:
    """Reads the latest rows of partitions; one use."""

    def __init__(self, clients: Clients, ends: Mapping[Place, int]) -> None:
        self.records = 0
        self.rows_taken = 0
        self._rows: dict[Place, Rows] = {place: {} for place in ends}
        self._clients, self._ends = clients, ends
        self._read = dict.fromkeys(ends, 0)

    def progress(self, places: AbstractSet[Place]) -> float:
        """Return how much of these partitions has been read, from 0 to 1."""
        total = sum(self._ends[place] for place in places if place in self._ends)
        return min(1.0, sum(self._read[place] for place in places if place in self._read) / total) if total else 1.0

    def read(self) -> Waiting[None]:
        """Read everything. Raises KafkaException."""
        unread = {place for place, end in self._ends.items() if end > 0}
        if not unread:
            return
        consumer = self._clients.reader(FETCH_WAIT_MS)
        try:
            consumer.assign([TopicPartition(*place, 0) for place in sorted(unread)])
            while unread:
                for message in consumer.consume(RECORDS_AT_ONCE, READ_SECONDS):
                    place, offset = where(message)
                    error = message.error()
                    if error is None:
                        self._take(place, message.key() or b"", message.value())
                        self._read[place] = offset
                    elif error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    elif offset >= self._ends[place]:
                        unread.discard(place)
                yield
        finally:
            consumer.close()

    def taken(self, place: Place) -> Iterable[tuple[bytes, bytes]]:
        """Return the rows of a partition; they are kept here no longer, so that state is not in memory twice."""
        rows = self._rows.pop(place)
        self.rows_taken += len(rows)
        return rows.items()

    def _take(self, place: Place, key: bytes, value: bytes | None) -> None:
        self.records += 1
        if value is None:
            self._rows[place].pop(key, None)
        else:
            self._rows[place][key] = value


def where(message: Message) -> tuple[Place, int]:
    """Return partition and offset: of a record, or of the end that a message reports."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    return (topic, partition), offset  # type: ignore[return-value]  # such messages have all three
