"""What the handler of one attempt and its task worker tell each other while it runs. Safe for threads.

Knows no Kafka, and not who hears of cancellations.
"""

import threading
from collections.abc import Callable
from typing import Final

from processors.core.records.events import CancellationReason

OVER: Final = frozenset({CancellationReason.TIMED_OUT, CancellationReason.DELETED})
"""The reasons of an attempt that the engine has ended: it would refuse a report."""


class Running:
    """One attempt, between its task worker and its handler."""

    __slots__ = ("_cancelled", "_changed", "_interrupt")

    def __init__(self) -> None:
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

    # For the task worker.

    @property
    def is_over(self) -> bool:
        """Say whether the engine has ended the attempt, so that it needs no report."""
        return self._cancelled in OVER

    def cancel(self, reason: CancellationReason) -> None:
        """Tell the handler that its result is of no use. The first reason stays, unless the other ends the attempt."""
        with self._changed:
            if self._cancelled is None or reason in OVER:
                self._cancelled = reason
            interrupt, self._interrupt = self._interrupt, None
            self._changed.notify_all()
        if interrupt is not None:
            interrupt()

    def interrupted_by(self, interrupt: Callable[[], None]) -> None:
        """Have `interrupt` called when the attempt is cancelled: once, from any thread, and now if it is already."""
        with self._changed:
            is_due = self._cancelled is not None
            if not is_due:
                self._interrupt = interrupt
        if is_due:
            interrupt()
