"""`halter correlate | correlations`: events by correlation key, and who has a key.

This module parses options and prints results; the Client does the work.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.client import Json, Timeout, connected
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.definitions import NoSuchDefinition, missing
from halter.cli.given import filled
from halter.cli.printing import note, print_json
from halter.cli.typed import NoContent, expect_content_or_none, typed_content
from halter.cli.usage import UsageMistake, in_utf8

if TYPE_CHECKING:
    from processors.core.records.events import CorrelationDecided

Key = Annotated[str, typer.Argument(metavar="KEY", help="The correlation key.", show_default=False, callback=filled)]
Event = Annotated[
    str, typer.Argument(metavar="EVENT", help="Name of the ExternalEventDef.", show_default=False, callback=filled)
]


class Swapped(UsageMistake):
    """The name of an event is where its key should be. Whoever typed them swaps them."""


@asks_kafka
def correlate(
    key: Key,
    event: Event,
    content: Annotated[
        str | None,
        typer.Argument(
            metavar="CONTENT", help="Content of the event: text for a STR, else JSON or text.", callback=in_utf8
        ),
    ] = None,
    no_content: NoContent = False,
    event_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="Id of the event. A second one with the same id and key is refused. Default: a new id.",
            callback=filled,
        ),
    ] = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Post an ExternalEvent to every WfRun that has a correlation key, and print to which.

    If no WfRun has the key, the event waits for seven days for the first that registers it.

    - `halter correlate A7 paid 1250 --id payment-81`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    from halter.client.errors import CorrelatedEventRejected

    expect_content_or_none(content, no_content=no_content)
    with connected(kafka) as client:
        definition = client.definitions().external_event_def(event)
        if definition is None and client.definitions().external_event_def(key) is not None:
            raise Swapped(f"expected KEY EVENT, found no ExternalEventDef {event!r} but one named {key!r}: "
                          "did you swap key and event?")  # fmt: skip
        value = typed_content(content, definition, no_content=no_content)
        posted = client.post_correlated(key, event, value, event_id=event_id)
        try:
            decided = posted.outcome(timeout)
        except CorrelatedEventRejected as rejected:
            if as_json:
                print_json(decided_data(rejected.decided))
            raise
        if as_json:
            print_json(decided_data(decided))
            return
        for wf_run in decided.wf_runs:
            typer.echo(wf_run.wf_run_id)
        if decided.until_ms is not None:
            from halter.show.times import iso

            note(f"no WfRun has the key {key!r} for {event}: the event waits until {iso(decided.until_ms)} for one")


@asks_kafka
def correlations(
    key: Key,
    event: Event,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Show which WfRuns have a correlation key for an ExternalEventDef, and which events wait for one.

    - `halter correlations A7 paid`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    from halter.show.times import iso

    with connected(kafka, to_send=False) as client:
        definitions = client.definitions()
        if definitions.external_event_def(event) is None:
            wanted = missing(definitions, event, None, "EXTERNAL_EVENT_DEF")
            raise NoSuchDefinition(f"expected an ExternalEventDef named {wanted}")
        found = client.correlation(key, event)
        wf_runs = [] if found is None else found.wf_runs
        kept = [] if found is None else found.kept
        if as_json:
            print_json(
                {
                    "external_event_def": event,
                    "correlation_key": key,
                    "wf_runs": [{"wf_run_id": it.wf_run_id, "incarnation": it.incarnation} for it in wf_runs],
                    "waiting": [{"external_event_id": it.external_event_id, "until": iso(it.until_ms)} for it in kept],
                }
            )
            return
        for wf_run in wf_runs:
            typer.echo(wf_run.wf_run_id)
        for waiting in kept:
            typer.echo(f"event {waiting.external_event_id} waits until {iso(waiting.until_ms)}")
        if not wf_runs and not kept:
            note(f"no WfRun has the key {key!r} for {event}, and no event waits for one")


def decided_data(decided: "CorrelationDecided") -> dict[str, object]:
    """Return what became of an event as plain data."""
    from halter.show.times import iso

    return {
        "outcome": decided.outcome.value,
        "external_event_def": decided.external_event_def,
        "correlation_key": decided.correlation_key,
        "external_event_id": decided.external_event_id,
        "wf_runs": [it.wf_run_id for it in decided.wf_runs],
        "until": None if decided.until_ms is None else iso(decided.until_ms),
        "code": None if decided.code is None else decided.code.value,
        "message": decided.message,
    }
