"""`halter replay`: folds a range of recorded inputs again, into topics of its own."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli.client import Json, connected
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.given import filled
from halter.cli.history import Utc
from halter.cli.printing import note, print_json, print_line
from halter.cli.source import no_such
from halter.cli.usage import BadOptions, in_utf8
from halter.cli.verify import progress as progress_bar
from halter.show.counting import counted

if TYPE_CHECKING:
    from halter.client import Client
    from halter.history.verifying import Within
    from halter.replay.bounds import Bound
    from halter.replay.manifest import Progress, Request
    from processors.kafka.topics import Topics

WHEN = "a time (12:03:11, 2026-01-31T12:03:11Z) or an input record (external-events[3]@41)"


@asks_kafka
def replay(
    into: Annotated[
        str,
        typer.Option(
            "--into",
            metavar="PREFIX",
            help="Prefix of the topics that are made for the replay. Nothing may be there yet.",
            show_default=False,
            callback=in_utf8,
        ),
    ],
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="WHEN",
            help=f"Begin with the inputs of this moment: {WHEN}. Default: the beginning of the log.",
            callback=in_utf8,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="WHEN",
            help="End with the inputs of this moment. Default: the end of the log as it is now.",
            callback=in_utf8,
        ),
    ] = None,
    partitions: Annotated[
        list[int] | None,
        typer.Option("--partition", metavar="N", min=0, help="Only this partition. May be repeated. Default: all."),
    ] = None,
    wf_runs: Annotated[
        list[str] | None,
        typer.Option("--wf-run", metavar="ID", help="Only this WfRun. May be repeated.", callback=filled),
    ] = None,
    what_is_left: Annotated[
        bool,
        typer.Option(
            "--what-is-left",
            help="If the beginning of the log is gone: replay the WfRuns that began since, and leave out others.",
        ),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the replay that has this prefix before, whatever it is.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the topics of the replay that has this prefix, and do no more.")
    ] = False,
    utc: Utc = False,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Fold a range of recorded inputs again, into topics of its own.

    The inputs are decided by the fold that a worker runs, in their recorded order and with their recorded times, from
    the state that the log says there was before them. What comes of them is written under PREFIX: events, rows, task
    requests and cancellations, dead letters. Nothing that is live is written to. A consumer, or a command with
    '--prefix PREFIX', reads it as if it happened there.

    - `halter replay --from 12:00 --to 12:05 --into debug-`
    - `halter replay --from 'external-events[3]@41' --to 'task-reports[3]@7' --into debug-`
    - `halter history cart-1 --prefix debug-`
    - `halter replay --into debug- --remove`

    Repeat the command if it was broken off: it goes on where it was.

    Exit codes: 0 done and every event as recorded, 1 something came out otherwise, or an error, 2 wrong options.
    """
    from halter.replay.destination import Destination, check_prefix
    from halter.replay.manifest import added_up
    from halter.replay.replay import complete, entries_of, manifest_for, replayed
    from processors.kafka.topics_file import check_name

    given = start or end or partitions or wf_runs or what_is_left or replace
    if remove and given:
        raise BadOptions("--remove: expected --into alone beside it, found what to replay")
    if partitions and wf_runs:
        raise BadOptions("--partition: expected no --wf-run beside it: each WfRun is in one partition")
    bounds = _bounds(start, end, utc=utc)

    def expecting(topics: "Topics") -> None:
        check_prefix(into, topics.prefix)
        check_name(into, "--into")
        _request(topics, bounds, partitions, wf_runs, what_is_left=what_is_left)

    with (
        connected(kafka, to_send=False, expecting=expecting) as client,
        closing(Destination(client, into)) as destination,
    ):
        if remove:
            _tell_removed(destination.remove(), into, as_json=as_json)
            return
        client.reader.expect(client.topics.wf_events)
        _check_wf_runs(client, wf_runs or ())
        request = _request(client.topics, bounds, partitions, wf_runs, what_is_left=what_is_left)
        manifest = manifest_for(
            client, destination, request, lambda: _ranges(client, request, *bounds), replaces=replace
        )
        progress = complete(destination, manifest)
        if progress is not None:
            note(f"'{into}' has all of this replay: nothing was written; --replace makes it anew, as of now")
        else:
            with progress_bar(entries_of(client, manifest), "replaying") as told:
                progress = replayed(client, destination, manifest, told)
    total = added_up(progress.values())
    if as_json:
        print_json({"into": into, **_data(manifest.request, total)})
    else:
        for line in _lines(manifest.request, total, into):
            print_line(line)
    if total.different:
        raise typer.Exit(1)


def _check_wf_runs(client: "Client", wf_runs: Iterable[str]) -> None:
    """Raise NoSuchWfRun for a WfRun that has no events."""
    from halter.history.live import Live

    source = Live(client)
    for wf_run_id in wf_runs:
        if next(source.events(wf_run_id), None) is None:
            raise no_such(source, wf_run_id)


def _bounds(start: str | None, end: str | None, *, utc: bool) -> "tuple[Bound | None, Bound | None]":
    """Return where the range begins and ends. Raises BadBound."""
    from halter.replay.bounds import bound_of

    now_ms, zone = time.time_ns() // 1_000_000, UTC if utc else None
    first = None if start is None else bound_of("--from", start, zone, now_ms, first=True)
    last = None if end is None else bound_of("--to", end, zone, now_ms, first=False)
    return first, last


def _request(
    topics: "Topics",
    bounds: "tuple[Bound | None, Bound | None]",
    partitions: list[int] | None,
    wf_runs: list[str] | None,
    *,
    what_is_left: bool,
) -> "Request":
    """Return what is asked for in a form that says the same tomorrow. Raises BadBound."""
    from halter.replay.bounds import written
    from halter.replay.manifest import Request
    from halter.replay.ranges import partitions_meant
    from processors.kafka.partitioner import partition_of

    chosen = partitions or [partition_of(it.encode(), topics.partitions) for it in wf_runs or ()]
    meant = partitions_meant(chosen, bounds, topics.partitions)
    first, last = map(written, bounds)
    return Request(first, last, tuple(meant), tuple(sorted({*(wf_runs or ())})), what_is_left)


def _ranges(client: "Client", request: "Request", start: "Bound | None", end: "Bound | None") -> "dict[int, Within]":
    from halter.replay.ranges import range_of

    return {partition: range_of(client, partition, start, end) for partition in request.partitions}


def _lines(request: "Request", total: "Progress", into: str) -> Iterator[str]:
    """Yield the lines that say what is there, and what to do with it."""
    yield (
        f"{counted(total.inputs, 'input')} of {counted(len(request.partitions), 'partition')}, from "
        f"{request.start or 'the beginning'} to {request.end or 'the end as it was'}, replayed into '{into}'"
    )
    yield (
        f"  written   {counted(total.events, 'event')}, {counted(total.task_requests, 'task request')}, "
        f"{counted(total.task_cancellations, 'task cancellation')}, "
        f"{counted(total.dead_letters, 'dead letter')}, {counted(total.rows, 'row')}"
    )
    if total.different:
        some = ", ".join(total.for_instance[:3]) + (", …" if total.different > 3 else "")
        yield (
            f"  compared  {counted(total.different, 'WfRun')} ({some}) came out otherwise than recorded: "
            "`halter verify --all` tells how"
        )
    elif total.same:
        yield "  compared  every event is as it was recorded"
    for why, number in sorted(total.left_out.items()):
        yield f"  left out  {counted(number, 'WfRun')}: {why}"
    yield f"  look      halter history WF_RUN --prefix {into}, halter show WF_RUN --prefix {into}"
    yield f"  remove    halter replay --into {into} --remove"


def _data(request: "Request", total: "Progress") -> dict[str, Any]:
    """Return the same as JSON data."""
    return {
        "from": request.start,
        "to": request.end,
        "partitions": list(request.partitions),
        "wf_runs": list(request.wf_runs),
        "inputs": total.inputs,
        "events": total.events,
        "task_requests": total.task_requests,
        "task_cancellations": total.task_cancellations,
        "dead_letters": total.dead_letters,
        "rows": total.rows,
        "same": not total.different,
        "wf_runs_that_differ": total.different,
        "left_out": total.left_out,
    }


def _tell_removed(names: list[str], into: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"removed": names})
    elif names:
        print_line(f"Removed: {counted(len(names), 'topic')} with prefix '{into}'.")
    else:
        note(f"there is no replay with prefix '{into}': nothing to remove")
