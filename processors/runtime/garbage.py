"""Keeps Python's cycle collector off a shard's state while it is loaded and after.

Restored rows are millions of objects that stay: while they come, the collector would walk over them again and again
and find nothing. `gc.freeze` then takes them out of its sight, so that turns are not held up by it either.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final


class Garbage:
    """Knows how many loads are on their way; the process has one collector, and so one of these."""

    def __init__(self) -> None:
        self._loads = 0

    @contextmanager
    def left_alone(self) -> Iterator[None]:
        """Load within this. The last of several loads to end turns the collector on again. In the Kafka thread."""
        self._loads += 1
        if self._loads == 1:
            # What was frozen for shards that are gone by now is collected here, or never.
            gc.unfreeze()
            gc.collect()
            gc.disable()
        try:
            yield
        finally:
            self._loads -= 1
            if self._loads == 0:
                gc.freeze()
                gc.enable()


GARBAGE: Final = Garbage()
