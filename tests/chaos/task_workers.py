"""`python -m tests.chaos.task_workers`: attacks two task workers, fault by fault, and prints what came of the attempts.

For each fault two processes of `halter task-worker` share the attempts of some WfRuns, and the fault strikes once a
third of the handlers have ended. The handlers write down each run, each process in a file of its own. What came of the
attempts is read from the log. The worker of the engine is left alone, except that brokers serve it too; if it ends, it
is started again.
"""

import argparse
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from halter.client import Client
from processors.codec import Codec
from processors.core.records.events import LogEntry, TaskAttemptEnded, TaskAttemptRequested, ThreadHalted, WfRunEnded
from processors.core.records.model import Status, TaskStatus
from processors.core.records.topic_names import WF_EVENTS
from processors.core.records.values import VariableType
from tests.chaos import strikes
from tests.chaos.fleet import Fleet
from tests.chaos.kafka import Brokers
from tests.chaos.reading import consumer, partitions_of
from tests.chaos.strikes import END_SECONDS, SESSION_MS, Attacked
from tests.support.halter_processes import Halter
from tests.support.slow_tasks import Runs
from tests.support.waiting import wait_until

PREFIX, PARTITIONS, CONCURRENCY = "chaos-tasks-", 6, 4
TASKS: Final = ("slow", "slow-async")
COLUMNS: Final = ("WfRuns", "completed", "attempts", "handler runs", "lost", "repeated")


class Attempts:
    """What the log says of task attempts, read as far as somebody has waited for it."""

    def __init__(self, bootstrap: str, engine: Fleet) -> None:
        self._codec, self._engine = Codec.load(), engine
        self._consumer = consumer(bootstrap, **{"enable.partition.eof": False})
        self._consumer.assign(partitions_of((WF_EVENTS,), PREFIX, PARTITIONS))
        self.requested: set[tuple[str, int, int, int]] = set()
        """WfRun, thread, position and number of each attempt."""
        self.ended: dict[tuple[str, int, int, int], TaskStatus] = {}
        self.halted: set[str] = set()
        """The WfRuns whose thread was HALTED once."""
        self.wf_runs: dict[str, Status] = {}
        """The WfRuns that have ended."""

    def read(self) -> None:
        """Read what there is."""
        for message in self._consumer.consume(500, 0.1):
            if message.error() is None and (value := message.value()) is not None:
                entry = self._codec.decode(value)
                assert isinstance(entry, LogEntry)
                self._take(entry.wf_run_id, entry.event)

    def _take(self, wf_run_id: str, event: object) -> None:
        match event:
            case TaskAttemptRequested():
                self.requested.add((wf_run_id, event.thread, event.position, event.attempt))
            case TaskAttemptEnded():
                self.ended[wf_run_id, event.thread, event.position, event.attempt] = event.status
            case ThreadHalted():
                self.halted.add(wf_run_id)
            case WfRunEnded():
                self.wf_runs[wf_run_id] = event.status

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = END_SECONDS) -> None:
        """Read until a condition holds."""

        def holds() -> bool:
            self._engine.keep()  # a worker whose only broker has died may end itself
            self.read()
            return condition()

        wait_until(what, holds, seconds, 0.0)

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()


@dataclass
class Scene:
    """The installation, as a fault sees it."""

    brokers: Brokers
    client: Client
    attempts: Attempts
    runs: Runs
    workers: "TaskWorkers"
    ids: list[str] = field(default_factory=list)
    """The WfRuns of the load."""

    @property
    def attacked(self) -> "list[TaskWorkers]":
        """The task workers."""
        return [self.workers]

    def wait_runs(self, share: float) -> None:
        """Wait until so many of the handlers have ended."""
        wait_until("ends of handlers", lambda: len(self.noted("end")) >= share * len(self.ids), END_SECONDS)

    def noted(self, what: str) -> list[tuple[str, int]]:
        """Return WfRun and attempt of each line of the load that begins so. A repeat of an earlier load may be late."""
        ids = set(self.ids)
        return [it for it in self.runs.all(what) if it[0] in ids]


def rebalance(scene: Scene) -> None:
    third = scene.workers.add()
    scene.wait_runs(0.6)
    third.send_signal(signal.SIGTERM)
    assert third.wait(20) == 0


def stop_and_resume(scene: Scene) -> None:
    """Stop every third WfRun, those that wait and those that run, and let it go on when it stands still."""
    stopped = [it for it in scene.ids[::3] if it not in scene.attempts.wf_runs]
    for it in stopped:
        scene.client.stop(it)
    scene.attempts.wait("WfRuns that stand still", lambda: still(scene.attempts) >= set(stopped))
    for it in stopped:
        scene.client.resume(it)


def still(attempts: Attempts) -> set[str]:
    """Return the WfRuns that have ended, or have stood still once."""
    return attempts.halted | attempts.wf_runs.keys()


@dataclass(frozen=True)
class Fault:
    """A fault, and the load that it strikes."""

    text: str
    strike: Callable[[Scene], None]
    repeats: bool = False
    """Whether handlers may run again for an attempt that has run: after a death, or a hand-over that cannot wait."""
    ms: int = 400
    """How long each handler takes."""
    wf_runs: int = 60
    options: tuple[str, ...] = ()
    """Further options of the task workers."""


FAULTS: Final[Mapping[str, Fault]] = {
    "none": Fault("none", strikes.nothing),
    "kill": Fault("`kill -9` of one of the two", strikes.kill, repeats=True),
    "rebalance": Fault("a third one joins, and leaves", rebalance),
    "slow": Fault(
        "handlers of 8 s, where `max.poll.interval.ms` is 6 s", strikes.nothing, ms=8_000, wf_runs=16,
        options=("-X", "max.poll.interval.ms=6000"),
    ),
    "stop": Fault("every third WfRun is stopped, and resumed", stop_and_resume, ms=1_000, wf_runs=45),
    "sigterm": Fault("SIGTERM to one of the two", strikes.terminate),
    "grace": Fault(
        "SIGTERM to one whose handlers outlast the grace", strikes.terminate, repeats=True, ms=2_000, wf_runs=24,
        options=("--grace", "0.2"),
    ),
    # On a busy machine the broker comes back later than the session lasts.
    "broker-away": Fault("the broker stands still for 4 s", strikes.stop_the_broker),
    "broker-killed": Fault(
        "the broker is killed with `kill -9`, and comes back", strikes.kill_the_broker, repeats=True,
    ),
}  # fmt: skip


@dataclass
class Outcome:
    """What came of the attempts under one fault."""

    name: str
    wf_runs: int
    completed: int
    attempts: int
    runs: int
    """How often a handler began."""
    lost: int
    """Attempts that no report ended, but their time-out or nothing."""
    repeated: int
    """Runs of an attempt that had been run before."""
    problems: list[str] = field(default_factory=list)

    @property
    def row(self) -> str:
        """Return a row of the table."""
        numbers = (self.wf_runs, self.completed, self.attempts, self.runs, self.lost, self.repeated)
        return strikes.row(FAULTS[self.name].text, *numbers)


def judged(name: str, scene: Scene) -> Outcome:
    """Compare what the log says with what the handlers wrote down."""
    ids, log = set(scene.ids), scene.attempts
    requested = {it for it in log.requested if it[0] in ids}
    begun = Counter(scene.noted("begin"))
    lost = [it for it in requested if log.ended.get(it, TaskStatus.TIMEOUT) is TaskStatus.TIMEOUT]
    completed = sum(log.wf_runs.get(it) is Status.COMPLETED for it in ids)
    it = Outcome(
        name, len(ids), completed, len(requested), begun.total(), len(lost), begun.total() - len(begun),
    )  # fmt: skip
    if completed < len(ids):
        it.problems.append(f"{len(ids) - completed} WfRuns have not completed")
    if lost:
        it.problems.append(f"{len(lost)} attempts are lost: {sorted(lost)[:3]}")
    if it.repeated and not FAULTS[name].repeats and not scene.workers.sessions_lost:
        it.problems.append(f"{it.repeated} runs were repeated: {[at for at, times in begun.items() if times > 1][:3]}")
    return it


class TaskWorkers(Attacked):
    """The processes that faults strike. A context manager.

    Those that have survived a fault serve the next one, if it needs no other options: to start one and to wait until
    the group has taken it in takes longer than most faults.
    """

    def __init__(self, halter: Halter) -> None:
        super().__init__()
        self._halter = halter
        self._fault = next(iter(FAULTS))
        self._lost_before = 0
        self._numbers = count()

    @property
    def sessions_lost(self) -> int:
        """How often the group has given one of them up since the fault is prepared: others run again what they ran."""
        return self._lost() - self._lost_before

    def _lost(self) -> int:
        return sum(it.read_text().count("partitions_lost") for it in self._halter.folder.glob("*.log"))

    def ready(self, fault: str, number: int = 2) -> None:
        """Have so many of them in the group, with the options of a fault."""
        if FAULTS[fault].options != FAULTS[self._fault].options:
            self._stack.close()
        self._fault, self._lost_before = fault, self._lost()
        self.started = [it for it in self.started if it.poll() is None]
        if missing := number - len(self.started):
            self.add(missing)

    def add(self, number: int = 1) -> subprocess.Popen[bytes]:
        """Start some more, side by side. Return the last one when all have joined the group."""
        names = [f"{self._fault}-{next(self._numbers)}" for _ in range(number)]
        for name in names:
            started = self._halter.started(
                name, "-m", "halter", "task-worker", "tests.support.slow_tasks:worker",
                "--concurrency", str(CONCURRENCY), "-X", f"session.timeout.ms={SESSION_MS}",
                *FAULTS[self._fault].options,
            )  # fmt: skip
            self.started.append(self._stack.enter_context(started))
        for name in names:
            log = self._halter.folder / f"{name}.log"
            wait_until(f"partitions of {name}", lambda log=log: "partitions_assigned" in log.read_text(), 60)  # type: ignore[misc]
        return self.started[-1]


class Attack:
    """One installation, in which fault after fault strikes. The caller made the folder."""

    def __init__(self, folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
        self._folder, self._say = folder, say

    def run(self, names: Sequence[str], share: float = 1.0) -> Iterator[Outcome]:
        """Yield what came of each fault. `share` of the WfRuns are enough for a short attack."""
        with ExitStack() as stack:
            brokers = stack.enter_context(Brokers(self._folder / "kafka", 1))
            halter = Halter(brokers.bootstrap, PREFIX, self._folder, PARTITIONS)
            halter.environment["RUNS"] = str(self._folder / "runs")
            runs = Runs(self._folder / "runs")
            engine = Fleet(brokers.bootstrap, brokers.proxied_bootstrap, halter.environment, self._folder, "static")
            stack.callback(engine.end)
            engine.add()
            engine.wait_ready()
            client = stack.enter_context(halter.client())
            for task in (*TASKS, "leaves-a-thread"):  # the handlers that the program has
                client.put_task_def(task, {"ms": VariableType.INT}, VariableType.STR)
            for task in TASKS:
                client.put_wf_spec(wf_spec(task))
            attempts = Attempts(brokers.bootstrap, engine)
            stack.callback(attempts.close)
            workers = stack.enter_context(TaskWorkers(halter))
            for name in names:
                runs.forget()
                yield self._struck(name, share, Scene(brokers, client, attempts, runs, workers))

    def _struck(self, name: str, share: float, scene: Scene) -> Outcome:
        fault, begun = FAULTS[name], time.monotonic()
        scene.workers.ready(name)
        for number in range(round(fault.wf_runs * share)):
            scene.ids.append(f"{name}-{number}")
            scene.client.run(TASKS[number % 2], {"ms": fault.ms}, wf_run_id=scene.ids[-1])
        scene.wait_runs(1 / 3)
        fault.strike(scene)
        scene.attempts.wait(
            f"the ends of WfRuns after '{name}'", lambda: scene.attempts.wf_runs.keys() >= set(scene.ids)
        )
        outcome = judged(name, scene)
        self._say(f"{name}: {time.monotonic() - begun:.0f} s; {'; '.join(outcome.problems) or 'as promised'}")
        return outcome


def wf_spec(task: str) -> dict[str, Any]:
    """Return the WfSpec of a name whose only node runs the task of that name."""
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "work"},
        "work": {
            "kind": "TASK", "task": task, "input": {"ms": {"var": "ms"}}, "run_timeout_s": 90, "retries": 3,
            "next": "done",
        },
        "done": {"kind": "EXIT"},
    }  # fmt: skip
    main = {"variables": {"ms": {"type": "INT"}}, "nodes": nodes}
    return {"name": task, "entrypoint": "main", "threads": {"main": main}}


def main() -> None:
    """Attack, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.task_workers", description=__doc__)

    def run(folder: Path, names: Sequence[str], _: argparse.Namespace, say: Callable[[str], None]) -> Iterator[Outcome]:
        return Attack(folder, say).run(names)

    strikes.attack(parser, FAULTS, COLUMNS, run)


if __name__ == "__main__":
    main()
