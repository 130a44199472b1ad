"""Committing: from the outputs of a folded turn to the end of its transaction, and what follows. Read it downwards.

The outputs are handed to the transaction, some of them while other shards still fold. Then outputs, due timers and
offsets are committed together. A turn that cannot commit is aborted: its folds are ahead of Kafka, so they are dropped
and their shards loaded anew. Shards on which a rule broke have nothing in the transaction; they are paused after it.

All of it runs in the Kafka thread.
"""

from collections.abc import Sequence
from typing import Final

import structlog
from confluent_kafka import KafkaException

from processors.fold.contract import OutputRecord
from processors.runtime.group.clock import Clock
from processors.runtime.group.crash_points import CrashPoint, CrashPoints
from processors.runtime.group.membership import NotAMember, reason_of
from processors.runtime.group.transaction import Transaction
from processors.runtime.turn.breath import Breath
from processors.runtime.turn.figures import Figures
from processors.runtime.turn.listening import Listening
from processors.runtime.turn.patience import Patience
from processors.runtime.turn.pausing import Pausing
from processors.runtime.turn.shards import Shards
from processors.runtime.turn.turn import Turn

CAUTIOUS_TURNS: Final = 100
"""After a start or an abort this many turns begin no transaction before all is folded. Later, the outputs of one shard
are on their way while the next shard is folded. That is quicker, but a fold that takes longer than
transaction.timeout.ms then ends the worker, and would do so again and again if it came that soon after each start."""


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
        clock: Clock,
    ) -> None:
        self._transaction, self._shards, self._pausing, self._patience = transaction, shards, pausing, patience
        self._listening, self._crash_points, self._figures, self._clock = listening, crash_points, figures, clock
        self._breath = Breath(clock)
        self._failure: KafkaException | None = None
        """The failure of handing outputs over, if there was one: the turn will be aborted."""
        self._turns_gone_well = 0
        self._log = structlog.get_logger("halter.runtime")

    @property
    def cautious(self) -> bool:
        """Say whether all of a turn is to be folded before any of it is handed to the transaction."""
        return self._turns_gone_well < CAUTIOUS_TURNS

    def hand_over(self, turn: Turn) -> None:
        """Hand the outputs to the transaction that the turn has so far."""
        outputs, turn.outputs = turn.outputs, []
        for of_shard in outputs:
            self._produce(of_shard)

    def _produce(self, outputs: Sequence[OutputRecord]) -> None:
        if self._failure is not None:
            return
        try:
            if not self._transaction.is_open:
                self._breath.take()
                self._transaction.begin()
                self._crash_points.reached(CrashPoint.AFTER_BEGIN)
            self._transaction.produce(outputs)
        except KafkaException as exception:
            # The turn is still being folded elsewhere. It ends with an abort.
            self._failure = exception
        self._figures.outputs += len(outputs)

    def finish(self, turn: Turn) -> None:
        """Commit a folded turn or abort it, then pause the shards on which a rule broke. Raises HalterError."""
        begun = self._clock.monotonic()
        broken = turn.drop_broken()
        if turn.shards or self._transaction.is_open:
            self._commit(turn, begun)
        for part in broken:
            assert part.failure is not None
            self._pausing.broke(part.shard, part.failure)

    def _commit(self, turn: Turn, begun: float) -> None:
        for part in turn.parts:
            part.check_offsets()
        self.hand_over(turn)
        for outputs in turn.timers.values():
            self._produce(outputs)
            self._figures.timers += len(outputs)
        self._crash_points.reached(CrashPoint.AFTER_PRODUCE)
        try:
            if self._failure is not None:
                raise self._failure
            self._transaction.commit({shard.place: shard.offset for shard in turn.shards})
        except (KafkaException, NotAMember) as exception:
            self._abort(turn, exception)
        else:
            self._committed(turn, begun)

    def _committed(self, turn: Turn, begun: float) -> None:
        shards = turn.shards
        for shard in shards:
            shard.fold.committed()
            log_end = self._transaction.take_log_end(shard.number)
            if log_end is not None:
                shard.fold.logged(log_end)
        for part in turn.parts:
            self._pausing.committed(part)
        self._shards.count_quarantined()
        self._patience.regained()
        self._turns_gone_well += 1
        self._figures.turns += 1
        self._figures.records += turn.folded
        seconds = self._clock.monotonic() - begun
        self._figures.commit_s += seconds
        self._figures.commits.append(seconds)
        now = self._listening.heard_at = self._clock.monotonic()
        self._breath.begin(now, len(shards))

    def _abort(self, turn: Turn, exception: KafkaException | NotAMember) -> None:
        """Undo a turn that cannot commit, and load anew what its fold has touched.

        Most often a rebalance has given the group a new generation while the turn was folded: the shards are still
        ours. If they are not, the group takes them away at the next poll.
        """
        reason = reason_of(exception)
        self._failure = None
        self._turns_gone_well = 0
        self._figures.aborts += 1
        shards = turn.shards
        self._log.warning("turn_aborted", reason=reason, shards=sorted(shard.number for shard in shards))
        self._transaction.abort()
        self._shards.reload(shards)
        self._patience.lost(reason)
