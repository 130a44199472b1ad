"""The history of a WfRun as text: one line per event, each with the record that caused it.

    seq  event                                                                  cause
      3  E  ExternalEventPosted  cancel e1                                      external-events[3]@41 e1
      4  E  Halt                 #0  PENDING_INTERRUPT(e1)                      external-events[3]@41 e1

Lines and words are those of `halter.show.log_text`. Used by the command line, the demo and failing tests.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from halter.client.inspection import History, Incarnation
from halter.show.log_text import event_line
from halter.show.plain import plain
from halter.show.times import iso
from processors.core.records.events import Cause, LogEntry
from processors.core.records.model import NO_INCARNATION

EVENT_WIDTH_MAX: Final = 110
"""A line that is longer pushes its own cause to the right, not everybody's."""


def cause_text(cause: Cause) -> str:
    """Which record it was: `external-events[3]@41 e1`."""
    name = "" if cause.command_id is None else f" {cause.command_id}"
    return f"{cause.topic}[{cause.partition}]@{cause.offset}{name}"


def lines(entries: Iterable[LogEntry], width: int | None = None) -> list[str]:
    """One line per event, with columns that fit them. `width`: what is longer than this of an event is cut off."""
    rows = [(str(entry.seq) if entry.seq else "-", cut(event_line(entry.event), width), entry) for entry in entries]
    seq_width = max([3, *(len(seq) for seq, _, _ in rows)])
    event_width = min(max([5, *(len(event) for _, event, _ in rows)]), EVENT_WIDTH_MAX)
    head = f"{'seq':>{seq_width}}  {'event':<{event_width}}  cause"
    return [
        head,
        *(f"{seq:>{seq_width}}  {event:<{event_width}}  {cause_text(entry.cause)}" for seq, event, entry in rows),
    ]


def cut(line: str, width: int | None) -> str:
    """The line, no longer than that."""
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def text(history: History, width: int | None = None) -> Iterator[str]:
    """All of a history: a title for each incarnation, then its lines."""
    for number, incarnation in enumerate(history.incarnations):
        if number:
            yield ""
        yield _title(history.wf_run_id, incarnation)
        yield from lines(incarnation.entries, width)


def _title(wf_run_id: str, incarnation: Incarnation) -> str:
    times = [entry.time_ms for entry in incarnation.entries]
    span = f"{iso(min(times))} to {iso(max(times))}"
    if incarnation.number == NO_INCARNATION:
        return f"{wf_run_id}, while there was no WfRun: {span}"
    return f"{wf_run_id}, started by wf-commands@{incarnation.number}: {span}"


def entry_data(entry: LogEntry) -> dict[str, Any]:
    """One event for programs."""
    return {
        "wf_run_id": entry.wf_run_id,
        "incarnation": entry.incarnation,
        "seq": entry.seq,
        "time": iso(entry.time_ms),
        "event": type(entry.event).__name__,
        "fields": plain(entry.event),
        "cause": plain(entry.cause),
    }
