"""The timers of a partition in the order in which they are due. Knows their times, not their purpose.

The state says which timers are armed (a ThreadRun's node does); this module only finds the next one quickly. It may
hold a timer that is no longer armed, if it was not told of a change. Such a timer is dropped when its time comes.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Protocol, TypeAlias

from processors.core.records.errors import HalterError
from processors.core.records.model import NO_INCARNATION, TERMINAL, ThreadRun, Timer, TimerKind, WfRun
from processors.core.rules.context import Limits
from processors.core.rules.decide import unstarted_until_ms

WHOLE_WF_RUN = -1
"""In place of a thread number: the timer is the WfRun's own."""
HEAP_SLACK: Final = 64
"""A heap is made anew when it has more than twice the entries that count, and this many more."""


class ArmedTimer(NamedTuple):
    """A timer that is armed.

    Timers are ordered by due time, WfRun, thread, position and kind (rule timers-in-due-order).
    """

    due_ms: int
    wf_run_id: str
    thread: int
    position: int
    kind: TimerKind
    incarnation: int


class TimerJournal(Protocol):
    """Keeps the timers for the next process, if it keeps anything."""

    def armed(self, timer: ArmedTimer) -> None:
        """Note a timer that is armed."""

    def gone(self, timer: ArmedTimer) -> None:
        """Forget a timer that is no longer needed."""


TimerKey: TypeAlias = tuple[str, int]
"""WfRun id and thread number, or WHOLE_WF_RUN."""


class Timers:
    """The armed timers. Each is in the heap or handed out, never both.

    There is at most one for each key (rule one-timer-per-thread). A timer that was disarmed stays in the heap until it
    comes up, or until such timers are the larger part of the heap. So a WfRun that waits with a time-out, gets a
    heartbeat and waits again takes no more memory than one that waits.
    """

    def __init__(self, journal: TimerJournal, limits: Limits) -> None:
        """`journal` is told which timers are armed, and which are no longer needed."""
        self._journal, self._limits = journal, limits
        self._heap: list[tuple[int, ArmedTimer]] = []
        """The time to hand out a timer, and the timer.

        Only the object in `_by_key` counts, because an equal timer may be armed again.
        """
        self._by_key: dict[TimerKey, ArmedTimer] = {}
        self._handed_out: set[ArmedTimer] = set()
        self.by_kind: dict[TimerKind, int] = dict.fromkeys(TimerKind, 0)
        """The number of armed timers of each kind. Any thread may read it."""

    def arm(self, run: WfRun, threads: Iterable[ThreadRun]) -> None:
        """Arm the timers of these threads and of the WfRun itself. They replace the timers that these had before."""
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
        """Arm and disarm timers as the changes of a turn say, which `run.changes` has."""
        for thread in run.changes.left:
            self.disarm(run.wf_run_id, thread.number)
        self.arm(run, [run.threads[number] for number in sorted(run.changes.threads)] if run.exists else ())

    def disarm(self, wf_run_id: str, thread: int) -> None:
        """Drop the timer of a thread, if it has one."""
        timer = self._by_key.pop((wf_run_id, thread), None)
        if timer is not None:
            self.by_kind[timer.kind] -= 1
            self._handed_out.discard(timer)
            self._journal.gone(timer)

    def _add_unstarted(self, run: WfRun) -> None:
        """Arm the one timer of an id under which nothing was started, however many ExternalEvents put it off."""
        known = self._by_key.get((run.wf_run_id, WHOLE_WF_RUN))
        if known is None or known.incarnation != NO_INCARNATION:
            self._add(run, WHOLE_WF_RUN, 0, unstarted_timer(run, self._limits))

    def _add(self, run: WfRun, thread: int, position: int, timer: Timer) -> None:
        self._put(ArmedTimer(timer.due_ms, run.wf_run_id, thread, position, timer.kind, run.incarnation))

    def add(self, timers: Iterable[ArmedTimer], *, journaled: bool = False) -> None:
        """Arm timers that a load found. `journaled`: they come from the journal.

        Those that were seen in rows must come first. Where the journal has another timer, it was not told of the
        change.
        """
        for timer in timers:
            if not journaled:
                self._put(timer)
            elif (timer.wf_run_id, timer.thread) not in self._by_key:
                self._put(timer, journaled=True)
            elif self._by_key[timer.wf_run_id, timer.thread] != timer:
                self._journal.gone(timer)

    def _put(self, timer: ArmedTimer, *, journaled: bool = False) -> None:
        key = timer.wf_run_id, timer.thread
        known = self._by_key.get(key)
        if known is not None:
            if known == timer:
                return
            self.disarm(*key)
        self._by_key[key] = timer
        self.by_kind[timer.kind] += 1
        self._push(timer.due_ms, timer)
        if not journaled:
            self._journal.armed(timer)

    def _push(self, time_ms: int, timer: ArmedTimer) -> None:
        heapq.heappush(self._heap, (time_ms, timer))
        if len(self._heap) > 2 * len(self._by_key) + HEAP_SLACK:
            self._heap = [entry for entry in self._heap if self._holds(entry[1])]
            heapq.heapify(self._heap)

    def _holds(self, timer: ArmedTimer) -> bool:
        return self._by_key.get((timer.wf_run_id, timer.thread)) is timer

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
                self.forget(timer)
                if timer.incarnation == NO_INCARNATION and (run := runs.get(timer.wf_run_id)) is not None:
                    self.arm(run, ())  # later ExternalEvents have put it off

    def fire_again(self, timer: ArmedTimer, early_by_ms: int) -> None:
        """Hand out a timer again, which came too early or was not decided (rule early-timer-stays-armed).

        The brokers' clock is behind ours by at least `early_by_ms`. Does nothing for a timer that was not handed out:
        somebody else wrote its record.
        """
        if timer in self._handed_out:
            self._handed_out.discard(timer)
            timer = self._by_key[timer.wf_run_id, timer.thread]
            self._push(timer.due_ms + max(early_by_ms, 1), timer)

    def forget(self, timer: ArmedTimer) -> None:
        """Disarm a timer that was handed out and folded."""
        if self._by_key.get((timer.wf_run_id, timer.thread)) == timer:
            self.disarm(timer.wf_run_id, timer.thread)

    def next_ms(self) -> int | None:
        """Return when the next timer in the heap is due, in ms since 1970; None without one."""
        while self._heap and not self._holds(self._heap[0][1]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _may_be_armed(self, runs: Mapping[str, WfRun], timer: ArmedTimer) -> bool:
        try:
            run = runs.get(timer.wf_run_id)
        except HalterError:
            # Its rows cannot be read. The fold of its record will say so, and name the record.
            return True
        return _is_armed(run, timer, self._limits)


def unstarted_timer(run: WfRun, limits: Limits) -> Timer:
    """Return the timer of an id under which nothing was started. It ends the ExternalEvents that came for the id."""
    return Timer(TimerKind.RETENTION, unstarted_until_ms(run, limits))


def _is_armed(run: WfRun | None, timer: ArmedTimer, limits: Limits) -> bool:
    """Return True if the state says that a timer is armed. In quarantine none is (rule quarantine-stops-time)."""
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
