"""What the state now implies: the loop that moves a WfRun until nothing more follows (SEMANTICS 2.1).

A pass starts handlers that may start, then takes every thread that something happened to one step further, in the order
of their numbers. Threads that nothing happened to are not looked at, so they cost nothing: the agenda says whom to look
at, and looking at one too many changes nothing.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from processors.core.records.events import (
    Event,
    ExternalEventPosted,
    Halt,
    HaltReasonResolved,
    InterruptAccepted,
    InterruptDropped,
    InterruptSuperseded,
    NodeCompleted,
    NodeFailed,
    Resume,
    SpawnChild,
    TaskAttemptEnded,
    ThreadCompleted,
    ThreadFailed,
    ThreadHalted,
    ThreadRescued,
    ThreadRetired,
    TimerMatured,
    WfRunEnded,
    WfRunStarted,
)
from processors.core.records.model import (
    TERMINAL,
    HaltedByParent,
    HandlingFailure,
    Status,
    ThreadRun,
    WakeKey,
    WakeOn,
    WfRun,
)
from processors.core.rules.context import Context
from processors.core.rules.halting import (
    HANDLER_REASONS,
    INTERRUPT_REASONS,
    finish_halting,
    forget_gone_handlers,
    is_kept,
    nothing_moves_below,
    only_handlers_hold,
    resume_where_resolved,
    retire,
)
from processors.core.rules.interrupts import launch_failure_handlers, launch_interrupts, room_for
from processors.core.rules.knots import untie
from processors.core.rules.nodes import VARIABLES, arrive_halted, run_node

RETENTION_S = 7 * 24 * 3600
"""How long a WfRun is kept after its end, where its WfSpec does not say."""


def advance(run: WfRun, context: Context, agenda: "Agenda") -> Iterator[Event]:
    """Pass after pass, until one finds nothing to do. A generator: what it yields is true when it goes on."""
    yield from _settle(run, context, agenda)
    while (run.index.across or run.index.kept) and agenda.touched and not agenda.is_given_up:
        seq = run.seq
        if not _wake_kept(run, agenda):
            yield from untie(run, agenda.touched, agenda.failed)
            if run.seq == seq:
                break
        yield from _settle(run, context, agenda)
    if run.timer is None and run.status in TERMINAL and not agenda.is_given_up:
        yield from _end(run)


def _wake_kept(run: WfRun, agenda: "Agenda") -> bool:
    """Look again at the threads that nothing keeps from leaving any more; whether there are any."""
    free = [n for n in run.index.kept if n not in run.threads or not is_kept(run, run.threads[n])]
    run.index.kept.difference_update(free)
    for number in free:
        agenda.wake(number)
    return bool(free)


def _settle(run: WfRun, context: Context, agenda: "Agenda") -> Iterator[Event]:
    launched: set[int] = set()
    while agenda.begin_pass() or (launched and run.accepted_interrupts and not agenda.is_given_up):
        if launched and agenda.is_done():
            agenda.woken.update(launched)
            launched.clear()  # all that was launched has come to rest
        if run.accepted_interrupts or run.unstarted_failure_handlers:
            yield from _launch(run, context, agenda, launched)
        else:
            agenda.woken.clear()
        for number in _turns(run, context, agenda) if run.index.crowded else agenda.threads():
            thread = run.threads.get(number)
            if thread is not None:
                yield from advance_thread(run, context, thread)
    agenda.rest()


def _launch(run: WfRun, context: Context, agenda: "Agenda", launched: set[int]) -> Iterator[Event]:
    looked_at: set[int] = set()
    yield from _each(launch_interrupts(run, launched, agenda.woken, looked_at), agenda)
    if run.unstarted_failure_handlers:
        yield from _each(launch_failure_handlers(run, context, looked_at), agenda)


def _turns(run: WfRun, context: Context, agenda: "Agenda") -> Iterator[int]:
    """The threads of this pass, where some have found no room for a handler: one that leaves room wakes the next."""
    for number in agenda.threads():
        was_crowded = agenda.take_crowded(run, number)
        yield number
        if was_crowded and room_for(run, context):
            agenda.wake_crowded(run, number)


def _each(rules: Iterator[Iterator[Event]], agenda: "Agenda") -> Iterator[Event]:
    """One rule after the other, none once it has become too much."""
    for rule in rules:
        if agenda.is_given_up:
            return
        yield from rule


def _end(run: WfRun) -> Iterator[Event]:
    """A WfRun whose thread 0 has ended is over once nothing moves any more; its retention begins."""
    if any(thread.status in (Status.RUNNING, Status.HALTING) for thread in run.threads.values()):
        return
    assert run.spec is not None
    assert run.status is not None
    retention_s = RETENTION_S if run.spec.retention_s is None else run.spec.retention_s
    yield WfRunEnded(run.status, run.time_ms + retention_s * 1000)


def advance_thread(run: WfRun, context: Context, thread: ThreadRun) -> Iterator[Event]:
    """One step of one thread; nothing if it has nothing to do."""
    match thread.status:
        case Status.RUNNING:
            return run_node(run, context, thread)
        case Status.HALTING:
            return chain(arrive_halted(run, context, thread), finish_halting(run, thread))
        case Status.HALTED:
            if run.is_held_by(thread, HaltedByParent):
                return _retire(run, thread)
            return chain(arrive_halted(run, context, thread), resume_where_resolved(run, thread))
        case Status.COMPLETED | Status.ERROR | Status.EXCEPTION:
            return iter(())


def _retire(run: WfRun, loser: ThreadRun) -> Iterator[Event]:
    """A loser of ANY or FIRST leaves once nothing below it moves (N15)."""
    yield from forget_gone_handlers(run, loser)
    if nothing_moves_below(run, loser) and not is_kept(run, loser):
        yield from retire(run, loser)


_BETWEEN_PASSES = 2**63
"""Above every thread number: whoever is woken then is looked at in the next pass."""


class Agenda:
    """Which threads to look at, in this pass and in the next."""

    __slots__ = ("_at", "_next", "_now", "failed", "is_given_up", "revived", "touched", "woken")

    def __init__(self) -> None:
        self.is_given_up = False
        self.failed: set[int] = set()
        """Who failed, and what is left below them: it can never end."""
        self.revived: set[int] = set()
        """Who was woken because one above was rescued."""
        self.touched: set[int] = set()
        """Who was looked at."""
        self.woken: set[int] = set()
        """Who was woken since interrupts were launched: whose next handler may start."""
        self._now: list[int] = []
        self._next: set[int] = set()
        self._at = _BETWEEN_PASSES

    def give_up(self) -> None:
        """Look at nobody any more, in no pass."""
        self.is_given_up = True
        self._now.clear()
        self._at = _BETWEEN_PASSES

    def begin_pass(self) -> bool:
        """Start the next pass; False if there is nobody to look at."""
        if self.is_given_up:
            return False
        self._at = -1
        if not self._next:
            return False
        self._now.extend(sorted(self._next))
        self._next.clear()
        return True

    def rest(self) -> None:
        """There are no more passes for now: whoever is woken is looked at when there are."""
        self._at = _BETWEEN_PASSES

    def is_done(self) -> bool:
        """Whether there is nobody to look at in this pass."""
        return not self._now

    def threads(self) -> Iterator[int]:
        """The threads of this pass, ascending, each once, also those that are woken while it goes on."""
        now = self._now
        while now:
            number = heapq.heappop(now)
            if number > self._at:
                self._at = number
                self.touched.add(number)
                yield number
        self._at = _BETWEEN_PASSES

    def wake(self, number: int) -> None:
        """Look at a thread: in this pass if its turn is still to come, in the next otherwise."""
        self.woken.add(number)
        if number <= self._at:
            self._next.add(number)
        elif self._now:
            heapq.heappush(self._now, number)
        else:
            self._now.append(number)

    def wake_parked(self, run: WfRun, key: WakeKey) -> None:
        """Wake the threads whose nodes wait for this; they park again if it was not for them."""
        parked = run.index.parked
        if key in parked:
            for number in parked.pop(key):
                self.wake(number)

    def wake_for_completed(self, run: WfRun, number: int) -> None:
        """Wake the threads that wait for one that has completed or left, but for those that need others to complete."""
        left, key = run.index.left_to_complete, (WakeOn.THREAD, number)
        for waiter in run.index.parked.pop(key, ()):
            more = left.get(waiter, 0) - 1
            if more > 0:
                left[waiter] = more
            else:
                self.wake(waiter)

    def wake_for_failed(self, run: WfRun, number: int) -> None:
        """Wake the threads that wait for one that can never complete now, but for those to whom others are left.

        These stay parked on it: once it is rescued, it may complete.
        """
        left, key = run.index.left_to_fail, (WakeOn.THREAD, number)
        staying: set[int] = set()
        for waiter in run.index.parked.pop(key, ()):
            more = left.get(waiter, 0) - 1
            if more > 0:
                left[waiter] = more
                staying.add(waiter)
            else:
                self.wake(waiter)
        if staying:
            run.index.parked[key] = staying

    def wake_for_room(self, run: WfRun) -> None:
        """Fewer threads live than before: wake who found no room for a handler, one after the other while there is any.

        That is the next in this pass, and the first in the pass that follows: those between have had their turn.
        """
        crowded = run.index.crowded
        if crowded:
            self.wake_crowded(run, self._at)
            if crowded[0] <= self._at:
                self.wake(crowded[0])

    def wake_crowded(self, run: WfRun, after: int) -> None:
        """Wake the first thread above a number that found no room."""
        crowded = run.index.crowded
        at = bisect_right(crowded, after)
        if at < len(crowded):
            self.wake(crowded[at])

    def take_crowded(self, run: WfRun, number: int) -> bool:
        """Take a thread whose turn has come off the list of those that found no room; whether it was there."""
        crowded = run.index.crowded
        at = bisect_left(crowded, number)
        if at == len(crowded) or crowded[at] != number:
            return False
        del crowded[at]
        return True

    def wake_holders(self, run: WfRun, thread: ThreadRun) -> None:
        """Wake all that halt, or go on halting, only when this thread, somewhere below them, is still.

        Above one that moves nobody is still, and nobody has asked one to be that is halted for its own handlers alone.
        """
        holder = thread.holder
        while (
            holder is not None and (above := run.threads.get(holder)) is not None and above.status is not Status.RUNNING
        ):
            self.wake(holder)
            if above.status is Status.HALTING or (above.status is Status.HALTED and only_handlers_hold(run, above)):
                return
            holder = above.holder


def _wake_thread(agenda: Agenda, run: WfRun, event: Any) -> None:  # noqa: ARG001
    agenda.wake(event.thread)


def _on_given_up(agenda: Agenda, run: WfRun, event: InterruptDropped | InterruptSuperseded) -> None:
    """The place of its handler is free."""
    if run.index.crowded:
        agenda.wake_for_room(run)
    agenda.wake(event.thread)


def _on_started(agenda: Agenda, run: WfRun, event: WfRunStarted) -> None:  # noqa: ARG001
    agenda.wake(0)


def _on_posted(agenda: Agenda, run: WfRun, event: ExternalEventPosted) -> None:
    key = (WakeOn.EXTERNAL_EVENT, event.external_event_def)
    if event.thread is None:
        agenda.wake_parked(run, key)
    elif event.thread in run.index.parked.get(key, ()):
        run.index.parked[key].discard(event.thread)
        agenda.wake(event.thread)


def _on_halted(agenda: Agenda, run: WfRun, event: ThreadHalted) -> None:
    agenda.wake(event.thread)
    agenda.wake_holders(run, run.threads[event.thread])


def _on_resumed(agenda: Agenda, run: WfRun, event: Resume) -> None:
    """It goes on, and so may the threads that were halted with it."""
    agenda.wake(event.thread)
    for dependent in run.dependents(run.threads[event.thread]):
        if dependent.status is not Status.RUNNING:
            agenda.wake(dependent.number)


def _on_resolved(agenda: Agenda, run: WfRun, event: HaltReasonResolved) -> None:
    """It may go on for its handlers alone, and then so may these: failure handlers after the last interrupt handler."""
    agenda.wake(event.thread)
    thread = run.threads[event.thread]
    if not only_handlers_hold(run, thread):
        return
    if not isinstance(event.reason, HANDLER_REASONS):
        for dependent in run.dependents(thread):
            if dependent.status is not Status.RUNNING:
                agenda.wake(dependent.number)
    elif not any(run.is_held_by(thread, kind) for kind in INTERRUPT_REASONS):
        for reason in thread.halt_reasons:
            if isinstance(reason, HandlingFailure):
                agenda.wake(reason.handler)


def _on_node_completed(agenda: Agenda, run: WfRun, event: NodeCompleted) -> None:
    agenda.wake(event.thread)
    if event.writes:
        agenda.wake_parked(run, VARIABLES)


def _on_ended(agenda: Agenda, run: WfRun, event: ThreadCompleted | ThreadFailed | ThreadRetired) -> None:
    """Whoever waits for the thread looks again: at WAIT_FOR_THREADS, at EXIT, or to be still or to resume.

    So does whoever waits for one below a thread that failed, which stays there for good, or for one that left with it.
    """
    if run.index.crowded:
        agenda.wake_for_room(run)
    stranded: list[ThreadRun] = []
    if type(event) is ThreadFailed:
        agenda.wake_for_failed(run, event.thread)
        agenda.failed.add(event.thread)
        stranded.extend(run.dependents(run.threads[event.thread]))
    while stranded:
        below = stranded.pop()
        agenda.failed.add(below.number)
        agenda.wake_for_failed(run, below.number)
        if below.status not in TERMINAL:  # below one that has failed they were woken then
            stranded.extend(run.dependents(below))
    for ended in _ended_with(run, event.thread):
        if type(event) is not ThreadFailed:
            agenda.wake_for_completed(run, ended.number)
        agenda.wake_holders(run, ended)
        for number in (ended.parent, ended.waiter):
            if number is not None:
                agenda.wake(number)


def _ended_with(run: WfRun, number: int) -> Iterator[ThreadRun]:
    """The thread that has just ended, and all that left with it."""
    if number in run.threads:
        yield run.threads[number]
        return
    for left in reversed(run.changes.left):  # it is the first of those that left together
        yield left
        if left.number == number:
            return


def _on_rescued(agenda: Agenda, run: WfRun, event: ThreadRescued) -> None:
    """All below it can resume again, and may have missed something since it failed."""
    revived = [run.threads[event.thread]]
    while revived:
        thread = revived.pop()
        if thread.number not in agenda.revived:  # else with one below, by the same command
            agenda.revived.add(thread.number)
            agenda.wake(thread.number)
            revived.extend(run.dependents(thread))


WAKERS: dict[type[Event], Callable[[Agenda, WfRun, Any], None]] = {
    WfRunStarted: _on_started,
    ExternalEventPosted: _on_posted,
    Halt: _wake_thread,
    ThreadHalted: _on_halted,
    InterruptAccepted: _wake_thread,
    InterruptDropped: _on_given_up,
    InterruptSuperseded: _on_given_up,
    SpawnChild: _wake_thread,
    HaltReasonResolved: _on_resolved,
    Resume: _on_resumed,
    NodeCompleted: _on_node_completed,
    NodeFailed: _wake_thread,
    TimerMatured: _wake_thread,
    TaskAttemptEnded: _wake_thread,
    ThreadCompleted: _on_ended,
    ThreadFailed: _on_ended,
    ThreadRetired: _on_ended,
    ThreadRescued: _on_rescued,
}
"""What wakes whom an event that has just happened may concern; the other events concern no thread."""
