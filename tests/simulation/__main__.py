"""Simulates workers over a model of Kafka, with faults, by seed: python -m tests.simulation [options]"""

import argparse
import gc
import sys
import time
from collections import Counter

from processors.runtime.garbage import GARBAGE
from tests.simulation.plan import plan_of
from tests.simulation.simulate import Result, simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other")
    parser.add_argument("--faults", type=int, default=60, help="faults a seed")
    parser.add_argument("--verbose", action="store_true", help="tell what happens")
    options = parser.parse_args()
    begun, struck, failed = time.monotonic(), Counter[str](), []
    inputs = 0
    for seed in range(options.seed, options.seed + options.seeds):
        result: Result = simulate(plan_of(seed, options.faults))
        struck.update(result.figures.struck)
        inputs += result.figures.inputs
        if options.verbose:
            print("\n".join(result.history), result.figures, sep="\n")
        if result.problem:
            failed.append(seed)
            print(f"seed {seed}: {result.problem}", flush=True)
        if seed % 20 == 0:
            gc.collect()
    seconds = time.monotonic() - begun
    total = sum(struck.values())
    print(f"{options.seeds} seeds, {inputs} inputs, {total} faults in {seconds:.1f} s ({60 * total / seconds:.0f}/min)")
    print(", ".join(f"{count} {kind}" for kind, count in sorted(struck.items())))
    print(f"failed: {failed or 'none'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    with GARBAGE.left_alone():
        main()
