"""Keeps a view current: writes what came, and the offsets up to which it came, in one transaction.

Whoever reads Kafka, or an engine in memory, gives it `News`. If a transaction does not commit, nothing of it is in the
view, and the Keeper has to be made anew: it goes on at the offsets that the view has.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Connection, func, select, true

from halter.view import tables
from halter.view.fold import Fold
from halter.view.place import READY, View
from halter.view.projection import Row, searchable_in
from halter.view.state import SizedRecord
from halter.view.writing import upsert
from processors.codec import Codec
from processors.core.records.commands import DefinitionKind
from processors.core.records.errors import HalterError
from processors.core.records.events import Definition, LogEntry
from processors.core.records.model import WfSpecId
from processors.core.wf_spec.definitions import Definitions

BUILDING: Final = "BUILDING"
THE_ONE: Final = 1
"""The id of the row of `source`."""


WF_RUNS_AT_ONCE: Final = 500
"""Most WfRuns whose rows are written in one transaction while a view is filled."""
BYTES_AT_ONCE: Final = 4 * 1024 * 1024
"""About how many bytes of such rows one transaction has, if that comes to fewer WfRuns."""
ENTRIES_AT_ONCE: Final = 100
"""Number of entries whose WfRuns are read together: between two such reads memory may be made free."""


class AnotherWrites(HalterError):
    """The offsets in the view are not those that this process has written: another one writes it too."""


@dataclass(frozen=True, slots=True)
class Source:
    """The installation of which a view is."""

    partitions: int
    prefix: str = ""
    cluster: str | None = None
    topic_ids: str | None = None


HISTORY: Final = (
    (tables.failures, true()),
    (tables.tasks, tables.tasks.c.status != "OUT"),
    (tables.thread_runs, tables.thread_runs.c.hot == 0),
    (tables.external_events, tables.external_events.c.hot == 0),
)
"""Tables with rows that the log alone tells of, and which rows those are."""


class OtherSource(HalterError):
    """A view is of another installation than the one that is to be read into it. Whoever asked names another view."""


@dataclass(slots=True)
class Ends:
    """How far a partition is read, and how far it goes."""

    log_offset: int = 0
    dead_letters_offset: int = 0
    lag: int = 0
    seen_ms: int = 0
    event_ms: int | None = None


@dataclass(slots=True)
class News:
    """What came since the last transaction."""

    definitions: list[tuple[int, Definition]] = field(default_factory=list)
    """Each with the time of its record."""
    entries: dict[int, list[tuple[int, LogEntry]]] = field(default_factory=dict)
    """Partition -> entries of its log with their offsets, in order."""
    dead_letters: list[Row] = field(default_factory=list)
    retries: list[Row] = field(default_factory=list)
    """Which dead letters were retried: place, and `last_outcome`, the place of the new record."""
    ends: dict[int, Ends] = field(default_factory=dict)
    """Partition -> how far it is read with all of this."""


class Keeper:
    """Writes news into a view. One at a time may have it."""

    def __init__(self, view: View, codec: Codec, *, with_masked: bool = False) -> None:
        self.view = view
        self.definitions = Definitions()
        self._fold = Fold(codec, lambda: self.definitions, with_masked=with_masked)
        self._with_masked = with_masked
        self.ends: dict[int, Ends] = {}
        """Partition -> how far the view is."""

    def begin(self, source: Source, now_ms: int) -> bool:
        """Note of which installation the view is, if it is new, and learn how far it is. Return True if it is new.

        A view that was not filled to the end begins anew. Raises OtherSource.
        """
        with self.view.write() as connection:
            found = connection.execute(select(tables.source)).mappings().one_or_none()
            if found is not None and found["state"] == READY:
                expect_source(source, dict(found), with_masked=self._with_masked, where=self.view.where)
                self.ends = ends_of(connection)
                return False
            for table in tables.metadata.sorted_tables:
                connection.execute(table.delete())
            connection.execute(
                tables.source.insert().values(
                    id=THE_ONE,
                    cluster=source.cluster,
                    topic_ids=source.topic_ids,
                    prefix=source.prefix,
                    partitions=source.partitions,
                    with_masked=int(self._with_masked),
                    state=BUILDING,
                    built_ms=now_ms,
                )
            )
            connection.execute(
                tables.partitions.insert(), [_ends_row(it, Ends(seen_ms=now_ms)) for it in range(source.partitions)]
            )
            self.ends = ends_of(connection)
            return True

    def write(self, news: News) -> int:
        """Write news in one transaction and return the number of rows.

        Raises LogBroken, AnotherWrites and ViewUnavailable.
        """
        for _, definition in news.definitions:
            self.definitions.apply(definition)
        with self.view.write() as connection:
            self._expect_own(connection, news.ends)
            written = self._write_definitions(connection, news.definitions)
            for partition, entries in news.entries.items():
                written += self._fold_all(connection, partition, entries, self._fold.take)
            written += self._fold.flush(connection)
            written += upsert(connection, tables.dead_letters, news.dead_letters)
            for retry in news.retries:
                letters = tables.dead_letters
                it = letters.c.partition == retry["partition"], letters.c.letter_offset == retry["letter_offset"]
                connection.execute(letters.update().where(*it).values(retries=1, last_outcome=retry["last_outcome"]))
            upsert(connection, tables.partitions, [_ends_row(*it) for it in news.ends.items()])
        self.ends |= news.ends
        return written

    def write_before_rows(self, partition: int, entries: Sequence[tuple[int, LogEntry]]) -> int:
        """Write entries of a partition whose rows come later. Return the number of rows that were written."""
        if not entries:
            return 0
        ends = replace(self.ends[partition], log_offset=entries[-1][0] + 1)
        with self.view.write() as connection:
            self._expect_own(connection, [partition])
            written = self._fold_all(connection, partition, entries, self._fold.take_before_rows)
            written += self._fold.flush(connection)
            upsert(connection, tables.partitions, [_ends_row(partition, ends)])
        self.ends[partition] = ends
        return written

    def _fold_all(
        self,
        connection: Connection,
        partition: int,
        entries: Sequence[tuple[int, LogEntry]],
        take: Callable[[int, int, LogEntry], None],
    ) -> int:
        """Fold entries of a partition. Return the number of rows that had to be written on the way, to make room."""
        written = 0
        for start in range(0, len(entries), ENTRIES_AT_ONCE):
            some = entries[start : start + ENTRIES_AT_ONCE]
            self._fold.load(connection, (entry.wf_run_id for _, entry in some))
            for offset, entry in some:
                take(partition, offset, entry)
            if self._fold.is_full:
                written += self._fold.flush(connection)
        return written

    def put_rows(self, partition: int, rows: Iterable[tuple[str, list[SizedRecord]]]) -> Iterator[int]:
        """Write the rows of WfRuns, as they are where the log is now. Yield how many rows each transaction wrote."""
        for some in _in_parts(rows):
            with self.view.write() as connection:
                self._expect_own(connection, [partition])
                self._fold.load(connection, (wf_run_id for wf_run_id, _ in some))
                for wf_run_id, records in some:
                    self._fold.put_rows(partition, wf_run_id, (record for record, _ in records))
                written = self._fold.flush(connection)
            yield written

    def prune(self, firsts: Mapping[int, tuple[int, int]]) -> int:
        """Delete what the log has no more. `firsts`: partition -> the first offset that is left of the log, of letters.

        Returns the number of events and dead letters. What stands for the present state of a WfRun stays.
        """
        gone = 0
        with self.view.write() as connection:
            for partition, (first, first_letter) in firsts.items():
                old = (tables.events.c.partition == partition) & (tables.events.c.log_offset < first)
                ids = select(tables.events.c.wf_run_id).where(old)
                for table, is_past in HISTORY:
                    connection.execute(
                        table.delete().where(
                            table.c.wf_run_id.in_(ids), func.coalesce(table.c.log_offset, -1) < first, is_past
                        )
                    )
                gone += connection.execute(tables.events.delete().where(old)).rowcount
                letters = tables.dead_letters
                is_gone = (letters.c.partition == partition) & (letters.c.letter_offset < first_letter)
                gone += connection.execute(letters.delete().where(is_gone)).rowcount
        return gone

    def ready(self) -> None:
        """Let others read the view: it was filled once."""
        with self.view.write() as connection:
            connection.execute(tables.source.update().values(state=READY))

    def _expect_own(self, connection: Connection, partitions: Iterable[int]) -> None:
        """Raise AnotherWrites unless the view is as far as this process has written it."""
        found = ends_of(connection, to_write=True)
        for partition in partitions:
            there, ours = found.get(partition), self.ends.get(partition)
            if there is None or ours is None or _offsets(there) != _offsets(ours):
                raise AnotherWrites(
                    f"the view {self.view.where}: partition {partition} is at {there}, expected {ours}: another "
                    "process writes it too; end one of them"
                )

    def _write_definitions(self, connection: Connection, definitions: Sequence[tuple[int, Definition]]) -> int:
        rows = {definition.key: self._definition_row(time_ms, definition) for time_ms, definition in definitions}
        return upsert(connection, tables.definitions, list(rows.values()))

    def _definition_row(self, time_ms: int, definition: Definition) -> Row:
        names: list[str] | None = None
        if definition.kind is DefinitionKind.WF_SPEC:
            try:
                wf_spec = WfSpecId(definition.name, definition.major, definition.revision)
                names = searchable_in(self.definitions.wf_spec(wf_spec))
            except HalterError:
                names = []
        return {
            "kind": definition.kind.value,
            "name": definition.name,
            "version": str(definition.version),
            "major": definition.major,
            "revision": definition.revision,
            "registered_ms": time_ms,
            "deleted": int(definition.deleted),
            "searchable": names,
            "document": definition.document,
        }


def _in_parts(rows: Iterable[tuple[str, list[SizedRecord]]]) -> Iterator[list[tuple[str, list[SizedRecord]]]]:
    """Yield the rows of so many WfRuns as one transaction takes."""
    part: list[tuple[str, list[SizedRecord]]] = []
    size = 0
    for wf_run_id, records in rows:
        part.append((wf_run_id, records))
        size += sum(it for _, it in records)
        if len(part) >= WF_RUNS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


REBUILD: Final = "name another view (--url), or build this one anew (--rebuild)"


def expect_source(
    source: Source, found: Mapping[str, Any], *, with_masked: bool | None, where: str, mend: str = REBUILD
) -> None:
    """Raise OtherSource, which ends with `mend`, unless a view is of this installation.

    `found` is its row of `source`. `with_masked=None`: masked values may be in it or not.
    """
    named = {
        "the prefix": (found["prefix"], source.prefix),
        "the number of partitions": (found["partitions"], source.partitions),
        "the Kafka cluster": (found["cluster"], source.cluster),
    }
    for what, (has, is_now) in named.items():
        if None not in (has, is_now) and has != is_now:
            raise OtherSource(
                f"the view {where} is of another installation: {what} is {has!r}, found {is_now!r}; {mend}"
            )
    if None not in (found["topic_ids"], source.topic_ids) and found["topic_ids"] != source.topic_ids:
        raise OtherSource(
            f"the view {where} is of topics that were deleted and created again since (the ids were "
            f"{found['topic_ids']}, found {source.topic_ids}); {mend}"
        )
    if with_masked is not None and bool(found["with_masked"]) != with_masked:
        has, wanted = ("has", "without --with-masked") if found["with_masked"] else ("lacks", "with --with-masked")
        raise OtherSource(f"the view {where} {has} masked values, and was to be kept {wanted}; {mend}")


def ends_of(connection: Connection, *, to_write: bool = False) -> dict[int, Ends]:
    """Return how far each partition of a view is; `to_write` lets another writer wait until this transaction ends."""
    table = tables.partitions
    asked = select(table).order_by(table.c.partition)
    return {
        row.partition: Ends(row.log_offset, row.dead_letters_offset, row.lag, row.seen_ms, row.event_ms)
        for row in connection.execute(asked.with_for_update() if to_write else asked)
    }


def _offsets(ends: Ends) -> tuple[int, int]:
    return ends.log_offset, ends.dead_letters_offset


def _ends_row(partition: int, ends: Ends) -> Row:
    return {
        "partition": partition,
        "log_offset": ends.log_offset,
        "dead_letters_offset": ends.dead_letters_offset,
        "lag": ends.lag,
        "seen_ms": ends.seen_ms,
        "event_ms": ends.event_ms,
    }
