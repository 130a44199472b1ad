"""Golden logs: what happens in the use cases, line by line, as a reviewer reads it.

A change of rules changes them, and the change is read in the review; HALTER_WRITE_GOLDEN=1 writes them anew. What a
released event means never changes: see the state at their end.
"""

import os
from pathlib import Path

import pytest

from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import read_yaml
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import run
from processors.core.rules.context import Context
from tests.support.log_text import golden_log

TESTS = Path(__file__).parent.parent
USE_CASES = {
    "address-change": "01-update-contact-info",
    "handler-fails": "02-handler-fails",
    "cart": "03-interrupt-with-a-running-task",
    "parcels": "04-interrupt-with-children",
    "heartbeats": "05-heartbeats-latest",
    "kill-with-clean-up": "06-kill-with-cleanup",
    "duplicate-event": "07-duplicate-event-id",
    "timer": "08-timer-under-an-interrupt",
}
"""Golden log -> the scenario that it is the log of."""


@pytest.mark.parametrize("name", USE_CASES)
def test_the_use_case_has_the_log_that_was_reviewed(name: str) -> None:
    document = read_yaml(TESTS / "scenarios" / f"{USE_CASES[name]}.yaml").data
    scenario, problems = read_scenario(document, lambda file: file)
    assert scenario is not None, problems
    definitions, refused = register(scenario.definitions)
    assert not refused, refused
    engine = MemoryEngine(Context(definitions, scenario.limits), scenario.start_ms)
    verdict = run(scenario, engine, definitions)
    assert verdict.ok, verdict.problem
    golden = TESTS / "golden" / f"{name}.log"
    log = golden_log(engine)
    if os.environ.get("HALTER_WRITE_GOLDEN"):
        golden.write_text(log, encoding="utf-8")
    assert log == golden.read_text(encoding="utf-8")


def test_every_golden_log_is_of_a_use_case() -> None:
    assert {path.stem for path in (TESTS / "golden").glob("*.log")} == set(USE_CASES)
