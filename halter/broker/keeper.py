"""Keeps the brokers of an embedded Kafka running: starts again the one that ends, says so, and knows when to stop.

A broker that ends is started again on its data and its port, each time after a longer wait; the others go on. One that
keeps ending without having worked in between will not get better by itself: it is given up, and what its log says is
told. Without a majority of them a Kafka is none; so when too many are given up it ends.
Starts and looks, and waits for nothing: whoever calls `look` again and again can be told to stop in between.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from halter.broker.cluster import EmbeddedBroker
from halter.broker.errors import BrokerFailed
from halter.broker.jars import Report
from halter.processes.supervisor import RestartPolicy, Steadiness

POLICY: Final = RestartPolicy(first_wait=1.0)


@dataclass(slots=True)
class Kept:
    """One broker. `again_at`: when it is started again; None: it runs, or ran at the last look."""

    steadiness: Steadiness
    deaths: int = 0
    again_at: float | None = None
    returns: bool = False
    given_up: bool = False


class Keeper:
    """Keeps a Kafka of one broker or three that has been started. `report` gets a sentence for each change."""

    def __init__(
        self,
        kafka: EmbeddedBroker,
        report: Report,
        policy: RestartPolicy = POLICY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kafka, self._report, self._policy, self._clock = kafka, report, policy, clock
        self._brokers = [Kept(Steadiness(policy.steady)) for _ in range(kafka.brokers)]

    def look(self) -> bool:
        """Do what is to be done now; say whether a broker was started. Raises BrokerFailed when it has to end."""
        started = [self._look_at(index, kept) for index, kept in enumerate(self._brokers) if not kept.given_up]
        return any(started)

    def _look_at(self, index: int, kept: Kept) -> bool:
        now = self._clock()
        if self._kafka.is_running(index):
            self._watch(index, kept, now)
        elif kept.again_at is None:
            self._mourn(index, kept, now, self._kafka.failure_of(index))
        elif now >= kept.again_at:
            kept.steadiness, kept.again_at, kept.returns = Steadiness(self._policy.steady), None, True
            try:
                self._kafka.start_again(index)
            except OSError as error:  # no memory, no room on the disk: the others go on
                self._mourn(index, kept, now, f"Kafka broker {index} cannot be started: {error}")
                return False
            return True
        return False

    def _watch(self, index: int, kept: Kept, now: float) -> None:
        if kept.steadiness.proved:
            return
        answers = self._kafka.listens(index)
        kept.steadiness.seen(answers, now)
        if answers and kept.returns:
            kept.returns = False
            self._report(f"Kafka broker {index} is back")

    def _mourn(self, index: int, kept: Kept, now: float, failure: str) -> None:
        kept.deaths = 1 if kept.steadiness.proved else kept.deaths + 1
        if kept.deaths < self._policy.deaths_max:
            wait = self._policy.wait(kept.deaths)
            kept.again_at = now + wait
            # One line, unless the log has something to say, which stands between.
            between = "\n" if "\n" in failure else ". "
            self._report(f"{failure}{between}It is started again in {wait:g} s{self._meanwhile()}")
            return
        kept.given_up = True
        sentence = f"it ended {kept.deaths} times in a row, and is not started again. {failure}"
        if not self._can_be_a_majority():
            raise BrokerFailed(f"Kafka broker {index} is given up: {sentence}")
        self._report(f"Kafka broker {index} is given up: {sentence}\nThe others go on; stop them and start anew.")

    def _can_be_a_majority(self) -> bool:
        return sum(not kept.given_up for kept in self._brokers) * 2 > len(self._brokers)

    def _meanwhile(self) -> str:
        running = sum(self._kafka.is_running(index) for index in range(len(self._brokers)))
        if running * 2 > len(self._brokers):
            return "; the others go on"
        return "; nothing can be written until then" if running == 0 else "; nothing can be written until two run"
