"""A worker that gets more than it can handle, or whose broker is away for long, on a real Kafka.

Short versions run with the others; `make outages` runs those that take minutes.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from halter.broker import EmbeddedBroker
from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.clients import Clients, Slot
from processors.runtime.group.cluster import Cluster
from processors.runtime.group.crash_points import CrashPoints
from processors.runtime.group.errors import NotSettled
from processors.runtime.group.membership import Membership
from processors.runtime.group.names import ShardTopics
from processors.runtime.group.readiness import Readiness
from processors.runtime.group.transaction import Transaction
from processors.runtime.loading.settlement import Settlement
from tests.support.counting_fold import CountingDefinitions, CountingFactory
from tests.support.installation import Installation, WorkerProcess
from tests.support.waiting import wait_until

LONG = "HALTER_LONG_OUTAGES" in os.environ


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker that a test may kill without hurting others."""
    with EmbeddedBroker(tmp_path / "kafka") as it:
        yield it


@pytest.mark.parametrize("seconds", [120 if LONG else 8])
def test_a_worker_whose_broker_is_away_waits_says_so_and_goes_on_by_itself(
    kafka: EmbeddedBroker, prefix: str, tmp_path: Path, seconds: int
) -> None:
    with Installation(kafka.bootstrap, prefix, tmp_path, partitions=2) as installation:
        worker = installation.worker("one")
        worker.wait_ready(90)
        installation.post_many(20)
        # A broker that is alone may lose the marks of a transaction that it has just ended: here all are written.
        assert installation.verdict_when_folded(60).ok
        kafka.kill()
        away_since = time.monotonic()
        wait_until("a worker that says it is not ready", lambda: worker.ready is None, 60)
        wait_until("the end of the outage", lambda: time.monotonic() - away_since > seconds, seconds + 10)
        assert worker.process.poll() is None, worker.log
        kafka.restart()
        worker.wait_ready(120)
        installation.post_many(20)
        verdict = installation.verdict_when_folded(120)
        assert verdict.ok, verdict
        assert verdict.inputs == 40
        assert "waiting_for_kafka" in worker.log
        assert "kafka_answers" in worker.log


def resident_mib(worker: WorkerProcess) -> float:
    """Memory of a process that is in use."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="utf-8")
    (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kib) / 1024


def latency_s(installation: Installation, seconds: float) -> float:
    """How long a record takes from being posted to being folded and committed."""
    begun = time.monotonic()
    where = installation.post("external-events", "probe", probe=True)
    installation.ledger.wait_until_folded([where], seconds)
    return time.monotonic() - begun


SLOW: dict[str, Any] = {"slow_s": 0.002, "pad": "x" * 1_000}
"""A worker handles at most 500 of these in a second."""
AT_ONCE = 5_000
"""What comes in one second is ten times as much."""


@pytest.mark.parametrize("seconds", [60 if LONG else 1])
def test_ten_times_more_than_can_be_handled_costs_time_and_nothing_else(
    bootstrap: str, prefix: str, tmp_path: Path, seconds: int
) -> None:
    with Installation(bootstrap, prefix, tmp_path, partitions=2, variables={}) as installation:
        worker = installation.worker("one")
        worker.wait_ready(90)
        installation.post_many(200, **SLOW)
        installation.ledger.wait_until_folded(installation.ledger.inputs(), 60)
        before_s, before_mib = latency_s(installation, 60), resident_mib(worker)
        most_mib = before_mib
        for _ in range(seconds):
            next_second = time.monotonic() + 1
            installation.post_many(AT_ONCE, keys=200, **SLOW)
            most_mib = max(most_mib, resident_mib(worker))
            time.sleep(max(0.0, next_second - time.monotonic()))
        names = [topic.removeprefix(installation.prefix) for topic in installation.topics.inputs[:3]]
        last = [installation.post(name, f"last-{key}") for name in names for key in range(10)]
        deadline = time.monotonic() + 60 + 30 * seconds

        def is_handled() -> bool:
            nonlocal most_mib
            most_mib = max(most_mib, resident_mib(worker))
            positions = installation.ledger.committed_positions()
            return all(positions.get((topic, partition), 0) > offset for topic, partition, offset in last)

        wait_until("the end of the backlog", is_handled, deadline - time.monotonic())
        after_s = latency_s(installation, 60)
        print(f"RSS {before_mib:.0f} -> {most_mib:.0f} MiB, latency {before_s:.2f} -> {after_s:.2f} s")
        assert most_mib < before_mib + MORE_MIB
        assert after_s < before_s + 5
        assert worker.log.count("assigned") == 1, worker.log
        assert worker.log.count("revoked") == worker.log.count("lost") == 0, worker.log


MORE_MIB = 300
"""What a backlog may cost: what the client reads ahead, and what a turn holds."""


def drive(work: Iterator[None], deadline: float) -> None:
    """Come back to work that waits, until it ends."""
    for _ in work:
        assert time.monotonic() < deadline


def test_a_transaction_that_nobody_ends_ends_the_worker_with_its_partition_and_the_way_out(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    with Installation(bootstrap, prefix, tmp_path, partitions=1) as installation:
        topic = installation.prefix + "wf-runs"
        hanging = Producer(installation.settings.producer(**{"transactional.id": prefix + "x"}))
        hanging.init_transactions(30)
        hanging.begin_transaction()
        hanging.produce(topic, b"row", b"key", partition=0)
        assert hanging.flush(30) == 0
        names = ShardTopics(installation.prefix, CountingFactory(CountingDefinitions()))
        clients = Clients(installation.settings, installation.topics, Slot("one"))
        membership = Membership(clients, names)
        transaction = Transaction(clients, names, membership, KafkaCalls(Readiness()), CrashPoints())
        settlement = Settlement(Cluster(clients), names, transaction, clients.transactional_id, hanging_seconds=1.0)
        work = settlement.settle({0})
        with pytest.raises(NotSettled, match=r"wf-runs\[0\]: expected its last stable offset .* --start-offset 0`"):
            drive(work, time.monotonic() + 50)
        hanging.abort_transaction(30)
