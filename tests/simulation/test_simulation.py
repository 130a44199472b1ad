"""Rules of the runtime under faults at any call, and of the simulation itself.

`make simulate` runs many more seeds. What such a run finds is kept here, by its seed or as a plan.
"""

import gc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from processors.codec.registry import RegistryUnavailable
from processors.runtime.loading.garbage import GARBAGE
from processors.runtime.turn.pausing import Pausing
from tests.simulation.attacks import ATTACKS
from tests.simulation.mutations import broken
from tests.simulation.plan import Fault, Happening, Plan, Post, definitions, plan_of
from tests.simulation.process import Kind, Phase, Strike
from tests.simulation.shrink import manner, shrunk
from tests.simulation.simulate import Result, simulate
from tests.simulation.worker import SimulatedFold
from tests.simulation.world import Figures

SEEDS = range(1, 17)
SEEDS_OF_AN_ATTACK = range(1, 31)
"""The number of plans per mutation. Two in five or more hit, so it is practically impossible that none does."""


@pytest.fixture(autouse=True, scope="module")
def uncollected() -> Iterator[None]:
    """No load collects garbage, and nothing that was there before is looked through for it."""
    with GARBAGE.paused():
        gc.freeze()
        yield


@pytest.fixture(autouse=True)
def collected_between_tests() -> None:
    gc.collect()


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_doubled_or_out_of_order_whatever_strikes_at_any_call(seed: int) -> None:
    result = simulate(plan_of(seed))
    assert not result.problem, f"{result.problem}\npython -m tests.simulation --seed {seed}"
    assert result.figures.struck.total() > 10
    assert 0 < result.figures.outputs <= result.figures.written, "what an aborted turn had written does not count"


def test_a_seed_gives_the_same_run_each_time() -> None:
    first, second = simulate(plan_of(4)), simulate(plan_of(4))
    assert first.figures == second.figures
    assert first.history == second.history


def small_plan(*faults: Fault, slots: tuple[str, ...] = ("a", "c")) -> Plan:
    """Return a plan with one shard, inputs of a seed, and these faults."""
    posts = tuple(post for post in plan_of(1).posts[1:] if post.at < 20.0)
    return Plan(1, 30.0, slots, faults, (Post(0.0, definitions()), *posts), partitions=1)


def struck(kind: Kind, call: str, phase: Phase = Phase.BEFORE) -> tuple[Fault, Fault]:
    """Return the same plan for both workers: the group decides which of them owns the shard."""
    return Fault(5.0, "a", Strike(kind, phase, 0.0, call)), Fault(5.0, "c", Strike(kind, phase, 0.0, call))


SHORT_ATTACKS = {
    "memory is kept after an abort": small_plan(*struck(Kind.REFUSED, "txn_offset_commit")),
    "a commit that is not answered counts as done": small_plan(*struck(Kind.REFUSED, "commit_transaction")),
    "shards that are revoked are folded on": replace(
        small_plan(Fault(5.0, "c", Happening.ADD), slots=("a",)), partitions=4
    ),
}


@pytest.mark.parametrize("precaution", SHORT_ATTACKS)
def test_a_runtime_without_one_of_its_precautions_is_caught(precaution: str) -> None:
    assert not simulate(SHORT_ATTACKS[precaution]).problem
    with broken(precaution):
        assert simulate(SHORT_ATTACKS[precaution]).problem


KILLS = tuple(Fault(at + 0.3, slot, Happening.KILL) for at in range(3, 20, 2) for slot in "ac")
WHERE_ROWS_ARE_BEHIND = {
    "the log behind the rows is not replayed": plan_of(1),
    "what rests is dropped while its rows are behind": small_plan(*KILLS),
    "a position says that the log was further": plan_of(1),
    "what the log does not tell may follow later": plan_of(1),
}


@pytest.mark.parametrize("precaution", WHERE_ROWS_ARE_BEHIND)
def test_a_load_that_takes_the_rows_for_the_whole_state_is_caught(precaution: str) -> None:
    assert not simulate(WHERE_ROWS_ARE_BEHIND[precaution]).problem
    with broken(precaution):
        assert simulate(WHERE_ROWS_ARE_BEHIND[precaution]).problem


@pytest.mark.parametrize("precaution", ATTACKS)
def test_an_attack_finds_its_precaution_missing_by_some_seed_and_else_nothing(precaution: str) -> None:
    attack = ATTACKS[precaution]
    with broken(precaution):
        found = next((seed for seed in SEEDS_OF_AN_ATTACK if simulate(attack(seed)).problem), None)
    assert found is not None
    result = simulate(attack(found))
    assert not result.problem, f"{result.problem}\npython -m tests.simulation --seed {found} --attack '{precaution}'"


def owner_sleeps_at(call: str, seconds: float) -> Plan:
    """The owner of the shard is stopped there in its turn for longer than its session, and wakes up believing that it
    still owns it.
    """
    asleep = Strike(Kind.STOP, Phase.BEFORE, seconds, call)
    return small_plan(Fault(5.0, "a", asleep), Fault(5.0, "c", asleep))


@pytest.mark.parametrize(
    "call", ["after-poll", "mid-fold", "after-flush", "txn_offset_commit", "after-send-offsets", "commit_transaction"]
)
def test_of_two_workers_that_both_believe_to_own_a_shard_one_commits(call: str) -> None:
    result = simulate(owner_sleeps_at(call, 9.0))
    assert not result.problem
    assert result.figures.struck[Kind.STOP] >= 1


def test_without_the_groups_fence_both_commit() -> None:
    with broken("commits name no member"):
        assert " doubled" in simulate(owner_sleeps_at("mid-fold", 9.0)).problem


def static_owner_dies_owing_a_rebalance() -> Plan:
    """Another worker comes. The owner of all shards does not poll, so it hears too late that it has to give up some."""
    asleep = Strike(Kind.STALL, Phase.BEFORE, 5.0, "poll")
    faults = (Fault(5.0, "b", asleep), Fault(5.1, "c", Happening.ADD), Fault(9.0, "b", Happening.KILL))
    return replace(small_plan(*faults, slots=("b",)), partitions=4)


def test_a_static_worker_that_dies_owing_a_rebalance_leaves_no_shard_to_nobody() -> None:
    assert not simulate(static_owner_dies_owing_a_rebalance()).problem
    with broken("shards of nobody are not looked for"):
        assert manner(simulate(static_owner_dies_owing_a_rebalance())) == "stuck"


def test_a_plan_that_fails_is_made_smaller_until_nothing_can_be_left_out() -> None:
    def run(plan: Plan) -> Result:
        """Fail with a certain pair of faults, whatever else is in the plan."""
        both = {Happening.KILL, Happening.ADD} <= {fault.what for fault in plan.faults}
        return Result(plan, "stuck: both" if both else "", Figures())

    faults = tuple(Fault(float(at), "a", list(Happening)[at % len(Happening)]) for at in range(30))
    small = shrunk(run(small_plan(*faults)), run)
    assert sorted(str(fault.what) for fault in small.plan.faults) == ["add", "kill"]
    assert len(small.plan.posts) == 1
    assert manner(small) == "stuck"


@pytest.mark.parametrize("method", ["read", "fold", "take_outputs", "due_timers", "check", "replay"])
def test_while_the_schema_registry_is_away_shards_wait_and_nobody_is_told_of_a_broken_rule(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = getattr(SimulatedFold, method)
    refused: Counter[str] = Counter()

    def asking(shard: SimulatedFold, *arguments: Any, **named: Any) -> Any:
        if 4.0 < shard._process.kernel.now < 20.0:
            refused[method] += 1
            raise RegistryUnavailable("cannot ask for schema 7")
        return answered(shard, *arguments, **named)

    def told(self: Pausing, *_: Any) -> None:
        raise AssertionError("a partition is paused")

    monkeypatch.setattr(SimulatedFold, method, asking)
    monkeypatch.setattr(Pausing, "_say_where_it_stands", told)
    # When they are killed, rows are behind the log.
    result = simulate(small_plan(Fault(4.4, "a", Happening.KILL), Fault(4.4, "c", Happening.KILL)))
    assert not result.problem
    assert refused[method] > 0
    assert "RegistryUnavailable" not in result.figures.ends
