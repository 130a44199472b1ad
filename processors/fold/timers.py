"""The timers of a partition in the order in which they are due. Knows when, not what for.

Which timers are armed is part of the state (a ThreadRun's node says so); this only finds the next one quickly. It may
hold a timer that is not armed any more: what is not told of a change is dropped when its time comes.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Protocol, TypeAlias

from processors.core.records.commands import TimerKind
from processors.core.records.errors import HalterError
from processors.core.records.model import NO_INCARNATION, TERMINAL, ThreadRun, Timer, WfRun
from processors.core.rules.context import Limits
from processors.core.rules.decide import unstarted_until_ms

WHOLE_WF_RUN = -1
"""Stands for a thread number where a timer is the WfRun's own."""
HEAP_SLACK: Final = 64
"""So many entries more than twice those that count a heap may have before it is made anew."""


# (rule timers-in-due-order)
class ArmedTimer(NamedTuple):
    """One timer; they order by when they are due, then by thread, position and kind (DESIGN 5)."""

    due_ms: int
    wf_run_id: str
    thread: int
    position: int
    kind: TimerKind
    incarnation: int


class TimerJournal(Protocol):
    """Keeps the timers for those who come later, if it keeps anything."""

    def armed(self, timer: ArmedTimer) -> None:
        """Be told of a timer."""

    def gone(self, timer: ArmedTimer) -> None:
        """Be told that a timer is of no use any more."""


Slot: TypeAlias = tuple[str, int]
"""A WfRun and a thread of it, or WHOLE_WF_RUN: at most one timer is armed for each."""


# (rule one-timer-per-thread)
class Timers:
    """The timers that are armed, by slot: each is in the heap or handed out, never both.

    One that was disarmed stays in the heap until it comes up, or until those are the larger part of it. A WfRun that
    waits with a time-out, is sent a heartbeat and waits again so takes no more than one that waits.
    """

    def __init__(self, journal: TimerJournal, limits: Limits) -> None:
        """`journal` is told of what is armed and what is of no use any more."""
        self._journal, self._limits = journal, limits
        self._heap: list[tuple[int, ArmedTimer]] = []
        """When to hand one out. Only the very one that has the slot counts: an equal one may be armed again."""
        self._slots: dict[Slot, ArmedTimer] = {}
        self._handed_out: set[ArmedTimer] = set()

    def arm(self, run: WfRun, threads: Iterable[ThreadRun]) -> None:
        """Note the timers of these threads, and of the WfRun itself, that are not known yet, and drop those before."""
        for thread in threads:
            if thread.node.timer is not None and thread.status not in TERMINAL:
                self._add(run, thread.number, thread.node.position, thread.node.timer)
            else:
                self.disarm(run.wf_run_id, thread.number)
        if run.timer is not None:
            self._add(run, WHOLE_WF_RUN, 0, run.timer)
        elif not run.exists and run.external_events and run.quarantined_ms is None:
            self._add_unstarted(run)
        else:
            self.disarm(run.wf_run_id, WHOLE_WF_RUN)

    def follow(self, run: WfRun) -> None:
        """Arm and disarm the timers of the threads that a turn changed, as `run.changes` has them."""
        for thread in run.changes.left:
            self.disarm(run.wf_run_id, thread.number)
        self.arm(run, [run.threads[number] for number in sorted(run.changes.threads)] if run.exists else ())

    def disarm(self, wf_run_id: str, thread: int) -> None:
        """Drop the timer of a thread, if it has one."""
        timer = self._slots.pop((wf_run_id, thread), None)
        if timer is not None:
            self._handed_out.discard(timer)
            self._journal.gone(timer)

    def _add_unstarted(self, run: WfRun) -> None:
        """Arm the timer of an id under which nothing was started: one, however many ExternalEvents put it off."""
        known = self._slots.get((run.wf_run_id, WHOLE_WF_RUN))
        if known is None or known.incarnation != NO_INCARNATION:
            self._add(run, WHOLE_WF_RUN, 0, unstarted_timer(run, self._limits))

    def _add(self, run: WfRun, thread: int, position: int, timer: Timer) -> None:
        self._put(ArmedTimer(timer.due_ms, run.wf_run_id, thread, position, timer.kind, run.incarnation))

    def add(self, timers: Iterable[ArmedTimer], *, journaled: bool = False) -> None:
        """Note timers of a load that are not known yet. `journaled`: it is the journal that knows them.

        Those that rows showed come first: where the journal knows another, it was not told any more.
        """
        for timer in timers:
            if not journaled:
                self._put(timer)
            elif (timer.wf_run_id, timer.thread) not in self._slots:
                self._put(timer, journaled=True)
            elif self._slots[timer.wf_run_id, timer.thread] != timer:
                self._journal.gone(timer)

    def _put(self, timer: ArmedTimer, *, journaled: bool = False) -> None:
        slot = timer.wf_run_id, timer.thread
        known = self._slots.get(slot)
        if known is not None:
            if known == timer:
                return
            self.disarm(*slot)
        self._slots[slot] = timer
        self._push(timer.due_ms, timer)
        if not journaled:
            self._journal.armed(timer)

    def _push(self, time_ms: int, timer: ArmedTimer) -> None:
        heapq.heappush(self._heap, (time_ms, timer))
        if len(self._heap) > 2 * len(self._slots) + HEAP_SLACK:
            self._heap = [entry for entry in self._heap if self._holds(entry[1])]
            heapq.heapify(self._heap)

    def _holds(self, timer: ArmedTimer) -> bool:
        return self._slots.get((timer.wf_run_id, timer.thread)) is timer

    def take_due(self, now_ms: int, limit: int, runs: Mapping[str, WfRun]) -> Iterator[ArmedTimer]:
        """Hand out up to `limit` timers that are armed and due, in order."""
        handed_out = 0
        while self._heap and self._heap[0][0] <= now_ms and handed_out < limit:
            timer = heapq.heappop(self._heap)[1]
            if not self._holds(timer):
                continue
            if self._may_be_armed(runs, timer):
                handed_out += 1
                self._handed_out.add(timer)
                yield timer
            else:
                self.settle(timer)
                if timer.incarnation == NO_INCARNATION and (run := runs.get(timer.wf_run_id)) is not None:
                    self.arm(run, ())  # ExternalEvents that came later have put it off

    # (rule early-timer-stays-armed)
    def fire_again(self, timer: ArmedTimer, early_by_ms: int) -> None:
        """A timer came too early by the brokers' clock, which is behind ours by at least so much, or was not decided.

        Nothing is to be done about one that was not handed out: somebody else wrote that record.
        """
        if timer in self._handed_out:
            self._handed_out.discard(timer)
            timer = self._slots[timer.wf_run_id, timer.thread]
            self._push(timer.due_ms + max(early_by_ms, 1), timer)

    def settle(self, timer: ArmedTimer) -> None:
        """A timer that was handed out has been folded: forget it."""
        if self._slots.get((timer.wf_run_id, timer.thread)) == timer:
            self.disarm(timer.wf_run_id, timer.thread)

    def next_ms(self) -> int | None:
        """When the next timer in the heap is due, in ms since 1970; None without one."""
        while self._heap and not self._holds(self._heap[0][1]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _may_be_armed(self, runs: Mapping[str, WfRun], timer: ArmedTimer) -> bool:
        try:
            run = runs.get(timer.wf_run_id)
        except HalterError:
            # Rows that cannot be read: the fold says so, where it can be said which record they keep from being folded.
            return True
        return _is_armed(run, timer, self._limits)


def unstarted_timer(run: WfRun, limits: Limits) -> Timer:
    """The timer of an id under which nothing was started: the end of the ExternalEvents that came for it."""
    return Timer(TimerKind.RETENTION, unstarted_until_ms(run, limits))


def _is_armed(run: WfRun | None, timer: ArmedTimer, limits: Limits) -> bool:
    if run is None or run.incarnation != timer.incarnation or run.quarantined_ms is not None:
        return False  # a WfRun in quarantine gets its timers back when it is released
    if timer.incarnation == NO_INCARNATION:
        return bool(run.external_events) and unstarted_timer(run, limits).due_ms == timer.due_ms
    if timer.thread == WHOLE_WF_RUN:
        return run.timer == Timer(timer.kind, timer.due_ms)
    thread = run.threads.get(timer.thread)
    return (
        thread is not None
        and thread.status not in TERMINAL
        and thread.node.position == timer.position
        and thread.node.timer == Timer(timer.kind, timer.due_ms)
    )
