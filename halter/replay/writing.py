"""Writes the records of a replay: those of a turn, and how far it is, in one transaction.

There is one transactional id for each prefix. Whoever opens it ends what an earlier process left open, and that process
can write no more.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from halter.replay.manifest import TOPIC
from processors.core.records.errors import HalterError
from processors.core.records.topic_names import WF_EVENTS
from processors.fold.outputs import OutputRecord
from processors.kafka.fencing import FENCED
from processors.kafka.settings import Settings
from processors.kafka.topics import RECORD_OVERHEAD_BYTES, Topics

CALL_SECONDS: Final = 300.0
TRANSACTION_MS: Final = 300_000
"""The rows of the state before a range are one transaction. Nobody waits for it but readers of the replay."""
FULL_SECONDS: Final = 0.1


class TakenOver(HalterError):
    """Another process goes on with the replay where this one was, or has removed it. Nothing is doubled."""


class Writing:
    """Writes under the prefix of a replay."""

    def __init__(self, settings: Settings, topics: Topics) -> None:
        """Open the transactional id. What an earlier process left open is aborted when this returns."""
        self._settings, self._topics = settings, topics
        self._log_end: int | None = None
        self._producer = Producer(
            settings.producer(
                transactional_id=f"{topics.group}-{TOPIC}",
                transaction_timeout_ms=TRANSACTION_MS,
                queue_buffering_max_messages=500_000,
                message_max_bytes=topics.message_bytes_max + RECORD_OVERHEAD_BYTES,
            )
        )
        with self._explained("opening the transactions of the replay"):
            self._producer.init_transactions(CALL_SECONDS)

    def write(self, outputs: Iterable[OutputRecord], key: bytes, progress: bytes) -> int | None:
        """Write records of one partition, and the progress under its key, in one transaction.

        Returns the offset behind the last record of the log; None if none was written, or if it is not known.
        """
        self._log_end = None
        with self._explained("writing the replay"):
            self._producer.begin_transaction()
            for output in outputs:
                self._produce(output)
            self._produce(OutputRecord(TOPIC, 0, key, progress))
            self._producer.flush(CALL_SECONDS)
            self._commit()
        return self._log_end

    def _commit(self) -> None:
        self._producer.commit_transaction(CALL_SECONDS)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        offset = message.offset()
        if error is None and offset is not None:
            self._log_end = offset + 1

    def _produce(self, output: OutputRecord) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topics.prefix + output.topic,
                    output.value,
                    output.key,
                    output.partition,
                    on_delivery=self._delivered if output.topic == WF_EVENTS else None,
                    timestamp=output.timestamp_ms or 0,
                    headers=list(output.headers),
                )
            except BufferError:
                self._producer.poll(FULL_SECONDS)
            else:
                return

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as exception:
            if exception.args[0].code() in FENCED:
                raise TakenOver(
                    f"another process replays into '{self._topics.prefix}' since, and goes on where this one was, or "
                    "removes that replay"
                ) from exception
            raise self._settings.explain(exception, doing) from exception
