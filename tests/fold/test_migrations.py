"""Migrations through the fold of a partition: rows, the log behind them, a restart, and an earlier release beside."""

import json
from typing import Any

import pytest

from processors.core.records.commands import ExternalEvent, MigrateWfRun, PutExternalEventDef, PutWfSpec, RunWf
from processors.core.records.events import Rejected, RejectionCode
from tests.support.shard_rig import ShardRig
from tests.support.states import thread_key


def version(**more: Any) -> PutWfSpec:
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "wait"},
        "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "end"},
        "end": {"kind": "EXIT"},
    }
    document = {"name": "s", "entrypoint": "main", "threads": {"main": {"nodes": nodes, **more}}}
    return PutWfSpec("s", json.dumps(document))


def rig_with_two_versions(**settings: Any) -> ShardRig:
    rig = ShardRig(**settings)
    rig.turn(PutExternalEventDef("go"), version())
    rig.turn(RunWf("w", "s"))
    rig.turn(version(variables={"n": {"type": "INT", "default": 7}}))
    return rig


# (rule migration-goes-on)
@pytest.mark.parametrize("rows", [True, False])
def test_a_migrated_wf_run_is_there_after_a_restart_from_rows_and_from_the_log(rows: bool) -> None:
    rig = rig_with_two_versions()
    rig.turn(MigrateWfRun("w", 0, 1), rows=rows)
    live = rig.shard.wf_runs["w"]
    before = [thread_key(it) for it in live.threads.values()]
    rig.crash()
    run = rig.shard.wf_runs["w"]
    assert str(run.wf_spec) == "s:0.1"
    assert [thread_key(it) for it in run.threads.values()] == before
    assert run.threads[0].variables == {"n": 7}
    assert rig.events(ExternalEvent("w", "go", "g"))[-1] == "WfRunEnded"


def test_told_to_write_an_earlier_release_a_worker_refuses_to_migrate() -> None:
    rig = rig_with_two_versions(release="0.2.0")
    record = rig.record("wf-commands", b"w", rig_with_two_versions().codec.encode(MigrateWfRun("w", 0, 1)))
    [entry] = rig.log(record)
    assert isinstance(entry.event, Rejected)
    assert entry.event.code is RejectionCode.FAILED_PRECONDITION
    assert "an earlier release" in entry.event.message
