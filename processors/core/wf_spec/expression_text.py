"""Writes expressions and mutations as text: `total >= 500 and not paid`, `total += INPUT`.

`expression_parser` reads it back to the same tree, as far as a document can hold that: BYTES and TIMESTAMP cannot stand
in one, and are written for people only. Diagrams have these texts, and the words for a thread that waits.
"""

import json
from typing import Final

from processors.core.records.names import INNER_NAME
from processors.core.records.spec import (
    Cast,
    Expression,
    Format,
    JsonPath,
    ListOf,
    Literal,
    Mutation,
    Operation,
    Operator,
    OutputRef,
    VariableRef,
)
from processors.core.records.values import Value, to_text
from processors.core.wf_spec.expression_parser import (
    BEFORE,
    CHAINED,
    COMPARED,
    IN_PLACE,
    LEVELS,
    NAME,
    NOT,
    OR,
    RESERVED,
    SIGNS,
)

_WHOLE: Final = 9
"""Binds tighter than any operator: what needs no brackets."""


def expression_text(expression: Expression) -> str:
    """Return an expression on one line."""
    return _text(expression, OR)


def mutation_text(mutation: Mutation) -> str:
    """Return a mutation on one line: what an edge does to a Variable."""
    target, value = _reference(mutation.variable, mutation.path), expression_text(mutation.value)
    sign = IN_PLACE.get(mutation.operator)
    return f"{BEFORE[mutation.operator]}({target}, {value})" if sign is None else f"{target} {sign} {value}"


def _text(expression: Expression, lowest: int) -> str:
    text, level = _written(expression)
    return f"({text})" if level < lowest else text


def _written(expression: Expression) -> tuple[str, int]:
    """Return the text of an expression, and how tightly it binds."""
    match expression:
        case Literal(value):
            return _literal(value), _WHOLE
        case VariableRef(name, path):
            return _reference(name, path), _WHOLE
        case OutputRef(node, path):
            name = node if INNER_NAME.fullmatch(node) else _quoted(node)
            return f"output({name}){_path(path)}", _WHOLE
        case Format(template, args):
            return f"format({', '.join([_quoted(template), *map(expression_text, args)])})", _WHOLE
        case Cast(operand, target):
            return f"cast({expression_text(operand)}, {target})", _WHOLE
        case ListOf(items):
            return f"[{', '.join(map(expression_text, items))}]", _WHOLE
        case Operation(Operator.NOT, (operand,)):
            return f"not {_text(operand, NOT)}", NOT
        case Operation(Operator.SIZE_OF, (operand,)):
            return f"size({expression_text(operand)})", _WHOLE
        case Operation(operator, operands):
            level = LEVELS[operator]
            first, *others = operands
            # a - b - c is (a - b) - c. A chain of one operator would be one operation; comparisons are not chained.
            continues = isinstance(first, Operation) and first.operator is operator and operator in CHAINED
            lowest = level + 1 if level == COMPARED or continues else level
            parts = [_text(first, lowest), *(_text(it, level + 1) for it in others)]
            return f" {SIGNS[operator]} ".join(parts), level


def _literal(value: Value) -> str:
    match value:
        case list():
            return f"[{', '.join(map(_literal, value))}]"
        case dict():
            return "{" + ", ".join(f"{_quoted(key)}: {_literal(it)}" for key, it in value.items()) + "}"
        case str():
            return _quoted(value)
        case _:
            return to_text(value)


def _reference(name: str, path: JsonPath | None) -> str:
    return (name if NAME.fullmatch(name) and name not in RESERVED else f"var({_quoted(name)})") + _path(path)


def _path(path: JsonPath | None) -> str:
    steps = () if path is None else path.steps
    return "".join(_step(step) for step in steps)


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if NAME.fullmatch(step) else f"[{_quoted(step)}]"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
