"""When the progress of an attempt is sent: the newest, once a second at most, and nothing after the report.

A handler notes its progress and goes on. A thread of the task worker sends it, and comes again for as long as there
may be more. Knows no Kafka: it is given a function that sends.
"""

import heapq
import threading
from collections.abc import Callable
from itertools import count
from typing import Final

from processors.core.records.values import Value

PROGRESS_SECONDS: Final = 1.0
"""Least time between two records of one attempt."""


class Progress:
    """The newest progress of one attempt. Safe for threads."""

    __slots__ = ("_encode", "_is_over", "_is_watched", "_newest", "_noting", "_send", "_sending", "_watch")

    def __init__(
        self,
        encode: Callable[[Value], bytes],
        send: Callable[[bytes], None],
        watch: Callable[["Progress"], None],
    ) -> None:
        """`watch` is told of a progress that is to be sent; whoever watches calls `send_newest`."""
        self._encode, self._send, self._watch = encode, send, watch
        self._newest: bytes | None = None
        self._is_watched = self._is_over = False
        self._noting, self._sending = threading.Lock(), threading.Lock()

    def note(self, content: Value) -> None:
        """Replace what is not sent yet. Waits for nobody who sends."""
        value = self._encode(content)  # now: the handler may change a list or an object afterwards
        with self._noting:
            self._newest = value
            is_first, self._is_watched = not self._is_watched, True
        if is_first:
            self._watch(self)

    def send_newest(self) -> bool:
        """Send the newest, if there is one. Return True if more may come: it is to be called again in a second."""
        with self._sending:
            with self._noting:
                value, self._newest = self._newest, None
                if value is None or self._is_over:
                    self._is_watched = False
                    return False
            self._send(value)
            return True

    def end(self, *, flush: bool) -> None:
        """Send nothing from now on, but with `flush` the newest first."""
        with self._sending:
            self._is_over = True
            with self._noting:
                value, self._newest = self._newest, None
            if flush and value is not None:
                self._send(value)


class Watched:
    """The attempts whose progress is to be sent, and when. Safe for threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic, self._numbers = monotonic, count()
        self._due: list[tuple[float, int, Progress]] = []
        """A heap: when, in seconds of the clock; the number keeps two of one time apart."""
        self._lock = threading.Lock()

    def add(self, progress: Progress, after_s: float = 0.0) -> None:
        """Have a progress sent, so many seconds from now."""
        with self._lock:
            heapq.heappush(self._due, (self._monotonic() + after_s, next(self._numbers), progress))

    def send_due(self) -> None:
        """Send all that is due."""
        while (progress := self._next()) is not None:
            if progress.send_newest():
                self.add(progress, PROGRESS_SECONDS)

    def _next(self) -> Progress | None:
        with self._lock:
            if self._due and self._due[0][0] <= self._monotonic():
                return heapq.heappop(self._due)[2]
            return None

    @property
    def seconds(self) -> float | None:
        """The time until something is due; None while nothing is."""
        with self._lock:
            return max(0.0, self._due[0][0] - self._monotonic()) if self._due else None
