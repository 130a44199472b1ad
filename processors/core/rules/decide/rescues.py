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

    If the thread above the topmost one is halted, this one is halted with it (rule rescue-below-a-halt).
    """
    revived = revived_by(run, command)
    for thread in revived:
        yield ThreadRescued(thread.number, command.skip_current_node and thread is revived[0])
    topmost = revived[-1]
    holder = None if topmost.holder is None else run.threads[topmost.holder]
    if holder is not None and holder.status is not Status.RUNNING:
        yield from halt(run, topmost, ParentHalted(holder.number))


def rescuable(run: WfRun) -> list[int]:
    """Return the threads to rescue so that each failed thread that can be revived is, in the order to rescue them in.

    A thread that the rescue of one below it revives is not among them. Those whose rescue climbs highest come last: a
    wait for several threads would fail again at once if one of them had not been rescued before.
    """
    climbs: dict[int, list[int]] = {}
    for number, thread in run.threads.items():
        if thread.status is Status.ERROR:
            try:
                revived = revived_by(run, RescueThreadRun(run.wf_run_id, number))
            except Refusal:
                continue
            climbs[number] = [it.number for it in revived]
    above = {number for climb in climbs.values() for number in climb[1:]}
    topmost = {number: sum(1 for _ in run.ancestors(run.threads[climb[-1]])) for number, climb in climbs.items()}
    return sorted(climbs.keys() - above, key=lambda number: (-topmost[number], number))


def revived_by(run: WfRun, command: RescueThreadRun) -> list[ThreadRun]:
    """Return the thread that a rescue revives, and those above it that it revives too, upward. Raises Refusal.

    A thread is not rescued if its failure is final, as that of a handler is, nor while it is dealt with (rules
    rescue-needs-an-error, failed-handlers-are-final, no-rescue-while-dealt-with). The climb ends at the first thread
    above that failed for another reason (rule rescue-climbs-to-waiters).
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
    revived = [thread]
    while (number := revived[-1].parent) is not None:
        parent = run.threads[number]
        if parent.status is not Status.ERROR or parent.type in _HANDLERS:
            break  # the failure of a handler is final, also from below
        if not _failed_waiting_for(run, parent, revived[-1]):
            break
        revived.append(parent)
    return revived


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
