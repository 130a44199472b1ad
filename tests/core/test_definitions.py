"""Definitions that are accepted or refused, and their versions: the page docs/rules/definitions.md, case by case."""

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.core.records.commands import (
    AllowedUpdate,
    DefinitionCommand,
    DefinitionKind,
    DeleteDefinition,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
)
from processors.core.records.events import (
    Cause,
    Definition,
    DefinitionAccepted,
    DefinitionRejected,
    DefinitionVersion,
    RejectionCode,
)
from processors.core.records.model import WfSpecId
from processors.core.records.values import VariableType
from processors.core.wf_spec.definitions import Definitions, UnreadableWfSpec
from processors.core.wf_spec.registration import decide_definition, refusals

CAUSE = Cause("definition-commands", 0, 7, "c1", 0)


def wf_spec(name: str = "cart", task: str | None = None, **variables: Any) -> dict[str, Any]:
    """Return a WfSpec document with Variables of the entrypoint, given as name -> type, `!` for required."""
    nodes: dict[str, Any] = {"start": {"kind": "ENTRYPOINT", "next": "done"}, "done": {"kind": "EXIT"}}
    if task is not None:
        nodes["start"]["next"] = "it"
        nodes["it"] = {"kind": "TASK", "task": task, "next": "done"}
    declared = {
        variable: {"type": given.rstrip("!"), **({"required": True} if given.endswith("!") else {})}
        for variable, given in variables.items()
    }
    return {"name": name, "entrypoint": "main", "threads": {"main": {"variables": declared, "nodes": nodes}}}


class Fold:
    """The fold of definition-commands, with the definitions that it stores."""

    def __init__(self) -> None:
        self.definitions = Definitions()
        self.stored: list[Definition] = []

    def take(self, command: DefinitionCommand) -> DefinitionAccepted | DefinitionRejected:
        outcome, definitions = decide_definition(self.definitions, command, CAUSE)
        for definition in definitions:
            self.definitions.apply(definition)
        self.stored += definitions
        assert (bool(definitions)) == (isinstance(outcome, DefinitionAccepted) and outcome.changed)
        return outcome

    def put(self, document: dict[str, Any], allowed: AllowedUpdate = AllowedUpdate.ALL) -> str:
        """Put a WfSpec; return its version, or the code with which it was refused."""
        outcome = self.take(PutWfSpec(document["name"], json.dumps(document), allowed_update=allowed))
        if isinstance(outcome, DefinitionAccepted):
            return f"{outcome.major}.{outcome.revision}{'' if outcome.changed else ' as before'}"
        return outcome.code

    def refused(self, command: DefinitionCommand) -> str:
        outcome = self.take(command)
        assert isinstance(outcome, DefinitionRejected), outcome
        assert outcome.cause == CAUSE
        return f"{outcome.code}: {outcome.message}"


@pytest.fixture
def fold() -> Fold:
    return Fold()


# (rule version-never-used-twice)
def test_the_first_version_is_0_0(fold: Fold):
    assert fold.put(wf_spec()) == "0.0"


# (rule equal-wf-spec-registers-nothing)
def test_an_equal_wf_spec_registers_nothing(fold: Fold):
    fold.put(wf_spec(total="INT"))
    spelled_out = wf_spec(total="INT")
    spelled_out["threads"]["main"]["nodes"]["start"]["next"] = [{"to": "done"}]
    assert fold.put(spelled_out) == "0.0 as before"
    assert len(fold.stored) == 1


# (rule equal-wf-spec-registers-nothing)
def test_an_equal_wf_spec_is_accepted_whatever_has_become_of_what_it_refers_to(fold: Fold):
    document = wf_spec()
    document["threads"]["main"]["interrupts"] = [{"event": "add", "handler": "on-add"}]
    document["threads"]["on-add"] = copy.deepcopy(document["threads"]["main"])
    document["threads"]["on-add"].update(variables={"INPUT": {"type": "INT"}}, interrupts=[])
    fold.take(PutExternalEventDef("add", VariableType.INT))
    assert fold.put(document) == "0.0"
    fold.take(PutExternalEventDef("add", VariableType.STR))
    assert fold.put(document) == "0.0 as before"
    assert fold.put(document, AllowedUpdate.NONE) == "0.0 as before"
    changed = {**document, "retention_s": 5}
    assert fold.put(changed) == "INTERRUPT_INPUT_TYPE"


# (rule breaking-change-is-major)
def test_a_change_that_callers_do_not_notice_is_a_new_revision(fold: Fold):
    fold.put(wf_spec(total="INT"))
    assert fold.put(wf_spec(total="INT", more="STR")) == "0.1"
    changed = wf_spec(total="INT", more="STR")
    changed["retention_s"] = 60
    assert fold.put(changed) == "0.2"


# (rule breaking-change-is-major)
@pytest.mark.parametrize(
    "after",
    [
        {"total": "INT", "more": "STR!"},
        {"total": "INT!"},
        {"total": "STR"},
        {},
    ],
    ids=["a new required one", "required now", "retyped", "gone"],
)
def test_a_change_of_variables_that_callers_notice_is_a_new_major_version(fold: Fold, after: dict[str, str]):
    fold.put(wf_spec(total="INT"))
    fold.put(wf_spec(total="INT", extra="STR"))
    assert fold.put(wf_spec(extra="STR", **after)) == "1.0"


def test_a_variable_that_is_no_longer_required_is_a_new_major_version(fold: Fold):
    fold.put(wf_spec(total="INT!"))
    assert fold.put(wf_spec(total="INT")) == "1.0"


# (rule required-type-is-frozen)
def test_the_type_of_a_variable_that_was_ever_required_never_changes(fold: Fold):
    fold.put(wf_spec(total="INT!"))
    assert fold.put(wf_spec(total="STR!")) == "VAR_FROZEN_TYPE"
    assert fold.put(wf_spec()) == "1.0"
    assert fold.put(wf_spec(total="STR")) == "VAR_FROZEN_TYPE"
    assert fold.put(wf_spec(total="INT")) == "1.1"


def test_going_back_is_a_new_version(fold: Fold):
    first, second = wf_spec(), wf_spec(total="INT")
    assert [fold.put(first), fold.put(second), fold.put(first)] == ["0.0", "0.1", "1.0"]


# (rule update-no-further-than-allowed)
def test_an_update_goes_no_further_than_the_command_allows(fold: Fold):
    fold.put(wf_spec(total="INT"))
    assert fold.put(wf_spec(total="INT"), AllowedUpdate.NONE) == "0.0 as before"
    assert fold.put(wf_spec(total="INT", more="STR"), AllowedUpdate.NONE) == RejectionCode.ALREADY_EXISTS
    assert fold.put(wf_spec(), AllowedUpdate.MINOR_REVISION) == RejectionCode.FAILED_PRECONDITION
    assert fold.put(wf_spec(total="INT", more="STR"), AllowedUpdate.MINOR_REVISION) == "0.1"
    command = PutWfSpec("cart", json.dumps(wf_spec()), allowed_update=AllowedUpdate.MINOR_REVISION)
    outcome = fold.take(command)
    assert isinstance(outcome, DefinitionRejected)
    assert [problem.code for problem in outcome.problems] == ["UPDATE_BREAKING"]
    outcome = fold.take(PutWfSpec("cart", json.dumps(wf_spec()), allowed_update=AllowedUpdate.NONE))
    assert isinstance(outcome, DefinitionRejected)
    assert [problem.code for problem in outcome.problems] == ["UPDATE_FORBIDDEN"]


def test_all_problems_of_a_document_are_in_the_rejection(fold: Fold):
    document = wf_spec(task="nope")
    document["threads"]["main"]["nodes"]["it"]["next"] = "it"
    outcome = fold.take(PutWfSpec("cart", json.dumps(document)))
    assert isinstance(outcome, DefinitionRejected)
    assert {problem.code for problem in outcome.problems} == {"TASKDEF_MISSING", "EDGE_SELF_LOOP"}
    assert outcome.code == outcome.problems[0].code
    assert outcome.message.startswith("WfSpec 'cart': threads.main.nodes.it")
    assert outcome.message.endswith("(and 1 more)")


@pytest.mark.parametrize("document", ["", "{", "[1", '{"name": "a", "name": "b"}', "[" * 5000, " " * 300_000])
def test_text_that_is_no_document_is_refused(fold: Fold, document: str):
    assert fold.refused(PutWfSpec("cart", document)).startswith("DOCUMENT: WfSpec 'cart': document: expected")


def test_a_changed_type_is_reported_with_all_else_that_is_wrong(fold: Fold):
    fold.put(wf_spec(total="INT!"))
    document = wf_spec(task="nope", total="STR!")
    outcome = fold.take(PutWfSpec("other", json.dumps(document)))
    assert isinstance(outcome, DefinitionRejected)
    assert {problem.code for problem in outcome.problems} == {"TASKDEF_MISSING", "WF_NAME", "VAR_FROZEN_TYPE"}


@pytest.mark.parametrize("place", ["name", "key", "default", "literal"])
def test_half_of_a_surrogate_pair_is_refused_as_no_text(fold: Fold, place: str):
    document = wf_spec(text="STR")
    main = document["threads"]["main"]
    match place:
        case "name":
            main["nodes"]["\ud800"] = {"kind": "EXIT"}
        case "key":
            document["\ud800"] = 1
        case "default":
            main["variables"]["text"]["default"] = "\udfff"
        case "literal":
            main["nodes"]["done"]["return"] = {"literal": {"a": ["\ud800"]}}
    outcome = fold.take(PutWfSpec("cart", json.dumps(document)))
    assert isinstance(outcome, DefinitionRejected)
    assert outcome.code == "DOCUMENT"
    outcome.message.encode()


def test_the_document_has_the_name_of_the_command(fold: Fold):
    assert "WF_NAME" in fold.refused(PutWfSpec("basket", json.dumps(wf_spec("cart"))))


def test_a_wf_spec_is_what_its_document_says_for_as_long_as_it_is_kept(fold: Fold):
    fold.put(wf_spec(total="INT"))
    fold.put(wf_spec(total="INT", more="STR"))
    assert list(fold.definitions.wf_spec(WfSpecId("cart", 0, 0)).threads["main"].variables) == ["total"]
    assert list(fold.definitions.wf_spec(WfSpecId("cart", 0, 1)).threads["main"].variables) == ["total", "more"]
    assert fold.definitions.wf_spec(WfSpecId("cart", 0, 1)) is fold.definitions.wf_spec(WfSpecId("cart", 0, 1))


# (rule newest-version-is-run)
def test_the_latest_version_is_the_newest_of_all_or_of_a_major_version(fold: Fold):
    for variables in ({}, {"a": "INT"}, {"a": "INT!"}, {"a": "INT!", "b": "INT"}):
        fold.put(wf_spec(**variables))
    latest = fold.definitions.latest_wf_spec
    assert latest("cart") == WfSpecId("cart", 1, 1)
    assert latest("cart", 0) == WfSpecId("cart", 0, 1)
    assert latest("cart", 0, 0) == WfSpecId("cart", 0, 0)
    assert latest("cart", 2) is None
    assert latest("basket") is None


def test_a_version_that_nobody_registered_is_an_error_that_names_it(fold: Fold):
    with pytest.raises(UnreadableWfSpec, match=r"cart:0\.0"):
        fold.definitions.wf_spec(WfSpecId("cart", 0, 0))
    fold.definitions.apply(Definition(DefinitionKind.WF_SPEC, "cart", 0, 0, document='{"name": "cart"}'))
    with pytest.raises(UnreadableWfSpec, match="expected the field threads"):
        fold.definitions.wf_spec(WfSpecId("cart", 0, 0))


@pytest.mark.parametrize(
    "command",
    [
        PutTaskDef("charge", {"amount": VariableType.INT}),
        PutWfSpec("cart", json.dumps(wf_spec())),
        DeleteDefinition(DefinitionKind.TASK_DEF, "charge"),
    ],
    ids=lambda it: type(it).__name__,
)
def test_a_wf_spec_of_a_later_release_is_why_a_definition_is_refused(fold: Fold, command: DefinitionCommand):
    fold.take(PutTaskDef("charge"))
    later = wf_spec(task="charge") | {"a-field-of-tomorrow": True}
    fold.definitions.apply(Definition(DefinitionKind.WF_SPEC, "cart", 0, 0, document=json.dumps(later)))
    outcome = fold.take(command)
    assert isinstance(outcome, DefinitionRejected)
    assert outcome.code == RejectionCode.FAILED_PRECONDITION
    said = r"a WfSpec that a later one has accepted: WfSpec cart:0\.0: .*a-field-of-tomorrow.*; upgrade the workers"
    assert re.search(said, outcome.message)
    assert [problem.message for _, problem in refusals(fold.definitions, [command])] == [
        outcome.message.partition(": ")[2]
    ]


def test_definitions_restored_from_what_was_stored_decide_alike(fold: Fold):
    for command in (
        PutTaskDef("charge"),
        PutWfSpec("cart", json.dumps(wf_spec(task="charge"))),
        PutWfSpec("cart", json.dumps(wf_spec(task="charge", a="INT!"))),
        DeleteDefinition(DefinitionKind.WF_SPEC, "cart", 0, 0),
        PutExternalEventDef("add", VariableType.INT),
        PutExternalEventDef("add", VariableType.STR),
    ):
        fold.take(command)
    restored = Definitions()
    for definition in fold.stored:
        restored.apply(definition)
    assert list(restored.all()) == list(fold.definitions.all())
    command = PutWfSpec("cart", json.dumps(wf_spec(a="INT!")))
    assert decide_definition(restored, command, CAUSE) == decide_definition(fold.definitions, command, CAUSE)


# (rule workflow-event-def-never-changes)
def test_a_workflow_event_def_never_changes(fold: Fold):
    assert isinstance(fold.take(PutWorkflowEventDef("told", VariableType.INT)), DefinitionAccepted)
    assert isinstance(fold.take(PutWorkflowEventDef("told", VariableType.INT)), DefinitionAccepted)
    assert "expected content INT" in fold.refused(PutWorkflowEventDef("told"))


# (rule event-def-changes-by-revision)
def test_each_change_of_an_external_event_def_is_a_revision_with_a_key_of_its_own(fold: Fold):
    versions = [
        (outcome.major, outcome.revision, outcome.changed)
        for content_type in (None, None, VariableType.INT, VariableType.STR, None)
        if isinstance(outcome := fold.take(PutExternalEventDef("add", content_type)), DefinitionAccepted)
    ]
    assert versions == [(0, 0, True), (0, 0, False), (0, 1, True), (0, 2, True), (0, 3, True)]
    keys = [definition.key for definition in fold.stored]
    assert keys == [f"EXTERNAL_EVENT_DEF/add/0.{revision}" for revision in range(4)]
    found = fold.definitions.external_event_def("add")
    assert found is not None
    assert (found.content_type, found.version) == (None, DefinitionVersion(0, 3))


def naming(*events: str, **more: Any) -> dict[str, Any]:
    """Return a WfSpec that waits for these ExternalEvents; the first is an interrupt whose handler takes an INT."""
    document = wf_spec()
    threads = document["threads"]
    threads["on-event"] = copy.deepcopy(threads["main"])
    threads["on-event"]["variables"] = {"INPUT": {"type": "INT"}}
    threads["main"]["interrupts"] = [{"event": events[0], "handler": "on-event"}]
    nodes = threads["main"]["nodes"]
    for event in events[1:]:
        nodes[f"for-{event}"] = {"kind": "EXTERNAL_EVENT", "event": event, "next": nodes["start"]["next"]}
        nodes["start"]["next"] = f"for-{event}"
    return {**document, **more}


# (rule wf-spec-binds-revisions)
def test_a_wf_spec_binds_the_revisions_of_the_external_event_defs_that_it_names(fold: Fold):
    for content_type in (VariableType.INT, VariableType.STR, VariableType.INT):
        fold.take(PutExternalEventDef("add", content_type))
    fold.take(PutExternalEventDef("go"))
    fold.take(PutExternalEventDef("other"))
    assert fold.put(naming("add", "go")) == "0.0"
    assert fold.stored[-1].external_event_defs == {"add": DefinitionVersion(0, 2), "go": DefinitionVersion(0, 0)}
    fold.take(PutExternalEventDef("add", VariableType.STR))
    fold.take(PutExternalEventDef("other", VariableType.STR))

    def content_type(name: str) -> VariableType | None:
        found = fold.definitions.external_event_def(name, WfSpecId("cart", 0, 0))
        assert found is not None
        return found.content_type

    assert content_type("add") is VariableType.INT
    assert content_type("other") is VariableType.STR, "it names none of that name: the newest"
    assert fold.definitions.external_event_def("nope", WfSpecId("cart", 0, 0)) is None


# (rule put-again-binds-newest)
def test_the_same_wf_spec_is_a_new_revision_if_it_can_be_bound_to_what_has_changed(fold: Fold):
    fold.take(PutExternalEventDef("add"))
    fold.take(PutExternalEventDef("go"))
    document = naming("add", "go")
    assert fold.put(document) == "0.0"
    fold.take(PutExternalEventDef("go", VariableType.STR))
    assert fold.put(document, AllowedUpdate.NONE) == "0.0 as before"
    assert fold.put(document, AllowedUpdate.MINOR_REVISION) == "0.1"
    assert fold.stored[-1].external_event_defs == {"add": DefinitionVersion(0, 0), "go": DefinitionVersion(0, 1)}
    assert fold.put(document) == "0.1 as before"
    fold.take(PutExternalEventDef("add", VariableType.STR))
    assert fold.put(document) == "0.1 as before", "its handler cannot take it"
    assert fold.put({**document, "retention_s": 5}) == "INTERRUPT_INPUT_TYPE"
    fold.take(PutExternalEventDef("add", VariableType.INT))
    assert fold.put(document) == "0.2"
    assert fold.stored[-1].external_event_defs["add"] == DefinitionVersion(0, 2)


def test_a_wf_spec_from_before_bindings_is_bound_to_what_there_was_then(fold: Fold):
    def take(command: DefinitionCommand, *, binds: bool) -> Definition | None:
        kinds = [DefinitionKind.EXTERNAL_EVENT_DEF] if binds else []
        _, definitions = decide_definition(fold.definitions, command, CAUSE, binds=kinds)
        for definition in definitions:
            fold.definitions.apply(definition)
        return definitions[0] if definitions else None

    document = naming("add", "go")
    put = PutWfSpec("cart", json.dumps(document))
    for content_type in (VariableType.STR, VariableType.INT):
        added = take(PutExternalEventDef("add", content_type), binds=False)
    assert added is not None
    assert added.key == "EXTERNAL_EVENT_DEF/add/1.0"
    take(PutExternalEventDef("go"), binds=False)
    old = take(put, binds=False)
    assert old is not None
    assert old.external_event_defs == {}
    # While there are workers of that release it goes on as it did: the newest, whatever that is.
    take(PutExternalEventDef("add", VariableType.STR), binds=False)
    bound = fold.definitions.external_event_def("add", WfSpecId("cart", 0, 0))
    assert bound == fold.definitions.external_event_def("add")
    take(PutExternalEventDef("add", VariableType.INT), binds=False)
    # Upgraded.
    assert take(put, binds=True) is None, "nothing has changed"
    changed = take(PutExternalEventDef("add", VariableType.DOUBLE), binds=True)
    assert changed is not None
    assert changed.key == "EXTERNAL_EVENT_DEF/add/3.1"
    bound = fold.definitions.external_event_def("add", WfSpecId("cart", 0, 0))
    assert bound is not None
    assert bound.content_type is VariableType.INT
    assert take(put, binds=True) is None, "it cannot take a DOUBLE"
    take(DeleteDefinition(DefinitionKind.WF_SPEC, "cart"), binds=True)
    take(DeleteDefinition(DefinitionKind.EXTERNAL_EVENT_DEF, "add"), binds=True)
    anew = take(PutExternalEventDef("add", VariableType.STR), binds=True)
    assert anew is not None
    assert anew.key == "EXTERNAL_EVENT_DEF/add/3.2"
    bound = fold.definitions.external_event_def("add", WfSpecId("cart", 0, 0))
    assert bound is not None
    assert (bound.content_type, bound.deleted) == (VariableType.INT, True)


# (rule names-of-definitions)
@pytest.mark.parametrize("name", ["", "a_b", "a.b", "a/b", "-a", "a-", "a b", "ä", "a" * 129, "a\n"])
def test_names_of_definitions_are_letters_digits_and_hyphens(fold: Fold, name: str):
    for command in (PutTaskDef(name), PutExternalEventDef(name), PutWorkflowEventDef(name)):
        assert fold.refused(command).startswith("INVALID_ARGUMENT")
    assert fold.refused(PutTaskDef("task", queue=name)).startswith("INVALID_ARGUMENT")
    assert fold.put(wf_spec(name)) == "WF_NAME"


# (rules wf-run-keeps-its-version, deleted-is-for-nothing-new)
def test_a_deleted_wf_spec_stays_for_those_that_run_it_but_is_no_longer_the_latest(fold: Fold):
    fold.put(wf_spec())
    fold.put(wf_spec(a="INT"))
    fold.take(DeleteDefinition(DefinitionKind.WF_SPEC, "cart", 0, 1))
    assert fold.definitions.latest_wf_spec("cart") == WfSpecId("cart", 0, 0)
    assert fold.definitions.latest_wf_spec("cart", 0, 1) is None
    assert fold.definitions.wf_spec(WfSpecId("cart", 0, 1)).name == "cart"


def test_a_deletion_without_a_version_is_of_all_versions(fold: Fold):
    for variables in ({}, {"a": "INT"}, {"a": "INT!"}):
        fold.put(wf_spec(**variables))
    outcome = fold.take(DeleteDefinition(DefinitionKind.WF_SPEC, "cart"))
    assert outcome == DefinitionAccepted(DefinitionKind.WF_SPEC, "cart", 1, 0, True, CAUSE)
    assert [definition.key for definition in fold.stored if definition.deleted] == [
        "WF_SPEC/cart/0.0",
        "WF_SPEC/cart/0.1",
        "WF_SPEC/cart/1.0",
    ]
    assert fold.definitions.latest_wf_spec("cart") is None
    again = fold.take(DeleteDefinition(DefinitionKind.WF_SPEC, "cart"))
    assert isinstance(again, DefinitionAccepted)
    assert not again.changed


# (rule version-never-used-twice)
def test_versions_are_never_used_twice(fold: Fold):
    fold.put(wf_spec(a="INT!"))
    fold.put(wf_spec(a="INT!", b="INT"))
    fold.take(DeleteDefinition(DefinitionKind.WF_SPEC, "cart", 0, 1))
    assert fold.put(wf_spec(a="INT!", b="INT")) == "0.2"
    fold.take(DeleteDefinition(DefinitionKind.WF_SPEC, "cart"))
    assert fold.put(wf_spec(a="STR!")) == "1.0"


def test_a_deletion_of_what_is_not_there_is_refused(fold: Fold):
    assert fold.refused(DeleteDefinition(DefinitionKind.TASK_DEF, "charge")).startswith("NOT_FOUND: TaskDef")
    fold.put(wf_spec())
    assert "found 0.0" in fold.refused(DeleteDefinition(DefinitionKind.WF_SPEC, "cart", 3))
    assert fold.refused(DeleteDefinition(DefinitionKind.WF_SPEC, "cart", None, 3)).startswith("INVALID_ARGUMENT")
    fold.take(PutTaskDef("charge"))
    assert fold.refused(DeleteDefinition(DefinitionKind.TASK_DEF, "charge", 0)).startswith("INVALID_ARGUMENT")


# (rule named-definition-not-deleted)
def test_a_definition_that_the_newest_wf_spec_names_cannot_be_deleted(fold: Fold):
    fold.take(PutTaskDef("charge"))
    fold.put(wf_spec(task="charge"))
    deletion = DeleteDefinition(DefinitionKind.TASK_DEF, "charge")
    assert fold.refused(deletion).startswith("FAILED_PRECONDITION: TaskDef 'charge': expected no WfSpec to use it")
    fold.put(wf_spec())
    assert isinstance(fold.take(deletion), DefinitionAccepted)


# (rule deleted-is-for-nothing-new)
def test_a_deleted_definition_stays_for_running_wf_runs_but_no_new_wf_spec_may_name_it(fold: Fold):
    fold.take(PutTaskDef("charge", queue="slow"))
    fold.take(DeleteDefinition(DefinitionKind.TASK_DEF, "charge"))
    found = fold.definitions.task_def("charge")
    assert found is not None
    assert (found.deleted, found.queue) == (True, "slow")
    assert fold.put(wf_spec(task="charge")) == "TASKDEF_MISSING"


def test_a_deleted_definition_may_be_registered_anew_and_differently(fold: Fold):
    for command in (PutTaskDef("charge"), PutExternalEventDef("add"), PutWorkflowEventDef("told")):
        fold.take(command)
    for kind, name in (("TASK_DEF", "charge"), ("EXTERNAL_EVENT_DEF", "add"), ("WORKFLOW_EVENT_DEF", "told")):
        fold.take(DeleteDefinition(DefinitionKind(kind), name))
    for command in (
        PutTaskDef("charge", output=VariableType.INT),
        PutExternalEventDef("add"),
        PutWorkflowEventDef("told", VariableType.INT),
    ):
        outcome = fold.take(command)
        assert isinstance(outcome, DefinitionAccepted)
        # A revision, as every change of what WfSpecs bind: what is bound to the deleted one keeps that.
        version = (1, 0) if isinstance(command, PutWorkflowEventDef) else (0, 1)
        assert (outcome.major, outcome.revision, outcome.changed) == (*version, True)
    assert fold.put(wf_spec(task="charge")) == "0.0"


def test_deciding_changes_nothing(fold: Fold):
    fold.put(wf_spec())
    before = copy.deepcopy(list(fold.definitions.all()))
    decide_definition(fold.definitions, PutTaskDef("charge"), CAUSE)
    decide_definition(fold.definitions, DeleteDefinition(DefinitionKind.WF_SPEC, "cart"), CAUSE)
    assert list(fold.definitions.all()) == before


# What is tried before it is sent.

_SHAPES: list[dict[str, Any]] = [
    {},
    {"task": "one"},
    {"task": "two"},
    {"n": "INT!"},
    {"n": "STR!"},
    {"n": "INT", "task": "one"},
]
_TYPES = (None, VariableType.INT)
_COMMANDS: list[DefinitionCommand] = [
    *(
        PutWfSpec("cart", json.dumps(wf_spec(**shape)), allowed_update=allowed)
        for shape in _SHAPES
        for allowed in AllowedUpdate
    ),
    *(PutTaskDef("one", output=output) for output in _TYPES),
    *(PutTaskDef("one", {"a": VariableType.INT}, optional=optional) for optional in ([], ["a"])),
    *(PutTaskDef("two", queue=queue) for queue in (None, "slow", "gone")),
    *(PutExternalEventDef("e", content) for content in _TYPES),
    *(PutWorkflowEventDef("e", content) for content in _TYPES),
    *(DeleteDefinition(kind, name) for kind in DefinitionKind for name in ("cart", "one", "e")),
]


@given(st.lists(st.sampled_from(_COMMANDS), max_size=6), st.lists(st.sampled_from(_COMMANDS), max_size=8))
def test_what_is_tried_is_refused_as_it_is_when_it_comes_and_changes_nothing(
    before: list[DefinitionCommand], tried: list[DefinitionCommand]
) -> None:
    fold, queues = Fold(), frozenset({"slow"})
    for command in before:
        fold.take(command)
    registered = list(fold.definitions.all())
    found = list(refusals(fold.definitions, tried, queues))
    assert list(fold.definitions.all()) == registered
    refused: dict[int, list[str]] = {}
    for index, command in enumerate(tried):
        outcome, accepted = decide_definition(fold.definitions, command, CAUSE, queues)
        if isinstance(outcome, DefinitionRejected):
            refused[index] = [problem.code for problem in outcome.problems] or [outcome.code]
        for definition in accepted:
            fold.definitions.apply(definition)
    told: dict[int, list[str]] = {}
    for index, problem in found:
        told.setdefault(index, []).append(problem.code)
    assert told == refused
