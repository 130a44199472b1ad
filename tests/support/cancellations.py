"""Which task attempts each event of a log cancels, found by looking at the whole WfRun before and after it.

The engine walks down from the thread that an event is about. This looks upward from each attempt that is out, at the
rows alone: is its thread, or one that it halts with, stopped, lost or failed now, and was not before?
"""

from collections.abc import Iterator
from typing import NamedTuple

from processors.core.records.events import (
    CancellationReason,
    LogEntry,
    TaskAttemptEnded,
    TaskCancellation,
    ThreadFailed,
    ThreadRescued,
    WfRunDeleted,
)
from processors.core.records.model import (
    FAILED,
    TERMINAL,
    HaltedByParent,
    ManualHalt,
    TaskRunStatus,
    ThreadRun,
    WfRun,
)
from processors.core.rules.evolve import evolve, new_run


class Out(NamedTuple):
    """An attempt that is out."""

    incarnation: int
    thread: int
    position: int
    attempt: int
    task_def: str


Why = frozenset[tuple[CancellationReason, int]]
"""Reasons for which the result of an attempt is of no use, each with the thread that has it."""


class CancellationOracle:
    """Folds the log of one WfRun, and says of each event what it cancels."""

    def __init__(self, wf_run_id: str) -> None:
        self._run = new_run(wf_run_id)
        self._out: dict[Out, Why] = {}
        self._told: set[Out] = set()

    def see(self, entry: LogEntry) -> list[TaskCancellation]:
        """Fold the next event, and return what it cancels, by thread."""
        evolve(self._run, entry)
        self._run.changes.clear()
        before, self._out = self._out, all_out(self._run)
        found = []
        for out, was in before.items():
            reason = _reason(entry, out, was, self._out.get(out))
            # It leaves with a thread above it, with the WfRun, or by a rescue that passes on from where it was.
            known = reason is not None or out in self._out or bool(was) or out in self._told
            assert known or _is_reported(entry), f"{out} is out no more, and nobody was told: {entry.event}"
            if reason is not None:
                self._told.add(out)
                found.append(TaskCancellation(entry.wf_run_id, *out, reason, entry.time_ms, entry.seq))
        return found


def all_out(run: WfRun) -> dict[Out, Why]:
    """Return all attempts that are out, and why the result of each is of no use, if it is not."""
    return {
        Out(run.incarnation, it.number, it.node.position, it.node.task.attempt, it.node.task.task_def): frozenset(
            _why(run, it)
        )
        for it in run.threads.values()
        if it.node.task is not None and it.node.task.status is TaskRunStatus.OUT and it.status not in TERMINAL
    }


def _why(run: WfRun, thread: ThreadRun) -> Iterator[tuple[CancellationReason, int]]:
    above: ThreadRun | None = thread
    while above is not None and above.status not in TERMINAL:
        for reason in above.halt_reasons:
            if isinstance(reason, ManualHalt):
                yield CancellationReason.STOPPED, above.number
            elif isinstance(reason, HaltedByParent):
                yield CancellationReason.LOST, above.number
        number = above.parent if above.waiter is None else above.waiter
        above = None if number is None else run.threads.get(number)
    if above is not None and above.status in FAILED:
        yield CancellationReason.FAILED_ABOVE, above.number


def _reason(entry: LogEntry, out: Out, was: Why, now: Why | None) -> CancellationReason | None:
    """Return why an event cancels an attempt; None if it does not. `now` is None if the attempt is out no more."""
    event = entry.event
    if now is not None:
        new = set() if isinstance(event, ThreadRescued) else now - was  # a rescue brings nothing that was not told
        assert len(new) <= 1, (event, new)
        return next(iter(new))[0] if new else None
    if isinstance(event, TaskAttemptEnded):
        return CancellationReason.TIMED_OUT if event.status == "TIMEOUT" else None
    if isinstance(event, WfRunDeleted):
        return CancellationReason.DELETED
    if isinstance(event, ThreadFailed) and event.thread == out.thread:
        return CancellationReason.FAILED_ABOVE
    return None


def _is_reported(entry: LogEntry) -> bool:
    return isinstance(entry.event, TaskAttemptEnded)
