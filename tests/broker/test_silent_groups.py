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
from tests.support.lost_joins import LostJoin
from tests.support.waiting import wait_until

PREFIX, PARTITIONS = "test-silent-", 1


@pytest.mark.timeout(300)
def test_another_consumer_joins_if_the_group_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Kafka's client waits for the answer for as long as a rebalance may take: five minutes.
    monkeypatch.setattr(session, "SILENT_SECONDS", 3.0)
    worker, lost_join, runs = TaskWorker(), LostJoin(), list[str]()

    @worker.task("pack")
    def pack(task: Task) -> str:
        runs.append(task.wf_run_id)
        return "packed"

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
            brokers.proxies.loses = lost_join
            with capture_logs() as said:
                thread = threading.Thread(target=worker.run, args=(its_client,))
                thread.start()
                try:
                    wait_until("the other consumer's partitions", lambda: worker.is_ready)
                    outcome = client.run("packing", {}, wf_run_id="one").until_ended(60)
                finally:
                    worker.stop()
                    thread.join()
    assert lost_join.happened
    assert "group_is_silent" in [it["event"] for it in said]
    assert outcome.status is Status.COMPLETED
    assert runs == ["one"]
