"""`halter run | send | stop | resume | rescue | delete | show`: WfRuns from the command line.

This module parses options and prints results; the Client does the work. A refused command ends with the engine's code
and message.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from halter.cli.asked import Operator, Reason, asked
from halter.cli.client import Json, Thread, Timeout, Unmask, WfRunId, connected
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.given import LONG_MAX, filled
from halter.cli.printing import note, print_json
from halter.cli.states import print_state, shown_state
from halter.cli.typed import NoContent, assignments, expect_content_or_none, parsed_version, typed_content, typed_values
from halter.cli.usage import BadOptions, in_utf8

if TYPE_CHECKING:
    from halter.client import Client, Posted
    from processors.core.records.events import LogEntry
    from processors.core.records.model import WfRun
    from processors.core.records.values import VariableType

REPORT_SHOWS: Final = ("halter.show.log_text", "halter.show.redaction")
"""The modules with which `report` shows an outcome."""


@asks_kafka
def run(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="Name of the WfSpec.", show_default=False, callback=filled)
    ],
    wf_run_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="Id of the WfRun, and the key of all its records. Default: a new id.",
            callback=filled,
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
    *,
    kafka: Kafka,
) -> None:
    """Start a WfRun of a WfSpec and print its id.

    - `halter run cart --id cart-1 --var customer=Ann --var card=4711`
    - `halter run cart --id cart-1 --var 'items=["mug"]' --wait --timeout 60`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    from halter.show.redaction import Redactor

    major, revision = parsed_version(version)
    texts = assignments(variables)
    with connected(kafka) as client:
        values = typed_values(texts, declared_variables(client, spec, major, revision))
        posted = client.run(spec, values, wf_run_id=wf_run_id, major=major, revision=revision)
        entries = outcome_of(posted, timeout, as_json=as_json)
        if wait:
            print_wf_run(client, posted.until_ended(timeout), as_json=as_json)
        elif as_json:
            print_outcome(posted, Redactor(client.definitions()).entries(entries))
        else:
            typer.echo(posted.wf_run_id)


@asks_kafka
def send(
    wf_run_id: WfRunId,
    event: Annotated[
        str, typer.Argument(metavar="EVENT", help="Name of the ExternalEventDef.", show_default=False, callback=filled)
    ],
    content: Annotated[
        str | None,
        typer.Argument(
            metavar="CONTENT",
            help="Content of the event: text for a STR, else JSON or text. Write -- before one that begins with '-'.",
            callback=in_utf8,
        ),
    ] = None,
    no_content: NoContent = False,
    event_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="Id of the event. A second event with the same id is refused. Default: a new id.",
            callback=filled,
        ),
    ] = None,
    thread: Annotated[
        int | None,
        typer.Option("--thread", metavar="N", min=0, max=LONG_MAX, help="Let only this ThreadRun take the event."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="SPEC",
            help="Start a WfRun of this WfSpec first, if there is none with this id. One record does both, or nothing.",
            callback=filled,
        ),
    ] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option(
            "--var",
            metavar="NAME=VALUE",
            help="Value of a Variable for --start, as for 'halter run'. May be repeated.",
            callback=in_utf8,
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="MAJOR[.REVISION]", help="Version for --start. Default: the newest."),
    ] = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Post an ExternalEvent to a WfRun and print what came of it.

    - `halter send cart-1 checkout`
    - `halter send cart-1 address-changed '12 Harbour Street' --id e7`
    - `halter send cart-1 item-added '{"sku": "mug"}' --start cart --var customer=Ann`
    - `halter send cart-1 points-changed -- -3`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    if start is None and (variables or version):
        raise BadOptions(f"{'--var' if variables else '--version'} says how to start a WfRun: add --start SPEC")
    if start is not None and thread is not None:
        raise BadOptions("--thread is for a WfRun that runs already, and --start for one that may not: leave out one")
    expect_content_or_none(content, no_content=no_content)
    major, revision = parsed_version(version)
    texts = assignments(variables)
    with connected(kafka, shows=REPORT_SHOWS) as client:
        spec_id = None if start is None else client.definitions().latest_wf_spec(start, major, revision)
        definition = client.external_event_def(wf_run_id, event, spec_id)
        value = typed_content(content, definition, no_content=no_content)
        if start is None:
            posted = client.post(wf_run_id, event, value, event_id=event_id, thread=thread)
        else:
            values = typed_values(texts, declared_variables(client, start, major, revision))
            posted = client.run_and_post(
                start, wf_run_id, event, value, event_id=event_id, variables=values, major=major, revision=revision
            )
        report(client, posted, timeout, as_json=as_json, says=lambda run: unclaimed(client, run, event, posted.id))


def unclaimed(client: "Client", wf_run: "WfRun | None", event: str, event_id: str) -> str | None:
    """Say why no thread has taken an ExternalEvent that was just posted; None if one has."""
    from processors.core.records.model import ExternalEventStatus

    found = None if wf_run is None else wf_run.external_events.get((event, event_id))
    if wf_run is None or found is None or found.status is not ExternalEventStatus.UNCLAIMED:
        return None
    from halter.history.why_not_text import unclaimed_sentence
    from halter.show.wf_run_text import understood

    return unclaimed_sentence(understood(wf_run, client.definitions()), found)


@asks_kafka
def stop(
    wf_run_id: WfRunId,
    thread: Thread = 0,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Stop a WfRun, or one of its threads, until 'halter resume'. The threads below it stop too.

    - `halter stop cart-1 --thread 1 --reason "the customer called"`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(kafka, shows=REPORT_SHOWS) as client:
        posted = client.stop(wf_run_id, thread, **asked(client, operator, reason))
        report(client, posted, timeout, as_json=as_json)


@asks_kafka
def resume(
    wf_run_id: WfRunId,
    thread: Thread = 0,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Resume a WfRun, or one of its threads, that was stopped with 'halter stop'.

    - `halter resume cart-1`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(kafka, shows=REPORT_SHOWS) as client:
        posted = client.resume(wf_run_id, thread, **asked(client, operator, reason))
        report(client, posted, timeout, as_json=as_json)


@asks_kafka
def rescue(
    wf_run_id: WfRunId,
    thread: Thread = 0,
    skip: Annotated[
        bool, typer.Option("--skip", help="Go on after the node that failed. Default: run that node again.")
    ] = False,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Revive a thread that is in ERROR: it runs its failed node again.

    - `halter rescue cart-1 --thread 2 --skip`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(kafka, shows=REPORT_SHOWS) as client:
        posted = client.rescue(wf_run_id, thread, skip_current_node=skip, **asked(client, operator, reason))
        report(client, posted, timeout, as_json=as_json)


@asks_kafka
def delete(
    wf_run_id: WfRunId,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Delete a WfRun and its ExternalEvents, and free its id. The log keeps its events.

    - `halter delete cart-1`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(kafka, shows=REPORT_SHOWS) as client:
        posted = client.delete(wf_run_id, **asked(client, operator, reason))
        report(client, posted, timeout, as_json=as_json)


@asks_kafka
def show(
    wf_run_id: WfRunId,
    unmask: Unmask = False,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Show a WfRun: its threads, what each waits for, their Variables, and the ExternalEvents that no thread has taken.

    - `halter show cart-1`
    - `halter show cart-1 --json --unmask`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    shows = ("halter.show.redaction", "halter.show.wf_run_text")
    with connected(kafka, to_send=False, shows=shows) as client:
        found = client.row(wf_run_id)
        if found is None:
            from halter.cli.source import no_state
            from halter.history.live import Live

            raise no_state(Live(client), wf_run_id)
        if found.final_status is not None:
            found = as_it_ended(client, found)
        print_wf_run(client, found, as_json=as_json, unmask=unmask)
        if found.final_status is None and (no_worker := client.workers.no_worker()) is not None:
            note(no_worker)


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


def report(
    client: "Client",
    posted: "Posted",
    timeout_s: float,
    *,
    as_json: bool,
    says: "Callable[[WfRun | None], str | None]" = lambda _: None,
) -> None:
    """Wait for the outcome of a record and print it, with what `says` says of the WfRun as it is then."""
    from halter.show.log_text import event_line
    from halter.show.redaction import Redactor

    entries = outcome_of(posted, timeout_s, as_json=as_json)
    wf_run = client.row(posted.wf_run_id)
    entries = Redactor(client.definitions()).entries_of(wf_run, entries)
    said = says(wf_run)
    if as_json:
        print_outcome(posted, entries, said)
        return
    for entry in entries:
        typer.echo(event_line(entry.event))
    if said is not None:
        note(said)


def print_outcome(posted: "Posted", entries: "Iterable[LogEntry]", said: str | None = None) -> None:
    """Print the outcome of a record as JSON, with a sentence about it if there is one."""
    from halter.show.history import entry_data

    data = {
        "wf_run_id": posted.wf_run_id,
        "record": {"topic": posted.topic, "partition": posted.partition, "offset": posted.offset},
        "events": [entry_data(entry) for entry in entries],
    }
    print_json(data if said is None else {**data, "note": said})


def print_wf_run(client: "Client", wf_run: "WfRun", *, as_json: bool, unmask: bool = False) -> None:
    """Print a WfRun, as JSON or as text."""
    from halter.show.wf_run_text import data_with_waits

    shown = shown_state(wf_run, client.definitions(), unmask=unmask)
    if as_json:
        print_json(data_with_waits(shown))
    else:
        print_state(shown)
