"""kill -9 of workers at random, under load: nothing lost, doubled or out of order."""

from pathlib import Path

import pytest

from tests.support.chaos import run
from tests.support.installation import Installation


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_workers_killed_at_random_lose_and_double_nothing(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    with Installation(bootstrap, prefix, tmp_path) as installation:
        verdict = run(installation, kills=5, workers=2, faults=["kill"], rate=300, seed=1)
    assert verdict.ok, verdict
    assert verdict.inputs > 500
