"""What a sink makes of the events on the log: every scenario's log, and the cart's, in which the card is masked."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halter.scenarios.definitions import DefinitionsInMemory, register
from halter.scenarios.files import read_file
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import run
from halter.sinks.definitions_check import unknown_names
from halter.sinks.document import read_sink
from halter.sinks.files import InvalidSink, read_sink_file
from halter.sinks.mapping import SinkMapping
from halter.sinks.wf_specs import WfSpecsOfRuns
from halter.transform import Output, SourceRecord, TimestampType
from processors.codec import Codec
from processors.core.records.events import LogEntry, ThreadHalted
from processors.core.rules.context import Context
from processors.core.wf_spec.definitions import Definitions
from processors.fold.inputs import HEADER_PREFIX, mapping_of
from processors.kafka.topics_file import load_topics
from tests.support.recorded import EVERY_KIND, engine_of

ROOT = Path(__file__).parents[2]
CODEC, TOPICS = Codec.load(), load_topics(ROOT / "topics.yaml", "", 1)
SINK = {"name": "changes", "topic": "changes"}


class Known(WfSpecsOfRuns):
    """As if the sink had read from the beginning: no Kafka is asked."""

    def __init__(self) -> None:
        super().__init__(None, TOPICS, CODEC)  # type: ignore[arg-type]  # nothing is read


def mapping_by(document: Mapping[str, Any], definitions: Definitions) -> SinkMapping:
    sink, problems = read_sink({**SINK, **document})
    assert problems == []
    return SinkMapping(sink, Known(), lambda: definitions, TOPICS, CODEC)


def records_of(entries: list[LogEntry]) -> Iterator[SourceRecord]:
    for offset, entry in enumerate(entries):
        yield SourceRecord(
            TOPICS.wf_events, 0, offset, entry.time_ms, TimestampType.CREATE_TIME, entry.wf_run_id.encode(),
            CODEC.encode_log([entry])[0],
        )  # fmt: skip


def written_by(document: Mapping[str, Any], definitions: Definitions, entries: list[LogEntry]) -> list[Output]:
    mapping = mapping_by(document, definitions)
    return [output for record in records_of(entries) for output in mapping.outputs(record)]


def data_of(outputs: list[Output]) -> list[Any]:
    assert all(it.topic == "changes" for it in outputs)
    return [json.loads(it.value or b"") for it in outputs]


@pytest.fixture(scope="module")
def cart() -> MemoryEngine:
    scenario = read_file(ROOT / "examples" / "cart" / "cart.scenario.yaml").scenario
    assert scenario is not None
    definitions, _ = register(scenario.definitions)
    engine = MemoryEngine(Context(definitions, scenario.limits), scenario.start_ms)
    verdict = run(scenario, engine, definitions)
    assert verdict.ok, verdict.problem
    return engine


def log_of(engine: MemoryEngine) -> list[LogEntry]:
    return [entry for _, entries in engine.log for entry in entries]


def definitions_of(engine: MemoryEngine) -> Definitions:
    definitions = engine.context.definitions
    assert isinstance(definitions, DefinitionsInMemory)
    return definitions


def test_status_and_variables_are_told_without_a_word_of_yours(cart: MemoryEngine) -> None:
    told = data_of(written_by({}, definitions_of(cart), log_of(cart)))
    halts = sum(it.event == ThreadHalted(0) for it in log_of(cart))
    statuses = [it["status"] for it in told if it["status"]]
    assert statuses == ["RUNNING", *["HALTED", "RUNNING"] * halts, "COMPLETED"]
    assert halts
    assert {name for it in told for name in it["variables"]} >= {"customer", "items", "address"}
    assert {it["wf_spec"] for it in told} == {"cart"}
    assert all(it["status"] or it["variables"] for it in told)


def test_masked_values_are_left_out_wherever_they_are(cart: MemoryEngine) -> None:
    entries = log_of(cart)
    assert any(b"card-12345678" in CODEC.encode_log([it])[0] for it in entries)
    outputs = written_by({"events": ["all"]}, definitions_of(cart), entries)
    assert len(outputs) == len(entries)
    assert not any(b"card-12345678" in (it.value or b"") or b"\\u0000" in (it.value or b"") for it in outputs)
    (start,) = (it for it in data_of(outputs) if it["event"] == "WfRunStarted")
    assert "card" not in start["variables"]
    assert "card" not in start["fields"]["variables"]
    assert start["variables"]["customer"] == "Ann"


def test_nothing_is_shown_of_a_wf_run_whose_wf_spec_is_not_known(cart: MemoryEngine) -> None:
    outputs = written_by({"events": ["all"]}, definitions_of(cart), log_of(cart)[1:])
    assert not any(b"Ann" in (it.value or b"") or b"sku" in (it.value or b"") for it in outputs)
    assert {it["wf_spec"] for it in data_of(outputs)} == {None}


def test_definitions_are_read_again_for_events_that_were_decided_by_newer_ones(cart: MemoryEngine) -> None:
    asked = []

    def definitions() -> Definitions:
        asked.append(1)
        return definitions_of(cart)

    sink, _ = read_sink(SINK)
    mapping = SinkMapping(sink, Known(), definitions, TOPICS, CODEC)
    first, second = (
        replace(it, cause=replace(it.cause, definitions_position=at))
        for at, it in ((3, log_of(cart)[0]), (4, log_of(cart)[1]))
    )
    for entry in (first, first, second, first):
        for record in records_of([entry]):
            mapping.outputs(record)
    assert len(asked) == 2


def test_a_document_chooses_events_variables_a_condition_and_a_form(cart: MemoryEngine) -> None:
    document = {
        "wf_specs": ["cart"],
        "events": ["variables"],
        "variables": ["total_cents"],
        "when": "variables.total_cents > 0",
        "value": {"fields": {"cart": "wf_run_id", "cents": "variables.total_cents", "at": "time"}},
    }
    told = data_of(written_by({**document, "when": '"total_cents" in variables'}, definitions_of(cart), log_of(cart)))
    assert [it["cents"] for it in told][-1] == 2900
    assert told[-1].keys() == {"cart", "cents", "at"}
    none = {**document, "wf_specs": ["order"], "when": "true"}
    assert written_by(none, definitions_of(cart), log_of(cart)) == []


def test_what_cannot_be_computed_is_a_dead_letter_without_the_bytes(cart: MemoryEngine) -> None:
    outputs = written_by({"value": "variables.nothing"}, definitions_of(cart), log_of(cart))
    assert outputs
    assert {(it.topic, it.value, mapping_of(it.headers)) for it in outputs} == {("dead-letters", None, "changes")}
    assert {dict(it.headers)[f"{HEADER_PREFIX}reason"] for it in outputs} == {b"UNCOMPUTABLE"}


def test_the_dead_letter_of_an_event_that_kafka_refuses_has_no_bytes_of_it_either(cart: MemoryEngine) -> None:
    (record, *_) = records_of(log_of(cart))
    assert b"card-12345678" in (record.value or b"")
    letter = mapping_by({}, definitions_of(cart)).dead_letter(record, "NOT_WRITTEN", "too large")
    assert (letter.value, mapping_of(letter.headers)) == (None, "changes")
    assert letter.headers[-1] == ("halter.origin", b"SINK")


def test_a_wf_spec_that_was_never_registered_is_named_with_the_one_that_is_meant(cart: MemoryEngine) -> None:
    sink, _ = read_sink({**SINK, "wf_specs": ["cart", "crat"]})
    [unknown] = unknown_names(sink, definitions_of(cart))
    assert (unknown.field, unknown.name) == ("wf_specs", "crat")
    assert unknown.message.endswith("did you mean 'cart'?")


def test_a_variable_that_no_wf_spec_of_the_sink_has_is_named_with_its_place(cart: MemoryEngine, tmp_path: Path) -> None:
    (tmp_path / "sink.yaml").write_text(
        "name: totals\ntopic: shop.totals\nwf_specs: [cart]\nvariables: [items, totl_cents]\n"
    )
    read = read_sink_file(tmp_path / "sink.yaml", load_topics(ROOT / "topics.yaml", "", 1))
    [problem] = read.unknown(definitions_of(cart))
    assert (problem.line, problem.column, problem.code) == (4, 20, "VARIABLE_MISSING")
    assert "did you mean total_cents" in problem.message


@pytest.mark.parametrize("topic", ["shop-wf-runs", "shop-external-events", "shop-wf-events"])
def test_a_sink_writes_to_no_topic_of_halters_own(topic: str, tmp_path: Path) -> None:
    file, topics = tmp_path / "sink.yaml", load_topics(ROOT / "topics.yaml", "shop-", 1)
    file.write_text(f"name: changes\ntopic: {topic}\n")
    with pytest.raises(InvalidSink, match=r"sink\.yaml:2:1: topic: expected a topic of yours"):
        read_sink_file(file, topics)
    file.write_text(f"name: changes\ntopic: my-{topic}\n")
    assert read_sink_file(file, topics).sink.topic == f"my-{topic}"


@pytest.mark.parametrize("name", EVERY_KIND)
def test_every_event_becomes_one_json_document_of_its_wf_run(name: str) -> None:
    engine = engine_of(name)
    entries = log_of(engine)
    outputs = written_by({"events": ["all"]}, definitions_of(engine), entries)
    assert [it.key for it in outputs] == [it.wf_run_id.encode() for it in entries]
    assert [it.timestamp_ms for it in outputs] == [it.time_ms for it in entries]
    for told, entry in zip(data_of(outputs), entries, strict=True):
        assert (told["event"], told["seq"]) == (type(entry.event).__name__, entry.seq)


@pytest.mark.parametrize(
    ("document", "place", "says"),
    [
        ({"topic": None}, "topic", "expected text"),
        ({"topic": "my topic"}, "topic", "expected the name of a topic"),
        ({"events": ["WfRunEnd"]}, "events[0]", "did you mean WfRunEnded"),
        ({"events": []}, "events", "expected at least one name"),
        ({"when": "seq + 1"}, "when", "expected a BOOL"),
        ({"value": "statuss"}, "value", "status"),
        ({"wf_spec": ["a"]}, "wf_spec", "did you mean wf_specs"),
    ],
)
def test_a_mistake_in_a_document_is_told_with_its_place(document: dict[str, Any], place: str, says: str) -> None:
    _, problems = read_sink({**SINK, **document})
    assert len(problems) == 1
    assert str(problems[0]).startswith(place)
    assert says in str(problems[0])
