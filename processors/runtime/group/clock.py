"""The clock of a worker. The runtime asks for the time and waits only here.

A simulation (`tests/simulation`) has a clock of its own: its hours pass at once, and in the same way each time.
"""

import time
from typing import Final


class Clock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Return seconds since some moment; they never run backwards."""
        return time.monotonic()

    def now_ms(self) -> int:
        """Return the time that timers are compared with, in ms since 1970."""
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        """Let time pass in this thread."""
        time.sleep(seconds)


CLOCK: Final = Clock()
