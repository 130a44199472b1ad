"""Rules of how long a worker goes on when things go wrong."""

import pytest

from processors.runtime.group.clock import Clock
from processors.runtime.group.errors import TurnCannotCommit
from processors.runtime.turn.patience import Patience


def test_failures_in_a_row_are_given_up_with_the_last_reason() -> None:
    patience = Patience(failures_max=2)
    patience.lost("first")
    patience.regained()
    patience.lost("second")
    patience.lost("third")
    with pytest.raises(TurnCannotCommit, match="3 failures in a row, the last one: fourth"):
        patience.lost("fourth")


def test_failures_of_an_idle_worker_that_lie_far_apart_are_not_in_a_row() -> None:
    class EveryHour(Clock):
        hours = 0

        def monotonic(self) -> float:
            self.hours += 1
            return self.hours * 3_600.0

    patience = Patience(failures_max=2, clock=EveryHour())
    for _ in range(20):
        patience.lost("a broker went away")
