"""The wire format of a Schema Registry on a real Kafka: switched to while all runs, with a registry that goes away."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from halter.client import Client
from halter.show.wf_run_text import data
from halter.task_worker import TaskWorker
from processors.core.records.commands import PutExternalEventDef, PutTaskDef, PutWfSpec
from processors.core.records.model import Status
from processors.core.rules.engine import new_run, replay
from processors.kafka.settings import Settings
from tests.fold.test_shard_fold import CART
from tests.support.installation import Installation, WorkerProcess
from tests.support.schema_registry import SchemaRegistry
from tests.support.waiting import wait_until

MODULE = "tests.support.breaking_worker"
"""With nothing in it that breaks: `halter worker`, with the options that tests give."""


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as it:
        yield it


@pytest.fixture
def installation(bootstrap: str, prefix: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation(bootstrap, prefix, tmp_path, partitions=1, variables={}) as it:
        yield it


def with_registry(registry: SchemaRegistry, framing: str) -> dict[str, str]:
    return {
        "KAFKA_SCHEMA_REGISTRY_URL": registry.url,
        "KAFKA_SCHEMA_REGISTRY_MAX_RETRIES": "0",
        "HALTER_FRAMING": framing,
    }


def client_of(installation: Installation, registry: SchemaRegistry, framing: str) -> Client:
    where = {"bootstrap.servers": installation.bootstrap}
    env = with_registry(registry, framing)
    return Client.of(Settings.load(None, env, where, prefix=installation.prefix, partitions=installation.partitions))


def worker(installation: Installation, slot: str, **env: str) -> WorkerProcess:
    started = installation.worker(slot, module=MODULE, **env)
    started.wait_ready()
    return started


def begin(client: Client, wf_run_id: str, *, events: int) -> None:
    client.run("cart", wf_run_id=wf_run_id).outcome()
    for number in range(events):
        client.post(wf_run_id, "add", 5, event_id=f"a{number}").outcome()


def values(installation: Installation, topic: str) -> list[bytes]:
    return [message.value() or b"" for message in installation.ledger.read(topic)]


def framings(installation: Installation, topic: str) -> set[bytes]:
    return {value[:1] for value in values(installation, topic) if value}


def test_an_installation_changes_to_the_wire_format_while_it_runs_and_reads_what_it_wrote_before(
    installation: Installation, registry: SchemaRegistry
) -> None:
    topics = installation.topics
    first = worker(installation, "one")
    with Client.of(installation.settings, topics) as before:
        for command in (PutExternalEventDef("add"), PutExternalEventDef("checkout"), PutTaskDef("charge")):
            before.put(command)
        before.put(PutWfSpec("cart", json.dumps(CART)))
        begin(before, "c1", events=1)
        assert framings(installation, topics.wf_events) == {b"\xc3"}
        # First everybody reads both, then one after the other writes the other one.
        first.stop()
        reading = worker(installation, "one", **with_registry(registry, "single-object"))
        begin(before, "c2", events=1)
        assert registry.calls == []
        reading.stop()
        writing = worker(installation, "one", **with_registry(registry, "confluent"))
        with (
            client_of(installation, registry, "single-object") as old,
            client_of(installation, registry, "confluent") as new,
            TaskWorker(new, {"charge": lambda _: "receipt"}) as tasks,
        ):
            thread = threading.Thread(target=tasks.run)
            thread.start()
            for number, client in enumerate((old, new)):
                client.post("c1", "add", 5, event_id=f"b{number}").outcome()
            begin(new, "c3", events=1)
            ended = new.post("c1", "checkout").until_ended()
            tasks.stop()
            thread.join()
            assert ended.status is Status.COMPLETED
            assert framings(installation, topics.wf_events) == {b"\xc3", b"\0"}
            assert framings(installation, topics.external_events) == {b"\xc3", b"\0"}
            assert (
                framings(installation, topics.task_reports) == framings(installation, topics.task_requests) == {b"\0"}
            )
            for state in (topics.wf_runs, topics.thread_runs, topics.fold_positions, topics.definitions):
                assert framings(installation, state) == {b"\xc3"}
            # Both clients see all of it, and the log is one.
            for client in (old, new):
                entries = client.history("c1").entries
                assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
                assert replay(entries, new_run("c1")).status is Status.COMPLETED
                shown = client.get("c2")
                assert shown is not None
                assert data(replay(client.history("c2").entries, new_run("c2"))) == data(shown)
        # Anybody's consumer reads the values.
        read = AvroDeserializer(SchemaRegistryClient({"url": registry.url}))
        context = SerializationContext(topics.wf_events, MessageField.VALUE)
        wired = [value for value in values(installation, topics.wf_events) if value.startswith(b"\0")]
        assert {read(value, context)["wf_run_id"] for value in wired} == {"c1", "c3"}
        # And back again.
        writing.stop()
        worker(installation, "one", **with_registry(registry, "single-object"))
        with client_of(installation, registry, "single-object") as old:
            begin(old, "c4", events=1)
            assert len(old.history("c3").entries) == len(old.history("c4").entries)


def test_a_registry_that_is_away_stops_nobody_who_has_begun_and_is_waited_for_where_it_is_needed(
    installation: Installation, registry: SchemaRegistry
) -> None:
    settings = with_registry(registry, "confluent")
    first = worker(installation, "one", **settings)
    with client_of(installation, registry, "confluent") as client:
        for command in (PutExternalEventDef("add"), PutExternalEventDef("checkout"), PutTaskDef("charge")):
            client.put(command)
        client.put(PutWfSpec("cart", json.dumps(CART)))
        begin(client, "c1", events=1)
        registry.stop()
        begin(client, "c2", events=1)
        # An id that the worker has to ask for: nobody can say yet whether it is of ours.
        topic = installation.topics.external_events
        installation.producer.produce(topic, b"\0\0\0\x12\x67abc", b"c1", partition=0)
        installation.producer.flush()
        behind = client.post("c1", "add", 5, event_id="behind")
        first.wait_logged("waiting_for_registry")
        assert values(installation, installation.topics.dead_letters) == []
        assert "partition_paused" not in first.log
        # The next owner waits before it begins.
        first.kill()
        second = installation.worker("one", module=MODULE, **settings)
        second.wait_logged("waiting_for_registry")
        assert second.ready is None
        registry.start()
        second.wait_ready()
        assert type(behind.outcome()[-1].event).__name__ == "Resume"
        (letter,) = installation.ledger.read(installation.topics.dead_letters)
        headers: Any = dict(letter.headers() or [])
        assert headers["halter.reason"] == b"UNKNOWN_SCHEMA"
        run = client.get("c1")
        assert run is not None
        assert run.threads[0].variables == {"total": 10}
        wait_until("the end", lambda: second.stop()[0] == 0)
