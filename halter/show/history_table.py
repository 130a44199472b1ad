"""The history of a WfRun as a table that fits the terminal, with one row per event and all columns.

    c1, started by wf-commands@0, on 2026-01-01

    time (UTC)    seq  event                thread  what                       cause
    00:00:00.000    1  WfRunStarted         #0      cart:0.0, main             wf-commands[0]@0
    00:00:04.210    2  ExternalEventPosted          address-changed e1         external-events[0]@0 e1
    00:00:04.210    3  Halt                 #0      PENDING_INTERRUPT(e1)

    An empty cause is the same as the one above it.

On a terminal of less than STACKED columns a cause stands above its events, behind an arrow.

The name of an event has the colour of its kind (KINDS). A history may come in chunks: then columns may become wider
from one to the next, and where another day begins a row has its date.

Time, seq, event and thread are as wide as they must be. What happened and the cause share the rest, and are wrapped. A
cause stands only at the first of the events that it caused; the last line says so. Where the whole causes do not fit
their column, each long id in it is cut with a `…`. So is a cell of more than LINES_MAX lines. `halter.show.history` has
the whole lines.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from halter.client.history import History
from halter.show.history import asked_text, cause_text, chunks, seq_text, started_by
from halter.show.log_text import thread_of, what_happened
from halter.show.times import local
from halter.show.wrapping import printable, wrapped
from processors.core.records.events import Cause, Ignored, LogEntry, Rejected

WIDTH_MIN: Final = 60
"""The narrowest terminal that has room for a table."""
ROOMY: Final = 100
"""The width from which on columns stand two spaces apart, and `thread` has room for its heading."""
ID_LENGTH_MAX: Final = 20
"""Length of the longest id that is shown whole in a cause, where causes do not fit their column."""
ID_LENGTH_CUT: Final = 8
"""Number of characters that are shown of a longer id."""
STACKED: Final = 80
"""The width below which a cause has a line of its own: there is no room for a sixth column."""
SAME_CAUSE: Final = "An empty cause is the same as the one above it."
ARROW: Final = "→"
"""Begins the line of a cause above its events."""
LINES_MAX: Final = 8
"""Largest number of lines of one row."""
CHUNK: Final = 200
"""Number of rows that are laid out at once, so that a long history appears before all of it is read."""
DAY, TIME = slice(0, 10), slice(11, 23)
"""Where day and time of day are in the text of a time."""


KINDS: Final[dict[str, tuple[str, frozenset[str]]]] = {
    "begins and ends": (
        "green",
        frozenset({"WfRunStarted", "WfRunForked", "WfRunMigrated", "WfRunEnded", "WfRunDeleted", "SpawnChild",
                   "ThreadCompleted", "ThreadRetired"}),
    ),
    "ExternalEvents and interrupts": (
        "cyan",
        frozenset({"ExternalEventPosted", "ExternalEventDropped", "InterruptAccepted", "InterruptDropped",
                   "InterruptSuperseded", "WorkflowEventThrown", "CorrelationKeyChanged"}),
    ),
    "halts and resumes": ("yellow", frozenset({"Halt", "ThreadHalted", "HaltReasonResolved", "Resume"})),
    "nodes, tasks and timers": (
        "blue",
        frozenset({"NodeCompleted", "TaskAttemptRequested", "TaskAttemptStarted", "TaskAttemptProgressed",
                   "TaskAttemptEnded", "TimerArmed", "TimerMatured", "WaitStarted"}),
    ),
    "failures, and what was done about them": (
        "red",
        frozenset({"NodeFailed", "ArrivalFailed", "ThreadFailed", "ChildFailureHandled", "ThreadRescued", "Rejected"}),
    ),
    "operators": (
        "magenta",
        frozenset({"WfRunQuarantined", "InputKept", "WfRunReleased", "SkipAccepted", "SkipLapsed", "RecordSkipped"}),
    ),
    "nothing to do": ("dim", frozenset({"Ignored"})),
}  # fmt: skip
"""What an event is about -> the colour of its name, and the events."""
_STYLES: Final = {event: style for style, events in KINDS.values() for event in events}


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


def print_table(history: History, console: Console, zone: tzinfo | None = UTC) -> None:
    """Print all of a history."""
    table = HistoryTable(console, zone)
    for chunk in chunks(history.entries, CHUNK):
        table.add(chunk)
    table.end()


def print_legend(console: Console) -> None:
    """Print what columns and colours mean."""
    console.print(Text("time, seq and event: when, which event of the WfRun, and its name, in the colour of its kind:"))
    for kind, (style, _) in KINDS.items():
        console.print(Text(f"  {kind}", style=style))
    for line in (
        "thread: the ThreadRun. what: what is different now, and who asked for it.",
        "cause: the record that caused the event: topic[partition]@offset, and its id.",
        SAME_CAUSE if console.width >= STACKED else f"It stands above its events, behind {ARROW}.",
    ):
        console.print(Text(line))
    console.print()


class HistoryTable:
    """Prints a history that comes in chunks: for each incarnation a title and its rows, in columns that only grow."""

    def __init__(self, console: Console, zone: tzinfo | None = UTC) -> None:
        """Times are shown in `zone`; None is the zone of this machine."""
        self._console, self._zone = console, zone
        self._incarnation: int | None = None
        self._day = ""
        self._cause: Cause | None = None
        self._same_cause = False
        self._widest: list[int] = []
        self._short_ids = False

    def add(self, chunk: Sequence[LogEntry]) -> None:
        """Print events of one incarnation, below those of the chunk before."""
        first = chunk[0]
        begins = first.incarnation != self._incarnation
        if begins:
            if self._incarnation is not None:
                self._console.print()
            self._incarnation, self._day, self._cause = first.incarnation, self._day_of(first), None
            self._widest, self._short_ids = [], False
            title = f"{first.wf_run_id}, {started_by(chunk)}, on {self._day}"
            self._console.print(Text(printable(title)), style="bold", overflow="fold")
            self._console.print()
        rows = list(self.rows_of(chunk))
        if self._console.width < STACKED:
            self._print_stacked(rows, heading=begins)
            return
        self._same_cause = self._same_cause or any(row.event and not row.cause for row in rows)
        self._print_rows(rows, heading=begins)

    def end(self) -> None:
        """Print what an empty cause means, if there was one."""
        if self._same_cause:
            self._console.print()
            self._console.print(Text(SAME_CAUSE), style="dim")

    def rows_of(self, entries: Sequence[LogEntry]) -> Iterator[Row]:
        """The rows of events in their order. Where another day begins, a row has its date."""
        for entry in entries:
            day = self._day_of(entry)
            if day != self._day:
                self._day, self._cause = day, None
                yield Row(day, "", "", "", "", "")
            is_new = entry.cause != self._cause
            yield self._row(entry, cause_text(entry.cause) if is_new else "", asked_text(entry, ", ") if is_new else "")
            self._cause = entry.cause

    def _row(self, entry: LogEntry, cause: str, asked: str) -> Row:
        event, what = entry.event, what_happened(entry.event)
        if isinstance(event, Rejected | Ignored):
            what = f"{event.command}: {what}"
        time = local(entry.time_ms, self._zone)[TIME]
        return Row(
            time, seq_text(entry), type(event).__name__, thread_of(event), (what + asked).removeprefix(", "), cause
        )

    def _day_of(self, entry: LogEntry) -> str:
        return local(entry.time_ms, self._zone)[DAY]

    def _print_rows(self, rows: Sequence[Row], *, heading: bool) -> None:
        roomy = self._console.width >= ROOMY
        gap = 2 if roomy else 1
        zone = "UTC" if self._zone is UTC else "local"
        headings = Row(f"time ({zone})", "seq", "event", "thread" if roomy else "#", "what", "cause")
        rows = [Row(*map(printable, row)) for row in rows]
        short = [row._replace(cause=_with_short_id(row.cause)) for row in rows]
        room = self._console.width - gap * (len(headings) - 1)
        widths = self._widths([headings, *(short if self._short_ids else rows)], room)
        if not self._short_ids and max(cell_len(row.cause) for row in rows) > widths[-1]:
            self._short_ids, self._widest = True, []
            widths = self._widths([headings, *short], room)
        rows = short if self._short_ids else rows
        table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=heading, header_style="bold")
        for name, width in zip(headings, widths, strict=True):
            table.add_column(name, width=width, justify="right" if name == "seq" else "left", no_wrap=True)
        for row in rows:
            what, cause = wrapped(row.what, widths[-2]), _cause_lines(row.cause, widths[-1])
            table.add_row(*_cells(row), _cut(what, widths[-2]), _cut(cause, widths[-1]), style=row.style)
        self._console.print(table)

    def _print_stacked(self, rows: Sequence[Row], *, heading: bool) -> None:
        """Print each cause, and below it its events without that column."""
        headings = (f"time ({'UTC' if self._zone is UTC else 'local'})", "seq", "event", "#")
        rows = [Row(*map(printable, row)) for row in rows]
        columns = zip(headings, *(row[:-2] for row in rows), strict=True)
        fixed = [max(map(cell_len, column)) for column in columns]
        self._widest = [max(pair) for pair in zip(fixed, self._widest or fixed, strict=True)]
        if heading:
            self._console.print(self._stacked([*headings, "what"], []))
        for cause, those in _by_cause(rows):
            if cause:
                room = self._console.width - cell_len(f"{ARROW} ")
                told = cause if cell_len(cause) <= room else _with_short_id(cause)
                self._console.print(Text(f"{ARROW} {told}"), style="dim", overflow="fold")
            self._console.print(self._stacked([], those))

    def _stacked(self, headings: Sequence[str], rows: Sequence[Row]) -> Table:
        what = self._console.width - sum(self._widest) - len(self._widest)
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=bool(headings), header_style="bold")
        for number, width in enumerate([*self._widest, what]):
            name = headings[number] if headings else ""
            table.add_column(name, width=width, justify="right" if number == 1 else "left", no_wrap=True)
        for row in rows:
            table.add_row(*_cells(row), _cut(wrapped(row.what, what), what), style=row.style)
        return table

    def _widths(self, rows: Sequence[Row], width: int) -> list[int]:
        widest = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
        self._widest = [max(pair) for pair in zip(widest, self._widest or widest, strict=True)]
        return _widths(self._widest, width)


def _widths(widest: Sequence[int], width: int) -> list[int]:
    """The width of each column: of the last two, what the others leave, and as much of it as they need."""
    *fixed, what, cause = widest
    rest = width - sum(fixed)
    if what + cause > rest:
        cause = min(cause, max(rest * 2 // 5, rest - what))
    return [*fixed, rest - cause if what + cause > rest else what, cause]


def _cells(row: Row) -> list[Text]:
    """The first cells of a row, the event in the colour of its kind."""
    cells = list(map(Text, row[:-2]))
    if not row.style:
        cells[2].stylize(_STYLES.get(row.event, ""))
    return cells


def _by_cause(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Divide rows where a cause stands. Those before the first go on with the cause above them, or head a day."""
    those: list[Row] = []
    for row in rows:
        if those and (row.cause or not row.event):
            yield those[0].cause, those
            those = []
        those.append(row)
    if those:
        yield those[0].cause, those


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
