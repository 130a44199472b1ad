"""Follows the log in an event loop: `halter.client.following` reads, in a thread of its own that the loop waits for."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from halter.client.following import Batch, Followed, Follower, Patience
from halter.client.reading import GivenUp, until_given_up


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
