"""Work that waits for Kafka while the Kafka thread does something else.

Such work is a generator. It yields whenever there is nothing to do yet, and is driven on later.
"""

from collections.abc import Generator
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from processors.runtime.group.clock import Clock

T = TypeVar("T")

Waiting = Generator[None, None, T]
"""A call in small steps: it yields while it waits, and returns T."""

ANSWER_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 3 * ANSWER_SECONDS
"""A client answers every question within ANSWER_SECONDS, at least with a time-out. If one does not, nothing else would
show it, and a shard would wait for its load for ever."""


def unanswered() -> KafkaException:
    """Return the error of a question that has waited for its answer for too long."""
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, "the client has not answered a question"))


def pause(clock: Clock, seconds: float) -> Waiting[None]:
    """Wait for a time."""
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        yield
