"""Writes pages that are made in part of what the code says, and checks that they still are what it says.

A program for such a page has one function, which returns the text that the page should have. `write_or_check` does the
rest. Knows pages and marks; the programs know what the code says.
"""

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def between(text: str, begin: str, end: str, *parts: str) -> str:
    """Return a text with parts in place of what stands between pairs of marks. Raises ValueError if it has others."""
    before, *rest = text.split(begin)
    filled = [before]
    for part, behind in zip(parts, rest, strict=True):
        _, after = behind.split(end)
        filled.append(f"{begin}{part}{end}{after}")
    return "".join(filled)


def write_or_check(program: str, page: Path, made: Callable[[str], str]) -> int:
    """Write a page, or with --check, say on stderr if it is another one. Return the exit code of the program."""
    text = page.read_text(encoding="utf-8")
    wanted = made(text)
    if "--check" not in sys.argv[1:]:
        page.write_text(wanted, encoding="utf-8")
        return 0
    if text == wanted:
        return 0
    told = [it.resolve().relative_to(ROOT) for it in (page, Path(program))]
    print(f"{told[0]} is not what the code says: run `python {told[1]}`", file=sys.stderr)
    return 1
