"""`halter doctor` on a real Kafka: each fault is really there, and the doctor finds it and says how to mend it."""

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from halter.client import Client
from processors.codec import Codec
from processors.core.records.commands import QuarantineWfRun, RunWf
from processors.core.records.fold_position import FoldPosition
from processors.kafka.partitioner import partition_of
from processors.kafka.settings import Settings
from processors.kafka.topic_check import find
from tests.support.command_line import halter
from tests.support.halter_processes import ROOT, Halter
from tests.support.waiting import wait_until

PARTITIONS = 3
BAD = "bad-1"
CARD = {"customer": "Ann", "card": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doctor")


@pytest.fixture(scope="module")
def patient(bootstrap: str, folder: Path) -> Iterator[Halter]:
    """An installation with a worker. The worker has a bug: it breaks on every WfRun whose id begins with `bad`."""
    it = Halter(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", folder, PARTITIONS, {"HALTER_TEST_BREAKS": "rule"})
    with it.process("breaking", "-m", "tests.support.breaking_worker", "--slot", "one"):
        with it.client() as client:
            client.register(ROOT / "examples" / "cart" / "cart.yaml")
            client.run("cart", CARD, wf_run_id="good-1").outcome()
        yield it


def told(capsys: pytest.CaptureFixture[str], settings: Settings, *more: str) -> tuple[int, dict[str, list[Any]]]:
    """Return the exit code, and the findings of each check."""
    where = ["--bootstrap", settings.bootstrap, "--prefix", settings.prefix, "--partitions", str(settings.partitions)]
    code, out, err = halter(capsys, "doctor", "--json", *where, *more)
    assert err == ""
    report = json.loads(out)
    assert report["took_ms"] < 15_000
    return code, {it["check"]: it["findings"] for it in report["checks"]}


def verdicts(found: dict[str, list[Any]]) -> dict[str, str]:
    return {check: found[0]["verdict"] for check, found in found.items() if found[0]["verdict"] != "skipped"}


def test_an_installation_that_works_is_fine_and_no_record_is_left(
    patient: Halter, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = told(capsys, patient.settings)
    assert [it for of_check in found.values() for it in of_check if it["verdict"] not in {"fine", "skipped"}] == []
    assert code == 0
    assert verdicts(found).keys() == {
        "connection", "versions", "rights", "topics", "replicas", "transaction", "clocks", "hanging", "workers",
        "folding", "quarantine", "task workers", "dead letters", "schemas",
    }  # fmt: skip
    (of_workers,) = found["workers"]
    assert of_workers["data"]["owners"].keys() == {"0", "1", "2"}
    assert committed(patient.settings, patient.topics.operator_commands) == [], "its transaction was aborted"


def committed(settings: Settings, topic: str) -> list[bytes | None]:
    """Return the values of all committed records of a topic."""
    consumer = Consumer(settings.consumer(group_id="none", **{"enable.partition.eof": True}))
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    values, open_partitions = [], PARTITIONS
    while open_partitions:
        message = consumer.poll(20)
        assert message is not None
        if message.error():
            open_partitions -= 1
        else:
            values.append(message.value())
    consumer.close()
    return values


def test_with_read_only_it_writes_nothing_and_still_looks_at_clocks(
    patient: Halter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, found = told(capsys, patient.settings, "--read-only")
    assert found["transaction"][0]["verdict"] == found["clocks"][0]["verdict"] == "skipped"
    assert code == 0
    monkeypatch.setattr("halter.doctor.writing.time.time", lambda: time.time_ns() / 1e9 - 3_600)
    code, found = told(capsys, patient.settings, "--read-only")
    assert (code, found["clocks"][0]["verdict"]) == (1, "wrong")
    assert "ahead of this machine's" in found["clocks"][0]["found"]


@pytest.mark.parametrize(("by_s", "verdict", "says"), [(5, "warning", "behind"), (-90, "wrong", "ahead of")])
def test_a_clock_that_is_off_is_measured(
    patient: Halter,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    by_s: int,
    verdict: str,
    says: str,
) -> None:
    monkeypatch.setattr("halter.doctor.writing.time.time", lambda: time.time_ns() / 1e9 + by_s)
    _, found = told(capsys, patient.settings)
    (finding,) = found["clocks"]
    assert finding["verdict"] == verdict
    assert says in finding["found"]
    assert "NTP" in finding["mend"]
    (skew,) = finding["data"]["skew_ms"].values()
    assert abs(skew / 1_000 + by_s) < 1


def test_task_requests_that_nobody_takes_are_a_warning(patient: Halter, capsys: pytest.CaptureFixture[str]) -> None:
    with patient.client() as client:
        client.post("good-1", "slot-chosen", "noon").outcome()
        client.post("good-1", "checkout").outcome()
    code, found = told(capsys, patient.settings)
    (finding,) = found["task workers"]
    assert (code, finding["verdict"]) == (3, "warning")
    assert "halter task-worker" in finding["mend"]


def test_dead_letters_are_counted_by_reason_and_the_newest_is_told(
    patient: Halter, capsys: pytest.CaptureFixture[str]
) -> None:
    producer = Producer(patient.settings.producer())
    for _ in range(2):
        producer.produce(patient.topics.external_events, b"no Avro", b"good-1")
    assert producer.flush(20) == 0
    wait_until("the dead letters", lambda: told(capsys, patient.settings)[1]["dead letters"][0]["data"]["count"] == 2)
    code, found = told(capsys, patient.settings)
    (finding,) = found["dead letters"]
    assert (code, finding["verdict"]) == (3, "warning")
    assert finding["data"]["reasons"] == {"UNDECODABLE": 2}
    assert finding["data"]["newest"]["source"].startswith("external-events[")
    newest = finding["data"]["newest"]
    assert f"`halter cause dead-letters {newest['partition']} {newest['offset']}`" in finding["mend"]


def test_wf_runs_in_quarantine_are_named_without_asking_a_worker(
    patient: Halter, capsys: pytest.CaptureFixture[str]
) -> None:
    """What no worker takes, here a command under another key, is no quarantine."""
    misplaced = Codec.load().encode(QuarantineWfRun("good-3"))
    producer = Producer(patient.settings.producer())
    producer.produce(patient.topics.operator_commands, misplaced, b"good-4")
    assert producer.flush(20) == 0
    with patient.client() as client:
        for wf_run_id in ("good-1", "good-2", "no-wf-run"):
            client.quarantine(wf_run_id).outcome()
        client.release("good-2").outcome()
        code, found = told(capsys, patient.settings)
        (finding,) = found["quarantine"]
        assert (finding["verdict"], finding["found"]) == ("warning", "2 WfRuns: good-1, no-wf-run")
        assert finding["data"] == {"wf_run_ids": ["good-1", "no-wf-run"], "all_looked_at": True}
        assert "halter release" in finding["mend"]
        assert code == 3
        for wf_run_id in ("good-1", "no-wf-run"):
            client.release(wf_run_id).outcome()
    assert told(capsys, patient.settings)[1]["quarantine"][0]["verdict"] == "fine"


def test_records_of_a_newer_release_are_told(patient: Halter, capsys: pytest.CaptureFixture[str]) -> None:
    """As a worker of that release would write them: single-object encoding, with a fingerprint of tomorrow."""
    producer = Producer(patient.settings.producer())
    producer.produce(patient.topics.wf_runs, b"\xc3\x01tomorrow" + b"\0" * 8, b"later")
    assert producer.flush(20) == 0
    code, found = told(capsys, patient.settings)
    wrong = found["schemas"][0]
    assert (code, wrong["verdict"]) == (1, "wrong")
    assert "a newer release" in wrong["mend"]
    producer.produce(patient.topics.wf_runs, None, b"later")
    assert producer.flush(20) == 0


def test_a_paused_partition_is_found_from_outside_with_the_record_and_the_way_out(
    patient: Halter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halter.doctor.standing.SLOW_MS", 500)
    number = partition_of(BAD.encode(), PARTITIONS)
    with patient.client() as client:
        client.run("cart", CARD, wf_run_id=BAD)
        wait_until("the pause", lambda: "partition_paused" in (patient.folder / "breaking.log").read_text())

        def standing() -> list[Any]:
            return [it for it in told(capsys, patient.settings)[1]["folding"] if it["verdict"] == "wrong"]

        wait_until("that it stands", standing)
        (finding,) = standing()
        assert finding["data"]["partition"] == number
        assert (finding["data"]["topic"], finding["data"]["key"]) == ("wf-commands", BAD)
        assert f"halter quarantine {BAD}" in finding["mend"]
        client.quarantine(BAD).outcome()
    monkeypatch.undo()
    wait_until("that it goes on", lambda: told(capsys, patient.settings)[1]["folding"][0]["verdict"] == "fine")


# --- faults of a cluster that nobody works on ---


@pytest.fixture
def settings(bootstrap: str, prefix: str) -> Settings:
    return Settings.load(None, {}, {"bootstrap.servers": bootstrap}, prefix=prefix, partitions=1)


def make_topics(settings: Settings, without: tuple[str, ...] = (), **wrong: dict[str, str]) -> None:
    """Make the topics as topics.yaml says, without some, and some with wrong settings or numbers of partitions."""
    admin = AdminClient(settings.admin())
    new = []
    for topic in settings.topics().all:
        if topic.declared_name in without:
            continue
        more = dict(wrong.get(topic.declared_name.replace("-", "_"), {}))
        partitions = int(more.pop("partitions", topic.partitions))
        config = {**topic.configs, "min.insync.replicas": "1", **more}
        new.append(NewTopic(topic.name, partitions, 1, config=config))
    for future in admin.create_topics(new).values():
        future.result(30)
    wait_until("the topics", lambda: len(find([it.topic for it in new], admin)) == len(new))


def test_without_topics_it_says_so_once(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys, settings)
    (finding,) = found["topics"]
    assert (code, finding["verdict"]) == (1, "wrong")
    assert finding["found"] == f"none of the 20 topics exists with the prefix '{settings.prefix}'"
    assert "halter topics apply" in finding["mend"]


def test_each_fault_of_topics_is_found_and_says_how_it_is_mended(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    make_topics(
        settings,
        without=("kept-inputs", "correlations"),
        wf_runs={"cleanup.policy": "delete"},
        external_events={"message.timestamp.type": "CreateTime"},
        wf_events={"retention.ms": "3600000"},
        task_reports={"partitions": "2"},
        dead_letters={"min.insync.replicas": "2"},
    )
    code, found = told(capsys, settings)
    assert code == 1
    of_topics = {
        (it["data"].get("topic", "").removeprefix(settings.prefix), it["verdict"]): it["found"]
        for it in found["topics"]
    }
    assert "cleanup.policy=compact, found delete" in of_topics["wf-runs", "wrong"]
    assert "LogAppendTime, found CreateTime" in of_topics["external-events", "wrong"]
    assert "retention.ms is 3600000" in of_topics["wf-events", "warning"]
    assert "13 of 18 topics" in of_topics["", "fine"]
    (of_missing,) = (it for it in found["topics"] if "missing" in it["data"])
    assert "2 topics do not exist" in of_missing["found"]
    (of_partitions,) = (it for it in found["topics"] if "partitions" in it["data"])
    assert of_partitions["found"] == f"{settings.prefix}task-reports has 2 partitions, not 1"
    assert "HALTER_PARTITIONS=2" in of_partitions["mend"]
    assert all("halter topics apply" in it["mend"] for it in found["topics"] if it["verdict"] != "fine")
    (of_replicas,) = found["replicas"]
    assert of_replicas["verdict"] == "wrong"
    assert of_replicas["data"]["topics"] == [f"{settings.prefix}dead-letters (min.insync.replicas 2, 1 replica)"]
    assert found["workers"][0]["mend"] == "`halter worker` starts one"


ALTERED = {
    "no such topic": ("kept_inputs", {}),
    "cleanup.policy of rows": ("wf_runs", {"cleanup.policy": "delete"}),
    "cleanup.policy of an input": ("task_reports", {"cleanup.policy": "compact"}),
    "time of an input": ("external_events", {"message.timestamp.type": "CreateTime"}),
    "retention of the log": ("wf_events", {"retention.ms": "3600000"}),
    "retention of an input": ("wf_commands", {"retention.ms": "60000"}),
    "replicas to be in sync": ("dead_letters", {"min.insync.replicas": "2"}),
    "size of records": ("task_requests", {"max.message.bytes": "1000"}),
}
"""What is wrong with a topic that no record was written to: its name and settings; `halter topics apply` mends it."""


def test_what_it_says_of_topics_mends_them(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    wrong: dict[str, dict[str, str]] = {}
    for name, configs in ALTERED.values():
        wrong[name] = wrong.get(name, {}) | configs
    missing = {name for name, configs in ALTERED.values() if not configs}
    make_topics(settings, tuple(it.replace("_", "-") for it in missing), **wrong)
    _, found = told(capsys, settings)
    said = [it for check in ("topics", "replicas") for it in found[check] if it["verdict"] in {"wrong", "warning"}]
    for what, (name, configs) in ALTERED.items():
        topic = settings.prefix + name.replace("_", "-")
        setting = next(iter(configs), "exist")
        of_it = [it for it in said if topic in it["found"] and setting in it["found"]]
        assert of_it, (what, said)
        assert all("halter topics apply" in it["mend"] for it in of_it)
    (of_missing,) = (it for it in said if "missing" in it["data"])
    assert "`halter topics apply --replication auto`" in of_missing["mend"], "there is one broker"
    where = ["--bootstrap", settings.bootstrap, "--prefix", settings.prefix, "--partitions", str(settings.partitions)]
    code, _, err = halter(capsys, "topics", "apply", "--yes", "--replication", "auto", *where)
    assert code == 0, err

    def after() -> set[str]:
        _, found = told(capsys, settings)
        return {it["verdict"] for check in ("topics", "replicas") for it in found[check]}

    wait_until("that brokers tell it", lambda: after() == {"fine"})


def test_where_apply_would_refuse_it_says_what_else_there_is(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    make_topics(settings, external_events={"message.timestamp.type": "CreateTime"})
    producer = Producer(settings.producer())
    producer.produce(settings.topics().external_events, b"x", b"wf-1")
    assert producer.flush(20) == 0
    _, found = told(capsys, settings)
    (wrong,) = (it for it in found["topics"] if it["verdict"] == "wrong")
    assert "Set up anew under another prefix" in wrong["mend"]
    assert "`halter topics apply` changes it" not in wrong["mend"]


def test_all_faults_of_one_topic_are_told_each_with_its_mend(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has had records, so `halter topics apply` refuses to change some of its settings, and then changes none."""
    wrong = {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"}
    others = {"retention.ms": "60000", "segment.ms": "70000", "min.insync.replicas": "2"}
    make_topics(settings, external_events={**wrong, **others, "max.message.bytes": "1000"})
    producer = Producer({"bootstrap.servers": settings.bootstrap, "acks": 1})
    producer.produce(settings.topics().external_events, b"x", b"wf-1")
    assert producer.flush(20) == 0
    _, found = told(capsys, settings)
    topic = settings.topics().external_events
    said = {it["found"]: it["mend"] for it in found["topics"] if it["data"].get("topic") == topic}

    def mend(*names: str) -> str:
        (found,) = (it for it in said if all(name in it for name in names))
        return str(said[found])

    assert len(said) == 4, said
    assert "is compact, not delete" in mend("expected cleanup.policy")
    assert "is CreateTime, not LogAppendTime" in mend("expected message.timestamp.type")
    assert "cleanup.policy" not in mend("expected message.timestamp.type")
    assert "kafka-configs" in mend("expected max.message.bytes")
    assert "kafka-configs" in mend("retention.ms is 60000", "segment.ms is 70000", "min.insync.replicas is 2")
    assert [it["data"]["topics"] for it in found["replicas"]] == [[f"{topic} (min.insync.replicas 2, 1 replica)"]]


def test_a_transaction_that_nobody_ends_is_found_and_what_it_hides(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_topics(settings)
    monkeypatch.setattr("halter.doctor.hanging.OPEN_MS", -60_000)
    topic = settings.topics().wf_commands
    hanging = Producer(settings.producer(**{"transactional.id": f"{settings.prefix}x"}))
    hanging.init_transactions(30)
    hanging.begin_transaction()
    hanging.produce(topic, b"one", b"wf-1", partition=0)
    assert hanging.flush(30) == 0
    with Client.of(settings, settings.topics()) as client:
        client.post_all([RunWf("w-1", "cart")])
    code, found = told(capsys, settings)
    (finding,) = found["hanging"]
    assert (code, finding["verdict"]) == (1, "wrong")
    assert finding["data"] == {"topic": topic, "partition": 0, "offset": 0, "hidden": 2}
    assert f"abort --topic {topic} --partition 0 --start-offset 0`" in finding["mend"]
    assert found["folding"][0]["found"] == "no record waits to be folded", "of what is hidden nobody else knows"
    hanging.abort_transaction(30)
    wait_until("that it is over", lambda: told(capsys, settings)[1]["hanging"][0]["verdict"] == "fine")


def test_what_waits_without_a_worker_is_a_warning_that_says_since_when(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_topics(settings)
    monkeypatch.setattr("halter.doctor.standing.SLOW_MS", -60_000)
    with Client.of(settings, settings.topics()) as client:
        client.post_all([RunWf("w-1", "cart")])
    code, found = told(capsys, settings)
    (finding,) = found["folding"]
    assert (code, finding["verdict"]) == (1, "warning")
    assert "no worker is running" in finding["found"]


def test_an_input_that_no_longer_has_what_is_folded_next_is_found(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """An input that was deleted and made anew: the state says that more was folded than the topic has."""
    make_topics(settings)
    position = FoldPosition(0, {"wf-commands": 5, "external-events": 0, "task-reports": 0})
    producer = Producer(settings.producer())
    producer.produce(settings.topics().fold_positions, Codec.load().encode(position), b"0", partition=0)
    assert producer.flush(20) == 0
    code, found = told(capsys, settings)
    wrong = [it for it in found["folding"] if it["verdict"] == "wrong"]
    assert (code, len(wrong)) == (1, 1)
    assert "wf-commands[0] is folded up to 5, and ends at 0" in wrong[0]["found"]
    assert "another prefix" in wrong[0]["mend"]


def test_a_setting_that_was_changed_on_the_cluster_is_a_warning(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    make_topics(settings)
    name = settings.topics().wf_events
    entry = ConfigEntry("retention.ms", "60000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    admin = AdminClient(settings.admin())
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)

    def of_topics() -> Any:
        return told(capsys, settings)[1]["topics"][0]

    wait_until("that brokers tell it", lambda: of_topics()["verdict"] == "warning")
    assert of_topics()["found"] == f"{name}: retention.ms is 60000, not 2592000000"
