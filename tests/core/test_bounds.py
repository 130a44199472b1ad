"""No WfSpec and no payload makes a record that cannot be written, or a command without end."""

from typing import Any

import pytest

from processors.core.records.commands import (
    ExternalEvent,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    ReportTaskRun,
    RunWf,
)
from processors.core.records.events import LogEntry, Rejected, SpawnChild, ThreadFailed
from processors.core.records.model import Status, TaskStatus
from processors.core.records.values import TOTAL_BYTES_MAX, VariableType, to_json
from processors.core.rules.context import Limits
from processors.core.wf_spec.reader import read_wf_spec
from processors.fold.outputs import OutputTooLarge
from tests.support.shard_rig import ShardRig

BIG = "x" * 200_000


def run(spec: dict[str, Any], *commands: Any) -> tuple[ShardRig, list[LogEntry]]:
    assert read_wf_spec(spec)[0] is not None
    rig = ShardRig()
    rig.turn(PutExternalEventDef("go"), PutWfSpec("s", to_json(spec)))
    return rig, rig.log(RunWf("w", "s", {"big": BIG}), *commands)


def spec_of(nodes: dict[str, Any], copies: int = 0) -> dict[str, Any]:
    variables = {"big": {"type": "STR", "required": True}} | {f"copy{n}": {"type": "STR"} for n in range(copies)}
    return {"name": "s", "entrypoint": "main", "threads": {"main": {"variables": variables, "nodes": nodes}}}


def failure_of(log: list[LogEntry]) -> str:
    (failed,) = (entry.event for entry in log if isinstance(entry.event, ThreadFailed))
    return f"{failed.failure.name}: {failed.failure.message}"


def copy_to(n: int) -> dict[str, Any]:
    return {"var": f"copy{n}", "op": "ASSIGN", "value": {"var": "big"}}


# (rule thread-values-bounded)
def test_the_variables_of_a_thread_are_bounded_together():
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": {"to": "done", "set": [copy_to(n) for n in range(19)]}},
        "done": {"kind": "EXIT"},
    }
    rig, log = run(spec_of(nodes, copies=19))
    assert failure_of(log).startswith("VAR_SUB_ERROR: node 'start': Variables and outputs of thread 0: ")
    assert max(len(output.value or b"") for output in rig.outputs) < TOTAL_BYTES_MAX


def test_the_variables_of_a_thread_are_bounded_also_when_they_grow_edge_by_edge():
    nodes: dict[str, Any] = {"start": {"kind": "ENTRYPOINT", "next": "n0"}, "done": {"kind": "EXIT"}}
    for n in range(19):
        nodes[f"n{n}"] = {"kind": "NOP", "next": {"to": f"n{n + 1}" if n < 18 else "done", "set": [copy_to(n)]}}
    rig, log = run(spec_of(nodes, copies=19))
    assert failure_of(log).startswith("VAR_SUB_ERROR: node 'n4'")
    assert max(len(output.value or b"") for output in rig.outputs) < 2 * TOTAL_BYTES_MAX


# (rule thread-values-bounded)
def test_the_outputs_that_a_thread_keeps_are_bounded_with_its_variables():
    """Nineteen tasks give much, and an expression at the end may ask for any of it."""
    nodes: dict[str, Any] = {"start": {"kind": "ENTRYPOINT", "next": "n0"}, "done": {"kind": "EXIT"}}
    for n in range(19):
        nodes[f"n{n}"] = {"kind": "TASK", "task": "much", "next": f"n{n + 1}" if n < 18 else "done"}
    nodes["done"] |= {"return": {"format": "{0}" * 19, "args": [{"output": f"n{n}"} for n in range(19)]}}
    rig = ShardRig()
    rig.turn(PutTaskDef("much", output=VariableType.STR), PutWfSpec("s", to_json(spec_of(nodes))))
    log = rig.log(RunWf("w", "s", {"big": BIG}))
    for position in range(1, 20):
        log += rig.log(ReportTaskRun("w", log[0].incarnation, 0, position, 1, TaskStatus.SUCCESS, BIG))
    assert failure_of(log).startswith("VAR_SUB_ERROR: node 'n4': Variables and outputs of thread 0: ")
    assert max(len(output.value or b"") for output in rig.outputs) < 2 * TOTAL_BYTES_MAX


def test_json_that_is_longer_as_it_is_written_than_as_it_came_is_refused():
    hold = {"start": {"kind": "ENTRYPOINT", "next": "hold"}, "done": {"kind": "EXIT"}}
    hold["hold"] = {"kind": "EXTERNAL_EVENT", "event": "go", "next": "done"}
    rig, _ = run(spec_of(hold))
    numbers = ",".join(["1e15"] * 40_000)
    record = rig.command(ExternalEvent("w", "go", "1", ["x" * (len(numbers) - 2)]))
    assert record.value is not None
    short = record._replace(value=record.value.replace(f'"{"x" * (len(numbers) - 2)}"'.encode(), numbers.encode()))
    (rejected,) = (entry.event for entry in rig.log(short))
    assert isinstance(rejected, Rejected)
    assert rejected.message.endswith("expected at most 262144 bytes, found 760001 as it is written")


def test_a_record_that_no_topic_takes_is_not_handed_out():
    """Where a bug lets a record pass the bounds of the core, the partition waits and names the record."""
    rig = ShardRig(Limits(output_bytes=150_000))
    hold = {"start": {"kind": "ENTRYPOINT", "next": "hold"}, "done": {"kind": "EXIT"}}
    hold["hold"] = {"kind": "SLEEP", "seconds": 5, "next": "done"}
    rig.turn(PutWfSpec("s", to_json(spec_of(hold))))
    with pytest.raises(OutputTooLarge, match=r"of wf-events, key 'w': expected at most 150000 bytes, found 200"):
        rig.turn(RunWf("w", "s", {"big": BIG}))


# (rule commands-are-bounded)
@pytest.mark.parametrize("times", [1, 100])
def test_a_loop_that_writes_much_ends_before_it_has_written_without_end(times: int):
    swap = {"var": "copy0", "op": "ASSIGN", "value": {"var": "big"}}
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "again"},
        "again": {"kind": "NOP", "next": {"to": "more", "set": [swap]}},
        "more": {"kind": "NOP", "next": {"to": "again", "set": [swap] * times}},
        "done": {"kind": "EXIT"},
    }
    # Nothing leads to the EXIT: that is what the bound is for.
    nodes["more"]["next"] = [{"to": "done", "when": False}, nodes["more"]["next"]]  # type: ignore[index]
    rig, log = run(spec_of(nodes, copies=1))
    assert failure_of(log).startswith("INTERNAL_ERROR: did not settle: ")
    assert sum(len(output.value or b"") for output in rig.outputs) < 20 * TOTAL_BYTES_MAX


def test_what_came_before_goes_on_after_a_wf_run_that_swelled():
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": {"to": "wait", "set": [copy_to(0)]}},
        "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "done"},
        "done": {"kind": "EXIT"},
    }
    rig, _ = run(spec_of(nodes, copies=1))
    rig.crash()
    assert rig.events(ExternalEvent("w", "go", "1")) == [
        "ExternalEventPosted",
        "NodeCompleted",
        "ThreadCompleted",
        "WfRunEnded",
    ]


def test_failure_handlers_that_start_at_once_get_so_much_content_and_the_rest_start_when_they_have_ended():
    """The children fail one by one, each with much; then somebody waits for all of them."""
    children = 30
    held = {"kind": "EXTERNAL_EVENT", "event": "go", "next": "done"}
    fails = {"kind": "EXIT", "fail": {"name": "broke", "content": {"var": "big"}}}
    threads = {
        "main": {
            "variables": {"big": {"type": "STR", "required": True}},
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "spawn"},
                "spawn": {
                    "kind": "START_MULTIPLE_THREADS",
                    "thread": "child",
                    "over": {"literal": list(range(children))},
                    "next": "hold",
                },
                "hold": {"kind": "EXTERNAL_EVENT", "event": "join", "next": "join"},
                "join": {
                    "kind": "WAIT_FOR_THREADS",
                    "threads": {"output": "spawn"},
                    "on_child_failure": [{"handler": "handler"}],
                    "next": "done",
                },
                "done": {"kind": "EXIT"},
            },
        },
        "child": {"nodes": {"start": {"kind": "ENTRYPOINT", "next": "hold"}, "hold": held, "done": fails}},
        "handler": {
            "variables": {"INPUT": {"type": "STR"}},
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "hold"},
                "hold": {**held, "event": "handled"},
                "done": {"kind": "EXIT"},
            },
        },
    }
    rig = ShardRig()
    spec = {"name": "s", "entrypoint": "main", "threads": threads}
    events = (PutExternalEventDef(name) for name in ("go", "join", "handled"))
    rig.turn(*events, PutWfSpec("s", to_json(spec)))
    rig.turn(RunWf("w", "s", {"big": BIG}))
    for number in range(children):
        rig.turn(ExternalEvent("w", "go", f"g{number}"))
    started = [entry.event for entry in rig.log(ExternalEvent("w", "join", "j")) if isinstance(entry.event, SpawnChild)]
    most = Limits().bytes_per_command // 2
    assert len(started) == most // len(BIG) < children
    for number in range(children):
        log = rig.log(ExternalEvent("w", "handled", f"h{number}"))
        more = [entry.event for entry in log if isinstance(entry.event, SpawnChild)]
        assert sum(len(BIG) for _ in more) <= most
        started += more
    assert len({handler.parent for handler in started}) == len(started) == children
    assert rig.shard.wf_runs["w"].status is Status.COMPLETED
