"""A problem of a document that people write, and the place where it is.

Whoever looks at a document collects all its problems, up to PROBLEMS_MAX, so that its author sees them at once.
"""

import json
import re
from dataclasses import dataclass
from typing import TypeAlias

PROBLEMS_MAX = 1000
"""The most problems that the reader looks for, and again the validation: nobody reads more, and each takes time to find
and to tell.
"""
MESSAGE_LENGTH_MAX = 1000
"""Longest sentence of a problem: all that is wrong with a document has to fit into one record."""
PATH_LENGTH_MAX = 400
"""Longest text of a problem's place, for the same reason."""
STEP_LENGTH_MAX = 80
"""Longest key in the text of a place."""

Path: TypeAlias = tuple[str | int, ...]
"""A place in a document: keys and indexes from the top."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    """One thing that is wrong with a document, and where. The author of the document should act.

    The sentence is cut at MESSAGE_LENGTH_MAX: it may quote names of the document, and those may be of any length.
    """

    code: str
    path: Path
    message: str

    def __post_init__(self) -> None:
        if len(self.message) > MESSAGE_LENGTH_MAX:
            object.__setattr__(self, "message", self.message[: MESSAGE_LENGTH_MAX - 1] + "…")

    def __str__(self) -> str:
        return f"{path_text(self.path)}: {self.message}"


def path_text(path: Path) -> str:
    """`threads.main.nodes.pay.next[0].set[1].op`; an unusual key is written `["as this"]`, a long one is cut."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        key = step if len(step) <= STEP_LENGTH_MAX else step[: STEP_LENGTH_MAX - 1] + "…"
        if _PLAIN_KEY.fullmatch(step):
            text += f".{key}" if text else key
        else:
            text += f"[{json.dumps(key, ensure_ascii=False)}]"
    if len(text) > PATH_LENGTH_MAX:
        text = text[: PATH_LENGTH_MAX - 1] + "…"
    return text or "document"


class EnoughProblems(Exception):
    """PROBLEMS_MAX problems are found; never leaves the core."""


def report_to(problems: list[DocumentProblem], problem: DocumentProblem) -> None:
    """Note a problem; raises EnoughProblems if there are as many as anybody looks for."""
    problems.append(problem)
    if len(problems) >= PROBLEMS_MAX:
        raise EnoughProblems
