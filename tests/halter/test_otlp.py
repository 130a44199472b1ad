"""`halter export --otlp`: a trace is what the history says, sent to a real receiver or written to a file."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from halter.client.errors import BeginningMissing
from halter.files.definition_files import read_definition_file
from halter.history.export import export
from halter.history.logged import Logged
from halter.otlp import sending
from halter.otlp.trace import UNFINISHED, WF_RUN, Span, Trace, thread_key, traces
from processors.core.records.commands import (
    DeleteWfRun,
    ExternalEvent,
    ReportTaskRun,
    RunWf,
)
from processors.core.records.events import (
    Cause,
    ExternalEventPosted,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptRequested,
    ThreadRescued,
    WfRunEnded,
    WfRunForked,
    WfRunStarted,
)
from processors.core.records.model import Status, TaskStatus
from processors.fold.inputs import InputRecord
from tests.support.checkout_copy import ROOT
from tests.support.command_line import halter
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.recorded import documents, engine_of, logs_of, names, numbers, random_engine
from tests.support.recordings import RigSource
from tests.support.shard_rig import START_MS, ShardRig

CART = ROOT / "examples" / "cart" / "cart.yaml"
CARD = "card-12345678"
MUG = {"sku": "mug", "name": "Mug", "quantity": 2, "price_cents": 1450}
SHOP = "4bf92f3577b34da6a3ce929d0e0e4736"
"""The id of the trace in which the customer changed the address."""
CLICK = "00f067aa0ba902b7"
COURIER = "1111111111111111"


def carts() -> ShardRig:
    """Return a rig with carts whose customers changed the address while the card was charged. cart-2 goes on."""
    rig = ShardRig()
    rig.turn(*read_definition_file(CART).commands)
    for wf_run_id in ("cart-1", "cart-2"):
        rig.turn(RunWf(wf_run_id, "cart", {"customer": "Ann", "card": CARD}))
        for event, content in (("item-added", MUG), ("slot-chosen", "monday"), ("checkout", None)):
            rig.now_ms += 1_000
            rig.turn(ExternalEvent(wf_run_id, event, f"{event}-1", content))
        rig.now_ms += 1_000
        changed = ExternalEvent(wf_run_id, "address-changed", "a-1", "12 Harbour Street")
        rig.turn(traced(rig, changed, CLICK))
        if wf_run_id == "cart-1":
            run = rig.shard.wf_runs[wf_run_id]
            node = run.threads[0].node
            assert node.task is not None
            rig.now_ms += 1_000
            task = (wf_run_id, run.incarnation, 0, node.position, node.task.attempt)
            rig.turn(traced(rig, ReportTaskRun(*task, TaskStatus.SUCCESS, "receipt-1"), COURIER))
    return rig


def traced(rig: ShardRig, command: Any, span: str) -> InputRecord:
    """Return a command as its producer sends it in a span of its own trace."""
    return rig.command(command)._replace(headers=(("traceparent", f"00-{SHOP}-{span}-01".encode()),))


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("incident") / "incident.halter"
    export(RigSource(carts()), ["cart-1", "cart-2"], file, START_MS)
    return file


# The trace.


def check(made: Trace, logged: list[Logged]) -> None:
    """Check what holds for every trace."""
    spans = {it.key: it for it in made.spans}
    assert len(spans) == len(made.spans) == len({made.id_of(key) for key in spans})
    assert made.spans[0].key == WF_RUN
    for span in made.spans:
        assert span.end_ms is not None
        assert spans[WF_RUN].start_ms <= span.start_ms <= span.end_ms
        assert (span.parent is None) == (span.key == WF_RUN)
        assert span.parent is None or made.spans.index(spans[span.parent]) < made.spans.index(span)
        assert all(isinstance(link.to, Cause | Trace) or link.to in spans for link in span.links)
        assert span.failure is None or not span.has_completed
    begin = (WfRunStarted, SpawnChild, ExternalEventPosted, TaskAttemptRequested)
    events = [it.entry.event for it in logged]
    came_along = sum(len(it.threads) - 1 + len(it.external_events) for it in events if isinstance(it, WfRunForked))
    assert len(made.spans) == 1 + came_along + sum(isinstance(it, begin) for it in events)
    others = [type(it).__name__ for it in events if not isinstance(it, (*begin, TaskAttemptEnded))]
    assert sorted(moment.name for span in made.spans for moment in span.moments) == sorted(others)


def started(logged: list[Logged]) -> int:
    return sum(isinstance(it.entry.event, WfRunStarted) for it in logged)


@pytest.mark.parametrize("name", documents())
def test_the_trace_of_every_scenario_has_each_of_its_events_in_its_place(name: str) -> None:
    for wf_run_id, logged in logs_of(engine_of(name)):
        found = list(traces(wf_run_id, logged, previous=True))
        assert len(found) == started(logged)
        assert len({it.id for it in found}) == len(found)
        if len(found) == 1:
            check(found[0], logged)


@given(names, numbers)
def test_the_trace_of_any_history_has_each_of_its_events_in_its_place(name: str, chosen: list[int]) -> None:
    for wf_run_id, logged in logs_of(random_engine(name, chosen)):
        if started(logged) == 1:
            check(only(list(traces(wf_run_id, logged))), logged)


def only(found: list[Trace]) -> Trace:
    (trace,) = found
    return trace


def of_cart(wf_run_id: str, rig: ShardRig | None = None) -> dict[str, Span]:
    """Return the spans of a cart, by name."""
    logged = list(RigSource(carts() if rig is None else rig).events(wf_run_id))
    made = only(list(traces(wf_run_id, logged)))
    named = {it.name: it for it in made.spans}
    assert len(named) == len(made.spans)
    return named


def test_threads_are_nested_as_the_tree_and_tasks_are_below_them() -> None:
    spans = of_cart("cart-1")
    assert spans["cart"].key == WF_RUN
    assert (spans["main"].parent, spans["main"].key) == (WF_RUN, thread_key(0))
    assert spans["change-address"].parent == thread_key(0)
    assert spans["charge-card"].parent == thread_key(0)
    assert spans["charge-card"].attributes["halter.task.status"] == "SUCCESS"
    assert spans["address-changed"].parent == WF_RUN


def test_halts_are_events_of_the_thread_and_a_handler_leads_to_what_interrupted_it() -> None:
    spans = of_cart("cart-1")
    begun = spans["address-changed"].start_ms
    halts = [(it.name, it.time_ms - begun) for it in spans["main"].moments if it.time_ms >= begun]
    assert halts[:3] == [("Halt", 0), ("ThreadHalted", 1_000), ("Resume", 1_000)]
    because = [(link.to, link.why) for link in spans["change-address"].links]
    posted = spans["address-changed"]
    assert because == [(posted.key, "started by"), (posted.links[0].to, "started by")]
    assert posted.attributes["halter.external_event.status"] == "CLAIMED"


def test_times_are_those_of_the_events() -> None:
    spans, begun = of_cart("cart-1"), START_MS
    assert (spans["item-added"].start_ms, spans["address-changed"].start_ms) == (begun + 1_000, begun + 4_000)
    charge = spans["charge-card"]
    assert (charge.start_ms, charge.end_ms) == (begun + 3_000, begun + 5_000)
    assert spans["change-address"].start_ms == charge.end_ms, "the handler starts when the task is back"


def test_what_has_not_ended_ends_with_the_newest_event_and_says_so() -> None:
    spans = of_cart("cart-2")
    for name in ("cart", "main", "charge-card"):
        assert spans[name].attributes[UNFINISHED]
        assert not spans[name].has_completed
        assert spans[name].end_ms == spans["address-changed"].start_ms
    assert UNFINISHED not in spans["item-added"].attributes
    assert spans["charge-card"].attributes["halter.task.status"] == "OUT"


def test_the_same_history_gives_the_same_trace_and_a_longer_one_the_same_ids() -> None:
    rig = carts()
    before, again = (list(traces("cart-2", list(RigSource(rig).events("cart-2")))) for _ in range(2))
    assert before == again
    rig.turn(ExternalEvent("cart-2", "item-added", "late", MUG))
    after_it = only(list(traces("cart-2", list(RigSource(rig).events("cart-2")))))
    assert after_it.id == before[0].id
    keys = [it.key for it in before[0].spans]
    assert [it.key for it in after_it.spans][: len(keys)] == keys
    assert [after_it.id_of(key) for key in keys] == [before[0].id_of(key) for key in keys]


def test_an_id_that_is_used_again_has_another_trace() -> None:
    rig = carts()
    rig.turn(DeleteWfRun("cart-1"))
    rig.turn(RunWf("cart-1", "cart", {"customer": "Bob", "card": CARD}))
    logged = list(RigSource(rig).events("cart-1", previous=True))
    first, second = traces("cart-1", logged, previous=True)
    assert first.id != second.id
    assert first.id_of(WF_RUN) != second.id_of(WF_RUN)
    assert list(traces("cart-1", logged)) == [second]


def test_a_thread_that_failed_and_was_rescued_goes_on() -> None:
    (name, wf_run_id) = next(
        (name, wf_run_id)
        for name in documents()
        for wf_run_id, logged in logs_of(engine_of(name))
        if [type(it.entry.event) for it in logged].count(ThreadRescued) == 1
        and isinstance(logged[-1].entry.event, WfRunEnded)
        and logged[-1].entry.event.status is Status.COMPLETED
    )
    logged = dict(logs_of(engine_of(name)))[wf_run_id]
    at = next(index for index, it in enumerate(logged) if isinstance(it.entry.event, ThreadRescued))
    failed = {it.key: it for it in only(list(traces(wf_run_id, logged[:at]))).spans}
    rescued = {it.key: it for it in only(list(traces(wf_run_id, logged))).spans}
    goes_on = {it.key: it for it in only(list(traces(wf_run_id, logged[: at + 1]))).spans}
    assert goes_on[WF_RUN].attributes[UNFINISHED] is True
    assert "halter.wf_run.status" not in goes_on[WF_RUN].attributes, "it has not ended"
    assert failed[thread_key(0)].failure is not None
    assert rescued[thread_key(0)].failure is None
    assert rescued[thread_key(0)].has_completed
    assert rescued[WF_RUN].end_ms == logged[-1].entry.time_ms


def test_a_fork_leads_to_the_trace_of_its_source() -> None:
    engine = engine_of("S7-ForkWfRun")
    forks = {wf_run_id: logged for wf_run_id, logged in logs_of(engine) if len(logged) > 1}
    found = {wf_run_id: only(list(traces(wf_run_id, logged))) for wf_run_id, logged in forks.items()}
    led = {
        (wf_run_id, link.to.wf_run_id): link.to.id
        for wf_run_id, made in found.items()
        for link in made.spans[0].links
        if isinstance(link.to, Trace)
    }
    assert led
    assert all(found[source].id == trace_id for (_, source), trace_id in led.items())


def test_what_came_long_before_the_wf_run_does_not_stretch_its_trace() -> None:
    rig = ShardRig()
    rig.turn(*read_definition_file(CART).commands)
    rig.turn(ExternalEvent("early", "item-added", "i-1", MUG))
    rig.now_ms += 86_400_000
    rig.turn(RunWf("early", "cart", {"customer": "Ann", "card": CARD}))
    spans = of_cart("early", rig)
    assert spans["item-added"].start_ms == spans["cart"].start_ms == rig.now_ms
    assert spans["item-added"].attributes["halter.external_event.posted"] == "2026-01-01T00:00:00.000Z"


def test_without_its_beginning_a_wf_run_has_no_trace() -> None:
    logged = list(RigSource(carts()).events("cart-1"))
    with pytest.raises(BeginningMissing, match="no longer has the beginning of WfRun 'cart-1'"):
        list(traces("cart-1", logged[3:]))


# The command.


def sent(capsys: pytest.CaptureFixture[str], receiver: OtlpReceiver, *arguments: object) -> str:
    """Run the command, and return what it said."""
    code, out, err = halter(capsys, "export", *map(str, arguments), "--otlp", receiver.url)
    assert (code, out) == (0, ""), err
    return " ".join(err.split())


def by_name(spans: list[Any]) -> dict[str, Any]:
    return {it.name: it for it in spans}


def attributes(told: Any) -> dict[str, Any]:
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in told.attributes}


def test_a_receiver_gets_the_trace_as_protobuf(capsys: pytest.CaptureFixture[str], incident: Path) -> None:
    with OtlpReceiver() as receiver:
        said = sent(capsys, receiver, "cart-1", "--file", incident)
    made = only(list(traces("cart-1", list(RigSource(carts()).events("cart-1")))))
    assert f"wrote 1 trace with {len(made.spans)} spans to {receiver.url}" in said
    assert receiver.paths == ["/v1/traces"]
    spans = by_name(receiver.spans())
    assert {it.trace_id for it in spans.values()} == {made.id}
    assert {it.name: it.span_id for it in spans.values()} == {it.name: made.id_of(it.key) for it in made.spans}
    assert spans["change-address"].parent_span_id == spans["main"].span_id
    assert spans["cart"].parent_span_id == b""
    main = spans["main"]
    assert main.start_time_unix_nano == START_MS * 1_000_000
    halt = next(event for event in reversed(main.events) if event.name == "Halt")
    assert attributes(halt)["halter.what"] == "PENDING_INTERRUPT(a-1)"
    assert attributes(halt)["halter.cause"].endswith("a-1")
    assert CARD.encode() not in b"".join(it.SerializeToString() for it in receiver.requests)
    resource = attributes(receiver.requests[0].resource_spans[0].resource)
    assert resource["service.name"] == "halter"


def test_links_lead_to_the_spans_in_which_producers_sent_their_records(
    capsys: pytest.CaptureFixture[str], incident: Path
) -> None:
    with OtlpReceiver() as receiver:
        sent(capsys, receiver, "cart-1", "--file", incident)
    spans = by_name(receiver.spans())
    outside = {name: [it for it in span.links if it.trace_id.hex() == SHOP] for name, span in spans.items()}
    assert {name: [it.span_id.hex() for it in links] for name, links in outside.items() if links} == {
        "address-changed": [CLICK],
        "change-address": [CLICK],
        "charge-card": [COURIER],
    }
    inside = [it.span_id for it in spans["change-address"].links if it.trace_id == spans["cart"].trace_id]
    assert inside == [spans["address-changed"].span_id]


@pytest.mark.parametrize("header", [b"", b"\xff", b"00-0-0-00", f"00-{'0' * 32}-{CLICK}-01".encode()])
def test_a_header_that_names_no_span_is_passed_over(header: bytes) -> None:
    rig = carts()
    rig.inputs = [it._replace(headers=(("traceparent", header),)) for it in rig.inputs]
    source = RigSource(rig)
    made = only(list(traces("cart-1", list(source.events("cart-1")))))
    links = [link for span in sending.spans(made, source) for link in span.links]
    assert {link.context.trace_id for link in links} == {int.from_bytes(made.id)}


def test_sending_twice_sends_the_same(capsys: pytest.CaptureFixture[str], incident: Path) -> None:
    with OtlpReceiver() as receiver:
        for _ in range(2):
            sent(capsys, receiver, "cart-1", "--file", incident)
    assert receiver.requests[0] == receiver.requests[1]


def test_a_long_history_is_sent_in_parts(
    capsys: pytest.CaptureFixture[str], incident: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halter.otlp.sending.AT_ONCE", 3)
    with OtlpReceiver() as receiver:
        sent(capsys, receiver, "cart-1", "cart-2", "--file", incident)
    assert max(len(it.resource_spans[0].scope_spans[0].spans) for it in receiver.requests) == 3
    assert len({it.span_id for it in receiver.spans()}) == len(receiver.spans())
    assert len({it.trace_id for it in receiver.spans()}) == 2


def test_the_variables_of_opentelemetry_hold(
    capsys: pytest.CaptureFixture[str], incident: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t0ken")
    with OtlpReceiver() as receiver:
        sent(capsys, receiver, "cart-1", "--file", incident)
    assert attributes(receiver.requests[0].resource_spans[0].resource)["service.name"] == "shop"
    assert receiver.headers[0]["authorization"] == "Bearer t0ken"


def test_a_file_has_a_trace_a_line_as_otlp_json(
    capsys: pytest.CaptureFixture[str], incident: Path, tmp_path: Path
) -> None:
    file = tmp_path / "traces.json"
    code, _, err = halter(capsys, "export", "cart-1", "cart-2", "--file", str(incident), "--otlp", str(file))
    assert code == 0, err
    assert "wrote 2 traces" in err
    assert "not ended yet" in err
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    told = [line["resourceSpans"][0]["scopeSpans"][0]["spans"] for line in lines]
    for wf_run_id, spans in zip(("cart-1", "cart-2"), told, strict=True):
        made = only(list(traces(wf_run_id, list(RigSource(carts()).events(wf_run_id)))))
        assert {it["traceId"] for it in spans} == {made.id.hex()}
        assert [it["spanId"] for it in spans] == [made.id_of(it.key).hex() for it in made.spans]
    main = next(it for it in told[0] if it["name"] == "main")
    root = next(it for it in told[0] if it["name"] == "cart")
    assert main["parentSpanId"] == root["spanId"]
    assert (main["kind"], main["startTimeUnixNano"]) == (1, str(START_MS * 1_000_000))
    assert "parentSpanId" not in root
    handler = next(it for it in told[0] if it["name"] == "change-address")
    assert [it["traceId"] for it in handler["links"]] == [root["traceId"], SHOP]
    assert CARD not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["cart-1"], 2, "expected one of -o and --otlp, found none of them"),
        (["cart-1", "-o", "x", "--otlp", "y"], 2, "expected one of -o and --otlp, found both of them"),
        (["cart-1", "--clear", "--otlp", "y"], 2, "--clear: not with --otlp"),
        (["cart", "--otlp", "y"], 1, "did you mean 'cart-1'"),
        (["cart-1", "--otlp", "/nowhere/y"], 1, "expected to write /nowhere/y"),
        (["cart-1", "--otlp", "http://[::1"], 1, "http://[::1: expected the URL of a receiver"),
        (["cart-1", "--otlp", "http://ann:secret@[::1"], 1, "http://[::1: expected the URL of a receiver"),
    ],
)
def test_what_is_wrong_gets_a_sentence(
    capsys: pytest.CaptureFixture[str], incident: Path, tmp_path: Path, arguments: list[str], code: int, sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    ended, _, err = halter(capsys, "export", "--file", str(incident), *arguments)
    assert ended == code
    assert sentence in " ".join(err.split())
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_receiver_that_refuses_or_is_not_there_gets_a_sentence(
    capsys: pytest.CaptureFixture[str], incident: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with OtlpReceiver(status=400) as receiver:
        ended, _, err = halter(capsys, "export", "--file", str(incident), "cart-1", "--otlp", receiver.url)
    assert ended == 1
    assert f"{receiver.url}/v1/traces: expected a receiver of OTLP/HTTP that takes traces, found none: " in err
    assert "400" in err
    ended, _, err = halter(capsys, "export", "--file", str(incident), "cart-1", "--otlp", receiver.url)
    assert ended == 1
    assert "found none: " in err
    assert len(err.splitlines()) == 1


def test_without_the_extra_a_sentence_says_what_to_install(
    capsys: pytest.CaptureFixture[str], incident: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "halter.otlp.sending", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    ended, _, err = halter(capsys, "export", "--file", str(incident), "cart-1", "--otlp", "http://localhost:4318")
    assert ended == 1
    assert "pip install 'halter-kafka[otlp]'" in err
