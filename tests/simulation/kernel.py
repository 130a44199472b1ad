"""Virtual time, and tasks of which only one runs at a time: the base of a simulation.

A task is a thread, so that code that knows nothing of simulation can be suspended inside any call. Only the thread that
holds the baton runs. When time has to pass, it gives the baton to whatever comes next. So the same seed gives the same
run, and an hour of virtual time takes only as long as the events in it.
"""

import heapq
import threading
from collections.abc import Callable
from typing import Final

BASE_MS: Final = 1_767_225_600_000
"""The wall clock at the beginning: 2026-01-01T00:00:00Z."""


class Crashed(BaseException):
    """The process of this task was killed. It is no Exception, so that no code of the process catches it."""


class Task:
    """A thread of a simulated process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_crashed = False
        self.is_over = False
        self.baton = threading.Semaphore(0)
        self.ticket = 0
        """Numbers the sleeps of this task. An event for an earlier sleep does not wake it."""

    def __lt__(self, other: object) -> bool:
        raise AssertionError("events of one moment are told apart by their number")


Doing = Callable[[], None]


class Kernel:
    """The queue of events, by virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.failure: BaseException | None = None
        self._queue: list[tuple[float, int, Doing | None, Task | None, int]] = []
        self._number = 0
        self._main = Task("main")
        self._is_closed = False
        self._tasks: list[Task] = []
        self._threads: list[threading.Thread] = []

    @property
    def now_ms(self) -> int:
        """The wall clock."""
        return BASE_MS + int(self.now * 1_000)

    def after(self, seconds: float, doing: Doing) -> None:
        """Do something later. The caller does not wait."""
        self._number += 1
        heapq.heappush(self._queue, (self.now + seconds, self._number, doing, None, 0))

    def spawn(self, name: str, body: Callable[[], None]) -> Task:
        """Start a task now, as soon as the others let it."""
        task = Task(name)

        def run() -> None:
            task.baton.acquire()
            try:
                if not task.is_crashed:
                    body()
            except Crashed:
                pass
            except BaseException as error:  # noqa: BLE001  it ends the simulation, in the main thread
                self._failed(error)
            finally:
                task.is_over = True
                self._leave()

        self._tasks.append(task)
        self._wake(task, 0.0)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=run, name=name, daemon=True))
        self._threads[-1].start()
        return task

    def sleep(self, task: Task, seconds: float) -> None:
        """Let time pass for a task. Raises Crashed if it was killed meanwhile."""
        if task.is_crashed:
            raise Crashed
        until = self.now + max(0.0, seconds)
        if self._queue and self._queue[0][0] <= until:
            self._wake(task, until - self.now)
            self._pass_on(task)
            if task.is_crashed:
                raise Crashed
        else:
            self.now = until

    def wake(self, task: Task, after: float = 0.0) -> None:
        """End a task's sleep early."""
        if not task.is_over:
            self._wake(task, after, task.ticket)

    def crash(self, task: Task) -> None:
        """Kill a task, wherever it is."""
        if not task.is_over and not task.is_crashed:
            task.is_crashed = True
            self._wake(task, 0.0)

    def run(self, seconds: float) -> None:
        """Let virtual time pass, from the main thread. Raises what went wrong in any task or event."""
        self._wake(self._main, seconds)
        self._pass_on(self._main)
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Kill every task, and wait for its thread."""
        self._is_closed = True
        for task in self._tasks:
            if not task.is_over:
                task.is_crashed = True
                task.baton.release()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), f"{thread.name} did not end"

    def _wake(self, task: Task, seconds: float, ticket: int | None = None) -> None:
        if ticket is None:
            task.ticket += 1
        self._number += 1
        heapq.heappush(self._queue, (self.now + seconds, self._number, None, task, task.ticket))

    def _pass_on(self, me: Task) -> None:
        """Let events happen until it is this task's turn again."""
        next_one = self._next()
        if next_one is not me:
            next_one.baton.release()
            me.baton.acquire()

    def _leave(self) -> None:
        """Pass the baton on from a task that is over."""
        if not self._is_closed:
            self._next().baton.release()

    def _next(self) -> Task:
        """Let events happen until a task has to go on."""
        while self.failure is None:
            when, _, doing, task, ticket = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            if task is None:
                assert doing is not None
                try:
                    doing()
                except BaseException as error:  # noqa: BLE001  as in a task
                    self._failed(error)
            elif not task.is_over and ticket == task.ticket:
                task.ticket += 1
                return task
        return self._main

    def _failed(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
