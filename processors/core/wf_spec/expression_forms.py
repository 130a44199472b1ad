"""The forms of expressions in a document and their bounds, which the reader, the writer and the text form share."""

from typing import Final

from processors.core.records.spec import Expression, ListOf, Literal, Operator

EXPRESSION_DEPTH_MAX: Final = 32
PATH_STEPS_MAX: Final = 32
INDEX_DIGITS_MAX: Final = 9
OPERANDS_MAX: Final = 1000

OPERANDS: Final[dict[Operator, tuple[int, int]]] = {
    **dict.fromkeys(Operator, (2, 2)),
    **dict.fromkeys((Operator.AND, Operator.OR, Operator.ADD, Operator.MULTIPLY), (2, OPERANDS_MAX)),
    **dict.fromkeys((Operator.NOT, Operator.SIZE_OF), (1, 1)),
}
"""Operator -> the fewest and the most operands that it takes."""

TEXT: Final = "expr"
"""The key of an expression that is written as text."""
EXPRESSIONS: Final[dict[str, tuple[str, ...]]] = {
    "var": ("path",),
    "output": ("path",),
    "literal": (),
    "format": ("args",),
    "cast": (),
    **{operator.value: () for operator in Operator},
    TEXT: (),
}
"""The key that makes a mapping an expression -> the keys that may stand beside it."""


def list_of(items: tuple[Expression, ...]) -> Expression:
    """Return a list of expressions: a literal if all of them are."""
    if all(isinstance(item, Literal) for item in items):
        return Literal([item.value for item in items if isinstance(item, Literal)])
    return ListOf(items)
