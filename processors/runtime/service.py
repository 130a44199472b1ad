"""The service under the Faust app: the event loop's side of the runtime.

Turns alternate between two threads, never at once in both: the Kafka thread commits and polls (`turns`), the event
loop folds (the agents). While one shard's outputs are handed to librdkafka the next shard is folded already, unless
they are few or the worker has reason to be cautious (`Turns.cautious`).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import faust
import mode
import structlog

from processors.core.records.errors import HalterError
from processors.runtime.group.calls import (
    FOLD_STUCK_SECONDS,
    LOOP_STUCK_SECONDS,
    KafkaCalls,
    Stopping,
    Watchdog,
    Watched,
)
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.errors import FoldFailed, KafkaFailed, in_short
from processors.runtime.group.readiness import Readiness, State
from processors.runtime.group.steps import Step, Steps
from processors.runtime.turn.batch import Batch
from processors.runtime.turn.turns import Figures, Turn, Turns

T = TypeVar("T")

TURN_SECONDS: Final = 2.0
"""When a turn has been folded for this long, the rest of its records is left to the next one: a transaction must end
long before transaction.timeout.ms, or its worker is taken for dead."""


BEAT_SECONDS: Final = 1.0

WORTH_THE_WAY: Final = 1_000
"""So many outputs are handed over while the next shard is folded; fewer wait for the end of the turn, because the way
to the other thread and back takes longer than they do."""


class Runtime(mode.Service):
    """Runs turns from start to stop. `failure` is why it ended by itself, if it did; `ended` is set in any case."""

    def __init__(
        self,
        app: faust.App,
        channel: faust.ChannelT[Any],
        turns: Turns,
        calls: KafkaCalls,
        readiness: Readiness,
        steps: Steps,
        clock: Clock = CLOCK,
    ) -> None:
        super().__init__()
        self.readiness = readiness
        self.failure: HalterError | None = None
        self.ended = asyncio.Event()
        self._app, self._channel, self._turns, self._calls, self._steps = app, channel, turns, calls, steps
        self._clock = clock
        self._kafka = ThreadPoolExecutor(1, thread_name_prefix="kafka")
        self._begun = False
        self._folding = Watched("fold", FOLD_STUCK_SECONDS)
        self._looping = Watched("event_loop", LOOP_STUCK_SECONDS)
        self._watchdog = Watchdog([calls.watched, self._folding, self._looping], readiness)
        self._log = structlog.get_logger("halter.runtime")

    @property
    def ready(self) -> bool:
        """Whether this worker folds everything that is its to fold."""
        return self.readiness.ready

    @property
    def figures(self) -> Figures:
        """What was done since the start."""
        return self._turns.figures

    async def on_start(self) -> None:
        """Let the channel deliver: Faust keeps channels shut until its own tables are restored, and there are none."""
        self._app.flow_control.resume()
        self._watchdog.start()
        self._begun = True

    async def on_stop(self) -> None:
        """Let the turn in progress end: mode cancels what still runs right after this returns."""
        self.readiness.lives(State.STOPPING)
        self._calls.stopping.set()
        if self._begun:
            await self.ended.wait()

    @mode.Service.task
    async def _beat(self) -> None:
        """Tell the watchdog that the loop turns, whatever it is that may keep it from turning."""
        while True:
            self._looping.begin("no turn")
            await asyncio.sleep(BEAT_SECONDS)

    @mode.Service.task
    async def _run(self) -> None:
        try:
            await self._turn_after_turn()
        except Stopping:
            self._log.info("stopped_while_waiting_for_kafka")
        except HalterError as failure:
            self.failure = failure
        except Exception as error:  # noqa: BLE001  whatever it is, the worker ends with a sentence
            self.failure = KafkaFailed(f"unexpected {in_short(error)}")
            self.failure.__cause__ = error
        finally:
            await asyncio.shield(self._end())

    async def _turn_after_turn(self) -> None:
        await self._in_kafka_thread(self._turns.open)
        folded: Turn | None = None
        while not self._calls.stopping.is_set() or folded is not None:
            folded = await self._in_kafka_thread(self._turns.next, folded)
            if folded is not None:
                await self._fold(folded)

    async def _fold(self, turn: Turn) -> None:
        """Have the agents fold a turn's records, and hand what comes of them to the transaction."""
        begun = self._clock.monotonic()
        until = begun + TURN_SECONDS
        batches = [
            Batch(
                shard, records, begun if turn.one_at_a_time(shard) else until, self._folding, self._steps, self._clock
            )
            for shard, records in turn.records.items()
        ]
        for batch in batches:
            await self._channel.put(batch)  # type: ignore[arg-type]  # any object may go through
        for batch in batches:
            try:
                outputs = await batch.outputs
            except FoldFailed as failure:
                # A rule broke. Nothing of this shard's was handed to the transaction: the others go on.
                turn.broken[batch.shard] = failure
                continue
            turn.folded[batch.shard] = batch.folded
            turn.outputs.append(outputs)
            if not self._turns.cautious and sum(map(len, turn.outputs)) >= WORTH_THE_WAY:
                await self._in_kafka_thread(self._turns.hand_over, turn)
        self._steps.reached(Step.AFTER_FOLD)
        seconds = self._clock.monotonic() - begun
        self._turns.figures.fold_s += seconds
        self._turns.size.folded(sum(turn.folded.values()), seconds)

    async def _end(self) -> None:
        self._calls.stopping.set()
        if self.failure is not None:
            self._log.error("failed", kind=type(self.failure).__name__, reason=str(self.failure))
            self._log.debug("failed_there", exc_info=self.failure)
        try:
            await self._in_kafka_thread(self._turns.close)
        finally:
            self._watchdog.stop()
            self._kafka.shutdown(wait=False)
            self.readiness.lives(State.STOPPED, str(self.failure or ""))
            self._log.info("stopped", **self.figures.as_dict())
            self.ended.set()

    async def _in_kafka_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._kafka, call, *arguments)
