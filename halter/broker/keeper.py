"""Keeps the brokers of an embedded Kafka running: restarts one that ends, and gives up one that keeps ending.

A broker that ends is started again on its data and its port, each time after a longer wait. The others go on. A broker
that keeps ending without having worked in between will not recover by itself: the keeper gives it up, and reports what
its log says. Kafka needs a majority of its brokers, so it ends when too many are given up.

`look` starts what is due and never waits. The caller calls it again and again, and can stop in between.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from halter.broker.cluster import EmbeddedBroker
from halter.broker.errors import BrokerFailed
from halter.broker.jars import Report
from halter.processes.restarting import RestartPolicy, Steadiness

POLICY: Final = RestartPolicy(first_wait=1.0)


@dataclass(slots=True)
class SupervisedBroker:
    """The state of one broker for its keeper."""

    steadiness: Steadiness
    deaths: int = 0
    again_at: float | None = None
    """When the broker is started again; None if it runs, or ran at the last look."""
    returns: bool = False
    """True from a restart until the broker listens again."""
    given_up: bool = False


class Keeper:
    """Keeps the brokers of a started Kafka running. `report` gets a sentence for each change."""

    def __init__(
        self,
        kafka: EmbeddedBroker,
        report: Report,
        policy: RestartPolicy = POLICY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kafka, self._report, self._policy, self._clock = kafka, report, policy, clock
        self._brokers = [SupervisedBroker(Steadiness(policy.steady)) for _ in range(kafka.brokers)]

    def look(self) -> bool:
        """Do what is due now, and return True if a broker was started. Raises BrokerFailed if Kafka has to end."""
        started = [self._look_at(index, broker) for index, broker in enumerate(self._brokers) if not broker.given_up]
        return any(started)

    def _look_at(self, index: int, broker: SupervisedBroker) -> bool:
        now = self._clock()
        if self._kafka.is_running(index):
            self._watch(index, broker, now)
        elif broker.again_at is None:
            self._note_end(index, broker, now, self._kafka.failure_of(index))
        elif now >= broker.again_at:
            broker.steadiness, broker.again_at, broker.returns = Steadiness(self._policy.steady), None, True
            try:
                self._kafka.start_again(index)
            except OSError as error:  # no memory, no room on the disk: the others go on
                self._note_end(index, broker, now, f"Kafka broker {index} cannot be started: {error}")
                return False
            return True
        return False

    def _watch(self, index: int, broker: SupervisedBroker, now: float) -> None:
        if broker.steadiness.proved:
            return
        answers = self._kafka.listens(index)
        broker.steadiness.seen(answers, now)
        if answers and broker.returns:
            broker.returns = False
            self._report(f"Kafka broker {index} is back")

    def _note_end(self, index: int, broker: SupervisedBroker, now: float, failure: str) -> None:
        broker.deaths = 1 if broker.steadiness.proved else broker.deaths + 1
        if broker.deaths < self._policy.deaths_max:
            wait = self._policy.wait(broker.deaths)
            broker.again_at = now + wait
            # One line, or one line after the lines of the log.
            between = "\n" if "\n" in failure else ". "
            self._report(f"{failure}{between}It is started again in {wait:g} s{self._meanwhile()}")
            return
        broker.given_up = True
        sentence = f"it ended {broker.deaths} times in a row, and is not started again. {failure}"
        if not self._can_be_a_majority():
            raise BrokerFailed(f"Kafka broker {index} is given up: {sentence}")
        self._report(f"Kafka broker {index} is given up: {sentence}\nThe others go on; stop them and start anew.")

    def _can_be_a_majority(self) -> bool:
        return sum(not broker.given_up for broker in self._brokers) * 2 > len(self._brokers)

    def _meanwhile(self) -> str:
        running = sum(self._kafka.is_running(index) for index in range(len(self._brokers)))
        if running * 2 > len(self._brokers):
            return "; the others go on"
        return "; nothing can be written until then" if running == 0 else "; nothing can be written until two run"
