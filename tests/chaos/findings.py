"""The kinds of findings of a verdict. Each is a promise that was broken."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The promise that was broken."""

    LOST = "lost"
    """A committed input has no outcome."""
    DOUBLED = "doubled"
    """An input has more than one outcome, or a record of an outcome is there twice."""
    OUT_OF_ORDER = "out of order"
    """The outcomes of a partition's inputs are not in the order of the inputs."""
    FROM_NOWHERE = "from nowhere"
    """An outcome names an input that no read_committed reader sees, or a record of an aborted transaction is seen."""
    SEQ = "seq"
    """The events of a WfRun are not numbered 1, 2, 3 …"""
    STATE = "state"
    """The rows are not what a replay of the log gives."""
    DECIDED = "decided"
    """Deciding the recorded inputs again gives other records."""
    TASK = "task"
    """A task attempt was not requested, or more than once; or its cancellation was told wrongly."""
    TIMER = "timer"
    """A timer took effect twice, early, never, or without having been armed."""
    KAFKA = "kafka"
    """A record that Kafka acknowledged is not there: the brokers lost it, not a worker."""
    CONSOLE = "console"
    """The console failed, was silent, or shows something else than the view."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"
