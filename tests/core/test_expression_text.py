"""Expressions and mutations as text: they read back, operators bind as in Python, and problems have a column."""

import ast
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.core.records.spec import (
    Cast,
    Expression,
    Format,
    ListOf,
    Literal,
    Mutation,
    MutationOperator,
    Operation,
    Operator,
    OutputRef,
    VariableRef,
    WaitForConditionNode,
    walk,
)
from processors.core.records.values import VALUE_DEPTH_MAX, Timestamp, VariableType
from processors.core.wf_spec.document_problems import DocumentProblem
from processors.core.wf_spec.expression_forms import EXPRESSION_DEPTH_MAX, OPERANDS_MAX, PATH_STEPS_MAX
from processors.core.wf_spec.expression_parser import (
    NESTING_MAX,
    TEXT_LENGTH_MAX,
    ExpressionTextProblem,
    parse_expression,
    parse_mutation,
)
from processors.core.wf_spec.expression_text import expression_text, mutation_text
from processors.core.wf_spec.reader import read_wf_spec
from processors.core.wf_spec.validate import check_document
from processors.core.wf_spec.writer import document_of
from tests.core.test_documents import EXPRESSIONS as OF_DOCUMENTS
from tests.core.test_documents import JSON, PATHS


def wf_spec_with(condition: Any, **edge: Any) -> dict[str, Any]:
    nodes = {
        "a": {"kind": "ENTRYPOINT", "next": {"to": "b", **edge} if edge else "b"},
        "b": {"kind": "WAIT_FOR_CONDITION", "condition": condition, "next": "c"},
        "c": {"kind": "EXIT"},
    }
    return {"name": "w", "entrypoint": "main", "threads": {"main": {"nodes": nodes}}}


def read(condition: Any) -> Expression:
    wf_spec, problems = read_wf_spec(wf_spec_with(condition))
    assert problems == []
    assert wf_spec is not None
    node = wf_spec.threads["main"].nodes["b"]
    assert isinstance(node, WaitForConditionNode)
    return node.condition


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"ge": [{"var": "total"}, 500]}, "total >= 500"),
        ({"and": [{"ge": [{"var": "n"}, 1]}, {"not": [{"var": "paid"}]}]}, "n >= 1 and not paid"),
        ({"and": [{"or": [{"var": "a"}, {"var": "b"}]}, {"var": "c"}]}, "(a or b) and c"),
        ({"or": [{"and": [{"var": "a"}, {"var": "b"}]}, {"var": "c"}]}, "a and b or c"),
        ({"not": [{"or": [{"var": "a"}, {"var": "b"}]}]}, "not (a or b)"),
        ({"not": [{"in": [{"var": "a"}, {"var": "b"}]}]}, "not a in b"),
        ({"eq": [{"var": "o", "path": '$.a[0]["b c"]'}, "x"]}, 'o.a[0]["b c"] == "x"'),
        ({"eq": [{"var": "o", "path": "$.a-b"}, {"var": "a-b"}]}, 'o["a-b"] == var("a-b")'),
        ({"in": [{"var": "s"}, ["x", "y"]]}, 's in ["x", "y"]'),
        ({"not_in": [{"var": "s"}, [{"var": "x"}, 1]]}, "s not in [x, 1]"),
        ({"gt": [{"size_of": [{"var": "l"}]}, {"output": "n", "path": "$.m"}]}, "size(l) > output(n).m"),
        ({"output": "charge-card", "path": "$.id"}, "output(charge-card).id"),
        ({"lt": [{"subtract": [1, {"subtract": [2, 3]}]}, 4]}, "1 - (2 - 3) < 4"),
        ({"lt": [{"subtract": [{"subtract": [1, 2]}, 3]}, 4]}, "1 - 2 - 3 < 4"),
        ({"lt": [{"multiply": [{"add": [1, 2]}, 3]}, 4]}, "(1 + 2) * 3 < 4"),
        (
            {"add": [{"var": "t"}, {"multiply": [{"var": "i", "path": "$.q"}, {"var": "i", "path": "$.p"}]}]},
            "t + i.q * i.p",
        ),
        ({"add": [1, 2, 3]}, "1 + 2 + 3"),
        ({"add": [{"add": [1, 2]}, 3]}, "(1 + 2) + 3"),
        ({"add": [1, {"add": [2, 3]}]}, "1 + (2 + 3)"),
        ({"add": [{"subtract": [1, 2]}, 3, 4]}, "1 - 2 + 3 + 4"),
        ({"eq": [{"eq": [1, 2]}, False]}, "(1 == 2) == false"),
        ({"eq": [{"cast": [{"add": [1, 2]}, "STR"]}, "3"]}, 'cast(1 + 2, STR) == "3"'),
        ({"eq": [{"format": "Hi {0}", "args": [{"var": "name"}]}, None]}, 'format("Hi {0}", name) == null'),
        ({"literal": {"a": [1, {"b": -2.5}]}}, '{"a": [1, {"b": -2.5}]}'),
        ({"var": "not"}, 'var("not")'),
        ({"var": "size"}, "size"),
    ],
)
def test_an_expression_has_a_text_that_reads_back(document: Any, text: str) -> None:
    assert expression_text(read(document)) == text
    assert read({"expr": text}) == read(document)


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("-a * b", {"multiply": [{"subtract": [0, {"var": "a"}]}, {"var": "b"}]}),
        ("a - -1", {"subtract": [{"var": "a"}, -1]}),
        ("- 9223372036854775808", -(2**63)),
        ("1e3", 1000.0),
        (r"'it\'s \"so\" é'", 'it\'s "so" é'),
        (" [ 1, 2, ] ", [1, 2]),
        ("a\n  and b", {"and": [{"var": "a"}, {"var": "b"}]}),
        ("(((a)))", {"var": "a"}),
        ("a.true.in", {"var": "a", "path": "$.true.in"}),
        ("format('x',)", {"format": "x", "args": []}),
    ],
)
def test_there_are_other_ways_to_write_some(text: str, document: Any) -> None:
    assert read({"expr": text}) == read(document)


_NAMES = st.text(max_size=3) | st.sampled_from(["a", "b", "a-b", "in", "size", "var", "true", "5", "_"])
_PAIRS = [it for it in Operator if it not in (Operator.NOT, Operator.SIZE_OF)]
_CHAINS = [Operator.ADD, Operator.MULTIPLY, Operator.AND, Operator.OR]
TREES: st.SearchStrategy[Expression] = st.recursive(
    OF_DOCUMENTS
    | st.builds(Literal, JSON)
    | st.builds(VariableRef, _NAMES, PATHS)
    | st.builds(OutputRef, _NAMES, PATHS),
    lambda inner: st.one_of(
        st.builds(Operation, st.sampled_from(_PAIRS), st.tuples(inner, inner)),
        st.builds(Operation, st.sampled_from(_CHAINS), st.lists(inner, min_size=2, max_size=4).map(tuple)),
        st.builds(Operation, st.sampled_from([Operator.NOT, Operator.SIZE_OF]), st.tuples(inner)),
        st.builds(Cast, inner, st.sampled_from(VariableType)),
        st.builds(Format, st.text(max_size=3), st.lists(inner, max_size=2).map(tuple)),
        st.lists(inner, min_size=1, max_size=3)
        .map(tuple)
        .map(
            lambda items: (
                ListOf(items)
                if any(not isinstance(it, Literal) for it in items)
                else Operation(Operator.NOT, items[:1])
            )
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_every_expression_reads_back_from_its_text(tree: Expression) -> None:
    assert parse_expression(expression_text(tree)).tree == tree


@pytest.mark.parametrize(
    ("text", "column", "meant"), [("x == None", 6, "null"), ("True", 1, "true"), ("not False", 5, "false")]
)
def test_what_python_calls_a_constant_is_told_at_its_column(text: str, column: int, meant: str) -> None:
    with pytest.raises(ExpressionTextProblem, match=f"^expected {meant}, found .* at column {column} of the text$"):
        parse_expression(text)
    assert parse_expression('var("None") == x.None').tree


TOKENS = st.sampled_from(
    [
        "a",
        "b",
        "in",
        "not",
        "and",
        "or",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        ":",
        "+",
        "-",
        "*",
        "/",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "=",
        "+=",
        "&",
        "%",
        "0",
        "1",
        "2.5",
        "1e9",
        '"x"',
        "'y'",
        '"k":',
        ".c",
        "[0]",
        '["d"]',
        "size(",
        "cast(",
        "format(",
        "output(",
        "var(",
        "STR",
        "INT",
        "true",
        "null",
        "-",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(TOKENS, max_size=9).map(" ".join) | st.text(max_size=12))
def test_whatever_the_text_is_it_is_read_or_its_problem_has_a_place(text: str) -> None:
    found = parsed(text)
    if isinstance(found, ExpressionTextProblem):
        assert 0 <= found.offset <= len(text)
        assert f"column {found.column} of the text" in str(found)
    else:
        assert parsed(expression_text(found)) == found


def parsed(text: str) -> Expression | ExpressionTextProblem:
    try:
        return parse_expression(text).tree
    except ExpressionTextProblem as problem:
        return problem


# What Python reads.

_OPERANDS = st.sampled_from(
    ["a", "b", "1", "2", "-3", "- a", "(a)", "(a or b)", "(a + 1)", "(not a)", "[a, 1]", "size(a)"]
)
_BETWEEN = st.sampled_from(["or", "and", "==", "!=", "<", "in", "+", "+", "-", "*", "*", "/", "not in"])


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(_BETWEEN, st.sampled_from(["", "", "", "not "]), _OPERANDS), max_size=6))
def test_operators_bind_as_in_python(parts: list[tuple[str, str, str]]) -> None:
    """Python reads the same text as the same tree, apart from chains: one operation here, two or more there."""
    text = " ".join(["a", *(f"{sign} {word}{operand}" for sign, word, operand in parts)])
    try:
        wanted = _of_python(ast.parse(text, mode="eval").body)
    except (SyntaxError, _Chained):
        with pytest.raises(ExpressionTextProblem):
            parse_expression(text)
    else:
        assert _in_pairs(parse_expression(text).tree) == wanted


class _Chained(Exception):
    """Python chains comparisons; here nobody does."""


_OF_PYTHON = {
    "Add": "add", "Sub": "subtract", "Mult": "multiply", "Div": "divide", "And": "and", "Or": "or", "Eq": "eq",
    "NotEq": "ne", "Lt": "lt", "LtE": "le", "Gt": "gt", "GtE": "ge", "In": "in", "NotIn": "not_in",
}  # fmt: skip


def _of_python(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value):
            return value
        case ast.Name(name):
            return name
        case ast.List(items):
            return ["list", *map(_of_python, items)]
        case ast.Call(args=[argument]):
            return ["size_of", _of_python(argument)]
        case ast.UnaryOp(ast.USub(), ast.Constant(int(value))):
            return -value
        case ast.UnaryOp(ast.USub(), operand):
            return ["subtract", 0, _of_python(operand)]
        case ast.UnaryOp(operand=operand):
            return ["not", _of_python(operand)]
        case ast.BinOp(left, operator, right):
            return [_OF_PYTHON[type(operator).__name__], _of_python(left), _of_python(right)]
        case ast.Compare(left, [operator], [right]):
            return [_OF_PYTHON[type(operator).__name__], _of_python(left), _of_python(right)]
        case ast.Compare():
            raise _Chained
        case ast.BoolOp(operator, values):
            first, *others = map(_of_python, values)
            for other in others:
                first = [_OF_PYTHON[type(operator).__name__], first, other]
            return first
    raise AssertionError(ast.dump(node))


def _in_pairs(tree: Expression) -> Any:
    match tree:
        case Literal(list(items)):
            return ["list", *items]
        case Literal(value):
            return value
        case VariableRef(name):
            return name
        case ListOf(items):
            return ["list", *map(_in_pairs, items)]
        case Operation(operator, (only,)):
            return [operator.value, _in_pairs(only)]
        case Operation(operator, operands):
            first, *others = map(_in_pairs, operands)
            for other in others:
                first = [operator.value, first, other]
            return first
    raise AssertionError(tree)


# What is wrong.


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "found the end"),
        ("total +", 8, "found the end"),
        ("total + * 2", 9, "found '*'"),
        ("a b", 3, "expected an operator or the end"),
        ("a = b", 3, "write == to compare"),
        ("a && b", 3, "write and"),
        ("a ** 2", 3, "there is no power"),
        ("a if b else c", 3, "let two edges decide"),
        ("a < b < c", 7, "not chained"),
        ("a == not b", 6, "brackets"),
        ("(a", 3, "expected an operator or )"),
        ("[a, b", 6, "expected an operator, a comma or ]"),
        ("{a: 1}", 2, "expected a key in quotes"),
        ('{"a": b}', 7, "expected a value that stands for itself"),
        ('{"a": 1, "a": 2}', 10, "expected each key once"),
        ("sise(a)", 1, "did you mean size?"),
        ("cast(a, INTT)", 9, "did you mean INT?"),
        ("format(a)", 8, "expected a text in quotes"),
        ("output(a b)", 10, "behind the name of a node"),
        ("a[b]", 3, "none is computed"),
        ("a[1234567890]", 3, "at most 9 digits"),
        ("(a).b", 4, "only a Variable and an output have parts"),
        ("010", 1, "without leading zeros"),
        ("1 + 12345678901234567890", 5, "expected a number of 64 bits"),
        ("1e999", 1, "expected a number of 64 bits"),
        ("'abc", 1, "expected a quote at the end"),
        (r"'\x41'", 1, "escapes of JSON"),
        (r"'\ud800'", 1, "half of a surrogate pair"),
        ("a + é", 5, "found 'é'"),
        ("a" + ".b" * (PATH_STEPS_MAX + 1), 2 + 2 * PATH_STEPS_MAX, "steps"),
        ("[" * (NESTING_MAX + 1), NESTING_MAX + 1, "brackets and signs"),
        ("-" * 5000 + "a", NESTING_MAX + 1, "brackets and signs"),
        ("size(" * 5000, 161, "deep"),
        ("a" + " - a" * (EXPRESSION_DEPTH_MAX + 1), 3 + 4 * EXPRESSION_DEPTH_MAX, "deep"),
        ("a" + " + a" * OPERANDS_MAX, 1 + 4 * OPERANDS_MAX, "at most 1000 operands"),
        ("[" * (VALUE_DEPTH_MAX + 1) + "]" * (VALUE_DEPTH_MAX + 1), 1, "deep"),
        ("x" * (TEXT_LENGTH_MAX + 1), 1, "characters"),
    ],
)
def test_a_problem_says_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(ExpressionTextProblem) as raised:
        parse_expression(text)
    assert words in str(raised.value)
    assert raised.value.column == column
    assert str(raised.value).endswith(f", at column {column} of the text")


def test_a_problem_in_a_text_of_several_lines_says_its_line_too() -> None:
    with pytest.raises(ExpressionTextProblem, match="at line 2, column 6 of the text"):
        parse_expression("a\n and or")


def test_a_text_may_be_as_deep_and_as_long_as_a_tree_may_be() -> None:
    deep = "[" * VALUE_DEPTH_MAX + "]" * VALUE_DEPTH_MAX
    tree = parse_expression("size(" * EXPRESSION_DEPTH_MAX + deep + ")" * EXPRESSION_DEPTH_MAX).tree
    assert len(list(walk(tree))) == EXPRESSION_DEPTH_MAX + 1
    assert len(parse_expression("a" + " + a" * (OPERANDS_MAX - 1)).tree.operands) == OPERANDS_MAX  # type: ignore[union-attr]


def test_a_text_within_other_expressions_may_be_no_deeper_than_they_leave() -> None:
    document: Any = {"expr": "not " * EXPRESSION_DEPTH_MAX + "a"}
    assert read(document)
    _, problems = read_wf_spec(wf_spec_with({"not": document}))
    assert [(it.code, it.path[-2:]) for it in problems] == [("LIMIT", ("not", "expr"))]


def test_the_texts_of_a_document_may_be_no_longer_together_than_one() -> None:
    fits, half = "x" * TEXT_LENGTH_MAX, "x" * (TEXT_LENGTH_MAX // 2)
    assert [it.code for it in problems_of({"expr": fits})] == ["VAR_UNKNOWN"]
    problems = problems_of({"expr": half}, when={"expr": half}, set="a = 1")
    assert [it.path[4:] for it in problems if it.code == "LIMIT"] == [("condition", "expr")]


# In a document.


def test_an_engine_stores_no_text() -> None:
    with_text = wf_spec_with(
        {"expr": "a and b"},
        when={"expr": "b"},
        set=["a = b", {"var": "b", "op": "ASSIGN", "value": {"expr": "not a"}}],
    )
    with_trees = wf_spec_with(
        {"and": [{"var": "a"}, {"var": "b"}]},
        when={"var": "b"},
        set=[
            {"var": "a", "op": "ASSIGN", "value": {"var": "b"}},
            {"var": "b", "op": "ASSIGN", "value": {"not": [{"var": "a"}]}},
        ],
    )
    (one, problems), (other, _) = read_wf_spec(with_text), read_wf_spec(with_trees)
    assert problems == []
    assert one is not None
    assert one == other
    assert document_of(one) == with_trees


def problems_of(condition: Any, **edge: Any) -> list[DocumentProblem]:
    document = wf_spec_with(condition, **edge)
    document["threads"]["main"]["variables"] = {"total": {"type": "INT"}, "name": {"type": "STR"}}
    return check_document(document, None)[1]


def test_a_text_that_is_none_is_told_with_its_place_and_hides_nothing_else() -> None:
    problems = problems_of({"expr": "total >"}, set=["total += ", "name =="], when={"expr": "total > nam"})
    assert [(it.code, it.path[5:]) for it in problems] == [
        ("EXPRESSION_TEXT", ("set", 0)),
        ("EXPRESSION_TEXT", ("set", 1)),
        ("EXPRESSION_TEXT", ("expr",)),
        ("VAR_UNKNOWN", ("when", "gt", 1, "var")),
    ]
    (problem,) = problems_of({"expr": 5})
    assert (problem.code, problem.message) == ("FIELD_TYPE", "expected an expression as text, found 5")


@pytest.mark.parametrize(
    ("text", "code", "offset"),
    [
        ("total > nam", "VAR_UNKNOWN", 8),
        ("total > 0 and total + true > 1", "EXPRESSION_TYPE", 20),
        ('not name or "a" in total', "EXPRESSION_TYPE", 0),
        ('not (total == 1) and "a" in total', "EXPRESSION_TYPE", 25),
        ("size([name, total.x]) > 0 and cast(total, BOOL)", "EXPRESSION_TYPE", 17),
        ('format("{0} {2}", total, name) == "a"', "FORMAT_ARGS", 7),
        ('format("{0}", total, nam) == "a"', "VAR_UNKNOWN", 21),
        ("cast(total, BOOL)", "EXPRESSION_TYPE", 0),
        ("output(nowhere) == 1", "OUTPUT_UNKNOWN", 7),
        ("var('nam').x > 1", "VAR_UNKNOWN", 4),
    ],
)
def test_a_problem_of_what_a_text_says_is_found_in_the_text(text: str, code: str, offset: int) -> None:
    first = problems_of({"expr": text})[0]
    assert first.code == code
    assert parse_expression(text).offset_of(first.path[5:]) == offset


# Mutations.


@settings(max_examples=200, deadline=None)
@given(st.builds(Mutation, _NAMES, st.sampled_from(MutationOperator), OF_DOCUMENTS, PATHS))
def test_every_mutation_reads_back_from_its_text(mutation: Mutation) -> None:
    assert parse_mutation(mutation_text(mutation)).mutation == mutation


@pytest.mark.parametrize(
    ("text", "mutation"),
    [
        ("total += INPUT", Mutation("total", MutationOperator.ADD, VariableRef("INPUT"))),
        ('s = "a"', Mutation("s", MutationOperator.ASSIGN, Literal("a"))),
        (
            "x &= a or b",
            Mutation("x", MutationOperator.AND, Operation(Operator.OR, (VariableRef("a"), VariableRef("b")))),
        ),
        ("extend(items, INPUT)", Mutation("items", MutationOperator.EXTEND, VariableRef("INPUT"))),
        ("extend = 3", Mutation("extend", MutationOperator.ASSIGN, Literal(3))),
    ],
)
def test_mutations_read_as_a_person_would_write_them(text: str, mutation: Mutation) -> None:
    assert mutation_text(mutation) == text
    assert parse_mutation(text).mutation == mutation


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("total", 6, "expected one of ="),
        ("total == 3", 7, "found '=='"),
        ("total += ", 9, "expected a value"),
        ("3 = total", 1, "expected a Variable"),
        ("extnd(items, 3)", 1, "did you mean extend?"),
        ("extend(items 3)", 14, "expected a comma"),
        ("total += 1 2", 12, "expected the end"),
        ("output(a) = 1", 1, "expected a mutation that there is"),
    ],
)
def test_a_problem_of_a_mutation_says_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(ExpressionTextProblem) as raised:
        parse_mutation(text)
    assert words in str(raised.value)
    assert raised.value.column == column


def test_a_problem_of_what_a_mutation_says_is_found_in_the_text() -> None:
    text = "totl += 1 + true"
    problems = problems_of(True, set=text)
    at = {it.code: parse_mutation(text).offset_of(it.path[7:]) for it in problems}
    assert [it.path[5:7] for it in problems] == [("set", 0), ("set", 0)]
    assert at == {"VAR_UNKNOWN": 0, "EXPRESSION_TYPE": 10}
    (problem,) = problems_of(True, set=['total += "a"'])
    assert (problem.code, parse_mutation('total += "a"').offset_of(problem.path[7:])) == ("MUTATION_TYPE", 6)


def test_values_that_no_document_holds_have_a_text_for_people() -> None:
    assert (
        mutation_text(Mutation("at", MutationOperator.ASSIGN, Literal(Timestamp(0)))) == "at = 1970-01-01T00:00:00.000Z"
    )
