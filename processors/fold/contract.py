"""The contract between the runtime and a fold. The runtime moves records, each exactly once, and knows no rule.

A fold has the state and the rules of one source partition. It is plain Python: no Kafka, no clock, and the same outputs
for the same records in the same order. Calls of a fold come one at a time, though not always from the same thread.

    restore, check, restored            a load: rows come and are looked at;
    replay, replayed, begin             the tail of the log comes behind them, and the inputs have their positions
    read, see_coming, decide_ahead      each record is read once, when it is polled
    fold, take_outputs, committed       a turn
    due_timers, next_timer_ms           between turns
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from processors.core.records.errors import HalterError
from processors.fold.inputs import Headers, InputRecord, ReadInput
from processors.fold.outputs import OutputRecord
from processors.fold.stores import StateFiles

__all__ = [
    "DEFINITION_SHARD",
    "Fold",
    "FoldFactory",
    "InputRecord",
    "OutputRecord",
    "ReadInput",
    "SharedDefinitions",
]

DEFINITION_SHARD: Final = 0
"""The shard that takes `definition-commands` as well: whoever owns it folds them."""


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
        """The next offset to fold of each input topic, named without the prefix. Part of the state; `fold` moves it.

        Empty if the state has no row of `fold-positions`. Otherwise a topic that is absent is new to the shard.
        """
        ...

    @property
    def definitions_position(self) -> int:
        """The position of `definitions` at which the shard was folded last; 0 if it never was. Part of the state.

        The runtime never folds at an earlier one.
        """
        ...

    @property
    def files(self) -> StateFiles | None:
        """The files of the state, which outlive the process; None if there are none, so that all rows have to come."""
        ...

    @property
    def quarantined(self) -> int:
        """The number of WfRuns in quarantine, with the current turn."""
        ...

    @property
    def broken(self) -> Sequence[HalterError]:
        """The errors of single rows that `check` and `restored` found. All other rows are fine."""
        ...

    def restore(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Take a record of a state topic: a row, or None for a row that is gone. The last one of a key counts."""

    @property
    def restores_headers(self) -> bool:
        """Say whether `restore_headers` is to be called: no header is read otherwise."""
        ...

    def restore_headers(self, key: bytes, headers: Headers) -> None:
        """Take the headers of a record of `wf-runs`, or of the log's tail, after the record itself."""

    def check(self, at_most: int) -> bool:
        """Look at the rows of so many WfRuns, once all rows have come. Return True if there may be more to look at."""
        ...

    def restored(self) -> None:
        """Look at the rows that `check` has not. All rows have come."""

    @property
    def log_position(self) -> int | None:
        """The offset of the log from which its records are to be replayed; None if the rows have everything.

        Known after `restored`.
        """
        ...

    def replay(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the log, from `log_position` on."""

    def replayed(self) -> None:
        """Go on where the log ends. All its records have come."""

    def logged(self, position: int) -> None:
        """Note that the log has, before this offset, every record that was taken before now and is committed."""

    def begin(self, offsets: Mapping[str, int]) -> None:
        """Note where every input begins, folded before or not. The next row of `fold-positions` names them all."""

    def read(self, record: InputRecord) -> ReadInput:
        """Decode an input record. Changes nothing.

        Raises RegistryUnavailable, as `fold`, `check` and the methods that make outputs may. The runtime then waits and
        loads the shard anew. Any other error, `fold` raises again.
        """
        ...

    def see_coming(self, read: ReadInput) -> None:
        """Note a record of `operator-commands` as soon as it is read: it may ask to skip one before it."""

    def decide_ahead(self, reads: Sequence[ReadInput]) -> Sequence[ReadInput]:
        """Begin to decide, beside the turns, records that would take long to fold.

        `reads` are all that are at hand and not folded, in order. Returns those that are to be given again later, in
        the same order.
        """
        ...

    def fold(self, read: ReadInput) -> None:
        """Take one input record. An exception means a bug: the record is neither skipped nor committed."""

    @property
    def is_full(self) -> bool:
        """Say whether the records since `take_outputs` came to so many bytes that another turn is to go on."""
        ...

    def due_timers(self, now_ms: int, limit: int) -> Sequence[OutputRecord]:
        """Return timers that are due, as records for this shard's `wf-commands`.

        Each is returned once, and again after a restore, or if its record was folded as being early.
        """
        ...

    def next_timer_ms(self) -> int | None:
        """Return when the next timer that was not handed out is due, in ms since 1970; None without one."""
        ...

    @property
    def unwritten(self) -> int:
        """The number of WfRuns whose rows are behind the log; 1 if the position alone has to be written."""
        ...

    def take_outputs(self, *, rows: bool) -> Sequence[OutputRecord]:
        """Return the outputs of the folded records, and forget them.

        `rows`: with all rows that have changed and the fold's position, which are committed together. They come
        anyway if the log alone does not tell what was folded.
        """
        ...

    def committed(self) -> None:
        """Note that all outputs which were taken are committed."""


class FoldFactory(Protocol):
    """Makes the folds of a worker, and says which topics belong to a shard. Names are without the prefix."""

    def input_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        """Return the topics and partitions whose records a shard folds. `wf-commands` is among them."""
        ...

    def state_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        """Return the compacted topics and partitions that a shard is restored from."""
        ...

    def log(self, partition: int) -> tuple[str, int]:
        """Return the topic and partition of a shard's log. What its rows do not have yet is replayed from there."""
        ...

    def create(self, partition: int) -> Fold:
        """Return a fold that has no state yet."""
        ...

    def describe(self, record: InputRecord) -> tuple[str | None, str | None]:
        """Return the WfRun or name that a record is about and its command, each None if unknown. Never raises."""
        ...


class SharedDefinitions(Protocol):
    """The definitions that a worker knows, which its folds share. They do not change during a turn."""

    position: int
    """Offset up to which `definitions` is known. The runtime also moves it past offsets without a record, such as the
    marks of transactions.
    """

    def prepare(self, value: bytes | None) -> bool:
        """Begin to read the next record, if applying it now would make a fold wait.

        Returns True as soon as it can be applied. Called again until then.
        """
        ...

    def read_newest(self) -> None:
        """Begin to read what folds are likely to ask for. All records that were there at the start are applied."""

    def apply(self, key: bytes, value: bytes | None, next_position: int) -> None:
        """Take one record. `next_position` is the position after it."""
