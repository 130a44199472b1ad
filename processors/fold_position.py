"""How far a partition has been folded: a row of the state, written in the transaction of what it speaks of.

It wins over the consumer group's committed offsets, which brokers forget after a while.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FoldPosition:
    """The next offset to fold of each input topic of one partition. Topics are named without the prefix."""

    partition: int
    offsets: dict[str, int] = field(default_factory=dict)
    definitions_position: int = 0
    """The position of `definitions` at which it was folded last: nobody may go on at an earlier one."""
