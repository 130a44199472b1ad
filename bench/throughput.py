"""Measures interrupts per second, end to end: from records on `external-events` until they are handled and committed.

    python -m bench.throughput [--partitions 8] [--wf-runs 1000] [--interrupts 30000] [--runs 5]

The WfRuns wait before the measurement begins. Their interrupts are in one transaction, so all become visible to the
worker at the same moment. The clock starts when that transaction is committed, and stops when a read_committed
consumer sees all of them folded. The ceiling (bench/ceiling_worker.py) runs in turn with the real worker, on the same
broker and on topics of its own.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.figures import Figures
from bench.house import AtOnce, House
from bench.wf_specs import wf_run_id
from halter.broker import EmbeddedBroker
from processors.core.records.commands import ExternalEvent

OUTPUT_TOPICS = ("wf-events", "wf-runs", "thread-runs", "wf-run-external-events", "fold-positions")
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

    def run(self, figures: Figures, name: str, workers: int, ceiling: bool) -> float:
        """Interrupt the WfRuns, and return interrupts per second."""
        house = self._house
        with house.all_running(workers, ceiling) as pids, house.watching() as watch:
            self._interrupt(self._interrupts // 5, watch)  # until caches and Java are warm
            waiting = AtOnce(house)
            self._post(waiting, self._interrupts)
            before = self._written()
            with house.costing(pids) as costs:
                watch(waiting.show("external-events"))
            after = self._written()
        cost, n = costs[0], self._interrupts
        grown = [now - then for now, then in zip(after.log, before.log, strict=True)]
        assert sum(grown) >= EVENTS_PER_INTERRUPT * n, "not all of them were interrupts"
        assert all(grown), f"not every partition has events: {grown}"
        rate = n / cost.seconds
        figures.add(f"{name}: rate", "interrupts/s", rate, "" if ceiling else "≥ 6,000")
        if not ceiling:
            micros = 1e6 / n
            figures.add(f"{name}: CPU, worker", "µs each", cost.worker * micros)
            figures.add(f"{name}: CPU, broker", "µs each", cost.broker * micros)
            both = (cost.worker + cost.broker) * micros
            figures.add(f"{name}: CPU, both", "µs each", both, "≤ 250")
            figures.add(f"{name}: records out", "each", (after.records - before.records) / n)
            figures.add(f"{name}: bytes out", "each", (after.bytes - before.bytes) / n)
        return rate

    def _written(self) -> "Written":
        ends = {topic: tuple(self._house.ends(topic).values()) for topic in OUTPUT_TOPICS}
        return Written(self._house.bytes_of(*OUTPUT_TOPICS), sum(map(sum, ends.values())), ends["wf-events"])

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


def measure(
    figures: Figures,
    kafka: EmbeddedBroker,
    folder: Path,
    partitions: int,
    wf_runs: int,
    interrupts: int,
    workers: int,
    runs: int,
) -> None:
    """Measure the real worker and the ceiling in turn, so that other work on the machine affects both."""
    benches = []
    for name in ("real", "ceiling"):
        (folder / name).mkdir()
        benches.append(Throughput(House(kafka, folder / name, partitions), wf_runs, interrupts))
        benches[-1].prepare()
    real, ceiling = benches
    name = f"{partitions} partition{'s' * (partitions > 1)}, {wf_runs:,} WfRuns"
    if workers > 1:
        name = f"{workers} workers, {name}"
    for _ in range(runs):
        rate = real.run(figures, name, workers, ceiling=False)
        most = ceiling.run(figures, f"{name}, ceiling", workers, ceiling=True)
        figures.add(f"{name}: share of the ceiling", "%", 100 * rate / most, "≥ 35")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--wf-runs", type=int, default=1_000)
    parser.add_argument("--interrupts", type=int, default=30_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        with EmbeddedBroker(folder / "kafka") as kafka:
            measure(
                figures, kafka, folder, given.partitions, given.wf_runs, given.interrupts, given.workers, given.runs
            )
    print(figures.table())


if __name__ == "__main__":
    main()
