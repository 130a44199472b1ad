"""How far a partition has been folded: a row of the state, written in the transaction of what it speaks of.

It wins over the consumer group's committed offsets, which brokers forget after a while.
"""

from dataclasses import dataclass, field

from processors.core.records.record import record


@record
class PendingSkip:
    """A record that an operator wants passed over, if it is the next of its topic (which is without the prefix)."""

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
    """The position of `definitions` at which it was folded last: nobody may go on at an earlier one."""
    skips: list[PendingSkip] = field(default_factory=list)
    """Records to be passed over that have not come; and operator commands that were, for a SkipRecord that comes after
    them and has not been folded.
    """
    operator_command_ids: list[str] = field(default_factory=list)
    """The last operator commands decided, oldest first: a repeat is refused."""
