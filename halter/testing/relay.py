"""Threads of which one runs at a time: a test gives the baton to a task function, and gets it back.

So the real task functions, which block and wait, run in an order that is the same each time. Whoever has it may
use the engine without a lock. Knows no workflow.
"""

import threading
from collections.abc import Callable
from typing import Final

from processors.core.records.errors import HalterError

STUCK_SECONDS: Final = 30.0
"""Real time that a task function may run until it returns or waits by its Task or by asyncio."""


class Stuck(HalterError):
    """A task function runs for too long in real time. Whoever wrote the test lets it wait in virtual time."""


class Runner(threading.Thread):
    """A thread that runs while it has the baton. It is a daemon: one that hangs keeps no process alive."""

    def __init__(self, relay: "Relay") -> None:
        super().__init__(name="task", daemon=True)
        self.relay = relay
        self.go = threading.Lock()
        self.go.acquire()
        self.body: Callable[[], None] | None = None

    def run(self) -> None:
        """Do what it is given, one thing after the other."""
        while True:
            self.go.acquire()
            body, self.body = self.body, None
            if body is None:
                return
            body()
            if not self.relay.ended(self):
                return

    def pause(self) -> None:
        """Give the baton back, and wait for it. Called by the thread itself."""
        self.relay.back.release()
        self.go.acquire()


class Relay:
    """Gives the baton to runners."""

    def __init__(self, stuck_s: float = STUCK_SECONDS) -> None:
        self.back = threading.Lock()
        self.back.acquire()
        self._stuck_s = stuck_s
        self._idle: list[Runner] = []
        self._broken: str | None = None
        self._is_closed = False

    def runner(self) -> Runner | None:
        """Return the runner that calls this; None for any other thread."""
        thread = threading.current_thread()
        return thread if isinstance(thread, Runner) and thread.relay is self else None

    def start(self, body: Callable[[], None], what: str) -> Runner:
        """Let a thread do something until it pauses or is done. `what` it is, for sentences. Raises Stuck."""
        if self._idle:
            runner = self._idle.pop()
        else:
            runner = Runner(self)
            runner.start()
        runner.body = body
        self.give(runner, what)
        return runner

    def give(self, runner: Runner, what: str) -> None:
        """Let a runner that has paused go on until it pauses again or is done. Raises Stuck."""
        if self._broken is not None:
            raise Stuck(self._broken)
        self._broken = f"{what}: this was interrupted, so nothing goes on"
        runner.go.release()
        if self.back.acquire(timeout=self._stuck_s):
            self._broken = None
            return
        self._broken = (
            f"{what}: expected it to return within {self._stuck_s:g} s of real time, or to wait by task.wait_cancelled "
            "or asyncio.sleep, found that it still runs: let it wait so, or hold the task: env.held(…)"
        )
        raise Stuck(self._broken)

    def ended(self, runner: Runner) -> bool:
        """Take back the baton. Called by a runner that is done. Return whether there may be more to do."""
        goes_on = not self._is_closed
        if goes_on:
            self._idle.append(runner)
        self.back.release()
        return goes_on

    def close(self) -> None:
        """Let the threads end that have nothing to do, and others when they are done."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().go.release()
