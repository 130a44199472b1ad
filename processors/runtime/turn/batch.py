"""A batch: what an agent gets. It gives the records of one shard in one turn, and takes what came of them.

Knows nothing of transactions: what an agent hands over is committed by somebody else.
"""

import asyncio
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from processors.fold.contract import InputRecord, OutputRecord, ReadInput
from processors.runtime.group.calls import Watched
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.crash_points import CrashPoint, CrashPoints
from processors.runtime.group.errors import AgentEnded, FoldFailed, in_short
from processors.runtime.group.names import RecordAddress
from processors.runtime.turn.turn import ShardTurn


class Batch:
    """One shard's part of a turn, in the hands of an agent. Iterating gives the records in order.

    Iterating ends early when the time of the turn is used up or the fold is full, but never before the first record.
    `with batch:` tells the runtime how the fold ended: the runtime takes an exception inside the block, with the record
    that was being folded, and the agent goes on.
    """

    def __init__(
        self,
        part: ShardTurn,
        until: float,
        watched: Watched,
        crash_points: CrashPoints,
        clock: Clock = CLOCK,
    ) -> None:
        """`until`: when the turn's time is used up, as `clock.monotonic` tells it."""
        self.part = part
        self.fold = part.shard.fold
        self._until, self._watched, self._clock = until, watched, clock
        self.outputs: asyncio.Future[Sequence[OutputRecord]] = asyncio.get_running_loop().create_future()
        # The worker may end with a failure of another batch of the turn. Then nobody asks for the failure of this one.
        self.outputs.add_done_callback(lambda outputs: outputs.cancelled() or outputs.exception())
        self._crash_points = crash_points
        self._current: InputRecord | None = None

    def __iter__(self) -> Iterator[ReadInput]:
        part, reads = self.part, self.part.reads
        middle = reads[len(reads) // 2] if reads else None
        for read in reads:
            if part.folded and (self._clock.monotonic() > self._until or self.fold.is_full):
                break
            self._current = read.record
            if read is middle:
                self._crash_points.reached(CrashPoint.MID_FOLD)
            part.folded += 1
            self._watched.begin(RecordAddress(read.record))
            yield read
        self._current = None

    def hand_over(self, outputs: Sequence[OutputRecord]) -> None:
        """Give what the records came to."""
        self.outputs.set_result(outputs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._watched.begin(None)
        if self.outputs.done():
            return True
        if isinstance(error, Exception):
            # If the rows cannot be made, no record of this turn is to blame: they are of many turns.
            rows_broke = self._current is None and self.part.rows
            records = [] if rows_broke else self.part.records
            failure = FoldFailed(self._sentence(error), self._current, records, in_short(error))
            failure.__cause__ = error
            self.outputs.set_exception(failure)
            return True
        # The agent is cancelled, or forgot to hand over: either way there is nothing to commit.
        self.outputs.set_exception(AgentEnded(f"shard {self.part.shard.number}: the agent ended without outputs"))
        return False

    def _sentence(self, error: Exception) -> str:
        record = self._current
        if record is None:
            return f"shard {self.part.shard.number}: its outputs cannot be made: {in_short(error)}"
        address = RecordAddress(record)
        return f"{address} (key {record.key!r}) cannot be folded: {in_short(error)}; nothing of it was committed"
