"""Cancelling: which task attempts an event makes useless, for the task workers that have them.

This is advice and no rule of the WfRun: an attempt stays out until it is reported or timed out, and nothing here is on
the log (rule cancellation-is-advice). It looks at the WfRun as it was before the event, and changes nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from processors.core.records.events import (
    CancellationReason,
    Halt,
    LogEntry,
    TaskAttemptEnded,
    TaskCancellation,
    ThreadFailed,
    WfRunDeleted,
)
from processors.core.records.model import TERMINAL, HaltedByParent, ManualHalt, TaskStatus, ThreadRun, WfRun

CANCELS: Final = frozenset({Halt, ThreadFailed, TaskAttemptEnded, WfRunDeleted})
"""The events that may cancel attempts. `cancelled_by` is asked about no others."""


def cancelled_by(run: WfRun, entry: LogEntry) -> Sequence[TaskCancellation]:
    """Return the attempts that an event cancels, each once; `run` is the WfRun as it was before.

    A stop, a loss and a failure cancel all that is out in that thread and below it, also where threads were halted
    before and get no reason of their own now (rules stops-cancel, losses-cancel, failures-cancel). A halt for a handler
    cancels nothing, because its threads go on (rule interrupts-do-not-cancel). A time-out cancels its own attempt, a
    deletion all of them (rules time-outs-cancel, deletions-cancel).
    """
    event = entry.event
    if type(event) is Halt:
        reason = type(event.reason)  # nearly always that of an interrupt
        if reason is ManualHalt:
            return _told(_from(run, event.thread), entry, CancellationReason.STOPPED)
        if reason is HaltedByParent:
            return _told(_from(run, event.thread), entry, CancellationReason.LOST)
    elif type(event) is ThreadFailed:
        return _told(_from(run, event.thread), entry, CancellationReason.FAILED_ABOVE)
    elif type(event) is TaskAttemptEnded:
        if event.status is TaskStatus.TIMEOUT:
            return _told((run.threads[event.thread],), entry, CancellationReason.TIMED_OUT)
    elif type(event) is WfRunDeleted:
        return _told(run.threads.values(), entry, CancellationReason.DELETED)
    return ()


def _from(run: WfRun, number: int) -> list[ThreadRun]:
    """Return a thread and all that halt with it, through all generations.

    Threads that have ended are passed over, as halting does. What hangs below them was told when they failed.
    """
    found = [run.threads[number]]
    for thread in found:  # grows meanwhile
        found.extend(below for below in run.dependents(thread) if below.status not in TERMINAL)
    return found


def _told(threads: Iterable[ThreadRun], entry: LogEntry, reason: CancellationReason) -> list[TaskCancellation]:
    """Return what is told of those among the threads whose attempt is out."""
    told = []
    for thread in threads:
        task = thread.node.task
        if task is not None and thread.task_out and thread.status not in TERMINAL:
            told.append(
                TaskCancellation(
                    wf_run_id=entry.wf_run_id,
                    incarnation=entry.incarnation,
                    thread=thread.number,
                    position=thread.node.position,
                    attempt=task.attempt,
                    task_def=task.task_def,
                    reason=reason,
                    cancelled_ms=entry.time_ms,
                    seq=entry.seq,
                )
            )
    return told
