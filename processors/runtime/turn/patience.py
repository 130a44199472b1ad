"""The patience of a worker: how many failures in a row it bears before it ends."""

from dataclasses import dataclass, field

from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.errors import TurnCannotCommit


@dataclass(slots=True)
class Patience:
    """Counts failures until something goes right.

    A worker that has nothing to fold commits nothing, so failures that lie far apart are not counted together.
    """

    failures_max: int = 12
    forget_after_s: float = 300.0
    clock: Clock = CLOCK
    failures: int = field(default=0, init=False)
    _failed_at: float = field(default=float("-inf"), init=False)

    def lost(self, reason: str) -> None:
        """Count a failure and wait a little longer than after the one before. Raises TurnCannotCommit."""
        now = self.clock.monotonic()
        if now - self._failed_at > self.forget_after_s:
            self.failures = 0
        self._failed_at = now
        self.failures += 1
        if self.failures > self.failures_max:
            raise TurnCannotCommit(f"gave up after {self.failures} failures in a row, the last one: {reason}")
        if self.failures > 2:
            self.clock.sleep(min(2.0, 0.05 * 2**self.failures))

    def regained(self) -> None:
        """Forget failures: something went right."""
        self.failures = 0
