"""A thread that reads a topic beside the work of a task worker, which goes on whatever becomes of it.

Knows the thread, how its consumer begins and ends, and which errors pass: if brokers come and go, it asks them again.
Without the topic, or the right to read it, it says so once and ends. Does not know what the records mean.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processors.core.records.errors import HalterError
from processors.kafka.client_errors import PASSING

POLL_SECONDS: Final = 0.2
BATCH: Final = 1_000
REQUEST_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 1.0
"""Time to wait for the end of the thread. If it waits for an answer of the cluster, it ends with the process."""
FATAL: Final = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
)


class SideThread:
    """Takes one step after another with a consumer of its own, until it is closed or Kafka refuses it."""

    def __init__(self, topic: str, not_seen: str, log: Any) -> None:
        """`topic` is the name on the cluster. `not_seen`: the event of the log that says why it is not read."""
        self._topic, self._not_seen, self._log = topic, not_seen, log
        self._thread: threading.Thread | None = None
        self.is_over = threading.Event()
        self.wanted = threading.Event()
        """Set when there is something to do, for steps that wait for that; also at the end."""

    def start(self, name: str, new_consumer: Callable[[], Consumer], step: Callable[[Consumer], None]) -> None:
        """Begin, if it has not begun. `step` may raise KafkaException or HalterError, which ends the thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(new_consumer, step), name=name, daemon=True)
            self._thread.start()

    def give_up(self, error: KafkaException | HalterError) -> None:
        """Say in the log why the topic is not read."""
        self._log.warning(self._not_seen, topic=self._topic, reason=str(error))

    def close(self) -> None:
        """End the thread."""
        self.is_over.set()
        self.wanted.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _run(self, new_consumer: Callable[[], Consumer], step: Callable[[Consumer], None]) -> None:
        consumer = None
        try:
            consumer = new_consumer()
            while not self.is_over.is_set():
                step(consumer)
        except (KafkaException, HalterError) as error:
            self.give_up(error)
        finally:
            self.is_over.set()
            if consumer is not None:
                consumer.close()


def records(consumer: Consumer) -> Iterator[Message]:
    """Yield the records that come within a moment. Raises KafkaException if the cluster refuses us."""
    for message in consumer.consume(BATCH, POLL_SECONDS):
        error = message.error()
        if error is None:
            yield message
        elif error.code() in FATAL or error.fatal():
            raise KafkaException(error)


def end_of(consumer: Consumer, partition: TopicPartition) -> int:
    """Ask for the end of a partition. Raises KafkaException."""
    return consumer.get_watermark_offsets(partition, REQUEST_SECONDS, cached=False)[1]


def passes(exception: KafkaException) -> bool:
    """Say whether an error occurs while brokers come and go: then we ask again."""
    return exception.args[0].code() in PASSING
