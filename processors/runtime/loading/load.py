"""Loading shards: settle, sign, restore, replay, begin. In this order: any other loses records.

- settle: wait until nothing of a former owner can appear any more in what we are about to read (`settlement`);
- sign: commit the group's offsets as they are, with our transactional id in their metadata (`signing`);
- restore: read the state topics to the end that settling found (`restore`);
- replay: read the log from where the rows end to the end that settling found (`restore`);
- begin: at the folded offsets that the state holds (`beginning`).

Loads run between turns in small steps (`advance`), so they delay neither other shards nor the group's callbacks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from confluent_kafka import KafkaException

from processors.codec.registry import RegistryUnavailable
from processors.core.records.topic_names import WF_RUNS
from processors.fold.contract import Fold, FoldFactory, SharedDefinitions
from processors.fold.stores import BrokenState, StatePosition
from processors.measuring import Histogram
from processors.runtime.group.clients import Clients
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.crash_points import CrashPoint, CrashPoints
from processors.runtime.group.errors import StateLost
from processors.runtime.group.names import Place, ShardTopics, spelled
from processors.runtime.group.transaction import Transaction
from processors.runtime.group.waiting import Waiting, pause
from processors.runtime.loading.beginning import Beginning, Begun
from processors.runtime.loading.garbage import GARBAGE
from processors.runtime.loading.restore import ROWS_AT_ONCE, Restore, Take, TakeHeaders
from processors.runtime.loading.settlement import Settled, Settlement
from processors.runtime.loading.signing import Signing


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result of a load: folds with their state, each with the offsets at which its inputs begin.

    `unreadable`: shards whose state cannot be read, each with the reason.
    """

    folds: Sequence[Begun]
    unreadable: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Loader:
    """Makes loads, and has what every load needs."""

    clients: Clients
    names: ShardTopics
    factory: FoldFactory
    definitions: SharedDefinitions
    cluster: Cluster
    settlement: Settlement
    transaction: Transaction
    crash_points: CrashPoints
    clock: Clock = CLOCK
    seconds: Histogram | None = None
    """Observes how long each load takes, if anybody measures that."""

    def load(self, shards: set[int]) -> "Load":
        """Begin a load."""
        return Load(self, shards)


class Load:
    """The load of shards that were given to us together. `shards` shrinks when some are taken back."""

    def __init__(self, loader: Loader, shards: set[int]) -> None:
        self.shards = set(shards)
        self.waits = False
        self._loader, self._names, self._clock = loader, loader.names, loader.clock
        self._signing = Signing(loader.names, loader.cluster, loader.transaction, loader.clock)
        self._beginning = Beginning(loader.names, loader.cluster, loader.definitions, loader.clock)
        self._restore: Restore | None = None
        self._folds: dict[int, Fold] = {}
        """The folds that are not handed over yet: their files are open."""
        self._takers: dict[Place, Take] = {}
        self._unreadable: dict[int, str] = {}
        self._replayed = 0
        self._log = structlog.get_logger("halter.runtime")
        self._work = self._run()

    def advance(self) -> Loaded | None:
        """Do a small step. Returns the result after the last one."""
        try:
            next(self._work)
        except StopIteration as end:
            loaded: Loaded = end.value
            return loaded
        return None

    def drop(self, shard: int) -> None:
        """Stop loading a shard."""
        self.shards.discard(shard)
        self._let_go([shard])
        if not self.shards:
            self._work.close()

    def _let_go(self, shards: Iterable[int]) -> None:
        """Close the files of folds that nobody will use."""
        for shard in shards:
            fold = self._folds.pop(shard, None)
            if fold is not None and fold.files is not None:
                fold.files.close()
            for place in self._names.state(shard):
                self._takers[place] = nobody

    def progress(self, shard: int) -> float:
        """Return the share of a shard's state that has been read, from 0 to 1."""
        return self._restore.progress(set(self._names.state(shard))) if self._restore else 0.0

    def _run(self) -> Waiting[Loaded]:
        while True:
            begun = self._clock.monotonic()
            self.waits = True
            settled = yield from self._loader.settlement.settle(self.shards)
            self._loader.crash_points.reached(CrashPoint.AFTER_SETTLE)
            yield from self._signing.sign(self.shards, settled.committed)
            self._loader.crash_points.reached(CrashPoint.AFTER_CLAIM)
            self.waits = False
            settled_after = self._clock.monotonic() - begun
            try:
                folds = yield from self._restored(settled)
                self._loader.crash_points.reached(CrashPoint.AFTER_RESTORE)
                self.waits = True
                begun_folds = yield from self._beginning.begin(self.shards, folds, settled.committed)
                yield from self._beginning.await_definitions(folds)
                # Shards may have been taken back while it waited.
                begun_folds = [it for it in begun_folds if it[0].partition in self._folds]
            except (KafkaException, RegistryUnavailable) as exception:
                is_kafka = isinstance(exception, KafkaException)
                reason = exception.args[0].str() if is_kafka else str(exception)
                self._log.warning("loading_again", shards=sorted(self.shards), reason=reason)
                self._let_go(list(self._folds))
                if is_kafka:
                    self._loader.cluster.renew()
                yield from pause(self._clock, 0.5)
                continue
            if self._loader.seconds is not None:
                self._loader.seconds.observe(self._clock.monotonic() - begun)
            self._log.info(
                "restored",
                shards=sorted(fold.partition for fold, _ in begun_folds),
                records=self._restore.records if self._restore else 0,
                replayed=self._replayed,
                settle_s=round(settled_after, 3),
                restore_s=round(self._clock.monotonic() - begun - settled_after, 3),
            )
            self._restore = None
            for fold, _ in begun_folds:
                del self._folds[fold.partition]
            self._let_go(list(self._folds))
            self._loader.cluster.renew()  # a client that is idle for long is of no use, and keeps what it logs
            unreadable = {shard: why for shard, why in self._unreadable.items() if shard in self.shards}
            return Loaded(begun_folds, unreadable)

    def _restored(self, settled: Settled) -> Waiting[list[Fold]]:
        """Read the state of all shards side by side into their folds. Raises KafkaException."""
        self._takers, self._unreadable = {}, {}
        of_headers: dict[Place, TakeHeaders] = {}
        for shard in sorted(self.shards):
            fold = self._folds[shard] = self._loader.factory.create(shard)
            for place in self._names.state(shard):
                name = self._names.logical(place[0])
                self._takers[place] = partial(fold.restore, name)
                if name == WF_RUNS and fold.restores_headers:
                    of_headers[place] = fold.restore_headers
        settled_ends = {place: settled.ends[place] for place in self._takers}
        ends = yield from self._ends_for_files(settled_ends)
        starts = yield from self._resumed(ends)
        self._restore = Restore(
            self._loader.clients, starts, settled_ends, self._takers, self._clock, of_headers or None
        )
        with GARBAGE.paused():
            try:
                yield from self._restore.read()
            except KafkaException as exception:
                self._wipe(self._restore.failed_at, starts, exception)
                raise
            for fold in list(self._folds.values()):
                while fold.partition in self._folds and fold.check(ROWS_AT_ONCE):
                    yield
                if fold.partition in self._folds:
                    self._finish(fold, ends)
                yield
        yield from self._replay(settled)
        folds = list(self._folds.values())
        for error in (error for fold in folds for error in fold.broken):
            self._log.error("broken_state", reason=str(error))
        return folds

    def _replay(self, settled: Settled) -> Waiting[None]:
        """Give folds the records of the log that their rows do not have. Raises KafkaException, StateLost."""
        behind = {self._names.log(shard): fold for shard, fold in self._folds.items() if fold.log_position is not None}
        self.waits = True
        low = (yield from self._loader.cluster.low(behind.keys())) if behind else {}
        self.waits = False
        starts = {place: StatePosition(start_of_tail(fold, place, low, settled)) for place, fold in behind.items()}
        takers = {place: partial(self._replay_one, fold) for place, fold in behind.items()}
        of_headers = {place: fold.restore_headers for place, fold in behind.items() if fold.restores_headers}
        ends = {place: settled.ends[place] for place in behind}
        tails = Restore(self._loader.clients, starts, ends, takers, self._clock, of_headers or None)
        yield from tails.read()
        self._replayed = tails.records
        for shard, fold in list(self._folds.items()):
            fold.replayed()
            fold.logged(settled.ends[self._names.log(shard)])

    def _replay_one(self, fold: Fold, key: bytes, value: bytes | None) -> None:
        if fold.partition in self._folds:
            try:
                fold.replay(key, value)
            except BrokenState as error:
                self._cannot_be_read(fold, error)

    def _cannot_be_read(self, fold: Fold, error: BrokenState) -> None:
        # If the worker ended for it, the next owner would end too, and their other shards would stand still.
        self._unreadable[fold.partition] = str(error)
        self._log.error(
            "state_unreadable",
            shard=fold.partition,
            reason=str(error),
            to_go_on="have the row written again as it was, and start the workers again",
        )
        self._let_go([fold.partition])

    def _finish(self, fold: Fold, ends: Mapping[Place, StatePosition]) -> None:
        try:
            fold.restored()
        except BrokenState as error:
            self._cannot_be_read(fold, error)
        else:
            if fold.files is not None:
                fold.files.checkpoint(self._of_shard(fold.partition, ends))

    def _ends_for_files(self, settled_ends: Mapping[Place, int]) -> Waiting[Mapping[Place, StatePosition]]:
        """Return the settled ends with the epochs of their leaders, if a fold has files that can use them."""
        if all(fold.files is None for fold in self._folds.values()):
            return {}
        found = yield from self._loader.cluster.positions(settled_ends.keys())
        # Between settling and now a leader may have changed, but nobody has written state.
        return {
            place: StatePosition(end, found[place].epoch if found[place].offset == end else None)
            for place, end in settled_ends.items()
        }

    def _resumed(self, ends: Mapping[Place, StatePosition]) -> Waiting[Mapping[Place, StatePosition]]:
        """Return where files say that reading the topics is to begin."""
        starts: dict[Place, StatePosition] = {}
        if not ends:
            return starts
        ids = yield from self._loader.cluster.identity({topic for topic, _ in ends})
        for shard, fold in self._folds.items():
            if fold.files is not None:
                own = self._of_shard(shard, ends)
                installation = {"cluster": ids["cluster"], "partition": str(shard)}
                installation |= {topic: ids[self._names.on_cluster(topic)] for topic in own}
                resumed = fold.files.resume(installation, own)
                starts |= {
                    place: resumed[topic]
                    for place in self._names.state(shard)
                    if (topic := self._names.logical(place[0])) in resumed
                }
        return starts

    def _of_shard(self, shard: int, ends: Mapping[Place, StatePosition]) -> Mapping[str, StatePosition]:
        return {self._names.logical(place[0]): ends[place] for place in self._names.state(shard)}

    def _wipe(self, place: Place | None, starts: Mapping[Place, StatePosition], exception: KafkaException) -> None:
        """Have files wiped if the topic has no record at the offset at which they said to begin."""
        fold = self._folds.get(place[1]) if place is not None and place in starts else None
        if place is not None and fold is not None and fold.files is not None:
            fold.files.wipe(f"{spelled(place)} cannot be read from its checkpoint on: {exception.args[0].str()}")


def start_of_tail(fold: Fold, place: Place, low: Mapping[Place, int], settled: Settled) -> int:
    """Return where to begin to read a log for what the rows do not have. Raises StateLost."""
    assert fold.log_position is not None
    if fold.log_position > settled.ends[place]:
        raise StateLost(
            f"{spelled(place)}: expected offset {fold.log_position}, up to which the rows of shard {fold.partition} "
            f"have the log, found that it ends at {settled.ends[place]}: it was truncated, or deleted and made anew"
        )
    # What was deleted is old: rows follow the log within seconds, and a log is kept for days.
    return max(fold.log_position, low[place])


def nobody(_key: bytes, _value: bytes | None) -> None:
    """Take a row of a shard that is not loaded any more, and drop it."""
