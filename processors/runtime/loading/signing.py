"""Signing: the group's offsets are committed as they are, with our transactional id in their metadata.

This comes before our first record can be open anywhere, so that the next owner can fence us.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import structlog
from confluent_kafka import KafkaException

from processors.runtime.group.clock import Clock
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.group_offsets import Committed
from processors.runtime.group.membership import NotAMember
from processors.runtime.group.names import Place, ShardTopics
from processors.runtime.group.transaction import Transaction
from processors.runtime.group.waiting import Waiting, pause

SIGN_SECONDS: Final = 30.0
SIGN_AGAIN_SECONDS: Final = 0.05


class Signing:
    """Commits the offsets of shards that are settled, in our name."""

    def __init__(self, names: ShardTopics, cluster: Cluster, transaction: Transaction, clock: Clock) -> None:
        self._names, self._cluster, self._transaction, self._clock = names, cluster, transaction, clock
        self._log = structlog.get_logger("halter.runtime")

    def sign(self, shards: AbstractSet[int], committed: Mapping[Place, Committed]) -> Waiting[None]:
        """Sign shards, of which some may be taken back meanwhile. Raises NotAMember if the group keeps refusing."""
        until = self._clock.monotonic() + SIGN_SECONDS
        low = yield from self._retried_low(shards)
        while True:
            offsets = {}
            for shard in shards:
                place = self._names.commands(shard)
                offset = committed[place].offset
                offsets[place] = low[place] if offset is None else offset
            try:
                # Checked first, because an abort costs a new producer, and there is nothing to abort yet.
                self._transaction.expect_membership()
                self._transaction.begin()
                self._transaction.commit(offsets)
                return
            except (KafkaException, NotAMember) as exception:
                self._transaction.abort()
                if self._clock.monotonic() > until:
                    reason = exception if isinstance(exception, NotAMember) else exception.args[0].str()
                    raise NotAMember(f"the group does not accept this worker as owner: {reason}") from exception
            # Most often a new generation has not reached us yet. Polling brings it.
            yield from pause(self._clock, SIGN_AGAIN_SECONDS)

    def _retried_low(self, shards: AbstractSet[int]) -> Waiting[dict[Place, int]]:
        has_complained = False
        while True:
            try:
                return (yield from self._cluster.low([self._names.commands(shard) for shard in shards]))
            except KafkaException as exception:
                if not has_complained:
                    has_complained = True
                    reason = exception.args[0].str()
                    self._log.warning("claiming_again", shards=sorted(shards), reason=reason)
                self._cluster.renew()
                yield from pause(self._clock, 0.1)
