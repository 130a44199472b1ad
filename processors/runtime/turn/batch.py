"""What an agent gets: the records of one shard in one turn, and the way to hand over what became of them."""

import asyncio
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from processors.fold.contract import InputRecord, OutputRecord, ReadInput
from processors.runtime.group.calls import Watched
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.errors import AgentEnded, FoldFailed, in_short
from processors.runtime.group.steps import Step, Steps
from processors.runtime.turn.shards import OwnedShard


class Where:
    """A record's place, written out only when it is needed."""

    __slots__ = ("_record",)

    def __init__(self, record: InputRecord) -> None:
        self._record = record

    def __str__(self) -> str:
        return f"{self._record.topic}[{self._record.partition}]@{self._record.offset}"


class Batch:
    """`with batch:` tells the runtime how the fold of these records ended; iterating gives the records in order.

    Iterating ends early when the turn's time is used up, though never before the first record; `folded` says how many
    were given. An exception inside the `with` is the runtime's from then on, with the record that it met; the agent
    goes on.
    """

    def __init__(
        self,
        shard: OwnedShard,
        reads: Sequence[ReadInput],
        until: float,
        watched: Watched,
        steps: Steps,
        clock: Clock = CLOCK,
    ) -> None:
        """`until`: when the turn's time is used up, as `clock.monotonic` tells it."""
        self.shard, self.reads = shard, reads
        self.fold = shard.fold
        self.folded = 0
        self._until, self._watched, self._clock = until, watched, clock
        self.outputs: asyncio.Future[Sequence[OutputRecord]] = asyncio.get_running_loop().create_future()
        # The worker may end with a failure of another batch of the turn; nobody asks for this one's then.
        self.outputs.add_done_callback(lambda outputs: outputs.cancelled() or outputs.exception())
        self._steps = steps
        self._current: InputRecord | None = None

    def __iter__(self) -> Iterator[ReadInput]:
        middle = self.reads[len(self.reads) // 2]
        for read in self.reads:
            if self.folded and self._clock.monotonic() > self._until:
                break
            self._current = read.record
            if read is middle:
                self._steps.reached(Step.MID_FOLD)
            self.folded += 1
            self._watched.begin(Where(read.record))
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
            folded = [read.record for read in self.reads[: self.folded]]
            failure = FoldFailed(self._sentence(error), self._current, folded, in_short(error))
            failure.__cause__ = error
            self.outputs.set_exception(failure)
            return True
        # The agent is cancelled, or forgot to hand over: either way there is nothing to commit.
        self.outputs.set_exception(AgentEnded(f"shard {self.shard.number}: the agent ended without outputs"))
        return False

    def _sentence(self, error: Exception) -> str:
        record = self._current
        if record is None:
            return f"shard {self.shard.number}: its outputs cannot be made: {in_short(error)}"
        return f"{Where(record)} (key {record.key!r}) cannot be folded: {in_short(error)}; nothing of it was committed"
