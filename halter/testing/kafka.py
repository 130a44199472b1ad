"""Halter on a real Kafka for tests: each has topics and a worker of its own, under a prefix of its own.

Two tests may register the same names for different definitions, so they share neither topics nor a worker. What that
takes is started ahead: while a test runs, topics and worker of the next one get ready.

Knows no pytest.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from halter.client import Client
from halter.client.history import History
from halter.processes.actor import Actor
from halter.processes.children import leashed
from halter.show.redaction import Redactor
from halter.task_worker.worker import TaskWorker
from halter.testing.report import WF_RUNS_MAX, table
from halter.topics import admin as topic_admin
from halter_kafka import COMMAND
from processors.core.records.errors import HalterError
from processors.core.records.events import LogEntry
from processors.extras import expect_extra
from processors.kafka.settings import Settings

FIXTURE: Final = "the fixture halter_kafka"
ADDRESS_FROM: Final = "HALTER_BOOTSTRAP"
REACH_SECONDS: Final = 3.0
READY_SECONDS: Final = 90.0
REQUEST_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.02
QUIET_SECONDS: Final = 0.2
"""Time without a new event after which the log is taken to be read."""
EAGER: Final[Mapping[str, str]] = {"KAFKA_FETCH_WAIT_MAX_MS": "10"}
"""Properties for workers that keep waits short: a test waits for each record."""


class TaskWorkerNotReady(HalterError):
    """A task worker of a test did not join its group in time. Whoever wrote the test looks at the log of the broker."""


def expect_installed() -> None:
    """Check that a broker and a worker can be started here. Raises ExtraMissing."""
    if not os.environ.get(ADDRESS_FROM):
        expect_extra("broker", FIXTURE)
    expect_extra("engine", FIXTURE)


class KafkaInstallation:
    """Halter on a Kafka, with a prefix of its own: topics, a worker, a client."""

    def __init__(self, bootstrap: str, folder: Path, *, partitions: int = 1) -> None:
        """Create the topics and start the worker. Its files are in `folder`. Raises KafkaUnavailable, ProcessEnded."""
        self.bootstrap, self.prefix = bootstrap, f"test-{secrets.token_hex(6)}-"
        self.partitions = partitions
        self.settings = Settings.load(
            None,
            {},
            {"bootstrap.servers": bootstrap},
            prefix=self.prefix,
            partitions=partitions,
            logs=False,
            overrides_are=ADDRESS_FROM if os.environ.get(ADDRESS_FROM) else "the embedded broker",
        )
        self.environment: Mapping[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_"))},
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "HALTER_PREFIX": self.prefix,
            "HALTER_PARTITIONS": str(partitions),
        }
        """Variables by which processes find it: commands, task workers, programs of yours."""
        self._topics = self.settings.topics()
        self._admin = AdminClient(self.settings.admin())
        self._closing = ExitStack()
        self._ended: list[BaseException] = []
        """Why task workers have ended that were to run on."""
        try:
            self.client: Client = self._closing.enter_context(Client.of(self.settings, self._topics))
            """A client of it."""
            self.client.reach(REACH_SECONDS)
            self._closing.callback(self._without_topics)
            with self.settings.explaining("creating topics", self._admin):
                topic_admin.make_so(self._topics, self._admin, replication="auto")
            command = leashed([*COMMAND, "worker"])
            self._worker = Actor("worker", command, folder, {**self.environment, **EAGER})
            self._closing.callback(self._worker.stop)
            self._worker.wait_ready(READY_SECONDS)
        except BaseException:
            self._closing.close()
            raise

    @property
    def worker_log(self) -> Path:
        """The file with the log of its worker."""
        return self._worker.log_file

    def work(self, worker: TaskWorker) -> None:
        """Let a task worker run until the test is over, and return when it takes tasks.

        Raises what `TaskWorker.run` raises, such as WorkerNotStarted if its functions do not fit their TaskDefs.
        """
        client = self._closing.enter_context(Client.of(self.settings, self._topics))
        raised: list[BaseException] = []

        def run() -> None:
            try:
                worker.run(client, grace_s=1)
            except BaseException as error:  # noqa: BLE001  the thread of the test raises it
                raised.append(error)
                self._ended.append(error)

        thread = threading.Thread(target=run, name="task-worker", daemon=True)
        thread.start()
        self._closing.callback(thread.join, REQUEST_SECONDS)
        self._closing.callback(worker.stop)
        deadline = time.monotonic() + READY_SECONDS
        while not worker.is_ready:
            if raised:
                raise raised[0]
            if time.monotonic() > deadline:
                raise TaskWorkerNotReady(f"expected the task worker to join its group within {READY_SECONDS:.0f} s")
            time.sleep(LOOK_SECONDS)

    def report(self, width: int = 100) -> str:
        """Return the histories of its WfRuns as tables, why task workers ended, and the end of the worker's log.

        Masked values are masked.
        """
        entries: dict[str, list[LogEntry]] = {}
        with self.client.follow(since="beginning", timeout_s=QUIET_SECONDS) as events:
            for it in events:
                entries.setdefault(it.wf_run_id, []).append(it.entry)
        redactor = Redactor(self.client.definitions())
        parts = [f"Kafka at {self.bootstrap}, prefix {self.prefix}"]
        parts += [table(History.of(it, redactor.entries(entries[it])), width) for it in list(entries)[-WF_RUNS_MAX:]]
        parts += [f"a task worker has ended: {type(it).__name__}: {it}" for it in self._ended]
        return "\n\n".join([*parts, f"the end of the worker's log ({self.worker_log}):\n{self._worker.log_end()}"])

    def close(self) -> None:
        """Stop what runs, and remove the topics."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _without_topics(self) -> None:
        names = [topic.name for topic in self._topics.all]
        for future in self._admin.delete_topics(names, request_timeout=REQUEST_SECONDS).values():
            with suppress(KafkaException):  # a topic that was never made; a broker that is gone
                future.result()


class Installations:
    """Installations on one Kafka, each started before it is asked for if more are expected."""

    def __init__(self, bootstrap: str, folder: Callable[[], Path], expected: int) -> None:
        """`folder` makes a folder for each. `expected` is a guess how many are needed in all."""
        self.bootstrap, self._folder, self._left = bootstrap, folder, expected
        self._starting = ThreadPoolExecutor(1, thread_name_prefix="halter-installation")
        self._next: Future[KafkaInstallation] | None = None

    @contextmanager
    def new(self, *, partitions: int = 1) -> Iterator[KafkaInstallation]:
        """Yield an installation that nobody has used, and remove it at the end.

        Raises KafkaUnavailable, ProcessEnded.
        """
        if partitions == 1:
            taken, self._next = self._next, None
            it = self._start(partitions) if taken is None else taken.result()
            self._left -= 1
            if self._left > 0:
                self._next = self._starting.submit(self._start, 1)
        else:
            it = self._start(partitions)
        with it:
            yield it

    def _start(self, partitions: int) -> KafkaInstallation:
        return KafkaInstallation(self.bootstrap, self._folder(), partitions=partitions)

    def close(self) -> None:
        """Remove the installation that was started and not used."""
        if self._next is not None and not self._next.cancel():
            with suppress(HalterError):
                self._next.result().close()
        self._starting.shutdown()
