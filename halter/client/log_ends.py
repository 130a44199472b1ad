"""Where the partitions of the log end, or ended a moment ago.

Whoever waits for what a record brings about reads the log from where it ended before the record was sent. An older end
is right as well: a little more is read. So a client that sends many records asks Kafka once in a while only.
"""

import time
from collections.abc import Callable
from typing import Final

from halter.client.reading import PartitionReader
from processors.kafka.topics import Topics

OLD_SECONDS: Final = 1.0


class LogEnds:
    """The ends of the partitions of `wf-events`, none older than OLD_SECONDS. Several threads may use it."""

    def __init__(
        self, reader: PartitionReader, topics: Topics, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader, self._topics, self._monotonic = reader, topics, monotonic
        self._seen: dict[int, tuple[float, int]] = {}
        """The time of the answer, and the end, of each partition."""

    def known(self, partition: int) -> int | None:
        """Return the end of a partition, if Kafka need not be asked for it."""
        asked, end = self._seen.get(partition, (float("-inf"), 0))
        return end if self._monotonic() - asked < OLD_SECONDS else None

    def note(self, partition: int, end: int) -> None:
        """Note that a partition ends here or later, as somebody has just read."""
        self._seen[partition] = self._monotonic(), end

    def of(self, partition: int) -> int:
        """Return the end of a partition. Kafka is asked, unless the last answer is young enough."""
        end = self.known(partition)
        if end is None:
            now = self._monotonic()
            end = self._reader.end(self._topics.wf_events, partition)
            self._seen[partition] = now, end
        return end
