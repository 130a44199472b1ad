"""Simulates workers over a model of Kafka, with faults, by seed: python -m tests.simulation [options]

    --seed 7                 one seed; if it fails, it is made smaller and printed, fault by fault
    --seed 1 --seeds 1000    many seeds, one after the other
    --minutes 30             as many seeds as there is time for
    --correlation            plans in which WfRuns and events race for correlation keys
    --attack "..."           plans made for one precaution of the runtime (attacks.py has them)
    --broken "..."           with one precaution of the runtime taken away (mutations.py names them)

Exit code 1 if any seed failed. The same seed gives the same run, as long as the code is the same.
"""

import argparse
import gc
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext

from processors.runtime.loading.garbage import GARBAGE
from tests.simulation.attacks import ATTACKS
from tests.simulation.correlating import correlated_plan
from tests.simulation.mutations import MUTATIONS, broken
from tests.simulation.plan import Plan, plan_of
from tests.simulation.shrink import shrunk
from tests.simulation.simulate import Result, simulate

SEEDS_BETWEEN_COLLECTIONS = 20


def main() -> None:
    """Run what the options ask for, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--minutes", type=float, help="how long, instead of how many")
    parser.add_argument("--attack", choices=sorted(ATTACKS), help="plans made for a precaution, and no others")
    parser.add_argument("--correlation", action="store_true", help="plans in which WfRuns and events race for keys")
    parser.add_argument("--faults", type=int, default=60, help="faults in each plan; some find nobody to strike")
    parser.add_argument("--verbose", action="store_true", help="tell what happens")
    parser.add_argument("--as-it-is", action="store_true", help="make nothing smaller")
    parser.add_argument("--broken", choices=sorted(MUTATIONS), help="take a precaution away")
    options = parser.parse_args()

    def run(plan: Plan) -> Result:
        with nullcontext() if options.broken is None else broken(options.broken):
            return simulate(plan)

    operated = Counter[str]()
    begun, struck, failed, inputs, count = time.monotonic(), Counter[str](), list[int](), 0, 0
    for seed in seeds(options.seed, options.seeds, options.minutes):
        made = correlated_plan if options.correlation else plan_of
        result = run(made(seed, options.faults) if options.attack is None else ATTACKS[options.attack](seed))
        count, inputs = count + 1, inputs + result.figures.inputs
        struck.update(result.figures.struck)
        operated.update(result.figures.operated)
        if options.verbose:
            print(*result.history, sep="\n")
        if result.problem:
            failed.append(seed)
            print(f"seed {seed}: {result.problem}", flush=True)
            if not options.as_it_is:
                tell(shrunk(result, run))
        if count % SEEDS_BETWEEN_COLLECTIONS == 0:
            gc.collect()
    seconds = time.monotonic() - begun
    total = sum(struck.values())
    print(f"{count} seeds, {inputs} inputs, {total} faults in {seconds:.1f} s ({60 * total / seconds:.0f} a minute)")
    print(", ".join(f"{number} {kind}" for kind, number in sorted(struck.items())))
    print(", ".join(f"{number} {name}" for name, number in sorted(operated.items())) or "no operator")
    print(f"failed: {', '.join(map(str, failed)) or 'none'}")
    sys.exit(1 if failed else 0)


def seeds(first: int, count: int, minutes: float | None) -> Iterator[int]:
    """Yield so many seeds, or as many as there is time for."""
    if minutes is None:
        yield from range(first, first + count)
        return
    until = time.monotonic() + 60 * minutes
    yield from itertools.takewhile(lambda _: time.monotonic() < until, itertools.count(first))


def tell(result: Result) -> None:
    """Print what was left of a plan, what happened, and what is wrong."""
    print("made smaller:", result.plan, "what happened:", *(f"  {it}" for it in result.history), sep="\n")
    print(f"and so: {result.problem}", flush=True)


if __name__ == "__main__":
    # Garbage is collected between simulations, not within: see `simulate`.
    with GARBAGE.paused():
        main()
