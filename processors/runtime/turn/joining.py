"""This worker's way into the group, out of it, and back in when its membership has ended."""

import structlog
from confluent_kafka import KafkaError, KafkaException

from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.errors import PositionLost
from processors.runtime.group.membership import Membership, NotAMember, reason_of
from processors.runtime.group.readiness import Readiness, State
from processors.runtime.loading.vacancies import Vacancies
from processors.runtime.turn.patience import Patience
from processors.runtime.turn.shards import Shards


class Joining:
    """Joins the group and leaves it. After each join it looks for shards of nobody."""

    def __init__(
        self,
        membership: Membership,
        vacancies: Vacancies,
        shards: Shards,
        calls: KafkaCalls,
        readiness: Readiness,
        patience: Patience,
    ) -> None:
        self._membership, self._vacancies, self._shards = membership, vacancies, shards
        self._calls, self._readiness, self._patience = calls, readiness, patience
        self._log = structlog.get_logger("halter.runtime")

    def join(self) -> None:
        """Begin to join. Polling does the rest."""
        self._readiness.lives(State.JOINING)
        self._membership.join()
        self._vacancies.look()

    def drive(self) -> None:
        """Go on with looking for shards of nobody, between turns."""
        self._vacancies.drive()

    @property
    def is_busy(self) -> bool:
        """Say whether it still looks."""
        return self._vacancies.is_looking

    def join_again(self, exception: KafkaException | NotAMember) -> None:
        """Forget everything and begin anew, or raise what ends the worker."""
        if isinstance(exception, KafkaException):
            raise_if_position_lost(exception)
        reason = reason_of(exception)
        self._log.warning("rejoining", reason=reason)
        self._shards.forget_all()
        self.leave()
        self._patience.lost(reason)
        self.join()

    def leave(self) -> None:
        """Leave the group. The Kafka client is closed."""
        self._calls.once(self._membership.leave)


def raise_if_position_lost(exception: KafkaException) -> None:
    """Raise PositionLost, which ends the worker, if joining anew would not help."""
    error = exception.args[0]
    if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
        raise PositionLost(f"the next record to fold was deleted before it was read: {error.str()}") from exception
