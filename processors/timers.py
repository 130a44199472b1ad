"""The timers of a partition in the order in which they are due. Knows when, not what for.

Which timers are armed is part of the state (a ThreadRun's node says so); this only finds the next one quickly. It may
hold timers that are not armed any more: they are dropped when their time comes.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from processors.core.commands import TimerKind
from processors.core.context import Limits
from processors.core.decide import unstarted_until_ms
from processors.core.model import NO_INCARNATION, TERMINAL, ThreadRun, Timer, WfRun
from processors.errors import HalterError

WHOLE_WF_RUN = -1
"""Stands for a thread number where a timer is the WfRun's own."""


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


class Timers:
    """A heap of timers, each in it or handed out, never both."""

    def __init__(self, journal: TimerJournal, limits: Limits) -> None:
        """`journal` is told of what is armed and what is of no use any more."""
        self._journal, self._limits = journal, limits
        self._heap: list[tuple[int, ArmedTimer]] = []
        self._known: set[ArmedTimer] = set()
        self._unstarted: set[str] = set()
        """Ids under which nothing was started and that have a timer: one each, however many ExternalEvents come."""

    def arm(self, run: WfRun, threads: Iterable[ThreadRun]) -> None:
        """Note the timers of these threads, and of the WfRun itself, that are not known yet."""
        for thread in threads:
            if thread.node.timer is not None and thread.status not in TERMINAL:
                self._add(run, thread.number, thread.node.position, thread.node.timer)
        if run.timer is not None:
            self._add(run, WHOLE_WF_RUN, 0, run.timer)
        if not run.exists and run.external_events and run.quarantined_ms is None:
            self._add(run, WHOLE_WF_RUN, 0, unstarted_timer(run, self._limits))

    def _add(self, run: WfRun, thread: int, position: int, timer: Timer) -> None:
        self.add([ArmedTimer(timer.due_ms, run.wf_run_id, thread, position, timer.kind, run.incarnation)])

    def add(self, timers: Iterable[ArmedTimer], *, journaled: bool = False) -> None:
        """Note timers that are not known yet. `journaled`: it is the journal that knows them."""
        for timer in timers:
            if timer not in self._known:
                if timer.incarnation == NO_INCARNATION:
                    if timer.wf_run_id in self._unstarted:
                        if journaled:
                            self._journal.gone(timer)
                        continue
                    self._unstarted.add(timer.wf_run_id)
                self._known.add(timer)
                heapq.heappush(self._heap, (timer.due_ms, timer))
                if not journaled:
                    self._journal.armed(timer)

    def take_due(self, now_ms: int, limit: int, runs: Mapping[str, WfRun]) -> Iterator[ArmedTimer]:
        """Hand out up to `limit` timers that are armed and due, in order."""
        handed_out = 0
        while self._heap and self._heap[0][0] <= now_ms and handed_out < limit:
            timer = heapq.heappop(self._heap)[1]
            if self._may_be_armed(runs, timer):
                handed_out += 1
                yield timer
            else:
                self.settle(timer)
                if timer.incarnation == NO_INCARNATION and (run := runs.get(timer.wf_run_id)) is not None:
                    self.arm(run, ())  # ExternalEvents that came later have put it off

    def fire_again(self, timer: ArmedTimer, early_by_ms: int) -> None:
        """A timer came too early by the brokers' clock: their clock is behind ours by at least so much."""
        heapq.heappush(self._heap, (timer.due_ms + max(early_by_ms, 1), timer))

    def settle(self, timer: ArmedTimer) -> None:
        """A timer that was handed out has been folded: forget it."""
        self._known.discard(timer)
        if timer.incarnation == NO_INCARNATION:
            self._unstarted.discard(timer.wf_run_id)
        self._journal.gone(timer)

    def next_ms(self) -> int | None:
        """When the next timer in the heap is due, in ms since 1970; None without one."""
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
