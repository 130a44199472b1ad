"""`Source`: what an analysis may ask for, wherever the records are. `live` has Kafka's."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeAlias

from halter.history.logged import Logged
from processors.core.records.errors import HalterError
from processors.core.rules.context import Limits
from processors.core.wf_spec.definitions import Definitions
from processors.fold.inputs import InputRecord

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

    def events(self, wf_run_id: str, *, previous: bool = False) -> Iterator[Logged]:
        """Yield the events of a WfRun id in the order of the log, as they are read.

        They begin with the present or last WfRun of the id, or a little before. `previous`: with all that the log has,
        also of earlier WfRuns of the id.
        """

    def wf_run_ids(self) -> Iterator[str]:
        """Yield the id of every WfRun that it has, each once."""

    def definitions(self, position: int | None = None) -> Definitions:
        """Return all definitions, or those that were registered before a position of `definitions`."""

    def record(self, topic: str, partition: int, offset: int) -> InputRecord | None:
        """Return an input record; None if it is not there any more."""

    def records(self, places: Iterable[Place]) -> dict[Place, InputRecord]:
        """Return many input records at once. Those that are not there any more are left out."""


class NoSuchWfRun(HalterError):
    """Nothing has this id. Whoever typed it checks the id, and where it was looked for."""
