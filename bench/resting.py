"""Measures what an interrupt costs for a WfRun that rested before, by how many ExternalEvents it remembers.

    python -m bench.resting [--remembered 10 100 1000 10000] [--json]

A WfRun that gets a heartbeat every minute rests in between, so its rows are decoded again for each. Of the events that
it remembers, only the keys are needed (`processors/fold/stores/remembered.py`). One interrupt is decoded, folded, and
its outputs taken, in a turn of its own. Some WfRuns take turns, and all of them rest before each interrupt. When a
WfRun is touched for the first time after a restart, all its rows are decoded (`first`). Times are CPU time, because
the machine may have other work.
"""

import argparse
import gc
import json
import statistics
import time
from typing import Any

from bench.restore import Bench
from bench.wf_specs import wf_run_id
from processors.core.records.model import ExternalEventStatus, WfRunExternalEvent
from processors.fold.rows import external_event_row_key

REMEMBERED = (10, 100, 1_000, 10_000)
WF_RUNS = 4
TIMES = 400


class Remembering(Bench):
    """A shard whose WfRuns have got so many ExternalEvents that they now only remember."""

    def __init__(self, remembered: int) -> None:
        super().__init__()
        self._remembered = remembered

    def rows(self, topic: str, wf_runs: int) -> Any:
        """Return the rows of so many WfRuns in one topic."""
        yield from super().rows(topic, wf_runs)
        if topic == "wf-run-external-events":
            for this in map(wf_run_id, range(wf_runs)):
                for number in range(self._remembered):
                    event = WfRunExternalEvent(
                        wf_run_id=this,
                        external_event_def="add",
                        external_event_id=f"remembered-{number:08}",
                        status=ExternalEventStatus.CLAIMED,
                        posted_ms=number,
                        posted_offset=number,
                        posted_seq=number + 2,
                        thread=0,
                    )
                    yield external_event_row_key(this, event.key).encode(), self._rig.codec.encode(event)

    def rest(self) -> None:
        """Make all WfRuns rest."""
        for _ in range(2):
            self.shard.wf_runs.drop_the_older()


def measure(remembered: int) -> dict[str, float]:
    """The cost in microseconds."""
    bench = Remembering(remembered)
    bench.restore(WF_RUNS)
    gc.collect()
    (first,) = bench.interrupts(WF_RUNS, 1, WF_RUNS)
    bench.interrupts(WF_RUNS, 50 * WF_RUNS, WF_RUNS)
    seconds = []
    for _ in range(TIMES):
        bench.rest()
        seconds += bench.interrupts(WF_RUNS, 1, WF_RUNS)
    return {
        "remembered": remembered,
        "first_us": round(1e6 * first, 1),
        "interrupt_us": round(1e6 * statistics.median(seconds), 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--remembered", type=int, nargs="+", default=REMEMBERED, help="ExternalEvents of each WfRun")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    begun = time.monotonic()
    found = [measure(remembered) for remembered in given.remembered]
    if given.json:
        print(json.dumps({"resting": found, "seconds": round(time.monotonic() - begun, 1)}, indent=2))
        return
    print(f"{'remembered':>12}{'interrupt us':>14}{'first us':>12}")
    for one in found:
        print(f"{one['remembered']:>12,}{one['interrupt_us']:>14}{one['first_us']:>12}")


if __name__ == "__main__":
    main()
