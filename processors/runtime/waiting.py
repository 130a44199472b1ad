"""Work that waits for Kafka without keeping the Kafka thread from everything else.

Such work is a generator: it yields whenever there is nothing to do yet, and whoever drives it comes back later.
"""

from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, TypeVar

from processors.runtime.clock import Clock

T = TypeVar("T")

Waiting = Generator[None, None, T]
"""Yields while it waits; returns T."""


def answer(future: "Future[Any]") -> Waiting[Any]:
    """Wait for a future; return or raise what it holds."""
    while not future.done():
        yield
    return future.result()


def pause(clock: Clock, seconds: float) -> Waiting[None]:
    """Wait for a time."""
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        yield
