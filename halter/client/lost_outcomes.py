"""Finds out why a sender has not seen the outcome of a record: it is not folded yet, or it is a dead letter.

Reads fold positions, the log and dead letters, and asks for the members of the workers' group. A principal needs rights
for each (topics.yaml). Without them the sentences say less, but never something untrue.
"""

import shlex
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from confluent_kafka import KafkaException

from halter.client.errors import DeadLettered, NoOutcome
from halter.client.log_records import decoded, log_entry
from halter.client.reading import FROM_THE_START, PartitionReader
from halter.client.workers import START_ONE, Members
from processors.codec import Codec
from processors.core.records.errors import HalterError
from processors.core.records.fold_position import FoldPosition
from processors.fold.inputs import HEADER_PREFIX, mapping_of
from processors.fold.log_tail import LogTail
from processors.kafka.headers import headers_of
from processors.kafka.topics import Topics

DECIDED: Final = "Kafka has the record, and it is decided as soon as a worker comes to it"
AGAIN: Final = f"{DECIDED}; the same command again is safe"
DEAD_LETTERS_LOOKED_AT_MAX = 10_000
"""Number of the newest dead letters of a partition that are searched."""
OLD_SECONDS: Final = 0.5
"""Time for which an answer about the workers serves all. Many may wait for a worker that is not there."""


def folded(reader: PartitionReader, topics: Topics, codec: Codec, partition: int) -> dict[str, int]:
    """The offset that is folded next, for each input topic of a partition: by its FoldPosition and the log behind."""
    newest: bytes | None = None
    for message in reader.read(topics.fold_positions, partition, FROM_THE_START):
        newest = message.value()
    if newest is None:
        return {}
    position = decoded(codec, newest, "FoldPosition", lambda: f"{topics.fold_positions}, key {partition}")
    assert isinstance(position, FoldPosition)
    tail = LogTail(position)
    if position.log_position is not None:
        for message in reader.read(topics.wf_events, partition, position.log_position):
            tail.takes(log_entry(codec, message).cause)
    return tail.offsets


def what_comes(repeat_id: str | None) -> str:
    """A sentence about what will become of a record that nobody has decided yet.

    `repeat_id` is the id with which it may be sent again; None if there is none.
    """
    if repeat_id is None:
        return DECIDED
    return f"{DECIDED}; to send it again safely, give it the same id (of a command: `--id {shlex.quote(repeat_id)}`)"


class Progress:
    """Says how far the workers are, and who they are. Several threads may ask."""

    def __init__(
        self, reader: PartitionReader, topics: Topics, codec: Codec, members: Callable[[], Members | None]
    ) -> None:
        """`members` asks Kafka who the workers are; None if it does not tell."""
        self._reader, self._topics, self._codec, self._ask = reader, topics, codec, members
        self._folded: dict[int, tuple[float, dict[str, int]]] = {}
        self._members: tuple[float, Members | None] = float("-inf"), None
        self._asking = Lock()

    def expect_folded(
        self, address: tuple[str, int, int], waited_s: float, comes: str = DECIDED, old_s: float = 0.0
    ) -> None:
        """Raise NoOutcome unless a record is folded.

        `address` is the topic without the prefix, the partition and the offset of the record. `comes` is a sentence
        about what will become of it. What another caller has asked serves too, if that was at most `old_s` ago.
        """
        topic, partition, offset = address
        what = f"no outcome yet of {topic}[{partition}]@{offset} within {waited_s:g} s"
        try:
            position = self._offsets(partition, time.monotonic() - old_s).get(topic, 0)
        except (KafkaException, HalterError) as error:
            raise NoOutcome(
                f"{what}, and the position of the workers cannot be read ({error}): is a worker running? (`halter "
                f"worker` starts one). {comes}"
            ) from error
        if position <= offset:
            place = f"partition {partition} of {topic} is folded up to {position}, the record is at {offset}"
            raise NoOutcome(f"{what}: {self._who_folds(partition, place)}. {comes}")

    def _offsets(self, partition: int, since: float) -> dict[str, int]:
        """Return what is folded of a partition, as it was asked at a moment of the monotonic clock or later."""
        with self._asking:
            asked, offsets = self._folded.get(partition, (float("-inf"), {}))
            if asked < since:
                asked = time.monotonic()
                offsets = folded(self._reader, self._topics, self._codec, partition)
                self._folded[partition] = asked, offsets
            return offsets

    def _who_folds(self, partition: int, place: str) -> str:
        members = self.members()
        if members is None:
            return (
                f"the worker is behind or not running: {place}. Is a worker running? (`halter worker` starts one; its "
                "log says so where a partition is paused)"
            )
        if not members.names:
            return f"no worker is running: group '{members.group}' has no member, and {place}. {START_ONE}"
        owner = members.owners.get(partition)
        if owner is None:
            return (
                f"no worker has taken the partition yet: {place}. Group '{members.group}' has "
                f"{', '.join(members.names[:3])}, whose logs say what they wait for"
            )
        return f"worker '{owner}' starts, is behind, or the partition is paused: {place}. Its log says which"

    def members(self) -> Members | None:
        """Return who the workers are; None if Kafka does not tell."""
        with self._asking:
            asked, members = self._members
            if time.monotonic() - asked > OLD_SECONDS:
                members = self._ask()
                self._members = time.monotonic(), members
            return members


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
        found = headers_of(message) or ()
        headers = dict(found)
        place = [headers.get(HEADER_PREFIX + name) for name in ("topic", "partition", "offset")]
        if place == wanted and mapping_of(found) is None:
            return _text(headers.get(HEADER_PREFIX + "reason")), _text(headers.get(HEADER_PREFIX + "message"))
    return None


def _text(value: bytes | str | None) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value or ""
