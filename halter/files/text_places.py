"""Finds the place of a problem inside an expression or a mutation that a file has as text, such as `{expr: a + b}`.

The problem's path leads into the tree that the text stands for; the parser says which character of the text that is. In
the file the text may be quoted, escaped or folded over lines, so the character is found there by counting those that
are not white: these are in both, in the same order.
"""

import re
from typing import TypeAlias

from processors.core.wf_spec.expression_forms import EXPRESSIONS
from processors.core.wf_spec.expression_parser import ExpressionTextProblem, parse_expression, parse_mutation

Step: TypeAlias = str | int
NO_TEXT = "EXPRESSION_TEXT"
"""The code of a text that is no expression and no mutation."""
_OF_MUTATIONS = ("var", "path", "op", "value")


def offset_in(text: str, leading: tuple[Step, ...], rest: tuple[Step, ...], code: str) -> int | None:
    """Return which character of a text a problem is with, from 0; None if it is with the whole.

    `leading` is the path to the text, and `rest` goes on from there into what the text stands for.
    """
    is_mutation = leading[-1:] == ("set",) or leading[-2:-1] == ("set",)
    if is_mutation and rest[:1] == (0,):
        rest = rest[1:]
    compiled = parse_mutation if is_mutation else parse_expression
    if rest:
        is_inside = rest[0] in (_OF_MUTATIONS if is_mutation else _OF_EXPRESSIONS)
    else:
        is_inside = is_mutation or code == NO_TEXT
    if not is_inside:
        return None
    try:
        return compiled(text).offset_of(rest)
    except ExpressionTextProblem as problem:
        return problem.offset


_OF_EXPRESSIONS = (*EXPRESSIONS, *range(1000))


def place_of(file: str, line: int, column: int, text: str, offset: int) -> tuple[int, int]:
    """Return line and column of a character of `text`, which is written in a file at a line and a column, from 1."""
    start = 0
    for _ in range(line - 1):
        start = file.index("\n", start) + 1
    position = _begin(file, start + column - 1)
    quote = file[position] if file[position] in "\"'" else ""
    units = _UNITS[quote].finditer(file, position + len(quote))
    before = sum(not it.isspace() for it in text[:offset])
    at = position + len(quote)
    for unit in units:
        if _is_white(unit.group()):
            continue
        at = unit.start()
        if before == 0:
            break
        before, at = before - 1, unit.end()
        if before == 0 and offset == len(text.rstrip()):
            break  # the end of the text
    return file.count("\n", 0, at) + 1, at - file.rfind("\n", 0, at)


def _begin(file: str, position: int) -> int:
    """Return where a scalar begins, behind its properties, and behind the first line of a block."""
    properties = _PROPERTIES.match(file, position)
    assert properties is not None
    return properties.end()


_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*(?:[|>][^\n]*\n)?")
_UNITS = {
    "": re.compile(r".", re.DOTALL),
    "'": re.compile(r"''|.", re.DOTALL),
    '"': re.compile(r"\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\U[0-9A-Fa-f]{8}|\\.|.", re.DOTALL),
}
"""What stands for one character in a file, by the quotation mark around the text."""


def _is_white(unit: str) -> bool:
    return unit.isspace() or (len(unit) == 2 and unit[0] == "\\" and (unit[1].isspace() or unit[1] in "ntr_NLP"))
