"""Crash points: the named moments in the life of a worker at which tests end it.

Correctness means that an end at any of them leaves nothing lost and nothing doubled. In production `reached` does
nothing.
"""

import os
from enum import StrEnum

from processors.core.records.errors import HalterError

KILLED = 137
"""The exit code of a process that SIGKILL ended, as shells report it."""


class CrashPoint(StrEnum):
    """Moments in the life of a worker, in order: those of a load first, then those of a turn."""

    AFTER_SETTLE = "after-settle"
    AFTER_CLAIM = "after-claim"
    AFTER_RESTORE = "after-restore"
    AFTER_POLL = "after-poll"
    OVERLAPPING = "overlapping"
    """As AFTER_POLL, while the transaction of the turn before is open."""
    MID_FOLD = "mid-fold"
    AFTER_BEGIN = "after-begin"
    AFTER_FOLD = "after-fold"
    AFTER_PRODUCE = "after-produce"
    AFTER_FLUSH = "after-flush"
    AFTER_SEND_OFFSETS = "after-send-offsets"
    AFTER_COMMIT = "after-commit"


class BadCrashPoint(HalterError):
    """HALTER_CRASH_AT names no crash point. Whoever set it, for a test, corrects it."""


class CrashPoints:
    """Hears of every crash point and does nothing."""

    def reached(self, point: CrashPoint) -> None:
        """Be told that the worker has come to a crash point."""


class CrashAt(CrashPoints):
    """Ends the process, as kill -9 would, when a crash point is reached for the n-th time. For tests."""

    def __init__(self, point: CrashPoint, times: int = 1) -> None:
        self._point, self._left = point, times

    @classmethod
    def parse(cls, text: str) -> "CrashAt":
        """Read `point` or `point:n`."""
        name, _, times = text.partition(":")
        try:
            return cls(CrashPoint(name), int(times or 1))
        except ValueError:
            known = ", ".join(CrashPoint)
            raise BadCrashPoint(
                f"HALTER_CRASH_AT: expected POINT or POINT:N with one of {known}, found '{text}'"
            ) from None

    def reached(self, point: CrashPoint) -> None:
        """End the process if it is time."""
        if point is self._point:
            self._left -= 1
            if self._left == 0:
                os._exit(KILLED)
