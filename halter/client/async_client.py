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
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial, wraps
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, Unpack, overload

from halter.client.arguments import Given
from halter.client.asking import NewEvent, seconds_of
from halter.client.async_following import AsyncFollow, Reading
from halter.client.async_posted import AsyncPosted, AsyncPostedCorrelated
from halter.client.client import Client
from halter.client.connecting import Connection
from halter.client.deliveries import Deliveries
from halter.client.errors import ClientClosed, InvalidArgument, PartlyPosted
from halter.client.following import Since
from halter.client.outcomes import OUTCOME_SECONDS, Posted, Until
from halter.client.reading import until_given_up
from halter.client.waiting import Wait
from halter.client.watch import Caller, Watch
from processors.core.records.commands import (
    Command,
    DeleteWfRun,
    RescueThreadRun,
    ResumeWfRun,
    StopWfRun,
)
from processors.core.records.model import WfRun, WfRunSnapshot
from processors.fold.inputs import key_of
from processors.kafka.partitioner import partition_of
from processors.kafka.settings import Settings

THREADS: Final = 8
QUEUE_FULL_SECONDS: Final = 0.005
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def in_a_thread(
    method: Callable[Concatenate[Client, Arguments], Result],
) -> Callable[Concatenate["AsyncClient", Arguments], Coroutine[Any, Any, Result]]:
    """Return the method of an AsyncClient that runs one of `Client` in a thread: with its arguments and docstring."""

    @wraps(method)
    async def call(client: "AsyncClient", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return await asked_by(client, method, *args, **kwargs)

    return call


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

    reach = in_a_thread(Client.reach)

    # Definitions.

    register = in_a_thread(Client.register)
    put = in_a_thread(Client.put)
    put_wf_spec = in_a_thread(Client.put_wf_spec)
    put_task_def = in_a_thread(Client.put_task_def)
    put_external_event_def = in_a_thread(Client.put_external_event_def)
    put_workflow_event_def = in_a_thread(Client.put_workflow_event_def)
    delete_definition = in_a_thread(Client.delete_definition)
    definitions = in_a_thread(Client.definitions)

    # Commands.

    async def run(
        self,
        wf_spec_name: str,
        variables: Mapping[str, Given] | None = None,
        *,
        wf_run_id: str | None = None,
        major: int | None = None,
        revision: int | None = None,
        definitions_position: int | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> AsyncPosted:
        """Start a WfRun, as `Client.run` does."""
        asking = self._client._asking
        return await self._send(
            asking.run(wf_spec_name, variables, wf_run_id, major, revision, definitions_position, operator, reason),
            wait,
        )

    async def post(
        self,
        wf_run_id: str,
        name: str,
        content: Given = None,
        *,
        event_id: str | None = None,
        thread: int | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> AsyncPosted:
        """Post an ExternalEvent, as `Client.post` does."""
        event = NewEvent(wf_run_id, name, content, event_id, thread, operator, reason)
        return await self._send(self._client._asking.event(event), wait)

    async def run_and_post(
        self,
        wf_spec_name: str,
        wf_run_id: str,
        name: str,
        content: Given = None,
        *,
        event_id: str | None = None,
        variables: Mapping[str, Given] | None = None,
        major: int | None = None,
        revision: int | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> AsyncPosted:
        """Start a WfRun if there is none with this id, and post an ExternalEvent, as `Client.run_and_post` does."""
        event = NewEvent(wf_run_id, name, content, event_id, None, operator, reason)
        return await self._send(
            self._client._asking.run_and_post(wf_spec_name, event, variables, major, revision), wait
        )

    async def post_correlated(
        self,
        key: str | int,
        name: str,
        content: Given = None,
        *,
        event_id: str | None = None,
        wait: float | bool = False,
    ) -> AsyncPostedCorrelated:
        """Post an ExternalEvent to every WfRun that has a correlation key for it, as `Client.post_correlated` does."""
        post = self._client.post_correlated
        posted = await self._in_thread(post, key, name, content, event_id=event_id, wait=wait)
        return AsyncPostedCorrelated(posted, self._in_thread)

    correlation = in_a_thread(Client.correlation)

    async def post_many(self, events: Iterable[NewEvent]) -> list[AsyncPosted]:
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
        self,
        wf_run_id: str,
        thread: int = 0,
        *,
        command_id: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> AsyncPosted:
        """Put MANUAL_HALT on a ThreadRun."""
        asked = {"operator": operator, "reason": reason}
        return await self._ask(StopWfRun, wait, command_id, wf_run_id=wf_run_id, thread=thread, **asked)

    async def resume(
        self,
        wf_run_id: str,
        thread: int = 0,
        *,
        command_id: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> AsyncPosted:
        """Take MANUAL_HALT off a ThreadRun."""
        asked = {"operator": operator, "reason": reason}
        return await self._ask(ResumeWfRun, wait, command_id, wf_run_id=wf_run_id, thread=thread, **asked)

    async def rescue(
        self,
        wf_run_id: str,
        thread: int = 0,
        *,
        skip_current_node: bool = False,
        command_id: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> AsyncPosted:
        """Revive a ThreadRun that is in ERROR."""
        fields = {"wf_run_id": wf_run_id, "thread": thread, "skip_current_node": skip_current_node}
        return await self._ask(RescueThreadRun, wait, command_id, **fields, operator=operator, reason=reason)

    async def migrate(
        self,
        wf_run_id: str,
        major: int,
        revision: int | None = None,
        *,
        command_id: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> AsyncPosted:
        """Let a WfRun go on by another version of its WfSpec, as `Client.migrate` does."""
        command = self._client._asking.migration(wf_run_id, major, revision, command_id, operator, reason)
        return await self._send(command, wait)

    try_migration = in_a_thread(Client.try_migration)

    async def delete(
        self,
        wf_run_id: str,
        incarnation: int | None = None,
        *,
        command_id: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> AsyncPosted:
        """Delete a WfRun and its ExternalEvents, as `Client.delete` does."""
        asked = {"operator": operator, "reason": reason}
        return await self._ask(DeleteWfRun, wait, command_id, wf_run_id=wf_run_id, incarnation=incarnation, **asked)

    async def fork(
        self,
        snapshot: WfRunSnapshot,
        wf_run_id: str,
        *,
        major: int | None = None,
        revision: int | None = None,
        operator: str | None = None,
        reason: str | None = None,
    ) -> AsyncPosted:
        """Start a WfRun from the state that another one had at a moment, as `Client.fork` does.

        `fork_point` finds the moment. It reads: call it by `asyncio.to_thread`, with a `Client`.
        """
        asked = {"operator": operator, "reason": reason}
        posted = await self._in_thread(self._client.fork, snapshot, wf_run_id, major=major, revision=revision, **asked)
        return AsyncPosted(posted, self._waited_for)

    reset = in_a_thread(Client.reset)

    async def quarantine(
        self,
        wf_run_id: str,
        reason: str | None = None,
        operator: str | None = None,
        *,
        command_id: str | None = None,
    ) -> AsyncPosted:
        """Have the engine keep the inputs of a WfRun and not decide them, as `Client.quarantine` does."""
        ask = self._client.quarantine
        posted = await self._in_thread(ask, wf_run_id, reason, operator, command_id=command_id)
        return AsyncPosted(posted, self._waited_for)

    async def release(
        self,
        wf_run_id: str,
        reason: str | None = None,
        operator: str | None = None,
        *,
        command_id: str | None = None,
    ) -> AsyncPosted:
        """End a quarantine, as `Client.release` does."""
        posted = await self._in_thread(self._client.release, wf_run_id, reason, operator, command_id=command_id)
        return AsyncPosted(posted, self._waited_for)

    async def send(self, command: Command, wait: float | bool = False) -> AsyncPosted:
        """Send a command, as `Client.send` does."""
        self._client.check(command)
        return await self._send(command, wait)

    async def _ask(self, kind: type[Command], wait: float | bool, command_id: str | None, **fields: Any) -> AsyncPosted:
        return await self._send(self._client._asking.made(kind, command_id, **fields), wait)

    async def _send(self, command: Command, wait: float | bool) -> AsyncPosted:
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

    row = in_a_thread(Client.row)
    history = in_a_thread(Client.history)

    def follow(
        self, wf_run_id: str | None = None, *, since: Since = "now", timeout_s: float | None = None
    ) -> AsyncFollow:
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


async def asked_by(
    client: AsyncClient,
    ask: Callable[Concatenate[Client, Arguments], Result],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    """Call a function with the Client of an AsyncClient, in a thread. For Halter itself: programs use methods."""
    return await client._in_thread(partial(ask, client._client), *args, **kwargs)


def awaited_by(client: AsyncClient, posted: Posted) -> AsyncPosted:
    """Return what waits for the outcome of a record that the Client of an AsyncClient has posted. For Halter itself."""
    return AsyncPosted(posted, client._waited_for)
