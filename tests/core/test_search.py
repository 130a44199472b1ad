"""Every order of a few inputs, on small WfSpecs with knots in them: no state in which a rule does not hold.

HALTER_SEARCH_STATES=100000 pytest tests/core/test_search.py -rP      a long search, and what it covered
"""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from halter.scenarios.files import run_file
from processors.core.model import TRANSITIONS
from tests.support.search import Bounds, Found, Search
from tests.support.small_specs import NAMES, document_of

STATES = int(os.environ.get("HALTER_SEARCH_STATES", "500"))
"""How many each search looks at, at most: all that is within its bounds, or the nearest."""
SEARCHES = {
    "an interrupt twice": (2, Bounds()),
    "a stop": (1, Bounds(stops=1)),
    "a failure": (1, Bounds(failures=1)),
    "a stop and a failure": (1, Bounds(stops=1, failures=1)),
    "a failure and a rescue": (1, Bounds(failures=1, rescues=1)),
    "events before the WfRun": (1, Bounds(before=2)),
}
"""What comes besides every ExternalEvent once, reports and timers; how often `i` comes."""
FOUND = Path(__file__).parent.parent / "scenarios" / "found"
"""The shortest way to what searches and properties once found."""


@cache
def covered_by(name: str) -> list[Found]:
    """What the searches of one WfSpec covered; raises Violation."""
    found = []
    for what, (times, bounds) in SEARCHES.items():
        document = document_of(name)
        events = tuple((event, times if event == "i" else 1) for event in document["external_events"])
        covered = Search(document, replace(bounds, events=events, timers=6)).explore(STATES)
        found.append(covered)
        extent = "all" if covered.exhausted else "the nearest"
        print(f"{name}, {what}: {extent} {covered.states} states, {covered.commands} commands, depth {covered.depth}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_no_order_of_inputs_breaks_a_rule(name: str) -> None:
    assert sum(covered.states for covered in covered_by(name)) > 50


def test_the_statuses_seen_are_the_table_of_transitions() -> None:
    seen = [covered.transitions for name in NAMES for covered in covered_by(name)]
    assert set().union(*seen) == TRANSITIONS


@pytest.mark.parametrize("document", sorted(FOUND.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_was_found_once_is_not_so_any_more(document: Path) -> None:
    verdict = run_file(document)
    assert verdict.ok, "\n".join([*map(str, verdict.problems), *verdict.log])
