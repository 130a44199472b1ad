"""Finds out why a sender has not seen the outcome of a record: it is not folded yet, or it is a dead letter.

Reads fold positions, the log and dead letters, for which a principal needs rights of its own (topics.yaml). Without
them the sentences say less, but never something untrue.
"""

import shlex
from typing import Final

from confluent_kafka import KafkaException

from halter.client.errors import DeadLettered, NoOutcome
from halter.client.reading import FROM_THE_START, PartitionReader
from processors.codec import Codec
from processors.core.records.errors import HalterError
from processors.core.records.events import LogEntry
from processors.core.records.fold_position import FoldPosition
from processors.fold.inputs import HEADER_PREFIX
from processors.fold.log_tail import LogTail
from processors.kafka.topics import Topics

DECIDED: Final = "Kafka has the record, and it is decided as soon as a worker comes to it"
AGAIN: Final = f"{DECIDED}; the same command again is safe"
DEAD_LETTERS_LOOKED_AT_MAX = 10_000
"""Number of the newest dead letters of a partition that are searched."""


def folded(reader: PartitionReader, topics: Topics, codec: Codec, partition: int) -> dict[str, int]:
    """The offset that is folded next, for each input topic of a partition: by its FoldPosition and the log behind."""
    newest: bytes | None = None
    for message in reader.read(topics.fold_positions, partition, FROM_THE_START):
        newest = message.value()
    if newest is None:
        return {}
    position = codec.decode(newest)
    assert isinstance(position, FoldPosition)
    tail = LogTail(position)
    if position.log_position is not None:
        for message in reader.read(topics.wf_events, partition, position.log_position):
            entry = codec.decode(message.value() or b"")
            assert isinstance(entry, LogEntry)
            tail.takes(entry.cause)
    return tail.offsets


def what_comes(repeat_id: str | None) -> str:
    """A sentence about what will become of a record that nobody has decided yet.

    `repeat_id` is the id with which it may be sent again; None if there is none.
    """
    return DECIDED if repeat_id is None else f"{DECIDED}; to send it again safely, add `--id {shlex.quote(repeat_id)}`"


def expect_folded(
    reader: PartitionReader,
    topics: Topics,
    codec: Codec,
    address: tuple[str, int, int],
    waited_s: float,
    comes: str = DECIDED,
) -> None:
    """Raise NoOutcome unless a record is folded.

    `address` is the topic without the prefix, the partition and the offset of the record. `comes` is a sentence about
    what will become of it.
    """
    topic, partition, offset = address
    what = f"no outcome yet of {topic}[{partition}]@{offset} within {waited_s:g} s"
    try:
        position = folded(reader, topics, codec, partition).get(topic, 0)
    except (KafkaException, HalterError) as error:
        raise NoOutcome(
            f"{what}, and the position of the workers cannot be read ({error}): is a worker running? (`halter worker` "
            f"starts one). {comes}"
        ) from error
    if position <= offset:
        raise NoOutcome(
            f"{what}: the worker is behind or not running: partition {partition} of {topic} is folded up to "
            f"{position}, the record is at {offset}. Is a worker running? (`halter worker` starts one; its log says so "
            f"where a partition is paused). {comes}"
        )


def raise_if_dead_letter(reader: PartitionReader, topics: Topics, address: tuple[str, int, int]) -> None:
    """Raise DeadLettered if a record is a dead letter, and NoOutcome if we may not read the dead letters."""
    topic, partition, offset = address
    record = f"{topic}[{partition}]@{offset}"
    try:
        found = _dead_letter(reader, topics, address)
    except (KafkaException, HalterError) as error:
        sentence = f"the workers are past {record}, and dead-letters, where it may be, cannot be read: {error}"
        raise NoOutcome(sentence) from error
    if found is not None:
        raise DeadLettered(record, *found)


def _dead_letter(reader: PartitionReader, topics: Topics, address: tuple[str, int, int]) -> tuple[str, str] | None:
    """Reason and message of the dead letter that a record became; None if it became none."""
    wanted = [str(it).encode() for it in address]
    begin, end = reader.bounds(topics.dead_letters, address[1])
    for message in reader.read(topics.dead_letters, address[1], max(begin, end - DEAD_LETTERS_LOOKED_AT_MAX)):
        headers = dict(message.headers() or ())
        if [headers.get(HEADER_PREFIX + name) for name in ("topic", "partition", "offset")] == wanted:
            return _text(headers.get(HEADER_PREFIX + "reason")), _text(headers.get(HEADER_PREFIX + "message"))
    return None


def _text(value: bytes | str | None) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value or ""
