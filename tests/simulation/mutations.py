"""Ways to break the runtime on purpose, to see that the simulation finds the consequences.

Each takes away one precaution that the runtime's documentation calls necessary.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch
from weakref import WeakKeyDictionary, proxy

from confluent_kafka import KafkaError, KafkaException

from processors.fold.inputs import ReadInput
from processors.fold.shard_fold import ShardFold
from processors.runtime.group import cluster
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.membership import Membership
from processors.runtime.group.names import Place
from processors.runtime.group.transaction import Transaction
from processors.runtime.group.waiting import Waiting
from processors.runtime.loading.restore import Restore
from processors.runtime.loading.settlement import Settled, Settlement
from processors.runtime.loading.signing import Signing
from processors.runtime.loading.vacancies import Vacancies
from processors.runtime.turn.arrivals import Arrivals
from processors.runtime.turn.committing import Committing
from processors.runtime.turn.shards import Shards
from processors.runtime.turn.turn import Turn
from tests.simulation.group import GroupMetadata
from tests.simulation.worker import RuleBroke, SimulatedFold

Mutation = Callable[[], Any]
MUTATIONS: Final[dict[str, Mutation]] = {}


def mutation(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register a mutation."""
    MUTATIONS[function.__name__.replace("_", " ")] = function
    return function


@mutation
def state_is_read_before_it_is_settled() -> Any:
    """A former owner's transaction may be half marked."""

    def settle(self: Settlement, shards: Any) -> Waiting[Settled]:
        commands = [self._names.commands(shard) for shard in sorted(shards)]
        state = [place for shard in sorted(shards) for place in self._names.state(shard)]
        look = yield from self._cluster.group_offsets().look(commands)
        ends = yield from self._cluster.last_stable(state)
        return Settled(look.committed, ends)

    return patch.object(Settlement, "settle", settle)


@mutation
def only_the_offsets_are_settled() -> Any:
    """Nothing looks at the last stable offsets of the state topics."""

    def settle(self: Settlement, shards: Any) -> Waiting[Settled]:
        while True:
            commands = [self._names.commands(shard) for shard in sorted(shards)]
            state = [place for shard in sorted(shards) for place in self._names.state(shard)]
            look = yield from self._cluster.group_offsets().look(commands)
            if look.is_settled:
                ends = yield from self._cluster.last_stable(state)
                return Settled(look.committed, ends)
            yield

    return patch.object(Settlement, "settle", settle)


@mutation
def an_answer_without_an_offset_counts_as_one() -> Any:
    """Such an answer comes, without an error, from dying brokers."""
    return patch.object(cluster, "told", lambda _, info: info)


@mutation
def a_restore_ends_at_the_first_end_that_is_told() -> Any:
    """A new leader may return an offset that is too early."""
    return patch.object(Restore, "_is_read", lambda *_: True)


@mutation
def clients_are_let_go_of_while_they_are_asked() -> Any:
    """Another load met an error. The answer never comes, and is waited for without end."""
    stack = ExitStack()

    def renew(self: Cluster) -> None:
        held[self] = self._clients.admin()
        self._admin = proxy(held[self])

    def made(self: Cluster, *arguments: Any) -> None:
        make(self, *arguments)
        renew(self)

    held, make = WeakKeyDictionary[Cluster, Any](), Cluster.__init__
    for change in (
        patch.object(Cluster, "__init__", made),
        patch.object(Cluster, "renew", renew),
        patch.object(cluster, "PATIENCE_SECONDS", float("inf")),
    ):
        stack.enter_context(change)
    return stack


@mutation
def answers_are_waited_for_without_end() -> Any:
    """A client may forget a question."""
    return patch.object(cluster, "PATIENCE_SECONDS", float("inf"))


@mutation
def shards_are_not_signed() -> Any:
    """A follower does not know whom to fence."""

    def sign(*_: Any) -> Waiting[None]:
        yield from ()

    return patch.object(Signing, "sign", sign)


@mutation
def commits_name_no_member() -> Any:
    """The group's fence lets them pass."""

    def metadata(self: Membership) -> Any:
        return GroupMetadata(self._clients.group, -1, "", None)

    return patch.object(Membership, "metadata", metadata)


@mutation
def the_member_id_is_not_compared() -> Any:
    """Records folded as one member are committed as another."""

    def metadata(self: Membership) -> Any:
        return self.consumer.consumer_group_metadata()

    return patch.object(Membership, "metadata", metadata)


@mutation
def the_member_id_is_noted_by_every_poll() -> Any:
    """A static member whom the group gave up joins again in the background. Its new name is noted before the callback
    comes that takes its shards.
    """
    poll = Arrivals.poll

    def noted(self: Arrivals, *arguments: Any) -> Any:
        polled = poll(self, *arguments)
        self._membership._member_id = self._membership.consumer.memberid()
        return polled

    return patch.object(Arrivals, "poll", noted)


@mutation
def what_was_kept_under_another_name_is_folded_on() -> Any:
    """Another worker may have folded it in between."""
    return patch.object(Membership, "_still_ours_under_another_name", lambda _: [])


@mutation
def shards_that_are_revoked_are_folded_on() -> Any:
    """The member stays the same, only its shard is another's."""

    def init(self: Shards, *arguments: Any) -> None:
        made(self, *arguments)
        self._membership.revoked = lambda _: None

    made = Shards.__init__
    return patch.object(Shards, "__init__", init)


@mutation
def memory_is_kept_after_an_abort() -> Any:
    """It is then ahead of Kafka."""
    return patch.object(Shards, "reload", lambda *_: None)


@mutation
def a_commit_that_is_not_answered_counts_as_done() -> Any:
    """The command may have been refused."""
    commit = Transaction.commit

    def hopeful(self: Transaction, offsets: Mapping[Place, int]) -> None:
        try:
            commit(self, offsets)
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError._TIMED_OUT:
                raise
            self.abort()

    return patch.object(Transaction, "commit", hopeful)


@mutation
def a_callback_finds_a_turn_open() -> Any:
    """It is committed when the shards that it names may be another worker's."""

    def init(self: Membership, *arguments: Any) -> None:
        made(self, *arguments)
        self.__dict__["_interrupted"] = lambda: None

    made = Membership.__init__
    stack = ExitStack()
    stack.enter_context(patch.object(Membership, "__init__", init))
    never = property(lambda _: lambda: None, lambda *_: None)
    stack.enter_context(patch.object(Membership, "interrupted", never, create=True))
    return stack


@mutation
def a_turn_is_kept_that_was_folded_on_top_of_one_that_failed() -> Any:
    """Its folds have what Kafka does not have."""
    settle = Committing.settle

    def kept(self: Committing, following: Turn | None = None) -> bool:
        settle(self)
        return True

    return patch.object(Committing, "settle", kept)


@mutation
def a_turn_is_committed_with_the_offsets_of_the_next() -> Any:
    """The folds stand there by now."""
    commit = Committing.commit

    def late(self: Committing) -> None:
        written = self._written
        if written is not None and not written.is_over:
            written.offsets = {shard.place: shard.offset for shard in written.turn.shards}
        commit(self)

    return patch.object(Committing, "commit", late)


@mutation
def a_turn_begins_before_the_one_before_it_has_ended() -> Any:
    """The commit of one turn waits until the next one is committed by the other producer."""
    commit = Transaction.commit

    def late(self: Transaction, offsets: Mapping[Place, int]) -> None:
        producer = self.producer
        ends = producer.commit_transaction
        before = left.pop(self, None)

        def put_off(_seconds: float) -> None:
            left[self] = ends

        if before is None:
            with patch.object(producer, "commit_transaction", put_off):
                commit(self, offsets)
        else:
            commit(self, offsets)
            before(10.0)

    left = WeakKeyDictionary[Transaction, Any]()
    return patch.object(Transaction, "commit", late)


@mutation
def only_one_id_of_a_dead_owner_is_taken() -> Any:
    """Its other transaction stays open until its time is over."""
    return patch.object(Transaction, "end_transactions_of", Transaction._end_transaction_of)


@mutation
def records_of_a_shard_that_was_taken_are_folded() -> Any:
    """They were polled before the callback that takes the shard, or left over from the turn before."""
    return patch.object(Shards, "has", lambda *_: True)


@mutation
def shards_of_nobody_are_not_looked_for() -> Any:
    """A static member that died owing a rebalance leaves some."""
    return patch.object(Vacancies, "look", lambda _: None)


@mutation
def the_log_behind_the_rows_is_not_replayed() -> Any:
    """The state is then that of the rows, as it was a moment before."""
    return patch.object(ShardFold, "replay", lambda *_: None)


@mutation
def a_position_says_that_the_log_was_further() -> Any:
    """Entries that the rows do not have are not read."""
    return patch.object(ShardFold, "logged", lambda self, position: setattr(self, "_log_position", position + 20))


@mutation
def what_the_log_does_not_tell_may_follow_later() -> Any:
    """Such as a dead letter: whoever replays the log folds its record again."""
    return patch.object(ShardFold, "_untold", property(lambda _: False, lambda *_: None), create=True)


@mutation
def what_rests_is_dropped_while_its_rows_are_behind() -> Any:
    """It comes back as its rows are."""

    def committed(self: ShardFold) -> None:
        self._store.committed()
        self._runs.drop_the_older()

    return patch.object(ShardFold, "committed", committed)


@mutation
def a_record_that_breaks_a_rule_is_passed_over() -> Any:
    """Its partition goes on as if the record had been folded."""
    fold = SimulatedFold.fold

    def tolerant(self: SimulatedFold, read: ReadInput) -> None:
        try:
            fold(self, read)
        except RuleBroke:
            self._offsets[read.record.topic] = read.record.offset + 1
            self._moved = True

    return patch.object(SimulatedFold, "fold", tolerant)


@mutation
def what_was_kept_is_forgotten_on_release() -> Any:
    """These are the inputs of a WfRun in quarantine."""
    return patch.object(ShardFold, "_decide_kept", lambda *_: None)


@mutation
def a_quarantine_keeps_nothing() -> Any:
    """The inputs of its WfRun are gone."""
    return patch.object(ShardFold, "_keep", lambda *_: None)


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Return the runtime without one of its precautions."""
    with MUTATIONS[name]():
        yield
