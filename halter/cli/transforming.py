"""What `halter bind run` and `halter sink run` have in common: options, dry runs, and the process of a mapping."""

import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from halter.cli.option_groups import OptionGroup
from halter.cli.running_options import ReadyFile, Running, until_signal
from halter.cli.usage import BadOptions

if TYPE_CHECKING:
    from halter.transform import RecordMapping, SourceRecord
    from halter.transform.pending import Place
    from processors.kafka.settings import Settings
    from processors.kafka.topics import Topics

EARLIEST, NOW = "earliest", "now"
LAST = 10
"""How many records of each topic a dry run shows if nothing else is said."""

SlotOption = Annotated[
    str | None,
    typer.Option(
        "--slot",
        help="Name of this process in its group; no other running process may have it. One that is killed and soon "
        "started again with the same slot keeps its partitions. Default: a new name.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what records become. Writes and commits nothing.")]
Last = Annotated[
    int | None,
    typer.Option("--last", metavar="N", min=1, help="With --dry-run: the last N records of each topic (default 10)."),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TIME|earliest|now",
        help="Where to begin if the group of the document has never run: a time (ISO 8601), the oldest records (the "
        "default), or now. With --dry-run: show the records from there on.",
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="With --from: no more than N records.")]


@dataclass(frozen=True, slots=True)
class Dry:
    """What a dry run looks at: the last records, or those since a moment."""

    last: int | None
    since_ms: int | None
    limit: int | None

    @classmethod
    def of(cls, last: int | None, since: str | None, limit: int | None) -> "Dry":
        """Return what the options say. Raises BadOptions."""
        if since is not None and last is not None:
            raise BadOptions("expected --from or --last, found both")
        if limit is not None and since is None:
            raise BadOptions("--limit: only with --from TIME; the last N records are --last N")
        if since is None:
            return cls(LAST if last is None else last, None, None)
        return cls(None, since_typed(since), limit)

    def records(self, settings: "Settings", sources: Iterable[str]) -> "Iterator[SourceRecord]":
        """Yield the records of these topics. Raises NoSuchTopic, KafkaUnavailable."""
        from halter.transform.looking import Looking

        with Looking(settings, settings.topics().reader_group) as looking:
            if self.last is not None:
                yield from looking.last(sources, self.last)
            else:
                yield from islice(looking.since(sources, self.since_ms), self.limit)


def expect_nothing_dry(**options: object) -> None:
    """Raise BadOptions for an option that only a dry run has. `options`: what was given; None and False are nothing."""
    for name, given in options.items():
        if given is not None and given is not False:
            raise BadOptions(f"--{name} is for --dry-run: add that, or leave it out")


@dataclass(frozen=True)
class Process(OptionGroup):
    """The name of a process in its group, and the file that says that it has begun."""

    slot: SlotOption = None
    ready_file: ReadyFile = None


def run_mapping(
    process: Process,
    running: Running,
    settings: "Settings",
    topics: "Topics",
    mapping: "RecordMapping",
    *,
    kind: Literal["bindings", "sinks"],
    name: str,
    since_ms: int | None,
    refresh: Callable[[], bool] | None = None,
    begins: "Callable[[Collection[Place]], None]" = lambda _: None,
) -> None:
    """Run a mapping until SIGTERM or Ctrl-C. `since_ms`: None for the beginning of the topics."""
    import structlog

    from halter.cli.transform_health import probes_of
    from halter.transform.loop import Loop
    from halter.transform.starts import BEGINNING_MS
    from processors.runtime.group.clients import Slot

    group = f"{topics.group}-{kind}-{name}"
    slot = process.slot
    log = structlog.get_logger(f"halter.{kind}")
    with until_signal() as stopped:
        loop = Loop(
            settings,
            topics,
            mapping,
            name=name,
            group=group,
            slot=Slot(slot, static=True) if slot else Slot(f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"),
            since_ms=BEGINNING_MS if since_ms is None else since_ms,
            refresh=refresh,
            begins=begins,
            stopped=stopped,
            log=log,
        )
        if process.ready_file is not None:
            process.ready_file.write_text("{}\n")
        with running.answering(partial(probes_of, loop)):
            log.info("started", group=group, topics=[*mapping.sources])
            loop.run()
            log.info("stopped", **loop.figures.counts())


def since_typed(text: str) -> int | None:
    """Return the milliseconds of a typed time, or of now; None for the beginning. Raises BadOptions."""
    from processors.core.records.values import ValueProblem, timestamp_of

    if text == EARLIEST:
        return None
    if text == NOW:
        return time.time_ns() // 1_000_000
    try:
        return timestamp_of(text).epoch_ms
    except ValueProblem:
        expected = f"expected a time as 2026-11-30T12:00:00 (UTC), {EARLIEST} or {NOW}"
        raise BadOptions(f"--from: {expected}, found '{text}'") from None
