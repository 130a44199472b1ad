"""The history of a WfRun as lines: one per event, each with the record that caused it.

    time                      seq  event                                            cause
    2026-01-01T00:00:04.210Z    3  E  ExternalEventPosted  cancel e1                external-events[3]@41 e1
    2026-01-01T00:00:04.210Z    4  E  Halt                 #0  PENDING_INTERRUPT(e1)  external-events[3]@41 e1

Each event is worded as in `halter.show.log_text`. The command line prints these lines when its output is no terminal.
The demo and failing tests print them without the time. `halter.show.history_table` makes a table for a terminal.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from halter.client.history import History, Incarnation
from halter.show.log_text import event_line
from halter.show.plain import plain
from halter.show.times import iso
from processors.core.records.events import Cause, LogEntry
from processors.core.records.model import NO_INCARNATION

TIME_WIDTH: Final = len(iso(0))
EVENT_WIDTH_MAX: Final = 110
"""Largest width of the column of events. A longer line pushes its own cause to the right, and no other."""


def cause_text(cause: Cause) -> str:
    """The record that is a cause: `external-events[3]@41 e1`."""
    name = "" if cause.command_id is None else f" {cause.command_id}"
    return f"{cause.topic}[{cause.partition}]@{cause.offset}{name}"


def seq_text(entry: LogEntry) -> str:
    """The seq of an event; a dash if there was no WfRun, whose events are counted."""
    return str(entry.seq) if entry.seq else "-"


def lines(entries: Iterable[LogEntry], width: int | None = None, *, times: bool = False) -> list[str]:
    """A heading and one line per event, in columns that fit them.

    With `width`, longer texts of events are cut. With `times`, each line begins with the time of its event.
    """
    rows = [(iso(it.time_ms), seq_text(it), cut(event_line(it.event), width), cause_text(it.cause)) for it in entries]
    seq_width = max([3, *(len(seq) for _, seq, _, _ in rows)])
    event_width = min(max([5, *(len(event) for _, _, event, _ in rows)]), EVENT_WIDTH_MAX)
    return [
        (f"{time:<{TIME_WIDTH}}  " if times else "") + f"{seq:>{seq_width}}  {event:<{event_width}}  {cause}"
        for time, seq, event, cause in [("time", "seq", "event", "cause"), *rows]
    ]


def cut(line: str, width: int | None) -> str:
    """A line, cut with a `…` if it is longer than `width`."""
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def text(history: History, width: int | None = None, *, times: bool = False) -> Iterator[str]:
    """The lines of a whole history: for each incarnation a title, and then its events."""
    for number, incarnation in enumerate(history.incarnations):
        if number:
            yield ""
        yield _title(history.wf_run_id, incarnation)
        yield from lines(incarnation.entries, width, times=times)


def _title(wf_run_id: str, incarnation: Incarnation) -> str:
    times = [entry.time_ms for entry in incarnation.entries]
    span = f"{iso(min(times))} to {iso(max(times))}"
    return f"{wf_run_id}, {started_by(incarnation)}: {span}"


def started_by(incarnation: Incarnation) -> str:
    """The command that started a WfRun, for a title."""
    if incarnation.number == NO_INCARNATION:
        return "while there was no WfRun"
    return f"started by wf-commands@{incarnation.number}"


def entry_data(entry: LogEntry) -> dict[str, Any]:
    """An event as plain JSON data."""
    return {
        "wf_run_id": entry.wf_run_id,
        "incarnation": entry.incarnation,
        "seq": entry.seq,
        "time": iso(entry.time_ms),
        "event": type(entry.event).__name__,
        "fields": plain(entry.event),
        "cause": plain(entry.cause),
    }
