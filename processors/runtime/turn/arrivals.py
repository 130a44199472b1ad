"""Records as they come from Kafka: polled one by one, each placed with the shard that folds it.

Knows the consumer's messages and makes InputRecords of them. Nothing is decoded here.
"""

from typing import Final

import structlog
from confluent_kafka import Message

from processors.fold.contract import InputRecord
from processors.fold.inputs import HEADER_PREFIX, Headers
from processors.kafka.headers import headers_of
from processors.runtime.group.clock import Clock
from processors.runtime.group.membership import Membership
from processors.runtime.group.names import RecordAddress
from processors.runtime.turn.figures import Figures
from processors.runtime.turn.shards import OwnedShard, Shards

UNREADABLE_HEADERS: Final[Headers] = ((f"{HEADER_PREFIX}headers_unreadable", b"a name is not UTF-8"),)
"""Stands for the headers of a record that the client cannot read: only the input topic has them."""


class Arrivals:
    """Polls records of the shards that this process owns."""

    def __init__(self, membership: Membership, shards: Shards, figures: Figures, clock: Clock) -> None:
        self._membership, self._shards, self._figures, self._clock = membership, shards, figures, clock
        self._told_of_headers = False
        self._log = structlog.get_logger("halter.runtime")

    def poll(self, at_most: int, wait_seconds: float) -> dict[OwnedShard, list[InputRecord]]:
        """Return records that are there, by shard. Waits for the first one only. Raises KafkaException."""
        begun = self._clock.monotonic()
        poll, at = self._membership.poll, self._shards.at
        polled: dict[OwnedShard, list[InputRecord]] = {}
        for _ in range(at_most):
            message = poll(wait_seconds)
            if message is None:
                break
            wait_seconds = 0.0
            partition: int = message.partition()  # type: ignore[assignment]  # records of topics have one
            found = at(message.topic(), partition)  # type: ignore[arg-type]  # as above
            # None: its shard was taken while it was on its way. The new owner fetches it from its offset on.
            if found is not None:
                shard, topic = found
                record = as_input(message, topic, partition)
                if record.headers is UNREADABLE_HEADERS:
                    self._headers_unreadable(record)
                polled.setdefault(shard, []).append(record)
        self._figures.poll_s += self._clock.monotonic() - begun
        # A callback within these polls may have taken a shard whose records we already hold.
        return {shard: records for shard, records in polled.items() if self._shards.has(shard)}

    def _headers_unreadable(self, record: InputRecord) -> None:
        """Say so, once for all such records of this worker."""
        if not self._told_of_headers:
            self._told_of_headers = True
            address = str(RecordAddress(record))
            self._log.warning("headers_unreadable", record=address, reason="a header's name is not UTF-8")


def as_input(message: Message, topic: str, partition: int) -> InputRecord:
    """Return a message as folds take it: with UNREADABLE_HEADERS if the client cannot read them.

    A record with bad headers is folded like any other.
    """
    headers = headers_of(message)
    return InputRecord(
        topic,
        partition,
        message.offset(),  # type: ignore[arg-type]  # a record that was read has one
        message.timestamp()[1],
        message.key(),
        message.value(),
        UNREADABLE_HEADERS if headers is None else headers,
    )
