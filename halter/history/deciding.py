"""Decides recorded inputs again, with the fold that decides them in a worker.

It is given inputs in their recorded order, each with the position of `definitions` at which it was decided, and returns
the entries that come of each. It does not know what was recorded, nor where inputs are read.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from processors.codec import Codec
from processors.core.records.topic_names import CORRELATION_EVENTS, OPERATOR_COMMANDS, WF_EVENTS
from processors.core.rules.context import Limits
from processors.core.rules.versions import CHANGES, RULES, RuleChange
from processors.core.wf_spec.definitions import UnreadableWfSpec
from processors.fold.contract import InputRecord
from processors.fold.definitions_view import DefinitionsView
from processors.fold.inputs import CORRELATION_INPUTS, DeadLetter, ReadInput
from processors.fold.outputs import OutputRecord
from processors.fold.shard_fold import ShardFold
from processors.fold.shard_folds import ShardFolds

TURN: Final = 5_000
"""Number of inputs that are folded as one turn. It ends with rows, so that WfRuns that rest leave the memory."""


class Row(NamedTuple):
    """A record of a compacted topic: a row of the state, or a definition."""

    key: bytes
    value: bytes | None


class Entry(NamedTuple):
    """An entry of the log as bytes."""

    key: bytes
    value: bytes


class Step(NamedTuple):
    """An input to decide."""

    record: InputRecord
    definitions_position: int
    """The position of `definitions` at which it was decided."""
    is_logged: bool = True
    """False if the log has nothing of it: then it is only read, to see whether it is a dead letter."""
    coming: Sequence[InputRecord] = ()
    """SkipRecords, one of which was seen before this operator command was folded, and asked to skip it."""
    definitions: tuple[Row, ...] = ()
    """Definitions that are known from here on, whatever the position."""


class Outcome(NamedTuple):
    """What came of an input."""

    entries: Sequence[Entry] = ()
    raised: str | None = None
    """The error of a rule that raised, or of a definition that is gone (`lacks_definition`)."""
    lacks_definition: bool = False
    dead_letter: str | None = None
    """The reason for which it is a dead letter."""


class Rules(NamedTuple):
    """A version of the rules, and the changes up to it."""

    number: int | None
    """None for rules from before versions had numbers."""
    changes: tuple[RuleChange, ...]


OURS: Final = Rules(RULES, CHANGES)


class Decider(Protocol):
    """Decides the inputs of one partition, in this process or in another one."""

    @property
    def rules(self) -> Rules:
        """The rules by which it decides."""

    @property
    def decides_keys(self) -> bool:
        """False if it knows no correlation keys."""

    def define(self, offset: int, row: Row) -> None:
        """Take the next record of `definitions`."""

    def restore(self, topic: str, row: Row) -> None:
        """Take a row of the state from which to begin. All rows come before the first step."""

    def decide(self, steps: Sequence[Step]) -> Sequence[Outcome]:
        """Decide the next inputs, and return what came of each."""


class RecordedDefinitions(DefinitionsView):
    """The definitions at the positions that the log names."""

    def __init__(self, codec: Codec) -> None:
        super().__init__(codec)
        self._records: list[tuple[int, Row]] = []
        self._applied = 0

    def add(self, offset: int, row: Row) -> None:
        """Take the next record of `definitions`, to be applied when its position comes."""
        self._records.append((offset, row))

    def move_to(self, position: int) -> None:
        """Apply the definitions before a position. An earlier one than before changes nothing."""
        while self._applied < len(self._records) and self._records[self._applied][0] < position:
            offset, row = self._records[self._applied]
            self.apply(row.key, row.value, offset + 1)
            self._applied += 1
        self.position = position


class _Fold(ShardFold):
    """A fold that goes on after a rule has raised, and past inputs that leave nothing on the log."""

    def pass_by(self, read: ReadInput) -> None:
        """Note that a record was folded which left nothing on the log, and bury it if it is a dead letter.

        It was folded before any skip was pending for its topic, or that would have lapsed. It may be told later.
        """
        self._offsets[read.record.topic] = read.record.offset + 1
        self._moved = True
        if isinstance(read.decoded, DeadLetter):
            self._bury(read.record, read.decoded)

    def taken(self) -> list[OutputRecord]:
        """Return what came of the input that was folded last, without ending the turn."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def let_go(self, wf_run_id: str) -> None:
        """Forget a WfRun that is half changed, and what came of its input."""
        self._outputs.clear()
        for waiting in (self._touched, self._unwritten):
            waiting.pop(wf_run_id, None)
        self._runs.remove(wf_run_id)


class Deciding:
    """Decides in this process. Implements `Decider`."""

    rules, decides_keys = OURS, True

    def __init__(
        self, partition: int, partitions: int, codec: Codec, limits: Limits | None = None, turn: int = TURN
    ) -> None:
        """`turn`: the number of inputs that are folded as one turn."""
        self._definitions = RecordedDefinitions(codec)
        folds = ShardFolds(partitions, codec, self._definitions, limits, new_fold=_Fold)
        fold = folds.create(partition)
        assert isinstance(fold, _Fold)
        self._fold = fold
        self._is_restored = False
        self._inputs, self._turn = 0, turn
        self._raised: set[bytes] = set()
        """The keys of WfRuns for which a rule raised."""

    def define(self, offset: int, row: Row) -> None:
        """Take the next record of `definitions`."""
        self._definitions.add(offset, row)

    def restore(self, topic: str, row: Row) -> None:
        """Take a row of the state from which to begin."""
        self._fold.restore(topic, row.key, row.value)

    def decide(self, steps: Sequence[Step]) -> Sequence[Outcome]:
        """Decide the next inputs."""
        if not self._is_restored:
            self._is_restored = True
            self._fold.restored()
        return [self._decide(step) for step in steps]

    def _decide(self, step: Step) -> Outcome:
        record, fold = step.record, self._fold
        if record.key in self._raised and record.topic != OPERATOR_COMMANDS:
            return Outcome()
        self._definitions.move_to(step.definitions_position)
        for row in step.definitions:
            self._definitions.apply(row.key, row.value, step.definitions_position)
        read = fold.read(record)
        dead_letter = read.decoded.reason.value if isinstance(read.decoded, DeadLetter) else None
        if not step.is_logged:
            fold.pass_by(read)
            self._came(step, fold.taken())
            return Outcome(dead_letter=dead_letter)
        for skip in step.coming:
            fold.see_coming(fold.read(skip))
        try:
            fold.fold(read)
        except Exception as error:  # noqa: BLE001  whatever a rule raises is its outcome
            fold.let_go((record.key or b"").decode(errors="replace"))
            self._raised.add(record.key or b"")
            said = f"{type(error).__name__}: {error}"
            return Outcome(raised=said, lacks_definition=isinstance(error, UnreadableWfSpec))
        outputs = fold.taken()
        self._came(step, outputs)
        self._inputs += 1
        if self._inputs % self._turn == 0:
            self._end_turn()
        log = CORRELATION_EVENTS if record.topic in CORRELATION_INPUTS else WF_EVENTS
        entries = [Entry(it.key or b"", it.value or b"") for it in outputs if it.topic == log]
        return Outcome(entries, dead_letter=dead_letter)

    def _came(self, step: Step, outputs: Sequence[OutputRecord]) -> None:
        """Called with all that came of an input: a replay writes it (`halter.replay`)."""

    def _end_turn(self) -> Sequence[OutputRecord]:
        """End the turn, and return the rows that have changed in it."""
        rows = self._fold.take_outputs(rows=True)
        self._fold.committed()
        return rows
