"""What the handler of one attempt and its task worker tell each other while it runs. Safe for threads.

Knows no Kafka, and not when progress is sent: `progress` says that.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from halter.client.errors import InvalidArgument
from halter.task_worker.progress import Progress
from processors.core.records.events import CancellationReason, TaskRequest
from processors.core.records.names import check_progress
from processors.core.records.value_checks import check_value
from processors.core.records.values import TellableProblem, Value

OVER: Final = frozenset({CancellationReason.TIMED_OUT, CancellationReason.DELETED})
"""The reasons of an attempt that the engine has ended: it would refuse a report."""
FOR_NOW: Final = frozenset({CancellationReason.STOPPED})
"""The reasons of an attempt whose result is of use again if the WfRun is resumed: nothing ends it but itself."""


class Running:
    """One attempt, between its task worker and its handler."""

    __slots__ = ("_cancelled", "_changed", "_interrupt", "_make_progress", "_progress", "deadline_ms", "now_s")

    def __init__(
        self,
        make_progress: Callable[[TaskRequest], Progress] | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`make_progress` makes what sends the progress of an attempt. Without it, progress is checked and not sent.

        `now_s` is the time in seconds since 1970.
        """
        self.now_s = now_s
        self.deadline_ms: int | None = None
        """When the attempt times out, in ms since 1970, if that counts from its start. None: its request says when."""
        self._make_progress = make_progress
        self._progress: Progress | None = None
        self._cancelled: CancellationReason | None = None
        self._interrupt: Callable[[], None] | None = None
        self._changed = threading.Condition()

    # For the handler.

    @property
    def cancelled(self) -> CancellationReason | None:
        """Why the result is of no use any more; None while it is."""
        return self._cancelled

    def wait_cancelled(self, seconds: float | None) -> CancellationReason | None:
        """Wait until the attempt is cancelled, and return why; None if it is not within so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled is not None, seconds)
            return self._cancelled

    def report_progress(self, request: TaskRequest, content: Value) -> None:
        """Note how far the attempt is. Raises InvalidArgument for what cannot be sent."""
        try:
            check_value(content, "progress")
            check_progress(content)
        except TellableProblem as problem:
            raise InvalidArgument(str(problem)) from None
        if (progress := self._progress or self._started_progress(request)) is not None:
            progress.note(content)

    def _started_progress(self, request: TaskRequest) -> Progress | None:
        with self._changed:
            if self._progress is None and self._make_progress is not None:
                self._progress = self._make_progress(request)
            return self._progress

    # For the task worker.

    @property
    def is_useless(self) -> bool:
        """Say whether nobody will ever need the result: a coroutine is cancelled then, and what waits not started."""
        return self._cancelled is not None and self._cancelled not in FOR_NOW

    @property
    def is_over(self) -> bool:
        """Say whether the engine has ended the attempt, so that it needs no report."""
        return self._cancelled in OVER

    def cancel(self, reason: CancellationReason) -> None:
        """Tell the handler that its result is of no use. The first final reason stays, unless the other ends it."""
        with self._changed:
            if not self.is_useless or reason in OVER:
                self._cancelled = reason
            interrupt = None
            if self.is_useless:
                interrupt, self._interrupt = self._interrupt, None
            self._changed.notify_all()
        if interrupt is not None:
            interrupt()

    def interrupted_by(self, interrupt: Callable[[], None]) -> None:
        """Have `interrupt` called when the result is useless: once, from any thread, and now if it is already."""
        with self._changed:
            is_due = self.is_useless
            if not is_due:
                self._interrupt = interrupt
        if is_due:
            interrupt()

    def end(self, *, flush: bool) -> None:
        """Send no progress from now on. `flush`: send the newest before, as the next attempt is to see it."""
        with self._changed:  # a thread that the handler has left behind may report its first progress now
            self._make_progress, progress = None, self._progress
        if progress is not None:
            progress.end(flush=flush)
