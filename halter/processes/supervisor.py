"""Keeps N worker processes running: starts them, restarts one that ends, and stops all at the end or in a crash loop.

This module knows processes, and nothing of Kafka. Each worker has a slot, its name in the group, which survives the
process: a restarted worker goes on with the shards it had. A worker that ends is started again, each time after a
longer wait. One that keeps ending without having worked in between will not recover by itself: then everything is
stopped, and the reason is reported. However this process ends, its workers end too (`leash`).
"""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from halter.processes.children import how_it_ended, leashed
from halter.processes.restarting import RestartPolicy, Steadiness
from processors.core.records.errors import HalterError
from processors.worker.logs import read_line
from processors.worker.ready_file import ReadyFile

USAGE_EXIT_CODE: Final = 2
"""The exit code for wrong options. No restart changes those."""

LOOK_SECONDS: Final = 0.1


class CrashLoop(HalterError):
    """A worker process keeps ending without having worked in between. Whoever runs it acts on its last reason."""


FROM_OUTSIDE: Final = frozenset({0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})
"""Exit codes of a process that somebody else ended. Its output has no reason for them."""
FAILURES: Final = frozenset({"error", "critical"})
NO_REASONS: Final = ("Thread 0x", "Current thread 0x", "Traceback (", "Extension modules:")
"""Beginnings of the lines around a stack trace."""


class LastWords:
    """The last line of a process' stderr that may be the reason why it ended.

    That is an error on its log, or a line outside the log: the sentence with which a command ends, or what a library
    prints before it aborts. Other lines of the log are no reason.
    """

    def __init__(self) -> None:
        self._reason = ""

    def hear(self, line: str) -> None:
        """Take the next line of the process' stderr."""
        # Typer prints wrong options in a box: its border is cut off.
        text = line.strip(" \r\n│╭╮╰╯─")
        if not text or line.startswith((" ", "\t", *NO_REASONS)):
            return
        logged = read_line(text)
        if logged is None:
            self._reason = text.removeprefix("halter: ")
        elif logged[0] in FAILURES:
            self._reason = logged[1]

    def reason(self, exit_code: int) -> str:
        """Return why the process ended; if that is not known, how it ended."""
        return how_it_ended(exit_code) if exit_code in FROM_OUTSIDE or not self._reason else self._reason


class WorkerProcess:
    """The worker process of one slot, and its successors: one process at a time."""

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
                why = "its output gives no reason" if reason == how else reason
                raise CrashLoop(f"worker '{self.slot}' {how}{times}: {why}")
            wait = self._policy.wait(deaths)
            self._log.error(
                "worker_ended", worker=self.slot, how=how_it_ended(exit_code), reason=reason, again_in_s=wait
            )
            await self._wait(wait)

    @property
    def state(self) -> object:
        """The content of its ready file; None while it is not ready."""
        try:
            return json.loads(self._ready_file.read_text(encoding="utf-8")) if self._ready_file else None
        except FileNotFoundError:
            return None

    def stop(self) -> None:
        """Tell the process to stop, and do not start it again."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill the process because it did not stop in time."""
        if self._process is not None and self._process.returncode is None:
            self._log.error("worker_killed", worker=self.slot, reason="it did not stop in time")
            self._process.kill()

    async def _run(self) -> int:
        self._last_words = LastWords()
        self._process = await asyncio.create_subprocess_exec(
            *leashed(self._command),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal reaches a whole process group, but the supervisor stops its workers itself.
            start_new_session=True,
        )
        self._log.info("worker_started", worker=self.slot, pid=self._process.pid)
        if self._stopping.is_set():
            self._process.terminate()
        assert self._process.stderr is not None
        await self._pass_on(self._process.stderr)
        exit_code = await self._process.wait()
        if self._ready_file is not None:
            # A process that is killed leaves it behind.
            self._ready_file.unlink(missing_ok=True)
        return exit_code

    async def _watch(self, steadiness: Steadiness) -> None:
        loop = asyncio.get_running_loop()
        while True:
            steadiness.seen(self._ready_file is None or self._ready_file.exists(), loop.time())
            await asyncio.sleep(LOOK_SECONDS)

    async def _pass_on(self, stderr: asyncio.StreamReader) -> None:
        """Pass on the process' stderr, and keep what may be the reason if it ends."""
        while True:
            try:
                line = await stderr.readline()
            except ValueError:
                continue  # the line is too long for the buffer; its rest comes next
            if not line:
                return
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
            self._last_words.hear(line.decode("utf-8", "replace"))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


class Supervisor:
    """Runs one worker process per slot. `command` returns the command line of a slot.

    A process that is ready writes its file of `ready_files`. `ready_file` exists while all processes are ready.
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
        self._workers = [WorkerProcess(slot, command(slot), self._policy, files.get(slot)) for slot in slots]
        self._ready_file = ReadyFile(ready_file) if ready_file else None
        self._told_to_stop = asyncio.Event()
        self._log = structlog.get_logger("halter.supervisor")

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop all workers. Raises CrashLoop."""
        asyncio.run(self.live())

    async def live(self) -> None:
        """Do the same as `run`, in a running event loop."""
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
        # Every task is asked for its exception: asyncio would log one that nobody asked for as a bug.
        if failures := [failure for keeper in keepers if (failure := keeper.exception()) is not None]:
            raise failures[0]

    async def _stop(self, keepers: Sequence["asyncio.Task[None]"]) -> None:
        """Stop all workers at once. One after the other, each would hand its shards to a worker that stops next."""
        self._log.info("stopping", workers=len(self._workers))
        for worker in self._workers:
            worker.stop()
        _, slow = await asyncio.wait(keepers, timeout=self._policy.stop)
        for worker in self._workers if slow else ():
            worker.kill()
        await asyncio.wait(keepers)
        self._log.info("stopped")

    async def _watch_readiness(self) -> None:
        """Keep the ready file there while the ready file of every worker is."""
        written: list[object] = []
        while self._ready_file is not None:
            states = [worker.state for worker in self._workers]
            if states != written:
                self._ready_file.write({"ready": None not in states, "processes": states})
                written = states
            await asyncio.sleep(LOOK_SECONDS)
