"""The time as a worker has it: the only place where the runtime asks for it or lets it pass.

Tests put another in its place (`tests/simulation`), in which hours are over at once and come the same way again.
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
