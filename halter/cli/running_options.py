"""What commands that run until a signal have in common: the signal, what they log, and where they answer probes.

Options are groups (`halter.cli.option_groups`). Knows no command.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, Literal

import typer

from halter.cli.given import to_write
from halter.cli.option_groups import OptionGroup
from halter.cli.usage import BadOptions

LOOPBACK: Final = "127.0.0.1"
PORT_MAX: Final = 65_535

HealthPort = Annotated[
    int | None,
    typer.Option(
        "--health-port",
        min=1,
        max=PORT_MAX,
        envvar="HALTER_HEALTH_PORT",
        help="Answer GET /live, /ready and /metrics at this port.",
        show_default=False,
    ),
]
HealthHost = Annotated[
    str | None,
    typer.Option(
        "--health-host",
        metavar="ADDRESS",
        envvar="HALTER_HEALTH_HOST",
        help="Address for --health-port: IPv4, IPv6 or a name. 0.0.0.0 is every IPv4 address, :: every IPv6 address. "
        "Anyone who reaches it gets an answer, without a password. Default: 127.0.0.1.",
        show_default=False,
    ),
]
LogFormat = Annotated[
    Literal["console", "json"], typer.Option("--log-format", help="Log for people, or as one JSON object per line.")
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"], typer.Option("--log-level", help="Lowest level to log.")
]
ReadyFile = Annotated[
    Path | None,
    typer.Option(
        "--ready-file",
        help="File that is made when Kafka answers, before the group is joined; /ready says when it is.",
        show_default=False,
        callback=to_write,
    ),
]


@dataclass(frozen=True)
class Running(OptionGroup):
    """Where a process answers /live, /ready and /metrics, and what it logs."""

    health_port: HealthPort = None
    health_host: HealthHost = None
    log_format: LogFormat = "console"
    log_level: LogLevel = "info"

    def begin(self, slot: str | None = None) -> None:
        """Begin to log. `slot`: that of the worker, which each line then names. Raises BadOptions."""
        from processors.worker.logs import configure_logging

        if self.health_host is not None and self.health_port is None:
            raise BadOptions("--health-host (HALTER_HEALTH_HOST): expected a --health-port with it, found none")
        configure_logging(self.log_format, self.log_level, slot)

    def answering(self, probes: Callable[[str, int], AbstractContextManager[Any]]) -> AbstractContextManager[Any]:
        """Return what answers while a block runs: `probes` of an address and a port; nothing does without a port."""
        return nullcontext() if self.health_port is None else probes(self.health_host or LOOPBACK, self.health_port)


@contextmanager
def until_signal() -> Iterator[threading.Event]:
    """Yield an event that the first SIGTERM or Ctrl-C sets. The second ends the process."""
    stopped = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        # Nothing is logged here: the line that is interrupted may hold the log's own lock.
        is_second = stopped.is_set()
        stopped.set()
        if is_second:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
