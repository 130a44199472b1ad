"""The runtime's Kafka clients and their settings.

A setting of the user wins over a default of this module. `processors.kafka.property_checks` has the settings that
correctness needs, for all clients.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from processors.core.records.errors import HalterError
from processors.kafka.property_checks import ALWAYS_MEMBER, Conf
from processors.kafka.settings import Settings
from processors.kafka.topics import RECORD_OVERHEAD_BYTES, Topics
from processors.runtime.group.clock import Clock
from processors.runtime.group.group_offsets import Asker, GroupOffsets, committed_in_background

MEMBER: Final[Conf] = {
    # A killed worker's shards move after this time; lower is false alarms, and brokers refuse less than 6 s.
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 1_000,
    # A turn takes a second or two, and loads happen between polls. A worker that takes longer is stuck, not slow.
    "max.poll.interval.ms": 60_000,
    **ALWAYS_MEMBER,
    "fetch.wait.max.ms": 100,
    "queued.max.messages.kbytes": 65_536,
    # A partition that has records for the next turn is not asked for more at once: every record that comes would answer
    # a fetch. With a few only, because a partition that is put off waits until the fetch under way has its answer.
    "queued.min.messages": 6,
    "fetch.queue.backoff.ms": 5,
}
SECOND: Final = "/2"
"""Ends the id of a worker's second producer. No slot's name ends so."""

SET_BY_THE_BROKER: Final = ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy")
"""Settings that the broker has under KIP-848 (group.protocol=consumer). It refuses a client that names them."""

READER: Final[Conf] = {
    "enable.partition.eof": True,
    "queued.min.messages": 200_000,
}

ASKER: Final[Conf] = {
    # A group whose offsets are pending is asked again after this time.
    "retry.backoff.ms": 10,
    "retry.backoff.max.ms": 50,
    # A question to a broker that vanished must end before its asker loses patience. It must also be longer than a fetch
    # may wait, although these consumers never fetch.
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


STATISTICS_MS: Final = 2_000
"""How often a member that is to tell its statistics does so."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The name of a worker among its fellows. No two living workers of a group share one.

    A worker with a `static` slot is a static member of the group: if it is killed and started again within the session
    time-out, it goes on with its shards, and no other worker is disturbed.
    """

    name: str
    static: bool = False

    def __post_init__(self) -> None:
        if self.name.endswith(SECOND):
            raise BadSlot(f"slot '{self.name}': expected a name that does not end with '{SECOND}'")


class BadSlot(HalterError):
    """A slot's name would stand for the second producer of another slot. Whoever starts the worker chooses another."""


@dataclass(frozen=True, slots=True)
class ClientLibrary:
    """Makes clients out of their configurations: confluent_kafka, or the model of it in a simulation."""

    consumer: Callable[[Conf], Consumer] = Consumer
    producer: Callable[[Conf], Producer] = Producer
    admin: Callable[[Conf], AdminClient] = AdminClient
    committed: Callable[[Consumer, list[TopicPartition], float], "Future[list[TopicPartition]]"] = (
        committed_in_background
    )


CONFLUENT_KAFKA: Final = ClientLibrary()


def transactional_ids(worker: str) -> tuple[str, str]:
    """Return the ids of a worker's two transactional producers. The first is the name of the worker itself."""
    return worker, f"{worker}{SECOND}"


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
        """Say whether the worker is a static member under the classic protocol, where members share out the shards."""
        return self._slot.static and not self._broker_shares_out

    @property
    def _broker_shares_out(self) -> bool:
        return self._settings.properties.get("group.protocol") == "consumer"

    def member(self, statistics: Callable[[str], None] | None = None) -> Consumer:
        """Return a consumer that can join the group of the workers. It calls `statistics` with its own, as JSON."""
        more = self._of_a_member()
        if statistics is not None:
            more |= {"stats_cb": statistics, "statistics.interval.ms": STATISTICS_MS}
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
        """Return a consumer for partitions that are assigned by hand. It reports the end of a partition.

        A broker that has nothing new lets a fetch wait for `fetch_wait_ms`. The reports of ends wait with it.
        """
        more = {"group.id": self.group, **self._defaults({**READER, "fetch.wait.max.ms": fetch_wait_ms})}
        return self._library.consumer(self._settings.consumer(**self._named(more)))

    def group_offsets(self, clock: Clock) -> GroupOffsets:
        """Return a GroupOffsets. Its consumers never join the group."""
        return GroupOffsets(self._asker("read_uncommitted"), self._asker("read_committed"), clock)

    def _asker(self, isolation_level: str) -> Asker:
        more = {"group.id": self.group, "isolation.level": isolation_level, **ASKER}
        return partial(self._library.committed, self._library.consumer(self._settings.consumer(**self._named(more))))

    def writer(self, transactional_id: str) -> Producer:
        """Return a transactional producer of this worker, or of another whose transactions are to be ended."""
        more = {
            **self._defaults(WRITER),
            # librdkafka counts headers and framing, too.
            "message.max.bytes": self._topics.message_bytes_max + RECORD_OVERHEAD_BYTES,
            "transactional.id": transactional_id,
        }
        return self._library.producer(self._settings.producer(**self._named(more)))

    def admin(self) -> AdminClient:
        """Return an admin client."""
        return self._library.admin(self._settings.admin(**self._named({})))

    def _defaults(self, defaults: Conf) -> Conf:
        return {key: value for key, value in defaults.items() if key not in self._settings.properties}

    def _named(self, more: Conf) -> dict[str, Any]:
        # The settlement recognises a member by its client id as the owner of a transactional id.
        return {**more, "client.id": self.transactional_id}
