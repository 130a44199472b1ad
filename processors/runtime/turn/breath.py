"""The breath: the shortest time between a commit and the next transaction."""

from typing import Final

from processors.runtime.group.clock import Clock

BREATH_SECONDS: Final = 0.002
BREATH_PER_SHARD_SECONDS: Final = 0.002
BREATH_MAX_SECONDS: Final = 0.02


class Breath:
    """Puts off a transaction that would begin too soon after a commit: by BREATH_SECONDS, and more for each shard.

    The broker still writes the marks of the transaction before, and librdkafka would put off the next one for 20 ms. A
    worker that is idle or busy does not notice the breath: polling and folding take as long.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = 0.0

    def begin(self, now: float, shards: int) -> None:
        """Note that a transaction with records of so many shards was committed."""
        self._until = now + min(BREATH_MAX_SECONDS, BREATH_SECONDS + BREATH_PER_SHARD_SECONDS * shards)

    def take(self) -> None:
        """Wait until a transaction may begin."""
        wait_seconds = self._until - self._clock.monotonic()
        if wait_seconds > 0:
            self._clock.sleep(wait_seconds)
