"""Measuring: histograms, and names whose number is bounded. What a process measures, before it is Prometheus' text.

Knows no library for metrics, so that whatever is measured can be so in a program that has none.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds for what should take milliseconds."""
LONG_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0)
"""Upper bounds in seconds for what may take an hour."""
NAMES_MAX: Final = 100
"""The number of names, of WfSpecs or TaskDefs, that a process tells apart in its metrics."""
OTHER: Final = "other"
"""Stands for the names beyond that number."""


class Histogram:
    """Counts observations by size. One thread observes; any other may read."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        """`bounds`: the upper bounds of the buckets, ascending. One without a bound follows."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def sum(self) -> float:
        """The sum of all observations."""
        return self._sum

    def buckets(self) -> Iterator[tuple[str, int]]:
        """Yield each upper bound, as text, and how many observations are not above it: cumulative, as in Prometheus."""
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), tuple(self._counts), strict=True):
            total += count
            yield "+Inf" if bound == float("inf") else str(bound), total


class BoundedNames:
    """Tells names apart up to a number of them. Users choose the names, and each would be a time series for ever."""

    def __init__(self, at_most: int = NAMES_MAX) -> None:
        self._at_most = at_most
        self._known: set[str] = set()

    def label(self, name: str) -> str:
        """Return the name, or OTHER if as many others came before it. The answer for a name never changes to OTHER."""
        if name in self._known:
            return name
        if len(self._known) < self._at_most:
            self._known.add(name)
            return name
        return OTHER
