"""Measures `halter explore`: states and inputs a second, for the cart and for small WfSpecs in which rules meet.

python -m bench.explore [--states N]

It measures the core that is on the path: that of the checkout, or the compiled one.
"""

import argparse
import gc
import time
from pathlib import Path

from bench.figures import core_is_compiled
from halter.explore.inputs import Bounds
from halter.explore.samples import Given, samples_of
from halter.explore.search import Search
from halter.explore.subject import Subject, subject_of
from halter.files.definition_files import read_definition_files
from halter.files.scenario_document import read_scenario
from tests.support.small_specs import document_of

CART = Path(__file__).resolve().parent.parent / "examples" / "cart" / "cart.yaml"
SMALL = ("task-and-child", "any-with-losers", "timers")


def subjects() -> dict[str, Subject]:
    """Return the WfSpecs that are explored."""
    found = {"cart": subject_of([written.command for written in read_definition_files([CART])])}
    for name in SMALL:
        scenario, problems = read_scenario({**document_of(name), "steps": []}, lambda it: it)
        assert scenario is not None, problems
        found[name] = subject_of(scenario.definitions, limits=scenario.limits)
    return found


def main() -> None:
    """Print a line for each WfSpec."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--states", type=int, default=20_000)
    states = parser.parse_args().states
    print(f"core: {'compiled' if core_is_compiled() else 'Python'}")
    gc.disable()
    for name, subject in subjects().items():
        samples = samples_of(subject.spec, subject.context.definitions, Given())
        search = Search(subject, samples, Bounds(events=2, before=1, stops=1))
        began = time.process_time()
        covered = search.explore(states).covered
        seconds = time.process_time() - began
        rates = f"{covered.states / seconds:7,.0f} states/s, {covered.inputs / seconds:7,.0f} inputs/s"
        print(f"{name:20} {covered.states:7,} states, depth {covered.depth:2}: {rates}")


if __name__ == "__main__":
    main()
