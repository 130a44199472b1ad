"""A restore reads to the end that settling has found: not less, whatever ends are reported, and it does not hang."""

from collections import deque
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from processors.fold.stores import StatePosition
from processors.runtime.group.clock import Clock
from processors.runtime.loading.restore import Restore

PLACE = ("wf-runs", 2)


class Told:
    """A record, or the end of the partition."""

    def __init__(self, offset: int, *, end: bool = False) -> None:
        self._offset, self._end = offset, end

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self._end else None

    def topic(self) -> str:
        return PLACE[0]

    def partition(self) -> int:
        return PLACE[1]

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return b"%d" % self._offset

    def value(self) -> bytes:
        return b"row"


class Passing(Clock):
    """A second passes with each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


class Clients:
    """Clients whose reader gives what the test says, and then nothing."""

    def __init__(self, *told: Told) -> None:
        self._told = deque(told)
        self.closed = False

    def reader(self, _fetch_wait_ms: int) -> "Clients":
        return self

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert [it.offset for it in partitions] == [0]

    def consume(self, _count: int, _seconds: float) -> list[Told]:
        return [self._told.popleft()] if self._told else []

    def close(self) -> None:
        self.closed = True


def restored(clients: Any, end: int) -> list[bytes]:
    rows: list[bytes] = []

    def take(key: bytes, _value: bytes | None) -> None:
        rows.append(key)

    for _ in Restore(clients, {PLACE: StatePosition(0)}, {PLACE: end}, {PLACE: take}, Passing()).read():
        pass
    return rows


def test_an_end_that_is_told_too_early_is_not_the_end() -> None:
    """By a leader that is new and does not know yet what is replicated."""
    assert restored(Clients(Told(0), Told(1, end=True), Told(1), Told(2), Told(4, end=True)), 4) == [b"0", b"1", b"2"]


def test_a_partition_that_does_not_come_to_its_end_is_given_up_and_named() -> None:
    clients = Clients(Told(0), Told(1, end=True))
    with pytest.raises(
        KafkaException, match=r"wf-runs\[2\]: expected records up to offset 4, found none after 1 for 60"
    ):
        restored(clients, 4)
    assert clients.closed
