"""Noting what a thread at a node waits for: the node is looked at again when that happens."""

from bisect import bisect_left
from typing import Final

from processors.core.records.model import ThreadRun, WakeKey, WakeOn, WfRun
from processors.core.records.spec import (
    EntrypointNode,
    ExitNode,
    ExternalEventNode,
    NopNode,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThrowEventNode,
    WaitForConditionNode,
    WaitForThreadsNode,
)

VARIABLES: Final[WakeKey] = (WakeOn.VARIABLES, 0)


def park(run: WfRun, thread: ThreadRun, *keys: WakeKey) -> None:
    """Have the thread woken by the next thing that happens to any of these."""
    for key in keys:
        run.index.parked.setdefault(key, set()).add(thread.number)


def wait_for_room(run: WfRun, thread: ThreadRun) -> None:
    """Have the thread look again when fewer threads live: it found no room for a handler (rule room-is-waited-for)."""
    crowded, number = run.index.crowded, thread.number
    at = bisect_left(crowded, number)
    if at == len(crowded) or crowded[at] != number:
        crowded.insert(at, number)


def park_restored(run: WfRun, thread: ThreadRun) -> None:
    """Have a restored thread woken by what its node waits for: more than need be does no harm."""
    park(run, thread, *_parking_of(run, thread))
    node = run.spec_of(thread).nodes[thread.node.node]
    if isinstance(node, WaitForThreadsNode) and node.on_child_failure:
        wait_for_room(run, thread)


def _parking_of(run: WfRun, thread: ThreadRun) -> list[WakeKey]:
    node = run.spec_of(thread).nodes[thread.node.node]
    match node:
        case ExternalEventNode():
            return [(WakeOn.EXTERNAL_EVENT, node.external_event_def)]
        case SleepNode() | WaitForConditionNode():
            return [VARIABLES]
        case WaitForThreadsNode():
            waits = thread.node.waits or ()
            return [(WakeOn.THREAD, n) for w in waits for n in (w.thread, w.handler) if n is not None]
        case (
            EntrypointNode()
            | NopNode()
            | ThrowEventNode()
            | TaskNode()
            | StartThreadNode()
            | StartMultipleThreadsNode()
            | ExitNode()
        ):
            return []  # what these wait for wakes the thread without being asked


def note_wait(run: WfRun, thread: ThreadRun) -> None:
    """Note a thread that waits for others than its own children: `knots` looks at it from then on."""
    for wait in thread.node.waits or ():
        other = run.threads.get(wait.thread)
        if other is not None and other.parent != thread.number:
            run.index.across.add(thread.number)
            return
