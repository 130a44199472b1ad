"""A simulation: a broker, workers, producers, task workers and faults, until all inputs are folded."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, Final
from zlib import crc32

from processors.codec import Codec
from processors.core.records.commands import ReportTaskRun
from processors.core.records.errors import HalterError
from processors.core.records.events import TaskRequest
from processors.core.records.fold_position import FoldPosition
from processors.core.records.model import TaskStatus
from processors.core.records.topic_names import OPERATOR_COMMANDS
from processors.core.rules.context import Limits
from processors.kafka.partitioner import partition_of
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics
from processors.runtime.group.clients import Clients, Slot
from processors.runtime.group.errors import Fenced, TurnCannotCommit
from tests.chaos.avro import decode
from tests.chaos.tape import TOPICS, Tape, TapeRecord
from tests.simulation import correlating
from tests.simulation.broker import Broker
from tests.simulation.kernel import Kernel
from tests.simulation.operators import Operator
from tests.simulation.partition_log import PartitionLog, Place
from tests.simulation.plan import STATIC, Fault, Happening, Plan, Post
from tests.simulation.process import Process, Strike
from tests.simulation.quarantine import KEPT_INPUTS
from tests.simulation.worker import SimulatedWorker

ALLOWED_ENDS: Final = (Fenced, TurnCannotCommit)
"""Reasons for which a worker may end by itself: it lost what it was started with, or Kafka was away too long."""
QUIET_S: Final = 6.0
STEP_S: Final = 0.5
INPUTS: Final = ("wf-commands", "external-events", "task-reports", OPERATOR_COMMANDS)
LOOK_S: Final = 0.5


class WentWrong(Exception):
    """The simulation found something. The message says what."""


@lru_cache
def the_settings(partitions: int) -> tuple[Settings, Topics]:
    """Return the settings of the simulated installation."""
    settings = Settings.load(None, {}, {"bootstrap.servers": "simulated:9092"}, prefix="", partitions=partitions)
    return settings, settings.topics()


@dataclass
class SlotState:
    """A slot of the deployment: whether a worker should run in it, and which one does."""

    name: str
    wanted: bool = False
    worker: SimulatedWorker | None = None
    starts: int = 0


@dataclass
class Figures:
    """The numbers of a simulation."""

    struck: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    inputs: int = 0
    operated: Counter[str] = field(default_factory=Counter)
    turns: int = 0
    aborts: int = 0
    outputs: int = 0
    """Outputs other than TimerFired that workers say they have written."""
    written: int = 0
    """Committed records of the topics that workers alone write: their outputs, and claims of shards."""
    virtual_s: float = 0.0
    calls: int = 0


class World:
    """Runs one plan."""

    def __init__(self, plan: Plan, clients_class: type[Clients] = Clients) -> None:
        self.plan = plan
        self.kernel = Kernel()
        self.settings, self.topics = the_settings(plan.partitions)
        counts = {topic.name: topic.partitions for topic in self.topics.all}
        self.broker = Broker(self.kernel, random.Random(f"broker {plan.seed}"), counts)
        self.figures = Figures()
        self.history: list[str] = []
        self._random = random.Random(f"world {plan.seed}")
        self._clients_class = clients_class
        self._slots = {name: SlotState(name) for name in ("a", "b", "c", "d")}
        self._all_workers: list[SimulatedWorker] = []
        self._healing = False
        self.operator: Operator | None = None
        if plan.poison is not None:
            self.operator = Operator(plan.poison, plan.partitions, Codec.load(), self._operate, self._time_ms_of)
        self._client_transactions = 0
        self._requests_read: dict[Place, int] = {}

    # The run.

    def run(self) -> None:
        """Let everything happen. Raises WentWrong."""
        for name in self.plan.slots:
            self._slots[name].wanted = True
            self._start(self._slots[name])
        for post in self.plan.posts:
            self.kernel.after(post.at, partial(self._post, post))
        for fault in self.plan.faults:
            self.kernel.after(fault.at, partial(self._strike, fault))
        self._work_on_tasks()
        if self.plan.poison is not None:
            self.kernel.after(LOOK_S, self._look_at_pauses)
        self.kernel.run(self.plan.seconds)
        self._heal()
        until = self.kernel.now + self.plan.stuck_s
        while not self._is_quiet():
            if self.kernel.now > until:
                raise WentWrong(f"stuck: {self._why_not_quiet()}")
            self.kernel.run(STEP_S)
        self.figures.virtual_s = self.kernel.now

    def close(self) -> None:
        """End all tasks."""
        for worker in self._all_workers:
            worker.process.is_dead = True
            self.figures.calls += worker.process.calls
            self.figures.turns += worker.turns.figures.turns
            self.figures.aborts += worker.turns.figures.aborts
            self.figures.outputs += worker.turns.figures.outputs - worker.turns.figures.timers
        inputs = {*self.topics.inputs, self.topics.operator_commands, self.topics.definition_commands}
        self.figures.written = sum(
            len(list(self.broker.records(topic))) for topic in self.broker.topics if topic not in inputs
        )
        self.kernel.close()

    def say(self, what: str) -> None:
        """Note an event, for people."""
        self.history.append(f"{self.kernel.now:9.4f} {what}")

    def tape(self) -> Tape:
        """Return what the topics show, as a tape."""
        topics: dict[str, dict[int, list[TapeRecord]]] = {}
        for topic in (*TOPICS, OPERATOR_COMMANDS, KEPT_INPUTS, *correlating.TOPICS):
            if topic in self.broker.topics:
                topics[topic] = {number: [] for number in range(self.broker.topics[topic])}
                for number, it in self.broker.records(topic):
                    topics[topic][number].append(TapeRecord(it.offset, it.timestamp_ms, it.key, it.value, it.headers))
        definitions_end = self.broker.log(("definitions", 0)).high
        return Tape(self.plan.partitions, topics, self.kernel.now_ms, definitions_end)

    # Workers.

    def _start(self, slot: SlotState) -> None:
        slot.starts += 1
        self.figures.starts += 1
        name = f"{slot.name}{slot.starts}"
        process = Process(self.kernel, name, random.Random(f"{self.plan.seed} {name}"))
        if (poison := self.plan.poison) is not None and self.kernel.now < poison.mended_at:
            process.breaks_at, process.breaks_where = poison.strikes, poison.where
        process.struck = lambda strike, call: self._struck(process, strike, call)
        worker = SimulatedWorker(
            process,
            self.broker,
            self.settings,
            self.topics,
            Codec.load(),
            Slot(slot.name, static=slot.name in STATIC),
            process.random.choice((-300, 0, 0, 20, 400)),
            self._clients_class,
            replace(Limits(), kept_correlated_ms=self.plan.kept_correlated_ms),
        )
        worker.ended = lambda failure: self._ended(slot, worker, failure)
        slot.worker = worker
        self._all_workers.append(worker)
        self.say(f"{name} starts")
        process.start(worker.run)

    def _ended(self, slot: SlotState, worker: SimulatedWorker, failure: HalterError | None) -> None:
        name = worker.process.name
        self.say(f"{name} ends: {'stopped' if failure is None else f'{type(failure).__name__}: {failure}'}")
        self.figures.ends["stopped" if failure is None else type(failure).__name__] += 1
        if failure is not None and not isinstance(failure, ALLOWED_ENDS):
            raise WentWrong(f"{name} ended with {type(failure).__name__}: {failure}") from failure
        if slot.worker is worker:
            self._start_again(slot)

    def _start_again(self, slot: SlotState) -> None:
        """Do what a supervisor does."""
        slot.worker = None
        self.kernel.after(self._random.choice((0.2, 1.0, 3.0, 8.0)), lambda: self._keep(slot))

    def _keep(self, slot: SlotState) -> None:
        if slot.wanted and slot.worker is None:
            self._start(slot)

    def _struck(self, process: Process, strike: Strike, call: str) -> None:
        self.figures.struck[strike.kind] += 1
        self.say(f"{process.name} {strike.kind} {strike.seconds:g} s {strike.phase} {call}")

    # Faults.

    def _strike(self, fault: Fault) -> None:
        slot = self._slots[fault.slot]
        worker = slot.worker
        if isinstance(fault.what, Strike):
            if worker is not None and not self._healing:
                worker.process.arm(fault.what)
            return
        self.say(str(fault))
        self.figures.struck[fault.what] += 1
        match fault.what:
            case Happening.KILL if worker is not None:
                worker.process.kill()
            case Happening.TERM if worker is not None:
                worker.stop()
            case Happening.REMOVE if sum(it.wanted for it in self._slots.values()) > 1:
                slot.wanted = False
                if worker is not None:
                    worker.stop()
            case Happening.ADD:
                slot.wanted = True
                self._keep(slot)
            case Happening.REPLACE if worker is not None:
                worker.process.stop_for(fault.seconds)
                self._start_again(slot)
            case Happening.CUT_OFF if worker is not None:
                worker.process.cut_off_until = self.kernel.now + fault.seconds
            case Happening.REBALANCE:
                self._group.rebalance()
            case Happening.SHUFFLE:
                self.broker.shuffle_assignments = True
                self.kernel.after(2.0, self._shuffle_no_more)
                self._group.rebalance()
            case Happening.GIVE_UP if worker is not None:
                self._give_up(worker)
            case Happening.LEADERS_GONE:
                for log in self.broker.logs.values():
                    if self._random.random() < 1 / 3:
                        log.away_until = self.kernel.now + min(fault.seconds, 5.0)
                        log.lags_until = log.away_until + self._random.choice((0.0, 0.2, 1.0))
                        log.lags_at = max(0, log.high - self._random.randrange(20))
            case Happening.GROUP_MOVES:
                self._group.fail_over(min(fault.seconds, 7.0))
            case Happening.TRANSACTIONS_MOVE:
                self.broker.transactions_away_until = self.kernel.now + min(fault.seconds, 7.0)
            case Happening.RULES_BREAK if worker is not None:
                worker.process.rules_break_until = self.kernel.now + fault.seconds
                self.kernel.after(fault.seconds + 1.0, partial(self._start_mended, worker))
            case Happening.SLOW_MARKS:
                self.broker.transactions.marks_slow_until = self.kernel.now + fault.seconds
            case _:
                pass
        self._look_after_the_dead()

    def _give_up(self, worker: SimulatedWorker) -> None:
        """Strike in the middle of a rebalance, as often as not."""
        if self._random.random() < 0.5:
            self._group.rebalance()
        after = self._random.choice((0.0, 0.1, 0.5, 1.0))
        self.kernel.after(after, lambda: self._group.give_up(worker.client_id))

    def _start_mended(self, worker: SimulatedWorker) -> None:
        """Start a worker again: what is paused goes on in another process."""
        if worker.is_paused:
            worker.stop()

    def _look_after_the_dead(self) -> None:
        for slot in self._slots.values():
            if slot.worker is not None and slot.worker.process.is_dead:
                self._start_again(slot)

    def _shuffle_no_more(self) -> None:
        self.broker.shuffle_assignments = False

    @property
    def _group(self) -> Any:
        return self.broker.group(self.topics.group)

    def _heal(self) -> None:
        """Let no more faults strike, and start the workers that should run."""
        self._healing = True
        self.say("healed")
        for worker in self._all_workers:
            worker.process.disarm()
            worker.process.rules_break_until = 0.0

    # Producers.

    def _post(self, post: Post) -> None:
        transaction = None
        if post.transaction_s is not None:
            self._client_transactions += 1
            transaction = self._client_transactions
        places = set()
        for it in post.postings:
            count = self.broker.topics[it.topic]
            partition = it.partition if it.partition >= 0 else partition_of(it.key or b"", count)
            self.broker.log((it.topic, partition)).append(self.kernel.now_ms, it.key, it.value, (), transaction)
            places.add((it.topic, partition))
        if transaction is not None:
            assert post.transaction_s is not None
            for place in sorted(places):
                mark = partial(self._mark, self.broker.log(place), transaction, commit=post.commit)
                self.kernel.after(post.transaction_s + self._random.uniform(0.0, 0.01), mark)

    def _mark(self, log: PartitionLog, transaction: int, *, commit: bool) -> None:
        log.mark(self.kernel.now_ms, transaction, commit=commit)

    def _work_on_tasks(self) -> None:
        """Run the task workers: read requests and report after a while; not always, and sometimes twice."""
        self._look_after_the_dead()
        for number in range(self.plan.partitions):
            place = "task-requests", number
            log = self.broker.log(place)
            while (entry := log.visible(self._requests_read.get(place, 0))) is not None:
                self._requests_read[place] = entry.offset + 1
                request = Codec.load().decode(entry.value or b"")
                assert isinstance(request, TaskRequest)
                self._work_on(request)
            self._requests_read[place] = log.last_stable
        self.kernel.after(0.2, self._work_on_tasks)

    def _work_on(self, request: TaskRequest) -> None:
        identity = (request.wf_run_id, request.incarnation, request.thread, request.position, request.attempt)
        luck = crc32(repr(identity).encode())
        if request.task_def == "silent" or luck % 10 == 0:
            return
        status = TaskStatus.FAILED if luck % 7 == 0 else TaskStatus.SUCCESS
        output = f"receipt {luck}" if request.task_def == "charge" else 1
        report = ReportTaskRun(*identity, status, output=output if status is TaskStatus.SUCCESS else None)
        value, key = Codec.load().encode(report), request.wf_run_id.encode()
        place = "task-reports", partition_of(key, self.plan.partitions)
        for _ in range(1 + (luck % 5 == 0)):
            self.kernel.after((luck % 1_000) / 700, partial(self._report, place, key, value))

    def _report(self, place: Place, key: bytes, value: bytes) -> None:
        self.broker.log(place).append(self.kernel.now_ms, key, value)

    # Operators.

    def _operate(self, place: Place, key: bytes, value: bytes) -> None:
        name, _ = decode(value)
        self.say(f"the operator posts {name} to {place[0]}[{place[1]}]")
        self.figures.operated[name] += 1
        self.broker.log(place).append(self.kernel.now_ms, key, value)

    def _time_ms_of(self, topic: str, partition: int, offset: int) -> int:
        return self.broker.log((topic, partition)).entries[offset].timestamp_ms

    def _look_at_pauses(self) -> None:
        """Return what operators see of workers, which is not always the latest."""
        assert self.operator is not None
        assert self.plan.poison is not None
        is_mended = self.kernel.now >= self.plan.poison.mended_at
        broken = [worker for worker in self._workers() if worker.process.breaks_where]
        if is_mended:
            for worker in broken[:1]:
                worker.stop()  # one after the other
        seen = [it for worker in broken for it in worker.readiness.snapshot.paused if not is_mended]
        if wrong := self.operator.look(seen, mended=is_mended and not broken):
            raise WentWrong(wrong[0])
        self.kernel.after(self._random.choice((LOOK_S, LOOK_S, 3.0)), self._look_at_pauses)

    # The end.

    def _is_quiet(self) -> bool:
        self._look_after_the_dead()
        for worker in self._workers():
            self._start_mended(worker)
        if any(slot.wanted and slot.worker is None for slot in self._slots.values()):
            return False
        if self.operator is not None and not self.operator.is_done:
            return False
        newest = max((log.entries[-1].timestamp_ms for log in self._input_logs() if log.entries), default=0)
        if self.kernel.now_ms - newest < QUIET_S * 1_000 or self._unfolded() or self.broker.transactions.open:
            return False
        owned = sorted(shard for worker in self._workers() for shard in worker.shards)
        if owned != list(range(self.plan.partitions)):
            return False
        self.figures.inputs = sum(sum(1 for _ in log.records()) for log in self._input_logs())
        return True

    def _workers(self) -> Iterator[SimulatedWorker]:
        """Return all living workers, also zombies: they may own shards until they hear that others have their slots."""
        return (worker for worker in self._all_workers if not worker.process.is_dead)

    def _input_logs(self) -> Iterator[Any]:
        for topic in (*INPUTS, "definition-commands", *correlating.INPUTS):
            for number in range(self.broker.topics[topic]):
                yield self.broker.log((topic, number))

    def _unfolded(self) -> list[str]:
        """Return the inputs that the state does not have yet."""
        positions: dict[tuple[str, int], int] = {}
        for number in range(self.plan.partitions):
            log = self.broker.log(("fold-positions", number))
            for entry in reversed(log.entries[: log.last_stable]):
                if not entry.is_mark and not entry.is_aborted:
                    row = Codec.load().decode(entry.value or b"")
                    assert isinstance(row, FoldPosition)
                    positions |= {(topic, number): offset for topic, offset in row.offsets.items()}
                    break
        found = []
        for log in self._input_logs():
            position = positions.get(log.place, 0)
            entry = log.visible(position, committed=True)
            if entry is not None or log.last_stable < log.high:
                found.append(f"{log.place[0]}[{log.place[1]}]@{position} (of {log.last_stable}, {log.high})")
        return found

    def _why_not_quiet(self) -> str:
        workers = "; ".join(
            f"{worker.process.name} {worker.readiness.snapshot.as_dict()} last call {worker.process.last_call}"
            for worker in self._workers()
        )
        return (
            f"unfolded {self._unfolded()[:5]}; open transactions {self.broker.transactions.open}; workers: {workers}; "
            f"group {self._group.state} generation {self._group.generation}"
        )


@contextmanager
def world_of(plan: Plan, clients_class: type[Clients] = Clients) -> Iterator[World]:
    """Yield a world that is closed at the end."""
    world = World(plan, clients_class)
    try:
        yield world
    finally:
        world.close()
