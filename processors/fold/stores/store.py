"""The store that holds a shard's rows, as the fold needs it. A store knows keys and bytes; it decodes nothing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from processors.core.records.errors import HalterError
from processors.core.records.topic_names import KEPT_INPUTS, OPERATOR_COMMANDS
from processors.fold.timers import ArmedTimer


class BrokenState(HalterError):
    """A row of a state topic cannot be read, or rows do not fit together. Nothing was folded. Inspect that row."""


class Row(NamedTuple):
    """The latest record of one key of a state topic."""

    topic: str
    key: bytes
    value: bytes


def notes_quarantine(row: Row) -> bool:
    """Return True if a row says that its WfRun is in quarantine, because its own row cannot be read and must not be
    written.

    Such a row of `kept-inputs` holds the QuarantineWfRun itself. No other operator command is ever kept.
    """
    return row.topic == KEPT_INPUTS and row.key.split(b"/", 2)[1:2] == [OPERATOR_COMMANDS.encode()]


@dataclass(frozen=True, slots=True)
class StatePosition:
    """A position in a partition of a state topic: the next offset, and the leader's epoch there (None: unknown)."""

    offset: int
    epoch: int | None = None


class StateFiles(Protocol):
    """The files of a store, which outlive its process. Topics are named without the prefix."""

    def resume(self, installation: Mapping[str, str], ends: Mapping[str, StatePosition]) -> Mapping[str, StatePosition]:
        """Return the position from which each state topic is to be read. One that is absent is read from its beginning.

        Called before rows come. The files are of use only if `installation` is as it was. `ends` are the ends of the
        topics.
        """
        ...

    def wipe(self, reason: str) -> None:
        """Forget everything: a position of `resume` turned out to be wrong. Rows then come from the beginning."""

    def checkpoint(self, ends: Mapping[str, StatePosition]) -> None:
        """Note where the state topics ended at a moment when all that had been put was committed."""

    def close(self) -> None:
        """Close the files. The store is not used any more."""


class WfRunStore(Protocol):
    """The rows of one partition's WfRuns.

    During a load, `put` is called for every row that is read, then `news` once. Afterwards `put` is called for the rows
    of a turn, then `committed` once Kafka has them. Keys begin with the id of the WfRun, up to the first `/`, if there
    is one.
    """

    @property
    def files(self) -> StateFiles | None:
        """The files that outlive the process; None if there are none."""
        ...

    def put(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Take the latest row of a key; None if the row is gone."""

    def rows(self, wf_run_id: str, *, external_events: bool = True) -> list[Row]:
        """Return the rows of a WfRun, in any order, as they were after the last turn.

        Any id may be asked for, because a producer of ExternalEvents chooses it and no rule has checked it yet. An id
        with a `/` is no WfRun's and has no rows. Without `external_events` the rows of ExternalEvents are left out.
        """
        ...

    def row(self, topic: str, key: bytes) -> bytes | None:
        """Return one row of a WfRun, as it was after the last turn; None if there is none."""
        ...

    def position(self) -> bytes | None:
        """Return the row that says how far the partition is folded; None if there is none."""
        ...

    def news(self) -> Iterator[tuple[str, list[Row]]]:
        """Yield the WfRuns whose timers are not among `timers`, with their rows.

        Called once, when all rows of a load have come.
        """
        ...

    def wf_run_ids(self) -> Iterator[str]:
        """Return the ids of all WfRuns that have rows."""
        ...

    def timers(self) -> Iterable[ArmedTimer]:
        """Return the timers that were noted and kept."""
        ...

    def armed(self, timer: ArmedTimer) -> None:
        """Note a timer that is armed."""

    def gone(self, timer: ArmedTimer) -> None:
        """Forget a timer that is no longer needed."""

    def quarantined(self) -> Iterable[str]:
        """Return the ids that were noted as being in quarantine, and kept. Some may no longer be."""
        ...

    def quarantine(self, wf_run_id: str, *, lasts: bool) -> None:
        """Note that a WfRun is in quarantine, or no longer is."""

    def keep_standings(self) -> bool:
        """Keep notes of how WfRuns stand from now on, as `fold.census` asks, before the rows of a load come.

        Return False if nothing outlives the process. If the notes of earlier processes do not fit, all WfRuns are among
        `news`.
        """
        ...

    def standing(self, wf_run_id: str, note: bytes | None) -> None:
        """Keep a note of a WfRun with the rows that are put now; None if it is gone."""

    def standings(self) -> Iterable[tuple[str, bytes]]:
        """Return the notes of the WfRuns that were not among `news`. Called once, after it."""
        ...

    def committed(self) -> None:
        """Note that Kafka has committed all rows that were put."""
