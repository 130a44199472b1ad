"""The event loop's half of a turn: the agents fold its records, and what comes of them goes to the transaction.

Knows no Kafka call: the Kafka thread makes those.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import faust

from processors.runtime.group.calls import Watched
from processors.runtime.group.clock import Clock
from processors.runtime.group.crash_points import CrashPoint, CrashPoints
from processors.runtime.group.errors import FoldFailed
from processors.runtime.turn.batch import Batch
from processors.runtime.turn.turn import Turn
from processors.runtime.turn.turns import Turns

TURN_SECONDS: Final = 2.0
"""When a turn was folded for this long, its other records are left to the next one. A transaction must end long before
transaction.timeout.ms, or its worker is taken for dead."""

WORTH_THE_WAY: Final = 1_000
"""This many outputs are handed over while the next shard is folded. Fewer wait for the end of the turn, because the way
to the other thread and back takes longer than they do."""


class InKafkaThread(Protocol):
    """Makes a call in the Kafka thread and returns what it returns."""

    def __call__(self, call: Callable[..., Any], *arguments: Any) -> Awaitable[Any]: ...


class Folding:
    """Has the agents fold a turn.

    While one shard's outputs are handed to librdkafka the next shard is folded already, unless they are few or the
    worker has reason to be cautious (`Committing.cautious`).
    """

    def __init__(
        self,
        channel: faust.ChannelT[Any],
        turns: Turns,
        in_kafka_thread: InKafkaThread,
        watched: Watched,
        crash_points: CrashPoints,
        clock: Clock,
    ) -> None:
        self._channel, self._turns, self._in_kafka_thread = channel, turns, in_kafka_thread
        self._watched, self._crash_points, self._clock = watched, crash_points, clock

    async def fold(self, turn: Turn) -> None:
        """Fold a turn's records, and hand what comes of them to the transaction."""
        begun = self._clock.monotonic()
        batches = [
            Batch(
                part,
                begun if part.one_at_a_time else begun + TURN_SECONDS,
                self._watched,
                self._crash_points,
                self._clock,
            )
            for part in turn.parts
        ]
        for batch in batches:
            await self._channel.put(batch)  # type: ignore[arg-type]  # any object may go through
        for batch in batches:
            try:
                outputs = await batch.outputs
            except FoldFailed as failure:
                # Nothing of this shard was handed to the transaction, so the others go on.
                batch.part.failure = failure
                continue
            turn.outputs.append(outputs)
            if not self._turns.cautious and sum(map(len, turn.outputs)) >= WORTH_THE_WAY:
                await self._in_kafka_thread(self._turns.hand_over, turn)
        self._crash_points.reached(CrashPoint.AFTER_FOLD)
        seconds = self._clock.monotonic() - begun
        self._turns.figures.fold_s += seconds
        if self._turns.measures is not None:
            self._turns.measures.fold_seconds.observe(seconds)
        self._turns.size.folded(turn.folded, seconds)
