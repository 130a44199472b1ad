"""Runs the real task functions of a test: takes requests from the log, and puts reports, in virtual time.

What a task worker does with an attempt is done by the task worker's own code: `Work`, `Conduct`, `Attempts`. Only what
surrounds them differs: requests come from the log of an engine in memory, one handler runs at a time, and waiting takes
no time.
"""

import asyncio
import heapq
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, Final, Protocol, TypeAlias

from halter.scenarios.memory import MemoryEngine
from halter.task_worker.attempts import Attempts
from halter.task_worker.conduct import Conduct
from halter.task_worker.daemon_threads import DaemonThreads
from halter.task_worker.handlers import Handler, of_task
from halter.task_worker.progress import Progress, Watched
from halter.task_worker.running import OVER, Running
from halter.task_worker.task import Task
from halter.task_worker.work import Attempt, Work, is_of
from halter.testing.relay import Relay, Runner
from halter.testing.virtual_loop import VirtualLoop
from processors.codec import Codec
from processors.core.records.commands import Command, ReportTaskProgress, ReportTaskRun, StartTaskRun
from processors.core.records.errors import HalterError
from processors.core.records.events import CancellationReason, TaskAttemptRequested, TaskRequest
from processors.core.records.model import TaskStatus
from processors.core.records.topic_names import TASK_REQUESTS
from processors.core.records.values import Value
from processors.core.wf_spec.near_names import NearNames
from processors.fold.output_encoder import request_of

Identity: TypeAlias = tuple[str, int, int, int, int]
QUEUE: Final = (TASK_REQUESTS, 0)
THREADS_OF_LOOP: Final = 64
CONCURRENCY: Final = 10_000
ROUNDING: Final = 1e-3
"""What a time in ms may be off by, after it was in seconds."""
LOOP: Final = "a task function that is `async def`"


class NoTaskFunction(HalterError):
    """A WfRun asks for a task of which a test has no function. Whoever wrote the test gives one, or holds the task."""


class CancelledWhileHeld(HalterError):
    """An attempt was cancelled while a test held it, so its function is not called. Nobody has to act."""


class GivenUp(BaseException):
    """Ends a handler that still waits when its test is over."""


@dataclass(slots=True)
class TaskAttempt:
    """One attempt that a test has seen: what was asked, and what became of it."""

    request: TaskRequest
    status: TaskStatus | None = None
    """What its function came to; None while it is out, and for one that has no report."""
    output: Value = None
    failure_name: str | None = None
    message: str | None = None
    cancelled: CancellationReason | None = None
    """Why its result was of no use any more."""
    traceback: str | None = None
    """Where its function raised, if it failed by an exception."""

    @property
    def task(self) -> str:
        """The TaskDef."""
        return self.request.task_def

    @property
    def wf_run_id(self) -> str:
        """The WfRun whose task it is."""
        return self.request.wf_run_id

    @property
    def thread(self) -> int:
        """The ThreadRun whose task it is."""
        return self.request.thread

    @property
    def attempt(self) -> int:
        """Its number: 1, and one more after each that failed or timed out."""
        return self.request.attempt

    @property
    def input(self) -> Mapping[str, Value]:
        """What the function was given."""
        return self.request.input


@dataclass(eq=False, slots=True)
class Hold:
    """A task that is held."""

    task: str
    started: bool
    attempts: list[TaskAttempt] = field(default_factory=list)
    """The attempts that were held, in the order in which they were requested."""
    waiting: list[TaskRequest] = field(default_factory=list)
    """Requests that nobody has taken yet."""
    futures: list["asyncio.Future[None]"] = field(default_factory=list)
    """What coroutines await that are held."""
    is_over: bool = False


@dataclass(order=True, slots=True)
class _Waiter:
    """Something that waits for virtual time."""

    due_ms: float
    number: int
    wake: Callable[[], None] = field(compare=False)
    is_over: bool = field(default=False, compare=False)


class VirtualRunning(Running):
    """One attempt, whose handler waits in virtual time."""

    __slots__ = ("_runner", "_waiter")

    def __init__(self, runner: "TaskRunner") -> None:
        super().__init__(runner.progress_of, now_s=lambda: runner.engine.time_ms / 1_000)
        self._runner = runner
        self._waiter: _Waiter | None = None

    def wait_cancelled(self, seconds: float | None) -> CancellationReason | None:
        """Wait until the attempt is cancelled, or so many seconds of virtual time have passed."""
        due_ms = math.inf if seconds is None else self._runner.engine.time_ms + max(0.0, seconds) * 1_000
        while self.cancelled is None and self._runner.engine.time_ms < due_ms:
            self._runner.wait(self, due_ms)
        return self.cancelled

    def cancel(self, reason: CancellationReason) -> None:
        """Tell the handler, and wake it."""
        super().cancel(reason)
        if self._waiter is not None:
            self._runner.wake(self._waiter)

    def waits(self, waiter: _Waiter | None) -> None:
        """Note what has to be woken when it is cancelled."""
        self._waiter = waiter


class TaskRunner:
    """Runs the task functions of one engine in memory."""

    def __init__(self, engine: MemoryEngine, handlers: Mapping[str, Handler], codec: Codec, relay: Relay) -> None:
        self.engine, self._codec, self._relay = engine, codec, relay
        self.attempts: list[TaskAttempt] = []
        """All attempts that were requested, in order."""
        self._seen: dict[Identity, TaskAttempt] = {}
        self._functions = frozenset(handlers)
        self._work = Work(CONCURRENCY, lambda: VirtualRunning(self))
        log = _Log(self)
        self._attempts = Attempts(_Handlers(handlers.values(), self._gated), codec.encode, log)
        self._conduct = Conduct(self._attempts, self._work, self, lambda: self.engine.time_ms, log, self._fail)
        self._start_ms = engine.time_ms
        self._watched = Watched(self._seconds)
        self._holds: list[Hold] = []
        self._held: dict[Identity, Hold] = {}
        self._seen_turns = self._seen_cancellations = 0
        self._offsets, self._numbers = count(), count()
        self._waiters: list[_Waiter] = []
        """A heap."""
        self._waiting = threading.Lock()
        self._ready: deque[Runner] = deque()
        self._loop: VirtualLoop | None = None
        self._loop_thread: Runner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._is_closed = False

    # What the engine has said.

    def look(self) -> None:
        """Take the requests and cancellations that are new on the log. Raises NoTaskFunction."""
        new_turns, self._seen_turns = self.engine.log[self._seen_turns :], len(self.engine.log)
        missing = None
        for _, entries in new_turns:
            for entry in entries:
                if isinstance(entry.event, TaskAttemptRequested):
                    missing = self._take(request_of(entry, entry.event)) or missing
        new, self._seen_cancellations = (
            self.engine.cancellations[self._seen_cancellations :],
            len(self.engine.cancellations),
        )
        for it in new:
            attempt = self._seen.get(identity(it))
            if attempt is not None:
                attempt.cancelled = it.reason
            self._work.cancel(it)
        if missing is not None:
            raise missing

    def _take(self, asked: TaskRequest) -> NoTaskFunction | None:
        value = self._codec.encode(asked)
        request = self._codec.decode(value)  # what the function does to its inputs is nothing to the engine
        assert isinstance(request, TaskRequest)
        attempt = self._seen[identity(request)] = TaskAttempt(request)
        self.attempts.append(attempt)
        hold = self._hold_of(request.task_def)
        if hold is not None:
            hold.attempts.append(attempt)
            self._held[identity(request)] = hold
            if not hold.started:
                hold.waiting.append(request)
                return None
        elif request.task_def not in self._functions:
            return self._no_function(request)
        self._work.take(QUEUE, next(self._offsets), request, len(value))
        return None

    def _no_function(self, request: TaskRequest) -> NoTaskFunction:
        hint = NearNames().meant_or_known(request.task_def, sorted(self._functions))
        return NoTaskFunction(
            f"WfRun {request.wf_run_id!r} asks for task {request.task_def!r} in thread {request.thread}: expected a "
            f"function for it in `tasks`, found none{hint}. Give one, or hold the task: env.held({request.task_def!r})"
        )

    # Holding.

    def hold(self, task: str, *, started: bool) -> Hold:
        """Let no function of a task begin from now on."""
        it = Hold(task, started)
        self._holds.append(it)
        return it

    def release(self, hold: Hold) -> None:
        """Let the functions of a task begin that were held. Raises NoTaskFunction if there is none."""
        if hold.is_over:
            return
        hold.is_over = True
        self._holds.remove(hold)
        out = next((it for it in hold.attempts if it.status is None and it.cancelled not in OVER), None)
        if out is not None and hold.task not in self._functions:
            raise self._no_function(out.request)
        for request in hold.waiting:
            self._work.take(QUEUE, next(self._offsets), request, 0)
            for it in self.engine.cancellations:
                # Somebody may resume a WfRun that was stopped. What else cancels is final.
                if it.reason is not CancellationReason.STOPPED and is_of(it, request):
                    self._work.cancel(it)
        for waiter in self._waiters:
            if waiter.due_ms == math.inf:
                self.wake(waiter)
        for future in hold.futures:
            future.get_loop().call_soon_threadsafe(_let_go, future)

    def _hold_of(self, task: str) -> Hold | None:
        return next((it for it in self._holds if it.task == task), None)

    def _gated(self, handler: Handler) -> Handler:
        """Return a handler whose function begins when its attempt is no longer held."""

        def run(task: Task) -> Any:
            hold = self._held.get(identity(task.request))
            while hold is not None and not hold.is_over and not task.running.is_useless:
                self.wait(task.running, math.inf)
            if hold is not None and task.running.is_useless:
                raise CancelledWhileHeld("cancelled before its function began: the test held it")
            return handler.run(task)

        async def run_async(task: Task) -> Any:
            hold = self._held.get(identity(task.request))
            if hold is not None and not hold.is_over:
                released = asyncio.get_running_loop().create_future()
                hold.futures.append(released)
                await released
            return await handler.run(task)

        return replace(handler, run=run_async if handler.is_async else run)

    # Waiting.

    def wait(self, running: Running, due_ms: float) -> None:
        """Let the handler that calls this wait until it is woken. It may be woken early."""
        assert isinstance(running, VirtualRunning)
        runner, loop = self._relay.runner(), self._loop
        if runner is not None and runner is not self._loop_thread:
            waiter = self._add_waiter(due_ms, lambda: self._ready.append(runner))
            running.waits(waiter)
            runner.pause()
        elif loop is not None:  # a thread of a coroutine: asyncio.to_thread
            woken = threading.Event()
            waiter = self._add_waiter(due_ms, lambda: loop.unpark(woken))
            running.waits(waiter)
            loop.park()
            woken.wait()
        else:
            raise GivenUp
        running.waits(None)
        if self._is_closed:
            raise GivenUp

    def _add_waiter(self, due_ms: float, wake: Callable[[], None]) -> _Waiter:
        waiter = _Waiter(due_ms, next(self._numbers), wake)
        with self._waiting:
            heapq.heappush(self._waiters, waiter)
        return waiter

    def wake(self, waiter: _Waiter) -> None:
        """Let a handler go on, when it gets the baton."""
        if not waiter.is_over:
            waiter.is_over = True
            waiter.wake()

    @property
    def due_ms(self) -> float:
        """When something happens here next, in ms of the clock; infinite if nothing does before the log goes on."""
        with self._waiting:
            while self._waiters and self._waiters[0].is_over:
                heapq.heappop(self._waiters)
        due = [self._waiters[0].due_ms] if self._waiters else []
        if self._loop is not None and self._loop.due_s is not None:
            due.append(self._start_ms + math.ceil(self._loop.due_s * 1_000 - ROUNDING))
        if (seconds := self._watched.seconds) is not None:
            due.append(self.engine.time_ms + math.ceil(seconds * 1_000 - ROUNDING))
        return min(due, default=math.inf)

    def time_has_passed(self) -> None:
        """Wake what is due by the clock of the engine."""
        while self._waiters and self._waiters[0].due_ms <= self.engine.time_ms:
            with self._waiting:
                waiter = heapq.heappop(self._waiters)
            self.wake(waiter)
        loop = self._loop
        if loop is not None and loop.due_s is not None and loop.due_s - ROUNDING / 1_000 <= self._seconds():
            loop.is_woken = True

    # Running.

    def settle(self) -> None:
        """Let everything happen that takes no time. Raises NoTaskFunction, Stuck."""
        while True:
            self.look()
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if self._ready:
                self._relay.give(self._ready.popleft(), "a task function")
            elif self._loop is not None and self._loop.is_woken:
                self._give_loop()
            elif (attempt := self._work.next()) is not None:
                self._start(attempt)
            elif self._watched.seconds == 0:
                self._watched.send_due()
            else:
                return

    def _start(self, attempt: Attempt) -> None:
        if self._attempts.is_async(attempt.request):
            self._running_loop().call_soon_threadsafe(self._spawn, attempt)
        else:
            self._relay.start(partial(self._conduct.run, attempt), f"the function of task {attempt.request.task_def!r}")

    def _running_loop(self) -> VirtualLoop:
        if self._loop is None:
            self._loop = loop = VirtualLoop(self._seconds, self._pause_loop)
            loop.set_default_executor(DaemonThreads(THREADS_OF_LOOP))

            def run() -> None:
                self._loop_thread = self._relay.runner()
                try:
                    loop.run_forever()
                finally:
                    loop.close()

            self._relay.start(run, LOOP)
        return self._loop

    def _seconds(self) -> float:
        """Return the seconds since the start: of all seconds since 1970, a float would keep too few digits."""
        return (self.engine.time_ms - self._start_ms) / 1_000

    def _pause_loop(self) -> None:
        assert self._loop_thread is not None
        self._loop_thread.pause()

    def _give_loop(self) -> None:
        assert self._loop is not None
        assert self._loop_thread is not None
        self._loop.is_woken = False
        self._relay.give(self._loop_thread, LOOP)

    def _spawn(self, attempt: Attempt) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._conduct.run_async(attempt), name=attempt.request.task_def)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error

    # What is said of attempts, from the threads of handlers.

    def start(self, request: TaskRequest) -> None:
        """Say that the handler of an attempt begins now."""
        self._put(StartTaskRun(*identity(request)))

    def report(self, attempt: Attempt, report: ReportTaskRun, value: bytes, *, is_followed: bool = True) -> None:  # noqa: ARG002
        """Report an attempt."""
        seen = self._seen[identity(report)]
        seen.status, seen.output, seen.message = report.status, report.output, report.message
        seen.failure_name = report.failure_name
        command = self._codec.decode(value)
        assert isinstance(command, ReportTaskRun)
        self._put(command)
        self._work.finish(attempt)

    def progress_of(self, request: TaskRequest) -> Progress:
        """Return what sends the progress of an attempt."""

        def send(value: bytes) -> None:
            command = self._codec.decode(value)
            assert isinstance(command, ReportTaskProgress)
            self._put(command)

        def encode(content: Value) -> bytes:
            return self._codec.encode(ReportTaskProgress(*identity(request), content))

        return Progress(encode, send, self._watched.add)

    def _put(self, command: Command) -> None:
        if not self._is_closed:
            self.engine.put(command)

    def note(self, fields: Mapping[str, Any]) -> None:
        """Note where the function of an attempt raised, or what did not fit it."""
        for it in reversed(self.attempts):
            of = (it.task, it.wf_run_id, it.thread, it.attempt)
            if of == (fields["task_def"], fields["wf_run_id"], fields["thread"], fields["attempt"]):
                it.traceback = fields.get("stack", fields["error"])
                return

    # The end.

    def close(self) -> None:
        """End the handlers that still wait, with GivenUp or CancelledError. Nothing is reported any more."""
        self._is_closed = True
        self._attempts.are_given_up = True
        with suppress(HalterError):
            for waiter in list(self._waiters):
                self.wake(waiter)
            while self._ready:
                self._relay.give(self._ready.popleft(), "a task function")
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._end_loop)
                self._give_loop()
        self._relay.close()

    def _end_loop(self) -> None:
        assert self._loop is not None
        for task in self._tasks:
            task.cancel()
        # In the round after the next, when the tasks have heard of it.
        self._loop.call_soon(self._loop.call_soon, self._loop.stop)


class _Handlers(dict[str, Handler]):
    """Handlers by the names of their TaskDefs. A task that is held may have none."""

    def __init__(self, handlers: Iterable[Handler], gated: Callable[[Handler], Handler]) -> None:
        super().__init__((it.task_def, gated(it)) for it in handlers)
        self._gated = gated

    def __missing__(self, task_def: str) -> Handler:
        return self._gated(of_task(task_def, _nothing))


def _nothing(_: Task) -> Value:
    raise GivenUp


class _Log:
    """The log of the task worker's parts: what it says of failures is kept for the report of a test."""

    def __init__(self, runner: TaskRunner) -> None:
        self._runner = runner

    def info(self, event: str, **fields: object) -> None:
        """Pass over what goes as it should."""

    def warning(self, event: str, **fields: Any) -> None:
        """Keep the traceback of a function that failed."""
        if event == "attempt_failed":
            self._runner.note(fields)


class _Identified(Protocol):
    """A record about an attempt."""

    @property
    def wf_run_id(self) -> str: ...
    @property
    def incarnation(self) -> int: ...
    @property
    def thread(self) -> int: ...
    @property
    def position(self) -> int: ...
    @property
    def attempt(self) -> int: ...


def identity(it: _Identified) -> Identity:
    """Return what a record about an attempt repeats of its request, in the order of its fields."""
    return it.wf_run_id, it.incarnation, it.thread, it.position, it.attempt


def _let_go(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
