"""`Source`: what an analysis may ask for, wherever the records are. `live` reads Kafka, `export_file` a file."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Protocol, TypeAlias

from halter.history.logged import Logged
from processors.codec import Codec
from processors.core.records.errors import HalterError
from processors.core.records.events import Definition, SkipAccepted, SkipLapsed
from processors.core.rules.context import Limits
from processors.core.wf_spec.definitions import Definitions
from processors.fold.inputs import InputRecord, partition_key

Place: TypeAlias = tuple[str, int, int]
"""Where a record is: its topic without the prefix, partition and offset."""


class Source(Protocol):
    """Events, definitions and input records of WfRuns."""

    @property
    def where(self) -> str:
        """Where it looks, for sentences: `at localhost:9092`, `in incident.halter`."""

    @property
    def limits(self) -> Limits:
        """The limits under which the engine decides."""

    @property
    def codec(self) -> Codec:
        """Decodes the values of input records."""

    @property
    def partitions(self) -> int:
        """The number of shards."""

    def events(self, wf_run_id: str, *, previous: bool = False) -> Iterator[Logged]:
        """Yield the events of a WfRun id in the order of the log, as they are read.

        They begin with the present or last WfRun of the id, or a little before. `previous`: with all that there is,
        also of earlier WfRuns of the id.
        """

    def wf_run_ids(self) -> Iterator[str]:
        """Yield the id of every WfRun that it has, each once."""

    def definitions(self, position: int | None = None) -> Definitions:
        """Return all definitions, or those that were registered before a position of `definitions`."""

    def definition_records(self) -> Iterator[tuple[int, Definition]]:
        """Yield the records of `definitions` that there are, each with its offset."""

    def record(self, topic: str, partition: int, offset: int) -> InputRecord | None:
        """Return an input record; None if it is not there any more."""

    def records(self, places: Iterable[Place]) -> dict[Place, InputRecord]:
        """Return many input records at once. Those that are not there any more are left out."""


def definitions_at(records: Iterable[tuple[int, Definition]], position: int | None) -> Definitions:
    """Return the definitions that were registered before a position of `definitions`; all for None.

    The topic is compacted. What was deleted later may be there only as deleted: at an earlier position it counts as it
    was before.
    """
    found, seen, later = Definitions(), set(), []
    for offset, definition in records:
        if position is None or offset < position:
            found.apply(definition)
            seen.add(definition.key)
        else:
            later.append(definition)
    for definition in later:
        if definition.deleted and definition.key not in seen:
            found.apply(replace(definition, deleted=False))
    return found


def events_about_skips(source: Source, partition: int, skipped: Collection[Place]) -> Iterator[Logged]:
    """Yield what the log of a partition has about requests to skip records: of one that was skipped, the request for
    it, and those for the same place that lapsed because they meant another record.
    """
    for logged in source.events(partition_key(partition), previous=True):
        event = logged.entry.event
        if isinstance(event, SkipAccepted | SkipLapsed) and (event.topic, event.partition, event.offset) in skipped:
            yield logged


class NoSuchWfRun(HalterError):
    """Nothing has this id. Whoever typed it checks the id, and where it was looked for."""

    def __init__(self, message: str, wf_run_id: str | None = None) -> None:
        super().__init__(message)
        self.wf_run_id = wf_run_id
