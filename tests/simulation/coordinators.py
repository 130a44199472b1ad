"""The coordinator of transactions, and a group's committed offsets, which are pending until the transaction's marker.

A method is the effect of a request when it arrives. It returns an error code (0 for none) and never waits.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final, TypeAlias

from confluent_kafka import KafkaError

from tests.simulation.kernel import Kernel
from tests.simulation.partition_log import PartitionLog, Place

NO_ERROR: Final = 0
NO_OFFSET: Final = -1001
"""The values that a client sends if it has no id."""
MARK_SECONDS: Final = (0.0005, 0.02)
EPOCH_BY_TIMEOUT: Final = 1


class TransactionState(StrEnum):
    """The state of a transactional id at its coordinator."""

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"


PREPARED: Final = frozenset({TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT})


@dataclass(slots=True)
class Transactional:
    """A transactional id."""

    producer: int
    epoch: int = -1
    timeout_s: float = 10.0
    state: TransactionState = TransactionState.EMPTY
    places: set[Place] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    unmarked: int = 0
    number: int = 0
    """The number of its transactions so far."""


Offset: TypeAlias = tuple[int, str]
"""An offset and its metadata."""


@dataclass(slots=True)
class GroupOffsets:
    """The offsets that one group has committed, and those that open transactions would commit."""

    committed: dict[Place, Offset] = field(default_factory=dict)
    pending: dict[int, dict[Place, Offset]] = field(default_factory=dict)
    """Producer id -> the offsets that its transaction would commit."""
    _written: int = 0
    _numbers: dict[tuple[int, Place], int] = field(default_factory=dict)
    """Producer id and partition -> the number of the record with the offset that is pending."""
    _committed_numbers: dict[Place, int] = field(default_factory=dict)

    def append(self, producer: int, offsets: Mapping[Place, Offset]) -> None:
        """Write offsets that a transaction would commit."""
        self.pending.setdefault(producer, {}).update(offsets)
        for place in offsets:
            self._written += 1
            self._numbers[producer, place] = self._written

    def mark(self, producer: int, *, commit: bool) -> None:
        """End a transaction. Of two offsets that are committed the one that was written later counts."""
        for place, offset in self.pending.pop(producer, {}).items():
            number = self._numbers.pop((producer, place))
            if commit and number > self._committed_numbers.get(place, 0):
                self.committed[place] = offset
                self._committed_numbers[place] = number

    def is_pending(self, place: Place) -> bool:
        """Return True if an open transaction commits an offset of this partition."""
        return any(place in offsets for offsets in self.pending.values())


class Transactions:
    """Holds all transactional ids. `log_of` returns a partition, `offsets_of` a group's offsets."""

    def __init__(
        self,
        kernel: Kernel,
        randomness: random.Random,
        log_of: Callable[[Place], PartitionLog],
        offsets_of: Callable[[str], GroupOffsets],
    ) -> None:
        self._kernel, self._random, self._log_of, self._offsets_of = kernel, randomness, log_of, offsets_of
        self._by_id: dict[str, Transactional] = {}
        self._by_producer: dict[int, Transactional] = {}
        self.marks_slow_until = 0.0
        """The time until which markers take up to seconds."""
        self.completed: list[Callable[[], None]] = []
        """Called whenever all markers of a transaction are written."""

    @property
    def open(self) -> list[str]:
        """Return the ids that have an open transaction."""
        return [
            name for name, it in self._by_id.items() if it.state in PREPARED or it.state is TransactionState.ONGOING
        ]

    def init(self, transactional_id: str, timeout_s: float) -> tuple[int, int, int]:
        """InitProducerId: return error, producer id and epoch. The former producer with this id is fenced."""
        it = self._by_id.get(transactional_id)
        if it is None:
            it = self._by_id[transactional_id] = Transactional(producer=1_000 + len(self._by_id))
            self._by_producer[it.producer] = it
        if it.state is TransactionState.ONGOING:
            it.epoch += 1
            self._end(it, commit=False)
        if it.state in PREPARED:
            return KafkaError.CONCURRENT_TRANSACTIONS, -1, -1
        it.epoch += 1
        it.timeout_s = timeout_s
        it.state = TransactionState.EMPTY
        return NO_ERROR, it.producer, it.epoch

    def add(self, transactional_id: str, producer: int, epoch: int, places: set[Place], groups: set[str]) -> int:
        """AddPartitionsToTxn or AddOffsetsToTxn: add what the transaction will write to. This also begins it."""
        it = self._by_id.get(transactional_id)
        if it is None or it.producer != producer:
            return KafkaError.INVALID_PRODUCER_ID_MAPPING
        if it.epoch != epoch:
            return KafkaError.PRODUCER_FENCED
        if it.state in PREPARED:
            return KafkaError.CONCURRENT_TRANSACTIONS
        if it.state is not TransactionState.ONGOING:
            it.state = TransactionState.ONGOING
            it.number += 1
            number = it.number
            self._kernel.after(it.timeout_s, lambda: self._time_out(it, number))
        it.places |= places
        it.groups |= groups
        return NO_ERROR

    def end(self, transactional_id: str, producer: int, epoch: int, *, commit: bool) -> int:
        """EndTxn. The decision is durable when this answers. Its markers are written later."""
        it = self._by_id.get(transactional_id)
        if it is None or it.producer != producer:
            return KafkaError.INVALID_PRODUCER_ID_MAPPING
        if it.epoch != epoch:
            return KafkaError.PRODUCER_FENCED
        match it.state, commit:
            case TransactionState.ONGOING, _:
                self._end(it, commit=commit)
                return NO_ERROR
            case (TransactionState.COMPLETE_COMMIT, True) | (TransactionState.COMPLETE_ABORT, False):
                return NO_ERROR
            case (TransactionState.PREPARE_COMMIT, True) | (TransactionState.PREPARE_ABORT, False):
                return KafkaError.CONCURRENT_TRANSACTIONS
        return KafkaError.INVALID_TXN_STATE

    def may_write(self, producer: int, epoch: int, place: Place) -> int:
        """Return the error with which a partition's leader refuses to append to a transaction."""
        log = self._log_of(place)
        if epoch < log.epochs.get(producer, -1):
            return KafkaError.INVALID_PRODUCER_EPOCH
        it = self._by_producer[producer]
        if it.epoch != epoch:
            return KafkaError.INVALID_PRODUCER_EPOCH
        if it.state is not TransactionState.ONGOING or place not in it.places:
            return KafkaError.INVALID_TXN_STATE
        log.epochs[producer] = epoch
        return NO_ERROR

    def may_commit_offsets(self, producer: int, epoch: int, group: str) -> int:
        """Return the same for the partition of the offsets topic that has the group."""
        it = self._by_producer[producer]
        if it.epoch != epoch:
            return KafkaError.INVALID_PRODUCER_EPOCH
        if it.state is not TransactionState.ONGOING or group not in it.groups:
            return KafkaError.INVALID_TXN_STATE
        return NO_ERROR

    def _time_out(self, it: Transactional, number: int) -> None:
        if it.state is TransactionState.ONGOING and it.number == number:
            it.epoch += 1
            self._end(it, commit=False)

    def _end(self, it: Transactional, *, commit: bool) -> None:
        it.state = TransactionState.PREPARE_COMMIT if commit else TransactionState.PREPARE_ABORT
        marks = [
            *((self._away(at), partial(self._mark, it, at, it.epoch, commit=commit)) for at in sorted(it.places)),
            *((0.0, partial(self._mark_offsets, it, group, commit=commit)) for group in sorted(it.groups)),
        ]
        it.places, it.groups = set(), set()
        it.unmarked = len(marks)
        least, most = MARK_SECONDS
        for away, mark in marks:
            seconds = away + self._random.uniform(least, most)
            if self._kernel.now < self.marks_slow_until:
                seconds += self._random.uniform(0.0, 3.0)
            self._kernel.after(seconds, mark)
        if not marks:
            self._complete(it, commit=commit)

    def _away(self, place: Place) -> float:
        """Return for how long a partition still has no leader."""
        return max(0.0, self._log_of(place).away_until - self._kernel.now)

    def _mark(self, it: Transactional, place: Place, epoch: int, *, commit: bool) -> None:
        log = self._log_of(place)
        log.epochs[it.producer] = epoch
        log.mark(self._kernel.now_ms, it.producer, commit=commit)
        self._marked(it, commit=commit)

    def _mark_offsets(self, it: Transactional, group: str, *, commit: bool) -> None:
        self._offsets_of(group).mark(it.producer, commit=commit)
        self._marked(it, commit=commit)

    def _marked(self, it: Transactional, *, commit: bool) -> None:
        it.unmarked -= 1
        if it.unmarked == 0:
            self._complete(it, commit=commit)

    def _complete(self, it: Transactional, *, commit: bool) -> None:
        it.state = TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT
        for tell in self.completed:
            tell()
