"""An installation on a test's Kafka: topics, inputs that are posted, worker processes, and the verdict."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient

from halter.topics import admin as topic_admin
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics
from tests.support.ledger import Ledger
from tests.support.waiting import wait_until

SHORT_SESSIONS: Mapping[str, str] = {"KAFKA_SESSION_TIMEOUT_MS": "2000", "KAFKA_HEARTBEAT_INTERVAL_MS": "500"}
"""Variables for workers, so that tests need not wait long until a death is noticed."""


@dataclass
class WorkerProcess:
    """A worker with the counting fold. Its log is kept in a file."""

    process: subprocess.Popen[bytes]
    log_file: Path
    ready_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    @property
    def ready(self) -> Mapping[str, Any] | None:
        """The content of the ready file; None while there is none."""
        try:
            state: Mapping[str, Any] = json.loads(self.ready_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return state

    @property
    def shards(self) -> list[int]:
        state = self.ready
        return list(state["shards"]) if state else []

    def wait_ready(self, seconds: float = 40.0) -> None:
        def is_ready() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
            return self.ready is not None

        wait_until(f"readiness of {self.log_file.stem}", is_ready, seconds)

    def wait_logged(self, text: str, seconds: float = 40.0) -> None:
        wait_until(f"{text!r} in {self.log_file}", lambda: text in self.log, seconds)

    def wait_end(self, seconds: float = 40.0) -> int:
        """Wait for the end, and return the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:.0f} s:\n{self.log}") from None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM, and return the exit code and the seconds that the stop took."""
        begun = time.monotonic()
        self.send(signal.SIGTERM)
        return self.wait_end(), time.monotonic() - begun


@dataclass
class Installation:
    """Topics under a prefix of their own, with `partitions` shards: a context manager that ends its workers."""

    bootstrap: str
    prefix: str
    folder: Path
    partitions: int = 4
    variables: Mapping[str, str] = field(default_factory=lambda: SHORT_SESSIONS)
    workers: list[WorkerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = Settings.load(
            None, {}, {"bootstrap.servers": self.bootstrap}, prefix=self.prefix, partitions=self.partitions
        )
        self.topics: Topics = self.settings.topics()
        self.admin = AdminClient(self.settings.admin())
        self.ledger = Ledger(self.settings)
        self.producer = Producer(self.settings.producer(linger_ms=0))
        self._posted = 0

    def __enter__(self) -> Self:
        topic_admin.make_so(self.topics, self.admin, replication="auto")
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        for worker in self.workers:
            if error is not None:
                print(f"{worker.log_file.stem}, exit code {worker.process.poll()}:\n{worker.log[-10_000:]}")
            if worker.process.poll() is None:
                worker.send(signal.SIGCONT)
                worker.kill()

    def worker(
        self, slot: str, *, static: bool = False, module: str = "tests.support.counting_worker", **env: str
    ) -> WorkerProcess:
        """Start a worker process. `env` adds variables."""
        name = f"{slot}-{len(self.workers)}"
        log_file, ready_file = self.folder / f"{name}.log", self.folder / f"{name}.ready"
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_"))}
        variables |= {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "HALTER_PREFIX": self.prefix,
            "HALTER_PARTITIONS": str(self.partitions),
            **self.variables,
            **env,
        }
        command = [
            sys.executable,
            "-m",
            module,
            "--slot",
            slot,
            "--ready-file",
            str(ready_file),
        ]
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [*command, *(["--static"] if static else [])],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(WorkerProcess(process, log_file, ready_file))
        return self.workers[-1]

    def post(self, topic: str, key: str, **fields: Any) -> tuple[str, int, int]:
        """Post one record, and return its logical topic, partition and offset."""
        went: list[Message] = []

        def delivered(error: object, message: Message) -> None:
            assert error is None, error
            went.append(message)

        self.producer.produce(self.prefix + topic, json.dumps(fields).encode(), key.encode(), on_delivery=delivered)
        self.producer.flush(20)
        return topic, went[0].partition() or 0, went[0].offset() or 0

    def post_many(self, count: int, keys: int = 20, **fields: Any) -> None:
        """Post records to all inputs in turn, as one burst."""
        for _ in range(count):
            topic = self.topics.inputs[self._posted % 3]
            self.producer.produce(topic, json.dumps(fields).encode(), f"key-{self._posted % keys}".encode())
            self._posted += 1
        assert self.producer.flush(60) == 0

    def trickle(self, every_seconds: float = 0.01) -> "Trickle":
        """Post records one by one in the background, so that turns are many and small."""
        return Trickle(self, every_seconds)

    def verdict_when_folded(self, seconds: float = 60.0) -> Any:
        """Wait until all inputs that are there are folded, then compare everything with everything."""
        self.ledger.wait_until_folded(self.ledger.inputs(), seconds)
        return self.ledger.verdict()


class Trickle:
    """Posts in a thread of its own as long as the `with` block runs. Every tenth record arms a timer that is due."""

    def __init__(self, installation: Installation, every_seconds: float) -> None:
        self._installation, self._every = installation, every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._post, daemon=True)

    def _post(self) -> None:
        number = 0
        while not self._over.wait(self._every):
            self._installation.post_many(1, **({"timer_ms": 1} if number % 10 == 0 else {}))
            number += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def installation(bootstrap: str, prefix: str, folder: Path, **more: Any) -> Iterator[Installation]:
    """Yield an installation, as the body of a fixture."""
    with Installation(bootstrap, prefix, folder, **more) as it:
        yield it
