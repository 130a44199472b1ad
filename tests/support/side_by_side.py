"""Partitions that are read side by side as `halter.client.reading.SideBySide` reads them, without Kafka."""

from collections.abc import Callable, Iterator, Mapping

from confluent_kafka import TIMESTAMP_CREATE_TIME

from tests.simulation.partition_log import Entry, PartitionLog

PATIENCE = 50
"""How often a transaction is found open, with nothing else happening, before nothing of it can be visible."""


class PartitionMessage:
    """A Message like confluent_kafka's, as far as tools use it."""

    def __init__(self, topic: str, entry: Entry) -> None:
        self._topic, self._entry = topic, entry

    def topic(self) -> str:
        return self._topic

    def offset(self) -> int:
        return self._entry.offset

    def key(self) -> bytes | None:
        return self._entry.key

    def value(self) -> bytes | None:
        return self._entry.value

    def headers(self) -> list[tuple[str, bytes]] | None:
        return list(self._entry.headers) or None

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_CREATE_TIME, self._entry.timestamp_ms


class LogsSideBySide:
    """Reads logs, while they go on."""

    def __init__(self, logs: Mapping[str, PartitionLog], go_on: Callable[[], None] = lambda: None) -> None:
        """`go_on` is called before each question: what others do meanwhile."""
        self._logs, self._go_on = logs, go_on
        self._read_up_to = dict.fromkeys(logs, 0)

    def ends(self) -> dict[str, int]:
        ends = {}
        for topic, log in self._logs.items():
            self._go_on()
            ends[topic] = log.high
        return ends

    def has_read(self, ends: Mapping[str, int]) -> bool:
        return all(self._read_up_to[topic] >= end for topic, end in ends.items())

    def read_to(self, ends: Mapping[str, int]) -> Iterator[list[PartitionMessage]]:
        """Read on until everything before these ends is read, or a transaction stays open."""
        before, still = self._state(), 0
        while not self.has_read(ends) and still < PATIENCE:
            before, still = self._state(), still + 1 if before == self._state() else 0
            for topic, log in self._logs.items():
                self._go_on()
                end = log.last_stable
                entries = log.entries[self._read_up_to[topic] : end]
                yield [PartitionMessage(topic, it) for it in entries if not it.is_mark and not it.is_aborted]
                self._read_up_to[topic] = end

    def _state(self) -> list[tuple[int, int]]:
        return [(len(log.entries), log.last_stable) for log in self._logs.values()]
