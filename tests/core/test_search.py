"""Every order of a few inputs, on small WfSpecs with tangles in them: no state in which a rule does not hold.

make search STATES=1000000      a long search, and what it covered
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from halter.scenarios.files import run_file
from processors.core.records.model import TRANSITIONS
from tests.support.checked_engine import checked
from tests.support.compiled_core import IS_COMPILED
from tests.support.search import Bounds, Found, Violation
from tests.support.search_pool import Outcome, SearchId, search_all
from tests.support.small_specs import NAMES, document_of

STATES = int(os.environ.get("HALTER_SEARCH_STATES", "60000" if IS_COMPILED else "15000"))
"""How many states all searches together look at, at most.

`make test` searches twice, in the same order: with the core as it is compiled, and the nearest of these states again
with that in Python, which takes longer for each."""
FOUND = Path(__file__).parent.parent / "scenarios" / "found"
"""The shortest way to what searches and properties once found."""


def _bounds(document: dict[str, Any]) -> list[Bounds]:
    """Narrow ones, which can be exhausted, and wide ones."""
    events = document["external_events"]
    return [
        Bounds(dict.fromkeys(events, 1), before=1, rescues=0),
        Bounds({name: 3 if name == "i" else 2 for name in events}, before=2, rescues=2),
    ]


@cache
def _outcomes() -> dict[SearchId, Outcome]:
    """What came of the searches of each WfSpec; prints what they covered."""
    documents = {name: document_of(name) for name in NAMES}
    tasks = {name: (document, _bounds(document)) for name, document in documents.items()}
    outcomes = search_all(tasks, STATES, os.cpu_count() or 1)
    for name in NAMES:
        print(f"{name}: each event once: {outcomes[name, 0]}; more: {outcomes[name, 1]}")
    found = [outcome for outcome in outcomes.values() if isinstance(outcome, Found)]
    states, commands, refused = (sum(getattr(it, name) for it in found) for name in ("states", "commands", "refused"))
    depth = max((covered.depth for covered in found), default=0)
    print(f"{len(NAMES)} WfSpecs: {states} states, {commands} commands, {refused} refused, depth up to {depth}")
    return outcomes


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", NAMES)
def test_no_order_of_inputs_breaks_a_rule(name: str) -> None:
    for (searched, _), outcome in _outcomes().items():
        if searched == name and isinstance(outcome, Violation):
            raise outcome


@pytest.mark.timeout(0)
def test_all_that_the_budget_allows_was_searched() -> None:
    found = [outcome for outcome in _outcomes().values() if isinstance(outcome, Found)]
    states = sum(covered.states for covered in found)
    assert states >= STATES or all(covered.exhausted for covered in found)


# (rule status-changes-are-a-table)
@pytest.mark.timeout(0)
def test_the_statuses_seen_are_the_table_of_transitions() -> None:
    seen = [outcome.transitions for outcome in _outcomes().values() if isinstance(outcome, Found)]
    assert set().union(*seen) == TRANSITIONS


@pytest.mark.parametrize("document", sorted(FOUND.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_was_found_once_is_not_so_any_more(document: Path) -> None:
    verdict = run_file(document, checked)
    assert verdict.ok, "\n".join([*map(str, verdict.problems), *verdict.log])
