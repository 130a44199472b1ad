"""Finds the tokens of a JSON text, each with its line and column.

Python's `json` quickly says if a text is JSON, but not where its values are; this module does. If a text is no JSON, it
says what stands where `json` stopped.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn


class Token(NamedTuple):
    """A bracket, a scalar as it is written, or a text with its quotation marks. Line and column from 1."""

    text: str
    line: int
    column: int


def is_json(text: str) -> bool:
    """Return True if a text is standard JSON that Python can read: not too deep, and no number with too many digits."""
    try:
        json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return False
    return True


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text that is JSON. Commas and colons are left out: the order of the others says as much."""
    line, line_start = 1, 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "line":
            line, line_start = line + 1, match.end()
        else:
            yield Token(match.group(), line, match.start() - line_start + 1)


def found_at(text: str, position: int) -> str:
    """Words for what stands at a position, counted from 0, of a text that is no JSON, and for where that is."""
    before = text[:position]
    line, column = before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1
    if not text[position:].strip():
        what = "its end"
    elif text[position] == '"' and not _CLOSED.match(text, position):
        what = "a quotation mark that is not closed"
    else:
        what = repr(text[position])
    place = f"line {line}, column {column}" if "\n" in text else f"column {column}"
    return f"{what} at {place}"


_CLOSED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_TOKEN = re.compile(r'(?P<line>\r\n|\n|\r)|(?P<token>"(?:[^"\\]|\\.)*"|[][{}]|[^][{}",:\s]+)')
