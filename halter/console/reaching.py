"""Whether Kafka answers: a few may wait for it at a time, and that it is away is remembered for a while.

Pages wait for Kafka in threads, and all pages share some 40 of those. So pages that need no Kafka stay
quick without it.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from processors.kafka.errors import KafkaUnavailable

REACH_S: Final = 3.0
"""How long to wait until Kafka answers."""
AWAY_S: Final = 3.0
"""How long it counts as away after that."""
WAITING_MAX: Final = 8
PATIENCE_S: Final = 0.3
"""How long to wait to be one of those who wait. A Kafka that is there answers in much less."""


class Reaching:
    """Finds out whether Kafka answers. Any thread may ask."""

    def __init__(self) -> None:
        self._waiting = threading.BoundedSemaphore(WAITING_MAX)
        self._away: tuple[float, str] = 0.0, ""
        """Until when it counts as away, and what was found."""

    def reach(self, ask: Callable[[float], None]) -> None:
        """Return once Kafka answers. `ask` takes the seconds to wait. Raises KafkaUnavailable."""
        self._expect_there()
        if not self._waiting.acquire(timeout=PATIENCE_S):
            self._expect_there()
            raise KafkaUnavailable(f"Kafka has not answered yet, and {WAITING_MAX} others wait for it; try again")
        try:
            self._expect_there()  # somebody else has found out meanwhile
            self._ask(ask)
        finally:
            self._waiting.release()

    def _ask(self, ask: Callable[[float], None]) -> None:
        try:
            ask(REACH_S)
        except KafkaUnavailable as error:
            self._away = time.monotonic() + AWAY_S, str(error)
            raise

    def _expect_there(self) -> None:
        until, found = self._away
        if time.monotonic() < until:
            raise KafkaUnavailable(found)
