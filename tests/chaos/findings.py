"""What a verdict may find. Each kind is a promise that was broken."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Which promise."""

    LOST = "lost"
    """A committed input has no outcome."""
    DOUBLED = "doubled"
    """An input has more than one outcome, or a record of an outcome is there twice."""
    OUT_OF_ORDER = "out of order"
    """Outcomes of a partition's inputs are not in the order of the inputs."""
    FROM_NOWHERE = "from nowhere"
    """An outcome names an input that no read_committed reader sees, or something of an aborted transaction is there."""
    SEQ = "seq"
    """The events of a WfRun are not numbered 1, 2, 3 ..."""
    STATE = "state"
    """The rows are not what folding the log gives."""
    DECIDED = "decided"
    """Deciding the recorded inputs again gives other records."""
    TASK = "task"
    """A task attempt was not requested, or more than once."""
    TIMER = "timer"
    """A timer took effect twice, early, never, or without having been armed."""
    KAFKA = "kafka"
    """A record that Kafka has acknowledged is not there: lost by the brokers, not by a worker."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that should not be."""

    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"
