"""Who may read the log now: a few at a time, a few more wait for their turn, and the others are told at once.

A long history is read for many seconds, in one of the 40 threads that all pages share. So slow readers have some of the
threads and never all of them: lists, which need the view alone, answer whatever the log does.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from halter.console.problems import OutOfReach

READERS_MAX: Final = 8
WAITING_MAX: Final = 8
PATIENCE_S: Final = 5.0
"""How long somebody waits for a turn."""


class LogBusy(OutOfReach):
    """Too many read the log now. Whoever asked asks again."""


class Turns:
    """Hands out turns. Any thread may ask for one; nobody who has one asks for another."""

    def __init__(self, readers: int = READERS_MAX, waiting: int = WAITING_MAX, patience_s: float = PATIENCE_S) -> None:
        self._readers, self._patience_s = readers, patience_s
        self._free = threading.BoundedSemaphore(readers)
        self._admitted = threading.BoundedSemaphore(readers + waiting)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have a turn while the log is read. Raises LogBusy."""
        if not self._admitted.acquire(blocking=False):
            raise LogBusy(f"{self._readers} others read the log now, and as many as may wait for it do; try again soon")
        try:
            if not self._free.acquire(timeout=self._patience_s):
                raise LogBusy(
                    f"{self._readers} others read the log now, and none has ended within {self._patience_s:g} s; try "
                    "again soon"
                )
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._admitted.release()
