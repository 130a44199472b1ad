"""Real `halter worker` processes that are kept running: one that ends is started again, as a supervisor would."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.reading import wait_for

ROOT: Final = Path(__file__).parents[2]
STOP_SECONDS: Final = 20.0
READY_SECONDS: Final = 180.0
EXPECTED: Final = frozenset({0, -signal.SIGKILL, -signal.SIGTERM})


@dataclass(frozen=True)
class Program:
    """The program of a worker: the code in a folder, with the variables that this version needs."""

    name: str = "today's"
    folder: Path = ROOT
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Worker:
    """One member of the fleet, and the process that runs for it now."""

    name: str
    static: bool
    environment: Mapping[str, str]
    folder: Path
    proxied: bool = False
    program: Program = field(default_factory=Program)
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None
    held_until: float = 0.0
    """The time before which it is not started again."""
    shards: tuple[int, ...] = ()
    """The shards that it folded when it was last seen ready."""

    @property
    def ready_file(self) -> Path:
        return self.folder / f"{self.name}.ready"

    @property
    def log_file(self) -> Path:
        """The log of all processes of this member."""
        return self.folder / f"{self.name}.log"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def ready(self) -> bool:
        """Return True if the worker says that it is ready, and note its shards."""
        try:
            state = json.loads(self.ready_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if not self.running or self.process is None or state["pid"] != self.process.pid:
            return False
        self.shards = tuple(state["shards"])
        return True

    def start(self) -> None:
        self.starts += 1
        command = [sys.executable, "-m", "halter", "worker", "--ready-file", str(self.ready_file)]
        if self.static:
            command += ["--slot", self.name]
        with self.log_file.open("ab") as log:
            at = time.strftime("%H:%M:%S", time.gmtime())
            log.write(f"--- start {self.starts} at {at}, {self.program.name}\n".encode())
            self.process = subprocess.Popen(
                command,
                env={**self.environment, **self.program.variables},
                cwd=self.program.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self) -> None:
        """Stop it with SIGTERM. If it takes longer than STOP_SECONDS, kill it and count that."""
        self.send(signal.SIGTERM)
        if self.process is not None:
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def last_words(self) -> str:
        """The last line of the log that is not empty."""
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "")


@dataclass
class Fleet:
    """All workers. `members` is static, dynamic or mixed (every other one)."""

    bootstrap: str
    proxied_bootstrap: str
    environment: Mapping[str, str]
    folder: Path
    members: str = "mixed"
    program: Program = field(default_factory=Program)
    """The program of workers that are added."""
    workers: list[Worker] = field(default_factory=list)
    ended_by_themselves: Counter[str] = field(default_factory=Counter)
    """Exit codes and last log lines of workers that ended by themselves."""
    made: int = 0

    def add(self) -> Worker:
        """Add a worker. Every other one sees Kafka through the proxies."""
        number = self.made
        self.made += 1
        static = self.members == "static" or (self.members == "mixed" and number // 2 % 2 == 0)
        proxied = number % 2 == 1
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_"))}
        variables |= self.environment
        variables["KAFKA_BOOTSTRAP_SERVERS"] = self.proxied_bootstrap if proxied else self.bootstrap
        worker = Worker(f"worker-{number}", static, variables, self.folder, proxied, self.program)
        self.workers.append(worker)
        worker.start()
        return worker

    def remove(self, worker: Worker, *, by_force: bool) -> None:
        """Remove a worker."""
        self.workers.remove(worker)
        worker.kill() if by_force else worker.stop()

    def keep(self) -> None:
        """Start the workers again that have ended, unless they are held back."""
        for worker in self.workers:
            if worker.running or time.monotonic() < worker.held_until:
                continue
            code = worker.process.returncode if worker.process else 0
            if code not in EXPECTED:
                self.ended_by_themselves[f"{code}: {worker.last_words()[:300]}"] += 1
            worker.start()

    def all_ready(self) -> bool:
        """Return True if every worker folds all its shards."""
        self.keep()
        return all(worker.ready for worker in self.workers)

    def wait_ready(self) -> None:
        """Wait until that is so. Raises TimeoutError."""
        wait_for("readiness of all workers", self.all_ready, READY_SECONDS)

    def end(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.send(signal.SIGCONT)
            worker.send(signal.SIGTERM)
        for worker in self.workers:
            worker.stop()

    @property
    def starts(self) -> int:
        """The number of processes started in all."""
        return sum(worker.starts for worker in self.workers)

    def logged(self, text: str) -> int:
        """Return how often a text is in the logs of the workers."""
        return sum(path.read_text(errors="replace").count(text) for path in self.folder.glob("worker-*.log"))
