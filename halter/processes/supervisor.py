"""Keeps N worker processes running: starts them, starts again the one that ends, gives up on a crash loop, stops all.

Knows processes and nothing of Kafka. Each worker has a slot, its place in the group that survives its death, so that
a restarted one goes on where it was. A worker that ends is started again, each time after a longer wait; one that
keeps ending without having worked in between will not get better by itself, however long each try takes: then
everything is stopped and the reason told.
However this process ends, its workers end as well (`halter/processes/leash.py`).
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from halter.processes import leash
from processors.core.records.errors import HalterError
from processors.worker.observability import ReadyFile, read_line

USAGE_EXIT_CODE: Final = 2
"""How the command line says that an option is wrong: no restart changes that."""

LOOK_SECONDS: Final = 0.1


class CrashLoop(HalterError):
    """A worker process keeps ending without having worked in between. Whoever runs it acts on its last reason."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When to start again, and when to give up. All times in seconds."""

    first_wait: float = 0.2
    wait_max: float = 15.0
    steady: float = 10.0
    """A process that was ready for this long without a break has worked; its death is the first again."""
    deaths_max: int = 5
    """So many deaths in a row, without a process that has worked, are a crash loop."""
    stop: float = 6.0
    """A process that is told to stop has this time; then it is killed."""

    def wait(self, deaths: int) -> float:
        """Return how long to wait after so many deaths in a row."""
        return float(min(self.wait_max, self.first_wait * 2 ** max(0, deaths - 1)))


class Steadiness:
    """Whether a process has been ready for long enough to say that it has worked. Times in seconds."""

    def __init__(self, steady: float) -> None:
        self.proved = False
        self._steady = steady
        self._since: float | None = None

    def seen(self, ready: bool, now: float) -> None:
        """Learn whether it is ready at the moment."""
        if not ready:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= self._steady:
            self.proved = True


def how_it_ended(exit_code: int) -> str:
    """Write an exit code in words."""
    return f"was killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"ended with exit code {exit_code}"


FROM_OUTSIDE: Final = frozenset({0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})
"""Exit codes of a process that somebody else ended: nothing that it said is the reason."""
FAILURES: Final = frozenset({"error", "critical"})
NO_REASONS: Final = ("Thread 0x", "Current thread 0x", "Traceback (", "Extension modules:")
"""How lines begin that stand around a stack."""


class LastWords:
    """Keeps what a process said last that may be why it ended: a failure on its log, or a word beside the log, such as
    the sentence with which a command ends, or what a library says before it aborts. The rest of a log is no reason.
    """

    def __init__(self) -> None:
        self._reason = ""

    def hear(self, line: str) -> None:
        """Take the next line of its stderr."""
        # Wrong options are told in a box, whose border says nothing.
        text = line.strip(" \r\n│╭╮╰╯─")
        if not text or line.startswith((" ", "\t", *NO_REASONS)):
            return
        logged = read_line(text)
        if logged is None:
            self._reason = text.removeprefix("halter: ")
        elif logged[0] in FAILURES:
            self._reason = logged[1]

    def reason(self, exit_code: int) -> str:
        """Why it ended so; else how, in words."""
        return how_it_ended(exit_code) if exit_code in FROM_OUTSIDE or not self._reason else self._reason


class Worker:
    """One slot: at most one process at a time."""

    def __init__(self, slot: str, command: Sequence[str], policy: RestartPolicy, ready_file: Path | None) -> None:
        """Without a ready file a process counts as ready as long as it runs."""
        self.slot, self._command, self._policy, self._ready_file = slot, command, policy, ready_file
        self._process: asyncio.subprocess.Process | None = None
        self._last_words = LastWords()
        self._stopping = asyncio.Event()
        self._log = structlog.get_logger("halter.supervisor")

    async def keep_running(self) -> None:
        """Start the process again and again until `stop`. Raises CrashLoop."""
        deaths = 0
        while not self._stopping.is_set():
            steadiness = Steadiness(self._policy.steady)
            watch = asyncio.create_task(self._watch(steadiness))
            try:
                exit_code = await self._run()
            finally:
                watch.cancel()
            if self._stopping.is_set():
                return
            deaths = 1 if steadiness.proved else deaths + 1
            reason = self._last_words.reason(exit_code)
            if deaths >= self._policy.deaths_max or exit_code == USAGE_EXIT_CODE:
                times = f", {deaths} times in a row" if deaths > 1 else ""
                how = how_it_ended(exit_code)
                why = "nothing that it said is a reason" if reason == how else reason
                raise CrashLoop(f"worker '{self.slot}' {how}{times}: {why}")
            wait = self._policy.wait(deaths)
            self._log.error(
                "worker_ended", worker=self.slot, how=how_it_ended(exit_code), reason=reason, again_in_s=wait
            )
            await self._wait(wait)

    @property
    def state(self) -> object:
        """What its ready file says; None while it is not ready."""
        try:
            return json.loads(self._ready_file.read_text(encoding="utf-8")) if self._ready_file else None
        except FileNotFoundError:
            return None

    def stop(self) -> None:
        """Tell the process to stop, and start it no more."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        """End the process by force."""
        if self._process is not None and self._process.returncode is None:
            self._log.error("worker_killed", worker=self.slot, reason="it did not stop in time")
            self._process.kill()

    async def _run(self) -> int:
        self._last_words = LastWords()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *self._command),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal reaches a whole process group; the order of the stop is ours.
            start_new_session=True,
        )
        self._log.info("worker_started", worker=self.slot, pid=self._process.pid)
        if self._stopping.is_set():
            self._process.terminate()
        assert self._process.stderr is not None
        await self._pass_on(self._process.stderr)
        exit_code = await self._process.wait()
        if self._ready_file is not None:
            # Who is killed leaves it behind.
            self._ready_file.unlink(missing_ok=True)
        return exit_code

    async def _watch(self, steadiness: Steadiness) -> None:
        loop = asyncio.get_running_loop()
        while True:
            steadiness.seen(self._ready_file is None or self._ready_file.exists(), loop.time())
            await asyncio.sleep(LOOK_SECONDS)

    async def _pass_on(self, stderr: asyncio.StreamReader) -> None:
        """Pass on what it says, and keep what may be the reason if it ends."""
        while True:
            try:
                line = await stderr.readline()
            except ValueError:
                continue  # a line without end; its rest comes
            if not line:
                return
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
            self._last_words.hear(line.decode("utf-8", "replace"))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


class Supervisor:
    """Runs a worker process per slot. `command` gives a slot's command line.

    `ready_files`: where the process of a slot says that it is ready; `ready_file` is there while all are.
    """

    def __init__(
        self,
        slots: Sequence[str],
        command: Callable[[str], Sequence[str]],
        policy: RestartPolicy | None = None,
        ready_file: Path | None = None,
        ready_files: Mapping[str, Path] | None = None,
    ) -> None:
        self._policy = policy or RestartPolicy()
        files = ready_files or {}
        self._workers = [Worker(slot, command(slot), self._policy, files.get(slot)) for slot in slots]
        self._ready_file = ReadyFile(ready_file) if ready_file else None
        self._told_to_stop = asyncio.Event()
        self._log = structlog.get_logger("halter.supervisor")

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop all workers. Raises CrashLoop."""
        asyncio.run(self.live())

    async def live(self) -> None:
        """Do what `run` says, in a loop that runs."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop.set)
        keepers = [asyncio.create_task(worker.keep_running()) for worker in self._workers]
        told = asyncio.create_task(self._told_to_stop.wait())
        readiness = asyncio.create_task(self._watch_readiness())
        try:
            await asyncio.wait([*keepers, told], return_when=asyncio.FIRST_COMPLETED)
            await self._stop(keepers)
        finally:
            for task in (told, readiness):
                task.cancel()
            if self._ready_file is not None:
                self._ready_file.remove()
        # Each is asked, not only up to the first: what nobody asked for is logged as a bug, after the reason.
        if failures := [failure for keeper in keepers if (failure := keeper.exception()) is not None]:
            raise failures[0]

    async def _stop(self, keepers: Sequence["asyncio.Task[None]"]) -> None:
        """Stop all at once: one after the other, each would hand its shards to the next one to go."""
        self._log.info("stopping", workers=len(self._workers))
        for worker in self._workers:
            worker.stop()
        _, slow = await asyncio.wait(keepers, timeout=self._policy.stop)
        for worker in self._workers if slow else ():
            worker.kill()
        await asyncio.wait(keepers)
        self._log.info("stopped")

    async def _watch_readiness(self) -> None:
        """Keep the ready file: it is there while every worker's is."""
        written: list[object] = []
        while self._ready_file is not None:
            states = [worker.state for worker in self._workers]
            if states != written:
                self._ready_file.write({"ready": None not in states, "processes": states})
                written = states
            await asyncio.sleep(LOOK_SECONDS)
