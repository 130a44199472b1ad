"""Runs pytest in a process of its own, in a folder as users have it."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CART = ROOT / "examples" / "cart"
PAGE = ROOT / "docs" / "testing.md"


def blocks_of_page() -> dict[str, str]:
    """Return the files on the page about testing: their first line is their name."""
    return dict(
        re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    )


def run_pytest(folder: Path, *options: str, **variables: str) -> str:
    """Run pytest in a folder, without the settings of this checkout. Return what it prints."""
    left_out = ("PYTEST", "HALTER_BOOTSTRAP")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    more = {"COLUMNS": "100", "NO_COLOR": "1", **variables}
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, timeout=170, env={**environment, **more}
    )
    return ended.stdout + ended.stderr
