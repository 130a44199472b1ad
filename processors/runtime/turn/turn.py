"""A turn: records of some shards that are folded together, and what came of them.

It is a value. Polling makes it, the agents fold its records, committing ends it. Knows no Kafka and no clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from processors.fold.contract import InputRecord, OutputRecord, ReadInput
from processors.runtime.group.errors import FoldFailed, OutOfOrder
from processors.runtime.turn.shards import OwnedShard

Reads: TypeAlias = dict[OwnedShard, list[ReadInput]]
"""Records that were read, by shard, in the order in which they are folded."""


@dataclass(eq=False, slots=True)
class ShardTurn:
    """One shard's part of a turn: its records, and how many of them were folded."""

    shard: OwnedShard
    reads: Sequence[ReadInput]
    one_at_a_time: bool = False
    """Only the first record is to be folded in this turn."""
    rows: bool = False
    """The shard's rows are to be written. There may be no records then."""
    folded: int = 0
    """The number of records that the fold was given. There may be no time for the others."""
    failure: FoldFailed | None = None
    """The failure of a rule, if one broke. Nothing of this part is committed then."""
    _begins: Mapping[str, int] = field(init=False)
    """The offsets of the fold before the turn."""

    def __post_init__(self) -> None:
        self._begins = dict(self.shard.fold.offsets)

    @property
    def records(self) -> list[InputRecord]:
        """The records that were folded."""
        return [read.record for read in self.reads[: self.folded]]

    @property
    def not_folded(self) -> Sequence[ReadInput]:
        """The records for which there was no time."""
        return self.reads[self.folded :]

    def check_offsets(self) -> None:
        """Raise OutOfOrder if a record was folded before, or if the fold has lost count."""
        offsets = dict(self._begins)
        for record in self.records:
            if record.offset < offsets[record.topic]:
                raise OutOfOrder(
                    f"{record.topic}[{record.partition}]: expected offset {offsets[record.topic]} or a later one, "
                    f"found {record.offset}: it was folded before"
                )
            offsets[record.topic] = record.offset + 1
        counted = self.shard.fold.offsets
        for topic, offset in offsets.items():
            if counted[topic] != offset:
                raise OutOfOrder(
                    f"{topic}[{self.shard.number}]: expected the fold to stand at offset {offset}, found it at "
                    f"{counted[topic]}"
                )


@dataclass(slots=True)
class Turn:
    """The parts of all shards, the timers that the turn fires, and the outputs that wait for the transaction."""

    parts: list[ShardTurn]
    timers: dict[OwnedShard, Sequence[OutputRecord]]
    outputs: list[Sequence[OutputRecord]] = field(default_factory=list)
    """The outputs of shards that were not handed to the transaction yet."""
    begun: float = 0.0
    """When it was polled, as the worker's clock counts seconds, if anybody measures that."""

    @property
    def shards(self) -> list[OwnedShard]:
        """All shards that the turn touches."""
        return list({**{part.shard: None for part in self.parts}, **self.timers})

    @property
    def folded(self) -> int:
        """The number of records that were folded. Those of a shard on which a rule broke do not count."""
        return sum(part.folded for part in self.parts if part.failure is None)

    @property
    def not_folded(self) -> Reads:
        """The records for which there was no time, by shard."""
        return {part.shard: list(part.not_folded) for part in self.parts if part.not_folded}

    def drop_broken(self) -> list[ShardTurn]:
        """Take the parts that cannot be committed out of the turn, and return them."""
        broken = [part for part in self.parts if part.failure is not None]
        self.parts = [part for part in self.parts if part.failure is None]
        for part in broken:
            self.timers.pop(part.shard, None)
        return broken
