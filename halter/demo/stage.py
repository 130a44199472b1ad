"""The processes of the demo: each one a command that anybody could type, with its own log file.

They get a clean environment: variables for other Kafka clusters must not reach them, nor what they start.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from halter.processes import leash
from halter_kafka import COMMAND
from processors.codec.resources import resource
from processors.core.records.errors import HalterError

START_SECONDS: Final = 90.0
DOWNLOAD_SECONDS: Final = 1_800.0
STOP_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.02
LOG_LINES_SHOWN: Final = 12
KEPT_VARIABLES: Final = frozenset({"HALTER_CACHE", "HALTER_MAVEN_REPOSITORY", "HALTER_TRACEBACK"})

Say = Callable[[str], None]


class ProcessEnded(HalterError):
    """A process of the demo ended, or did not get ready. The message has the end of its log."""


class Actor:
    """One process. Its log is `<name>.log`; `ready` is what its ready file says."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log_file, self.ready_file = folder / f"{name}.log", folder / f"{name}.ready"
        # Who was killed has left it behind.
        self.ready_file.unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--ready-file", str(self.ready_file)],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the demo, which then stops the others in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def wait_ready(self, seconds: float, pass_on: Say | None = None) -> Mapping[str, Any]:
        """Wait for the ready file. `pass_on` gets the lines of its log as they come."""
        deadline, told = time.monotonic() + seconds, 0
        while not self.ready_file.exists():
            ended = not self.is_running  # asked first, so that its last words are read below
            if pass_on is not None:
                lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
                for line in lines[told:]:
                    pass_on(line.removeprefix("halter: "))
                told = len(lines)
            if ended:
                # What was passed on need not be said again.
                words = " (see above)" if pass_on is not None and told else f":\n{self.log_end()}"
                raise ProcessEnded(f"the {self.name} ended with exit code {self.process.returncode}{words}")
            if time.monotonic() > deadline:
                raise ProcessEnded(f"the {self.name} was not ready within {seconds:.0f} s:\n{self.log_end()}")
            time.sleep(LOOK_SECONDS)
        ready: Mapping[str, Any] = json.loads(self.ready_file.read_text(encoding="utf-8"))
        return ready

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL to it and all that it started, and wait until it is gone."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what does not heed it."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def log_end(self) -> str:
        """The last lines of its log."""
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-LOG_LINES_SHOWN:]) or "  | (it said nothing)"


class Stage:
    """A folder with the processes in it; a context manager that stops them and removes the folder, unless kept."""

    def __init__(self, say: Say, *, keep: bool = False) -> None:
        """`keep`: the processes are to live on; else they end with this one, however it ends."""
        self._say, self._keep = say, keep
        self.folder = Path(tempfile.mkdtemp(prefix="halter-demo-"))
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KAFKA_", "HALTER_")) or name in KEPT_VARIABLES
        }
        # What they put into the temporary folder goes with the rest.
        self.environment["TMPDIR"] = str(self.folder)
        self.actors: dict[str, Actor] = {}

    def start_broker(self, port: int) -> str:
        """Start the embedded broker; return its bootstrap servers."""
        command = [*COMMAND, "broker", "--port", str(port), "--data", str(self.folder / "broker-data")]
        broker = self._start("broker", command)
        return str(broker.wait_ready(DOWNLOAD_SECONDS, self._say)["bootstrap"])

    def use(self, bootstrap: str, prefix: str, partitions: int) -> None:
        """Tell the processes from now on where Kafka is."""
        self.environment |= {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "HALTER_PREFIX": prefix,
            "HALTER_PARTITIONS": str(partitions),
        }

    def start_worker(self) -> Actor:
        """Start a worker, always in the same slot; it is ready when it folds."""
        worker = self._start("worker", [*COMMAND, "worker", "--slot", "demo"])
        worker.wait_ready(START_SECONDS)
        return worker

    def start_task_worker(self) -> Actor:
        """Start the task worker of the cart."""
        tasks = self._start("task-worker", [sys.executable, str(resource("examples/cart/tasks.py"))])
        tasks.wait_ready(START_SECONDS)
        return tasks

    def _start(self, name: str, command: Sequence[str]) -> Actor:
        tied = [] if self._keep else [sys.executable, "-I", "-S", leash.__file__, str(os.getpid())]
        actor = Actor(name, [*tied, *command], self.folder, self.environment)
        self.actors[name] = actor
        return actor

    def expect_all_running(self) -> None:
        """Raises ProcessEnded if one is not."""
        for actor in self.actors.values():
            if not actor.is_running:
                raise ProcessEnded(
                    f"the {actor.name} ended with exit code {actor.process.returncode}:\n{actor.log_end()}"
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._keep and kind is None:
            return
        # A broker that stops first would make the others complain for nothing.
        for actor in reversed(self.actors.values()):
            if actor.is_running:
                actor.stop()
        if kind is None or not issubclass(kind, HalterError):
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            shutil.rmtree(self.folder / "broker-data", ignore_errors=True)
            self._say(f"the logs of the processes are in {self.folder}")
