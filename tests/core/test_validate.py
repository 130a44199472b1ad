"""WfSpecs that are refused when they are registered: at least one case for each code (rule wf-spec-is-checked)."""

# ruff: noqa: E501  documents in tables read best a row a line

import json
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import read_yaml
from halter.scenarios.definitions import register
from processors.core.records.commands import DefinitionKind, PutWfSpec
from processors.core.records.events import Definition
from processors.core.records.values import VariableType
from processors.core.wf_spec import near_names
from processors.core.wf_spec.document_problems import path_text
from processors.core.wf_spec.validate import CODES, check_document, hints


@dataclass
class Registered:
    """The definitions that the WfSpecs may refer to."""

    tasks: dict[str, Definition] = field(default_factory=dict)
    events: dict[str, Definition] = field(default_factory=dict)
    workflow_events: dict[str, Definition] = field(default_factory=dict)

    def task_def(self, name: str) -> Definition | None:
        return self.tasks.get(name)

    def external_event_def(self, name: str) -> Definition | None:
        return self.events.get(name)

    def workflow_event_def(self, name: str) -> Definition | None:
        return self.workflow_events.get(name)

    def names(self, kind: DefinitionKind) -> list[str]:
        of = {
            DefinitionKind.TASK_DEF: self.tasks,
            DefinitionKind.EXTERNAL_EVENT_DEF: self.events,
            DefinitionKind.WORKFLOW_EVENT_DEF: self.workflow_events,
        }
        return list(of[kind])


def task(name: str, **fields: Any) -> Definition:
    return Definition(DefinitionKind.TASK_DEF, name, 0, 0, **fields)


def event(name: str, content_type: VariableType | None = None, deleted: bool = False) -> Definition:
    return Definition(DefinitionKind.EXTERNAL_EVENT_DEF, name, 0, 0, content_type=content_type, deleted=deleted)


REGISTERED = Registered(
    tasks={
        "charge": task("charge", input={"amount": VariableType.INT}, output=VariableType.STR),
        "anything": task("anything"),
    },
    events={
        "checkout": event("checkout"),
        "add": event("add", VariableType.INT),
        "other": event("other"),
        "gone": event("gone", deleted=True),
    },
    workflow_events={
        "told": Definition(DefinitionKind.WORKFLOW_EVENT_DEF, "told", 0, 0, content_type=VariableType.INT)
    },
)

ENTRYPOINT = {"kind": "ENTRYPOINT", "next": "done"}
EXIT = {"kind": "EXIT"}


def thread(*, next: Any = "done", variables: Any = None, interrupts: Any = None, **nodes: Any) -> dict[str, Any]:  # noqa: A002
    """Return a ThreadSpec: start, the given nodes, done."""
    given = {"variables": variables, "interrupts": interrupts}
    return {
        **{name: value for name, value in given.items() if value is not None},
        "nodes": {"start": {"kind": "ENTRYPOINT", "next": next}, **nodes, "done": EXIT},
    }


def wf(name: str = "cart", entrypoint: str = "main", **threads: Any) -> dict[str, Any]:
    return {
        "name": name,
        "entrypoint": entrypoint,
        "threads": {key.replace("_", "-"): value for key, value in threads.items()},
    }


def one(**node: Any) -> dict[str, Any]:
    """Return a WfSpec with one node under examination, and Variables of all types."""
    return wf(main=thread(next="it", variables=VARIABLES, it={"next": "done", **node}), child=CHILD)


def on_edge(*mutations: dict[str, Any], when: Any = None) -> dict[str, Any]:
    """Return a WfSpec with one edge under examination."""
    edge = {"to": "done", "set": list(mutations), **({} if when is None else {"when": when})}
    return wf(main=thread(next=edge, variables=VARIABLES))


def correlated(event_def: str, key: Any) -> dict[str, Any]:
    """Return a WfSpec with one correlation key under examination."""
    variables = {**VARIABLES, "secret": {"type": "STR", "masked": True}}
    it = {"kind": "EXTERNAL_EVENT", "event": "checkout", "next": "done"}
    return {**wf(main=thread(next="it", variables=variables, it=it)), "correlated_events": {event_def: key}}


def searching(main: dict[str, Any] | None = None, child: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a WfSpec with a Variable `found` in one of its threads."""
    of = {name: {"variables": {"found": it}} if it else {} for name, it in (("main", main), ("child", child))}
    return wf(main=thread(**of["main"]), child=thread(**of["child"]))


VARIABLES = {
    "count": {"type": "INT"},
    "price": {"type": "DOUBLE"},
    "text": {"type": "STR"},
    "flag": {"type": "BOOL"},
    "data": {"type": "JSON_OBJ"},
    "items": {"type": "JSON_ARR"},
    "when": {"type": "TIMESTAMP"},
    "raw": {"type": "BYTES"},
}
CHILD = thread(variables={"amount": {"type": "INT", "required": True}, "note": {"type": "STR"}})
HANDLER = thread(variables={"INPUT": {"type": "INT"}})
IT = "threads.main.nodes.it"
EDGE = "threads.main.nodes.start.next"


def var(name: str, path: str | None = None) -> dict[str, str]:
    return {"var": name} if path is None else {"var": name, "path": path}


def put(variable: str, op: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"var": variable, "op": op, "value": value, **more}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("FIELD_UNKNOWN", one(kind="NOP", nxt="done"), f"{IT}.nxt"),
    ("FIELD_MISSING", one(kind="TASK"), f"{IT}.task"),
    ("FIELD_TYPE", one(kind="TASK", task="anything", retries="two"), f"{IT}.retries"),
    ("FIELD_VALUE", one(kind="SLEEPING"), f"{IT}.kind"),
    ("EXPRESSION_FORM", one(kind="SLEEP", seconds={"a": 1}), f"{IT}.seconds"),
    ("EXPRESSION_TEXT", one(kind="SLEEP", seconds={"expr": "1 +"}), f"{IT}.seconds.expr"),
    ("LIMIT", wf(main=thread(**{f"n{i}": {"kind": "NOP", "next": "done"} for i in range(1000)})), "threads.main.nodes"),
    ("WF_NAME", wf("my_cart", main=thread()), "name"),
    ("WF_NAME", wf("-cart", main=thread()), "name"),
    ("WF_NAME", wf("c" * 129, main=thread()), "name"),
    ("NAME_INVALID", {**wf(), "entrypoint": "a b", "threads": {"a b": thread()}}, 'threads["a b"]'),
    ("NAME_INVALID", wf(main=thread(variables={"a.b": {"type": "INT"}})), 'threads.main.variables["a.b"]'),
    ("NO_ENTRYPOINT_THREAD", wf(entrypoint="mian", main=thread()), "entrypoint"),
    ("THREAD_NO_ENTRYPOINT", wf(main={"nodes": {"done": EXIT}}), "threads.main.nodes"),
    ("THREAD_NO_ENTRYPOINT", wf(main={"nodes": {}}), "threads.main.nodes"),
    ("MULTIPLE_ENTRYPOINTS", wf(main=thread(two=ENTRYPOINT)), "threads.main.nodes.two.kind"),
    ("THREAD_NO_EXIT", wf(main={"nodes": {"start": {**ENTRYPOINT, "next": "start"}}}), "threads.main.nodes"),
    ("EDGE_INTO_ENTRYPOINT", wf(main=thread(it={"kind": "NOP", "next": "start"})), f"{IT}.next"),
    ("EDGE_SELF_LOOP", wf(main=thread(it={"kind": "NOP", "next": ["done", "it"]})), f"{IT}.next[1]"),
    ("EDGE_MISSING_SINK", wf(main=thread(next="dnoe")), EDGE),
    ("NODE_NO_NEXT", wf(main=thread(it={"kind": "NOP"})), f"{IT}.next"),
    (
        "VAR_DUPLICATE",
        wf(main=thread(variables=VARIABLES), child=thread(variables={"count": {"type": "INT"}})),
        "threads.child.variables.count",
    ),
    ("VAR_UNKNOWN", on_edge(put("cuont", "ASSIGN", 1)), f"{EDGE}.set[0].var"),
    ("VAR_UNKNOWN", on_edge(put("count", "ASSIGN", var("cuont"))), f"{EDGE}.set[0].value.var"),
    ("VAR_UNKNOWN", one(kind="WAIT_FOR_CONDITION", condition={"eq": [var("INPUT"), 1]}), f"{IT}.condition.eq[0].var"),
    (
        "VAR_SCOPE",
        wf(
            main=thread(
                next="it",
                it={"kind": "TASK", "task": "anything", "input": {"n": var("note")}, "next": "go"},
                go={"kind": "START_THREAD", "thread": "child", "input": {"amount": 1}, "next": "done"},
            ),
            child=CHILD,
        ),
        f"{IT}.input.n.var",
    ),
    (
        "VAR_DEFAULT_TYPE",
        wf(main=thread(variables={"count": {"type": "INT", "default": "1"}})),
        "threads.main.variables.count.default",
    ),
    ("OUTPUT_UNKNOWN", on_edge(put("count", "ASSIGN", {"output": "strat"})), f"{EDGE}.set[0].value.output"),
    ("OUTPUT_UNKNOWN", on_edge(put("count", "ASSIGN", {"output": "start"})), f"{EDGE}.set[0].value.output"),
    ("EXPRESSION_TYPE", on_edge(put("count", "ASSIGN", {"add": [1, var("flag")]})), f"{EDGE}.set[0].value.add"),
    ("EXPRESSION_TYPE", on_edge(put("flag", "ASSIGN", {"lt": [1, "a"]})), f"{EDGE}.set[0].value.lt"),
    ("EXPRESSION_TYPE", on_edge(put("flag", "ASSIGN", {"and": [True, 1]})), f"{EDGE}.set[0].value.and"),
    ("EXPRESSION_TYPE", on_edge(put("flag", "ASSIGN", {"not": 1})), f"{EDGE}.set[0].value.not"),
    ("EXPRESSION_TYPE", on_edge(put("count", "ASSIGN", {"size_of": 1})), f"{EDGE}.set[0].value.size_of"),
    ("EXPRESSION_TYPE", on_edge(put("count", "ASSIGN", var("text", "$.a"))), f"{EDGE}.set[0].value.path"),
    ("EXPRESSION_TYPE", on_edge(put("count", "ASSIGN", var("items", "$.a"))), f"{EDGE}.set[0].value.path"),
    ("EXPRESSION_TYPE", on_edge(put("count", "ASSIGN", {"cast": [True, "INT"]})), f"{EDGE}.set[0].value.cast"),
    ("EXPRESSION_TYPE", on_edge(put("items", "ASSIGN", [var("when")])), f"{EDGE}.set[0].value[0]"),
    ("FORMAT_ARGS", on_edge(put("text", "ASSIGN", {"format": "{1}", "args": [1]})), f"{EDGE}.set[0].value.format"),
    ("CONDITION_TYPE", on_edge(when=1), f"{EDGE}.when"),
    ("CONDITION_TYPE", one(kind="WAIT_FOR_CONDITION", condition=None), f"{IT}.condition"),
    ("MUTATION_TYPE", on_edge(put("flag", "ADD", 1)), f"{EDGE}.set[0]"),
    ("MUTATION_TYPE", on_edge(put("count", "EXTEND", 1)), f"{EDGE}.set[0]"),
    ("MUTATION_TYPE", on_edge(put("data", "ASSIGN", [1])), f"{EDGE}.set[0]"),
    ("MUTATION_TYPE", on_edge(put("items", "REMOVE_INDEX", "a")), f"{EDGE}.set[0]"),
    ("MUTATION_TYPE", on_edge(put("items", "EXTEND", var("raw"))), f"{EDGE}.set[0]"),
    ("CAST", on_edge(put("count", "ASSIGN", 1.5)), f"{EDGE}.set[0]"),
    ("CAST", on_edge(put("count", "MULTIPLY", var("price"))), f"{EDGE}.set[0]"),
    ("CAST", on_edge(put("count", "ASSIGN", "12")), f"{EDGE}.set[0]"),
    (
        "INTERRUPT_EED_MISSING",
        wf(main=thread(interrupts=[{"event": "nope", "handler": "h"}]), h=HANDLER),
        "threads.main.interrupts[0].event",
    ),
    (
        "INTERRUPT_EED_MISSING",
        wf(main=thread(interrupts=[{"event": "gone", "handler": "h"}]), h=HANDLER),
        "threads.main.interrupts[0].event",
    ),
    (
        "INTERRUPT_HANDLER_MISSING",
        wf(main=thread(interrupts=[{"event": "add", "handler": "h"}])),
        "threads.main.interrupts[0].handler",
    ),
    (
        "INTERRUPT_HANDLER_VARS",
        wf(main=thread(interrupts=[{"event": "add", "handler": "child"}]), child=CHILD),
        "threads.main.interrupts[0].handler",
    ),
    (
        "INTERRUPT_EED_ALSO_NODE",
        wf(
            main=thread(
                interrupts=[{"event": "add", "handler": "h"}],
                it={"kind": "EXTERNAL_EVENT", "event": "add", "next": "done"},
            ),
            h=HANDLER,
        ),
        f"{IT}.event",
    ),
    (
        "INTERRUPT_EED_MULTI_THREAD",
        wf(
            main=thread(interrupts=[{"event": "add", "handler": "h"}]),
            h=thread(variables={"INPUT": {"type": "INT"}}, interrupts=[{"event": "add", "handler": "h"}]),
        ),
        "threads.h.interrupts[0].event",
    ),
    (
        "INTERRUPT_DUPLICATE",
        wf(main=thread(interrupts=[{"event": "add", "handler": "h"}] * 2), h=HANDLER),
        "threads.main.interrupts[1].event",
    ),
    (
        "INTERRUPT_INPUT_TYPE",
        wf(main=thread(interrupts=[{"event": "add", "handler": "h"}]), h=thread(variables={"INPUT": {"type": "STR"}})),
        "threads.main.interrupts[0].handler",
    ),
    ("CORRELATION_EVENT", correlated("add", var("text")), "correlated_events.add"),
    ("CORRELATION_KEY_TYPE", correlated("checkout", var("flag")), "correlated_events.checkout"),
    ("CORRELATION_KEY_TYPE", correlated("checkout", ["a", "b"]), "correlated_events.checkout"),
    ("CORRELATION_KEY_OUTPUT", correlated("checkout", {"output": "it"}), "correlated_events.checkout.output"),
    ("CORRELATION_KEY_MASKED", correlated("checkout", {"add": ["x", var("secret")]}), "correlated_events.checkout"),
    (
        "VAR_SEARCHABLE",
        searching({"type": "STR", "masked": True, "searchable": True}),
        "threads.main.variables.found.searchable",
    ),
    (
        "VAR_SEARCHABLE",
        searching(child={"type": "STR", "searchable": True}),
        "threads.child.variables.found.searchable",
    ),
    ("VAR_UNKNOWN", correlated("checkout", var("nope")), "correlated_events.checkout.var"),
    ("EXT_EVENT_EED_MISSING", one(kind="EXTERNAL_EVENT", event="nope"), f"{IT}.event"),
    ("TASKDEF_MISSING", one(kind="TASK", task="nope"), f"{IT}.task"),
    ("TASK_ARG_COUNT", one(kind="TASK", task="charge"), f"{IT}.input"),
    ("TASK_ARG_COUNT", one(kind="TASK", task="charge", input={"amount": 1, "more": 2}), f"{IT}.input"),
    ("TASK_ARG_TYPE", one(kind="TASK", task="charge", input={"amount": "1"}), f"{IT}.input.amount"),
    ("WF_EVENT_DEF_MISSING", one(kind="THROW_EVENT", event="nope"), f"{IT}.event"),
    ("WF_EVENT_TYPE", one(kind="THROW_EVENT", event="told", content="x"), f"{IT}.content"),
    ("TIMEOUT_TYPE", one(kind="TASK", task="anything", timeout_s="60"), f"{IT}.timeout_s"),
    ("TIMEOUT_TYPE", one(kind="TASK", task="anything", timeout_s=0), f"{IT}.timeout_s"),
    ("TIMEOUT_TYPE", one(kind="TASK", task="anything", queue_timeout_s="60"), f"{IT}.queue_timeout_s"),
    ("TIMEOUT_TYPE", one(kind="TASK", task="anything", run_timeout_s=0), f"{IT}.run_timeout_s"),
    ("FIELD_VALUE", one(kind="TASK", task="anything", run_timeout_s=1, timeout_s=1), IT),
    ("TIMEOUT_TYPE", one(kind="EXTERNAL_EVENT", event="checkout", timeout_s=None), f"{IT}.timeout_s"),
    ("SLEEP_TYPE", one(kind="SLEEP", seconds=-5), f"{IT}.seconds"),
    (
        "FAILURE_NAME_INVALID",
        one(kind="NOP", on_failure=[{"catch": "_x", "handler": "child"}]),
        f"{IT}.on_failure[0].catch",
    ),
    ("SLEEP_TYPE", one(kind="SLEEP", seconds="5"), f"{IT}.seconds"),
    ("SLEEP_TYPE", one(kind="SLEEP", until=var("text")), f"{IT}.until"),
    ("SLEEP_TYPE", one(kind="SLEEP", until_iso="tomorrow"), f"{IT}.until_iso"),
    ("START_THREAD_SELF", one(kind="START_THREAD", thread="main"), f"{IT}.thread"),
    ("START_THREAD_MISSING", one(kind="START_THREAD", thread="chidl"), f"{IT}.thread"),
    ("START_THREAD_INPUTS", one(kind="START_THREAD", thread="child"), f"{IT}.input"),
    ("START_THREAD_INPUTS", one(kind="START_THREAD", thread="child", input={"amount": "1"}), f"{IT}.input.amount"),
    ("START_THREAD_INPUTS", one(kind="START_THREAD", thread="child", input={"amount": 1, "x": 1}), f"{IT}.input.x"),
    ("START_MULTIPLE", one(kind="START_MULTIPLE_THREADS", thread="child", over=5, input={"amount": 1}), f"{IT}.over"),
    ("START_MULTIPLE", one(kind="START_MULTIPLE_THREADS", thread="nope", over=[]), f"{IT}.thread"),
    ("START_MULTIPLE", one(kind="START_MULTIPLE_THREADS", thread="main", over=[]), f"{IT}.thread"),
    ("START_MULTIPLE", one(kind="START_MULTIPLE_THREADS", thread="child", over=[]), f"{IT}.input"),
    ("WAIT_THREADS_TYPE", one(kind="WAIT_FOR_THREADS", threads=var("count")), f"{IT}.threads"),
    ("WAIT_THREADS_TYPE", one(kind="WAIT_FOR_THREADS", threads=[var("text")]), f"{IT}.threads[0]"),
    ("WAIT_THREADS_TYPE", one(kind="WAIT_FOR_THREADS", threads=[1, "2"]), f"{IT}.threads[1]"),
    ("FAILURE_HANDLER_MISSING", one(kind="NOP", on_failure=[{"handler": "nope"}]), f"{IT}.on_failure[0].handler"),
    (
        "FAILURE_HANDLER_MISSING",
        one(kind="WAIT_FOR_THREADS", threads=[], on_child_failure=[{"handler": "nope"}]),
        f"{IT}.on_child_failure[0].handler",
    ),
    ("FAILURE_HANDLER_VARS", one(kind="NOP", on_failure=[{"handler": "child"}]), f"{IT}.on_failure[0].handler"),
    ("FAILURE_NAME_RESERVED", wf(main=thread(it={"kind": "EXIT", "fail": {"name": "TIMEOUT"}})), f"{IT}.fail.name"),
    ("FAILURE_NAME_RESERVED", wf(main=thread(it={"kind": "EXIT", "fail": {"name": "ERROR"}})), f"{IT}.fail.name"),
    ("FAILURE_NAME_INVALID", wf(main=thread(it={"kind": "EXIT", "fail": {"name": "no good"}})), f"{IT}.fail.name"),
    (
        "FAILURE_NAME_INVALID",
        one(kind="NOP", on_failure=[{"catch": "CHILD_FAILURE", "handler": "h"}]),
        f"{IT}.on_failure[0].catch",
    ),
    ("EXIT_RETURN_MISMATCH", wf(main=thread(it={"kind": "EXIT", "return": 1})), "threads.main.nodes.done.return"),
    (
        "EXIT_RETURN_MISMATCH",
        wf(
            main=thread(
                variables=VARIABLES, a={"kind": "EXIT", "return": var("count")}, it={"kind": "EXIT", "return": "x"}
            )
        ),
        f"{IT}.return",
    ),
]

FOUND_ELSEWHERE = {
    "DOCUMENT": "test_definitions",
    "VAR_FROZEN_TYPE": "test_definitions",
    "UPDATE_BREAKING": "test_definitions",
    "UPDATE_FORBIDDEN": "test_definitions",
}


@pytest.mark.parametrize(
    ("code", "document", "path"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_it_is_refused_with_its_code_and_place(code: str, document: dict[str, Any], path: str):
    wf_spec, problems = check_document(document, REGISTERED)
    assert wf_spec is None
    found = [(problem.code, path_text(problem.path)) for problem in problems]
    assert (code, path) in found, [str(problem) for problem in problems]
    for problem in problems:
        assert "expected" in problem.message or "has no field" in problem.message
        assert problem.code in CODES


def test_every_code_has_a_case():
    assert {code for code, _, _ in REFUSED} | set(FOUND_ELSEWHERE) == set(CODES)


ACCEPTED: dict[str, dict[str, Any]] = {
    "every kind of node": wf(
        main=thread(
            next="task",
            variables=VARIABLES,
            interrupts=[{"event": "add", "handler": "h", "policy": "latest", "halt": False, "preemptive": True}],
            task={"kind": "TASK", "task": "charge", "input": {"amount": var("count")}, "retries": 2, "backoff": {"base_ms": 10}, "next": {"to": "wait", "set": [put("text", "ASSIGN", {"output": "task"})]}},
            wait={"kind": "EXTERNAL_EVENT", "event": "checkout", "timeout_s": 5, "next": "sleep"},
            sleep={"kind": "SLEEP", "until": var("when"), "next": "spawn"},
            spawn={"kind": "START_THREAD", "thread": "child", "input": {"amount": 1}, "next": "many"},
            many={"kind": "START_MULTIPLE_THREADS", "thread": "child", "over": var("items"), "input": {"amount": 1}, "next": "join"},
            join={"kind": "WAIT_FOR_THREADS", "threads": [{"output": "spawn"}], "on_child_failure": [{"catch": "EXCEPTION", "handler": "h"}], "next": "all"},
            all={"kind": "WAIT_FOR_THREADS", "threads": {"output": "many"}, "strategy": "FIRST", "next": "ready"},
            ready={"kind": "WAIT_FOR_CONDITION", "condition": {"ge": [var("count"), 3]}, "next": "tell"},
            tell={"kind": "THROW_EVENT", "event": "told", "content": var("count"), "next": [{"to": "done", "when": var("flag")}, "task"], "on_failure": [{"catch": "TASK_ERROR", "handler": "h"}]},
        ),
        child=CHILD,
        h=HANDLER,
    ),
    "a ThreadSpec as its own handler": wf(main=thread(interrupts=[{"event": "other", "handler": "main"}])),
    "an interrupt handler with a local Variable": wf(
        main=thread(interrupts=[{"event": "add", "handler": "h"}]),
        h=thread(variables={"INPUT": {"type": "INT"}, "tries": {"type": "INT", "default": 0}}),
    ),
    "catching an exception whose name a task worker chose": wf(
        main=thread(next="it", it={"kind": "TASK", "task": "anything", "next": "done", "on_failure": [{"catch": "card_declined", "handler": "h"}]}),
        h=thread(),
    ),
    "an untyped event fits any INPUT": wf(main=thread(interrupts=[{"event": "other", "handler": "h"}]), h=HANDLER),
    "an INT where a DOUBLE is declared": on_edge(put("price", "ASSIGN", 1)),
    "a number where STR is declared": on_edge(put("text", "ASSIGN", 1)),
    "null where anything is declared": on_edge(put("count", "ASSIGN", None)),
    "what a JSON path leads to, of unknown type": on_edge(put("count", "ASSIGN", var("data", "$.n"))),
    "a DOUBLE cast to INT": on_edge(put("count", "ASSIGN", {"cast": [var("price"), "INT"]})),
    "anything below a JSON path": on_edge(put("data", "ADD", 1, path="$.n")),
    "EXITs that fail beside one that returns": wf(
        main={"nodes": {"start": {"kind": "ENTRYPOINT", "next": "a"}, "a": {"kind": "EXIT", "return": 1}, "b": {"kind": "EXIT", "fail": {"name": "no-stock"}}}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_is_accepted(name: str):
    wf_spec, problems = check_document(ACCEPTED[name], REGISTERED)
    assert [str(problem) for problem in problems] == []
    assert wf_spec is not None


def start(child: str, next: str = "done", **given: Any) -> dict[str, Any]:  # noqa: A002
    return {"kind": "START_THREAD", "thread": child, "input": given, "next": next}


READS_TOTAL = thread(next={"to": "done", "set": [put("total", "ADD", 1)]})


@pytest.mark.parametrize("way", ["child", "interrupt", "failure", "grandchild"])
def test_a_thread_sees_the_variables_of_the_threads_above_it(way: str):
    ways = {
        "child": {"main": thread(variables={"total": {"type": "INT"}}, next="it", it=start("low"))},
        "interrupt": {"main": thread(variables={"total": {"type": "INT"}}, interrupts=[{"event": "add", "handler": "low"}])},
        "failure": {"main": thread(variables={"total": {"type": "INT"}}, next="it", it={"kind": "NOP", "next": "done", "on_failure": [{"handler": "low"}]})},
        "grandchild": {"main": thread(variables={"total": {"type": "INT"}}, next="it", it=start("middle")), "middle": thread(next="it", it=start("low"))},
    }  # fmt: skip
    _, problems = check_document(wf(**ways[way], low=READS_TOTAL), REGISTERED)
    assert [str(problem) for problem in problems] == []


# (rule variable-in-scope-of-every-way)
def test_a_variable_is_in_scope_only_if_every_way_to_start_the_thread_provides_it():
    document = wf(
        main=thread(next="a", a=start("left", "b"), b=start("right")),
        left=thread(variables={"total": {"type": "INT"}}, next="it", it=start("low")),
        right=thread(next="it", it=start("low")),
        low=READS_TOTAL,
    )
    _, problems = check_document(document, REGISTERED)
    assert [problem.code for problem in problems] == ["VAR_SCOPE"]
    assert "of left" in problems[0].message


def test_a_sibling_s_variable_is_out_of_scope():
    document = wf(
        main=thread(next="a", a=start("left", "b"), b=start("low")),
        left=thread(variables={"total": {"type": "INT"}}),
        low=READS_TOTAL,
    )
    assert [problem.code for problem in check_document(document, REGISTERED)[1]] == ["VAR_SCOPE"]


def test_a_handler_that_reads_an_input_it_does_not_declare_is_told_of_that_and_not_of_another_s():
    reads = {"add": [{"var": "INPUT", "path": "$.street"}, 1]}
    document = wf(
        main=thread(interrupts=[{"event": "other", "handler": "h"}, {"event": "add", "handler": "reads"}]),
        h=HANDLER,
        reads=on_edge(put("count", "ASSIGN", reads))["threads"]["main"] | {"variables": {"count": {"type": "INT"}}},
    )
    (problem,) = check_document(document, REGISTERED)[1]
    assert problem.code == "VAR_SCOPE"
    assert "expected reads to declare INPUT" in problem.message


def test_the_handler_of_a_failed_child_sees_the_child_s_variables():
    joining = {"kind": "WAIT_FOR_THREADS", "threads": [{"output": "a"}], "on_child_failure": [{"handler": "low"}]}
    document = wf(
        main=thread(next="a", a=start("left", "it"), it={**joining, "next": "done"}),
        left=thread(variables={"total": {"type": "INT"}}),
        low=READS_TOTAL,
    )
    assert check_document(document, REGISTERED)[1] == []


def test_the_handler_of_several_failed_children_sees_what_all_of_them_have():
    waited = [{"output": "a"}, {"output": "b"}]
    joining = {"kind": "WAIT_FOR_THREADS", "threads": waited, "on_child_failure": [{"handler": "low"}]}
    document = wf(
        main=thread(next="a", a=start("left", "b"), b=start("right", "it"), it={**joining, "next": "done"}),
        left=thread(variables={"total": {"type": "INT"}}),
        right=thread(),
        low=READS_TOTAL,
    )
    assert [problem.code for problem in check_document(document, REGISTERED)[1]] == ["VAR_SCOPE"]


def test_a_handler_without_input_sees_that_of_the_handler_above_it():
    document = wf(
        main=thread(interrupts=[{"event": "add", "handler": "h"}]),
        h=thread(variables={"INPUT": {"type": "INT"}}, next="it", it=start("low")),
        low=thread(variables={"copy": {"type": "INT"}}, next={"to": "done", "set": [put("copy", "ASSIGN", var("INPUT"))]}),
    )  # fmt: skip
    assert check_document(document, REGISTERED)[1] == []


# (rule all-problems-reported)
def test_all_problems_of_a_document_are_reported_those_of_its_structure_with_the_others():
    document = wf(
        main=thread(
            next="it",
            it={"kind": "EXTERNAL_EVENT", "evnt": "checkout", "next": {"to": "dnoe", "set": [put("nothing", "PLUS", 1)]}},
            more={"kind": "TASK", "task": "nope", "next": "more"},
        )
    )  # fmt: skip
    problems = check_document(document, REGISTERED)[1]
    assert {(problem.code, path_text(problem.path)) for problem in problems} == {
        ("FIELD_UNKNOWN", f"{IT}.evnt"),
        ("FIELD_MISSING", f"{IT}.event"),
        ("FIELD_VALUE", f"{IT}.next.set[0].op"),
        ("EDGE_MISSING_SINK", f"{IT}.next.to"),
        ("VAR_UNKNOWN", f"{IT}.next.set[0].var"),
        ("TASKDEF_MISSING", "threads.main.nodes.more.task"),
        ("EDGE_SELF_LOOP", "threads.main.nodes.more.next"),
    }


MISTAKE_ELSEWHERE: dict[str, tuple[dict[str, Any], set[str]]] = {
    "in the WfSpec": ({"retention": 5}, {"FIELD_UNKNOWN"}),
    "in a Variable": ({"variables": {**VARIABLES, "count": {"type": "INTT"}}}, {"FIELD_VALUE"}),
    "in all Variables": ({"variables": []}, {"FIELD_TYPE"}),
    "in the name of variables": ({"variable": VARIABLES}, {"FIELD_UNKNOWN"}),
    "in an interrupt": ({"interrupts": ["add", {"event": "add", "handler": "nope"}]}, {"FIELD_TYPE", "INTERRUPT_HANDLER_MISSING"}),
    "in another node": ({"more": {"kind": "NOP", "next": ["done", 5, {"to": "nope"}]}}, {"FIELD_TYPE", "EDGE_MISSING_SINK"}),
    "in a node that would be the EXIT": ({"done": {"kind": "EXTI"}}, {"FIELD_VALUE"}),
}  # fmt: skip


@pytest.mark.parametrize("where", MISTAKE_ELSEWHERE)
def test_what_cannot_be_read_hides_no_other_problem_and_makes_none_of_its_own(where: str):
    extra, codes = MISTAKE_ELSEWHERE[where]
    document = one(kind="TASK", task="nope", timeout_s=0)
    main = document["threads"]["main"]
    main["nodes"]["start"]["next"] = {"to": "it", "set": [put("count", "ADD", 1)]}
    for name, value in extra.items():
        if name in ("more", "done"):
            main["nodes"][name] = value
        elif name == "retention":
            document[name] = value
        else:
            main.pop("variables", None) if name == "variable" else None
            main[name] = value
    _, problems = check_document(document, REGISTERED)
    assert {problem.code for problem in problems} == {"TASKDEF_MISSING", "TIMEOUT_TYPE", *codes}


def places_in(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Yield every place in a document, from the top."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for step, part in parts for place in places_in(part, (*path, step)))]


@pytest.mark.parametrize("place", places_in(ACCEPTED["every kind of node"])[1:], ids=path_text)
def test_a_part_that_cannot_be_read_makes_no_problems_elsewhere(place: tuple[str | int, ...]):
    document = json.loads(json.dumps(ACCEPTED["every kind of node"]))
    inside: Any = document
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = object()
    _, problems = check_document(document, REGISTERED)
    assert problems
    for problem in problems:
        within = problem.path[: len(place)] == place
        around = place[: len(problem.path)] == problem.path
        assert within or around, problem


def test_problems_are_told_in_short_sentences_however_long_the_names_are():
    long = ["x" * 30_000 + str(number) for number in range(8)]
    document = wf()
    document["threads"] = {name: thread(next="nope", it={"kind": "START_THREAD", "thread": "nope"}) for name in long}
    _, problems = check_document(document, REGISTERED)
    assert len(problems) > 30
    assert max(len(str(problem)) for problem in problems) < 1500


def test_looking_for_what_was_meant_ends_in_a_document_of_mistakes_only():
    with pytest.MonkeyPatch.context() as patch:
        compared: list[int] = []
        patch.setattr(
            near_names,
            "get_close_matches",
            lambda found, names, n: compared.append(len(names)) or [],  # noqa: ARG005
        )
        main = thread(**{f"a{number}": {"kind": "NOP", "next": f"b{number}"} for number in range(900)})
        _, problems = check_document(wf(main=main), REGISTERED)
    assert len(problems) == 900
    assert 0 < sum(compared) <= near_names.COMPARISONS_MAX


def test_an_undeclared_variable_s_sentence_names_those_there_are_in_their_order():
    _, problems = check_document(wf(main=thread(variables={"b": {"type": "INT"}, "z": {"type": "INT"}, "c": {"type": "INT"}}, next={"to": "done", "set": [put("unlike", "ADD", 1)]})), REGISTERED)  # fmt: skip
    assert [problem.message for problem in problems] == ["expected a declared Variable (b, z, c), found 'unlike'"]


def test_a_node_of_unknown_kind_is_not_blamed_for_what_it_would_have_been():
    document = wf(
        main=thread(next="it", variables=VARIABLES, it={"kind": "TSAK", "next": {"to": "done", "set": [put("text", "ASSIGN", {"output": "it"})]}})
    )  # fmt: skip
    assert [problem.code for problem in check_document(document, REGISTERED)[1]] == ["FIELD_VALUE"]


def test_without_definitions_only_references_to_them_go_unchecked():
    document = wf(main=thread(next="it", it={"kind": "TASK", "task": "nope", "next": "dnoe"}))
    assert [problem.code for problem in check_document(document, None)[1]] == ["EDGE_MISSING_SINK"]


def test_a_sentence_names_what_was_probably_meant():
    _, problems = check_document(wf(main=thread(next="dnoe")), REGISTERED)
    assert str(problems[0]) == f"{EDGE}: expected a node of main (did you mean done?), found 'dnoe'"


def test_what_is_never_reached_is_hinted_at_but_accepted():
    wf_spec, problems = check_document(wf(main=thread(it={"kind": "NOP", "next": "done"}), child=CHILD), REGISTERED)
    assert problems == []
    assert wf_spec is not None
    assert [(hint.code, path_text(hint.path)) for hint in hints(wf_spec)] == [
        ("NODE_UNREACHABLE", IT),
        ("THREAD_UNUSED", "threads.child"),
    ]


def test_who_reads_an_output_that_a_failure_handler_takes_away_is_hinted_at():
    sees = {"op": "ASSIGN", "var": "text", "value": {"output": "pay"}}

    reads = {"kind": "NOP", "next": {"to": "done", "set": [sees]}}
    fails = {"kind": "EXIT", "fail": {"name": "no-money"}}

    def hinted(end, handler_ends=EXIT, again=None, **pay):
        node = {"kind": "TASK", "task": "charge", "input": {"amount": 1}, "next": "end", **pay}
        node.setdefault("on_failure", [{"handler": "h"}])
        nodes = {"pay": node, "end": end, **({} if again is None else {"again": again})}
        main, handler = thread(next="pay", variables=VARIABLES, **nodes), thread(next="end", end=handler_ends)
        wf_spec, problems = check_document(wf(main=main, h=handler), REGISTERED)
        assert problems == []
        assert wf_spec is not None
        return [path_text(hint.path) for hint in hints(wf_spec) if hint.code == "OUTPUT_MAY_BE_MISSING"]

    assert hinted(reads) == ["threads.main.nodes.end"]
    assert hinted(reads, fails) == [], "its thread never goes on"
    assert hinted(reads, on_failure=[]) == []
    assert hinted(EXIT, next={"to": "end", "set": [sees]}) == [], "a mutation of the node's own edge is not done"
    again = {"kind": "NOP", "next": {"to": "pay", "set": [sees]}}
    assert hinted(EXIT, again=again, next=[{"to": "again", "when": True}, "end"]) == ["threads.main.nodes.again"]


def test_a_document_is_not_longer_than_what_can_be_stored():
    document = on_edge(put("text", "ASSIGN", "x" * 300_000))
    assert [problem.code for problem in check_document(document, REGISTERED)[1]] == ["FIELD_VALUE"]
    document = on_edge(*(put("text", "ASSIGN", "x" * 100_000) for _ in range(3)))
    assert [problem.code for problem in check_document(document, REGISTERED)[1]] == ["DOCUMENT"]


NAMES = ["main", "child", "h", "start", "task", "done", "count", "items", "INPUT", "add", "charge", "nowhere"]
EXPRESSIONS = st.recursive(
    st.sampled_from([None, True, 1, 1.5, "x", [], {"literal": {}}])
    | st.sampled_from(NAMES).map(lambda name: {"var": name})
    | st.sampled_from(NAMES).map(lambda name: {"output": name, "path": "$.a"}),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["eq", "lt", "in", "and", "add", "subtract", "divide"]), inner, inner).map(
            lambda drawn: {drawn[0]: [drawn[1], drawn[2]]}
        ),
        inner.map(lambda operand: {"not": operand}),
        inner.map(lambda operand: {"cast": [operand, "INT"]}),
        st.lists(inner, max_size=2),
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_written_into_a_wf_spec_it_is_accepted_or_its_problems_are_said(data: st.DataObject):
    document = json.loads(json.dumps(ACCEPTED["every kind of node"]))
    for _ in range(data.draw(st.integers(1, 3))):
        target: Any = document
        while True:
            keys = sorted(target) if isinstance(target, dict) else range(len(target))
            key = data.draw(st.sampled_from(keys))
            if isinstance(target[key], dict | list) and target[key] and data.draw(st.integers(0, 4)):
                target = target[key]
                continue
            target[key] = json.loads(json.dumps(data.draw(st.sampled_from(NAMES) | EXPRESSIONS)))  # none is shared
            break
    wf_spec, problems = check_document(document, REGISTERED)
    assert (wf_spec is None) == bool(problems)
    if wf_spec is not None:
        hints(wf_spec)


def test_a_name_that_is_not_registered_gets_the_one_that_was_meant_within_bounds():
    def told(others: int) -> str:
        tasks = {name: task(name) for name in ("charge", *(f"other-{number}" for number in range(others)))}
        nodes = {
            "a": {"kind": "ENTRYPOINT", "next": "b"},
            "b": {"kind": "TASK", "task": "chrage", "next": "c"},
            "c": {"kind": "EXIT"},
        }
        document = {"name": "w", "entrypoint": "main", "threads": {"main": {"nodes": nodes}}}
        _, (problem,) = check_document(document, Registered(tasks=tasks))
        return problem.message

    assert told(999).endswith("found none of that name (did you mean charge?)")
    assert told(1_000).endswith("found none of that name")


SCENARIOS = Path(__file__).parent.parent / "scenarios"
NO_TYPES: list[Any] = ["Int", "", 5, None]
"""Values in place of the type of a Variable that are none."""


@pytest.mark.parametrize("name", sorted(path.stem for path in SCENARIOS.glob("[!V]*.yaml")))
def test_a_variable_whose_type_is_none_is_one_problem_whatever_it_is_used_for(name: str) -> None:
    scenario, _ = read_scenario(read_yaml(SCENARIOS / f"{name}.yaml").data, lambda file: file)
    assert scenario is not None
    registered, refused = register(scenario.definitions)
    assert bool(refused) == (scenario.definitions_rejected is not None)
    if refused:
        return  # what else is wrong with it is reported beside it
    for command in scenario.definitions:
        if not isinstance(command, PutWfSpec):
            continue
        for thread_name, declared in json.loads(command.document)["threads"].items():
            for variable, wrong in product(declared.get("variables", {}), NO_TYPES):
                document = json.loads(command.document)
                place = ("threads", thread_name, "variables", variable, "type")
                document["threads"][thread_name]["variables"][variable]["type"] = wrong
                _, problems = check_document(document, registered)
                assert [(problem.code, problem.path) for problem in problems] == [("FIELD_VALUE", place)]
