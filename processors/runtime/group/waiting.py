"""Work that waits for Kafka without keeping the Kafka thread from everything else.

Such work is a generator: it yields whenever there is nothing to do yet, and whoever drives it comes back later.
"""

from collections.abc import Generator
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from processors.runtime.group.clock import Clock

T = TypeVar("T")

Waiting = Generator[None, None, T]
"""Yields while it waits; returns T."""

ANSWER_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 3 * ANSWER_SECONDS
"""A client answers every question within ANSWER_SECONDS, be it with a time-out. One that does not must not keep a shard
unloaded for ever, and nothing else would show it."""


def unanswered() -> KafkaException:
    """Return the error of a question for whose answer nobody waits any longer."""
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, "the client has not answered a question"))


def pause(clock: Clock, seconds: float) -> Waiting[None]:
    """Wait for a time."""
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        yield
