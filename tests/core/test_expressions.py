"""Expressions compute, and mutations change Variables: the page docs/rules/variables.md, case by case."""

import copy
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from processors.core.records.values import (
    INT_MAX,
    INT_MIN,
    VALUE_BYTES_MAX,
    VALUE_DEPTH_MAX,
    Timestamp,
    Value,
    ValueProblem,
    VariableType,
    bounded,
    fits,
    from_json,
    size_of,
    stored,
    to_json,
)
from processors.core.wf_spec.expressions import condition, equal, evaluate, follow, mutate


@dataclass
class Values:
    """A scope of given Variables and outputs."""

    variables: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)

    def variable(self, name: str) -> Value:
        if name not in self.variables:
            raise ValueProblem(f"Variable {name} is not in scope")
        return self.variables[name]

    def output(self, node: str) -> Value:
        if node not in self.outputs:
            raise ValueProblem(f"node {node} has not run")
        return self.outputs[node]

    def spend(self, steps: int) -> None:
        assert steps >= 0


NOTHING = Values()


def computed(operator: str, *operands: Value) -> Value:
    return evaluate(Operation(Operator(operator), tuple(Literal(operand) for operand in operands)), NOTHING)


def changed(old: Value, operator: str, value: Value, declared: VariableType, *path: str | int) -> Value:
    where = JsonPath(path) if path else None
    return mutate(old, Mutation("v", MutationOperator(operator), Literal(value), where), declared, NOTHING)


def refused(function: object, *args: object) -> str:
    with pytest.raises(ValueProblem) as problem:
        function(*args)  # type: ignore[operator]
    return str(problem.value)


# (rules int-division-drops-fraction, equal-by-type-and-value)
@pytest.mark.parametrize(
    ("operator", "operands", "expected"),
    [
        ("add", (2, 3), 5),
        ("add", (1, 2, 3), 6),
        ("add", (2, 0.5), 2.5),
        ("add", ("total ", 5), "total 5"),
        ("add", (b"a", b"b"), b"ab"),
        ("add", (Timestamp(1000), 500), Timestamp(1500)),
        ("subtract", (Timestamp(1500), Timestamp(1000)), 500),
        ("subtract", (Timestamp(1500), 500), Timestamp(1000)),
        ("subtract", (2, 3), -1),
        ("multiply", (2, 1.5), 3.0),
        ("divide", (7, 2), 3),
        ("divide", (-7, 2), -3),
        ("divide", (7, -2), -3),
        ("divide", (-7, -2), 3),
        ("divide", (7, 2.0), 3.5),
        ("eq", (1, 1.0), True),
        ("eq", (True, 1), False),
        ("eq", ("1", 1), False),
        ("eq", (None, None), True),
        ("eq", (None, 0), False),
        ("eq", ({"a": [1, True]}, {"a": [1.0, True]}), True),
        ("eq", ({"a": [1]}, {"a": [True]}), False),
        ("ne", ("a", None), True),
        ("lt", (1, 1.5), True),
        ("ge", ("b", "a"), True),
        ("gt", (Timestamp(2), Timestamp(1)), True),
        ("le", (2, 2), True),
        ("in", (2, [1, 2]), True),
        ("in", (True, [1, 2]), False),
        ("in", ("a", {"a": None}), True),
        ("in", ("bc", "abcd"), True),
        ("in", (1, None), False),
        ("not_in", (None, [None]), False),
        ("and", (True, True, False), False),
        ("or", (False, True), True),
        ("not", (False,), True),
        ("size_of", ("abc",), 3),
        ("size_of", ({"a": 1},), 1),
        ("size_of", ([],), 0),
    ],
)
def test_operators_compute(operator: str, operands: tuple[Value, ...], expected: Value):
    found = computed(operator, *operands)
    assert equal(found, expected)
    assert type(found) is type(expected)


# (rules null-is-no-operand, int-has-64-bits)
@pytest.mark.parametrize(
    ("operator", "operands", "sentence"),
    [
        ("add", (INT_MAX, 1), "64-bit"),
        ("subtract", (INT_MIN, 1), "64-bit"),
        ("multiply", (INT_MAX, 2), "64-bit"),
        ("divide", (INT_MIN, -1), "64-bit"),
        ("divide", (1, 0), "zero"),
        ("divide", (1.0, 0.0), "zero"),
        ("add", (None, 1), "found null and INT 1"),
        ("add", (True, 1), "found BOOL true and INT 1"),
        ("multiply", (1e300, 1e300), "finite"),
        ("lt", (1, "a"), "found INT 1 and STR a"),
        ("lt", (None, 1), "null"),
        ("lt", (False, True), "BOOL"),
        ("in", (1, 5), "INT 5"),
        ("and", (True, None), "expected BOOL, found null"),
        ("not", (1,), "expected BOOL, found INT 1"),
        ("size_of", (5,), "found INT 5"),
        ("size_of", (None,), "found null"),
    ],
)
def test_what_has_no_value_is_a_problem_that_says_what_was_found(
    operator: str, operands: tuple[Value, ...], sentence: str
):
    assert sentence in refused(computed, operator, *operands)


# (rule logic-stops-early)
def test_and_and_or_stop_at_the_first_operand_that_decides():
    missing = VariableRef("missing")
    assert evaluate(Operation(Operator.AND, (Literal(False), missing)), NOTHING) is False
    assert evaluate(Operation(Operator.OR, (Literal(True), missing)), NOTHING) is True
    refused(evaluate, Operation(Operator.AND, (Literal(True), missing)), NOTHING)


# (rule condition-is-bool)
def test_a_condition_is_a_bool_and_nothing_that_looks_like_one():
    assert condition(Literal(True), NOTHING) is True
    for value in (1, 0, None, "true", []):
        assert "expected a condition to be BOOL" in refused(condition, Literal(value), NOTHING)


def test_references_find_variables_outputs_and_what_paths_lead_to():
    scope = Values({"cart": {"items": [{"sku": "a"}]}}, {"pay": {"receipt": 7}})
    assert evaluate(VariableRef("cart", JsonPath(("items", 0, "sku"))), scope) == "a"
    assert evaluate(OutputRef("pay", JsonPath(("receipt",))), scope) == 7
    assert "has not run" in refused(evaluate, OutputRef("other"), scope)
    assert "not in scope" in refused(evaluate, VariableRef("other"), scope)


# (rule path-leads-somewhere)
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (("b",), "$.b: expected something at $.b, found no such key"),
        (("a", 3), "$.a[3]: expected something at $.a[3], found only 2 items"),
        (("a", "x"), "$.a.x: expected a JSON_OBJ at $.a, found JSON_ARR [1,2]"),
        ((0,), "$[0]: expected a JSON_ARR at $, found JSON_OBJ"),
        (("a", 0, "x"), "$.a[0].x: expected a JSON_OBJ at $.a[0], found INT 1"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(path: tuple[str | int, ...], sentence: str):
    assert sentence in refused(follow, {"a": [1, 2]}, JsonPath(path))


def test_a_format_puts_its_arguments_in_and_leaves_other_braces_alone():
    scope = Values({"name": "Ada"})
    expression = Format("{0} has {1} {x} {} {1}", (VariableRef("name"), Literal(None)))
    assert evaluate(expression, scope) == "Ada has null {x} {} null"
    assert "has 1 args" in refused(evaluate, Format("{1}", (Literal(1),)), NOTHING)


def test_a_list_holds_only_what_json_can_hold():
    assert evaluate(ListOf((Literal(1), Format("{0}", (Literal(2),)))), NOTHING) == [1, "2"]
    assert "JSON cannot hold TIMESTAMP" in refused(evaluate, ListOf((Literal(Timestamp(0)),)), NOTHING)
    assert "JSON cannot hold BYTES" in refused(evaluate, ListOf((Literal(b""),)), NOTHING)


# (rule cast-is-explicit)
def test_casts_convert_explicitly():
    assert evaluate(Cast(Literal(24.9), VariableType.INT), NOTHING) == 24
    assert evaluate(Cast(Literal("[1]"), VariableType.JSON_ARR), NOTHING) == [1]
    assert "1e999" in refused(evaluate, Cast(Literal("1e999"), VariableType.DOUBLE), NOTHING)


@pytest.mark.parametrize(
    ("old", "operator", "value", "declared", "expected"),
    [
        (1, "ASSIGN", 2, VariableType.INT, 2),
        (1, "ASSIGN", None, VariableType.INT, None),
        (1.5, "ASSIGN", 2, VariableType.DOUBLE, 2.0),
        ("a", "ASSIGN", 2, VariableType.STR, "2"),
        (5, "ADD", 8, VariableType.INT, 13),
        (5, "SUBTRACT", 8, VariableType.INT, -3),
        (5, "MULTIPLY", 8, VariableType.INT, 40),
        (5, "DIVIDE", 2, VariableType.INT, 2),
        (2, "POW", 10, VariableType.INT, 1024),
        (-1, "POW", 10**15, VariableType.INT, 1),
        (4.0, "POW", 0.5, VariableType.DOUBLE, 2.0),
        ("a", "ADD", "b", VariableType.STR, "ab"),
        ("a", "EXTEND", "b", VariableType.STR, "ab"),
        ([1], "EXTEND", [2], VariableType.JSON_ARR, [1, [2]]),
        (True, "AND", False, VariableType.BOOL, False),
        (False, "OR", True, VariableType.BOOL, True),
        ([1, 2, 1, True], "REMOVE_IF_PRESENT", 1, VariableType.JSON_ARR, [2, True]),
        ([1, 2], "REMOVE_INDEX", 0, VariableType.JSON_ARR, [2]),
        ({"a": 1, "b": 2}, "REMOVE_KEY", "a", VariableType.JSON_OBJ, {"b": 2}),
        ({"b": 2}, "REMOVE_KEY", "a", VariableType.JSON_OBJ, {"b": 2}),
    ],
)
def test_mutations_change_a_variable(old: Value, operator: str, value: Value, declared: VariableType, expected: Value):
    found = changed(old, operator, value, declared)
    assert equal(found, expected)
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("old", "operator", "value", "declared", "sentence"),
    [
        (1, "ASSIGN", 1.5, VariableType.INT, "expected INT, found DOUBLE 1.5"),
        (1, "MULTIPLY", 1.5, VariableType.INT, "expected INT, found DOUBLE 1.5"),
        (None, "ADD", 1, VariableType.INT, "found null and INT 1"),
        (1, "ADD", None, VariableType.INT, "found INT 1 and null"),
        (1, "DIVIDE", 0, VariableType.INT, "zero"),
        (2, "POW", 10**18, VariableType.INT, "64-bit"),
        (2, "POW", -1, VariableType.INT, "exponent"),
        (-8.0, "POW", 0.5, VariableType.DOUBLE, "not a real number"),
        (0.0, "POW", -1.0, VariableType.DOUBLE, "finite"),
        (10.0, "POW", 1e9, VariableType.DOUBLE, "finite"),
        ({}, "EXTEND", 1, VariableType.JSON_OBJ, "found JSON_OBJ"),
        ([1], "EXTEND", b"x", VariableType.JSON_ARR, "JSON cannot hold BYTES"),
        ([1], "REMOVE_INDEX", 1, VariableType.JSON_ARR, "expected an index below 1, found 1"),
        ([1], "REMOVE_INDEX", -1, VariableType.JSON_ARR, "found -1"),
        ([1], "REMOVE_INDEX", True, VariableType.JSON_ARR, "BOOL"),
        ({}, "REMOVE_KEY", 1, VariableType.JSON_OBJ, "INT 1"),
        (1, "REMOVE_IF_PRESENT", 1, VariableType.INT, "JSON_ARR"),
        (None, "AND", True, VariableType.BOOL, "expected BOOL, found null"),
        (False, "OR", 1, VariableType.BOOL, "expected BOOL, found INT 1"),
    ],
)
def test_a_mutation_without_a_result_is_a_problem(
    old: Value, operator: str, value: Value, declared: VariableType, sentence: str
):
    assert sentence in refused(changed, old, operator, value, declared)


# (rule mutation-at-a-path)
def test_a_path_changes_what_is_there_and_keeps_its_type():
    old = {"total": 1, "price": 1.5, "items": [{"n": 1}]}
    assert changed(old, "ADD", 2, VariableType.JSON_OBJ, "total") == {**old, "total": 3}
    assert changed(old, "ASSIGN", 2, VariableType.JSON_OBJ, "price")["price"] == 2.0  # type: ignore[index,call-overload]
    assert changed(old, "ADD", 1, VariableType.JSON_OBJ, "items", 0, "n") == {**old, "items": [{"n": 2}]}
    assert "expected INT, found STR a" in refused(changed, old, "ASSIGN", "a", VariableType.JSON_OBJ, "total")


def test_an_absent_key_is_put_whatever_the_operator():
    assert changed({}, "ADD", 2, VariableType.JSON_OBJ, "total") == {"total": 2}
    assert changed({"a": {}}, "ASSIGN", "x", VariableType.JSON_OBJ, "a", "b") == {"a": {"b": "x"}}
    assert changed({"a": None}, "ASSIGN", "x", VariableType.JSON_OBJ, "a") == {"a": "x"}


def test_nothing_is_removed_from_an_absent_key():
    assert changed({}, "REMOVE_KEY", "x", VariableType.JSON_OBJ, "a") == {}
    assert changed({}, "REMOVE_IF_PRESENT", "x", VariableType.JSON_OBJ, "a") == {}
    assert "no such key" in refused(changed, {}, "REMOVE_INDEX", 0, VariableType.JSON_OBJ, "a")


def test_a_path_does_not_make_the_way_it_takes():
    assert "expected something at $.a" in refused(changed, {}, "ASSIGN", 1, VariableType.JSON_OBJ, "a", "b")
    assert "only 1 items" in refused(changed, [0], "ASSIGN", 1, VariableType.JSON_ARR, 1)
    assert "found null" in refused(changed, None, "ASSIGN", 1, VariableType.JSON_OBJ, "a")


def test_a_mutation_copies_what_it_changes_and_shares_the_rest():
    untouched = {"deep": [1]}
    old: Value = {"a": {"n": 1}, "b": untouched}
    before = copy.deepcopy(old)
    new = changed(old, "ADD", 1, VariableType.JSON_OBJ, "a", "n")
    assert old == before
    assert new == {"a": {"n": 2}, "b": untouched}
    assert isinstance(new, dict)
    assert new["b"] is untouched


# (rule value-size-bounded)
def test_a_loop_of_add_ends_at_the_size_limit():
    half = "x" * (VALUE_BYTES_MAX // 2)
    full = changed(half, "ADD", half, VariableType.STR)
    assert full == half + half
    assert "more than" in refused(changed, full, "ADD", "x", VariableType.STR)
    assert "more than" in refused(changed, "ä" * (VALUE_BYTES_MAX // 2), "ADD", "x", VariableType.STR)


def test_a_format_that_names_a_large_argument_often_is_refused_before_it_is_made():
    scope = Values({"text": "x" * 200_000})
    assert "a format of more than" in refused(evaluate, Format("{0}" * 80_000, (VariableRef("text"),)), scope)


def test_a_list_of_large_lists_is_refused_before_all_their_items_are_counted():
    scope = Values({"items": list(range(30_000))})
    assert "more than" in refused(evaluate, ListOf((VariableRef("items"),) * 20_000), scope)


# (rule double-is-finite)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_double_that_is_no_number_fits_nowhere(number: float):
    assert not fits(number, VariableType.DOUBLE)
    assert not fits(number, None)
    with pytest.raises(ValueProblem):
        stored(number, VariableType.DOUBLE)


def test_a_loop_of_extend_ends_at_the_size_limit():
    items: Value = ["x" * 1000] * 255
    assert changed(items, "EXTEND", "x" * 1000, VariableType.JSON_ARR)
    assert "more than" in refused(changed, [*items, *items], "EXTEND", "x" * 1000, VariableType.JSON_ARR)
    assert "more than" in refused(changed, {"a": items}, "ASSIGN", items, VariableType.JSON_OBJ, "b")


# (rule value-size-bounded)
def test_a_loop_that_nests_ends_at_the_depth_limit():
    assert changed([], "EXTEND", deep(VALUE_DEPTH_MAX - 1), VariableType.JSON_ARR)
    assert "deep" in refused(changed, [], "EXTEND", deep(VALUE_DEPTH_MAX), VariableType.JSON_ARR)


def test_json_too_deep_for_python_is_a_problem_not_a_crash():
    abyss = deep(100_000)
    assert equal(abyss, abyss)
    refused(changed, [], "EXTEND", abyss, VariableType.JSON_ARR)
    refused(changed, "", "ADD", abyss, VariableType.STR)
    refused(evaluate, Format("{0}", (Literal(abyss),)), NOTHING)
    refused(evaluate, Cast(Literal(abyss), VariableType.STR), NOTHING)


def test_json_that_nests_without_end_is_no_value():
    assert "deep" in refused(from_json, "[" * 101 + "]" * 101)
    assert from_json("[" * VALUE_DEPTH_MAX + "]" * VALUE_DEPTH_MAX)
    refused(from_json, "[" * 100_000)
    refused(from_json, r'"\ud800"')
    refused(from_json, "1e999")


def json_values() -> st.SearchStrategy[Value]:
    leaves: st.SearchStrategy[Value] = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(INT_MIN, INT_MAX),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.sampled_from(["12", "true", "2026-01-01", "[]", "{}", "a"]),
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=8,
    )


@given(st.lists(json_values() | st.text()) | st.dictionaries(st.text(), json_values()))
def test_json_is_measured_as_it_is_written(value: Value):
    assert size_of(value) == len(to_json(value).encode())


@pytest.mark.parametrize("value", [[1e15] * 14_000, ["\x01" * 44_000]], ids=["numbers", "escapes"])
def test_json_that_is_long_as_it_is_written_is_too_large(value: Value):
    assert "of more than 262144 bytes" in refused(bounded, value)
    assert bounded(value[: len(value) // 2]) is not None


def deep(depth: int) -> Value:
    value: Value = 1
    for _ in range(depth):
        value = [value]
    return value


VALUES: st.SearchStrategy[Value] = st.one_of(
    json_values(),
    st.integers(-5, 70),
    st.sampled_from([INT_MIN, INT_MAX, 0.0, -1.0, 1e308, math.nan, math.inf, deep(VALUE_DEPTH_MAX)]),
    st.binary(max_size=4),
    st.integers(INT_MIN, INT_MAX).map(Timestamp),
)
PATHS = st.none() | st.lists(st.sampled_from(["a", "b"]) | st.integers(0, 2), max_size=3).map(
    lambda steps: JsonPath(tuple(steps))
)
NAMES = st.sampled_from(["a", "b", "missing"])


def operations(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    one = st.sampled_from([Operator.NOT, Operator.SIZE_OF])
    two = st.sampled_from([operator for operator in Operator if operator not in (Operator.NOT, Operator.SIZE_OF)])
    return st.builds(Operation, one, st.tuples(inner)) | st.builds(Operation, two, st.tuples(inner, inner))


EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    st.builds(Literal, VALUES) | st.builds(VariableRef, NAMES, PATHS) | st.builds(OutputRef, NAMES, PATHS),
    lambda inner: st.one_of(
        operations(inner),
        st.builds(Cast, inner, st.sampled_from(VariableType)),
        st.builds(Format, st.sampled_from(["", "{0}", "{0}-{1}", "{9}", "{x}{"]), st.tuples(inner, inner)),
        st.builds(ListOf, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
SCOPES = st.builds(Values, st.fixed_dictionaries({"a": VALUES, "b": VALUES}), st.fixed_dictionaries({"a": VALUES}))


@settings(max_examples=500, deadline=None)
@given(EXPRESSIONS, SCOPES)
def test_whatever_is_evaluated_gives_a_value_or_a_problem(expression: Expression, scope: Values):
    before = repr(scope)
    try:
        value = evaluate(expression, scope)
    except ValueProblem:
        return
    assert type(value) in (type(None), bool, int, float, str, bytes, Timestamp, dict, list)
    assert not (type(value) is int and not INT_MIN <= value <= INT_MAX)
    assert repr(scope) == before


# (rule mutation-keeps-the-type)
@settings(max_examples=500, deadline=None)
@given(
    VALUES,
    st.builds(Mutation, NAMES, st.sampled_from(MutationOperator), EXPRESSIONS, PATHS),
    st.sampled_from(VariableType),
    SCOPES,
)
def test_whatever_is_mutated_gives_a_value_of_the_declared_type_or_a_problem(
    old: Value, mutation: Mutation, declared: VariableType, scope: Values
):
    before = repr(old)
    try:
        value = mutate(old, mutation, declared, scope)
    except ValueProblem:
        return
    assert mutation.path is not None or fits(value, declared)
    assert repr(old) == before


@given(json_values(), json_values())
def test_equality_is_symmetric_and_holds_for_oneself(left: Value, right: Value):
    assert equal(left, copy.deepcopy(left))
    assert equal(left, right) == equal(right, left)
