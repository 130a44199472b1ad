"""Beginning: where the folds of restored shards go on, if the records from there on still exist.

They begin at the folded offsets that their state holds, and not before the worker knows the definitions that they were
folded with.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import structlog

from processors.core.records.topic_names import WF_COMMANDS
from processors.fold.contract import Fold, SharedDefinitions
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.errors import PositionLost, StateLost
from processors.runtime.group.group_offsets import Committed
from processors.runtime.group.names import Place, ShardTopics, spelled
from processors.runtime.group.waiting import Waiting

DEFINITIONS_WARN_SECONDS: Final = 1.0

Begun = tuple[Fold, Mapping[Place, int]]
"""A fold, and the offsets at which its inputs begin."""


class Beginning:
    """Finds the offsets at which folds begin, and compares them with the topics and the group's offsets."""

    def __init__(self, names: ShardTopics, cluster: Cluster, definitions: SharedDefinitions, clock: Clock) -> None:
        self._names, self._cluster, self._definitions, self._clock = names, cluster, definitions, clock
        self._log = structlog.get_logger("halter.runtime")

    def begin(
        self, shards: AbstractSet[int], folds: Sequence[Fold], committed: Mapping[Place, Committed]
    ) -> Waiting[list[Begun]]:
        """Let the folds of these shards begin. Raises PositionLost, StateLost."""
        places = [place for shard in shards for place in self._names.inputs(shard)]
        low = yield from self._cluster.low(places)
        high = yield from self._cluster.high(places)
        begun: list[Begun] = []
        for fold in folds:
            if fold.partition not in shards:
                continue
            self._expect_state(fold, committed, low)
            starts = self._starts(fold, low, high)
            fold.begin({self._names.logical(topic): start for (topic, _), start in starts.items()})
            begun.append((fold, starts))
        return begun

    def _starts(self, fold: Fold, low: Mapping[Place, int], high: Mapping[Place, int]) -> dict[Place, int]:
        """Return the offset at which each input begins. Raises PositionLost."""
        starts: dict[Place, int] = {}
        was_folded = bool(fold.offsets)
        for place in self._names.inputs(fold.partition):
            folded = fold.offsets.get(self._names.logical(place[0]))
            start = low[place] if folded is None else folded
            if folded is None and was_folded:
                # The state names every input that the shard has ever had.
                self._log.warning("new_input", shard=fold.partition, topic=place[0], begins_at=start)
            if start < low[place]:
                raise PositionLost(
                    f"{spelled(place)}: expected the record at offset {start}, which is the next to fold, "
                    f"found that the topic begins at {low[place]}: {low[place] - start} offsets were deleted unread"
                )
            if start > high[place]:
                raise PositionLost(
                    f"{spelled(place)}: expected offset {start}, which is the next to fold, found that the "
                    f"topic ends at {high[place]}: it was truncated, or deleted and made anew"
                )
            starts[place] = start
        return starts

    def _expect_state(self, fold: Fold, committed: Mapping[Place, Committed], low: Mapping[Place, int]) -> None:
        """Raise StateLost if the state is behind the group's offset. Every turn commits both, so some state was lost.

        A part of it is lost if Kafka leaves a committed transaction without its marks in some partitions: a coordinator
        that restarts takes partitions without a leader for deleted ones. Records without a mark are dropped with the
        next abort.
        """
        place = self._names.commands(fold.partition)
        group_offset, folded = committed[place].offset, fold.offsets.get(WF_COMMANDS)
        if group_offset is None or group_offset <= (low[place] if folded is None else folded):
            return
        found = "none" if folded is None else f"state up to offset {folded}"
        raise StateLost(
            f"shard {fold.partition}: expected state, because the group has folded {spelled(place)} up to offset "
            f"{group_offset}, found {found} in its state topics: folding "
            "would repeat what has happened"
        )

    def await_definitions(self, folds: Sequence[Fold]) -> Waiting[None]:
        """Wait until the worker knows `definitions` up to the position that these were folded with."""
        required = max((fold.definitions_position for fold in folds), default=0)
        yield from until_known(self._definitions, required, self._cluster, self._names.definitions, self._clock)


def until_known(
    definitions: SharedDefinitions, required: int, cluster: Cluster, place: Place, clock: Clock = CLOCK
) -> Waiting[None]:
    """Wait until the worker knows `definitions` up to a position.

    The position exists, because it was committed: a former owner had read further. The reader catches up between turns.
    Raises PositionLost if the topic does not have it.
    """
    if required > definitions.position:
        end = (yield from cluster.high([place]))[place]
        if required > end:
            raise PositionLost(
                f"{spelled(place)}: expected offset {required}, up to which its definitions were used, found that the "
                f"topic ends at {end}: it was truncated, or deleted and made anew"
            )
    warn_at = clock.monotonic() + DEFINITIONS_WARN_SECONDS
    while required > definitions.position:
        if clock.monotonic() > warn_at:
            warn_at = float("inf")
            structlog.get_logger("halter.runtime").warning(
                "waiting_for_definitions", required=required, position=definitions.position
            )
        yield
