"""What the pages and the API show of a view. Knows no Kafka."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

from sqlalchemy import Connection, select

from halter.console.counted import Counted
from halter.console.problems import NotThere
from halter.show.counting import counted
from halter.show.times import iso
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


class ViewReadings:
    """Reads a view for one console."""

    def __init__(self, url: str | None) -> None:
        """Opens nothing yet."""
        self._url = url
        self._view: View | None = None
        self._opening = threading.Lock()
        self.counted = Counted()
        """How many of what there are in the view."""

    def close(self) -> None:
        """Let go of the view."""
        if self._view is not None:
            self._view.close()

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
                raise not_in_view(wf_run_id, progress.partition_of_id(connection, wf_run_id))
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

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one moment of the view. If the view is away, the next call opens it again.

        Raises ViewUnavailable, also for a view that has masked values: readers would see them.
        """
        with self._opening:
            if self._view is None:
                self._view = open_view(self._url)
            view = self._view
        try:
            with view.read() as connection:
                _expect_masked(connection, view)
                yield connection
        except ViewUnavailable:
            with self._opening:
                if self._view is view:
                    self._view = None
            view.close()
            raise


def _expect_masked(connection: Connection, view: View) -> None:
    if connection.execute(select(tables.source.c.with_masked)).scalar():
        raise ViewUnavailable(
            f"the view {view.where} has masked values (--with-masked), which every reader would see: keep another view "
            "without them, and give that to the console (--view)"
        )


def not_in_view(wf_run_id: str, read: PartitionLine | None) -> NotThere:
    """The error of a WfRun that the view does not have. It may come while there is something left to read."""
    nothing = f"the view has no WfRun '{wf_run_id[:200]}'"
    if read is None:
        return NotThere(f"{nothing}, and has read nothing of its partition yet: it may come")
    now_ms = time.time_ns() // 1_000_000
    upto = "" if read.event_ms is None else f" up to {iso(read.event_ms)}"
    if progress.is_stale(read.seen_ms, now_ms):
        return NotThere(
            f"{nothing}, and has not heard of Kafka since {iso(read.seen_ms)}: it may come once `halter view` keeps it "
            "current"
        )
    if read.lag:
        return NotThere(
            f"{nothing}: it has read its partition {read.partition}{upto}, and {counted(read.lag, 'record')} of it are "
            "still to be read, so this WfRun may come"
        )
    return NotThere(f"{nothing}, and has read all of its partition {read.partition}{upto}; check the id")
