"""Timers that are due: the records that fire them, and the time until the next one."""

from collections.abc import Sequence
from typing import Final

from processors.fold.contract import OutputRecord
from processors.runtime.group.clock import Clock
from processors.runtime.group.errors import FoldFailed, in_short
from processors.runtime.turn.pauses import Pauses
from processors.runtime.turn.pausing import Pausing
from processors.runtime.turn.shards import OwnedShard, Shards

TIMERS_PER_TURN: Final = 1_000


class DueTimers:
    """Asks the folds of all shards for their timers. Those of a paused shard do not fire."""

    def __init__(self, shards: Shards, pauses: Pauses, pausing: Pausing, clock: Clock) -> None:
        self._shards, self._pauses, self._pausing, self._clock = shards, pauses, pausing, clock

    def take(self) -> dict[OwnedShard, Sequence[OutputRecord]]:
        """Return the records of timers that are due now, by shard. A shard whose timers break is paused."""
        now_ms, left = self._clock.now_ms(), TIMERS_PER_TURN
        due: dict[OwnedShard, Sequence[OutputRecord]] = {}
        for shard in list(self._shards.owned):
            pause = self._pauses.of(shard.number)
            if left <= 0 or not pause.fires_timers:
                continue
            try:
                timers = shard.fold.due_timers(now_ms, left)
            except Exception as error:  # noqa: BLE001  a bug of a rule is the partition's, not the worker's
                reason = in_short(error)
                failure = FoldFailed(f"the timers of partition {shard.number} cannot be fired: {reason}", reason=reason)
                failure.__cause__ = error
                self._pausing.broke(shard, failure)
                continue
            pause.timers_fine()
            if timers:
                due[shard] = timers
                left -= len(timers)
        return due

    def seconds_to_next(self) -> float | None:
        """Return the time until the next timer is due, None without one."""
        times_ms = [
            time_ms
            for shard in self._shards.owned
            if self._pauses.of(shard.number).fires_timers and (time_ms := next_timer_ms(shard)) is not None
        ]
        return max(0.0, (min(times_ms) - self._clock.now_ms()) / 1_000) if times_ms else None


def next_timer_ms(shard: OwnedShard) -> int | None:
    """Return when a shard's next timer is due, in ms since 1970; None if it has none or cannot say."""
    try:
        return shard.fold.next_timer_ms()
    except Exception:  # noqa: BLE001  firing them will say what is wrong
        return None
