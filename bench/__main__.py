"""Runs the benchmarks against the embedded broker: python -m bench [--full] [--only PART] [--former FOLDER] [--write]

There are two parts. `sides` measures latency and throughput side by side: the floor, the former code (a checkout that
`--former` names), this code and the ceiling. `alone` measures the rest: the fold, restoring, other capabilities. The
short run (the default) takes some ten minutes on two cores. The full run has more partitions, more WfRuns, two workers,
three brokers and restarts; its sides take 40 minutes and the rest 20.

The figures go to stdout. With --write they also go to docs/performance-*.json and into the tables of
docs/performance.md. Each figure is measured several times: a difference between two versions counts only if it is
larger than the spread.

Each program measures one thing, and says at its top how:

    fold, shard, codec                           an interrupt in the fold, and from bytes to bytes; a record in Avro
    latency, throughput, turns                   a worker on a real Kafka: how late, how many, where the time goes
    floor_worker, ceiling_worker, timed_worker   the workers that it is compared with, and one that notes its phases
    restore, resting, capabilities               WfRuns that are idle, or rested; starts, tasks, children, timers
    lookup, command_line, verify                 a cold `show`; commands as processes; `halter verify`
    client, task_worker, bindings                programs that post, run tasks, and bring in events
    view, console, explore, testing              the view and its lists; pages; `halter explore`; tests in memory
    metrics, tracing                             what it costs to be watched
    guard                                        `make guard`: has an interrupt become dearer in the fold?
    house, wf_specs, figures, sides, page        what they share: an installation, WfSpecs, figures, tables, the page
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import capabilities, command_line, latency, throughput
from bench.figures import Figures, core_is_compiled
from bench.page import PAGE, circumstances_in_words, write
from bench.sides import Sides
from halter.broker import EmbeddedBroker

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Extent:
    """How much is measured in a run."""

    name: str
    throughput: tuple[tuple[int, int, int, int], ...]
    """(partitions, WfRuns, interrupts, workers) of each measurement."""
    runs: int
    latencies: dict[int, dict[int, float]]
    """Partitions -> posts per second -> for how many seconds. Near the maximum it is measured on the first of them."""
    three_brokers: bool
    """True: throughput and latency are measured on three brokers as well."""
    others: int
    """The number of WfRuns for each of the other capabilities."""
    live: tuple[int, ...]
    """The numbers of live WfRuns for which a shard is measured."""
    restarts: int
    """The number of live WfRuns of a worker that is killed and started again; 0 if that is not measured."""


SHORT = Extent("short", ((8, 1_000, 30_000, 1),), 3, {8: {100: 8.0, 1_000: 8.0}}, False, 2_000, (1_000, 100_000), 0)
FULL = Extent(
    "full",
    (
        (8, 1_000, 30_000, 1),
        (1, 1_000, 30_000, 1),
        (16, 1_000, 30_000, 1),
        (32, 1_000, 30_000, 1),
        (8, 10_000, 30_000, 1),
        (8, 100_000, 30_000, 1),
        (8, 1_000, 30_000, 2),
    ),
    3,
    {
        8: {1: 10.0, 100: 10.0, 1_000: 10.0},
        16: {100: 10.0, 1_000: 10.0},
        32: {100: 10.0, 1_000: 10.0},
    },
    True,
    5_000,
    (1_000, 100_000, 1_000_000),
    100_000,
)
PARTS = ("sides", "alone")


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


def measure_alone(extent: Extent) -> Figures:
    """Measure what has no other side."""
    figures = Figures()
    capabilities.measure_starting(figures, extent.runs)
    fold(figures, extent.runs)
    growth(figures, extent.live, extent.runs)
    resting(figures, extent.runs)
    if extent.restarts:
        restarts(figures, extent.restarts, extent.runs)
    on_a_broker(lambda kafka, folder: capabilities.measure(figures, kafka, folder, 8, extent.others, extent.runs))
    on_a_broker(lambda kafka, folder: command_line.measure(figures, kafka, folder, 8, 2 * extent.runs))
    return figures


def measure_sides(extent: Extent, former: Path | None) -> Sides:
    """Measure latency and throughput, side by side."""
    sides = Sides(Figures())

    def latencies(partitions: int, brokers: int = 1) -> None:
        rates, near = extent.latencies[partitions], brokers == 1 and partitions == next(iter(extent.latencies))
        on_a_broker(
            lambda kafka, folder: latency.measure(
                sides, kafka, folder, partitions, rates, extent.runs, former=former, near_the_maximum=near
            ),
            brokers,
        )

    def throughputs(what: tuple[int, int, int, int], brokers: int = 1) -> None:
        on_a_broker(
            lambda kafka, folder: throughput.measure(sides, kafka, folder, *what, extent.runs, former=former), brokers
        )

    for partitions in extent.latencies:
        latencies(partitions)
    for what in extent.throughput:
        throughputs(what)
    if extent.three_brokers:
        latencies(next(iter(extent.latencies)), brokers=3)
        throughputs(extent.throughput[0], brokers=3)
    return sides


def on_a_broker(measure_there: Callable[[EmbeddedBroker, Path], None], brokers: int = 1) -> None:
    """Measure on a new broker, or on three, which nothing else has used."""
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        with EmbeddedBroker(folder / "kafka", brokers, report=lambda _: None) as kafka:
            measure_there(kafka, folder)


def variant(extent: Extent, part: str) -> str:
    """Return the name of a run. The compiled core and the interpreted one have figures of their own."""
    return f"{extent.name}-{part}-compiled" if core_is_compiled() else f"{extent.name}-{part}"


def main() -> None:
    """Measure, print, and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--full", action="store_true", help="an hour instead of ten minutes")
    parser.add_argument("--only", choices=PARTS, help="one part of it")
    parser.add_argument("--former", type=Path, help="a checkout of the former code, with an environment in its .venv")
    parser.add_argument("--write", action="store_true", help="to docs/performance.md and its JSON, too")
    given = parser.parse_args()
    extent = FULL if given.full else SHORT
    former = given.former.resolve() if given.former else None
    for part in [given.only] if given.only else PARTS:
        begun = time.monotonic()
        if part == "sides":
            sides = measure_sides(extent, former)
            figures, table = sides.figures, sides.table()
        else:
            figures = measure_alone(extent)
            table = figures.table()
        minutes = (time.monotonic() - begun) / 60
        print(f"\n{table}\n\n{minutes:.1f} minutes\n", flush=True)
        if given.write:
            named = variant(extent, part)
            command = f"python -m bench{' --full' * given.full} --only {part}"
            figures.write(PAGE.with_name(f"performance-{named}.json"), f"{command}, {named}")
            write(named, circumstances_in_words(command, former, minutes), table)


if __name__ == "__main__":
    main()
