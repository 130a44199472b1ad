"""Records of input topics become commands or dead letters."""

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.codec import Codec
from processors.codec.records import RECORDS
from processors.core.records.commands import (
    DefinitionKind,
    DeleteDefinition,
    ExternalEvent,
    PutWfSpec,
    QuarantineWfRun,
    ReleaseWfRun,
    ReportTaskRun,
    RunWf,
    SkipRecord,
    StopWfRun,
)
from processors.core.records.events import LogEntry
from processors.core.records.model import TaskStatus
from processors.fold.inputs import (
    INPUT_TOPICS,
    VALUE_BYTES_MAX,
    DeadLetter,
    DeadLetterReason,
    InputRecord,
    dead_letter_record,
    read_input,
)
from processors.kafka.partitioner import partition_of
from processors.kafka.topics import Kind
from processors.kafka.topics_file import load_topics
from tests.support.records import ALL_NAMES, ANY_RECORD, SCHEMAS, records

CODEC = Codec.load(SCHEMAS)
PARTITIONS = 8


def as_record(topic: str, command: Any, of: str, **changes: Any) -> InputRecord:
    """Return a record that is right, but for what is changed."""
    partition = partition_of(of.encode(), PARTITIONS) if INPUT_TOPICS[topic].co_partitioned else 0
    if isinstance(command, SkipRecord):
        partition = command.partition
    record = InputRecord(topic, partition, 41, 1_790_000_000_000, of.encode(), CODEC.encode(command))
    return record._replace(**changes)


def topic_of(name: str) -> str:
    return next(topic for topic, takes in INPUT_TOPICS.items() if name in takes.records)


INPUT_NAMES = sorted(name for takes in INPUT_TOPICS.values() for name in takes.records)
EVENT = ExternalEvent("order-41", "on-cancel", "e-1", "now")


# (rule one-partitioner)
@pytest.mark.parametrize("name", INPUT_NAMES)
def test_a_record_of_its_topic_with_its_key_in_its_partition_is_a_command(name: str) -> None:
    topic = topic_of(name)

    @settings(max_examples=25, deadline=None)
    @given(records(name))
    def check(command: Any) -> None:
        key = INPUT_TOPICS[topic].key_of(command)
        if key:
            assert read_input(as_record(topic, command, key), CODEC, PARTITIONS) == command

    check()


def test_the_topics_and_their_records_are_those_of_topics_yaml() -> None:
    declared = {
        topic.declared_name: (frozenset(topic.values), topic.partitions != 1)
        for topic in load_topics(partitions=PARTITIONS).all
        if topic.kind is Kind.INPUT
    }
    assert declared == {name: (topic.records, topic.co_partitioned) for name, topic in INPUT_TOPICS.items()}


def test_the_names_of_input_records_are_those_of_classes() -> None:
    assert set(INPUT_NAMES) <= set(RECORDS)


# (rules unreadable-input-is-dead-letter, one-partitioner)
@pytest.mark.parametrize(
    ("record", "reason", "sentence"),
    [
        (as_record("external-events", EVENT, "order-41", value=None), DeadLetterReason.NO_VALUE, "found none"),
        (
            as_record("external-events", EVENT, "order-41", value=bytes(VALUE_BYTES_MAX + 1)),
            DeadLetterReason.TOO_LARGE,
            "expected a value of at most 262144 bytes, found 262145",
        ),
        (
            as_record("wf-commands", StopWfRun("order-41", 0, "c" * 257), "order-41"),
            DeadLetterReason.TOO_LARGE,
            "expected a command_id of at most 256 characters, found 257",
        ),
        (
            as_record("operator-commands", QuarantineWfRun("order-41", reason="r" * 1_001), "order-41"),
            DeadLetterReason.TOO_LARGE,
            "expected a reason of at most 1000 characters, found 1001",
        ),
        (as_record("external-events", EVENT, "order-41", key=None), DeadLetterReason.EMPTY_KEY, "expected wf_run_id"),
        (as_record("external-events", EVENT, "order-41", key=b""), DeadLetterReason.EMPTY_KEY, "found no key"),
        (
            as_record("external-events", EVENT, "order-41", value=b'{"wf_run_id": "order-41"}'),
            DeadLetterReason.UNDECODABLE,
            "expected Avro single-object encoding",
        ),
        (
            as_record("external-events", EVENT, "order-41", value=CODEC.encode(EVENT)[:-3]),
            DeadLetterReason.UNDECODABLE,
            "ExternalEvent: expected a text of 3 bytes, found 2 that are left",
        ),
        (
            as_record("external-events", EVENT, "order-41", value=b"\xc3\x01abcdefgh"),
            DeadLetterReason.UNKNOWN_SCHEMA,
            "found 6162636465666768",
        ),
        (
            as_record("external-events", RunWf("order-41", "cart"), "order-41"),
            DeadLetterReason.WRONG_RECORD,
            "expected one of ExternalEvent on external-events, found RunWf",
        ),
        (
            as_record("external-events", EVENT, "order-42"),
            DeadLetterReason.KEY_MISMATCH,
            "expected wf_run_id as the key of the record, 'order-41' for this ExternalEvent, found 'order-42'",
        ),
        (
            as_record("external-events", EVENT, "order-41", key=b"\xff" * 300),
            DeadLetterReason.KEY_MISMATCH,
            "\\xff\\xff\\...'",
        ),
        (
            as_record("external-events", EVENT, "order-41", partition=7),
            DeadLetterReason.WRONG_PARTITION,
            f"in partition {partition_of(b'order-41', 8)} (murmur2 of the key modulo 8), found it in partition 7",
        ),
        (
            as_record("definition-commands", PutWfSpec("cart", "{}"), "cart", partition=1),
            DeadLetterReason.WRONG_PARTITION,
            "in partition 0 (murmur2 of the key modulo 1)",
        ),
        (
            as_record("operator-commands", SkipRecord("wf-commands", 3, 17), "order-41"),
            DeadLetterReason.KEY_MISMATCH,
            "'partition/3' for this SkipRecord",
        ),
    ],
)
def test_a_record_that_cannot_be_taken_says_why(record: InputRecord, reason: DeadLetterReason, sentence: str) -> None:
    found = read_input(record, CODEC, PARTITIONS)
    assert isinstance(found, DeadLetter)
    assert found.reason is reason
    assert sentence in found.message


@pytest.mark.parametrize(
    ("topic", "command", "key"),
    [
        ("task-reports", ReportTaskRun("order-41", 1, 0, 2, 1, TaskStatus.SUCCESS), "order-41"),
        ("definition-commands", PutWfSpec("cart", "{}"), "cart"),
        ("definition-commands", DeleteDefinition(DefinitionKind.WF_SPEC, "cart"), "cart"),
        ("operator-commands", QuarantineWfRun("order-41"), "order-41"),
        ("operator-commands", ReleaseWfRun("order-41"), "order-41"),
        ("operator-commands", SkipRecord("wf-commands", 3, 17), "partition/3"),
    ],
)
def test_what_the_key_is_depends_on_the_topic(topic: str, command: Any, key: str) -> None:
    assert read_input(as_record(topic, command, key), CODEC, PARTITIONS) == command


@settings(max_examples=300, deadline=None)
@given(ANY_RECORD, st.sampled_from(sorted(INPUT_TOPICS)), st.binary(min_size=1, max_size=20), st.integers(0, 7))
def test_what_does_not_belong_on_a_topic_is_never_a_command(
    record: Any, topic: str, key: bytes, partition: int
) -> None:
    found = read_input(InputRecord(topic, partition, 1, 1, key, CODEC.encode(record)), CODEC, PARTITIONS)
    name = type(record.event if isinstance(record, LogEntry) else record).__name__
    if name not in INPUT_TOPICS[topic].records:
        assert isinstance(found, DeadLetter)
        assert found.reason is DeadLetterReason.WRONG_RECORD


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(INPUT_TOPICS)),
    st.none() | st.binary(max_size=30),
    st.none() | st.binary(max_size=60) | st.sampled_from(ALL_NAMES).flatmap(lambda name: st.binary(max_size=60).map(
        lambda body: b"\xc3\x01" + SCHEMAS.records[name].fingerprint + body)),
)  # fmt: skip
def test_no_bytes_make_it_raise(topic: str, key: bytes | None, value: bytes | None) -> None:
    found = read_input(InputRecord(topic, 0, 1, 1, key, value), CODEC, PARTITIONS)
    if isinstance(found, DeadLetter):
        assert found.message
        dead_letter_record(InputRecord(topic, 0, 1, 1, key, value), found)


def test_a_dead_letter_keeps_the_headers_and_says_where_it_was_and_why() -> None:
    record = InputRecord("external-events", 3, 41, 1_790_000_000_000, b"k", None, (("trace", b"\x00\xff"),))
    assert dead_letter_record(record, DeadLetter(DeadLetterReason.NO_VALUE, "expected “a” \ud800")).headers == (
        ("trace", b"\x00\xff"),
        ("halter.topic", b"external-events"),
        ("halter.partition", b"3"),
        ("halter.offset", b"41"),
        ("halter.timestamp_ms", b"1790000000000"),
        ("halter.reason", b"NO_VALUE"),
        ("halter.message", "expected “a” \\ud800".encode()),
    )


def test_a_dead_letter_that_no_topic_takes_keeps_its_beginning_and_names_the_whole() -> None:
    """Compressed, nine megabytes pass the limit of an input topic."""
    value = bytes(9_000_000)
    record = InputRecord("external-events", 3, 41, 1_790_000_000_000, b"k", value, (("trace", b"1"),))
    letter = dead_letter_record(record, DeadLetter(DeadLetterReason.TOO_LARGE, "too large"))
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (b"k", value[: 256 * 1024])
    assert headers["halter.value_bytes"] == b"9000000"
    assert headers["halter.value_sha256"] == hashlib.sha256(value).hexdigest().encode()
    assert headers["halter.headers_dropped"] == b"1"
    assert "trace" not in headers
