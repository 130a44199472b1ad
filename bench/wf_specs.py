"""The WfSpecs that the benchmarks run. Each says one thing about the engine; none is tuned for it."""

import json
from typing import Any

from processors.core.commands import DefinitionCommand, PutExternalEventDef, PutTaskDef, PutWfSpec


def wf_spec(name: str, threads: dict[str, Any]) -> PutWfSpec:
    """A WfSpec whose entrypoint is `main`."""
    return PutWfSpec(name, json.dumps({"name": name, "entrypoint": "main", "threads": threads}))


def thread(nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A ThreadSpec; its first node is given by its ENTRYPOINT's sink."""
    return {**more, "nodes": {"start": {"kind": "ENTRYPOINT", "next": next(iter(nodes))}, **nodes}}


END = {"kind": "EXIT"}

INTERRUPT = wf_spec(
    "interrupt",
    {
        "main": thread(
            {"wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "end"}, "end": END},
            variables={"total": {"type": "INT", "default": 0}},
            interrupts=[{"event": "add", "handler": "on-add"}],
        ),
        "on-add": {
            "variables": {"INPUT": {"type": "INT"}},
            "nodes": {
                "start": {
                    "kind": "ENTRYPOINT",
                    "next": {"to": "end", "set": [{"var": "total", "op": "ADD", "value": {"var": "INPUT"}}]},
                },
                "end": END,
            },
        },
    },
)
"""One interrupt: halt, handler with one mutation, resume."""

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
    TASK,
    CHILD,
    SLEEP,
)
