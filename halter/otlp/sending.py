"""Gives traces away by OpenTelemetry's SDK: to a receiver by OTLP/HTTP, or as lines of OTLP/JSON.

A tracer of the SDK makes spans of what happens now, with random ids. What is exported here has happened, and its spans
have ids. So they are made as the exporters of the SDK take them. Needs the extra `halter-kafka[otlp]`.
"""

import json
import logging
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from halter import DISTRIBUTION
from halter.files.whole_file import whole_file
from halter.history.source import Place, Source
from halter.otlp import trace
from processors.core.records.errors import HalterError
from processors.core.records.events import Cause

AT_ONCE: Final = 500
"""Spans of one request."""
TRACES_PATH: Final = "/v1/traces"
TRACEPARENT: Final = "traceparent"
IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})
"""Fields that OTLP/JSON has in hexadecimal digits, where protobuf's JSON has base64."""


class NotTaken(HalterError):
    """A receiver did not take a trace. Whoever named it looks whether it runs, and at which address."""


def spans(made: trace.Trace, source: Source) -> list[ReadableSpan]:
    """Return the spans of a trace. `source` has the records whose headers say where their producers traced them."""
    causes = {_place(link.to) for it in made.spans for link in it.links if isinstance(link.to, Cause)}
    traced = {place: _traced(dict(record.headers)) for place, record in source.records(causes).items()}
    # The variables of OpenTelemetry, such as OTEL_SERVICE_NAME, come before what we say.
    resource = Resource({SERVICE_NAME: "halter"}).merge(OTELResourceDetector().detect())
    scope = InstrumentationScope("halter", version(DISTRIBUTION))
    return [
        ReadableSpan(
            it.name,
            _context(made, it.key),
            None if it.parent is None else _context(made, it.parent),
            resource,
            it.attributes,
            [Event(moment.name, moment.attributes, _ns(moment.time_ms)) for moment in it.moments],
            list(_links(made, it, traced)),
            SpanKind[it.kind.name],
            status=_status(it),
            start_time=_ns(it.start_ms),
            end_time=_ns(it.start_ms if it.end_ms is None else it.end_ms),
            instrumentation_scope=scope,
        )
        for it in made.spans
    ]


def _context(made: trace.Trace, key: trace.Key) -> SpanContext:
    ids = int.from_bytes(made.id), int.from_bytes(made.id_of(key))
    return SpanContext(*ids, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _links(made: trace.Trace, span: trace.Span, traced: Mapping[Place, SpanContext | None]) -> Iterator[Link]:
    for link in span.links:
        match link.to:
            case Cause() as cause:
                found = traced.get(_place(cause))
            case trace.Trace() as other:
                found = _context(other, trace.WF_RUN)
            case key:
                found = _context(made, key)
        if found is not None:
            yield Link(found, {"halter.why": link.why})


def _traced(headers: Mapping[str, bytes]) -> SpanContext | None:
    """Return the span in which a record was sent, as its headers say it (W3C Trace Context); None if they do not."""
    carrier = {TRACEPARENT: headers.get(TRACEPARENT, b"").decode(errors="replace")}
    found = get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context()
    return found if found.is_valid else None


def _status(span: trace.Span) -> Status:
    if span.failure is not None:
        return Status(StatusCode.ERROR, span.failure)
    return Status(StatusCode.OK if span.has_completed else StatusCode.UNSET)


def _ns(time_ms: int) -> int:
    return time_ms * 1_000_000


def _place(cause: Cause) -> Place:
    return cause.topic, cause.partition, cause.offset


def line(made: Sequence[ReadableSpan]) -> str:
    """Return spans as a line of OTLP/JSON: what one request of OTLP/HTTP would carry."""
    told = MessageToDict(encode_spans(made), use_integers_for_enums=True)
    return json.dumps(_with_hexadecimal_ids(told), ensure_ascii=False, separators=(",", ":"))


def _with_hexadecimal_ids(told: Any) -> Any:
    if isinstance(told, dict):
        return {
            name: b64decode(item).hex() if name in IDS else _with_hexadecimal_ids(item) for name, item in told.items()
        }
    return [_with_hexadecimal_ids(item) for item in told] if isinstance(told, list) else told


Take: TypeAlias = Callable[[Sequence[ReadableSpan]], None]
"""Takes the spans of a trace."""


@contextmanager
def taking(target: str) -> Iterator[Take]:
    """Yield what takes spans: a receiver, if the target is a URL, else a file. Raises NotTaken and CannotWrite."""
    if target.lower().startswith(("http://", "https://")):
        with closing(Receiver(target)) as receiver:
            yield receiver.take
        return
    with whole_file(Path(target)) as file:

        def write(made: Sequence[ReadableSpan]) -> None:
            file.write(line(made).encode() + b"\n")

        yield write


def told(target: str) -> str:
    """Return a target as sentences show it: a URL without the name and the password that it may have."""
    scheme, mark, rest = target.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{mark}{place.rpartition('@')[2]}{slash}{path}"


class Receiver:
    """A receiver of OTLP/HTTP: OpenTelemetry's collector, Jaeger, Tempo, or a service."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint` is its URL, with `/v1/traces` or without any path.

        The variables of OpenTelemetry (OTEL_EXPORTER_OTLP_HEADERS, ..._CERTIFICATE, ..._TIMEOUT) hold for it.
        """
        try:
            parts = urlsplit(endpoint)
        except ValueError as error:
            raise NotTaken(f"{told(endpoint)}: expected the URL of a receiver, found: {error}") from error
        self.url = endpoint if parts.path.strip("/") else urlunsplit(parts._replace(path=TRACES_PATH))
        self._exporter = trace_exporter.OTLPSpanExporter(self.url)

    def take(self, made: Sequence[ReadableSpan]) -> None:
        """Send spans. Raises NotTaken."""
        for first in range(0, len(made), AT_ONCE):
            with _reasons() as reasons:
                result = self._exporter.export(made[first : first + AT_ONCE])
            if result is not SpanExportResult.SUCCESS:
                why = reasons[0] if reasons else "it gives no reason"
                raise NotTaken(
                    f"{told(self.url)}: expected a receiver of OTLP/HTTP that takes traces, found none: {why}"
                )

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


@contextmanager
def _reasons() -> Iterator[list[str]]:
    """Collect what the exporter logs, the only place where it says why it failed."""
    reasons: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        reasons.append(record.getMessage())
        return False

    logger = logging.getLogger(trace_exporter.__name__)
    logger.addFilter(keep)
    try:
        yield reasons
    finally:
        logger.removeFilter(keep)
