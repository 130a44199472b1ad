"""The WfSpecs that the benchmarks run. Each measures one thing about the engine, and none is tuned for it."""

import json
from typing import Any

from processors.core.records.commands import DefinitionCommand, PutExternalEventDef, PutTaskDef, PutWfSpec


def wf_spec(name: str, threads: dict[str, Any]) -> PutWfSpec:
    """Return a WfSpec whose entrypoint is `main`."""
    return PutWfSpec(name, json.dumps({"name": name, "entrypoint": "main", "threads": threads}))


def thread(nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a ThreadSpec whose first node is the one after its ENTRYPOINT."""
    return {**more, "nodes": {"start": {"kind": "ENTRYPOINT", "next": next(iter(nodes))}, **nodes}}


def wf_run_id(number: int) -> str:
    """Return an id as long as a UUID, which is what the client makes."""
    return f"018f9e3c-7c1a-7000-8000-{number:012d}"


END = {"kind": "EXIT"}
WAITING = thread({"wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "end"}, "end": END})
TOTAL = {"total": {"type": "INT", "default": 0}}
ON_ADD = {
    "variables": {"INPUT": {"type": "INT"}},
    "nodes": {
        "start": {
            "kind": "ENTRYPOINT",
            "next": {"to": "end", "set": [{"var": "total", "op": "ADD", "value": {"var": "INPUT"}}]},
        },
        "end": END,
    },
}


def interrupted(variables: dict[str, Any] = TOTAL) -> dict[str, Any]:
    """Return a ThreadSpec that waits, and that each `add` interrupts."""
    return {"variables": variables, "interrupts": [{"event": "add", "handler": "on-add"}], **WAITING}


INTERRUPT = wf_spec("interrupt", {"main": interrupted(), "on-add": ON_ADD})
"""One interrupt: halt, handler with one mutation, resume."""

CUSTOMER = {"customer": {"type": "STR", "default": "c-0042"}}
ORDER = wf_spec("order", {"main": interrupted(CUSTOMER | TOTAL), "on-add": ON_ADD})
"""The same as above, with a row that holds more than the interrupt changes."""

URGENT = {"urgent": {"type": "BOOL", "default": False}}
IDLE = wf_spec("idle", {"main": interrupted(CUSTOMER | TOTAL | URGENT), "on-add": ON_ADD})
"""An idle WfRun: one thread that waits, with three small Variables."""

TASK = wf_spec("task", {"main": thread({"work": {"kind": "TASK", "task": "work", "next": "end"}, "end": END})})
"""One task round trip."""

CHILD = wf_spec(
    "child",
    {
        "main": thread(
            {
                "spawn": {"kind": "START_THREAD", "thread": "child", "next": "join"},
                "join": {"kind": "WAIT_FOR_THREADS", "threads": [{"output": "spawn"}], "next": "end"},
                "end": END,
            }
        ),
        "child": thread({"end": END}),
    },
)
"""A child that is spawned and waited for."""

SLEEP = wf_spec("sleep", {"main": thread({"sleep": {"kind": "SLEEP", "seconds": 1, "next": "end"}, "end": END})})
"""One timer."""

DEFINITIONS: tuple[DefinitionCommand, ...] = (
    PutExternalEventDef("add"),
    PutExternalEventDef("go"),
    PutTaskDef("work"),
    INTERRUPT,
    ORDER,
    IDLE,
    TASK,
    CHILD,
    SLEEP,
)
