"""Every order of a few inputs, on small WfSpecs with knots in them: no state in which a rule does not hold.

make search STATES=1000000      a long search, and what it covered
"""

import os
from functools import cache
from pathlib import Path

import pytest

from halter.scenarios.files import run_file
from processors.core.model import TRANSITIONS
from tests.support.search import Bounds, Found, Violation
from tests.support.search_pool import Outcome, search_all
from tests.support.small_specs import NAMES, document_of

STATES = int(os.environ.get("HALTER_SEARCH_STATES", "100000"))
"""How many states all searches together look at, at most."""
FOUND = Path(__file__).parent.parent / "scenarios" / "found"
"""The shortest way to what searches and properties once found."""


def _bounds(document: dict[str, object]) -> Bounds:
    external_events = document["external_events"]
    assert isinstance(external_events, dict)
    return Bounds({name: 3 if name == "i" else 2 for name in external_events})


@cache
def _outcomes() -> dict[str, Outcome]:
    """What came of the search of each WfSpec; prints what was covered."""
    documents = {name: document_of(name) for name in NAMES}
    searches = {name: (document, _bounds(document)) for name, document in documents.items()}
    outcomes = search_all(searches, STATES, os.cpu_count() or 1)
    found = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Found)}
    for name, covered in found.items():
        print(f"{name}: {covered}")
    states, commands, refused = (
        sum(getattr(covered, name) for covered in found.values()) for name in ("states", "commands", "refused")
    )
    depth = max((covered.depth for covered in found.values()), default=0)
    print(f"{len(found)} WfSpecs: {states} states, {commands} commands, {refused} refused, depth up to {depth}")
    return outcomes


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", NAMES)
def test_no_order_of_inputs_breaks_a_rule(name: str) -> None:
    outcome = _outcomes()[name]
    if isinstance(outcome, Violation):
        raise outcome


@pytest.mark.timeout(0)
def test_all_that_the_budget_allows_was_searched() -> None:
    found = [outcome for outcome in _outcomes().values() if isinstance(outcome, Found)]
    states = sum(covered.states for covered in found)
    assert states >= STATES - len(NAMES) or all(covered.exhausted for covered in found)


@pytest.mark.timeout(0)
def test_the_statuses_seen_are_the_table_of_transitions() -> None:
    seen = [outcome.transitions for outcome in _outcomes().values() if isinstance(outcome, Found)]
    assert set().union(*seen) == TRANSITIONS


@pytest.mark.parametrize("document", sorted(FOUND.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_was_found_once_is_not_so_any_more(document: Path) -> None:
    verdict = run_file(document)
    assert verdict.ok, "\n".join([*map(str, verdict.problems), *verdict.log])
