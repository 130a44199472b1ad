"""Rules of topics.yaml: it has all that the engine relies on, and a file that has not is refused by line and field."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from halter.topics.acls import Acl, UnknownService, acls, commands
from processors.codec.resources import resource
from processors.core.records.errors import HalterError
from processors.kafka.errors import TopicsFileError, UnknownTaskQueue
from processors.kafka.settings import Settings
from processors.kafka.topic_check import problems
from processors.kafka.topics import ROLES, Kind
from processors.kafka.topics_file import load_topics

TEXT = resource("topics.yaml").read_text(encoding="utf-8")
TOPICS = load_topics()


def edited(tmp_path: Path, old: str, new: str) -> Path:
    """Write a copy of topics.yaml in which the first `old` is `new`."""
    assert old in TEXT, f"the test edits '{old}', which topics.yaml no longer has"
    path = tmp_path / "topics.yaml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_file_that_halter_carries_has_every_role():
    assert {topic.declared_name for topic in TOPICS.all} == set(ROLES)
    assert TOPICS.partitions == 8
    assert TOPICS.inputs == ("wf-commands", "external-events", "task-reports")
    assert TOPICS.state == ("wf-runs", "thread-runs", "wf-run-external-events", "kept-inputs", "fold-positions")


def test_co_partitioned_topics_have_n_partitions_and_the_others_one():
    topics = load_topics(partitions=5)
    single = {topics.definition_commands, topics.definition_events, topics.definitions}
    assert topics.partitions == 5
    assert {topic.name: topic.partitions for topic in topics.all} == {
        topic.name: 1 if topic.name in single else 5 for topic in topics.all
    }


def test_every_record_has_a_schema_and_every_schema_of_a_record_a_topic():
    schemas = resource("schemas")
    named = {value for topic in TOPICS.all for value in topic.values} - {"bytes", "events/*"}
    folders = ("commands", "correlation", "definitions", "operator", "state", "tasks")
    assert named == {path.stem for folder in folders for path in (schemas / folder).glob("*.avsc")}
    assert any((schemas / "events").glob("*.avsc"))


def test_inputs_take_their_time_from_the_broker_and_keep_it_as_long_as_the_log():
    for name in TOPICS.inputs:
        configs = TOPICS[name].configs
        assert configs["message.timestamp.type"] == "LogAppendTime"
        assert configs["retention.ms"] == TOPICS[TOPICS.wf_events].configs["retention.ms"]
        assert configs["retention.bytes"] == "-1"


def test_inputs_take_the_largest_batch_that_librdkafka_makes():
    # batch.size and message.max.bytes default to 1,000,000. If a batch is refused, all its records are lost.
    assert all(TOPICS[name].message_bytes_max > 1_000_000 for name in TOPICS.inputs)


def test_state_is_compacted_in_small_segments():
    for name in TOPICS.state:
        configs = TOPICS[name].configs
        assert configs["cleanup.policy"] == "compact"
        assert int(configs["segment.bytes"]) <= 16 * 1024 * 1024
        assert TOPICS[name].kind is Kind.STATE


def test_a_prefix_is_put_before_topics_group_and_transactional_ids():
    topics = load_topics(prefix="staging.")
    assert topics.wf_events == "staging.wf-events"
    assert topics.group == "staging.halter"
    assert topics.transactional_id(3) == "staging.halter-3"
    assert all(topic.name == f"staging.{topic.declared_name}" for topic in topics.all)
    worker = acls(topics, "worker")
    assert all(acl.name.startswith("staging.") for acl in worker)


def test_beside_a_release_a_topic_that_it_wants_in_another_shape_is_left_alone():
    topics = load_topics()
    beside = topics.beside("0.1.0")
    assert {it.declared_name for it in topics.all} - {it.declared_name for it in beside.all} == {"operator-commands"}
    assert Settings.load(None, {"HALTER_SCHEMAS": "0.1.0"}, {}).topics().all == beside.all
    assert topics.beside("0.2.0").all == topics.all


def test_a_topic_that_is_new_since_a_release_may_be_missing_beside_it_and_only_then():
    topics = load_topics(prefix="p-")
    cancellations, requests = topics[topics.task_cancellations], topics[topics.task_requests]
    for release in ("0.1.0", "0.2.0"):
        beside = topics.beside(release)
        assert cancellations in beside.all, "`halter topics apply` makes it in the first step of an upgrade"
        assert problems(cancellations, None, beside) == []
        assert problems(requests, None, beside) != []
    [sentence] = problems(cancellations, None, topics)
    assert "'p-task-cancellations' does not exist: run `halter topics apply`" in sentence


def test_a_named_task_queue_is_a_topic_of_its_own(tmp_path: Path):
    commented = re.search(r"  # (task-requests-gpu:\n(?:  # .*\n)+)", TEXT)
    assert commented, "topics.yaml shows how a queue is declared"
    declared = commented.group(0).replace("  # ", "  ")
    topics = load_topics(edited(tmp_path, commented.group(0), declared), prefix="p-")
    assert topics.task_queue() == topics.task_queue("") == "p-task-requests"
    assert topics.task_queue("gpu") == "p-task-requests-gpu"
    assert topics["p-task-requests-gpu"].partitions == 8
    assert any(acl.name == "p-task-requests-gpu" and acl.operation == "WRITE" for acl in acls(topics, "worker"))
    with pytest.raises(UnknownTaskQueue, match=r"'cpu' is not declared .* gpu"):
        topics.task_queue("cpu")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("group: halter", "group: [halter]", r":\d+: settings\.group: expected a text, found a list"),
        ("partitions: 8", "partitions: 0", r"defaults\.partitions: expected a whole number of at least 1, found 0"),
        ("partitions: 8", "partitions: true", r"defaults\.partitions: expected a whole number"),
        ("  wf-events:", "  wf-event:", r": topics: expected a topic of Halter or a task queue .* found 'wf-event'"),
        ("kind: input", "kind: log", r"wf-commands\.kind: expected 'input', .* found 'log'"),
        ("kind: input", "kynd: input", r"topics\.wf-commands: expected one of .*kind.*, found 'kynd'"),
        ("    key: wf_run_id\n", "", r"topics\.wf-commands: 'key' is missing"),
        ("LogAppendTime", "CreateTime", r"message\.timestamp\.type: expected 'LogAppendTime'.* found 'CreateTime'"),
        ("cleanup.policy: compact", "cleanup.policy: delete", r"cleanup\.policy: expected 'compact'"),
        ("partitions: 1\n", "partitions: 2\n", r"definition-commands\.partitions: expected 1: its records"),
        ("    key: wf_run_id\n", "    key: wf_run_id\n    partitions: 3\n", r"partitions: expected no such field"),
        ("consumes: [wf-events, ", "consumes: [wf-event, ", r"consumes\[0\]: expected a topic of this file"),
        ("principal: User:", "principal: ", r"principal: expected a principal such as"),
        ("values: [bytes]", "values: []", r"dead-letters\.values: expected at least one record"),
        ("  dead-letters:\n", "  dead-letters:\n  dead-letters:\n", r"'dead-letters' stands here and in line \d+"),
        ("topics:\n", "topics: [\n", r"topics\.yaml:\d+: not YAML: "),
    ],
)  # fmt: skip
def test_a_file_that_breaks_a_rule_is_refused_with_line_and_field(tmp_path: Path, old: str, new: str, expected: str):
    path = edited(tmp_path, old, new)
    with pytest.raises(TopicsFileError, match=expected) as refused:
        load_topics(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: ", str(refused.value))


def test_dead_letters_must_hold_what_any_input_let_in(tmp_path: Path):
    text = TEXT[TEXT.index("  dead-letters:") :]
    path = edited(tmp_path, text, text.replace("max.message.bytes: 4194304", "max.message.bytes: 1048588", 1))
    with pytest.raises(TopicsFileError, match=r"dead-letters\.configs\.max\.message\.bytes: expected more than"):
        load_topics(path)


def test_an_error_names_the_line_where_people_look(tmp_path: Path):
    path = edited(tmp_path, "kind: log", "kind: tasks")
    line = path.read_text(encoding="utf-8").splitlines().index("    kind: tasks") + 1
    with pytest.raises(TopicsFileError, match=rf":{line}: "):
        load_topics(path)


def test_a_file_that_is_not_there_is_an_error_in_words(tmp_path: Path):
    with pytest.raises(TopicsFileError, match=r"cannot read topics from .*none\.yaml"):
        load_topics(tmp_path / "none.yaml")


@pytest.mark.parametrize("prefix", ["a b", "ü", "x/", "y" * 250])
def test_a_prefix_that_kafka_does_not_take_is_refused(prefix: str):
    with pytest.raises(HalterError, match="expected"):
        load_topics(prefix=prefix)


def test_the_worker_may_do_what_the_engine_does_and_nobody_else_may_write_its_outputs():
    rights = {(acl.name, acl.operation) for acl in acls(TOPICS, "worker")}
    restored = (*TOPICS.state, TOPICS.definitions)
    read = (*TOPICS.inputs, TOPICS.definition_commands, TOPICS.operator_commands, *restored)
    of_tasks = (TOPICS.task_requests, TOPICS.task_cancellations)
    outputs = (*restored, TOPICS.wf_events, TOPICS.definition_events, *of_tasks, TOPICS.dead_letters)
    assert {(name, "READ") for name in read} <= rights
    assert {(name, "WRITE") for name in (*outputs, TOPICS.wf_commands)} <= rights
    assert {(TOPICS.group, "READ"), (f"{TOPICS.group}-", "WRITE")} <= rights
    writers = {(acl.service, acl.name) for acl in acls(TOPICS) if acl.operation == "WRITE"}
    # Bindings and sinks have dead letters of their own, operators note retries. Headers tell them from the workers'.
    of_all = {TOPICS.dead_letters}
    assert {service for service, name in writers if name in {*outputs} - of_all} == {"worker"}
    assert {service for service, name in writers if name in of_all} == {
        "worker",
        "bindings",
        "sinks",
        "operator",
        "acting-console",
    }


def test_whoever_reads_has_a_group_to_do_it_with():
    groups: dict[str, list[str]] = {}
    for acl in acls(TOPICS):
        if acl.resource_type == "GROUP":
            groups.setdefault(acl.service, []).append(acl.name)
    assert set(groups) == {service.name for service in TOPICS.services if service.consumes}
    assert any(TOPICS.reader_group.startswith(name) for name in groups["client"])
    assert all(
        any(group.startswith(name) for name in groups["task-worker"])
        for group in (TOPICS.task_group, TOPICS.reader_group)
    )


def test_rights_come_as_kafka_acls_commands_that_name_each_resource_once():
    rights = acls(TOPICS, "task-worker")
    assert rights == [
        Acl("task-worker", "User:halter-tasks", "TOPIC", "definitions", "LITERAL", "READ"),
        Acl("task-worker", "User:halter-tasks", "TOPIC", "wf-events", "LITERAL", "READ"),
        Acl("task-worker", "User:halter-tasks", "TOPIC", "task-requests", "LITERAL", "READ"),
        Acl("task-worker", "User:halter-tasks", "TOPIC", "task-cancellations", "LITERAL", "READ"),
        Acl("task-worker", "User:halter-tasks", "TOPIC", "task-reports", "LITERAL", "WRITE"),
        Acl("task-worker", "User:halter-tasks", "GROUP", "halter-tasks", "PREFIXED", "READ"),
        Acl("task-worker", "User:halter-tasks", "GROUP", "halter-reader", "PREFIXED", "READ"),
    ]
    command = "kafka-acls --bootstrap-server kafka:9092 --add --allow-principal User:halter-tasks --operation"
    assert list(commands(rights, "kafka:9092")) == [
        "# task-worker",
        f"{command} Read --topic definitions --resource-pattern-type literal",
        f"{command} Read --topic wf-events --resource-pattern-type literal",
        f"{command} Read --topic task-requests --resource-pattern-type literal",
        f"{command} Read --topic task-cancellations --resource-pattern-type literal",
        f"{command} Write --topic task-reports --resource-pattern-type literal",
        f"{command} Read --group halter-tasks --resource-pattern-type prefixed",
        f"{command} Read --group halter-reader --resource-pattern-type prefixed",
    ]
    described = [(acl.service, acl.name, acl.operation) for acl in acls(TOPICS) if acl.operation == "DESCRIBE"]
    assert len(described) == len(set(described))


def test_an_unknown_service_is_refused_with_those_that_there_are():
    with pytest.raises(UnknownService, match=r"'workers' is not in .*; there are: .*worker"):
        acls(TOPICS, "workers")


def test_the_table_in_the_docs_says_what_topics_yaml_says():
    table = Path(__file__).parents[2] / "docs" / "topics_table.py"
    checked = subprocess.run([sys.executable, table, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_readme_names_every_topic_and_every_record_that_is_sent_to_halter():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    for topic in TOPICS.all:
        (row,) = [it for it in rows if f"`{topic.name}`" in it.split("|")[1]]
        if topic.kind is Kind.INPUT:
            assert [it for it in topic.values if it not in row] == [], f"README.md, the row of {topic.name}"
