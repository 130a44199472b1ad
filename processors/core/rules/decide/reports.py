"""What a task worker says of an attempt: that it began, how far it is, how it ended; and whether another follows."""

from typing import Final

from processors.core.records.commands import ReportTaskProgress, ReportTaskRun, StartTaskRun, TaskWorkerCommand
from processors.core.records.events import (
    Event,
    Ignored,
    RejectionCode,
    TaskAttemptEnded,
    TaskAttemptProgressed,
    TaskAttemptStarted,
)
from processors.core.records.model import TERMINAL, TaskRunStatus, TaskStatus, ThreadRun, WfRun
from processors.core.records.names import check_exception_name, check_progress
from processors.core.records.spec import TaskNode
from processors.core.records.values import TellableProblem, Timestamp, iso_of
from processors.core.rules.context import Context
from processors.core.rules.decide.refusals import Refusal, existing

NOT_STARTED: Final = "not started in time"
"""The message of an attempt that was started too late."""
_UNREADABLE: Final = "workers of an earlier release run beside, which cannot read this"


def _what(kind: str, said: TaskWorkerCommand) -> str:
    """Return what a task worker says of which attempt: the beginning of the sentence of a refusal."""
    return f"{kind} attempt {said.attempt} at position {said.position} of thread {said.thread}"


def _out(run: WfRun, said: TaskWorkerCommand, what: str) -> ThreadRun:
    """Return the thread whose attempt is out that a task worker speaks of (rule report-names-its-attempt).

    Raises Refusal.
    """
    existing(run)
    if said.incarnation != run.incarnation:
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION,
            f"{what}: it is for incarnation {said.incarnation}, the WfRun is incarnation {run.incarnation}",
        )
    if not run.was_used(said.thread):
        raise Refusal(RejectionCode.INVALID_ARGUMENT, f"{what}: there is no such thread")
    thread = run.threads.get(said.thread)
    over = Refusal(RejectionCode.FAILED_PRECONDITION, f"{what}: that attempt is over")
    if thread is None or thread.status in TERMINAL or said.position < thread.node.position:
        raise over
    task = thread.node.task
    if said.position > thread.node.position or task is None or not 1 <= said.attempt <= task.attempt:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, f"{what}: there was no such attempt")
    if said.attempt < task.attempt or task.status is not TaskRunStatus.OUT:
        raise over
    return thread


# (rules queueing-is-not-running, start-without-a-bound)
def attempt_started(run: WfRun, start: StartTaskRun, context: Context, time_ms: int) -> Event:
    """Return what comes of the start of an attempt. Raises Refusal.

    It is in time by the time of its own record, as an ExternalEvent is: it may be folded long after that. Clocks of
    brokers differ, but nothing is started before the thread comes there. The first start counts (rule
    first-start-counts), and one that comes too late ends the attempt (rule late-start-times-out).
    """
    thread = _out(run, start, _what("start of", start))
    if not context.attempt_starts:
        raise Refusal(RejectionCode.FAILED_PRECONDITION, _UNREADABLE)
    task, timer = thread.node.task, thread.node.timer
    assert task is not None
    if timer is None:  # a forged fork may have a failed thread that is rescued past its attempt, and halted there
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION,
            f"start of attempt {start.attempt} of thread {start.thread}: it has no time",
        )
    if task.started_ms is not None:
        since = iso_of(Timestamp(task.started_ms))
        return Ignored(StartTaskRun.__name__, f"attempt {start.attempt} of thread {start.thread} started at {since}")
    started_ms, deadline_ms = max(time_ms, thread.node.arrived_ms), timer.due_ms
    if task.start_by_ms is not None:
        if started_ms >= task.start_by_ms:
            return TaskAttemptEnded(
                thread=start.thread,
                position=start.position,
                attempt=start.attempt,
                status=TaskStatus.TIMEOUT,
                message=NOT_STARTED,
                retry_at_ms=retry_at(run, thread, TaskStatus.TIMEOUT),
            )
        deadline_ms -= task.start_by_ms - started_ms  # its running time, from its start
    return TaskAttemptStarted(start.thread, start.position, start.attempt, started_ms, deadline_ms)


# (rule progress-goes-to-the-next-attempt)
def progressed(run: WfRun, progress: ReportTaskProgress, context: Context) -> TaskAttemptProgressed:
    """Return that an attempt has come so far (rule progress-is-bounded). Raises Refusal."""
    _out(run, progress, _what("progress of", progress))
    if not context.attempt_starts:
        raise Refusal(RejectionCode.FAILED_PRECONDITION, _UNREADABLE)
    try:
        check_progress(progress.content)
    except TellableProblem as problem:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, str(problem)) from None
    return TaskAttemptProgressed(progress.thread, progress.position, progress.attempt, progress.content)


def reported(run: WfRun, report: ReportTaskRun) -> TaskAttemptEnded:
    """Return the end of the attempt that a report names. Raises Refusal."""
    what = _what("report for", report)
    thread = _out(run, report, what)
    if report.status is TaskStatus.TIMEOUT:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, f"{what}: TIMEOUT is not for workers to report")
    if report.status is TaskStatus.EXCEPTION:
        name = report.failure_name or ""
        try:
            check_exception_name(name)
        except TellableProblem:
            sentence = f"{what}: {name[:80]!r} is no name for a business exception"
            raise Refusal(RejectionCode.INVALID_ARGUMENT, sentence) from None
    return TaskAttemptEnded(
        thread=report.thread,
        position=report.position,
        attempt=report.attempt,
        status=report.status,
        output=report.output if report.status is TaskStatus.SUCCESS else None,
        failure_name=report.failure_name if report.status is TaskStatus.EXCEPTION else None,
        message=report.message,
        content=report.content if report.status is TaskStatus.EXCEPTION else None,
        retry_at_ms=retry_at(run, thread, report.status),
    )


def retry_at(run: WfRun, thread: ThreadRun, status: TaskStatus) -> int | None:
    """Return when the next attempt is due, None if there is none (rule failed-attempt-is-retried)."""
    node = run.spec_of(thread).nodes[thread.node.node]
    assert isinstance(node, TaskNode)
    assert thread.node.task is not None
    attempt = thread.node.task.attempt
    if status not in (TaskStatus.FAILED, TaskStatus.TIMEOUT) or attempt > node.retries:
        return None
    return run.time_ms + (0 if node.backoff is None else node.backoff.delay_ms(attempt))
