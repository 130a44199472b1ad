"""Where a partition is read from: where the group has committed, else where the first start of the group said.

The first start may say "now". Partitions that nobody has read by the time of a restart would then lose what came
meanwhile, and so would partitions that are added to the topic later. So each commit carries the moment in its metadata,
and a partition without a commit begins at the moment of the others of its topic.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from halter.transform.pending import Place, in_short

BEGINNING_MS: Final = 0
"""Stands for the beginning of a topic, whatever times its records have."""
FORM: Final = "since="
ASK_SECONDS: Final = 5.0


def metadata_of(since_ms: int) -> str:
    """Return the metadata of a commit: the moment from which the group reads the topic."""
    return f"{FORM}{since_ms}"


def since_of(metadata: str | None) -> int | None:
    """Return the moment that metadata name; None for metadata that somebody else has written."""
    digits = (metadata or "").removeprefix(FORM)
    return int(digits) if digits != metadata and digits.isascii() and digits.isdigit() else None


class Starts:
    """Finds the offsets at which partitions begin, and knows the moment of each topic for the commits to come."""

    def __init__(self, since_ms: int, once: Callable[..., Any], log: Any) -> None:
        """`since_ms`: the moment for topics that the group has not read yet. `once` makes a call of Kafka's."""
        self._since_ms, self._once, self._log = since_ms, once, log
        self._since: dict[str, int] = {}

    def metadata(self, topic: str) -> str:
        """Return the metadata for commits of a topic."""
        return metadata_of(self._since.get(topic, BEGINNING_MS))

    def of(self, consumer: Consumer, places: Iterable[Place]) -> dict[Place, int]:
        """Return the offset of each partition. Where the group has none, commit the one at which it begins.

        Raises KafkaException. Nothing is committed for a partition that the group has taken from us meanwhile.
        """
        wanted = sorted(places)
        starts: dict[Place, int] = {}
        for it in self._committed(consumer, [TopicPartition(*place) for place in wanted]):
            if it.offset >= 0:
                starts[it.topic, it.partition] = it.offset
                since = since_of(it.metadata)
                if since is not None:
                    self._since[it.topic] = since
        fresh = [place for place in wanted if place not in starts]
        if fresh:
            begun = {place: self._beginning(consumer, *place) for place in fresh}
            offsets = [TopicPartition(*place, offset, self.metadata(place[0])) for place, offset in begun.items()]

            def commit() -> list[TopicPartition]:
                return consumer.commit(offsets=offsets, asynchronous=False)

            _expect_done(self._once(commit))
            self._log.info("begins", partitions=in_short(begun))
            for (topic, partition), offset in begun.items():
                self._log.debug("begins_at", topic=topic, partition=partition, offset=offset)
            starts |= begun
        return starts

    def _committed(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        return _expect_done(self._once(consumer.committed, partitions, ASK_SECONDS))

    def _beginning(self, consumer: Consumer, topic: str, partition: int) -> int:
        """Return the offset at which a partition begins that the group has never read."""
        if topic not in self._since:
            self._since[topic] = self._since_of_others(consumer, topic)
        at = TopicPartition(topic, partition, self._since[topic])
        low, high = self._once(consumer.get_watermark_offsets, at, ASK_SECONDS, False)
        if self._since[topic] == BEGINNING_MS:
            return int(low)
        found: TopicPartition
        (found,) = _expect_done(self._once(consumer.offsets_for_times, [at], ASK_SECONDS))
        return found.offset if found.offset >= 0 else int(high)

    def _since_of_others(self, consumer: Consumer, topic: str) -> int:
        """Return the moment that the group's other partitions of a topic have; ours if it reads none yet."""
        about = self._once(consumer.list_topics, topic, ASK_SECONDS).topics[topic]
        others = self._committed(consumer, [TopicPartition(topic, number) for number in about.partitions])
        known = [it for it in others if it.offset >= 0]
        moments = [since for it in known if (since := since_of(it.metadata)) is not None]
        if moments:
            return min(moments)
        # Somebody else has committed for the group, a tool for instance. A partition that is new has nothing to skip.
        return BEGINNING_MS if known else self._since_ms


def _expect_done(partitions: list[TopicPartition]) -> list[TopicPartition]:
    for it in partitions:
        if it.error is not None:
            raise KafkaException(it.error)
    return partitions
