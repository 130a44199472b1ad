"""A short attack on two task workers for every `make test`. `python -m tests.chaos.task_workers` is longer."""

from pathlib import Path

import pytest

from tests.chaos.task_workers import Attack, table

pytestmark = [pytest.mark.broker, pytest.mark.chaos]


@pytest.mark.timeout(300)
def test_no_attempt_is_lost_and_none_is_repeated_but_after_a_death(tmp_path: Path) -> None:
    outcomes = list(Attack(tmp_path).run(["kill", "sigterm", "broker-away"], share=0.5))
    print(table(outcomes))
    assert [problem for it in outcomes for problem in it.problems] == []
    assert all(it.runs >= it.attempts == it.wf_runs for it in outcomes)
