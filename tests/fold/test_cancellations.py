"""Cancellations through the fold of a partition: what is written to `task-cancellations`, and what is not."""

import json
from typing import Any

import pytest

from processors.core.records.commands import DeleteWfRun, PutExternalEventDef, PutTaskDef, PutWfSpec, RunWf, StopWfRun
from processors.core.records.events import CancellationReason, LogEntry, TaskCancellation, TaskRequest
from processors.core.records.topic_names import TASK_CANCELLATIONS, TASK_REQUESTS, WF_EVENTS
from tests.support.shard_rig import ShardRig

SLOW = {
    "name": "slow",
    "entrypoint": "main",
    "threads": {
        "main": {
            "interrupts": [{"event": "hey", "handler": "h"}],
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "work"},
                "work": {"kind": "TASK", "task": "work", "timeout_s": 60, "next": "done"},
                "done": {"kind": "EXIT"},
            },
        },
        "h": {"nodes": {"start": {"kind": "ENTRYPOINT", "next": "done"}, "done": {"kind": "EXIT"}}},
    },
}


def rig_with_slow(release: str | None = None, queue: str | None = None) -> ShardRig:
    rig = ShardRig(release=release, queues=() if queue is None else (queue,))
    rig.turn(PutExternalEventDef("hey"), PutTaskDef("work", queue=queue), PutWfSpec("slow", json.dumps(SLOW)))
    return rig


def told(records: list[Any]) -> list[TaskCancellation]:
    return [it for it in records if isinstance(it, TaskCancellation)]


# (rules cancellation-is-advice, stops-cancel)
@pytest.mark.parametrize("queue", [None, "gpu"])
def test_a_cancellation_repeats_what_its_request_says_and_names_the_event(queue: str | None) -> None:
    rig = rig_with_slow(queue=queue)
    [request] = [it for it in rig.turn(RunWf("c1", "slow")) if isinstance(it, TaskRequest)]
    del rig.outputs[:]
    rig.now_ms += 1_000
    written = rig.turn(StopWfRun("c1"))
    [halt] = [it for it in written if isinstance(it, LogEntry)]
    assert told(written) == [
        TaskCancellation(
            request.wf_run_id,
            request.incarnation,
            request.thread,
            request.position,
            request.attempt,
            request.task_def,
            CancellationReason.STOPPED,
            halt.time_ms,
            halt.seq,
        )
    ]
    [record] = [it for it in rig.outputs if it.topic == TASK_CANCELLATIONS]
    assert (record.key, record.partition, record.headers) == (b"c1", 0, ())
    assert [it.topic for it in rig.outputs][:2] == [WF_EVENTS, TASK_CANCELLATIONS]


# (rule time-outs-cancel)
def test_a_time_out_is_told_in_the_turn_of_its_timer() -> None:
    rig = rig_with_slow()
    rig.turn(RunWf("c1", "slow"))
    rig.now_ms += 60_000
    del rig.outputs[:]
    rig.fire_due()
    [record] = [it for it in rig.outputs if it.topic == TASK_CANCELLATIONS]
    cancellation = rig.codec.decode(record.value or b"")
    assert isinstance(cancellation, TaskCancellation)
    assert cancellation.reason is CancellationReason.TIMED_OUT


def test_a_restart_tells_nothing_again_and_what_was_restored_tells_the_same() -> None:
    rig = rig_with_slow()
    rig.turn(RunWf("c1", "slow"), StopWfRun("c1"))
    rig.crash()
    assert not told(rig.turn(StopWfRun("c1")))
    assert [it.reason for it in told(rig.turn(DeleteWfRun("c1")))] == [CancellationReason.DELETED]


@pytest.mark.parametrize("release", ["0.1.0", "0.2.0"])
def test_told_to_write_an_earlier_release_nothing_is_written_that_it_does_not_have(release: str) -> None:
    rig = rig_with_slow(release)
    rig.turn(RunWf("c1", "slow"), StopWfRun("c1"), DeleteWfRun("c1"))
    assert {it.topic for it in rig.outputs} >= {WF_EVENTS, TASK_REQUESTS}
    assert TASK_CANCELLATIONS not in {it.topic for it in rig.outputs}
