"""What a thread waits for that stands at a node: the node is looked at again when that happens."""

from processors.core.model import ThreadRun, WakeKey, WakeOn, WfRun
from processors.core.spec import ExternalEventNode, SleepNode, WaitForConditionNode, WaitForThreadsNode

VARIABLES: WakeKey = (WakeOn.VARIABLES, 0)
ROOM: WakeKey = (WakeOn.ROOM, 0)
"""Fewer threads live than before: who found no room for a handler looks again (N15)."""


def park(run: WfRun, thread: ThreadRun, *keys: WakeKey) -> None:
    """Have the thread woken by the next thing that happens to any of these."""
    for key in keys:
        run.index.parked.setdefault(key, set()).add(thread.number)


def parking_of(run: WfRun, thread: ThreadRun) -> list[WakeKey]:
    """What a restored thread waits for, by its node: more than need be does no harm."""
    node = run.spec_of(thread).nodes[thread.node.node]
    match node:
        case ExternalEventNode():
            return [(WakeOn.EXTERNAL_EVENT, node.external_event_def)]
        case SleepNode() | WaitForConditionNode():
            return [VARIABLES]
        case WaitForThreadsNode():
            waits = thread.node.waits or ()
            threads: list[WakeKey] = [(WakeOn.THREAD, n) for w in waits for n in (w.thread, w.handler) if n is not None]
            return [*threads, ROOM] if node.on_child_failure else threads
        case _:
            return []


def note_wait(run: WfRun, thread: ThreadRun) -> None:
    """Note a thread that waits for others than its own children: `knots` looks at it from then on."""
    for wait in thread.node.waits or ():
        other = run.threads.get(wait.thread)
        if other is not None and other.parent != thread.number:
            run.index.across.add(thread.number)
            return
