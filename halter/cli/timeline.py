"""`halter timeline`: the history of a WfRun as a page to step through in a browser.

This module parses options and writes the file; `halter.timeline` makes the page.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.client import Unmask
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.given import to_write
from halter.cli.printing import note
from halter.cli.source import File, WfRun, chosen, expect_id, no_such, source
from halter.files.whole_file import CannotWrite
from halter.show.counting import counted

if TYPE_CHECKING:
    from halter.history.logged import Logged
    from processors.core.rules.context import WfSpecLookup


@asks_kafka
def timeline(
    wf_run_id: WfRun = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The file to write, '-' for stdout. Default: WF_RUN.html, for --mermaid stdout.",
            show_default=False,
            callback=to_write,
        ),
    ] = None,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="Write a Mermaid sequence diagram of the threads instead of a page.")
    ] = False,
    unmask: Unmask = False,
    file: File = None,
    *,
    kafka: Kafka,
) -> None:
    """Write the history of a WfRun as one HTML file, to step through in a browser.

    It has a lane for each thread, and for each event the state, what changed, the cause and why each thread does not
    move. The file needs no network: send it to whoever is to look at it.

    - `halter timeline cart-1`
    - `halter timeline cart-1 -o incident.html`
    - `halter timeline cart-1 --file incident.halter --mermaid`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    from halter.timeline import html, recording, sequence

    expect_id(file, wf_run_id)
    with source(file, kafka) as found:
        wf_run_id = chosen(found, wf_run_id)
        logged = list(found.events(wf_run_id))
        if not logged:
            raise no_such(found, wf_run_id)
        definitions, where = found.definitions(), found.where
    if not unmask:
        logged = redacted(logged, definitions)
    data = recording(wf_run_id, logged, definitions, where=where, masked=not unmask)
    if not data["whole"]:
        note(f"the log no longer has the beginning of WfRun '{wf_run_id}': the page has what is left, without states")
    text = sequence(data) if mermaid else html(data)
    if output is None and not mermaid:
        output = Path(file_name(wf_run_id))
    if output is None or str(output) == "-":
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        why = error.strerror or error
        raise CannotWrite(f"{output}: expected a file to write to, found: {why}; name another with -o") from None
    note(f"wrote {counted(len(data['events']), 'event')} of WfRun '{wf_run_id}' to {output}")


def redacted(logged: "list[Logged]", definitions: "WfSpecLookup") -> "list[Logged]":
    """Take masked values out of events. What stands in their place differs where they differ."""
    from halter.show.redaction import Numbered, Redactor

    shown = Redactor(definitions, Numbered()).entries(it.entry for it in logged)
    return [replace(it, entry=entry) for it, entry in zip(logged, shown, strict=True)]


def file_name(wf_run_id: str) -> str:
    """Return the name of the file for a WfRun: its id, without what a name of a file cannot have."""
    return "".join(it if it.isalnum() or it in "-_" else "_" for it in wf_run_id)[:100] + ".html"
