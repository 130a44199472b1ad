"""The service under the Faust app: it runs turns from start to stop, and ends the worker when one of them cannot go on.

Turns alternate between two threads. The Kafka thread commits and polls (`turn.turns`), the event loop folds
(`turn.folding`).
"""

import asyncio
from collections.abc import Awaitable, Callable
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
from processors.runtime.group.crash_points import CrashPoints
from processors.runtime.group.errors import KafkaFailed, in_short
from processors.runtime.group.readiness import Readiness, State
from processors.runtime.turn.figures import Figures
from processors.runtime.turn.folding import Folding
from processors.runtime.turn.turn import Turn
from processors.runtime.turn.turns import Turns

T = TypeVar("T")

BEAT_SECONDS: Final = 1.0


class Runtime(mode.Service):
    """Runs turns from start to stop. `failure` is the reason if it ended by itself; `ended` is set in any case."""

    def __init__(
        self,
        app: faust.App,
        channel: faust.ChannelT[Any],
        turns: Turns,
        calls: KafkaCalls,
        readiness: Readiness,
        crash_points: CrashPoints,
        clock: Clock = CLOCK,
    ) -> None:
        super().__init__()
        self.readiness = readiness
        self.failure: HalterError | None = None
        self.ended = asyncio.Event()
        self._app, self._turns, self._calls = app, turns, calls
        self._kafka = ThreadPoolExecutor(1, thread_name_prefix="kafka")
        self._begun = False
        fold, self._looping = Watched("fold", FOLD_STUCK_SECONDS), Watched("event_loop", LOOP_STUCK_SECONDS)
        self._folding = Folding(channel, turns, self._in_kafka_thread, fold, crash_points, clock)
        self._watchdog = Watchdog([calls.watched, fold, self._looping], readiness)
        self._log = structlog.get_logger("halter.runtime")

    @property
    def ready(self) -> bool:
        """Say whether this worker folds all its shards."""
        return self.readiness.ready

    @property
    def figures(self) -> Figures:
        """The figures of what was done since the start."""
        return self._turns.figures

    async def on_start(self) -> None:
        """Let the channel deliver: Faust keeps channels shut until its own tables are restored, and there are none."""
        self._app.flow_control.resume()
        self._watchdog.start()
        self._begun = True

    async def on_stop(self) -> None:
        """Let the turn in progress end. mode cancels every task right after this returns."""
        self.readiness.lives(State.STOPPING)
        self._calls.stopping.set()
        if self._begun:
            await self.ended.wait()

    @mode.Service.task
    async def _beat(self) -> None:
        """Tell the watchdog again and again that the event loop turns."""
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
        except Exception as error:  # noqa: BLE001  the worker ends with a sentence in any case
            self.failure = KafkaFailed(f"unexpected {in_short(error)}")
            self.failure.__cause__ = error
        finally:
            await asyncio.shield(self._end())

    async def _turn_after_turn(self) -> None:
        await self._in_kafka_thread(self._turns.open)
        folded: Turn | None = None
        while not self._calls.stopping.is_set() or folded is not None:
            turn = await self._in_kafka_thread(self._turns.next, folded)
            if turn is not None:
                committed = self._in_kafka_thread(self._turns.commit) if self._turns.is_open else None
                try:
                    await self._folding.fold(turn)
                finally:
                    if committed is not None:
                        await committed
            folded = turn

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

    def _in_kafka_thread(self, call: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        """Begin a call behind those that were begun before, and return its result once awaited."""
        return asyncio.get_running_loop().run_in_executor(self._kafka, call, *arguments)
