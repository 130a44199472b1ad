"""A task worker whose group says nothing, on a real Kafka: its request to join is lost, its connection stays open."""

import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from halter.task_worker import Task, TaskWorker, session
from processors.core.records.model import Status
from processors.core.records.values import VariableType
from tests.chaos.kafka import Brokers
from tests.support.halter_processes import Halter
from tests.support.waiting import wait_until

PREFIX, PARTITIONS = "test-silent-", 1
JOIN_GROUP = (11).to_bytes(2, "big")
"""Where Kafka's protocol has the kind of a request: behind the four bytes of its length."""


@pytest.mark.timeout(300)
def test_another_consumer_joins_if_the_group_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Kafka's client waits for the answer for as long as a rebalance may take: five minutes.
    monkeypatch.setattr(session, "SILENT_SECONDS", 3.0)
    worker, lost, runs = TaskWorker(), list[bytes](), list[str]()

    @worker.task("pack")
    def pack(task: Task) -> str:
        runs.append(task.wf_run_id)
        return "packed"

    def loses(data: bytes) -> bool:
        if data[4:6] == JOIN_GROUP and not lost:
            lost.append(data)
            return True
        return False

    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "pack"},
        "pack": {"kind": "TASK", "task": "pack", "timeout_s": 120, "next": "done"},
        "done": {"kind": "EXIT"},
    }
    with Brokers(tmp_path / "kafka", 1) as brokers:
        halter = Halter(brokers.bootstrap, PREFIX, tmp_path, PARTITIONS)
        behind_the_proxy = Halter(brokers.proxied_bootstrap, PREFIX, tmp_path, PARTITIONS)
        with halter.worker(), halter.client() as client, behind_the_proxy.client() as its_client:
            client.put_task_def("pack", {}, VariableType.STR)
            client.put_wf_spec({"name": "packing", "entrypoint": "main", "threads": {"main": {"nodes": nodes}}})
            brokers.proxies.loses = loses
            with capture_logs() as said:
                thread = threading.Thread(target=worker.run, args=(its_client,))
                thread.start()
                try:
                    wait_until("the other consumer's partitions", lambda: worker.is_ready)
                    outcome = client.run("packing", {}, wf_run_id="one").until_ended(60)
                finally:
                    worker.stop()
                    thread.join()
    assert lost
    assert "group_is_silent" in [it["event"] for it in said]
    assert outcome.status is Status.COMPLETED
    assert runs == ["one"]
