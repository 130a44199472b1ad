"""A store with files under kill -9: what a worker reads from them and from Kafka is what was committed."""

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from processors.codec import Codec
from processors.core.records.commands import ExternalEvent, PutExternalEventDef, PutWfSpec, RunWf
from processors.fold.stores.rocks import RocksStore
from processors.runtime.group.crash_points import KILLED
from tests.support.halter_processes import ROOT, Halter
from tests.support.waiting import wait_until

WF_SPEC = {
    "name": "counts",
    "entrypoint": "main",
    "threads": {
        "main": {
            "variables": {"total": {"type": "INT", "default": 0}},
            "interrupts": [{"event": "add", "handler": "on-add"}],
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "timeout_s": 86400, "next": "end"},
                "end": {"kind": "EXIT"},
            },
        },
        "on-add": {
            "variables": {"INPUT": {"type": "INT"}},
            "nodes": {
                "start": {
                    "kind": "ENTRYPOINT",
                    "next": {"to": "end", "set": [{"var": "total", "op": "ADD", "value": {"var": "INPUT"}}]},
                },
                "end": {"kind": "EXIT"},
            },
        },
    },
}
WF_RUNS = [f"w{number}" for number in range(12)]
STATE = ("wf-runs", "thread-runs", "wf-run-external-events", "kept-inputs")


class Installation(Halter):
    """Two partitions, one worker at a time, with its files in a folder."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        super().__init__(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", folder, partitions=2)
        self.codec = Codec.load()
        self.store_folder = folder / "store"
        self.producer = Producer(self.settings.producer(linger_ms=0))
        self.posted = 0
        self.environment |= {"HALTER_STORE": "rocksdb", "HALTER_STORE_DIR": str(self.store_folder)}

    def post(self, *records: Any) -> None:
        for record in records:
            topic, key = "wf-commands", getattr(record, "wf_run_id", None)
            if key is None:
                topic, key = "definition-commands", record.name
            elif isinstance(record, ExternalEvent):
                topic = "external-events"
            self.producer.produce(self.settings.prefix + topic, self.codec.encode(record), key.encode())
        assert self.producer.flush(20) == 0

    def interrupt_all(self) -> None:
        self.posted += 1
        self.post(*(ExternalEvent(wf_run_id, "add", f"e{self.posted}", 1) for wf_run_id in WF_RUNS))

    def has_definitions(self, how_many: int) -> bool:
        consumer = Consumer(self.settings.consumer(group_id="test"))
        place = TopicPartition(f"{self.settings.prefix}definitions", 0)
        _, end = consumer.get_watermark_offsets(place, timeout=20)
        consumer.close()
        return end >= how_many

    def rows(self) -> dict[str, dict[bytes, bytes]]:
        """The latest rows of all state topics, read independently."""
        consumer = Consumer(self.settings.consumer(group_id="test", enable_partition_eof=True))
        places = [(f"{self.settings.prefix}{topic}", partition) for topic in STATE for partition in (0, 1)]
        consumer.assign([TopicPartition(*place, 0) for place in places])
        tables: dict[str, dict[bytes, bytes]] = {topic: {} for topic in STATE}
        unread = set(places)
        while unread:
            message = consumer.poll(10)
            assert message is not None
            error = message.error()
            if error is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                unread.discard((message.topic(), message.partition()))
                continue
            table = tables[message.topic().removeprefix(self.settings.prefix)]
            if message.value() is None:
                table.pop(message.key(), None)
            else:
                table[message.key()] = message.value()
        consumer.close()
        return tables

    def totals(self) -> list[int]:
        threads = self.rows()["thread-runs"]
        found: list[Any] = [self.codec.decode(row) for key, row in threads.items() if key.endswith(b"/0")]
        return [thread.variables["total"] for thread in found]

    def wait_for_totals(self, seconds: float = 60) -> None:
        wait_until("all interrupts to be handled once", lambda: self.totals() == [self.posted] * len(WF_RUNS), seconds)

    def files(self) -> dict[str, dict[bytes, bytes]]:
        """What is in the files of a worker that has ended."""
        tables: dict[str, dict[bytes, bytes]] = {topic: {} for topic in STATE}
        for partition in ("0", "1"):
            (folder,) = self.store_folder.glob(f"*/{partition}")
            store = RocksStore(folder, {}, 3_600)
            for _, rows in store._all():
                for row in rows:
                    tables[row.topic][row.key] = row.value
            store.close()
        return tables


@pytest.fixture(scope="module")
def installation(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """One for all: each test adds to the history that the next one must keep."""
    it = Installation(bootstrap, tmp_path_factory.mktemp("stores"))
    with it.worker("w"):
        with it.client() as client:
            client.put(PutExternalEventDef("add"))
            client.put(PutExternalEventDef("go"))
            position = client.put(PutWfSpec("counts", json.dumps(WF_SPEC))).position
        it.post(*(RunWf(wf_run_id, "counts", definitions_position=position) for wf_run_id in WF_RUNS))
        it.interrupt_all()
        it.wait_for_totals()
    return it


def has_ended(worker: "subprocess.Popen[bytes]", seconds: float) -> bool:
    try:
        worker.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def crash(installation: Installation, at: str) -> None:
    with (installation.folder / "w.log").open("ab") as log:
        command = [sys.executable, "-m", "halter", "worker", "--slot", "w"]
        environment = {**installation.environment, "HALTER_CRASH_AT": at}
        worker = subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        # Turns are counted, so that there have to be some.
        deadline = time.monotonic() + 60
        while not has_ended(worker, 0.3):
            assert time.monotonic() < deadline
            installation.interrupt_all()
    finally:
        worker.kill()
    assert worker.wait() == KILLED


@pytest.mark.parametrize("at", ["after-restore:1", "mid-fold:2", "after-flush:3", "after-commit:2"])
def test_a_worker_killed_at_any_step_goes_on_from_its_files(installation: Installation, at: str) -> None:
    crash(installation, at)
    with installation.worker("w"):
        installation.interrupt_all()
        installation.wait_for_totals()
    assert installation.files() == installation.rows()
    log = (installation.folder / "w.log").read_text()
    assert "store_wiped" not in log


def test_a_worker_reads_only_what_came_after_its_checkpoint(installation: Installation) -> None:
    with installation.worker("w"):
        installation.interrupt_all()
        installation.wait_for_totals()
    log = installation.folder / "w.log"
    before = len(log.read_text())
    with installation.worker("w"):
        pass
    read = [line for line in log.read_text()[before:].splitlines() if "restored" in line]
    # Of the definitions everything; of the state what the last seconds before the end have brought.
    assert [int(line.split("records=")[1].split()[0]) < 12 * 5 + 20 for line in read] == [True], read


def test_a_worker_without_a_slot_is_refused_files(installation: Installation) -> None:
    done = installation.command_in_a_process("worker")
    assert done.returncode == 1
    assert "needs a worker whose slot stays" in done.stderr


def test_a_partition_whose_own_row_cannot_be_read_stands_still_and_the_others_go_on(
    bootstrap: str, tmp_path: Path
) -> None:
    it = Installation(bootstrap, tmp_path)
    it.producer.produce(f"{it.settings.prefix}fold-positions", b"nonsense", b"1", 1)
    assert it.producer.flush(20) == 0
    log = tmp_path / "w.log"
    worker = subprocess.Popen(
        [sys.executable, "-m", "halter", "worker", "--slot", "w"],
        env=it.environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stderr=log.open("wb"),
    )
    try:
        it.post(PutExternalEventDef("add"))
        wait_until("a definition to be folded in partition 0", lambda: it.has_definitions(1), 60)
        assert "fold-positions[1], key b'1': expected Avro single-object encoding" in log.read_text()
        assert worker.poll() is None
    finally:
        worker.terminate()
        assert worker.wait(20) == 0
