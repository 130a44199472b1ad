"""What one interrupt costs between two Kafka records: bytes in, bytes out, all but the clients and the transaction.

    python bench/shard.py [--interrupts 5000] [--batch 100] [--runs 5] [--json]

One interrupt is one ExternalEvent to a WfRun: its record decoded, folded into seven events, and these and the rows that
differ encoded. A turn is a batch of them, each to a WfRun of its own. Microseconds for one interrupt, over the runs the
median of their medians, the best, and how far they lie apart; `fold` takes in, decodes, decides and encodes the log,
`rows` is `take_outputs`.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from processors.codec import Codec
from processors.core.commands import ExternalEvent, PutExternalEventDef, PutWfSpec, RunWf
from processors.definitions_view import DefinitionsView
from processors.inputs import InputRecord
from processors.shard import ShardFactory

TARGET_US = 100
START_MS = 1_767_225_600_000
_START, _END = {"kind": "ENTRYPOINT", "next": "wait"}, {"kind": "EXIT"}
_ADD = {"to": "end", "set": [{"var": "total", "op": "ADD", "value": {"var": "INPUT"}}]}
WF_SPEC: dict[str, Any] = {
    "name": "order",
    "entrypoint": "main",
    "threads": {
        "main": {
            "variables": {"customer": {"type": "STR", "default": "c-0042"}, "total": {"type": "INT", "default": 0}},
            "interrupts": [{"event": "add", "handler": "on-add"}],
            "nodes": {"start": _START, "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "end"}, "end": _END},
        },
        "on-add": {
            "variables": {"INPUT": {"type": "INT"}},
            "nodes": {"start": {"kind": "ENTRYPOINT", "next": _ADD}, "end": _END},
        },
    },
}


class Bench:
    """A shard of one partition with WfRuns that wait to be interrupted."""

    def __init__(self, wf_runs: int) -> None:
        self._codec = Codec.load()
        view = DefinitionsView(self._codec)
        self._shard = ShardFactory(1, self._codec, view).create(0)
        self._offset = 0
        for definition in (
            PutExternalEventDef("add"),
            PutExternalEventDef("go"),
            PutWfSpec("order", json.dumps(WF_SPEC)),
        ):
            for output in self._turn([self._record("definition-commands", definition.name, definition)]):
                if output.topic == "definitions":
                    view.apply(output.key or b"", output.value, view.position + 1)
        self._ids = [f"018f9e3c-7c1a-7000-8000-{number:012d}" for number in range(wf_runs)]
        self._turn([self._record("wf-commands", wf_run_id, RunWf(wf_run_id, "order")) for wf_run_id in self._ids])

    def _record(self, topic: str, key: str, command: Any) -> InputRecord:
        self._offset += 1
        time_ms = START_MS + self._offset
        return InputRecord(topic, 0, self._offset, time_ms, key.encode(), self._codec.encode(command))

    def _turn(self, records: list[InputRecord]) -> Any:
        for record in records:
            self._shard.required_definitions(record)
            self._shard.fold(record)
        outputs = self._shard.take_outputs()
        self._shard.committed()
        return outputs

    def turn(self) -> tuple[float, float, int]:
        """Interrupt each WfRun once: seconds for one interrupt in `fold` and in `rows`, and records written."""
        events = [
            (wf_run_id, ExternalEvent(wf_run_id, "add", f"{wf_run_id}-{self._offset + n}", 1))
            for n, wf_run_id in enumerate(self._ids)
        ]
        records = [self._record("external-events", wf_run_id, event) for wf_run_id, event in events]
        shard = self._shard
        started = time.perf_counter()
        for record in records:
            shard.required_definitions(record)
            shard.fold(record)
        folded = time.perf_counter()
        outputs = shard.take_outputs()
        ended = time.perf_counter()
        shard.committed()
        each = len(records)
        return (folded - started) / each, (ended - folded) / each, len(outputs)


def measure(interrupts: int, batch: int, runs: int) -> dict[str, Any]:
    """All figures."""
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
