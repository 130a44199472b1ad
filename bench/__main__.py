"""Runs all benchmarks against the embedded broker: python -m bench [--full] [--former FOLDER] [--write]

The short run (the default) takes six minutes on two cores. The full run has more partitions, more WfRuns, two workers,
three brokers and restarts, and takes an hour. With `--former` the code of another checkout is measured beside this one;
that takes half as long again. The figures go to stdout. With --write they also go to docs/performance-*.json and into
the tables of docs/performance.md. Each figure is measured several times: a difference between two versions counts only
if it is larger than the spread.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import capabilities, latency, throughput
from bench.figures import Figures, circumstances, commit_of, core_is_compiled, in_words
from bench.sides import Sides
from halter.broker import EmbeddedBroker
from tests.support.machine import Machine

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"


@dataclass(frozen=True)
class Extent:
    """How much is measured in a run."""

    name: str
    throughput: tuple[tuple[int, int, int, int], ...]
    """(partitions, WfRuns, interrupts, workers) of each measurement."""
    runs: int
    latencies: dict[int, float]
    """Posts per second -> for how many seconds."""
    latency_partitions: tuple[int, ...]
    """The numbers of partitions on which latencies are measured."""
    three_brokers: bool
    """True: throughput and latency are measured on three brokers as well."""
    others: int
    """The number of WfRuns for each of the other capabilities."""
    live: tuple[int, ...]
    """The numbers of live WfRuns for which a shard is measured."""
    restarts: int
    """The number of live WfRuns of a worker that is killed and started again; 0 if that is not measured."""


SHORT = Extent("short", ((8, 1_000, 30_000, 1),), 3, {100: 8.0, 1_000: 8.0}, (8,), False, 2_000, (1_000, 100_000), 0)
FULL = Extent(
    "full",
    (
        (1, 1_000, 30_000, 1),
        (4, 1_000, 30_000, 1),
        (16, 1_000, 30_000, 1),
        (8, 1_000, 30_000, 1),
        (8, 10_000, 30_000, 1),
        (8, 100_000, 30_000, 1),
        (8, 1_000, 30_000, 2),
    ),
    5,
    {1: 20.0, 100: 10.0, 1_000: 10.0},
    (8, 16, 32),
    True,
    5_000,
    (1_000, 100_000, 1_000_000),
    100_000,
)


def fold(figures: Figures, runs: int) -> None:
    """Measure the fold alone, each time in a process of its own."""
    for _ in range(runs):
        found = run_program("bench.fold", "--runs", "1")
        for cost in found["costs"]:
            figures.add(f"fold alone, {cost['what']}", "µs each", cost["median_us"], "≤ 60")
        figures.add("fold alone, the 10,000th against the 1st", "times", found["growth"], "≤ 1.2")


def growth(figures: Figures, numbers: tuple[int, ...], runs: int) -> None:
    """Measure what a shard costs by the number of its live WfRuns, each time in processes of their own."""
    for _ in range(runs):
        shards = run_program("bench.restore", "--numbers", *map(str, numbers))["shard"]
        for one in shards:
            name = f"{one['wf_runs']:,} live WfRuns in a shard"
            figures.add(f"{name}: an interrupt", "µs each", one["interrupt_us"])
            figures.add(f"{name}: restored in", "s", one["restore_s"])
        least, most = shards[0], shards[-1]
        figures.add("memory of an idle live WfRun", "bytes", most["bytes_per_wf_run"], "≤ 2,048")
        name = f"an interrupt among {most['wf_runs']:,} live WfRuns against one among {least['wf_runs']:,}"
        figures.add(name, "times", most["interrupt_us"] / least["interrupt_us"], "≤ 1.2")


def resting(figures: Figures, runs: int) -> None:
    """Measure what it costs to wake a WfRun, by what it remembers, each time in a process of its own."""
    for _ in range(runs):
        found = run_program("bench.resting", "--remembered", "10", "10000")["resting"]
        for one in found:
            name = f"a WfRun that rested and remembers {one['remembered']:,} ExternalEvents: an interrupt"
            figures.add(name, "µs each", one["interrupt_us"])
        name = "an interrupt of one that rested and remembers 10,000 against one that remembers 10"
        figures.add(name, "times", found[-1]["interrupt_us"] / found[0]["interrupt_us"], "≤ 1.2")


def restarts(figures: Figures, wf_runs: int, runs: int) -> None:
    """Measure the time from SIGKILL until the restarted worker has handled a record that was waiting."""
    found = run_program("bench.restore", "--kafka", "--wf-runs", str(wf_runs), "--runs", str(runs), "--numbers")
    for seconds in found["kafka"]["restart_s_each"]:
        figures.add(f"kill -9 to processing, {wf_runs:,} live WfRuns", "s", seconds, "≤ 10")


def run_program(*command: str) -> dict[str, Any]:
    """Run a module that prints JSON in a process of its own, and return the data."""
    done = subprocess.run([sys.executable, "-m", *command, "--json"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(extent: Extent, former: Path | None) -> tuple[Sides, Figures]:
    """Measure everything of an extent. Return what has sides, and the other figures."""
    sides, figures = Sides(Figures()), Figures()
    capabilities.measure_starting(figures, extent.runs)
    fold(figures, extent.runs)
    growth(figures, extent.live, extent.runs)
    resting(figures, extent.runs)
    if extent.restarts:
        restarts(figures, extent.restarts, extent.runs)
    for what in extent.throughput:
        on_a_broker(
            lambda kafka, folder, it=what: throughput.measure(
                sides, kafka, folder, *it, runs=extent.runs, former=former
            )
        )
    for partitions in extent.latency_partitions:
        on_a_broker(
            lambda kafka, folder, it=partitions: latency.measure(
                sides,
                kafka,
                folder,
                it,
                extent.latencies,
                extent.runs,
                former=former,
                near_the_maximum=extent is FULL and it == extent.latency_partitions[0],
            )
        )
    if extent.three_brokers:
        on_a_broker(
            lambda kafka, folder: throughput.measure(
                sides, kafka, folder, *extent.throughput[0], runs=extent.runs, former=former
            ),
            brokers=3,
        )
        on_a_broker(
            lambda kafka, folder: latency.measure(
                sides, kafka, folder, 8, extent.latencies, extent.runs, former=former
            ),
            brokers=3,
        )
    on_a_broker(lambda kafka, folder: capabilities.measure(figures, kafka, folder, 8, extent.others, extent.runs))
    return sides, figures


def on_a_broker(measure_there: Callable[[EmbeddedBroker, Path], None], brokers: int = 1) -> None:
    """Measure on a new broker, or on three, which nothing else has used."""
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        with EmbeddedBroker(folder / "kafka", brokers, report=lambda _: None) as kafka:
            measure_there(kafka, folder)


def page(tables: str, extent: Extent, former: Path | None, minutes: float) -> str:
    """Return the page with these tables in place of those between the marks."""
    now = circumstances()
    versions = in_words(f"{name} {number}" for name, number in now["versions"].items())
    command = f"python -m bench{' --full' * (extent is FULL)}"
    before = f"; the former code is commit {commit_of(former)}" if former else ""
    sentence = (
        f"{now['date']}, commit {now['commit']}, `{command}` in {minutes:.0f} minutes{before}; {Machine()}; "
        f"{versions}; the core {now['core']}. Broker, worker and whoever measures share the machine."
    )
    begin, end = f"<!-- {variant(extent)}: computed -->", f"<!-- {variant(extent)}: end -->"
    marked = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    return marked.sub(lambda _: f"{begin}\n\n{sentence}\n\n{tables}\n\n{end}", PAGE.read_text(encoding="utf-8"))


def variant(extent: Extent) -> str:
    """Return the name of a run. The compiled core and the interpreted one have figures of their own."""
    return f"{extent.name}-compiled" if core_is_compiled() else extent.name


def main() -> None:
    """Measure, print, and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--full", action="store_true", help="an hour instead of six minutes")
    parser.add_argument("--former", type=Path, help="a checkout of the former code, with an environment in its .venv")
    parser.add_argument("--write", action="store_true", help="to docs/performance.md and its JSON, too")
    given = parser.parse_args()
    extent = FULL if given.full else SHORT
    former = given.former.resolve() if given.former else None
    begun = time.monotonic()
    sides, figures = measure(extent, former)
    minutes = (time.monotonic() - begun) / 60
    tables = f"{sides.table()}\n\n{figures.table()}"
    print(f"\n{tables}\n\n{minutes:.1f} minutes")
    if given.write:
        file = PAGE.with_name(f"performance-{variant(extent)}.json")
        sides.figures.join(figures).write(file, f"python -m bench, {variant(extent)}")
        PAGE.write_text(page(tables, extent, former, minutes), encoding="utf-8")


if __name__ == "__main__":
    main()
