"""What the runtime asks of a fold. The runtime moves records and keeps them exactly once; it knows no rule.

A fold is one source partition's state and rules: plain Python, no Kafka, no clock, the same outputs for the same
records in the same order. All calls for a fold come one at a time, though not always from the same thread.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from processors.core.records.errors import HalterError
from processors.fold.inputs import InputRecord, ReadInput
from processors.fold.outputs import OutputRecord
from processors.fold.stores import StateFiles

__all__ = ["Fold", "FoldFactory", "InputRecord", "OutputRecord", "ReadInput", "SharedDefinitions"]


class Fold(Protocol):
    """The state and the rules of one shard.

    After an exception from any method the runtime never uses the object again.
    """

    @property
    def partition(self) -> int:
        """The number of the shard."""
        ...

    @property
    def offsets(self) -> Mapping[str, int]:
        """The next offset to fold of each input topic: part of the state (fold-positions), moved by `fold`.

        Empty if the state has no such row; otherwise a topic that is absent is new to the shard. Topics are named
        without the prefix.
        """
        ...

    @property
    def definitions_position(self) -> int:
        """The position of `definitions` at which the shard was folded last, part of the state; 0 if it never was.

        The runtime folds at no earlier one.
        """
        ...

    @property
    def files(self) -> StateFiles | None:
        """What of the state outlives the process; None if nothing does, and all rows have to come."""
        ...

    @property
    def quarantined(self) -> int:
        """How many WfRuns are in quarantine, those of the turn that lasts included."""
        ...

    @property
    def broken(self) -> Sequence[HalterError]:
        """What `check` and `restored` found wrong with rows of single keys; the others are fine."""
        ...

    def restore(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Take a record of a state topic: a row, or None for a row that is gone. The last one of a key counts."""

    def check(self, at_most: int) -> bool:
        """Look at so many of the rows, once all have come; return whether there are more to look at."""
        ...

    def restored(self) -> None:
        """All rows have come; look at those that `check` has not."""

    def begin(self, offsets: Mapping[str, int]) -> None:
        """Note where every input begins, folded before or not: the next fold-positions row names them all."""

    def read(self, record: InputRecord) -> ReadInput:
        """Decode an input record. Changes nothing.

        Raises RegistryUnavailable, as `fold`, `check` and what makes outputs may: the runtime waits and loads anew.
        Whatever else it raises, `fold` raises again.
        """
        ...

    def see_coming(self, read: ReadInput) -> None:
        """Take note of a record of `operator-commands` as soon as it is read: it may have one before it skipped."""

    def undecided(self, reads: Sequence[ReadInput]) -> Sequence[ReadInput]:
        """Return those whose fold would take long now, in the same order: they are to be given again later.

        What takes long about them is done meanwhile, beside the turns. `reads`: all that are at hand and not folded, in
        order.
        """
        ...

    def fold(self, read: ReadInput) -> None:
        """Take one input record. An exception means a bug: the record is neither skipped nor committed."""

    def due_timers(self, now_ms: int, limit: int) -> Sequence[OutputRecord]:
        """Return TimerFired records for this shard's `wf-commands`, each handed out once.

        It is handed out again after a restore, or when its record was folded as being early.
        """
        ...

    def next_timer_ms(self) -> int | None:
        """Return when the next timer that was not handed out is due, in ms since 1970; None without one."""
        ...

    def take_outputs(self) -> Sequence[OutputRecord]:
        """Return what the folded records came to, state rows and the fold's position included, and forget it."""
        ...

    def committed(self) -> None:
        """All outputs that were taken are committed."""


class FoldFactory(Protocol):
    """Makes the folds of a worker, and says which topics belong to a shard. Names are without the prefix."""

    def input_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        """Return the topics and partitions whose records the shard folds; `wf-commands` is among them."""
        ...

    def state_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        """Return the compacted topics and partitions that the shard is restored from."""
        ...

    def create(self, partition: int) -> Fold:
        """Return a fold with no state yet."""
        ...

    def describe(self, record: InputRecord) -> tuple[str | None, str | None]:
        """Return what a record is about, as an operator names it, and what it asks for; None: unknown. Never raises."""
        ...


class SharedDefinitions(Protocol):
    """The worker's view of the compacted `definitions` topic, shared by its folds. It stands still during a turn."""

    position: int
    """Offset up to which the topic is known. The runtime also moves it past records that carry no definition,
    such as the marks that end transactions."""

    def is_read(self, value: bytes | None) -> bool:
        """Say whether the next record can be applied without making a fold wait; asked again until it can."""
        ...

    def read_newest(self) -> None:
        """All that was there at the start is applied: begin to read what folds are likely to ask for."""

    def apply(self, key: bytes, value: bytes | None, next_position: int) -> None:
        """Take one record, and `next_position` as the position after it."""
