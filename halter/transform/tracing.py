"""Passes trace contexts through a binding or a sink: what a record becomes carries on the context that it came with.

A record without a context is not traced. Dead letters stay as they are: their headers are untouched. There is no object
of this class if tracing is off.
"""

from collections.abc import Sequence

from opentelemetry.trace import SpanKind

from halter.transform.records import Output, RecordMapping, SourceRecord
from processors.kafka.topics import Topics
from processors.kafka.trace_context import context_of, without_context
from processors.kafka.tracing import DESTINATION, KIND, NAME, OFFSET, PARTITION, SYSTEM, Tracing, context_in


class TracedMapping:
    """Maps records as another mapping does, each in a span."""

    def __init__(self, mapping: RecordMapping, tracing: Tracing, topics: Topics, name: str) -> None:
        self._mapping, self._tracing, self._name = mapping, tracing, name
        self._dead_letters = topics.dead_letters

    @property
    def sources(self) -> Sequence[str]:
        """The topics to read."""
        return self._mapping.sources

    @property
    def destinations(self) -> Sequence[str]:
        """The topics that outputs may go to."""
        return self._mapping.destinations

    def outputs(self, record: SourceRecord) -> Sequence[Output]:
        """Return what a record becomes, with the context of the span in which that was found out."""
        parent = context_of(record.headers)
        if not parent:
            return self._mapping.outputs(record)
        attributes: dict[str, str | int | bool] = {
            SYSTEM: "kafka",
            KIND: "process",
            NAME: "map",
            DESTINATION: record.topic,
            PARTITION: str(record.partition),
            OFFSET: record.offset,
            "halter.mapping": self._name,
        }
        with self._tracing.active(f"map {self._name}", SpanKind.CONSUMER, attributes, parent) as span:
            context = context_in(span)
            return [
                it if it.topic == self._dead_letters else it._replace(headers=(*without_context(it.headers), *context))
                for it in self._mapping.outputs(record)
            ]

    def dead_letter(self, record: SourceRecord, code: str, message: str) -> Output:
        """Return the dead letter of a record whose outputs Kafka refuses."""
        return self._mapping.dead_letter(record, code, message)
