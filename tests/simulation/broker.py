"""One broker: topics, transactions, groups. It loses nothing and never ends. Only its coordinators move away."""

import random
from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaError

from tests.simulation.coordinators import NO_ERROR, GroupOffsets, Transactions
from tests.simulation.group import Group
from tests.simulation.kernel import Kernel
from tests.simulation.partition_log import Entry, Headers, PartitionLog, Place


class Broker:
    """Holds everything that is durable."""

    def __init__(self, kernel: Kernel, randomness: random.Random, topics: Mapping[str, int]) -> None:
        """`topics` maps names to numbers of partitions."""
        self.kernel, self.random = kernel, randomness
        self.topics = dict(topics)
        self.logs = {
            (topic, number): PartitionLog((topic, number)) for topic, count in topics.items() for number in range(count)
        }
        self.transactions = Transactions(kernel, randomness, self.log, lambda group: self.group(group).offsets)
        self.groups: dict[str, Group] = {}
        self.transactions_away_until = 0.0
        self.shuffle_assignments = False
        """True if the group's leader moves more partitions than it must."""

    def log(self, place: Place) -> PartitionLog:
        """Return a partition."""
        return self.logs[place]

    def group(self, name: str) -> Group:
        """Return a group, which is made when it is first named."""
        if name not in self.groups:
            self.groups[name] = Group(name, self.kernel, self.transactions, GroupOffsets())
        return self.groups[name]

    def records(self, topic: str) -> Iterable[tuple[int, Entry]]:
        """Return all committed records of a topic with their partitions, each partition's in order."""
        for number in range(self.topics[topic]):
            for entry in self.logs[topic, number].records():
                yield number, entry

    def write(
        self,
        place: Place,
        records: Iterable[tuple[bytes | None, bytes | None, Headers, int | None]],
        transaction: tuple[int, int] | None,
    ) -> int:
        """Produce: append a batch of (key, value, headers, timestamp). `transaction` is the producer id and epoch."""
        if place not in self.logs:
            return KafkaError.UNKNOWN_TOPIC_OR_PART
        if transaction is not None:
            code = self.transactions.may_write(*transaction, place)
            if code != NO_ERROR:
                return code
        for key, value, headers, timestamp_ms in records:
            when = self.kernel.now_ms if timestamp_ms is None else timestamp_ms
            self.logs[place].append(when, key, value, headers, None if transaction is None else transaction[0])
        return NO_ERROR
