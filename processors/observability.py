"""What a worker says and shows: its log on stderr, a ready file, an endpoint for probes. Each only when asked for.

The log is structlog's, one line per event, for people or as JSON; what libraries log goes the same way from
WARNING on. The ready file exists while the worker is ready. The endpoint answers `/ready`, `/live`, `/metrics` and
nothing else, on the loopback address.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from processors.errors import HalterError

LogFormat = Literal["console", "json"]
LOOPBACK: Final = "127.0.0.1"
REQUEST_SECONDS: Final = 5.0
KNOWN: Final = ["/live", "/ready", "/metrics"]
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class PortTaken(HalterError):
    """Something else listens where the probes should be answered: choose another port."""


def configure_logging(log_format: LogFormat = "console", level: str = "INFO", worker: str | None = None) -> None:
    """Send our log, and what libraries log from WARNING on, to stderr. `worker` is added to every line."""

    def add_worker(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, "worker": worker} if worker else event

    shared: list[Any] = [
        add_worker,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
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
    """Answers `GET /ready` and `GET /live` with 200 or 503 and the state as JSON, and `GET /metrics` with the state for
    Prometheus; for loopback only, no framework.
    """

    def __init__(self, state: Callable[[], Mapping[str, Any]], port: int) -> None:
        self._state, self._port = state, port
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises PortTaken."""
        try:
            self._server = await asyncio.start_server(self._answer, LOOPBACK, self._port)
        except OSError as error:
            raise PortTaken(f"cannot answer probes on {LOOPBACK}:{self._port}: {error.strerror}") from error

    async def stop(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_SECONDS)
            path = request.split(b" ", 2)[1].decode("ascii", "replace")
            state = self._state()
            # Alive is who answers: that the loop turns is what the question is about.
            status, kind = {"/live": 200, "/ready": 200 if state["ready"] else 503}.get(path, 404), "application/json"
            if path == "/metrics":
                status, kind, body = 200, METRICS_TYPE, metrics(state).encode()
            else:
                body = json.dumps(state if status != 404 else {"known": KNOWN}).encode() + b"\n"
            head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'NOT OK'}\r\nContent-Type: {kind}\r\n"
            writer.write(head.encode() + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, ConnectionError):
            pass  # whoever asked did not ask properly, or is gone
        finally:
            writer.close()
