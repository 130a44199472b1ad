"""Measures what idle WfRuns cost: memory, the time until a killed worker goes on, and an interrupt among many of them.

    python -m bench.restore [--wf-runs 100000] [--runs 5] [--store memory] [--kafka] [--json]

A live idle WfRun is one thread that waits for an ExternalEvent, with three small Variables and nothing unclaimed. Its
memory is the growth of the process' resident set while so many are restored, divided by their number. Each number of
WfRuns is measured in a process of its own, with the rows as a worker reads them: encoded. An interrupt is one
ExternalEvent that is decoded, folded, and its outputs taken, in a turn of its own. It goes to one of 100 WfRuns that
are interrupted again and again, or (`first`) to one that has rested until then, whose rows have to be decoded.
Interrupts and restoring are in CPU time, because the machine may have other work.

With --kafka, a worker on the embedded broker also starts the WfRuns, is killed (SIGKILL), and is started again in the
same slot. The time is from the start of the process until interrupts that were waiting are committed.
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.house import House
from bench.wf_specs import DEFINITIONS, IDLE, wf_run_id
from halter.broker import EmbeddedBroker
from processors.core.records.commands import ExternalEvent, RunWf
from processors.fold.inputs import ReadInput
from processors.worker.logs import configure_logging
from tests.support.shard_rig import ShardRig

NUMBERS = (1, 1_000, 100_000, 1_000_000)
INTERRUPTS = 2_000
BUSY = 100
"""The number of WfRuns that are interrupted again and again."""
EVENTS_PER_INTERRUPT = 7
SLOT = "bench"
PROBES = 50
"""The number of interrupts that wait when a worker is started again."""
MEMORY_TARGET, RESTART_TARGET_S, GROWTH_TARGET = 2_048, 10.0, 1.2
STATE = ("wf-runs", "thread-runs", "wf-run-external-events")


def resident_bytes(pid: int | str = "self") -> int:
    """Return the resident set of a process."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return 1024 * int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")))


class Bench:
    """A shard of one partition without WfRuns. The rows that it restores are those of one WfRun under other ids."""

    def __init__(self) -> None:
        self._rig = ShardRig()
        self._rig.turn(*DEFINITIONS)
        self._rig.turn(RunWf(wf_run_id(0), IDLE.name))
        self._posted = 0
        self.shard = self._rig.factory.create(0)

    def rows(self, topic: str, wf_runs: int) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows of so many WfRuns in one topic, not ordered by id."""
        first = wf_run_id(0).encode()
        for key, value in self._rig.tables[topic].items():
            for number in range(wf_runs):
                this = wf_run_id(number * 7_919 % wf_runs).encode()
                yield key.replace(first, this), value.replace(first, this)

    def restore(self, wf_runs: int) -> float:
        """Restore the rows as a load does, and return the seconds."""
        begun = time.process_time()
        gc.disable()
        for key, value in self._rig.tables["definitions"].items():
            self.shard.restore("definitions", key, value)
        for topic in STATE:
            for key, value in self.rows(topic, wf_runs):
                self.shard.restore(topic, key, value)
        for key, value in self._rig.tables["fold-positions"].items():
            self.shard.restore("fold-positions", key, value)
        self.shard.restored()
        gc.freeze()
        gc.enable()
        return time.process_time() - begun

    def interrupts(self, wf_runs: int, times: int, among: int) -> list[float]:
        """Return the seconds that each of so many interrupts took. So many of the WfRuns take turns."""
        seconds = []
        for _ in range(times):
            this = wf_run_id(self._posted % among * 104_729 % wf_runs)
            event = ExternalEvent(this, "add", f"e{self._posted}", 1)
            self._posted += 1
            begun = time.process_time()
            self.shard.fold(ReadInput(self._rig.command(event)))
            outputs = self.shard.take_outputs()
            self.shard.committed()
            seconds.append(time.process_time() - begun)
            assert sum(output.topic == "wf-events" for output in outputs) == EVENTS_PER_INTERRUPT
        return seconds


def shard_figures(wf_runs: int) -> dict[str, float]:
    """Measure everything about one number of WfRuns, in this process."""
    warm = Bench()
    warm.restore(1)
    warm.interrupts(1, 300, 1)
    bench = Bench()
    gc.collect()
    before = resident_bytes()
    seconds = bench.restore(wf_runs)
    grown = resident_bytes() - before
    busy = min(wf_runs, BUSY)
    bench.interrupts(wf_runs, 300, busy)
    interrupts = bench.interrupts(wf_runs, INTERRUPTS, busy)
    firsts = bench.interrupts(wf_runs, min(wf_runs, INTERRUPTS), wf_runs)
    return {
        "wf_runs": wf_runs,
        "bytes_per_wf_run": round(grown / wf_runs),
        "restore_s": round(seconds, 2),
        "interrupt_us": round(1e6 * statistics.median(interrupts), 1),
        "first_interrupt_us": round(1e6 * statistics.median(firsts), 1),
    }


def in_a_process(wf_runs: int) -> dict[str, float]:
    """Return the figures of a fresh process."""
    command = [sys.executable, "-m", "bench.restore", "--only", str(wf_runs)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return found


def interrupt(house: House, wf_runs: int, times: int, name: str) -> Mapping[tuple[str, int], int]:
    """Interrupt WfRuns in turn, so often in all, and return the positions behind the interrupts."""
    for number in range(times):
        this = wf_run_id(number * 104_729 % wf_runs)
        house.post("external-events", this, ExternalEvent(this, "add", f"{name}-{number}", 1))
    house.producer.flush()
    return house.ends("external-events")


def kafka_figures(kafka: EmbeddedBroker, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Kill and start a worker that has so many WfRuns, over and over."""
    wf_runs = given.wf_runs
    variables = {"HALTER_STORE": given.store}
    if given.store != "memory":
        variables["HALTER_STORE_DIR"] = str(folder / "store")
    if given.topics is not None:
        variables["HALTER_TOPICS"] = str(given.topics)
    house = House(kafka, folder, given.partitions, variables)
    begun = time.monotonic()
    with house.worker(SLOT) as worker, house.watching() as watch:
        house.prepare()
        empty = resident_bytes(worker.pid)
        house.start(IDLE.name, wf_runs)
        print(f"{wf_runs:,} WfRuns started after {time.monotonic() - begun:.1f} s", file=sys.stderr)
        grown_live = resident_bytes(worker.pid) - empty
        watch(interrupt(house, wf_runs, given.interrupts, "before"), 1_800)
        print(f"{given.interrupts:,} interrupts after {time.monotonic() - begun:.1f} s", file=sys.stderr)
        worker.kill()
        worker.wait()
        seconds, grown = [], 0
        for number in range(given.runs):
            ready = interrupt(house, wf_runs, PROBES, f"probe-{number}")
            begun = time.monotonic()
            with house.started(SLOT, "-m", "halter", "worker", "--slot", SLOT) as again:
                seconds.append(watch(ready) - begun)
                grown = resident_bytes(again.pid) - empty
                again.kill()
            print(f"restart {number + 1}: {seconds[-1]:.2f} s", file=sys.stderr)
    return {
        "wf_runs": wf_runs,
        "partitions": given.partitions,
        "store": given.store,
        "interrupts_before": given.interrupts,
        "restart_s": round(statistics.median(seconds), 2),
        "restart_s_each": [round(one, 2) for one in seconds],
        "bytes_per_wf_run_restored": round(grown / wf_runs),
        "bytes_per_wf_run_after_starting_them": round(grown_live / wf_runs),
    }


def with_kafka(given: argparse.Namespace) -> dict[str, Any]:
    """Measure restarts on a broker of its own."""
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        with EmbeddedBroker(folder / "kafka") as kafka:
            try:
                return kafka_figures(kafka, folder, given)
            finally:
                log = (folder / f"{SLOT}.log").read_text(encoding="utf-8").splitlines()
                print("\n".join(line for line in log if "restor" in line or "error" in line), file=sys.stderr)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--wf-runs", type=int, default=100_000, help="with --kafka")
    parser.add_argument("--runs", type=int, default=5, help="how often a worker is killed, with --kafka")
    parser.add_argument("--partitions", type=int, default=8, help="with --kafka")
    parser.add_argument("--store", default="memory", help="memory or rocksdb, with --kafka")
    parser.add_argument("--interrupts", type=int, default=0, help="before the first kill: rows to be compacted")
    parser.add_argument("--topics", type=Path, help="a topics.yaml to use instead of Halter's, with --kafka")
    parser.add_argument("--numbers", type=int, nargs="*", default=NUMBERS, help="of WfRuns in a shard")
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    configure_logging()  # to stderr: what clients log is not part of the figures
    if given.only is not None:
        print(json.dumps(shard_figures(given.only)))
        return
    shards = [in_a_process(number) for number in given.numbers]
    figures: dict[str, Any] = {"shard": shards}
    if given.kafka:
        figures["kafka"] = with_kafka(given)
    if given.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{'live WfRuns':>12}{'bytes each':>12}{'restore s':>12}{'interrupt us':>14}{'first us':>10}")
    for one in shards:
        print(
            f"{one['wf_runs']:>12,}{one['bytes_per_wf_run']:>12,}{one['restore_s']:>12}{one['interrupt_us']:>14}"
            f"{one['first_interrupt_us']:>10}"
        )
    if shards:
        growth = shards[-1]["interrupt_us"] / shards[0]["interrupt_us"]
        print(f"growth of an interrupt's cost: {growth:.2f}, at most {GROWTH_TARGET}; memory: at most {MEMORY_TARGET}")
    if given.kafka:
        print(f"with Kafka (restart: at most {RESTART_TARGET_S} s): {figures['kafka']}")


if __name__ == "__main__":
    main()
