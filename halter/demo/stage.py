"""The processes of the demo. Each is a command that anybody could type, and has a log file of its own.

They get a clean environment, so that variables for another Kafka reach neither them nor the processes they start.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from halter.processes.actor import Actor, ProcessEnded, Say
from halter.processes.children import how_it_ended, leashed
from halter_kafka import COMMAND
from processors.codec.resources import resource
from processors.core.records.errors import HalterError

START_SECONDS: Final = 90.0
DOWNLOAD_SECONDS: Final = 1_800.0

KEPT_VARIABLES: Final = frozenset({"HALTER_CACHE", "HALTER_MAVEN_REPOSITORY", "HALTER_TRACEBACK"})


class Stage:
    """The processes of the demo and their folder: a context manager that stops them and removes the folder."""

    def __init__(self, say: Say) -> None:
        """The processes end with this process, however it ends."""
        self._say = say
        self.folder = Path(tempfile.mkdtemp(prefix="halter-demo-"))
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KAFKA_", "HALTER_")) or name in KEPT_VARIABLES
        }
        # Their temporary files are removed with the folder.
        self.environment["TMPDIR"] = str(self.folder)
        self.actors: dict[str, Actor] = {}
        self.commands: dict[str, Sequence[str]] = {}
        """The command line of each."""

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
        actor = Actor(name, leashed(command), self.folder, self.environment)
        self.actors[name], self.commands[name] = actor, command
        return actor

    def expect_all_running(self) -> None:
        """Raise ProcessEnded if a process has ended."""
        for actor in self.actors.values():
            if not actor.is_running:
                raise ProcessEnded(f"the {actor.name} {how_it_ended(actor.process.returncode)}:\n{actor.log_end()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # The broker stops last: the other processes would log errors if it stopped before them.
        for actor in reversed(self.actors.values()):
            if actor.is_running:
                actor.stop()
        if kind is None or not issubclass(kind, HalterError):
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            shutil.rmtree(self.folder / "broker-data", ignore_errors=True)
            self._say(f"the logs of the processes are in {self.folder}")
