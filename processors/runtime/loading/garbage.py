"""Keeps Python's cycle collector off a shard's state while it is loaded and after.

Restored rows are millions of objects that stay: while they come, the collector would walk over them again and again
and find nothing. `gc.freeze` then takes them out of its sight, so that turns are not held up by it either. What turns
make has no cycles, so reference counts free it; but WfRuns that are held are many objects, and at Python's thresholds
the collector walked over them for a fifth of the time of an interrupt, and two fifths where WfRuns come and go.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SELDOM: Final = (200_000, 20, 20)
"""Objects that are more than at the last look at the young ones, such looks before one at the middle-aged, and those
before one at all. Python's are 700, 10 and 10."""


class Garbage:
    """Knows how many loads are on their way; the process has one collector, and so one of these."""

    def __init__(self) -> None:
        self._loads = 0

    @staticmethod
    def look_seldom() -> None:
        """Set the collector for a worker's process, once and for all."""
        gc.set_threshold(*SELDOM)

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
