"""A copy of this checkout in which one line of a rule is another, as somebody's change would be."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("halter", "processors", "schemas", "topics.yaml", "halter_kafka.py", "pyproject.toml")
HALTS_WITH_A_TASK_OUT = (
    "processors/core/rules/halting.py",
    "Status.HALTING and not thread.task_out and nothing_moves_below",
    "Status.HALTING and nothing_moves_below",
)
"""A change of the rule still-before-halted: a thread is HALTED while its task is with a task worker."""


def copy_with_a_change(folder: Path, module: str, before: str, after: str) -> Path:
    """Copy what runs, and change a line of a module. The line must be there once."""
    for name in PACKAGES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    changed = folder / module
    text = changed.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{module} has it {text.count(before)} times"
    changed.write_text(text.replace(before, after), encoding="utf-8")
    return folder
