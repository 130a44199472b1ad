"""The HTTP endpoint of a worker or task worker: `/live` and `/ready` for whoever runs it, `/metrics` for Prometheus.

It answers nothing else, asks nobody for a password, and listens on the loopback address unless another one is named.
"""

import asyncio
import errno
import json
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, Protocol, Self

from processors.core.records.errors import HalterError
from processors.worker.exposition import CONTENT_TYPE

REQUEST_SECONDS: Final = 5.0
"""The time that one question and its answer may take."""
OPEN_MAX: Final = 100
"""The number of connections that are open at once, so that a worker keeps files for its work.

Another one takes the place of the oldest: whoever asks and waits for the answer is through at once, and whoever opens
many connections and says nothing keeps nobody out.
"""
KNOWN: Final = ["/live", "/ready", "/metrics"]


class PortTaken(HalterError):
    """Something else listens where the probes should be answered: choose another port."""


class HostUnfit(HalterError):
    """Nobody can listen at the address where the probes should be answered: name one of this machine."""


class Condition(Protocol):
    """How a process is doing at one moment."""

    @property
    def live(self) -> bool:
        """Say whether it still works."""

    @property
    def ready(self) -> bool:
        """Say whether it does all that is its to do."""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""


class Probes:
    """Answers `GET /live`, `/ready` (200 or 503, the state as JSON) and `/metrics`. It needs no framework.

    It runs in a thread with an event loop of its own: a fold keeps the worker's loop for as long as a record takes, and
    an answer must not wait for it. `/live` says that the process is there and that its work is not over. It does not
    say that anything moves: the watchdog judges that, and ends the process. Probes are a context manager and listen
    inside the block.
    """

    def __init__(self, snapshot: Callable[[], Condition], metrics: Callable[[], bytes], host: str, port: int) -> None:
        """`metrics` returns them in the text format of CONTENT_TYPE."""
        self._snapshot, self._metrics, self._host, self._port = snapshot, metrics, host, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="probes", daemon=True)
        self._listening: Future[None] = Future()
        self._over = asyncio.Event()
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        """The open connections, the oldest first, and what answers each."""

    def __enter__(self) -> Self:
        """Listen. Raises PortTaken, HostUnfit."""
        self._thread.start()
        try:
            self._listening.result()
        except OSError as error:
            raise self._refusal(error) from error
        except ValueError as error:  # no resolver is asked for such a name
            raise self._unknown() from error
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(REQUEST_SECONDS)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_over())

    async def _until_over(self) -> None:
        try:
            server = await asyncio.start_server(self._answer, self._host, self._port)
        except Exception as error:  # noqa: BLE001  `__enter__` waits for it and raises it
            self._listening.set_exception(error)
            return
        self._listening.set_result(None)
        await self._over.wait()
        server.close()
        # Not by cancelling: asyncio writes a traceback for each of its own tasks that is.
        answering = [task for task in self._open.values() if task is not None]
        for writer in self._open:
            writer.transport.abort()
        if answering:
            await asyncio.wait(answering, timeout=REQUEST_SECONDS)

    def _refusal(self, error: OSError) -> HalterError:
        where = self._where
        if isinstance(error, socket.gaierror):
            return self._unknown()
        if error.errno == errno.EADDRNOTAVAIL:
            return HostUnfit(f"{where}: expected an address of this machine, found another's")
        if error.errno == errno.EADDRINUSE:
            return PortTaken(f"{where}: something else listens there; choose another --health-port")
        return HostUnfit(f"{where}: {os.strerror(error.errno) if error.errno else error}")

    def _unknown(self) -> HostUnfit:
        return HostUnfit(f"{self._where}: expected an address of this machine, found a name that is not known")

    @property
    def _where(self) -> str:
        return f"cannot answer probes at {host_and_port(self._host, self._port)}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= OPEN_MAX:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        self._open[writer] = asyncio.current_task()
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(request.split(b" ", 2)[1].decode("ascii", "replace")))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, ConnectionError):
            pass  # the request was no proper one, or its sender is gone
        finally:
            self._open.pop(writer, None)
            writer.close()

    def _response(self, path: str) -> bytes:
        snapshot = self._snapshot()
        status, content_type = 200, "application/json"
        body = json.dumps(snapshot.as_dict()).encode() + b"\n"
        match path:
            case "/live":
                status = 200 if snapshot.live else 503
            case "/ready":
                status = 200 if snapshot.ready else 503
            case "/metrics":
                content_type, body = CONTENT_TYPE, self._metrics()
            case _:
                status, body = 404, json.dumps({"known": KNOWN}).encode() + b"\n"
        head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'NOT OK'}\r\nContent-Type: {content_type}\r\n"
        return head.encode() + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


def host_and_port(host: str, port: int) -> str:
    """Return `host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
