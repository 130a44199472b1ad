"""The agenda: which threads `advance` looks at, and which of them an event wakes.

Naming one thread too many does no harm: it is looked at and has nothing to do. Naming one too few leaves something
undone, so an event is either in `WAKERS` or in `WAKES_NOBODY`, and a test holds them against the union of all events.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Any, Final

from processors.core.records.events import (
    ArrivalFailed,
    ChildFailureHandled,
    CorrelationKeyChanged,
    Event,
    ExternalEventDropped,
    ExternalEventPosted,
    Halt,
    HaltReasonResolved,
    Ignored,
    InputKept,
    InterruptAccepted,
    InterruptDropped,
    InterruptSuperseded,
    NodeCompleted,
    NodeFailed,
    RecordSkipped,
    Rejected,
    Resume,
    SkipAccepted,
    SkipLapsed,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptProgressed,
    TaskAttemptRequested,
    TaskAttemptStarted,
    ThreadCompleted,
    ThreadFailed,
    ThreadHalted,
    ThreadRescued,
    ThreadRetired,
    TimerArmed,
    TimerMatured,
    WaitStarted,
    WfRunDeleted,
    WfRunEnded,
    WfRunForked,
    WfRunMigrated,
    WfRunQuarantined,
    WfRunReleased,
    WfRunStarted,
    WorkflowEventThrown,
)
from processors.core.records.model import TERMINAL, HandlingFailure, Status, ThreadRun, WakeKey, WakeOn, WfRun
from processors.core.rules.halting import HANDLER_REASONS, INTERRUPT_REASONS, only_handlers_hold
from processors.core.rules.nodes.parking import VARIABLES

_BETWEEN_PASSES: Final = 2**63
"""Above every thread number: a thread that is woken between passes is looked at in the next one."""


class Agenda:
    """The threads to look at, in this pass and in the next."""

    __slots__ = ("_at", "_next", "_now", "failed", "is_closed", "revived", "touched", "woken")

    def __init__(self) -> None:
        self.is_closed = False
        self.failed: set[int] = set()
        """The threads that failed, and the threads below them, which can never end."""
        self.revived: set[int] = set()
        """The threads that were woken because they, or one above them, were rescued."""
        self.touched: set[int] = set()
        """The threads that were looked at."""
        self.woken: set[int] = set()
        """The threads that were woken since handlers were last started: a next handler of theirs may start."""
        self._now: list[int] = []
        self._next: set[int] = set()
        self._at = _BETWEEN_PASSES

    def close(self) -> None:
        """Look at nobody any more, in this pass or another."""
        self.is_closed = True
        self._now.clear()
        self._at = _BETWEEN_PASSES

    def begin_pass(self) -> bool:
        """Start the next pass; False if there is nobody to look at."""
        if self.is_closed:
            return False
        self._at = -1
        if not self._next:
            return False
        if len(self._next) == 1 and not self._now:
            self._now.append(self._next.pop())
        else:
            self._now.extend(sorted(self._next))
            self._next.clear()
        return True

    def end_passes(self) -> None:
        """End the passes for now: a thread that is woken is looked at when there are passes again."""
        self._at = _BETWEEN_PASSES

    def is_done(self) -> bool:
        """Say whether there is nobody to look at in this pass."""
        return not self._now

    def threads(self) -> Iterator[int]:
        """Yield the threads of this pass, ascending, each once, also those that are woken while it goes on."""
        now = self._now
        while now:
            number = heapq.heappop(now)
            if number > self._at:
                self._at = number
                self.touched.add(number)
                yield number
        self._at = _BETWEEN_PASSES

    def wake(self, number: int) -> None:
        """Look at a thread: in this pass if the pass has not come past it, in the next otherwise."""
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
        """Wake the threads that wait for one that has completed or left, except those that need others to complete."""
        left, key = run.index.left_to_complete, (WakeOn.THREAD, number)
        for waiter in run.index.parked.pop(key, ()):
            more = left.get(waiter, 0) - 1
            if more > 0:
                left[waiter] = more
            else:
                self.wake(waiter)

    def wake_for_failed(self, run: WfRun, number: int) -> None:
        """Wake the threads that wait for one that can never complete now, except those that have others to wait for.

        The exceptions stay parked on it: once it is rescued, it may complete.
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
        """Wake the threads that found no room for a handler, because fewer threads live than before.

        They are woken one after the other while there is room (rule room-is-waited-for): the next in this pass, and the
        first in the pass that follows. This pass has come past those between.
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
        """Take a thread that is looked at now off the list of those that found no room; return whether it was there."""
        crowded = run.index.crowded
        at = bisect_left(crowded, number)
        if at == len(crowded) or crowded[at] != number:
            return False
        del crowded[at]
        return True

    def wake_holders(self, run: WfRun, thread: ThreadRun) -> None:
        """Wake the threads above that become HALTED, start a handler or leave only when this thread is still.

        The climb ends at a thread that moves, RUNNING or HALTING: nothing above that is still. It ends too at a thread
        that is halted for its own handlers alone: no thread above has asked that one to be still.
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


def _on_discarded(agenda: Agenda, run: WfRun, event: InterruptDropped | InterruptSuperseded) -> None:
    """Wake the thread, and one that found no room: the place of the handler is free."""
    if run.index.crowded:
        agenda.wake_for_room(run)
    agenda.wake(event.thread)


def _on_started(agenda: Agenda, run: WfRun, event: WfRunStarted) -> None:  # noqa: ARG001
    agenda.wake(0)


def _on_forked(agenda: Agenda, run: WfRun, event: WfRunForked) -> None:  # noqa: ARG001
    """Wake every thread: each goes on from where it was, and may have something to do by another WfSpec."""
    for number in run.threads:
        agenda.wake(number)


def _on_migrated(agenda: Agenda, run: WfRun, event: WfRunMigrated) -> None:  # noqa: ARG001
    """Wake every thread: by the other version it may have something to do."""
    for number in run.threads:
        agenda.wake(number)


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
    """Wake the thread, and those that were halted with it: they may go on too."""
    agenda.wake(event.thread)
    for dependent in run.dependents(run.threads[event.thread]):
        if dependent.status is not Status.RUNNING:
            agenda.wake(dependent.number)


def _on_resolved(agenda: Agenda, run: WfRun, event: HaltReasonResolved) -> None:
    """Wake the thread, and its handlers where nothing but handlers holds it now: they may go on.

    A failure handler may do so once no Interrupt Handler is left.
    """
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
    """Wake the threads that wait for this one: at WAIT_FOR_THREADS, at EXIT, or to be still or to resume.

    Wake also those that wait for a thread that left with it, or for a thread below a failed one, which stays there for
    good.
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
    """Yield the thread that has just ended, and all that left with it."""
    if number in run.threads:
        yield run.threads[number]
        return
    for left in reversed(run.changes.left):  # it is the first of those that left together
        yield left
        if left.number == number:
            return


def _on_rescued(agenda: Agenda, run: WfRun, event: ThreadRescued) -> None:
    """Wake the thread and all below it: they can resume again, and may have missed something since it failed."""
    revived = [run.threads[event.thread]]
    while revived:
        thread = revived.pop()
        if thread.number not in agenda.revived:  # else with one below, by the same command
            agenda.revived.add(thread.number)
            agenda.wake(thread.number)
            revived.extend(run.dependents(thread))


WAKERS: Final[dict[type[Event], Callable[[Agenda, WfRun, Any], None]]] = {
    WfRunStarted: _on_started,
    WfRunForked: _on_forked,
    WfRunMigrated: _on_migrated,
    ExternalEventPosted: _on_posted,
    Halt: _wake_thread,
    ThreadHalted: _on_halted,
    InterruptAccepted: _wake_thread,
    InterruptDropped: _on_discarded,
    InterruptSuperseded: _on_discarded,
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
"""By class of an event that has just happened: what wakes the threads that it may concern."""

WAKES_NOBODY: Final[frozenset[type[Event]]] = frozenset(
    {
        *(TaskAttemptRequested, TimerArmed, WaitStarted, ArrivalFailed),  # the thread at work, which waits from here on
        *(TaskAttemptStarted, TaskAttemptProgressed),  # the attempt is still out
        *(ChildFailureHandled, WorkflowEventThrown),  # the thread at work goes on with the same rule
        ExternalEventDropped,  # of an ExternalEvent that nobody waits for yet
        CorrelationKeyChanged,  # no thread waits for a key
        *(WfRunEnded, WfRunDeleted),  # nothing moves any more
        *(WfRunQuarantined, InputKept, WfRunReleased),  # no rule decides anything
        *(RecordSkipped, SkipAccepted, SkipLapsed, Rejected, Ignored),  # nothing has changed
    }
)
"""The other events. They concern no thread but the one whose rule is at work."""
