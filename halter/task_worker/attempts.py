"""From an attempt to its report: what a handler returned or raised, as the record that is sent.

Knows handlers and the engine's records, and not when a handler runs or how a report is sent.
"""

import inspect
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final

from halter.task_worker.handlers import Handler
from halter.task_worker.running import Running
from halter.task_worker.shapes import Unfit
from halter.task_worker.task import BusinessException, Task, check_exception_name, named
from processors.core.records.commands import ReportTaskRun
from processors.core.records.errors import HalterError
from processors.core.records.events import CancellationReason, TaskRequest
from processors.core.records.model import TaskStatus

MESSAGE_LENGTH_MAX: Final = 2_000
FRAMES_MAX: Final = 50
TRACEBACK_LENGTH_MAX: Final = 20_000
WHY: Final[Mapping[CancellationReason, str]] = {
    CancellationReason.STOPPED: "the WfRun was stopped",
    CancellationReason.TIMED_OUT: "its time was up",
    CancellationReason.FAILED_ABOVE: "its thread failed, or one above",
    CancellationReason.LOST: "nobody waits for its thread any more",
    CancellationReason.DELETED: "the WfRun was deleted",
}
"""Why an attempt was cancelled, in its report and in the log."""


def report_of(request: TaskRequest, **result: Any) -> ReportTaskRun:
    """The report of an attempt, which repeats the identity of the request."""
    return ReportTaskRun(
        wf_run_id=request.wf_run_id,
        incarnation=request.incarnation,
        thread=request.thread,
        position=request.position,
        attempt=request.attempt,
        **result,
    )


def text_of(exception: BaseException) -> str:
    """The class and the text of an exception. Only the class, if making the text raises as well."""
    try:
        return _message(f"{type(exception).__name__}: {exception}")
    except Exception:  # noqa: BLE001  as above
        return type(exception).__name__


def traceback_of(exception: BaseException) -> str:
    """The traceback of an exception, as text of a bounded size.

    It is made here, because the tracebacks of the logging library show the values of variables, also of masked ones,
    and take minutes for a long message.
    """
    lines = traceback.TracebackException.from_exception(exception, limit=-FRAMES_MAX).format()
    return _writable("".join(lines)[:TRACEBACK_LENGTH_MAX].rstrip())


def _writable(text: str) -> str:
    """Return a text as it can be written: a log on stdout raises for half of a surrogate pair, reports do too."""
    return text.encode(errors="backslashreplace").decode()


def _message(text: str) -> str:
    """Return a text as the message of a report: writable, and not longer than reports take."""
    return _writable(text[:MESSAGE_LENGTH_MAX])[:MESSAGE_LENGTH_MAX]


def _expect_no_coroutine(output: object) -> None:
    if inspect.iscoroutine(output):
        output.close()
        raise Unfit("a function that is not `async def` returned a coroutine: make it `async def`, and await")


class Attempts:
    """Runs handlers, and makes a report of whatever they do."""

    def __init__(self, handlers: Mapping[str, Handler], check: Callable[[ReportTaskRun], bytes], log: Any) -> None:
        """`check` encodes a report, and raises HalterError if it cannot be one."""
        self.handlers, self._check, self._log = handlers, check, log
        self.are_given_up = False
        """True when coroutines that still run are cancelled."""

    def is_async(self, request: TaskRequest) -> bool:
        """Say whether the handler of a request is a coroutine."""
        return self.handlers[request.task_def].is_async

    def run(self, request: TaskRequest, running: Running) -> tuple[ReportTaskRun, bytes]:
        """Call the handler of a request. Returns the report and its bytes."""
        try:
            output = self.handlers[request.task_def].run(Task(request.input, request, running))
            _expect_no_coroutine(output)
            result = {"status": TaskStatus.SUCCESS, "output": output}
        except BaseException as exception:  # noqa: BLE001  all that a handler raises fails the attempt, SystemExit too
            result = self._raised(request, exception)
        return self._report(request, result)

    async def run_async(self, request: TaskRequest, running: Running) -> tuple[ReportTaskRun, bytes] | None:
        """Await the handler of a request; None if the cancellation of the attempt ended it.

        Raises CancelledError if it is given up.
        """
        import asyncio  # few task workers have coroutines

        loop, this, is_in_handler = asyncio.get_running_loop(), asyncio.current_task(), True

        def interrupt() -> None:
            loop.call_soon_threadsafe(cancel)

        def cancel() -> None:
            if is_in_handler and this is not None:
                this.cancel()

        running.interrupted_by(interrupt)
        try:
            output = await self.handlers[request.task_def].run(Task(request.input, request, running))
            result = {"status": TaskStatus.SUCCESS, "output": output}
        except BaseException as exception:  # as in `run`
            if isinstance(exception, asyncio.CancelledError):
                if self.are_given_up:
                    raise
                if running.is_useless:
                    return None
            result = self._raised(request, exception)
        finally:
            is_in_handler = False
        return self._report(request, result)

    def failed(self, request: TaskRequest, message: str) -> tuple[ReportTaskRun, bytes]:
        """Return the report about an attempt of which no handler has said what came of it."""
        return self._checked(report_of(request, status=TaskStatus.FAILED, message=message))

    def _report(self, request: TaskRequest, result: dict[str, Any]) -> tuple[ReportTaskRun, bytes]:
        try:
            if result["status"] is TaskStatus.EXCEPTION:
                check_exception_name(result["failure_name"])  # a subclass may have set it since
            return self._checked(report_of(request, **result))
        except (HalterError, TypeError) as error:  # TypeError: from the classes of a compiled core
            self._log.warning("result_unfit", **named(request), error=str(error))
            message = f"its result cannot be reported: {error}"[:MESSAGE_LENGTH_MAX]
            return self.failed(request, message)

    def _raised(self, request: TaskRequest, exception: BaseException) -> dict[str, Any]:
        """The fields of the report about an exception of a handler."""
        if isinstance(exception, BusinessException):
            try:
                return {
                    "status": TaskStatus.EXCEPTION,
                    "failure_name": exception.name,
                    "message": exception.message,
                    "content": exception.content,
                }
            except Exception as incomplete:  # noqa: BLE001  a subclass that has not called our __init__
                exception = incomplete
        if isinstance(exception, Unfit):
            # No line of the handler is at fault: it was not called, or has returned.
            text = _message(str(exception))
            self._log.warning("attempt_failed", **named(request), error=text)
            return {"status": TaskStatus.FAILED, "message": text}
        text = text_of(exception)
        # The log has the line at fault, for whoever wrote the handler. The report has only the sentence.
        self._log.warning("attempt_failed", **named(request), error=text, stack=traceback_of(exception))
        return {"status": TaskStatus.FAILED, "message": text}

    def _checked(self, report: ReportTaskRun) -> tuple[ReportTaskRun, bytes]:
        return report, self._check(report)
