"""One set of operations for two Kafkas: confluent_kafka on a real broker, and the model of it.

An experiment is a function of a Laboratory that makes calls and returns what it saw. Errors are compared by code and
flags, records by value and offset. Results of chance are left out: ids of members, and which partition goes where.
"""

import random
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]  # public, unhinted

from processors.runtime.group.group_offsets import committed_in_background
from tests.simulation.admin import SimulatedAdmin
from tests.simulation.broker import Broker
from tests.simulation.consumer import SimulatedConsumer
from tests.simulation.kernel import Kernel
from tests.simulation.process import Process
from tests.simulation.producer import SimulatedProducer

PARTITIONS: Final = 4
PATIENCE_S: Final = 20.0
LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # as above


class Laboratory(Protocol):
    """Makes clients, and tells the time there. `topic` has PARTITIONS partitions; only the laboratory uses `group`."""

    topic: str
    group: str

    def producer(self, conf: dict[str, Any]) -> Any: ...

    def consumer(self, conf: dict[str, Any]) -> Any: ...

    def admin(self) -> Any: ...

    def ask(self, consumer: Any, partitions: list[TopicPartition], seconds: float) -> Any:
        """Ask in the background for the committed offsets of the consumer's group, and return a future."""

    def expel(self, member_id: str) -> None:
        """Make the group give up a living member without its knowledge."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


Experiment = Callable[[Laboratory], Any]


class RealLaboratory:
    """The laboratory with confluent_kafka on a broker."""

    def __init__(self, bootstrap: str) -> None:
        # As in the settings of workers: without a callback for errors, flush raises them.
        self._bootstrap: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": lambda _: None}
        self.topic = f"faithful-{uuid.uuid4().hex[:10]}"
        self.group = f"group-of-{self.topic}"
        self._admin = AdminClient(self._bootstrap)
        made = self._admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])
        made[self.topic].result(30)

    def producer(self, conf: dict[str, Any]) -> Any:
        return Producer({**self._bootstrap, "linger.ms": 0, "retry.backoff.ms": 5, **conf})

    def consumer(self, conf: dict[str, Any]) -> Any:
        fixed = {"enable.auto.commit": False, "auto.offset.reset": "error", "fetch.wait.max.ms": 10}
        return Consumer({**self._bootstrap, "group.id": self.group, **fixed, **conf})

    def admin(self) -> Any:
        return self._admin

    def ask(self, consumer: Any, partitions: list[TopicPartition], seconds: float) -> Any:
        return committed_in_background(consumer, partitions, seconds)

    def expel(self, member_id: str) -> None:
        # LeaveGroup, version 0, in the member's name: confluent_kafka has no call for it.
        leave_group = struct.pack(">hhi", 13, 0, 1)
        request = leave_group + b"".join(map(as_text, ("laboratory", self.group, member_id)))
        host, _, port = self._bootstrap["bootstrap.servers"].rpartition(":")
        with socket.create_connection((host, int(port)), PATIENCE_S) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.makefile("rb").read(4 + 6)
        assert answer[-2:] == b"\0\0", f"LeaveGroup was answered with {answer!r}"

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class SimulatedLaboratory:
    """The laboratory with the model."""

    def __init__(self, process: Process, broker: Broker, topic: str) -> None:
        self._process, self._broker = process, broker
        self._admin = SimulatedAdmin(process, broker)  # kept, because a client that is freed answers no more
        self.topic, self.group = topic, "group"

    def producer(self, conf: dict[str, Any]) -> Any:
        return SimulatedProducer(self._process, self._broker, conf)

    def consumer(self, conf: dict[str, Any]) -> Any:
        return SimulatedConsumer(self._process, self._broker, {"group.id": self.group, **conf})

    def admin(self) -> Any:
        return self._admin

    def ask(self, consumer: Any, partitions: list[TopicPartition], seconds: float) -> Any:
        return consumer.ask_committed(partitions, seconds)

    def expel(self, member_id: str) -> None:
        self._broker.group(self.group).leave(member_id)

    def now(self) -> float:
        return self._process.kernel.now

    def sleep(self, seconds: float) -> None:
        self._process.sleep(seconds)


def as_text(value: str) -> bytes:
    """Return a string as Kafka's requests have it."""
    return struct.pack(">h", len(value)) + value.encode()


def in_reality(bootstrap: str, experiment: Experiment) -> Any:
    """Make an experiment on a broker."""
    return experiment(RealLaboratory(bootstrap))


def in_simulation(experiment: Experiment, seed: int = 0) -> Any:
    """Make an experiment in the model."""
    kernel = Kernel()
    broker = Broker(kernel, random.Random(seed), {"topic": PARTITIONS})
    process = Process(kernel, "experiment", random.Random(seed))
    seen: list[Any] = []
    process.start(lambda: seen.append(experiment(SimulatedLaboratory(process, broker, "topic"))))
    try:
        while not seen:
            kernel.run(1.0)
            assert kernel.now < 3_600, "the experiment does not end"
    finally:
        process.is_dead = True
        kernel.close()
    return seen[0]


# What experiments look with.


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a call, or the error that it raises, with its flags."""
    try:
        return call(*arguments)
    except KafkaException as exception:
        return described(exception.args[0])


def described(error: KafkaError) -> str:
    """Return an error by its name and flags."""
    flags = {"fatal": error.fatal(), "retriable": error.retriable(), "abort": error.txn_requires_abort()}
    return " ".join([error.name(), *(name for name, is_set in flags.items() if is_set)])


def eventually(laboratory: Laboratory, question: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    """Ask until the answer is the wanted one, or for long enough; return the last answer."""
    until = laboratory.now() + PATIENCE_S
    while not wanted(answer := question()) and laboratory.now() < until:
        laboratory.sleep(0.02)
    return answer


def at_rest(laboratory: Laboratory, question: Callable[[], Any], seconds: float = 0.3) -> Any:
    """Ask until the answer has been the same for a while, and return it."""
    answer, since = question(), laboratory.now()
    while laboratory.now() - since < seconds:
        laboratory.sleep(0.05)
        if (again := question()) != answer:
            answer, since = again, laboratory.now()
    return answer


def answered(laboratory: Laboratory, future: Any) -> Any:
    """Wait for a future, and return its result, or its error described."""
    until = laboratory.now() + PATIENCE_S
    while not future.done() and laboratory.now() < until:
        laboratory.sleep(0.005)
    return outcome(future.result, 0)


def offsets(laboratory: Laboratory, partition: int) -> tuple[int, int]:
    """Return the last stable offset and the high watermark of a partition."""

    def asked(level: IsolationLevel) -> int:
        place = TopicPartition(laboratory.topic, partition)

        def answer() -> Any:
            request = laboratory.admin().list_offsets({place: LATEST}, isolation_level=level, request_timeout=5.0)
            return answered(laboratory, *request.values())

        # A new topic may have no leader yet.
        offset: int = eventually(laboratory, answer, lambda it: not isinstance(it, str)).offset
        return offset

    return asked(IsolationLevel.READ_COMMITTED), asked(IsolationLevel.READ_UNCOMMITTED)


def committed(laboratory: Laboratory, partition: int, *, stable: bool = False) -> Any:
    """Return the group's committed offset and metadata for a partition, or the error."""
    asker = laboratory.consumer({"isolation.level": "read_committed" if stable else "read_uncommitted"})
    answer = answered(laboratory, laboratory.ask(asker, [TopicPartition(laboratory.topic, partition)], 1.0))
    asker.close()
    if isinstance(answer, str):
        return answer
    (found,) = answer
    return described(found.error) if found.error else (found.offset, found.metadata or "")


@contextmanager
def reading(laboratory: Laboratory, *partitions: int, **conf: Any) -> Iterator[Any]:
    """Return a reader of partitions from their beginning that reports their ends."""
    consumer = laboratory.consumer({"enable.partition.eof": True, "isolation.level": "read_committed", **conf})
    try:
        consumer.assign([TopicPartition(laboratory.topic, it, 0) for it in partitions])
        yield consumer
    finally:
        consumer.close()


def read(laboratory: Laboratory, consumer: Any) -> tuple[list[tuple[int, bytes]], int]:
    """Return the records (offset, value) up to the next end of a partition, and that end."""
    found: list[tuple[int, bytes]] = []
    until = laboratory.now() + PATIENCE_S
    while laboratory.now() < until:
        message = consumer.poll(0.1)
        if message is None:
            continue
        error = message.error()
        if error is None:
            found.append((message.offset(), message.value()))
        elif error.code() == KafkaError._PARTITION_EOF:
            return found, message.offset()
        else:
            raise KafkaException(error)
    return found, -1


def all_of(laboratory: Laboratory, partition: int) -> tuple[list[tuple[int, bytes]], int]:
    """Return everything that read_committed shows of a partition, and its end."""
    with reading(laboratory, partition) as consumer:
        return read(laboratory, consumer)


MEMBER: Final[dict[str, Any]] = {
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 200,
    "partition.assignment.strategy": "cooperative-sticky",
}


class Member:
    """A member of the group that accepts its assignments, and notes the callbacks."""

    def __init__(
        self, laboratory: Laboratory, client_id: str, instance_id: str | None = None, poll_ms: int = 60_000
    ) -> None:
        conf: dict[str, Any] = {
            **MEMBER,
            "client.id": client_id,
            "max.poll.interval.ms": poll_ms,
            **({} if instance_id is None else {"group.instance.id": instance_id}),
        }
        self.told: list[tuple[str, int]] = []
        self.owned: set[int] = set()
        self._laboratory = laboratory
        self.consumer = laboratory.consumer(conf)
        self.consumer.subscribe(
            [laboratory.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )

    def _assigned(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign([])
        self.told.append(("assigned", len(partitions)))
        self.owned |= {it.partition for it in partitions}

    def _revoked(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign([])
        self.told.append(("revoked", len(partitions)))
        self.owned -= {it.partition for it in partitions}

    def _lost(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign([])
        self.told.append(("lost", len(partitions)))
        self.owned -= {it.partition for it in partitions}

    def poll(self) -> str:
        """Poll once, and return the error if there was one."""
        message = self.consumer.poll(0.02)
        return "" if message is None or message.error() is None else described(message.error())

    def close(self) -> None:
        """Leave, or be gone for a while. Events it has not heard yet come first: see `Membership.leave`."""
        poll_for(self._laboratory, 0.2, self)
        self.consumer.close()

    @property
    def metadata(self) -> Any:
        """Return the identity that fences a transaction."""
        return self.consumer.consumer_group_metadata()


def poll_until(laboratory: Laboratory, condition: Callable[[], bool], *members: Member) -> bool:
    """Poll members in turn until a condition holds."""
    until = laboratory.now() + PATIENCE_S
    while not condition() and laboratory.now() < until:
        for member in members:
            member.poll()
    return condition()


def poll_for(laboratory: Laboratory, seconds: float, *members: Member) -> None:
    """Poll members for a time."""
    until = laboratory.now() + seconds
    while laboratory.now() < until:
        for member in members:
            member.poll()
