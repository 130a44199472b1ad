"""Questions to the cluster: where partitions begin and end, who committed what, who is in the group.

No question blocks. An AdminClient may go on repeating an error after a broker was restarted (list_offsets keeps a stale
leader epoch), so `renew` makes a new one. A question that still waits for an answer of the old client holds it until
then: a client that is dropped takes its questions along, and nobody answers them. If an answer does not come for any
other reason, the question fails after a while and is asked again.

Two questions to an AdminClient can end the process (librdkafka 2.16, ADR 11). list_consumer_group_offsets does when a
broker says that it is not the group's coordinator, so a Consumer asks that (`group_offsets`). Any question to a
coordinator does when it times out before the coordinator is found, so describe_consumer_groups must never time out: its
client is dropped instead.
"""

from collections.abc import Collection
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import (
    ConsumerGroupState,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public, its type hints forget it

from processors.fold.stores import StatePosition
from processors.runtime.group.clients import Clients
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.group_offsets import GroupOffsets
from processors.runtime.group.names import Place
from processors.runtime.group.waiting import ANSWER_SECONDS, PATIENCE_SECONDS, Waiting, unanswered

NEVER_SECONDS: Final = 3_600.0
"""The longest possible time-out, for questions that must not time out by themselves."""
EARLIEST, LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]  # as above


class Cluster:
    """Asks the cluster and changes nothing there. Its generators raise KafkaException."""

    def __init__(self, clients: Clients, clock: Clock = CLOCK) -> None:
        self._clients, self._clock = clients, clock
        self._admin: AdminClient | None = None

    def renew(self) -> None:
        """Drop the client, and with it what it knows of the cluster. The next question makes another."""
        self._admin = None

    @property
    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = self._clients.admin()
        return self._admin

    def low(self, places: Collection[Place]) -> Waiting[dict[Place, int]]:
        """Return the offset of the first record that is still there, for each partition."""
        return self._offsets(places, EARLIEST, IsolationLevel.READ_UNCOMMITTED)

    def high(self, places: Collection[Place]) -> Waiting[dict[Place, int]]:
        """Return the high watermarks: the offsets after the last records, those of open transactions included."""
        return self._offsets(places, LATEST, IsolationLevel.READ_UNCOMMITTED)

    def positions(self, places: Collection[Place]) -> Waiting[dict[Place, StatePosition]]:
        """Return the high watermarks with the epochs of their leaders."""
        found = yield from self._listed(places, LATEST, IsolationLevel.READ_UNCOMMITTED)
        return {place: StatePosition(info.offset, info.leader_epoch) for place, info in found.items()}

    def identity(self, topics: Collection[str]) -> Waiting[dict[str, str]]:
        """Return ids of the cluster (as `cluster`) and of topics. One that was deleted and made anew has another."""
        admin = self._client
        cluster = yield from self._answer(admin, admin.describe_cluster(request_timeout=ANSWER_SECONDS))
        futures = admin.describe_topics(TopicCollection(list(topics)), request_timeout=ANSWER_SECONDS)
        ids = {"cluster": str(cluster.cluster_id)}
        for topic, future in futures.items():
            ids[topic] = str((yield from self._answer(admin, future)).topic_id)
        return ids

    def last_stable(self, places: Collection[Place]) -> Waiting[dict[Place, int]]:
        """Return the last stable offsets: those of the first records of open transactions, or the high watermarks."""
        return self._offsets(places, LATEST, IsolationLevel.READ_COMMITTED)

    def _offsets(self, places: Collection[Place], spec: OffsetSpec, level: IsolationLevel) -> Waiting[dict[Place, int]]:
        found = yield from self._listed(places, spec, level)
        return {place: info.offset for place, info in found.items()}

    def _listed(self, places: Collection[Place], spec: OffsetSpec, level: IsolationLevel) -> Waiting[dict[Place, Any]]:
        if not places:
            return {}
        admin = self._client
        futures = admin.list_offsets(
            {TopicPartition(*place): spec for place in places}, isolation_level=level, request_timeout=ANSWER_SECONDS
        )
        found = {}
        for partition, future in futures.items():
            info = told(partition, (yield from self._answer(admin, future)))
            found[partition.topic, partition.partition] = info
        return found

    def group_offsets(self) -> GroupOffsets:
        """Return a GroupOffsets, which asks what the group has committed."""
        return self._clients.group_offsets(self._clock)

    def given(self, topic: str) -> Waiting[frozenset[int] | None]:
        """Return which partitions of a topic the group has given to members; None while it shares them out."""
        description = yield from self._description()
        if description.state is not ConsumerGroupState.STABLE:
            return None
        given = (partition for member in description.members for partition in member.assignment.topic_partitions)
        return frozenset(partition.partition for partition in given if partition.topic == topic)

    def members(self) -> Waiting[frozenset[str]]:
        """Return the client ids of the group's members: for workers, their transactional ids."""
        description = yield from self._description()
        return frozenset(member.client_id for member in description.members)

    def _description(self) -> Waiting[Any]:
        group, admin = self._clients.group, self._client
        future = admin.describe_consumer_groups([group], request_timeout=NEVER_SECONDS)[group]
        try:
            return (yield from self._answer(admin, future, ANSWER_SECONDS))
        finally:
            if not future.done() and admin is self._admin:
                self.renew()  # also when the load that asked is dropped

    def _answer(self, admin: AdminClient, future: "Future[Any]", seconds: float | None = None) -> Waiting[Any]:
        """Wait for an answer of a client, and hold the client meanwhile. Returns or raises what the answer is.

        Raises a time-out after `seconds`, PATIENCE_SECONDS unless told.
        """
        until = self._clock.monotonic() + (PATIENCE_SECONDS if seconds is None else seconds)
        while not future.done():
            if self._clock.monotonic() > until:
                raise unanswered()
            yield
        admin.poll(0)  # otherwise it would keep everything that it has to tell beside answers
        return future.result()


def told(partition: TopicPartition, info: Any) -> Any:
    """Return an answer of list_offsets. Raises KafkaException if it has no offset.

    A partition whose leader has just died comes back without an error, and with -1001 as its offset. If that were taken
    for an end, a shard would be loaded without the rows of that partition.
    """
    if info.offset < 0:
        where = f"{partition.topic}[{partition.partition}]"
        raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE, f"no broker has told an offset of {where}"))
    return info
