"""Runs attempts: handlers of `def` in threads, handlers of `async def` as tasks of one event loop in a thread.

Knows Work, from which it gets attempts, and two functions that run one. How many run at a time, Work says.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Final

from halter.task_worker.daemon_threads import DaemonThreads
from halter.task_worker.work import Attempt, Work

END_SECONDS: Final = 1.0
"""Time that coroutines have to end when they are cancelled."""
LOOP_THREADS_MIN: Final = 32
"""The most threads for `asyncio.to_thread`, if fewer handlers run at a time: as many as asyncio itself has at most."""


class Runners:
    """Threads for attempts, made as they are needed. They are daemons: a handler that hangs keeps no process alive."""

    def __init__(
        self,
        work: Work,
        concurrency: int,
        is_async: Callable[[Attempt], bool],
        run: Callable[[Attempt], None],
        run_async: Callable[[Attempt], Awaitable[None]],
    ) -> None:
        """`run` and `run_async` run an attempt to its report, and raise nothing."""
        self._work, self._is_async, self._run, self._run_async = work, is_async, run, run_async
        self._concurrency, self._making = concurrency, threading.Lock()
        self._handed: SimpleQueue[Attempt | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads_of_loop = DaemonThreads(max(concurrency, LOOP_THREADS_MIN))

    def fill(self) -> None:
        """Start as many attempts as may run."""
        while (attempt := self._work.next()) is not None:
            if self._is_async(attempt):
                self._to_loop(attempt)
            else:
                self._to_thread(attempt)

    def _to_thread(self, attempt: Attempt) -> None:
        self._handed.put(attempt)
        if self._idle.acquire(blocking=False):
            return
        with self._making:
            # If there are enough, one of them is about to come back for the attempt.
            if len(self._threads) < self._concurrency:
                thread = threading.Thread(target=self._serve, name=f"task-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self) -> None:
        while (attempt := self._handed.get()) is not None:
            next_: Attempt | None = attempt
            while next_ is not None:
                self._run(next_)
                next_ = self._next_here()
            self._idle.release()

    def _next_here(self) -> Attempt | None:
        """Return the next attempt for a thread that has time: it need not be handed over."""
        while (attempt := self._work.next()) is not None:
            if not self._is_async(attempt):
                return attempt
            self._to_loop(attempt)
        return None

    def _to_loop(self, attempt: Attempt) -> None:
        with self._making:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(self._threads_of_loop)
                threading.Thread(target=self._loop.run_forever, name="task-loop", daemon=True).start()
        self._loop.call_soon_threadsafe(self._spawn, attempt)

    def _spawn(self, attempt: Attempt) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._run_to_end(attempt), name=f"{attempt.request.task_def}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_to_end(self, attempt: Attempt) -> None:
        await self._run_async(attempt)
        while (following := self._work.next()) is not None:
            if self._is_async(following):
                self._spawn(following)  # this is the loop: it need not be woken
            else:
                self._to_thread(following)

    def wait_threads(self, seconds: float) -> int:
        """Wait for what coroutines have left in threads (`asyncio.to_thread`). Return how many still run."""
        return self._threads_of_loop.wait_idle(seconds)

    def close(self) -> None:
        """Cancel the coroutines that still run, and let the threads end that run nothing."""
        for _ in self._threads:
            self._handed.put(None)
        if self._loop is not None:
            cancelled = asyncio.run_coroutine_threadsafe(self._cancel(), self._loop)
            try:
                cancelled.result(END_SECONDS)
            except TimeoutError:
                return  # a coroutine goes on: its thread is a daemon
            self._loop.call_soon_threadsafe(self._loop.stop)

    async def _cancel(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
