"""The procedures of docs/operations.md on a real Kafka: the metrics say what is wrong, and that it is mended."""

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from halter.client import Client
from halter.task_worker import TaskWorker
from processors.core.records.commands import PutExternalEventDef, PutTaskDef, PutWfSpec
from processors.kafka.partitioner import partition_of
from tests.support.installation import Installation, WorkerProcess
from tests.support.waiting import wait_until

PARTITIONS = 2
BAD = "bad-1"
PARTITION = partition_of(BAD.encode(), PARTITIONS)
NEIGHBOUR = next(
    it for it in (f"good-{number}" for number in range(40)) if partition_of(it.encode(), PARTITIONS) == PARTITION
)
PACKING = {
    "name": "packing",
    "entrypoint": "main",
    "threads": {
        "main": {
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "pack"},
                "pack": {"kind": "TASK", "task": "pack", "timeout_s": 1, "next": "end"},
                "end": {"kind": "EXIT"},
            }
        }
    },
}


@pytest.fixture
def installation(bootstrap: str, prefix: str, tmp_path: Path) -> Iterator[Installation]:
    variables = {"HALTER_STORE": "rocksdb", "HALTER_STORE_DIR": str(tmp_path / "store")}
    with Installation(bootstrap, prefix, tmp_path, partitions=PARTITIONS, variables=variables) as it:
        yield it


@pytest.fixture
def client(installation: Installation) -> Iterator[Client]:
    with Client.of(installation.settings, installation.topics) as it:
        yield it


def worker(installation: Installation, port: int, breaks: str = "") -> WorkerProcess:
    started = installation.worker(
        "one", module="tests.support.breaking_worker", HALTER_TEST_BREAKS=breaks, HALTER_TEST_PORT=str(port)
    )
    wait_until("partitions", lambda: len(started.shards) == PARTITIONS)
    return started


def put_packing(client: Client) -> None:
    for command in (PutExternalEventDef("go"), PutTaskDef("pack")):
        client.put(command)
    client.put(PutWfSpec("packing", json.dumps(PACKING)))


@pytest.fixture
def value(unused_port: int) -> Callable[..., float]:
    """Return a function that sums the samples of a metric with these labels."""

    def summed(name: str, **labels: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    return summed


def test_a_paused_partition_is_told_with_what_waits_and_goes_on_after_quarantine_and_release(
    installation: Installation, client: Client, unused_port: int, value: Callable[..., float]
) -> None:
    here = {"partition": str(PARTITION)}
    broken = worker(installation, unused_port, "rule")
    put_packing(client)
    client.run("packing", wf_run_id=BAD)
    wait_until("the pause", lambda: value("halter_partition_paused", **here) == 1)
    waits = client.run("packing", wf_run_id=NEIGHBOUR)
    assert value("halter_ready") == 0
    wait_until("the lag", lambda: value("halter_lag_offsets", topic="wf-commands", **here) >= 1)
    wait_until("the age", lambda: value("halter_oldest_unfolded_record_age_seconds", **here) > 1)
    client.quarantine(BAD).outcome()
    waits.outcome()
    wait_until("the end of the pause", lambda: value("halter_partition_paused", **here) == 0)
    assert value("halter_quarantined_wf_runs", **here) == 1
    wait_until("the end of the lag", lambda: value("halter_lag_offsets", **here) == 0)
    assert value("halter_oldest_unfolded_record_age_seconds", **here) == 0
    assert value("halter_pauses_total") >= 1
    assert broken.stop()[0] == 0
    worker(installation, unused_port)
    assert value("halter_quarantined_wf_runs", **here) == 1
    client.release(BAD).outcome()
    wait_until("the release", lambda: value("halter_quarantined_wf_runs") == 0)
    wait_until("both WfRuns", lambda: value("halter_wf_runs", wf_spec="packing", status="RUNNING") == 2)


def test_what_stops_wf_runs_is_told_and_survives_a_restart_and_a_store_that_was_deleted(
    installation: Installation, client: Client, unused_port: int, value: Callable[..., float]
) -> None:
    first = worker(installation, unused_port)
    put_packing(client)
    # No task worker: attempts time out, and none ends otherwise.
    client.run("packing", wf_run_id="w1").outcome()
    client.post("w1", "go").outcome()
    assert value("halter_armed_timers", kind="TASK_TIMEOUT") == 1
    wait_until("a time-out", lambda: value("halter_task_attempts_ended_total", status="TIMEOUT") == 1)
    assert value("halter_wf_runs", status="ERROR") == 1
    task_worker = TaskWorker()
    task_worker.task("pack")(lambda: None)
    runs = Thread(target=task_worker.run, args=(client,), daemon=True)
    runs.start()
    wait_until("the task worker", lambda: task_worker.is_ready)
    client.rescue("w1").outcome()
    wait_until("the report", lambda: value("halter_task_attempts_ended_total", status="SUCCESS") == 1)
    task_worker.stop()
    # A producer that writes something else, and one that names what is not there.
    producer = Producer(installation.settings.producer())
    producer.produce(installation.prefix + "external-events", b"?", b"w1", partition=partition_of(b"w1", PARTITIONS))
    producer.flush(10)
    wait_until("the dead letter", lambda: value("halter_dead_letters_total") == 1)
    assert "halter.reason" in headers_of_dead_letters(installation)
    client.run("nosuch", wf_run_id="w2")
    wait_until("the refusal", lambda: value("halter_rejections_total", command="RunWf", code="NOT_FOUND") == 1)
    # Stopped and forgotten.
    client.run("packing", wf_run_id="w3").outcome()
    client.stop("w3").outcome()
    wait_until("the hold", lambda: value("halter_oldest_hold_age_seconds", halt_reason="MANUAL_HALT") > 0)
    wait_until("rows", lambda: value("halter_wf_runs", status="COMPLETED") == 1)
    before = {status: value("halter_wf_runs", status=status) for status in ("RUNNING", "HALTED", "COMPLETED", "ERROR")}
    assert before == {"RUNNING": 0, "HALTED": 1, "COMPLETED": 1, "ERROR": 0}
    assert value("halter_store_free_bytes") > 0
    assert value("halter_store_bytes") > 0
    first.kill()
    second = worker(installation, unused_port)
    assert {status: value("halter_wf_runs", status=status) for status in before} == before
    assert value("halter_held_threads", halt_reason="MANUAL_HALT") == 1
    assert value("halter_load_seconds_count") >= 1
    assert second.stop()[0] == 0
    shutil.rmtree(installation.folder / "store")
    worker(installation, unused_port)
    assert {status: value("halter_wf_runs", status=status) for status in before} == before
    client.resume("w3").outcome()
    wait_until("the end of the hold", lambda: value("halter_held_threads", halt_reason="MANUAL_HALT") == 0)


def headers_of_dead_letters(installation: Installation) -> set[str]:
    """Return the names of the headers of the first dead letter."""
    (message,) = installation.ledger.read(installation.topics.dead_letters)
    return {name for name, _ in message.headers() or ()}
