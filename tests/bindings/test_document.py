"""Documents of bindings: what is wrong is told with line, column and what to do."""

from pathlib import Path

import pytest

from halter.bindings.files import BindingsFile, InvalidBindings, read_bindings_file
from halter.bindings.model import BoundEvent, Format, FormatKind, Framing, Tombstone
from tests.bindings.test_mapping import CODEC, TOPICS, registered

GOOD = """\
name: shop
bindings:
  - name: cancellations
    topic: shop.orders
    when: value.type == "cancelled"
    wf_run_id: value.order
    event: cancelled
    content: value.reason
"""


def read(tmp_path: Path, text: str) -> BindingsFile:
    file = tmp_path / "bindings.yaml"
    file.write_text(text)
    return read_bindings_file(file)


def problems(tmp_path: Path, text: str) -> list[str]:
    found = read(tmp_path, text).problems
    return [f"{it.line}:{it.column} {it.code} {it.message.partition(': ')[2]}" for it in found]


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_document_has_no_problems(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.problems == []
    (binding,) = found.bindings.bindings
    assert (found.bindings.name, found.bindings.topics) == ("shop", ["shop.orders"])
    assert binding.tombstone is Tombstone.DEAD_LETTER
    assert binding.format == Format(FormatKind.JSON)
    assert binding.key_format == Format(FormatKind.STRING)


BAD = {
    "[]": ["1:1 FIELD_TYPE expected a mapping, found a list"],
    "name: shop": ["1:1 FIELD_MISSING expected the field bindings, found none"],
    "name: shop\nbindings: []": ["2:1 FIELD_VALUE expected at least one binding, found none"],
    changed("name: shop", "name: my shop"): [
        "1:1 NAME_INVALID expected a name of at most 128 letters, digits and - (not first or last), found 'my shop'"
    ],
    changed("    topic: shop.orders\n", ""): ["3:5 FIELD_MISSING expected the field topic, found none"],
    changed("shop.orders", "'shop orders'"): ["4:5 FIELD_VALUE expected the name of a topic, found 'shop orders'"],
    changed("    wf_run_id: value.order\n", ""): ["3:5 FIELD_MISSING expected the field wf_run_id, found none"],
    changed("wf_run_id: value.order", "wf_run_id: value.order\n    correlate: key"): [
        "7:5 FIELD_VALUE expected a wf_run_id or a key to correlate by, found both: which WfRuns should get the event?",
    ],
    changed("name: cancellations", "name: ''"): [
        "3:5 NAME_INVALID expected a name of at most 128 letters, digits and - (not first or last), found ''"
    ],
    changed("topic: shop.orders", "topic: .."): ["4:5 FIELD_VALUE expected the name of a topic, found '..'"],
    changed("content: value.reason", "events: [{event: a}, {event: b}]"): [
        "7:5 FIELD_UNUSED expected an event that takes this from the binding, found that each has its own"
    ],
    changed("    event: cancelled\n", ""): ["3:5 FIELD_MISSING expected the field event, found none"],
    changed("event: cancelled", "event: can celled"): [
        "7:5 NAME_INVALID expected a name of at most 128 letters, digits and - (not first or last), found 'can celled'"
    ],
    changed("content:", "contents:"): [
        (
            "8:5 FIELD_UNKNOWN a binding has no field contents (did you mean content?); it has name, topic, format, "
            "key_format, when, each, events, tombstone, event, wf_run_id, correlate, event_id, content and start"
        )
    ],
    changed("value.order\n", "valeu.order\n"): [
        "6:16 VAR_UNKNOWN there is no 'valeu' here (did you mean value?); there are value, key, headers, topic, partit"
    ],
    changed("value.order\n", "value.order +\n"): ["6:29 EXPRESSION_TEXT"],
    changed("value.order\n", "{var: valeu}\n"): ["6:17 VAR_UNKNOWN there is no 'valeu' here (did you mean value?)"],
    changed("value.order\n", "output(pay)\n"): [
        "6:23 VAR_UNKNOWN expected values of a record, found the output of a node, 'pay'"
    ],
    changed("value.order\n", "headers\n"): ["6:5 EXPRESSION_TYPE expected a STR or an INT, found JSON_OBJ"],
    changed("value.order\n", "topic.a\n"): ["6:5 EXPRESSION_TYPE expected $.a to start in a JSON_OBJ, found STR"],
    changed('value.type == "cancelled"', "value.type"): [],
    changed('value.type == "cancelled"', "partition"): ["5:5 CONDITION_TYPE expected a BOOL, found INT"],
    changed('value.type == "cancelled"', "partition == 1 and item.a == 1"): [
        "5:30 VAR_UNKNOWN there is no 'item' here"
    ],
    changed("content: value.reason", "event_id: \"'one'\""): [
        (
            "8:5 EXPRESSION_TYPE expected an id that differs from record to record, found one for all: only the first "
            "would count"
        )
    ],
    changed("content: value.reason", "content: {fields: {a: timestamp}}"): [
        "8:24 EXPRESSION_TYPE expected a value that JSON can hold, found TIMESTAMP: cast it"
    ],
    changed("content: value.reason", "content: {a: value.a}"): [
        "8:5 EXPRESSION_FORM expected a mapping with one of var,"
    ],
    changed("content: value.reason", "tombstone: drop"): ["8:5 FIELD_VALUE expected skip or dead-letter, found 'drop'"],
    changed("content: value.reason", "tombstone: 5"): [
        "8:5 FIELD_TYPE expected skip, dead-letter, or the event that a tombstone becomes, found 5"
    ],
    changed("content: value.reason", "tombstone: {event: gone, wf_run_id: value.a}"): [
        "8:41 VAR_UNKNOWN there is no 'value' here"
    ],
    changed("content: value.reason", "each: value.items\n    event_id: value.id"): [
        (
            "9:5 EXPRESSION_TYPE expected an id that differs from item to item, found one for all: only the first "
            "would count; add index to it, or leave it out"
        )
    ],
    changed("content: value.reason", "each: topic"): ["8:5 EXPRESSION_TYPE expected a JSON_ARR, found STR"],
    changed("content: value.reason", "events: []"): ["8:5 FIELD_VALUE expected at least one event, found none"],
    changed("content: value.reason", "events: [5, {evnt: a}]"): [
        "8:14 FIELD_TYPE expected a mapping, found 5",
        (
            "8:18 FIELD_UNKNOWN an event has no field evnt (did you mean event?); it has when, event, wf_run_id, "
            "correlate, event_id, content and start"
        ),
    ],
    changed("content: value.reason", "start: {version: 1}"): [
        "8:5 FIELD_MISSING expected the field wf_spec, found none"
    ],
    changed("content: value.reason", "start: {wf_spec: cart, version: 1.10}"): [
        '8:28 FIELD_TYPE expected a version, such as 1 or "1.2" (with quotation marks), found 1.1'
    ],
    changed("wf_run_id: value.order", "correlate: key\n    start: cart"): [
        "7:5 FIELD_VALUE expected no start beside a key to correlate by: only a wf_run_id says which WfRun to start",
    ],
    changed("content: value.reason", "format: yaml"): [
        "8:5 FIELD_VALUE expected json, string, bytes, integer, long, avro or protobuf, found 'yaml'"
    ],
    changed("content: value.reason", "format: {type: json, schema: a.avsc}"): [
        "8:26 FIELD_UNKNOWN the format json has no field schema; it has type and framing"
    ],
    changed("content: value.reason", "key_format: {type: string, framing: confluent}"): [
        "8:32 FIELD_VALUE the format string may be bare, found confluent"
    ],
    changed("content: value.reason", "format: {type: avro, framing: bare}"): [
        (
            "8:26 FIELD_MISSING expected a schema beside the framing bare, found none: only with confluent do records "
            "say which schema of a registry"
        )
    ],
    changed("content: value.reason", "format: avro"): [
        "8:5 FORMAT avro without a schema needs a Schema Registry: set KAFKA_SCHEMA_REGISTRY_URL"
    ],
    changed("content: value.reason", "format: protobuf"): [
        "8:5 FIELD_MISSING expected the field descriptor, found none"
    ],
    changed("content: value.reason", "format: {type: avro, schema: a.avsc}"): ["8:26 FORMAT there is no file "],
    changed("content: value.reason", "key_format: {type: protobuf, descriptor: a.pb}"): [
        "8:34 FORMAT there is no file "
    ],
    GOOD + GOOD.partition("bindings:\n")[2]: ["9:5 NAME_INVALID expected each name once, found 'cancellations' again"],
    "name: [": ["2:1 YAML "],
    GOOD + "name: again\n": ["9:1 YAML "],
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_bad_document_is_told_with_line_and_column(tmp_path: Path, text: str) -> None:
    found = problems(tmp_path, text)
    assert len(found) == len(BAD[text]), found
    for one, expected in zip(found, BAD[text], strict=True):
        assert one.startswith(expected), one


def test_nothing_is_mapped_by_a_document_with_problems(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidBindings, match=r"bindings\.yaml:2:1: bindings: expected at least one binding, found none"
    ):
        read(tmp_path, "name: shop\nbindings: []").mapping(TOPICS, CODEC)


AGAINST = {
    changed("cancelled\n    content", "canceled\n    content"): [
        "7:5 EXT_EVENT_DEF_MISSING expected a registered ExternalEventDef, found 'canceled'; did you mean 'cancelled'?"
    ],
    changed("value.reason", "offset"): [
        "8:5 CONTENT_TYPE expected STR, the type of ExternalEventDef 'cancelled', found INT"
    ],
    changed("content: value.reason", "start: kart"): [
        "8:5 WF_SPEC_MISSING expected a registered WfSpec to start, found 'kart'; did you mean 'cart'?"
    ],
    changed("content: value.reason", 'start: {wf_spec: cart, version: "7.1"}'): [
        "8:13 WF_SPEC_MISSING expected a registered WfSpec to start, found 'cart' 7.1 (registered: 0.0)"
    ],
    changed("content: value.reason", "start: cart"): [
        "8:5 START_INPUTS Variable 'customer' of cart:0.0 is required, and no input gives it"
    ],
    changed("content: value.reason", "start: {wf_spec: cart, inputs: {customr: key, total: topic}}"): [
        "8:5 START_INPUTS Variable 'customer' of cart:0.0 is required, and no input gives it",
        "8:37 START_INPUTS WfSpec cart:0.0 has no Variable 'customr' to start with (did you mean customer?)",
        "8:51 START_INPUTS expected INT, the type of Variable 'total' of cart:0.0, found STR",
    ],
    changed(
        "event: cancelled\n    content: value.reason",
        "event: anything\n    start: {wf_spec: cart, inputs: {customer: key}}",
    ): ["7:5 START_EVENT cart:0.0 has no use for ExternalEvents 'anything' (cancelled, card-changed, paid)"],
    changed("wf_run_id: value.order", "correlate: value.order"): [
        (
            "7:5 CORRELATION_MISSING expected an ExternalEventDef that a WfSpec has under correlated_events, found "
            "'cancelled'"
        )
    ],
    changed("wf_run_id: value.order\n    event: cancelled", "correlate: value.order\n    event: paid"): [],
    GOOD: [],
}


@pytest.mark.parametrize("text", AGAINST, ids=range(len(AGAINST)))
def test_a_document_is_checked_against_definitions(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert found.problems == []
    found.check_against(registered())
    told = [f"{it.line}:{it.column} {it.code} {it.message.partition(': ')[2]}" for it in found.problems]
    assert told == AGAINST[text]


def test_what_events_share_is_told_once(tmp_path: Path) -> None:
    text = changed("content: value.reason", "events: [{}, {}]").replace("value.order", "valeu.order")
    assert len(problems(tmp_path, text)) == 1


def test_an_event_overrides_what_its_binding_says(tmp_path: Path) -> None:
    text = changed("content: value.reason", "events: [{}, {event: other, correlate: key}]")
    (binding,) = read(tmp_path, text).bindings.bindings
    first, second = binding.events
    assert (first.external_event_def, second.external_event_def) == ("cancelled", "other")
    assert first.wf_run_id is not None
    assert second.wf_run_id is None
    assert second.correlate is not None


def test_events_of_one_topic_and_external_event_def_are_numbered(tmp_path: Path) -> None:
    more = """\
  - {name: b, topic: shop.orders, event: cancelled, wf_run_id: key, tombstone: {event: cancelled, wf_run_id: key}}
  - {name: c, topic: shop.orders, event: other, wf_run_id: key}
  - {name: d, topic: another, event: cancelled, wf_run_id: key}
"""
    found = read(tmp_path, GOOD + more).bindings
    numbers = [[it.number for it in one.all_events()] for one in found.bindings]
    assert numbers == [[0], [1, 2], [0], [0]]
    assert isinstance(found.bindings[1].tombstone, BoundEvent)


def test_formats_have_their_usual_framing(tmp_path: Path) -> None:
    (tmp_path / "a.avsc").write_text('"string"')
    text = changed("content: value.reason", "format: {type: avro, schema: a.avsc}\n    key_format: long")
    (binding,) = read(tmp_path, text).bindings.bindings
    assert binding.format == Format(FormatKind.AVRO, Framing.CONFLUENT, schema="a.avsc", path=binding.format.path)
    assert binding.key_format.kind is FormatKind.LONG


@pytest.mark.parametrize("topic", ["external-events", "wf-commands", "correlated-events", "dead-letters"])
def test_a_binding_reads_no_topic_that_bindings_write(topic: str, tmp_path: Path) -> None:
    found = read(tmp_path, changed("topic: shop.orders", f"topic: {TOPICS.prefix}{topic}"))
    with pytest.raises(
        InvalidBindings, match=r"bindings\.yaml:4:5: bindings\[0\]\.topic: expected a topic that binding"
    ):
        found.mapping(TOPICS, CODEC)
