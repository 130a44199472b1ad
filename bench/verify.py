"""Measures how many events of a log `halter verify` decides again in a second, on one core, and what it holds.

    python -m bench.verify [--events 200000] [--wf-runs 2000] [--rules PATH] [--json]

The log is that of a shard in memory on which WfRuns are interrupted again and again: seven events for each interrupt.
Reading Kafka is not part of it. `--rules`: another version decides, in a process of its own. Its processor time counts.
"""

import argparse
import json
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

from bench.wf_specs import DEFINITIONS, ORDER, wf_run_id
from halter.history.verify import How, verified
from processors.core.records.commands import ExternalEvent, RunWf
from tests.support.machine import Machine
from tests.support.recordings import recorded
from tests.support.shard_rig import ShardRig

TARGET = 20_000
"""Events per second, with the compiled core."""
TURN = 500


def log_of(events: int, wf_runs: int) -> ShardRig:
    """Return a shard that has written so many events."""
    rig = ShardRig()
    rig.turn(*DEFINITIONS)
    ids = [wf_run_id(number) for number in range(wf_runs)]
    for first in range(0, wf_runs, TURN):
        rig.turn(*(RunWf(this, ORDER.name) for this in ids[first : first + TURN]))
    posted = 0
    while len(rig.log_records) < events:
        first = posted % wf_runs
        turn = [ExternalEvent(this, "add", f"e{posted + at}", 1) for at, this in enumerate(ids[first : first + TURN])]
        rig.now_ms += 1
        posted += len(turn)
        rig.turn(*turn)
        rig.outputs = [it for it in rig.outputs if it.topic == "definitions"]
    return rig


def measure(events: int, wf_runs: int, rules: Path | None) -> dict[str, Any]:
    """Return all figures."""
    rig = log_of(events, wf_runs)
    recording = recorded(rig)
    begun, cpu = time.perf_counter(), sum(os.times()[:4])
    report = verified(recording, rig.codec, How(rules))
    seconds, cpu = time.perf_counter() - begun, sum(os.times()[:4]) - cpu
    assert not report.differences
    assert report.events == len(rig.log_records)
    tracemalloc.start()
    verified(recording, rig.codec, How(rules))
    _, peak = tracemalloc.get_traced_memory()
    return {
        "events": report.events,
        "inputs": report.inputs,
        "wf_runs": wf_runs,
        "seconds": round(seconds, 2),
        "events_per_second": round(report.events / seconds),
        "events_per_cpu_second": round(report.events / cpu),
        "held_mb": round(peak / 1e6, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--wf-runs", type=int, default=2_000)
    parser.add_argument("--rules", type=Path, help="another version of Halter, which decides")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    given = parser.parse_args()
    figures = measure(given.events, given.wf_runs, given.rules)
    if given.json:
        print(json.dumps({"target": TARGET, **figures}, indent=2))
        return
    print(Machine())
    print(
        f"{figures['events']:,} events of {figures['inputs']:,} inputs and {figures['wf_runs']:,} WfRuns: "
        f"{figures['seconds']} s, {figures['events_per_second']:,} events/s, "
        f"{figures['events_per_cpu_second']:,} in a second of processor time, at most {figures['held_mb']} MB held"
    )
    print(f"target: {TARGET:,} events/s on one core, with the compiled core")


if __name__ == "__main__":
    main()
