"""Turns the lines of events.jsonl into Kafka records and produces them, as the services of a shop would.

`examples/cart/make_events.py` says what a line may contain. Most lines are valid records. Some are wrong on purpose,
so they are produced here and not by the Client, which would refuse them.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer

from processors.codec import Codec
from processors.core.records import commands
from processors.core.records.errors import HalterError
from processors.core.records.model import TaskStatus
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics

POLL_SECONDS: Final = 0.002
FLUSH_SECONDS: Final = 30.0
PARTITION_BY_KEY: Final = -1

RecordAddress = tuple[str, int, int]
"""Topic without prefix, partition, offset."""


class BadFeed(HalterError):
    """A line of the file of events cannot be used. Whoever wrote the file corrects the line."""


class NotFed(HalterError):
    """Kafka did not take a record of the demo. Whoever runs Kafka acts."""


@dataclass(frozen=True, slots=True)
class FeedRecord:
    """One record to produce. `partition` is None if the key decides."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None


def read_feed(path: Path, codec: Codec, definitions_position: int | None = None) -> list[FeedRecord]:
    """Read a file of events. Raises BadFeed with the line.

    `definitions_position` is the position of the definitions that its RunWfs need.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFeed(f"cannot read events from {path}: {error}") from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(_record(json.loads(line), codec, definitions_position))
        except (ValueError, KeyError, TypeError, AttributeError, HalterError) as error:
            raise BadFeed(f"{path}:{number}: expected a record of events.jsonl, found {error!r}") from error
    return records


def _record(line: dict[str, Any], codec: Codec, definitions_position: int | None) -> FeedRecord:
    value: bytes | None
    if "record" in line:
        fields = dict(line["value"])
        if "status" in fields:
            fields["status"] = TaskStatus(fields["status"])
        if line["record"] == commands.RunWf.__name__:
            fields["definitions_position"] = definitions_position
        value = codec.encode(getattr(commands, line["record"])(**fields))
        key = line.get("key", fields["wf_run_id"])
    else:
        value = None if line["hex"] is None else bytes.fromhex(line["hex"]) + bytes(line.get("fill", 0))
        key = line["key"]
    return FeedRecord(line["topic"], None if key is None else key.encode(), value, line.get("partition"))


class Feeder:
    """Produces records, and notes when each was produced and at which address it is."""

    def __init__(self, settings: Settings, topics: Topics) -> None:
        self._topics = topics
        self._producer = Producer(settings.producer(linger_ms=1))
        self.produced_at: dict[RecordAddress, float] = {}
        """Address of a record -> time.perf_counter() when the producer got it."""

    def feed_at(self, records: Sequence[FeedRecord], per_second: float) -> None:
        """Produce at a steady rate."""
        begun = time.perf_counter()
        for number, record in enumerate(records):
            while time.perf_counter() - begun < number / per_second:
                self._producer.poll(POLL_SECONDS)
            self._produce(record)
        self._flush()

    def feed(self, records: Iterable[FeedRecord]) -> None:
        """Produce as fast as Kafka takes them."""
        for record in records:
            self._produce(record)
        self._flush()

    def _produce(self, record: FeedRecord) -> None:
        self._producer.produce(
            self._topics.prefix + record.topic,
            key=record.key,
            value=record.value,
            on_delivery=self._delivered(record.topic, time.perf_counter()),
            partition=PARTITION_BY_KEY if record.partition is None else record.partition,
        )
        self._producer.poll(0)

    def _delivered(self, topic: str, produced_at: float) -> Callable[[KafkaError | None, Message], None]:
        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                raise NotFed(f"a record for {topic} was not delivered: {error.str()}")
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            self.produced_at[topic, partition, offset] = produced_at

        return report

    def _flush(self) -> None:
        if self._producer.flush(FLUSH_SECONDS):
            raise NotFed(f"Kafka did not take all records within {FLUSH_SECONDS:.0f} s")


def halves(records: Sequence[FeedRecord]) -> Iterator[Sequence[FeedRecord]]:
    """Yield the first half and the second half of the records."""
    middle = len(records) // 2
    yield records[:middle]
    yield records[middle:]
