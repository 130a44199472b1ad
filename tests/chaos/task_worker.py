"""A task worker that succeeds, fails, reports twice or stays silent, depending on the identity of the attempt."""

import threading
from collections.abc import Callable
from zlib import crc32

from confluent_kafka import KafkaException

from halter.client import Client, Sending
from halter.client.errors import InvalidArgument
from halter.task_worker import BusinessException, Task, TaskWorker
from processors.core.records.commands import Command, DefinitionCommand
from processors.core.records.errors import HalterError
from processors.core.records.values import Value
from processors.kafka.settings import Settings
from processors.kafka.trace_context import Context


class Stuttering(Client):
    """A client that sends every fourth report twice, as if the first one had not been acknowledged."""

    _sent = 0

    def send_soon(
        self,
        command: Command | DefinitionCommand,
        timestamp_ms: int | None = None,
        value: bytes | None = None,
        told: Callable[[Sending], None] | None = None,
        parent: Context | None = None,
    ) -> Sending:
        self._sent += 1
        if self._sent % 4 == 0:
            super().send_soon(command, timestamp_ms, value, parent=parent)
        return super().send_soon(command, timestamp_ms, value, told, parent)


def chance(task: Task) -> int:
    """Return 0 to 99, the same for the same attempt."""
    return crc32(f"{task.idempotency_key}/{task.request.attempt}".encode()) % 100


def charge(task: Task) -> Value:
    if chance(task) < 20:
        raise RuntimeError("the bank does not answer")
    return f"receipt for {task.input['cents']!r}"


def record(task: Task) -> Value:
    if chance(task) < 5:
        raise RuntimeError("the disk is full")
    return None


def load(task: Task) -> Value:
    if chance(task) < 25:
        raise RuntimeError("too heavy")
    return task.input["item"]


def compute(task: Task) -> Value:
    luck = chance(task)
    if luck < 40:
        raise RuntimeError("does not converge")
    if luck < 55:
        raise BusinessException("no-solution", "there is none", {"tried": luck})
    return luck


HANDLERS = {"charge": charge, "record": record, "load": load, "compute": compute}
"""No worker handles `silent`, so its attempts time out."""


class Reporter:
    """Runs a task worker in a thread, and another one when it ends: the death of a broker may end it."""

    def __init__(self, settings: Settings) -> None:
        self.restarts = 0
        self._mistake: InvalidArgument | None = None
        self._settings, self._over = settings, threading.Event()
        self._worker: TaskWorker | None = None
        self._thread = threading.Thread(target=self._run, name="task-worker", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with Stuttering.of(self._settings) as client, TaskWorker(client, HANDLERS) as worker:
                    self._worker = worker
                    if not self._over.is_set():
                        worker.run()
            except InvalidArgument as mistake:  # ours: no restart mends it
                self._mistake = mistake
                return
            except (HalterError, KafkaException):
                self.restarts += 1
                self._over.wait(0.5)

    def stop(self) -> None:
        """Stop reporting. Raises what was wrong with how the task worker is used: then nothing was reported."""
        self._over.set()
        if self._worker is not None:
            self._worker.stop()
        self._thread.join(60)
        if self._mistake is not None:
            raise self._mistake
