"""The shards whose rows are to be written with the next turn.

Rows follow the log. Writing them with each turn would make it wait for four partitions more per shard, and would write
again and again what is soon changed. So rows wait until the worker is quiet for a moment. While it is not, a turn takes
along the rows of few shards, those that have waited longest.
"""

from typing import Final

from processors.runtime.group.clock import Clock
from processors.runtime.turn.pauses import Pauses
from processors.runtime.turn.shards import OwnedShard, Shards

QUIET_SECONDS: Final = 0.05
"""If nothing was folded for this long, rows are written that are behind."""
BUSY_SECONDS: Final = 0.5
"""Rows that have waited for this long go along with the next turn. A WfRun that is busy is written less often."""
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
        self._busy_at = clock.monotonic()

    def take(self, *, busy: bool) -> set[OwnedShard]:
        """Return the shards whose rows are to be written now. `busy`: the turn has records or timers."""
        now = self._clock.monotonic()
        if busy:
            self._busy_at = now
        self._look(now)
        longest = sorted(self._since.items(), key=lambda item: item[1])
        quiet = now - self._busy_at >= QUIET_SECONDS
        due = [shard for shard, since in longest if quiet or now - since >= BUSY_SECONDS]
        few = max(1, len(self._shards.owned) // SHARDS_PER_TURN)
        late = [shard for shard, since in longest if now - since >= LATE_SECONDS]
        many = [shard for shard in self._since if shard.fold.unwritten >= MANY_WF_RUNS]
        return {*due[:few], *late, *many}

    def seconds_to_next(self) -> float | None:
        """Return the time until rows are to be written if nothing else comes; None if no rows are behind."""
        now = self._clock.monotonic()
        self._look(now)
        if not self._since:
            return None
        return max(0.0, min(self._busy_at + QUIET_SECONDS, min(self._since.values()) + BUSY_SECONDS) - now)

    def _look(self, now: float) -> None:
        """Note which shards are behind now, and since when."""
        self._since = {
            shard: self._since.get(shard, now)
            for shard in self._shards.owned
            if shard.fold.unwritten and self._pauses.of(shard.number).writes_rows
        }
