"""`halter run | send | stop | resume | rescue | delete | show`: WfRuns from the command line.

This module parses options and prints results; the Client does the work. A refused command ends with the engine's code
and message.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from halter.cli.client import (
    Json,
    Thread,
    Timeout,
    Unmask,
    WfRunId,
    assignments,
    connected,
    note,
    parsed_version,
    print_json,
    typed_value,
    typed_values,
)
from halter.cli.connection import (
    CONNECT_SECONDS,
    Bootstrap,
    ConnectTimeout,
    Prefix,
    Properties,
    PropertiesFile,
)
from halter.cli.states import print_state, shown_state
from halter.cli.usage import in_utf8

if TYPE_CHECKING:
    from halter.client import Client, Posted
    from processors.core.records.events import LogEntry
    from processors.core.records.model import WfRun
    from processors.core.records.values import VariableType

REPORT_SHOWS: Final = ("halter.show.log_text", "halter.show.redaction")
"""The modules with which `report` shows an outcome."""


def run(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="Name of the WfSpec.", show_default=False, callback=in_utf8)
    ],
    wf_run_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="Id of the WfRun, and the key of all its records. Default: a new id.",
            callback=in_utf8,
        ),
    ] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option(
            "--var",
            metavar="NAME=VALUE",
            help="Value of a Variable: text if its type is STR, else JSON. May be repeated.",
            callback=in_utf8,
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="MAJOR[.REVISION]", help="Version of the WfSpec. Default: the newest."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the WfRun has ended, and show it.")] = False,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Start a WfRun of a WfSpec and print its id.

    - `halter run cart --id cart-1 --var customer=Ann --var card=4711`
    - `halter run cart --id cart-1 --var 'items=["mug"]' --wait --timeout 60`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    from halter.show.redaction import Redactor

    major, revision = parsed_version(version)
    texts = assignments(variables)
    with connected(bootstrap, properties_file, properties, prefix, connect_timeout) as client:
        values = typed_values(texts, declared_variables(client, spec, major, revision))
        posted = client.run(spec, values, wf_run_id=wf_run_id, major=major, revision=revision)
        entries = outcome_of(posted, timeout, as_json=as_json)
        if wait:
            print_wf_run(client, posted.until_ended(timeout), as_json=as_json)
        elif as_json:
            print_outcome(posted, Redactor(client.definitions()).entries(entries))
        else:
            typer.echo(posted.wf_run_id)


def send(
    wf_run_id: WfRunId,
    event: Annotated[
        str, typer.Argument(metavar="EVENT", help="Name of the ExternalEventDef.", show_default=False, callback=in_utf8)
    ],
    content: Annotated[
        str | None,
        typer.Argument(
            metavar="CONTENT", help="Content of the event: text for a STR, else JSON or text.", callback=in_utf8
        ),
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="Id of the event. A second event with the same id is refused. Default: a new id.",
            callback=in_utf8,
        ),
    ] = None,
    thread: Annotated[
        int | None, typer.Option("--thread", metavar="N", min=0, help="Let only this ThreadRun take the event.")
    ] = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Post an ExternalEvent to a WfRun and print what came of it.

    - `halter send cart-1 checkout`
    - `halter send cart-1 address-changed '12 Harbour Street' --id e7`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(bootstrap, properties_file, properties, prefix, connect_timeout, shows=REPORT_SHOWS) as client:
        definition = client.external_event_def(wf_run_id, event)
        value = None if content is None else typed_value(content, definition.content_type if definition else None)
        posted = client.post(wf_run_id, event, value, event_id=event_id, thread=thread)
        report(client, posted, timeout, as_json=as_json)


def stop(
    wf_run_id: WfRunId,
    thread: Thread = 0,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Stop a WfRun, or one of its threads, until 'halter resume'. The threads below it stop too.

    - `halter stop cart-1 --thread 1`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(bootstrap, properties_file, properties, prefix, connect_timeout, shows=REPORT_SHOWS) as client:
        report(client, client.stop(wf_run_id, thread), timeout, as_json=as_json)


def resume(
    wf_run_id: WfRunId,
    thread: Thread = 0,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Resume a WfRun, or one of its threads, that was stopped with 'halter stop'.

    - `halter resume cart-1`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(bootstrap, properties_file, properties, prefix, connect_timeout, shows=REPORT_SHOWS) as client:
        report(client, client.resume(wf_run_id, thread), timeout, as_json=as_json)


def rescue(
    wf_run_id: WfRunId,
    thread: Thread = 0,
    skip: Annotated[
        bool, typer.Option("--skip", help="Go on after the node that failed. Default: run that node again.")
    ] = False,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Revive a thread that is in ERROR: it runs its failed node again.

    - `halter rescue cart-1 --thread 2 --skip`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(bootstrap, properties_file, properties, prefix, connect_timeout, shows=REPORT_SHOWS) as client:
        report(client, client.rescue(wf_run_id, thread, skip_current_node=skip), timeout, as_json=as_json)


def delete(
    wf_run_id: WfRunId,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Delete a WfRun and its ExternalEvents, and free its id. The log keeps its events.

    - `halter delete cart-1`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(bootstrap, properties_file, properties, prefix, connect_timeout, shows=REPORT_SHOWS) as client:
        report(client, client.delete(wf_run_id), timeout, as_json=as_json)


def show(
    wf_run_id: WfRunId,
    unmask: Unmask = False,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Show a WfRun: its threads, what each waits for, their Variables, and the ExternalEvents that no thread has taken.

    - `halter show cart-1`
    - `halter show cart-1 --json --unmask`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    shows = ("halter.show.redaction", "halter.show.wf_run_text")
    with connected(
        bootstrap, properties_file, properties, prefix, connect_timeout, to_send=False, shows=shows
    ) as client:
        found = client.get(wf_run_id)
        if found is None:
            from halter.cli.source import no_state
            from halter.history.live import Live

            raise no_state(Live(client), wf_run_id)
        if found.final_status is not None:
            found = as_it_ended(client, found)
        print_wf_run(client, found, as_json=as_json, unmask=unmask)


def declared_variables(
    client: "Client", spec: str, major: int | None, revision: int | None
) -> "dict[str, VariableType]":
    """Return the types of the Variables that a RunWf of this WfSpec may be given; none if the WfSpec is not known.

    Afterwards the client has read the definitions, and can ask workers to wait for what it has read.
    """
    definitions = client.definitions()
    wf_spec_id = definitions.latest_wf_spec(spec, major, revision)
    if wf_spec_id is None:
        return {}
    wf_spec = definitions.wf_spec(wf_spec_id)
    return {name: variable.type for name, variable in wf_spec.threads[wf_spec.entrypoint].variables.items()}


def as_it_ended(client: "Client", row: "WfRun") -> "WfRun":
    """Return a finished WfRun with its threads, from the log. If the log no longer has them, return its row.

    The row of a finished WfRun has no threads any more.
    """
    from halter.client import BeginningMissing

    try:
        ended = client.ended(row.wf_run_id)
        ended.ended_ms, ended.timer = row.ended_ms, row.timer
        return ended
    except BeginningMissing as missing:
        note(str(missing))
        return row


def outcome_of(posted: "Posted", timeout_s: float, *, as_json: bool) -> "list[LogEntry]":
    """Wait for the outcome of a record. With `as_json` a refusal is printed as JSON too, before it is raised."""
    from halter.client import CommandRejected, CommandSkipped, NotSkipped

    try:
        return posted.outcome(timeout_s)
    except (CommandRejected, CommandSkipped, NotSkipped) as without_effect:
        if as_json:
            print_outcome(posted, [without_effect.entry])
        raise


def report(client: "Client", posted: "Posted", timeout_s: float, *, as_json: bool) -> None:
    """Wait for the outcome of a record and print it."""
    from halter.show.log_text import event_line
    from halter.show.redaction import Redactor

    entries = outcome_of(posted, timeout_s, as_json=as_json)
    wf_run = client.get(posted.wf_run_id)
    entries = Redactor(client.definitions()).entries_of(wf_run, entries)
    if as_json:
        print_outcome(posted, entries)
        return
    for entry in entries:
        typer.echo(event_line(entry.event))


def print_outcome(posted: "Posted", entries: "Iterable[LogEntry]") -> None:
    """Print the outcome of a record as JSON."""
    from halter.show.history import entry_data

    print_json(
        {
            "wf_run_id": posted.wf_run_id,
            "record": {"topic": posted.topic, "partition": posted.partition, "offset": posted.offset},
            "events": [entry_data(entry) for entry in entries],
        }
    )


def print_wf_run(client: "Client", wf_run: "WfRun", *, as_json: bool, unmask: bool = False) -> None:
    """Print a WfRun, as JSON or as text."""
    from halter.show.wf_run_text import data_with_waits

    shown = shown_state(wf_run, client.definitions(), unmask=unmask)
    if as_json:
        print_json(data_with_waits(shown))
    else:
        print_state(shown)
