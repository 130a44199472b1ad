"""A worker on a simulated process: the whole runtime without the event loop's thread switches, with the real fold."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from itertools import cycle
from typing import Any, Final, TypeVar, cast
from zlib import crc32

import structlog

from processors.codec import Codec
from processors.core.records.commands import Command
from processors.core.records.errors import HalterError
from processors.core.rules.context import Limits
from processors.fold.definitions_view import DefinitionsView
from processors.fold.inputs import InputRecord, ReadInput
from processors.fold.outputs import OutputRecord
from processors.fold.shard_fold import ShardFold
from processors.fold.shard_folds import ShardFolds
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics
from processors.runtime.assembly import turns_of
from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.clients import ClientLibrary, Clients, Slot
from processors.runtime.group.clock import Clock
from processors.runtime.group.crash_points import CrashPoint, CrashPoints
from processors.runtime.group.names import ShardTopics
from processors.runtime.group.readiness import Readiness
from processors.runtime.service import Runtime
from processors.runtime.turn.batch import Batch
from processors.runtime.turn.turns import Turns
from processors.worker.agents import fold_batch
from tests.simulation.admin import SimulatedAdmin
from tests.simulation.broker import Broker
from tests.simulation.consumer import SimulatedConsumer
from tests.simulation.kernel import BASE_MS
from tests.simulation.operators import BUG, Where
from tests.simulation.process import Process
from tests.simulation.producer import SimulatedProducer

T = TypeVar("T")
TICK_S: Final = 1e-6
FOLD_S: Final = (0.0, 0.0, 0.0005, 0.002, 0.002, 0.01, 0.1)
"""The seconds that the fold of a record may take."""
MEANWHILE: Final = 0.4
"""The chance that a commit happens before the next record is folded."""
READING_LOOKS: Final = (0, 1, 3, 30)
"""The number of turns for which a definition command may be decided before it can be folded."""


class SimulatedClock(Clock):
    """A process's view of virtual time. Its wall clock may be wrong by `skew_ms`."""

    def __init__(self, process: Process, skew_ms: int) -> None:
        self._process, self._skew_ms = process, skew_ms
        self._ticks = 0.0

    def monotonic(self) -> float:
        # Asking takes time, so that a loop that only waits for a time sees it come.
        self._ticks += TICK_S
        return self._process.kernel.now + self._ticks

    def now_ms(self) -> int:
        return BASE_MS + int(self._process.kernel.now * 1_000) + self._skew_ms

    def sleep(self, seconds: float) -> None:
        self._process.pause_point("sleep")
        self._process.sleep(seconds)


class PausePoints(CrashPoints):
    """Makes every crash point of the runtime a place where a fault may strike."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def reached(self, point: CrashPoint) -> None:
        self._process.pause_point(str(point))


class RuleBroke(Exception):
    """The exception that a bug in a rule raises."""


class Readers(Executor):
    """Decides at once when asked, and says so only after it was asked a few more times."""

    def __init__(self) -> None:
        self._looks = cycle(READING_LOOKS)

    def submit(self, call: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
        reading = Reading[T](next(self._looks))
        reading.set_result(call(*arguments, **named))
        return reading


class Reading(Future[T]):
    """An outcome that is there, and that is seen only after some looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def done(self) -> bool:
        self._looks -= 1
        return self._looks < 0


class SimulatedFold(ShardFold):
    """The real fold. It takes time, and raises while its process has a bug."""

    def __init__(self, process: Process, *parts: Any) -> None:
        super().__init__(*parts)
        self._process = process
        self._breaks_rows = False

    def fold(self, read: ReadInput) -> None:
        self._process.beside()
        self._process.sleep(self._process.random.choice(FOLD_S))
        if self._process.kernel.now < self._process.rules_break_until and crc32(read.record.value or b"") % 3 == 0:
            raise RuleBroke("told to")
        super().fold(read)

    def _handle(self, record: InputRecord, command: Command) -> None:
        is_kept = self._runs.readable(command.wf_run_id).quarantined_ms is not None
        if is_kept or not self._process.breaks_at(record.key, record.timestamp_ms):
            super()._handle(record, command)
            return
        written = len(self._outputs)
        if self._process.breaks_where != Where.FIRST:
            super()._handle(record, command)
        if self._process.breaks_where != Where.ROWS:
            del self._outputs[written:]
            raise RuleBroke(BUG)
        self._breaks_rows = True

    def take_outputs(self, *, rows: bool = True) -> Sequence[OutputRecord]:
        if self._breaks_rows:
            raise RuleBroke(BUG)
        return super().take_outputs(rows=rows)


class FoldingChannel:
    """Takes a batch and folds it at once, as the agent would."""

    async def put(self, batch: Batch) -> None:
        fold_batch(batch)


class OneThread(Runtime):
    """The runtime with the event loop and the Kafka thread in one.

    A commit beside a fold comes before it, between two of its records, or after it.
    """

    def __init__(self, process: Process, *parts: Any) -> None:
        super().__init__(*parts)
        self._process = process
        self._waiting: Callable[[], None] | None = None
        process.beside = self._beside

    def _in_kafka_thread(self, call: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        self._do_what_waits()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def do() -> None:
            try:
                done.set_result(call(*arguments))
            except BaseException as error:  # noqa: BLE001  whoever awaits it gets it, as from a thread
                done.set_exception(error)

        self._waiting = do
        if call == self._turns.commit:
            loop.call_soon(self._do_what_waits)
        else:
            self._do_what_waits()
        return done

    def _beside(self) -> None:
        if self._waiting is not None and self._process.random.random() < MEANWHILE:
            self._do_what_waits()

    def _do_what_waits(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting()

    async def live(self) -> None:
        """Run from start to end, without Faust."""
        await Runtime._run.fun(self)  # the decorator keeps it there


def library(process: Process, broker: Broker) -> ClientLibrary:
    """Clients of the simulated broker."""
    return ClientLibrary(
        consumer=lambda conf: cast("Any", SimulatedConsumer(process, broker, conf)),
        producer=lambda conf: cast("Any", SimulatedProducer(process, broker, conf)),
        admin=lambda _: cast("Any", SimulatedAdmin(process, broker)),
        committed=lambda consumer, *question: cast("Any", consumer).ask_committed(*question),
    )


class SimulatedWorker:
    """One start of a worker."""

    def __init__(
        self,
        process: Process,
        broker: Broker,
        settings: Settings,
        topics: Topics,
        codec: Codec,
        slot: Slot,
        skew_ms: int = 0,
        clients_class: type[Clients] = Clients,
        limits: Limits | None = None,
    ) -> None:
        self.process = process
        self.client_id = topics.transactional_id(slot.name)
        self.readiness = Readiness()
        self.ended: Callable[[HalterError | None], None] = lambda _: None
        definitions = DefinitionsView(codec, Readers())
        factory = ShardFolds(
            topics.partitions, codec, definitions, limits, new_fold=partial(SimulatedFold, process), ahead=Readers()
        )
        clock, points = SimulatedClock(process, skew_ms), PausePoints(process)
        self.calls = KafkaCalls(self.readiness, clock)
        clients = clients_class(settings, topics, slot, library(process, broker))
        names = ShardTopics(topics.prefix, factory)
        self.turns: Turns = turns_of(clients, names, factory, definitions, self.calls, self.readiness, points, clock)
        self.runtime = OneThread(
            process,
            cast("Any", None),
            cast("Any", FoldingChannel()),
            self.turns,
            self.calls,
            self.readiness,
            points,
            clock,
        )

    @property
    def shards(self) -> tuple[int, ...]:
        """The shards that it folds."""
        return self.readiness.snapshot.shards

    @property
    def is_paused(self) -> bool:
        """Return True if one of its shards stands at a record that broke a rule."""
        return bool(self.readiness.snapshot.paused)

    def run(self) -> None:
        """Run as the body of the process's task."""
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        try:
            loop.run_until_complete(self.runtime.live())
        finally:
            loop.close()
        self.process.is_dead = True
        self.ended(self.runtime.failure)

    def stop(self) -> None:
        """SIGTERM."""
        self.calls.stopping.set()


def silence() -> None:
    """Silence the logs of the runtime: a simulation logs by itself."""
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent
