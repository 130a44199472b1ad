"""A task worker: takes task attempts from a queue, runs a handler for each, and reports the result.

    def charge(task: Task) -> Value:
        if task.input["amount"] > 500:
            raise BusinessException("card-declined", "the limit is 500")
        return {"receipt": "r-1"}

    with Client(settings) as client, TaskWorker(client, {"charge": charge}) as worker:
        worker.run()

An attempt may be handed out twice, when a task worker dies or its group is rebalanced. Handlers must therefore be
idempotent; the engine refuses a second report of the same attempt. Attempts past their deadline are not run: the engine
has timed them out, or is about to.

Requests are taken one by one, and each report is sent when its handler returns. So a result does not wait for the
handlers behind it, and the group hears from the task worker between two tasks. Only a handler that takes longer than
`max.poll.interval.ms` (5 minutes, unless set) loses its partitions to another task worker. Offsets are committed for
many requests at once, after Kafka has the reports of all of them.
"""

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from halter.client import Client, Sending
from halter.client.registry import until_answered, until_prepared
from halter.task_worker.refused_reports import RefusedReports
from processors.codec import Record
from processors.core.records.commands import ReportTaskRun, TaskStatus
from processors.core.records.errors import HalterError
from processors.core.records.events import TaskRequest
from processors.core.records.names import NAME_LENGTH_MAX, check_exception_name, is_name
from processors.core.records.value_checks import check_text
from processors.core.records.values import TellableProblem, Value

POLL_SECONDS: Final = 0.1
UNCOMMITTED_MAX: Final = 500
"""Largest number of requests that are done and not committed. After a death another task worker does them again."""
COMMIT_SECONDS: Final = 0.5
"""Longest time between two commits, apart from the time that a handler takes."""
MESSAGE_LENGTH_MAX: Final = 2_000
FRAMES_MAX: Final = 50
TRACEBACK_LENGTH_MAX: Final = 20_000
NEEDED: Final = frozenset({TaskRequest.__name__, ReportTaskRun.__name__})
"""The records that a task worker reads and writes."""


class BadExceptionName(HalterError, ValueError):
    """A business exception cannot have this name. Whoever wrote the handler chooses another."""


class BusinessException(Exception):
    """Raised by a handler when the business says no: the task ends in EXCEPTION with this name, and is not retried.

    The WfSpec says what happens then. A name has up to 128 letters, digits, `-` and `_`, and is none of the engine's,
    such as TIMEOUT. For other names BadExceptionName is raised, which fails the attempt.
    """

    def __init__(self, name: str, message: str = "", content: Value = None) -> None:
        super().__init__(message)
        _check_exception_name(name)
        self.name, self.message, self.content = name, message, content


def _check_exception_name(name: object) -> None:
    try:
        check_text(name, "the name of a BusinessException")
        check_exception_name(str(name))
    except TellableProblem as problem:
        raise BadExceptionName(str(problem)) from None


class WorkerNotStarted(HalterError):
    """A task worker was given no handlers, or things that are no handlers. Whoever wrote it gives it handlers."""


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt of one task, as a handler gets it."""

    input: Mapping[str, Value]
    request: TaskRequest

    @property
    def idempotency_key(self) -> str:
        """A key that is the same for every attempt of this visit of the node, and different for everything else."""
        it = self.request
        return f"{it.wf_run_id}/{it.incarnation}/{it.thread}/{it.position}"


Handler = Callable[[Task], Value]


def _check_handlers(handlers: object) -> None:
    """Raise WorkerNotStarted for things that cannot be the handlers of a task worker."""
    if not isinstance(handlers, Mapping):
        raise WorkerNotStarted(
            f"expected handlers as a mapping of a TaskDef's name to what is called, found {_kind(handlers)}"
        )
    if not handlers:
        raise WorkerNotStarted("expected a handler for at least one TaskDef, found none")
    for name, handler in handlers.items():
        if not isinstance(name, str):
            raise WorkerNotStarted(f"handlers: expected names of TaskDefs, found {_kind(name)}")
        if not is_name(name):
            raise WorkerNotStarted(
                f"handlers: expected names of TaskDefs, of at most {NAME_LENGTH_MAX} letters, digits and - (not first "
                f"or last), found {name[:80]!r}"
            )
        if not callable(handler):
            raise WorkerNotStarted(f"handlers[{name!r}]: expected a function of one Task, found {_kind(handler)}")


def _kind(thing: object) -> str:
    return "None" if thing is None else type(thing).__name__


def report_of(request: TaskRequest, **result: Any) -> ReportTaskRun:
    """The report of an attempt, which repeats the identity of the request."""
    return ReportTaskRun(
        wf_run_id=request.wf_run_id,
        incarnation=request.incarnation,
        thread=request.thread,
        position=request.position,
        attempt=request.attempt,
        **result,
    )


def named(request: TaskRequest) -> dict[str, Any]:
    """The fields that name an attempt in a line of our log."""
    return {
        "task_def": request.task_def,
        "wf_run_id": request.wf_run_id,
        "thread": request.thread,
        "attempt": request.attempt,
    }


def text_of(exception: Exception) -> str:
    """The class and the text of an exception. Only the class, if making the text raises as well."""
    try:
        return f"{type(exception).__name__}: {exception}"
    except Exception:  # noqa: BLE001  as above
        return type(exception).__name__


def traceback_of(exception: Exception) -> str:
    """The traceback of an exception, as text of a bounded size.

    It is made here, because the tracebacks of the logging library show the values of variables, also of masked ones,
    and take minutes for a long message.
    """
    lines = traceback.TracebackException.from_exception(exception, limit=-FRAMES_MAX).format()
    return "".join(lines)[:TRACEBACK_LENGTH_MAX].rstrip()


class TaskWorker:
    """Runs the tasks of one queue for which it has handlers, one after the other. Several task workers share a queue.

    It passes over requests for other tasks: task workers of another group may have handlers for them.
    """

    def __init__(
        self,
        client: Client,
        handlers: Mapping[str, Handler],
        *,
        queue: str | None = None,
        group: str | None = None,
        follow_reports: bool = True,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Task workers with the same handlers share a `group`. Name one if others with other handlers use the queue.

        With `follow_reports`, the task worker reads on `wf-events` what becomes of its reports, and logs refused ones.
        """
        _check_handlers(handlers)
        self._client, self._handlers, self._clock_ms, self._monotonic = client, dict(handlers), clock_ms, monotonic
        self._reports: list[tuple[TaskRequest, Sending] | None] = []
        """Requests and reports whose offsets are not committed. None stands for a request without a report."""
        self._done: dict[tuple[str, int], int] = {}
        """The offset after the last of them, for each topic and partition."""
        self._commit_at = 0.0
        self._topic = client.topics.task_queue(queue)
        self._group = client.topics.task_group if group is None else f"{client.topics.task_group}-{group}"
        self._stopped = False
        self._log = structlog.get_logger("halter.task-worker")
        self._refused = None
        if follow_reports:
            self._refused = RefusedReports(
                client.settings, client.codec, client.topics.wf_events, self._group, self._log
            )
        self._consumer = Consumer(
            client.settings.consumer(
                group_id=self._group,
                # A new group begins at the oldest request. Requests past their deadline are passed over.
                auto_offset_reset="earliest",
                fetch_wait_max_ms=50,
            )
        )

    def run(self) -> None:
        """Take and run tasks until `stop`.

        Raises KafkaUnavailable if the cluster refuses us, TopicMissing or PartitionsDiffer if its topics are not as we
        believe.
        """
        with self._client.settings.explaining(f"taking tasks from '{self._topic}'", self._consumer):
            for topic in (self._topic, self._client.topics.task_reports):
                self._client.reader.expect(topic)
            # If the report cannot be written, the task is done in vain.
            until_prepared(self._client.codec, self._log, NEEDED, lambda: self._stopped)
            self._consumer.subscribe([self._topic], on_revoke=self._revoked)
            while not self._stopped:
                self._take_next()
            self._commit_reported()

    def stop(self) -> None:
        """Let `run` return after the present task. Signal handlers and other threads may call it."""
        self._stopped = True

    def _take_next(self) -> None:
        """Take a request if there is one, and commit what was done before if it is time."""
        message = self._consumer.poll(POLL_SECONDS)
        if message is not None:
            self._take(message)
        if message is None or len(self._reports) >= UNCOMMITTED_MAX or self._monotonic() >= self._commit_at:
            self._commit_reported()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() in (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
                return
            raise KafkaException(error)
        value, codec = message.value() or b"", self._client.codec
        record = until_answered(lambda: codec.decode(value), self._log, lambda: self._stopped)
        if record is None:
            return  # told to stop: the request stays in the queue
        request = self._request(record)
        if request is None:
            self._reports.append(None)
        else:
            report, value = self._attempt(request)
            self._reports.append((request, self._client.send_soon(report, value=value)))
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        self._done[topic, partition] = offset + 1

    def _commit_reported(self) -> None:
        """Wait until Kafka has all reports, and then commit their offsets."""
        if self._done:
            reported = [it for it in self._reports if it is not None]
            self._client.until_delivered(sending for _, sending in reported)
            offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in self._done.items()]
            self._reports.clear()
            self._done.clear()
            self._commit(offsets)
            for request, sending in reported:
                if self._refused is not None and sending.message is not None:
                    self._refused.expect(sending.message, request)
        self._commit_at = self._monotonic() + COMMIT_SECONDS

    def _revoked(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        """Commit before another task worker gets our partitions, so that it does not run the same requests again."""
        try:
            self._commit_reported()
        except (HalterError, KafkaException) as error:
            self._log.warning("offsets_not_committed", reason=str(error))

    def _commit(self, offsets: list[TopicPartition]) -> None:
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as exception:
            # Others have our partitions now. They run these requests again, and the engine refuses the second reports.
            self._log.warning("offsets_not_committed", reason=str(exception.args[0]))

    def _request(self, request: Record) -> TaskRequest | None:
        """The request in a record; None if it is for others or past its deadline."""
        if not isinstance(request, TaskRequest) or request.task_def not in self._handlers:
            return None
        if request.deadline_ms <= self._clock_ms():
            self._log.warning("expired", **named(request))
            return None
        return request

    def _attempt(self, request: TaskRequest) -> tuple[ReportTaskRun, bytes]:
        """Run the handler of a request. Returns the report and its bytes."""
        result: dict[str, Any]
        try:
            output = self._handlers[request.task_def](Task(request.input, request))
            result = {"status": TaskStatus.SUCCESS, "output": output}
        except Exception as exception:  # noqa: BLE001  all that a handler raises fails the attempt, and not the worker
            result = self._raised(request, exception)
        try:
            if result["status"] is TaskStatus.EXCEPTION:
                _check_exception_name(result["failure_name"])  # a subclass may have set it since
            return self._checked(report_of(request, **result))
        except (HalterError, TypeError) as error:  # TypeError: from the classes of a compiled core
            self._log.warning("result_unfit", **named(request), error=str(error))
            message = f"its result cannot be reported: {error}"[:MESSAGE_LENGTH_MAX]
            return self._checked(report_of(request, status=TaskStatus.FAILED, message=message))

    def _raised(self, request: TaskRequest, exception: Exception) -> dict[str, Any]:
        """The fields of the report about an exception of a handler."""
        if isinstance(exception, BusinessException):
            try:
                return {
                    "status": TaskStatus.EXCEPTION,
                    "failure_name": exception.name,
                    "message": exception.message,
                    "content": exception.content,
                }
            except Exception as incomplete:  # noqa: BLE001  a subclass that has not called our __init__
                exception = incomplete
        text = text_of(exception)
        # The log has the line at fault, for whoever wrote the handler. The report has only the sentence.
        self._log.warning("attempt_failed", **named(request), error=text, stack=traceback_of(exception))
        return {"status": TaskStatus.FAILED, "message": text[:MESSAGE_LENGTH_MAX]}

    def _checked(self, report: ReportTaskRun) -> tuple[ReportTaskRun, bytes]:
        return report, self._client.check(report)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()
        if self._refused is not None:
            self._refused.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
