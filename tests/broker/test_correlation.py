"""Correlation on a real Kafka, with a real worker: client, command line and topics."""

import asyncio
import json
import uuid
from collections.abc import Iterator

import pytest

from halter import AsyncClient, Client, CorrelatedEventRejected, Status
from tests.support.halter_processes import Halter
from tests.support.waiting import wait_until

ORDER = {
    "name": "order",
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


@pytest.fixture(scope="module")
def halter(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    """An installation of several partitions, where WfRuns are found by the number of their order."""
    installation = Halter(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", tmp_path_factory.mktemp("correlation"))
    with installation.worker(), installation.client() as client:
        client.put_external_event_def("paid")
        client.put_wf_spec(ORDER)
        yield installation


@pytest.fixture
def client(halter: Halter) -> Iterator[Client]:
    with halter.client() as it:
        yield it


def test_an_event_by_key_ends_the_wf_runs_that_wait_for_it(client: Client) -> None:
    ids = [client.run("order", {"order": "A7"}, wait=True).wf_run_id for _ in range(3)]
    wait_for_key(client, "A7", 3)
    decided = client.post_correlated("A7", "paid", 5, event_id="p1").outcome()
    assert (decided.outcome, sorted(it.wf_run_id for it in decided.wf_runs)) == ("POSTED", sorted(ids))
    for wf_run_id in ids:
        assert client.get(wf_run_id, until="ended").status is Status.COMPLETED
    with pytest.raises(CorrelatedEventRejected, match="ALREADY_EXISTS: event 'p1'"):
        client.post_correlated("A7", "paid", 5, event_id="p1", wait=True)
    with pytest.raises(CorrelatedEventRejected, match="there is no ExternalEventDef 'payd'; did you mean 'paid'"):
        client.post_correlated("A7", "payd", wait=True)


def wait_for_key(client: Client, key: str, wf_runs: int) -> None:
    """Return once so many WfRuns have a key: a registration is decided a turn after its WfRun."""

    def have_it() -> bool:
        found = client.correlation(key, "paid")
        return found is not None and len(found.wf_runs) == wf_runs

    wait_until(f"{wf_runs} WfRuns with the key {key}", have_it)


def test_an_event_that_comes_first_waits_for_its_wf_run(halter: Halter) -> None:
    async def run() -> None:
        async with AsyncClient.from_env(env=halter.environment) as client:
            posted = await client.post_correlated(42, "paid", {"cents": 5})
            assert (await posted.outcome()).outcome == "KEPT"
            known = await client.correlation(42, "paid")
            assert known is not None
            assert [it.external_event_id for it in known.kept] == [posted.id]
            started = await client.run("order", {"order": "42"})
            ended = await client.get(started.wf_run_id, until="ended")
            assert ended.status is Status.COMPLETED

    asyncio.run(run())


def test_the_command_line_posts_by_key_and_says_who_has_one(halter: Halter, client: Client) -> None:
    wf_run_id = client.run("order", {"order": "B8"}, wait=True).wf_run_id
    wait_for_key(client, "B8", 1)
    assert halter.command("correlations", "B8", "paid").stdout == f"{wf_run_id}\n"
    posted = halter.command("correlate", "B8", "paid", "5", "--id", "p2", "--json")
    assert json.loads(posted.stdout)["wf_runs"] == [wf_run_id]
    again = halter.command("correlate", "B8", "paid", "5", "--id", "p2")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("halter: ALREADY_EXISTS:")
    swapped = halter.command("correlate", "paid", "B8")
    assert swapped.returncode == 2
    assert "did you swap key and event?" in swapped.stderr
    with pytest.raises(CorrelatedEventRejected, match="there is one named 'paid': did you swap key"):
        client.post_correlated("paid", "B8", wait=True)
    waits = halter.command("correlate", "C9", "paid")
    assert (waits.returncode, waits.stdout) == (0, "")
    assert "no WfRun has the key 'C9' for paid: the event waits until" in waits.stderr
