"""The parts of the docs that are made from code are current."""

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("transitions.py", id="the diagram of ThreadRuns is the table in the code"),
        pytest.param("house.py", id="the table of rooms is that of the imports, which have no circle"),
    ],
)
def test_what_is_made_from_code_is_current(script: str) -> None:
    checked = subprocess.run([sys.executable, DOCS / script, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
