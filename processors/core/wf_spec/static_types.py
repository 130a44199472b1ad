"""The type that an expression will have, as far as it can be known before the expression is evaluated.

A type is a VariableType, or None where it is not known: for null, and for a value that a JSON path leads to. An unknown
type passes here and is checked when the expression is evaluated. The tables below say what `expressions` computes.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from processors.core.records.spec import (
    Cast,
    Expression,
    Format,
    JsonPath,
    ListOf,
    Literal,
    MutationOperator,
    Operation,
    Operator,
    OutputRef,
    VariableRef,
)
from processors.core.records.values import VariableType, castable, type_of
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.expressions import template_parts

Type: TypeAlias = VariableType | None
Report: TypeAlias = Callable[[str, Path, str], None]
"""A function that takes a problem: code, place, sentence."""
Lookup: TypeAlias = Callable[[str, Path], Type]
"""A function that returns the type of a Variable, or of a node's output, by name, and reports if there is none."""

_INT, _DOUBLE, _STR, _BOOL = VariableType.INT, VariableType.DOUBLE, VariableType.STR, VariableType.BOOL
_BYTES, _TIMESTAMP = VariableType.BYTES, VariableType.TIMESTAMP
_JSON_OBJ, _JSON_ARR = VariableType.JSON_OBJ, VariableType.JSON_ARR
_NUMBERS = (_INT, _DOUBLE)
_PRIMITIVES = (_INT, _DOUBLE, _BOOL, _STR, _TIMESTAMP)
IN_JSON = (_INT, _DOUBLE, _BOOL, _STR, _JSON_OBJ, _JSON_ARR)
"""The types that JSON can hold."""

_Results: TypeAlias = dict[tuple[VariableType, VariableType], VariableType]


def _pairs(left: Iterable[VariableType], right: Iterable[VariableType], result: VariableType) -> _Results:
    rights = tuple(right)
    return {(one, other): result for one in left for other in rights}


_ARITHMETIC: _Results = {**_pairs(_NUMBERS, _NUMBERS, _DOUBLE), (_INT, _INT): _INT}
_JOINING: _Results = {**_pairs([_STR], _PRIMITIVES, _STR), (_BYTES, _BYTES): _BYTES}
_ADDING: _Results = {**_ARITHMETIC, **_JOINING, (_TIMESTAMP, _INT): _TIMESTAMP}
_SUBTRACTING: _Results = {**_ARITHMETIC, (_TIMESTAMP, _INT): _TIMESTAMP, (_TIMESTAMP, _TIMESTAMP): _INT}
_ORDERING: _Results = {
    **_pairs(_NUMBERS, _NUMBERS, _BOOL),
    (_STR, _STR): _BOOL,
    (_TIMESTAMP, _TIMESTAMP): _BOOL,
}
_CONTAINING: _Results = {
    **_pairs(VariableType, [_JSON_ARR], _BOOL),
    **_pairs([_STR], [_JSON_OBJ, _STR], _BOOL),
}
_DECIDING: _Results = {(_BOOL, _BOOL): _BOOL}
_COMPARING: _Results = _pairs(VariableType, VariableType, _BOOL)

_OF_OPERATOR: dict[Operator | MutationOperator, tuple[_Results, str]] = {
    Operator.EQ: (_COMPARING, "any two values"),
    Operator.NE: (_COMPARING, "any two values"),
    **dict.fromkeys(
        (Operator.LT, Operator.LE, Operator.GT, Operator.GE),
        (_ORDERING, "two numbers, two STR or two TIMESTAMP"),
    ),
    **dict.fromkeys(
        (Operator.IN, Operator.NOT_IN), (_CONTAINING, "an item and a JSON_ARR, or STR and a JSON_OBJ or STR")
    ),
    Operator.AND: (_DECIDING, "BOOL"),
    Operator.OR: (_DECIDING, "BOOL"),
    Operator.ADD: (_ADDING, "numbers, STR and a primitive, BYTES, or TIMESTAMP and INT"),
    Operator.SUBTRACT: (_SUBTRACTING, "numbers, or TIMESTAMP and INT or TIMESTAMP"),
    Operator.MULTIPLY: (_ARITHMETIC, "numbers"),
    Operator.DIVIDE: (_ARITHMETIC, "numbers"),
    MutationOperator.ADD: (_ADDING, "numbers, STR and a primitive, BYTES, or TIMESTAMP and INT"),
    MutationOperator.EXTEND: (
        {**_pairs([_JSON_ARR], IN_JSON, _JSON_ARR), **_JOINING},
        "a JSON_ARR and an item that JSON can hold, or STR and a primitive",
    ),
    MutationOperator.SUBTRACT: (_SUBTRACTING, "numbers, or TIMESTAMP and INT or TIMESTAMP"),
    MutationOperator.MULTIPLY: (_ARITHMETIC, "numbers"),
    MutationOperator.DIVIDE: (_ARITHMETIC, "numbers"),
    MutationOperator.POW: (_ARITHMETIC, "numbers"),
    MutationOperator.AND: (_DECIDING, "BOOL"),
    MutationOperator.OR: (_DECIDING, "BOOL"),
    MutationOperator.REMOVE_IF_PRESENT: (_pairs([_JSON_ARR], VariableType, _JSON_ARR), "a JSON_ARR and an item"),
    MutationOperator.REMOVE_INDEX: ({(_JSON_ARR, _INT): _JSON_ARR}, "a JSON_ARR and an INT"),
    MutationOperator.REMOVE_KEY: ({(_JSON_OBJ, _STR): _JSON_OBJ}, "a JSON_OBJ and a STR"),
}
_SIZED = (_JSON_ARR, _JSON_OBJ, _STR, _BYTES)


def shown(found: Type) -> str:
    """Return a type in the words of a sentence."""
    return "a value of unknown type" if found is None else found.value


def result_of(operator: Operator | MutationOperator, left: Type, right: Type) -> tuple[bool, Type]:
    """Say whether the operator may take these two types, and return the type of the result."""
    if isinstance(operator, MutationOperator) and operator is MutationOperator.ASSIGN:
        return True, right
    results = {
        result
        for (one, other), result in _OF_OPERATOR[operator][0].items()
        if left in (None, one) and right in (None, other)
    }
    return bool(results), results.pop() if len(results) == 1 else None


def operands_of(operator: Operator | MutationOperator) -> str:
    """Return the operands that an operator takes, in words."""
    return _OF_OPERATOR[operator][1]


def fits(found: Type, declared: Type) -> bool:
    """Return True if a value may be stored as the declared type as it stands; follows `values.fits`."""
    return found is None or declared is None or found is declared or (found is _INT and declared is _DOUBLE)


def assignable(found: Type, declared: VariableType) -> bool:
    """Return True if an assignment takes the value; follows `values.assigned`."""
    return fits(found, declared) or (declared is _STR and found in _PRIMITIVES)


class StaticTypes:
    """The types of the expressions of one ThreadSpec; reports expressions that can have none."""

    def __init__(self, variable: Lookup, output: Lookup, report: Report) -> None:
        self._variable, self._output, self._report = variable, output, report

    def of(self, expression: Expression, path: Path) -> Type:
        """Return the type of an expression that stands at `path`."""
        match expression:
            case Literal(value):
                return type_of(value)
            case VariableRef(name, json_path):
                return self.inside(self._variable(name, (*path, "var")), json_path, path)
            case OutputRef(node, json_path):
                return self.inside(self._output(node, (*path, "output")), json_path, path)
            case Format(template, args):
                self._check_format(template, args, path)
                return _STR
            case ListOf(items):
                for index, item in enumerate(items):
                    found = self.of(item, (*path, index))
                    if found is not None and found not in IN_JSON:
                        self._report(
                            "EXPRESSION_TYPE",
                            (*path, index),
                            f"expected an item that JSON can hold, found {found}: cast it to STR",
                        )
                return _JSON_ARR
            case Cast(operand, target):
                found = self.of(operand, (*path, "cast", 0))
                if found is not None and not castable(found, target):
                    self._report(
                        "EXPRESSION_TYPE",
                        (*path, "cast"),
                        f"expected a value that can be cast to {target}, found {found}",
                    )
                return target
            case Operation(operator, operands):
                return self._operation(operator, operands, (*path, operator.value))

    def inside(self, base: Type, json_path: JsonPath | None, path: Path) -> Type:
        """Return the type of the value at the end of a JSON path: unknown, but the path has to start in JSON."""
        if json_path is None or not json_path.steps:
            return base
        wanted = _JSON_OBJ if isinstance(json_path.steps[0], str) else _JSON_ARR
        if base not in (None, wanted):
            self._report(
                "EXPRESSION_TYPE", (*path, "path"), f"expected {json_path} to start in a {wanted}, found {base}"
            )
        return None

    def _check_format(self, template: str, args: tuple[Expression, ...], path: Path) -> None:
        for index, arg in enumerate(args):
            self.of(arg, (*path, "args", index))
        missing = [part for part in template_parts(template) if isinstance(part, int) and part >= len(args)]
        if missing:
            self._report(
                "FORMAT_ARGS",
                (*path, "format"),
                f"expected args up to number {max(missing)} for {template!r}, found {len(args)}",
            )

    def _operation(self, operator: Operator, operands: tuple[Expression, ...], path: Path) -> Type:
        found = [self.of(operand, (*path, index)) for index, operand in enumerate(operands)]
        if operator is Operator.NOT:
            if found[0] not in (None, _BOOL):
                self._report("EXPRESSION_TYPE", path, f"expected BOOL, found {found[0]}")
            return _BOOL
        if operator is Operator.SIZE_OF:
            if found[0] is not None and found[0] not in _SIZED:
                self._report("EXPRESSION_TYPE", path, f"expected JSON_ARR, JSON_OBJ, STR or BYTES, found {found[0]}")
            return _INT
        result = found[0]
        for other in found[1:]:
            applicable, combined = result_of(operator, result, other)
            if not applicable:
                self._report(
                    "EXPRESSION_TYPE",
                    path,
                    f"expected {operands_of(operator)}, found {shown(result)} and {shown(other)}",
                )
                return None
            result = combined
        return result
