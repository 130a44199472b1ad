"""Measures what one interrupt costs from bytes to bytes: everything between two Kafka records but the clients.

    python -m bench.shard [--interrupts 5000] [--batch 100] [--runs 5] [--json]

One interrupt is one ExternalEvent to a WfRun: its record is decoded and folded into seven events, and these and the
changed rows are encoded. There is no transaction. A turn is a batch of interrupts, each of a WfRun of its own. The
figures are microseconds for one interrupt: the median of the medians of all runs, the best, and the difference between
slowest and quickest. `fold` reads, decodes, decides, and encodes the log; `rows` is `take_outputs`.
"""

import argparse
import gc
import json
import statistics
import time
from typing import Any

from bench.wf_specs import DEFINITIONS, ORDER, wf_run_id
from processors.core.records.commands import ExternalEvent, RunWf
from processors.fold.inputs import InputRecord
from tests.support.shard_rig import ShardRig

TARGET_US = 100


class Bench:
    """A shard of one partition with WfRuns that wait to be interrupted."""

    def __init__(self, wf_runs: int) -> None:
        self._rig = ShardRig()
        self._ids = [wf_run_id(number) for number in range(wf_runs)]
        self._posted = 0
        self._rig.turn(*DEFINITIONS)
        self._rig.turn(*(RunWf(this, ORDER.name) for this in self._ids))

    def _interrupt(self, wf_run: str) -> InputRecord:
        self._posted += 1
        self._rig.now_ms += 1
        return self._rig.command(ExternalEvent(wf_run, "add", f"{wf_run}-{self._posted}", 1))

    def turn(self) -> tuple[float, float, int]:
        """Interrupt each WfRun once; return seconds per interrupt in `fold` and in `rows`, and the records written."""
        records = [self._interrupt(this) for this in self._ids]
        shard = self._rig.shard
        started = time.perf_counter()
        for record in records:
            shard.fold(shard.read(record))
        folded = time.perf_counter()
        outputs = shard.take_outputs()
        ended = time.perf_counter()
        shard.committed()
        each = len(records)
        return (folded - started) / each, (ended - folded) / each, len(outputs)


def measure(interrupts: int, batch: int, runs: int) -> dict[str, Any]:
    """Return all figures."""
    figures: dict[str, list[float]] = {"fold": [], "rows": [], "all": []}
    records = 0.0
    for _ in range(runs):
        bench = Bench(batch)
        for _ in range(max(1, 500 // batch)):
            bench.turn()
        gc.collect()
        turns = [bench.turn() for _ in range(max(1, interrupts // batch))]
        figures["fold"].append(statistics.median(turn[0] for turn in turns))
        figures["rows"].append(statistics.median(turn[1] for turn in turns))
        figures["all"].append(statistics.median(turn[0] + turn[1] for turn in turns))
        records = turns[-1][2] / batch
    return {
        "records": round(records, 2),
        "costs": {
            what: {
                "median_us": round(1e6 * statistics.median(seconds), 1),
                "best_us": round(1e6 * min(seconds), 1),
                "spread_us": round(1e6 * (max(seconds) - min(seconds)), 1),
            }
            for what, seconds in figures.items()
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--interrupts", type=int, default=5_000, help="timed interrupts of a run")
    parser.add_argument("--batch", type=int, default=100, help="interrupts of a turn")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    figures = measure(given.interrupts, given.batch, given.runs)
    if given.json:
        print(json.dumps(figures | {"target_us": TARGET_US, "runs": given.runs, "batch": given.batch}, indent=2))
        return
    print(f"one interrupt, {figures['records']} records, microseconds; {given.runs} runs of {given.interrupts}")
    print(f"{'':8}{'median':>8}{'best':>8}{'spread':>8}")
    for what, cost in figures["costs"].items():
        print(f"{what:8}{cost['median_us']:>8}{cost['best_us']:>8}{cost['spread_us']:>8}")
    print(f"target: {TARGET_US} or less")


if __name__ == "__main__":
    main()
