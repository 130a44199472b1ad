"""What idle WfRuns cost: memory, the time until a killed worker goes on, and an interrupt among many of them.

    python bench/restore.py [--wf-runs 100000] [--runs 5] [--store memory] [--kafka] [--json]

A live idle WfRun is one thread that waits for an ExternalEvent, with three small Variables and nothing unclaimed
(DESIGN 7). Memory is the growth of the process' resident set over restoring so many, divided by their number; each
number of WfRuns is measured in a process of its own, with the rows as a worker reads them: encoded. An interrupt is one
ExternalEvent, decoded, folded and its outputs taken, in a turn of its own: to one of 100 WfRuns that are interrupted
again and again, and (`first`) to one that has rested until then, whose rows have to be decoded. Interrupts and
restoring are in CPU time, because the machine may have other work.

With --kafka also: a worker on the embedded broker starts the WfRuns, is killed (SIGKILL) and started again in the same
slot; timed is from the start of the process until a record that lies ready has its events on `wf-events`.
"""

import argparse
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from processors.codec import Codec
from processors.core.commands import ExternalEvent, PutExternalEventDef, PutWfSpec, RunWf
from processors.definitions_view import DefinitionsView
from processors.inputs import InputRecord
from processors.shard import ShardFactory

ROOT = Path(__file__).resolve().parent.parent
NUMBERS = (1, 1_000, 100_000, 1_000_000)
INTERRUPTS = 2_000
BUSY = 100
"""So many WfRuns are interrupted again and again."""
EVENTS_PER_INTERRUPT = 7
START_MS = 1_767_225_600_000
MEMORY_TARGET, RESTART_TARGET_S, GROWTH_TARGET = 2_048, 10.0, 1.2
STATE = ("wf-runs", "thread-runs", "wf-run-external-events")

WF_SPEC: dict[str, Any] = {
    "name": "idle",
    "entrypoint": "main",
    "threads": {
        "main": {
            "variables": {
                "customer": {"type": "STR", "default": "c-0042"},
                "total": {"type": "INT", "default": 0},
                "urgent": {"type": "BOOL", "default": False},
            },
            "interrupts": [{"event": "add", "handler": "on-add"}],
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "end"},
                "end": {"kind": "EXIT"},
            },
        },
        "on-add": {
            "variables": {"INPUT": {"type": "INT"}},
            "nodes": {
                "start": {
                    "kind": "ENTRYPOINT",
                    "next": {"to": "end", "set": [{"var": "total", "op": "ADD", "value": {"var": "INPUT"}}]},
                },
                "end": {"kind": "EXIT"},
            },
        },
    },
}
DEFINITIONS = (PutExternalEventDef("add"), PutExternalEventDef("go"), PutWfSpec("idle", json.dumps(WF_SPEC)))


def wf_run_id(number: int) -> str:
    """As long as a UUID, which is what the client makes."""
    return f"018f9e3c-7c1a-7000-8000-{number:012d}"


def resident_bytes(pid: int | str = "self") -> int:
    """The resident set of a process."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return 1024 * int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")))


class Bench:
    """A shard of one partition that knows the WfSpec and has no WfRuns yet."""

    def __init__(self, new_shard: Callable[[ShardFactory], Any] = lambda factory: factory.create(0)) -> None:
        self.codec = Codec.load()
        self.view = DefinitionsView(self.codec)
        self.factory = ShardFactory(1, self.codec, self.view)
        self.ends: dict[str, int] = {}
        self.definitions: list[tuple[bytes, bytes]] = []
        self.shard = self.factory.create(0)
        for definition in DEFINITIONS:
            self.turn("definition-commands", definition.name, definition)
        self.templates = [
            (output.topic, output.key, output.value)
            for output in self.turn("wf-commands", wf_run_id(0), RunWf(wf_run_id(0), "idle"))
            if output.topic in STATE
        ]
        self.position = next(o for o in self.outputs if o.topic == "fold-positions")
        self.shard = new_shard(self.factory)

    def turn(self, topic: str, key: str, command: Any) -> list[Any]:
        """Fold one command in a turn of its own."""
        value = self.codec.encode(command)
        offset = self.ends.get(topic, 0)
        self.ends[topic] = offset + 1
        self.shard.fold(InputRecord(topic, 0, offset, START_MS, key.encode(), value))
        self.outputs = list(self.shard.take_outputs())
        committed = getattr(self.shard, "committed", None)
        if committed is not None:
            committed()
        for output in self.outputs:
            if output.topic == "definitions":
                self.view.apply(output.key or b"", output.value, self.view.position + 1)
                self.definitions.append((output.key or b"", output.value or b""))
        return self.outputs

    def rows(self, topic: str, wf_runs: int) -> Iterator[tuple[bytes, bytes]]:
        """The rows of so many WfRuns in one topic, in no particular order of ids."""
        first = wf_run_id(0).encode()
        for _, key, value in (template for template in self.templates if template[0] == topic):
            for number in range(wf_runs):
                this = wf_run_id(number * 7_919 % wf_runs).encode()
                yield key.replace(first, this), value.replace(first, this)

    def restore(self, wf_runs: int) -> float:
        """Restore them as a load does; seconds."""
        begun = time.process_time()
        gc.disable()
        for key, value in self.definitions:
            self.shard.restore("definitions", key, value)
        for topic in STATE:
            for key, value in self.rows(topic, wf_runs):
                self.shard.restore(topic, key, value)
        self.shard.restore("fold-positions", self.position.key or b"", self.position.value or b"")
        self.shard.restored()
        gc.freeze()
        gc.enable()
        return time.process_time() - begun

    def interrupts(self, wf_runs: int, times: int, among: int) -> list[float]:
        """Seconds that each of so many interrupts took, of so many of the WfRuns in turn."""
        seconds = []
        for _ in range(times):
            number = self.ends.get("external-events", 0)
            this = wf_run_id(number % among * 104_729 % wf_runs)
            record = ExternalEvent(this, "add", f"e{number}", 1)
            begun = time.process_time()
            outputs = self.turn("external-events", this, record)
            seconds.append(time.process_time() - begun)
            assert sum(output.topic == "wf-events" for output in outputs) == EVENTS_PER_INTERRUPT
        return seconds


def shard_figures(wf_runs: int) -> dict[str, float]:
    """Everything about one number of WfRuns, in this process."""
    warm = Bench()
    warm.restore(1)
    warm.interrupts(1, 300, 1)
    bench = Bench()
    gc.collect()
    before = resident_bytes()
    seconds = bench.restore(wf_runs)
    grown = resident_bytes() - before
    busy = min(wf_runs, BUSY)
    bench.interrupts(wf_runs, 300, busy)
    interrupts = bench.interrupts(wf_runs, INTERRUPTS, busy)
    firsts = bench.interrupts(wf_runs, min(wf_runs, INTERRUPTS), wf_runs)
    return {
        "wf_runs": wf_runs,
        "bytes_per_wf_run": round(grown / wf_runs),
        "restore_s": round(seconds, 2),
        "interrupt_us": round(1e6 * statistics.median(interrupts), 1),
        "first_interrupt_us": round(1e6 * statistics.median(firsts), 1),
    }


def in_a_process(wf_runs: int) -> dict[str, float]:
    """The figures of a fresh process."""
    command = [sys.executable, __file__, "--only", str(wf_runs)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return found


class Installation:
    """Topics under a prefix of their own, `halter worker`, and a consumer that looks for events."""

    def __init__(self, bootstrap: str, folder: Path, partitions: int, store: str, topics: Path | None) -> None:
        from confluent_kafka import Producer
        from confluent_kafka.admin import AdminClient

        from halter import topic_admin
        from processors.settings import Settings

        prefix = f"bench-{uuid.uuid4().hex[:8]}-"
        overrides: dict[str, str | None] = {"bootstrap.servers": bootstrap}
        self.settings = Settings.load(None, {}, overrides, prefix=prefix, partitions=partitions, topics_file=topics)
        self.topics = self.settings.topics()
        self.folder = folder
        topic_admin.make_so(self.topics, AdminClient(self.settings.admin()), replication="auto")
        self.producer = Producer(self.settings.producer())
        self.codec = Codec.load()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_"))},
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "HALTER_PREFIX": prefix,
            "HALTER_PARTITIONS": str(partitions),
            **({"HALTER_TOPICS": str(topics)} if topics is not None else {}),
            **({"HALTER_STORE": store, "HALTER_STORE_DIR": str(folder / "store")} if store != "memory" else {}),
        }

    def worker(self) -> "subprocess.Popen[bytes]":
        """Start `halter worker`, always in the same slot."""
        with (self.folder / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "halter", "worker", "--slot", "bench", "--log-format", "json"],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def post(self, topic: str, key: str, record: Any) -> None:
        """Produce, without waiting for it."""
        value = self.codec.encode(record)
        while True:
            try:
                self.producer.produce(self.settings.prefix + topic, value, key.encode())
                return
            except BufferError:
                self.producer.poll(0.1)

    def interrupt(self, wf_runs: int, times: int) -> None:
        """Interrupt WfRuns in turn, so often in all."""
        for number in range(times):
            this = wf_run_id(number * 104_729 % wf_runs)
            self.post("external-events", this, ExternalEvent(this, "add", f"before-{number}", 1))
        self.producer.flush()

    def start_wf_runs(self, wf_runs: int) -> None:
        """Have so many WfRuns started."""
        for definition in DEFINITIONS:
            self.post("definition-commands", definition.name, definition)
        self.producer.flush()
        self.wait_for_definitions()
        for number in range(wf_runs):
            self.post("wf-commands", wf_run_id(number), RunWf(wf_run_id(number), "idle", definitions_position=3))
        self.producer.flush()

    def wait_for_definitions(self) -> None:
        """Wait until the WfSpec can be run."""
        consumer = self.reader("definitions", 1)
        found = 0
        while found < len(DEFINITIONS):
            message = consumer.poll(60)
            assert message is not None, "definitions are missing"
            found += 1
        consumer.close()

    def reader(self, topic: str, partitions: int) -> Any:
        """A consumer of a topic, from its beginning."""
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        consumer = Consumer(self.settings.consumer(group_id="bench", fetch_wait_max_ms=20))
        name = self.settings.prefix + topic
        consumer.assign([TopicPartition(name, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        return consumer


def wait_for_events(consumer: Any, wanted: int, header: bytes, seconds: float) -> None:
    """Read until so many events of that name were seen."""
    until = time.monotonic() + seconds
    while wanted > 0:
        assert time.monotonic() < until, f"{wanted} events {header!r} are missing"
        for message in consumer.consume(10_000, 0.05):
            wanted -= message.error() is None and dict(message.headers() or ()).get("event") == header


def kafka_figures(bootstrap: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Kill and start a worker that has so many WfRuns, over and over."""
    wf_runs, runs, partitions = given.wf_runs, given.runs, given.partitions
    installation = Installation(bootstrap, folder, partitions, given.store, given.topics)
    worker = installation.worker()
    consumer = installation.reader("wf-events", partitions)
    begun = time.monotonic()
    installation.start_wf_runs(0)
    empty = resident_bytes(worker.pid)
    installation.start_wf_runs(wf_runs)
    wait_for_events(consumer, wf_runs, b"WfRunStarted", 600)
    print(f"{wf_runs:,} WfRuns started after {time.monotonic() - begun:.1f} s", file=sys.stderr)
    grown_live = resident_bytes(worker.pid) - empty
    seconds = []
    grown = 0
    installation.interrupt(wf_runs, given.interrupts)
    wait_for_events(consumer, given.interrupts, b"Resume", 1_800)
    print(f"{given.interrupts:,} interrupts after {time.monotonic() - begun:.1f} s", file=sys.stderr)
    try:
        for number in range(runs):
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            for of_partition in range(50):
                this = wf_run_id(number * 50 + of_partition)
                installation.post("external-events", this, ExternalEvent(this, "add", f"probe-{number}", 1))
            installation.producer.flush()
            begun = time.monotonic()
            worker = installation.worker()
            wait_for_events(consumer, 50, b"Resume", 300)
            seconds.append(time.monotonic() - begun)
            grown = resident_bytes(worker.pid) - empty
            print(f"restart {number + 1}: {seconds[-1]:.2f} s", file=sys.stderr)
    finally:
        worker.kill()
        worker.wait()
        consumer.close()
    return {
        "wf_runs": wf_runs,
        "partitions": partitions,
        "store": given.store,
        "interrupts_before": given.interrupts,
        "restart_s": round(statistics.median(seconds), 2),
        "restart_s_each": [round(one, 2) for one in seconds],
        "bytes_per_wf_run_restored": round(grown / wf_runs),
        "bytes_per_wf_run_after_starting_them": round(grown_live / wf_runs),
    }


def with_kafka(given: argparse.Namespace) -> dict[str, Any]:
    """On HALTER_BOOTSTRAP, or on a broker of its own."""
    from contextlib import nullcontext

    from halter.broker import EmbeddedBroker

    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        named = os.environ.get("HALTER_BOOTSTRAP")
        with nullcontext() if named else EmbeddedBroker(folder / "kafka") as kafka:
            try:
                return kafka_figures(named or kafka.bootstrap, folder, given)
            finally:
                log = (folder / "worker.log").read_text(encoding="utf-8").splitlines()
                print("\n".join(line for line in log if '"restor' in line or "error" in line), file=sys.stderr)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--wf-runs", type=int, default=100_000, help="with --kafka")
    parser.add_argument("--runs", type=int, default=5, help="how often a worker is killed, with --kafka")
    parser.add_argument("--partitions", type=int, default=8, help="with --kafka")
    parser.add_argument("--store", default="memory", help="memory or rocksdb, with --kafka")
    parser.add_argument("--interrupts", type=int, default=0, help="before the first kill: rows to be compacted")
    parser.add_argument("--topics", type=Path, help="a topics.yaml to use instead of Halter's, with --kafka")
    parser.add_argument("--numbers", type=int, nargs="*", default=NUMBERS, help="of WfRuns in a shard")
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only is not None:
        print(json.dumps(shard_figures(given.only)))
        return
    shards = [in_a_process(number) for number in given.numbers]
    figures: dict[str, Any] = {"shard": shards}
    if given.kafka:
        figures["kafka"] = with_kafka(given)
    if given.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{'live WfRuns':>12}{'bytes each':>12}{'restore s':>12}{'interrupt us':>14}{'first us':>10}")
    for one in shards:
        print(
            f"{one['wf_runs']:>12,}{one['bytes_per_wf_run']:>12,}{one['restore_s']:>12}{one['interrupt_us']:>14}"
            f"{one['first_interrupt_us']:>10}"
        )
    if shards:
        growth = shards[-1]["interrupt_us"] / shards[0]["interrupt_us"]
        print(f"growth of an interrupt's cost: {growth:.2f}, at most {GROWTH_TARGET}; memory: at most {MEMORY_TARGET}")
    if given.kafka:
        print(f"with Kafka (restart: at most {RESTART_TARGET_S} s): {figures['kafka']}")


if __name__ == "__main__":
    main()
