"""Says what a record of wf-events becomes: a record of the sink's topic, nothing, or a dead letter.

The outputs depend on the record, on the definitions, and on the WfSpec of its WfRun, which `WfSpecsOfRuns` knows from
earlier records of the partition.
"""

import json
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from halter.client.log_records import entry_in
from halter.show.plain import plain
from halter.sinks.changes import Masks, document, status_after, written
from halter.sinks.document import NAMES
from halter.sinks.model import ALL, STATUS, VARIABLES, Sink
from halter.sinks.wf_specs import WfSpecsOfRuns
from halter.transform import Output, SourceRecord, dead_letter
from halter.transform.pending import Place
from halter.transform.templates import GivenValues, rendered
from processors.codec import Codec
from processors.core.records.events import LogEntry, WfRunDeleted, WfRunStarted
from processors.core.records.model import WfSpecId
from processors.core.records.values import ValueProblem
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.expressions import condition
from processors.fold.inputs import MappingKind
from processors.kafka.topics import Topics

UNCOMPUTABLE = "UNCOMPUTABLE"
"""Code of a dead letter: an expression has no value for this event."""


class SinkMapping:
    """The RecordMapping of a sink."""

    def __init__(
        self,
        sink: Sink,
        wf_specs: WfSpecsOfRuns,
        definitions: Callable[[], Definitions],
        topics: Topics,
        codec: Codec,
    ) -> None:
        """`definitions` returns those that there are now."""
        self._sink, self._wf_specs, self._topics, self._codec = sink, wf_specs, topics, codec
        self._definitions, self._masks, self._position = definitions, Masks(Definitions()), -1

    @property
    def sources(self) -> Sequence[str]:
        """The log."""
        return [self._topics.wf_events]

    @property
    def destinations(self) -> Sequence[str]:
        """The topic of the sink."""
        return [self._sink.topic]

    def begins(self, places: Collection[Place]) -> None:
        """Learn what is needed to map partitions that are about to be read."""
        for _, partition in places:
            self._wf_specs.begin(partition)

    def outputs(self, record: SourceRecord) -> Sequence[Output]:
        """Return what a record becomes. Raises LaterRelease, RegistryUnavailable, KafkaUnavailable."""
        entry = entry_in(self._codec, record.value or b"", lambda: record.place)
        if entry.cause.definitions_position > self._position:
            # It was decided by definitions that are not known here yet. They say what is masked.
            self._masks = Masks(self._definitions())
            self._position = entry.cause.definitions_position
        if isinstance(entry.event, WfRunStarted):
            self._wf_specs.started(record.partition, entry)
        wf_spec = self._wf_specs.of(record.partition, entry)
        if isinstance(entry.event, WfRunDeleted):
            self._wf_specs.deleted(record.partition, entry)
        if not self._is_wanted(entry, wf_spec):
            return []
        return self._told(record, entry, wf_spec)

    def dead_letter(self, record: SourceRecord, code: str, message: str) -> Output:
        """Return a dead letter without a value: the event stays on the log, and its bytes have what is masked in it."""
        without_value = record._replace(value=None)
        return dead_letter(self._topics, self._sink.name, without_value, code, message, MappingKind.SINK)

    def _is_wanted(self, entry: LogEntry, wf_spec: WfSpecId | None) -> bool:
        sink, event = self._sink, entry.event
        if sink.wf_specs is not None and (wf_spec is None or wf_spec.name not in sink.wf_specs):
            return False
        if ALL in sink.events or type(event).__name__ in sink.events:
            return True
        if STATUS in sink.events and (status_after(event) is not None or isinstance(event, WfRunDeleted)):
            return True
        if VARIABLES not in sink.events:
            return False
        names = written(event).keys()
        return bool(names) if sink.variables is None else not names.isdisjoint(sink.variables)

    def _told(self, record: SourceRecord, entry: LogEntry, wf_spec: WfSpecId | None) -> list[Output]:
        sink = self._sink
        data: Any = document(entry, None if wf_spec is None else wf_spec.name, self._masks.of(wf_spec), sink.variables)
        try:
            scope = GivenValues({name: partial(data.get, name) for name in NAMES})
            if sink.when is not None and not condition(sink.when, scope):
                return []
            if sink.value is not None:
                data = plain(rendered(sink.value, scope))
        except ValueProblem as problem:
            return [self.dead_letter(record, UNCOMPUTABLE, f"{type(entry.event).__name__}: {problem}")]
        value = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
        headers = (("event", type(entry.event).__name__.encode()), ("source", record.place.encode()))
        return [Output(sink.topic, entry.wf_run_id.encode(), value, headers, None, entry.time_ms)]
