"""Shards that wait for definitions that this worker has not read yet.

A producer saw a position of `definitions`, and says so. Or a record names a definition that the worker does not know.
Somebody may have registered it a moment ago: the shard waits until `definitions` is read to the end that it has now.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from processors.fold.contract import ReadInput
from processors.runtime.group.clock import Clock
from processors.runtime.loading.definitions import WAIT_SECONDS, DefinitionsReader
from processors.runtime.turn.shards import OwnedShard, Shards
from processors.runtime.turn.turn import Reads


@dataclass(slots=True)
class Awaiting:
    """The records of a shard that wait for a position of `definitions`, until a time."""

    reads: list[ReadInput]
    position: int
    until: float


class AwaitingDefinitions:
    """Lets the records of a shard wait together. The other shards go on.

    They wait for a bounded time. After that the fold sees a position below the one required and rejects the command.
    """

    def __init__(
        self, definitions: DefinitionsReader, shards: Shards, clock: Clock, before_asking: Callable[[], None]
    ) -> None:
        """`before_asking`: called before Kafka is asked something, for which it may take its time."""
        self._definitions, self._shards, self._clock = definitions, shards, clock
        self._before_asking = before_asking
        self._awaiting: dict[OwnedShard, Awaiting] = {}
        self._log = structlog.get_logger("halter.runtime")

    def __bool__(self) -> bool:
        """Say whether a shard waits."""
        return bool(self._awaiting)

    def ready(self, reads: Reads) -> Reads:
        """Return records without those of shards that wait, and with those of shards that have stopped waiting."""
        for shard, required in self._required(reads).items():
            of_shard, awaiting = reads[shard], self._awaiting.get(shard)
            if awaiting is not None:
                awaiting.reads += of_shard
                awaiting.position = max(awaiting.position, required)
            elif required > self._definitions.position:
                self._awaiting[shard] = Awaiting(of_shard, required, self._clock.monotonic() + WAIT_SECONDS)
        ready = {shard: of_shard for shard, of_shard in reads.items() if shard not in self._awaiting}
        for shard in [shard for shard, awaiting in self._awaiting.items() if self._is_over(shard, awaiting)]:
            ready[shard] = self._awaiting.pop(shard).reads
        return {shard: of_shard for shard, of_shard in ready.items() if self._shards.has(shard)}

    def _required(self, reads: Reads) -> dict[OwnedShard, int]:
        """Return the position of `definitions` that each shard needs. One that does not exist is needed by none."""
        seen = {shard: max(read.definitions_position for read in of_shard) for shard, of_shard in reads.items()}
        lacking = {shard for shard, of_shard in reads.items() if any(read.may_lack_definition for read in of_shard)}
        if not lacking and max(seen.values(), default=0) <= self._definitions.position:
            return seen
        self._before_asking()
        end = self._definitions.end()
        for shard, required in seen.items():
            if required > end:
                self._log.info("definitions_position_unknown", required=required, topic_ends_at=end)
                seen[shard] = 0
        return seen | dict.fromkeys(lacking, end)

    def _is_over(self, shard: OwnedShard, awaiting: Awaiting) -> bool:
        position = self._definitions.position
        if position >= awaiting.position or not self._shards.has(shard):
            return True
        if self._clock.monotonic() < awaiting.until:
            return False
        self._log.warning("definitions_behind", required=awaiting.position, position=position, waited_s=WAIT_SECONDS)
        return True
