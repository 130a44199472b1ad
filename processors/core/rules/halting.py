"""Halting and resuming: who is asked to stop, when a thread is still, and when a halt reason no longer holds.

A thread is HALTED only when its own task is back and nothing below it moves; most of this module follows from that.

Functions that bring something about are generators of events. When one goes on after a `yield`, that event has
happened. The other functions answer a question and change nothing.
"""

from collections.abc import Iterator
from typing import Final

from processors.core.records.events import Event, Halt, HaltReasonResolved, Resume, ThreadHalted
from processors.core.records.model import (
    MANY_REASONS,
    TERMINAL,
    HaltedByParent,
    HaltReason,
    HandlingFailure,
    Interrupted,
    ManualHalt,
    ParentHalted,
    PendingFailure,
    PendingInterrupt,
    Status,
    ThreadRun,
    ThreadType,
    WfRun,
)

INTERRUPT_REASONS: Final = (PendingInterrupt, Interrupted)
FAILURE_REASONS: Final = (PendingFailure, HandlingFailure)
HANDLER_REASONS: Final = INTERRUPT_REASONS + FAILURE_REASONS
"""Reasons that are a handler of the thread itself, running or pending."""
_HANDLER_REASONS: Final = frozenset(HANDLER_REASONS)


def halt(run: WfRun, thread: ThreadRun, reason: HaltReason) -> Iterator[Event]:
    """Put a halt reason on a thread and PARENT_HALTED on all that halts with it, through all generations.

    Threads that have ended are passed over, with all below them (rules halting-reaches-all-below,
    ended-threads-do-not-halt, parent-halted-is-there-once). The thread's own Interrupt Handlers go on when the reason
    is a handler of this thread; for any other reason they halt, with `halt: false` too (rules
    own-interrupt-handlers-go-on, halt-false-halts-like-a-child). At the end, those that are still already become
    HALTED, from the lowest upward.
    """
    asked: list[ThreadRun] = []
    todo: list[tuple[ThreadRun, HaltReason]] = [(thread, reason)]
    while todo:
        target, why = todo.pop()
        if target.status in TERMINAL or (type(why) is ParentHalted and why in target.halt_reasons):
            continue
        yield Halt(target.number, why)
        asked.append(target)
        if below := run.dependents(target):
            todo.extend(
                (dependent, ParentHalted(target.number))
                for dependent in reversed(below)
                if not (dependent.type is ThreadType.INTERRUPT and isinstance(why, HANDLER_REASONS))
            )
    for target in reversed(asked):
        yield from finish_halting(run, target)


def finish_halting(run: WfRun, thread: ThreadRun) -> Iterator[Event]:
    """Make a HALTING thread HALTED once its task is back and nothing below it moves (rule still-before-halted)."""
    if thread.status is Status.HALTING and not thread.task_out and nothing_moves_below(run, thread):
        yield ThreadHalted(thread.number)


def nothing_moves_below(run: WfRun, thread: ThreadRun) -> bool:
    """Say whether every thread below is terminal or HALTED, through all generations, handlers included.

    A handler with `halt: false` counts only if it was asked to halt: beside an interrupt it goes on (rule
    beside-handlers-do-not-delay). Below a HALTED thread only its own handlers can have started since it became HALTED,
    because all was still then. So the search goes below a HALTED thread only where it has handlers.
    """
    above_and_below = [(thread, dependent) for dependent in run.dependents(thread)]
    while above_and_below:
        above, dependent = above_and_below.pop()
        if not dependent.halts_parent and ParentHalted(above.number) not in dependent.halt_reasons:
            continue
        if dependent.status in (Status.RUNNING, Status.HALTING):
            return False
        if (
            dependent.status in TERMINAL
            or dependent.number in run.index.handling
            or run.is_held_by(dependent, HandlingFailure)
        ):
            above_and_below.extend((dependent, further) for further in run.dependents(dependent))
    return True


def is_still_but_for_interrupts(run: WfRun, thread: ThreadRun) -> bool:
    """Say whether nothing below the thread moves but its own Interrupt Handlers: then another handler may start.

    A failure handler has to be at rest as well (rule handlers-start-when-still).
    """
    handlers = sum(run.index.handling.get(thread.number, {}).values())
    if handlers == len(thread.children) and not run.index.waiter_handlers.get(thread.number):
        return True  # nothing else hangs there, and they may be a thousand
    for dependent in run.dependents(thread):
        if dependent.type is ThreadType.INTERRUPT:
            continue
        if dependent.status in (Status.RUNNING, Status.HALTING) or not nothing_moves_below(run, dependent):
            return False
    return True


def held_by_handlers_only(thread: ThreadRun) -> bool:
    """Say whether every reason on the thread is a handler of its own, running or pending."""
    for reason in thread.halt_reasons:  # noqa: SIM110  as in `WfRun.is_held_by`
        if type(reason) not in _HANDLER_REASONS:
            return False
    return True


def only_handlers_hold(run: WfRun, thread: ThreadRun) -> bool:
    """Say the same as `held_by_handlers_only`, by the index where the reasons are many."""
    if len(thread.halt_reasons) < MANY_REASONS:
        return held_by_handlers_only(thread)
    return _HANDLER_REASONS.issuperset(run.index.reasons[thread.number])


def resume_where_resolved(run: WfRun, thread: ThreadRun) -> Iterator[Event]:
    """Drop the reasons that no longer hold, one event each; the last lets the thread run (rule last-reason-resumes)."""
    resolved = _resolved(run, thread)
    if len(resolved) < len(thread.halt_reasons):
        for reason in resolved:
            yield HaltReasonResolved(thread.number, reason)
        return
    for reason in resolved[:-1]:
        yield HaltReasonResolved(thread.number, reason)
    yield Resume(thread.number, resolved[-1] if resolved else None)


def _resolved(run: WfRun, thread: ThreadRun) -> list[HaltReason]:
    """Return the reasons that no longer hold, in their order."""
    if not run.is_held_by(thread, ParentHalted):
        gone = run.index.gone_handlers.get(thread.number, ())
        if not gone and thread.halt_reasons:
            return []
        if len(gone) == 1:
            first = thread.halt_reasons[0]
            if type(first) is Interrupted and first.handler == gone[0]:
                return [first]  # nearly always so, and there may be a thousand behind it
    return [reason for reason in thread.halt_reasons if _is_resolved(run, thread, reason)]


def forget_gone_handlers(run: WfRun, loser: ThreadRun) -> Iterator[Event]:
    """Take the reasons that point to completed handlers off a loser of ANY or FIRST, which stays halted for good."""
    for reason in list(loser.halt_reasons):
        if isinstance(reason, Interrupted | HandlingFailure) and _is_resolved(run, loser, reason):
            yield HaltReasonResolved(loser.number, reason)


def _is_resolved(run: WfRun, thread: ThreadRun, reason: HaltReason) -> bool:
    """Say whether a reason no longer holds.

    Only a handler that has COMPLETED resolves its reason (rule completed-handlers-resolve). PARENT_HALTED goes when the
    thread above runs or has COMPLETED, or where the thread is a handler that may run meanwhile; below a failed thread
    it stays (rules running-parents-resolve, failed-parents-hold-for-good). A lost wait is never resolved (rule
    losers-are-held-for-good).
    """
    match reason:
        case Interrupted(handler=handler) | HandlingFailure(handler=handler):
            return handler not in run.threads  # COMPLETED ones have left; a failed one has failed this thread
        case ParentHalted(parent=number):
            parent = run.threads.get(number)
            if parent is None or parent.status in (Status.RUNNING, Status.COMPLETED):
                return True
            return parent.status not in TERMINAL and _runs_while_halted(run, parent, thread)
        case PendingInterrupt() | PendingFailure() | ManualHalt() | HaltedByParent():
            return False


def _runs_while_halted(run: WfRun, parent: ThreadRun, thread: ThreadRun) -> bool:
    """Say whether a thread is a handler that may run although its parent is halted.

    It may if nothing but handlers holds the parent (rule handlers-run-under-handlers). A failure handler runs again
    only after the last Interrupt Handler (rule failure-handlers-yield).
    """
    if thread.parent != parent.number or thread.waiter is not None or not only_handlers_hold(run, parent):
        return False
    if thread.type is ThreadType.INTERRUPT:
        return True
    return thread.type is ThreadType.FAILURE_HANDLER and not any(
        run.is_held_by(parent, kind) for kind in INTERRUPT_REASONS
    )


def halted_until(run: WfRun, thread: ThreadRun) -> Iterator[int]:
    """Yield the handlers that must end before a thread can resume: its own, and those of the threads it halts with."""
    if thread.status is Status.RUNNING:
        return
    yield from (reason.handler for reason in thread.halt_reasons if isinstance(reason, Interrupted | HandlingFailure))
    for below, above in upward(run, thread):
        if ParentHalted(above.number) not in below.halt_reasons:
            return
        is_own = below.parent == above.number and below.waiter is None
        if is_own and below.type is ThreadType.INTERRUPT:
            continue  # Interrupt Handlers of one thread run side by side
        for reason in above.halt_reasons:
            if isinstance(reason, HandlingFailure) and is_own and below.type is ThreadType.FAILURE_HANDLER:
                continue
            if isinstance(reason, Interrupted | HandlingFailure):
                yield reason.handler


def can_resume(run: WfRun, thread: ThreadRun) -> bool:
    """Say whether a thread is live and nothing above it has ended or lost for good.

    Only such a thread accepts an interrupt (rule hopeless-threads-do-not-accept).
    """
    current: ThreadRun | None = thread
    while current is not None:
        if current.status in TERMINAL or run.is_held_by(current, HaltedByParent):
            return False
        current = None if current.holder is None else run.threads.get(current.holder)
    return True


def upward(run: WfRun, thread: ThreadRun) -> Iterator[tuple[ThreadRun, ThreadRun]]:
    """Yield each thread with the one it halts and resumes with, upward."""
    while thread.holder is not None and (above := run.threads.get(thread.holder)) is not None:
        yield thread, above
        thread = above


def holders(run: WfRun, thread: ThreadRun) -> Iterator[int]:
    """Yield the threads that a thread halts and resumes with, upward."""
    return (above.number for _, above in upward(run, thread))
