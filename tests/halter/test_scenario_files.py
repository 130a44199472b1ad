"""Scenario documents name definitions: files, and Workflows in Python. Every problem is told where it is."""

from pathlib import Path

import pytest

from halter.scenarios.files import FileVerdict, run_file
from tests.support.command_line import halter

CART = Path(__file__).parents[2] / "examples" / "cart"
STEPS = """
steps:
  - run: {id: w1, spec: cart, variables: {customer: Ann, card: card-1}}
  - event: {wf: w1, name: slot-chosen, id: e1, content: tomorrow}
  - event: {wf: w1, name: checkout, id: e2}
  - report: {wf: w1, thread: 0, status: SUCCESS, output: receipt-1}
  - expect: {wf: w1, status: COMPLETED, threads: {0: {output: receipt-1}}}
"""
NAP = "name: nap\nentrypoint: main\nthreads: {main: {nodes: {a: {kind: ENTRYPOINT, next: b}, b: {%s}}}}\n"
REST = NAP % "kind: TASK, task: rest, next: c}, c: {kind: EXIT"
ABSENT = "name: nothing runs\nsteps: [{expect: {wf: w, status: ABSENT}}]\n"


def verdict(folder: Path, text: str) -> FileVerdict:
    """Run a document that stands in a folder."""
    file = folder / "a.scenario.yaml"
    file.write_text(text)
    return run_file(file)


def problem(folder: Path, text: str) -> str:
    """Return the only problem of a document, with the names of files as they are from its folder."""
    (found,) = verdict(folder, text).problems
    return str(found).replace(f"{folder}/", "")


@pytest.mark.parametrize("source", ["cart.yaml", "workflow.py:workflow"])
def test_a_scenario_may_name_its_definitions(tmp_path: Path, source: str) -> None:
    one = verdict(tmp_path, f"name: a cart\ndefinitions: {CART / source}\n{STEPS}")
    assert (one.ok, one.steps) == (True, 5), one.problems


def test_files_are_looked_for_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "cart.yaml").write_text((CART / "cart.yaml").read_text())
    assert verdict(tmp_path, f"name: a cart\ndefinitions: [cart.yaml]\n{STEPS}").ok


def test_several_sources_and_the_document_itself_are_one_set_whatever_their_order(tmp_path: Path) -> None:
    (tmp_path / "nap.yaml").write_text(REST)
    (tmp_path / "other.yaml").write_text(NAP.replace("name: nap", "name: other") % "kind: EXIT")
    assert verdict(tmp_path, f"definitions: [nap.yaml, other.yaml]\ntasks: {{rest: {{}}}}\n{ABSENT}").ok


def test_a_step_defines_what_a_file_says(tmp_path: Path) -> None:
    (tmp_path / "nap.yaml").write_text(NAP % "kind: EXIT")
    steps = "- define: {definitions: nap.yaml}\n- run: {id: w, spec: nap}\n- expect: {wf: w, status: COMPLETED}\n"
    assert verdict(tmp_path, f"name: a nap\nsteps:\n{steps}").ok


def test_what_is_wrong_in_a_file_that_is_named_is_told_at_its_line_there(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("external_events:\n  x: {type: WORD}\n")
    assert problem(tmp_path, f"definitions: bad.yaml\n{ABSENT}").startswith(
        "bad.yaml:2:7: external_events.x.type: expected"
    )
    (tmp_path / "nap.yaml").write_text(REST)
    refused = problem(tmp_path, f"definitions: nap.yaml\n{ABSENT}")
    assert refused.startswith("nap.yaml:3:")
    assert "the definitions are refused" in refused
    assert "TASKDEF_MISSING" in refused


def test_a_name_that_is_defined_twice_differently_is_a_mistake(tmp_path: Path) -> None:
    text = f"definitions: {CART / 'cart.yaml'}\nexternal_events:\n  checkout: {{type: STR}}\n{ABSENT}"
    sentence = (
        f"a.scenario.yaml:3:3: ExternalEventDef checkout is defined twice, differently: {CART / 'cart.yaml'}:15:3"
    )
    assert problem(tmp_path, text) == sentence


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ("cart.yaml", "cart.yaml: there is no such file"),
        ("5", "definitions: expected the name of a file of definitions, or MODULE:NAME of a Workflow, found 5"),
        (
            f"{CART}/workflow.py",
            f"expected the name of a Workflow behind a module, as in {CART}/workflow.py:workflow, found",
        ),
        (
            f"{CART}/workflow.py:workfolw",
            f"expected a Workflow under the name 'workfolw' in {CART}/workflow.py, found nothing (did",
        ),
        ("no_such_shop.workflows:cart", "expected a module 'no_such_shop.workflows' in"),
    ],
)
def test_a_name_of_no_definitions_is_told_where_it_stands(tmp_path: Path, named: str, sentence: str) -> None:
    told = problem(tmp_path, f"start: 2026-01-01\ndefinitions: {named}\n{ABSENT}")
    assert told.startswith("a.scenario.yaml:2:")
    assert sentence in told


def test_the_command_runs_scenarios_that_name_definitions(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"name: a cart\ndefinitions: {CART / 'cart.yaml'}\n{STEPS}")
    assert halter(capsys, "scenario", "run", str(tmp_path / "a.yaml"))[:2] == (0, f"ok      {tmp_path / 'a.yaml'}\n")


def test_the_scenario_of_the_cart_is_as_it_expects() -> None:
    assert run_file(CART / "cart.scenario.yaml").problems == ()
