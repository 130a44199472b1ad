"""Runs a console on uvicorn until a signal.

uvicorn waits for ever for a client that sends no whole head, and for one that does not take its answer. So a protocol
of ours gives both a time, and the number of connections has a bound.
"""

import asyncio
import errno
import socket
from collections import Counter
from typing import Any, Final

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from halter.console.metrics import Figures
from halter.console.security import HEADERS, NOT_KEPT
from halter.console.security_rates import network_of
from halter.console.settings import BadConsole, ConsoleSettings

KEEP_ALIVE_S: Final = 5
END_S: Final = 2
"""How long requests have to end when the console ends."""
BACKLOG: Final = 128


def listening(settings: ConsoleSettings) -> socket.socket:
    """Listen at the address of a console. Raises BadConsole."""
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise BadConsole(f"--host: expected an address of this machine, found '{host}'") from None
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise BadConsole(
                f"cannot listen at {host}:{port}: something else listens there; choose another --port"
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise BadConsole(f"--host {host}: expected an address of this machine, found another's") from None
        why = error.strerror or error
        raise BadConsole(f"cannot listen at {host}:{port}: {why}; choose another --host or --port") from None
    return listener


def serve(app: Starlette, settings: ConsoleSettings, listener: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    Server(app, settings).run([listener])


class Server(uvicorn.Server):
    """A server of a console. Its end is told to streams of events before it waits for open requests."""

    def __init__(self, app: Starlette, settings: ConsoleSettings) -> None:
        super().__init__(_config(app, settings))
        self._app = app
        self.figures: Figures = app.state.figures

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: streams of events are over at once."""
        self._app.state.live.closing.set()
        await super().shutdown(sockets)


def _config(app: Starlette, settings: ConsoleSettings) -> uvicorn.Config:
    figures, bounds = app.state.figures, settings.bounds

    class Patient(PatientProtocol):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.settings, self.figures = settings, figures

    return uvicorn.Config(
        app,
        http=Patient,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=END_S,
        h11_max_incomplete_event_size=bounds.header_bytes,
    )


class PatientProtocol(H11Protocol):
    """HTTP for clients that send the whole head of a request within a time, and take each part of an answer in one."""

    settings: ConsoleSettings
    figures: Figures
    _waiting: asyncio.TimerHandle | None = None
    _sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for a first request, unless there are too many connections, or too many of this address."""
        super().connection_made(transport)
        if self._is_one_too_many():
            transport.abort()
            return
        transport.set_write_buffer_limits(high=0)  # so that we are told of every byte that is not taken
        self._wait()

    def _is_one_too_many(self) -> bool:
        bounds = self.settings.bounds
        if len(self.connections) > bounds.connections:
            return True
        if self.client is None or self.settings.trusts(self.client[0]):
            return False
        clients = [getattr(it, "client", None) for it in self.connections]
        networks = Counter(network_of(it[0]) for it in clients if it is not None)
        return networks[network_of(self.client[0])] > bounds.connections_of_address

    def data_received(self, data: bytes) -> None:
        """Take a part of a request. From the first part to the whole head there is one time."""
        seen = self.cycle
        has_none: bool = seen is None  # uvicorn's annotation leaves it out
        if self._waiting is None and (has_none or seen.response_complete):
            self._wait()
        super().data_received(data)
        if self.cycle is not seen:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        self._stop_sending()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give the client a time to take what is written."""
        super().pause_writing()
        self._sending = self.loop.call_later(self.settings.bounds.send_s, self._drop)

    def resume_writing(self) -> None:
        """Go on: the client has taken all of it."""
        self._stop_sending()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, with the security headers of all answers: it does not come to the gate."""
        head = {"Content-Type": "text/plain", "Connection": "close", "Cache-Control": NOT_KEPT, **HEADERS}
        headers = [(name.lower().encode(), value.encode()) for name, value in head.items()]
        answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (answer, h11.Data(data=msg.encode("ascii")), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def _drop(self) -> None:
        """End a connection whose client does not take its answer. To close it would be to wait for the client again."""
        self.figures.refused("SLOW_CLIENT")
        self.transport.abort()

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self.settings.bounds.head_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
