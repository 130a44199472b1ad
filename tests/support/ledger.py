"""An independent verdict on what workers did: it reads inputs, log and state from the topics and compares them.

It shares no code with the runtime except the names of topics. It is made for the counting fold (`counting_fold`).
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processors.kafka.settings import Settings
from processors.kafka.topics import Topics
from tests.support.waiting import wait_until

Cause = tuple[str, int, int]


@dataclass(frozen=True)
class Verdict:
    """The verdict: `ok` is true if nothing is wrong, and the lists name what is."""

    inputs: int
    lost: list[Cause]
    doubled: list[Cause]
    out_of_order: list[str]
    state_differs: list[str]

    @property
    def ok(self) -> bool:
        return not (self.lost or self.doubled or self.out_of_order or self.state_differs)

    def __str__(self) -> str:
        counts = (len(self.lost), len(self.doubled), len(self.out_of_order), len(self.state_differs))
        head = "{} inputs: {} lost, {} doubled, {} out of order, {} differing rows".format(self.inputs, *counts)
        return head + "".join(
            f"\n  {name}: {getattr(self, name)[:5]}"
            for name in ("lost", "doubled", "out_of_order", "state_differs")
            if getattr(self, name)
        )


@dataclass
class Ledger:
    """Everything on the topics of one installation, as read_committed shows it."""

    settings: Settings
    topics: Topics = field(init=False)

    def __post_init__(self) -> None:
        self.topics = self.settings.topics()

    def read(self, topic: str, partitions: int | None = None) -> list[Message]:
        """Return all records of a topic, each partition's in order, up to the first that is in an open transaction."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return self._read(topic, partitions)
            except KafkaException:
                # A broker that has just come back.
                if time.monotonic() > deadline:
                    raise

    def _read(self, topic: str, partitions: int | None) -> list[Message]:
        count = partitions or self.topics.partitions
        consumer = Consumer(self.settings.consumer(group_id="ledger", enable_partition_eof=True, fetch_wait_max_ms=10))
        try:
            assigned = [TopicPartition(topic, partition) for partition in range(count)]
            ends = {}
            for partition in assigned:
                low, high = consumer.get_watermark_offsets(partition, timeout=10)
                partition.offset = low
                ends[partition.partition] = high
            consumer.assign(assigned)
            unread = {partition for partition, end in ends.items() if end > 0}
            deadline, records = time.monotonic() + 60, []
            while unread:
                assert time.monotonic() < deadline, f"{topic}: partitions {unread} stay unread up to {ends}"
                for message in consumer.consume(10_000, 0.02):
                    error = message.error()
                    if error is None:
                        records.append(message)
                    elif error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    elif (message.offset() or 0) >= ends[message.partition() or 0]:
                        unread.discard(message.partition() or 0)
            return records
        finally:
            consumer.close()

    def wait_for_marks(self, topics: Iterable[str], seconds: float = 60.0) -> None:
        """Wait until no transaction is open on any partition of these topics: markers come after a commit's answer."""
        consumers = [
            Consumer(self.settings.consumer(group_id="ledger", isolation_level=level))
            for level in ("read_uncommitted", "read_committed")
        ]
        places = [TopicPartition(topic, number) for topic in topics for number in range(self.topics.partitions)]

        def marked() -> bool:
            try:
                return all(
                    len({it.get_watermark_offsets(place, timeout=10) for it in consumers}) == 1 for place in places
                )
            except KafkaException:
                return False  # a broker that has just come back

        try:
            wait_until("markers of all transactions", marked, seconds, every_s=0.1)
        finally:
            for it in consumers:
                it.close()

    def inputs(self) -> dict[Cause, bytes]:
        """Return all input records with their keys."""
        found = {}
        for topic in self.topics.inputs:
            logical = topic.removeprefix(self.topics.prefix)
            for message in self.read(topic):
                found[logical, message.partition(), message.offset()] = message.key() or b""
        return found

    def events(self) -> list[dict[str, Any]]:
        """Return the log, each partition's in order."""
        return [orjson.loads(message.value() or b"") for message in self.read(self.topics.wf_events)]

    def rows(self, topic: str) -> dict[bytes, Any]:
        """Return the latest rows of a state topic."""
        rows: dict[bytes, Any] = {}
        for message in self.read(topic):
            key, value = message.key() or b"", message.value()
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = orjson.loads(value)
        return rows

    def committed_positions(self) -> dict[tuple[str, int], int]:
        """Return how far each partition is folded, by the state topics."""
        rows = self.rows(self.topics.fold_positions)
        return {(topic, int(key)): offset for key, row in rows.items() for topic, offset in row.items()}

    def wait_until_folded(self, inputs: Iterable[Cause], seconds: float = 60.0) -> None:
        """Wait until these records are folded, by the state topics."""
        wanted: dict[tuple[str, int], int] = {}
        for topic, partition, offset in inputs:
            wanted[topic, partition] = max(offset + 1, wanted.get((topic, partition), 0))

        def folded() -> bool:
            positions = self.committed_positions()
            return all(positions.get(place, 0) >= offset for place, offset in wanted.items())

        wait_until("folding all inputs", folded, seconds, every_s=0.1)

    def verdict(self) -> Verdict:
        """Compare inputs, log and state, once no transaction is open on them."""
        self.wait_for_marks([*self.topics.inputs, self.topics.wf_events, self.topics.wf_runs])
        inputs, events = self.inputs(), self.events()
        causes = Counter(tuple(event["cause"]) for event in events)
        out_of_order = []
        last_offset: dict[tuple[str, int], int] = defaultdict(lambda: -1)
        last_count: Counter[str] = Counter()
        for event in events:
            topic, partition, offset = event["cause"]
            if offset <= last_offset[topic, partition]:
                out_of_order.append(f"{topic}[{partition}]@{offset} after @{last_offset[topic, partition]}")
            last_offset[topic, partition] = offset
            if event["count"] != last_count[event["key"]] + 1:
                out_of_order.append(f"key {event['key']}: count {event['count']} after {last_count[event['key']]}")
            last_count[event["key"]] = event["count"]
        rows = {key.decode(): row["count"] for key, row in self.rows(self.topics.wf_runs).items()}
        differs = [
            f"key {key}: log says {last_count[key]}, state says {rows.get(key)}"
            for key in {*rows, *last_count}
            if rows.get(key) != last_count[key]
        ]
        return Verdict(
            inputs=len(inputs),
            lost=[cause for cause in inputs if cause not in causes],
            doubled=[cause for cause, times in causes.items() if times > 1 or cause not in inputs],
            out_of_order=out_of_order,
            state_differs=differs,
        )
