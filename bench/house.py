"""A real installation to measure: topics, `halter worker` processes, producers, and what they cost.

Times are taken from what is committed. Rows say to which positions shards are folded, but they follow the log, so they
come late. What the clock stops at is the moment at which the log of a read_committed reader has grown for the last time
before them.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import Consumer, IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from bench.figures import core_is_compiled
from bench.wf_specs import DEFINITIONS, wf_run_id
from halter.broker import EmbeddedBroker
from processors.codec import Codec
from processors.core.records.commands import RunWf
from processors.core.records.errors import HalterError
from processors.core.records.events import LogEntry
from processors.core.records.fold_position import FoldPosition
from tests.support.halter_processes import NOTHING, Halter

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used so far, in all threads, user and system."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS_PER_SECOND


@dataclass(frozen=True)
class Cost:
    """The CPU seconds of workers and broker, and the time, between two moments."""

    seconds: float
    worker: float
    broker: float


class Kafka(Protocol):
    """A running Kafka. The costs of an embedded one can be measured."""

    @property
    def bootstrap(self) -> str:
        """`bootstrap.servers`."""


class House(Halter):
    """An installation under a prefix of its own, on the broker of the benchmark."""

    kind = "present"

    def __init__(self, kafka: Kafka, folder: Path, partitions: int, variables: Mapping[str, str] = NOTHING) -> None:
        super().__init__(kafka.bootstrap, f"bench-{uuid.uuid4().hex[:8]}-", folder, partitions, variables)
        self.partitions = partitions
        self.codec = Codec.load()
        self.producer = Producer(self.settings.producer(linger_ms=5))
        self._kafka = kafka
        self._definitions_position = 0

    @contextmanager
    def running(self, slot: str = "bench-0", ceiling: bool = False) -> Iterator[int]:
        """Run a worker that is ready, and yield its process id."""
        arguments = ("-m", "bench.ceiling_worker") if ceiling else ("-m", "halter", "worker")
        with self.process(slot, *arguments, "--slot", slot) as process:
            yield process.pid

    @contextmanager
    def all_running(self, workers: int, ceiling: bool) -> Iterator[list[int]]:
        """Run so many workers, and yield their process ids. All share the partitions before any of them is ready."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.running(f"bench-{number}", ceiling)) for number in range(workers)]

    def prepare(self, wf_spec: str | None = None, wf_runs: int = 0) -> int:
        """Register the definitions, start WfRuns, and return the number of these commands once they are folded."""
        for definition in DEFINITIONS:
            self.post("definition-commands", definition.name, definition)
        self.producer.flush()
        self.wait_for_positions({("definition-commands", 0): len(DEFINITIONS)})
        self._definitions_position = self._position_behind_all_definitions()
        if wf_spec is not None:
            self.start(wf_spec, wf_runs)
        return wf_runs

    def start(self, wf_spec: str, wf_runs: int, first: int = 0) -> None:
        """Start WfRuns, and wait until these commands are folded."""
        for number in range(first, first + wf_runs):
            self.post("wf-commands", wf_run_id(number), self.run_wf(wf_run_id(number), wf_spec))
        self.producer.flush()
        self.wait_for_positions(self.ends("wf-commands"))

    def written_topics(self) -> list[str]:
        """Return the topics with a partition per shard that workers write, without their prefix."""
        prefix, found = self.topics.prefix, AdminClient(self.settings.admin()).list_topics(timeout=10).topics
        return [
            name.removeprefix(prefix)
            for name, topic in found.items()
            if name.startswith(prefix) and name not in self.topics.inputs and len(topic.partitions) == self.partitions
        ]

    def _position_behind_all_definitions(self) -> int:
        consumer = self.consumer("definitions", 1)
        position, left = 0, len(DEFINITIONS)
        while left:
            message = consumer.poll(10)
            assert message is not None, f"{left} definitions were not accepted"
            position, left = (message.offset() or 0) + 1, left - 1
        consumer.close()
        return position

    def run_wf(self, wf_run_id: str, wf_spec: str) -> RunWf:
        """Return a RunWf that names the definitions: a shard that has not seen them waits, and does not reject it."""
        return RunWf(wf_run_id, wf_spec, definitions_position=self._definitions_position)

    def post(self, topic: str, key: str, record: Any, producer: Producer | None = None) -> None:
        """Produce a record without waiting for it."""
        value = self.codec.encode(record)
        while True:
            try:
                (producer or self.producer).produce(self.topics.prefix + topic, value, key.encode())
                return
            except BufferError:
                (producer or self.producer).poll(0.1)

    def consumer(self, topic: str, partitions: int | None = None, from_the_end: bool = False) -> Consumer:
        """Return a read_committed consumer of a topic."""
        consumer = Consumer(self.settings.consumer(group_id=f"bench-{uuid.uuid4().hex}", **{"fetch.wait.max.ms": 20}))
        places = [TopicPartition(self.topics.prefix + topic, it, 0) for it in range(partitions or self.partitions)]
        for place in places if from_the_end else ():
            place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
        consumer.assign(places)
        return consumer

    def log_of(self, wf_run: str) -> list[LogEntry]:
        """Return all committed entries of a WfRun on `wf-events`, in order."""
        consumer, found = self.consumer("wf-events"), []
        while messages := consumer.consume(10_000, 3):
            for message in messages:
                if message.key() == wf_run.encode():
                    entry = self.codec.decode(message.value() or b"")
                    assert isinstance(entry, LogEntry)
                    found.append(entry)
        consumer.close()
        return found

    def ends(self, topic: str) -> Mapping[tuple[str, int], int]:
        """Return the offsets at which the partitions of a topic end now, open transactions included."""
        consumer = Consumer(self.settings.consumer(group_id="bench", **{"isolation.level": "read_uncommitted"}))
        name = self.topics.prefix + topic
        places = {
            (topic, it): consumer.get_watermark_offsets(TopicPartition(name, it), timeout=10)[1]
            for it in range(self.partitions)
        }
        consumer.close()
        return places

    def wait_for_positions(self, wanted: Mapping[tuple[str, int], int], seconds: float = 600) -> float:
        """Wait until shards are folded to these offsets, markers at the end aside.

        Return when the last of it was committed: when the end of the log was last seen to move.
        """
        with self.watching() as watch:
            return watch(wanted, seconds)

    @contextmanager
    def watching(self) -> Iterator[Any]:
        """Do as `wait_for_positions`, with a consumer made before."""
        consumer = self.consumer("fold-positions")
        found: dict[tuple[str, int], int] = {}
        end_of_log = self._end_of_log_seen()

        def wait(wanted: Mapping[tuple[str, int], int], seconds: float = 600) -> float:
            left = {place: offset for place, offset in wanted.items() if found.get(place, 0) < offset and offset}
            until = time.monotonic() + seconds
            end, moved = -1, 0.0
            while left:
                assert time.monotonic() < until, f"not folded within {seconds:.0f} s: {left}, found {found}"
                now = end_of_log()
                if now != end:
                    end, moved = now, time.monotonic()
                for message in consumer.consume(100, 0.02):
                    assert message.error() is None, message.error()
                    row = self.codec.decode(message.value() or b"")
                    assert isinstance(row, FoldPosition)
                    for topic, offset in row.offsets.items():
                        place = (topic, 0 if topic == "definition-commands" else row.partition)
                        found[place] = offset
                        if offset >= left.get(place, offset + 1):
                            del left[place]
            return moved or time.monotonic()

        try:
            yield wait
        finally:
            consumer.close()

    def _end_of_log_seen(self) -> Callable[[], int]:
        """Return a function that asks where the log ends for a read_committed reader, all partitions in one number."""
        admin = AdminClient(self.settings.admin())
        places = [TopicPartition(self.topics.prefix + "wf-events", it) for it in range(self.partitions)]
        wanted = dict.fromkeys(places, OffsetSpec.latest())

        def end() -> int:
            answers = admin.list_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=10)
            return sum(int(answer.result().offset) for answer in answers.values())

        return end

    @contextmanager
    def costing(self, workers: Sequence[int]) -> Iterator[list[Cost]]:
        """Measure a block. The list has the result after it."""
        assert isinstance(self._kafka, EmbeddedBroker)
        brokers = [pid for pid in self._kafka.pids if pid is not None]
        before = time.monotonic(), sum(map(cpu_seconds, workers)), sum(map(cpu_seconds, brokers))
        result: list[Cost] = []
        yield result
        after = time.monotonic(), sum(map(cpu_seconds, workers)), sum(map(cpu_seconds, brokers))
        result.append(Cost(*(now - then for then, now in zip(before, after, strict=True))))

    def bytes_of(self, *topics: str) -> int:
        """Return the bytes that topics take on the broker's disk, all partitions."""
        assert isinstance(self._kafka, EmbeddedBroker)
        names = tuple(f"{self.topics.prefix}{topic}-" for topic in topics)
        logs = [path for path in self._kafka.data.rglob("*.log") if path.parent.name.startswith(names)]
        return sum(path.stat().st_size for path in logs)


class FloorHouse(House):
    """An installation whose worker is the floor (bench/floor_worker.py). It needs no WfRuns."""

    kind = "floor"

    @contextmanager
    def running(self, slot: str = "bench-0", ceiling: bool = False) -> Iterator[int]:
        """Run the floor, and yield its process id."""
        assert not ceiling
        with self.process(slot, "-m", "bench.floor_worker", "--slot", slot) as process:
            yield process.pid

    def prepare(self, wf_spec: str | None = None, wf_runs: int = 0) -> int:  # noqa: ARG002  as of every House
        """Do nothing: the floor answers for every WfRun."""
        return 0


class FormerHouse(House):
    """An installation whose topics and workers are made by another checkout, with the environment in its `.venv`.

    What is posted is encoded by this checkout, as by a client that is newer than the workers.
    """

    kind = "former"

    def __init__(self, kafka: Kafka, folder: Path, partitions: int, checkout: Path) -> None:
        self.root, self.python = checkout, str(checkout / ".venv" / "bin" / "python")
        if not Path(self.python).exists():
            raise NoFormer(f"expected an environment in {checkout / '.venv'}, found none; run `make setup` there")
        super().__init__(kafka, folder, partitions)

    def make_topics(self) -> None:
        """Create the topics as the other checkout has them."""
        for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
            self.environment.pop(name, None)
        self.environment |= paths_of(self.root)
        done = self.command("topics", "apply", "--yes", "--replication", "auto")
        assert done.returncode == 0, done.stderr

    def running(self, slot: str = "bench-0", ceiling: bool = False) -> AbstractContextManager[int]:
        """Run a worker of the other checkout, and yield its process id."""
        assert not ceiling, "the ceiling is that of this checkout"
        return super().running(slot)


class NoFormer(HalterError):
    """The former checkout cannot be run. Whoever measures prepares it."""


def paths_of(checkout: Path) -> dict[str, str]:
    """Return the variables with which a Python imports a checkout: its compiled core, if ours is compiled."""
    if not core_is_compiled():
        return {}
    built = checkout / ".venv" / "compiled"
    if not built.exists():
        raise NoFormer(
            f"this core is compiled; expected a compiled core in {built}, found none; run `make compiled` there"
        )
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"{built}:{checkout}"}


class AtOnce:
    """A producer whose records all become visible at the same moment: when its transaction is committed."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._ends: dict[tuple[str, int], int] = {}
        self.producer = Producer(
            house.settings.producer(
                linger_ms=20,
                **{"transactional.id": f"bench-{uuid.uuid4().hex}", "transaction.timeout.ms": 300_000},
            )
        )
        self.producer.init_transactions(30)
        self.producer.begin_transaction()

    def post(self, topic: str, key: str, record: Any) -> None:
        """Put a record into the transaction."""
        self._house.post(topic, key, record, self.producer)

    def show(self, topic: str) -> Mapping[tuple[str, int], int]:
        """Commit, and return the position behind the last record of each partition."""
        self.producer.flush()
        ends = self._house.ends(topic)
        self.producer.commit_transaction(60)
        return ends
