"""The console on a real Kafka with a real worker: histories are read from it, and commands go to it."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from halter.client import Client
from processors.core.records.commands import ExternalEvent
from processors.kafka.partitioner import partition_of
from tests.support.buried import buried
from tests.support.consoles import OPERATOR, SETTINGS, served
from tests.support.halter_processes import ROOT, Halter, halter_with_the_cart
from tests.support.views import filled
from tests.support.waiting import wait_until

WHO = "operator by token"
BAD, PARTITIONS, CARD = "bad-1", 3, {"customer": "Ann", "card": "1"}
PARTITION = partition_of(BAD.encode(), PARTITIONS)
NEIGHBOUR = next(
    it for it in (f"good-{number}" for number in range(40)) if partition_of(it.encode(), PARTITIONS) == PARTITION
)


@pytest.fixture(scope="module")
def halter(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    with halter_with_the_cart(bootstrap, tmp_path_factory.mktemp("console")) as installation:
        yield installation


@pytest.fixture(scope="module")
def client(halter: Halter) -> Iterator[Client]:
    with halter.client() as it:
        it.run("cart", {"customer": "Ann", "card": "4711-4711"}, wf_run_id="c1", wait=True)
        yield it


@pytest.fixture(scope="module")
def operator(halter: Halter, client: Client) -> Iterator[httpx.Client]:
    settings = replace(SETTINGS, kafka=halter.settings, operator_token=OPERATOR, allow_actions=True)
    with served(settings) as console:
        yield console.client({"Authorization": f"Bearer {OPERATOR}"})


def act(operator: httpx.Client, name: str, **fields: Any) -> dict[str, Any]:
    answer = operator.post(f"/api/actions/{name}", json={"fields": {"wf_run_id": "c1", **fields}})
    told: dict[str, Any] = answer.json()
    assert (answer.status_code, told.get("outcome")) == (200, "done"), told
    return told


def test_each_action_does_on_kafka_what_it_says(operator: httpx.Client, client: Client) -> None:
    act(operator, "stop", reason="look first")
    state = operator.get("/api/wf-run/state?wf_run_id=c1").json()["state"]
    assert "ManualHalt" in str(state), state
    act(operator, "resume")
    act(operator, "quarantine", reason="a bug")
    act(operator, "release")
    posted = act(operator, "post", external_event_def="address-changed", content="12 Harbour Street")
    last = [it.seq for it in client.history("c1").entries][-1]
    act(operator, "fork", at=str(last), new_id="c1-again")
    assert client.get("c1-again") is not None
    assert posted["record"]["topic"] == "external-events"
    asked = [it.asked for it in client.history("c1").entries if it.asked is not None]
    assert {(it.operator, it.reason) for it in asked} >= {(WHO, "look first"), (WHO, None)}


def test_a_repeat_after_the_console_was_started_again_is_known_to_the_engine(
    halter: Halter, client: Client, operator: httpx.Client
) -> None:
    asked = {
        "fields": {"wf_run_id": "c1", "external_event_def": "page-seen", "content": "/mugs"},
        "action_id": "the-same-submit",
    }
    assert operator.post("/api/actions/post", json=asked).status_code == 200
    settings = replace(SETTINGS, kafka=halter.settings, operator_token=OPERATOR, allow_actions=True)
    with served(settings) as console:
        again = console.client({"Authorization": f"Bearer {OPERATOR}"}).post("/api/actions/post", json=asked)
    assert (again.status_code, again.json()["code"]) == (409, "ALREADY_EXISTS")


def test_nothing_is_sent_for_who_reads_a_view_of_another_installation(
    halter: Halter, client: Client, tmp_path: Path
) -> None:
    filled(str(tmp_path / "other.db")).close()
    settings = replace(SETTINGS, kafka=halter.settings, operator_token=OPERATOR, allow_actions=True)
    with served(replace(settings, view_url=str(tmp_path / "other.db"))) as console:
        operator = console.client({"Authorization": f"Bearer {OPERATOR}"})
        refused = operator.post("/api/actions/stop", json={"fields": {"wf_run_id": "c1"}})
    assert refused.status_code == 409
    assert "the view of the console is of another installation: the prefix is ''" in refused.text


def test_a_dead_letter_is_retried_once(operator: httpx.Client, client: Client) -> None:
    event = ExternalEvent("c1", "page-seen", "misspelt", "/mugs")
    letter = buried(client, client.codec.encode(event), b"another key")
    asked = {"fields": {"dead_letter": letter.name, "corrections": {"content": "/cups"}, "reason": "a wrong key"}}
    told = operator.post("/api/actions/retry", json=asked).json()
    assert (told["outcome"], told["record"]["topic"]) == ("done", "external-events"), told
    posted = client.history("c1").entries
    assert any(type(it.event).__name__ == "ExternalEventPosted" and "misspelt" in str(it.event) for it in posted)
    again = operator.post("/api/actions/retry", json=asked)
    assert (again.status_code, again.json()["code"]) == (409, "RETRIED_BEFORE")
    assert f"by {WHO} (a wrong key)" in again.json()["title"]


def test_what_the_log_knows_is_told_without_masked_values(operator: httpx.Client) -> None:
    for path in ("timeline", "history", "why", "state"):
        answer = operator.get(f"/api/wf-run/{path}?wf_run_id=c1")
        assert answer.status_code == 200, answer.text
        assert "4711-4711" not in answer.text
    cause = operator.get("/api/wf-run/cause?wf_run_id=c1&seq=1")
    assert cause.status_code == 200
    assert "4711-4711" not in cause.text
    assert "4711-4711" in operator.get("/api/wf-run/cause?wf_run_id=c1&seq=1&unmask=1").text


def test_the_workers_and_their_partitions_are_named(operator: httpx.Client) -> None:
    told = operator.get("/api/workers").json()
    assert told["is_known"]
    assert len(told["workers"]) == 1
    assert set(told["owners"]) == {"0", "1", "2"}
    folding = operator.get("/api/folding").json()
    assert (folding["is_unmanned"], folding["standing"]) == (False, [])


def test_a_paused_partition_is_told_on_every_page_and_goes_on_after_a_quarantine_from_its_page(
    bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has a bug: it breaks on every WfRun whose id begins with `bad`."""
    monkeypatch.setattr("halter.doctor.standing.SLOW_MS", 500)
    monkeypatch.setattr("halter.console.standing.FRESH_S", 0)
    bug = {"HALTER_TEST_BREAKS": "rule"}
    halter = Halter(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", tmp_path, PARTITIONS, bug)
    view = str(tmp_path / "view.db")
    settings = replace(SETTINGS, kafka=halter.settings, view_url=view, operator_token=OPERATOR, allow_actions=True)
    with halter.process("breaking", "-m", "tests.support.breaking_worker", "--slot", "one"), halter.client() as client:
        client.register(ROOT / "examples" / "cart" / "cart.yaml")
        client.run("cart", CARD, wf_run_id=NEIGHBOUR, wait=True)
        client.run("cart", CARD, wf_run_id=BAD)
        wait_until("the pause", lambda: "partition_paused" in (tmp_path / "breaking.log").read_text())
        assert halter.command("view", "--url", view, "--once").returncode == 0
        with served(settings) as console:
            operator = console.logged_in()
            wait_until("that it stands", lambda: operator.get("/api/folding").json()["standing"])
            (found,) = operator.get("/api/folding").json()["standing"]
            assert (found["partition"], found["topic"], found["key"]) == (PARTITION, "wf-commands", BAD)
            assert found["owner"] is not None
            page = operator.get("/partitions").text
            assert f"wf-commands[{PARTITION}]@{found['offset']}" in page
            assert f"halter skip wf-commands {PARTITION} {found['offset']}" in page
            assert f'href="/wf-runs/{BAD}/act/quarantine"' in page, "the way out"
            first = operator.get("/").text
            assert "partition stands still" in first
            assert "Its WfRuns wait" in first
            doctor = halter.command("doctor", "--json")
            assert f"halter quarantine {BAD}" in doctor.stdout
            waits = client.post(NEIGHBOUR, "page-seen", "/mugs")
            answer = operator.post(
                "/api/actions/quarantine",
                json={"fields": {"wf_run_id": BAD, "reason": "a rule broke"}},
                headers={"Authorization": f"Bearer {OPERATOR}"},
            )
            assert (answer.status_code, answer.json()["outcome"]) == (200, "done"), answer.text
            waits.outcome()
            wait_until("that it goes on", lambda: not operator.get("/api/folding").json()["standing"])
            assert halter.command("view", "--url", view, "--once").returncode == 0
            page = operator.get("/partitions").text
            assert "stands still" not in page
            assert f'href="/wf-runs/{BAD}/act/release"' in page, "the next way out"
