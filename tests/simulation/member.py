"""A client's side of the group: what librdkafka's own thread does between the polls of the application.

It joins, sends heartbeats, takes assignments and finds out that it is no longer a member, all without the
application, which hears of it in its next poll: `events` holds what the poll has to tell. While something is there
that the application has not dealt with, the member joins no new rebalance.
"""

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from confluent_kafka import KafkaError

from tests.simulation.broker import Broker
from tests.simulation.coordinators import NO_ERROR
from tests.simulation.group import Claim, GroupMetadata, JoinRequest, cooperative
from tests.simulation.process import Process

AGAIN_S: Final = 0.1


class What(StrEnum):
    """What a poll tells the application."""

    ASSIGNED = "assigned"
    REVOKED = "revoked"
    LOST = "lost"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class GroupEvent:
    """Something that the application has to hear."""

    what: What
    partitions: frozenset[int] = frozenset()
    code: int = NO_ERROR


class State(StrEnum):
    """Of the client in the group."""

    OUT = "out"
    JOINING = "joining"
    JOINED = "joined"
    LEFT = "left"


class ClientMember:
    """One consumer's membership."""

    def __init__(self, process: Process, broker: Broker, conf: Mapping[str, object], topic: str) -> None:
        self._process, self._broker = process, broker
        self._group = broker.group(str(conf["group.id"]))
        self._topic = self._group.topic = topic
        self._client_id = str(conf.get("client.id", "rdkafka"))
        instance = conf.get("group.instance.id")
        self._instance_id = None if instance is None else str(instance)
        self._session_s = _seconds(conf, "session.timeout.ms", 45_000)
        self._heartbeat_s = _seconds(conf, "heartbeat.interval.ms", 3_000)
        self._poll_s = _seconds(conf, "max.poll.interval.ms", 300_000)
        self._state = State.OUT
        self.member_id = ""
        self._generation = -1
        self._claimed_in = -1
        self._attempt = 0
        self.owned: frozenset[int] = frozenset()
        self.events: deque[GroupEvent] = deque()
        self.told: Callable[[], None] = lambda: None
        """Called when there is an event."""
        self._joins_when_idle = False
        self._added_when_idle: frozenset[int] | None = None
        self._answered_at = process.kernel.now
        self._polled_at = process.kernel.now
        self._poll_exceeded = False
        self._is_fenced = False

    def start(self) -> None:
        """Join."""
        self._join()
        self._beat_later()

    @property
    def metadata(self) -> GroupMetadata:
        """What a transaction presents."""
        return GroupMetadata(self._group.name, self._generation, self.member_id, self._instance_id)

    def polled(self) -> None:
        """The application polls."""
        self._polled_at = self._process.kernel.now
        if self._poll_exceeded:
            self._poll_exceeded = False
            if not self.events:
                self._join()

    def handled(self) -> None:
        """The application has dealt with the first event."""
        self.events.popleft()
        if self.events or self._state is State.LEFT:
            return
        if self._added_when_idle is not None:
            added, self._added_when_idle = self._added_when_idle, None
            self._tell(GroupEvent(What.ASSIGNED, added))
        elif self._joins_when_idle and not self._poll_exceeded:
            self._joins_when_idle = False
            self._join()

    def leave(self) -> frozenset[int]:
        """Leave for good; returns what was owned."""
        owned, self.owned = self.owned, frozenset()
        self._state = State.LEFT
        self._attempt += 1
        self._say_goodbye()
        self.member_id, self._generation = "", -1
        return owned

    # In the background.

    def _say_goodbye(self) -> None:
        member_id = self.member_id
        if member_id and self._instance_id is None:
            self._process.send(lambda: self._group.leave(member_id), away_until=self._group.away_until)

    def _tell(self, event: GroupEvent) -> None:
        self.events.append(event)
        self.told()

    def _join(self) -> None:
        if self._state is State.LEFT or self._is_fenced:
            return
        self._state = State.JOINING
        self._attempt += 1
        attempt = self._attempt
        request = JoinRequest(
            self.member_id,
            self._client_id,
            self._instance_id,
            self._session_s,
            self._poll_s,
            Claim(self.owned, self._claimed_in),
        )

        def answered(code: int, generation: int, member_id: str, claims: Mapping[str, Claim] | None) -> None:
            self._process.deliver(lambda: self._joined(attempt, code, generation, member_id, claims))

        self._process.send(lambda: self._group.join(request, answered), away_until=self._group.away_until)

    def _joined(
        self, attempt: int, code: int, generation: int, member_id: str, claims: Mapping[str, Claim] | None
    ) -> None:
        if attempt != self._attempt:
            return
        self._answered_at = self._process.kernel.now
        if code != NO_ERROR:
            self._refused(code)
            return
        self.member_id, self._generation = member_id, generation
        assignments = None
        if claims is not None:
            randomness = self._broker.random if self._broker.shuffle_assignments else None
            assignments = cooperative(claims, range(self._broker.topics[self._topic]), randomness)

        def answered(code: int, assigned: frozenset[int]) -> None:
            self._process.deliver(lambda: self._synced(attempt, code, assigned))

        self._process.send(
            lambda: self._group.sync(member_id, generation, assignments, answered), away_until=self._group.away_until
        )

    def _synced(self, attempt: int, code: int, assigned: frozenset[int]) -> None:
        if attempt != self._attempt:
            return
        self._answered_at = self._process.kernel.now
        if code != NO_ERROR:
            self._refused(code)
            return
        self._state = State.JOINED
        self._claimed_in = self._generation
        added, revoked = assigned - self.owned, self.owned - assigned
        self.owned = assigned
        if revoked:
            self._joins_when_idle = True
            self._added_when_idle = added or None
            self._tell(GroupEvent(What.REVOKED, revoked))
        else:
            self._tell(GroupEvent(What.ASSIGNED, added))

    def _refused(self, code: int) -> None:
        match code:
            case KafkaError.UNKNOWN_MEMBER_ID:
                self.member_id = ""
                self._lose()
            case KafkaError.FENCED_INSTANCE_ID:
                self._fenced()
            case KafkaError.ILLEGAL_GENERATION:
                self._generation = -1
                self._lose()
            case _:
                attempt = self._attempt
                self._process.later(AGAIN_S, lambda: self._join() if attempt == self._attempt else None)

    def _fenced(self) -> None:
        self._is_fenced = True
        self._lose()
        self._tell(GroupEvent(What.ERROR, code=KafkaError.FENCED_INSTANCE_ID))

    def _lose(self) -> None:
        """We are no member any more: what we owned is lost."""
        self._attempt += 1
        self._state = State.OUT
        # The generation stays, so that what the client presents names at least that: it would pass without.
        self._claimed_in = -1
        self._added_when_idle = None
        owned, self.owned = self.owned, frozenset()
        if owned:
            self._tell(GroupEvent(What.LOST, owned))
        if self.events:
            self._joins_when_idle = True
        elif not self._poll_exceeded:
            self._join()

    def _beat_later(self) -> None:
        self._process.later(self._heartbeat_s, self._beat)

    def _beat(self) -> None:
        if self._state is State.LEFT or self._is_fenced:
            return
        self._beat_later()
        now = self._process.kernel.now
        if self._state is State.OUT:
            return
        if now - self._polled_at > self._poll_s and not self._poll_exceeded:
            self._poll_exceeded = True
            self._tell(GroupEvent(What.ERROR, code=KafkaError._MAX_POLL_EXCEEDED))
            self._say_goodbye()
            self.member_id = ""
            self._lose()
            return
        if self._state is State.JOINING:
            return
        if now - self._answered_at > self._session_s:
            self.member_id = ""
            self._lose()
            return
        member_id, generation, attempt = self.member_id, self._generation, self._attempt

        def arrived() -> None:
            code = self._group.heartbeat(member_id, generation, self._instance_id)
            self._process.deliver(lambda: self._beaten(attempt, code))

        self._process.send(arrived, away_until=self._group.away_until)

    def _beaten(self, attempt: int, code: int) -> None:
        if attempt != self._attempt or self._state is not State.JOINED:
            return
        self._answered_at = self._process.kernel.now
        if code == KafkaError.REBALANCE_IN_PROGRESS:
            if not self.events and not self._joins_when_idle:
                self._join()
        elif code != NO_ERROR:
            self._refused(code)


def _seconds(conf: Mapping[str, object], name: str, default_ms: int) -> float:
    return int(str(conf.get(name, default_ms))) / 1_000


def drawn(randomness: random.Random, least: float, most: float) -> float:
    """A time between two."""
    return randomness.uniform(least, most)
