"""docs/wf-spec.md and docs/scenarios.md agree with the code."""

import re
import runpy
from pathlib import Path

import pytest

from halter.files.definition_files import check_files
from halter.files.scenario_document import _EXPECT_FIELDS, _STEPS, _THREAD_FIELDS, SCENARIO_FIELDS
from halter.scenarios.files import run_file
from processors.core.records.failures import HAPPENING, UMBRELLAS
from processors.core.records.spec import MutationOperator
from processors.core.wf_spec.expression_forms import EXPRESSIONS
from processors.core.wf_spec.reader import _KINDS
from processors.core.wf_spec.validate import check_document

PAGE = Path(__file__).parents[2] / "docs" / "wf-spec.md"
SCENARIOS_PAGE = PAGE.with_name("scenarios.md")


def test_the_diagram_and_the_table_of_codes_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["wf_spec_codes.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PAGE.with_name("wf_spec_codes.py")), run_name="__main__")
    assert ended.value.code == 0


def test_the_examples_are_valid_together(tmp_path: Path):
    wf_spec, definitions = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "cart.yaml").write_text(wf_spec)
    (tmp_path / "all.yaml").write_text(definitions)
    (checked,) = check_files([tmp_path / "all.yaml"])
    assert [*map(str, checked.problems), *map(str, checked.hints)] == []
    assert [found.name for found in checked.wf_specs] == ["cart"]


def test_the_scenario_on_the_other_page_holds_for_the_example(tmp_path: Path):
    wf_spec, _ = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (scenario,) = re.findall(r"```yaml\n(.*?)```", SCENARIOS_PAGE.read_text(), re.DOTALL)
    (tmp_path / "cart.yaml").write_text(wf_spec)
    (tmp_path / "cart-test.yaml").write_text(scenario)
    verdict = run_file(tmp_path / "cart-test.yaml")
    assert verdict.ok, [*map(str, verdict.problems), *verdict.log]


def test_every_step_and_expectation_is_on_its_page():
    text = SCENARIOS_PAGE.read_text()
    words = {*_STEPS, "repeat", *SCENARIO_FIELDS, *_EXPECT_FIELDS, *_THREAD_FIELDS}
    assert [word for word in sorted(words) if not re.search(rf"`{word}\b", text)] == []


def test_everything_that_can_be_written_is_on_the_page():
    text = PAGE.read_text()
    words = {*_KINDS, *EXPRESSIONS, *MutationOperator, *(field for form in _KINDS.values() for field in form.fields)}
    assert [word for word in sorted(words) if not re.search(rf"\b{word}\b", text)] == []


NAME_OF_A_FAILURE = re.compile(r"\b(?:[A-Z]+_)*(?:ERROR|FAILED|FAILURE|TIMEOUT|CANCELLED)\b")
SCENARIOS = Path(__file__).parents[1] / "scenarios"


def test_the_failures_that_are_offered_for_catching_are_those_that_happen():
    nodes = {
        "a": {"kind": "ENTRYPOINT", "next": "b", "on_failure": [{"handler": "main", "catch": "no such!"}]},
        "b": {"kind": "EXIT"},
    }
    document = {"name": "w", "entrypoint": "main", "threads": {"main": {"nodes": nodes}}}
    _, problems = check_document(document, None)
    (problem,) = [problem for problem in problems if problem.code == "FAILURE_NAME_INVALID"]
    offered = set(NAME_OF_A_FAILURE.findall(problem.message)) - {"ERROR"}
    (on_the_page,) = re.findall(r"one of the engine's \((.*?)\)", PAGE.read_text(), re.DOTALL)
    assert offered == set(NAME_OF_A_FAILURE.findall(on_the_page)) == HAPPENING
    written = "".join(path.read_text() for path in SCENARIOS.glob("*.yaml"))
    shown = {name for name in HAPPENING if f"name: {name}" in written}
    assert shown | UMBRELLAS.keys() == HAPPENING, "each is the name of a failure in a scenario"
