"""Leaving: what a thread takes along when it leaves the state, and what keeps it there a while longer.

A thread that completed leaves at once, a loser of ANY or FIRST when nothing below it moves. All that is below goes with
it. Two things keep a thread: a failure handler below it that works for a thread elsewhere, and a thread elsewhere that
waits for a failed one below it and has not seen that failure.
"""

from collections.abc import Iterator

from processors.core.records.events import Event, ThreadRetired
from processors.core.records.model import FAILED, TERMINAL, ThreadRun, WfRun
from processors.core.rules.dropping import drop_hopeless_interrupts
from processors.core.rules.halting import can_resume, forget_gone_handlers, nothing_moves_below


def retire_where_still(run: WfRun, loser: ThreadRun) -> Iterator[Event]:
    """Let a loser of ANY or FIRST leave once nothing below it moves (rule losers-leave-once-still)."""
    yield from forget_gone_handlers(run, loser)
    if not nothing_moves_below(run, loser):
        return
    if must_stay(run, loser):
        note_stay(run, loser)
    else:
        yield from retire(run, loser)


def retire(run: WfRun, loser: ThreadRun) -> Iterator[Event]:
    """Let a loser of ANY or FIRST leave, with all below it."""
    yield from retire_with(run, loser)
    yield ThreadRetired(loser.number)
    yield from drop_hopeless_interrupts(run)


def retire_with(run: WfRun, thread: ThreadRun) -> Iterator[Event]:
    """Let those leave that halt with a thread that is about to leave, or with one below it, but hang elsewhere.

    They are failure handlers of failed children, which hang below those for their Variables. Nothing could move them
    any more (rule handlers-elsewhere-leave-along).
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


def must_stay(run: WfRun, thread: ThreadRun) -> bool:
    """Say whether a thread may not leave yet, because of others that have to do with a thread that would leave too.

    A caller that lets it stay notes that (`note_stay`).
    """
    if not thread.children and not run.index.waiter_handlers.get(thread.number):
        return False  # it leaves alone
    return (
        next(stays_for_handlers(run, thread), None) is not None
        or next(stays_for_waiters(run, thread), None) is not None
    )


def note_stay(run: WfRun, thread: ThreadRun) -> None:
    """Have `advance` look at a thread again that would have left, but must stay."""
    run.index.staying.add(thread.number)


def stays_for_handlers(run: WfRun, thread: ThreadRun) -> Iterator[ThreadRun]:
    """Yield the failure handlers below a thread that go on with a thread elsewhere.

    They need the Variables there (rule stays-for-handlers-elsewhere).
    """
    if run.index.waiter_handlers:
        handlers = [it for it in _leaving_with(run, thread) if it.waiter is not None and can_resume(run, it)]
        yield from sorted(handlers, key=_number_of)


def stays_for_waiters(run: WfRun, thread: ThreadRun) -> Iterator[ThreadRun]:
    """Yield the threads elsewhere that wait for a failed one below a thread, and have not come to see that it failed.

    Such a thread may be halted, or wait for ANY of several. Once the failed thread has left it counts as COMPLETED
    (rule stays-until-failure-seen).
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
    """Return what leaves when a thread does: what is below it, and below the handlers of waits of those, too."""
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


class Stays:
    """The threads that must stay for failure handlers below them, found all at once (as by `stays_for_handlers`)."""

    def __init__(self, run: WfRun) -> None:
        self._run = run
        self._handlers: dict[int, list[int]] | None = None
        """By thread; None before somebody asks."""

    def handlers(self, thread: ThreadRun) -> list[int]:
        """Return the handlers for which a thread must stay, ascending."""
        if self._handlers is None:
            self._handlers = {}
            of_waits = [number for numbers in self._run.index.waiter_handlers.values() for number in numbers]
            for handler in sorted(of_waits):
                if can_resume(self._run, self._run.threads[handler]):
                    for above in _leave_before(self._run, handler):
                        self._handlers.setdefault(above, []).append(handler)
        return self._handlers.get(thread.number, [])


def _leave_before(run: WfRun, number: int) -> list[int]:
    """Return the threads with which this one leaves: it is below them, or below a handler that leaves with them."""
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
