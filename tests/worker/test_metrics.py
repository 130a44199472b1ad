"""Rules of metrics: what a worker tells, and that each process exposes the table of metrics and nothing else."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from halter.cli import task_worker_health, transform_health, view_health
from halter.console.metrics import Figures as ConsoleFigures
from halter.task_worker import TaskWorker
from halter.transform.figures import Figures
from halter.view.following import Figures as ViewFigures
from processors.core.records.commands import RunWf, StopWfRun
from processors.fold.tally import Tally
from processors.measuring import Histogram
from processors.runtime.group.readiness import Readiness, Snapshot, State
from processors.runtime.turn.measures import Measures, behind
from processors.worker.exposition import Exposition, Values
from processors.worker.metric_table import (
    CONSOLE,
    COUNTER,
    LABELS,
    PROCESS,
    PROCESSES,
    TASK_WORKER,
    TRANSFORM,
    VIEW,
    WORKER,
    Metric,
)
from processors.worker.metrics import Metrics
from tests.fold.test_shard_fold import with_cart
from tests.support.shard_rig import START_MS, ShardRig

DOCS = Path(__file__).resolve().parents[2] / "docs"


def read(text: bytes) -> dict[str, Family]:
    """Return what Prometheus' own parser finds: the name in the table -> the metric."""
    families = text_string_to_metric_families(text.decode())
    return {f"{it.name}_total" if it.type == COUNTER else it.name: it for it in families}


def samples(text: bytes, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a gauge or a counter by those of its labels."""
    return {tuple(it.labels.values()): it.value for it in read(text)[name].samples if not it.name.endswith("_created")}


def of_worker(snapshot: Callable[[], Snapshot] = Snapshot) -> Metrics:
    return Metrics(snapshot, Measures(), Tally())


def test_metrics_say_for_each_partition_whether_it_is_paused_or_restored_and_how_many_wf_runs_are_in_quarantine() -> (
    None
):
    readiness = Readiness()
    readiness.lives(State.FOLDING)
    readiness.owns((1, 2), {5: 0.5})
    readiness.pauses({2: "a rule broke"})
    readiness.note_quarantined({1: 3})
    text = of_worker(lambda: readiness.snapshot).text()
    assert samples(text, "halter_ready") == {(): 0}
    assert samples(text, "halter_partition_restoring") == {("1",): 0, ("2",): 0, ("5",): 1}
    assert samples(text, "halter_partition_restored_ratio") == {("1",): 1, ("2",): 1, ("5",): 0.5}
    assert samples(text, "halter_partition_paused") == {("1",): 0, ("2",): 1, ("5",): 0}
    assert samples(text, "halter_quarantined_wf_runs") == {("1",): 3, ("2",): 0}


def test_wf_runs_are_told_by_status_with_what_holds_them_until_the_partition_is_lost() -> None:
    readiness, tally = Readiness(), Tally()
    rig = with_cart(ShardRig(tally=tally))
    rig.turn(RunWf("c1", "cart"), RunWf("c2", "cart"), StopWfRun("c2"))
    metrics = Metrics(lambda: readiness.snapshot, Measures(), tally, now_s=lambda: START_MS / 1_000 + 90)
    metrics.censuses = lambda: rig.factory.censuses
    readiness.owns((0,), {})
    text = metrics.text()
    assert samples(text, "halter_wf_runs") == {("RUNNING", "cart"): 1, ("HALTED", "cart"): 1}
    assert samples(text, "halter_held_threads")["MANUAL_HALT",] == 1
    assert samples(text, "halter_oldest_hold_age_seconds")["MANUAL_HALT",] == 90
    assert samples(text, "halter_wf_runs_started_total") == {("cart",): 2}
    rig.crash()
    assert samples(metrics.text(), "halter_wf_runs") == samples(text, "halter_wf_runs")
    readiness.owns((), {})
    lost = metrics.text()
    assert not samples(lost, "halter_wf_runs")
    assert samples(lost, "halter_held_threads")["MANUAL_HALT",] == 0
    assert samples(lost, "halter_wf_runs_started_total") == {("cart",): 2}, "a counter never goes back"


def test_a_worker_without_a_port_counts_nothing() -> None:
    rig = with_cart(ShardRig())
    rig.turn(RunWf("c1", "cart"))
    assert rig.factory.censuses == {}


PARTITION = {"ls_offset": 10, "next_offset": 10, "app_offset": 9, "fetchq_cnt": 0}


@pytest.mark.parametrize(
    ("of_partition", "folded", "offsets"),
    [
        (PARTITION, 9, 0),  # the offset 9 is the mark of a transaction
        (PARTITION, 7, 3),  # two records were given out and are not folded
        (PARTITION | {"fetchq_cnt": 1}, 9, 1),
        (PARTITION | {"next_offset": 4, "app_offset": 4}, 4, 6),
        ({"ls_offset": -1001, "next_offset": -1001}, 4, 0),  # nothing is known yet
    ],
)
def test_a_partition_is_behind_by_what_is_not_folded_and_marks_do_not_count(
    of_partition: dict[str, int], folded: int, offsets: int
) -> None:
    assert behind(of_partition, folded) == offsets


PROCESS_TEXTS = {
    "halter worker": (WORKER, lambda: of_worker().text()),
    "halter task-worker": (TASK_WORKER, lambda: task_worker_health.metrics_of(TaskWorker()).text()),
    "halter bind run, halter sink run": (TRANSFORM, lambda: transform_health.metrics_of(Figures()).text()),
    "halter view": (VIEW, lambda: view_health.metrics_of(ViewFigures()).text()),
    "halter console": (CONSOLE, lambda: ConsoleFigures().text()),
}


def test_every_process_of_the_table_is_looked_at() -> None:
    assert PROCESS_TEXTS.keys() == PROCESSES.keys()


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_exposes_what_the_table_says_and_nothing_else(process: str) -> None:
    metrics, text = PROCESS_TEXTS[process]
    found = read(text())
    # On a system without /proc there is nothing to say of the process.
    of_process = {it.name for it in PROCESS} if sys.platform == "linux" else set()
    assert found.keys() == {it.name for it in metrics} | of_process
    assert PROCESSES[process] == metrics
    for metric in metrics:
        assert (found[metric.name].type, found[metric.name].documentation) == (metric.kind, metric.says)


def test_names_follow_the_conventions_of_prometheus() -> None:
    everything = [it for metrics in PROCESSES.values() for it in metrics]
    assert len({it.name for it in everything}) == len(everything)
    for it in everything:
        assert re.fullmatch(r"halter_[a-z]+(_[a-z]+)*", it.name)
        assert it.name.endswith("_total") == (it.kind == COUNTER)
        assert not re.search(r"_(ms|milliseconds|minutes|kb|percent)\b", it.name), "base units only"
        assert set(it.labels) <= LABELS.keys()
        assert it.says.endswith(".")
    assert {label for it in everything for label in it.labels} == LABELS.keys()


def test_values_that_the_table_does_not_have_are_a_mistake() -> None:
    values = Values((Metric("halter_ready", "gauge", "Ready."),))
    with pytest.raises(KeyError):
        values.set("halter_redy", 1)
    with pytest.raises(AssertionError):
        values.set("halter_ready", 1, "0")


def test_a_histogram_is_cumulative_and_has_a_last_bucket_for_everything() -> None:
    seconds = Histogram((0.1, 1.0))
    for observed in (0.05, 0.1, 0.5, 7):
        seconds.observe(observed)
    name = "halter_turn_seconds"
    text = Exposition((Metric(name, "histogram", "Turns."),), lambda values: values.observed(name, seconds)).text()
    found = {(it.name, it.labels.get("le")): it.value for it in read(text)[name].samples}
    assert found == {
        (f"{name}_bucket", "0.1"): 2,
        (f"{name}_bucket", "1.0"): 3,
        (f"{name}_bucket", "+Inf"): 4,
        (f"{name}_count", None): 4,
        (f"{name}_sum", None): 7.65,
    }


def test_the_manual_has_the_table() -> None:
    checked = subprocess.run(
        [sys.executable, DOCS / "metrics_table.py", "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
