"""One trace from a client over the fold, a task and its report, on a real Kafka, with a restart between."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but the hints lack it
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from halter.client import Client
from halter.task_worker import TaskWorker
from processors.kafka import tracing
from processors.kafka.headers import headers_of
from processors.kafka.tracing import Tracing
from tests.support.halter_processes import Halter
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.waiting import wait_until

SPEC = {
    "name": "order",
    "entrypoint": "main",
    "threads": {
        "main": {
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "wait"},
                "wait": {"kind": "EXTERNAL_EVENT", "event": "paid", "next": "ship"},
                "ship": {"kind": "TASK", "task": "ship", "next": "done"},
                "done": {"kind": "EXIT"},
            }
        }
    },
}

BINDING = """\
name: payments
bindings:
  - name: paid
    topic: {source}
    wf_run_id: key
    events: [{{event: paid}}]
"""
GIVEN = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as it:
        yield it


@pytest.fixture
def provider(receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """Return the tracer provider of this process, whose spans go to the receiver."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{receiver.url}/v1/traces")))
    monkeypatch.setattr(tracing, "tracing_of_process", lambda: Tracing(provider))
    return provider


def test_one_trace_leads_from_a_client_through_a_restart_to_the_report_of_a_task(
    bootstrap: str, prefix: str, tmp_path: Path, receiver: OtlpReceiver, provider: TracerProvider
) -> None:
    variables = {
        "HALTER_TRACING": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "60000",  # what comes, comes when a process ends
    }
    halter = Halter(bootstrap, prefix, tmp_path, 1, variables)
    untraced = replace(halter.settings, traces=False)
    worker = TaskWorker()

    @worker.task("ship")
    def ship() -> str:
        with provider.get_tracer("shop").start_as_current_span("pack a parcel"):
            return "shipped"

    with halter.worker("first"), halter.client() as client:
        client.put_external_event_def("paid")
        client.put_task_def("ship")
        client.put_wf_spec(SPEC)
        client.run("order", wf_run_id="order-1").outcome()
    with halter.worker("second"), halter.client() as working, Client.of(untraced, halter.topics) as client:
        thread = threading.Thread(target=worker.run, args=(working,), daemon=True)
        thread.start()
        client.post("order-1", "paid", event_id="e1").outcome()  # nothing says what this belongs to, but the row
        client.get("order-1", until="ended", timeout_s=30)
        worker.stop()
        thread.join(30)
    assert halter.command("verify", "order-1").returncode == 0, "the log is what the inputs say, whoever traced them"
    wait_until("the last span", lambda: "fold ReportTaskRun" in {it.name for it in receiver.spans()})
    (begun,) = (it for it in receiver.spans() if it.name == "send RunWf")
    spans = {it.name: it for it in receiver.spans() if it.trace_id == begun.trace_id}
    way = ["send RunWf", "fold RunWf", "fold ExternalEvent", "run ship", "pack a parcel"]
    assert spans.keys() == {*way, "send ReportTaskRun", "fold ReportTaskRun"}
    for parent, child in pairwise(way):
        assert spans[child].parent_span_id == spans[parent].span_id, f"{child} is below {parent}"
    assert spans["send ReportTaskRun"].parent_span_id == spans["run ship"].span_id
    assert spans["fold ReportTaskRun"].parent_span_id == spans["send ReportTaskRun"].span_id
    run = {it.key: _value(it.value) for it in spans["run ship"].attributes}
    assert run["messaging.system"] == "kafka"
    assert run["messaging.destination.name"] == halter.topics.task_requests
    assert (run["halter.wf_run.id"], run["halter.task"], run["halter.task.status"]) == ("order-1", "ship", "SUCCESS")
    folded = {bytes(it.span_id) for it in spans.values() if it.name.startswith("fold")}
    linked = {bytes(link.span_id) for it in receiver.spans() if it.name == "commit turn" for link in it.links}
    assert folded <= linked, "each turn links to what it served"


def test_a_trace_of_somebody_else_leads_through_a_binding_the_fold_and_a_sink(
    bootstrap: str, prefix: str, tmp_path: Path, receiver: OtlpReceiver
) -> None:
    variables = {
        "HALTER_TRACING": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "60000",  # what comes, comes when a process ends
    }
    halter = Halter(bootstrap, prefix, tmp_path, 1, variables)
    source, changes = f"{prefix}payments", f"{prefix}changes"
    admin = AdminClient(halter.settings.admin())
    for made in admin.create_topics([NewTopic(source, 1, 1), NewTopic(changes, 1, 1)]).values():
        made.result(30)
    (tmp_path / "bindings.yaml").write_text(BINDING.format(source=source))
    (tmp_path / "sink.yaml").write_text(f"name: changes\ntopic: {changes}\nevents: [ExternalEventPosted]\n")
    run = ("-m", "halter", "bind", "run", str(tmp_path / "bindings.yaml"))
    sink = ("-m", "halter", "sink", "run", str(tmp_path / "sink.yaml"))
    untraced = replace(halter.settings, traces=False)
    with halter.worker(), halter.started("bind", *run), halter.started("sink", *sink):
        with Client.of(untraced, halter.topics) as client:
            client.put_external_event_def("paid")
            client.put_task_def("ship")
            client.put_wf_spec(SPEC)
            client.run("order", wf_run_id="order-1").outcome()
        producer = Producer(halter.settings.producer())
        producer.produce(source, b"{}", b"order-1", headers=[GIVEN])
        producer.flush(10)
        reader = Consumer(halter.settings.consumer(group_id="reader", auto_offset_reset="earliest"))
        reader.assign([TopicPartition(changes, 0, 0)])
        found: list[Message] = []

        def has_come() -> bool:
            found.extend(it for it in reader.consume(1, 0.2) if it.error() is None)
            return bool(found)

        wait_until("what the sink writes", has_come, 60)
        reader.close()
    trace_id = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
    spans = [it for it in receiver.spans() if it.trace_id == trace_id]
    (mapped,) = (it for it in spans if it.name == "map payments")
    (folded,) = (it for it in spans if it.name == "fold ExternalEvent")
    told = [it for it in spans if it.name == "map changes"]  # one for each event of the log that came of it
    assert len(spans) == 2 + len(told)
    assert mapped.parent_span_id == bytes.fromhex("00f067aa0ba902b7")
    assert folded.parent_span_id == mapped.span_id
    assert {it.parent_span_id for it in told} == {folded.span_id}
    _, carried, span_id, _ = dict(headers_of(found[0]) or ())["traceparent"].decode().split("-")
    assert carried == trace_id.hex()
    assert bytes.fromhex(span_id) in {it.span_id for it in told}, "and on to whoever reads what the sink writes"


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))
