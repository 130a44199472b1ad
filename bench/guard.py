"""Fails when an interrupt takes more than 15 % more instructions in the fold than the committed baseline says.

    python -m bench.guard [--renew]

Two figures for one interrupt of `bench/fold.py`, since no machine of a CI is quiet:

- *bytecodes*: how many instructions of Python's virtual machine it takes. The same on every machine and at every load,
  for one minor version of Python; blind to what a call into C costs.
- *ratio*: its time, over the time of a fixed loop that does the same kinds of things, both the best of many short
  rounds that take turns. It sees what bytecodes do not. On a machine that does much else it was found 19 % too high
  with the same code, since caches are shared; so 50 % are allowed, and it binds on the processor it was measured on.

`--renew` writes the figures of this Python and processor into bench/guard.json: do so in the commit that makes the fold
dearer for a reason, or cheaper, and say why.
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
"""Interrupts whose bytecodes are counted."""
TIMED = 4
"""Interrupts of a round: a fifth of a millisecond, so that many rounds are not interrupted themselves."""
ROUNDS = 400
WF_RUNS = 8
"""Each is interrupted in so many rounds: beyond 10,000 interrupts of one the fold has more to do."""
WARM_UP = 200


@dataclass(frozen=True)
class Figures:
    """What an interrupt costs."""

    bytecodes: float
    ratio: float


@dataclass(slots=True)
class Thing:
    """Something to make, change and compare, as the fold does with its records."""

    number: int
    name: str
    parts: list[int] = field(default_factory=list)
    above: "Thing | None" = None


class Things:
    """A few of them."""

    def __init__(self) -> None:
        self.by_number: dict[int, Thing] = {}
        self.touched: set[int] = set()

    def touch(self, number: int) -> Thing:
        """One of them, noted."""
        self.touched.add(number)
        return self.by_number[number]

    def add(self, number: int) -> Iterator[Thing]:
        """Make one, and yield it on its way."""
        thing = Thing(number, f"t{number & 7}", above=self.by_number.get(number - 1))
        self.by_number[number] = thing
        yield thing
        self.touch(number).parts.append(number)
        yield from self.above(thing)

    def above(self, thing: Thing) -> Iterator[Thing]:
        """What is above it."""
        if thing.above is not None and thing.above.parts != thing.parts:
            yield thing.above


def reference() -> int:
    """The fixed loop. Changing it makes every baseline worthless."""
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
    """Instructions of the virtual machine for one interrupt."""
    return round(bytecodes(lambda: bench.interrupts(COUNTED)) / COUNTED, 1)


def timed(what: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def measure() -> Figures:
    """Both figures, in about three seconds."""
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
    """Measure, and compare or renew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--renew", action="store_true", help="make these figures the baseline of this Python")
    renew = parser.parse_args().renew
    found, here = measure(), Machine()
    python = here.python.rsplit(".", 1)[0]
    baselines = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    if renew:
        baselines[python] = asdict(found) | {"processor": here.processor}
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
        binding = name == "bytecodes" or here.processor == baseline["processor"]
        print(
            f"guard: {name:9} {value:10} for an interrupt, {change:+.1%} of the baseline"
            + ("" if binding else f", which is {baseline['processor']}'s and does not bind here")
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
