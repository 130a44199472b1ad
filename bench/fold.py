"""Measures what one interrupt costs in the fold alone: no Kafka, no Avro, one process, one core.

    python -m bench.fold [--interrupts 2000] [--runs 5] [--json]

One interrupt is everything that follows from one ExternalEvent: posted, halt, halted, spawn, a mutation, completed,
resume. The time is that of `engine.handle`, which makes its events and folds them. The list of changed rows is cleared
between interrupts, as a turn does. The output has the median of the medians of all runs, the best of them, and the
difference between the slowest and the quickest.
"""

import argparse
import gc
import json
import statistics
import time
from dataclasses import asdict, dataclass

from bench.wf_specs import END, ON_ADD, WAITING, interrupted, thread, wf_spec
from halter.scenarios.definitions import register
from processors.core.records.commands import ExternalEvent, PutExternalEventDef, RunWf
from processors.core.records.events import Cause
from processors.core.records.model import Changes, WfRun
from processors.core.records.values import VariableType
from processors.core.rules.context import Context, Limits
from processors.core.rules.engine import handle, new_run
from tests.support.machine import Machine

TARGET_US = 60
START_MS = 1_767_225_600_000
EVENTS_PER_INTERRUPT = 7
THREADS = (1, 10, 100, 1_000)
LONG = 10_000
"""The number of interrupts of one WfRun of which the last ones are compared with the first."""
WINDOW = 500
"""How many interrupts count as the first and as the last."""

CROWD = thread(
    {
        "one": {"kind": "START_THREAD", "thread": "interrupted", "next": "others"},
        "others": {"kind": "START_MULTIPLE_THREADS", "thread": "other", "over": {"var": "others"}, "next": "end"},
        "end": END,
    },
    variables={"others": {"type": "JSON_ARR", "default": []}},
)
DEFINITIONS = (
    PutExternalEventDef("add", VariableType.INT),
    PutExternalEventDef("go"),
    wf_spec("alone", {"main": interrupted(), "on-add": ON_ADD}),
    wf_spec("crowd", {"main": CROWD, "interrupted": interrupted(), "on-add": ON_ADD, "other": WAITING}),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one interrupt in microseconds."""

    what: str
    median_us: float
    best_us: float
    spread_us: float
    """The difference between the slowest and the quickest run."""


class Bench:
    """A WfRun that is interrupted over and over."""

    def __init__(self, live_threads: int) -> None:
        definitions, refused = register(DEFINITIONS)
        assert not refused, refused
        self._context = Context(definitions, Limits(live_threads=2 * max(THREADS)))
        self._offset = 0
        self._run: WfRun = new_run("w1")
        others = list(range(live_threads - 2))
        start = RunWf("w1", "alone") if live_threads == 1 else RunWf("w1", "crowd", {"others": others})
        handle(self._run, start, Cause("wf-commands", 0, 0, None, 0), START_MS, self._context)
        assert len(self._run.threads) == live_threads

    def interrupts(self, times: int) -> list[float]:
        """Return the seconds that each of so many interrupts took."""
        seconds = []
        run, context = self._run, self._context
        for _ in range(times):
            self._offset += 1
            event = ExternalEvent("w1", "add", f"e{self._offset}", 1)
            cause = Cause("external-events", 0, self._offset, event.external_event_id, 0)
            started = time.perf_counter()
            log = handle(run, event, cause, START_MS + self._offset, context, [])
            seconds.append(time.perf_counter() - started)
            assert len(log) == EVENTS_PER_INTERRUPT
            run.changes = Changes()
        return seconds


def cost(what: str, medians: list[float]) -> Cost:
    """Return the figures of several runs."""
    microseconds = [1e6 * seconds for seconds in medians]
    return Cost(
        what,
        round(statistics.median(microseconds), 1),
        round(min(microseconds), 1),
        round(max(microseconds) - min(microseconds), 1),
    )


def measure(interrupts: int, runs: int) -> list[Cost]:
    """Return all figures, smallest WfRun first."""
    costs = []
    for threads in THREADS:
        medians = []
        for _ in range(runs):
            bench = Bench(threads)
            bench.interrupts(200)
            gc.collect()
            medians.append(statistics.median(bench.interrupts(interrupts)))
        costs.append(cost(f"{threads} live thread{'s' * (threads > 1)}", medians))
    first, last = [], []
    for _ in range(runs):
        seconds = Bench(1).interrupts(LONG)
        first.append(statistics.median(seconds[:WINDOW]))
        last.append(statistics.median(seconds[-WINDOW:]))
    return [*costs, cost("the 1st of one WfRun", first), cost(f"the {LONG:,}th of one WfRun", last)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--interrupts", type=int, default=2_000, help="timed interrupts of a run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    costs = measure(given.interrupts, given.runs)
    first, last = costs[-2:]
    growth = round(last.median_us / first.median_us, 2)
    if given.json:
        figures = {"machine": asdict(Machine()), "costs": [asdict(one) for one in costs], "growth": growth}
        print(json.dumps(figures | {"target_us": TARGET_US, "runs": given.runs}, indent=2))
        return
    print(f"one interrupt of {EVENTS_PER_INTERRUPT} events, microseconds; {given.runs} runs of {given.interrupts}")
    print(Machine())
    print(f"{'':24}{'median':>8}{'best':>8}{'spread':>8}")
    for one in costs:
        print(f"{one.what:<24}{one.median_us:>8}{one.best_us:>8}{one.spread_us:>8}")
    print(f"target: {TARGET_US} or less at one live thread; the last at most 1.2 times the first, found {growth}")


if __name__ == "__main__":
    main()
