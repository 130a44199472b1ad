"""Decides when a process that ended is started again, and when to give it up. No processes, no clock of its own."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When to start a process again, and when to give up. All times in seconds."""

    first_wait: float = 0.2
    wait_max: float = 15.0
    steady: float = 10.0
    """A process that was ready for this long without a break has worked. Its end counts as the first again."""
    deaths_max: int = 5
    """So many ends in a row, without a process that has worked, are a crash loop."""
    stop: float = 6.0
    """How long a process may take to stop before it is killed."""

    def wait(self, deaths: int) -> float:
        """Return how long to wait after so many ends in a row."""
        return float(min(self.wait_max, self.first_wait * 2 ** max(0, deaths - 1)))


class Steadiness:
    """Tells whether a process has been ready for long enough to count as one that has worked. Times in seconds."""

    def __init__(self, steady: float) -> None:
        self.proved = False
        self._steady = steady
        self._since: float | None = None

    def seen(self, ready: bool, now: float) -> None:
        """Take note whether the process is ready now."""
        if not ready:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= self._steady:
            self.proved = True
