"""The history of a WfRun as lines: one per event, each with the record that caused it.

    time                      seq  event                                            cause
    2026-01-01T00:00:04.210Z    3  E  ExternalEventPosted  cancel e1                external-events[3]@41 e1
    2026-01-01T00:00:04.210Z    4  E  Halt                 #0  PENDING_INTERRUPT(e1)  external-events[3]@41 e1

Each event is worded as in `halter.show.log_text`. The command line prints these lines when its output is no terminal.
The demo and failing tests print them without the time. `halter.show.history_table` makes a table for a terminal.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from halter.client.history import History
from halter.show.log_text import by_operator, event_line
from halter.show.plain import plain
from halter.show.times import iso
from halter.show.wrapping import printable
from processors.core.records.events import Cause, LogEntry, WfRunForked
from processors.core.records.model import NO_INCARNATION

TIME_WIDTH: Final = len(iso(0))
EVENT_WIDTH_MAX: Final = 110
"""Largest width of the column of events. A longer line pushes its own cause to the right, and no other."""


def cause_text(cause: Cause) -> str:
    """The record that is a cause: `external-events[3]@41 e1`."""
    name = "" if cause.command_id is None else f" {cause.command_id}"
    return printable(f"{cause.topic}[{cause.partition}]@{cause.offset}{name}")


def asked_text(entry: LogEntry, before: str = " ") -> str:
    """Who asked for what caused an event, and why, behind `before`; empty if its record does not say it."""
    return "" if entry.asked is None else printable(by_operator(entry.asked.operator, entry.asked.reason, before))


def seq_text(entry: LogEntry) -> str:
    """The seq of an event; a dash if there was no WfRun, whose events are counted."""
    return str(entry.seq) if entry.seq else "-"


def lines(entries: Iterable[LogEntry], width: int | None = None, *, times: bool = False) -> list[str]:
    """A heading and one line per event, in columns that fit them.

    With `width`, longer texts of events are cut. With `times`, each line begins with the time of its event.
    """
    return list(Columns().lines(entries, width, times=times))


class Columns:
    """The widths of columns. They only grow, so that what comes in chunks stands in the same columns where it can."""

    def __init__(self) -> None:
        self._seq, self._event = len("seq"), len("event")

    def lines(
        self, entries: Iterable[LogEntry], width: int | None, *, times: bool, heading: bool = True
    ) -> Iterator[str]:
        """A line per event, and if wanted a heading above them."""
        rows = [
            (
                iso(it.time_ms),
                seq_text(it),
                cut(printable(event_line(it.event)), width),
                cause_text(it.cause) + asked_text(it),
            )
            for it in entries
        ]
        self._seq = max([self._seq, *(len(seq) for _, seq, _, _ in rows)])
        self._event = min(max([self._event, *(len(event) for _, _, event, _ in rows)]), EVENT_WIDTH_MAX)
        for time, seq, event, cause in [*([("time", "seq", "event", "cause")] * heading), *rows]:
            told = f"{time:<{TIME_WIDTH}}  " if times else ""
            yield f"{told}{seq:>{self._seq}}  {event:<{self._event}}  {cause}"


def cut(line: str, width: int | None) -> str:
    """A line, cut with a `…` if it is longer than `width`."""
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def text(history: History, width: int | None = None, *, times: bool = False) -> Iterator[str]:
    """The lines of a whole history: for each incarnation a title, and then its events."""
    lines_ = Lines(width, times=times)
    for chunk in chunks(history.entries, sys.maxsize):
        yield from lines_.of(chunk)


class Lines:
    """Makes lines of a history that comes in chunks: for each incarnation a title, and then its events."""

    def __init__(self, width: int | None = None, *, times: bool = False) -> None:
        self._width, self._times = width, times
        self._incarnation: int | None = None
        self._columns = Columns()

    def of(self, chunk: Sequence[LogEntry]) -> Iterator[str]:
        """The lines of events of one incarnation. Those of the next chunk go on below them."""
        first = chunk[0]
        begins = first.incarnation != self._incarnation
        if begins:
            if self._incarnation is not None:
                yield ""
            self._incarnation, self._columns = first.incarnation, Columns()
            yield printable(f"{first.wf_run_id}, {started_by(chunk)}, from {iso(first.time_ms)}")
        yield from self._columns.lines(chunk, self._width, times=self._times, heading=begins)


def chunks(entries: Iterable[LogEntry | None], size: int) -> Iterator[list[LogEntry]]:
    """Divide events into chunks, each of one incarnation. None among them ends a chunk: show what has come so far."""
    chunk: list[LogEntry] = []
    for entry in entries:
        if chunk and (entry is None or entry.incarnation != chunk[0].incarnation or len(chunk) >= size):
            yield chunk
            chunk = []
        if entry is not None:
            chunk.append(entry)
    if chunk:
        yield chunk


def started_by(first: Sequence[LogEntry]) -> str:
    """The command that started the WfRun of its first events, and for a fork the moment of its source, for a title."""
    if first[0].incarnation == NO_INCARNATION:
        return "while there was no WfRun"
    forks = (it.event for it in first[:2] if isinstance(it.event, WfRunForked))
    of = "".join(f" as a fork of {fork.source_wf_run_id} after event {fork.source_seq}" for fork in forks)
    return f"started by wf-commands@{first[0].incarnation}{of}"


def entry_data(entry: LogEntry) -> dict[str, Any]:
    """An event as plain JSON data."""
    asked = {} if entry.asked is None else plain(entry.asked)
    return {
        "wf_run_id": entry.wf_run_id,
        "incarnation": entry.incarnation,
        "seq": entry.seq,
        "time": iso(entry.time_ms),
        "event": type(entry.event).__name__,
        "fields": plain(entry.event),
        "cause": plain(entry.cause) | asked,
    }
