"""Every scenario document of tests/scenarios, in memory, all invariants held; and every rule of SEMANTICS has one.

A document's name begins with the row that it proves. The rows and what they say are the table of tests/README.md; a
row of `CODES` is one registration rule.
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from halter.files.scenario_document import Clock, Crash, Put, Report, Scenario, Step, read_scenario
from halter.files.yaml_files import read_yaml
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import Verdict, judge_definitions, run
from processors.core.rules.context import Context
from processors.core.wf_spec.validate import CODES
from tests.support.checked_engine import checked

SCENARIOS = Path(__file__).parent.parent / "scenarios"
DOCUMENTS = sorted(SCENARIOS.glob("*.yaml"))
TABLE = (SCENARIOS.parent / "README.md").read_text(encoding="utf-8")

CATALOGUE = {"": 8, "N": 18, "I": 23, "C": 12, "X": 15, "F": 37, "E": 12, "V": 24}
"""Letter of a row -> the highest number."""
OUT_OF_SCOPE = {
    *("I23", "E08", "E10", "E11", "E12", "V08", "V17", "V18", "V22", "V23"),
    # SEMANTICS left these numbers out: they needed nothing that other rows do not show.
    *("I13", "I14", "I19", "I20", "I22", "C04", "C05", "C06", "C09", "C10", "X06", "X09"),
    *("F11", "F14", "F19", "F23", "F24", "F25", "F26", "F36", "E05", "E09"),
}
SECTIONS = {"S1.2", "S1.3", "S2.1", "S2.2", "S2.3", "S2.4", "S2.5", "S2.6", "S3.1", "S3.2", "S3.3"} | {
    *("S4.1", "S4.2", "S4.3", "S4.4", "S4.5", "S4.6", "S5", "S7")
}
NOT_IN_A_DOCUMENT = {"DOCUMENT", "UPDATE_BREAKING", "UPDATE_FORBIDDEN"}
"""Codes that need what a document cannot say: text that is no JSON, and which updates are allowed."""


def _row_of(document: Path) -> str:
    if document.stem.startswith("V24-"):
        return document.stem
    return document.stem.split("-", 1)[0]


def _rows_of_the_table() -> dict[str, list[str]]:
    """Row -> the documents that the table names for it."""
    rows: dict[str, list[str]] = {}
    for row, files in re.findall(r"^\| ([\w.-]+) \|.*\| (\[.*\)) \|$", TABLE, re.MULTILINE):
        rows[row] = re.findall(r"\]\(scenarios/([^)]+)\.yaml\)", files)
    return rows


def _read(document: Path) -> Scenario:
    file = read_yaml(document)
    scenario, problems = read_scenario(file.data, lambda name: read_yaml(document.parent / name).data)
    assert scenario is not None, "; ".join(map(str, problems))
    return scenario


def _verdict(scenario: Scenario) -> Verdict:
    definitions, refused = register(scenario.definitions)
    engine = MemoryEngine(Context(definitions, scenario.limits), scenario.start_ms)
    return judge_definitions(scenario, refused) or run(scenario, engine, definitions)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_what_the_document_says_is_so(document: Path) -> None:
    verdict = checked(_read(document))
    assert verdict.ok, "\n".join([str(verdict.problem), *verdict.log])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_a_crash_before_each_step_changes_nothing(document: Path) -> None:
    scenario = _read(document)
    steps: list[Step] = []
    for step in scenario.steps:
        if isinstance(step.does, Put | Report | Clock):
            steps.append(Step(step.path, Crash(), step.round))
        steps.append(step)
    verdict = _verdict(replace(scenario, steps=steps))
    assert verdict.ok, "\n".join([str(verdict.problem), *verdict.log])


def test_every_row_in_scope_has_a_document() -> None:
    rows = {f"{letter}{number:02}" for letter, highest in CATALOGUE.items() for number in range(1, highest + 1)}
    codes = {f"V24-{code}" for code in CODES if code not in NOT_IN_A_DOCUMENT}
    assert {_row_of(document) for document in DOCUMENTS} == (rows - OUT_OF_SCOPE - {"V24"}) | SECTIONS | codes


def test_the_table_names_every_row_and_every_document() -> None:
    by_row: dict[str, list[str]] = {}
    for document in DOCUMENTS:
        by_row.setdefault(_row_of(document), []).append(document.stem)
    assert _rows_of_the_table() == by_row
