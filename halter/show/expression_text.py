"""Writes expressions, conditions and mutations as a person would: `total >= 500 and not paid`, `total += INPUT`.

Diagrams have them, and the words for a thread that waits for a condition. Nothing reads this text back;
`processors.core.wf_spec.writer` writes what is read. Knows the names of Variables, and no values.
"""

from typing import Final

from processors.core.records.spec import (
    Cast,
    Expression,
    Format,
    JsonPath,
    ListOf,
    Literal,
    Mutation,
    MutationOperator,
    Operation,
    Operator,
    OutputRef,
    VariableRef,
)
from processors.core.records.values import Value, ValueProblem, to_json, to_text

_OR, _AND, _NOT, _COMPARED, _SUM, _PRODUCT, _CAST, _WHOLE = range(8)
"""How tightly a form binds. A form that binds less tightly than the one around it is put in brackets."""

_BETWEEN: Final = {
    Operator.OR: ("or", _OR),
    Operator.AND: ("and", _AND),
    Operator.EQ: ("==", _COMPARED),
    Operator.NE: ("!=", _COMPARED),
    Operator.LT: ("<", _COMPARED),
    Operator.LE: ("<=", _COMPARED),
    Operator.GT: (">", _COMPARED),
    Operator.GE: (">=", _COMPARED),
    Operator.IN: ("in", _COMPARED),
    Operator.NOT_IN: ("not in", _COMPARED),
    Operator.ADD: ("+", _SUM),
    Operator.SUBTRACT: ("-", _SUM),
    Operator.MULTIPLY: ("*", _PRODUCT),
    Operator.DIVIDE: ("/", _PRODUCT),
}
_IN_PLACE: Final = {
    MutationOperator.ASSIGN: "=",
    MutationOperator.ADD: "+=",
    MutationOperator.SUBTRACT: "-=",
    MutationOperator.MULTIPLY: "*=",
    MutationOperator.DIVIDE: "/=",
    MutationOperator.POW: "**=",
}


def expression_text(expression: Expression) -> str:
    """An expression on one line."""
    return _text(expression, _OR)


def mutation_text(mutation: Mutation) -> str:
    """A mutation on one line: what an edge does to a Variable."""
    target = mutation.variable + _path_text(mutation.path)
    match mutation.operator:
        case MutationOperator.AND | MutationOperator.OR:
            word, level = ("and", _AND) if mutation.operator is MutationOperator.AND else ("or", _OR)
            return f"{target} = {target} {word} {_text(mutation.value, level)}"
        case MutationOperator.EXTEND:
            return f"extend {target} by {expression_text(mutation.value)}"
        case MutationOperator.REMOVE_IF_PRESENT:
            return f"remove {expression_text(mutation.value)} from {target}"
        case MutationOperator.REMOVE_INDEX:
            return f"remove {target}[{expression_text(mutation.value)}]"
        case MutationOperator.REMOVE_KEY:
            return f"remove key {expression_text(mutation.value)} from {target}"
        case _:
            return f"{target} {_IN_PLACE[mutation.operator]} {expression_text(mutation.value)}"


def _text(expression: Expression, place: int) -> str:
    text, level = _written(expression)
    return f"({text})" if level < place else text


def _written(expression: Expression) -> tuple[str, int]:
    """The text of an expression, and how tightly it binds."""
    match expression:
        case Literal(value):
            return _literal(value), _WHOLE
        case VariableRef(name, path):
            return name + _path_text(path), _WHOLE
        case OutputRef(node, path):
            return f"output({node}){_path_text(path)}", _WHOLE
        case Format(template, args):
            given = "".join(f", {expression_text(arg)}" for arg in args)
            return f"format({_literal(template)}{given})", _WHOLE
        case Cast(operand, target):
            return f"{_text(operand, _CAST + 1)} as {target}", _CAST
        case ListOf(items):
            return f"[{', '.join(expression_text(item) for item in items)}]", _WHOLE
        case Operation(Operator.NOT, (operand,)):
            return f"not {_text(operand, _NOT)}", _NOT
        case Operation(Operator.SIZE_OF, operands):
            return f"size({', '.join(expression_text(operand) for operand in operands)})", _WHOLE
        case Operation(operator, operands):
            word, level = _BETWEEN[operator]
            # a - b - c is (a - b) - c; comparisons are not chained.
            first = level + 1 if level == _COMPARED else level
            parts = [_text(operand, level + 1 if index else first) for index, operand in enumerate(operands)]
            return f" {word} ".join(parts), level if len(parts) > 1 else _OR


def _literal(value: Value) -> str:
    try:
        return to_json(value)
    except ValueProblem:  # BYTES, a TIMESTAMP: only in WfSpecs that were made by hand
        return to_text(value)


def _path_text(path: JsonPath | None) -> str:
    return "" if path is None else str(path)[1:]
