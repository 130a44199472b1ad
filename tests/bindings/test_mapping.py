"""What a record becomes: the same each time, whole or not at all, and what a worker takes."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halter.bindings.document import numbered, read_bindings
from halter.bindings.formats import decoder_of
from halter.bindings.mapping import EVENTS_MAX, BindingMapping, BoundFormats, Mapped, Posting, RefusalCode, derived_id
from halter.bindings.model import Bindings
from halter.transform import SourceRecord, TimestampType
from processors.codec import Codec
from processors.core.records.commands import (
    CorrelatedEvent,
    ExternalEvent,
    PutExternalEventDef,
    PutWfSpec,
    RunWfAndPost,
)
from processors.core.records.values import VALUE_DEPTH_MAX, Timestamp, VariableType
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.registration import tried
from processors.fold.inputs import DeadLetter, InputRecord, key_of, read_input
from processors.kafka.partitioner import partition_of
from processors.kafka.topics import Topics
from processors.kafka.topics_file import load_topics

CODEC = Codec.load()
TOPICS = load_topics(None, "p-", 4)
ORDERS = "shop.orders"
CART = {
    "name": "cart",
    "entrypoint": "main",
    "correlated_events": {"paid": {"var": "customer"}},
    "threads": {
        "main": {
            "variables": {
                "customer": {"type": "STR", "required": True},
                "card": {"type": "STR", "masked": True},
                "total": {"type": "INT", "default": 0},
            },
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "cancelled", "next": "bill"},
                "bill": {"kind": "EXTERNAL_EVENT", "event": "paid", "next": "paid"},
                "paid": {
                    "kind": "EXTERNAL_EVENT",
                    "event": "card-changed",
                    "next": {"to": "done", "set": [{"var": "card", "op": "ASSIGN", "value": {"output": "paid"}}]},
                },
                "done": {"kind": "EXIT"},
            },
        }
    },
}
COMMANDS = [
    PutExternalEventDef("cancelled", VariableType.STR),
    PutExternalEventDef("card-changed", VariableType.STR),
    PutExternalEventDef("item-added", VariableType.JSON_OBJ),
    PutExternalEventDef("counted", VariableType.DOUBLE),
    PutExternalEventDef("anything"),
    PutExternalEventDef("paid", VariableType.STR),
    PutWfSpec("cart", json.dumps(CART)),
]


def registered(commands: Iterable[Any] = COMMANDS) -> Definitions:
    found = Definitions()
    for command in commands:
        for definition in tried(found, command):
            found.apply(definition)
    return found


def bindings_of(*bindings: dict[str, Any], topic: str = ORDERS) -> Bindings:
    named = [{"name": f"b{number}", "topic": topic, **it} for number, it in enumerate(bindings)]
    found, problems = read_bindings({"name": "shop", "bindings": named})
    assert problems == []
    return found


def mapping_of(
    bindings: Bindings, definitions: Definitions | None = None, topics: Topics = TOPICS, position: int | None = None
) -> BindingMapping:
    formats = {
        it.name: BoundFormats(decoder_of(it.format, Path(), None), decoder_of(it.key_format, Path(), None))
        for it in bindings.bindings
    }
    made = BindingMapping(bindings, formats, topics, CODEC)
    if definitions is not None:
        made.follow(definitions, position)
    return made


def record(value: Any, key: str | None = "o-1", offset: int = 7, topic: str = ORDERS, **more: Any) -> SourceRecord:
    data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    made = SourceRecord(topic, 3, offset, 1_000, TimestampType.CREATE_TIME, None if key is None else key.encode(), data)
    return made._replace(**more)


def mapped(value: Any, *bindings: dict[str, Any], **more: Any) -> list[Mapped]:
    return mapping_of(bindings_of(*bindings), registered()).mapped(record(value, **more))


def only(value: Any, binding: dict[str, Any], **more: Any) -> Mapped:
    (found,) = mapped(value, binding, **more)
    return found


def refused(found: Mapped) -> tuple[RefusalCode, str]:
    assert found.refusal is not None
    assert found.postings == ()
    return found.refusal.code, found.refusal.message


CANCEL = {"event": "cancelled", "wf_run_id": "value.order", "content": "value.reason"}
ITEMS = {"event": "item-added", "wf_run_id": "value.order", "each": "value.lines"}
ANYTHING = {"event": "anything", "wf_run_id": "key"}


# What it becomes.


def test_a_record_becomes_an_external_event_with_an_id_of_its_place() -> None:
    (posting,) = only({"order": "o-1", "reason": "late"}, CANCEL).postings
    assert posting.command == ExternalEvent("o-1", "cancelled", "shop.orders/3/7/0", "late")


def test_templates_see_key_headers_and_place() -> None:
    content = {
        "fields": {
            "key": "key",
            "type": "headers.type",
            "topic": "topic",
            "partition": "partition",
            "offset": "offset",
            "at": "cast(timestamp, STR)",
        }
    }
    binding = {**ANYTHING, "content": content, "event_id": 'headers["event-id"]'}
    headers = (("type", b"old"), ("type", b"new"), ("event-id", b"e-1"), ("bytes", b"\xff"))
    (posting,) = only({}, binding, headers=headers).postings
    assert posting.command.external_event_id == "e-1"
    assert posting.command.content == {
        "key": "o-1",
        "type": "new",
        "topic": ORDERS,
        "partition": 3,
        "offset": 7,
        "at": "1970-01-01T00:00:01.000Z",
    }


def test_a_header_that_is_no_text_is_null() -> None:
    (posting,) = only({}, {**ANYTHING, "content": "headers.b"}, headers=(("b", b"\xff"),)).postings
    assert posting.command.content is None


def test_whole_numbers_may_be_ids() -> None:
    (posting,) = only({"order": 41, "reason": "late"}, {**CANCEL, "event_id": "value.order"}).postings
    assert (posting.command.wf_run_id, posting.command.external_event_id) == ("41", "41")


def test_the_value_is_the_content_unless_another_is_said() -> None:
    assert only({"a": 1}, ANYTHING).postings[0].command.content == {"a": 1}
    assert only({"order": "o", "lines": [{"b": 2}]}, ITEMS).postings[0].command.content == {"b": 2}


def test_a_record_that_is_not_wanted_becomes_nothing() -> None:
    found = only({"type": "placed"}, {**CANCEL, "when": "value.type == 'cancelled'"})
    assert (found.postings, found.refusal, found.passed) == ((), None, "`when` is false")


def test_each_makes_an_event_of_every_item() -> None:
    found = only({"order": "o-1", "lines": [{"sku": "a"}, {"sku": "b"}]}, ITEMS)
    ids = [(it.command.external_event_id, it.command.content) for it in found.postings]
    assert ids == [("shop.orders/3/7/0", {"sku": "a"}), ("shop.orders/3/7/1", {"sku": "b"})]
    assert only({"order": "o-1", "lines": []}, ITEMS).passed


def test_events_of_a_binding_share_what_it_says() -> None:
    events = [
        {"event": "item-added", "content": "item"},
        {"event": "counted", "content": "index", "when": "index > 0"},
        {"event": "item-added", "content": "item", "wf_run_id": "key"},
    ]
    found = only(
        {"order": "o", "lines": [{}, {}]}, {"each": "value.lines", "wf_run_id": "value.order", "events": events}
    )
    assert [
        (it.command.wf_run_id, it.command.external_event_def, it.command.external_event_id) for it in found.postings
    ] == [
        ("o", "item-added", "shop.orders/3/7/0"),
        ("o-1", "item-added", "shop.orders/3/7/0.1"),
        ("o", "item-added", "shop.orders/3/7/1"),
        ("o", "counted", "shop.orders/3/7/1"),
        ("o-1", "item-added", "shop.orders/3/7/1.1"),
    ]


def test_a_start_is_one_record_with_the_event() -> None:
    start = {"wf_spec": "cart", "version": 0, "inputs": {"customer": "value.customer"}}
    made = mapping_of(bindings_of({**CANCEL, "start": start}), registered(), position=9)
    value = {"order": "o-1", "reason": "late", "customer": "Ann"}
    (output,) = made.outputs(record(value))
    assert output.topic == "p-wf-commands"
    assert output.key == b"o-1"
    assert CODEC.decode(output.value or b"") == RunWfAndPost(
        "o-1", "cart", "cancelled", "shop.orders/3/7/0", {"customer": "Ann"}, "late", 0, definitions_position=9
    )


def test_an_event_may_go_to_all_wf_runs_that_have_a_key() -> None:
    binding = {"event": "paid", "correlate": "value.order", "content": "value.amount"}
    made = mapping_of(bindings_of(binding), registered())
    (output,) = made.outputs(record({"order": 41, "amount": "12 EUR"}))
    assert (output.topic, output.key, made.destinations) == ("p-correlated-events", b"41", ["p-correlated-events"])
    assert CODEC.decode(output.value or b"") == CorrelatedEvent("41", "paid", "shop.orders/3/7/0", "12 EUR")
    assert refused(only({"order": "", "amount": "x"}, binding))[0] is RefusalCode.BAD_ID
    assert refused(only({"order": "k" * 257, "amount": "x"}, binding))[0] is RefusalCode.BAD_ID


def test_a_tombstone_is_a_dead_letter_unless_something_else_is_said() -> None:
    assert refused(only(None, ANYTHING))[0] is RefusalCode.TOMBSTONE
    assert only(None, {**ANYTHING, "tombstone": "skip"}).passed
    tombstone = {"event": "cancelled", "wf_run_id": "key", "content": "'deleted'"}
    (posting,) = only(None, {**ANYTHING, "tombstone": tombstone, "when": "value.a == 1"}).postings
    assert posting.command == ExternalEvent("o-1", "cancelled", "shop.orders/3/7/0", "deleted")


def test_what_nobody_asks_for_may_be_anything() -> None:
    binding = {**ANYTHING, "when": "headers.type == 'new'", "wf_run_id": "headers.id", "content": "headers.id"}
    headers = (("type", b"new"), ("id", b"o-9"))
    found = only(b"\xff", binding, headers=headers, key=None)
    assert [it.command.wf_run_id for it in found.postings] == ["o-9"]


# What cannot be one.


@pytest.mark.parametrize(
    ("value", "binding", "code", "sentence"),
    [
        (b"{", ANYTHING, "UNDECODABLE", "value: not JSON"),
        (b"", ANYTHING, "UNDECODABLE", "value: not JSON"),
        ({"reason": "x"}, CANCEL, "UNCOMPUTABLE", "wf_run_id of cancelled: $.order: expected something at $.order"),
        ([], CANCEL, "UNCOMPUTABLE", "expected a JSON_OBJ at $, found JSON_ARR []"),
        ({"order": None}, CANCEL, "UNCOMPUTABLE", "content of cancelled: $.reason"),
        ({"order": None, "reason": "x"}, CANCEL, "BAD_ID", "cancelled: expected a STR or an INT, found null"),
        ({"order": 1.5, "reason": "x"}, CANCEL, "BAD_ID", "found DOUBLE 1.5"),
        ({"order": "a_b", "reason": "x"}, CANCEL, "BAD_ID", "letters, digits and hyphens"),
        ({"order": "", "reason": "x"}, CANCEL, "BAD_ID", "cancelled: wf_run_id: "),
        ({"order": "o", "reason": "x", "id": ""}, {**CANCEL, "event_id": "value.id"}, "BAD_ID", "1 to 256 characters"),
        ({"order": "o", "reason": "x", "id": None}, {**CANCEL, "event_id": "value.id"}, "BAD_ID", "event_id of"),
        ({"order": "o", "reason": 5}, CANCEL, "CONTENT_TYPE", "content of cancelled: expected STR, found INT 5"),
        ({"order": "o", "lines": 5}, ITEMS, "UNCOMPUTABLE", "each: expected a JSON_ARR, found INT 5"),
        ({"order": "o", "lines": [{}, 5]}, ITEMS, "CONTENT_TYPE", "expected JSON_OBJ, found INT 5"),
        ({"a": 1}, {**ANYTHING, "when": "value.a"}, "UNCOMPUTABLE", "when: expected a condition to be BOOL, found INT"),
        ({}, {**ANYTHING, "event": "canceled"}, "UNKNOWN_DEFINITION", "did you mean 'cancelled'?"),
        ({}, {**ANYTHING, "start": "kart"}, "UNKNOWN_DEFINITION", "found 'kart'; did you mean 'cart'?"),
        ({}, {**ANYTHING, "start": "cart"}, "START_INPUTS", "Variable 'customer' of ThreadSpec 'main' is required"),
        (
            {"c": 5},
            {**ANYTHING, "start": {"wf_spec": "cart", "inputs": {"customer": "value.c"}}},
            "START_INPUTS",
            "expected STR, found INT 5",
        ),
        ("x" * 300_000, ANYTHING, "TOO_LARGE", "anything: "),
        ({"order": "o", "lines": [{}] * (EVENTS_MAX + 1)}, ITEMS, "TOO_LARGE", f"at most {EVENTS_MAX} events"),
        (
            {"order": "o", "lines": [{"a": "x" * 200_000}], "n": [0] * 200},
            {**ITEMS, "each": "value.n", "content": "value.lines[0]"},
            "TOO_LARGE",
            "bytes together",
        ),
        ({"a": list(range(1500))}, {**ANYTHING, "each": "value.a", "when": "true", "content": "index in value.a"},
         "UNCOMPUTABLE", "more steps than a record may take"),
    ],
)  # fmt: skip
def test_a_record_that_does_not_fit_is_a_dead_letter_with_code_and_sentence(
    value: Any, binding: dict[str, Any], code: str, sentence: str
) -> None:
    found, message = refused(only(value, binding))
    assert (found, True) == (code, sentence in message), message
    assert "\n" not in message


def test_what_several_bindings_cannot_decode_is_one_dead_letter_and_what_they_refuse_otherwise_one_of_each() -> None:
    first, second = ANYTHING | {"name": "first"}, ITEMS | {"name": "second"}
    mapping = mapping_of(bindings_of(first, second))
    [letter] = mapping.outputs(record(b"{"))
    assert dict(letter.headers)["halter.mapping"] == b"first"
    assert [it.refusal is None for it in mapping.mapped(record(b"{"))] == [False, True]
    assert len(mapping_of(bindings_of(CANCEL, ITEMS)).outputs(record([]))) == 2


def test_a_key_that_is_asked_for_and_is_not_there_is_a_sentence() -> None:
    assert refused(only({}, ANYTHING, key=None)) == (
        RefusalCode.BAD_ID,
        "wf_run_id of anything: expected a STR or an INT, found null",
    )


def test_a_record_may_become_ten_thousand_events() -> None:
    found = only({"order": "o", "lines": [{}] * EVENTS_MAX}, ITEMS)
    assert len(found.postings) == EVENTS_MAX


def test_a_dead_letter_has_the_record_as_it_was_and_says_which_binding_refused_it() -> None:
    made = mapping_of(bindings_of(CANCEL, ANYTHING), registered())
    letter, event = made.outputs(record(b"[]", headers=(("h", b"x"),)))
    assert (letter.topic, letter.key, letter.value) == ("p-dead-letters", b"o-1", b"[]")
    headers = dict(letter.headers)
    assert headers["h"] == b"x"
    assert headers["halter.mapping"] == b"b0"
    assert headers["halter.reason"] == b"UNCOMPUTABLE"
    assert headers["halter.topic"] == ORDERS.encode()
    assert event.topic == "p-external-events"


def test_a_masked_content_is_not_told() -> None:
    found = only({"order": "o", "card": 4711}, {**CANCEL, "event": "card-changed", "content": "value.card"})
    assert refused(found)[1] == "content of card-changed: expected STR, found INT"
    start = {"wf_spec": "cart", "inputs": {"customer": "'c'", "card": "value.card"}}
    found = only({"order": "o", "reason": "r", "card": 4711}, {**CANCEL, "start": start})
    assert "4711" not in refused(found)[1]
    start["inputs"]["card"] = "value.card + value.order"  # type: ignore[index]
    found = only({"order": "o", "reason": "r", "card": 4711}, {**CANCEL, "start": start})
    assert "4711" not in refused(found)[1]


def test_a_content_may_fit_an_earlier_revision_which_live_wf_runs_go_by() -> None:
    types = VariableType.STR, VariableType.INT
    made = mapping_of(bindings_of(CANCEL), registered(PutExternalEventDef("cancelled", it) for it in types))
    for reason in ("x", 5):
        assert made.mapped(record({"order": "o", "reason": reason}))[0].postings
    (found,) = made.mapped(record({"order": "o", "reason": True}))
    assert refused(found) == (RefusalCode.CONTENT_TYPE, "content of cancelled: expected STR or INT, found BOOL true")


def test_without_definitions_types_are_not_checked() -> None:
    (found,) = mapping_of(bindings_of(CANCEL)).mapped(record({"order": "o", "reason": 5}))
    assert found.postings


# Properties.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=10)
    | st.sampled_from(["o-1", "cancelled", "placed", "x" * 300]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["order", "reason", "lines", "type", "id", "customer"]), inner, max_size=6),
    max_leaves=12,
)  # fmt: skip
LIKELY = st.fixed_dictionaries(
    {"order": st.sampled_from(["o-1", "o-2", 5]) | JSON, "lines": st.lists(JSON, max_size=4) | JSON},
    optional={"reason": st.text() | JSON, "id": st.text(max_size=5) | JSON, "customer": st.text() | JSON},
)
KEYS = st.none() | st.binary(max_size=8) | st.sampled_from([b"o-1", b"7"])
HEADERS = st.lists(st.tuples(st.sampled_from(["type", "id"]), st.binary(max_size=5)), max_size=3).map(tuple)
RECORDS = st.builds(
    SourceRecord,
    st.just(ORDERS) | st.just("other"),
    st.integers(0, 100),
    st.integers(0, 2**63 - 1),
    st.integers(-1, 2**63 - 1),
    st.sampled_from(TimestampType),
    KEYS,
    st.none() | st.binary(max_size=20) | (JSON | LIKELY).map(lambda it: json.dumps(it).encode()),
    HEADERS,
)
START = {"wf_spec": "cart", "inputs": {"customer": "value.customer"}}
ALL = bindings_of(
    {**CANCEL, "when": "'reason' in value", "tombstone": {"event": "cancelled", "wf_run_id": "key", "content": "key"}},
    {"each": "value.lines", "wf_run_id": "value.order", "tombstone": "skip", "events": [
        {"event": "anything", "content": {"fields": {"item": "item", "at": "offset"}}},
        {"event": "anything", "when": "index == 0", "content": "headers"},
        {"event": "counted", "content": "index", "start": START},
    ]},
    {"event": "paid", "correlate": "value.order", "content": "value.reason", "when": "offset > 50"},
    {**ANYTHING, "content": "value"},
    {**ANYTHING, "event_id": "value.id", "when": "size(headers) > 0"},
)  # fmt: skip
KNOWN = registered()
MAPPING = mapping_of(ALL, KNOWN, position=5)


@settings(max_examples=40)
@given(RECORDS)
def test_the_same_record_becomes_the_same(it: SourceRecord) -> None:
    outputs = MAPPING.outputs(it)
    assert MAPPING.outputs(it) == outputs
    assert mapping_of(ALL, registered(), position=5).outputs(it) == outputs


@settings(max_examples=40)
@given(RECORDS)
def test_a_binding_makes_all_of_a_record_or_nothing_and_says_why(it: SourceRecord) -> None:
    found = MAPPING.mapped(it)
    assert len(found) == (len(ALL.bindings) if it.topic == ORDERS else 0)
    for one in found:
        assert (bool(one.postings), one.refusal is not None, bool(one.passed)).count(True) == 1


@settings(max_examples=40)
@given(RECORDS)
def test_a_worker_takes_every_command_that_a_record_becomes(it: SourceRecord) -> None:
    for output in MAPPING.outputs(it):
        assert output.topic in {*MAPPING.destinations, TOPICS.dead_letters}
        if output.topic != TOPICS.dead_letters:
            assert output.key is not None
            place = output.topic.removeprefix("p-"), partition_of(output.key, 4), 0, 1
            taken = read_input(InputRecord(*place, output.key, output.value), CODEC, 4)
            assert not isinstance(taken, DeadLetter), taken


def output_key(posting: Posting) -> str:
    return key_of(posting.command)


@settings(max_examples=40)
@given(RECORDS)
def test_ids_of_one_record_differ_for_each_wf_run_and_external_event_def(it: SourceRecord) -> None:
    derived = [
        (output_key(posting), posting.command.external_event_def, posting.command.external_event_id)
        for one in MAPPING.mapped(it)
        for posting in one.postings
        if posting.event.event_id is None
    ]
    assert len(set(derived)) == len(derived)


@settings(max_examples=40)
@given(RECORDS)
def test_names_of_bindings_and_of_the_document_are_in_no_command(it: SourceRecord) -> None:
    renamed = Bindings("other", tuple(replace(one, name=f"new-{one.name}") for one in ALL.bindings))
    commands = [
        [posting.command for posting in one.postings] for one in mapping_of(renamed, KNOWN, position=5).mapped(it)
    ]
    assert commands == [[posting.command for posting in one.postings] for one in MAPPING.mapped(it)]


@settings(max_examples=40)
@given(RECORDS, st.integers(1, 3))
def test_a_binding_that_is_added_behind_changes_no_id(it: SourceRecord, kept: int) -> None:
    fewer = Bindings("shop", tuple(numbered(ALL.bindings[:kept])))
    ours = [[posting.command for posting in one.postings] for one in mapping_of(fewer, KNOWN, position=5).mapped(it)]
    assert [[posting.command for posting in one.postings] for one in MAPPING.mapped(it)][: len(ours)] == ours


@given(st.text("abc._-", min_size=1, max_size=249), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
def test_a_derived_id_is_no_longer_than_an_id_may_be(topic: str, partition: int, offset: int) -> None:
    it = record(b"", topic=topic, partition=partition, offset=offset)
    assert len(derived_id(it, EVENTS_MAX, 100_000)) <= 256
    assert derived_id(it, 0, 0) != derived_id(it._replace(topic=topic[:-1] + "z"), 0, 0)


def test_the_content_may_be_a_time_by_a_cast() -> None:
    known = registered([PutExternalEventDef("at", VariableType.TIMESTAMP)])
    binding = {"event": "at", "wf_run_id": "key", "content": "cast(value.at, TIMESTAMP)"}
    (found,) = mapping_of(bindings_of(binding), known).mapped(record({"at": "1970-01-01T00:00:01Z"}))
    assert found.postings[0].command.content == Timestamp(1_000)


def test_json_deeper_than_a_value_may_be_is_undecodable() -> None:
    deep = b'{"a":' * (VALUE_DEPTH_MAX + 1) + b"1" + b"}" * (VALUE_DEPTH_MAX + 1)
    assert refused(only(deep, ANYTHING))[0] is RefusalCode.UNDECODABLE
