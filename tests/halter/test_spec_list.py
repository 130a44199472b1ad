"""`halter spec list`, `get` and `show` say which revisions of definitions there are and which a WfSpec binds."""

import json
import sys
from collections.abc import Iterator

import pytest

from halter.cli import main
from processors.core.records.commands import (
    DefinitionKind,
    DeleteDefinition,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    RunWf,
)
from processors.core.records.values import Timestamp, VariableType
from tests.core.test_task_defs import wf_spec
from tests.support.shard_rig import ShardRig
from tests.support.stored_records import RigClient, connected_to

WF_SPEC = {
    "name": "w",
    "entrypoint": "main",
    "threads": {
        "main": {
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "done"},
                "done": {"kind": "EXIT", "return": {"output": "wait"}},
            }
        }
    },
}
PUT = PutWfSpec("w", json.dumps(WF_SPEC))


@pytest.fixture
def client() -> Iterator[RigClient]:
    client = RigClient(ShardRig())
    with connected_to(client):
        yield client


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["halter", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
    out, err = capsys.readouterr()
    assert not end.value.code, err
    return out


def test_a_wf_spec_that_binds_what_is_no_longer_the_newest_is_told(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.rig.turn(PutExternalEventDef("go"), PUT)
    assert said(capsys, "spec", "list").splitlines() == ["ExternalEventDef  go 0.0", "WfSpec            w 0.0"]
    client.rig.turn(PutExternalEventDef("go", VariableType.INT))
    assert said(capsys, "spec", "list").splitlines() == [
        "ExternalEventDef  go 0.1",
        "WfSpec            w 0.0",
        "                    binds ExternalEventDef go 0.0, the newest is 0.1",
    ]
    client.rig.turn(PUT)
    assert said(capsys, "spec", "list").splitlines() == ["ExternalEventDef  go 0.1", "WfSpec            w 0.1"]


def test_a_wf_spec_is_shown_with_what_it_binds_also_if_it_is_from_before_bindings(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    old = ShardRig(release="0.1.0")
    old.turn(PutExternalEventDef("go"), PutExternalEventDef("go", VariableType.INT), PUT)
    for key, value in old.tables["definitions"].items():
        client.rig.view.apply(key, value, client.rig.view.position + 1)
        client.rig.tables["definitions"][key] = value
    client.rig.crash()
    client.rig.turn(PutExternalEventDef("go", VariableType.STR))
    (wf_spec,) = json.loads(said(capsys, "spec", "get", "w"))
    assert wf_spec["external_event_defs"] == {"go": "1.0"}
    (event,) = json.loads(said(capsys, "spec", "get", "go"))
    assert (event["major"], event["revision"], event["content_type"]) == (1, 1, "STR")
    assert "external_event_defs" not in event
    (event,) = json.loads(said(capsys, "spec", "get", "go", "--version", "1.0"))
    assert event["content_type"] == "INT"


def test_what_is_sent_is_typed_as_it_will_be_checked(client: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.rig.turn(PutExternalEventDef("go", VariableType.TIMESTAMP), PUT)
    client.rig.turn(RunWf("live", "w"))
    client.rig.turn(PutExternalEventDef("go", VariableType.STR))
    said(capsys, "send", "live", "go", "1970-01-01T00:00:01Z", "--id", "e1")
    said(capsys, "send", "later", "go", "1970-01-01T00:00:01Z", "--id", "e1")
    runs = client.rig.shard.wf_runs
    assert runs["live"].final_status == "COMPLETED"
    (early,) = runs["later"].external_events.values()
    assert early.content == "1970-01-01T00:00:01Z"
    assert Timestamp(1000) in [it.output for it in client.ended("live").threads.values()]


INT, DOUBLE, STR = VariableType.INT, VariableType.DOUBLE, VariableType.STR


def test_a_task_def_is_shown_with_its_revisions_and_what_each_has_changed(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.rig.turn(PutTaskDef("charge", {"a": INT}, DOUBLE), wf_spec("cart", a=1))
    client.rig.turn(PutTaskDef("charge", {"a": INT, "note": STR}, INT, optional=["note"]), wf_spec("other", a=1))
    assert said(capsys, "spec", "list").splitlines() == [
        "TaskDef           charge 0.1",
        "WfSpec            cart 0.0",
        "                    binds TaskDef charge 0.0, the newest is 0.1",
        "WfSpec            other 0.0",
    ]
    assert said(capsys, "spec", "show", "charge").splitlines() == [
        "TaskDef charge",
        "  0.0  input {a: INT}, output DOUBLE, queue task-requests",
        "  0.1  input {a: INT, note: STR (optional)}, output INT, queue task-requests",
        "         new optional input note: STR",
        "         output DOUBLE → INT",
        "  named by WfSpec cart:0.0, which binds 0.0",
        "  named by WfSpec other:0.0, which binds 0.1",
    ]
    assert said(capsys, "spec", "show", "charge", "--version", "0.0").splitlines()[1:3] == [
        "  0.0  input {a: INT}, output DOUBLE, queue task-requests",
        "  named by WfSpec cart:0.0, which binds 0.0",
    ]
    (task_def,) = json.loads(said(capsys, "spec", "get", "charge"))
    assert (task_def["revision"], task_def["optional"]) == (1, ["note"])
    (task_def,) = json.loads(said(capsys, "spec", "get", "charge", "--version", "0.0"))
    assert not task_def.keys() & {"optional", "task_defs", "external_event_defs"}
    (found,) = json.loads(said(capsys, "spec", "get", "cart"))
    assert (found["task_defs"], found["external_event_defs"]) == ({"charge": "0.0"}, {})


def test_a_task_def_that_was_deleted_is_shown_as_that(client: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.rig.turn(PutTaskDef("charge"), DeleteDefinition(DefinitionKind.TASK_DEF, "charge"))
    assert said(capsys, "spec", "show", "charge").splitlines() == [
        "TaskDef charge",
        "  0.0  input unchecked, output unchecked, queue task-requests, deleted",
        "  named by no WfSpec",
    ]
