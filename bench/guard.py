"""Fails when an interrupt takes over 15 % more instructions in the fold than the committed baseline.

    python -m bench.guard [--renew]

A CI machine is never quiet, so there are two figures for one interrupt of `bench/fold.py`:

- *bytecodes*: the number of instructions of Python's virtual machine. It is the same on every machine and at every
  load, for one minor version of Python. It does not see what a call into C costs.
- *ratio*: the time of the interrupt over the time of a fixed loop that does similar things, both the best of many short
  rounds that take turns. It sees what bytecodes do not. Caches are shared, so on a busy machine it was once 19 % too
  high with the same code; so 50 % are allowed. With another build of the same Python it was 19 % higher, and between
  machines with a processor of the same name 30 %, so the check applies only on the processor and with the build of
  Python that it was measured with.

`--renew` writes the figures of this Python and processor into bench/guard.json. Do so in the commit that makes the fold
slower for a good reason, or faster, and say why in the commit.
"""

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.fold import Bench
from tests.support.bytecodes import bytecodes
from tests.support.machine import Machine

BASELINE = Path(__file__).with_suffix(".json")
ALLOWED = {"bytecodes": 1.15, "ratio": 1.5}
COUNTED = 20
"""The number of interrupts whose bytecodes are counted."""
TIMED = 4
"""Interrupts per round: a fifth of a millisecond, so that few rounds are disturbed."""
ROUNDS = 400
WF_RUNS = 8
"""Rounds in which each WfRun is interrupted: after 10,000 interrupts of one WfRun the fold has more to do."""
WARM_UP = 200


@dataclass(frozen=True)
class Figures:
    """The cost of an interrupt."""

    bytecodes: float
    ratio: float


@dataclass(slots=True)
class Thing:
    """A record to make, change and compare, as the fold does with its records."""

    number: int
    name: str
    parts: list[int] = field(default_factory=list)
    above: "Thing | None" = None


class Things:
    """The records of the fixed loop."""

    def __init__(self) -> None:
        self.by_number: dict[int, Thing] = {}
        self.touched: set[int] = set()

    def touch(self, number: int) -> Thing:
        """Note that a record was touched, and return it."""
        self.touched.add(number)
        return self.by_number[number]

    def add(self, number: int) -> Iterator[Thing]:
        """Make a record, yield it, and yield the one above it."""
        thing = Thing(number, f"t{number & 7}", above=self.by_number.get(number - 1))
        self.by_number[number] = thing
        yield thing
        self.touch(number).parts.append(number)
        yield from self.above(thing)

    def above(self, thing: Thing) -> Iterator[Thing]:
        """Yield the record above, if its parts differ."""
        if thing.above is not None and thing.above.parts != thing.parts:
            yield thing.above


def reference() -> int:
    """Run the fixed loop. A change of it makes every baseline worthless."""
    things, seen = Things(), 0
    for number in range(100):
        for thing in things.add(number):
            match thing:
                case Thing(parts=[]):
                    seen += 1
                case Thing(number=found):
                    seen += found in things.touched
        if len(things.by_number) > 16:
            things = Things()
    return seen


def of_an_interrupt(bench: Bench) -> float:
    """Return the number of instructions of the virtual machine for one interrupt."""
    return round(bytecodes(lambda: bench.interrupts(COUNTED)) / COUNTED, 1)


def timed(what: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def measure() -> Figures:
    """Measure both figures, in about three seconds."""
    counted, fold, loop = 0.0, float("inf"), float("inf")
    for _ in range(WF_RUNS):
        bench = Bench(live_threads=1)
        bench.interrupts(WARM_UP)
        counted = counted or of_an_interrupt(bench)
        gc.collect()
        gc.disable()
        for _ in range(ROUNDS):
            fold = min(fold, sum(bench.interrupts(TIMED)))
            loop = min(loop, timed(reference))
        gc.enable()
    return Figures(counted, round(fold / TIMED / loop, 4))


def main() -> int:
    """Measure, and compare with the baseline or renew it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--renew", action="store_true", help="make these figures the baseline of this Python")
    renew = parser.parse_args().renew
    found, here = measure(), Machine()
    python = here.python.rsplit(".", 1)[0]
    baselines = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    if renew:
        baselines[python] = asdict(found) | {"processor": here.processor, "build": sys.version}
        BASELINE.write_text(json.dumps(baselines, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        print(f"guard: {BASELINE.name} now says for {python}: {found}")
        return 0
    baseline = baselines.get(python)
    if baseline is None:
        print(f"guard: {BASELINE.name} has nothing for {python}, so nothing is compared; found {found}")
        return 0
    dearer = []
    for name, value in asdict(found).items():
        change = value / baseline[name] - 1
        same = (here.processor, sys.version) == (baseline["processor"], baseline["build"])
        binding = name == "bytecodes" or same
        print(
            f"guard: {name:9} {value:10} for an interrupt, {change:+.1%} of the baseline"
            + ("" if binding else ", which is another machine's and does not bind here")
        )
        if binding and value > ALLOWED[name] * baseline[name]:
            dearer.append(f"{ALLOWED[name] - 1:.0%} more {name}")
    if dearer:
        print(
            f"guard: expected at most {' and '.join(dearer)} than {BASELINE.name} says. "
            "Make the fold cheaper again, or, if it is worth it, `make guard ARGS=--renew` and say why in the commit",
            file=sys.stderr,
        )
    return 1 if dearer else 0


if __name__ == "__main__":
    sys.exit(main())
