"""Kills workers at random under load and gives an independent verdict: python -m tests.support.chaos [options]

    --kills 20          faults in all
    --workers 2         worker processes that are kept running
    --faults kill,term,stop    kill: SIGKILL; term: SIGTERM; stop: SIGSTOP beyond the session, then SIGCONT
    --rate 500          inputs per second
    --kip848            the group protocol of KIP-848

Inputs are themselves written in transactions, every fifth of which is aborted. Without HALTER_BOOTSTRAP an embedded
broker is started. Exit code 1 unless 0 lost, 0 doubled, 0 out of order.
"""

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from confluent_kafka import Producer

from halter.broker import EmbeddedBroker
from tests.support.installation import SHORT_SESSIONS, Installation, WorkerProcess
from tests.support.ledger import Verdict

FAULTS = ("kill", "term", "stop")
RECORDS_PER_TRANSACTION = 20


@dataclass
class Fault:
    """One line of the table."""

    number: int
    what: str
    worker: str
    at_s: float
    inputs: int


class Load:
    """Writes inputs in transactions, every fifth aborted, in a thread of its own."""

    def __init__(self, installation: Installation, rate: float) -> None:
        self.committed = 0
        self._installation, self._rate, self._over = installation, rate, threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        topics, settings = self._installation.topics, self._installation.settings
        producer = Producer(settings.producer(linger_ms=0, transactional_id=f"{topics.prefix}load"))
        producer.init_transactions(30)
        numbers = itertools.count()
        for transaction in itertools.count():
            if self._over.is_set():
                return
            producer.begin_transaction()
            for _ in range(RECORDS_PER_TRANSACTION):
                number = next(numbers)
                value = b'{"timer_ms":1}' if number % 50 == 0 else b"{}"
                producer.produce(topics.inputs[number % 3], value, b"key-%d" % (number % 200))
            if transaction % 5 == 4:
                producer.abort_transaction(30)
            else:
                producer.commit_transaction(30)
                self.committed += RECORDS_PER_TRANSACTION
            time.sleep(RECORDS_PER_TRANSACTION / self._rate)


class Fleet:
    """Keeps workers running: whoever ended is started again."""

    def __init__(self, installation: Installation, size: int) -> None:
        self._installation = installation
        self.slots = [f"slot-{number}" for number in range(size)]
        self.workers: dict[str, WorkerProcess] = {}
        self.starts = 0

    def keep(self) -> None:
        for slot in self.slots:
            worker = self.workers.get(slot)
            if worker is None or worker.process.poll() is not None:
                # Half of them are static members, so that both ways of coming back are tried.
                static = self.slots.index(slot) % 2 == 0
                self.workers[slot] = self._installation.worker(slot, static=static)
                self.starts += 1

    def ready(self) -> list[str]:
        return [slot for slot, worker in self.workers.items() if worker.process.poll() is None and worker.ready]


def wait_ready(fleet: Fleet, count: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while len(fleet.ready()) < count:
        assert time.monotonic() < deadline, "workers did not get ready:\n" + "\n".join(
            worker.log[-2_000:] for worker in fleet.workers.values()
        )
        fleet.keep()
        time.sleep(0.05)


def strike(worker: WorkerProcess, what: str) -> None:
    match what:
        case "kill":
            worker.kill()
        case "term":
            worker.stop()
        case "stop":
            worker.send(signal.SIGSTOP)
            time.sleep(random.uniform(2.5, 4.5))
            worker.send(signal.SIGCONT)


def run(installation: Installation, kills: int, workers: int, faults: list[str], rate: float, seed: int) -> Verdict:
    """Strike `kills` times; return the verdict."""
    random.seed(seed)
    fleet = Fleet(installation, workers)
    begun = time.monotonic()
    with Load(installation, rate) as load:
        wait_ready(fleet, workers)
        print(f"{'#':>3} {'fault':6} {'worker':8} {'at s':>7} {'inputs so far':>14}  (seed {seed})", flush=True)
        for number in range(1, kills + 1):
            time.sleep(random.uniform(0.05, 1.0))
            slot, what = random.choice(fleet.ready() or fleet.slots), faults[number % len(faults)]
            strike(fleet.workers[slot], what)
            print(f"{number:>3} {what:6} {slot:8} {time.monotonic() - begun:>7.1f} {load.committed:>14}", flush=True)
            fleet.keep()
            # Sometimes the next fault meets a fleet that is whole, sometimes one that is still coming back.
            if random.random() < 0.6:
                wait_ready(fleet, workers)
    wait_ready(fleet, workers)
    verdict: Verdict = installation.verdict_when_folded(120)
    logs = [worker.log for worker in installation.workers]
    print(
        f"{load.committed} inputs posted, {fleet.starts} worker processes started, "
        f"{sum(log.count('turn_aborted') for log in logs)} turns aborted, "
        f"{sum(log.count('fencing_dead_owner') for log in logs)} dead owners fenced, "
        f"{sum(log.count('kind=Fenced') for log in logs)} workers fenced"
    )
    print(verdict)
    return verdict


@contextmanager
def some_kafka(folder: Path) -> Iterator[str]:
    """The Kafka that is named, or an embedded one."""
    if named := os.environ.get("HALTER_BOOTSTRAP"):
        yield named
    else:
        with EmbeddedBroker(folder / "kafka") as kafka:
            yield kafka.bootstrap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--faults", default="kill")
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kip848", action="store_true")
    options = parser.parse_args()
    faults = options.faults.split(",")
    if unknown := set(faults) - set(FAULTS):
        parser.error(f"--faults: expected some of {', '.join(FAULTS)}, found {', '.join(sorted(unknown))}")
    variables = {"KAFKA_GROUP_PROTOCOL": "consumer"} if options.kip848 else SHORT_SESSIONS
    with tempfile.TemporaryDirectory(prefix="halter-chaos-") as name:
        folder = Path(name)
        with some_kafka(folder) as bootstrap:
            prefix = f"chaos-{uuid.uuid4().hex[:8]}-"
            with Installation(bootstrap, prefix, folder, partitions=8, variables=variables) as installation:
                verdict = run(installation, options.kills, options.workers, faults, options.rate, options.seed)
    sys.exit(0 if verdict.ok else 1)


if __name__ == "__main__":
    main()
