"""Opens the view for a command, and says how far it is behind."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from halter.cli.printing import note
from halter.cli.usage import UsageMistake, in_utf8
from halter.show.counting import counted
from processors.extras import needing

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from halter.view.filters import WfRunFilter
    from halter.view.place import View

ViewPlace = Annotated[
    str | None,
    typer.Option(
        "--view",
        metavar="FILE|URL",
        help="The view: a file of SQLite or a URL of PostgreSQL. Default: HALTER_VIEW, else the one of 'halter view'.",
        callback=in_utf8,
    ),
]
PANEL: Final = "Which WfRuns"
"""Where the help has the options that choose WfRuns."""
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Only WfRuns of which this is true: status, wf-spec, version, halted-for, failed-with, waits-for, "
        "older-than, unchanged-for, quarantined, var (var=NAME=VALUE) or text. May be repeated: all must be true.",
        callback=in_utf8,
        rich_help_panel=PANEL,
    ),
]


class BadWhere(UsageMistake):
    """A filter cannot be used. Whoever typed it corrects it."""


@contextmanager
def opened(place: str | None) -> Iterator["View"]:
    """Open the view for a command. Raises ViewUnavailable with what to do, and ExtraMissing."""
    with needing("view", "a list"):
        from halter.view.place import open_view

    view = open_view(place)
    try:
        yield view
    finally:
        view.close()


def filtered(where: list[str] | None, **options: str | list[str] | None) -> "WfRunFilter":
    """Return the filter that --where and other options ask for. `wf_spec="x"` is --wf-spec x. Raises BadWhere."""
    from halter.view.filters import BadFilter, filter_of

    pairs: list[tuple[str, str]] = []
    for option in where or ():
        name, equals, value = option.partition("=")
        if not equals or not value:
            raise BadWhere(f"--where: expected NAME=VALUE, found '{option}'")
        pairs.append((name.strip(), value))
    for name, given in options.items():
        pairs += [(name, it) for it in ([given] if isinstance(given, str) else given or ())]
    try:
        return filter_of(pairs)
    except BadFilter as bad:
        raise BadWhere(str(bad)) from None


def note_unknown(connection: "Connection", wanted: "WfRunFilter") -> None:
    """Say which names in a filter the view has never seen: nothing was found because of them."""
    from halter.view.names import unknown_names

    for sentence in unknown_names(connection, wanted):
        note(sentence)


def note_lag(connection: "Connection") -> None:
    """Say how far the view is behind the log, if it is."""
    from halter.show.times import span
    from halter.view.progress import lag

    found = lag(connection)
    if found.seen_ms is None:
        note("the view has read nothing yet")
        return
    now_ms = time.time_ns() // 1_000_000
    if found.is_stale(now_ms):
        note(f"the view was last brought up to date {span(now_ms - found.seen_ms)} ago: is 'halter view' running?")
    elif found.records:
        note(f"the view is {counted(found.records, 'record')} behind the log")
