"""Bindings and sinks pass trace contexts through."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from halter.transform.dead_letters import dead_letter
from halter.transform.records import Output, SourceRecord, TimestampType
from halter.transform.tracing import TracedMapping
from processors.fold.inputs import Headers
from processors.kafka.topics_file import load_topics
from processors.kafka.trace_context import context_of, without_context
from processors.kafka.tracing import Tracing

TOPICS = load_topics()
PARENT = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


class Copies:
    """Makes one output of a record, with all of its headers, and a dead letter."""

    sources, destinations = ("orders",), ("external-events",)

    def outputs(self, record: SourceRecord) -> Sequence[Output]:
        return [Output("external-events", record.key, record.value, record.headers), self.dead_letter(record, "X", "x")]

    def dead_letter(self, record: SourceRecord, code: str, message: str) -> Output:
        return dead_letter(TOPICS, "shop", record, code, message)


def outputs(headers: Headers) -> tuple[Sequence[Output], InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    mapping = TracedMapping(Copies(), Tracing(provider), TOPICS, "shop")
    record = SourceRecord("orders", 0, 7, 1, TimestampType.CREATE_TIME, b"k", b"v", headers)
    return mapping.outputs(record), exporter


def test_what_a_record_becomes_carries_its_trace_on_by_way_of_a_span() -> None:
    (made, letter), exporter = outputs((("a", b"1"), PARENT))
    (span,) = exporter.get_finished_spans()
    assert span.name == "map shop"
    assert context_of(made.headers) == (
        ("traceparent", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{span.context.span_id:016x}-01".encode()),
    )
    assert without_context(made.headers) == (("a", b"1"),)
    assert letter.headers[:2] == (("a", b"1"), PARENT), "a dead letter keeps its headers"


def test_a_record_without_a_context_is_not_traced() -> None:
    (made, _), exporter = outputs((("a", b"1"),))
    assert made.headers == (("a", b"1"),)
    assert exporter.get_finished_spans() == ()
