"""`halter spec list` and `get` say which revisions of ExternalEventDefs there are and which a WfSpec binds."""

import json
import sys
from collections.abc import Iterator

import pytest

from halter.cli import main
from processors.core.records.commands import PutExternalEventDef, PutWfSpec, RunWf
from processors.core.records.values import Timestamp, VariableType
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
