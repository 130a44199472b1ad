"""Sends what becomes of attempts, and waits until Kafka has it: starts, progress, and the reports that finish them.

All records of an attempt have one key and one producer, so Kafka has them in the order in which they were sent. A
thread of its own takes whatever has arrived. It waits for no particular record, so a partition without a leader holds
up the reports of no other. A report is sent again while brokers are away. A start and progress are not: late they would
be worse than none.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

from confluent_kafka import KafkaError

from halter.client import Client, NotDelivered, Sending
from halter.task_worker.progress import Progress, Watched
from halter.task_worker.refused_reports import RefusedReports
from halter.task_worker.task import named
from halter.task_worker.work import Attempt, Work
from processors.core.records.commands import ReportTaskProgress, ReportTaskRun, StartTaskRun
from processors.core.records.events import TaskRequest
from processors.core.records.values import Value
from processors.kafka.client_errors import SILENCE
from processors.kafka.trace_context import Context

POLL_SECONDS: Final = 0.05
AGAIN_SECONDS: Final = 0.5
CLOSE_SECONDS: Final = 1.0
PASSING: Final = SILENCE | {
    KafkaError._MSG_TIMED_OUT,
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
}
"""Errors of a report that is sent again: brokers come and go."""
Told: TypeAlias = StartTaskRun | ReportTaskProgress | ReportTaskRun


@dataclass(eq=False, slots=True)
class Sent:
    """A record about an attempt that is on its way."""

    command: Told
    value: bytes
    request: TaskRequest
    attempt: Attempt | None = None
    """What is finished when Kafka has it; None for a start and for progress."""
    is_followed: bool = False
    """Whether it is logged if the engine refuses it."""
    again_at: float = 0.0
    """When it is sent again, once it has failed."""
    failures: int = 0
    context: Context | None = None
    """Its trace context, if tracing is on: another thread may have to send it again."""


class Reports:
    """The records that one run of a task worker sends. Safe for threads."""

    def __init__(
        self,
        client: Client,
        work: Work,
        refused: RefusedReports | None,
        fail: Callable[[BaseException], None],
        log: Any,
        monotonic: Callable[[], float],
    ) -> None:
        """`fail` is told why reports cannot be sent: then the run is over."""
        self._client, self._work, self._refused = client, work, refused
        self._fail, self._log, self._monotonic = fail, log, monotonic
        self._on_their_way: set[Sent] = set()
        self._arrived: SimpleQueue[tuple[Sent, Sending]] = SimpleQueue()
        self._failed: list[Sent] = []
        self._watched = Watched(monotonic)
        self._wake, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread. What is on its way arrives when the client is closed, and finishes nothing."""
        self._closed.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_SECONDS)

    # What is sent, from any thread.

    def start(self, request: TaskRequest) -> None:
        """Say that the handler of an attempt begins now."""
        command = StartTaskRun(*_identity(request))
        self._send(Sent(command, self._client.codec.encode(command), request))

    def progress_of(self, request: TaskRequest) -> Progress:
        """Return what sends the progress of an attempt: contents that are checked already."""

        def encode(content: Value) -> bytes:
            return self._client.codec.encode(ReportTaskProgress(*_identity(request), content))

        def send(value: bytes) -> None:
            self._send(Sent(ReportTaskProgress(*_identity(request)), value, request))

        def watch(progress: Progress) -> None:
            self._watched.add(progress)
            self._wake.set()

        return Progress(encode, send, watch)

    def report(self, attempt: Attempt, report: ReportTaskRun, value: bytes, *, is_followed: bool = True) -> None:
        """Report an attempt. It is finished when Kafka has the report."""
        self._send(Sent(report, value, attempt.request, attempt, is_followed))

    def _send(self, it: Sent) -> None:
        self._on_their_way.add(it)
        sending = self._client.send_soon(it.command, value=it.value, told=partial(self._told, it), parent=it.context)
        if sending.span is not None:
            it.context = sending.span.context
        self._wake.set()

    def _told(self, it: Sent, sending: Sending) -> None:
        """Take what librdkafka says, in whatever thread asks it: it may be a handler that uses the same client."""
        self._arrived.put((it, sending))

    # The thread.

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                if self._on_their_way:
                    self._client.poll_sent(POLL_SECONDS)
                else:
                    self._wake.wait(self._seconds())
                    self._wake.clear()
                self._take_arrived()
                self._send_again()
                self._watched.send_due()
        except BaseException as error:  # noqa: BLE001  `Session.run` raises it
            self._fail(error)

    def _seconds(self) -> float | None:
        """The time until something is to be sent that nobody wakes us for."""
        times = [it.again_at - self._monotonic() for it in self._failed]
        if (due := self._watched.seconds) is not None:
            times.append(due)
        return max(0.0, min(times)) if times else None

    def _take_arrived(self) -> None:
        while True:
            try:
                it, sending = self._arrived.get_nowait()
            except Empty:
                return
            self._on_their_way.discard(it)
            try:
                self._client.until_delivered([sending])  # it has been told: this waits for nothing
            except NotDelivered as error:
                self._not_delivered(it, sending, error)
            else:
                self._delivered(it, sending)

    def _delivered(self, it: Sent, sending: Sending) -> None:
        if it.attempt is not None:
            self._work.finish(it.attempt)
        if it.is_followed and self._refused is not None and sending.message is not None:
            self._refused.expect(sending.message, it.request)

    def _not_delivered(self, it: Sent, sending: Sending, error: NotDelivered) -> None:
        """Have a report sent again if brokers are only away. Raises the error if they refuse it."""
        if it.attempt is None:
            what = "start_not_sent" if isinstance(it.command, StartTaskRun) else "progress_not_sent"
            self._log.warning(what, **named(it.request), reason=str(error))
            return
        if sending.error is None or sending.error.code() not in PASSING:
            raise error
        self._log.warning("report_sent_again", **named(it.request), reason=str(error))
        # The first failure has taken its time already.
        it.again_at = self._monotonic() + (AGAIN_SECONDS if it.failures else 0.0)
        it.failures += 1
        self._failed.append(it)

    def _send_again(self) -> None:
        if self._failed:
            now = self._monotonic()
            due, self._failed = (
                [it for it in self._failed if it.again_at <= now],
                [it for it in self._failed if it.again_at > now],
            )
            for it in due:
                self._send(it)


def _identity(request: TaskRequest) -> tuple[str, int, int, int, int]:
    """Return what a record about an attempt repeats of its request, in the order of its fields."""
    return request.wf_run_id, request.incarnation, request.thread, request.position, request.attempt
