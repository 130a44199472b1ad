"""The docs that are drawn from code say what the code says."""

import subprocess
import sys
from pathlib import Path


def test_the_diagram_of_thread_runs_is_the_table_in_the_code():
    script = Path(__file__).parents[2] / "docs" / "transitions.py"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
