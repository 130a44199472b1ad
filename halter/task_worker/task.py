"""What handlers meet: the attempt that they run, and the exceptions that mean something to the engine.

Knows no Kafka.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from halter.task_worker.running import Running
from processors.core.records.errors import HalterError
from processors.core.records.events import CancellationReason, TaskRequest
from processors.core.records.names import check_exception_name as check_name
from processors.core.records.value_checks import check_text
from processors.core.records.values import TellableProblem, Value

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class BadExceptionName(HalterError, ValueError):
    """A business exception cannot have this name. Whoever wrote the handler chooses another."""


class BusinessException(Exception):
    """Raised by a handler when the business says no: the task ends in EXCEPTION with this name, and is not retried.

    The WfSpec says what happens then. A name has up to 128 letters, digits, `-` and `_`, and is none of the engine's,
    such as TIMEOUT. For other names BadExceptionName is raised, which fails the attempt.
    """

    def __init__(self, name: str, message: str = "", content: Value = None) -> None:
        super().__init__(message)
        check_exception_name(name)
        self.name, self.message, self.content = name, message, content


def check_exception_name(name: object) -> None:
    """Raise BadExceptionName for what cannot be the name of a BusinessException."""
    try:
        check_text(name, "the name of a BusinessException")
        check_name(str(name))
    except TellableProblem as problem:
        raise BadExceptionName(str(problem)) from None


class WorkerNotStarted(HalterError):
    """A task worker was given handlers that cannot do its tasks, or none. Whoever wrote it corrects them."""


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt of one task. A handler gets it if one of its parameters is annotated with this class.

    All of it may be used from any thread.
    """

    input: Mapping[str, Value]
    request: TaskRequest
    running: Running = field(default_factory=Running, compare=False, repr=False)
    """What connects it with the task worker. In a test of a handler: with nobody."""

    @property
    def wf_run_id(self) -> str:
        """The WfRun whose task it is."""
        return self.request.wf_run_id

    @property
    def attempt(self) -> int:
        """The number of this attempt at the task: 1, and one more after each that failed or timed out."""
        return self.request.attempt

    @property
    def deadline(self) -> datetime:
        """The time at which the attempt times out. A report that comes later is refused."""
        return EPOCH + timedelta(milliseconds=self._deadline_ms)

    @property
    def seconds_left(self) -> float:
        """The time until the deadline, by the clock of this machine or of a test; negative when it has passed."""
        return self._deadline_ms / 1_000 - self.running.now_s()

    @property
    def _deadline_ms(self) -> int:
        counted = self.running.deadline_ms
        return self.request.deadline_ms if counted is None else counted

    @property
    def idempotency_key(self) -> str:
        """A key that is the same for every attempt of this visit of the node, and different for everything else."""
        it = self.request
        return f"{it.wf_run_id}/{it.incarnation}/{it.thread}/{it.position}"

    @property
    def log(self) -> Any:
        """A logger of structlog whose lines name the WfRun, the TaskDef and the attempt."""
        return structlog.get_logger("halter.task").bind(**named(self.request))

    @property
    def progress(self) -> Value:
        """What an attempt before this one has reported last of how far it was; None if none has."""
        return self.request.progress

    def report_progress(self, content: Value) -> None:
        """Tell the engine how far this attempt is: the next attempt finds it in `progress`. Waits for nothing.

        Call it as often as you like: the newest content is sent, once a second at most, and before a report of
        failure. It lengthens no deadline. Raises InvalidArgument for what no record can hold, or for more than 16 KiB.
        """
        self.running.report_progress(self.request, content)

    @property
    def cancelled(self) -> CancellationReason | None:
        """Why the result is of no use any more, such as STOPPED; None while it is, as far as we know.

        An `async def` handler is cancelled by asyncio as well, but not for STOPPED: somebody may resume the WfRun, and
        then the result is of use.
        """
        return self.running.cancelled

    def wait_cancelled(self, seconds: float | None = None) -> CancellationReason | None:
        """Wait until the attempt is cancelled, and return why; None if it is not within so many seconds.

        This is the `sleep` of a `def` handler. A coroutine awaits `asyncio.sleep`, which cancelling ends.
        """
        return self.running.wait_cancelled(seconds)


def named(request: TaskRequest) -> dict[str, Any]:
    """Return the fields that name an attempt in a line of a log."""
    return {
        "task_def": request.task_def,
        "wf_run_id": request.wf_run_id,
        "thread": request.thread,
        "attempt": request.attempt,
    }
