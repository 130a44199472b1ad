"""What becomes of an attempt that is taken: begun or not, its handler run, its result reported.

Knows attempts, and whom to tell of them. It knows no Kafka, and not in which thread or at which time it runs: a task
worker uses it with the real clock, `halter.testing` with one of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from halter.task_worker.attempts import WHY, Attempts
from halter.task_worker.task import named
from halter.task_worker.work import Attempt, Work
from processors.core.records.commands import ReportTaskRun
from processors.core.records.events import CancellationReason, TaskRequest
from processors.core.records.model import TaskStatus

COUNTED: Final[Mapping[TaskStatus, str]] = {
    TaskStatus.SUCCESS: "succeeded",
    TaskStatus.EXCEPTION: "exceptions",
    TaskStatus.FAILED: "failed",
}


class Telling(Protocol):
    """Whoever passes on what is said about attempts."""

    def start(self, request: TaskRequest) -> None:
        """Say that the handler of an attempt begins now."""

    def report(self, attempt: Attempt, report: ReportTaskRun, value: bytes, *, is_followed: bool = True) -> None:
        """Report an attempt. `value` is the report as bytes."""


class Conduct:
    """Takes attempts from their beginning to their report."""

    def __init__(
        self,
        attempts: Attempts,
        work: Work,
        reports: Telling,
        clock_ms: Callable[[], int],
        log: Any,
        fail: Callable[[BaseException], None],
    ) -> None:
        """`fail` is told what no handler is to blame for."""
        self._attempts, self._work, self._reports = attempts, work, reports
        self._clock_ms, self._log, self._fail = clock_ms, log, fail

    def run(self, attempt: Attempt) -> None:
        """Run an attempt of a `def` handler to its report."""
        try:
            if self._begins(attempt):
                self._report(attempt, *self._attempts.run(attempt.request, attempt.running))
        except BaseException as error:  # noqa: BLE001  no report can be sent: whoever runs us is told
            self._fail(error)

    async def run_async(self, attempt: Attempt) -> None:
        """Run an attempt of an `async def` handler to its report."""
        try:
            if self._begins(attempt):
                made = await self._attempts.run_async(attempt.request, attempt.running)
                if made is None:
                    self._cancelled(attempt, "cancelled")
                else:
                    self._report(attempt, *made)
        except Exception as error:  # noqa: BLE001  as in `run`
            self._fail(error)

    def _begins(self, attempt: Attempt) -> bool:
        """Say whether the handler of an attempt is to run, and tell the engine so if it wants to know."""
        request, now_ms = attempt.request, self._clock_ms()
        if attempt.running.is_useless:
            self._cancelled(attempt, "cancelled before it started")
            return False
        if now_ms >= request.deadline_ms:
            self._expired(attempt, now_ms - request.deadline_ms)
            self._work.finish(attempt)  # the engine has timed it out, or is about to
            return False
        if request.start_by_ms is not None:
            self._reports.start(request)
            if now_ms >= request.start_by_ms:
                self._too_late(attempt, now_ms - request.start_by_ms)
                return False
            attempt.running.deadline_ms = now_ms + request.deadline_ms - request.start_by_ms
        self._work.began(attempt, now_ms)
        return True

    def _expired(self, attempt: Attempt, late_ms: int) -> None:
        self._log.warning("expired", **named(attempt.request), late_ms=late_ms)
        self._work.ended(attempt, "expired", self._clock_ms())

    def _too_late(self, attempt: Attempt, late_ms: int) -> None:
        """Report an attempt that has waited too long.

        The start that was sent has ended it, if the clock of the broker says the same. Else this report does: without
        it the attempt would be out for as long as it may run.
        """
        self._expired(attempt, late_ms)
        message = f"not started: it had waited {late_ms} ms too long by the clock of the task worker"
        self._reports.report(attempt, *self._attempts.failed(attempt.request, message), is_followed=False)

    def _cancelled(self, attempt: Attempt, how: str) -> None:
        """Report an attempt that has no result because it was cancelled, unless it is over for the engine."""
        reason = attempt.running.cancelled
        assert reason is not None
        self._log.info("cancelled", **named(attempt.request), reason=str(reason), how=how)
        self._end(attempt, "cancelled", *self._attempts.failed(attempt.request, f"{how}: {WHY[reason]}"))

    def _report(self, attempt: Attempt, report: ReportTaskRun, value: bytes) -> None:
        if attempt.running.is_over:
            reason = WHY[attempt.running.cancelled or CancellationReason.TIMED_OUT]
            self._log.warning("report_not_sent", **named(attempt.request), status=str(report.status), reason=reason)
        self._end(attempt, COUNTED[report.status], report, value)

    def _end(self, attempt: Attempt, count: str, report: ReportTaskRun, value: bytes) -> None:
        """Report an attempt, its last progress before it. The engine would refuse a report if the attempt is over."""
        is_over = attempt.running.is_over
        attempt.running.end(flush=report.status is TaskStatus.FAILED and not is_over)
        if is_over:
            self._work.finish(attempt)
        else:
            self._reports.report(attempt, report, value)
        self._work.ended(attempt, count, self._clock_ms())
