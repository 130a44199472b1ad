"""Keeps Python's cycle collector off a shard's state while it is loaded and after.

Restored rows are millions of objects that stay. While they come, the collector would walk over them again and again and
find nothing. `gc.freeze` then hides them from it, so that it does not hold up turns either. Turns make no cycles, so
reference counts free what they make. But the WfRuns in memory are many objects: at Python's thresholds the collector
took a fifth of the time of an interrupt to walk over them, and two fifths where WfRuns come and go.

What turns leave behind is WfRuns, too. The collector counts new objects less freed ones, so among WfRuns that change it
comes seldom, and then finds all of them at once: a pause of 0.1 s and more every few seconds, which was behind most of
the slowest interrupts. So it looks after every turn at what that turn left, a millisecond, and never again.
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
        self._is_of_a_worker = False

    def is_of_a_worker(self) -> None:
        """Set the collector's thresholds for the process of a worker, and let it look after turns."""
        gc.set_threshold(*SELDOM)
        self._is_of_a_worker = True

    def look_after_a_turn(self) -> None:
        """Collect what was made since the last look and is garbage by now. Hide the rest from the collector.

        What becomes garbage later, as a cycle, is left to the next load. During a load this does nothing: the rows that
        it has read so far are hidden at its end. It does nothing in a process that has other work than a worker's.
        """
        if self._is_of_a_worker and self._loads == 0:
            gc.collect(0)
            gc.freeze()

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
