"""The log of a worker on stderr: set up here, and read again by whoever supervises the process.

The log is structlog's, one line per event, for people or as JSON. What libraries log from WARNING on goes the same way.
A traceback has no values of variables: they may be secrets. What others wrote cannot give orders to a terminal.
"""

import json
import logging
import re
import sys
import time
from typing import Any, Final, Literal

import structlog

from processors.core.records.values import Timestamp, iso_of

LogFormat = Literal["console", "json"]

CONSOLE_LINE: Final = re.compile(r"\S+ \[(?P<level>[a-z]+) *\] (?P<text>.*)", re.DOTALL)


def configure_logging(log_format: LogFormat = "console", level: str = "INFO", worker: str | None = None) -> None:
    """Send our log, and what libraries log from WARNING on, to stderr. Every line names the `worker`, if given."""

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
        processors=[*shared, structlog.processors.format_exc_info, escape, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level_number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, structlog.processors.format_exc_info],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, escape, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level_number, logging.WARNING))
    logging.captureWarnings(True)


def read_line(line: str) -> tuple[str, str] | None:
    """Return the level and the text of a line of our log, in either form and without colours; None for another line."""
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
    """Add the time to a line, in the form that all times of ours have."""
    return {**event, "timestamp": iso_of(Timestamp(time.time_ns() // 1_000_000))}


def escape(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Write a character that a terminal would take for an order as its escape. Lines stay lines, as in a traceback."""
    return {name: _escaped(it) if isinstance(it, str) else it for name, it in event.items()}


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(it if it.isprintable() or it in "\n\t" else ascii(it)[1:-1] for it in text)
