"""Blocking Kafka calls. None of them fails, waits or hangs unnoticed.

A call that fails with an error that may pass is made again until it succeeds or the worker stops. While Kafka does
not answer, readiness says so. A call may ignore its own time-out: librdkafka's send_offsets_to_transaction does when a
coordinator dies. The Watchdog sees that and ends the process, and a restarted worker loses nothing. It also sees the
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
"""The time-out of one call. It is short, so that a worker stops soon when it is told to."""

AGAIN_SECONDS: Final = 0.05
STUCK_SECONDS: Final = 15
FOLD_STUCK_SECONDS: Final = 60
LOOP_STUCK_SECONDS: Final = 120
"""The time that the event loop may stand still. It is longer than a fold may take, so a slow fold is named first."""
STUCK_EXIT_CODE: Final = 70
FROZEN_SECONDS: Final = 60
"""After this time without a tick of the watchdog the interpreter stands still: a call of a client waits for ever and
lets no other thread run (`Membership.leave` knows one). A process that was stopped for this time ends as well when it
goes on: others have its shards by then."""
STDERR: Final = 2


class Stopping(Exception):
    """The worker is told to stop while Kafka does not answer. It is no error: it leads out of a call."""


def may_pass(exception: KafkaException) -> bool:
    """Say whether the same call may succeed if it is made again."""
    error = exception.args[0]
    return isinstance(error, KafkaError) and error.retriable()


def is_fatal(exception: KafkaException) -> bool:
    """Say whether the client that raised it is of no further use."""
    error = exception.args[0]
    return isinstance(error, KafkaError) and error.fatal()


class Watched:
    """The work of one thread, one thing after the other. The thread writes it, and the watchdog's thread reads it.

    `limit`: the seconds that one thing may take. `current` becomes text (`str`) only when it took longer.
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
        """True: Kafka did not answer when it was asked whether it is there."""
        self._log = structlog.get_logger("halter.runtime")

    def once(self, call: Callable[..., T], *arguments: Any) -> T:
        """Make a call while the watchdog watches."""
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

        `again_for`: further errors that are a reason to make it again.
        """
        waiting = False
        while True:
            try:
                result = self.once(call, *arguments)
            except KafkaException as exception:
                if not may_pass(exception) and exception.args[0].code() not in again_for:
                    if waiting:
                        self._readiness.waits_for_kafka(False)  # its answer is no
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
        """Make a call once to learn whether Kafka is there. Readiness hears of it when that has changed."""
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
    """Ends the process when one thing that is watched takes longer than it may, or when nothing moves any more.

    It counts its own ticks and reads no clock, so a process that was stopped and continued is not taken for stuck.
    """

    def __init__(
        self,
        watched: Sequence[Watched],
        readiness: Readiness,
        exit_process: Callable[[int], None] = os._exit,
        frozen_seconds: float = FROZEN_SECONDS,
    ) -> None:
        self._watched, self._readiness, self._exit = watched, readiness, exit_process
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
        # When the time is over, a thread of C writes the stacks of all threads and ends the process with exit code 1.
        while True:
            faulthandler.dump_traceback_later(self._frozen_seconds, exit=True, file=STDERR)
            if self._over.wait(1.0):
                faulthandler.cancel_dump_traceback_later()
                return
            self.tick()

    def tick(self) -> None:
        """Look once. Called every second."""
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
                self._exit(STUCK_EXIT_CODE)
