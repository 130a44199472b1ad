"""Checkpoints: every few seconds stores with files are told where the state topics end. So a restart reads little.

The question and its answer both come between turns. By the time of the answer, every turn that had begun before is
committed and its rows are in the store, or it was aborted and its shard is loaded anew. No turn is open: nobody else
writes these partitions, and we do not write them between turns.
"""

from collections.abc import Callable, Collection
from typing import Final

import structlog
from confluent_kafka import KafkaException

from processors.fold.contract import Fold
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.names import ShardTopics
from processors.runtime.group.waiting import Waiting

CHECKPOINT_SECONDS: Final = 5.0


class Checkpoints:
    """Asks for all folds that have files at once, one question at a time."""

    def __init__(self, cluster: Cluster, names: ShardTopics, clock: Clock = CLOCK) -> None:
        self._cluster, self._names, self._clock = cluster, names, clock
        self._next_at = clock.monotonic() + CHECKPOINT_SECONDS
        self._asking: Waiting[None] | None = None
        self._log = structlog.get_logger("halter.runtime")

    def drive(self, folds: Callable[[], Collection[Fold]]) -> None:
        """Go on between turns, without waiting. `folds` returns the folds that we own at the moment."""
        if self._asking is None:
            if self._clock.monotonic() < self._next_at:
                return
            self._next_at = self._clock.monotonic() + CHECKPOINT_SECONDS
            self._asking = self._checkpoint(folds)
        try:
            next(self._asking)
        except StopIteration:
            self._asking = None
        except KafkaException as exception:
            # The next one will do. Until then a restart reads a little more.
            self._asking = None
            self._log.warning("no_checkpoint", reason=exception.args[0].str())
            self._cluster.renew()

    def _checkpoint(self, folds: Callable[[], Collection[Fold]]) -> Waiting[None]:
        asked = [fold for fold in folds() if fold.files is not None]
        places = [place for fold in asked for place in self._names.state(fold.partition)]
        ends = yield from self._cluster.positions(places)
        owned = folds()
        for fold in asked:
            if fold in owned and fold.files is not None:
                own = self._names.state(fold.partition)
                fold.files.checkpoint({self._names.logical(place[0]): ends[place] for place in own})
