"""Makes spans with OpenTelemetry, and writes their context into headers of records.

This module is imported only if tracing is on (`Settings.tracing`). It needs the extra `halter-kafka[otlp]`. Where the
program has set a tracer provider, its spans go there; else they go to the receiver that the OTEL_* variables name, by
OTLP/HTTP, in batches and in a thread of their own. Where a trace begins, it is decided whether it is sampled.

Names and attributes are those of OpenTelemetry's semantic conventions for messaging. None has a value of a WfRun.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import Final, TypeAlias

from confluent_kafka import KafkaError, Message
from opentelemetry import trace
from opentelemetry.context import Context as OtelContext
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from processors import DISTRIBUTION
from processors.kafka.trace_context import TRACESTATE, TRACESTATE_BYTES_MAX, Context

Attribute: TypeAlias = str | int | bool
PROPAGATOR: Final = TraceContextTextMapPropagator()
"""W3C's alone: whatever OTEL_PROPAGATORS says, no baggage goes into records."""
FLUSH_MS: Final = 2_000
"""How long the end of a program waits for a receiver of spans."""
TEXT_MAX: Final = 256
"""Most characters of an attribute."""
SYSTEM: Final = "messaging.system"
KIND: Final = "messaging.operation.type"
NAME: Final = "messaging.operation.name"
DESTINATION: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
OFFSET: Final = "messaging.kafka.offset"
KEY: Final = "messaging.kafka.message.key"
GROUP: Final = "messaging.consumer.group.name"


class Tracing:
    """Makes the spans of one process. Safe for threads."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("halter", version(DISTRIBUTION))

    def begin(
        self, name: str, kind: SpanKind, attributes: Mapping[str, Attribute], parent: Context | None = None
    ) -> Span:
        """Begin a span that somebody ends later. `parent` is its context; None: that of the span that is active."""
        return self._tracer.start_span(
            name,
            None if parent is None else _extracted(parent),
            kind,
            {it: _bounded(value) for it, value in attributes.items()},
        )

    @contextmanager
    def active(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Attribute],
        parent: Context | None = None,
    ) -> Iterator[Span]:
        """Make a span the active one of a block: spans that the block makes are its children. An error ends it so."""
        span = self.begin(name, kind, attributes, parent)
        with trace.use_span(span, end_on_exit=True):
            yield span

    def send(self, topic: str, record: str, key: str, parent: Context | None = None) -> "SentSpan":
        """Begin the span of a record that is sent. `record` is its kind: `RunWf`."""
        attributes = {
            SYSTEM: "kafka",
            KIND: "send",
            NAME: "send",
            DESTINATION: topic,
            KEY: key,
            "halter.record": record,
        }
        return SentSpan(self.begin(f"send {record}", SpanKind.PRODUCER, attributes, parent))

    def linked(self, name: str, attributes: Mapping[str, Attribute], served: list[Context]) -> Span:
        """Begin a span of its own trace that serves several records. It links to the span of each."""
        contexts = (trace.get_current_span(_extracted(it)).get_span_context() for it in served)
        return self._tracer.start_span(
            name, OtelContext(), SpanKind.INTERNAL, attributes, [Link(it) for it in contexts if it.is_valid]
        )

    def flush(self) -> None:
        """Send the spans that have ended, before a program does."""
        flush = getattr(self._provider, "force_flush", None)
        if flush is not None:
            flush(FLUSH_MS)


def context_in(span: Span) -> Context:
    """Return the headers that carry the context of a span."""
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier, trace.set_span_in_context(span, OtelContext()))
    return tuple(
        (name, value.encode())
        for name, value in carrier.items()
        if value and (name != TRACESTATE or len(value) <= TRACESTATE_BYTES_MAX)
    )


def failed(span: Span, why: str) -> None:
    """Note that what a span stands for has failed."""
    span.set_status(Status(StatusCode.ERROR, why[:TEXT_MAX]))


def active_span() -> Span:
    """Return the span that is active in this thread or coroutine; one that records nothing if none is."""
    return trace.get_current_span()


def _extracted(context: Context) -> OtelContext:
    carrier = {name: value.decode("ascii", "replace") for name, value in context}
    return PROPAGATOR.extract(carrier, OtelContext())


def _bounded(value: Attribute) -> Attribute:
    return value[:TEXT_MAX] if isinstance(value, str) else value


@cache
def tracing_of_process() -> Tracing:
    """Return what makes the spans of this process. The first call sets up the sending of spans, if nobody has."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES count before our name.
        own = TracerProvider(resource=Resource({SERVICE_NAME: "halter"}).merge(OTELResourceDetector().detect()))
        own.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        # The handlers of a task worker ask for it: their spans belong to the same traces.
        trace.set_tracer_provider(own)
        provider = own
    return Tracing(provider)


class SentSpan:
    """The span of one record, from when it is sent until Kafka has it or has not taken it."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.context = context_in(span)

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """Take the delivery report of librdkafka."""
        if error is not None:
            failed(self._span, error.str())
        elif self._span.is_recording():
            self._span.set_attribute(PARTITION, str(message.partition()))
            self._span.set_attribute(OFFSET, message.offset() or 0)
        self._span.end()
