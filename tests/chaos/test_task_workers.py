"""A short attack on two task workers for every `make test`. `python -m tests.chaos.task_workers` is longer."""

from pathlib import Path

import pytest

from tests.chaos import strikes
from tests.chaos.task_workers import COLUMNS, Attack

pytestmark = [pytest.mark.broker, pytest.mark.chaos]


@pytest.mark.timeout(300)
def test_no_attempt_is_lost_and_none_is_repeated_but_after_a_death(tmp_path: Path) -> None:
    # In this order one task worker has to be started anew, behind the SIGTERM.
    outcomes = list(Attack(tmp_path).run(["sigterm", "broker-away", "kill"], share=0.5))
    print(strikes.table(COLUMNS, outcomes))
    assert [problem for it in outcomes for problem in it.problems] == []
    assert all(it.runs >= it.attempts == it.wf_runs for it in outcomes)
