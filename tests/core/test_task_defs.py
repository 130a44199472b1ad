"""TaskDefs that change: what is accepted, what is refused, and what WfSpecs and WfRuns have of it."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.core.records.commands import DefinitionCommand, DefinitionKind, DeleteDefinition, PutTaskDef, PutWfSpec
from processors.core.records.events import DefinitionAccepted, DefinitionRejected, DefinitionVersion
from processors.core.records.model import WfSpecId
from processors.core.records.values import Value, ValueProblem, VariableType, stored
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.registration import decide_definition
from tests.core.test_definitions import CAUSE

INT, DOUBLE, STR, BOOL = VariableType.INT, VariableType.DOUBLE, VariableType.STR, VariableType.BOOL
TASK_DEF = DefinitionKind.TASK_DEF


FIT_FIRST = (
    "put WfSpecs that fit, and delete the versions that do not when no WfRun runs them; or put the task under a name "
    "of its own (charge-2)"
)


class Fold:
    """The fold of definition-commands, with its definitions."""

    def __init__(self, *commands: DefinitionCommand) -> None:
        self.definitions = Definitions()
        for command in commands:
            assert isinstance(self.take(command), DefinitionAccepted), command

    def take(self, command: DefinitionCommand) -> DefinitionAccepted | DefinitionRejected:
        outcome, definitions = decide_definition(self.definitions, command, CAUSE)
        for definition in definitions:
            self.definitions.apply(definition)
        return outcome

    def put(self, command: DefinitionCommand) -> str:
        """Put a definition; return its version, or the sentences of its problems."""
        outcome = self.take(command)
        if isinstance(outcome, DefinitionAccepted):
            return f"{outcome.major}.{outcome.revision}{'' if outcome.changed else ' as before'}"
        return "\n".join(it.message for it in outcome.problems) or outcome.message


def charge(output: VariableType | None = None, queue: str | None = None, /, **inputs: VariableType) -> PutTaskDef:
    """Return the command for the TaskDef `charge`; inputs whose names begin with `o_` are optional."""
    return PutTaskDef("charge", inputs or None, output, queue, optional=[it for it in inputs if it.startswith("o_")])


def wf_spec(name: str = "cart", result: str | None = None, /, **inputs: Any) -> PutWfSpec:
    """Return a WfSpec with one TASK `charge`, which is given these literals. Its output is kept as a `result`."""
    sets = [] if result is None else [{"var": "result", "op": "ASSIGN", "value": {"output": "it"}}]
    main = {
        "variables": {} if result is None else {"result": {"type": result}},
        "nodes": {
            "start": {"kind": "ENTRYPOINT", "next": "it"},
            "it": {"kind": "TASK", "task": "charge", "input": inputs, "next": {"to": "done", "set": sets}},
            "done": {"kind": "EXIT"},
        },
    }
    return PutWfSpec(name, json.dumps({"name": name, "entrypoint": "main", "threads": {"main": main}}))


# (rule task-def-changes-compatibly)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (charge(), charge(None, "slow")),
        (charge(None, "slow"), charge()),
        (charge(a=INT), charge(a=INT, o_b=STR)),
        (charge(a=INT), charge(a=INT, o_b=STR, o_c=BOOL)),
        (charge(DOUBLE), charge(INT)),
        (charge(), charge(STR)),
        (charge(), charge(a=INT)),
        (charge(), charge(INT, "slow", a=INT)),
    ],
)
def test_what_all_can_bear_is_a_new_revision(before: PutTaskDef, after: PutTaskDef) -> None:
    fold = Fold(before)
    assert fold.put(before) == "0.0 as before"
    assert fold.put(after) == "0.1"
    assert fold.put(after) == "0.1 as before"
    assert [it.key for it in fold.definitions.versions(TASK_DEF, "charge")] == [
        "TASK_DEF/charge/0.0",
        "TASK_DEF/charge/0.1",
    ]


# (rule task-def-changes-compatibly)
@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (charge(a=INT, b=INT), charge(b=INT), "input: expected the input a (INT) as in 0.0, found it gone"),
        (charge(a=INT), charge(), "input: expected the inputs {a: INT} as in 0.0, found none declared"),
        (charge(a=INT), charge(a=DOUBLE), "input.a: expected INT as in 0.0, found DOUBLE"),
        (charge(a=DOUBLE), charge(a=INT), "input.a: expected DOUBLE as in 0.0, found INT"),
        (
            charge(a=INT),
            charge(a=INT, b=STR),
            "input.b: expected a new input to be optional, as WfSpecs do not give it; found b required",
        ),
        (
            charge(a=INT),
            PutTaskDef("charge", {"a": INT}, optional=["a"]),
            "input.a: expected it to be required as in 0.0, found it optional",
        ),
        (
            PutTaskDef("charge", {"a": INT}, optional=["a"]),
            charge(a=INT),
            "input.a: expected it to be optional as in 0.0, found it required",
        ),
        (charge(INT), charge(DOUBLE), "output: expected INT as in 0.0, found DOUBLE"),
        (charge(DOUBLE), charge(STR), "output: expected DOUBLE or INT as in 0.0, found STR"),
        (charge(INT), charge(), "output: expected INT as in 0.0, found that it is not checked"),
    ],
)
def test_what_somebody_cannot_bear_is_refused(before: PutTaskDef, after: PutTaskDef, sentence: str) -> None:
    fold = Fold(before)
    assert fold.put(after).startswith(f"{sentence}; ")
    assert fold.put(before) == "0.0 as before"


def test_a_refusal_names_each_difference_and_the_way_out() -> None:
    fold = Fold(charge(INT, a=INT, b=INT))
    outcome = fold.take(charge(STR, a=STR, c=INT))
    assert isinstance(outcome, DefinitionRejected)
    assert outcome.code == "FAILED_PRECONDITION"
    assert [it.code for it in outcome.problems] == ["TASKDEF_BREAKING"] * 4
    way_out = (
        "task workers and WfRuns rely on 0.0: put the other task under a name of its own (charge-2), "
        "put WfSpecs that name it, and delete 'charge' when none does"
    )
    assert outcome.message == (f"TaskDef 'charge': input.a: expected INT as in 0.0, found STR (and 3 more); {way_out}")
    assert [it.message.endswith(way_out) for it in outcome.problems] == [False, False, False, True]


@pytest.mark.parametrize(
    ("name", "another"), [("a", "a-2"), ("a-2", "a-3"), ("a-b", "a-b-2"), ("2", "2-2"), ("a-9", "a-10")]
)
def test_another_name_is_one_that_is_free_to_guess(name: str, another: str) -> None:
    fold = Fold(PutTaskDef(name, {"a": INT}))
    assert f"under a name of its own ({another})," in fold.put(PutTaskDef(name))


def test_optional_inputs_are_inputs() -> None:
    assert "found 'b'" in Fold().put(PutTaskDef("charge", {"a": INT}, optional=["b"]))
    assert "found 'b'" in Fold().put(PutTaskDef("charge", optional=["b"]))
    fold = Fold(PutTaskDef("charge", {"a": INT, "b": INT}, optional=["b", "a", "b"]))
    assert fold.put(PutTaskDef("charge", {"b": INT, "a": INT}, optional=["a", "b"])) == "0.0 as before"


# (rule task-inputs-are-given)
def test_a_wf_spec_gives_the_inputs_that_are_not_optional_and_no_others() -> None:
    fold = Fold(charge(a=INT, o_b=STR))
    assert fold.put(wf_spec(a=1)) == "0.0"
    assert fold.put(wf_spec(a=1, o_b="x")) == "0.1"
    expected = "expected the inputs of TaskDef 'charge': a, o_b (optional); found "
    assert expected + "o_b" in fold.put(wf_spec(o_b="x"))
    assert expected + "a, c" in fold.put(wf_spec(a=1, c=1))
    assert "expected STR, found INT" in fold.put(wf_spec(a=1, o_b=5))


# (rule task-def-changes-compatibly)
def test_inputs_are_declared_once_every_live_version_of_a_wf_spec_gives_them() -> None:
    fold = Fold(charge(), wf_spec(a=1), wf_spec(a="x", b=1), wf_spec("other", a=1))
    refusal = fold.put(charge(a=INT))
    assert refusal.splitlines() == [
        "input: cart:0.1, threads.main.nodes.it.input: expected the inputs of TaskDef 'charge': a; found a, b",
        "input: cart:0.1, threads.main.nodes.it.input.a: expected INT, found STR; " + FIT_FIRST,
    ]
    assert fold.put(wf_spec(a=1)) == "0.2"
    assert "cart:0.1" in fold.put(charge(a=INT)), "it may still be run"
    fold.take(DeleteDefinition(DefinitionKind.WF_SPEC, "cart", 0, 1))
    assert fold.put(charge(a=INT)) == "0.1"


def test_a_refusal_names_no_more_wf_specs_than_anybody_reads() -> None:
    fold = Fold(charge(), *(wf_spec(f"cart-{number}", a=1) for number in range(50)))
    assert len(fold.put(charge(b=INT)).splitlines()) == 20


# (rule task-as-its-wf-spec-binds)
def test_a_wf_spec_binds_the_revision_that_is_the_newest_when_it_is_accepted() -> None:
    fold = Fold(charge(DOUBLE, a=INT), wf_spec(a=1), charge(INT, "slow", a=INT), wf_spec("other", a=1))
    bound = {name: fold.definitions.version(WfSpecId(name, 0, 0)).task_defs for name in ("cart", "other")}
    assert bound == {"cart": {}, "other": {"charge": DefinitionVersion(0, 1)}}, "revision 0 goes without saying"
    found = fold.definitions.task_def("charge", WfSpecId("cart", 0, 0))
    assert found is not None
    assert found.output is DOUBLE
    newest = fold.definitions.task_def("charge")
    assert newest is not None
    assert (newest.output, newest.queue) == (INT, "slow")


# (rule put-again-binds-newest)
def test_a_wf_spec_that_is_put_again_is_a_new_revision_if_what_it_has_of_a_task_def_has_changed() -> None:
    fold = Fold(charge(a=INT), wf_spec(a=1))
    for change in (charge(None, "slow", a=INT), charge(None, "slow", a=INT, o_b=STR)):
        assert isinstance(fold.take(change), DefinitionAccepted)
        assert fold.put(wf_spec(a=1)) == "0.0 as before", "neither a queue nor what it does not give"
    assert fold.put(charge(INT, "slow", a=INT, o_b=STR)) == "0.3"
    assert fold.put(wf_spec(a=1)) == "0.1"
    assert fold.put(wf_spec(a=1)) == "0.1 as before"


def test_a_wf_spec_that_its_changed_task_def_does_not_fit_stays_as_it_is() -> None:
    fold = Fold(charge(), wf_spec("cart", "STR", x=1), charge(BOOL))
    assert fold.put(wf_spec("cart", "STR", x=1)) == "0.1", "a BOOL may become STR"
    fold = Fold(charge(), wf_spec("cart", "INT", x=1), charge(BOOL))
    assert fold.put(wf_spec("cart", "INT", x=1)) == "0.0 as before"


# (rule deleted-is-for-nothing-new)
def test_what_is_put_after_a_deletion_is_one_more_revision_that_older_wf_specs_fit() -> None:
    fold = Fold(charge(INT, a=INT), wf_spec(a=1))
    other = json.dumps(json.loads(wf_spec().document) | {"threads": json.loads(END)})
    fold.take(PutWfSpec("cart", other))
    assert isinstance(fold.take(DeleteDefinition(TASK_DEF, "charge")), DefinitionAccepted)
    assert "cart:0.0, threads.main.nodes.it.input: expected the inputs" in fold.put(charge(INT, b=INT))
    assert "output: expected INT as cart:0.0 does, found STR" in fold.put(charge(STR, a=INT))
    assert fold.put(charge(INT, a=DOUBLE)) == "0.1", "an INT fits, and no task worker relies on what was deleted"
    fold.take(DeleteDefinition(TASK_DEF, "charge"))
    fold.take(DeleteDefinition(DefinitionKind.WF_SPEC, "cart", 0, 0))
    assert fold.put(charge(STR, b=INT)) == "0.2"


END = '{"main": {"nodes": {"start": {"kind": "ENTRYPOINT", "next": "done"}, "done": {"kind": "EXIT"}}}}'


# What stays true.

VALUES: dict[VariableType, Value] = {INT: 1, DOUBLE: 1.5, STR: "x"}
TYPES = (None, INT, DOUBLE, STR)
NAMES = ("a", "b")


@st.composite
def task_defs(draw: st.DrawFn) -> PutTaskDef:
    inputs = draw(st.none() | st.dictionaries(st.sampled_from(NAMES), st.sampled_from([INT, DOUBLE, STR])))
    optional = [name for name in inputs or () if draw(st.booleans())]
    queue = draw(st.sampled_from([None, "slow"]))
    return PutTaskDef("charge", inputs, draw(st.sampled_from(TYPES)), queue, optional=optional)


given_inputs = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([1, 1.5, "x"]))
wf_specs = st.builds(
    lambda name, result, inputs: wf_spec(name, result, **inputs),
    st.sampled_from(["cart", "other"]),
    st.sampled_from([None, "INT", "DOUBLE", "STR"]),
    given_inputs,
)
deletions = st.sampled_from(
    [
        DeleteDefinition(TASK_DEF, "charge"),
        *(
            DeleteDefinition(DefinitionKind.WF_SPEC, name, 0, revision)
            for name in ("cart", "other")
            for revision in (0, 1)
        ),
    ]
)


@given(st.lists(task_defs() | wf_specs | deletions, max_size=12))
def test_what_every_wf_spec_gives_and_takes_fits_the_newest_task_def(commands: list[DefinitionCommand]) -> None:
    fold = Fold(charge())
    accepted = [command for command in commands if isinstance(fold.take(command), DefinitionAccepted)]
    newest = fold.definitions.task_def("charge")
    assert newest is not None
    for wf_spec_id in fold.definitions.naming(TASK_DEF, "charge"):
        node = fold.definitions.wf_spec(wf_spec_id).threads["main"].nodes["it"]
        bound = fold.definitions.task_def("charge", wf_spec_id)
        assert bound is not None
        request = {name: literal.value for name, literal in node.input.items()}  # type: ignore[union-attr]
        assert takes(newest.input, newest.optional, request), (accepted, wf_spec_id)
        assert takes(bound.input, bound.optional, request), (accepted, wf_spec_id)
        returned = VALUES.values() if newest.output is None else [VALUES[newest.output]]
        assert all(fits(value, bound.output) for value in returned), (accepted, wf_spec_id)


@given(st.lists(task_defs(), max_size=8))
def test_a_handler_that_fits_a_revision_takes_the_requests_of_all_later_ones(commands: list[DefinitionCommand]) -> None:
    fold = Fold(charge(a=INT))
    for command in commands:
        fold.take(command)
    revisions = fold.definitions.versions(TASK_DEF, "charge")
    for number, earlier in enumerate(revisions):
        for later in revisions[number:]:
            assert earlier.input is not None
            assert later.input is not None
            # It needs what is not optional, as the type that was declared, and passes over what it does not know.
            assert earlier.input.items() <= later.input.items()
            assert {*earlier.input} - {*earlier.optional} == {*later.input} - {*later.optional}


def takes(declared: dict[str, VariableType] | None, optional: Iterable[str], request: dict[str, Value]) -> bool:
    """Return True if an attempt may be given these inputs."""
    if declared is None:
        return True
    return declared.keys() - {*optional} <= request.keys() <= declared.keys() and all(
        fits(value, declared[name]) for name, value in request.items()
    )


def fits(value: Value, declared: VariableType | None) -> bool:
    try:
        stored(value, declared)
    except ValueProblem:
        return False
    return True
