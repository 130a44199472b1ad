"""A short attack for every `make test`: three brokers, real workers, five kinds of faults. `make chaos` is longer."""

from pathlib import Path

import pytest

from tests.chaos.experiment import Experiment, Options
from tests.chaos.table import table

pytestmark = [pytest.mark.broker, pytest.mark.chaos]

KINDS = ("kill", "pause", "cut-network", "broker-kill", "zombie")


@pytest.mark.timeout(600)
def test_nothing_is_lost_doubled_or_out_of_order_whatever_dies(tmp_path: Path) -> None:
    report = Experiment(Options(seed=5, faults=7, kinds=KINDS, rate=8.0, view=True, tracing=True), tmp_path).run()
    print(table(report))
    assert report.verdict.ok, report.verdict
    assert {felt.kind for felt in report.felt} == set(KINDS)
    assert all(felt.seconds is not None for felt in report.felt)
    assert report.verdict.inputs > 300
    assert report.figures["views killed"] > 0
    assert report.figures["console: answers"]["200"] > 30
    assert report.figures["spans"].keys() >= {"fold RunWf", "fold ExternalEvent", "commit turn"}
