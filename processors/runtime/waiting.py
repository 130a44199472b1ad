"""Work that waits for Kafka without keeping the Kafka thread from everything else.

Such work is a generator: it yields whenever there is nothing to do yet, and whoever drives it comes back later.
"""

from collections.abc import Generator
from typing import TypeVar

from processors.runtime.clock import Clock

T = TypeVar("T")

Waiting = Generator[None, None, T]
"""Yields while it waits; returns T."""


def pause(clock: Clock, seconds: float) -> Waiting[None]:
    """Wait for a time."""
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        yield
