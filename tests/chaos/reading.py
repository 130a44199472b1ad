"""Reads topics with a plain read_committed consumer: all of them for the verdict, and live while faults strike."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tests.chaos.avro import decode
from tests.chaos.tape import (
    DEAD_LETTERS,
    DEFINITION_EVENTS,
    DEFINITIONS,
    FOLD_POSITIONS,
    INPUTS,
    LOG,
    TOPICS,
    RecordAddress,
    Tape,
    TapeRecord,
    source_of,
)

READ_SECONDS: Final = 120.0
ONE_PARTITION: Final = frozenset({"definition-commands", DEFINITION_EVENTS, "definitions"})


class NotReadable(Exception):
    """A topic could not be read to its end: a record is still in an open transaction, or a partition has no leader."""


def consumer(bootstrap: str, **more: Any) -> Consumer:
    """Return a consumer that is in no group."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "chaos-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "enable.partition.eof": True,
            "log_level": 0,
            **more,
        }
    )


def partitions_of(topics: tuple[str, ...], prefix: str, partitions: int) -> list[TopicPartition]:
    """Return all partitions of logical topics, from their start."""
    return [
        TopicPartition(prefix + topic, partition, 0)
        for topic in topics
        for partition in range(1 if topic in ONE_PARTITION else partitions)
    ]


def record_of(message: Message) -> TapeRecord:
    """Return a message as a tape has it."""
    headers = tuple((str(name), bytes_of(value)) for name, value in list(message.headers() or ()))
    offset = message.offset()
    return TapeRecord(-1 if offset is None else offset, message.timestamp()[1], message.key(), message.value(), headers)


def bytes_of(value: Any) -> bytes:
    """Return the value of a header, which a client may give as text or not at all."""
    return value.encode() if isinstance(value, str) else value or b""


def read_tape(bootstrap: str, prefix: str, partitions: int) -> Tape:
    """Read everything up to the present ends. Raises NotReadable."""
    tape = Tape(partitions, {topic: {} for topic in TOPICS}, read_at_ms=time.time_ns() // 1_000_000)
    reader = consumer(bootstrap)
    sees_all = consumer(bootstrap, **{"isolation.level": "read_uncommitted"})
    try:
        assigned = partitions_of(TOPICS, prefix, partitions)
        ends = {(it.topic, it.partition): end_of(sees_all, it) for it in assigned}
        tape.definitions_end = ends[prefix + DEFINITIONS, 0]
        for topic, partition in ends:
            tape.topics[topic.removeprefix(prefix)][partition] = []
        unread = {partition for partition, end in ends.items() if end > 0}
        reader.assign(assigned)
        until = time.monotonic() + READ_SECONDS
        while unread:
            if time.monotonic() > until:
                raise NotReadable(f"not readable to the end within {READ_SECONDS:.0f} s: {sorted(unread)[:5]}")
            for message in reader.consume(10_000, 0.1):
                error, at = message.error(), (message.topic() or "", message.partition() or 0)
                if error is None:
                    tape.topics[at[0].removeprefix(prefix)][at[1]].append(record_of(message))
                elif error.code() == KafkaError._PARTITION_EOF and (message.offset() or 0) >= ends[at]:
                    unread.discard(at)
        return tape
    finally:
        reader.close()
        sees_all.close()


def end_of(reader: Consumer, partition: TopicPartition) -> int:
    """Return the high watermark if the reader sees everything, else where it stops. Raises NotReadable."""
    until = time.monotonic() + READ_SECONDS
    while True:
        try:
            return reader.get_watermark_offsets(partition, timeout=5)[1]
        except KafkaException as exception:
            if time.monotonic() > until:
                raise NotReadable(f"{partition.topic}[{partition.partition}] has no end: {exception}") from exception


OnOutcome = Callable[[int, int], None]
"""Called with a partition and the time of one of its inputs that now has an outcome."""


class Watcher:
    """Follows inputs, outcomes and positions live. Knows the inputs without an outcome, and whose rows are behind."""

    def __init__(self, bootstrap: str, prefix: str, partitions: int, on_outcome: OnOutcome) -> None:
        self.inputs = 0
        self.changed_at = time.monotonic()
        self._bootstrap, self._prefix, self._partitions = bootstrap, prefix, partitions
        self._on_outcome = on_outcome
        self._open: set[RecordAddress] = set()
        self._answered: set[RecordAddress] = set()
        self._folded: dict[int, Mapping[str, int]] = {}
        """Partition -> the offsets that its rows stand for."""
        self._newest: dict[tuple[int, str], int] = {}
        """Partition and topic -> the last offset that has an outcome."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    @property
    def open(self) -> int:
        """The number of inputs without an outcome."""
        return len(self._open)

    @property
    def behind(self) -> list[int]:
        """The partitions whose rows have not followed the log."""
        newest = list(self._newest.items())
        return sorted({at for (at, topic), offset in newest if self._folded.get(at, {}).get(topic, 0) <= offset})

    @property
    def still_for(self) -> float:
        """Seconds since the last input or outcome."""
        return time.monotonic() - self.changed_at

    def some_open(self) -> list[str]:
        """Return a few inputs without an outcome, for a message."""
        return [str(address) for address in sorted(self._open.copy())[:5]]

    def stop(self) -> None:
        """Stop following."""
        self._over.set()
        self._thread.join(20)

    def _run(self) -> None:
        reader = consumer(self._bootstrap, **{"enable.partition.eof": False})
        topics = (*INPUTS, LOG, DEAD_LETTERS, DEFINITION_EVENTS, FOLD_POSITIONS)
        reader.assign(partitions_of(topics, self._prefix, self._partitions))
        while not self._over.is_set():
            for message in reader.consume(500, 0.1):
                if message.error() is None:
                    self._take(message)
        reader.close()

    def _take(self, message: Message) -> None:
        record, partition = record_of(message), message.partition() or 0
        topic = (message.topic() or "").removeprefix(self._prefix)
        if topic == FOLD_POSITIONS:
            self._folded[partition] = decode(record.value or b"")[1]["offsets"]
            return
        self.changed_at = time.monotonic()
        if topic in INPUTS:
            self.inputs += 1
            address = RecordAddress(topic, partition, record.offset)
            # The watcher may see its outcome first, as they are on different partitions.
            if address not in self._answered:
                self._open.add(address)
            return
        if topic == DEAD_LETTERS:
            cause, time_ms = source_of(record), record.timestamp_ms
        else:
            fields = decode(record.value or b"")[1]
            it = fields["cause"]
            cause = RecordAddress(it["topic"], it["partition"], it["offset"])
            time_ms = fields.get("time_ms", 0)
        line = cause.partition, cause.topic
        self._newest[line] = max(self._newest.get(line, 0), cause.offset)
        if cause not in self._answered:
            self._answered.add(cause)
            self._open.discard(cause)
        if topic == LOG:
            self._on_outcome(partition, time_ms)


def wait_for(what: str, condition: Callable[[], Any], seconds: float) -> None:
    """Wait for a condition. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        with suppress(InterruptedError):
            time.sleep(0.05)
