"""Follows the log and the dead letters while the demo runs: which records have an outcome, and when it was seen.

It is a thread of its own, because the demo produces, kills and restarts meanwhile. Its counts are for progress and
figures only. At the end `ledger` reads everything again and checks it.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from halter.demo.feed import RecordAddress
from processors.codec import Codec
from processors.core.records.errors import HalterError
from processors.core.records.events import LogEntry, TaskAttemptEnded, TaskAttemptRequested
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics

POLL_SECONDS: Final = 0.02
BATCH: Final = 500
LOOK_SECONDS: Final = 0.005


class DemoStuck(HalterError):
    """Nothing moves any more although records wait. The message says which, and has the end of the worker's log."""


class Watcher(threading.Thread):
    """Follows `wf-events` and `dead-letters` from their beginnings until `stop`."""

    def __init__(self, settings: Settings, topics: Topics, codec: Codec) -> None:
        super().__init__(name="watcher", daemon=True)
        self._topics, self._codec = topics, codec
        self._consumer = Consumer(
            settings.consumer(group_id=topics.reader_group, fetch_wait_max_ms=20, client_id="halter-demo")
        )
        self._stopping = threading.Event()
        self.error: BaseException | None = None
        self.seen_at: dict[RecordAddress, float] = {}
        """Address of an input record -> time.perf_counter() when its first outcome was seen."""
        self.entries = 0
        self.dead_letters = 0
        self.tasks_out: set[tuple[str, int, int, int, int]] = set()
        self.moved_at = time.perf_counter()
        """time.perf_counter() when a record was last seen."""

    def run(self) -> None:
        try:
            self._consumer.assign(
                [
                    TopicPartition(topic, partition, OFFSET_BEGINNING)
                    for topic in (self._topics.wf_events, self._topics.dead_letters)
                    for partition in range(self._topics[topic].partitions)
                ]
            )
            while not self._stopping.is_set():
                first = self._consumer.poll(POLL_SECONDS)
                if first is not None:
                    self._take([first, *self._consumer.consume(BATCH, 0)])
        except BaseException as error:  # noqa: BLE001  `wait_until` raises it in the thread that waits
            self.error = error
        finally:
            self._consumer.close()

    def _take(self, messages: list[Message]) -> None:
        now = self.moved_at = time.perf_counter()
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
            if message.topic() == self._topics.dead_letters:
                self.dead_letters += 1
                self.seen_at.setdefault(source_of(message), now)
            else:
                self._take_entry(message, now)

    def _take_entry(self, message: Message, now: float) -> None:
        entry = self._codec.decode(message.value() or b"")
        assert isinstance(entry, LogEntry)
        self.entries += 1
        cause, event = entry.cause, entry.event
        self.seen_at.setdefault((cause.topic, cause.partition, cause.offset), now)
        if isinstance(event, TaskAttemptRequested | TaskAttemptEnded):
            attempt = (entry.wf_run_id, entry.incarnation, event.thread, event.position, event.attempt)
            (self.tasks_out.add if isinstance(event, TaskAttemptRequested) else self.tasks_out.discard)(attempt)

    def wait_until(self, condition: Callable[[], bool], still_seconds: float, explain: Callable[[], str]) -> None:
        """Wait until a condition holds. Raises DemoStuck if no record was seen for `still_seconds`."""
        begun = time.perf_counter()
        while not condition():
            if self.error is not None:
                raise self.error
            if time.perf_counter() - max(begun, self.moved_at) > still_seconds:
                raise DemoStuck(explain())
            self._stopping.wait(LOOK_SECONDS)

    def stop(self) -> None:
        """Stop following, and wait for the thread to end."""
        self._stopping.set()
        self.join()


def source_of(message: Message) -> RecordAddress:
    """Return the address of the record that a dead letter was, from its headers."""
    headers = dead_letter_headers(message)
    return headers["topic"], int(headers["partition"]), int(headers["offset"])


def dead_letter_headers(message: Message) -> dict[str, str]:
    """Return the headers that the worker added to a dead letter, without `halter.`."""
    prefix = "halter."
    headers: list[tuple[str, bytes | None]] = message.headers() or []  # type: ignore[assignment]  # read as a list
    return {name.removeprefix(prefix): (value or b"").decode() for name, value in headers if name.startswith(prefix)}
