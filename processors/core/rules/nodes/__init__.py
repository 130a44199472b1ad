"""Nodes: what each kind does for a thread that stands at it.

A node is looked at when its thread runs and something it depends on may have changed. It either yields events or parks
the thread on what it waits for. It is never arrived at twice, whatever happens to the thread in between.

A halted thread moves no further, but what counts from its arrival does not wait until it runs: early ExternalEvents at
ENTRYPOINT, the time of a SLEEP and of a time-out. All else that a node does is done when the thread next runs: it
starts threads, requests tasks, computes their inputs.

passing              ENTRYPOINT, NOP, THROW_EVENT
waits                EXTERNAL_EVENT, SLEEP, WAIT_FOR_CONDITION
tasks                TASK
starting_threads     START_THREAD, START_MULTIPLE_THREADS
waiting_for_threads  WAIT_FOR_THREADS; whom_to_wait_for: which threads its list may name
exits                EXIT
completing           how a thread takes an edge, or fails at its node
expected             checks of what expressions give, where the type says too little
parking              what a thread waits for, so that it is woken
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from processors.core.records.events import Event
from processors.core.records.model import ThreadRun, WfRun
from processors.core.records.spec import (
    AnyNode,
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
from processors.core.rules.context import Context
from processors.core.rules.halting import can_resume
from processors.core.rules.nodes.completing import complete_handled_node
from processors.core.rules.nodes.exits import exit_when_ready, run_exit
from processors.core.rules.nodes.parking import VARIABLES, note_wait, park_restored
from processors.core.rules.nodes.passing import arrive_at_entrypoint, run_entrypoint, run_nop, run_throw_event
from processors.core.rules.nodes.starting_threads import run_start_multiple, run_start_thread
from processors.core.rules.nodes.tasks import request_again, run_task
from processors.core.rules.nodes.waiting_for_threads import run_wait_for_threads
from processors.core.rules.nodes.waits import (
    arrive_at_external_event,
    arrive_at_sleep,
    run_external_event,
    run_sleep,
    run_wait_for_condition,
)

__all__ = [
    "RUNNERS",
    "VARIABLES",
    "arrive_halted",
    "may_arrive_halted",
    "note_wait",
    "park_restored",
    "request_again",
    "run_node",
]


def arrive_halted(run: WfRun, context: Context, thread: ThreadRun) -> Iterable[Event]:
    """Do what a node does at arrival also for a halted thread, if that can go on one day.

    So its time counts from arrival (rule time-counts-from-arrival). A thread that can never go on waits for no time
    (rule loser-waits-for-no-time). All this is done once, when the thread is looked at: in the command that took it
    there.
    """
    if not may_arrive_halted(run, thread) or not can_resume(run, thread):
        return ()
    node = run.spec_of(thread).nodes[thread.node.node]
    return _ARRIVALS[type(node)](run, context, thread, node)


def may_arrive_halted(run: WfRun, thread: ThreadRun) -> bool:
    """Say whether something may be left of what the thread's node does at arrival."""
    state = thread.node
    if state.node not in run.spec_of(thread).arrivals:
        return False
    return state.timer is None and state.matured_seq is None and not state.failure_handled


def run_node(run: WfRun, context: Context, thread: ThreadRun) -> Iterator[Event]:
    """Take a running thread one node further, if its node is done.

    After a halt the node is looked at again, not arrived at again (rule never-arrived-at-again).
    """
    node = run.spec_of(thread).nodes[thread.node.node]
    if thread.node.failure is not None:
        assert thread.node.failure_handled, f"thread {thread.number} runs on at a node that failed"
        if isinstance(node, ExitNode):
            return exit_when_ready(run, thread, node)
        return complete_handled_node(run, thread, node)
    return RUNNERS[type(node)](run, context, thread, node)


_ARRIVALS: Final[dict[type[AnyNode], Callable[[WfRun, Context, ThreadRun, Any], Iterator[Event]]]] = {
    EntrypointNode: arrive_at_entrypoint,
    ExternalEventNode: arrive_at_external_event,
    SleepNode: arrive_at_sleep,
}

RUNNERS: Final[dict[type[AnyNode], Callable[[WfRun, Context, ThreadRun, Any], Iterator[Event]]]] = {
    EntrypointNode: run_entrypoint,
    NopNode: run_nop,
    ExitNode: run_exit,
    TaskNode: run_task,
    ExternalEventNode: run_external_event,
    SleepNode: run_sleep,
    StartThreadNode: run_start_thread,
    StartMultipleThreadsNode: run_start_multiple,
    WaitForThreadsNode: run_wait_for_threads,
    WaitForConditionNode: run_wait_for_condition,
    ThrowEventNode: run_throw_event,
}
