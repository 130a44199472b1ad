"""Reads records of topics to look at them: joins no group, commits nothing, writes nothing.

It reads what is committed, from a moment on or the last ones, up to where the topics end when it begins.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Self

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from halter.transform.messages import source_record
from halter.transform.records import SourceRecord
from processors.core.records.errors import HalterError
from processors.core.wf_spec.near_names import NearNames
from processors.kafka.errors import KafkaUnavailable
from processors.kafka.settings import Settings

ASK_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
BATCH: Final = 500
FURTHER: Final = 4
"""How many times as far back to read where marks of transactions stand between the records."""
MISSING: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)


class NoSuchTopic(HalterError):
    """A topic of the document does not exist. Its author corrects the name, or creates the topic."""


class Looking:
    """A look at topics. Use it in a `with`."""

    def __init__(self, settings: Settings, group: str) -> None:
        """`group`: one that the user may use. librdkafka wants one, though nothing is committed."""
        self._settings = settings
        self._consumer = Consumer(
            settings.consumer(
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                enable_partition_eof=True,
                # Where a partition ends, only an answer without records tells.
                fetch_wait_max_ms=10,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def since(self, topics: Iterable[str], since_ms: int | None) -> Iterator[SourceRecord]:
        """Yield the records from a moment on (None: from the beginning), by partition, as they come."""
        with self._explaining():
            starts = [it for topic in topics for it in self._starts(topic, since_ms)]
            # The mark of a transaction has the broker's time, so an offset may come back that is too early.
            yield from (it for it in self._read(starts) if since_ms is None or it.timestamp_ms >= since_ms)

    def last(self, topics: Iterable[str], count: int) -> list[SourceRecord]:
        """Return the last records of each topic, oldest first."""
        found = []
        with self._explaining():
            for topic in topics:
                found += self._last(topic, count)
        return sorted(found, key=lambda it: (it.timestamp_ms, it.topic, it.partition, it.offset))

    def _last(self, topic: str, count: int) -> list[SourceRecord]:
        reach = count
        while True:
            lows = {number: self._watermarks(topic, number) for number in self._partitions(topic)}
            starts = [TopicPartition(topic, number, max(low, end - reach)) for number, (low, end) in lows.items()]
            found = sorted(self._read(starts), key=lambda it: (it.timestamp_ms, it.partition, it.offset))
            if len(found) >= count or all(it.offset == lows[it.partition][0] for it in starts):
                return found[-count:] if count else []
            reach *= FURTHER

    def _partitions(self, topic: str) -> list[int]:
        about = self._consumer.list_topics(topic, ASK_SECONDS).topics[topic]
        if about.error is None:
            return sorted(about.partitions)
        if about.error.code() not in MISSING:
            raise KafkaException(about.error)
        known = [it for it in self._consumer.list_topics(timeout=ASK_SECONDS).topics if not it.startswith("__")]
        meant = NearNames().meant(topic, known)
        raise NoSuchTopic(f"topic '{topic}' does not exist at {self._settings.bootstrap}{meant}")

    def _watermarks(self, topic: str, number: int) -> tuple[int, int]:
        found: tuple[int, int] = self._consumer.get_watermark_offsets(TopicPartition(topic, number), ASK_SECONDS)
        return found

    def _starts(self, topic: str, since_ms: int | None) -> list[TopicPartition]:
        places = [TopicPartition(topic, number) for number in self._partitions(topic)]
        if since_ms is None:
            return [TopicPartition(topic, it.partition, self._watermarks(topic, it.partition)[0]) for it in places]
        asked = [TopicPartition(topic, it.partition, since_ms) for it in places]
        found = self._consumer.offsets_for_times(asked, ASK_SECONDS)
        return [it for it in found if it.offset >= 0]

    def _read(self, starts: list[TopicPartition]) -> Iterator[SourceRecord]:
        """Yield records from these offsets to the ends that the partitions have now."""
        ends = {(it.topic, it.partition): self._watermarks(it.topic, it.partition)[1] for it in starts}
        begun = [it for it in starts if it.offset < ends[it.topic, it.partition]]
        left = {(it.topic, it.partition) for it in begun}
        if not left:
            return
        self._consumer.assign(begun)
        silent = 0.0
        while left:
            messages = self._consumer.consume(BATCH, POLL_SECONDS)
            silent = 0.0 if messages else silent + POLL_SECONDS
            if silent >= SILENCE_SECONDS:
                raise KafkaUnavailable(f"Kafka at {self._settings.bootstrap} has sent no record for {silent:g} s")
            for message in messages:
                place = message.topic() or "", message.partition() or 0
                error = message.error()
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    left.discard(place)
                elif place in left:
                    if (message.offset() or 0) >= ends[place]:
                        left.discard(place)
                    else:
                        yield source_record(message)

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        with self._settings.explaining("reading topics", self._consumer):
            yield
