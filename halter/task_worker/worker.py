"""A task worker: takes task attempts from a queue, runs a handler for each, and reports the result.

    worker = TaskWorker(concurrency=32)

    @worker.task("charge-card")
    def charge_card(card: str, cents: int, task: Task) -> str:
        if cents > 50_000:
            raise BusinessException("card-declined", "the limit is 500")
        return bank.charge(card, cents, task.idempotency_key)

    worker.run()

Parameters have the names of the TaskDef's inputs, and their annotations are checked: against the TaskDef when the task
worker starts, and against the inputs of each attempt. `async def` works the same way.

An attempt may be handed out twice, when a task worker dies or its group is rebalanced. Handlers must therefore be
idempotent; the engine refuses a second report of the same attempt. Attempts past their deadline are not run: the engine
has timed them out, or is about to.

This module has what a program sees. A run of it is a Session.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType, MappingProxyType, TracebackType
from typing import Any, Final, Self, TypeVar

import structlog

from halter.client import Client
from halter.task_worker.handlers import Handler, expect_task_def, kind, of_task, remember, typed
from halter.task_worker.session import Session
from halter.task_worker.task import Task, WorkerNotStarted
from halter.task_worker.work import Counts, WorkFigures
from processors.core.records.values import Value

CONCURRENCY: Final = 16
CONCURRENCY_MAX: Final = 10_000
GRACE_SECONDS: Final = 30.0
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
FIRST_PROCESS: Final = 1
"""The first process of a container outlives signals for which it has set nothing."""
UNTOUCHED: Final = (signal.SIG_DFL, signal.default_int_handler)
"""What is set for a signal that a program has not set anything for."""
Function = TypeVar("Function", bound=Callable[..., Any])


class TaskWorker:
    """Runs the tasks of one queue for which it has handlers. Several task workers share a queue.

    It passes over requests for other tasks: task workers of another group may have handlers for them.
    """

    def __init__(
        self,
        client: Client | None = None,
        handlers: Mapping[str, Callable[[Task], Value]] = NOTHING,
        *,
        queue: str | None = None,
        group: str | None = None,
        concurrency: int = CONCURRENCY,
        grace_s: float = GRACE_SECONDS,
        follow_reports: bool = True,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without a `client`, `run` connects as the commands do, by KAFKA_* and HALTER_* variables.

        `handlers` are functions of one Task; `task` adds typed ones. Task workers with the same handlers share a
        `group`: name one if others with other handlers use the queue. `concurrency` handlers run at a time, from as
        many threads. When `run` is told to stop, they have `grace_s` seconds to end. With `follow_reports`, the task
        worker reads on `wf-events` what becomes of its reports, and logs refused ones.
        """
        self._handlers = _of_tasks(handlers)
        self._client, self._queue, self._group, self._follow_reports = client, queue, group, follow_reports
        self._concurrency, self._grace_s = _expect_concurrency(concurrency), _expect_grace(grace_s)
        self._clock_ms, self._monotonic = clock_ms, monotonic
        self._stopped = threading.Event()
        self._session: Session | None = None
        self._log = structlog.get_logger("halter.task-worker")

    def task(self, task_def: str) -> Callable[[Function], Function]:
        """Make a function, or coroutine function, the handler of a TaskDef: its parameters are the inputs.

        A parameter that is annotated with Task gets the attempt: its number, deadline and idempotency key. Raises
        WorkerNotStarted for what cannot be a handler. The function stays as it is, so a test can call it.
        """
        expect_task_def(task_def, "task: expected the name of a TaskDef")
        if task_def in self._handlers:
            raise WorkerNotStarted(f"@task({task_def!r}): expected one handler for a TaskDef, found a second one")

        def add(function: Function) -> Function:
            if not callable(function):
                raise WorkerNotStarted(f"@task({task_def!r}): expected a function, found {kind(function)}")
            self._handlers[task_def] = typed(task_def, function)
            remember(task_def, function)
            return function

        return add

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Its handlers, by the names of their TaskDefs."""
        return MappingProxyType(self._handlers)

    @property
    def counts(self) -> Counts:
        """What became of attempts since `run` was called."""
        return Counts() if self._session is None else replace(self._session.counts)

    @property
    def figures(self) -> WorkFigures | None:
        """What metrics tell beside `counts`; None before `run` was called."""
        return None if self._session is None else self._session.figures

    @property
    def is_ready(self) -> bool:
        """Say whether the group has given us our partitions, perhaps none."""
        return self._session is not None and self._session.is_joined

    def run(
        self,
        client: Client | None = None,
        *,
        concurrency: int | None = None,
        grace_s: float | None = None,
        counts_s: float | None = None,
    ) -> bool:
        """Take and run tasks until `stop`, SIGTERM or Ctrl-C; then wait for those that run, report them, and leave.

        Return False if some still ran after `grace_s` seconds: they are not reported, and run again elsewhere. A
        second signal ends the process at once. `counts_s` logs the counts every so many seconds. Signals are only
        heard in the main thread, and where the program has set nothing for them.

        Raises KafkaUnavailable if the cluster refuses us, TopicMissing or PartitionsDiffer if its topics are not as we
        believe, WorkerNotStarted if there are no handlers, or they do not fit their TaskDefs.
        """
        if not self._handlers:
            raise WorkerNotStarted("expected a handler for at least one TaskDef, found none")
        client = self._client if client is None else client
        if client is None:
            with Client.from_env() as client:
                return self.run(client, concurrency=concurrency, grace_s=grace_s, counts_s=counts_s)
        topic = client.topics.task_queue(self._queue)
        group = client.topics.task_group if self._group is None else f"{client.topics.task_group}-{self._group}"
        at_a_time = self._concurrency if concurrency is None else _expect_concurrency(concurrency)
        with self._until_signal():
            self._session = Session(
                client,
                self._handlers,
                topic=topic,
                group=group,
                concurrency=at_a_time,
                grace_s=self._grace_s if grace_s is None else _expect_grace(grace_s),
                counts_s=counts_s,
                follow_reports=self._follow_reports,
                stopped=self._stopped,
                log=self._log,
                clock_ms=self._clock_ms,
                monotonic=self._monotonic,
            )
            try:
                return self._session.run()
            finally:
                self._stopped.clear()  # else a second `run` would do nothing, and not say so

    def stop(self) -> None:
        """Let `run` end as it does after a signal. Signal handlers and other threads may call it."""
        self._stopped.set()

    @contextmanager
    def _until_signal(self) -> Iterator[None]:
        """Stop at the first signal, and end the process at the second."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, _: FrameType | None) -> None:
            # The log's own lock may be held by the line that is interrupted, so nothing is logged here.
            is_second = self._stopped.is_set()
            self._stopped.set()
            if is_second or os.getpid() != FIRST_PROCESS:
                signal.signal(number, signal.SIG_DFL)
            if is_second:
                signal.raise_signal(number)
                os._exit(128 + number)

        before = {number: signal.getsignal(number) for number in SIGNALS if signal.getsignal(number) in UNTOUCHED}
        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def close(self) -> None:
        """Do nothing: `run` has left the group. Task workers are context managers since 0.1.0."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _of_tasks(handlers: object) -> dict[str, Handler]:
    """Return handlers that are functions of one Task. Raises WorkerNotStarted for what cannot be such."""
    if not isinstance(handlers, Mapping):
        raise WorkerNotStarted(
            f"expected handlers as a mapping of a TaskDef's name to what is called, found {kind(handlers)}"
        )
    found = {}
    for name, function in handlers.items():
        expect_task_def(name, "handlers: expected names of TaskDefs")
        if not callable(function):
            raise WorkerNotStarted(f"handlers[{name!r}]: expected a function of one Task, found {kind(function)}")
        found[name] = of_task(name, function)
    return found


def _expect_concurrency(found: object) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= CONCURRENCY_MAX:
        raise WorkerNotStarted(f"concurrency: expected a number from 1 to {CONCURRENCY_MAX}, found {found!r}")
    return found


def _expect_grace(found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < float("inf"):
        raise WorkerNotStarted(f"grace_s: expected seconds, 0 or more, found {found!r}")
    return float(found)
