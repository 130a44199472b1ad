"""`halter history | state | diff | export`: what happened to WfRuns.

This module parses options and prints; `halter.history` finds out. Each command reads Kafka or an export (--file).
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from halter.cli.client import Json, Unmask
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.given import filled, moment, to_write
from halter.cli.printing import note, print_json, print_line, styled, terminal_width
from halter.cli.source import File, WfRun, chosen, expect_id, no_such, source
from halter.cli.states import print_state, shown_state
from halter.cli.usage import BadOptions
from halter.show.counting import counted

if TYPE_CHECKING:
    from datetime import tzinfo

    from halter.history.moments import Moments
    from halter.history.selection import Bound
    from halter.history.source import Source
    from halter.show.history_table import HistoryTable
    from halter.show.redaction import Redactor
    from processors.core.records.events import LogEntry
    from processors.core.records.model import WfRun as State

Incarnation = Annotated[
    int | None,
    typer.Option(
        "--incarnation",
        metavar="OFFSET",
        min=0,
        help="The WfRun that this RunWf started, if several had the id: 'halter history --previous' names them. "
        "Default: the last.",
    ),
]
Utc = Annotated[
    bool,
    typer.Option(
        "--utc",
        help="Read the times that you give, and show that of a moment, in UTC. Default: in the zone of this machine.",
    ),
]
MOMENT: Final = "the seq of an event (57), a number of events back (-3), or a time (12:03:11, 2026-01-31T12:03:11Z)"


@contextmanager
def explaining(found: "Source", wf_run_id: str) -> Iterator[None]:
    """Say in errors about a WfRun what can be looked at instead."""
    from halter.client.errors import BeginningMissing
    from halter.history.source import NoSuchWfRun

    try:
        yield
    except NoSuchWfRun:
        raise no_such(found, wf_run_id) from None
    except BeginningMissing as missing:
        raise NoSuchWfRun(f"{missing}; `halter history {wf_run_id}` shows the events that are left") from missing


@asks_kafka
def state(
    wf_run_id: WfRun = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="SEQ|TIME|-N",
            help=f"The moment: {MOMENT}. It is the state after that event, or after the last one up to then. 0 is the "
            "moment before the first event. Default: after the last.",
            callback=moment,
        ),
    ] = None,
    incarnation: Incarnation = None,
    utc: Utc = False,
    unmask: Unmask = False,
    as_json: Json = False,
    file: File = None,
    *,
    kafka: Kafka,
) -> None:
    """Show a WfRun as it was: threads, halt reasons, Variables, and what each thread waited for.

    - `halter state cart-1 --at 57`
    - `halter state cart-1 --at 12:03:11`
    - `halter state --file incident.halter --at -3 --json`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    from halter.history.moments import moments_of
    from halter.show.wf_run_text import data_with_waits

    expect_id(file, wf_run_id)
    with source(file, kafka) as found:
        wf_run_id = chosen(found, wf_run_id)
        with explaining(found, wf_run_id):
            moments = moments_of(found, wf_run_id, incarnation)
            index = moments.last if at is None else moments.at(at, zone_of(utc=utc))
            run = moments.state(index)
        definitions = found.definitions()
    ended = run.final_status is not None and not run.threads
    before = None if run.exists else moments.before_deletion(index)
    shown = shown_state(run, definitions, unmask=unmask)
    if as_json:
        print_json({"at": moment_data(moments, index), "state": data_with_waits(shown)})
        return
    print_line(moment_text(moments, index, zone_of(utc=utc)), dim=True)
    if before is not None:
        note(f"it was deleted; --at {seq_of(moments, before)} shows it as it was before")
        return
    print_state(shown, run.time_ms)
    if ended:
        note(f"its threads left when it ended; --at {seq_of(moments, moments.end)} shows them")


differing = typer.Typer(add_completion=False)
"""`halter diff`, which takes `-3` for a moment and not for an option."""


@differing.command("diff", context_settings={"ignore_unknown_options": True})
@asks_kafka
def diff(
    wf_run_id: WfRun = None,
    first: Annotated[
        str | None,
        typer.Argument(metavar="A", help=f"A moment: {MOMENT}.", show_default=False, callback=moment),
    ] = None,
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="B", help="A later or an earlier moment. Default: the last.", show_default=False, callback=moment
        ),
    ] = None,
    other: Annotated[
        str | None,
        typer.Option(
            "--with",
            metavar="WF_RUN",
            help="Compare with another WfRun: A is a moment of the first, B of this one. Default of both: "
            "before its threads leave.",
            callback=filled,
        ),
    ] = None,
    incarnation: Incarnation = None,
    utc: Utc = False,
    unmask: Unmask = False,
    as_json: Json = False,
    file: File = None,
    *,
    kafka: Kafka,
) -> None:
    """Show what differs between two moments of a WfRun, or between two WfRuns.

    Threads, what holds them, what they wait for, Variables by the path of what differs in them, ExternalEvents. Of a
    masked value it says whether it is another one.

    - `halter diff cart-1 12 57`
    - `halter diff cart-1 -3`
    - `halter diff cart-1 --with cart-2`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    from halter.history import difference_text
    from halter.history.difference import differences
    from halter.history.moments import moments_of
    from halter.show.redaction import Numbered, Redactor
    from halter.show.wf_run_text import understood

    expect_id(file, wf_run_id)
    zone = zone_of(utc=utc)
    with source(file, kafka) as found:
        if file is not None and second is None and wf_run_id not in (ids := list(found.wf_run_ids())) and len(ids) == 1:
            wf_run_id, first, second = None, wf_run_id, first  # only moments are given
        wf_run_id = chosen(found, wf_run_id)
        with explaining(found, wf_run_id):
            before = after = moments_of(found, wf_run_id, incarnation)
        if other is not None:
            with explaining(found, other):
                after = moments_of(found, other)
        start = before.at(first, zone) if first is not None else before.end if other is not None else -1
        end = after.at(second, zone) if second is not None else after.end if other is not None else after.last
        states = [before.state(start), after.state(end)]
        definitions = found.definitions()
    if not unmask:
        redactor = Redactor(definitions, Numbered())
        states = [redactor.run(it) for it in states]
    old, new = (understood(it, definitions) for it in states)
    changes = differences(old, new, times=other is None, waits=True)
    if as_json:
        moments_data = {"before": moment_data(before, start), "after": moment_data(after, end)}
        print_json({**moments_data, "changes": list(map(difference_text.change_data, changes))})
        return
    print_line(moment_text(before, start, zone), dim=True)
    print_line(moment_text(after, end, zone), dim=True)
    typer.echo()
    for line in difference_lines(changes, old, new, times=other is None):
        typer.echo(line)


def difference_lines(changes: "list[Any]", old: "State", new: "State", *, times: bool) -> Iterator[str]:
    """Yield the lines of a difference, coloured and wrapped on a terminal."""
    from halter.history import difference_text as told
    from halter.show.wrapping import printable, wrapped

    colours = {told.NEW: "green", told.GONE: "red", told.OTHER: "yellow"}
    width = terminal_width()
    for indent, sign, words in told.lines(changes, old, new, times=times):
        line = printable(f"{indent}{sign} {words}" if sign != told.HEADING else f"{indent}{words}")
        parts = [line] if width is None else wrapped(line, max(width, 20), hanging=f"{indent}    ")
        yield from (styled(part, fg=colours[sign]) if sign in colours else styled(part, bold=True) for part in parts)


@asks_kafka
def export(
    wf_run_ids: Annotated[
        list[str], typer.Argument(metavar="WF_RUN...", help="Ids of WfRuns.", show_default=False, callback=filled)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file to write.", show_default=False, callback=to_write
        ),
    ] = None,
    otlp: Annotated[
        str | None,
        typer.Option(
            "--otlp",
            metavar="ENDPOINT|FILE",
            help="Instead of -o: send traces to a URL by OTLP/HTTP (port 4318 as a rule), or write them as OTLP/JSON.",
            show_default=False,
        ),
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Leave masked values in it. Give it to nobody who may not read the topics.")
    ] = False,
    previous: Annotated[bool, typer.Option("--previous", help="Also earlier WfRuns of the same ids.")] = False,
    file: File = None,
    *,
    kafka: Kafka,
) -> None:
    """Write WfRuns into one file: events, the records that caused them, definitions and schemas.

    Every command that shows what happened reads the file with --file. Instead of masked values it has tokens, which are
    equal where the values are.

    - `halter export cart-1 cart-2 -o incident.halter`

    With --otlp it makes a trace of each WfRun, for tools that speak OpenTelemetry. Masked values are taken out.

    - `halter export cart-1 --otlp http://localhost:4318`
    - `halter export cart-1 --otlp traces.json --file incident.halter`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    if (output is None) == (otlp is None):
        raise BadOptions(f"expected one of -o and --otlp, found {'none' if otlp is None else 'both'} of them")
    if otlp is not None:
        if clear:
            raise BadOptions("--clear: not with --otlp, masked values stay out of traces")
        from halter.cli.otlp import check_target, export_traces

        check_target(otlp)
        with source(file, kafka) as found:
            export_traces(found, wf_run_ids, otlp, previous=previous)
        return
    assert output is not None
    from halter.history.export import export as write
    from halter.history.source import NoSuchWfRun

    with source(file, kafka) as found:
        now_ms = time.time_ns() // 1_000_000
        try:
            written = write(found, wf_run_ids, output, now_ms, clear=clear, previous=previous)
        except NoSuchWfRun as none:
            raise (no_such(found, none.wf_run_id) if none.wf_run_id else none) from None
    note(
        f"wrote {counted(written.events, 'event')} of {counted(written.wf_runs, 'WfRun')} to {output}, with "
        f"{counted(written.inputs, 'input')} and {counted(written.definitions, 'definition')}"
    )
    if written.inputs_gone:
        note(f"{counted(written.inputs_gone, 'record')} that caused events are not on their topics any more")
    if written.masked:
        note(f"{counted(written.masked, 'masked value')} became tokens; --clear leaves them as they are")


def zone_of(*, utc: bool) -> "tzinfo | None":
    """Return the zone of times: UTC, or None for that of this machine."""
    return UTC if utc else None


def seq_of(moments: "Moments", index: int) -> int:
    """Return the seq by which a moment is named."""
    return 0 if index < 0 else moments.log[index].entry.seq


def moment_text(moments: "Moments", index: int, zone: "tzinfo | None") -> str:
    """Return the words for a moment: `cart-1 after event 57 of 93, 2026-01-31 12:03:11.210`."""
    from halter.show.times import local

    if index < 0:
        return f"{moments.wf_run_id} before its first event"
    entry, last = moments.log[index].entry, moments.log[-1].entry
    event = f"event {entry.seq} of {last.seq}" if entry.seq else "an event without number"
    return f"{moments.wf_run_id} after {event}, {type(entry.event).__name__}, {local(entry.time_ms, zone)}"


def moment_data(moments: "Moments", index: int) -> dict[str, Any]:
    """Return a moment as plain JSON data: the event after which it is."""
    from halter.show.times import iso

    told = {"wf_run_id": moments.wf_run_id, "seq": seq_of(moments, index)}
    if index < 0:
        return told
    entry = moments.log[index].entry
    return told | {
        "incarnation": entry.incarnation,
        "time": iso(entry.time_ms),
        "event": type(entry.event).__name__,
        "offset": moments.log[index].offset,
    }


@asks_kafka
def history(
    wf_run_id: WfRun = None,
    threads: Annotated[
        list[int] | None,
        typer.Option("--thread", metavar="N", min=0, help="Only events of this ThreadRun. May be repeated."),
    ] = None,
    events: Annotated[
        list[str] | None,
        typer.Option("--event", metavar="NAME", help="Only events of this name, such as Halt. May be repeated."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="SEQ|TIME|-N", help="Begin with this event. -20: the last 20.", callback=moment),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="SEQ|TIME|-N", help="End with this event. -20: without the last 20.", callback=moment
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens, until the WfRun has ended, Ctrl-C or --to.")
    ] = False,
    previous: Annotated[
        bool,
        typer.Option(
            "--previous", "--from-start", help="Also earlier WfRuns of the same id, as far back as the log goes."
        ),
    ] = False,
    utc: Annotated[
        bool,
        typer.Option("--utc", help="Read and show times in UTC. Default: in the zone of this machine, piped in UTC."),
    ] = False,
    legend: Annotated[bool, typer.Option("--legend", help="Say first what columns and colours mean.")] = False,
    unmask: Unmask = False,
    as_json: Json = False,
    file: File = None,
    *,
    kafka: Kafka,
) -> None:
    """Show every event of a WfRun in order, each with the record that caused it.

    With --json, each line is one event.

    On a terminal this is a table, in which what is long is wrapped or cut with '…'.

    Piped, each event is one line: its time, its number, and a letter. E is an event, R a refusal, and I an input that
    changed nothing. (C is a command, in the logs of scenarios.)

    - `halter history cart-1`
    - `halter history cart-1 --thread 4 --from 12:03`
    - `halter history cart-1 --event Halt --event Resume`
    - `halter history cart-1 --from -20 --follow`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    from halter.history.selection import Selection, event_names

    if follow and file is not None:
        raise BadOptions("--follow waits for what happens, which no export has: expected one of --follow and --file")
    if follow and end is not None and end.startswith("-"):
        raise BadOptions("--to -N counts from the last event, and with --follow there is none: give a seq or a time")
    expect_id(file, wf_run_id)
    names = event_names(events or ())
    zone = zone_of(utc=utc)
    shows = ("halter.show.history", "halter.show.redaction")
    with source(file, kafka, shows) as found:
        from halter.show.history import chunks
        from halter.show.redaction import Redactor

        show = Shown(terminal_width(), zone, as_json=as_json, legend=legend)
        wf_run_id = chosen(found, wf_run_id)
        first, entries = begun(entries_of(found, wf_run_id, follow=follow, previous=previous))
        if first is None and not follow:
            raise no_such(found, wf_run_id)
        if first is None:
            note(f"there is no event of a WfRun '{wf_run_id}' {found.where} yet: waiting for one, until Ctrl-C")
        elif first.seq > 1:
            note(f"the log no longer has the beginning of WfRun '{wf_run_id}': event {first.seq} is the first")
        bounds, entries = bounded(start, end, zone, entries, follow=follow)
        if not unmask:
            entries = masked(entries, Redactor(found.definitions()), follow=follow)
        selection = Selection(frozenset(threads or ()), names, *bounds)
        for chunk in chunks(selection.of(entries), CHUNK):
            show.chunk(chunk)
        show.end()
        if show.is_empty and first is not None:
            note(f"WfRun '{wf_run_id}' has events, and none of them is what --thread, --event, --from and --to ask for")


CHUNK: Final = 200
"""Events that are shown at once."""


def entries_of(found: "Source", wf_run_id: str, *, follow: bool, previous: bool) -> "Iterator[LogEntry | None]":
    """Yield the events of a WfRun. If they are followed, to its end, None stands for: no more for the moment."""
    if not follow:
        yield from (logged.entry for logged in found.events(wf_run_id, previous=previous))
        return
    from halter.history.live import Live
    from processors.core.records.events import ThreadRescued, WfRunDeleted, WfRunEnded, WfRunStarted

    assert isinstance(found, Live)
    is_over = False
    for logged in found.follow(wf_run_id, previous=previous):
        if logged is None and is_over:
            return
        yield None if logged is None else logged.entry
        match None if logged is None else logged.entry.event:
            case WfRunEnded() | WfRunDeleted():
                is_over = True
            case WfRunStarted() | ThreadRescued():
                is_over = False


def begun(entries: "Iterator[LogEntry | None]") -> "tuple[LogEntry | None, Iterator[LogEntry | None]]":
    """Return the first event, None if there is none yet, and all events."""
    from itertools import chain

    first = next(entries, None)
    return first, chain([first], entries)


def bounded(
    start: str | None, end: str | None, zone: "tzinfo | None", entries: "Iterator[LogEntry | None]", *, follow: bool
) -> "tuple[tuple[Bound | None, Bound | None], Iterator[LogEntry | None]]":
    """Return the bounds of a selection, and the events.

    A time of day is on the day of the newest event. Only then all events are read first; if they are followed, it is
    today.
    """
    from halter.history.moments import is_clock
    from halter.history.selection import Bound

    newest_ms = time.time_ns() // 1_000_000
    if not follow and any(bound is not None and is_clock(bound) for bound in (start, end)):
        read = [entry for entry in entries if entry is not None]
        newest_ms, entries = read[-1].time_ms, iter(read)
    return (
        None if start is None else Bound.of(start, zone, newest_ms, first=True),
        None if end is None else Bound.of(end, zone, newest_ms, first=False),
    ), entries


def masked(entries: "Iterator[LogEntry | None]", redactor: "Redactor", *, follow: bool) -> "Iterator[LogEntry | None]":
    """Yield the events without their masked values."""
    if not follow:
        yield from redactor.stream(entry for entry in entries if entry is not None)
        return
    redact = redactor.following()
    for entry in entries:
        yield None if entry is None else redact(entry)


class Shown:
    """Prints events chunk by chunk: as JSON, as lines, or on a terminal that is wide enough as a table."""

    def __init__(self, width: int | None, zone: "tzinfo | None", *, as_json: bool, legend: bool) -> None:
        from halter.show.history import Lines

        self._as_json, self._lines = as_json, Lines(times=True)
        self.is_empty = True
        """True as long as nothing was printed."""
        self._table = None if width is None or as_json else self._table_of(width, zone, legend=legend)
        if legend and self._table is None:
            note("--legend explains the table, which needs a terminal of at least 60 columns and no --json")

    @staticmethod
    def _table_of(width: int, zone: "tzinfo | None", *, legend: bool) -> "HistoryTable | None":
        """Return the table, below its legend if that is asked for; None if the terminal is too narrow for one."""
        from rich.console import Console

        from halter.show.history_table import WIDTH_MIN, HistoryTable, print_legend

        if width < WIDTH_MIN:
            return None
        console = Console(width=width, highlight=False)
        table = HistoryTable(console, zone)
        if legend:
            print_legend(console)
        return table

    def chunk(self, entries: "list[LogEntry]") -> None:
        """Print events."""
        import json

        from halter.show.history import entry_data

        self.is_empty = False
        if self._table is not None:
            self._table.add(entries)
        elif self._as_json:
            for entry in entries:
                typer.echo(json.dumps(entry_data(entry), ensure_ascii=False))
        else:
            for line in self._lines.of(entries):
                typer.echo(line)
        sys.stdout.flush()

    def end(self) -> None:
        """Print what stands below all events."""
        if self._table is not None:
            self._table.end()
