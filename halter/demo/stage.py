"""The processes of the demo. Each is a command that anybody could type, and has a log file of its own.

They get a clean environment, so that variables for another Kafka reach neither them nor the processes they start.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from halter.processes.children import how_it_ended, leashed, log_end, start_logged
from halter_kafka import COMMAND
from processors.codec.resources import resource
from processors.core.records.errors import HalterError

START_SECONDS: Final = 90.0
DOWNLOAD_SECONDS: Final = 1_800.0
STOP_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.02

KEPT_VARIABLES: Final = frozenset({"HALTER_CACHE", "HALTER_MAVEN_REPOSITORY", "HALTER_TRACEBACK"})

Say = Callable[[str], None]


class ProcessEnded(HalterError):
    """A process of the demo ended, or did not get ready. The message has the end of its log. Report it."""


class Actor:
    """One process of the demo. Its log is `<name>.log`, its ready file `<name>.ready`."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log_file, self.ready_file = folder / f"{name}.log", folder / f"{name}.ready"
        # A process that was killed has left it behind.
        self.ready_file.unlink(missing_ok=True)
        ready = ["--ready-file", str(self.ready_file)]
        self.process = start_logged([*command, *ready], self.log_file, append=True, environment=environment)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self.process.pid

    def wait_ready(self, seconds: float, pass_on: Say | None = None) -> Mapping[str, Any]:
        """Wait for the ready file and return its content. `pass_on` gets the lines of the log as they come."""
        deadline, told = time.monotonic() + seconds, 0
        while not self.ready_file.exists():
            ended = not self.is_running  # asked first, so that the last lines of its log are read below
            if pass_on is not None:
                lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
                for line in lines[told:]:
                    pass_on(line.removeprefix("halter: "))
                told = len(lines)
            if ended:
                # Lines that were passed on need not be printed again.
                words = " (see above)" if pass_on is not None and told else f":\n{self.log_end()}"
                raise ProcessEnded(f"the {self.name} {how_it_ended(self.process.returncode)}{words}")
            if time.monotonic() > deadline:
                raise ProcessEnded(f"the {self.name} was not ready within {seconds:.0f} s:\n{self.log_end()}")
            time.sleep(LOOK_SECONDS)
        ready: Mapping[str, Any] = json.loads(self.ready_file.read_text(encoding="utf-8"))
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

    def log_end(self) -> str:
        """Return the last lines of its log."""
        return log_end(self.log_file)


class Stage:
    """The processes of the demo and their folder: a context manager that stops them and removes the folder."""

    def __init__(self, say: Say, *, keep: bool = False) -> None:
        """With `keep` the processes live on. Otherwise they end with this process, however it ends."""
        self._say, self._keep = say, keep
        self.folder = Path(tempfile.mkdtemp(prefix="halter-demo-"))
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KAFKA_", "HALTER_")) or name in KEPT_VARIABLES
        }
        # Their temporary files are removed with the folder.
        self.environment["TMPDIR"] = str(self.folder)
        self.actors: dict[str, Actor] = {}

    def start_broker(self, port: int) -> str:
        """Start the embedded broker, and return its bootstrap servers."""
        command = [*COMMAND, "broker", "--port", str(port), "--data", str(self.folder / "broker-data")]
        broker = self._start("broker", command)
        return str(broker.wait_ready(DOWNLOAD_SECONDS, self._say)["bootstrap"])

    def use(self, bootstrap: str, prefix: str, partitions: int) -> None:
        """Tell the processes that are started from now on where Kafka is."""
        self.environment |= {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "HALTER_PREFIX": prefix,
            "HALTER_PARTITIONS": str(partitions),
        }

    def start_worker(self) -> Actor:
        """Start a worker, always in the same slot, and wait until it is ready."""
        worker = self._start("worker", [*COMMAND, "worker", "--slot", "demo"])
        worker.wait_ready(START_SECONDS)
        return worker

    def start_task_worker(self) -> Actor:
        """Start the task worker of the cart, and wait until it is ready."""
        tasks = self._start("task-worker", [*COMMAND, "task-worker", f"{resource('examples/cart/tasks.py')}:worker"])
        tasks.wait_ready(START_SECONDS)
        return tasks

    def _start(self, name: str, command: Sequence[str]) -> Actor:
        actor = Actor(name, command if self._keep else leashed(command), self.folder, self.environment)
        self.actors[name] = actor
        return actor

    def expect_all_running(self) -> None:
        """Raise ProcessEnded if a process has ended."""
        for actor in self.actors.values():
            if not actor.is_running:
                raise ProcessEnded(f"the {actor.name} {how_it_ended(actor.process.returncode)}:\n{actor.log_end()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._keep and kind is None:
            return
        # The broker stops last: the other processes would log errors if it stopped before them.
        for actor in reversed(self.actors.values()):
            if actor.is_running:
                actor.stop()
        if kind is None or not issubclass(kind, HalterError):
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            shutil.rmtree(self.folder / "broker-data", ignore_errors=True)
            self._say(f"the logs of the processes are in {self.folder}")
