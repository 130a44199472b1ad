"""This process as a member of the workers' group. The only module that calls the member's Consumer.

The group shares out the partitions of `wf-commands`. The other inputs of a shard are assigned and taken away beside
them. Nothing is fetched from a partition that the group gives before `assign` says where to begin, so its shard can be
loaded between turns, while other shards go on.

Every callback comes out of `poll` or `leave`, in the Kafka thread. If a transaction is open, it is ended first.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processors.runtime.group.clients import Clients
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.names import Place, ShardTopics

ShardNumbers = list[int]
LEADERS_SECONDS: Final = 1.0
LEAVE_SECONDS: Final = 0.5
ASK_SECONDS: Final = 1.0


class NotAMember(Exception):
    """The group has given up this process, because its session ended. Nothing that it folded since may be committed."""


def reason_of(exception: KafkaException | NotAMember) -> str:
    """Return why a turn or a membership came to its end, in one line."""
    if isinstance(exception, NotAMember):
        return str(exception)
    return f"{exception.args[0].name()}: {exception.args[0].str()}"


def fencing_metadata(consumer: Consumer, member_id: str) -> Any:
    """Return the metadata of a group that fence a commit. Raises NotAMember if they would not.

    `member_id` is the one under which the group last gave partitions. The broker's fence lets two commits pass that
    must not. One has offsets without member and generation. The other is that of a member that was lost and has joined
    again in the background, while the callback that takes its partitions away is still to come: others own them by
    then. Its id differs. The id is asked for after the metadata, so it vouches for them.
    """
    metadata = consumer.consumer_group_metadata()
    now = consumer.memberid()
    if not now or now != member_id:
        raise NotAMember("this process's membership of the group has ended")
    return metadata


class Membership:
    """Joins, polls and leaves. Tells `assigned` and `revoked` which shards the group gives and takes."""

    def __init__(self, clients: Clients, names: ShardTopics, clock: Clock = CLOCK) -> None:
        self._clients, self._names, self._clock = clients, names, clock
        self._log = structlog.get_logger("halter.runtime")
        self._consumer: Consumer | None = None
        self._member_id = ""
        self._given: set[int] = set()
        self._assigned: set[Place] = set()
        self._heard_of: set[str] = set()
        self.interrupted: Callable[[], None] = lambda: None
        """Called first in every callback: nothing may change while a transaction is open."""
        self.assigned: Callable[[ShardNumbers], None] = lambda _: None
        self.revoked: Callable[[ShardNumbers], None] = lambda _: None
        self.statistics: Callable[[str], None] | None = None
        """Called with the client's statistics, in JSON, every two seconds or so; by `poll`, as the others."""

    @property
    def consumer(self) -> Consumer:
        """The consumer, while joined."""
        assert self._consumer is not None, "the group is asked before it was joined"
        return self._consumer

    def join(self) -> None:
        """Begin to join. Polling does the rest."""
        self._consumer = self._clients.member(self.statistics)
        self._heard_of = set()
        self._member_id = ""
        self._consumer.subscribe(
            [self._names.wf_commands], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def leave(self) -> None:
        """Leave the group. Our shards are revoked; those of a static member stay its own until its session ends.

        Callbacks that are due come first. A client that is closed while it has a callback to make may lose the answer
        to the next one. It then waits for ever, and the whole interpreter with it (librdkafka 2.16).
        """
        if self._consumer is not None:
            until = self._clock.monotonic() + LEAVE_SECONDS
            with suppress(KafkaException):  # it is over anyway
                while self._consumer.poll(0) is not None and self._clock.monotonic() < until:
                    pass  # the next owner folds what is read now
            consumer, self._consumer = self._consumer, None
            consumer.close()
            self._assigned.clear()
            self._given.clear()

    def poll(self, wait_seconds: float) -> Message | None:
        """Return the next record. One at a time: a record that is returned after a callback is never older than it.

        Raises KafkaException.
        """
        message = self.consumer.poll(wait_seconds)
        if message is not None and (error := message.error()) is not None:
            if error.code() == KafkaError._MAX_POLL_EXCEEDED:
                # The partitions are lost. The callback that says so comes with a later poll.
                self._log.warning("poll_interval_exceeded", reason=error.str())
                return None
            raise KafkaException(error)
        return message

    def ask(self) -> None:
        """Ask Kafka something, to learn whether it answers. Raises KafkaException."""
        self.consumer.list_topics(self._names.wf_commands, ASK_SECONDS)

    def metadata(self) -> Any:
        """Return the metadata that fences a commit. Raises NotAMember if they would not fence it."""
        return fencing_metadata(self.consumer, self._member_id)

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Begin to fetch each partition from its offset."""
        self._learn_leaders({topic for topic, _ in positions})
        self.consumer.incremental_assign([TopicPartition(*place, offset) for place, offset in positions.items()])
        self._assigned.update(positions)

    def _learn_leaders(self, topics: set[str]) -> None:
        """Ask for the leaders of topics that are new to the client. By itself it would ask up to a second later."""
        for topic in topics - self._heard_of:
            with suppress(KafkaException):  # the client will find out by itself
                self.consumer.list_topics(topic, LEADERS_SECONDS)
        self._heard_of |= topics

    def unassign(self, places: Collection[Place]) -> None:
        """Stop fetching. Records that were fetched already are not returned any more."""
        mine = [place for place in places if place in self._assigned]
        self._assigned.difference_update(mine)
        if mine:
            self.consumer.incremental_unassign([TopicPartition(*place) for place in mine])

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.interrupted()
        # Asked first: the client cannot join again before it has the answer.
        member_id = consumer.memberid()
        # Without this call the client would begin to fetch by itself, at offsets that are not the state's.
        consumer.incremental_assign([])
        shards = sorted(partition.partition for partition in partitions)
        # Each rebalance tells what is new to this member, which may be nothing.
        self._log.info("assigned", shards=shards, has=sorted({*shards, *self._given}))
        if member_id and member_id != self._member_id:
            # Records are folded under this name from here on.
            self._member_id = member_id
            shards = sorted({*shards, *self._still_ours_under_another_name()})
        self._given.update(shards)
        self.assigned(shards)

    def _still_ours_under_another_name(self) -> ShardNumbers:
        """Drop the shards that a former membership had and no callback took.

        The group may give a static member up while it joins, or while a callback of it is still to come. The client
        then joins anew and says which partitions it has. It keeps those that nobody else has by that time, and nobody
        is told. But others may have had them in between.
        """
        shards = sorted(self._given)
        if shards:
            self._log.info("kept_under_another_name", shards=shards)
            self.unassign([place for shard in shards for place in self._names.inputs(shard)])
            self.revoked(shards)
        return shards

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._hand_back(consumer, partitions, "revoked")

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._hand_back(consumer, partitions, "lost")

    def _hand_back(self, consumer: Consumer, partitions: list[TopicPartition], how: str) -> None:
        self.interrupted()
        shards = sorted(partition.partition for partition in partitions)
        places = {place for shard in shards for place in self._names.inputs(shard)} & self._assigned
        self._assigned -= places
        self._given.difference_update(shards)
        # Also with an empty list: the call is the answer that the group waits for.
        consumer.incremental_unassign([TopicPartition(*place) for place in sorted(places)])
        self._log.info(how, shards=shards)
        self.revoked(shards)
