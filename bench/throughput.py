"""Measures interrupts per second, end to end: from records on `external-events` until they are handled and committed.

    python -m bench.throughput [--partitions 8] [--wf-runs 1000] [--interrupts 30000] [--runs 5] [--former FOLDER]

The WfRuns wait before the measurement begins. Their interrupts are in one transaction, so all become visible to the
worker at the same moment. The clock starts when that transaction is committed, and stops when the log of a
read_committed consumer has what came of the last of them. The ceiling (bench/ceiling_worker.py) and the former code (a
checkout that `--former` names) run in turn with the real worker, on the same broker and on topics of their own.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.figures import Figures, core_is_compiled
from bench.house import AtOnce, FormerHouse, House
from bench.sides import CEILING, FORMER, PRESENT, Sides, Target
from bench.wf_specs import wf_run_id
from halter.broker import EmbeddedBroker
from processors.core.records.commands import ExternalEvent

LOG = "wf-events"
EVENTS_PER_INTERRUPT = 7


class Written(NamedTuple):
    """The contents of the topics that a worker writes: bytes, records, and records of the log."""

    bytes: int
    records: int
    log: Sequence[int]
    """The records of the log, by partition."""


class Throughput:
    """An installation whose WfRuns are interrupted again and again."""

    def __init__(self, house: House, wf_runs: int, interrupts: int) -> None:
        self._house, self._wf_runs, self._interrupts = house, wf_runs, interrupts
        self._posted = 0

    def prepare(self) -> None:
        """Start the WfRuns."""
        with self._house.running():
            self._house.prepare("interrupt", self._wf_runs)

    def run(self, sides: Sides, name: str, side: str, workers: int) -> None:
        """Interrupt the WfRuns, and note interrupts per second and what they cost."""
        house, ceiling = self._house, side == CEILING
        with house.all_running(workers, ceiling) as pids, house.watching() as watch:
            self._interrupt(self._interrupts // 5, watch)  # until caches and Java are warm
            waiting = AtOnce(house)
            self._post(waiting, self._interrupts)
            before = self._written()
            with house.costing(pids) as costs:
                ends = waiting.show("external-events")
                begun = time.monotonic()
                seconds = watch(ends) - begun
            after = self._written()
        cost, n = costs[0], self._interrupts
        grown = [now - then for now, then in zip(after.log, before.log, strict=True)]
        assert sum(grown) >= EVENTS_PER_INTERRUPT * n, "not all of them were interrupts"
        assert all(grown), f"not every partition has events: {grown}"
        sides.add(f"{name}: rate", "/s", side, n / seconds, *rate_targets())
        micros = 1e6 / n
        sides.add(f"{name}: CPU, worker", "µs", side, cost.worker * micros)
        sides.add(f"{name}: CPU, broker", "µs", side, cost.broker * micros)
        sides.add(f"{name}: CPU, both", "µs", side, (cost.worker + cost.broker) * micros, Target(most=250))
        sides.add(f"{name}: records out of an interrupt", "", side, (after.records - before.records) / n)
        sides.add(f"{name}: bytes out of an interrupt", "", side, (after.bytes - before.bytes) / n)

    def _written(self) -> "Written":
        ends = {topic: tuple(self._house.ends(topic).values()) for topic in self._house.written_topics()}
        return Written(self._house.bytes_of(*ends), sum(map(sum, ends.values())), ends[LOG])

    def _interrupt(self, count: int, watch: object) -> None:
        waiting = AtOnce(self._house)
        self._post(waiting, count)
        watch(waiting.show("external-events"))  # type: ignore[operator]

    def _post(self, waiting: AtOnce, count: int) -> None:
        for _ in range(count):
            self._posted += 1
            # The same WfRun shall not come again soon: 7,919 is prime.
            this = wf_run_id(self._posted * 7_919 % self._wf_runs)
            waiting.post("external-events", this, ExternalEvent(this, "add", f"{self._posted:08}", 1))


def rate_targets() -> list[Target]:
    """Return what the rate must reach."""
    compiled = [Target(least=8_000)] if core_is_compiled() else []
    return [*compiled, Target(times_former=1), Target(share_of_the_ceiling=0.3)]


def measure(
    sides: Sides,
    kafka: EmbeddedBroker,
    folder: Path,
    partitions: int,
    wf_runs: int,
    interrupts: int,
    workers: int,
    runs: int,
    *,
    former: Path | None = None,
) -> None:
    """Measure the sides in turn, so that other work on the machine affects all of them."""
    name = f"{partitions} partition{'s' * (partitions > 1)}, {wf_runs:,} WfRuns"
    if workers > 1:
        name = f"{workers} workers, {name}"
    if kafka.brokers > 1:
        name += f", {kafka.brokers} brokers"
    benches = []
    for side in (PRESENT, FORMER, CEILING):
        place = folder / side
        place.mkdir()
        if side != FORMER:
            house = House(kafka, place, partitions)
        elif former is not None:
            house = FormerHouse(kafka, place, partitions, former)
        else:
            continue
        benches.append((side, Throughput(house, wf_runs, interrupts)))
        benches[-1][1].prepare()
    for _ in range(runs):
        for side, bench in benches:
            bench.run(sides, name, side, workers)
        # The first of a pair comes second in the next one.
        benches.reverse()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--wf-runs", type=int, default=1_000)
    parser.add_argument("--interrupts", type=int, default=30_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--former", type=Path, help="a checkout of the former code, with an environment in its .venv")
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3))
    given = parser.parse_args()
    former = given.former.resolve() if given.former else None
    sides = Sides(Figures())
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        with EmbeddedBroker(folder / "kafka", given.brokers) as kafka:
            extent = given.partitions, given.wf_runs, given.interrupts, given.workers, given.runs
            measure(sides, kafka, folder, *extent, former=former)
    print(sides.table())


if __name__ == "__main__":
    main()
