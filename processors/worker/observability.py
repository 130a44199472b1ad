"""What a worker says and shows: its log on stderr, a ready file, an endpoint for probes. Each only when asked for.

The log is structlog's, one line per event, for people or as JSON; what libraries log goes the same way from
WARNING on. The ready file exists while the worker is ready. The endpoint answers `/ready`, `/live`, `/metrics` and
nothing else, asks nobody for a password, and listens on the loopback address unless another one is named.
"""

import asyncio
import errno
import json
import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Literal, Self

import structlog

from processors.core.records.errors import HalterError
from processors.core.records.values import Timestamp, iso_of

LogFormat = Literal["console", "json"]
REQUEST_SECONDS: Final = 5.0
"""So long one question and its answer may take."""
OPEN_MAX: Final = 100
"""So many may ask at once; whoever comes then is sent away, before a worker has no files left for its work."""
KNOWN: Final = ["/live", "/ready", "/metrics"]
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class PortTaken(HalterError):
    """Something else listens where the probes should be answered: choose another port."""


class HostUnfit(HalterError):
    """Nobody can listen at the address where the probes should be answered: name one of this machine."""


def configure_logging(log_format: LogFormat = "console", level: str = "INFO", worker: str | None = None) -> None:
    """Send our log, and what libraries log from WARNING on, to stderr. `worker` is added to every line."""

    def add_worker(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, "worker": worker} if worker else event

    shared: list[Any] = [
        add_worker,
        structlog.processors.add_log_level,
        add_time,
    ]
    renderer: Any
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    level_number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level_number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level_number, logging.WARNING))
    logging.captureWarnings(True)


CONSOLE_LINE: Final = re.compile(r"\S+ \[(?P<level>[a-z]+) *\] (?P<text>.*)", re.DOTALL)


def read_line(line: str) -> tuple[str, str] | None:
    """The level of a line that a log of ours has, in either form and without colours, and what it says; None: it is
    no line of such a log.
    """
    if line.startswith("{"):
        try:
            fields = json.loads(line)
            level, event = fields.pop("level"), fields.pop("event")
        except (ValueError, KeyError, AttributeError):
            return None
        more = (f"{name}={value!r}" for name, value in sorted(fields.items()) if name != "timestamp")
        return level, " ".join([event, *more])
    found = CONSOLE_LINE.fullmatch(line)
    return None if found is None else (found["level"], " ".join(found["text"].split()))


def add_time(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The time of a line, written as all times are."""
    return {**event, "timestamp": iso_of(Timestamp(time.time_ns() // 1_000_000))}


class ReadyFile:
    """A file that is there while the worker is ready, with what it is doing as JSON."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.remove()

    def write(self, state: Mapping[str, Any]) -> None:
        """Make the file, so that whoever waits for it finds it complete; or remove it if the state is not ready."""
        if not state["ready"]:
            self.remove()
            return
        new = self._path.with_name(f"{self._path.name}.new")
        new.write_text(json.dumps({**state, "pid": os.getpid()}) + "\n", encoding="utf-8")
        new.replace(self._path)

    def remove(self) -> None:
        """Say that the worker is not ready."""
        self._path.unlink(missing_ok=True)


def metrics(state: Mapping[str, Any]) -> str:
    """Return a worker's state in the text format of Prometheus: who is to be told of what, by partition."""
    partitions = sorted({*state["shards"], *state["restoring"], *state["paused"]})
    gauges: list[tuple[str, str, dict[str, int]]] = [
        ("halter_ready", "Whether the worker folds everything that is its to fold.", {"": int(state["ready"])}),
        (
            "halter_partition_restoring",
            "Whether the state of a partition of this worker is still being read.",
            {labels(number): int(number in state["restoring"]) for number in partitions},
        ),
        (
            "halter_partition_paused",
            "Whether a partition of this worker waits because a rule broke or its state cannot be read.",
            {labels(number): int(number in state["paused"]) for number in partitions},
        ),
        (
            "halter_quarantined_wf_runs",
            "WfRuns in quarantine, by partition.",
            {labels(number): state["quarantined"].get(number, 0) for number in state["shards"]},
        ),
    ]
    lines = []
    for name, what, samples in gauges:
        lines += [f"# HELP {name} {what}", f"# TYPE {name} gauge"]
        lines += [f"{name}{of} {value}" for of, value in samples.items()]
    return "\n".join(lines) + "\n"


def labels(partition: int) -> str:
    """Return the labels of a sample."""
    return f'{{partition="{partition}"}}'


class Probes:
    """Answers `GET /live`, `/ready` (200 or 503, the state as JSON) and `/metrics` (for Prometheus); no framework.

    In a thread with an event loop of its own: a fold keeps the worker's loop for as long as a record takes, and an
    answer shall not wait for it. `/live` says that the process is there and has not ended its work; whether what it
    does still moves is the watchdog's to judge, who ends the process. A context manager: it listens inside the block.
    """

    def __init__(self, state: Callable[[], Mapping[str, Any]], host: str, port: int) -> None:
        self._state, self._host, self._port = state, host, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="probes", daemon=True)
        self._listening: Future[None] = Future()
        self._over = asyncio.Event()
        self._open = 0

    def __enter__(self) -> Self:
        """Listen. Raises PortTaken, HostUnfit."""
        self._thread.start()
        try:
            self._listening.result()
        except OSError as error:
            raise self._refusal(error) from error
        except ValueError as error:  # a name that no resolver is asked for
            raise self._unknown() from error
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no longer."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(REQUEST_SECONDS)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_over())

    async def _until_over(self) -> None:
        try:
            server = await asyncio.start_server(self._answer, self._host, self._port)
        except Exception as error:  # noqa: BLE001  whoever waits for it hears of it
            self._listening.set_exception(error)
            return
        self._listening.set_result(None)
        await self._over.wait()
        server.close()

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
        return f"cannot answer probes at {place(self._host, self._port)}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= OPEN_MAX:
                async with asyncio.timeout(REQUEST_SECONDS):
                    request = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._response(request.split(b" ", 2)[1].decode("ascii", "replace")))
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, ConnectionError):
            pass  # whoever asked did not ask properly, or is gone
        finally:
            self._open -= 1
            writer.close()

    def _response(self, path: str) -> bytes:
        state = self._state()
        status, kind = 200, "application/json"
        body = json.dumps(state).encode() + b"\n"
        match path:
            case "/live":
                status = 200 if state["live"] else 503
            case "/ready":
                status = 200 if state["ready"] else 503
            case "/metrics":
                kind, body = METRICS_TYPE, metrics(state).encode()
            case _:
                status, body = 404, json.dumps({"known": KNOWN}).encode() + b"\n"
        head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'NOT OK'}\r\nContent-Type: {kind}\r\n"
        return head.encode() + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


def place(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
