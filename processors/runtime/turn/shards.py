"""The shards that this process owns, and those that it is loading.

A shard is in one of them, or it is not ours. `Shards` hears from the group what comes and goes, and is driven
between turns; it never waits.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import structlog

from processors.core.records.topic_names import WF_COMMANDS
from processors.fold.contract import Fold
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.membership import Membership
from processors.runtime.group.names import Place, ShardTopics
from processors.runtime.group.readiness import Readiness, State
from processors.runtime.loading.checkpoints import Checkpoints
from processors.runtime.loading.load import Load, Loaded
from processors.runtime.turn.pauses import Pause


@dataclass(eq=False, slots=True)
class OwnedShard:
    """A shard that folds. `next_offsets`: what is to be folded next of each input, by logical name."""

    number: int
    fold: Fold
    next_offsets: dict[str, int]

    @property
    def commands_offset(self) -> int:
        """The offset of `wf-commands` up to which it is folded."""
        return self.next_offsets[WF_COMMANDS]


class Shards:
    """Owns folds from the moment they are loaded until the group takes the shard, or a turn of it was aborted."""

    def __init__(
        self,
        names: ShardTopics,
        membership: Membership,
        new_load: Callable[[set[int]], Load],
        readiness: Readiness,
        checkpoints: Checkpoints,
        clock: Clock = CLOCK,
    ) -> None:
        self._names, self._membership, self._new_load, self._readiness = names, membership, new_load, readiness
        self._checkpoints, self._clock = checkpoints, clock
        self._log = structlog.get_logger("halter.runtime")
        self._owned: dict[int, OwnedShard] = {}
        self._by_place: dict[Place, tuple[OwnedShard, str]] = {}
        self._loads: list[Load] = []
        self._pauses: dict[int, Pause] = {}
        self._unreadable: dict[int, str] = {}
        membership.assigned = self._given
        membership.revoked = self._taken

    @property
    def owned(self) -> Collection[OwnedShard]:
        """The shards that fold."""
        return self._owned.values()

    @property
    def loading(self) -> bool:
        """Whether there is a load to drive."""
        return bool(self._loads)

    def at(self, topic: str, partition: int) -> tuple[OwnedShard, str] | None:
        """Return the shard that folds a partition, and the topic's logical name; None if it is not ours."""
        return self._by_place.get((topic, partition))

    def has(self, shard: OwnedShard) -> bool:
        """Whether this very shard is still ours: not taken, and not loaded anew."""
        return self._owned.get(shard.number) is shard

    def _given(self, shards: Iterable[int]) -> None:
        self.load(shards)  # first: a worker that folds, and has nothing to load, is ready
        self._readiness.lives(State.FOLDING)

    def _taken(self, shards: Iterable[int]) -> None:
        shards = set(shards)
        for number in shards:
            self._pauses.pop(number, None)  # its next owner finds out by itself
        self.forget(shards)

    @property
    def paused(self) -> Mapping[int, Pause]:
        """Shards on which a rule broke."""
        return self._pauses

    def pause_of(self, shard: OwnedShard) -> Pause | None:
        """The pause of a shard; None for one that goes on."""
        return self._pauses.get(shard.number)

    def pause(self, shard: OwnedShard) -> Pause:
        """Load a shard anew on which a rule broke, to go on as far as its pause says."""
        pause = self._pauses.setdefault(shard.number, Pause())
        self.reload([shard])
        return pause

    def end_pauses(self) -> list[int]:
        """Between turns: fetch what pauses want, and forget those that are over. Returns the shards that go on."""
        over = []
        for number, pause in list(self._pauses.items()):
            shard = self._owned.get(number)
            if shard is None:
                continue
            if pause.is_over(shard.next_offsets):
                del self._pauses[number]
                over.append(number)
            if pause.to_be_fetched_anew:
                pause.to_be_fetched_anew = False
                places = self._names.inputs(number)
                self._membership.unassign(places)
                self._membership.assign({it: shard.next_offsets[self._names.logical(it[0])] for it in places})
        if over:
            self.report()
        return over

    def fetch_less(self, shard: OwnedShard, pause: Pause) -> None:
        """Fetch no longer what its pause does not want."""
        self._membership.unassign(
            [it for it in self._names.inputs(shard.number) if not pause.fetches(self._names.logical(it[0]))]
        )

    def load(self, shards: Iterable[int]) -> None:
        """Begin to load shards, which the group has given to us."""
        wanted = set(shards)
        if wanted:
            self.forget(wanted)
            self._loads.append(self._new_load(wanted))
        self.report()

    def reload(self, shards: Iterable[OwnedShard]) -> None:
        """Load shards anew whose memory is ahead of Kafka. Those that are no longer ours stay forgotten."""
        numbers = {shard.number for shard in shards if self.has(shard)}
        self._membership.unassign([place for number in numbers for place in self._names.inputs(number)])
        self.load(numbers)

    def forget(self, shards: Iterable[int]) -> None:
        """Drop shards: state, and loads on the way."""
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
        self._pauses.clear()
        self.forget([*self._owned, *(number for load in self._loads for number in load.shards)])

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
            offsets = {self._names.logical(place[0]): offset for place, offset in starts.items()}
            shard = OwnedShard(fold.partition, fold, offsets)
            self._owned[shard.number] = shard
            for place in starts:
                self._by_place[place] = shard, self._names.logical(place[0])
            pause = self._pauses.get(shard.number)
            if pause is not None:
                pause.loaded(shard.next_offsets)
            positions |= {
                place: offset
                for place, offset in starts.items()
                if pause is None or pause.fetches(self._names.logical(place[0]))
            }
        self._membership.assign(positions)
        self.report()

    def report(self) -> None:
        """Tell readiness."""
        restoring = {number: load.progress(number) for load in self._loads for number in load.shards}
        self._readiness.owns(tuple(sorted(self._owned)), restoring)
        pauses = {number: pause.sentence for number, pause in self._pauses.items()}
        self._readiness.pauses({**self._unreadable, **pauses})
        self.count_quarantined()

    def count_quarantined(self) -> None:
        """Tell readiness how many WfRuns are in quarantine; after each turn."""
        counts = ((number, shard.fold.quarantined) for number, shard in self._owned.items())
        self._readiness.keeps({number: count for number, count in counts if count})
