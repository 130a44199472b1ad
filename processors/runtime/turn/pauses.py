"""Pauses: what a shard folds, fetches and fires after a rule of ours broke on it, and when it tries again.

A pause begins when a fold raises. The shard is loaded anew and goes its way again up to the record that broke it. If
no record can be blamed yet, it folds one record in each turn until it breaks again. There it stands: nothing is fetched
for it but `operator-commands`, and its timers do not fire. After each operator command that it folds it tries again.
Once it is past the record the pause is over. A record is never passed over, unless an operator says so
(rule broken-rule-pauses-partition).

Bookkeeping only: no Kafka, no clock (`pausing` acts on it). A new owner of the partition knows nothing of this and
finds out by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from processors.core.records.topic_names import OPERATOR_COMMANDS
from processors.fold.contract import InputRecord, ReadInput

HELD_MAX: Final = 1_000
"""The number of operator commands that may wait behind one that broke."""


class Stage(Enum):
    """The stages of a pause."""

    APPROACHING = auto()
    """It folds what comes before the record."""
    STANDING = auto()
    """It takes operator commands, and nothing else."""
    TRYING = auto()
    """It folds as if nothing had happened."""


@dataclass(slots=True)
class Pause:
    """The pause of one shard."""

    sentence: str = ""
    """A sentence for people about what broke."""
    stage: Stage = Stage.APPROACHING
    one_at_a_time: bool = False
    """No record's fold broke, so each turn folds one record, to find the one that is to blame."""
    to_be_fetched_anew: bool = False
    """The shard has begun to try: all its inputs are to be fetched from where it stands."""
    _timers_broke: bool = False
    """No record is to blame: the timers broke, or the rows."""
    _stops: dict[str, int] = field(default_factory=dict)
    """Topic -> offset of the record that broke the fold. At most one per topic, so that the search for it ends."""
    _through: dict[str, int] = field(default_factory=dict)
    """Topic -> offset of the last record that may have broken the fold."""
    _cut: bool = False
    """The record was met. What came before it is folded, or still to be folded."""
    _held: list[ReadInput] = field(default_factory=list)
    """Operator commands, from the one on that broke the fold."""
    _tried_through: int = -1
    """The offset of the last operator command that was there at the last try."""

    def broke(self, record: InputRecord | None, records: Sequence[InputRecord]) -> InputRecord | None:
        """Note that a fold raised: at a record, or after all of these, or at none, in its timers or its rows.

        Returns the record that is to blame, None if that cannot be said yet.
        """
        if record is None and len(records) == 1:
            record = records[0]
        self._timers_broke = not records
        if record is not None:
            self._stops[record.topic] = record.offset
        elif records:
            self.one_at_a_time = True
        for folded in records:
            self._through[folded.topic] = max(folded.offset, self._through.get(folded.topic, -1))
            if folded.topic == OPERATOR_COMMANDS:
                self._tried_through = max(self._tried_through, folded.offset)
        self.stage = Stage.APPROACHING
        return record

    def loaded(self, offsets: Mapping[str, int]) -> None:
        """Note where the shard stands after it was loaded anew. `offsets`: topic -> next to fold."""
        self._held.clear()
        self._cut = self.to_be_fetched_anew = False
        reached = any(offsets.get(topic, 0) >= offset for topic, offset in self._stops.items())
        if self.stage is Stage.APPROACHING and (reached or self._timers_broke):
            self.stage = Stage.STANDING

    def fetches(self, topic: str) -> bool:
        """Say whether records of an input are wanted."""
        return topic == OPERATOR_COMMANDS or not (self._cut or self.stage is Stage.STANDING)

    @property
    def stops(self) -> Mapping[str, int]:
        """The records that broke the fold: topic -> offset."""
        return self._stops

    @property
    def writes_rows(self) -> bool:
        """Say whether rows that are behind are to be written. Not if it was they, or the timers, that broke."""
        return not self._timers_broke

    @property
    def fires_timers(self) -> bool:
        """Say whether the shard's timers are to fire."""
        return self.stage is Stage.TRYING

    def admit(self, reads: Sequence[ReadInput]) -> list[ReadInput]:
        """Return the records that are to be folded now, operator commands first. All others are to be fetched again.

        Called in every turn, also without records.
        """
        if self.stage is Stage.TRYING:
            return list(reads)
        commands, others, met = [], [], False
        for read in reads:
            record = read.record
            stops = record.offset >= self._stops.get(record.topic, record.offset + 1)
            if record.topic == OPERATOR_COMMANDS:
                if not stops:
                    commands.append(read)
                elif len(self._held) < HELD_MAX:
                    self._held.append(read)
            elif self.stage is Stage.APPROACHING and not met:
                met = stops
                if not stops:
                    others.append(read)
        self._cut = self._cut or met
        if self._held:
            # Behind an operator command that breaks it the shard does nothing, except pass over that command.
            self.stage, others = Stage.STANDING, []
            if self._held[-1].record.offset > self._tried_through:
                commands += self._held
                self._try()
        elif self._cut and not others:
            self.stage = Stage.STANDING
        return commands + others

    def _try(self) -> None:
        self.stage = Stage.TRYING
        self._cut = False
        self._held.clear()
        self.to_be_fetched_anew = True

    def timers_fine(self) -> None:
        """Note that the timers did not break it."""
        self._timers_broke = False

    def committed(self, records: Iterable[InputRecord]) -> None:
        """Note that these were folded and committed. After an operator command the shard tries again."""
        if self.stage is not Stage.TRYING and any(record.topic == OPERATOR_COMMANDS for record in records):
            self._try()

    def is_over(self, offsets: Mapping[str, int]) -> bool:
        """Say whether the shard is past what broke it. `offsets`: topic -> next to fold, all before is committed."""
        if self.stage is not Stage.TRYING or self._timers_broke:
            return False
        marks = (*self._stops.items(), *self._through.items())
        return all(offsets.get(topic, 0) > offset for topic, offset in marks)


NOT_PAUSED: Final = Pause(stage=Stage.TRYING)
"""Stands for a shard that was never paused: it fetches everything, fires its timers, and admits every record."""


class Pauses:
    """The pauses of all shards of this process. A pause outlives the loads of its shard."""

    def __init__(self) -> None:
        self._by_shard: dict[int, Pause] = {}

    def __contains__(self, shard: int) -> bool:
        """Say whether a shard is paused."""
        return shard in self._by_shard

    def __bool__(self) -> bool:
        """Say whether any shard is paused."""
        return bool(self._by_shard)

    def of(self, shard: int) -> Pause:
        """Return a shard's pause, NOT_PAUSED if it has none."""
        return self._by_shard.get(shard, NOT_PAUSED)

    def begin(self, shard: int) -> Pause:
        """Return a shard's pause, a new one if it has none."""
        return self._by_shard.setdefault(shard, Pause())

    def end(self, shards: Iterable[int]) -> None:
        """Forget the pauses of shards: they go on, or are no longer ours."""
        for shard in shards:
            self._by_shard.pop(shard, None)

    def end_all(self) -> None:
        """Forget every pause: no shard is ours any more."""
        self._by_shard.clear()

    @property
    def sentences(self) -> Mapping[int, str]:
        """The sentences about what broke, by shard."""
        return {shard: pause.sentence for shard, pause in self._by_shard.items()}
