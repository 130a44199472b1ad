"""The history of a WfRun as a table that fits the terminal, with one row per event and all columns.

    c1, started by wf-commands@0, on 2026-01-01

    time (UTC)    seq  event                thread  what                       cause
    00:00:00.000    1  WfRunStarted         #0      cart:0.0, main             wf-commands[0]@0
    00:00:04.210    2  ExternalEventPosted          address-changed e1         external-events[0]@0 e1
    00:00:04.210    3  Halt                 #0      PENDING_INTERRUPT(e1)

    An empty cause is the same as the one above it.

Time, seq, event and thread are as wide as they must be. What happened and the cause share the rest, and are wrapped. A
cause stands only at the first of the events that it caused; the last line says so. Where the whole causes do not fit
their column, each long id in it is cut with a `…`. So is a cell of more than LINES_MAX lines. `halter.show.history` has
the whole lines.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from halter.client.history import History, Incarnation
from halter.show.history import cause_text, seq_text, started_by
from halter.show.log_text import thread_of, what_happened
from halter.show.times import iso
from halter.show.wrapping import wrapped
from processors.core.records.events import Ignored, LogEntry, Rejected

WIDTH_MIN: Final = 60
"""The narrowest terminal that has room for six columns."""
ROOMY: Final = 100
"""The width from which on columns stand two spaces apart, and `thread` has room for its heading."""
ID_LENGTH_MAX: Final = 20
"""Length of the longest id that is shown whole in a cause, where causes do not fit their column."""
ID_LENGTH_CUT: Final = 8
"""Number of characters that are shown of a longer id."""
SAME_CAUSE: Final = "An empty cause is the same as the one above it."
LINES_MAX: Final = 8
"""Largest number of lines of one row."""
CHUNK: Final = 200
"""Number of rows that are laid out at once, so that a long history appears before all of it is laid out."""


class Row(NamedTuple):
    """The cells of one event, in the order of the columns."""

    time: str
    seq: str
    event: str
    thread: str
    what: str
    cause: str

    @property
    def style(self) -> str:
        """The style of rich in which the row is printed. A row without an event is the heading of a day."""
        return {Rejected.__name__: "red", Ignored.__name__: "dim", "": "bold"}.get(self.event, "")


def print_table(history: History, console: Console) -> None:
    """Print all of a history: for each incarnation a title and its rows, and at the end what an empty cause means."""
    same_cause = False
    for number, incarnation in enumerate(history.incarnations):
        if number:
            console.print()
        console.print(Text(_printable(_title(history.wf_run_id, incarnation))), style="bold", overflow="fold")
        console.print()
        rows = list(rows_of(incarnation.entries))
        _print_rows(rows, console)
        same_cause = same_cause or any(row.event and not row.cause for row in rows)
    if same_cause:
        console.print()
        console.print(Text(SAME_CAUSE), style="dim")


def _title(wf_run_id: str, incarnation: Incarnation) -> str:
    days = sorted({_day(entry) for entry in incarnation.entries})
    when = f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"
    return f"{wf_run_id}, {started_by(incarnation)}, {when}"


def rows_of(entries: Sequence[LogEntry]) -> Iterator[Row]:
    """The rows of events in their order; if they are of several days, each day begins with a row that has its date."""
    tells_days = len({_day(entry) for entry in entries}) > 1
    day, cause = None, None
    for entry in entries:
        if tells_days and _day(entry) != day:
            day, cause = _day(entry), None
            yield Row(day, "", "", "", "", "")
        yield _row(entry, "" if entry.cause == cause else cause_text(entry.cause))
        cause = entry.cause


def _row(entry: LogEntry, cause: str) -> Row:
    event, what = entry.event, what_happened(entry.event)
    if isinstance(event, Rejected | Ignored):
        what = f"{event.command}: {what}"
    return Row(_time(entry), seq_text(entry), type(event).__name__, thread_of(event), what, cause)


def _day(entry: LogEntry) -> str:
    return iso(entry.time_ms).partition("T")[0]


def _time(entry: LogEntry) -> str:
    return iso(entry.time_ms).partition("T")[2].removesuffix("Z")


def _print_rows(rows: Sequence[Row], console: Console) -> None:
    roomy = console.width >= ROOMY
    gap = 2 if roomy else 1
    headings = Row("time (UTC)", "seq", "event", "thread" if roomy else "#", "what", "cause")
    rows = [Row(*map(_printable, row)) for row in rows]
    room = console.width - gap * (len(headings) - 1)
    widths = _widths([headings, *rows], room)
    if max(cell_len(row.cause) for row in rows) > widths[-1]:
        rows = [row._replace(cause=_with_short_id(row.cause)) for row in rows]
        widths = _widths([headings, *rows], room)
    for start in range(0, len(rows), CHUNK):
        table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=start == 0, header_style="bold")
        for heading, width in zip(headings, widths, strict=True):
            table.add_column(heading, width=width, justify="right" if heading == "seq" else "left", no_wrap=True)
        for row in rows[start : start + CHUNK]:
            what, cause = wrapped(row.what, widths[-2]), _cause_lines(row.cause, widths[-1])
            table.add_row(*map(Text, row[:-2]), _cut(what, widths[-2]), _cut(cause, widths[-1]), style=row.style)
        console.print(table)


def _widths(rows: Sequence[Row], width: int) -> list[int]:
    """The width of each column: of the last two, what the others leave, and as much of it as they need."""
    *fixed, what, cause = (max(map(cell_len, column)) for column in zip(*rows, strict=True))
    rest = width - sum(fixed)
    if what + cause > rest:
        cause = min(cause, max(rest * 2 // 5, rest - what))
    return [*fixed, rest - cause if what + cause > rest else what, cause]


def _with_short_id(cause: str) -> str:
    """The cause with no more than the beginning of its id, if the id is long."""
    place, space, id_ = cause.partition(" ")
    return f"{place}{space}{id_[:ID_LENGTH_CUT]}…" if len(id_) > ID_LENGTH_MAX else cause


def _cause_lines(cause: str, width: int) -> list[str]:
    """The lines of a cause: it is broken behind its topic if the place of the record is too long for one line."""
    place, _, _ = cause.partition(" ")
    if cell_len(place) <= width:
        return wrapped(cause, width)
    topic, bracket, rest = cause.partition("[")
    return [*wrapped(topic, width), *wrapped(bracket + rest, width)]


def _cut(lines: Sequence[str], width: int) -> Text:
    """The lines of a cell, without those that are too many; a `…` stands for these."""
    kept = list(lines[:LINES_MAX])
    if len(lines) > LINES_MAX:
        kept[-1] = set_cell_size(kept[-1], min(cell_len(kept[-1]), width - 1)).rstrip() + "…"
    return Text("\n".join(kept))


def _printable(text: str) -> str:
    """The text on one line; a character that a terminal would take for an order is shown as its escape."""
    return "".join(it if it.isprintable() else it.encode("unicode_escape", "surrogatepass").decode() for it in text)
