"""Listening for Kafka: a poll that gives no record does not say whether Kafka is there."""

from typing import Final

from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.clock import Clock
from processors.runtime.group.membership import Membership
from processors.runtime.group.transaction import Transaction

SILENCE_SECONDS: Final = 5.0
"""After this long without a record or a commit Kafka is asked whether it is there: a worker whose brokers are gone must
not be called ready."""


class Listening:
    """Knows when Kafka was last heard of, and asks it something when that was long ago."""

    def __init__(self, membership: Membership, transaction: Transaction, calls: KafkaCalls, clock: Clock) -> None:
        self._membership, self._transaction, self._calls, self._clock = membership, transaction, calls, clock
        self.heard_at = clock.monotonic()

    def listen(self, *, heard: bool, may_ask: bool) -> None:
        """Note that a record came, or see that Kafka is there, if nothing else has shown it lately."""
        now = self._clock.monotonic()
        if heard:
            self.heard_at = now
        elif now - self.heard_at > SILENCE_SECONDS and may_ask:
            # While it is away, it is asked in each turn: the group's callbacks come out of the polls in between.
            was_away = self._calls.away
            if self._calls.answers(self._membership.ask):
                self.heard_at = self._clock.monotonic()
                if was_away:
                    self._transaction.renew()
