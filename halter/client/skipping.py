"""Checks before a skip that the record can be skipped, and recognises in the log what became of the skip.

Only the next record of a partition can be skipped. The fold checks that again from the log; the check here answers at
once, and names the record that is next. Knows topics, offsets and events. Sends nothing.
"""

from collections.abc import Mapping

from confluent_kafka import Message

from halter.client.errors import CannotSkip, NoSuchPartition, NotSkipped
from halter.client.reading import PartitionReader
from processors.core.records.commands import SkipRecord
from processors.core.records.events import LogEntry, RecordSkipped, SkipAccepted, SkipLapsed
from processors.core.records.topic_names import OPERATOR_COMMANDS
from processors.fold.inputs import INPUT_TOPICS
from processors.kafka.topics import Topics


def check_partition(topics: Topics, topic: str, partition: int) -> None:
    """Raise CannotSkip unless there is such a partition of an input topic, which is named without the prefix."""
    if topic not in INPUT_TOPICS:
        known = ", ".join(sorted(INPUT_TOPICS))
        without = topic.removeprefix(topics.prefix)
        if without in INPUT_TOPICS:
            hint = f": name it without the prefix, {without}"
        else:
            from processors.core.wf_spec.near_names import NearNames  # few misspell a topic

            hint = NearNames().meant(topic, INPUT_TOPICS)
        raise CannotSkip(f"expected one of the inputs, {known}, found topic '{topic}'{hint}")
    partitions = topics.partitions if INPUT_TOPICS[topic].co_partitioned else 1
    if not 0 <= partition < partitions:
        expected = f"a partition from 0 to {partitions - 1}" if partitions > 1 else "partition 0, the only one"
        hint = "; if the cluster has more, set HALTER_PARTITIONS" if INPUT_TOPICS[topic].co_partitioned else ""
        raise NoSuchPartition(f"expected {expected} of {topic}, found {partition}{hint}")


def time_to_skip(
    reader: PartitionReader, topics: Topics, folded: Mapping[str, int], topic: str, partition: int, offset: int
) -> int:
    """The time of a record if it is the next one of its partition; on operator-commands, if it is not folded yet.

    `folded` has the offset that is folded next, for each input of the partition. Raises CannotSkip with a sentence
    about what is there instead.
    """
    name, record = topics.prefix + topic, f"{topic}[{partition}]@{offset}"
    begin, end = reader.bounds(name, partition)
    following = max(begin, folded.get(topic, 0))
    if offset >= end:
        raise CannotSkip(f"there is no record {record} yet: the next one will have offset {end} or a later one")
    if offset < folded.get(topic, 0):
        raise CannotSkip(f"{record} is folded already: the next offset to fold is {following}")
    if offset < begin:
        raise CannotSkip(
            f"there is no record {record} any more: the first one that is left has offset {begin} or a later one"
        )
    found = _first(reader, name, partition, offset if topic == OPERATOR_COMMANDS else following)
    stands_at = None if found is None else found.offset()
    if found is not None and stands_at == offset:
        return found.timestamp()[1]
    if stands_at is not None and stands_at < offset:
        raise CannotSkip(
            f"{topic}[{partition}] does not stand at offset {offset}: it stands at {stands_at}, which comes first"
        )
    there = f"{topic}[{partition}] stands at {stands_at}" if stands_at is not None else "no record comes after it yet"
    raise CannotSkip(
        f"there is no record {record}: that offset has the end of a transaction, or a record of an aborted one; {there}"
    )


def _first(reader: PartitionReader, name: str, partition: int, start: int) -> Message | None:
    return next(reader.read(name, partition, start), None)


class SkipOutcome:
    """The outcome of a SkipRecord, gathered from the entries of the log after it was sent."""

    def __init__(self, command: SkipRecord, offset: int) -> None:
        """`offset` is the offset of the SkipRecord."""
        self._meant = command.topic, command.offset
        self._time_ms, self._cause = command.timestamp_ms, (OPERATOR_COMMANDS, offset)
        self.accepted: LogEntry | None = None
        self.skipped: LogEntry | None = None

    def take(self, entry: LogEntry) -> None:
        """Look at one more entry of the partition. Raises NotSkipped."""
        cause = entry.cause.topic, entry.cause.offset
        event = entry.event
        if isinstance(event, SkipAccepted) and cause == self._cause:
            self.accepted = entry
        elif isinstance(event, RecordSkipped) and cause == self._meant:
            self.skipped = entry
        elif isinstance(event, SkipLapsed) and self._is_mine(event):
            raise NotSkipped(entry, event)

    def _is_mine(self, lapsed: SkipLapsed) -> bool:
        """Return True if it is this skip that has lapsed, and not an earlier one of the same record."""
        return (lapsed.topic, lapsed.offset) == self._meant and lapsed.timestamp_ms == self._time_ms

    @property
    def entries(self) -> list[LogEntry]:
        """The entries that have been seen. Two are all."""
        return [entry for entry in (self.accepted, self.skipped) if entry is not None]
