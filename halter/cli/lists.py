"""`halter list | stats`: which WfRuns there are, and how many of what. Parses options and prints.

`halter.view.wf_run_lists` and `totals` read the view. Neither command asks Kafka.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from halter.cli.client import Json
from halter.cli.ending import ends_at_once
from halter.cli.option_groups import OptionGroup, with_groups
from halter.cli.printing import note, print_json, styled, terminal_width
from halter.cli.usage import BadOptions, in_utf8
from halter.cli.views import PANEL, ViewPlace, Where, filtered, note_lag, note_unknown, opened
from halter.show.counting import counted

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from halter.view.filters import Sort, WfRunFilter
    from halter.view.paging import Page
    from halter.view.place import View
    from halter.view.wf_run_lines import WfRunLine

PAGE: Final = 500
"""Rows that are read at once."""
SEARCH_SECONDS: Final = 20.0
"""How long WfRuns are looked for before the list says where to go on."""
WATCH_SECONDS: Final = 2.0


def _texts(name: str, metavar: str, help_: str, panel: str | None = PANEL) -> Any:
    return typer.Option(name, metavar=metavar, help=help_, callback=in_utf8, rich_help_panel=panel)


@dataclass(frozen=True)
class Filters(OptionGroup):
    """Which WfRuns: the names of `halter.view.filters`."""

    status: Annotated[
        list[str] | None,
        _texts("--status", "STATUS", "RUNNING, HALTED, COMPLETED, ERROR or EXCEPTION. May be repeated: one of them."),
    ] = None
    wf_spec: Annotated[str | None, _texts("--wf-spec", "NAME", "Of this WfSpec.")] = None
    version: Annotated[str | None, _texts("--version", "MAJOR[.REVISION]", "Of this version of it.")] = None
    halted_for: Annotated[
        str | None, _texts("--halted-for", "KIND", "With this halt reason, such as MANUAL_HALT or INTERRUPTED; or ANY.")
    ] = None
    failed_with: Annotated[
        str | None,
        _texts("--failed-with", "NAME", "Ended with this failure, or because a thread below did; or ANY."),
    ] = None
    waits_for: Annotated[
        str | None,
        _texts("--waits-for", "KIND[:NAME]", "Waits for this: TIME, EXTERNAL_EVENT:checkout, TASK_REPORT:charge …"),
    ] = None
    older_than: Annotated[
        str | None, _texts("--older-than", "DURATION", "Started at least so long ago: 90s, 15m, 2h, 3d.")
    ] = None
    unchanged_for: Annotated[
        str | None, _texts("--unchanged-for", "DURATION", "Nothing has happened to it for at least so long.")
    ] = None
    var: Annotated[
        list[str] | None,
        _texts("--var", "NAME=VALUE", "With this value of a Variable that its WfSpec marks searchable. 10 finds 10.0."),
    ] = None
    text: Annotated[
        str | None, _texts("--text", "TEXT", "With this text in its id, its WfSpec or a value of a Variable.")
    ] = None
    where: Where = None

    def meant(self) -> "WfRunFilter":
        """Return the filter. Raises BadWhere."""
        return filtered(**vars(self))


@with_groups
def list_wf_runs(
    *,
    filters: Filters,
    sort: Annotated[
        str, typer.Option("--sort", metavar="NAME", help="changed, started (the newest first) or id (ascending).")
    ] = "changed",
    reverse: Annotated[bool, typer.Option("--reverse", help="Begin at the other end.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Most WfRuns that are shown.")] = 50,
    after: Annotated[
        str | None, _texts("--after", "PLACE", "Go on where an earlier list has ended, which says how.", None)
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Say only how many there are, up to 10,000.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show the list again every two seconds, until Ctrl-C.")
    ] = False,
    view: ViewPlace = None,
    as_json: Json = False,
) -> None:
    """List WfRuns: their status, what holds them or what they wait for, and since when.

    It reads a view, which 'halter view' fills and keeps current.

    - `halter list --status ERROR --older-than 1h`
    - `halter list --halted-for MANUAL_HALT --wf-spec cart`
    - `halter list --waits-for EXTERNAL_EVENT:checkout --sort started --reverse`
    - `halter list --var customer=Ann --json`
    - `halter list --where status=RUNNING --count`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    if watch and (as_json or count or after):
        raise BadOptions("--watch shows the first page on a terminal: leave out --json, --count and --after")
    from halter.view.filters import BadFilter, Sort

    wanted = filters.meant()
    try:
        order = Sort.of(sort, reverse=reverse)
    except BadFilter as bad:
        raise BadOptions(f"--{bad}") from None
    with ends_at_once(), opened(view) as place:
        if watch:
            keep_showing(place, wanted, order, limit)
            return
        with place.read() as connection:
            if count:
                print_count(connection, wanted, as_json=as_json)
            elif as_json:
                print_data(connection, wanted, order, after, limit)
            else:
                print_list(connection, wanted, order, after, limit)
            note_lag(connection)


def pages(
    connection: "Connection", wanted: "WfRunFilter", order: "Sort", after: str | None, limit: int
) -> "Iterator[Page[WfRunLine]]":
    """Yield pages until there are as many WfRuns as are wanted, or looking for them takes too long."""
    from halter.view.wf_run_lists import wf_runs

    until = time.monotonic() + SEARCH_SECONDS
    while True:
        page = wf_runs(connection, wanted, order, after, min(limit, PAGE))
        yield page
        limit, after = limit - len(page.lines), page.after
        if after is None or limit <= 0 or time.monotonic() > until:
            return


def print_list(connection: "Connection", wanted: "WfRunFilter", order: "Sort", after: str | None, limit: int) -> None:
    """Print WfRuns as a table, and where it goes on."""
    from halter.view.wf_run_text import WfRunTable

    table, shown, page = WfRunTable(terminal_width(), _now_ms()), 0, None
    for page in pages(connection, wanted, order, after, limit):
        if page.lines:
            for line, style in table.lines(page.lines):
                typer.echo(painted(line, style))
        shown += len(page.lines)
    assert page is not None
    note(found_text(connection, wanted, shown, page.after, first=after is None))
    if not shown:
        note_unknown(connection, wanted)


def found_text(connection: "Connection", wanted: "WfRunFilter", shown: int, more: str | None, *, first: bool) -> str:
    """Return the sentence below a list: how many were shown of how many, and how to go on."""
    from halter.view.wf_run_lists import count

    whose = f" with {wanted.words()}" if not wanted.is_empty else ""
    if not shown and more is None:
        return f"there is no {'' if first else 'further '}WfRun{whose} in the view"
    if more is None:
        return f"{counted(shown, 'WfRun')}{whose}"
    if not shown:
        return f"no WfRun{whose} was found so far; go on with --after {more}"
    return f"{shown:,} of {count(connection, wanted).of('WfRun')}{whose}; go on with --after {more}"


def print_count(connection: "Connection", wanted: "WfRunFilter", *, as_json: bool) -> None:
    """Print how many WfRuns there are."""
    from halter.view.filters import Sort, SortBy
    from halter.view.looking import COUNTED
    from halter.view.paging import Count
    from halter.view.wf_run_lists import count

    found = count(connection, wanted)
    if not found.is_exact and found.number < COUNTED:  # it takes longer than one look
        lines = 0
        for page in pages(connection, wanted, Sort(SortBy.ID), None, COUNTED):
            lines += len(page.lines)
        found = Count(lines, is_exact=page.after is None)
    if as_json:
        print_json({"count": found.number, "is_exact": found.is_exact})
    else:
        typer.echo(str(found))
    if not found.number:
        note_unknown(connection, wanted)


def print_data(connection: "Connection", wanted: "WfRunFilter", order: "Sort", after: str | None, limit: int) -> None:
    """Print WfRuns as one JSON document."""
    from halter.view.progress import lag
    from halter.view.wf_run_text import plain_data

    found, page, behind = [], None, lag(connection)
    for page in pages(connection, wanted, order, after, limit):
        found += [plain_data(it) for it in page.lines]
    assert page is not None
    print_json({"wf_runs": found, "after": page.after, "view": {"records_behind": behind.records}})
    if not found:
        note_unknown(connection, wanted)


def keep_showing(view: "View", wanted: "WfRunFilter", order: "Sort", limit: int) -> None:
    """Show the first WfRuns again and again, until Ctrl-C."""
    import shutil
    import sys

    from halter.view.wf_run_text import WfRunTable

    if not sys.stdout.isatty():
        raise BadOptions("--watch shows a list on a terminal, and stdout is none: leave it out")
    while True:
        size = shutil.get_terminal_size()
        with view.read() as connection:
            page = next(pages(connection, wanted, order, None, min(limit, max(size.lines - 4, 1))))
            told = found_text(connection, wanted, len(page.lines), page.after, first=True).split("; go on")[0]
        lines = [painted(*it) for it in WfRunTable(size.columns, _now_ms()).lines(page.lines)]
        title = styled(f"every {WATCH_SECONDS:g} s, until Ctrl-C: {told}"[: size.columns], dim=True)
        sys.stdout.write("\x1b[H\x1b[J" + "\n".join([title, "", *lines]) + "\n")
        sys.stdout.flush()
        time.sleep(WATCH_SECONDS)


def painted(line: str, style: str) -> str:
    """Return a line in its colour, if stdout is a terminal."""
    if not style:
        return line
    return styled(line, bold=True) if style == "bold" else styled(line, fg=style)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def stats(view: ViewPlace = None, as_json: Json = False) -> None:
    """Say how many WfRuns there are: by status, WfSpec, halt reason, wait and failure. And what else wants a look.

    It reads a view, which 'halter view' fills and keeps current.

    - `halter stats`
    - `halter stats --json`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    with ends_at_once(), opened(view) as place, place.read() as connection:
        from halter.view.stats_text import stats_data, stats_lines
        from halter.view.totals import stats as read

        told = read(connection)
        if as_json:
            print_json(stats_data(told))
        else:
            for line in stats_lines(told, _now_ms()):
                typer.echo(styled(line, bold=True) if not line.startswith(" ") else line)
        note_lag(connection)
