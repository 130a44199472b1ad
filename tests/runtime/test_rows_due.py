"""Rules of when rows are written: they follow the log, soon where nothing else is to be done, and late under load."""

from dataclasses import dataclass, field

import pytest

from processors.fold.contract import InputRecord
from processors.runtime.turn.pauses import Pauses
from processors.runtime.turn.rows_due import BUSY_SECONDS, LATE_SECONDS, MANY_WF_RUNS, QUIET_SECONDS, RowsDue
from processors.runtime.turn.shards import OwnedShard
from tests.support.counting_fold import CountingDefinitions, CountingFold


@dataclass
class Owned:
    """The shards of a worker, and its clock."""

    owned: list[OwnedShard] = field(default_factory=list)
    now: float = 100.0

    def __post_init__(self) -> None:
        for number in range(8):
            fold = CountingFold(number, CountingDefinitions())
            self.owned.append(OwnedShard(number, fold, ("wf-commands", number)))

    def monotonic(self) -> float:
        return self.now

    def behind(self, *numbers: int, wf_runs: int = 1) -> None:
        """Let the rows of these shards be behind, and of no others."""
        for shard in self.owned:
            shard.fold.unwritten = wf_runs if shard.number in numbers else 0  # type: ignore[misc]


@pytest.fixture
def shards() -> Owned:
    return Owned()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def due(shards: Owned, pauses: Pauses) -> RowsDue:
    return RowsDue(shards, pauses, shards)  # type: ignore[arg-type]  # it needs no more of them


def numbers(due: RowsDue, *, busy: bool) -> set[int]:
    return {shard.number for shard in due.take(busy=busy)}


def test_nothing_is_due_while_no_rows_are_behind(due: RowsDue, shards: Owned) -> None:
    shards.now += 60
    assert numbers(due, busy=False) == set()
    assert due.seconds_to_next() is None


def test_rows_are_due_as_soon_as_the_worker_is_quiet(due: RowsDue, shards: Owned) -> None:
    due.take(busy=True)
    shards.behind(3)
    assert due.seconds_to_next() == pytest.approx(QUIET_SECONDS)
    assert numbers(due, busy=False) == set()
    shards.now += 1.01 * QUIET_SECONDS
    assert due.seconds_to_next() == 0
    assert numbers(due, busy=False) == {3}


def test_while_it_is_busy_they_wait_and_go_one_shard_at_a_time(due: RowsDue, shards: Owned) -> None:
    shards.behind(1, 2)
    assert numbers(due, busy=True) == set()
    shards.now += BUSY_SECONDS
    assert numbers(due, busy=True) == {1}
    shards.behind(2)
    assert numbers(due, busy=True) == {2}


def test_those_that_have_waited_longest_go_first(due: RowsDue, shards: Owned) -> None:
    shards.behind(5)
    due.take(busy=True)
    shards.now += 0.1
    shards.behind(2, 5)
    due.take(busy=True)
    shards.now += BUSY_SECONDS
    assert numbers(due, busy=True) == {5}


def test_late_rows_go_however_many_they_are(due: RowsDue, shards: Owned) -> None:
    shards.behind(*range(8))
    due.take(busy=True)
    shards.now += LATE_SECONDS
    assert numbers(due, busy=True) == set(range(8))


def test_rows_of_many_wf_runs_go_at_once(due: RowsDue, shards: Owned) -> None:
    shards.behind(4, wf_runs=MANY_WF_RUNS)
    assert numbers(due, busy=True) == {4}


def test_a_shard_that_stands_at_a_record_writes_its_rows_all_the_same(
    due: RowsDue, shards: Owned, pauses: Pauses
) -> None:
    record = InputRecord("wf-commands", 0, 7, 0, b"w", b"")
    pauses.begin(0).broke(record, [record])
    pauses.begin(1).broke(None, ())
    shards.behind(0, 1)
    due.take(busy=True)
    shards.now += LATE_SECONDS
    assert numbers(due, busy=True) == {0}
