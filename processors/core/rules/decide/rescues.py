"""RescueThreadRun: which failed threads can be revived, and who is revived with them."""

from collections.abc import Iterator
from typing import Final

from processors.core.records.commands import RescueThreadRun
from processors.core.records.events import Event, RejectionCode, ThreadRescued
from processors.core.records.model import FAILED, TERMINAL, ParentHalted, Status, ThreadRun, ThreadType, WfRun
from processors.core.records.spec import ExitNode, WaitForThreadsNode
from processors.core.rules.decide.refusals import Refusal, named_thread
from processors.core.rules.halting import halt

_HANDLERS: Final = frozenset({ThreadType.INTERRUPT, ThreadType.FAILURE_HANDLER})


def rescued(run: WfRun, command: RescueThreadRun) -> Iterator[Event]:
    """Revive a thread in ERROR, and above it those that failed at a wait for it. Raises Refusal.

    A thread is not rescued if its failure is final, as that of a handler is, nor while it is dealt with (rules
    rescue-needs-an-error, failed-handlers-are-final, no-rescue-while-dealt-with). The climb ends at the first thread
    above that failed for another reason (rule rescue-climbs-to-waiters). If the thread above the topmost one is halted,
    this one is halted with it (rule rescue-below-a-halt).
    """
    thread = named_thread(run, command)
    what = f"thread {command.thread}"
    if thread is None or thread.status is not Status.ERROR:
        status = run.thread_status(command.thread)
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"{what} is {status}: only a thread in ERROR can be rescued")
    if thread.type in _HANDLERS:
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"{what} is a handler: its failure is final")
    if _failed_by_interrupt_handler(run, thread):
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"{what} failed with its Interrupt Handler, which is final")
    for below in run.dependents(thread):
        if below.type in _HANDLERS and below.waiter is None and below.halts_parent and below.status not in TERMINAL:
            raise Refusal(
                RejectionCode.FAILED_PRECONDITION,
                f"{what} failed while its handler, thread {below.number}, had not ended: it would run beside it",
            )
    if any(child.number in ancestor.handled_children for child, ancestor in _lineage(run, thread)):
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"{what} failed and was dealt with above")
    if any(_is_being_dealt_with(run, failed) for failed in (thread, *run.ancestors(thread))):
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"{what} failed and is being dealt with above")
    yield ThreadRescued(thread.number, command.skip_current_node)
    revived = thread
    while revived.parent is not None:
        parent = run.threads[revived.parent]
        if parent.status is not Status.ERROR or parent.type in _HANDLERS:
            break  # the failure of a handler is final, also from below
        if not _failed_waiting_for(run, parent, revived):
            break
        yield ThreadRescued(parent.number, skip_current_node=False)
        revived = parent
    holder = None if revived.holder is None else run.threads[revived.holder]
    if holder is not None and holder.status is not Status.RUNNING:
        yield from halt(run, revived, ParentHalted(holder.number))


def _is_being_dealt_with(run: WfRun, thread: ThreadRun) -> bool:
    """Say whether a thread has failed and a WAIT_FOR_THREADS has started a handler for it that has not ended."""
    handlers = (run.threads[child] for child in thread.children)
    return thread.status in FAILED and any(it.waiter is not None and it.status not in TERMINAL for it in handlers)


def _failed_by_interrupt_handler(run: WfRun, thread: ThreadRun) -> bool:
    """Say whether a thread failed because an Interrupt Handler of its own did."""
    failure = thread.failure
    if failure is None or failure.cause_thread is None:
        return False
    below = run.threads.get(failure.cause_thread)
    return below is not None and below.type is ThreadType.INTERRUPT and below.parent == thread.number


def _lineage(run: WfRun, thread: ThreadRun) -> Iterator[tuple[ThreadRun, ThreadRun]]:
    """Yield each thread with its parent, upward."""
    for ancestor in run.ancestors(thread):
        yield thread, ancestor
        thread = ancestor


def _failed_waiting_for(run: WfRun, parent: ThreadRun, child: ThreadRun) -> bool:
    """Say whether a thread failed at a wait or an EXIT because of that child, and not with a handler of its own.

    The child had failed, or the handler that the wait had started for its failure.
    """
    node = run.spec_of(parent).nodes[parent.node.node]
    if not isinstance(node, WaitForThreadsNode | ExitNode) or parent.failure is None:
        return False
    of_child = {child.number, *(w.handler for w in parent.node.waits or () if w.thread == child.number)}
    cause = parent.failure.cause_thread
    return cause is not None and cause in of_child and not _failed_by_interrupt_handler(run, parent)
