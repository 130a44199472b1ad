"""The steps between which a worker may die, by name.

Correctness means that an end after any step leaves nothing lost and nothing doubled; tests end a worker at each of
them. In production `reached` does nothing.
"""

import os
from enum import StrEnum

from processors.core.records.errors import HalterError

KILLED = 137
"""The exit code of a process that SIGKILL ended, as shells report it."""


class Step(StrEnum):
    """Points in the life of a worker, in order: those of a load first, then those of a turn."""

    AFTER_SETTLE = "after-settle"
    AFTER_CLAIM = "after-claim"
    AFTER_RESTORE = "after-restore"
    AFTER_POLL = "after-poll"
    MID_FOLD = "mid-fold"
    AFTER_BEGIN = "after-begin"
    AFTER_FOLD = "after-fold"
    AFTER_PRODUCE = "after-produce"
    AFTER_FLUSH = "after-flush"
    AFTER_SEND_OFFSETS = "after-send-offsets"
    AFTER_COMMIT = "after-commit"


class BadCrashPoint(HalterError):
    """HALTER_CRASH_AT names no step. Whoever set it, for a test, corrects it."""


class Steps:
    """Hears of every step and does nothing."""

    def reached(self, step: Step) -> None:
        """Be told that a step has been done."""


class CrashAt(Steps):
    """Ends the process, as kill -9 would, when a step is reached for the n-th time. For tests."""

    def __init__(self, step: Step, times: int = 1) -> None:
        self._step, self._left = step, times

    @classmethod
    def parse(cls, text: str) -> "CrashAt":
        """Read `step` or `step:n`."""
        name, _, times = text.partition(":")
        try:
            return cls(Step(name), int(times or 1))
        except ValueError:
            known = ", ".join(Step)
            raise BadCrashPoint(
                f"HALTER_CRASH_AT: expected STEP or STEP:N with one of {known}, found '{text}'"
            ) from None

    def reached(self, step: Step) -> None:
        """End the process if it is time."""
        if step is self._step:
            self._left -= 1
            if self._left == 0:
                os._exit(KILLED)
