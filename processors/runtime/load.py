"""Loading shards: settle, claim, restore, check where to begin. In this order; any other loses records.

- settle: nothing of a former owner can appear any more in what we are about to read (`settlement`);
- claim: our transactional id goes into the metadata of the group's offsets, before our first record can be open
  anywhere, so that whoever follows us can fence us;
- restore: read the state topics to the end that settling found;
- begin: at the folded offsets that the state holds, if the records from there on still exist, and not before the
  worker knows the definitions that the shard was folded with.

Loads run between turns in small steps (`advance`), so they neither delay other shards nor the group's callbacks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from confluent_kafka import KafkaException

from processors.runtime.clients import Clients
from processors.runtime.clock import CLOCK, Clock
from processors.runtime.cluster import Cluster, Committed
from processors.runtime.errors import PositionLost, StateLost
from processors.runtime.fold import WF_COMMANDS, Definitions, Fold, FoldFactory
from processors.runtime.garbage import GARBAGE
from processors.runtime.membership import NotAMember
from processors.runtime.names import Place, ShardTopics, spelled
from processors.runtime.restore import ROWS_AT_ONCE, Restore, Take
from processors.runtime.settlement import Settled, Settlement
from processors.runtime.steps import Step, Steps
from processors.runtime.transaction import Transaction
from processors.runtime.waiting import Waiting, pause

CLAIM_SECONDS: Final = 30.0
CLAIM_AGAIN_SECONDS: Final = 0.05
DEFINITIONS_WARN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """Folds with their state, each with the offsets at which its inputs begin."""

    folds: Sequence[tuple[Fold, Mapping[Place, int]]]


@dataclass(frozen=True, slots=True)
class Loader:
    """What every load needs."""

    clients: Clients
    names: ShardTopics
    factory: FoldFactory
    definitions: Definitions
    cluster: Cluster
    settlement: Settlement
    transaction: Transaction
    steps: Steps
    clock: Clock = CLOCK

    def load(self, shards: set[int]) -> "Load":
        """Begin a load."""
        return Load(self, shards)


class Load:
    """The loading of shards that were given to us together. `shards` shrinks when some are taken back."""

    def __init__(self, loader: Loader, shards: set[int]) -> None:
        self.shards = set(shards)
        self.waits = False
        self._loader, self._names, self._clock = loader, loader.names, loader.clock
        self._restore: Restore | None = None
        self._log = structlog.get_logger("halter.runtime")
        self._work = self._run()

    def advance(self) -> Loaded | None:
        """Do a small step; return the result after the last one."""
        try:
            next(self._work)
        except StopIteration as end:
            loaded: Loaded = end.value
            return loaded
        return None

    def drop(self, shard: int) -> None:
        """Load it no longer."""
        self.shards.discard(shard)
        if not self.shards:
            self._work.close()

    def progress(self, shard: int) -> float:
        """Return how much of a shard's state has been read."""
        return self._restore.progress(set(self._names.state(shard))) if self._restore else 0.0

    def _run(self) -> Waiting[Loaded]:
        while True:
            begun = self._clock.monotonic()
            self.waits = True
            settled = yield from self._loader.settlement.settle(self.shards)
            self._loader.steps.reached(Step.AFTER_SETTLE)
            yield from self._claim(settled)
            self._loader.steps.reached(Step.AFTER_CLAIM)
            self.waits = False
            settled_after = self._clock.monotonic() - begun
            try:
                folds = yield from self._restored(settled)
                self._loader.steps.reached(Step.AFTER_RESTORE)
                self.waits = True
                loaded = yield from self._with_positions(folds, settled.committed)
                required = max((fold.definitions_position for fold in folds), default=0)
                yield from until_known(
                    self._loader.definitions, required, self._loader.cluster, self._names.definitions, self._clock
                )
            except KafkaException as exception:
                self._log.warning("loading_again", shards=sorted(self.shards), reason=exception.args[0].str())
                self._loader.cluster.renew()
                yield from pause(self._clock, 0.5)
                continue
            self._log.info(
                "restored",
                shards=sorted(fold.partition for fold, _ in loaded.folds),
                records=self._restore.records if self._restore else 0,
                settle_s=round(settled_after, 3),
                restore_s=round(self._clock.monotonic() - begun - settled_after, 3),
            )
            self._restore = None
            return loaded

    def _claim(self, settled: Settled) -> Waiting[None]:
        """Commit the offsets as they are, with our name. Raises NotAMember if the group keeps refusing."""
        transaction = self._loader.transaction
        until = self._clock.monotonic() + CLAIM_SECONDS
        low = yield from self._retried_low()
        while True:
            offsets = {}
            for shard in self.shards:
                place = self._names.commands(shard)
                committed = settled.committed[place].offset
                offsets[place] = low[place] if committed is None else committed
            try:
                # Asked first: an abort costs a new producer, and there is nothing to abort yet.
                transaction.expect_membership()
                transaction.begin()
                transaction.commit(offsets)
                return
            except (KafkaException, NotAMember) as exception:
                transaction.abort()
                if self._clock.monotonic() > until:
                    reason = exception if isinstance(exception, NotAMember) else exception.args[0].str()
                    raise NotAMember(f"the group does not accept this worker as owner: {reason}") from exception
            # A new generation that has not reached us yet, most often: polling brings it.
            yield from pause(self._clock, CLAIM_AGAIN_SECONDS)

    def _retried_low(self) -> Waiting[dict[Place, int]]:
        while True:
            try:
                return (yield from self._loader.cluster.low([self._names.commands(shard) for shard in self.shards]))
            except KafkaException:
                self._loader.cluster.renew()
                yield from pause(self._clock, 0.1)

    def _restored(self, settled: Settled) -> Waiting[list[Fold]]:
        """Read the state of all shards side by side into their folds."""
        folds = {shard: self._loader.factory.create(shard) for shard in sorted(self.shards)}
        ends: dict[Place, int] = {}
        takers: dict[Place, Take] = {}
        for shard, fold in folds.items():
            for place in self._names.state(shard):
                ends[place] = settled.state_ends[place]
                takers[place] = partial(fold.restore, self._names.logical(place[0]))
        self._restore = Restore(self._loader.clients, {}, ends, takers, self._clock)
        with GARBAGE.left_alone():
            yield from self._restore.read()
            for fold in folds.values():
                while fold.check(ROWS_AT_ONCE):
                    yield
                fold.restored()
                yield
        for error in (error for fold in folds.values() for error in fold.broken):
            self._log.error("broken_state", reason=str(error))
        return list(folds.values())

    def _with_positions(self, folds: list[Fold], committed: Mapping[Place, Committed]) -> Waiting[Loaded]:
        """Find where each input begins. Raises PositionLost, StateLost."""
        places = [place for shard in self.shards for place in self._names.inputs(shard)]
        low = yield from self._loader.cluster.low(places)
        high = yield from self._loader.cluster.high(places)
        result = []
        for fold in folds:
            if fold.partition not in self.shards:
                continue
            starts: dict[Place, int] = {}
            self._expect_state(fold, committed, low)
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
            fold.begin({self._names.logical(topic): start for (topic, _), start in starts.items()})
            result.append((fold, starts))
        return Loaded(result)

    def _expect_state(self, fold: Fold, committed: Mapping[Place, Committed], low: Mapping[Place, int]) -> None:
        """Every turn commits the group's offset with the state, so a state behind it was lost, whole or in part.

        In part: Kafka may leave a committed transaction without its marks in some partitions (a coordinator that
        restarts takes partitions without a leader for deleted ones). What has no mark is dropped with the next abort.
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


def until_known(
    definitions: Definitions, required: int, cluster: Cluster, place: Place, clock: Clock = CLOCK
) -> Waiting[None]:
    """Wait until the worker knows `definitions` up to the position that shards were folded with.

    It exists, because it was committed, and the reader takes it between turns; a former owner was faster with that.
    Raises PositionLost if it does not exist.
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
