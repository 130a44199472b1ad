"""A client's side of the group: what librdkafka's own thread does between the polls of the application.

It joins, sends heartbeats, takes assignments and finds out that it is no longer a member. The application hears of this
in its next poll: `events` holds what the poll has to report. After each event the client waits for the application to
call incremental_assign or incremental_unassign, and joins no new rebalance before. As in librdkafka any such call will
do, even one that the application makes for other reasons, before it has heard anything.

If the group takes partitions away while the client waits, or while it joins anyway, the application is not told that
they are lost. A static member then joins again with them, under another id. (A dynamic member has to repeat the id that
the broker gives it, and at that moment the partitions are lost.)
"""

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
AT_ONCE: Final = 0.5
SHARES_OUT_S: Final = (0.0, 0.0, 0.01, 0.3)
"""The time that the leader takes to share out partitions: it asks for metadata first."""


class What(StrEnum):
    """The kinds of events that a poll reports to the application."""

    ASSIGNED = "assigned"
    REVOKED = "revoked"
    LOST = "lost"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class GroupEvent:
    """An event that the application has to hear."""

    what: What
    partitions: frozenset[int] = frozenset()
    code: int = NO_ERROR


class State(StrEnum):
    """The states of the client in the group."""

    OUT = "out"
    JOINING = "joining"
    JOINED = "joined"
    LEFT = "left"


class ClientMember:
    """The membership of one consumer."""

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
        self._waits_for: What | None = None
        """The event that the application has to answer."""
        self._is_completing = False
        """True after the answer, while the partitions that it gave up are still being stopped."""
        self._joins_once_assigned = False
        self._added: frozenset[int] = frozenset()
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
        """Return the identity that a transaction presents."""
        return GroupMetadata(self._group.name, self._generation, self.member_id, self._instance_id)

    def polled(self) -> None:
        """Note that the application polls."""
        self._polled_at = self._process.kernel.now
        if self._poll_exceeded:
            self._poll_exceeded = False
            if self._state is State.OUT and not self._is_busy:
                self._join()

    def assigned(self) -> None:
        """Note that the application has called incremental_assign."""
        if self._waits_for is What.ASSIGNED:
            self._waits_for = None
            if self._joins_once_assigned:
                self._joins_once_assigned = False
                self._join()

    def unassigned(self) -> None:
        """Note that the application has called incremental_unassign."""
        if self._waits_for not in {What.REVOKED, What.LOST}:
            return
        is_lost, self._waits_for, self._is_completing = self._waits_for is What.LOST, None, True
        attempt = self._attempt

        def completed() -> None:
            self._is_completing = False
            if self._state is State.LEFT or self._is_fenced or attempt != self._attempt:
                return
            if not is_lost:
                self._waits_for, self._joins_once_assigned = What.ASSIGNED, True
                self._tell(GroupEvent(What.ASSIGNED, self._added))
            elif not self._poll_exceeded:
                self._join()

        # Partitions that were never fetched from need no stopping.
        if self._process.random.random() < AT_ONCE:
            completed()
        else:
            self._process.later(self._process.latency(), completed)

    @property
    def _is_busy(self) -> bool:
        """Return True while the application has to answer an event."""
        return self._waits_for is not None or self._is_completing

    def leave(self) -> frozenset[int]:
        """Leave for good, and return the partitions that were owned."""
        owned, self.owned = self.owned, frozenset()
        self._waits_for = None
        self._state = State.LEFT
        self._attempt += 1
        self._say_goodbye()
        self.member_id, self._generation = "", -1
        return owned

    def handled(self) -> None:
        """Note that the application has heard of the first event."""
        self.events.popleft()

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
        if not self.member_id and self._instance_id is None and self.owned:
            self._lose()
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

        late_s = self._process.background("join_group")
        self._process.send(
            lambda: self._group.join(request, answered), late_s=late_s, away_until=self._group.away_until
        )

    def _joined(
        self, attempt: int, code: int, generation: int, member_id: str, claims: Mapping[str, Claim] | None
    ) -> None:
        if attempt != self._attempt:
            return
        self._answered_at = self._process.kernel.now
        if code == KafkaError.UNKNOWN_MEMBER_ID:
            self.member_id = ""
            self._join_again()
            return
        if code != NO_ERROR:
            self._refused(code)
            return
        self.member_id, self._generation = member_id, generation
        assignments, takes = None, 0.0
        if claims is not None:
            takes = self._process.random.choice(SHARES_OUT_S)
            randomness = self._broker.random if self._broker.shuffle_assignments else None
            assignments = cooperative(claims, range(self._broker.topics[self._topic]), randomness)

        def answered(code: int, assigned: frozenset[int]) -> None:
            self._process.deliver(lambda: self._synced(attempt, code, assigned))

        late_s = takes + self._process.background("sync_group")
        self._process.send(
            lambda: self._group.sync(member_id, generation, assignments, answered),
            late_s=late_s,
            away_until=self._group.away_until,
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
            self._waits_for, self._added = What.REVOKED, added
            self._tell(GroupEvent(What.REVOKED, revoked))
        else:
            self._waits_for, self._joins_once_assigned = What.ASSIGNED, False
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
                self._join_again()

    def _join_again(self) -> None:
        attempt = self._attempt
        self._process.later(AGAIN_S, lambda: self._join() if attempt == self._attempt else None)

    def _fenced(self) -> None:
        self._is_fenced = True
        self._waits_for = None
        self._lose()
        self._tell(GroupEvent(What.ERROR, code=KafkaError.FENCED_INSTANCE_ID))

    def _lose(self) -> None:
        """Lose all partitions: the client is no member any more. This waits while the application owes an answer."""
        if self._is_busy and not self._is_fenced:
            return
        self._attempt += 1
        self._state = State.OUT
        # The generation stays, so that the client presents at least that: without it, it would pass.
        self._claimed_in = -1
        owned, self.owned = self.owned, frozenset()
        if owned:
            self._waits_for = What.LOST
            self._tell(GroupEvent(What.LOST, owned))
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

        late_s = self._process.background("heartbeat")
        self._process.send(arrived, late_s=late_s, away_until=self._group.away_until)

    def _beaten(self, attempt: int, code: int) -> None:
        if attempt != self._attempt or self._state is not State.JOINED:
            return
        self._answered_at = self._process.kernel.now
        if code == KafkaError.REBALANCE_IN_PROGRESS:
            if not self._is_busy:
                self._join()
        elif code != NO_ERROR:
            self._refused(code)


def _seconds(conf: Mapping[str, object], name: str, default_ms: int) -> float:
    return int(str(conf.get(name, default_ms))) / 1_000
