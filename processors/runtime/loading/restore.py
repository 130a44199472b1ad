"""Restoring: reads state topics to a known end and gives each row to its fold.

Under read_committed the end of a partition is reported at the last stable offset. The caller has settled the topics, so
that is the high watermark, which it names as the end. Reading stops nowhere before it: a partition whose leader is new
may report an earlier end for a moment. If a partition never comes to its end (it was truncated), the restore fails and
the shard is settled anew. The newest part of a topic is not compacted: a key may come several times, the last one
counts.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from processors.fold.inputs import Headers
from processors.fold.stores import StatePosition
from processors.kafka.headers import headers_of
from processors.runtime.group.clients import Clients
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.names import Place, spelled
from processors.runtime.group.waiting import Waiting

RECORDS_AT_ONCE: Final = 10_000
READ_SECONDS: Final = 0.02
FETCH_WAIT_MS: Final = 10
ROWS_AT_ONCE: Final = 500
"""The rows between two pauses of a load: a slow store may take a millisecond for each."""
TELL_SECONDS: Final = 2.0
STALLED_SECONDS: Final = 60.0
"""The time without a record after which a partition is taken to be without its end."""

Take = Callable[[bytes, bytes | None], None]
"""Takes the key and the value of a row. Without a value the row is gone."""
TakeHeaders = Callable[[bytes, Headers], None]
"""Takes the key and the headers of a row."""


class Restore:
    """Reads partitions once. `records`: the number of records read; `failed_at`: the partition that cannot be read."""

    def __init__(
        self,
        clients: Clients,
        starts: Mapping[Place, StatePosition],
        ends: Mapping[Place, int],
        takers: Mapping[Place, Take],
        clock: Clock = CLOCK,
        header_takers: Mapping[Place, TakeHeaders] | None = None,
    ) -> None:
        """`starts`: where partitions begin that are not read from their beginning; `takers`: take the rows of each.

        `header_takers`: take the headers of rows. Without them no header is read.
        """
        self.records = 0
        self.failed_at: Place | None = None
        self._clients, self._ends, self._takers, self._clock = clients, ends, takers, clock
        self._header_takers = header_takers
        self._starts = {place: starts.get(place, StatePosition(0)) for place in ends}
        self._read = {place: start.offset for place, start in self._starts.items()}
        self._log = structlog.get_logger("halter.runtime")

    def progress(self, places: AbstractSet[Place] | None = None) -> float:
        """Return the share of these partitions, or of all, that has been read, from 0 to 1."""
        places = self._ends.keys() if places is None else places & self._ends.keys()
        total = sum(self._ends[place] - self._starts[place].offset for place in places)
        read = sum(self._read[place] - self._starts[place].offset for place in places)
        return min(1.0, read / total) if total else 1.0

    def read(self) -> Waiting[None]:
        """Read everything. Raises KafkaException."""
        unread = {place for place, end in self._ends.items() if end > self._starts[place].offset}
        if not unread:
            return
        begun = tell_at = moved_at = self._clock.monotonic()
        consumer = self._clients.reader(FETCH_WAIT_MS)
        try:
            consumer.assign([assignment(place, self._starts[place]) for place in sorted(unread)])
            while unread:
                before = self.records, len(unread)
                for count, message in enumerate(consumer.consume(RECORDS_AT_ONCE, READ_SECONDS), 1):
                    place, offset = where(message)
                    error = message.error()
                    if error is None:
                        self._takers[place](message.key() or b"", message.value())
                        if self._header_takers is not None and place in self._header_takers:
                            self._header_takers[place](message.key() or b"", headers_of(message) or ())
                        self._read[place] = offset + 1
                        self.records += 1
                    elif error.code() != KafkaError._PARTITION_EOF:
                        self.failed_at = place
                        raise KafkaException(error)
                    elif self._is_read(place, offset):
                        self._read[place] = self._ends[place]
                        unread.discard(place)
                    if count % ROWS_AT_ONCE == 0:
                        yield
                if before != (self.records, len(unread)):
                    moved_at = self._clock.monotonic()
                elif self._clock.monotonic() - moved_at > STALLED_SECONDS:
                    raise self._stalled(min(unread))
                if self._clock.monotonic() - tell_at > TELL_SECONDS:
                    tell_at = self._clock.monotonic()
                    self._tell(tell_at - begun)
                yield
        finally:
            consumer.close()

    def _is_read(self, place: Place, offset: int) -> bool:
        """Say whether a reported end is the expected one, or after it."""
        return offset >= self._ends[place]

    def _stalled(self, place: Place) -> KafkaException:
        reason = (
            f"{spelled(place)}: expected records up to offset {self._ends[place]}, found none after "
            f"{self._read[place]} for {STALLED_SECONDS:.0f} s"
        )
        return KafkaException(KafkaError(KafkaError._TIMED_OUT, reason))

    def _tell(self, seconds: float) -> None:
        percent, per_s = round(100 * self.progress()), round(self.records / seconds)
        left = round(seconds * (1 / self.progress() - 1)) if self.progress() else None
        self._log.info("restoring", percent=percent, records=self.records, per_s=per_s, seconds_left=left)


def assignment(place: Place, start: StatePosition) -> TopicPartition:
    """Return a partition with where to begin. With an epoch the consumer finds out whether the log was cut since."""
    if start.epoch is None:
        return TopicPartition(*place, start.offset)
    return TopicPartition(*place, start.offset, leader_epoch=start.epoch)


def where(message: Message) -> tuple[Place, int]:
    """Return the partition and the offset of a record, or of the end that a message reports."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    return (topic, partition), offset  # type: ignore[return-value]  # such messages have all three
