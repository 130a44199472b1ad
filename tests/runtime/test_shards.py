"""Rules of what a worker says of itself while shards come to it."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from processors.runtime.group.names import ShardTopics
from processors.runtime.group.readiness import Readiness, Snapshot, State
from processors.runtime.turn.pauses import Pauses
from processors.runtime.turn.shards import Shards
from tests.support.counting_fold import CountingDefinitions, CountingFactory


def endless(shards: Iterable[int]) -> Any:
    """A load that does not end."""
    return SimpleNamespace(shards=set(shards), progress=lambda _: 0.0)


def test_a_worker_that_is_given_shards_is_not_ready_for_a_moment_before_it_loads_them() -> None:
    said: list[Snapshot] = []
    readiness = Readiness(said.append)
    readiness.lives(State.JOINING)
    membership: Any = SimpleNamespace()
    names = ShardTopics("", CountingFactory(CountingDefinitions()))
    Shards(names, membership, endless, readiness, SimpleNamespace(), Pauses())  # type: ignore[arg-type]  # all it is asked for
    membership.assigned([0])
    assert not any(snapshot.ready for snapshot in said)
    assert said[-1].restoring == ((0, 0.0),)
