"""Partitions that wait because a rule of ours broke on one of their records: what may be folded, when to try again.

A pause begins when a fold raises. The shard is loaded anew and goes its way again up to the record that broke it, or,
if no record can be blamed yet, one record at a time until it breaks again. There it stands: nothing is fetched for it
but `operator-commands`, and its timers do not fire. After each operator command that it folds it tries again; once it
is past the record the pause is over. A record is never passed over, unless an operator says so.

Bookkeeping only: no Kafka, no clock. A new owner of the partition knows nothing of this and finds out by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from processors.core.records.topic_names import OPERATOR_COMMANDS
from processors.fold.contract import InputRecord, ReadInput

HELD_MAX: Final = 1_000
"""How many operator commands may wait behind one that broke."""


class Stage(Enum):
    """What a shard does about what broke it."""

    APPROACHING = auto()
    """It folds what comes before the record."""
    STANDING = auto()
    """It takes operator commands, and nothing else."""
    TRYING = auto()
    """It folds as if nothing had been."""


# (rule broken-rule-pauses-partition)
@dataclass(slots=True)
class Pause:
    """One shard's. `sentence`: what broke, for people."""

    sentence: str = ""
    stage: Stage = Stage.APPROACHING
    one_at_a_time: bool = False
    """What broke was no record's fold: the records are folded one by one, to see whose it is."""
    to_be_fetched_anew: bool = False
    """It has begun to try: all inputs are wanted from where the shard stands."""
    _timers_broke: bool = False
    _stops: dict[str, int] = field(default_factory=dict)
    """Topic -> offset of the record that broke the fold. At most one of a topic, so that the search for it ends."""
    _through: dict[str, int] = field(default_factory=dict)
    """Topic -> offset of the last record that may have been what broke the fold."""
    _cut: bool = False
    """The record was met; what came before it is still to be folded, or was."""
    _held: list[ReadInput] = field(default_factory=list)
    """Operator commands, from the one on that broke the fold."""
    _tried_through: int = -1
    """The last operator command that was there at the last try."""

    def broke(self, record: InputRecord | None, records: Sequence[InputRecord]) -> InputRecord | None:
        """Note that a fold raised: at a record, or after all of these, or at none, in its timers.

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
        """Be told where the shard stands after it was loaded anew; `offsets`: topic -> next to fold."""
        self._held.clear()
        self._cut = self.to_be_fetched_anew = False
        reached = any(offsets.get(topic, 0) >= offset for topic, offset in self._stops.items())
        if self.stage is Stage.APPROACHING and (reached or self._timers_broke):
            self.stage = Stage.STANDING

    def fetches(self, topic: str) -> bool:
        """Whether records of an input are wanted."""
        return topic == OPERATOR_COMMANDS or not (self._cut or self.stage is Stage.STANDING)

    @property
    def fires_timers(self) -> bool:
        """Whether its timers are to fire."""
        return self.stage is Stage.TRYING

    def admit(self, reads: Sequence[ReadInput]) -> list[ReadInput]:
        """Return what of these is to be folded now, operator commands first; all the rest is to be fetched again.

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
            # Behind an operator command that breaks it nothing is done, but to pass over that one.
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
        """Be told that the timers did not break it."""
        self._timers_broke = False

    def committed(self, records: Iterable[InputRecord]) -> None:
        """Be told what was folded and committed: after an operator command it tries again."""
        if self.stage is not Stage.TRYING and any(record.topic == OPERATOR_COMMANDS for record in records):
            self._try()

    def is_over(self, offsets: Mapping[str, int]) -> bool:
        """Whether the shard is past what broke it; `offsets`: topic -> next to fold, all before is committed."""
        if self.stage is not Stage.TRYING or self._timers_broke:
            return False
        marks = (*self._stops.items(), *self._through.items())
        return all(offsets.get(topic, 0) > offset for topic, offset in marks)
