"""A span for each attempt that came with a trace context: its handler runs in it, and its report carries it on.

Spans that a handler makes are its children. There is no object of this class if tracing is off.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import SpanKind

from halter.task_worker.conduct import Conduct, Telling
from halter.task_worker.work import Attempt
from processors.core.records.commands import ReportTaskRun
from processors.core.records.events import TaskRequest
from processors.core.records.model import TaskStatus
from processors.kafka.tracing import (
    DESTINATION,
    GROUP,
    KEY,
    KIND,
    NAME,
    OFFSET,
    PARTITION,
    SYSTEM,
    Tracing,
    active_span,
    failed,
)


class TracedConduct:
    """Does what a Conduct does, each attempt in its span."""

    def __init__(self, conduct: Conduct, tracing: Tracing, topic: str, group: str) -> None:
        self._conduct, self._tracing, self._topic, self._group = conduct, tracing, topic, group

    def run(self, attempt: Attempt) -> None:
        """Run an attempt of a `def` handler to its report."""
        if not attempt.context:
            self._conduct.run(attempt)
            return
        with self._span(attempt):
            self._conduct.run(attempt)

    async def run_async(self, attempt: Attempt) -> None:
        """Run an attempt of an `async def` handler to its report."""
        if not attempt.context:
            await self._conduct.run_async(attempt)
            return
        with self._span(attempt):
            await self._conduct.run_async(attempt)

    @contextmanager
    def _span(self, attempt: Attempt) -> Iterator[None]:
        request = attempt.request
        _, partition = attempt.partition.id
        attributes: dict[str, str | int | bool] = {
            SYSTEM: "kafka",
            KIND: "process",
            NAME: "run",
            DESTINATION: self._topic,
            PARTITION: str(partition),
            OFFSET: attempt.offset,
            GROUP: self._group,
            KEY: request.wf_run_id,
            "halter.wf_run.id": request.wf_run_id,
            "halter.thread.number": request.thread,
            "halter.task": request.task_def,
            "halter.task.attempt": request.attempt,
        }
        with self._tracing.active(f"run {request.task_def}", SpanKind.CONSUMER, attributes, attempt.context):
            yield


class TracedReports:
    """Passes on what is said about attempts, and notes in the span that is active how each has ended."""

    def __init__(self, reports: Telling) -> None:
        self._reports = reports

    def start(self, request: TaskRequest) -> None:
        """Say that the handler of an attempt begins now."""
        self._reports.start(request)

    def report(self, attempt: Attempt, report: ReportTaskRun, value: bytes, *, is_followed: bool = True) -> None:
        """Report an attempt."""
        span = active_span()
        span.set_attribute("halter.task.status", str(report.status))
        if report.status is not TaskStatus.SUCCESS:
            failed(span, report.failure_name or str(report.status))
        self._reports.report(attempt, report, value, is_followed=is_followed)
