"""Measures how long a cold client takes to find one WfRun among many, by `show` and by `history`.

    python -m bench.lookup [--wf-runs 20000] [--runs 5] [--folder FOLDER] [--json] [--write]

All WfRuns are in one partition of eight, because a client reads one: 125,000 are as many as it has of 1,000,000. The
topics are written in bulk, by the real fold and codec. Each WfRun was started at some time of the last 20 days, and
interrupted once later: nine events, most of them far apart on the log. A fifth were interrupted again, so the state
topics have that much news, as Kafka leaves it before it compacts them; and the last of it is not in the rows yet.

Nothing is written in transactions: their marks would have the time of this run, and the log would have no order of
times. With --folder the topics are kept and not written again: 125,000 WfRuns take two minutes.

A client is cold if it was made for the one question. A command is a process of its own. `reading` is the consumer
alone, as librdkafka makes it by default and as `halter.client.reading` makes it.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from bench import command_line
from bench.figures import Figures
from bench.page import circumstances_in_words, write
from bench.wf_specs import DEFINITIONS, IDLE, wf_run_id
from halter.broker import EmbeddedBroker
from halter.client import Client
from halter.client.reading import BATCH, QUEUE_BACKOFF_MS
from processors.core.records.commands import ExternalEvent, RunWf
from processors.core.records.topic_names import SHARD_STATE, WF_EVENTS
from processors.fold.inputs import ReadInput
from processors.fold.outputs import OutputRecord
from processors.kafka.partitioner import partition_of
from tests.support.halter_processes import Halter
from tests.support.shard_rig import ShardRig
from tests.support.waiting import wait_until

PREFIX: Final = "lookup-"
PARTITIONS: Final = 8
DAYS: Final = 20
TURN: Final = 100
"""Commands whose events are written together."""
ROWS: Final = 1_000
"""Commands after which rows are written."""
MIXED: Final = 104_729
"""A prime number, by which WfRuns take turns in another order than that in which they were started."""
TARGET: Final = "≤ 1"
"""The target in seconds."""


def ids_of_partition_0(number: int) -> list[str]:
    """Return so many WfRun ids."""
    ids = map(wf_run_id, count())
    return list(islice((it for it in ids if partition_of(it.encode(), PARTITIONS) == 0), number))


class Loader:
    """Writes what a worker would have written in 20 days."""

    def __init__(self, halter: Halter) -> None:
        self._prefix = halter.topics.prefix
        self._rig = ShardRig()
        more = {"queue.buffering.max.messages": 1_000_000}
        self._producer = Producer(halter.settings.producer(linger_ms=20, **more))
        self._log_end = 0

    def load(self, ids: Sequence[str]) -> None:
        """Start and interrupt these WfRuns."""
        rig = self._rig
        for definition in DEFINITIONS:
            rig.turn(definition)
        self._write(rig.outputs)
        mixed = [ids[number * MIXED % len(ids)] for number in range(len(ids))]
        first = [*(RunWf(it, IDLE.name) for it in ids), *(ExternalEvent(it, "add", "e1", 1) for it in mixed)]
        later = [ExternalEvent(it, "add", "e2", 1) for it in mixed[::5]]
        step_ms = DAYS * 86_400_000 // (len(first) + len(later))
        rig.now_ms = int(time.time() * 1_000) - DAYS * 86_400_000
        self._fold(first, step_ms)
        self._turn(rows=True)
        self._fold(later, step_ms, ROWS)
        self._producer.flush()

    def _fold(self, commands: Sequence[Any], step_ms: int, rows: int | None = None) -> None:
        for number, command in enumerate(commands, start=1):
            self._rig.now_ms += step_ms
            self._rig.shard.fold(ReadInput(self._rig.command(command)))
            if number % TURN == 0:
                self._turn(rows=rows is not None and number % rows == 0)
        self._turn(rows=False)

    def _turn(self, *, rows: bool) -> None:
        self._write(self._rig.shard.take_outputs(rows=rows))
        self._rig.shard.committed()
        self._rig.shard.logged(self._log_end)

    def _write(self, outputs: Sequence[OutputRecord]) -> None:
        for topic, partition, key, value, headers, time_ms in outputs:
            self._log_end += topic == WF_EVENTS
            more = (None, None, time_ms or 0, list(headers) or None)
            try:
                self._producer.produce(self._prefix + topic, value, key, partition, *more)
            except BufferError:
                self._producer.flush()
                self._producer.produce(self._prefix + topic, value, key, partition, *more)


def read_all(bootstrap: str, topics: Sequence[str], **settings: Any) -> tuple[int, float, float]:
    """Read partition 0 of topics. Return the records, the seconds, and the CPU seconds."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{PREFIX}bench",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 1,
            **settings,
        }
    )
    for topic in topics:
        consumer.get_watermark_offsets(TopicPartition(topic, 0), 10)
    begun, cpu = time.perf_counter(), time.process_time()
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in topics])
    records = ended = 0
    while ended < len(topics):
        first = consumer.poll(1)
        messages = [] if first is None else [first, *consumer.consume(BATCH, 0)]
        errors = [it for it in map(Message.error, messages) if it is not None]
        assert all(it.code() == KafkaError._PARTITION_EOF for it in errors), errors
        ended += len(errors)
        records += len(messages) - len(errors)
    result = records, time.perf_counter() - begun, time.process_time() - cpu
    consumer.close()
    return result


def measure_reading(figures: Figures, halter: Halter) -> None:
    """Measure the consumer alone."""
    prefix = halter.topics.prefix
    for name, topics in (("rows", [prefix + it for it in SHARD_STATE]), ("the log", [prefix + WF_EVENTS])):
        for words, settings in (("by default", {}), ("as ours", {"fetch.queue.backoff.ms": QUEUE_BACKOFF_MS})):
            records, seconds, cpu = read_all(halter.settings.bootstrap, topics, **settings)
            figures.add(f"reading {name}, {words}", "s", seconds)
            figures.add(f"reading {name}, {words}: CPU per record", "µs", 1e6 * cpu / records)
        figures.add(f"records: {name}", "", records)


def measure(figures: Figures, halter: Halter, ids: Sequence[str], runs: int) -> None:
    """Measure cold clients and commands, each time for another WfRun."""
    chosen = random.Random(1).sample(ids, runs + 1)
    environment = {**halter.environment, "PYTHONPYCACHEPREFIX": str(halter.folder / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for number, this in enumerate(chosen):
        noted = figures if number else Figures(quiet=True)  # the first run warms up
        measure_reading(noted, halter)
        for name in ("show", "history"):
            begun, cpu = time.perf_counter(), time.process_time()
            with Client.of(halter.settings, halter.topics) as client:
                found = getattr(client, "get" if name == "show" else name)(this)
                noted.add(f"a client: {name}", "s", time.perf_counter() - begun, TARGET)
                noted.add(f"a client: {name}, CPU", "s", time.process_time() - cpu)
            assert found is not None
            command_line.run(environment, noted if number else None, name, (name, this), TARGET)


def is_quiet(folder: Path) -> bool:
    """Return True if Kafka has not touched a file of the topics for 20 s, so it compacts nothing."""
    newest = max(path.stat().st_mtime for path in folder.rglob(f"{PREFIX}*/*.log"))
    return time.time() - newest > 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--wf-runs", type=int, default=20_000, help="in the partition")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the topics here")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    given = parser.parse_args()
    figures, started = Figures(quiet=given.json), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = given.folder or Path(name)
        is_new = not (folder / "kafka").exists()
        with EmbeddedBroker(folder / "kafka") as kafka:
            halter = Halter(kafka.bootstrap, PREFIX, folder, PARTITIONS)
            ids = ids_of_partition_0(given.wf_runs)
            if is_new:
                begun = time.monotonic()
                Loader(halter).load(ids)
                print(f"written in {time.monotonic() - begun:.0f} s", file=sys.stderr)
            wait_until("the end of compaction", lambda: is_quiet(folder / "kafka"), 120)
            measure(figures, halter, ids, given.runs)
    if given.json:
        print(json.dumps([vars(figure) for figure in figures.all.values()], indent=2, ensure_ascii=False))
    else:
        print(figures.table())
    if given.write:
        command = f"python -m bench.lookup --wf-runs {given.wf_runs}"
        write("lookup", circumstances_in_words(command, None, (time.monotonic() - started) / 60), figures.table())


if __name__ == "__main__":
    main()
