"""What a search found: an author's problems, and the ends that a WfRun may come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from halter.explore.inputs import Input


class Kind(StrEnum):
    """The kind of a finding."""

    CLAIM = "claim"
    """One of the author's claims does not hold."""
    STUCK = "stuck"
    """A thread waits for something that can never come."""
    UNWRITTEN = "unwritten"
    """A Variable is read before anything wrote it."""
    NOT_STARTED = "not-started"
    NOT_REACHED = "not-reached"
    NOT_TRUE = "not-true"
    NOT_HANDLED = "not-handled"
    FAILURE = "failure"
    """The WfRun ends with a failure."""
    DROPPED = "dropped"
    """An accepted interrupt is never handled, because its thread ends."""
    UNCLAIMED = "unclaimed"
    """An ExternalEvent is still unclaimed when the WfRun is over."""


NOTES: Final = frozenset({Kind.FAILURE, Kind.DROPPED, Kind.UNCLAIMED})
"""What may be meant: an author looks at it. Everything else is a problem."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that an author wants to know."""

    kind: Kind
    where: tuple[str, ...]
    """What tells it from others of its kind."""
    sentence: str
    path: Sequence[Input] | None = None
    """The shortest way there; None if it is that there is no way."""
    shows: Sequence[dict[str, Any]] = ()
    """The steps of a scenario that show it at the end of the path."""

    @property
    def is_problem(self) -> bool:
        """Return True if it is more than an end that may be meant."""
        return self.kind not in NOTES

    @property
    def name(self) -> str:
        """A name for files and for people: its kind and where it is."""
        return "-".join([self.kind, *self.where])
