"""Measures what metrics cost: an interrupt with and without them in the fold of a shard, and a scrape.

    python -m bench.metrics [--interrupts 5000] [--rounds 15] [--wf-runs 1000000] [--halted 10000] [--json]

Four shards fold the same interrupts in turn, turn by turn: two with a census and with what a worker measures of each
turn, two without. Of each kind one was made before its pair and one after it, because a shard that was made later is
slower by half a percent. The time is the processor's, so that others on the machine do not count. The ratio is that of
the times of the same moment, and the median of all of them counts. A scrape is `Metrics.text`, over so many WfRuns of
which some are halted.
"""

import argparse
import gc
import json
import statistics
import time
from typing import Any

from bench.wf_specs import DEFINITIONS, ORDER, wf_run_id
from processors.core.records.commands import ExternalEvent, RunWf, StopWfRun
from processors.fold.inputs import InputRecord
from processors.fold.tally import Tally
from processors.runtime.group.readiness import Readiness
from processors.runtime.turn.measures import Measures
from processors.runtime.turn.shards import OwnedShard
from processors.runtime.turn.turn import ShardTurn, Turn
from processors.worker.metrics import Metrics
from tests.support.shard_rig import ShardRig

COST_TARGET = 1.02
SCRAPE_TARGET_MS = 50
BATCH = 100
START_BATCH = 10_000


class Side:
    """A shard of one partition whose WfRuns are interrupted, with metrics or without."""

    def __init__(self, *, measured: bool) -> None:
        self.tally = Tally() if measured else None
        self.measures = Measures() if measured else None
        self.rig = ShardRig(tally=self.tally)
        self._posted = 0
        self.rig.turn(*DEFINITIONS)
        self.rig.turn(*(RunWf(wf_run_id(number), ORDER.name) for number in range(BATCH)))

    def _interrupt(self, wf_run: str) -> InputRecord:
        self._posted += 1
        self.rig.now_ms += 1
        return self.rig.command(ExternalEvent(wf_run, "add", f"{wf_run}-{self._posted}", 1))

    def turn(self) -> float:
        """Interrupt each WfRun once, and return the seconds of the processor that it took."""
        records = [self._interrupt(wf_run_id(number)) for number in range(BATCH)]
        shard, measures = self.rig.shard, self.measures
        owned = OwnedShard(0, shard, ("wf-commands", 0))
        started = time.process_time()
        reads = [shard.read(record) for record in records]
        turn = Turn([ShardTurn(owned, reads)], {})
        if measures is not None:
            measures.began(turn)
        for read in reads:
            turn.parts[0].folded += 1
            shard.fold(read)
        shard.take_outputs()
        shard.committed()
        if measures is not None:
            measures.committed(turn, 0.0)
        return time.process_time() - started


def cost(interrupts: int, rounds: int) -> dict[str, Any]:
    """Return what an interrupt costs on both sides, and the ratio of the two."""
    sides = [Side(measured=measured) for measured in (False, True, True, False)]
    for side in sides * 5:
        side.turn()
    ratios, plain, counted = [], [], []
    for number in range(rounds * max(1, interrupts // BATCH)):
        if number % max(1, interrupts // BATCH) == 0:
            gc.collect()
        seconds = {side: side.turn() for side in (sides if number % 2 else reversed(sides))}
        with_metrics = sum(it for side, it in seconds.items() if side.tally is not None)
        without = sum(it for side, it in seconds.items() if side.tally is None)
        ratios.append(with_metrics / without)
        plain.append(without / BATCH / 2)
        counted.append(with_metrics / BATCH / 2)
    return {
        "without_us": round(1e6 * statistics.median(plain), 2),
        "with_us": round(1e6 * statistics.median(counted), 2),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_quartiles": [round(it, 4) for it in statistics.quantiles(ratios)],
        "turns": len(ratios),
    }


def scrape(wf_runs: int, halted: int) -> dict[str, Any]:
    """Return how long scrapes take with so many WfRuns in a shard."""
    tally, readiness = Tally(), Readiness()
    readiness.owns((0,), {})
    metrics = Metrics(lambda: readiness.snapshot, Measures(), tally)
    rig = ShardRig(tally=tally)
    rig.turn(*DEFINITIONS)
    metrics.censuses = lambda: rig.factory.censuses
    shard = rig.shard
    for first in range(0, wf_runs, START_BATCH):
        for number in range(first, min(first + START_BATCH, wf_runs)):
            shard.fold(shard.read(rig.command(RunWf(wf_run_id(number), ORDER.name))))
            if number < halted:
                shard.fold(shard.read(rig.command(StopWfRun(wf_run_id(number)))))
        shard.take_outputs()
        shard.committed()
    seconds = []
    for _ in range(50):
        started = time.process_time()
        text = metrics.text()
        seconds.append(time.process_time() - started)
    stand = rig.factory.censuses[0].wf_runs()
    assert sum(stand.values()) == wf_runs, stand
    return {
        "wf_runs": wf_runs,
        "halted": halted,
        "bytes": len(text),
        "p50_ms": round(1e3 * statistics.median(seconds), 2),
        "max_ms": round(1e3 * max(seconds), 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--interrupts", type=int, default=5_000, help="timed interrupts of a round, on each side")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--wf-runs", type=int, default=1_000_000, help="WfRuns of the scrape")
    parser.add_argument("--halted", type=int, default=10_000, help="how many of them are halted")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    given = parser.parse_args()
    figures = {"cost": cost(given.interrupts, given.rounds), "scrape": scrape(given.wf_runs, given.halted)}
    if given.json:
        targets = {"ratio": COST_TARGET, "scrape_ms": SCRAPE_TARGET_MS}
        print(json.dumps(figures | {"targets": targets}, indent=2))
        return
    found, scraped = figures["cost"], figures["scrape"]
    print(
        f"an interrupt: {found['without_us']} µs without metrics, {found['with_us']} µs with them; ratio "
        f"{found['ratio']} (quartiles {found['ratio_quartiles']}) of {found['turns']} pairs of turns; "
        f"target {COST_TARGET} or less"
    )
    print(
        f"a scrape with {scraped['wf_runs']:,} WfRuns, {scraped['halted']:,} of them halted: {scraped['p50_ms']} ms, "
        f"at most {scraped['max_ms']} ms, {scraped['bytes']:,} bytes; target {SCRAPE_TARGET_MS} ms or less"
    )


if __name__ == "__main__":
    main()
