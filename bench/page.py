"""Puts tables into docs/performance.md, between marks that name them, with machine, versions and date."""

import re
from pathlib import Path

from bench.figures import circumstances, commit_of, in_words
from tests.support.machine import Machine

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


def circumstances_in_words(command: str, former: Path | None, minutes: float) -> str:
    """Return a sentence on when, on what, and from which code a table was computed."""
    now = circumstances()
    versions = in_words(f"{name} {number}" for name, number in now["versions"].items())
    before = f"; the former code is commit {commit_of(former)}" if former else ""
    return (
        f"{now['date']}, commit {now['commit']}, `{command}` in {minutes:.0f} minutes{before}; {Machine()}; "
        f"{versions}; the core {now['core']}. Broker, worker and whoever measures share the machine."
    )


def write(named: str, sentence: str, table: str) -> None:
    """Put a table in place of the one between the marks with this name."""
    begin, end = f"<!-- {named}: computed -->", f"<!-- {named}: end -->"
    marked = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(marked.sub(lambda _: f"{begin}\n\n{sentence}\n\n{table}\n\n{end}", text), encoding="utf-8")
