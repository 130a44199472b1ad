"""`halter migrate` with a real Kafka and a real worker: mend a WfSpec, migrate, rescue."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from halter import AsyncClient, Client
from halter.client import CommandRejected
from processors.core.records.commands import ReportTaskRun
from processors.core.records.events import TaskAttemptRequested
from processors.core.records.model import Status, TaskStatus
from tests.support.halter_processes import Halter

CARD = "card-4111"


@pytest.fixture(scope="module")
def halter(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    installation = Halter(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", tmp_path_factory.mktemp("migrations"))
    with installation.worker(), installation.client() as client:
        for task in ("charge", "charge-card"):
            client.put_task_def(task)
        client.put_external_event_def("go")
        yield installation


@pytest.fixture
def client(halter: Halter) -> Iterator[Client]:
    with halter.client() as it:
        yield it


def version(name: str, task: str) -> dict[str, Any]:
    nodes = {
        "start": {"kind": "ENTRYPOINT", "next": "charge"},
        "charge": {"kind": "TASK", "task": task, "next": "wait"},
        "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "done"},
        "done": {"kind": "EXIT"},
    }
    secret = {"type": "STR", "masked": True, "default": CARD}
    variables = {"card": secret} if task == "charge" else {"card": secret, "second": secret}
    return {"name": name, "entrypoint": "main", "threads": {"main": {"variables": variables, "nodes": nodes}}}


def report(client: Client, wf_run_id: str, status: TaskStatus) -> None:
    """Report the newest attempt, as the log has it: no task worker runs."""
    asked = [it for it in client.history(wf_run_id).entries if isinstance(it.event, TaskAttemptRequested)][-1]
    assert isinstance(asked.event, TaskAttemptRequested)
    at = asked.event
    client.send(ReportTaskRun(wf_run_id, asked.incarnation, at.thread, at.position, at.attempt, status), wait=True)


def version_of(client: Client, wf_run_id: str) -> str:
    run = client.get(wf_run_id)
    assert run is not None
    return str(run.wf_spec)


def test_a_wf_run_in_error_is_tried_migrated_and_rescued(halter: Halter, client: Client) -> None:
    name = f"order-{uuid.uuid4().hex[:8]}"
    client.put_wf_spec(version(name, "charge"))
    failed = client.run(name, wait=True).wf_run_id
    runs = client.run(name, wait=True).wf_run_id
    report(client, failed, TaskStatus.FAILED)
    client.put_wf_spec(version(name, "charge-card"))
    tried = halter.command("migrate", failed, "--to", "0.1", "--dry-run")
    assert (tried.returncode, "nothing was sent" in tried.stderr) == (0, True), tried.stderr
    assert f"{name}:0.0 -> {name}:0.1" in tried.stdout
    refused = halter.command("migrate", runs, "--to", "0", "--dry-run", "--json")
    assert refused.returncode == 1, refused.stdout
    assert "an attempt is out of 'charge'" in refused.stderr
    assert json.loads(refused.stdout)["events"][0]["event"] == "Rejected"
    assert version_of(client, failed) == f"{name}:0.0"
    done = halter.command("migrate", failed, "--to", "0.1")
    assert (done.returncode, done.stdout) == (0, tried.stdout), done.stderr
    assert CARD not in done.stdout + tried.stdout
    with pytest.raises(CommandRejected, match="FAILED_PRECONDITION: MigrateWfRun"):
        client.migrate(runs, 0, 1, wait=True)
    client.rescue(failed, wait=True)
    report(client, failed, TaskStatus.SUCCESS)
    client.post(failed, "go", wait=True)
    assert client.get(failed, until="ended").status is Status.COMPLETED
    shown = halter.command("history", failed)
    assert f"{name}:0.0 -> {name}:0.1" in " ".join(shown.stdout.split())


def test_an_async_client_tries_and_migrates(halter: Halter, client: Client) -> None:
    name = f"order-{uuid.uuid4().hex[:8]}"
    client.put_wf_spec(version(name, "charge"))
    wf_run_id = client.run(name, wait=True).wf_run_id
    changed = version(name, "charge")
    changed["threads"]["main"]["nodes"]["charge"]["retries"] = 3
    client.put_wf_spec(changed)

    async def go() -> None:
        async with AsyncClient.of(halter.settings) as it:
            await it.definitions()
            would = await it.try_migration(wf_run_id, 0)
            posted = await it.migrate(wf_run_id, 0, wait=True)
            assert [entry.event for entry in would] == [entry.event for entry in posted.entries]

    asyncio.run(go())
    assert version_of(client, wf_run_id) == f"{name}:0.1"
