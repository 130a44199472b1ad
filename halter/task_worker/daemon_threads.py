"""Threads for `asyncio.to_thread` that keep no process alive.

Those of `concurrent.futures` are waited for when Python ends, however long they take. A coroutine that is cancelled
leaves behind what it has begun in a thread, so a task worker would not end.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeAlias, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")
Handed: TypeAlias = tuple[Future[Any], Callable[[], Any]]


class DaemonThreads(ThreadPoolExecutor):
    """An executor whose threads are daemons, made as they are needed. (asyncio takes only a ThreadPoolExecutor.)"""

    def __init__(self, threads_max: int) -> None:
        super().__init__(threads_max)  # makes no thread by itself
        self._threads_max = threads_max
        self._handed_over: SimpleQueue[Handed] = SimpleQueue()
        self._made = self._busy = 0
        self._count_changed = threading.Condition()

    def submit(self, fn: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Result]:
        """Run a function in a thread."""
        future: Future[Result] = Future()
        with self._count_changed:
            self._busy += 1
            is_one_more = self._busy > self._made and self._made < self._threads_max
            self._made += is_one_more
        self._handed_over.put((future, lambda: fn(*args, **kwargs)))
        if is_one_more:
            threading.Thread(target=self._serve, name=f"to-thread-{self._made}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the threads end with the process."""

    def wait_idle(self, seconds: float) -> int:
        """Wait until nothing runs. Return how many functions still do, or wait for a thread."""
        with self._count_changed:
            self._count_changed.wait_for(lambda: not self._busy, seconds)
            return self._busy

    def _serve(self) -> None:
        while True:
            future, call = self._handed_over.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001  whoever awaits it gets it
                    future.set_exception(error)
            del future, call  # else the last result would be kept until there is more to do
            with self._count_changed:
                self._busy -= 1
                self._count_changed.notify_all()
