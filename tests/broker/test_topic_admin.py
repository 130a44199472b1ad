"""Rules of `halter topics plan | apply` and of a worker's check, on a real Kafka; and librdkafka's partitioner."""

import json
import os
import time
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from halter.broker import EmbeddedBroker
from halter.topics.admin import Action, PlanRefused, apply, make_so, plan
from processors.kafka.partitioner import partition_of
from processors.kafka.settings import Settings
from processors.kafka.topic_check import check, find
from processors.kafka.topics import Topics
from processors.kafka.topics_file import load_topics
from tests.support.command_line import Ended, run_here


@pytest.fixture
def settings(bootstrap: str, prefix: str) -> Settings:
    return Settings.load(None, {}, {"bootstrap.servers": bootstrap}, prefix=prefix, partitions=3)


@pytest.fixture
def admin(settings: Settings) -> AdminClient:
    return AdminClient(settings.admin())


@pytest.fixture
def topics(settings: Settings) -> Topics:
    return settings.topics()


def halter(settings: Settings, *arguments: str) -> Ended:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_"))}
    env |= {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap, "HALTER_PREFIX": settings.prefix}
    return run_here(env, "topics", *arguments)


def set_config(admin: AdminClient, topic: str, name: str, value: str) -> None:
    """Set one config and wait until the cluster shows it."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
    deadline = time.monotonic() + 10
    while find([topic], admin)[topic].configs[name].value != value:
        assert time.monotonic() < deadline, f"{topic} does not show {name}={value}"


def wait_for_topic(admin: AdminClient, name: str) -> None:
    deadline = time.monotonic() + 10
    while name not in find([name], admin):
        assert time.monotonic() < deadline, f"{name} was created but does not appear"


def produce(producer: Producer, topic: str, keys: list[bytes]) -> dict[bytes, int]:
    """Produce a record per key with librdkafka's partitioner; return where each went."""
    went: dict[bytes, int] = {}

    def delivered(error: object, message: Message) -> None:
        assert error is None, error
        went[message.key() or b""] = message.partition()

    for key in keys:
        producer.produce(topic, key=key, value=b"x", on_delivery=delivered)
    assert producer.flush(30) == 0
    return went


def test_apply_makes_every_topic_and_the_second_time_changes_nothing(topics: Topics, admin: AdminClient):
    assert [change.action for change in plan(topics, admin, "auto").changes] == [Action.CREATE] * len(topics.all)
    made = make_so(topics, admin, "auto")
    assert len(made.with_action(Action.CREATE)) == len(topics.all)
    found = find((topic.name for topic in topics.all), admin)
    for change in made.changes:
        topic, there = change.topic, found[change.topic.name]
        assert (there.partitions, there.replication) == (topic.partitions, topic.replication)
        assert {name: there.configs[name].value for name in topic.configs} == dict(topic.configs)
    again = make_so(topics, admin, "auto")
    assert not again.pending
    assert check(topics, admin) == []


def test_a_config_that_differs_is_set_and_others_stay(topics: Topics, admin: AdminClient):
    make_so(topics, admin, "auto")
    set_config(admin, topics.wf_events, "retention.ms", "1000")
    set_config(admin, topics.wf_events, "compression.type", "zstd")
    planned = plan(topics, admin, "auto")
    (altered,) = planned.with_action(Action.ALTER)
    assert [(it.name, it.before, it.after) for it in altered.configs] == [("retention.ms", "1000", "2592000000")]
    assert any("compression.type=zstd" in note for note in altered.notes)
    apply(planned, admin)
    configs = find([topics.wf_events], admin)[topics.wf_events].configs
    assert configs["retention.ms"].value == "2592000000"
    assert configs["compression.type"].value == "zstd"


def test_another_partition_count_is_refused_and_nothing_else_is_done(topics: Topics, admin: AdminClient):
    admin.create_topics([NewTopic(topics.wf_runs, 2, 1)])[topics.wf_runs].result()
    wait_for_topic(admin, topics.wf_runs)
    planned = plan(topics, admin, "auto")
    (refused,) = planned.with_action(Action.REFUSED)
    assert "has 2 partitions, topics.yaml wants 3" in refused.reasons[0]
    with pytest.raises(PlanRefused, match="nothing was changed"):
        apply(planned, admin)
    assert set(find((topic.name for topic in topics.all), admin)) == {topics.wf_runs}


def test_what_the_engine_relies_on_is_set_on_an_empty_topic_but_not_under_records(
    settings: Settings, topics: Topics, admin: AdminClient
):
    make_so(topics, admin, "auto")
    set_config(admin, topics.wf_runs, "cleanup.policy", "delete")
    set_config(admin, topics.external_events, "message.timestamp.type", "CreateTime")
    produce(Producer(settings.producer()), topics.external_events, [b"wf-1"])
    planned = plan(topics, admin, "auto")
    assert [change.topic.name for change in planned.with_action(Action.ALTER)] == [topics.wf_runs]
    (refused,) = planned.with_action(Action.REFUSED)
    assert refused.topic.name == topics.external_events
    assert (
        "message.timestamp.type is CreateTime, not LogAppendTime, and the topic has had records" in (refused.reasons[0])
    )


def test_more_copies_than_brokers_are_refused_unless_said_otherwise(topics: Topics, admin: AdminClient):
    brokers = len(admin.list_topics(timeout=10).brokers)
    planned = plan(topics, admin, brokers + 1)
    assert len(planned.changes) == len(topics.all)
    assert all(
        change.action is Action.REFUSED and f"found {brokers} alive" in change.reasons[0] for change in planned.changes
    )
    one = plan(topics, admin, 1)
    assert {change.topic.configs["min.insync.replicas"] for change in one.changes} == {"1"}


def test_a_worker_is_told_what_keeps_it_from_running(topics: Topics, admin: AdminClient):
    missing = check(topics, admin)
    assert missing
    assert all("does not exist: run `halter topics apply`" in problem for problem in missing)
    make_so(topics, admin, "auto")
    set_config(admin, topics.thread_runs, "cleanup.policy", "delete")
    set_config(admin, topics.task_reports, "message.timestamp.type", "CreateTime")
    set_config(admin, topics.dead_letters, "max.message.bytes", "1000")
    problems = check(topics, admin)
    assert len(problems) == 3
    assert f"'{topics.task_reports}': expected message.timestamp.type=LogAppendTime, found CreateTime" in problems[0]
    assert f"'{topics.dead_letters}': expected max.message.bytes of at least" in problems[1]
    assert f"'{topics.thread_runs}': expected cleanup.policy=compact, found delete" in problems[2]
    other = load_topics(prefix=topics.prefix, partitions=4)
    wanted = "set up so, set HALTER_PARTITIONS=3 (in a program: partitions=3)"
    assert any(f"expected 4 partitions, found 3; if the cluster was {wanted}" in problem
               for problem in check(other, admin))  # fmt: skip


def test_nothing_is_created_by_looking_at_it(topics: Topics, admin: AdminClient):
    check(topics, admin)
    plan(topics, admin, "auto")
    assert not set(admin.list_topics(timeout=10).topics) & {topic.name for topic in topics.all}


def test_the_command_line_plans_applies_and_says_so_in_its_exit_code(settings: Settings):
    options = ("--replication", "auto", "--partitions", "2")
    planned = halter(settings, "plan", *options, "--json")
    assert planned.returncode == 3, planned.stderr
    changes = json.loads(planned.stdout)["changes"]
    assert {change["action"] for change in changes} == {"create"}
    unconfirmed = halter(settings, "apply", *options)
    assert unconfirmed.returncode == 1
    assert "pass --yes" in unconfirmed.stderr
    applied = halter(settings, "apply", *options, "--yes")
    assert applied.returncode == 0, applied.stderr
    assert f"Done: {len(changes)} created, 0 altered." in applied.stdout
    assert halter(settings, "plan", *options).returncode == 0
    refused = halter(settings, "apply", "--replication", "auto", "--partitions", "5", "--yes")
    assert refused.returncode == 4
    assert "refused" in refused.stdout
    assert "Nothing was changed" in refused.stderr


def test_the_command_line_explains_a_topics_file_that_cannot_be(settings: Settings, tmp_path: Path):
    path = tmp_path / "topics.yaml"
    path.write_text("settings: {}\n", encoding="utf-8")
    answer = halter(settings, "plan", "--topics-file", str(path))
    assert answer.returncode == 1
    assert answer.stderr == f"halter: {path}:1: settings: 'topics' is missing\n"


@pytest.fixture(scope="session")
def seven_partitions(bootstrap: str) -> tuple[Producer, str]:
    """A producer, and a topic whose partition count is no power of two, for the property below."""
    settings = Settings.load(None, {}, {"bootstrap.servers": bootstrap})
    name = f"partitioner-{os.getpid()}-{os.urandom(4).hex()}"
    admin = AdminClient(settings.admin())
    admin.create_topics([NewTopic(name, 7, 1)])[name].result()
    wait_for_topic(admin, name)
    return Producer(settings.producer(linger_ms=0)), name


@given(keys=st.lists(st.binary(max_size=80), min_size=1, max_size=200, unique=True))
@hypothesis_settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_our_partitioner_is_the_one_of_librdkafkas_producer(seven_partitions: tuple[Producer, str], keys: list[bytes]):
    producer, topic = seven_partitions
    assert produce(producer, topic, keys) == {key: partition_of(key, 7) for key in keys}


def test_a_producer_with_default_batches_fills_the_inputs_without_loss(
    settings: Settings, topics: Topics, admin: AdminClient
):
    make_so(topics, admin, "auto")
    # 6 MB to one partition at once: librdkafka packs it into batches of up to 1,000,000 bytes.
    failed: list[object] = []
    producer = Producer(settings.producer())
    for _ in range(6_000):
        producer.produce(
            topics.external_events,
            key=b"wf-1",
            value=bytes(1_000),
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert producer.flush(30) == 0
    assert failed == []


def test_a_broker_that_died_a_moment_ago_does_not_keep_a_worker_from_starting(tmp_path: Path, prefix: str):
    with EmbeddedBroker(tmp_path / "three", brokers=3) as kafka:
        settings = Settings.load(None, {}, {"bootstrap.servers": kafka.bootstrap}, prefix=prefix, partitions=3)
        topics = settings.topics()
        made = make_so(topics, AdminClient(settings.admin()))
        assert {change.topic.replication for change in made.changes} == {3}
        kafka.kill(1)
        assert check(topics, AdminClient(settings.admin())) == []
