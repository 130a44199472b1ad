"""Keeps Python's cycle collector off a shard's state while it is loaded and after.

Restored rows are millions of objects that stay. While they come, the collector would walk over them again and again and
find nothing. `gc.freeze` then hides them from it, so that it does not hold up turns either. Turns make no cycles, so
reference counts free what they make. But the WfRuns in memory are many objects: at Python's thresholds the collector
took a fifth of the time of an interrupt to walk over them, and two fifths where WfRuns come and go.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SELDOM: Final = (200_000, 20, 20)
"""The thresholds of the three generations: new objects before a look at the young, looks at the young before one at the
middle-aged, and those before one at all. Python's are 700, 10 and 10."""


class Garbage:
    """Counts the loads of the process. The process has one collector, and so one of these."""

    def __init__(self) -> None:
        self._loads = 0

    @staticmethod
    def look_seldom() -> None:
        """Set the collector's thresholds for the process of a worker."""
        gc.set_threshold(*SELDOM)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Load in this block, in the Kafka thread. The last of several loads to end turns the collector on again."""
        self._loads += 1
        if self._loads == 1:
            # Objects that were frozen for shards that are gone by now are collected here, or never.
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
