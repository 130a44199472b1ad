"""`halter verify` and `halter check-state` with a real Kafka and what a real worker wrote."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from halter.client import Client
from halter.files.definition_files import read_definition_file
from halter.history.live import Live
from processors.core.rules.versions import RULES
from processors.kafka.partitioner import partition_of
from tests.support.halter_processes import Halter
from tests.support.waiting import wait_until

CART = Path(__file__).parents[2] / "examples" / "cart"
CARD = "card-12345678"
MUG = {"sku": "mug", "name": "Mug", "quantity": 2, "price_cents": 1450}
PAYING = {
    "name": "paying",
    "entrypoint": "main",
    "correlated_events": {"paid": {"var": "order"}},
    "threads": {
        "main": {
            "variables": {"order": {"type": "STR"}},
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "paid", "next": "done"},
                "done": {"kind": "EXIT"},
            },
        }
    },
}
WF_RUNS = [f"cart-{number}" for number in range(6)]


@pytest.fixture(scope="module")
def recorded(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    """An installation where carts ran, one was in quarantine, and one record was a dead letter."""
    halter = Halter(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", tmp_path_factory.mktemp("verify"))
    with halter.worker(), halter.client() as client:
        for command in read_definition_file(CART / "cart.yaml").commands:
            client.put(command)
        for wf_run_id in WF_RUNS:
            client.run("cart", {"customer": "Ann", "card": CARD}, wf_run_id=wf_run_id).outcome()
            client.post(wf_run_id, "item-added", MUG).outcome()
        client.quarantine("cart-0", "to see", "ann").outcome()
        kept = client.post("cart-0", "page-seen", "mugs")
        kept.outcome()
        client.release("cart-0", None, "ann").outcome()
        producer = Producer(halter.settings.producer())
        partition = partition_of(b"cart-1", halter.topics.partitions)
        producer.produce(halter.topics.external_events, b"rubbish", b"cart-1", partition=partition)
        producer.flush(10)
        for wf_run_id in WF_RUNS:
            for event, content in (("slot-chosen", "monday"), ("checkout", None), ("address-changed", "12 Harbour St")):
                client.post(wf_run_id, event, content).outcome()
        client.put_external_event_def("paid")
        client.put_wf_spec(PAYING)
        for wf_run_id in ("paying-1", "paying-2"):
            client.run("paying", {"order": "A7"}, wf_run_id=wf_run_id).outcome()
        wait_until("who has the key", lambda: who_has(client) == {"paying-1", "paying-2"}, 30)
        client.post_correlated("A7", "paid").outcome()
        wait_until("that they have ended", lambda: not who_has(client), 30)
        yield halter


def who_has(client: Client) -> set[str]:
    found = client.correlation("A7", "paid")
    return set() if found is None else {it.wf_run_id for it in found.wf_runs}


def verify(halter: Halter, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run `halter verify … --json`."""
    done = halter.command_in_a_process("verify", *arguments, "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_all_that_a_worker_wrote_verifies_partition_by_partition(recorded: Halter) -> None:
    code, found = verify(recorded, "--all", "--processes", "2")
    assert (code, found["same"], found["not_verified"]) == (0, True, {})
    assert found["wf_runs_started"] == len(WF_RUNS) + 2
    assert found["dead_letters"] == 1
    assert found["keys"] == {
        "decisions": 5,  # two registrations, the event, and two removals
        "taken_as_they_are": 0,
        "are_decided_again": True,
        "that_differ": 0,
        "not_verified": {},
        "differences": [],
    }
    with recorded.client() as client:
        ends = [client.reader.bounds(recorded.topics.wf_events, number)[1] for number in range(3)]
    assert 0 < found["events"] <= sum(ends)


def test_an_error_in_a_process_of_a_partition_is_one_sentence(recorded: Halter, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    done = recorded.command_in_a_process("verify", "--all", "--processes", "2", "--rules", str(python))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "expected a version of Halter that has `halter verify`" in done.stderr


def test_one_wf_run_verifies_too(recorded: Halter) -> None:
    code, found = verify(recorded, "cart-0", "cart-3")
    assert (code, found["same"], found["wf_runs_started"]) == (0, True, 2)
    text = recorded.command_in_a_process("verify", "cart-3").stdout
    assert "every event is as it was recorded" in text


def test_what_a_worker_wrote_names_the_rules_that_decided_it(recorded: Halter) -> None:
    with recorded.client() as client:
        assert {it.rules for it in Live(client).events("cart-3")} == {RULES}


def test_traces_are_made_of_what_a_worker_wrote(recorded: Halter, tmp_path: Path) -> None:
    done = recorded.command("export", "cart-1", "cart-3", "--otlp", str(tmp_path / "traces.json"))
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "traces.json").read_text(encoding="utf-8").splitlines()
    spans = [json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"] for line in lines]
    assert [{"cart", "main", "address-changed"} <= {it["name"] for it in those} for those in spans] == [True, True]


def test_rows_are_what_the_log_says(recorded: Halter) -> None:
    def agree() -> bool:
        done = [recorded.command("check-state", "--partition", str(number), "--json") for number in range(3)]
        states = [json.loads(it.stdout) for it in done]
        assert all(state["same"] for state in states), states
        return sum(state["wf_runs"] for state in states) == len(WF_RUNS) + 2

    wait_until("rows of all WfRuns", agree, 30)


def test_a_partition_that_is_not_there_gets_a_sentence(recorded: Halter) -> None:
    done = recorded.command("check-state", "--partition", "99")
    assert done.returncode == 2
    assert "expected 0 to 2, found 99" in " ".join(done.stderr.split())
