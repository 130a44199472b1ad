"""What several checks ask of Kafka: each question is asked once, by whoever needs its answer first.

Knows AdminClient and Consumer. Joins no group and commits nothing. Knows nothing of what the answers mean.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, Generic, TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)

# Public names that its type hints forget.
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from halter.client.log_records import decoded, log_entry
from halter.client.reading import Isolation
from halter.client.workers import groups_that_begin
from halter.doctor.findings import Skip
from processors.core.records.fold_position import FoldPosition
from processors.fold.log_tail import LogTail
from processors.kafka.settings import Settings
from processors.kafka.topic_check import FoundConfig, find_configs
from processors.kafka.topics import Topics

ASK_SECONDS: Final = 3.0
NEVER_SECONDS: Final = 3_600.0
"""Questions to a coordinator must not time out by themselves: librdkafka 2.16 can end the process then (ADR 11)."""
AGAIN_SECONDS: Final = 0.2
POSITIONS_BEFORE: Final = 50
"""Offsets at the end of a partition of `fold-positions` that are looked at: most are marks of transactions."""
TAIL_MAX: Final = 5_000
"""Entries of the log behind the rows of a partition that are read. A worker folds fewer before it writes rows again."""
MISSING: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
HIDDEN: Final = KafkaError.TOPIC_AUTHORIZATION_FAILED
PASSING: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
"""Answers of a coordinator that has just been chosen."""

Answer = TypeVar("Answer")
Place = tuple[str, int]
"""A topic on the cluster and a partition of it."""


class Once(Generic[Answer]):
    """A question that the first who needs its answer asks, and whose answer or error all share."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask, self._lock = ask, Lock()
        self._answer: Future[Answer] | None = None

    def __call__(self) -> Answer:
        """Return the answer. Raises what the question raised."""
        with self._lock:
            mine = self._answer is None
            answer = self._answer = self._answer or Future()
        if mine:
            try:
                answer.set_result(self._ask())
            except BaseException as error:  # noqa: BLE001  the future passes it on
                answer.set_exception(error)
        return answer.result()


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that is alive."""

    id: int
    address: str


@dataclass(frozen=True, slots=True)
class Brokers:
    """The cluster: its id, the brokers that are alive, and what this principal may do with it."""

    cluster_id: str
    alive: tuple[Broker, ...]
    rights: frozenset[str]


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: its leader (None while there is none), its replicas and those that are in sync, by broker."""

    number: int
    leader: int | None
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """A topic that is there: its partitions, and what this principal may do with it, in Kafka's words."""

    name: str
    partitions: tuple[Partition, ...]
    rights: frozenset[str]

    @property
    def replication(self) -> int:
        """The number of replicas of its least replicated partition."""
        return min((len(it.replicas) for it in self.partitions), default=0)


@dataclass(frozen=True, slots=True)
class Shapes:
    """The topics of an installation: those that are there, those that are not, those that Kafka does not show us."""

    there: Mapping[str, Shape]
    missing: tuple[str, ...]
    hidden: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group: its state in Kafka's words, its members, and what this principal may do with it."""

    name: str
    state: str
    members: tuple[Any, ...]
    rights: frozenset[str] | None
    """None if Kafka does not tell, as for a group that nobody has used yet."""


class Refused(Skip):
    """This principal may not ask that. The sentence names the right that it takes."""


@dataclass
class Cluster:
    """Asks one cluster. Several threads may use it."""

    settings: Settings
    topics: Topics
    admin: AdminClient
    brokers: Once[Brokers] = field(init=False)
    shapes: Once[Shapes] = field(init=False)
    configs: Once[Mapping[str, Mapping[str, FoundConfig]]] = field(init=False)
    folded: Once[Mapping[Place, int]] = field(init=False)
    ends: Once[Mapping[Place, int]] = field(init=False)
    transactional: Lock = field(default_factory=Lock)
    """Held by the check that tries a transactional id: a second producer of the same id would fence the first."""

    def __post_init__(self) -> None:
        self.brokers = Once(self._brokers)
        self.shapes = Once(self._shapes)
        self.configs = Once(self._configs)
        self.folded = Once(self.folded_now)
        self.ends = Once(lambda: self.ends_of(self.inputs()))

    def may(self, topic: str, right: str) -> bool:
        """Return True if a topic is there and this principal may do that with it."""
        shape = self.shapes().there.get(topic)
        return shape is not None and right in shape.rights

    def expect(self, rights: Mapping[str, str]) -> None:
        """Raise Refused unless this principal may do with each topic what is named. A missing topic is no refusal."""
        missing = self.shapes().missing
        for topic, right in rights.items():
            if topic not in missing and not self.may(topic, right):
                raise Refused(f"this principal may not {right.lower()} {topic}")

    def places(self, *topics: str) -> list[Place]:
        """Return all partitions of topics, as far as these are there."""
        there = self.shapes().there
        return [(topic, it.number) for topic in topics if topic in there for it in there[topic].partitions]

    def inputs(self) -> list[Place]:
        """Return the partitions of all inputs that are there."""
        return self.places(*input_topics(self.topics))

    def _brokers(self) -> Brokers:
        found = self.admin.describe_cluster(include_authorized_operations=True, request_timeout=ASK_SECONDS).result(
            ASK_SECONDS
        )
        alive = sorted((Broker(it.id, f"{it.host}:{it.port}") for it in found.nodes), key=lambda it: it.id)
        return Brokers(found.cluster_id or "", tuple(alive), _rights(found.authorized_operations))

    def _shapes(self) -> Shapes:
        return self.describe(topic.name for topic in self.topics.all)

    def describe(self, names: Iterable[str]) -> Shapes:
        """Return how these topics are. Raises KafkaException if the cluster does not answer."""
        there: dict[str, Shape] = {}
        missing: list[str] = []
        hidden: list[str] = []
        asked = self.admin.describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True, request_timeout=ASK_SECONDS
        )
        for name, future in asked.items():
            try:
                found = future.result(ASK_SECONDS)
            except KafkaException as exception:
                code = exception.args[0].code()
                if code not in MISSING and code != HIDDEN:
                    raise
                (hidden if code == HIDDEN else missing).append(name)
            else:
                there[name] = Shape(
                    name,
                    tuple(
                        Partition(
                            it.id,
                            None if it.leader is None else it.leader.id,
                            tuple(node.id for node in it.replicas),
                            tuple(node.id for node in it.isr),
                        )
                        for it in found.partitions
                    ),
                    _rights(found.authorized_operations),
                )
        return Shapes(there, tuple(missing), tuple(hidden))

    def _configs(self) -> Mapping[str, Mapping[str, FoundConfig]]:
        there = self.shapes().there
        return find_configs([it for it in there if self.may(it, "DESCRIBE_CONFIGS")], self.admin, ASK_SECONDS)

    def config_of_broker(self, broker: int) -> Mapping[str, str | None]:
        """Return the settings of a broker by their names."""
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        (future,) = self.admin.describe_configs([resource], request_timeout=ASK_SECONDS).values()
        return {name: entry.value for name, entry in future.result(ASK_SECONDS).items()}

    def group(self, name: str) -> Group:
        """Return a group; one that nobody has used yet is EMPTY. Raises Refused, KafkaException and NoAnswer."""
        until = time.monotonic() + ASK_SECONDS
        while True:
            asked = self.admin.describe_consumer_groups(
                [name], include_authorized_operations=True, request_timeout=NEVER_SECONDS
            )
            try:
                found = asked[name].result(max(0.0, until - time.monotonic()))
            except KafkaException as exception:
                code = exception.args[0].code()
                if code == KafkaError.GROUP_ID_NOT_FOUND:
                    return Group(name, "EMPTY", (), None)
                if code == KafkaError.GROUP_AUTHORIZATION_FAILED:
                    raise Refused(f"this principal may not describe group '{name}'") from exception
                if code not in PASSING or time.monotonic() > until:
                    raise
            else:
                rights = found.authorized_operations
                return Group(name, found.state.name, tuple(found.members), None if rights is None else _rights(rights))
            time.sleep(AGAIN_SECONDS)

    def groups_that_begin(self, with_: str) -> list[str]:
        """Return the names of groups that begin so, of those that this principal may describe."""
        return groups_that_begin(self.admin, with_, ASK_SECONDS) or []

    def folded_now(self) -> dict[Place, int]:
        """Return the offset that is folded next, for each input of each partition of which something is folded.

        The rows of a partition say it in its FoldPosition, and the log behind them goes on. (The group's offsets name
        no other input than `wf-commands`.) Raises Refused and KafkaException.
        """
        codec, by_name = self.settings.codec(), {it.declared_name: it.name for it in self.topics.all}
        positions = {}
        for (_, number), message in self.newest(self.topics.fold_positions, POSITIONS_BEFORE).items():
            position = decoded(codec, _bytes(message.value()), "FoldPosition", lambda: self.topics.fold_positions)
            assert isinstance(position, FoldPosition)
            positions[number] = position
        starts = {
            (self.topics.wf_events, number): it.log_position
            for number, it in positions.items()
            if it.log_position is not None
        }
        log = self.read(starts, most=TAIL_MAX)
        folded: dict[Place, int] = {}
        for number, position in positions.items():
            tail = LogTail(position)
            for message in log.get((self.topics.wf_events, number), ()):
                tail.takes(log_entry(codec, message).cause)
            folded |= {(by_name[topic], number): offset for topic, offset in tail.offsets.items() if topic in by_name}
        return folded

    def newest(self, topic: str, before: int) -> dict[Place, Message]:
        """Return the last committed record of each partition that has a value, among so many offsets at its end."""
        places = self.places(topic)
        ends, begins = self.ends_of(places), self.begins_of(places)
        starts = {it: max(begins.get(it, 0), end - before) for it, end in ends.items() if begins.get(it, 0) < end}
        written = {
            place: [record for record in records if record.value()]
            for place, records in self.read(starts, most=before).items()
        }
        return {place: records[-1] for place, records in written.items() if records}

    def ends_of(
        self, places: Iterable[Place], isolation: IsolationLevel = IsolationLevel.READ_COMMITTED
    ) -> dict[Place, int]:
        """Return where each partition ends, open transactions left out unless uncommitted records count."""
        return self._offsets(places, OffsetSpec.latest(), isolation)  # type: ignore[no-untyped-call]

    def begins_of(self, places: Iterable[Place]) -> dict[Place, int]:
        """Return where each partition begins."""
        return self._offsets(places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def _offsets(
        self, places: Iterable[Place], spec: OffsetSpec, isolation: IsolationLevel = IsolationLevel.READ_COMMITTED
    ) -> dict[Place, int]:
        """Return an offset of each partition. One without an answer is left out: its leader may be gone, which
        another check says.
        """
        wanted = {TopicPartition(*place): spec for place in places}
        if not wanted:
            return {}
        asked = self.admin.list_offsets(wanted, isolation_level=isolation, request_timeout=ASK_SECONDS)
        return {place: answer.offset for place, answer in _answers(asked).items()}

    def newest_times(self, places: Iterable[Place]) -> dict[Place, int]:
        """Return the time of the newest record of each partition that has one, in milliseconds."""
        wanted = {TopicPartition(*place): OffsetSpec.max_timestamp() for place in places}  # type: ignore[no-untyped-call]
        if not wanted:
            return {}
        answers = _answers(self.admin.list_offsets(wanted, request_timeout=ASK_SECONDS))
        return {place: answer.timestamp for place, answer in answers.items() if answer.timestamp >= 0}

    def offsets_of_group(self, group: str, places: Iterable[Place]) -> dict[Place, int]:
        """Return what a group has committed, where it has. Raises Refused and KafkaException."""
        wanted = [TopicPartition(*place) for place in places]
        if not wanted:
            return {}
        # A Consumer, which never joins: an AdminClient that asks this can end the process (ADR 11).
        consumer = Consumer(self.settings.consumer(group_id=group))
        try:
            found = consumer.committed(wanted, timeout=ASK_SECONDS)
        except KafkaException as exception:
            message = consumer.poll(0)  # if it found no coordinator, only this tells why
            told = None if message is None else message.error()
            error: KafkaError = exception.args[0] if told is None else told
            if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                raise Refused(f"this principal may not see the offsets of group '{group}'") from exception
            raise KafkaException(error) from exception
        finally:
            consumer.close()
        return {(it.topic, it.partition): it.offset for it in found if it.error is None and it.offset >= 0}

    def read(
        self, starts: Mapping[Place, int], most: int, isolation: Isolation = "read_committed"
    ) -> dict[Place, list[Message]]:
        """Read up to `most` records of each partition, from these offsets on, until each has ended.

        Partitions that have not answered in time are missing in the answer. Raises Refused and KafkaException.
        """
        if not starts:
            return {}
        found: dict[Place, list[Message]] = {place: [] for place in starts}
        open_places = set(starts)
        consumer = Consumer(
            self.settings.consumer(
                group_id=self.topics.reader_group,
                **{"enable.partition.eof": True, "fetch.wait.max.ms": 10, "isolation.level": isolation},
            )
        )
        try:
            consumer.assign([TopicPartition(*place, offset) for place, offset in starts.items()])
            until = time.monotonic() + ASK_SECONDS
            while open_places and time.monotonic() < until:
                message = consumer.poll(0.1)
                if message is None:
                    continue
                error = message.error()
                place = message.topic() or "", message.partition() or 0
                if error is None:
                    if place in open_places:
                        found[place].append(message)
                        if len(found[place]) >= most:
                            open_places.discard(place)
                elif error.code() in {KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET}:
                    open_places.discard(place)
                elif error.code() in {HIDDEN, KafkaError.GROUP_AUTHORIZATION_FAILED}:
                    raise Refused(f"this principal may not read {message.topic() or self.topics.reader_group}")
        finally:
            consumer.close()
        return {place: records for place, records in found.items() if records or place not in open_places}


def input_topics(topics: Topics) -> tuple[str, ...]:
    """Return the topics that workers fold."""
    return (
        *topics.inputs,
        topics.operator_commands,
        topics.definition_commands,
        topics.correlated_events,
        topics.correlation_commands,
    )


def _bytes(value: bytes | str | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _rights(operations: Iterable[AclOperation] | None) -> frozenset[str]:
    return frozenset(it.name for it in operations or ())


def _answers(asked: Mapping[TopicPartition, "Future[Any]"]) -> dict[Place, Any]:
    """Return the answers that came. Raises KafkaException and NoAnswer if none came."""
    found: dict[Place, Any] = {}
    failed: Exception | None = None
    for partition, future in asked.items():
        try:
            found[partition.topic, partition.partition] = future.result(ASK_SECONDS)
        except (KafkaException, NoAnswer) as error:
            failed = error
    if failed is not None and not found:
        raise failed
    return found
