"""TaskDefs that change while workers of two releases run, and after the upgrade."""

import pytest

from processors.codec import Codec
from processors.codec.errors import UnknownSchema
from processors.core.records.commands import (
    DefinitionCommand,
    DefinitionKind,
    DeleteDefinition,
    PutTaskDef,
    ReportTaskRun,
    RunWf,
)
from processors.core.records.events import (
    Definition,
    DefinitionAccepted,
    DefinitionRejected,
    TaskAttemptRequested,
    TaskRequest,
)
from processors.core.records.model import TaskStatus, WfSpecId
from processors.core.records.values import Value, VariableType
from tests.core.test_task_defs import charge, wf_spec
from tests.fold.test_released import AsOf
from tests.support.shard_rig import ShardRig

INT, DOUBLE, STR = VariableType.INT, VariableType.DOUBLE, VariableType.STR
DELETION = DeleteDefinition(DefinitionKind.TASK_DEF, "charge")


def outcome(rig: ShardRig, command: DefinitionCommand) -> str:
    """Put a definition; return its version, or the code and sentence with which it was refused."""
    (found,) = [it for it in rig.turn(command) if isinstance(it, DefinitionAccepted | DefinitionRejected)]
    if isinstance(found, DefinitionRejected):
        return f"{found.code}: {found.message}"
    return f"{found.major}.{found.revision}"


def started(rig: ShardRig, wf_run_id: str, wf_spec_name: str = "cart") -> TaskRequest:
    (request,) = [it for it in rig.turn(RunWf(wf_run_id, wf_spec_name)) if isinstance(it, TaskRequest)]
    return request


def reported(rig: ShardRig, request: TaskRequest, output: Value) -> str:
    """Report the success of an attempt; return what it makes of the WfRun."""
    it = request
    report = ReportTaskRun(
        it.wf_run_id, it.incarnation, it.thread, it.position, it.attempt, TaskStatus.SUCCESS, output=output
    )
    rig.turn(report)
    return str(rig.shard.wf_runs[it.wf_run_id].status)


def rows(rig: ShardRig) -> list[Definition]:
    decoded = (rig.codec.decode(value) for value in rig.tables["definitions"].values())
    return [it for it in decoded if isinstance(it, Definition)]


def upgraded(old: ShardRig) -> ShardRig:
    """Return a rig of today on the topics of an old one."""
    rig = ShardRig(queues=["slow"])
    rig.tables, rig.logs, rig.log_records, rig._ends = old.tables, old.logs, old.log_records, old._ends
    for position, value in enumerate(old.tables["definitions"].items(), 1):
        rig.view.apply(*value, position)
    rig.crash()
    return rig


# (rules task-as-its-wf-spec-binds, task-output-checked)
def test_each_wf_run_takes_the_output_that_its_wf_spec_binds() -> None:
    rig = ShardRig()
    rig.turn(charge(DOUBLE, a=DOUBLE), wf_spec("cart", a=1))
    before = started(rig, "before")
    rig.turn(charge(INT, a=DOUBLE), wf_spec("other", a=1))
    rig.crash()
    started_later, new = started(rig, "later"), started(rig, "new", "other")
    assert [it.input for it in (before, started_later, new)] == [{"a": 1.0}] * 3
    assert [reported(rig, it, 1.5) for it in (before, started_later, new)] == ["COMPLETED", "COMPLETED", "ERROR"]
    assert reported(rig, started(rig, "whole", "other"), 1) == "COMPLETED"


# (rule task-queue-of-the-newest)
def test_attempts_go_to_the_queue_of_the_newest_revision() -> None:
    rig = ShardRig(queues=["slow"])
    rig.turn(charge(), wf_spec("cart", a=1))
    assert requested(rig, "before") is None
    rig.turn(charge(None, "slow"))
    assert requested(rig, "after") == "slow"


def requested(rig: ShardRig, wf_run_id: str) -> str | None:
    (event,) = [it.event for it in rig.log(RunWf(wf_run_id, "cart")) if isinstance(it.event, TaskAttemptRequested)]
    return event.queue


# (rule task-def-changes-compatibly)
@pytest.mark.parametrize("release", ["0.1.0", "0.2.0"])
def test_while_workers_of_a_release_run_a_task_def_never_changes(release: str) -> None:
    rig = ShardRig(release=release)
    assert outcome(rig, charge(a=INT)) == "0.0"
    assert outcome(rig, wf_spec("cart", a=1)) == "0.0"
    refused = (
        "ALREADY_EXISTS: TaskDef 'charge': expected input {a: INT}, output unchecked, queue task-requests as registered"
    )
    assert outcome(rig, charge(INT, a=INT)).startswith(refused)
    # A client of today may send what that release has no field for.
    put = rig.record("definition-commands", b"x", ShardRig().codec.encode(PutTaskDef("x", {"a": INT}, optional=["a"])))
    (found,) = [it for it in rig.turn(put) if isinstance(it, DefinitionRejected)]
    assert "expected no optional inputs while workers of an earlier release run, found 'a'" in found.message
    assert {it.name for it in rows(rig) if it.task_defs or it.optional} == set()


@pytest.mark.parametrize("release", ["0.1.0", "0.2.0"])
def test_a_wf_spec_of_a_release_binds_what_there_was_at_the_upgrade(release: str) -> None:
    old = ShardRig(release=release)
    old.turn(charge(DOUBLE, a=INT), DELETION)
    assert outcome(old, charge(DOUBLE, a=DOUBLE)) == "1.0"
    old.turn(wf_spec("cart", a=1))
    before = started(old, "before")
    rig = upgraded(old)
    assert outcome(rig, charge(INT, "slow", a=DOUBLE)) == "1.1"
    bound = rig.view._definitions.task_def("charge", WfSpecId("cart", 0, 0))
    assert bound is not None
    assert str(bound.version) == "1.0"
    assert reported(rig, before, 1.5) == "COMPLETED"
    assert outcome(rig, wf_spec("cart", a=1)) == "0.1", "put again it binds the newest"
    assert reported(rig, started(rig, "after"), 1.5) == "ERROR"


def test_definitions_that_are_restored_decide_alike() -> None:
    rig = ShardRig()
    rig.turn(charge(DOUBLE, a=INT), wf_spec("cart", a=1), charge(INT, a=INT, o_b=STR))
    rig.crash()
    assert outcome(rig, DELETION).startswith("FAILED_PRECONDITION")
    assert outcome(rig, charge(INT, a=INT, o_b=STR, o_c=STR)) == "0.2"
    assert outcome(rig, charge(INT, a=INT)).startswith("FAILED_PRECONDITION")


def test_a_worker_of_a_release_may_take_over_until_a_task_def_has_changed() -> None:
    rig, old = ShardRig(), Codec.load(AsOf("0.2.0"), release="0.2.0")
    rig.turn(charge(a=INT), wf_spec("cart", a=1), charge(None, None, a=INT))
    assert [old.decode(value) for value in rig.tables["definitions"].values()] == rows(rig)
    rig.turn(charge(INT, a=INT), wf_spec("other", a=1))
    read = [key.decode() for key, value in rig.tables["definitions"].items() if is_read(old, value)]
    assert read == ["TASK_DEF/charge/0.0", "WF_SPEC/cart/0.0", "TASK_DEF/charge/0.1"]


def is_read(codec: Codec, value: bytes) -> bool:
    try:
        codec.decode(value)
    except UnknownSchema:
        return False
    return True


def test_a_row_says_what_a_wf_spec_binds() -> None:
    rig = ShardRig()
    rig.turn(charge(a=INT), wf_spec("cart", a=1), charge(INT, a=INT), wf_spec("cart", a=1))
    found = {it.key: {name: str(at) for name, at in it.task_defs.items()} for it in rows(rig)}
    assert found == {
        "TASK_DEF/charge/0.0": {},
        "TASK_DEF/charge/0.1": {},
        "WF_SPEC/cart/0.0": {},
        "WF_SPEC/cart/0.1": {"charge": "0.1"},
    }
