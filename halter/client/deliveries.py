"""Tells callers in an event loop that Kafka has their records.

Knows the Sender and the futures of a loop. Knows nothing of what the records say.
"""

import asyncio
import threading
from collections.abc import Callable

from halter.client.sending import Sender, Sending


class Deliveries:
    """Tells futures of a loop that their records have arrived. Its thread sleeps while none is on its way."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._wanted, self._closed = threading.Event(), False
        self._arrived: list[asyncio.Future[None]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def told(self, delivered: "asyncio.Future[None]") -> Callable[[Sending], None]:
        """Return what the delivery report of a record is to call."""
        return lambda _: self._note(delivered)

    def expect(self) -> None:
        """A record is on its way."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._poll, name="halter-deliveries", daemon=True)
            self._thread.start()
        self._wanted.set()

    def _poll(self) -> None:
        while True:
            self._wanted.wait()
            if self._closed:
                return
            self._wanted.clear()  # before the look: what is given to librdkafka after it is wanted again
            self._sender.poll_until_idle(lambda: self._closed)

    def _note(self, delivered: "asyncio.Future[None]") -> None:
        """Called by librdkafka in any thread. The loop is woken once for all that arrive before it looks."""
        with self._lock:
            self._arrived.append(delivered)
            is_first = len(self._arrived) == 1
        if is_first and not (loop := delivered.get_loop()).is_closed():
            loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        with self._lock:
            arrived, self._arrived = self._arrived, []
        for delivered in arrived:
            if not delivered.done():  # cancelled
                delivered.set_result(None)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
