"""The broker's fence by itself: a member that has not noticed that it lost its shards cannot commit.

Here our own precautions are taken away: the stale owner presents the group metadata of its old generation, as a
client would that was not told yet.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from processors.fold.outputs import OutputRecord
from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.clients import Clients, Slot
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.crash_points import CrashPoint, CrashPoints
from processors.runtime.group.errors import Fenced, KafkaFailed
from processors.runtime.group.membership import Membership
from processors.runtime.group.names import ShardTopics
from processors.runtime.group.readiness import Readiness
from processors.runtime.group.transaction import Transaction
from processors.runtime.loading.load import Load, Loader
from processors.runtime.loading.settlement import Settlement
from tests.support.counting_fold import CountingDefinitions, CountingFactory
from tests.support.installation import Installation


@pytest.fixture
def installation(bootstrap: str, prefix: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation(bootstrap, prefix, tmp_path, partitions=2) as it:
        yield it


PRODUCERS = 2


class Credulous(Membership):
    """Presents the metadata that it remembers, whatever has happened since."""

    remembered: Any = None

    def metadata(self) -> Any:
        return self.remembered or super().metadata()


class CountingClients(Clients):
    """Counts the producers that are made."""

    writers = 0

    def writer(self, transactional_id: str) -> Producer:
        self.writers += 1
        return super().writer(transactional_id)


class Member:
    """A membership and a transaction, polled by hand, without folds."""

    def __init__(self, installation: Installation, slot: str) -> None:
        names = ShardTopics(installation.prefix, CountingFactory(CountingDefinitions()))
        self.clients = clients = CountingClients(installation.settings, installation.topics, Slot(slot))
        self.names, self.membership, self.owned = names, Credulous(clients, names), set[int]()
        self.transaction = Transaction(clients, names, self.membership, KafkaCalls(Readiness()), CrashPoints())
        self.membership.assigned = self.owned.update
        self.membership.revoked = self.owned.difference_update
        self.transaction.open()
        self.membership.join()

    def write(self, value: bytes) -> None:
        """Write an event and the offset of shard 0 in one transaction."""
        self.transaction.begin()
        self.transaction.produce([OutputRecord("wf-events", 0, b"key", value)])
        self.transaction.commit({self.names.commands(0): 0})


def events(installation: Installation) -> list[Any]:
    """What stands on the log; here it is just texts."""
    return list(installation.ledger.events())


def poll_until(condition: Callable[[], bool], *members: Member) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        for member in members:
            member.membership.poll(0.05)


@pytest.fixture
def join(installation: Installation) -> Iterator[Callable[[str], Member]]:
    members: list[Member] = []

    def joined(slot: str) -> Member:
        members.append(Member(installation, slot))
        return members[-1]

    yield joined
    for member in members:
        member.membership.leave()


def test_an_owner_of_an_old_generation_cannot_commit(installation: Installation, join: Callable[[str], Member]) -> None:
    stale = join("stale")
    poll_until(lambda: 0 in stale.owned, stale)
    stale.write(b'"while it owned the shard"')
    stale.membership.remembered = stale.membership.metadata()
    # The group moves on, and the shard moves with the old owner's consent; it only forgets that it consented.
    stale.membership.leave()
    current = join("current")
    poll_until(lambda: 0 in current.owned, current)
    with pytest.raises(KafkaException) as refused:
        stale.write(b'"after it lost the shard"')
    assert refused.value.args[0].code() in {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
    }
    stale.transaction.abort()
    current.write(b'"by the new owner"')
    assert events(installation) == ["while it owned the shard", "by the new owner"]


def test_a_producer_whose_id_was_taken_over_blames_that_and_no_record(
    installation: Installation, join: Callable[[str], Member]
) -> None:
    first = join("same")
    poll_until(lambda: 0 in first.owned, first)
    first.write(b'"before"')
    second = join("same")
    with pytest.raises(Fenced, match=r"another process took over.* or a turn outlasted transaction\.timeout\.ms"):
        first.write(b'"after"')
    with pytest.raises(Fenced, match="another process took over"):
        first.transaction.produce([OutputRecord("wf-events", 0, b"key", b'"and again"')])
    second.transaction.close()
    assert events(installation) == ["before"]


@pytest.mark.parametrize("committed", [1, 2])
def test_a_dead_owners_transaction_is_ended_whichever_of_its_producers_it_is_of(
    installation: Installation, join: Callable[[str], Member], committed: int
) -> None:
    """Producers take turns, so it depends on how many transactions came before. Long before any time-out."""
    dead, other = join("dead"), join("other")
    poll_until(lambda: 0 in dead.owned, dead)
    for _ in range(committed):
        dead.write(b'"before"')
    dead.transaction.begin()
    dead.transaction.produce([OutputRecord("wf-events", 0, b"key", b'"never"')])
    assert dead.transaction.producer.flush(10) == 0
    for _ in other.transaction.end_transactions_of(dead.clients.transactional_id):
        time.sleep(0.01)
    with pytest.raises(Fenced, match="another process took over"):
        dead.transaction.commit({dead.names.commands(0): 0})
    assert events(installation) == ["before"] * committed


def test_a_record_that_is_too_large_is_named(installation: Installation, join: Callable[[str], Member]) -> None:
    member = join("one")
    member.transaction.begin()
    with pytest.raises(KafkaFailed, match=r"a record of 30000003 bytes with key b'key' cannot be written to .*\[0\]"):
        member.transaction.produce([OutputRecord("wf-events", 0, b"key", bytes(30_000_000))])
    member.transaction.close()


class UntilSigning(CrashPoints):
    """Notes what a load has done."""

    def __init__(self) -> None:
        self.done: list[CrashPoint] = []

    def reached(self, point: CrashPoint) -> None:
        self.done.append(point)


def load_of_shard_0(member: Member, crash_points: CrashPoints) -> Load:
    definitions, cluster = CountingDefinitions(), Cluster(member.clients)
    settlement = Settlement(cluster, member.names, member.transaction, member.clients.transactional_id)
    factory = CountingFactory(definitions)
    return Loader(
        member.clients, member.names, factory, definitions, cluster, settlement, member.transaction, crash_points
    ).load({0})


def test_a_load_that_waits_for_membership_makes_no_producers(
    installation: Installation, join: Callable[[str], Member]
) -> None:
    member, crash_points = join("one"), UntilSigning()
    load = load_of_shard_0(member, crash_points)
    deadline = time.monotonic() + 20
    while CrashPoint.AFTER_SETTLE not in crash_points.done:
        assert time.monotonic() < deadline
        load.advance()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        load.advance()
    assert (crash_points.done, member.clients.writers) == ([CrashPoint.AFTER_SETTLE], PRODUCERS)
    poll_until(lambda: 0 in member.owned, member)
    while load.advance() is None:
        assert time.monotonic() < deadline
    assert member.clients.writers == PRODUCERS
