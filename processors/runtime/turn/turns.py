"""The work of the Kafka thread, turn after turn.

A turn: poll records, fix one position of `definitions`, fold the records of all shards (the agents do, in the event
loop), and write outputs, due timers and offsets in one transaction, which begins with the first outputs. `next`
commits the turn that was folded and begins another. Nothing of a turn starts before the one before it was committed or
aborted. The group's callbacks come out of poll alone, and so never meet an open transaction.
"""

from typing import Final

import structlog
from confluent_kafka import KafkaException

from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.crash_points import CrashPoint, CrashPoints
from processors.runtime.group.membership import NotAMember
from processors.runtime.group.transaction import Transaction
from processors.runtime.loading.definitions import DefinitionsReader
from processors.runtime.turn.committing import Committing
from processors.runtime.turn.figures import Figures
from processors.runtime.turn.joining import Joining
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
    ) -> None:
        self._joining, self._transaction, self._definitions, self._shards = joining, transaction, definitions, shards
        self._polling, self._committing, self._calls, self._crash_points = polling, committing, calls, crash_points
        self.size, self.figures = size, figures

    def open(self) -> None:
        """Make the clients, read the definitions, begin to join."""
        self._transaction.open()
        self._definitions.open()
        self._joining.join()

    def next(self, folded: Turn | None) -> Turn | None:
        """Commit the turn that was folded, then begin another. Returns None if there is nothing to fold.

        Raises HalterError when the worker has to end.
        """
        if folded is not None:
            self._committing.finish(folded)
            self._polling.put_back(folded.not_folded)
        if self._calls.stopping.is_set():
            return None
        try:
            self._polling.go_on()
            self._shards.drive(LOAD_SLICE_SECONDS)
            self._joining.drive()
            self._definitions.catch_up()
            ready = self._polling.poll()
        except (KafkaException, NotAMember) as exception:
            self._joining.join_again(exception)
            return None
        turn = self._polling.turn_of(ready)
        if turn is not None:
            self._crash_points.reached(CrashPoint.AFTER_POLL)
        return turn

    @property
    def cautious(self) -> bool:
        """Say whether all of a turn is to be folded before any of it is handed over."""
        return self._committing.cautious

    def hand_over(self, turn: Turn) -> None:
        """Hand the outputs to the transaction that the turn has so far."""
        self._committing.hand_over(turn)

    def close(self) -> None:
        """Abort what is open, leave the group."""
        try:
            self._transaction.close()
        except Exception as exception:  # noqa: BLE001  the broker will abort it when its time is over
            structlog.get_logger("halter.runtime").warning("abort_failed", reason=str(exception))
        self._joining.leave()
        self._definitions.close()
