"""The shards that this process owns, and those that it is loading.

A shard is in one of them, or it is not ours. `Shards` hears from the group which shards come and go, and is driven
between turns. It never waits.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from processors.core.records.topic_names import WF_COMMANDS
from processors.fold.contract import Fold
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.membership import Membership
from processors.runtime.group.names import Place, ShardTopics
from processors.runtime.group.readiness import Readiness, State
from processors.runtime.loading.checkpoints import Checkpoints
from processors.runtime.loading.load import Load, Loaded
from processors.runtime.turn.pauses import Pauses


@dataclass(eq=False, frozen=True, slots=True)
class OwnedShard:
    """A shard that folds. Its fold alone counts the offsets: `fold.offsets` are those of the records to fold next."""

    number: int
    fold: Fold
    place: Place
    """The partition that the group has given to us: owning it means owning the shard."""

    @property
    def offset(self) -> int:
        """The offset up to which that partition is folded: the group's coordinator gets it with each commit."""
        return self.fold.offsets[WF_COMMANDS]


class Shards:
    """Owns folds from the moment they are loaded until the group takes the shard, or a turn of it is aborted."""

    def __init__(
        self,
        names: ShardTopics,
        membership: Membership,
        new_load: Callable[[set[int]], Load],
        readiness: Readiness,
        checkpoints: Checkpoints,
        pauses: Pauses,
        clock: Clock = CLOCK,
    ) -> None:
        self._names, self._membership, self._new_load, self._readiness = names, membership, new_load, readiness
        self._checkpoints, self._pauses, self._clock = checkpoints, pauses, clock
        self._owned: dict[int, OwnedShard] = {}
        self._by_place: dict[Place, tuple[OwnedShard, str]] = {}
        self._loads: list[Load] = []
        self._unreadable: dict[int, str] = {}
        membership.assigned = self._given
        membership.revoked = self._taken

    # The shards that fold.

    @property
    def owned(self) -> Collection[OwnedShard]:
        """The shards that fold."""
        return self._owned.values()

    def at(self, topic: str, partition: int) -> tuple[OwnedShard, str] | None:
        """Return the shard that folds a partition, and the topic's logical name; None if it is not ours."""
        return self._by_place.get((topic, partition))

    def has(self, shard: OwnedShard) -> bool:
        """Say whether this very shard is still ours: not taken, and not loaded anew."""
        return self._owned.get(shard.number) is shard

    # Those that come and go.

    def _given(self, shards: Iterable[int]) -> None:
        self.load(shards)  # first: a worker that folds, and has nothing to load, is ready
        self._readiness.lives(State.FOLDING)

    def _taken(self, shards: Iterable[int]) -> None:
        shards = set(shards)
        self._pauses.end(shards)  # the next owner finds out by itself
        self.forget(shards)

    def load(self, shards: Iterable[int]) -> None:
        """Begin to load shards that the group has given to us."""
        wanted = set(shards)
        if wanted:
            self.forget(wanted)
            self._loads.append(self._new_load(wanted))
        self.report()

    def reload(self, shards: Iterable[OwnedShard]) -> None:
        """Load shards anew whose memory is ahead of Kafka. Those that are no longer ours stay forgotten."""
        self._membership.interrupted()
        numbers = {shard.number for shard in shards if self.has(shard)}
        self._membership.unassign([place for number in numbers for place in self._names.inputs(number)])
        self.load(numbers)

    def forget(self, shards: Iterable[int]) -> None:
        """Drop shards: their state, and their loads."""
        for number in set(shards):
            self._unreadable.pop(number, None)
            shard = self._owned.pop(number, None)
            if shard is not None:
                if shard.fold.files is not None:
                    shard.fold.files.close()
                for place in self._names.inputs(number):
                    del self._by_place[place]
            for load in self._loads:
                load.drop(number)
        self._loads = [load for load in self._loads if load.shards]
        self.report()

    def forget_all(self) -> None:
        """Drop everything."""
        self._pauses.end_all()
        self.forget([*self._owned, *(number for load in self._loads for number in load.shards)])

    # Those that are loaded.

    @property
    def loading(self) -> bool:
        """Say whether there is a load to drive."""
        return bool(self._loads)

    @property
    def are_unsteady(self) -> bool:
        """Say whether something beside the turns needs to know that none is open: a load, a pause, files."""
        return bool(self._loads or self._pauses) or any(it.fold.files is not None for it in self._owned.values())

    def drive(self, seconds: float) -> None:
        """Go on with loads for about that time. Raises what ends a load for good."""
        self._checkpoints.drive(lambda: [shard.fold for shard in self._owned.values()])
        until = self._clock.monotonic() + seconds
        for load in list(self._loads):
            while (loaded := load.advance()) is None and self._clock.monotonic() < until and not load.waits:
                pass
            if loaded is not None:
                self._loads.remove(load)
                self._begin(loaded)
        if self._loads:
            self.report()

    def _begin(self, loaded: Loaded) -> None:
        """Let loaded shards fold: records come from the next poll on."""
        positions: dict[Place, int] = {}
        self._unreadable |= loaded.unreadable
        for fold, starts in loaded.folds:
            number = fold.partition
            shard = self._owned[number] = OwnedShard(number, fold, self._names.commands(number))
            pause = self._pauses.of(number)
            pause.loaded(fold.offsets)
            for place, offset in starts.items():
                topic = self._names.logical(place[0])
                self._by_place[place] = shard, topic
                if pause.fetches(topic):
                    positions[place] = offset
        self._membership.assign(positions)
        self.report()

    # What others are told.

    def report(self) -> None:
        """Tell readiness which shards fold, load or are paused."""
        restoring = {number: load.progress(number) for load in self._loads for number in load.shards}
        self._readiness.owns(tuple(sorted(self._owned)), restoring)
        self._readiness.pauses({**self._unreadable, **self._pauses.sentences})
        self.count_quarantined()

    def count_quarantined(self) -> None:
        """Tell readiness the number of WfRuns in quarantine; after each turn."""
        counts = ((number, shard.fold.quarantined) for number, shard in self._owned.items())
        self._readiness.note_quarantined({number: count for number, count in counts if count})
