"""Short attacks on bindings and sinks for every `make test`. `python -m tests.chaos.bindings` is longer."""

from pathlib import Path

import pytest

from tests.chaos import strikes
from tests.chaos.bindings import COLUMNS, Attack
from tests.chaos.mapping_subjects import SUBJECTS

pytestmark = [pytest.mark.broker, pytest.mark.chaos]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", ["correlated", "sinks"])
def test_each_record_has_its_effects_once_and_in_order(what: str, tmp_path: Path) -> None:
    outcomes = list(Attack(tmp_path, SUBJECTS[what]()).run(["kill"], records=800))
    print(strikes.table(COLUMNS, outcomes))
    assert [problem for it in outcomes for problem in it.problems] == []
    assert all(it.records >= 800 for it in outcomes)
