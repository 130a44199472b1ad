"""Committing: from the outputs of a folded turn to the end of its transaction, and what follows. Read it downwards.

The outputs are handed to the transaction, some of them while other shards still fold (`hand_over`, `write`). Then
outputs, due timers and offsets are committed together (`commit`). The next turn may be folded meanwhile, so this
touches no fold. What follows waits until nothing is folded (`settle`).

A turn that cannot commit is aborted: its folds are ahead of Kafka, so they are dropped and their shards loaded anew.
So are those of a turn that was folded on top of it. Shards on which a rule broke have nothing in the transaction; they
are paused after it.

All of it runs in the Kafka thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from confluent_kafka import KafkaException

from processors.fold.contract import OutputRecord
from processors.runtime.group.clock import Clock
from processors.runtime.group.crash_points import CrashPoint, CrashPoints
from processors.runtime.group.membership import NotAMember, reason_of
from processors.runtime.group.names import Place
from processors.runtime.group.transaction import Transaction
from processors.runtime.turn.figures import Figures
from processors.runtime.turn.listening import Listening
from processors.runtime.turn.measures import Measures
from processors.runtime.turn.patience import Patience
from processors.runtime.turn.pausing import Pausing
from processors.runtime.turn.shards import OwnedShard, Shards
from processors.runtime.turn.turn import ShardTurn, Turn

CAUTIOUS_TURNS: Final = 100
"""After a start or an abort this many turns begin no transaction before all is folded. Later, the outputs of one shard
are on their way while the next shard is folded. That is quicker, but a fold that takes longer than
transaction.timeout.ms then ends the worker, and would do so again and again if it came that soon after each start."""


NOT_KNOWN: Final = NotAMember("it is not known whether its transaction was committed")
"""Stands for the failure of a commit that raised what ends the worker."""


@dataclass(slots=True)
class Written:
    """A turn whose outputs are all handed to the transaction. `offsets`: up to where its shards are folded."""

    turn: Turn
    offsets: Mapping[Place, int]
    broken: Sequence[ShardTurn]
    is_over: bool = False
    """True once its transaction was committed, or could not be: then `failure` says why."""
    failure: KafkaException | NotAMember | None = None
    log_ends: Mapping[int, int] = field(default_factory=dict)
    """Shard -> the offset behind the last record of its log."""
    seconds: float = 0.0


class Committing:
    """Ends turns: by a commit, or by an abort."""

    def __init__(
        self,
        *,
        transaction: Transaction,
        shards: Shards,
        pausing: Pausing,
        patience: Patience,
        listening: Listening,
        crash_points: CrashPoints,
        figures: Figures,
        measures: Measures | None,
        clock: Clock,
    ) -> None:
        self._transaction, self._shards, self._pausing, self._patience = transaction, shards, pausing, patience
        self._listening, self._crash_points, self._figures, self._clock = listening, crash_points, figures, clock
        self._measures = measures
        self._failure: KafkaException | None = None
        """The failure of handing outputs over, if there was one: the turn will be aborted."""
        self._written: Written | None = None
        """The turn that is written and not settled yet."""
        self._handed, self._fired = 0, 0
        """Outputs, and timers among them, that the open transaction was given: they count once it is committed."""
        self._turns_gone_well = 0
        self._log = structlog.get_logger("halter.runtime")

    @property
    def cautious(self) -> bool:
        """Say whether all of a turn is to be folded before any of it is handed to the transaction."""
        return self._turns_gone_well < CAUTIOUS_TURNS

    @property
    def is_open(self) -> bool:
        """Say whether a turn is written whose transaction has not ended."""
        return self._written is not None and not self._written.is_over

    @property
    def breaks(self) -> bool:
        """Say whether a rule broke in the turn that is written."""
        return self._written is not None and bool(self._written.broken)

    def hand_over(self, turn: Turn) -> None:
        """Hand the outputs to the transaction that the turn has so far. The turn before it is committed first."""
        self.commit()
        if self._written is None or self._written.failure is None:
            self._hand_over(turn)

    def _hand_over(self, turn: Turn) -> None:
        outputs, turn.outputs = turn.outputs, []
        for of_shard in outputs:
            self._produce(of_shard)

    def _produce(self, outputs: Sequence[OutputRecord]) -> None:
        if self._failure is not None:
            return
        try:
            if not self._transaction.is_open:
                self._transaction.begin()
                self._crash_points.reached(CrashPoint.AFTER_BEGIN)
            self._transaction.produce(outputs)
        except KafkaException as exception:
            # The turn is still being folded elsewhere. It ends with an abort.
            self._failure = exception
        self._handed += len(outputs)

    def write(self, turn: Turn) -> None:
        """Hand all of a folded turn to the transaction. The turn before is settled. Raises OutOfOrder."""
        assert self._written is None, "a turn is written before the one before it was settled"
        broken = turn.drop_broken()
        for part in turn.parts:
            part.check_offsets()
        self._written = Written(turn, {shard.place: shard.offset for shard in turn.shards}, broken)
        if not turn.shards and not self._transaction.is_open:
            self._written.is_over = True
            return
        self._hand_over(turn)
        for outputs in turn.timers.values():
            self._produce(outputs)
            self._fired += len(outputs)
        self._crash_points.reached(CrashPoint.AFTER_PRODUCE)

    def commit(self) -> None:
        """Commit the turn that is written, unless that was done. Touches no fold. Raises HalterError.

        What comes of it is for `settle`: until then no other transaction may begin if this one could not commit.
        """
        written = self._written
        if written is None or written.is_over:
            return
        written.is_over, written.failure = True, NOT_KNOWN
        begun = self._clock.monotonic()
        outputs, timers, self._handed, self._fired = self._handed, self._fired, 0, 0
        try:
            if self._failure is not None:
                raise self._failure
            self._transaction.commit(written.offsets)
            written.log_ends = self._transaction.take_log_ends()
        except (KafkaException, NotAMember) as exception:
            written.failure = exception
        else:
            written.failure = None
            self._figures.outputs += outputs
            self._figures.timers += timers
        written.seconds = self._clock.monotonic() - begun

    def settle(self, following: Turn | None = None) -> bool:
        """Commit the turn that is written, and act on what came of it. Nothing is being folded. Raises HalterError.

        `following`: a turn that was folded on top of it. Returns False if that was lost with it.
        """
        self.commit()
        written, self._written = self._written, None
        if written is None:
            return True
        if written.failure is not None:
            self._abort([*written.turn.shards, *(following.shards if following is not None else ())], written.failure)
        elif written.turn.shards:
            self._committed(written)
        for part in written.broken:
            assert part.failure is not None
            self._pausing.broke(part.shard, part.failure)
        return written.failure is None

    def drop(self) -> None:
        """Forget the turn that is written: the worker ends, and its transaction with it."""
        self._written = None

    def _committed(self, written: Written) -> None:
        turn, seconds = written.turn, written.seconds
        for shard in turn.shards:
            shard.fold.committed()
            if (log_end := written.log_ends.get(shard.number)) is not None:
                shard.fold.logged(log_end)
        for part in turn.parts:
            if self._shards.has(part.shard):  # else it was loaded anew since, or taken
                self._pausing.committed(part)
        self._shards.count_quarantined()
        self._patience.regained()
        self._turns_gone_well += 1
        self._figures.turns += 1
        self._figures.records += turn.folded
        self._figures.commit_s += seconds
        self._figures.commits.append(seconds)
        if self._measures is not None:
            self._measures.committed(turn, seconds)
        self._listening.heard_at = self._clock.monotonic()

    def _abort(self, shards: Sequence[OwnedShard], exception: KafkaException | NotAMember) -> None:
        """Undo a turn that cannot commit, and load anew what its fold has touched.

        Most often a rebalance has given the group a new generation while the turn was folded: the shards are still
        ours. If they are not, the group takes them away at the next poll.
        """
        reason = reason_of(exception)
        self._failure = None
        self._turns_gone_well = 0
        self._figures.aborts += 1
        self._log.warning("turn_aborted", reason=reason, shards=sorted({shard.number for shard in shards}))
        self._transaction.abort()
        self._shards.reload(shards)
        self._patience.lost(reason)
