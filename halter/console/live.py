"""Live events: what has changed in the view, as server-sent events, to browsers that wait for it.

One task looks at the view while somebody listens, and hands each change to every client's own buffer. Buffers and
clients are bounded: whose buffer is full is dropped, comes back by itself, and is told to load its page again if what
it missed is not kept any more. So a slow client costs the others nothing.

    event: hello    data: {"position": 4711}       the stream has begun, at this position of the view
    event: change   data: {"wf_runs": ["cart-1"], "has_more": false, "lag": 3, "events": 120}
    event: reset    data: {}                       what was missed is not known, or `?since=` is older: load again
    event: away     data: {"sentence": "…"}        the view cannot be read
    event: back     data: {}                       it can be read again
"""

import asyncio
import json
import secrets
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from halter.console.metrics import Figures
from halter.console.problems import Problem, problem_of
from halter.console.security_rates import network_of
from halter.console.settings import Bounds
from halter.view.changes import Change, Position
from processors.core.records.errors import HalterError

RETRY_MS: Final = 2000
Looks = Callable[[Position | None], tuple[Position, Change | None]]


@dataclass(frozen=True, slots=True)
class Message:
    """One event for clients."""

    number: int
    event: str
    data: dict[str, object]

    def concerns(self, wf_run_id: str | None) -> bool:
        """Say whether it is for a client that wants to know of one WfRun only."""
        if wf_run_id is None or self.event != "change":
            return True
        return bool(self.data["has_more"]) or wf_run_id in self.data["wf_runs"]  # type: ignore[operator]


@dataclass(eq=False, slots=True)
class Client:
    """Somebody who listens."""

    address: str
    wf_run_id: str | None
    waiting: asyncio.Queue[Message]
    since: str | None = None
    """The position of the view that its page shows."""
    is_greeted: bool = False
    is_dropped: bool = False


class _Stream(StreamingResponse):
    """A stream of events, which lets go of its client however it ends."""

    def __init__(self, events: AsyncIterator[bytes], leave: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


@dataclass
class Live:
    """Hands changes to clients. It belongs to one event loop."""

    look: Looks
    """Returns what has changed since a position of the view. It blocks."""
    bounds: Bounds
    figures: Figures
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    _epoch: str = field(default_factory=lambda: secrets.token_hex(4))
    _clients: list[Client] = field(default_factory=list)
    _number: int = 0
    _task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._kept: deque[Message] = deque(maxlen=self.bounds.live_kept)
        self._log = structlog.get_logger("halter.console")

    def routes(self) -> list[Route]:
        """Return the route of the stream."""
        return [Route("/live", self.answer, methods=["GET"])]

    async def answer(self, request: Request) -> Response:
        """Answer with a stream of events, from `Last-Event-ID` on.

        `?wf_run=ID`: only what concerns this WfRun. `?since=N`: the position of the view that the page shows.
        """
        client = self._taken(request)
        return _Stream(
            self._events(client, request.headers.get("last-event-id"), request.state.is_valid),
            lambda: self._leave(client),
        )

    def _taken(self, request: Request) -> Client:
        """Take one more client. Raises Problem."""
        address = network_of(request.state.address)
        there = Counter(it.address for it in self._clients)
        if len(self._clients) >= self.bounds.live_clients or there[address] >= self.bounds.live_clients_of_address:
            sentence = "too many pages listen to live events; close some, or load the page again by hand"
            raise Problem(503, "TOO_MANY_CLIENTS", sentence, {"Retry-After": "30"})
        asked = request.query_params
        client = Client(address, asked.get("wf_run"), asyncio.Queue(self.bounds.live_buffer), asked.get("since"))
        self._clients.append(client)
        self.figures.live_clients(len(self._clients))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_on())
        return client

    def _leave(self, client: Client) -> None:
        self._clients.remove(client)
        self.figures.live_clients(len(self._clients))

    async def _events(self, client: Client, last_id: str | None, is_valid: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Yield the events for a client, and a comment now and then, until it is dropped, logged out, or all ends."""
        yield f"retry: {RETRY_MS}\n\n".encode()
        for message in self._missed(last_id):
            if message.concerns(client.wf_run_id):
                yield self._text(message)
        while is_valid() and not client.is_dropped and not self.closing.is_set():
            coming = await self._next(client)
            yield b": still here\n\n" if coming is None else self._text(coming)

    async def _next(self, client: Client) -> Message | None:
        """Return the next event; None if there is none for a while, or all of it ends."""
        getting = asyncio.create_task(client.waiting.get())
        ending = asyncio.create_task(self.closing.wait())
        try:
            await asyncio.wait(
                (getting, ending), timeout=self.bounds.live_heartbeat_s, return_when=asyncio.FIRST_COMPLETED
            )
            return getting.result() if getting.done() else None
        finally:
            getting.cancel()
            ending.cancel()

    def _missed(self, last_id: str | None) -> list[Message]:
        """Return the events after the last one that a client has seen; a reset if they are not kept any more."""
        if last_id is None:
            return []
        epoch, _, number = last_id.partition("-")
        is_ours = epoch == self._epoch and number.isascii() and number.isdigit() and len(number) < 16
        seen = int(number) if is_ours else -1
        oldest = self._kept[0].number if self._kept else self._number + 1
        if not is_ours or seen < oldest - 1 or seen > self._number:
            return [Message(self._number, "reset", {})]
        return [it for it in self._kept if it.number > seen]

    def _text(self, message: Message) -> bytes:
        data = json.dumps(message.data, ensure_ascii=False)
        return f"id: {self._epoch}-{message.number}\nevent: {message.event}\ndata: {data}\n\n".encode()

    async def _look_on(self) -> None:
        """Look at the view until nobody listens any more."""
        position: Position | None = None
        is_away = False
        quiet_since = time.monotonic()
        while not self.closing.is_set():
            if self._clients:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > RETRY_MS / 1000 * 2:
                return  # a client that was dropped is back by then, and nothing was missed
            try:
                now, change = await asyncio.to_thread(self.look, position)
                position = now
                if is_away:
                    is_away = False
                    self._tell("back", {})
                self._greet(now)
                if change is not None:
                    self._tell("change", asdict(change))
            except HalterError as error:
                if not is_away:
                    is_away, position = True, None
                    self._tell("away", {"sentence": problem_of(error).sentence})
            except Exception:  # noqa: BLE001  the task goes on whatever it meets, and says so
                self._log.exception("view_not_read")
                position = None
            with suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), self.bounds.live_poll_s)

    def _greet(self, position: Position) -> None:
        """Tell clients that have just come where the view is. From here on they hear of every change."""
        for client in self._clients:
            if not client.is_greeted:
                client.is_greeted = True
                is_current = client.since in (None, str(position.number))
                hello = Message(self._number, "hello", {"position": position.number})
                self._put(client, hello if is_current else Message(self._number, "reset", {}))

    def _tell(self, event: str, data: dict[str, object]) -> None:
        """Hand an event to every client that it concerns."""
        self._number += 1
        message = Message(self._number, event, data)
        self._kept.append(message)
        for client in self._clients:
            if message.concerns(client.wf_run_id):
                self._put(client, message)

    def _put(self, client: Client, message: Message) -> None:
        """Hand an event to a client. If its buffer is full, it is dropped."""
        if client.is_dropped:
            return
        try:
            client.waiting.put_nowait(message)
        except asyncio.QueueFull:
            client.is_dropped = True
            self.figures.dropped("slow")
