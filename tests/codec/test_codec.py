"""The codec: a written record can be read, by us and by other Avro libraries, and only records are read."""

import io
import json
import struct
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import avro.io
import avro.schema
import fastavro
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from processors.codec import Codec, DecodeError, NotSingleObject, Undecodable, Unencodable, UnknownSchema
from processors.codec.schemas import RecordSchema, Schemas
from processors.core.records.commands import (
    ExternalEvent,
    RunWf,
    StopWfRun,
)
from processors.core.records.events import (
    Cause,
    Halt,
    LogEntry,
    NodeCompleted,
    ThreadFailed,
    VariableWrite,
    WfRunStarted,
)
from processors.core.records.fold_position import FoldPosition
from processors.core.records.model import (
    Failure,
    FailureClass,
    ManualHalt,
    PendingInterrupt,
    TaskStatus,
    Timer,
    TimerKind,
    WfSpecId,
)
from processors.core.records.values import Timestamp
from processors.kafka.settings import Settings
from tests.support.records import (
    ALL_NAMES,
    ANY_RECORD,
    SCHEMAS,
    comparable,
    plain_record,
    records,
    without_logical_types,
)

CODEC = Codec.load(SCHEMAS)
LAST = Codec.load(SCHEMAS, release=SCHEMAS.versions[-1])
"""Writes as the last release."""
CAUSE = Cause("external-events", 3, 998_877, "command-1", 12)
EXTERNAL_EVENT = ExternalEvent("order-41", "on-cancel", "e-1", {"reason": "changed my mind", "items": [1, 2.5, None]})
HALT = LogEntry("order-41", 7, 2, 1_790_000_000_000, CAUSE, Halt(0, PendingInterrupt("on-cancel", "e-1")))


def with_header(name: str, body: bytes) -> bytes:
    """Return bytes that claim to be a record."""
    return b"\xc3\x01" + SCHEMAS.records[name].fingerprint + body


def schema_of(name: str, fingerprint: bytes | None = None) -> RecordSchema:
    """Return the current schema of a record, or the one with a fingerprint."""
    found = SCHEMAS.records[name] if fingerprint is None else SCHEMAS.find(fingerprint)
    assert found is not None
    return found


@cache
def fastavro_schema(name: str, fingerprint: bytes | None = None) -> Any:
    return fastavro.parse_schema(without_logical_types(schema_of(name, fingerprint).schema))


@cache
def avro_schema(name: str, fingerprint: bytes | None = None) -> Any:
    return avro.schema.parse(json.dumps(without_logical_types(schema_of(name, fingerprint).schema)))


def name_of(record: Any) -> str:
    return type(record.event if isinstance(record, LogEntry) else record).__name__


@pytest.mark.parametrize("name", ALL_NAMES)
def test_every_record_is_read_as_it_was_written(name: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(records(name))
    def check(record: Any) -> None:
        data = CODEC.encode(record)
        assert comparable(CODEC.decode(data)) == comparable(record)
        assert CODEC.record_name(data) == name

    check()


@settings(max_examples=300, deadline=None)
@given(ANY_RECORD)
def test_the_same_record_gives_the_same_bytes_whatever_was_written_before(record: Any) -> None:
    data = CODEC.encode(record)
    CODEC.encode(HALT)
    assert CODEC.encode(record) == data
    assert Codec.load(SCHEMAS).encode(record) == data


@settings(max_examples=300, deadline=None)
@given(ANY_RECORD)
def test_the_bytes_are_those_of_fastavro(record: Any) -> None:
    body = io.BytesIO()
    name, written = name_of(record), CODEC.encode(record)
    fingerprint = written[2:10]
    # What says nothing new has the schema of the last release, which lacks the new fields.
    is_current = fingerprint == SCHEMAS.records[name].fingerprint
    schema = fastavro_schema(name, fingerprint)
    fastavro.schemaless_writer(body, schema, plain_record(record, tagged=True), strict=is_current)
    assert written == b"\xc3\x01" + fingerprint + body.getvalue()


@settings(max_examples=150, deadline=None)
@given(ANY_RECORD)
def test_the_avro_package_reads_the_bytes(record: Any) -> None:
    name, written = name_of(record), CODEC.encode(record)
    body = io.BytesIO(written[10:])
    reader = avro.io.DatumReader(avro_schema(name, written[2:10]), avro_schema(name))
    found = reader.read(avro.io.BinaryDecoder(body))
    assert found == plain_record(record, tagged=False)
    assert body.read() == b""


@settings(max_examples=200, deadline=None)
@given(ANY_RECORD)
def test_a_record_that_says_nothing_new_is_written_as_the_last_release_wrote_it(record: Any) -> None:
    """Whoever reads that release reads it: consumers that are upgraded later, and workers that go back."""
    name, written = name_of(record), CODEC.encode(record)
    try:
        before = LAST.encode(record) if LAST.knows(name) else None
    except Unencodable:
        before = None
    assert written == before or written[2:10] == SCHEMAS.records[name].fingerprint
    assert before is None or written == before


def test_the_published_schema_makes_dates_of_times() -> None:
    schema = fastavro.parse_schema(json.loads(SCHEMAS.records["Halt"].text))
    found: Any = fastavro.schemaless_reader(io.BytesIO(CODEC.encode(HALT)[10:]), schema, None)
    assert found["time_ms"].isoformat() == "2026-09-21T14:13:20+00:00"


def test_a_producers_record_written_in_blocks_is_read() -> None:
    # Java's blocking encoder writes a map as blocks with negative counts and their size in bytes.
    entry = b"\x02a\x04\x06"  # "a": long 3
    blocks = b"\x01" + bytes([len(entry) << 1]) + entry + b"\x02\x02b\x00" + b"\x00"
    body = b"\x02w" + b"\x02s" + blocks + b"\x00" * 6
    assert CODEC.decode(with_header("RunWf", body)) == RunWf("w", "s", {"a": 3, "b": None})


def test_a_minimal_record_of_fastavro_takes_the_defaults() -> None:
    body = io.BytesIO()
    minimal = {"wf_run_id": "w", "external_event_def": "d", "external_event_id": "e"}
    fastavro.schemaless_writer(body, fastavro_schema("ExternalEvent"), minimal)
    assert CODEC.decode(with_header("ExternalEvent", body.getvalue())) == ExternalEvent("w", "d", "e")


def expect_a_decode_error_or_a_record(data: bytes) -> None:
    """Expect a DecodeError, or a record that is the same when it is written and read again, and so are its bytes."""
    try:
        record = CODEC.decode(data)
    except DecodeError:
        return
    written = CODEC.encode(record)
    again = CODEC.decode(written)
    assert comparable(again) == comparable(record)
    assert CODEC.encode(again) == written


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(ALL_NAMES))
def test_random_bytes_raise_a_decode_error_or_are_a_record(body: bytes, name: str) -> None:
    for data in (body, with_header(name, body)):
        expect_a_decode_error_or_a_record(data)


@settings(max_examples=400, deadline=None)
@given(ANY_RECORD, st.data())
def test_damaged_bytes_raise_a_decode_error_or_are_a_record(record: Any, data: st.DataObject) -> None:
    whole = CODEC.encode(record)
    at = data.draw(st.integers(10, len(whole)))
    damaged = whole[:at] + data.draw(st.binary(max_size=6)) + whole[at + data.draw(st.integers(0, 6)) :]
    expect_a_decode_error_or_a_record(damaged)


@settings(max_examples=200, deadline=None)
@given(ANY_RECORD, st.data())
def test_a_record_that_was_cut_short_is_undecodable(record: Any, data: st.DataObject) -> None:
    whole = CODEC.encode(record)
    assume(len(whole) > 10)
    with pytest.raises(Undecodable):
        CODEC.decode(whole[: data.draw(st.integers(10, len(whole) - 1))])


@given(ANY_RECORD, st.binary(min_size=1, max_size=5))
@settings(deadline=None)
def test_bytes_after_the_record_are_an_error(record: Any, rest: bytes) -> None:
    with pytest.raises(Undecodable, match="expected a record of"):
        CODEC.decode(CODEC.encode(record) + rest)


GREATEST = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"  # the greatest long


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("ExternalEvent", GREATEST + b"abc"),
        ("ExternalEvent", b"\x01abc"),
        ("ExternalEvent", b"\x02w\x02d\x02e\x0a" + GREATEST),
        ("RunWf", b"\x02w\x02s" + GREATEST),
        ("RunWf", b"\x02w\x02s" + b"\xff" * 9 + b"\x01" + GREATEST),
        ("WaitStarted", b"\x02w\x00\x00\x00\x02t\x00\x00\x00\x00\x00\x00" + GREATEST),
        ("FoldPosition", b"\x00" + GREATEST),
    ],
)
def test_a_huge_length_takes_no_memory(name: str, body: bytes) -> None:
    CODEC.record_name(with_header(name, b""))
    tracemalloc.start()
    with pytest.raises(Undecodable):
        CODEC.decode(with_header(name, body))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000  # the first compilation of the reader takes most of it


def test_a_full_size_record_of_the_smallest_items_takes_bounded_memory() -> None:
    count = 120_000
    length = io.BytesIO()
    fastavro.schemaless_writer(length, {"type": "long"}, count)
    body = b"\x02w\x00\x00\x00\x02t\x00\x00\x00\x00\x00\x00" + length.getvalue() + b"\x02" * count + b"\x00"
    data = with_header("WaitStarted", body)
    CODEC.decode(CODEC.encode(LogEntry("w", 0, 0, 0, CAUSE, NodeCompleted(0, 0, "a", "b"))))
    tracemalloc.start()
    CODEC.decode(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * len(data)


def test_a_chain_of_failures_may_be_longer_than_the_stack_is_deep() -> None:
    failure = Failure("TIMEOUT", "m", FailureClass.ERROR)
    for thread in range(50_000):
        failure = Failure("CHILD_FAILED", "m", FailureClass.ERROR, None, thread, failure)
    data = CODEC.encode(LogEntry("w", 1, 1, 1, CAUSE, ThreadFailed(0, failure)))
    decoded: Any = CODEC.decode(data)
    assert sum(1 for _ in decoded.event.failure.chain()) == 50_001
    assert CODEC.encode(decoded) == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a": NaN}',
        "[1e999]",
        "[9223372036854775808]",
        '["\\ud800"]',
        "[" * 101 + "]" * 101,
        "[" * 100_000 + "]" * 100_000,
        "7",
        '"text"',
        "null",
    ],
)
def test_json_that_could_not_be_kept_is_undecodable(text: str) -> None:
    with pytest.raises(Undecodable, match=r"^ExternalEvent: (not JSON|expected|JSON)"):
        CODEC.decode(external_event_with_json(text))


def test_json_may_have_spaces() -> None:
    assert CODEC.decode(external_event_with_json(' {"a": [1 ]} ')) == ExternalEvent("w", "d", "e", {"a": [1]})


def external_event_with_json(text: str) -> bytes:
    body = io.BytesIO()
    record = {
        "wf_run_id": "w",
        "external_event_def": "d",
        "external_event_id": "e",
        "content": ("halter.Json", {"json": text}),
    }
    fastavro.schemaless_writer(body, fastavro_schema("ExternalEvent"), record)
    return with_header("ExternalEvent", body.getvalue())


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_double_may_be_anything_that_a_double_can_be(number: float) -> None:
    data = CODEC.encode(ExternalEvent("w", "d", "e", number))
    found: Any = CODEC.decode(data)
    assert struct.pack("<d", found.content) == struct.pack("<d", number)
    assert CODEC.encode(found) == data


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (b"", NotSingleObject, "found no bytes"),
        (b"\xc3\x01\x00", NotSingleObject, "found bytes that begin with C3 01 00"),
        (b'{"wf_run_id": "w"}', NotSingleObject, "expected Avro single-object encoding"),
        (b"\x00\x00\x00\x00\x07abcdefgh", NotSingleObject, "00 00 00 00 07"),
        (b"\xc3\x01" + b"\xff" * 8 + b"abc", UnknownSchema, "found ffffffffffffffff"),
        (with_header("StopWfRun", b"\x04\xff\xfe\x00\x00"), Undecodable, "StopWfRun: expected text in UTF-8, found ff"),
        (with_header("StopWfRun", b"\x04w"), Undecodable, "expected a text of 2 bytes, found 1 that are left"),
        (with_header("StopWfRun", b"\x02w\x80\x80"), Undecodable, "expected more than the 14 bytes"),
        (with_header("StopWfRun", b"\x02w\x00\x04"), Undecodable, "expected one of null, string, found branch 4"),
        (with_header("StopWfRun", b"\x02w\x80\x00\x00"), Undecodable, "shortest form"),
        (with_header("StopWfRun", b"\x02w" + b"\xff" * 11), Undecodable, "at most 64 bits"),
        (with_header("StopWfRun", b"\x02w" + b"\xff" * 9 + b"\x02\x00"), Undecodable, "at most 64 bits"),
        (with_header("RescueThreadRun", b"\x02w\x00\x05\x00"), Undecodable, "expected a boolean of 0 or 1, found 5"),
        (with_header("SkipRecord", b"\x02t" + GREATEST + b"\x00\x00\x00"), Undecodable, "a number of 32 bits"),
    ],
)
def test_a_decode_error_says_what_was_expected_and_what_was_found(
    data: bytes, error: type[DecodeError], sentence: str
) -> None:
    with pytest.raises(error) as caught:
        CODEC.decode(data)
    assert sentence in str(caught.value)


def test_the_symbol_unknown_is_written_by_nobody() -> None:
    # In a TimerFired, the kind is the sixth field.
    fired = with_header("TimerFired", b"\x02w\x00\x00\x00" + b"%c\x00")
    for index, kind in enumerate(TimerKind, start=1):
        record: Any = CODEC.decode(fired % (index << 1))
        assert record.kind is kind
    for wrong in (0, (len(TimerKind) + 1) << 1, 1, 127):
        with pytest.raises(Undecodable, match=r"a symbol of .*TimerKind"):
            CODEC.decode(fired % wrong)


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (StopWfRun("w", 2**63), "does not fit into 64 bits"),
        (StopWfRun("w", -(2**63) - 1), "does not fit into 64 bits"),
        (FoldPosition(2**31), "does not fit into 32 bits"),
        (FoldPosition(0, {"a": 2**63}), "does not fit into 64 bits"),
        (StopWfRun("w", 1.5), "StopWfRun of 'w'"),  # type: ignore[arg-type]
        (StopWfRun(None), "StopWfRun"),  # type: ignore[arg-type]
        (StopWfRun("\ud800"), "StopWfRun of '\\ud800'"),
        (ExternalEvent("w", "d", "e", 2**63), "ExternalEvent of 'w'"),
        (ExternalEvent("w", "d", "e", {1, 2}), "expected one of NoneType, Timestamp, bool"),  # type: ignore[arg-type]
        (ExternalEvent("w", "d", "e", [float("inf")]), "not a JSON value"),
        (ExternalEvent("w", "d", "e", [Timestamp(1)]), "not a JSON value"),
        (Timer(TimerKind.SLEEP, 1), "expected a record of the schemas, found Timer"),
        (HALT.event, "expected a record of the schemas, found Halt"),
        (LogEntry("w", 0, 0, 0, CAUSE, Timer(TimerKind.SLEEP, 1)), "expected an event"),  # type: ignore[arg-type]
        (LogEntry("w", 0, 0, 0, CAUSE, Halt(0, TaskStatus.FAILED)), "expected one of HaltedByParent"),  # type: ignore[arg-type]
    ],
)
def test_a_record_that_does_not_fit_its_schema_is_not_written(record: Any, sentence: str) -> None:
    with pytest.raises(Unencodable) as caught:
        CODEC.encode(record)
    assert sentence in str(caught.value)


def test_bounds_of_integers_are_exact() -> None:
    for number in (-(2**63), 2**63 - 1, -65, -64, 8191, 8192, 2**34, 2**35, 2**40, 2**41, 2**42):
        assert CODEC.decode(CODEC.encode(StopWfRun("w", number))) == StopWfRun("w", number)
    for number in (-(2**31), 2**31 - 1):
        assert CODEC.decode(CODEC.encode(FoldPosition(number))) == FoldPosition(number)


def test_events_of_one_command_may_differ_in_every_field_of_the_header() -> None:
    other = Cause("wf-commands", 0, 1, None, 0)
    entries = [
        LogEntry(wf_run_id, incarnation, seq, time_ms, cause, Halt(0, ManualHalt()))
        for wf_run_id in ("a", "b")
        for incarnation in (1, 2)
        for time_ms in (5, 6)
        for cause in (CAUSE, other, Cause("wf-commands", 0, 1, None, 0))
        for seq in (1, 2)
    ]
    assert [CODEC.decode(CODEC.encode(entry)) for entry in entries] == entries


def test_threads_may_share_a_codec_from_its_first_record_on() -> None:
    events: list[Any] = [
        NodeCompleted(0, 0, "a", "b", [VariableWrite(0, "v", [1])]),
        ThreadFailed(0, Failure("f", "m", FailureClass.ERROR, 1.5)),
        WfRunStarted(WfSpecId("s", 0, 0), "t", "n", {"v": {"a": 1}}),
        Halt(0, PendingInterrupt("d", "e")),
    ]
    for _ in range(20):
        codec = Codec.load(SCHEMAS)
        start = threading.Barrier(len(events))

        def use(event: Any, codec: Codec = codec, start: threading.Barrier = start) -> bool:
            start.wait()
            entry = LogEntry("w", 1, 1, 1, CAUSE, event)
            return all(codec.decode(codec.encode(entry)) == entry for _ in range(20))

        with ThreadPoolExecutor(len(events)) as pool:
            assert all(pool.map(use, events))


def test_a_process_finds_and_compiles_the_schemas_of_its_installation_once() -> None:
    here = Settings({"bootstrap.servers": "127.0.0.1:1"}, sources={})
    assert Schemas.load() is Schemas.load()
    assert Codec.load() is Codec.load() is here.codec()
    assert Codec.load(release=LAST.release) is replace(here, schemas=LAST.release).codec() is not Codec.load()


def test_the_log_of_a_command_is_written_as_its_entries_are_alone() -> None:
    events = (
        HALT.event,
        WfRunStarted(WfSpecId("order", 1, 0), "main", "start"),
        ThreadFailed(0, Failure("f", "m", FailureClass.ERROR)),
    )
    log = [LogEntry("order-41", 7, seq, HALT.time_ms, CAUSE, event) for seq, event in enumerate(events, 2)]
    for _ in range(2):  # before their writers are compiled, and after
        assert CODEC.encode_log(log) == [CODEC.encode(entry) for entry in log]


def test_an_entry_of_a_log_that_does_not_fit_is_named() -> None:
    wrong: Any = Halt("zero", PendingInterrupt("on-cancel", "e-1"))  # type: ignore[arg-type]
    with pytest.raises(Unencodable, match="Halt of 'order-41'"):
        CODEC.encode_log([HALT, LogEntry("order-41", 7, 3, HALT.time_ms, CAUSE, wrong)])
