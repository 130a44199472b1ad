"""A real installation for tests of what people touch: topics under a prefix, `halter worker`, the command line."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from halter import topic_admin
from halter.client import Client
from processors.settings import Settings

ROOT = Path(__file__).parents[2]


def wait_until(what: str, condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait for a condition, not for a time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.02)


class Halter:
    """An installation under a prefix of its own."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, partitions: int = 3) -> None:
        overrides: dict[str, str | None] = {"bootstrap.servers": bootstrap}
        self.settings = Settings.load(None, {}, overrides, prefix=prefix, partitions=partitions)
        self.topics = self.settings.topics()
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_"))},
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "HALTER_PREFIX": prefix,
            "HALTER_PARTITIONS": str(partitions),
            "COLUMNS": "200",
        }
        topic_admin.make_so(self.topics, AdminClient(self.settings.admin()), replication="auto")

    @contextmanager
    def process(self, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A Python process that says in a ready file when it is ready, and ends with the block."""
        log_file, ready_file = self.folder / f"{name}.log", self.folder / f"{name}.ready"
        with log_file.open("ab") as log:
            command = [sys.executable, *arguments, "--ready-file", str(ready_file)]
            process = subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:

            def is_ready() -> bool:
                assert process.poll() is None, log_file.read_text()
                return ready_file.exists()

            wait_until(f"readiness of {name}", is_ready, 60)
            yield process
        finally:
            process.terminate()
            process.wait(20)

    def worker(self, name: str = "worker") -> Any:
        """`halter worker`."""
        return self.process(name, "-m", "halter", "worker", "--slot", name)

    def client(self) -> Client:
        return Client(self.settings, self.topics)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`halter ARGUMENTS`."""
        return subprocess.run(
            [sys.executable, "-m", "halter", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            stdin=subprocess.DEVNULL,
        )
