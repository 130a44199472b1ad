"""ReportTaskRun: what a task worker says of an attempt, and whether another attempt follows."""

from processors.core.records.commands import ReportTaskRun
from processors.core.records.events import RejectionCode, TaskAttemptEnded
from processors.core.records.model import TERMINAL, TaskRunStatus, TaskStatus, ThreadRun, WfRun
from processors.core.records.names import check_exception_name
from processors.core.records.spec import TaskNode
from processors.core.records.values import TellableProblem
from processors.core.rules.decide.refusals import Refusal, existing


def reported(run: WfRun, report: ReportTaskRun) -> TaskAttemptEnded:
    """Return the end of the attempt that a report names (rule report-names-its-attempt). Raises Refusal."""
    existing(run)
    what = f"report for attempt {report.attempt} at position {report.position} of thread {report.thread}"
    if report.incarnation != run.incarnation:
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION,
            f"{what}: it is for incarnation {report.incarnation}, the WfRun is incarnation {run.incarnation}",
        )
    if not run.was_used(report.thread):
        raise Refusal(RejectionCode.INVALID_ARGUMENT, f"{what}: there is no such thread")
    thread = run.threads.get(report.thread)
    over = Refusal(RejectionCode.FAILED_PRECONDITION, f"{what}: that attempt is over")
    if thread is None or thread.status in TERMINAL or report.position < thread.node.position:
        raise over
    task = thread.node.task
    if report.position > thread.node.position or task is None or not 1 <= report.attempt <= task.attempt:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, f"{what}: there was no such attempt")
    if report.attempt < task.attempt or task.status is not TaskRunStatus.OUT:
        raise over
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
