"""Settlement: makes sure that nothing of a former owner is still open before a shard's state is read.

We have joined, so an older generation can commit no more offsets. Those that it committed before are final once no
transaction with offsets of the shard is pending. Its records in the state topics and the log are final once no
transaction is open there, that is when the last stable offset equals the high watermark in *all* of them. Reading any
of them earlier could show one topic before and another after the same transaction.

A living owner hands shards over between transactions, so an open transaction is that of a dead owner or a zombie: the
worker that committed the shard's offsets last and is no longer a member of the group. Its transactional id stands in
the metadata of that commit. Taking that id over aborts what the owner left and shuts it out.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import structlog
from confluent_kafka import KafkaException

from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.errors import NotSettled
from processors.runtime.group.group_offsets import Committed
from processors.runtime.group.names import Place, ShardTopics
from processors.runtime.group.transaction import Transaction
from processors.runtime.group.waiting import Waiting, pause

LOOK_AGAIN_SECONDS: Final = 0.02
WARN_SECONDS: Final = 15.0
HANGING_SECONDS: Final = 75.0
"""A transaction that is open for this time while Kafka answers will never end by itself: brokers end transactions after
transaction.timeout.ms, which is 10 s by default and 60 s at most."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The facts about settled shards: what the group has committed of their commands, and where state and log end."""

    committed: Mapping[Place, Committed]
    ends: Mapping[Place, int]


class Settlement:
    """Waits until shards are settled, fencing dead owners."""

    def __init__(
        self,
        cluster: Cluster,
        names: ShardTopics,
        transaction: Transaction,
        me: str,
        clock: Clock = CLOCK,
        hanging_seconds: float = HANGING_SECONDS,
    ) -> None:
        """`hanging_seconds`: how long a transaction may stay open while Kafka answers."""
        self._hanging_seconds = hanging_seconds
        self._cluster, self._names, self._transaction, self._me = cluster, names, transaction, me
        self._clock = clock
        self._log = structlog.get_logger("halter.runtime")

    def settle(self, shards: AbstractSet[int]) -> Waiting[Settled]:
        """Return when nothing of former owners is open. `shards` may shrink meanwhile. Raises NotSettled."""
        fenced: set[str] = set()
        open_since: float | None = None
        reason, has_complained = "", False
        warn_at = self._clock.monotonic() + WARN_SECONDS
        offsets = self._cluster.group_offsets()
        while True:
            try:
                commands = [self._names.commands(shard) for shard in sorted(shards)]
                state = [place for shard in sorted(shards) for place in self._names.loaded_from(shard)]
                look = yield from offsets.look(commands)
                ends = yield from self._cluster.high(state)
                if look.is_settled and ends == (yield from self._cluster.last_stable(state)):
                    # Only timers are written without a row of state. A transaction with nothing else leaves the state
                    # alone, but would keep the commands from being read.
                    if not (yield from self._fence_dead_owners_of_commands(commands, look.committed, fenced)):
                        return Settled(look.committed, ends)
                    open_since = None
                else:
                    reason = "a transaction is open on them"
                    now = self._clock.monotonic()
                    open_since = now if open_since is None else open_since
                    if now - open_since > self._hanging_seconds:
                        raise (yield from self._hanging(commands, state))
                    yield from self._fence_dead(look.committed, fenced)
            except KafkaException as exception:
                open_since = None  # Kafka has other troubles, so nobody knows what is open
                reason = exception.args[0].str()
                if not has_complained:
                    has_complained = True
                    self._log.warning("settling_again", shards=sorted(shards), reason=reason)
                yield from pause(self._clock, 0.1)
                self._cluster.renew()
            if self._clock.monotonic() > warn_at:
                warn_at = self._clock.monotonic() + WARN_SECONDS
                self._log.warning("not_settled", shards=sorted(shards), reason=reason)
            yield from pause(self._clock, LOOK_AGAIN_SECONDS)

    def _hanging(self, commands: list[Place], state: list[Place]) -> Waiting[NotSettled]:
        """Return the error that says what is open, and how to get past it."""
        high, stable = (yield from self._cluster.high(state)), (yield from self._cluster.last_stable(state))
        hanging = [place for place in state if stable[place] < high[place]]
        seconds = round(self._hanging_seconds)
        if not hanging:
            shards = ", ".join(str(partition) for _, partition in commands)
            return NotSettled(
                f"expected the group's offsets of partition {shards} to be settled within {seconds} s, found them in a "
                "transaction that nobody ends: find it with `kafka-transactions.sh find-hanging`, end it with "
                "`kafka-transactions.sh abort`, then start the worker again"
            )
        topic, partition = hanging[0]
        begins, ends = stable[hanging[0]], high[hanging[0]]
        more = f" (and {len(hanging) - 1} more partitions)" if len(hanging) > 1 else ""
        return NotSettled(
            f"{topic}[{partition}]{more}: expected its last stable offset to reach its end, {ends}, within {seconds} "
            f"s, found it at {begins}: a transaction is open there that nobody ends, its mark was lost. See it with "
            f"`kafka-transactions.sh describe-producers --topic {topic} --partition {partition}`, end it with "
            f"`kafka-transactions.sh abort --topic {topic} --partition {partition} --start-offset {begins}`, then "
            "start the worker again: if that transaction was committed elsewhere, it ends with StateLost"
        )

    def _fence_dead_owners_of_commands(
        self, commands: list[Place], committed: Mapping[Place, Committed], fenced: set[str]
    ) -> Waiting[bool]:
        """Fence the dead owners of partitions where a transaction is open. If it is a client's, nobody is fenced."""
        high = yield from self._cluster.high(commands)
        stable = yield from self._cluster.last_stable(commands)
        unsettled = {place: committed[place] for place in commands if stable[place] < high[place]}
        return (yield from self._fence_dead(unsettled, fenced)) if unsettled else False

    def _fence_dead(self, committed: Mapping[Place, Committed], fenced: set[str]) -> Waiting[bool]:
        """Fence owners that have left the group, each once. Returns True if there was one."""
        suspects = {it.owner for it in committed.values() if it.owner} - {self._me} - fenced
        if not suspects:
            return False
        members = yield from self._cluster.members()
        if self._me not in members:
            return False  # a group that does not know us cannot say who else is dead
        dead = suspects - members
        for owner in sorted(dead):
            yield from self._transaction.end_transactions_of(owner)
            fenced.add(owner)
        return bool(dead)
