"""The examples: what stands there twice is the same, and their scenarios hold."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from halter.files.definition_files import read_definition_file
from halter.scenarios.files import run_file
from tests.halter.test_workflow import ran, said

EXAMPLES = Path(__file__).parents[2] / "examples"
WRITTEN_TWICE = ["kill-and-clean-up/order.yaml", "heartbeats/token.yaml"]


@pytest.mark.parametrize("file", WRITTEN_TWICE)
def test_a_workflow_is_the_same_in_python_and_in_yaml(file: str) -> None:
    path = EXAMPLES / file
    made = ran(path.with_name("workflow.py").read_text(encoding="utf-8"))
    assert said(made.commands()) == said(read_definition_file(path).commands)


@pytest.mark.parametrize(
    "scenario", sorted(it.relative_to(EXAMPLES) for it in EXAMPLES.rglob("*.scenario.yaml")), ids=str
)
def test_the_scenario_of_an_example_holds(scenario: Path) -> None:
    verdict = run_file(EXAMPLES / scenario)
    assert verdict.ok, [*map(str, verdict.problems), *verdict.log]


@pytest.mark.parametrize("file", WRITTEN_TWICE)
def test_the_tests_of_an_example_pass_in_its_folder(file: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--rootdir",
        ".",
        "--config-file",
        os.devnull,
        "-p",
        "no:cacheprovider",
    ]
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent)}
    folder = (EXAMPLES / file).parent
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
