"""The position up to which a partition is folded: a row of the state, written together with the other rows.

It wins over the committed offsets of the consumer group, which brokers forget after a while. The rows follow the log:
what was folded since is on the log behind `log_position`.
"""

from dataclasses import dataclass, field

from processors.core.records.record import record


@record
class PendingSkip:
    """A record that an operator wants passed over if it is the next of its topic. `topic` is without the prefix."""

    topic: str
    offset: int
    timestamp_ms: int
    reason: str | None = None
    operator: str | None = None


@dataclass(frozen=True, slots=True)
class FoldPosition:
    """The next offset to fold of each input topic of one partition. Topics are named without the prefix."""

    partition: int
    offsets: dict[str, int] = field(default_factory=dict)
    definitions_position: int = 0
    """The position of `definitions` at which the partition was folded last: nobody may go on at an earlier one."""
    skips: list[PendingSkip] = field(default_factory=list)
    """Records that are to be passed over and have not come. Also operator commands that were passed over, until the
    SkipRecord that asked for it, and that comes after them, is folded.
    """
    operator_command_ids: list[str] = field(default_factory=list)
    """Ids of the last operator commands that were decided, oldest first: a repeat is refused."""
    log_position: int | None = None
    """An offset of the log, at or before the first entry that is not in the rows. None: the rows have everything, as
    releases before 0.3.0 write them.
    """
