"""Rules of what a worker says of itself while shards come to it."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from processors.runtime.group.names import ShardTopics
from processors.runtime.group.readiness import Readiness, Snapshot, State
from processors.runtime.loading.load import Loaded
from processors.runtime.turn.pauses import Pauses
from processors.runtime.turn.shards import Shards
from tests.support.counting_fold import CountingDefinitions, CountingFactory, CountingFold


class WithFiles(CountingFold):
    """A fold whose state is in files."""

    files: Any = SimpleNamespace(close=lambda: None)


def loaded(*folds: CountingFold) -> Any:
    """A load that ends at once with these folds."""
    positions = [(fold, {("wf-commands", fold.partition): 0}) for fold in folds]
    shards = {fold.partition for fold in folds}
    return SimpleNamespace(shards=shards, progress=lambda _: 1.0, advance=lambda: Loaded(positions, {}))


@pytest.mark.parametrize("fold", [CountingFold, WithFiles])
def test_turns_overlap_only_if_no_load_is_on_its_way_no_shard_is_paused_and_none_has_files(
    fold: type[CountingFold],
) -> None:
    """A checkpoint asks where topics end, and a store has what is not committed yet: both need to find no turn open."""
    membership: Any = SimpleNamespace(assign=lambda _: None)
    checkpoints: Any = SimpleNamespace(drive=lambda _: None)
    names, pauses = ShardTopics("", CountingFactory(CountingDefinitions())), Pauses()
    load = loaded(fold(0, CountingDefinitions()))
    shards = Shards(names, membership, lambda _: load, Readiness(), checkpoints, pauses)
    assert not shards.are_unsteady
    shards.load([0])
    assert shards.are_unsteady
    shards.drive(0.0)
    assert shards.are_unsteady is (fold is WithFiles)
    pauses.begin(0)
    assert shards.are_unsteady


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
