"""Correlation under faults at any call: WfRuns and events race for keys, and a judge that knows the rules alone looks.

`python -m tests.simulation --correlation` runs many more seeds.
"""

import gc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from processors.fold.correlation_fold import CorrelationFold
from processors.fold.output_encoder import OutputEncoder
from processors.runtime.loading.garbage import GARBAGE
from tests.chaos.avro import decode
from tests.simulation.correlating import DECIDED, correlated_plan
from tests.simulation.simulate import simulate

SEEDS = range(1, 7)
SEEDS_UNTIL_FOUND = range(1, 9)


@pytest.fixture(autouse=True, scope="module")
def uncollected() -> Iterator[None]:
    """No load collects garbage, and nothing that was there before is looked through for it."""
    with GARBAGE.paused():
        gc.freeze()
        yield


@pytest.fixture(autouse=True)
def collected_between_tests() -> None:
    gc.collect()


# (rules correlation-has-one-order, key-owner-is-told)
@pytest.mark.parametrize("seed", SEEDS)
def test_each_event_reaches_once_whom_the_log_says_whatever_strikes_at_any_call(seed: int) -> None:
    result = simulate(correlated_plan(seed))
    assert not result.problem, f"{result.problem}\npython -m tests.simulation --correlation --seed {seed}"
    assert result.figures.struck.total() > 10


# (rule kept-events-expire)
def test_the_plans_have_events_that_are_posted_to_many_that_expire_and_that_wait_for_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes: Counter[str] = Counter()
    decided_by = CorrelationFold.fold

    def counted(fold: CorrelationFold, *arguments: Any) -> Any:
        outputs = decided_by(fold, *arguments)
        for it in outputs:
            if it.topic == DECIDED:
                _, fields = decode(it.value or b"")
                outcomes[fields["outcome"]] += 1
                outcomes["to many"] += len(fields["wf_runs"]) > 1
        return outputs

    monkeypatch.setattr(CorrelationFold, "fold", counted)
    simulate(correlated_plan(1, faults=10, seconds=30.0))
    wanted = {"POSTED", "to many", "KEPT", "EXPIRED", "REGISTERED", "REMOVED", "REJECTED"}
    assert {it for it, times in outcomes.items() if times} >= wanted


TAKEN_BACK_WHILE_DEFINITIONS_ARE_AWAITED = 134
"""A seed that has found it: the load handed over a shard that was taken back, and the worker ended."""


def test_a_shard_may_be_taken_back_while_its_load_awaits_definitions() -> None:
    assert not simulate(correlated_plan(TAKEN_BACK_WHILE_DEFINITIONS_ARE_AWAITED)).problem


def forgets_its_rows(fold: CorrelationFold) -> list[Any]:
    return []


def tells_twice(of: Any) -> Any:
    return lambda *arguments: [*of(*arguments)] * 2


def leaves_out_the_last(of: Any) -> Any:
    return lambda *arguments: of(*arguments)[:-1]


BROKEN = {
    "rows are not written": lambda patch: patch.setattr(CorrelationFold, "take_rows", forgets_its_rows),
    "a key is told twice": lambda patch: patch.setattr(
        OutputEncoder, "changed_keys", tells_twice(OutputEncoder.changed_keys)
    ),
    "a key is not told": lambda patch: patch.setattr(
        OutputEncoder, "changed_keys", leaves_out_the_last(OutputEncoder.changed_keys)
    ),
    "an event is posted twice": lambda patch: patch.setattr(
        CorrelationFold, "_posts", tells_twice(CorrelationFold._posts)
    ),
    "what has waited too long is no dead letter": lambda patch: patch.setattr(
        CorrelationFold, "_expired", lambda of, decided, _: of._logged(decided)
    ),
    "what waits never expires": lambda patch: patch.setattr(CorrelationFold, "_arm", lambda *_: None),
    "an event is not posted to one": lambda patch: patch.setattr(
        CorrelationFold, "_posts", leaves_out_the_last(CorrelationFold._posts)
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_judge_finds_what_is_wrong(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BROKEN[what](monkeypatch)
    assert any(simulate(correlated_plan(seed, faults=10, seconds=15.0)).problem for seed in SEEDS_UNTIL_FOUND)
