"""An event loop whose clock is that of a test: `asyncio.sleep` of a day takes no time.

What happens outside the loop takes the time that it takes: while a socket is open or a thread works for a coroutine,
the loop waits for them in real time. Knows no workflow.
"""

import asyncio
import selectors
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from typing import Any, Final

RESOLUTION_SECONDS: Final = 5e-4
"""Half of the least time that the virtual clock goes on by."""


class _Selector(selectors.DefaultSelector):
    """Waits for files, and otherwise leaves it to others to let virtual time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.is_busy: Callable[[], bool] = lambda: False
        self.let_time_pass: Callable[[float | None], None] = lambda _: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if self.is_busy():
            found = super().select(timeout)
            if found:
                return found
        self.let_time_pass(timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. `idle` is called when nothing can happen before time passes."""

    def __init__(self, now_s: Callable[[], float], idle: Callable[[], None]) -> None:
        self._now_s, self._idle = now_s, idle
        self._working = self._parked = 0
        """What coroutines wait for and threads that work for them; and how many of both wait for virtual time."""
        self.is_woken = False
        """Whether something is to be done as soon as the loop has the baton."""
        self.due_s: float | None = None
        """When something is to be done, by the virtual clock, in seconds; None if nothing is."""
        selector = _Selector()
        super().__init__(selector)
        self._clock_resolution = RESOLUTION_SECONDS
        own = len(selector.get_map())
        selector.is_busy = lambda: self._working > self._parked or len(selector.get_map()) > own
        selector.let_time_pass = self._let_time_pass

    def time(self) -> float:
        """Return the seconds of the virtual clock."""
        return self._now_s()

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        """Note that there is something to do."""
        self.is_woken = True
        return super().call_soon_threadsafe(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Count the threads that work for coroutines."""

        def call() -> Any:
            try:
                return func(*args)
            finally:
                with suppress(RuntimeError):  # the loop is closed
                    self.call_soon_threadsafe(self._worked)

        if isinstance(executor, ProcessPoolExecutor):  # `call` cannot be sent to another process
            future = super().run_in_executor(executor, func, *args)
            self._working += 1
        else:
            # A thread goes on when its coroutine is cancelled, and its coroutine hears of its end a little later.
            future = super().run_in_executor(executor, call)
            self._working += 2
        future.add_done_callback(self._worked)
        return future

    def _worked(self, _: object = None) -> None:
        self._working -= 1

    def park(self) -> None:
        """Note that a thread that works for a coroutine waits for virtual time. Called by that thread."""
        self.call_soon_threadsafe(self._park, 2)

    def unpark(self, woken: threading.Event) -> None:
        """Let a thread go on that waits for virtual time."""
        self.call_soon_threadsafe(self._park, -2)
        self.call_soon_threadsafe(woken.set)

    def _park(self, number: int) -> None:
        self._parked += number

    def _let_time_pass(self, timeout: float | None) -> None:
        self.due_s = None if timeout is None else self.time() + timeout
        self._idle()
