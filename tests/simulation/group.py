"""The coordinator of a consumer group of the classic protocol, with cooperative-sticky assignment.

A member here is what the coordinator knows of it. The client's side is in `member`.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from confluent_kafka import KafkaError

from tests.simulation.coordinators import NO_ERROR, GroupOffsets, Offset, Transactions
from tests.simulation.kernel import Kernel
from tests.simulation.partition_log import Place


class GroupState(StrEnum):
    """The states of a group, named as in Kafka."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"


@dataclass(frozen=True, slots=True)
class Claim:
    """The partitions that a member says it owned, and in which generation."""

    owned: frozenset[int]
    generation: int


JoinAnswer = Callable[[int, int, str, Mapping[str, Claim] | None], None]
"""Called when a join ends: error, generation, member id, and for the leader, which partitions each member claims."""
SyncAnswer = Callable[[int, frozenset[int]], None]


@dataclass(frozen=True, slots=True)
class GroupMetadata:
    """The identity that a transaction presents to the group."""

    group: str
    generation: int
    member_id: str
    instance_id: str | None


@dataclass(slots=True)
class Member:
    """A member, as the coordinator knows it."""

    member_id: str
    client_id: str
    instance_id: str | None
    session_s: float
    rebalance_s: float
    claim: Claim
    on_joined: JoinAnswer | None = None
    on_synced: SyncAnswer | None = None
    assigned: frozenset[int] = frozenset()
    beat: int = 0
    """Counts signs of life. A session that saw none since its wait began is over."""


@dataclass(slots=True)
class JoinRequest:
    """The request of a client to join."""

    member_id: str
    client_id: str
    instance_id: str | None
    session_s: float
    rebalance_s: float
    claim: Claim


UNKNOWN: Final = ""


@dataclass
class Group:
    """One group, its members and its offsets."""

    name: str
    kernel: Kernel
    transactions: Transactions
    offsets: GroupOffsets = field(default_factory=GroupOffsets)
    topic: str = ""
    """The topics that its members subscribe to."""
    state: GroupState = GroupState.EMPTY
    generation: int = 0
    away_until: float = 0.0
    """The time until which the coordinator does not answer."""
    _members: dict[str, Member] = field(default_factory=dict)
    _static: dict[str, str] = field(default_factory=dict)
    _leader: str = UNKNOWN
    _ids: int = 0
    _rebalance: int = 0

    @property
    def members(self) -> list[tuple[str, frozenset[int]]]:
        """Return client ids and assignments, as describe_consumer_groups does."""
        nothing: frozenset[int] = frozenset()
        is_stable = self.state is GroupState.STABLE
        return [(it.client_id, it.assigned if is_stable else nothing) for it in self._members.values()]

    def fail_over(self, seconds: float) -> None:
        """Make another broker coordinator. Sessions begin again there, and so does a rebalance in progress."""
        self.away_until = max(self.away_until, self.kernel.now + seconds)

        def back() -> None:
            for member in self._members.values():
                self._alive(member)
            if self.state in {GroupState.PREPARING, GroupState.COMPLETING}:
                for member in list(self._members.values()):
                    if member.on_joined is not None:
                        answer, member.on_joined = member.on_joined, None
                        answer(KafkaError.NOT_COORDINATOR, -1, member.member_id, None)
                self._prepare()

        self.kernel.after(self.away_until - self.kernel.now, back)

    def give_up(self, client_id: str) -> None:
        """Take a living member for dead."""
        for member in [it for it in self._members.values() if it.client_id == client_id]:
            self._remove(member.member_id)

    # What members ask.

    def join(self, request: JoinRequest, answer: JoinAnswer) -> None:
        """JoinGroup. It is answered when the whole group has joined."""
        member = self._members.get(request.member_id)
        if request.member_id and member is None:
            is_static = request.instance_id is not None and request.instance_id in self._static
            code = KafkaError.FENCED_INSTANCE_ID if is_static else KafkaError.UNKNOWN_MEMBER_ID
            answer(code, -1, request.member_id, None)
            return
        if member is None:
            member = self._new_member(request)
            old_id = self._static.get(request.instance_id) if request.instance_id is not None else None
            if old_id is not None:
                self._replace(old_id, member, answer)
                return
            if request.instance_id is not None:
                self._static[request.instance_id] = member.member_id
            self._members[member.member_id] = member
        member.claim, member.on_joined = request.claim, answer
        self._alive(member)
        if self.state is not GroupState.PREPARING:
            self._prepare()
        self._complete_if_all_joined()

    def sync(
        self, member_id: str, generation: int, assignments: Mapping[str, frozenset[int]] | None, answer: SyncAnswer
    ) -> None:
        """SyncGroup. It is answered when the leader's has come."""
        member = self._members.get(member_id)
        if member is None:
            answer(KafkaError.UNKNOWN_MEMBER_ID, frozenset())
        elif generation != self.generation:
            answer(KafkaError.ILLEGAL_GENERATION, frozenset())
        elif self.state is GroupState.PREPARING:
            answer(KafkaError.REBALANCE_IN_PROGRESS, frozenset())
        elif self.state is GroupState.STABLE:
            answer(NO_ERROR, member.assigned)
        else:
            self._alive(member)
            member.on_synced = answer
            if member_id == self._leader and assignments is not None:
                self.state = GroupState.STABLE
                for other in self._members.values():
                    other.assigned = assignments.get(other.member_id, frozenset())
                    synced, other.on_synced = other.on_synced, None
                    self._alive(other)
                    if synced is not None:
                        synced(NO_ERROR, other.assigned)

    def heartbeat(self, member_id: str, generation: int, instance_id: str | None) -> int:
        """Heartbeat: return the error that tells the member to do something."""
        code = self._validate(member_id, instance_id)
        if code != NO_ERROR:
            return code
        if generation != self.generation:
            return KafkaError.ILLEGAL_GENERATION
        self._alive(self._members[member_id])
        return KafkaError.REBALANCE_IN_PROGRESS if self.state is GroupState.PREPARING else NO_ERROR

    def leave(self, member_id: str) -> None:
        """LeaveGroup."""
        if member_id in self._members:
            self._remove(member_id)

    def commit_in_transaction(
        self, producer: int, epoch: int, metadata: GroupMetadata, offsets: Mapping[Place, Offset]
    ) -> int:
        """TxnOffsetCommit. The offsets are pending until the transaction's marker comes."""
        code = self.transactions.may_commit_offsets(producer, epoch, self.name)
        if code == NO_ERROR and (metadata.generation >= 0 or metadata.member_id or metadata.instance_id is not None):
            code = self._validate(metadata.member_id, metadata.instance_id)
            if code == NO_ERROR and metadata.generation != self.generation:
                code = KafkaError.ILLEGAL_GENERATION
        if code == NO_ERROR:
            self.offsets.append(producer, offsets)
        return code

    def rebalance(self) -> None:
        """Begin a rebalance, as if a member had asked for it."""
        if self._members and self.state is GroupState.STABLE:
            self._prepare()

    # Inside.

    def _validate(self, member_id: str, instance_id: str | None) -> int:
        if instance_id is not None and instance_id in self._static:
            return NO_ERROR if self._static[instance_id] == member_id else KafkaError.FENCED_INSTANCE_ID
        return NO_ERROR if member_id in self._members else KafkaError.UNKNOWN_MEMBER_ID

    def _new_member(self, request: JoinRequest) -> Member:
        self._ids += 1
        member_id = f"{request.instance_id or request.client_id}-{self._ids}"
        return Member(
            member_id, request.client_id, request.instance_id, request.session_s, request.rebalance_s, request.claim
        )

    def _replace(self, old_id: str, member: Member, answer: JoinAnswer) -> None:
        """Take back a static member under another id. In a stable group no other member hears of it."""
        old = self._members.pop(old_id)
        assert member.instance_id is not None
        self._static[member.instance_id] = member.member_id
        self._members[member.member_id] = member
        member.assigned = old.assigned
        for waiting in (old.on_joined,):
            if waiting is not None:
                waiting(KafkaError.FENCED_INSTANCE_ID, -1, old_id, None)
        if old.on_synced is not None:
            old.on_synced(KafkaError.FENCED_INSTANCE_ID, frozenset())
        if self._leader == old_id:
            self._leader = member.member_id
        self._alive(member)
        if self.state is GroupState.STABLE:
            answer(NO_ERROR, self.generation, member.member_id, None)
            return
        member.on_joined = answer
        if self.state is not GroupState.PREPARING:
            self._prepare()
        self._complete_if_all_joined()

    def _alive(self, member: Member) -> None:
        member.beat += 1
        beat = member.beat

        def check() -> None:
            if self._members.get(member.member_id) is not member or member.beat != beat:
                return
            if self.kernel.now < self.away_until or member.on_joined is not None:
                self._alive(member)
            else:
                self._remove(member.member_id)

        self.kernel.after(member.session_s, check)

    def _remove(self, member_id: str) -> None:
        member = self._members.pop(member_id)
        if member.instance_id is not None and self._static.get(member.instance_id) == member_id:
            del self._static[member.instance_id]
        if member.on_joined is not None:
            member.on_joined(KafkaError.UNKNOWN_MEMBER_ID, -1, member_id, None)
        if member.on_synced is not None:
            member.on_synced(KafkaError.UNKNOWN_MEMBER_ID, frozenset())
        if not self._members:
            self.state = GroupState.EMPTY
            self.generation += 1
        elif self.state is GroupState.PREPARING:
            self._complete_if_all_joined()
        else:
            self._prepare()

    def _prepare(self) -> None:
        self.state = GroupState.PREPARING
        self._rebalance += 1
        number = self._rebalance
        for member in self._members.values():
            synced, member.on_synced = member.on_synced, None
            if synced is not None:
                synced(KafkaError.REBALANCE_IN_PROGRESS, frozenset())

        def over() -> None:
            if self.state is GroupState.PREPARING and self._rebalance == number:
                for member in [it for it in self._members.values() if it.on_joined is None]:
                    self._members.pop(member.member_id)
                    if member.instance_id is not None:
                        self._static.pop(member.instance_id, None)
                if self._members:
                    self._complete_if_all_joined()
                else:
                    self.state = GroupState.EMPTY

        longest = max((member.rebalance_s for member in self._members.values()), default=60.0)
        self.kernel.after(longest, over)

    def _complete_if_all_joined(self) -> None:
        if not self._members or any(member.on_joined is None for member in self._members.values()):
            return
        self.state = GroupState.COMPLETING
        self.generation += 1
        if self._leader not in self._members:
            self._leader = next(iter(self._members))
        claims = {member.member_id: member.claim for member in self._members.values()}
        for member in list(self._members.values()):
            answer, member.on_joined = member.on_joined, None
            self._alive(member)
            assert answer is not None
            answer(NO_ERROR, self.generation, member.member_id, claims if member.member_id == self._leader else None)


def cooperative(
    claims: Mapping[str, Claim], partitions: Iterable[int], randomness: random.Random | None = None
) -> dict[str, frozenset[int]]:
    """Assign partitions evenly, and leave them where they are as far as possible.

    A partition that has to move gets no owner at first: its owner gives it up, and the group rebalances again. With
    `randomness`, the new owners are chosen at random, so more partitions move than must.
    """
    owners: dict[int, str] = {}
    for member_id, claim in claims.items():
        for partition in claim.owned:
            other = owners.get(partition)
            if other is None or claims[other].generation < claim.generation:
                owners[partition] = member_id
    members = sorted(claims)
    everything = sorted(partitions)
    quota, more = divmod(len(everything), len(members))
    wanted: dict[str, list[int]] = {member_id: [] for member_id in members}
    order = list(everything)
    if randomness is not None:
        randomness.shuffle(order)
        randomness.shuffle(members)
    room = {member_id: quota + (1 if index < more else 0) for index, member_id in enumerate(members)}
    rest = []
    for partition in order:
        owner = owners.get(partition)
        if randomness is None and owner is not None and len(wanted[owner]) < max(room[owner], quota):
            wanted[owner].append(partition)
        else:
            rest.append(partition)
    for partition in rest:
        member_id = max(members, key=lambda it: room[it] - len(wanted[it]))
        wanted[member_id].append(partition)
    return {
        member_id: frozenset(it for it in wanted[member_id] if owners.get(it) in {None, member_id})
        for member_id in members
    }
