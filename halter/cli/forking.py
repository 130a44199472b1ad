"""`halter fork | reset`: a WfRun goes on from an earlier moment, under a new id.

This module parses options and prints; `halter.history.forking` finds the moment, and the Client does the rest.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from halter.cli.asked import Operator, Reason, asked
from halter.cli.client import Json, Timeout, connected
from halter.cli.connection import PANEL, Kafka, asks_kafka
from halter.cli.given import filled, moment
from halter.cli.history import MOMENT, Incarnation, Utc, explaining, moment_data, moment_text, zone_of
from halter.cli.printing import note, print_json
from halter.cli.runs import outcome_of, print_outcome, print_wf_run
from halter.cli.source import WfRun, chosen, expect_id
from halter.cli.states import note_if_masks_less
from halter.cli.typed import parsed_version
from halter.cli.usage import BadOptions
from halter.show.counting import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from halter.client import Client, Removal, Reset
    from halter.history.forking import ForkPoint
    from halter.history.source import Source
    from processors.core.records.events import LogEntry
    from processors.core.wf_spec.definitions import Definitions

At = Annotated[
    str,
    typer.Option(
        "--at",
        metavar="SEQ|TIME|-N",
        help=f"The moment to go on from: {MOMENT}. It has to be the last event that a record caused. Of a time, timers "
        "have what was left of them then; of an event, what was left right behind it.",
        show_default=False,
        callback=moment,
    ),
]
Export = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="Take the WfRun from this export ('halter export --clear') instead of the log.",
        rich_help_panel=PANEL,
    ),
]


@asks_kafka
def fork(
    at: At,
    new_id: Annotated[
        str,
        typer.Option("--as", metavar="NEW_ID", help="Id of the new WfRun.", show_default=False, callback=filled),
    ],
    wf_run_id: WfRun = None,
    version: Annotated[
        str | None,
        typer.Option(
            "--spec",
            metavar="MAJOR[.REVISION]",
            help="Version of the WfSpec to go on with. Default: the one that the WfRun ran.",
        ),
    ] = None,
    incarnation: Incarnation = None,
    utc: Utc = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the new WfRun has ended, and show it.")] = False,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    file: Export = None,
    *,
    kafka: Kafka,
) -> None:
    """Start a WfRun from the state that another one had at a moment, and print its id.

    Threads, halt reasons, Variables and unclaimed ExternalEvents are as they were. Task attempts that were out are
    requested anew, timers keep the time that was left of them, and what was halted stays halted. The other WfRun does
    not notice. The same fork again does nothing.

    - `halter fork cart-1 --at 57 --as cart-1b`
    - `halter fork cart-1 --at 12:03:11 --as cart-1b --spec 0.4 --wait`
    - `halter fork --file incident.halter --at -3 --as cart-1b`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    from halter.show.redaction import Redactor
    from processors.core.records.events import WfRunStarted

    major, revision = parsed_version(version, "--spec")
    expect_id(file, wf_run_id)
    named = Moment(wf_run_id, at, incarnation, utc=utc)
    with named.in_file(file, kafka, same_spec=version is None) if file else named.live(kafka) as found:
        client, point, there = found
        client.definitions()  # workers then wait until they have read as many
        who = asked(client, operator, reason)
        posted = client.fork(point.snapshot, new_id, major=major, revision=revision, **who)
        entries = outcome_of(posted, timeout, as_json=as_json)
        note(fork_text(point, new_id, entries, zone_of(utc=utc), was_done=not posted.is_cause_of(entries[0])))
        started = entries[0].event
        if version is not None and isinstance(started, WfRunStarted):
            note_if_masks_less(new_id, started.wf_spec, point.snapshot, there(), client.definitions())
        if wait:
            print_wf_run(client, posted.until_ended(timeout), as_json=as_json)
        elif as_json:
            print_outcome(posted, Redactor(client.definitions()).entries(entries))
        else:
            typer.echo(new_id)


@asks_kafka
def reset(
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="SEQ|TIME",
            help="The moment to go on from, as for 'halter fork', but neither -N nor a time that is not over: they may "
            "name another one when the command is repeated.",
            show_default=False,
            callback=moment,
        ),
    ],
    wf_run_id: WfRun = None,
    new_id: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NEW_ID",
            help="Id of the new WfRun. Default: one that follows from the moment, cart-1-at-57.",
            callback=filled,
        ),
    ] = None,
    incarnation: Incarnation = None,
    utc: Utc = False,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    file: Export = None,
    *,
    kafka: Kafka,
) -> None:
    """Let a WfRun go on from an earlier moment: fork it, wait until the new one is started, and delete the old one.

    If the fork is refused, nothing is deleted. If the command is interrupted, call it again: it finds what is done, and
    does the rest. What the old WfRun does until it is deleted is not undone.

    - `halter reset cart-1 --at 57`
    - `halter reset cart-1 --at 12:03:11 --as cart-1b`
    - `halter reset --file incident.halter --at 57`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    from halter.client.forking import Reset, fork_to_reset, remove_the_reset
    from processors.core.records.events import Asked

    expect_id(file, wf_run_id)
    named = Moment(wf_run_id, at, incarnation, utc=utc)
    with named.in_file(file, kafka, same_spec=True) if file else named.live(kafka) as found:
        client, point, _ = found
        if at.startswith("-") or point.is_to_come:
            why = "is a time that is not over" if point.is_to_come else "counts back from the newest event"
            raise BadOptions(
                f"--at {at} {why}, and may name another moment when the command is repeated: expected "
                f"--at {point.snapshot.seq} or a time that is over"
            )
        who = Asked(**asked(client, operator, reason))
        forked = fork_to_reset(client, point.snapshot, new_id, timeout, who)
        note(fork_text(point, forked.wf_run_id, forked.entries, zone_of(utc=utc), was_done=forked.was_done))
        removal = remove_the_reset(client, point.snapshot, timeout, who)
        note(removal_text(point.snapshot.wf_run_id, removal))
        if as_json:
            print_json(reset_data(client, point, Reset(forked, removal)))
        else:
            typer.echo(forked.wf_run_id)


Found: TypeAlias = "tuple[Client, ForkPoint, Callable[[], Definitions]]"
"""A client, the moment, and what returns the definitions of the WfRun."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a WfRun as options name it."""

    wf_run_id: str | None
    at: str
    incarnation: int | None
    _: KW_ONLY
    utc: bool

    def of(self, source: "Source") -> "ForkPoint":
        """Find it where records are."""
        from halter.client import BeginningMissing, CannotFork
        from halter.history.forking import fork_point

        wf_run_id, now_ms = chosen(source, self.wf_run_id), time.time_ns() // 1_000_000
        with explaining(source, wf_run_id):
            try:
                return fork_point(source, wf_run_id, self.at, now_ms, zone_of(utc=self.utc), self.incarnation)
            except BeginningMissing as missing:
                raise CannotFork(
                    f"{missing}; an export that was made in time has it: 'halter fork --file FILE'"
                ) from missing

    @contextmanager
    def live(self, kafka: Kafka) -> "Iterator[Found]":
        """Yield a client and the moment, from the log."""
        with connected(kafka) as client:
            from halter.history.live import Live

            yield client, self.of(Live(client)), client.definitions

    @contextmanager
    def in_file(self, file: Path, kafka: Kafka, *, same_spec: bool) -> "Iterator[Found]":
        """Yield a client and the moment, from an export. What is wrong with the file is found without Kafka.

        `same_spec`: the new WfRun is to run the version that the other one ran.
        """
        from halter.history.export_file import ExportFile
        from halter.history.forking import check_is_clear, check_means_the_same

        with ExportFile(file) as export:
            point = self.of(export)
            check_is_clear(export, point.snapshot)
            with connected(kafka) as client:
                if same_spec:
                    check_means_the_same(point.snapshot, export.definitions(), client.definitions(), export.where)
                yield client, point, export.definitions


def fork_text(
    point: "ForkPoint", new_id: str, entries: "list[LogEntry]", zone: "tzinfo | None", *, was_done: bool
) -> str:
    """Return the sentence about a WfRun that goes on from a moment."""
    from halter.show.times import local
    from processors.core.records.events import InputKept

    source = moment_text(point.moments, point.index, zone)
    if isinstance(entries[0].event, InputKept):
        return f"{new_id} is in quarantine: the fork of {source} is kept until 'halter release {new_id}'"
    if was_done:
        return f"nothing was done, for {new_id} was forked at {local(entries[0].time_ms, zone)} from {source}"
    threads = point.snapshot.threads
    out = sum(thread.task_out for thread in threads)
    timers = sum(thread.node.timer is not None and not thread.task_out for thread in threads)
    parts = [counted(len(threads), "thread")]
    parts += [f"{counted(out, 'task attempt')} requested anew"] * bool(out)
    parts += [counted(timers, "timer")] * bool(timers)
    return f"{new_id} goes on from {source}: {', '.join(parts)}"


def removal_text(wf_run_id: str, removal: "Removal") -> str:
    """Return the sentence about what became of a WfRun that was reset."""
    from halter.client import Removal

    match removal:
        case Removal.DELETED:
            return f"{wf_run_id} is deleted; its events stay on the log"
        case Removal.GONE_BEFORE:
            return f"{wf_run_id} was deleted before: nothing was done"
        case Removal.ANOTHER:
            return f"another WfRun was started as {wf_run_id} since, and is left alone"
        case Removal.KEPT:
            return f"{wf_run_id} is in quarantine, and is deleted when that ends ('halter release {wf_run_id}')"


def reset_data(client: "Client", point: "ForkPoint", done: "Reset") -> dict[str, Any]:
    """Return a reset as plain JSON data."""
    from halter.show.history import entry_data
    from halter.show.redaction import Redactor

    return {
        "wf_run_id": done.forked.wf_run_id,
        "was_forked_before": done.forked.was_done,
        "source": moment_data(point.moments, point.index) | {"removal": done.removal.value},
        "events": [entry_data(it) for it in Redactor(client.definitions()).entries(done.forked.entries)],
    }
