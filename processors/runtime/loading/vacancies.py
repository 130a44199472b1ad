"""Vacancies: shards that the group has given to nobody.

A static member that is started again takes the place of the one before without a rebalance. The one before may just
have been told to give shards up: then it owed the group the rebalance in which others would have got them. Nobody asks
for it any more, and these shards belong to no member until somebody joins or leaves. (Brokers of 4.3 do that under the
classic protocol.)

So a static worker that has joined looks whether every shard has an owner. If some have none, and had none a while ago,
it has the group share out anew: a member joins and leaves, which the others do not notice.
"""

from typing import Final

import structlog
from confluent_kafka import KafkaException

from processors.runtime.group.clients import Clients
from processors.runtime.group.clock import Clock
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.waiting import Waiting, pause

LOOK_AGAIN_SECONDS: Final = 3.0
"""The time between two looks. Shards that move belong to nobody until their owner has let them go: for a turn."""
JOIN_SECONDS: Final = 5.0


class Vacancies:
    """Looks for shards of nobody after this worker has begun to join. Driven between turns."""

    def __init__(self, clients: Clients, cluster: Cluster, wf_commands: str, clock: Clock) -> None:
        self._clients, self._cluster, self._wf_commands, self._clock = clients, cluster, wf_commands, clock
        self._log = structlog.get_logger("halter.runtime")
        self._work: Waiting[None] | None = None

    def look(self) -> None:
        """Begin to look."""
        if self._clients.is_static:
            self._work = self._look()

    @property
    def is_looking(self) -> bool:
        """Say whether it has not ended."""
        return self._work is not None

    def drive(self) -> None:
        """Do a small step."""
        if self._work is not None:
            try:
                next(self._work)
            except StopIteration:
                self._work = None

    def _look(self) -> Waiting[None]:
        everything = frozenset(range(self._clients.shards))
        vacant_before: frozenset[int] = frozenset()
        has_complained = False
        while True:
            yield from pause(self._clock, LOOK_AGAIN_SECONDS)
            try:
                given = yield from self._cluster.given(self._wf_commands)
            except KafkaException as exception:
                if not has_complained:
                    has_complained = True
                    self._log.warning("group_not_described", reason=exception.args[0].str())
                self._cluster.renew()
                continue
            if given is None:
                continue  # the group is sharing out
            vacant = everything - given
            if not vacant:
                self._cluster.renew()
                return
            if vacant & vacant_before:
                self._log.warning("shards_of_nobody", shards=sorted(vacant & vacant_before))
                yield from self._share_out_anew()
                vacant = frozenset()
            vacant_before = vacant

    def _share_out_anew(self) -> Waiting[None]:
        passer_by = self._clients.passer_by()
        try:
            passer_by.subscribe([self._wf_commands])
            until = self._clock.monotonic() + JOIN_SECONDS
            while not passer_by.memberid() and self._clock.monotonic() < until:
                yield
        finally:
            passer_by.close()
