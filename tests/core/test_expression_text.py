"""Expressions for eyes: each form has one, and brackets say what the grammar says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halter.show.expression_text import expression_text, mutation_text
from processors.core.records.spec import (
    Expression,
    ListOf,
    Literal,
    Mutation,
    MutationOperator,
    Operation,
    Operator,
    VariableRef,
    WaitForConditionNode,
)
from processors.core.wf_spec.reader import read_wf_spec


def written(document: Any) -> str:
    nodes = {
        "a": {"kind": "ENTRYPOINT", "next": "b"},
        "b": {"kind": "WAIT_FOR_CONDITION", "condition": document, "next": "c"},
        "c": {"kind": "EXIT"},
    }
    wf_spec, problems = read_wf_spec({"name": "w", "entrypoint": "main", "threads": {"main": {"nodes": nodes}}})
    assert problems == []
    assert wf_spec is not None
    node = wf_spec.threads["main"].nodes["b"]
    assert isinstance(node, WaitForConditionNode)
    return expression_text(node.condition)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"ge": [{"var": "total"}, 500]}, "total >= 500"),
        ({"and": [{"ge": [{"var": "n"}, 1]}, {"not": [{"var": "paid"}]}]}, "n >= 1 and not paid"),
        ({"and": [{"or": [{"var": "a"}, {"var": "b"}]}, {"var": "c"}]}, "(a or b) and c"),
        ({"or": [{"and": [{"var": "a"}, {"var": "b"}]}, {"var": "c"}]}, "a and b or c"),
        ({"not": [{"or": [{"var": "a"}, {"var": "b"}]}]}, "not (a or b)"),
        ({"eq": [{"var": "o", "path": '$.a[0]["b c"]'}, "x"]}, 'o.a[0]["b c"] == "x"'),
        ({"in": [{"var": "s"}, ["x", "y"]]}, 's in ["x","y"]'),
        ({"not_in": [{"var": "s"}, [{"var": "x"}, 1]]}, "s not in [x, 1]"),
        ({"gt": [{"size_of": [{"var": "l"}]}, {"output": "n", "path": "$.m"}]}, "size(l) > output(n).m"),
        ({"lt": [{"subtract": [1, {"subtract": [2, 3]}]}, 4]}, "1 - (2 - 3) < 4"),
        ({"lt": [{"subtract": [{"subtract": [1, 2]}, 3]}, 4]}, "1 - 2 - 3 < 4"),
        ({"lt": [{"multiply": [{"add": [1, 2]}, 3]}, 4]}, "(1 + 2) * 3 < 4"),
        ({"eq": [{"eq": [1, 2]}, False]}, "(1 == 2) == false"),
        ({"eq": [{"cast": [{"add": [1, 2]}, "STR"]}, "3"]}, '(1 + 2) as STR == "3"'),
        ({"eq": [{"format": "Hi {0}", "args": [{"var": "name"}]}, None]}, 'format("Hi {0}", name) == null'),
    ],
)
def test_an_expression_reads_as_a_person_would_write_it(document: Any, text: str) -> None:
    assert written(document) == text


_PLAIN = st.sampled_from([Literal(1), Literal("x"), VariableRef("a"), VariableRef("b")])
_PAIRS = [it for it in Operator if it not in (Operator.NOT, Operator.SIZE_OF)]
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    _PLAIN,
    lambda inner: (
        st.builds(Operation, st.sampled_from(_PAIRS), st.tuples(inner, inner))
        | st.builds(Operation, st.sampled_from([Operator.NOT, Operator.SIZE_OF]), st.tuples(inner))
        | st.builds(ListOf, st.tuples(inner, inner))
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_two_expressions_that_differ_read_differently(expression: Expression) -> None:
    """What the text says is read back by Python, whose precedence it has, as far as Python has the operators."""
    text = expression_text(expression)
    assert _read(text) == _shape(expression)


def _read(text: str) -> Any:
    import ast

    def shape(node: ast.AST) -> Any:
        match node:
            case ast.Expression(body):
                return shape(body)
            case ast.Constant(value):
                return value
            case ast.Name(name):
                return name
            case ast.List(items):
                return ["list", *map(shape, items)]
            case ast.Call(args=[argument]):
                return ["size_of", shape(argument)]
            case ast.UnaryOp(operand=operand):
                return ["not", shape(operand)]
            case ast.BinOp(left, operator, right):
                return [_NAMES[type(operator).__name__], shape(left), shape(right)]
            case ast.Compare(left, [operator], [right]):
                return [_NAMES[type(operator).__name__], shape(left), shape(right)]
            case ast.BoolOp(operator, values):
                first, *others = map(shape, values)
                for other in others:
                    first = [_NAMES[type(operator).__name__], first, other]
                return first
        raise AssertionError(ast.dump(node))

    return shape(ast.parse(text, mode="eval"))


_NAMES = {
    "Add": "add", "Sub": "subtract", "Mult": "multiply", "Div": "divide", "And": "and", "Or": "or", "Eq": "eq",
    "NotEq": "ne", "Lt": "lt", "LtE": "le", "Gt": "gt", "GtE": "ge", "In": "in", "NotIn": "not_in",
}  # fmt: skip


def _shape(expression: Expression) -> Any:
    match expression:
        case Literal(value):
            return value
        case VariableRef(name):
            return name
        case ListOf(items):
            return ["list", *map(_shape, items)]
        case Operation(operator, operands):
            return [operator.value, *map(_shape, operands)]
    raise AssertionError(expression)


@pytest.mark.parametrize("operator", MutationOperator)
def test_every_mutation_has_words_of_its_own(operator: MutationOperator) -> None:
    text = mutation_text(Mutation("total", operator, VariableRef("INPUT")))
    others = {mutation_text(Mutation("total", it, VariableRef("INPUT"))) for it in MutationOperator if it != operator}
    assert text not in others
    assert "total" in text
    assert "INPUT" in text


def test_mutations_read_as_a_person_would_write_them() -> None:
    assert mutation_text(Mutation("total", MutationOperator.ADD, VariableRef("INPUT"))) == "total += INPUT"
    assert mutation_text(Mutation("s", MutationOperator.ASSIGN, Literal("a"))) == 's = "a"'
    either = Operation(Operator.OR, (VariableRef("a"), VariableRef("b")))
    assert mutation_text(Mutation("x", MutationOperator.AND, either)) == "x = x and (a or b)"
