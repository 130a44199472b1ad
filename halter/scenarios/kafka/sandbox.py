"""The sandbox of one scenario: its topics and its worker, and their removal."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from halter.client import Client
from halter.files.scenario import Scenario
from halter.scenarios.kafka.engine import KafkaEngine
from halter.scenarios.kafka.view import View
from halter.scenarios.kafka.workers import WorkerProcess, Workers
from halter.topics import admin as topic_admin
from processors.codec import Codec
from processors.kafka.settings import Settings
from processors.runtime.group.clients import Clients, Slot
from processors.worker.scenario_worker import PARTITIONS, SLOT, Assignment, topics_for

REMOVAL_SECONDS: Final = 20.0
REQUEST_SECONDS: Final = 10.0
LOOK_AGAIN_SECONDS: Final = 0.05


class Sandbox:
    """A context manager that creates topics and gives them a worker; at the end it removes topics, group and worker."""

    def __init__(self, settings: Settings, prefix: str, scenario: Scenario, workers: Workers, codec: Codec) -> None:
        """`prefix` begins with the user's own prefix, which is in `settings`."""
        self._settings = replace(settings, prefix=prefix, partitions=PARTITIONS)
        self._assignment = Assignment(prefix, tuple(scenario.queues), scenario.limits)
        self._topics = topics_for(self._settings.topics(), self._assignment.queues)
        self._admin = AdminClient(self._settings.admin())
        self._scenario, self._workers, self._codec = scenario, workers, codec
        self._worker: WorkerProcess | None = None
        self._client: Client | None = None
        self._view: View | None = None
        self._may_have_topics = False
        self.left: list[str] = []
        """The names of topics and groups that could not be removed, and why. Set at the end."""

    def __enter__(self) -> Self:
        try:
            with self._settings.explaining("creating topics", self._admin):
                planned = topic_admin.plan(self._topics, self._admin, "auto")
                self._may_have_topics = True
                topic_admin.apply(planned, self._admin)
            self._client = Client.of(self._settings, self._topics, self._codec)
            self._view = View(self._settings, self._topics, self._codec)
        except BaseException:
            self.remove()
            raise
        return self

    def engine(self) -> KafkaEngine:
        """Start the worker, and return the engine that the scenario runs on."""
        assert self._client is not None
        assert self._view is not None
        worker = self._start_worker()
        scenario, parts = self._scenario, (worker, self._start_worker)
        return KafkaEngine(
            self._client, self._view, scenario.limits, scenario.start_ms, *parts, correlates=scenario.correlates
        )

    def _start_worker(self) -> WorkerProcess:
        self._worker = self._workers.take()
        self._worker.work_for(self._assignment)
        return self._worker

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove topics, group and worker. Those that cannot be removed are in `left`."""
        with uninterrupted():
            if self._worker is not None:
                # A worker may be killed at any time: what it has not committed did not happen.
                self._worker.kill()
                self.left += self._without_group()
            if self._view is not None:
                self._view.close()
            if self._client is not None:
                self._client.close()
            if self._may_have_topics:
                self.left += self._without_topics()

    def _without_group(self) -> list[str]:
        """Delete the group, and return its name and the reason if it stays.

        The worker was a static member: the group waits for its return, and Kafka deletes only empty groups. So this
        joins the group in the name of the worker and leaves it.
        """
        group, deadline = self._topics.group, time.monotonic() + REMOVAL_SECONDS
        member = Clients(self._settings, self._topics, Slot(SLOT, static=True)).member()
        joined = threading.Event()
        try:
            member.subscribe([self._topics.wf_commands], on_assign=lambda *_: joined.set())
            while not joined.is_set() and time.monotonic() < deadline:
                member.poll(LOOK_AGAIN_SECONDS)
            member.unsubscribe()
            while True:
                member.poll(LOOK_AGAIN_SECONDS)
                try:
                    self._admin.delete_consumer_groups([group], request_timeout=REQUEST_SECONDS)[group].result()
                except KafkaException as exception:
                    error = exception.args[0]
                    if error.code() == KafkaError.GROUP_ID_NOT_FOUND:
                        return []
                    if error.code() != KafkaError.NON_EMPTY_GROUP or time.monotonic() > deadline:
                        return [f"group {group} ({error.str()})"]
                else:
                    return []
        finally:
            member.close()

    def _without_topics(self) -> list[str]:
        names = [topic.name for topic in self._topics.all]
        left = []
        for name, future in self._admin.delete_topics(names, request_timeout=REQUEST_SECONDS).items():
            try:
                future.result()
            except KafkaException as exception:
                error = exception.args[0]
                if error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    left.append(f"topic {name} ({error.str()})")
        return left


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore signals during the block, so that a second Ctrl-C does not stop the removal. Only for the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
