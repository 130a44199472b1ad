"""The option by which a command reads an export instead of Kafka, and the Source that its options name.

def state(wf_run_id: WfRun = None, ..., file: File = None, bootstrap: Bootstrap = None, ...) -> None:
    with source(file, kafka) as found:
        wf_run_id = chosen(found, wf_run_id)
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from halter.cli.client import connected
from halter.cli.connection import PANEL, Kafka
from halter.cli.given import filled
from halter.cli.usage import BadOptions, UsageMistake

if TYPE_CHECKING:
    from halter.history.source import NoSuchWfRun, Source
    from processors.kafka.topics import Topics

File = Annotated[
    Path | None,
    typer.Option(
        "--file", metavar="FILE", help="Read this export ('halter export') instead of Kafka.", rich_help_panel=PANEL
    ),
]
WfRun = Annotated[
    str | None,
    typer.Argument(
        metavar="WF_RUN",
        help="Id of the WfRun. May be left out with --file if the export has one WfRun.",
        show_default=False,
        callback=filled,
    ),
]
LOOKED_AT_MAX: Final = 50_000
LOOK_SECONDS: Final = 1.0
"""How much to look at for an id like the one that there is not."""
NAMED_MAX: Final = 5


@contextmanager
def source(
    file: Path | None,
    kafka: Kafka,
    shows: Sequence[str] = (),
    expecting: "Callable[[Topics], object]" = lambda _: None,
) -> "Iterator[Source]":
    """Yield what the options name: an export, or the Kafka of an installation once it answers.

    `shows` and `expecting` as for `connected`.
    """
    if file is None:
        shows = ("halter.history.live", *shows)
        with connected(kafka, to_send=False, shows=shows, expecting=expecting) as client:
            from halter.history.live import Live

            yield Live(client)
        return
    given = {
        "--bootstrap": kafka.bootstrap,
        "--properties": kafka.properties_file,
        "--property": kafka.properties,
        "--prefix": kafka.prefix,
    }
    for option, value in given.items():
        if value:
            raise BadOptions(f"--file reads an export and no Kafka: expected no {option} beside it")
    from halter.history.export_file import ExportFile

    with ExportFile(file) as export:
        yield export


def expect_id(file: Path | None, wf_run_id: str | None) -> None:
    """Raise UsageMistake where no WfRun is named, and no export can tell which is meant."""
    if file is None and wf_run_id is None:
        raise UsageMistake("expected WF_RUN, the id of a WfRun")


def chosen(found: "Source", wf_run_id: str | None) -> str:
    """Return the WfRun that is meant: the one that was named, or the only one of an export."""
    if wf_run_id is not None:
        return wf_run_id
    from halter.history.export_file import ExportFile

    ids = list(found.wf_run_ids()) if isinstance(found, ExportFile) else []
    if len(ids) == 1:
        return ids[0]
    if not ids:
        raise UsageMistake("expected WF_RUN, the id of a WfRun")
    raise UsageMistake(f"expected WF_RUN, one of {_named(ids)}")


def no_such(found: "Source", wf_run_id: str) -> "NoSuchWfRun":
    """Return the error that says that there is no event of a WfRun, with ids like it, if a short look finds some."""
    from halter.history.export_file import ExportFile
    from halter.history.source import NoSuchWfRun

    near = ids_like(found, wf_run_id)
    if near:
        hint = f"; did you mean {_named(near)}?"
    elif isinstance(found, ExportFile):
        hint = f": it has {_named(list(found.wf_run_ids()))}"
    else:
        hint = "; check the id, and --prefix"
    return NoSuchWfRun(f"there is no event of a WfRun '{wf_run_id}' {found.where}{hint}")


def no_state(found: "Source", wf_run_id: str) -> "NoSuchWfRun":
    """Return the error that says that there is no WfRun now, and where to look, with ids like it."""
    from halter.history.source import NoSuchWfRun

    near = ids_like(found, wf_run_id)
    hint = f"did you mean {_named(near)}?" if near else "check the id, and --prefix"
    return NoSuchWfRun(
        f"there is no WfRun '{wf_run_id}' and no ExternalEvent that waits for it {found.where}; if it was deleted, "
        f"`halter history {wf_run_id}` shows its events; {hint}"
    )


def ids_like(found: "Source", wf_run_id: str) -> list[str]:
    """Return some ids like this one that a short look finds."""
    from halter.history.live import Live

    until = time.monotonic() + LOOK_SECONDS
    near: dict[str, None] = {}
    for it in islice(found.ids_as_read() if isinstance(found, Live) else found.wf_run_ids(), LOOKED_AT_MAX):
        if it != wf_run_id and _alike(it, wf_run_id):
            near[it] = None
        if len(near) > NAMED_MAX or time.monotonic() > until:
            break
    return list(near)


def _alike(known: str, typed: str) -> bool:
    """Return True if one id begins like the other."""
    known, typed = known.lower(), typed.lower()
    return known.startswith(typed) or typed.startswith(known) or (len(typed) > 3 and known.startswith(typed[:-1]))


def _named(ids: list[str]) -> str:
    more = ", …" if len(ids) > NAMED_MAX else ""
    return ", ".join(f"'{it}'" for it in ids[:NAMED_MAX]) + more
