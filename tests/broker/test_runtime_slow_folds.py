"""Rules of folds that take long, on a real Kafka, with the counting fold in processes of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from processors.runtime.turn.turn_size import TurnSize
from tests.support.installation import Installation
from tests.support.waiting import wait_until


@pytest.fixture
def installation(bootstrap: str, prefix: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation(bootstrap, prefix, tmp_path, partitions=2) as it:
        yield it


def test_a_turn_ends_when_its_time_is_used_up_and_the_rest_of_its_records_comes_next_in_order(
    installation: Installation,
) -> None:
    installation.post_many(60, slow_s=0.1)
    installation.worker("one")
    first_turn: list[object] = []
    wait_until("the first turn", lambda: first_turn.extend(installation.ledger.events()) or first_turn)
    assert len(first_turn) < 60
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict


def test_records_that_a_turn_had_no_time_for_move_with_their_shard(installation: Installation) -> None:
    installation.post_many(120, slow_s=0.1)
    first = installation.worker("first")
    wait_until("the first turn", installation.ledger.events)
    second = installation.worker("second")
    # It is in the group, and gets a shard when the first has let it go: with records that it has polled, however long
    # processes take to start.
    second.wait_logged("assigned")
    installation.post_many(120, slow_s=0.1)
    wait_until("shared shards", lambda: len(first.shards) == len(second.shards) == 1)
    assert len(installation.ledger.events()) < 240
    verdict = installation.verdict_when_folded(120)
    assert verdict.ok, verdict


def test_a_turn_takes_as_many_records_as_are_folded_in_the_time_aimed_at() -> None:
    size = TurnSize(records=100, least=2, most=1_000, aim_s=0.5)
    size.folded(100, 0.1)
    assert size.records == 200
    size.folded(200, 10.0)
    assert size.records == 10
    size.folded(10, 0.7)
    assert size.records == 10
    size.folded(1, 60.0)
    assert size.records == 2
