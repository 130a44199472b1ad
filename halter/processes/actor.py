"""A process of ours with a log file and a ready file: started, waited for, stopped."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from halter.processes.children import how_it_ended, log_end, start_logged
from processors.core.records.errors import HalterError

STOP_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.02
Say: TypeAlias = Callable[[str], None]


class ProcessEnded(HalterError):
    """A process ended, or did not get ready. The message has the end of its log. Report it."""


class Actor:
    """One process of ours. Its log is `<name>.log`, its ready file `<name>.ready`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        takes_ready_file: bool = True,
    ) -> None:
        self.name = name
        self.log_file, self.ready_file = folder / f"{name}.log", folder / f"{name}.ready"
        # A process that was killed has left it behind.
        self.ready_file.unlink(missing_ok=True)
        ready = ["--ready-file", str(self.ready_file)] if takes_ready_file else []
        self._begins = self.log_file.stat().st_size if self.log_file.exists() else 0
        """Where its part of the log begins: others of its name have written before."""
        self.process = start_logged([*command, *ready], self.log_file, append=True, environment=environment)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self.process.pid

    def wait_ready(self, seconds: float, pass_on: Say | None = None) -> Mapping[str, Any]:
        """Wait for the ready file and return its content. `pass_on` gets the sentences of the log as they come."""
        deadline, seen, told = time.monotonic() + seconds, 0, False
        while (ready := self.ready) is None:
            ended = not self.is_running  # asked first, so that the last lines of its log are read below
            if pass_on is not None:
                lines = self.log().splitlines()
                for line in lines[seen:]:
                    if line.startswith(("halter: ", "  | ")):  # a sentence, or a log that it shows; others are results
                        pass_on(line.removeprefix("halter: "))
                        told = True
                seen = len(lines)
            if ended:
                # Lines that were passed on need not be printed again.
                words = " (see above)" if told else f":\n{self.log_end()}"
                raise ProcessEnded(f"the {self.name} {how_it_ended(self.process.returncode)}{words}")
            if time.monotonic() > deadline:
                raise ProcessEnded(f"the {self.name} was not ready within {seconds:.0f} s:\n{self.log_end()}")
            time.sleep(LOOK_SECONDS)
        return ready

    @property
    def ready(self) -> Mapping[str, Any] | None:
        """The content of the ready file; None while there is none, or only a part of it."""
        try:
            ready: Mapping[str, Any] = json.loads(self.ready_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return ready

    @property
    def is_running(self) -> bool:
        """Return True if the process runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """Send SIGKILL to the process and those it started, and wait until it has ended."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the process does not end in time."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def log(self) -> str:
        """Return what it has logged."""
        return self.log_file.read_bytes()[self._begins :].decode("utf-8", "replace")

    def last_words(self) -> str:
        """Return the sentence that it ended with, indented for a message; the last lines of its log if it has none."""
        lines = self.log().splitlines()
        begins = [number for number, line in enumerate(lines) if line.startswith("halter: ")]
        if not begins:
            return self.log_end()
        return "\n".join(f"  | {line.removeprefix('halter: ')}" for line in lines[begins[-1] :])

    def log_end(self) -> str:
        """Return the last lines of its log."""
        return log_end(self.log_file)
