"""A sink on a real Kafka: the log of a cart as JSON, over a kill of its process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but the hints lack it

from tests.support.halter_processes import Halter, halter_with_the_cart
from tests.support.waiting import wait_until

CARD = "card-12345678"
SINK = """\
name: carts
topic: {topic}
wf_specs: [cart]
events: [all]
"""


@pytest.fixture(scope="module")
def cart(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    with halter_with_the_cart(bootstrap, tmp_path_factory.mktemp("sinks")) as installation:
        yield installation


class Reader:
    """Reads what the sink has written, committed records only."""

    def __init__(self, halter: Halter, topic: str) -> None:
        self._consumer = Consumer(halter.settings.consumer(group_id="reader", auto_offset_reset="earliest"))
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self.documents: list[Any] = []

    def wait(self, what: str, event: str, wf_run_id: str) -> None:
        """Read until there is a document of an event."""

        def is_there() -> bool:
            for it in self._consumer.consume(500, 0.2):
                if it.error() is None:
                    assert it.key() == json.loads(it.value() or b"")["wf_run_id"].encode()
                    assert CARD.encode() not in (it.value() or b"")
                    self.documents.append(json.loads(it.value() or b""))
            return any(it["event"] == event and it["wf_run_id"] == wf_run_id for it in self.documents)

        wait_until(what, is_there, 60, 0)


def test_each_event_is_written_once_and_in_order_over_a_kill(cart: Halter, tmp_path: Path) -> None:
    topic, document = f"{cart.topics.prefix}changes", tmp_path / "sink.yaml"
    admin = AdminClient(cart.settings.admin())
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    document.write_text(SINK.format(topic=topic))
    arguments = ("-m", "halter", "sink", "run", str(document), "--slot", "one")
    reader = Reader(cart, topic)
    with cart.client() as client:
        client.run("cart", {"customer": "Ann", "card": CARD}, wf_run_id="ann", wait=10)
        with cart.started("sink", *arguments) as first:
            reader.wait("the start", "WfRunStarted", "ann")
            first.kill()
            first.wait(10)
        # The second process has not seen the start: rows and log tell it which WfSpec that was.
        client.post("ann", "address-changed", "12 Harbour Street", wait=10)
        with cart.started("sink", *arguments):
            reader.wait("the change", "Resume", "ann")
            client.run("cart", {"customer": "Bob", "card": CARD}, wf_run_id="bob", wait=10)
            reader.wait("another one", "WfRunStarted", "bob")
        events = [it for id_ in ("ann", "bob") for it in client.history(id_).entries]
    told = {
        it: [(one["seq"], one["event"]) for one in reader.documents if one["wf_run_id"] == it] for it in ("ann", "bob")
    }
    for wf_run_id, found in told.items():
        log = [(it.seq, type(it.event).__name__) for it in events if it.wf_run_id == wf_run_id]
        assert found == log[: len(found)]
        assert len(found) >= 2
    assert {it["wf_spec"] for it in reader.documents} == {"cart"}
    assert any(it["variables"].get("address") == "12 Harbour Street" for it in reader.documents)


def test_a_topic_that_does_not_exist_ends_the_command_with_a_sentence(cart: Halter, tmp_path: Path) -> None:
    document = tmp_path / "sink.yaml"
    document.write_text(SINK.format(topic="nowhere-at-all"))
    ended = cart.command_in_a_process("sink", "run", str(document))
    assert ended.returncode == 1
    assert "halter: topic 'nowhere-at-all' does not exist" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_dry_run_shows_what_events_become_and_needs_no_topic(cart: Halter, tmp_path: Path) -> None:
    document = tmp_path / "sink.yaml"
    document.write_text("name: carts\ntopic: not-made\nwf_specs: [cart, crat]\nevents: [status]\n")
    with cart.client() as client:
        client.run("cart", {"customer": "Cid", "card": CARD}, wf_run_id="cid", wait=10)
    ran = cart.command_in_a_process("sink", "run", str(document), "--dry-run", "--from", "earliest")
    assert ran.returncode == 0, ran.stderr
    assert "3:18: wf_specs[1]: expected a registered WfSpec, found 'crat'; did you mean 'cart'?" in ran.stderr
    assert 'not-made  cid: {"wf_run_id":"cid","wf_spec":"cart","event":"WfRunStarted"' in ran.stdout
    assert "records and 0 dead letters" in ran.stdout.splitlines()[-1]
    assert CARD not in ran.stdout
    with_json = cart.command_in_a_process("sink", "run", str(document), "--dry-run", "--last", "3", "--json")
    assert len(json.loads(with_json.stdout)["events"]) == 3
