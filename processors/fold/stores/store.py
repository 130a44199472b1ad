"""What a shard asks of the place where its rows are. A store knows keys and bytes; it decodes nothing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from processors.core.records.errors import HalterError
from processors.core.records.topic_names import KEPT_INPUTS, OPERATOR_COMMANDS
from processors.fold.timers import ArmedTimer


class BrokenState(HalterError):
    """A row of a state topic cannot be read, or rows do not fit together. Nothing was folded; look at that row."""


class Row(NamedTuple):
    """The latest record of one key of a state topic."""

    topic: str
    key: bytes
    value: bytes


def notes_quarantine(row: Row) -> bool:
    """Whether a row says that its WfRun is in quarantine, because its own row cannot be read and must not be written.

    It is a row of `kept-inputs` that holds the QuarantineWfRun itself: no other operator command is ever kept.
    """
    return row.topic == KEPT_INPUTS and row.key.split(b"/", 2)[1:2] == [OPERATOR_COMMANDS.encode()]


@dataclass(frozen=True, slots=True)
class StatePosition:
    """A position in a partition of a state topic: what comes next, and the leader's epoch there (None: unknown)."""

    offset: int
    epoch: int | None = None


class StateFiles(Protocol):
    """What of a store outlives its process. Topics are named without the prefix."""

    def resume(self, installation: Mapping[str, str], ends: Mapping[str, StatePosition]) -> Mapping[str, StatePosition]:
        """Return from where each state topic is to be read, before its rows come; one that is absent from its
        beginning.

        `installation` is what must be as it was for files to be of use; `ends` is where the topics end.
        """
        ...

    def wipe(self, reason: str) -> None:
        """Forget everything: what `resume` promised turned out to be wrong. Rows come from the beginning then."""

    def checkpoint(self, ends: Mapping[str, StatePosition]) -> None:
        """Be told where the state topics ended at a moment after which nothing was put that is not committed."""

    def close(self) -> None:
        """Let go of the files. The store is not used any more."""


class WfRunStore(Protocol):
    """The rows of one partition's WfRuns.

    While it is loaded: `put` for every row that is read, then `news`. Afterwards `put` for the rows of a turn, then
    `committed` once Kafka has them. Keys begin with the id of the WfRun, up to the first `/`, if there is one.
    """

    @property
    def files(self) -> StateFiles | None:
        """What outlives the process; None if nothing does."""
        ...

    def put(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Take the latest row of a key; None: there is none any more."""

    def rows(self, wf_run_id: str, *, external_events: bool = True) -> list[Row]:
        """Return the rows of a WfRun, in any order; none if there are none. Not of one put in the turn that lasts.

        Whoever may post an ExternalEvent may ask for any id, before a rule has looked at it: one with a `/`, which is
        none of a WfRun (DESIGN 8), has no rows.

        Without `external_events` those of its ExternalEvents are not looked at.
        """
        ...

    def row(self, topic: str, key: bytes) -> bytes | None:
        """Return one row of a WfRun, as it was after the last turn; None if there is none."""
        ...

    def position(self) -> bytes | None:
        """Return the row that says how far the partition is folded."""
        ...

    def news(self) -> Iterator[tuple[str, list[Row]]]:
        """Return the WfRuns whose timers `timers` does not know, with their rows: all that were put so far.

        Called once, when all rows have come.
        """
        ...

    def wf_run_ids(self) -> Iterator[str]:
        """Return the ids of all WfRuns that have rows."""
        ...

    def timers(self) -> Iterable[ArmedTimer]:
        """Return the timers that it was told of and kept."""
        ...

    def armed(self, timer: ArmedTimer) -> None:
        """Be told of a timer."""

    def gone(self, timer: ArmedTimer) -> None:
        """Be told that a timer is of no use any more."""

    def quarantined(self) -> Iterable[str]:
        """Return the ids that it was told are in quarantine, and kept; not all of them may be still."""
        ...

    def quarantine(self, wf_run_id: str, *, lasts: bool) -> None:
        """Be told that a WfRun is in quarantine, or is so no more."""

    def committed(self) -> None:
        """Be told that Kafka has committed all that was put."""
