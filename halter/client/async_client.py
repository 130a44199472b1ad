"""The client for asyncio. It never blocks the loop, and does what `Client` does: its logic is the same.

    async with AsyncClient("localhost:9092") as client:
        posted = await client.run("order", {"total": 5}, wait=True)
        async with client.follow(posted.wf_run_id) as events:
            async for it in events:
                print(it.event)

What is sent goes from the loop to librdkafka, which has threads of its own, and one thread here hears what became of
it. So any number of records may be on their way. Another thread reads the log for all who wait for an outcome or for
an end (`halter.client.watch`), so any number may wait. What asks Kafka for more runs the code of `Client` in a thread:
at most `threads` callers at a time; the others wait in line (docs/adr/0020-async-client.md). Who posts does not stand
in that line: what the others wait for may be what is to be posted.

A call that is cancelled ends. A record that Kafka was given before may be on its topic all the same.
"""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar, Unpack, overload

from halter.client.asking import NewEvent, seconds_of
from halter.client.client import Client
from halter.client.connecting import Connection
from halter.client.errors import ClientClosed, InvalidArgument, PartlyPosted
from halter.client.following import Batch, Followed, Follower, Patience, Since
from halter.client.forking import Reset
from halter.client.history import History
from halter.client.outcomes import OUTCOME_SECONDS, Posted, Registered, Until
from halter.client.reading import GivenUp, until_given_up
from halter.client.sending import Sender, Sending
from halter.client.waiting import Wait
from halter.client.watch import Caller, Watch
from processors.core.records.commands import (
    Command,
    DefinitionCommand,
    DefinitionKind,
    DeleteWfRun,
    RescueThreadRun,
    ResumeWfRun,
    StopWfRun,
)
from processors.core.records.events import LogEntry
from processors.core.records.model import WfRun, WfRunSnapshot
from processors.core.records.spec import WfSpec
from processors.core.records.values import Value, VariableType
from processors.core.wf_spec.definitions import Definitions
from processors.fold.inputs import key_of
from processors.kafka.partitioner import partition_of
from processors.kafka.settings import Settings

if TYPE_CHECKING:
    from halter.files.definition_files import Workflow

THREADS: Final = 8
QUEUE_FULL_SECONDS: Final = 0.005
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class AsyncClient:
    """A connection to an installation of Halter, for one event loop. Close it in the end, or use it in `async with`."""

    def __init__(
        self, bootstrap: str | None = None, *, threads: int = THREADS, **connection: Unpack[Connection]
    ) -> None:
        """Connect as `Client` does. `threads`: how many callers may read from Kafka at a time."""
        self._use(Client(bootstrap, **connection), threads)

    @classmethod
    def from_env(
        cls,
        bootstrap: str | None = None,
        env: Mapping[str, str] = os.environ,
        *,
        threads: int = THREADS,
        **connection: Unpack[Connection],
    ) -> Self:
        """Connect as `Client.from_env` does."""
        return cls._of(Client.from_env(bootstrap, env, **connection), threads)

    @classmethod
    def of(cls, settings: Settings, *, threads: int = THREADS) -> Self:
        """Connect by Settings that are loaded already."""
        return cls._of(Client.of(settings), threads)

    @classmethod
    def _of(cls, client: Client, threads: int) -> Self:
        made = cls.__new__(cls)
        made._use(client, threads)
        return made

    def _use(self, client: Client, threads: int) -> None:
        given: object = threads
        if not isinstance(given, int) or given < 1:
            raise InvalidArgument(f"threads: expected a whole number of at least 1, found {given!r}")
        self._client = client
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="halter-client")
        self._first_asking = ThreadPoolExecutor(1, thread_name_prefix="halter-posting")
        self._batches = ThreadPoolExecutor(1, thread_name_prefix="halter-batches")
        self._deliveries = Deliveries(client._sender)
        self._watch = Watch(client.reader, client.topics.wf_events, client._outcomes.entry, client._log_ends.note)
        self._in_line = asyncio.Lock()
        self._is_closed = False

    @property
    def settings(self) -> Settings:
        """Where it connects to."""
        return self._client.settings

    async def reach(self, seconds: float, *, to_send: bool = True) -> None:
        """Return once Kafka answers. Raises KafkaUnavailable if it refuses us, or has not answered by then."""
        await self._in_thread(self._client.reach, seconds, to_send=to_send)

    # Definitions.

    async def register(self, *sources: "str | Path | Workflow", timeout_s: float = OUTCOME_SECONDS) -> list[Registered]:
        """Register Workflows and the definitions in files, as `Client.register` does."""
        return await self._in_thread(self._client.register, *sources, timeout_s=timeout_s)

    async def put(self, command: DefinitionCommand, timeout_s: float = OUTCOME_SECONDS) -> Registered:
        """Post a definition command, and wait until everybody can see its outcome and the definition."""
        return await self._in_thread(self._client.put, command, timeout_s)

    async def put_wf_spec(
        self, document: WfSpec | Mapping[str, Any] | str, name: str | None = None, timeout_s: float = OUTCOME_SECONDS
    ) -> Registered:
        """Register a WfSpec: the WfSpec itself, or its document as data or as JSON text (then with its name)."""
        return await self._in_thread(self._client.put_wf_spec, document, name, timeout_s)

    async def put_task_def(
        self,
        name: str,
        input: Mapping[str, VariableType] | None = None,  # noqa: A002  the schema's name for it
        output: VariableType | None = None,
        queue: str | None = None,
        timeout_s: float = OUTCOME_SECONDS,
        *,
        optional: list[str] | None = None,
    ) -> Registered:
        """Register a TaskDef, or a change that task workers and WfRuns can bear, as `Client.put_task_def` does."""
        return await self._in_thread(
            self._client.put_task_def, name, input, output, queue, timeout_s, optional=optional
        )

    async def put_external_event_def(
        self, name: str, content_type: VariableType | None = None, timeout_s: float = OUTCOME_SECONDS
    ) -> Registered:
        """Register an ExternalEventDef. Without a type, the engine does not check the contents of its events."""
        return await self._in_thread(self._client.put_external_event_def, name, content_type, timeout_s)

    async def put_workflow_event_def(
        self, name: str, content_type: VariableType | None = None, timeout_s: float = OUTCOME_SECONDS
    ) -> Registered:
        """Register a WorkflowEventDef. Without a type, the engine does not check the contents of its events."""
        return await self._in_thread(self._client.put_workflow_event_def, name, content_type, timeout_s)

    async def delete_definition(
        self,
        kind: DefinitionKind,
        name: str,
        *,
        major: int | None = None,
        revision: int | None = None,
        timeout_s: float = OUTCOME_SECONDS,
    ) -> Registered:
        """Delete a definition, as `Client.delete_definition` does."""
        return await self._in_thread(
            self._client.delete_definition, kind, name, major=major, revision=revision, timeout_s=timeout_s
        )

    async def definitions(self) -> Definitions:
        """All definitions that there are now."""
        return await self._in_thread(self._client.definitions)

    # Commands.

    async def run(
        self,
        wf_spec_name: str,
        variables: Mapping[str, Value] | None = None,
        *,
        wf_run_id: str | None = None,
        major: int | None = None,
        revision: int | None = None,
        definitions_position: int | None = None,
        wait: float | bool = False,
    ) -> "AsyncPosted":
        """Start a WfRun, as `Client.run` does."""
        asking = self._client._asking
        return await self._send(
            asking.run(wf_spec_name, variables, wf_run_id, major, revision, definitions_position), wait
        )

    async def post(
        self,
        wf_run_id: str,
        name: str,
        content: Value = None,
        *,
        event_id: str | None = None,
        thread: int | None = None,
        wait: float | bool = False,
    ) -> "AsyncPosted":
        """Post an ExternalEvent, as `Client.post` does."""
        return await self._send(self._client._asking.event(NewEvent(wf_run_id, name, content, event_id, thread)), wait)

    async def post_many(self, events: Iterable[NewEvent]) -> "list[AsyncPosted]":
        """Post many ExternalEvents in their order, as `Client.post_many` does. Raises PartlyPosted.

        One batch is posted at a time. If the call is cancelled, what Kafka was not given yet is not posted.
        """
        try:
            posted = await self._in(self._batches, self._client.post_many, events)
        except PartlyPosted as partly:
            partly.posted = [None if it is None else AsyncPosted(it, self._waited_for) for it in partly.posted]
            raise
        return [AsyncPosted(it, self._waited_for) for it in posted]

    async def stop(
        self, wf_run_id: str, thread: int = 0, *, command_id: str | None = None, wait: float | bool = False
    ) -> "AsyncPosted":
        """Put MANUAL_HALT on a ThreadRun."""
        return await self._ask(StopWfRun, wait, command_id, wf_run_id=wf_run_id, thread=thread)

    async def resume(
        self, wf_run_id: str, thread: int = 0, *, command_id: str | None = None, wait: float | bool = False
    ) -> "AsyncPosted":
        """Take MANUAL_HALT off a ThreadRun."""
        return await self._ask(ResumeWfRun, wait, command_id, wf_run_id=wf_run_id, thread=thread)

    async def rescue(
        self,
        wf_run_id: str,
        thread: int = 0,
        *,
        skip_current_node: bool = False,
        command_id: str | None = None,
        wait: float | bool = False,
    ) -> "AsyncPosted":
        """Revive a ThreadRun that is in ERROR."""
        fields = {"wf_run_id": wf_run_id, "thread": thread, "skip_current_node": skip_current_node}
        return await self._ask(RescueThreadRun, wait, command_id, **fields)

    async def migrate(
        self,
        wf_run_id: str,
        major: int,
        revision: int | None = None,
        *,
        command_id: str | None = None,
        wait: float | bool = False,
    ) -> "AsyncPosted":
        """Let a WfRun go on by another version of its WfSpec, as `Client.migrate` does."""
        return await self._send(self._client._asking.migration(wf_run_id, major, revision, command_id), wait)

    async def try_migration(self, wf_run_id: str, major: int, revision: int | None = None) -> list[LogEntry]:
        """Return the events that `migrate` would bring about now, as `Client.try_migration` does."""
        return await self._in_thread(self._client.try_migration, wf_run_id, major, revision)

    async def delete(
        self,
        wf_run_id: str,
        incarnation: int | None = None,
        *,
        command_id: str | None = None,
        wait: float | bool = False,
    ) -> "AsyncPosted":
        """Delete a WfRun and its ExternalEvents, as `Client.delete` does."""
        return await self._ask(DeleteWfRun, wait, command_id, wf_run_id=wf_run_id, incarnation=incarnation)

    async def fork(
        self, snapshot: WfRunSnapshot, wf_run_id: str, *, major: int | None = None, revision: int | None = None
    ) -> "AsyncPosted":
        """Start a WfRun from the state that another one had at a moment, as `Client.fork` does.

        `fork_point` finds the moment. It reads: call it by `asyncio.to_thread`, with a `Client`.
        """
        posted = await self._in_thread(self._client.fork, snapshot, wf_run_id, major=major, revision=revision)
        return AsyncPosted(posted, self._waited_for)

    async def reset(
        self, snapshot: WfRunSnapshot, wf_run_id: str | None = None, timeout_s: float = OUTCOME_SECONDS
    ) -> Reset:
        """Let a WfRun go on from an earlier moment, as `Client.reset` does: fork it, wait for that, and delete it."""
        return await self._in_thread(self._client.reset, snapshot, wf_run_id, timeout_s)

    async def send(self, command: Command, wait: float | bool = False) -> "AsyncPosted":
        """Send a command, as `Client.send` does."""
        self._client.check(command)
        return await self._send(command, wait)

    async def _ask(
        self, kind: type[Command], wait: float | bool, command_id: str | None, **fields: Any
    ) -> "AsyncPosted":
        return await self._send(self._client._asking.made(kind, command_id, **fields), wait)

    async def _send(self, command: Command, wait: float | bool) -> "AsyncPosted":
        """Send a command that was made of checked arguments. Only what Kafka must be asked first takes a thread."""
        seconds = seconds_of(wait)
        client = self._client
        value = client._arguments.encoded_made(command)
        partition = partition_of(key_of(command).encode(), client.topics.partitions)
        delivered = asyncio.get_running_loop().create_future()
        sending = client._sender.sending(command, self._deliveries.told(delivered))
        async with self._in_line:  # first come, first served
            log_end = client._log_ends.known(partition)
            if log_end is None:
                log_end = await self._in(self._first_asking, client._log_ends.of, partition)
            if not client._sender.is_prepared(sending.topic):
                await self._in(self._first_asking, client._sender.prepare, sending.topic)
            while not client._sender.offer(sending, value):  # noqa: ASYNC110  librdkafka does not say when there is room
                await asyncio.sleep(QUEUE_FULL_SECONDS)
        self._deliveries.expect()
        await delivered
        posted = AsyncPosted(client._posted(command, *client._sender.place_of(sending), log_end), self._waited_for)
        if seconds is not None:
            await posted.outcome(seconds)
        return posted

    # What became of them.

    @overload
    async def get(self, wf_run_id: str, *, until: None = None) -> WfRun | None: ...

    @overload
    async def get(self, wf_run_id: str, *, until: Until, timeout_s: float = OUTCOME_SECONDS) -> WfRun: ...

    async def get(
        self, wf_run_id: str, *, until: Until | None = None, timeout_s: float = OUTCOME_SECONDS
    ) -> WfRun | None:
        """The state of a WfRun, as `Client.get` has it.

        A function `until` is called in another thread, and takes one of `threads` until it says True.
        """
        if until is None:
            return await self._in_thread(self._client.get, wf_run_id)
        if callable(until):
            return await self._in_thread(self._client.get, wf_run_id, until=until, timeout_s=timeout_s)
        begun = time.monotonic()
        wait = await self._in_thread(self._client._outcomes.state_wait, wf_run_id, until)
        return await self._waited_for(wait, timeout_s, begun)

    async def history(self, wf_run_id: str, *, from_start: bool = False) -> History:
        """The events of a WfRun that the log still has, as `Client.history` has them."""
        return await self._in_thread(self._client.history, wf_run_id, from_start=from_start)

    def follow(
        self, wf_run_id: str | None = None, *, since: Since = "now", timeout_s: float | None = None
    ) -> "AsyncFollow":
        """Follow the log, as `Client.follow` does. It begins where `async with` or the first step begins."""
        return AsyncFollow(Reading(lambda: self._client._follower(wf_run_id, since), timeout_s))

    async def _waited_for(self, wait: Wait[Result], timeout_s: float, begun: float | None = None) -> Result:
        """Wait as `Outcomes.waited_for` does, while the thread that reads for all reads the log for us too."""
        deadline = (time.monotonic() if begun is None else begun) + timeout_s
        caller: Caller | None = None
        try:
            while True:
                caller = self._watch.begin(wait) if caller is None else caller
                seconds = min(deadline, wait.next_look) - time.monotonic()
                await asyncio.wait([caller.future], timeout=max(0.0, seconds))
                if caller.future.done():
                    caller.future.result()
                    caller = None
                    found = await self._in_thread(wait.result) if wait.result_asks_kafka else wait.result()
                    if found is not None:
                        return found
                elif time.monotonic() >= deadline:
                    return await self._in_thread(wait.late, timeout_s)
                else:
                    await self._in_thread(wait.look_if_due, timeout_s)
        finally:
            if caller is not None:
                self._watch.leave(caller)

    # Threads.

    async def _in_thread(
        self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Call in a thread of those that read from Kafka. Raises ClientClosed."""
        return await self._in(self._threads, call, *args, **kwargs)

    async def _in(
        self,
        threads: Executor,
        call: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call in one of some threads. If we are cancelled, the thread stops waiting soon. Raises ClientClosed."""
        if self._is_closed:
            raise ClientClosed("this AsyncClient is closed")
        return await in_thread(threads, lambda: call(*args, **kwargs))

    async def close(self) -> None:
        """Close the connections. Kafka has what was posted. From now on every call that asks it raises ClientClosed."""
        self._is_closed = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._deliveries.close()
        self._watch.close()
        self._client.close()  # calls back about what is still on its way
        for threads in (self._threads, self._first_asking, self._batches):
            threads.shutdown()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def in_thread(threads: Executor, call: Callable[[], Result]) -> Result:
    """Call in a thread. If we are cancelled, what the call reads ends with GivenUp, which nobody sees."""
    given_up = threading.Event()

    def called() -> Result:
        with until_given_up(given_up):
            return call()

    try:
        return await asyncio.get_running_loop().run_in_executor(threads, called)
    finally:
        given_up.set()


class Deliveries:
    """Tells futures of a loop that their records have arrived. Its thread sleeps while none is on its way."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._wanted, self._closed = threading.Event(), False
        self._arrived: list[asyncio.Future[None]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def told(self, delivered: "asyncio.Future[None]") -> Callable[[Sending], None]:
        """Return what the delivery report of a record is to call."""
        return lambda _: self._note(delivered)

    def expect(self) -> None:
        """A record is on its way."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._poll, name="halter-deliveries", daemon=True)
            self._thread.start()
        self._wanted.set()

    def _poll(self) -> None:
        while True:
            self._wanted.wait()
            if self._closed:
                return
            self._wanted.clear()  # before the look: what is given to librdkafka after it is wanted again
            self._sender.poll_until_idle(lambda: self._closed)

    def _note(self, delivered: "asyncio.Future[None]") -> None:
        """Called by librdkafka in any thread. The loop is woken once for all that arrive before it looks."""
        with self._lock:
            self._arrived.append(delivered)
            is_first = len(self._arrived) == 1
        if is_first and not (loop := delivered.get_loop()).is_closed():
            loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        with self._lock:
            arrived, self._arrived = self._arrived, []
        for delivered in arrived:
            if not delivered.done():  # cancelled
                delivered.set_result(None)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()


class AsyncPosted:
    """A record that Kafka has, as `Posted`."""

    __slots__ = ("_posted", "_waited_for")

    def __init__(self, posted: Posted, waited_for: Callable[[Wait[Any], float], Awaitable[Any]]) -> None:
        self._posted, self._waited_for = posted, waited_for

    @property
    def wf_run_id(self) -> str:
        """The WfRun that it is for."""
        return self._posted.wf_run_id

    @property
    def id(self) -> str:
        """As `Posted.id`."""
        return self._posted.id

    @property
    def topic(self) -> str:
        """The topic, without the prefix."""
        return self._posted.topic

    @property
    def partition(self) -> int:
        """The partition that it is in."""
        return self._posted.partition

    @property
    def offset(self) -> int:
        """Where it is there."""
        return self._posted.offset

    @property
    def entries(self) -> list[LogEntry]:
        """Its outcome, once somebody has waited for it."""
        return self._posted.entries

    async def outcome(self, timeout_s: float = OUTCOME_SECONDS) -> list[LogEntry]:
        """Wait for what became of it, as `Posted.outcome` does."""
        entries: list[LogEntry] = await self._waited_for(self._posted._outcome_wait(), timeout_s)
        self._posted._entries = entries
        return entries

    async def until_ended(self, timeout_s: float = OUTCOME_SECONDS) -> WfRun:
        """Wait until its WfRun has ended, as `Posted.until_ended` does."""
        run: WfRun = await self._waited_for(self._posted._end_wait(), timeout_s)
        return run

    def is_cause_of(self, entry: LogEntry) -> bool:
        """As `Posted.is_cause_of`."""
        return self._posted.is_cause_of(entry)

    def __str__(self) -> str:
        return str(self._posted)


class Reading:
    """What the thread of an AsyncFollow does. It does not know the AsyncFollow, which may be forgotten meanwhile."""

    def __init__(self, begin: Callable[[], Follower], timeout_s: float | None) -> None:
        self._begin, self.patience = begin, Patience(timeout_s)
        self.follower: Follower | None = None
        self.ready: deque[Followed] = deque()
        """What was read and not taken yet."""
        self.batch = Batch([], {})
        """The batch that it is of."""
        self.given_up = threading.Event()

    def begin(self) -> None:
        """Find out where to begin. A second time does nothing."""
        with until_given_up(self.given_up):
            if self.follower is None:
                self.follower = self._begin()

    def read(self) -> None:
        """Wait until there are events, or no more are to be waited for."""
        self.begin()
        assert self.follower is not None
        with until_given_up(self.given_up):
            while not self.ready:
                self.follower.passed(self.batch)
                batch = self.follower.next_batch()
                if batch is None:
                    return
                self.batch = batch
                if not batch.events and self.patience.is_over:
                    self.follower.passed(batch)
                    return
                self.ready.extend(batch.events)

    def close(self) -> None:
        """Let go of Kafka."""
        if self.follower is not None:
            self.follower.close()


class AsyncFollow(AsyncIterator[Followed]):
    """An iterator over the events of the log as they come. It has a thread of its own while it is followed.

    If a step is cancelled, the thread goes on, and what it reads is for the next step.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="halter-follow")
        self._running: asyncio.Future[None] | None = None

    @property
    def positions(self) -> dict[int, int]:
        """As `Follow.positions`; empty before it has begun."""
        follower = self._reading.follower
        return {} if follower is None else dict(follower.positions)

    async def __anext__(self) -> Followed:
        reading = self._reading
        reading.patience.begin()
        while not reading.ready:
            if reading.given_up.is_set():
                raise StopAsyncIteration
            began_before = self._running is not None
            try:
                await self._in_thread(reading.read)
            except GivenUp:  # closed by another task
                continue
            if not reading.ready and not began_before:
                await self.aclose()
        followed = reading.ready.popleft()
        assert reading.follower is not None
        reading.follower.taken(followed)
        return followed

    async def _in_thread(self, call: Callable[[], None]) -> None:
        """Wait for what the thread does; for `call`, if it does nothing yet."""
        if self._running is None:
            self._running = asyncio.get_running_loop().run_in_executor(self._thread, call)
            self._running.add_done_callback(_look_at)
        running = self._running
        await asyncio.wait([running])  # if we are cancelled, it goes on
        if self._running is running:
            self._running = None
        running.result()

    async def aclose(self) -> None:
        """Let go of Kafka. A second time does nothing."""
        self._reading.given_up.set()
        await asyncio.to_thread(self._reading.close)
        self._thread.shutdown(wait=False)

    def __del__(self) -> None:
        self._reading.given_up.set()  # the thread may still wait

    async def __aenter__(self) -> Self:
        await self._in_thread(self._reading.begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _look_at(future: "asyncio.Future[None]") -> None:
    """Have asyncio not complain of an error for which nobody waits any more."""
    if not future.cancelled():
        future.exception()
