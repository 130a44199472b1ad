"""The shards whose rows are to be written with the next turn.

Rows follow the log. Writing them with each turn would make it wait for four partitions more per shard, and would write
again and again what is soon changed. So a turn takes the rows of few shards along, those that have waited longest, and
a turn of rows alone comes when nothing else does.
"""

from collections.abc import Collection
from typing import Final

from processors.runtime.group.clock import Clock
from processors.runtime.turn.pauses import Pauses
from processors.runtime.turn.shards import OwnedShard, Shards

ALONE_SECONDS: Final = 0.1
"""Rows wait for this long at most while nothing else is to be folded."""
ALONG_SECONDS: Final = 0.05
"""Rows that have waited for this long go along with a turn that has records."""
SHARDS_PER_TURN: Final = 16
"""A turn takes the rows of one shard along for each so many that the worker has: at least of one."""
LATE_SECONDS: Final = 1.0
"""Rows that have waited for this long go with the next turn, however many they are."""
MANY_WF_RUNS: Final = 2_000
"""So do the rows of a shard in which so many WfRuns have changed: they are in memory until they are written."""


class RowsDue:
    """Knows since when the rows of each shard are behind."""

    def __init__(self, shards: Shards, pauses: Pauses, clock: Clock) -> None:
        self._shards, self._pauses, self._clock = shards, pauses, clock
        self._since: dict[OwnedShard, float] = {}

    def take(self, *, along: bool) -> Collection[OwnedShard]:
        """Return the shards whose rows are to be written now. `along`: with a turn that has records or timers."""
        now = self._clock.monotonic()
        self._look(now)
        least = ALONG_SECONDS if along else ALONE_SECONDS
        due = [shard for shard, since in self._since.items() if now - since >= least]
        due.sort(key=self._since.__getitem__)
        few = max(1, len(self._shards.owned) // SHARDS_PER_TURN)
        late = {shard for shard, since in self._since.items() if now - since >= LATE_SECONDS}
        many = {shard for shard in self._since if shard.fold.unwritten >= MANY_WF_RUNS}
        return {*due[:few], *late, *many}

    def seconds_to_next(self) -> float | None:
        """Return the time until rows are to be written if nothing else comes; None if no rows are behind."""
        now = self._clock.monotonic()
        self._look(now)
        if not self._since:
            return None
        return max(0.0, min(self._since.values()) + ALONE_SECONDS - now)

    def _look(self, now: float) -> None:
        """Note which shards are behind now, and since when."""
        self._since = {
            shard: self._since.get(shard, now)
            for shard in self._shards.owned
            if shard.fold.unwritten and self._pauses.of(shard.number).writes_rows
        }
