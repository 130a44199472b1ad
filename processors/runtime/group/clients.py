"""The runtime's Kafka clients: which there are and how they are set. Whatever the user set wins over what is only
a default here; what correctness rests on is set by `processors.kafka.property_checks` for everybody.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from processors.kafka.property_checks import ALWAYS_MEMBER, Conf
from processors.kafka.settings import Settings
from processors.kafka.topics import RECORD_OVERHEAD_BYTES, Topics
from processors.runtime.group.clock import Clock
from processors.runtime.group.group_offsets import Asker, GroupOffsets, committed_in_background

MEMBER: Final[Conf] = {
    # A killed worker's shards move after this time; lower is false alarms, and brokers refuse less than 6 s.
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 1_000,
    # A turn takes a second or two and loads happen between polls: who takes longer is stuck, not slow.
    "max.poll.interval.ms": 60_000,
    **ALWAYS_MEMBER,
    "fetch.wait.max.ms": 100,
    "queued.max.messages.kbytes": 65_536,
}
SET_BY_THE_BROKER: Final = ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy")
"""Under KIP-848 (group.protocol=consumer) the broker has these, and a client that names them is refused."""

READER: Final[Conf] = {
    "enable.partition.eof": True,
    "queued.min.messages": 200_000,
}

ASKER: Final[Conf] = {
    # A group whose offsets are pending is asked again after this time.
    "retry.backoff.ms": 10,
    "retry.backoff.max.ms": 50,
    # A question to a broker that is gone without a word must end before whoever asked has lost patience. And this much
    # more than a fetch, which there is none of.
    "socket.timeout.ms": 4_000,
    "fetch.wait.max.ms": 100,
}

WRITER: Final[Conf] = {
    # An open transaction of a dead worker that nobody fences blocks readers for this time.
    "transaction.timeout.ms": 10_000,
    # A turn is a batch already.
    "linger.ms": 0,
    "retry.backoff.ms": 5,
    "retry.backoff.max.ms": 50,
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 1_048_576,
}


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a worker among workers: a name that no two living workers of a group share.

    A worker with a `static` slot is a static member of the group: killed and started again within the session
    time-out it goes on with its shards, and no other worker is disturbed.
    """

    name: str
    static: bool = False


@dataclass(frozen=True, slots=True)
class ClientLibrary:
    """What makes clients out of their configurations: confluent_kafka, or what stands for it in a simulation."""

    consumer: Callable[[Conf], Consumer] = Consumer
    producer: Callable[[Conf], Producer] = Producer
    admin: Callable[[Conf], AdminClient] = AdminClient
    committed: Callable[[Consumer, list[TopicPartition], float], "Future[list[TopicPartition]]"] = (
        committed_in_background
    )


CONFLUENT_KAFKA: Final = ClientLibrary()


class Clients:
    """Makes Kafka clients for one worker."""

    def __init__(
        self, settings: Settings, topics: Topics, slot: Slot, library: ClientLibrary = CONFLUENT_KAFKA
    ) -> None:
        self._settings, self._topics, self._slot, self._library = settings, topics, slot, library
        self.group = topics.group
        self.shards = topics.partitions
        self.transactional_id = topics.transactional_id(slot.name)

    @property
    def is_static(self) -> bool:
        """Whether the member is a static one under the classic protocol, where the members share out by themselves."""
        return self._slot.static and not self._broker_shares_out

    @property
    def _broker_shares_out(self) -> bool:
        return self._settings.properties.get("group.protocol") == "consumer"

    def member(self) -> Consumer:
        """Return a consumer that can join the group of the workers."""
        more = self._of_a_member()
        if self._slot.static:
            more["group.instance.id"] = self.transactional_id
        return self._library.consumer(self._settings.consumer(**self._named(more)))

    def passer_by(self) -> Consumer:
        """Return a consumer that joins and leaves, so that the group shares out anew."""
        return self._library.consumer(self._settings.consumer(**self._named(self._of_a_member())))

    def _of_a_member(self) -> Conf:
        more: Conf = {"group.id": self.group, **self._defaults(MEMBER)}
        if self._broker_shares_out:
            more = {key: value for key, value in more.items() if key not in SET_BY_THE_BROKER}
        return more

    def reader(self, fetch_wait_ms: int) -> Consumer:
        """Return a consumer for partitions that are assigned by hand; it tells the end of a partition.

        A broker that has nothing new lets a fetch wait for `fetch_wait_ms`, ends of partitions included.
        """
        more = {"group.id": self.group, **self._defaults({**READER, "fetch.wait.max.ms": fetch_wait_ms})}
        return self._library.consumer(self._settings.consumer(**self._named(more)))

    def group_offsets(self, clock: Clock) -> GroupOffsets:
        """Return what asks for the group's offsets, by consumers that never join."""
        return GroupOffsets(self._asker("read_uncommitted"), self._asker("read_committed"), clock)

    def _asker(self, isolation_level: str) -> Asker:
        more = {"group.id": self.group, "isolation.level": isolation_level, **ASKER}
        return partial(self._library.committed, self._library.consumer(self._settings.consumer(**self._named(more))))

    def writer(self, transactional_id: str | None = None) -> Producer:
        """Return the transactional producer of this worker, or of another whose transactions are to be ended."""
        more = {
            **self._defaults(WRITER),
            # librdkafka counts headers and framing, too.
            "message.max.bytes": self._topics.message_bytes_max + RECORD_OVERHEAD_BYTES,
            "transactional.id": transactional_id or self.transactional_id,
        }
        return self._library.producer(self._settings.producer(**self._named(more)))

    def admin(self) -> AdminClient:
        """Return an admin client."""
        return self._library.admin(self._settings.admin(**self._named({})))

    def _defaults(self, defaults: Conf) -> Conf:
        return {key: value for key, value in defaults.items() if key not in self._settings.properties}

    def _named(self, more: Conf) -> dict[str, Any]:
        # By its client id a member of the group is recognised as the owner of a transactional id (settlement).
        return {**more, "client.id": self.transactional_id}
