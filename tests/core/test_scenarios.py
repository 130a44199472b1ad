"""Every scenario document of tests/scenarios, in memory, all invariants held; and every code of registration has one.

Which rules a document shows stands in its first line (docs/rules).
"""

from dataclasses import replace
from pathlib import Path

import pytest

from halter.files.scenario import Clock, Crash, Post, Report, Scenario, Step
from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import read_yaml
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import Verdict, judge_definitions, run
from processors.core.rules.context import Context
from processors.core.wf_spec.validate import CODES
from tests.support.checked_engine import checked

SCENARIOS = Path(__file__).parent.parent / "scenarios"
DOCUMENTS = sorted(SCENARIOS.glob("*.yaml"))

NOT_IN_A_DOCUMENT = {"DOCUMENT", "UPDATE_BREAKING", "UPDATE_FORBIDDEN"}
"""Codes that need what a document cannot say: text that is no JSON, and which updates are allowed."""


def _read(document: Path) -> Scenario:
    file = read_yaml(document)
    scenario, problems = read_scenario(file.data, lambda name: read_yaml(document.parent / name).data)
    assert scenario is not None, "; ".join(map(str, problems))
    return scenario


def _verdict(scenario: Scenario) -> Verdict:
    definitions, refused = register(scenario.definitions)
    engine = MemoryEngine(Context(definitions, scenario.limits), scenario.start_ms)
    return judge_definitions(scenario, refused) or run(scenario, engine, definitions)


def expect_ok(document: Path, verdict: Verdict) -> None:
    """Fail with what the document shows, by which rules, what was found, and all that happened."""
    if not verdict.ok:
        first, says, *_ = document.read_text(encoding="utf-8").splitlines()
        rules = f"{first.removeprefix('# ')} (docs/rules has each)"
        told = [f"tests/scenarios/{document.name}", says, rules, "", str(verdict.problem), "", *verdict.log]
        pytest.fail("\n".join(told), pytrace=False)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_what_the_document_says_is_so(document: Path) -> None:
    verdict = checked(_read(document))
    expect_ok(document, verdict)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_a_crash_before_each_step_changes_nothing(document: Path) -> None:
    scenario = _read(document)
    steps: list[Step] = []
    for step in scenario.steps:
        if isinstance(step.does, Post | Report | Clock):
            steps.append(Step(step.path, Crash(), step.round))
        steps.append(step)
    verdict = _verdict(replace(scenario, steps=steps))
    expect_ok(document, verdict)


def test_every_code_of_registration_has_a_document() -> None:
    codes = {document.stem.removeprefix("V24-") for document in DOCUMENTS if document.stem.startswith("V24-")}
    assert codes == set(CODES) - NOT_IN_A_DOCUMENT
