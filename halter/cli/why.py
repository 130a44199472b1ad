"""`halter why | why-not | cause`: why something is so, why something did not happen, and what caused what.

This module parses options and prints; `halter.history` finds out.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.client import Json, Unmask
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.given import filled, moment
from halter.cli.history import MOMENT, Utc, zone_of
from halter.cli.printing import note, print_json, terminal_width
from halter.cli.source import File, WfRun, chosen, expect_id, no_such, source
from halter.cli.usage import BadOptions, UsageMistake, in_utf8
from processors.core.records.errors import HalterError

if TYPE_CHECKING:
    from datetime import tzinfo

    from halter.history.present import Present
    from halter.history.source import Place, Source
    from halter.history.why import Why
    from processors.kafka.topics import Topics


class NoRecord(HalterError):
    """No record is known for what was named. Whoever named it takes another."""


class NoSuchThread(HalterError):
    """A WfRun has no such thread now. Whoever typed the number takes another; the message says which there are."""


@asks_kafka
def why(
    wf_run_id: WfRun = None,
    thread: Annotated[
        int | None, typer.Option("--thread", metavar="N", min=0, help="Tell this ThreadRun alone. Default: all.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="SEQ|TIME|-N",
            help=f"Tell why it did not move then: {MOMENT}. Default: now.",
            callback=moment,
        ),
    ] = None,
    utc: Utc = False,
    unmask: Unmask = False,
    as_json: Json = False,
    file: File = None,
    *,
    kafka: Kafka,
) -> None:
    """Say why a WfRun does not move: what holds each thread, since when, because of which record, and what frees it.

    Each sentence follows handlers, children and the threads above down to what an input can free. If no worker is
    running, or a task waits and no task worker is, that is said too.

    - `halter why cart-1`
    - `halter why cart-1 --thread 2 --json`
    - `halter why --file incident.halter --at 57`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    from halter.history.why import why as why_of
    from halter.history.why_text import sentence, sentences, stage_text, why_data

    expect_id(file, wf_run_id)
    with source(file, kafka) as found:
        present = _present(found, chosen(found, wf_run_id), at=at, zone=zone_of(utc=utc), unmask=unmask)
        run = present.run
        told = why_of(run, present.origins)
        missing = [] if at is not None or run.final_status is not None else _who_is_missing(found, told)
    # Spans of time end now; those of a past moment, or of an export, then.
    now_ms = run.time_ms if at is not None or file is not None else time.time_ns() // 1_000_000
    if thread is not None and thread not in told.findings:
        gone = "has completed, and left" if run.was_used(thread) else "was never started"
        live = ", ".join(map(str, told.findings)) or "none"
        raise NoSuchThread(f"thread {thread} of WfRun '{run.wf_run_id}' {gone}; threads that do not move: {live}")
    if as_json:
        data = why_data(told, run, now_ms)
        if thread is not None:
            data["threads"] = {str(thread): data["threads"][str(thread)]}
        print_json(data)
    elif thread is not None:
        _print([sentence(told, run, now_ms, thread)])
    else:
        _print([stage_text(told, run)])
        _print((text for _, text in sentences(told, run, now_ms)), indent="  ")
    for text in missing:
        note(text)


def _who_is_missing(found: "Source", told: "Why") -> list[str]:
    """Return sentences about who does not run: a worker, or a task worker if a thread waits for one."""
    from halter.history.live import Live
    from processors.core.rules.waiting import ForReport

    waits = (hold.wait for finding in told.findings.values() for hold in finding.holds)
    if not isinstance(found, Live):
        return []
    workers = found.client.workers
    no_task_worker = workers.no_task_worker() if any(isinstance(it, ForReport) for it in waits) else None
    return [it for it in (workers.no_worker(), no_task_worker) if it is not None]


@asks_kafka
def why_not(
    wf_run_id: Annotated[
        str, typer.Argument(metavar="WF_RUN", help="Id of the WfRun.", show_default=False, callback=filled)
    ],
    event_id: Annotated[
        str, typer.Argument(metavar="EVENT_ID", help="Id of the ExternalEvent.", show_default=False, callback=filled)
    ],
    event: Annotated[
        str | None,
        typer.Option(
            "--event",
            metavar="EVENT",
            help="Name of its ExternalEventDef, if several have an event of that id. Default: all of them.",
            callback=in_utf8,
        ),
    ] = None,
    unmask: Unmask = False,
    as_json: Json = False,
    file: File = None,
    *,
    kafka: Kafka,
) -> None:
    """Say why an ExternalEvent did nothing, or what it did: in each thread, and for each record that had its id.

    It may be unclaimed, superseded, dropped, rejected, kept in quarantine, a dead letter, or not folded yet. With
    Kafka, an id that the log does not know is looked for in the WfRun's partition and among the dead letters.

    - `halter why-not cart-1 e7`
    - `halter why-not cart-1 e7 --event address-changed --json`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    from halter.history.live import Live
    from halter.history.why_not import Fate, Outside
    from halter.history.why_not import why_not as why_not_of
    from halter.history.why_not_text import why_not_data, why_not_sentences
    from processors.core.rules.evolve import new_run

    with source(file, kafka) as found:
        present = _look(found, wf_run_id, previous=True, unmask=unmask)
        run, log = (new_run(wf_run_id), []) if present is None else (present.run, present.log)
        told = why_not_of(run, log, event_id, Outside(), event)
        if told.became[0].fate is Fate.UNKNOWN and isinstance(found, Live):
            from halter.history.outside import outside_of

            told = why_not_of(run, log, event_id, outside_of(found.client, wf_run_id, event_id), event)
        if told.became[0].fate is Fate.UNKNOWN:
            raise NoRecord(next(why_not_sentences(told, run))) if present is not None else no_such(found, wf_run_id)
    if as_json:
        print_json(why_not_data(told, run))
    else:
        _print(why_not_sentences(told, run))


@asks_kafka
def cause(
    topic: Annotated[
        str | None, typer.Argument(metavar="TOPIC", help="Topic of the record, without the prefix.", show_default=False)
    ] = None,
    partition: Annotated[
        int | None, typer.Argument(metavar="PARTITION", min=0, help="Its partition.", show_default=False)
    ] = None,
    offset: Annotated[
        int | None, typer.Argument(metavar="OFFSET", min=0, help="Its offset.", show_default=False)
    ] = None,
    wf_run_id: Annotated[
        str | None,
        typer.Option("--wf-run", metavar="WF_RUN", help="With --event: the WfRun of the event.", callback=filled),
    ] = None,
    event: Annotated[
        int | None,
        typer.Option("--event", metavar="SEQ", min=1, help="Begin with the record that caused this event of --wf-run."),
    ] = None,
    unmask: Unmask = False,
    as_json: Json = False,
    file: File = None,
    *,
    kafka: Kafka,
) -> None:
    """Show a record, decoded, with everything that it caused and what came back for that.

    A record of an output leads back to its input first: an event, a task request or cancellation, a
    dead letter, or a row.

    - `halter cause external-events 3 4711`
    - `halter cause task-requests 0 12`
    - `halter cause --wf-run cart-1 --event 57 --json`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    from halter.history.cause_text import back_line, traced_data, traced_lines
    from halter.history.live import Live
    from halter.history.outside import topic_named
    from halter.history.tracing import back_from, is_input, traced

    if (event is None) != (wf_run_id is None) or (topic is None) == (event is None):
        raise BadOptions("expected TOPIC PARTITION OFFSET of a record, or --wf-run and --event of an event")
    if topic is not None and (partition is None or offset is None):
        found_only = topic if partition is None else f"{topic} {partition}"
        raise UsageMistake(f"expected TOPIC PARTITION OFFSET, found only {found_only}")
    way: list[str] = []

    def expecting(topics: "Topics") -> None:
        if topic is not None and partition is not None:
            topic_named(topics, topic.removeprefix(topics.prefix), partition)

    with source(file, kafka, expecting=expecting) as found:
        if wf_run_id is not None and event is not None:
            place = _place_of_event(found, wf_run_id, event)
        else:
            assert topic is not None
            assert partition is not None
            assert offset is not None
            place = (topic, partition, offset)
            if isinstance(found, Live):
                place = (topic.removeprefix(found.client.topics.prefix), partition, offset)
                if not is_input(place[0]):
                    back = back_from(found, place, unmask=unmask)
                    way.append(back_line(back, place))
                    if back.place is None:
                        raise NoRecord(f"{way[0]}: nothing tells which record brought it about")
                    place, wf_run_id = back.place, back.wf_run_id
            elif not is_input(topic):
                raise NoRecord(f"an export has no records of {topic}, only inputs; --wf-run and --event name an event")
        told = traced(found, place, wf_run_id, unmask=unmask)
    if as_json:
        print_json(traced_data(told) | {"from": way[0] if way else None})
        return
    _print([*way, *traced_lines(told)])


def _place_of_event(found: "Source", wf_run_id: str, seq: int) -> "Place":
    """Return where the record is that caused an event. Raises NoSuchWfRun and NoRecord."""
    from halter.history.causes import event_with, place_of

    log = list(found.events(wf_run_id, previous=True))
    if not log:
        raise no_such(found, wf_run_id)
    logged = event_with(log, seq)
    if logged is None:
        seqs = [it.entry.seq for it in log if it.entry.seq]
        there = f"it has {seqs[0]} to {seqs[-1]}" if seqs else "it has none"
        raise NoRecord(f"WfRun '{wf_run_id}' has no event {seq} on the log: {there}")
    return place_of(logged.entry.cause)


def _present(found: "Source", wf_run_id: str, *, at: str | None, zone: "tzinfo | None", unmask: bool) -> "Present":
    """Return a WfRun as it is, or was. Raises NoSuchWfRun."""
    present = _look(found, wf_run_id, at=at, zone=zone, unmask=unmask)
    if present is None:
        raise no_such(found, wf_run_id)
    return present


def _look(
    found: "Source",
    wf_run_id: str,
    *,
    at: str | None = None,
    zone: "tzinfo | None" = None,
    previous: bool = False,
    unmask: bool = False,
) -> "Present | None":
    """Return a WfRun as it is, or was; None if nothing is known of it. Says so if the log lacks its beginning."""
    from halter.history.present import present_of

    present = present_of(found, wf_run_id, at=at, zone=zone, previous=previous, unmask=unmask)
    if present is not None and not present.is_whole:
        note(f"the log no longer has the beginning of WfRun '{wf_run_id}': some causes are unknown")
    return present


def _print(sentences: Iterable[str], indent: str = "") -> None:
    """Print sentences, wrapped to the terminal. A line is not broken where words belong together."""
    from halter.show.waiting_text import NO_BREAK
    from halter.show.wrapping import wrapped

    width = terminal_width()
    for sentence in sentences:
        own = " " * (len(sentence) - len(sentence.lstrip(" ")))
        hanging = f"{indent}{own}  "
        lines = [indent + sentence] if width is None else wrapped(sentence, width, indent=indent, hanging=hanging)
        for line in lines:
            typer.echo(line.replace(NO_BREAK, " "))
