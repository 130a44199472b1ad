"""What the pages and the API show, as plain data: read from the log when somebody asks.

The functions block while they read, so they are called in a thread (Starlette does so for a route that is no
coroutine). Any number of threads may call them. Masked values are taken out unless the caller asks for them with
`unmask`; who may ask, the caller checks. Errors are HalterErrors with a sentence; `problems` knows their status.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as NoAnswer
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, TypeAlias, TypedDict

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from sqlalchemy import Connection, select

from halter.client.client import Client
from halter.client.dead_letters import (
    CannotRetry,
    DeadLetterRead,
    command_of,
    corrected,
    read_dead_letter,
    record_to_send,
)
from halter.client.workers import Workers
from halter.console.counted import Counted
from halter.console.problems import NotThere, OutOfReach
from halter.console.reaching import Reaching
from halter.console.settings import ConsoleSettings
from halter.console.standing import FoldingAnswer, Standing
from halter.console.turns import Turns
from halter.doctor.cluster import Cluster
from halter.doctor.findings import Skip
from halter.doctor.standing import Folding, look_at_folding
from halter.history.cause_text import traced_data
from halter.history.causes import event_with, place_of
from halter.history.forking import ForkPoint, fork_point
from halter.history.live import Live
from halter.history.moments import Moments, moments_of
from halter.history.present import Present, present_of
from halter.history.source import NoSuchWfRun, Source
from halter.history.tracing import traced
from halter.history.why import why
from halter.history.why_text import sentences, stage_text, why_data
from halter.show.dead_letters import fields_of, letter_data
from halter.show.history import entry_data
from halter.show.redaction import Numbered, Redactor
from halter.show.times import iso
from halter.show.wf_run_text import data_with_waits, understood
from halter.timeline import recording
from halter.view import (
    dead_letter_lists,
    definition_lists,
    external_event_lists,
    names,
    node_counts,
    progress,
    tables,
    wf_run_lists,
)
from halter.view.changes import Change, Position, changes
from halter.view.dead_letter_lists import DeadLetterLine
from halter.view.external_event_lists import ExternalEventLine
from halter.view.filters import Sort, filter_of
from halter.view.node_counts import AtNode
from halter.view.paging import Count
from halter.view.place import View, ViewUnavailable, open_view
from halter.view.progress import PartitionLine
from halter.view.totals import Stats
from halter.view.wf_run_lines import WfRunLine
from processors.core.records.events import Definition, LogEntry
from processors.fold.inputs import InputCommand
from processors.kafka.errors import KafkaUnavailable

Pairs: TypeAlias = Sequence[tuple[str, str]]
"""Names and values of filters."""


class WfRunsPage(TypedDict):
    """Some WfRuns; `after` is where the next page begins, null behind the last.

    `unknown`: a sentence for each name in the filters that the view has never seen, if no WfRun was found.
    """

    wf_runs: list[WfRunLine]
    after: str | None
    unknown: list[str]


class ExternalEventsPage(TypedDict):
    """Some ExternalEvents, the newest first; `after` and `unknown` as for WfRuns."""

    external_events: list[ExternalEventLine]
    after: str | None
    unknown: list[str]


class DeadLettersPage(TypedDict):
    """Some dead letters, the newest first; `after` and `unknown` as for WfRuns."""

    dead_letters: list[DeadLetterLine]
    after: str | None
    unknown: list[str]


@dataclass(frozen=True, slots=True)
class WfSpecLine:
    """A version of a WfSpec."""

    name: str
    version: str
    registered_ms: int
    deleted: bool


class WfSpecsAnswer(TypedDict):
    """The versions of all WfSpecs, the newest of each first."""

    wf_specs: list[WfSpecLine]


class NodesAnswer(TypedDict):
    """The nodes of a WfSpec at which live threads stand."""

    nodes: list[AtNode]


class PartitionsAnswer(TypedDict):
    """How far the view has read each partition."""

    partitions: list[PartitionLine]


class WorkersAnswer(TypedDict):
    """The workers of the installation, and the one that has each partition. `is_known`: Kafka has told."""

    group: str
    is_known: bool
    workers: list[str]
    owners: dict[str, str]


class MomentAt(TypedDict):
    """A moment of a WfRun: the event after which it is, null before the first; `last` is the index of the newest."""

    index: int
    seq: int | None
    time: str | None
    last: int


class StateAt(TypedDict):
    """A WfRun as it was at a moment."""

    at: MomentAt
    state: dict[str, Any]


class HistoryPart(TypedDict):
    """Some events of a WfRun, in order. `is_whole`: the log still has its beginning."""

    wf_run_id: str
    is_whole: bool
    events: list[dict[str, Any]]
    has_more: bool


class Sentence(TypedDict):
    """Why a thread does not move."""

    thread: int
    sentence: str


class WhyAnswer(TypedDict):
    """Why a WfRun does not move."""

    wf_run_id: str
    is_whole: bool
    stage: str
    sentences: list[Sentence]
    why: dict[str, Any]


class Readings:
    """Reads for one console. Close it in the end."""

    def __init__(self, settings: ConsoleSettings) -> None:
        """Contacts nobody yet."""
        self._settings = settings
        self._client: Client | None = None
        self._view: View | None = None
        self._reaching, self._turns = Reaching(), Turns()
        self.counted = Counted()
        """How many of what there are in the view."""
        self.standing = Standing(settings.folding or self._look_at_folding)
        """What waits to be folded, and which partitions stand still."""
        self._making = threading.Lock()

    def close(self) -> None:
        """Let go of Kafka and of the view."""
        if self._client is not None:
            self._client.close()
        if self._view is not None:
            self._view.close()

    # The view.

    def changes(self, since: Position | None) -> tuple[Position, Change | None]:
        """Return how far the view has read, and what has changed since a position. Raises ViewUnavailable, as below."""
        with self.reading() as connection:
            return changes(connection, since)

    def position(self) -> int:
        """Return how far the view has read, as a page notes it for `/live?since=`."""
        return self.changes(None)[0].number

    def wf_runs(
        self, *, filters: Pairs = (), sort: str = "changed", reverse: bool = False, after: str | None, limit: int
    ) -> WfRunsPage:
        """Return a page of the WfRuns that filters mean (`halter.view.filters`). Raises BadFilter and BadCursor."""
        asked, order = filter_of(filters), Sort.of(sort, reverse=reverse)
        with self.reading() as connection:
            page = wf_run_lists.wf_runs(connection, asked, order, after, limit)
            unknown = names.unknown_names(connection, asked) if page.is_nothing else []
        return WfRunsPage(wf_runs=list(page.lines), after=page.after, unknown=unknown)

    def count(self, *, filters: Pairs = ()) -> Count:
        """Return how many WfRuns the filters mean, or at least. Raises BadFilter."""
        asked = filter_of(filters)
        with self.reading() as connection:
            return wf_run_lists.count(connection, asked)

    def wf_run(self, wf_run_id: str) -> WfRunLine:
        """Return a WfRun as the view has it. Raises NotThere."""
        with self.reading() as connection:
            found = wf_run_lists.wf_run(connection, wf_run_id)
        if found is None:
            raise NotThere(f"the view has no WfRun '{wf_run_id[:200]}'")
        return found

    def stats(self) -> Stats:
        """Return how many of what there are."""
        with self.reading() as connection:
            return self.counted.stats(connection)

    def wf_specs(self) -> WfSpecsAnswer:
        """Return the WfSpecs that are registered, each with its versions."""
        with self.reading() as connection:
            rows = definition_lists.all_wf_spec_versions(connection)
        return WfSpecsAnswer(
            wf_specs=[WfSpecLine(it["name"], it["version"], it["registered_ms"], bool(it["deleted"])) for it in rows]
        )

    def nodes(self, wf_spec: str, version: str | None = None) -> NodesAnswer:
        """Return how many live threads stand at each node of a WfSpec, of one version or of all."""
        with self.reading() as connection:
            return NodesAnswer(nodes=node_counts.nodes_of(connection, wf_spec, version))

    def external_events(
        self, *, external_event_def: str | None, wf_run_id: str | None, **asked: Any
    ) -> ExternalEventsPage:
        """Return a page of ExternalEvents and what became of them. Raises BadFilter and BadCursor."""
        asked |= {"external_event_def": external_event_def, "wf_run_id": wf_run_id}
        with self.reading() as connection:
            page = external_event_lists.external_events(connection, **asked)
            unknown = (
                names.unknown_names_of_events(connection, external_event_def, wf_run_id) if page.is_nothing else []
            )
        return ExternalEventsPage(external_events=list(page.lines), after=page.after, unknown=unknown)

    def dead_letters(self, *, reason: str | None, topic: str | None, **asked: Any) -> DeadLettersPage:
        """Return a page of dead letters. Raises BadCursor."""
        with self.reading() as connection:
            page = dead_letter_lists.dead_letters(connection, reason=reason, topic=topic, **asked)
            unknown = names.unknown_names_of_letters(connection, reason, topic, None) if page.is_nothing else []
        return DeadLettersPage(dead_letters=list(page.lines), after=page.after, unknown=unknown)

    def dead_letter(self, partition: int, offset: int) -> DeadLetterLine:
        """Return a dead letter. Raises NotThere."""
        with self.reading() as connection:
            found = dead_letter_lists.dead_letter(connection, partition, offset)
        if found is None:
            raise NotThere(f"the view has no dead letter {partition}@{offset}; the topic may not have it any more")
        return found

    def partitions(self) -> PartitionsAnswer:
        """Return how far the view has read each partition."""
        with self.reading() as connection:
            return PartitionsAnswer(partitions=progress.partitions(connection))

    def workers(self) -> WorkersAnswer:
        """Return the workers that Kafka knows, and which has each partition; nothing if it does not tell us soon.

        Raises OutOfReach and KafkaUnavailable.
        """
        client = self.client()
        self._reaching.reach(lambda seconds: client.reach(seconds, to_send=False))
        members = Workers(client.settings, client.topics).members()
        if members is None:
            return WorkersAnswer(group=client.topics.group, is_known=False, workers=[], owners={})
        owners = {str(partition): name for partition, name in sorted(members.owners.items())}
        return WorkersAnswer(group=members.group, is_known=True, workers=members.names, owners=owners)

    def folding(self) -> FoldingAnswer:
        """Return what waits to be folded, and which partitions stand still. Raises OutOfReach and KafkaUnavailable."""
        return self.standing.now()

    def _look_at_folding(self) -> Folding:
        client = self.client()
        self._reaching.reach(lambda seconds: client.reach(seconds, to_send=False))
        cluster = Cluster(client.settings, client.topics, AdminClient(client.settings.admin()))
        try:
            return look_at_folding(cluster)
        except Skip as refused:
            raise OutOfReach(f"{refused}, so it is not known what waits to be folded") from refused
        except KafkaException as exception:
            raise client.settings.explain(exception, "looking at what waits to be folded") from exception
        except NoAnswer as exception:
            raise KafkaUnavailable("Kafka does not tell in time what waits to be folded") from exception

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one moment of the view. If the view is away, the next call opens it again.

        Raises ViewUnavailable, also for a view that has masked values: readers would see them.
        """
        with self._making:
            if self._view is None:
                self._view = open_view(self._settings.view_url)
            view = self._view
        try:
            with view.read() as connection:
                _expect_masked(connection, view)
                yield connection
        except ViewUnavailable:
            with self._making:
                if self._view is view:
                    self._view = None
            view.close()
            raise

    # The log.

    def timeline(self, wf_run_id: str, *, unmask: bool = False) -> dict[str, Any]:
        """Return the data of the timeline of the last WfRun of an id (`halter.timeline.recording`).

        Raises NoSuchWfRun, OutOfReach and KafkaUnavailable, as all below.
        """
        with self._source() as source:
            log, definitions = list(source.events(wf_run_id)), source.definitions()
            where = source.where
        if not log:
            raise no_such(wf_run_id)
        if not unmask:
            shown = Redactor(definitions, Numbered()).entries(it.entry for it in log)
            log = [replace(it, entry=entry) for it, entry in zip(log, shown, strict=True)]
        return recording(wf_run_id, log, definitions, where=where, masked=not unmask)

    def state(self, wf_run_id: str, at: str | None = None, *, unmask: bool = False) -> StateAt:
        """Return a WfRun as it was after an event: `at` and `state`, as `halter state --json` prints them.

        `at` is a seq, a number of events back (`-3`), or a time in UTC; None for the last event. Raises NoSuchMoment.
        """
        with self._source() as source:
            moments = moments_of(source, wf_run_id)
            index = moments.last if at is None else moments.at(at, UTC)
            run, definitions = moments.state(index), source.definitions()
        shown = understood(run if unmask else Redactor(definitions).run(run), definitions)
        return {"at": _moment(moments, index), "state": data_with_waits(shown)}

    def history(self, wf_run_id: str, *, after: int = 0, limit: int = 200, unmask: bool = False) -> HistoryPart:
        """Return up to `limit` events of a WfRun whose seq is above `after`, and whether there are more."""
        present = self._present(wf_run_id, unmask=unmask)
        log = [it for it in present.log if it.entry.seq > after]
        return {
            "wf_run_id": wf_run_id,
            "is_whole": present.is_whole,
            "events": [entry_data(it.entry) for it in log[:limit]],
            "has_more": len(log) > limit,
        }

    def why(self, wf_run_id: str, at: str | None = None, *, unmask: bool = False) -> WhyAnswer:
        """Return why the threads of a WfRun do not move: in words for each, and as data (`halter why --json`)."""
        present = self._present(wf_run_id, at=at, unmask=unmask)
        run, told = present.run, why(present.run, present.origins)
        now_ms = run.time_ms if at is not None else time.time_ns() // 1_000_000
        return {
            "wf_run_id": wf_run_id,
            "is_whole": present.is_whole,
            "stage": stage_text(told, run),
            "sentences": [{"thread": number, "sentence": text} for number, text in sentences(told, run, now_ms)],
            "why": why_data(told, run, now_ms),
        }

    def cause(self, wf_run_id: str, seq: int, *, unmask: bool = False) -> dict[str, Any]:
        """Return the input record that caused an event, decoded, with all that it caused (`halter cause --json`)."""
        with self._source() as source:
            log = list(source.events(wf_run_id, previous=True))
            if not log:
                raise no_such(wf_run_id)
            logged = event_with(log, seq)
            if logged is None:
                raise NotThere(f"WfRun '{wf_run_id}' has no event {seq} on the log")
            found = traced(source, place_of(logged.entry.cause), wf_run_id, unmask=unmask)
        return traced_data(found)

    def dead_letter_record(self, partition: int, offset: int, *, unmask: bool = False) -> dict[str, Any]:
        """Return what is in a dead letter (`halter dead-letters show --json`); the view knows its retries.

        Raises NoDeadLetter.
        """
        with self._turns.turn():
            letter, command = self._letter(partition, offset)
        told = letter_data(letter, command, None, unmask=unmask)
        del told["retried"]
        return told

    # For actions.

    def record_to_retry(self, partition: int, offset: int, corrections: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record that a retry would send: its name and its fields, those that are corrected in the clear.

        Raises NoDeadLetter and CannotRetry.
        """
        with self._turns.turn():
            letter, command = self._letter(partition, offset)
            if corrections:
                if command is None:
                    raise CannotRetry(
                        f"the bytes of dead letter {letter.name} are no record that has fields to correct"
                    )
                command = corrected(command, corrections)
            if self._settings.letters is None:
                record_to_send(self.client(), letter, command if corrections else None)
        if command is None:
            return {"record": None, "bytes": len(letter.value or b"")}
        return {"record": type(command).__name__, "fields": fields_of(command, corrections.keys())}

    def _letter(self, partition: int, offset: int) -> tuple[DeadLetterRead, InputCommand | None]:
        if self._settings.letters is not None:
            return self._settings.letters(partition, offset)
        client = self.client()
        self._reaching.reach(lambda seconds: client.reach(seconds, to_send=False))
        letter = read_dead_letter(client, partition, offset)
        return letter, command_of(client, letter)

    def fork_point(self, wf_run_id: str, at: str, now_ms: int) -> ForkPoint:
        """Find the moment to fork a WfRun at, masked values included. Raises CannotFork and NoSuchMoment."""
        with self._source() as source:
            return fork_point(source, wf_run_id, at, now_ms)

    def external_event_def(self, wf_run_id: str, name: str) -> Definition | None:
        """Return the ExternalEventDef that an event for this WfRun has to fit; None if there is none."""
        with self._reached() as source:
            if isinstance(source, Live):
                return source.client.external_event_def(wf_run_id, name)
            return source.definitions().external_event_def(name)

    def redacted(self, entries: list[LogEntry]) -> list[LogEntry]:
        """Take the masked values out of the newest events of a WfRun."""
        with self._source() as source:
            present = present_of(source, entries[0].wf_run_id, unmask=True) if entries else None
            run = None if present is None else present.run
            return Redactor(source.definitions()).entries_of(run, entries)

    def _present(self, wf_run_id: str, *, at: str | None = None, unmask: bool) -> Present:
        with self._source() as source:
            present = present_of(source, wf_run_id, at=at, unmask=unmask)
        if present is None:
            raise no_such(wf_run_id)
        return present

    @contextmanager
    def _source(self) -> Iterator[Source]:
        """Yield what histories are read from, once it is our turn. Raises LogBusy and KafkaUnavailable."""
        with self._turns.turn(), self._reached() as source:
            yield source

    @contextmanager
    def _reached(self) -> Iterator[Source]:
        """Yield what the log and the definitions are read from, once it answers. Raises KafkaUnavailable."""
        if self._settings.source is not None:
            with self._settings.source() as source:
                yield source
            return
        client = self.client()
        self._reaching.reach(lambda seconds: client.reach(seconds, to_send=False))
        yield Live(client)

    def client(self) -> Client:
        """Return the client that reads Kafka. It may not answer. Raises OutOfReach if there is none."""
        if self._settings.kafka is None:
            raise OutOfReach("this console has no Kafka: it shows what the view has, and no history")
        with self._making:
            if self._client is None:
                self._client = Client.of(self._settings.kafka)
            return self._client


def no_such(wf_run_id: str) -> NoSuchWfRun:
    """Return the error that says that nothing is known of an id."""
    return NoSuchWfRun(f"there is no WfRun '{wf_run_id[:200]}': the log has no event of it; check the id", wf_run_id)


def _expect_masked(connection: Connection, view: View) -> None:
    if connection.execute(select(tables.source.c.with_masked)).scalar():
        raise ViewUnavailable(
            f"the view {view.where} has masked values (--with-masked), which every reader would see: keep another view "
            "without them, and give that to the console (--view)"
        )


def _moment(moments: Moments, index: int) -> MomentAt:
    """Return which moment it is: `seq` and `time` of its event, null before the first."""
    if index < 0:
        return {"index": index, "seq": None, "time": None, "last": moments.last}
    entry = moments.log[index].entry
    return {"index": index, "seq": entry.seq, "time": iso(entry.time_ms), "last": moments.last}
