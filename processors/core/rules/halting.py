"""Halting and resuming: who is asked to stop, when a thread is still, and when a reason no longer holds.

The rule of rules: a thread is HALTED only when its own task is back and nothing below it moves (SEMANTICS 2.3, N17).
All functions that change something are generators: an event that is yielded is true when the function goes on.
"""

from collections.abc import Iterator

from processors.core.records.events import (
    Event,
    Halt,
    HaltReasonResolved,
    InterruptDropped,
    Resume,
    ThreadHalted,
    ThreadRetired,
)
from processors.core.records.model import (
    FAILED,
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

INTERRUPT_REASONS = (PendingInterrupt, Interrupted)
FAILURE_REASONS = (PendingFailure, HandlingFailure)
HANDLER_REASONS = INTERRUPT_REASONS + FAILURE_REASONS
"""Reasons that are a handler of the thread itself, running or pending."""
_HANDLER_REASONS = frozenset(HANDLER_REASONS)


def halt(run: WfRun, thread: ThreadRun, reason: HaltReason) -> Iterator[Event]:
    """Put a reason on a thread and PARENT_HALTED on all that halts with it; then let finish what is still (2.3).

    Its own Interrupt Handlers go on when the reason is a handler of this thread.
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
    """HALTING becomes HALTED once the thread's task is back and nothing below it moves."""
    if thread.status is Status.HALTING and not thread.task_out and nothing_moves_below(run, thread):
        yield ThreadHalted(thread.number)


def nothing_moves_below(run: WfRun, thread: ThreadRun) -> bool:
    """Whether every thread below is terminal or HALTED, through all generations, handlers included (N17).

    A handler with `halt: false` counts only if it has been asked to halt: beside an interrupt it goes on (N14). All was
    still below a thread when it became HALTED, and nothing but handlers of its own can have started there since.
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


def rests_but_for_interrupts(run: WfRun, thread: ThreadRun) -> bool:
    """Whether nothing below moves, the thread's own Interrupt Handlers left out: another one may start then."""
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
    """Whether every reason on the thread is a handler of its own, running or pending."""
    return _HANDLER_REASONS.issuperset(map(type, thread.halt_reasons))


def only_handlers_hold(run: WfRun, thread: ThreadRun) -> bool:
    """The same, of a WfRun whose index is there."""
    if len(thread.halt_reasons) < MANY_REASONS:
        return held_by_handlers_only(thread)
    return _HANDLER_REASONS.issuperset(run.index.reasons[thread.number])


def resume_where_resolved(run: WfRun, thread: ThreadRun) -> Iterator[Event]:
    """Drop the reasons that no longer hold, one event each; the last one lets the thread run."""
    resolved = _resolved(run, thread)
    if len(resolved) < len(thread.halt_reasons):
        for reason in resolved:
            yield HaltReasonResolved(thread.number, reason)
        return
    for reason in resolved[:-1]:
        yield HaltReasonResolved(thread.number, reason)
    yield Resume(thread.number, resolved[-1] if resolved else None)


def _resolved(run: WfRun, thread: ThreadRun) -> list[HaltReason]:
    """The reasons that no longer hold, in their order."""
    if not run.is_held_by(thread, ParentHalted):
        gone = run.index.gone_handlers.get(thread.number, ())
        if not gone and thread.halt_reasons:
            return []
        if len(gone) == 1 and (reason := thread.halt_reasons[0]) == Interrupted(gone[0]):
            return [reason]  # nearly always so, and there may be a thousand behind it
    return [reason for reason in thread.halt_reasons if _is_resolved(run, thread, reason)]


def forget_gone_handlers(run: WfRun, loser: ThreadRun) -> Iterator[Event]:
    """A loser of ANY or FIRST stays halted for good, but no reason of its points to a handler that has completed."""
    for reason in list(loser.halt_reasons):
        if isinstance(reason, Interrupted | HandlingFailure) and _is_resolved(run, loser, reason):
            yield HaltReasonResolved(loser.number, reason)


def _is_resolved(run: WfRun, thread: ThreadRun, reason: HaltReason) -> bool:
    """SEMANTICS 1.3 (HaltReason), N5."""
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
    """Whether a thread is a handler that may run although its parent is halted: for nothing but handlers (N5)."""
    if thread.parent != parent.number or thread.waiter is not None or not only_handlers_hold(run, parent):
        return False
    if thread.type is ThreadType.INTERRUPT:
        return True
    # A failure handler goes on after the last interrupt handler.
    return thread.type is ThreadType.FAILURE_HANDLER and not any(
        run.is_held_by(parent, kind) for kind in INTERRUPT_REASONS
    )


class BranchAbove:
    """Which threads stand still until one has ended: where it is, or is below, a handler of one above them.

    What is below another Interrupt Handler does not: those run side by side. Asked about many threads, it climbs from
    each only to where it has been before.
    """

    def __init__(self, run: WfRun, thread: ThreadRun) -> None:
        self._run, self._lowest = run, thread
        self._handler_below: dict[int, ThreadRun] | None = None
        """Each thread above it, and by which of the threads that hang there; None before somebody asks."""
        self._known: dict[int, bool] = {}

    def halts(self, other: ThreadRun) -> bool:
        """Whether the other, which lives, stands still until the thread has ended."""
        way: list[int] = []
        answer = False
        for branch, above in _upward(self._run, other):
            known = self._known.get(branch.number)
            if known is not None:
                answer = known
                break
            way.append(branch.number)
            if above is self._lowest:
                break  # what is below it is halted for nothing above that it is not
            if self._handler_below is None:
                self._handler_below = {it.number: child for child, it in _upward(self._run, self._lowest)}
            handler = self._handler_below.get(above.number)
            if handler is not None:  # here both ways join
                answer = handler is not branch and _keeps(handler) and branch.type is not ThreadType.INTERRUPT
                break
        self._known.update(dict.fromkeys(way, answer))
        return answer


def _keeps(handler: ThreadRun) -> bool:
    """Whether the thread above a handler stands still until it has ended."""
    if handler.type is ThreadType.INTERRUPT:
        return handler.halts_parent
    return handler.type is ThreadType.FAILURE_HANDLER and handler.waiter is None


def halted_until(run: WfRun, thread: ThreadRun) -> Iterator[int]:
    """The handlers that have to end before a thread can resume: its own, and those of the threads it halts with."""
    if thread.status is Status.RUNNING:
        return
    yield from (reason.handler for reason in thread.halt_reasons if isinstance(reason, Interrupted | HandlingFailure))
    for below, above in _upward(run, thread):
        if ParentHalted(above.number) not in below.halt_reasons:
            return
        is_own = below.parent == above.number and below.waiter is None
        if is_own and below.type is ThreadType.INTERRUPT:
            continue  # its handlers run side by side (N5)
        for reason in above.halt_reasons:
            if isinstance(reason, HandlingFailure) and is_own and below.type is ThreadType.FAILURE_HANDLER:
                continue
            if isinstance(reason, Interrupted | HandlingFailure):
                yield reason.handler


def _upward(run: WfRun, thread: ThreadRun) -> Iterator[tuple[ThreadRun, ThreadRun]]:
    """Each thread with the one it halts and resumes with, upward."""
    while thread.holder is not None and (above := run.threads.get(thread.holder)) is not None:
        yield thread, above
        thread = above


def holders(run: WfRun, thread: ThreadRun) -> Iterator[int]:
    """The threads that a thread halts and resumes with, upward."""
    return (above.number for _, above in _upward(run, thread))


def retire_with(run: WfRun, thread: ThreadRun) -> Iterator[Event]:
    """A thread is about to leave with all below it. What halts with one of them, but hangs elsewhere for its scope,
    leaves before: a failure handler of a child that failed there. Nothing could move it any more.
    """
    if not run.index.waiter_handlers:
        return
    leaving = [thread]
    elsewhere: list[ThreadRun] = []
    while leaving:
        below = leaving.pop()
        handlers = [run.threads[number] for number in run.index.waiter_handlers.get(below.number, ())]
        elsewhere.extend(handler for handler in handlers if handler.status not in TERMINAL)
        leaving.extend(handlers)
        leaving.extend(run.threads[number] for number in below.children)
    for handler in elsewhere:
        if handler.number in run.threads and not _is_below(run, handler, thread):
            yield ThreadRetired(handler.number)


def _is_below(run: WfRun, thread: ThreadRun, other: ThreadRun) -> bool:
    return any(ancestor.number == other.number for ancestor in run.ancestors(thread))


def retire(run: WfRun, loser: ThreadRun) -> Iterator[Event]:
    """A loser of ANY or FIRST leaves, with all below it (N15)."""
    yield from retire_with(run, loser)
    yield ThreadRetired(loser.number)
    yield from drop_hopeless_interrupts(run)


def is_kept(run: WfRun, thread: ThreadRun) -> bool:
    """Whether a thread may not leave yet, because another one has still to do with a thread that would leave too."""
    if not thread.children and not run.index.waiter_handlers.get(thread.number):
        return False  # it leaves alone
    if next(kept_by_handlers(run, thread), None) is None and next(kept_by_waiters(run, thread), None) is None:
        return False
    run.index.kept.add(thread.number)
    return True


def kept_by_handlers(run: WfRun, thread: ThreadRun) -> Iterator[ThreadRun]:
    """The failure handlers below a thread that go on with a thread elsewhere: they need its Variables (4.2, N5)."""
    if run.index.waiter_handlers:
        handlers = [it for it in _leaving_with(run, thread) if it.waiter is not None and can_resume(run, it)]
        yield from sorted(handlers, key=_number_of)


def kept_by_waiters(run: WfRun, thread: ThreadRun) -> Iterator[ThreadRun]:
    """The threads elsewhere that wait for a failed one below a thread, and have not come to see that it failed.

    One may be halted, or wait for ANY of several. When the failed thread has left it counts as COMPLETED (N15).
    """
    if not run.index.across:
        return
    unaware: dict[int, ThreadRun] = {}
    for failed in _leaving_with(run, thread):
        for number in run.index.waited_for.get(failed.number, ()) if failed.status in FAILED else ():
            waiter = run.threads.get(number)
            if waiter is None or number in unaware or number not in run.index.across:
                continue
            is_seen = run.index.waits[number][failed.number].handled or failed.number in waiter.handled_children
            if not is_seen and waiter.node.failure is None and can_resume(run, waiter):
                unaware[number] = waiter
    yield from sorted(unaware.values(), key=_number_of)


def _number_of(thread: ThreadRun) -> int:
    return thread.number


def _leaving_with(run: WfRun, thread: ThreadRun) -> list[ThreadRun]:
    """What leaves when a thread does: what is below it, and below the handlers of waits of those, too."""
    leaving: list[ThreadRun] = []
    todo, seen = [thread], {thread.number}
    while todo:
        current = todo.pop()
        for number in (*current.children, *run.index.waiter_handlers.get(current.number, ())):
            if number not in seen and (below := run.threads.get(number)) is not None:
                seen.add(number)
                leaving.append(below)
                todo.append(below)
    return leaving


class Kept:
    """The threads that failure handlers below them keep from leaving, all at once (`kept_by_handlers`)."""

    def __init__(self, run: WfRun) -> None:
        self._run = run
        self._handlers: dict[int, list[int]] | None = None
        """By thread; None before somebody asks."""

    def handlers(self, thread: ThreadRun) -> list[int]:
        """Those that keep a thread, ascending."""
        if self._handlers is None:
            self._handlers = {}
            of_waits = [number for numbers in self._run.index.waiter_handlers.values() for number in numbers]
            for handler in sorted(of_waits):
                if can_resume(self._run, self._run.threads[handler]):
                    for above in _leave_before(self._run, handler):
                        self._handlers.setdefault(above, []).append(handler)
        return self._handlers.get(thread.number, [])


def _leave_before(run: WfRun, number: int) -> list[int]:
    """The threads with which this one leaves: it is below them, or below a handler that leaves with them."""
    way: list[int] = []
    todo, seen = [number], {number}
    while todo:
        thread = run.threads[todo.pop()]
        for above in (thread.parent, thread.waiter):
            if above is not None and above not in seen and above in run.threads:
                seen.add(above)
                way.append(above)
                todo.append(above)
    return way


def can_resume(run: WfRun, thread: ThreadRun) -> bool:
    """Whether a thread is live and nothing above it has ended or lost for good (N9)."""
    current: ThreadRun | None = thread
    while current is not None:
        if current.status in TERMINAL or run.is_held_by(current, HaltedByParent):
            return False
        current = None if current.holder is None else run.threads.get(current.holder)
    return True


def drop_hopeless_interrupts(run: WfRun) -> Iterator[Event]:
    """Record as dropped every accepted interrupt whose thread has ended or can never resume (N6, N9), in order."""
    ended, pending = run.index.ended, run.index.pending
    if not ended:
        return
    hopeless: list[tuple[int, int, str, str]] = []
    while ended and pending:
        number = ended.pop()
        for event_def, ids in pending.get(number, {}).items():
            hopeless.extend((rank, number, event_def, event_id) for event_id, rank in ids.items())
        thread = run.threads.get(number)
        if thread is not None:
            # What is below one that ended before was dropped then.
            ended.extend(it.number for it in run.dependents(thread) if it.status not in TERMINAL and not it.has_lost)
    ended.clear()
    for _, number, event_def, event_id in sorted(set(hopeless)):
        thread = run.threads.get(number)
        status = "left" if thread is None else thread.status
        can_never = thread is not None and thread.status not in FAILED
        why = f"thread {number} can never resume" if can_never else f"thread {number} is {status}"
        yield InterruptDropped(number, event_def, event_id, why)
