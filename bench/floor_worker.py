"""The floor: a bare loop around the Kafka client that does what no worker of this design can do without.

    python -m bench.floor_worker --slot NAME [--pause-ms 2] [--ready-file FILE]

It polls what is there, and answers each poll with one transaction: for every ExternalEvent the events of an interrupt
on the log, with the bytes and headers that the rules give them and the record's own key, and three rows of an
interrupt on one more topic, both on the partition of the record. Then it flushes, sends the offsets and commits. It
decodes nothing, decides nothing and remembers nothing, has one thread and no agents.

Its client settings are those of a worker. It begins no transaction sooner than `--pause-ms` after a commit, because the
broker still writes the marks of the one before, and the client would back off for 20 ms. Without a pause p50 is as low
at 100/s, but p99 and the p50 at 1,000/s are higher; with 8 ms p50 is twice as high at 100/s.

No real worker may read these topics: all keys get the bytes of one WfRun.
"""

import argparse
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from bench.ceiling_worker import LOG, POSITIONS, what_an_interrupt_comes_to
from processors.fold.outputs import OutputRecord

INPUT = "external-events"
ROWS = "thread-runs"
ROWS_EACH = 3
AT_MOST = 4_000
PAUSE_MS = 2.0
SECONDS = 30.0
CONSUMER = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
}
PRODUCER = {
    "acks": "all",
    "linger.ms": 0,
    "retry.backoff.ms": 5,
    "retry.backoff.max.ms": 50,
    "queue.buffering.max.messages": 500_000,
}


class Floor:
    """The loop."""

    def __init__(self, environment: Mapping[str, str], slot: str, pause_seconds: float) -> None:
        bootstrap = {"bootstrap.servers": environment["KAFKA_BOOTSTRAP_SERVERS"]}
        prefix, self._partitions = environment["HALTER_PREFIX"], int(environment["HALTER_PARTITIONS"])
        self._input = prefix + INPUT
        self._consumer = Consumer({**bootstrap, **CONSUMER, "group.id": f"{prefix}floor"})
        self._producer = Producer({**bootstrap, **PRODUCER, "transactional.id": f"{prefix}floor-{slot}"})
        self._pause_seconds = pause_seconds
        self._may_begin = 0.0
        outputs = what_an_interrupt_comes_to()
        self._answer: Sequence[tuple[str, bytes | None, Any]] = [
            *((prefix + LOG, output.value, list(output.headers)) for output in outputs if output.topic == LOG),
            *((prefix + ROWS, output.value, None) for output in rows_of(outputs)),
        ]
        self.over = False

    def run(self, ready_file: Path | None) -> None:
        """Answer records until told to stop."""
        self._producer.init_transactions(SECONDS)
        self._consumer.subscribe([self._input])
        while not self.over and len(self._consumer.assignment()) < self._partitions:
            self._consumer.poll(0.1)
        if ready_file is not None:
            ready_file.write_text("{}", encoding="utf-8")
        while not self.over:
            first = self._consumer.poll(1)
            if first is not None:
                time.sleep(max(0.0, self._may_begin - time.monotonic()))
                polled = [first, *self._consumer.consume(AT_MOST - 1, 0)]
                self._turn([message for message in polled if message.error() is None])
        self._consumer.close()

    def _turn(self, messages: Sequence[Message]) -> None:
        produce, answer = self._producer.produce, self._answer
        offsets: dict[int, int] = {}
        self._producer.begin_transaction()
        for message in messages:
            partition: int = message.partition()  # type: ignore[assignment]  # records of topics have one
            offsets[partition] = message.offset()  # type: ignore[assignment]  # as above
            key = message.key()
            for topic, value, headers in answer:
                produce(topic, value, key, partition, None, None, 0, headers)
        self._producer.flush(SECONDS)
        places = [TopicPartition(self._input, partition, offset + 1) for partition, offset in offsets.items()]
        self._producer.send_offsets_to_transaction(places, self._consumer.consumer_group_metadata(), SECONDS)
        self._producer.commit_transaction(SECONDS)
        self._may_begin = time.monotonic() + self._pause_seconds


def rows_of(outputs: Sequence[OutputRecord]) -> Sequence[OutputRecord]:
    """Return as many rows as the floor writes for an interrupt: the largest ones."""
    rows = [output for output in outputs if output.topic not in {LOG, POSITIONS}]
    return sorted(rows, key=lambda row: -len(row.value or b""))[:ROWS_EACH]


def main() -> None:
    """Run until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slot", required=True)
    parser.add_argument("--pause-ms", type=float, default=PAUSE_MS)
    parser.add_argument("--ready-file", type=Path, default=None)
    options = parser.parse_args()
    floor = Floor(os.environ, options.slot, options.pause_ms / 1_000)

    def stop(*_: object) -> None:
        floor.over = True

    signal.signal(signal.SIGTERM, stop)
    floor.run(options.ready_file)


if __name__ == "__main__":
    main()
