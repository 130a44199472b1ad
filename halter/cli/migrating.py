"""`halter migrate`: a WfRun goes on by another version of its WfSpec.

This module parses options and prints; the Client does the work. The rules are those of the engine.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.asked import Operator, Reason, asked
from halter.cli.client import Json, Timeout, WfRunId, connected
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.printing import note, print_json
from halter.cli.runs import REPORT_SHOWS, report
from halter.cli.states import note_if_masks_less
from halter.cli.typed import parsed_version
from halter.cli.usage import in_utf8

if TYPE_CHECKING:
    from halter.client import Client
    from processors.core.records.events import LogEntry
    from processors.core.records.model import WfRun


@asks_kafka
def migrate(
    wf_run_id: WfRunId,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="MAJOR[.REVISION]",
            help="Version of its WfSpec to go on by, older or newer. Without a revision: the newest of the major "
            "version.",
            show_default=False,
            callback=in_utf8,
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen now, or what is in the way, and send nothing.")
    ] = False,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Let a WfRun go on by another version of its WfSpec. It is refused, with all reasons, if its state does not fit.

    Threads keep their ThreadSpecs and nodes, by name. Task attempts that are out, timers, waits and handlers go on. A
    WfRun in ERROR can be migrated, and rescued then.

    - `halter migrate cart-1 --to 0.4 --dry-run`
    - `halter migrate cart-1 --to 0.4`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    major, revision = parsed_version(to, "--to")
    assert major is not None
    with connected(kafka, to_send=not dry_run, shows=REPORT_SHOWS) as client:
        client.definitions()  # workers wait until they have read as many
        before = client.row(wf_run_id)
        if dry_run:
            entries = print_trial(client, wf_run_id, major, revision, before, as_json=as_json)
        else:
            posted = client.migrate(wf_run_id, major, revision, **asked(client, operator, reason))
            report(client, posted, timeout, as_json=as_json)
            entries = posted.entries
        note_what_is_shown(client, before, entries)


def print_trial(
    client: "Client", wf_run_id: str, major: int, revision: int | None, before: "WfRun | None", *, as_json: bool
) -> "list[LogEntry]":
    """Print the events that a migration would bring about, and return them. `before` is the WfRun now."""
    from halter.client import CommandRejected
    from halter.show.history import entry_data
    from halter.show.log_text import event_line
    from halter.show.redaction import Redactor

    try:
        entries = client.try_migration(wf_run_id, major, revision)
    except CommandRejected as rejected:
        if as_json:
            print_json({"wf_run_id": wf_run_id, "dry_run": True, "events": [entry_data(rejected.entry)]})
        raise
    shown = Redactor(client.definitions()).entries_of(before, entries)
    if as_json:
        print_json({"wf_run_id": wf_run_id, "dry_run": True, "events": [entry_data(entry) for entry in shown]})
        return entries
    for entry in shown:
        typer.echo(event_line(entry.event))
    note(f"nothing was sent: this is what 'halter migrate {wf_run_id} --to {_version(major, revision)}' would do now")
    return entries


def note_what_is_shown(client: "Client", before: "WfRun | None", entries: "list[LogEntry]") -> None:
    """Say what commands show of a WfRun from now on and did not until now.

    Masked Variables stay masked, or the engine refuses. What is computed from them may be computed otherwise.
    """
    from processors.core.records.events import WfRunMigrated
    from processors.core.rules.snapshots import snapshot_of

    migrated = entries[0].event
    if not isinstance(migrated, WfRunMigrated) or before is None or before.wf_spec != migrated.from_wf_spec:
        return
    definitions, snapshot = client.definitions(), snapshot_of(before)
    gone = {it.thread: it.variables_gone for it in migrated.threads}
    for thread in snapshot.threads:
        stay = {name: value for name, value in thread.variables.items() if name not in gone.get(thread.number, ())}
        thread.variables = stay
    note_if_masks_less(before.wf_run_id, migrated.wf_spec, snapshot, definitions, definitions)


def _version(major: int, revision: int | None) -> str:
    return str(major) if revision is None else f"{major}.{revision}"
