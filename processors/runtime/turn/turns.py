"""The work of the Kafka thread, turn after turn.

A turn: poll records, fix one position of `definitions`, fold the records of all shards (the agents do, in the event
loop), and write outputs, due timers and offsets in one transaction, which begins with the first outputs. `next`
writes the turn that was folded and begins another.

Turns overlap while all goes its usual way: a turn is polled while the records of the one before are on their way, and
folded while that is committed. Nothing of it is written before the one before has ended. Whatever is unusual, a load, a
pause, a callback of the group, finds no turn open: it is ended first.
"""

from typing import Final

import structlog
from confluent_kafka import KafkaException

from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.crash_points import CrashPoint, CrashPoints
from processors.runtime.group.membership import NotAMember
from processors.runtime.group.transaction import Transaction
from processors.runtime.loading.definitions import DefinitionsReader
from processors.runtime.loading.garbage import GARBAGE
from processors.runtime.turn.committing import Committing
from processors.runtime.turn.figures import Figures
from processors.runtime.turn.joining import Joining
from processors.runtime.turn.measures import Measures
from processors.runtime.turn.polling import Polling
from processors.runtime.turn.shards import Shards
from processors.runtime.turn.turn import Turn
from processors.runtime.turn.turn_size import TurnSize

LOAD_SLICE_SECONDS: Final = 0.05


class Turns:
    """Commits turns and begins new ones. All methods run in the Kafka thread."""

    def __init__(
        self,
        *,
        joining: Joining,
        transaction: Transaction,
        definitions: DefinitionsReader,
        shards: Shards,
        polling: Polling,
        committing: Committing,
        calls: KafkaCalls,
        crash_points: CrashPoints,
        size: TurnSize,
        figures: Figures,
        measures: Measures | None,
    ) -> None:
        self._joining, self._transaction, self._definitions, self._shards = joining, transaction, definitions, shards
        self._polling, self._committing, self._calls, self._crash_points = polling, committing, calls, crash_points
        self.size, self.figures, self.measures = size, figures, measures

    def open(self) -> None:
        """Make the clients, read the definitions, begin to join."""
        self._transaction.open()
        self._definitions.open()
        self._joining.join()

    def next(self, folded: Turn | None) -> Turn | None:
        """Write the turn that was folded, then begin another. Returns None if there is nothing to fold.

        The turn may stay open: `commit` is then to be called while the other one is folded. Raises HalterError when the
        worker has to end.
        """
        if self._committing.settle(folded) and folded is not None:
            self._committing.write(folded)
            self._polling.put_back(folded.not_folded)
            GARBAGE.look_after_a_turn()  # now: nothing is folded, the outputs are gone, and brokers are at work
        is_stopping = self._calls.stopping.is_set()  # asked once: the event loop sets it at any time
        if is_stopping or not self._may_overlap:
            self._committing.settle()
        if is_stopping:
            return None
        turn = self._begun()
        if turn is None and self._committing.is_open:
            self._committing.settle()
            turn = self._begun()
        if turn is not None:
            if self.measures is not None:
                self.measures.began(turn)
            self._crash_points.reached(CrashPoint.OVERLAPPING if self.is_open else CrashPoint.AFTER_POLL)
        return turn

    @property
    def _may_overlap(self) -> bool:
        """Say whether another turn may be polled and folded before the last one has ended."""
        return not (self._joining.is_busy or self._committing.breaks or self._shards.are_unsteady)

    def _begun(self) -> Turn | None:
        """Poll another turn."""
        try:
            self._polling.go_on()
            self._shards.drive(LOAD_SLICE_SECONDS)
            self._joining.drive()
            self._definitions.catch_up()
            ready = self._polling.poll(may_wait=not self._committing.is_open)
        except (KafkaException, NotAMember) as exception:
            self._committing.settle()
            self._joining.join_again(exception)
            return None
        if not self._committing.is_open:
            self._committing.settle()  # a callback has ended it
        return self._polling.turn_of(ready)

    @property
    def is_open(self) -> bool:
        """Say whether there is a turn to `commit`."""
        return self._committing.is_open

    def commit(self) -> None:
        """Commit the turn before, while another one is folded."""
        self._committing.commit()

    @property
    def cautious(self) -> bool:
        """Say whether all of a turn is to be folded before any of it is handed over."""
        return self._committing.cautious

    def hand_over(self, turn: Turn) -> None:
        """Hand the outputs to the transaction that the turn has so far."""
        self._committing.hand_over(turn)

    def close(self) -> None:
        """Abort what is open, leave the group."""
        self._committing.drop()
        try:
            self._transaction.close()
        except Exception as exception:  # noqa: BLE001  the broker will abort it when its time is over
            structlog.get_logger("halter.runtime").warning("abort_failed", reason=str(exception))
        self._joining.leave()
        self._definitions.close()
