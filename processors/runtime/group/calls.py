"""Blocking Kafka calls, made so that none fails, waits or hangs unnoticed.

A call that fails with an error that may pass is made again until it succeeds or the worker stops. While Kafka does
not answer, readiness says so. A call that ignores its own time-out (librdkafka's send_offsets_to_transaction may,
when a coordinator dies) is seen by the Watchdog, which ends the process: a restarted worker loses nothing. So is the
fold of a record that does not return.
"""

import faulthandler
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException

from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.readiness import Readiness, State

T = TypeVar("T")

CALL_SECONDS: Final = 5.0
"""The time-out given to one call; short, so that a worker that is told to stop does."""

AGAIN_SECONDS: Final = 0.05
STUCK_SECONDS: Final = 15
FOLD_STUCK_SECONDS: Final = 60
LOOP_STUCK_SECONDS: Final = 120
"""The event loop may stand still for so long: more than the fold of a record may take, which is named when it does."""
STUCK_EXIT_CODE: Final = 70
FROZEN_SECONDS: Final = 60
"""After so long without a tick of the watchdog the interpreter stands still: a call of a client waits for ever and lets
no other thread run (`Membership.leave` knows one). A process that was stopped for so long ends as well when it goes on:
others have its shards by then."""
STDERR: Final = 2


AWAY: Final = frozenset(
    {
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.KAFKA_STORAGE_ERROR,
    }
)
"""What a question is answered with while brokers come and go. Only transactional calls say themselves whether they
may be made again; for questions these are the reasons to ask again."""


class Stopping(Exception):
    """The worker is told to stop while Kafka does not answer. No error: the way out of a call."""


def may_pass(exception: KafkaException) -> bool:
    """Whether the same call may succeed if it is made again."""
    error = exception.args[0]
    return isinstance(error, KafkaError) and error.retriable()


def is_fatal(exception: KafkaException) -> bool:
    """Whether the client that raised it is of no further use."""
    error = exception.args[0]
    return isinstance(error, KafkaError) and error.fatal()


class Watched:
    """What one thread is busy with, one thing after the other; written by it, read by the watchdog's.

    `limit`: how many seconds one thing may take. `current` is written out (`str`) only when it took longer.
    """

    def __init__(self, what: str, limit: int) -> None:
        self.what, self.limit = what, limit
        self.current: object = None
        self.number = 0

    def begin(self, current: object) -> None:
        """Be busy with another thing, or with nothing (None)."""
        self.number += 1
        self.current = current


class KafkaCalls:
    """Makes calls, one at a time, all in the Kafka thread."""

    def __init__(self, readiness: Readiness, clock: Clock = CLOCK) -> None:
        self.stopping = threading.Event()
        self.watched = Watched("kafka_call", STUCK_SECONDS)
        self._readiness, self._clock = readiness, clock
        self.away = False
        """Whether Kafka did not answer when it was asked for nothing but that."""
        self._log = structlog.get_logger("halter.runtime")

    def once(self, call: Callable[..., T], *arguments: Any) -> T:
        """Make a call under the eyes of the watchdog."""
        self.watched.begin(call.__name__)
        try:
            return call(*arguments)
        except SystemError as error:
            # A fatal error that confluent-kafka hears of during a call interrupts it, and its exception may get lost.
            raise KafkaException(KafkaError(KafkaError._FATAL, f"{call.__name__} was interrupted: {error}")) from error
        finally:
            self.watched.begin(None)

    def until_answered(self, call: Callable[..., T], *arguments: Any, again_for: frozenset[int] = frozenset()) -> T:
        """Make a call until it succeeds. Raises KafkaException if it cannot, Stopping if there is no time left.

        `again_for`: errors that are a reason to make it again, beside those that say so.
        """
        waiting = False
        while True:
            try:
                result = self.once(call, *arguments)
            except KafkaException as exception:
                if not may_pass(exception) and exception.args[0].code() not in again_for:
                    if waiting:
                        self._readiness.waits_for_kafka(False)  # it answers: no
                    raise
                if self.stopping.is_set():
                    raise Stopping from exception
                if not waiting:
                    waiting = True
                    self._log.warning("waiting_for_kafka", call=call.__name__, reason=exception.args[0].str())
                    self._readiness.waits_for_kafka(True)
                self._clock.sleep(AGAIN_SECONDS)
            else:
                if waiting:
                    self._log.info("kafka_answers", call=call.__name__)
                    self._readiness.waits_for_kafka(False)
                return result

    def answers(self, call: Callable[..., object], *arguments: Any) -> bool:
        """Make a call once, to learn whether Kafka is there, and say so in the readiness when that has changed."""
        try:
            self.once(call, *arguments)
        except KafkaException as exception:
            if not self.away:
                self.away = True
                self._log.warning("waiting_for_kafka", call=call.__name__, reason=exception.args[0].str())
                self._readiness.waits_for_kafka(True)
        else:
            if self.away:
                self.away = False
                self._log.info("kafka_answers", call=call.__name__)
                self._readiness.waits_for_kafka(False)
        return not self.away


class Watchdog:
    """Ends the process when one thing that is watched takes longer than it may, or when nothing of it moves any more.

    Counts its own ticks and not the clock, so that a process that was stopped and continued is not taken for stuck.
    """

    def __init__(
        self,
        watched: Sequence[Watched],
        readiness: Readiness,
        leave: Callable[[int], None] = os._exit,
        frozen_seconds: float = FROZEN_SECONDS,
    ) -> None:
        self._watched, self._readiness, self._leave = watched, readiness, leave
        self._frozen_seconds = frozen_seconds
        self._seen = [(0, 0)] * len(watched)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="kafka-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._over.set()

    def _watch(self) -> None:
        # A thread of C's writes the stacks of all threads then, and ends the process with exit code 1.
        while True:
            faulthandler.dump_traceback_later(self._frozen_seconds, exit=True, file=STDERR)
            if self._over.wait(1.0):
                faulthandler.cancel_dump_traceback_later()
                return
            self.tick()

    def tick(self) -> None:
        """Look once; called every second."""
        for index, watched in enumerate(self._watched):
            number, ticks = self._seen[index]
            current = watched.current
            if current is None or watched.number != number:
                self._seen[index] = watched.number, 0
                continue
            self._seen[index] = number, ticks + 1
            if ticks + 1 >= watched.limit:
                structlog.get_logger("halter.runtime").critical(
                    f"{watched.what}_stuck", at=str(current), seconds=ticks + 1, exit_code=STUCK_EXIT_CODE
                )
                self._readiness.lives(State.STOPPED, f"{watched.what} did not return: {current}")
                self._leave(STUCK_EXIT_CODE)
