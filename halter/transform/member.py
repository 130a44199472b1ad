"""This process as a member of the group that shares out the partitions of the sources.

Every callback comes out of `poll` or `leave`. If a partition is taken away, `dropped` hears of it before anything else
happens. Nothing is fetched from a partition that the group gives before `begin` has found out where it is to be read
from, so a callback asks Kafka nothing.

The strategy is cooperative-sticky: partitions that stay here are read on while others move. So the generation of the
group may change in the background between two polls; partitions are taken away in a poll only. A commit that carries
the metadata of the moment (`fence`) is accepted by the group's coordinator as long as that has not happened to it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from halter.transform.pending import Place, in_short
from halter.transform.starts import ASK_SECONDS, Starts
from processors.kafka.property_checks import ALWAYS_MEMBER, Conf
from processors.kafka.settings import Settings
from processors.runtime.group.clients import SET_BY_THE_BROKER, Slot
from processors.runtime.group.clock import CLOCK
from processors.runtime.group.membership import LEAVE_SECONDS, fencing_metadata

REBALANCE_SECONDS: Final = 60
"""As for workers: the group waits so long for a member to join again, and a member for the answer. Kafka's client takes
five minutes unless it is told, also if the answer was lost.
"""
MEMBER: Final[Conf] = {
    # As for task workers: a process that was killed is given up after this time.
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
    **ALWAYS_MEMBER,
    "fetch.wait.max.ms": 100,
}
LEADERS_SECONDS: Final = 1.0


class Member:
    """Joins, polls and leaves. It holds the partitions that the group has given."""

    def __init__(
        self,
        settings: Settings,
        group: str,
        slot: Slot,
        sources: Sequence[str],
        starts: Starts,
        dropped: Callable[[Collection[Place]], None],
        log: Any,
    ) -> None:
        self._settings, self._group, self._slot, self._sources = settings, group, slot, sources
        self._starts, self._dropped, self._log = starts, dropped, log
        self._member_id = ""
        self._given: set[Place] = set()
        self._begun: dict[Place, int] = {}
        """The partitions that are read, and the offset at which each was begun."""
        self._paused: set[Place] = set()
        self._consumer: Consumer | None = None
        self.has_joined = False
        """True once the group has given us partitions, perhaps none, and until it gives us up."""

    @property
    def consumer(self) -> Consumer:
        """The consumer, while joined."""
        assert self._consumer is not None, "the group is asked before it was joined"
        return self._consumer

    @property
    def places(self) -> set[Place]:
        """The partitions that are read."""
        return set(self._begun)

    def join(self) -> None:
        """Begin to join. Polling does the rest."""
        own = self._settings.properties
        more = {"max.poll.interval.ms": REBALANCE_SECONDS * 1_000, **MEMBER}
        more = {key: value for key, value in more.items() if key not in own}
        if own.get("group.protocol") == "consumer":
            more = {key: value for key, value in more.items() if key not in SET_BY_THE_BROKER}
        if self._slot.static:
            more["group.instance.id"] = f"{self._group}-{self._slot.name}"
        self._member_id, self.has_joined = "", False
        self._consumer = Consumer(self._settings.consumer(**{"group.id": self._group, **more}))
        self._consumer.subscribe(
            [*self._sources], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def leave(self) -> None:
        """Leave the group. The partitions of a static member stay its own until its session ends.

        Callbacks that are due come first, or the client might never be closed (as in `Membership.leave`).
        """
        if self._consumer is not None:
            until = CLOCK.monotonic() + LEAVE_SECONDS
            with suppress(KafkaException):
                while self._consumer.poll(0) is not None and CLOCK.monotonic() < until:
                    pass  # whoever is next reads it again
            consumer, self._consumer = self._consumer, None
            consumer.close()
            self._given.clear()
            self._begun.clear()
            self._paused.clear()
            self.has_joined = False

    def poll(self, seconds: float) -> Message | None:
        """Return the next record, or an error as a record. One at a time: it is never older than a callback before."""
        return self.consumer.poll(seconds)

    def fence(self) -> Any:
        """Return the metadata that fence a commit of what was read. Raises NotAMember."""
        return fencing_metadata(self.consumer, self._member_id)

    @property
    def waiting(self) -> set[Place]:
        """The partitions that the group has given, and that are not read yet."""
        return self._given - self._begun.keys()

    def begin(self) -> None:
        """Begin to read the partitions that are `waiting`. Raises KafkaException."""
        self._assign(self._starts.of(self.consumer, self.waiting))

    def _assign(self, positions: Mapping[Place, int]) -> None:
        for topic in {topic for topic, _ in positions}:
            with suppress(KafkaException):  # else the client looks for leaders later
                self.consumer.list_topics(topic, LEADERS_SECONDS)
        self.consumer.incremental_assign([TopicPartition(*place, offset) for place, offset in positions.items()])
        self._begun |= positions
        self._log.info("partitions_begun", partitions=in_short(positions))

    def committed(self, places: Collection[Place]) -> dict[Place, int]:
        """Return the committed offsets of partitions, when no transaction about them is open. Raises KafkaException."""
        found = self.consumer.committed([TopicPartition(*place) for place in sorted(places)], ASK_SECONDS)
        for it in found:
            if it.error is not None:
                raise KafkaException(it.error)
        return {(it.topic, it.partition): it.offset for it in found if it.offset >= 0}

    def lag(self) -> dict[str, int]:
        """Return how many offsets are behind the position of each partition, as far as the client knows."""
        lag = {}
        partitions = [TopicPartition(*place) for place in sorted(self._begun)]
        for it in self.consumer.position(partitions) if partitions else ():
            with suppress(KafkaException):
                _, high = self.consumer.get_watermark_offsets(it, cached=True)
                at = it.offset if it.offset >= 0 else self._begun[it.topic, it.partition]
                if high >= 0:
                    lag[f"{it.topic}[{it.partition}]"] = max(0, high - at)
        return lag

    def pause(self) -> None:
        """Fetch nothing for a while. Polls go on, because of the callbacks."""
        fetched = self._begun.keys() - self._paused
        if fetched:
            self.consumer.pause([TopicPartition(*place) for place in sorted(fetched)])
            self._paused |= fetched

    def resume(self) -> None:
        """Fetch again behind the last record that `poll` has returned."""
        paused, self._paused = self._paused & self._begun.keys(), set()
        if paused:
            self.consumer.resume([TopicPartition(*place) for place in sorted(paused)])

    # Callbacks.

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Asked first: the client cannot join again before it has the answer.
        member_id = consumer.memberid()
        # Without this call the client would begin to fetch by itself.
        consumer.incremental_assign([])
        if member_id and member_id != self._member_id:
            self._member_id = member_id
            self._begin_anew(consumer)
        self._given |= _places(partitions)
        self.has_joined = True
        self._log.info("partitions_assigned", partitions=in_short(_places(partitions)))

    def _begin_anew(self, consumer: Consumer) -> None:
        """Let go of partitions that a former membership had and no callback took: others may have had them meanwhile.

        `Membership` of the workers says when that happens.
        """
        kept = set(self._begun)
        if kept:
            self._log.info("partitions_kept_under_another_name", partitions=in_short(kept))
            self._hand_back(consumer, kept)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._taken_away(consumer, partitions, "partitions_revoked")

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.has_joined = False
        self._taken_away(consumer, partitions, "partitions_lost")

    def _taken_away(self, consumer: Consumer, partitions: list[TopicPartition], how: str) -> None:
        places = _places(partitions)
        self._given -= places
        self._log.info(how, partitions=in_short(places))
        self._hand_back(consumer, places)

    def _hand_back(self, consumer: Consumer, places: set[Place]) -> None:
        self._dropped(places)
        if paused := places & self._paused:
            # The client would remember that, and fetch nothing if the partition ever came back. It is not resumed then,
            # because a client may lose the start of a partition that is resumed just after it was assigned.
            consumer.resume([TopicPartition(*place) for place in sorted(paused)])
            self._paused -= paused
        mine = sorted(places & self._begun.keys())
        for place in mine:
            del self._begun[place]
        # Also with an empty list: the call is the answer that the group waits for.
        consumer.incremental_unassign([TopicPartition(*place) for place in mine])


def _places(partitions: list[TopicPartition]) -> set[Place]:
    return {(it.topic, it.partition) for it in partitions}
