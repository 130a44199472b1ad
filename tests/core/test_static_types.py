"""Registration says of types what evaluation does: the tables of both are compared."""

from collections.abc import Callable
from itertools import product

import pytest

from processors.core.records.spec import (
    Cast,
    Expression,
    Literal,
    Mutation,
    MutationOperator,
    Operation,
    Operator,
    VariableRef,
)
from processors.core.records.values import Timestamp, Value, ValueProblem, VariableType, type_of
from processors.core.wf_spec.expressions import evaluate, mutate
from processors.core.wf_spec.static_types import StaticTypes, Type, assignable, result_of

VALUES: dict[VariableType, list[Value]] = {
    VariableType.INT: [0, 1, -5, 2**62],
    VariableType.DOUBLE: [0.0, 1.5, -2.5],
    VariableType.BOOL: [True, False],
    VariableType.STR: ["", "a", "1"],
    VariableType.BYTES: [b"", b"x"],
    VariableType.JSON_OBJ: [{}, {"a": 1}],
    VariableType.JSON_ARR: [[], [1, "a"]],
    VariableType.TIMESTAMP: [Timestamp(0), Timestamp(10**12)],
}
PAIRS = list(product(VariableType, repeat=2))
UNARY = (Operator.NOT, Operator.SIZE_OF)
STOPPING = (Operator.AND, Operator.OR, MutationOperator.AND, MutationOperator.OR)
"""Operators whose first operand may decide: then the second is not looked at."""
BY_VALUE = ("exponent", "index below")
"""Words in the sentences of problems that the value has, not its type."""


class Values:
    """A scope of two Variables."""

    def __init__(self, x: Value = None, y: Value = None) -> None:
        self._values = {"x": x, "y": y}

    def spend(self, steps: int) -> None:
        assert steps >= 0

    def variable(self, name: str) -> Value:
        return self._values[name]

    def output(self, node: str) -> Value:
        raise ValueProblem(node)


def outcome(function: Callable[..., Value], *given: object) -> tuple[Value, str | None]:
    """Return the value, or the problem."""
    try:
        return function(*given), None
    except ValueProblem as problem:
        return None, str(problem)


def static(expression: Expression, x: VariableType, y: VariableType) -> tuple[bool, Type]:
    """Say whether it is accepted, and return the type of the result."""
    reported: list[str] = []
    types = StaticTypes(
        lambda name, _path: {"x": x, "y": y}[name],
        lambda _name, _path: None,
        lambda code, _p, _m: reported.append(code),
    )
    found = types.of(expression, ())
    return not reported, found


@pytest.mark.parametrize("operator", Operator)
def test_an_operator_is_accepted_for_the_types_that_it_computes(operator: Operator) -> None:
    operands = (VariableRef("x"),) if operator in UNARY else (VariableRef("x"), VariableRef("y"))
    for one, other in PAIRS:
        accepted, declared = static(Operation(operator, operands), one, other)
        for x, y in product(VALUES[one], VALUES[other]):
            result, problem = outcome(evaluate, Operation(operator, operands), Values(x, y))
            if problem is not None:
                assert not accepted or "expected" not in problem, (one, other, problem)
            else:
                assert accepted or operator in STOPPING, (one, other)
                assert not accepted or type_of(result) is declared, (one, other, result)


@pytest.mark.parametrize("target", VariableType)
def test_a_cast_is_accepted_for_the_types_that_it_converts(target: VariableType) -> None:
    for one in VariableType:
        accepted, declared = static(Cast(VariableRef("x"), target), one, one)
        assert declared is target
        for x in VALUES[one]:
            result, problem = outcome(evaluate, Cast(VariableRef("x"), target), Values(x))
            if problem is not None:
                assert accepted is ("cannot be cast" not in problem), (one, problem)
            else:
                assert accepted, one
                assert type_of(result) is target


@pytest.mark.parametrize("operator", MutationOperator)
def test_a_mutation_is_accepted_for_the_types_that_it_changes(operator: MutationOperator) -> None:
    for one, other in PAIRS:
        applicable, result_type = result_of(operator, one, other)
        accepted = applicable and assignable(result_type, one)
        for old, value in product(VALUES[one], VALUES[other]):
            result, problem = outcome(mutate, old, Mutation("x", operator, Literal(value)), one, Values())
            if problem is not None:
                by_value = any(words in problem for words in BY_VALUE)
                assert not accepted or by_value or "expected" not in problem, (one, other, problem)
            else:
                assert accepted or operator in STOPPING, (one, other)
                assert type_of(result) is one
