"""`halter bind check`: problems with line and column, and what sample records become."""

import base64
import io
import json
from pathlib import Path

import fastavro
import pytest

from halter.bindings.samples import BadSample, read_samples
from halter.transform.topics import does_not_exist
from processors.kafka.settings import Settings
from tests.bindings.test_mapping import bindings_of
from tests.support.command_line import halter

CART = Path(__file__).parents[2] / "examples" / "cart"
DEFINITIONS = """\
external_events: {cancelled: {type: STR}, noted: {}, secret: {type: STR}}
wf_specs:
  - name: order
    entrypoint: main
    threads:
      main:
        variables: {card: {type: STR, masked: true}, total: {type: INT, default: 0}}
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait:
            kind: EXTERNAL_EVENT
            event: secret
            next: {to: done, set: [{var: card, op: ASSIGN, value: {output: wait}}]}
          done: {kind: EXIT}
"""
BINDINGS = """\
name: shop
bindings:
  - {name: orders, topic: orders, wf_run_id: value.order, event: cancelled, content: value.reason}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").write_text(DEFINITIONS)
    (tmp_path / "bindings.yaml").write_text(BINDINGS)
    return tmp_path


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    return halter(capsys, "bind", "check", "bindings.yaml", "--definitions", "shop.yaml", *arguments)


def test_a_good_document_is_said_to_be_good(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = "bindings.yaml: ok, 1 binding of 1 topic to 1 ExternalEvent, checked against shop.yaml\n"
    assert check(capsys) == (0, expected, "")
    code, out, _ = check(capsys, "--json")
    told = {"file": "bindings.yaml", "ok": True, "checked_against": "shop.yaml", "problems": [], "records": []}
    assert (code, json.loads(out)) == (0, told)


def test_a_problem_comes_with_line_and_column_and_exit_code_1(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "bindings.yaml").write_text(BINDINGS.replace("event: cancelled", "event: canceled"))
    code, out, _ = check(capsys)
    assert code == 1
    assert out.startswith(
        "bindings.yaml:3:59: bindings[0].event: expected a registered ExternalEventDef, found 'canceled'"
    )
    code, out, _ = check(capsys, "--json", "--sample", "none.jsonl")
    (problem,) = json.loads(out)["problems"]
    assert (code, problem["line"], problem["code"]) == (1, 3, "EXT_EVENT_DEF_MISSING")


def test_without_kafka_and_definitions_the_document_itself_is_checked(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    code, out, err = halter(capsys, "bind", "check", "bindings.yaml", "--connect-timeout", "0.2")
    assert (code, out.endswith("checked against no definitions\n")) == (0, True)
    assert err.startswith("halter: checked against no definitions: Kafka at 127.0.0.1:1")
    assert "--definitions FILE" in err
    code, _, err = halter(capsys, "bind", "check", "bindings.yaml", "--connect-timeout", "0.2", "-b", "127.0.0.1:1")
    assert (code, "has not answered within 0.2 s" in err) == (1, True)


def test_a_topic_that_is_missing_is_none_of_halters_own() -> None:
    settings = Settings.load(None, {}, {"bootstrap.servers": "127.0.0.1:1"}, logs=False)
    sentence = does_not_exist("van.events", settings, ["wf-events", "vans"])
    assert sentence == "topic 'van.events' does not exist at 127.0.0.1:1: create it, or correct its name"
    assert does_not_exist("van.events", settings, ["wf-events", "vans.events"]).endswith("did you mean 'vans.events'?")


def test_the_shipped_example_becomes_what_its_page_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CART)
    arguments = ("bind", "check", "bindings.yaml", "--definitions", "cart.yaml", "--sample", "activity.jsonl")
    code, out, _ = halter(capsys, *arguments)
    assert code == 1
    page = (CART.parents[1] / "docs" / "bindings.md").read_text(encoding="utf-8")
    assert out in page
    code, out, _ = halter(capsys, *arguments, "--json")
    records = json.loads(out)["records"]
    assert [it["offset"] for it in records] == [0, 1, 2, 0, 3, 4]
    assert records[0]["bindings"] == [
        {
            "binding": "activity",
            "events": [
                {
                    "wf_run_id": "cart-9001",
                    "correlation_key": None,
                    "external_event_def": "item-added",
                    "external_event_id": "a-1",
                    "content": {"sku": "mug-01", "name": "Stoneware mug", "quantity": 2, "price_cents": 1450},
                    "starts": {
                        "wf_spec": "cart",
                        "major": None,
                        "revision": None,
                        "variables": {"customer": "Ann", "card": "[redacted]"},
                    },
                }
            ],
            "dead_letter": None,
            "nothing_because": None,
        }
    ]


def test_masked_contents_and_inputs_are_hidden_unless_asked_for(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = BINDINGS.replace("cancelled, content: value.reason", "secret, content: value.card, start: {wf_spec: order, "
                            "inputs: {card: value.card, total: 5}}")  # fmt: skip
    (files / "bindings.yaml").write_text(text)
    lines = [{"value": {"order": "o-1", "card": "4711"}}, {"value": {"order": "o-1", "card": 4711}}]
    (files / "s.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for shown in ((), ("--json",)):
        code, out, err = check(capsys, "--sample", "s.jsonl", *shown)
        assert (code, "4711" in out + err, "[redacted]" in out) == (1, False, True), out
    assert "4711" in check(capsys, "--sample", "s.jsonl", "--unmask")[1]


def test_the_bytes_of_one_value_are_a_sample(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "one.json").write_text('{"order": "o-1", "reason": "late"}')
    code, out, _ = check(capsys, "--sample", "one.json")
    assert (code, 'cancelled to o-1, id orders/0/0/0: "late"' in out) == (0, True)
    (files / "order.avsc").write_text(
        '{"type": "record", "name": "O", "fields": [{"name": "order", "type": "string"}]}'
    )
    text = BINDINGS.replace(
        "content: value.reason", "content: key, format: {type: avro, schema: order.avsc, framing: bare}"
    )
    (files / "bindings.yaml").write_text(text)
    data = io.BytesIO()
    fastavro.schemaless_writer(data, json.loads((files / "order.avsc").read_text()), {"order": "o-2"})
    (files / "one.avro").write_bytes(data.getvalue())
    code, out, _ = check(capsys, "--sample", "one.avro", "--key", "why")
    assert (code, 'cancelled to o-2, id orders/0/0/0: "why"' in out) == (0, True)


def test_a_correlated_event_is_shown_with_its_key(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = DEFINITIONS.replace(
        "    entrypoint: main\n", "    entrypoint: main\n    correlated_events: {secret: {var: total}}\n"
    )
    (files / "shop.yaml").write_text(text)
    (files / "bindings.yaml").write_text(
        BINDINGS.replace("wf_run_id: value.order", "correlate: value.order").replace("cancelled", "secret")
    )
    (files / "s.jsonl").write_text('{"value": {"order": 7, "reason": "late"}}')
    code, out, _ = check(capsys, "--sample", "s.jsonl")
    assert (code, "orders  secret to WfRuns with the key 7, id orders/0/0/0: " in out) == (0, True), out
    event = json.loads(check(capsys, "--sample", "s.jsonl", "--json")[1])["records"][0]["bindings"][0]["events"][0]
    assert (event["wf_run_id"], event["correlation_key"]) == (None, "7")


def test_what_kcat_prints_is_a_sample(files: Path) -> None:
    line = {"topic": "orders", "partition": 2, "offset": 9, "tstype": "append", "ts": 1000, "broker": 0,
            "headers": ["a", "b", "c", None], "key": "k", "payload": '{"a": 1}'}  # fmt: skip
    (files / "s.jsonl").write_text(json.dumps(line))
    (sample,) = read_samples(files / "s.jsonl", bindings_of({"event": "e", "wf_run_id": "key"}, topic="orders"))
    assert sample.record.place == "orders[2]@9"
    assert (sample.record.key, sample.record.value) == (b"k", b'{"a": 1}')
    assert sample.record.headers == (("a", b"b"), ("c", b""))
    assert (sample.record.timestamp_ms, sample.record.timestamp_type) == (1000, "LOG_APPEND_TIME")


BAD = {
    b"": "expected a record on each line, found no line",
    b"{": "s.jsonl:1:1: expected a record as JSON on each line, found that it is not JSON",
    b"5": "expected a record as a JSON object, found something else; a value that stands for itself is written",
    b'{"order": 1}': "a record has no field 'order'",
    b'{"vlaue": 1}': "a record has no field 'vlaue' (did you mean value?)",
    b'{"key": "k"}': "expected the field value or value_base64, found none; a tombstone has the value null",
    b'{"topic": "ordres", "value": 1}': "expected a topic of the document, found 'ordres' (did you mean orders?)",
    b'{"value_base64": "\xc3\xa9"}': "value_base64: expected base64",
    b'{"value": 1, "offset": -1}': "offset: expected a whole number, 0 or more, found -1",
    b'{"value": 1, "timestamp": "noon"}': "timestamp: 'noon' is not an ISO 8601 date",
    b'{"value": 1, "headers": {"a": 1}}': "headers: expected texts for names and values",
    b'{"value": 1, "key": 5}': "key: expected text, because its format is string, found 5",
    b'\n{"value": 1}\n[]': "s.jsonl:3:1: expected a record as a JSON object",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_sample_is_a_sentence_with_its_line(files: Path, text: bytes) -> None:
    (files / "s.jsonl").write_bytes(text)
    with pytest.raises(BadSample) as bad:
        read_samples(Path("s.jsonl"), bindings_of({"event": "e", "wf_run_id": "key"}, topic="orders"))
    assert BAD[text] in str(bad.value)


def test_samples_of_several_topics_say_which(files: Path) -> None:
    event = {"event": "e", "wf_run_id": "key"}
    two = bindings_of({**event, "topic": "a"}, {**event, "topic": "b", "format": "long"})
    (files / "s.jsonl").write_text('{"value": 1}')
    with pytest.raises(BadSample, match="several: a, b; name one with --topic"):
        read_samples(Path("s.jsonl"), two)
    (sample,) = read_samples(Path("s.jsonl"), two, topic="b")
    assert sample.record.value == (1).to_bytes(8, "big")
    with pytest.raises(BadSample, match="--topic: expected a topic of the document, found 'c'"):
        read_samples(Path("s.jsonl"), two, topic="c")
    (files / "one.bin").write_bytes(b"x")
    with pytest.raises(BadSample, match="expected the topic of this value"):
        read_samples(Path("one.bin"), two)
    with pytest.raises(BadSample, match="there is no such file"):
        read_samples(Path("two.bin"), two)


def test_binary_values_are_written_in_base64(files: Path) -> None:
    event = {"event": "e", "wf_run_id": "key"}
    bytes_ = bindings_of({**event, "format": "bytes"}, topic="orders")
    (files / "s.jsonl").write_text(json.dumps({"value_base64": base64.b64encode(b"\0\xff").decode()}))
    assert read_samples(Path("s.jsonl"), bytes_)[0].record.value == b"\0\xff"
    (files / "s.jsonl").write_text('{"value": "a"}')
    with pytest.raises(BadSample, match="expected value_base64 in place of value, because its format is bytes"):
        read_samples(Path("s.jsonl"), bytes_)


def test_options_that_do_not_go_together_are_a_mistake(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(capsys, "--topic", "orders")[0] == 2
    assert halter(capsys, "bind", "run", "bindings.yaml", "--dry-run", "--from", "earliest", "--last", "3")[0] == 2
    code, _, err = halter(capsys, "bind", "run", "bindings.yaml", "--dry-run", "--from", "noon")
    assert (code, "expected a time as 2026-11-30T12:00:00 (UTC), earliest or now, found 'noon'" in err) == (2, True)


@pytest.mark.parametrize("text", [None, "name: shop\nbindings:\n\t- {}\n", "a: 1\n"], ids=["none", "a tab", "another"])
def test_what_is_wrong_with_a_file_is_told_where_there_is_no_kafka(
    files: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    if text is not None:
        (files / "wrong.yaml").write_text(text)
    code, _, err = halter(capsys, "bind", "run", "wrong.yaml", "--bootstrap", "127.0.0.1:1")
    assert code == 1
    assert "wrong.yaml" in err
    assert "127.0.0.1" not in err
