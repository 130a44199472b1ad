"""A WfSpec is read from its document and written back, and all that is wrong with a document is reported."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.core.records.spec import (
    Backoff,
    Cast,
    Edge,
    Expression,
    Format,
    InterruptPolicy,
    JsonPath,
    ListOf,
    Literal,
    Mutation,
    MutationOperator,
    Operation,
    Operator,
    OutputRef,
    SleepNode,
    TaskNode,
    VariableRef,
    WaitForThreadsNode,
    WfSpec,
)
from processors.core.records.values import Timestamp, ValueProblem, VariableType
from processors.core.wf_spec.document_problems import path_text
from processors.core.wf_spec.expression_forms import EXPRESSION_DEPTH_MAX
from processors.core.wf_spec.expression_reader import parse_json_path
from processors.core.wf_spec.json_document import DOCUMENT_BYTES_MAX, parse_json_document
from processors.core.wf_spec.reader import read_wf_spec
from processors.core.wf_spec.writer import canonical, document_of, document_text, expression_document

CART: dict[str, Any] = {
    "name": "cart",
    "entrypoint": "main",
    "retention_s": 604800,
    "threads": {
        "main": {
            "variables": {"total": {"type": "INT", "default": 0}, "since": {"type": "TIMESTAMP", "required": True}},
            "interrupts": [{"event": "add", "handler": "on-add", "policy": "serial"}],
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "checkout", "timeout_s": 3600, "next": "pay"},
                "pay": {
                    "kind": "TASK",
                    "task": "charge",
                    "input": {"amount": {"var": "total"}},
                    "timeout_s": 30,
                    "retries": 2,
                    "backoff": {"base_ms": 1000, "multiplier": 2, "max_ms": 60000},
                    "next": {"to": "done", "set": [{"var": "total", "op": "ASSIGN", "value": 0}]},
                    "on_failure": [{"catch": "card-declined", "handler": "on-add"}, {"handler": "on-add"}],
                },
                "done": {"kind": "EXIT"},
            },
        },
        "on-add": {
            "variables": {"INPUT": {"type": "INT"}},
            "nodes": {
                "start": {
                    "kind": "ENTRYPOINT",
                    "next": {"to": "done", "set": [{"var": "total", "op": "ADD", "value": {"var": "INPUT"}}]},
                },
                "done": {"kind": "EXIT"},
            },
        },
    },
}


def read(document: object) -> WfSpec:
    wf_spec, problems = read_wf_spec(document)
    assert [str(problem) for problem in problems] == []
    assert wf_spec is not None
    return wf_spec


def node(**fields: Any) -> dict[str, Any]:
    """Return a WfSpec document with one node under examination, named `it`."""
    nodes = {"start": {"kind": "ENTRYPOINT", "next": "it"}, "it": fields, "done": {"kind": "EXIT"}}
    return {"name": "a", "entrypoint": "main", "threads": {"main": {"nodes": nodes}}}


def expression(written: object) -> Expression:
    wf_spec = read(node(kind="THROW_EVENT", event="e", content=written, next="done"))
    content: Expression = wf_spec.threads["main"].nodes["it"].content  # type: ignore[union-attr]
    return content


def problems_of(document: object) -> list[tuple[str, str]]:
    wf_spec, problems = read_wf_spec(document)
    assert wf_spec is None
    return [(problem.code, path_text(problem.path)) for problem in problems]


def test_a_document_becomes_a_wf_spec():
    wf_spec = read(CART)
    main = wf_spec.threads["main"]
    pay = main.nodes["pay"]
    assert (wf_spec.name, wf_spec.entrypoint, wf_spec.retention_s) == ("cart", "main", 604800)
    assert main.entrypoint == "start"
    assert main.variables["total"].default == 0
    assert main.variables["since"].required
    assert main.interrupt_of["add"].policy is InterruptPolicy.SERIAL
    assert isinstance(pay, TaskNode)
    assert pay.backoff == Backoff(1000, 2.0, 60000)
    assert pay.timeout_s == Literal(30)
    assert [handler.catch for handler in pay.failure_handlers] == ["card-declined", None]
    assert pay.edges == (Edge("done", None, (Mutation("total", MutationOperator.ASSIGN, Literal(0)),)),)


def test_left_out_fields_have_their_defaults():
    it = read(node(kind="TASK", task="t", next="done")).threads["main"].nodes["it"]
    assert isinstance(it, TaskNode)
    assert (it.timeout_s, it.retries, it.backoff, dict(it.input)) == (Literal(60), 0, None, {})


@pytest.mark.parametrize(
    ("given", "queue", "running"),
    [({}, None, None), ({"run_timeout_s": 5}, 300, 5), ({"queue_timeout_s": 5}, 5, 60), ({"timeout_s": 5}, None, None)],
)
def test_of_queueing_and_running_either_bound_gives_the_other_its_default(
    given: dict[str, int], queue: int | None, running: int | None
):
    it = read(node(kind="TASK", task="t", next="done", **given)).threads["main"].nodes["it"]
    assert isinstance(it, TaskNode)
    wanted = tuple(None if seconds is None else Literal(seconds) for seconds in (queue, running))
    assert (it.queue_timeout_s, it.run_timeout_s) == wanted


def test_next_is_a_name_an_edge_or_a_list_of_them():
    for written in ("done", {"to": "done"}, ["done"], [{"to": "done"}]):
        assert read(node(kind="NOP", next=written)).threads["main"].nodes["it"].edges == (Edge("done"),)
    edges = (
        read(node(kind="NOP", next=[{"to": "done", "when": {"var": "x"}}, "start"])).threads["main"].nodes["it"].edges
    )
    assert edges == (Edge("done", VariableRef("x")), Edge("start"))


def test_threads_to_wait_for_are_a_list_or_one_expression():
    for written, expected in (
        ([{"output": "a"}, 2], ListOf((OutputRef("a"), Literal(2)))),
        ([1, 2], Literal([1, 2])),
        ({"output": "a"}, OutputRef("a")),
    ):
        it = read(node(kind="WAIT_FOR_THREADS", threads=written, next="done")).threads["main"].nodes["it"]
        assert isinstance(it, WaitForThreadsNode)
        assert it.threads == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (5, Literal(5)),
        ("text", Literal("text")),
        (None, Literal(None)),
        ([1, [2]], Literal([1, [2]])),
        ({"literal": {"var": "x"}}, Literal({"var": "x"})),
        ([{"literal": {"a": 1}}], Literal([{"a": 1}])),
        ({"var": "x"}, VariableRef("x")),
        ({"var": "x", "path": "$.a[0]"}, VariableRef("x", JsonPath(("a", 0)))),
        ({"var": "x", "path": "$"}, VariableRef("x")),
        ({"output": "n", "path": '$["a b"].c'}, OutputRef("n", JsonPath(("a b", "c")))),
        ({"format": "Hello {0}", "args": [{"var": "x"}]}, Format("Hello {0}", (VariableRef("x"),))),
        ({"format": "Hello"}, Format("Hello", ())),
        ({"cast": [{"var": "x"}, "STR"]}, Cast(VariableRef("x"), VariableType.STR)),
        ({"eq": [1, {"var": "x"}]}, Operation(Operator.EQ, (Literal(1), VariableRef("x")))),
        ({"and": [True, True, False]}, Operation(Operator.AND, (Literal(True), Literal(True), Literal(False)))),
        ({"not": {"var": "x"}}, Operation(Operator.NOT, (VariableRef("x"),))),
        ({"not": [{"var": "x"}]}, Operation(Operator.NOT, (VariableRef("x"),))),
        ({"size_of": [[1, 2]]}, Operation(Operator.SIZE_OF, (Literal([1, 2]),))),
        ([{"var": "x"}, 1], ListOf((VariableRef("x"), Literal(1)))),
    ],
)
def test_expressions_are_read(written: object, expected: Expression):
    assert expression(written) == expected


@pytest.mark.parametrize(
    ("written", "code", "path"),
    [
        ({"a": 1}, "EXPRESSION_FORM", "content"),
        ({}, "EXPRESSION_FORM", "content"),
        ({"eq": [1, 2], "ne": [1, 2]}, "FIELD_UNKNOWN", "content.ne"),
        ({"eq": 1}, "FIELD_TYPE", "content.eq"),
        ({"eq": [1]}, "FIELD_VALUE", "content.eq"),
        ({"not": [1, 2]}, "FIELD_VALUE", "content.not"),
        ({"cast": [1, "NUMBER"]}, "FIELD_VALUE", "content.cast[1]"),
        ({"cast": 1}, "FIELD_TYPE", "content.cast"),
        ({"var": 5}, "FIELD_TYPE", "content.var"),
        ({"var": "x", "path": "a.b"}, "FIELD_VALUE", "content.path"),
        ({"format": "x", "args": 1}, "FIELD_TYPE", "content.args"),
        (2**63, "FIELD_VALUE", "content"),
        (float("nan"), "FIELD_VALUE", "content"),
        ([{"a": 1}], "EXPRESSION_FORM", "content[0]"),
        ({"literal": {1: 2}}, "FIELD_TYPE", "content.literal"),
        ({"literal": object()}, "FIELD_VALUE", "content.literal"),
    ],
)
def test_what_is_no_expression_is_said_with_its_place(written: object, code: str, path: str):
    found = problems_of(node(kind="THROW_EVENT", event="e", content=written, next="done"))
    assert (code, f"threads.main.nodes.it.{path}") in found


def test_expressions_are_not_deeper_than_the_limit():
    written: Any = True
    for _ in range(EXPRESSION_DEPTH_MAX + 5):
        written = {"not": written}
    assert [code for code, _ in problems_of(node(kind="NOP", next={"to": "done", "when": written}))] == ["LIMIT"]


def test_literals_are_not_deeper_than_the_limit():
    written: Any = 1
    for _ in range(10_000):
        written = [written]
    found = problems_of(node(kind="THROW_EVENT", event="e", content={"literal": written}, next="done"))
    assert [code for code, _ in found] == ["FIELD_VALUE"]


@pytest.mark.parametrize("document", [None, [], "cart", 5, {}, {"threads": []}, {"threads": {"main": None}}])
def test_what_is_no_document_has_problems_and_nothing_else(document: object):
    assert problems_of(document)


def test_every_problem_is_reported_with_its_place():
    document = copy.deepcopy(CART)
    del document["entrypoint"]
    document["threads"]["main"]["variables"]["total"]["typ"] = "INT"
    document["threads"]["main"]["interrupts"][0]["policy"] = "last"
    document["threads"]["main"]["nodes"]["pay"]["retries"] = -1
    document["threads"]["main"]["nodes"]["pay"]["backoff"]["multiplier"] = 0.5
    document["threads"]["main"]["nodes"]["done"]["next"] = "start"
    assert problems_of(document) == [
        ("FIELD_MISSING", "entrypoint"),
        ("FIELD_UNKNOWN", "threads.main.variables.total.typ"),
        ("FIELD_VALUE", "threads.main.interrupts[0].policy"),
        ("FIELD_TYPE", "threads.main.nodes.pay.backoff.multiplier"),
        ("FIELD_TYPE", "threads.main.nodes.pay.retries"),
        ("FIELD_UNKNOWN", "threads.main.nodes.done.next"),
    ]


def test_problems_come_in_the_order_of_the_fields_as_they_are_described():
    """The first gives a refusal its code."""
    edge = {"when": {"gt": [1]}, "set": [{}]}
    assert problems_of(node(kind="NOP", next=edge)) == [
        ("FIELD_MISSING", "threads.main.nodes.it.next.to"),
        ("FIELD_VALUE", "threads.main.nodes.it.next.when.gt"),
        ("FIELD_MISSING", "threads.main.nodes.it.next.set[0].op"),
        ("FIELD_MISSING", "threads.main.nodes.it.next.set[0].var"),
        ("FIELD_MISSING", "threads.main.nodes.it.next.set[0].value"),
    ]


def test_an_unknown_field_names_the_one_that_was_probably_meant():
    _, problems = read_wf_spec(node(kind="TASK", task="t", retrys=2, next="done"))
    assert "has no field retrys (did you mean retries?)" in str(problems[0])


def test_a_sleep_has_exactly_one_of_its_three_forms():
    assert problems_of(node(kind="SLEEP", next="done"))
    assert problems_of(node(kind="SLEEP", seconds=1, until=2, next="done"))
    it = read(node(kind="SLEEP", until_iso="2026-01-01", next="done")).threads["main"].nodes["it"]
    assert it == SleepNode(name="it", until_iso=Literal("2026-01-01"), edges=(Edge("done"),))


def test_an_exit_fails_or_returns_but_not_both():
    document = node(kind="EXIT", fail={"name": "no-stock"})
    document["threads"]["main"]["nodes"]["it"]["return"] = 1
    assert problems_of(document) == [("FIELD_VALUE", "threads.main.nodes.it")]


@pytest.mark.parametrize(
    ("declared", "written", "expected"),
    [
        ("TIMESTAMP", "1970-01-01T00:00:01Z", Timestamp(1000)),
        ("TIMESTAMP", 1000, Timestamp(1000)),
        ("BYTES", "aGk=", b"hi"),
        ("DOUBLE", 1, 1.0),
        ("JSON_OBJ", {"a": [1]}, {"a": [1]}),
    ],
)
def test_defaults_are_written_as_json_can(declared: str, written: object, expected: object):
    document = node(kind="NOP", next="done")
    document["threads"]["main"]["variables"] = {"v": {"type": declared, "default": written}}
    wf_spec = read(document)
    assert wf_spec.threads["main"].variables["v"].default == expected
    assert read(parse_json_document(wf_spec.document)) == wf_spec


def test_defaults_that_cannot_be_read_are_problems():
    for declared, written in (("TIMESTAMP", "soon"), ("BYTES", "%%%")):
        document = node(kind="NOP", next="done")
        document["threads"]["main"]["variables"] = {"v": {"type": declared, "default": written}}
        assert problems_of(document) == [("FIELD_VALUE", "threads.main.variables.v.default")]


def test_reading_what_was_written_gives_the_same_wf_spec():
    wf_spec = read(CART)
    assert read(parse_json_document(wf_spec.document)) == wf_spec
    assert document_text(wf_spec) == wf_spec.document


def test_equal_wf_specs_have_one_canonical_text_whatever_is_spelled_out_and_in_what_order():
    spelled_out = copy.deepcopy(CART)
    main = spelled_out["threads"]["main"]
    main["nodes"] = dict(reversed(main["nodes"].items()))
    main["nodes"]["wait"]["next"] = [{"to": "pay", "set": []}]
    main["interrupts"][0] |= {"halt": True, "preemptive": False}
    main["variables"]["total"] |= {"required": False, "masked": False}
    main["nodes"]["pay"]["next"]["set"][0]["path"] = "$"
    assert canonical(read(spelled_out)) == canonical(read(CART))


def test_what_differs_has_another_canonical_text():
    for path, value in ((("retention_s",), 1), (("threads", "main", "variables", "total", "default"), 1)):
        other = copy.deepcopy(CART)
        target = other
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value
        assert canonical(read(other)) != canonical(read(CART))


def test_the_document_keeps_its_author_s_order():
    assert list(document_of(read(CART))["threads"]["main"]["nodes"]) == ["start", "wait", "pay", "done"]


@pytest.mark.parametrize(
    "text",
    ["{", '{"a": 1, "a": 2}', "[" * 100_000, "x", '{"a": 1e999999}' + "x", " " * (DOCUMENT_BYTES_MAX + 1), '"\ud800"x'],
)
def test_text_that_is_no_json_document_is_a_problem(text: str):
    with pytest.raises(ValueProblem):
        parse_json_document(text)


def test_numbers_beyond_all_bounds_are_problems_of_the_field():
    text = json.dumps(CART).replace("604800", "9" * 10_000)
    assert problems_of(parse_json_document(text)) == [("FIELD_TYPE", "retention_s")]


@pytest.mark.parametrize("text", ["", "a", "$a", "$.", "$.a.", "$[x]", "$[-1]", '$["a]', "$.a b", "$" + ".a" * 33])
def test_what_is_no_json_path_is_a_problem(text: str):
    with pytest.raises(ValueProblem):
        parse_json_path(text)


@given(st.lists(st.text(max_size=6) | st.integers(0, 999_999_999), max_size=6).map(tuple))
def test_every_json_path_reads_back(steps: tuple[str | int, ...]):
    assert parse_json_path(str(JsonPath(steps))) == JsonPath(steps)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text("abc", min_size=1, max_size=3)
PATHS = st.none() | st.lists(st.text(max_size=3) | st.integers(0, 9), min_size=1, max_size=3).map(
    lambda steps: JsonPath(tuple(steps))
)


def operations(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    one = st.sampled_from([Operator.NOT, Operator.SIZE_OF])
    two = st.sampled_from([operator for operator in Operator if operator not in (Operator.NOT, Operator.SIZE_OF)])
    return st.builds(Operation, one, st.tuples(inner)) | st.builds(Operation, two, st.tuples(inner, inner))


EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    st.builds(Literal, JSON) | st.builds(VariableRef, NAMES, PATHS) | st.builds(OutputRef, NAMES, PATHS),
    lambda inner: st.one_of(
        operations(inner),
        st.builds(Cast, inner, st.sampled_from(VariableType)),
        st.builds(Format, st.text(max_size=5), st.lists(inner, max_size=2).map(tuple)),
        st.builds(
            ListOf,
            st.lists(inner, min_size=1, max_size=3)
            .map(tuple)
            .filter(lambda items: not all(isinstance(item, Literal) for item in items)),
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS)
def test_every_expression_reads_back_from_how_it_is_written(wanted: Expression):
    assert expression(json.loads(json.dumps(expression_document(wanted)))) == wanted


@pytest.mark.parametrize("document", [{"literal": [1]}, {"literal": []}, {"literal": [[1]]}, "x"])
def test_what_stands_as_deep_as_may_be_reads_back_from_how_it_is_written(document: Any):
    for _ in range(EXPRESSION_DEPTH_MAX):
        document = {"not": document}
    assert expression(expression_document(expression(document))) == expression(document)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_document_it_is_read_or_its_problems_are_said(data: st.DataObject):
    document = copy.deepcopy(CART)
    target: Any = document
    while isinstance(target, dict | list) and target:
        key = data.draw(st.sampled_from(sorted(target) if isinstance(target, dict) else range(len(target))))
        if data.draw(st.integers(0, 3)) == 0 or not isinstance(target[key], dict | list) or not target[key]:
            target[key] = data.draw(JSON)
            break
        target = target[key]
    wf_spec, problems = read_wf_spec(document)
    assert (wf_spec is None) == bool(problems)
    if wf_spec is not None:
        assert read(parse_json_document(wf_spec.document)) == wf_spec


def test_how_deep_json_may_be_does_not_hang_on_the_caller_s_stack():
    sentences = set()
    for depth in (201, 500, 900, 5000, 100_000):
        with pytest.raises(ValueProblem) as problem:
            parse_json_document("[" * depth + "]" * depth)
        sentences.add(str(problem.value))
    assert sentences == {"expected a JSON document of at most 200 levels, found more"}
