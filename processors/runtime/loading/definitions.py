"""Keeps the worker's view of `definitions` up to date, between turns only: a turn sees one position.

Reads the whole topic before the first turn. A definition that comes later is applied when a thread beside the turns has
read its document, so that no fold has to. A command may name a position that its producer saw, or a definition that the
worker does not know. While the worker is behind that position, or the end of the topic, the records of the shard wait
(`turn.awaiting`). They do not wait for a position that the topic does not have: the fold then sees a position below the
one required and rejects the command.
"""

from collections import deque
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processors.fold.contract import SharedDefinitions
from processors.kafka.client_errors import PASSING
from processors.runtime.group.calls import CALL_SECONDS, KafkaCalls
from processors.runtime.group.clients import Clients
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.names import ShardTopics
from processors.runtime.loading.restore import where

WAIT_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.1
FETCH_WAIT_MS: Final = 100
COMING_MAX: Final = 8
"""The number of records that may be at hand and wait to be read."""


# (rule seen-definitions-waited-for)
class DefinitionsReader:
    """Reads `definitions` for the folds, which share one view of it."""

    def __init__(
        self,
        clients: Clients,
        names: ShardTopics,
        definitions: SharedDefinitions,
        calls: KafkaCalls,
        clock: Clock = CLOCK,
    ) -> None:
        self._clients, self._definitions, self._calls = clients, definitions, calls
        self._clock = clock
        self._place = names.definitions
        self._consumer: Consumer | None = None
        self._coming: deque[Message] = deque()
        """Records that have come and are not applied yet."""
        self._log = structlog.get_logger("halter.runtime")

    def open(self) -> None:
        """Read everything that is there."""
        self._consumer = self._clients.reader(FETCH_WAIT_MS)
        low, _ = self._calls.until_answered(self._watermarks, again_for=PASSING)
        self._consumer.assign([TopicPartition(*self._place, low)])
        begun, waiting = self._clock.monotonic(), False
        while not self._take(self._poll(POLL_SECONDS)):
            if self._calls.stopping.is_set():
                return
            if not waiting and self._clock.monotonic() - begun > WAIT_SECONDS:
                waiting = True
                self._log.warning("waiting_for_definitions", topic=self._place[0])
        self._definitions.read_newest()
        self._log.info("definitions_read", position=self._definitions.position)

    def close(self) -> None:
        """Stop reading."""
        if self._consumer is not None:
            self._consumer.close()

    @property
    def position(self) -> int:
        """The position that holds during the next turn."""
        return self._definitions.position

    def catch_up(self) -> None:
        """Apply what has come since and is read, without waiting."""
        while len(self._coming) < COMING_MAX and (message := self._poll(0)) is not None:
            self._coming.append(message)
        while self._coming and self._prepare(self._coming[0]):
            self._take(self._coming.popleft())

    def _prepare(self, message: Message) -> bool:
        return message.error() is not None or self._definitions.prepare(message.value())

    def end(self) -> int:
        """Ask for the position at which the topic ends now."""
        _, high = self._calls.until_answered(self._watermarks, again_for=PASSING)
        return high

    def _watermarks(self) -> tuple[int, int]:
        assert self._consumer is not None
        return self._consumer.get_watermark_offsets(TopicPartition(*self._place), timeout=CALL_SECONDS)

    def _poll(self, seconds: float) -> Message | None:
        assert self._consumer is not None
        return self._consumer.poll(seconds)

    def _take(self, message: Message | None) -> bool:
        """Apply one message. Returns True if it was the end of the topic for now."""
        if message is None:
            return False
        error = message.error()
        _, offset = where(message)
        if error is None:
            self._definitions.apply(message.key() or b"", message.value(), offset + 1)
            return False
        if error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        # The marks of transactions are no records, but positions count them.
        self._definitions.position = max(self._definitions.position, offset)
        return True
