"""`halter bind run --dry-run` shows what real records become, and neither writes nor commits anything."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from halter.transform import SourceRecord
from halter.transform.looking import Looking, NoSuchTopic
from processors.codec import Codec
from tests.bindings.test_bind_command import BINDINGS, DEFINITIONS
from tests.support.command_line import halter
from tests.support.halter_processes import Halter


@pytest.fixture
def installation(bootstrap: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Halter:
    """Topics with definitions and records; no worker."""
    from halter.cli.known_definitions import definitions_in

    it = Halter(bootstrap, prefix, tmp_path)
    (tmp_path / "shop.yaml").write_text(DEFINITIONS)
    (tmp_path / "bindings.yaml").write_text(BINDINGS.replace("topic: orders", f"topic: {prefix}orders"))
    for name, value in it.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    admin = AdminClient(it.settings.admin())
    for future in admin.create_topics([NewTopic(f"{prefix}orders", 2, 1)]).values():
        future.result()
    producer = Producer(it.settings.producer(transactional_id=f"{prefix}shop"))
    producer.init_transactions()
    producer.begin_transaction()
    for definition in definitions_in([tmp_path / "shop.yaml"]).all():
        producer.produce(it.topics.definitions, Codec.load().encode(definition), definition.name, partition=0)
    producer.commit_transaction()
    for number in range(6):
        producer.begin_transaction()
        value = json.dumps({"order": f"o-{number}", "reason": "late"}).encode()
        producer.produce(f"{prefix}orders", value, partition=number % 2, timestamp=(number + 1) * 1000)
        # Every second one never happened.
        producer.commit_transaction() if number % 2 == 0 or number == 5 else producer.abort_transaction()
    return it


def orders(records: Iterable[SourceRecord]) -> list[str]:
    return [json.loads(it.value or b"")["order"] for it in records]


def test_a_dry_run_shows_committed_records_and_neither_writes_nor_commits(
    installation: Halter, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, topics = installation.settings, [f"{installation.settings.prefix}orders"]
    with Looking(settings, installation.topics.reader_group) as looking:
        assert orders(looking.last(topics, 10)) == ["o-0", "o-2", "o-4", "o-5"]
        assert orders(looking.last(topics, 3)) == ["o-2", "o-4", "o-5"]
        assert sorted(orders(looking.since(topics, None))) == ["o-0", "o-2", "o-4", "o-5"]
        assert sorted(orders(looking.since(topics, 5_000))) == ["o-4", "o-5"]
        with pytest.raises(NoSuchTopic, match=f"did you mean {topics[0]}?"):
            looking.last([topics[0].replace("orders", "ordrs")], 1)

    code, out, err = halter(capsys, "bind", "run", "bindings.yaml", "--dry-run", "--last", "2")
    assert (code, err) == (0, "")
    assert [line.split(",")[0] for line in out.splitlines() if line.startswith("  ")] == [
        "  orders  cancelled to o-4",
        "  orders  cancelled to o-5",
    ]
    assert out.endswith("2 records: 2 ExternalEvents and 0 dead letters\n")

    named = ("--bootstrap", installation.settings.bootstrap)
    assert halter(capsys, "bind", "check", "bindings.yaml", *named)[0] == 0
    path = Path("bindings.yaml")
    path.write_text(path.read_text().replace(topics[0], topics[0].replace("orders", "ordrs")))
    code, out, _ = halter(capsys, "bind", "check", "bindings.yaml", *named)
    assert (code, f"; did you mean '{topics[0]}'? [TOPIC_MISSING]" in " ".join(out.split())) == (1, True)
    Path("order").write_bytes(b'{"order": "o-9", "reason": "late"}')
    code, out, _ = halter(capsys, "bind", "check", "bindings.yaml", "--sample", "order", *named)
    assert (code, "[TOPIC_MISSING]" in out, "cancelled to o-9" in out) == (1, True, True), out
    path = Path("sink.yaml")
    path.write_text(f"name: s\ntopic: {topics[0]}\nevents: [WfRunEnded]\nwf_specs: [shp]\n")
    code, out, _ = halter(capsys, "sink", "check", "sink.yaml", *named)
    assert (code, out.partition(": expected a registered WfSpec, found 'shp'")[0]) == (1, "sink.yaml:4:12: wf_specs[0]")
    path.write_text(path.read_text().replace(topics[0], "nowhere"))
    for where in (named, ()):  # an option says where Kafka is, or a variable does
        code, out, _ = halter(capsys, "sink", "check", "sink.yaml", *where)
        assert (code, out.startswith("sink.yaml:2:1: topic: topic 'nowhere' does not exist at")) == (1, True)

    with installation.client() as client:
        assert list(client.reader.read(installation.topics.external_events, 0, 0)) == []
    admin = AdminClient(settings.admin())  # a client that nobody holds ends before it answers
    groups = [it.group_id for it in admin.list_consumer_groups().result(30).valid]
    assert [it for it in groups if it.startswith(settings.prefix)] == []
