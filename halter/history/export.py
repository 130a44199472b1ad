"""Writes an export: WfRuns with their events, the records that caused them, and the definitions that they use.

One file says everything that debugging needs, so a bug report is one file. Masked values are replaced by `tokens`
unless the export is clear. Events are written as they are read, with the inputs of EVENTS_AT_ONCE of them at a time.
"""

import gzip
import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from halter import DISTRIBUTION
from halter.files.whole_file import whole_file
from halter.history import export_form as form
from halter.history.logged import Logged
from halter.history.moments import has_beginning
from halter.history.source import NoSuchWfRun, Place, Source, events_about_skips
from halter.history.tokens import Tokens
from halter.show.plain import plain
from halter.show.redaction import RedactedLog, Redactor
from halter.show.times import iso
from processors.codec import Codec, CodecError
from processors.codec.framing import SingleObject
from processors.core.records.commands import DefinitionKind, ExternalEvent, ForkWfRun, RunWf, RunWfAndPost
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    Cause,
    Definition,
    ExternalEventPosted,
    InputKept,
    LogEntry,
    RecordSkipped,
    TaskAttemptRequested,
    WfRunForked,
    WfRunMigrated,
    WfRunStarted,
)
from processors.core.records.model import ThreadRun, WfRunExternalEvent, WfSpecId
from processors.core.records.values import Value
from processors.core.wf_spec.definitions import Definitions
from processors.fold.inputs import InputRecord, partition_key

EVENTS_AT_ONCE: Final = 500
COMPRESSION: Final = 6


@dataclass(slots=True)
class Written:
    """What an export has."""

    wf_runs: int = 0
    events: int = 0
    inputs: int = 0
    inputs_gone: int = 0
    """Records that caused events and are not on their topics any more."""
    definitions: int = 0
    masked: int = 0
    """Values that were replaced by tokens."""


def export(
    source: Source, wf_run_ids: Iterable[str], file: Path, now_ms: int, *, clear: bool = False, previous: bool = False
) -> Written:
    """Write an export. The file appears when it is complete. Raises NoSuchWfRun, CannotWrite and what `source` raises.

    `clear` leaves masked values as they are. `previous` adds earlier WfRuns of each id.
    """
    # Without name and time, the same export has the same bytes but for its tokens.
    with whole_file(file) as raw, gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as packed:
        return _Export(source, packed, now_ms, clear=clear).write(wf_run_ids, previous=previous)


class _Export:
    """Writes the lines of one export."""

    def __init__(self, source: Source, target: gzip.GzipFile | BinaryIO, now_ms: int, *, clear: bool) -> None:
        self._source, self._target, self._now_ms, self._clear = source, target, now_ms, clear
        self._codec = Codec.load()
        self._definitions = source.definitions()
        self._tokens = Tokens()
        self._redactor = Redactor(self._definitions, self._hide)
        self._written = Written()
        self._inputs: set[Place] = set()
        self._skips: set[Place] = set()
        """The records that were skipped, as events of WfRuns say."""
        self._schemas: set[bytes] = set()
        self._names: set[tuple[DefinitionKind, str]] = set()
        """The definitions that events and inputs name."""
        self._lines = 0

    def _hide(self, value: Value) -> Value:
        self._written.masked += 1
        return self._tokens(value)

    def write(self, wf_run_ids: Iterable[str], *, previous: bool) -> Written:
        ids = list(dict.fromkeys(wf_run_ids))
        self._line(
            form.HEADER,
            format=form.FORMAT,
            halter=version(DISTRIBUTION),
            made=iso(self._now_ms),
            partitions=self._source.partitions,
            limits=asdict(self._source.limits),
            masked=not self._clear,
            wf_runs=ids,
        )
        for wf_run_id in ids:
            self._wf_run(wf_run_id, previous=previous)
        for partition in sorted({partition for _, partition, _ in self._skips}):
            if partition_key(partition) not in ids:
                self._line(form.PARTITION, number=partition)
                self._write_events(_chunks(events_about_skips(self._source, partition, self._skips)))
        self._write_definitions()
        told = asdict(self._written)
        self._line(form.END, lines=self._lines, **told)
        return self._written

    def _line(self, kind: str, **fields: Any) -> None:
        text = json.dumps({"kind": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
        self._target.write(text.encode() + b"\n")
        self._lines += 1

    def _wf_run(self, wf_run_id: str, *, previous: bool) -> None:
        events = self._source.events(wf_run_id, previous=previous or not has_beginning(self._source, wf_run_id))
        at_once = list(islice(events, EVENTS_AT_ONCE))
        if not at_once:
            raise NoSuchWfRun(f"the log has no event of a WfRun '{wf_run_id}' {self._source.where}", wf_run_id)
        self._line(form.WF_RUN, id=wf_run_id)
        self._written.wf_runs += 1
        self._write_events(_chunks(chain(at_once, events)))

    def _write_events(self, chunks: Iterator[list[Logged]]) -> None:
        for logged, log in self._judged(chunks):
            self._write_inputs_of(logged.entry, log)
            entry = logged.entry if log is None else replace(logged.entry, event=self._redacted(logged, log))
            self._note(entry.event)
            if isinstance(entry.event, RecordSkipped):
                self._skips.add(_place(entry.cause))
            told = {} if entry.asked is None else plain(entry.asked)
            self._line(form.EVENT, offset=logged.offset, rules=logged.rules, value=self._encoded(entry), **told)
            self._written.events += 1

    def _judged(self, chunks: Iterator[list[Logged]]) -> Iterator[tuple[Logged, RedactedLog | None]]:
        """Yield events, and what takes masked values out of each; and read the inputs of a chunk before its events."""
        self._found: dict[Place, InputRecord] = {}
        waiting: deque[Logged] = deque()

        def entries() -> Iterator[LogEntry]:
            for chunk in chunks:
                self._found |= self._source.records({_place(it.entry.cause) for it in chunk} - self._inputs)
                waiting.extend(chunk)
                yield from (it.entry for it in chunk)

        if self._clear:
            for _ in entries():
                yield waiting.popleft(), None
            return
        for entry, log in self._redactor.judged(entries()):
            logged = waiting.popleft()
            assert logged.entry is entry
            yield logged, log

    def _redacted(self, logged: Logged, log: RedactedLog) -> Any:
        event = logged.entry.event
        if isinstance(event, InputKept):
            value, _ = self._value(event.value, logged.entry, log)
            return replace(event, value=value, headers=[])
        return log.redact(event)

    def _write_inputs_of(self, entry: LogEntry, log: RedactedLog | None) -> None:
        """Write the record that caused an event, before the first of its events."""
        place = _place(entry.cause)
        if place in self._inputs:
            return
        self._inputs.add(place)
        record = self._found.pop(place, None)
        if record is None:
            self._written.inputs_gone += 1
            return
        value, how = (None, form.AS_IT_WAS) if record.value is None else self._value(record.value, entry, log)
        headers = record.headers if log is None or how != form.MASKED else ()
        self._line(
            form.INPUT,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            time_ms=record.timestamp_ms,
            key=form.packed(record.key),
            value=form.packed(value),
            headers=[[name, form.packed(data)] for name, data in headers],
            **{"as": how},
        )
        self._written.inputs += 1

    def _value(self, value: bytes, entry: LogEntry, log: RedactedLog | None) -> tuple[bytes, str]:
        """Return the value of an input for the export, and what was done to it."""
        try:
            command = self._source.codec.decode(value)
        except CodecError:
            return (value, form.AS_IT_WAS) if log is None else (bytes(str(self._hide(value)), "utf-8"), form.MASKED)
        self._note(command)
        if log is not None:
            started = entry.event.thread_spec if isinstance(entry.event, WfRunStarted) else None
            before = self._written.masked
            masked = log.command(command, started)
            if self._written.masked > before:
                value = self._codec.encode(masked)
                self._schema_of(value)
                return value, form.MASKED
        if value.startswith(SingleObject.MARKER):
            self._schema_of(value)
            return value, form.AS_IT_WAS
        value = self._codec.encode(command)
        self._schema_of(value)
        return value, form.REFRAMED

    def _encoded(self, entry: LogEntry | Definition) -> str | None:
        value = self._codec.encode(entry)
        self._schema_of(value)
        return form.packed(value)

    def _schema_of(self, value: bytes) -> None:
        """Write the schema of a value, before the first value that has it."""
        schema = self._codec.framing.schema(value)
        if schema.fingerprint not in self._schemas:
            self._schemas.add(schema.fingerprint)
            self._line(form.SCHEMA, name=schema.name, fingerprint=schema.fingerprint.hex(), schema=schema.schema)

    def _note(self, told: object) -> None:
        """Note the definitions that an event or a command names."""
        match told:
            case WfRunStarted() | WfRunMigrated():
                self._names.add((DefinitionKind.WF_SPEC, told.wf_spec.name))
            case ForkWfRun():
                self._names.add((DefinitionKind.WF_SPEC, told.snapshot.wf_spec.name))
                self._note_rows(told.snapshot.external_events, told.snapshot.threads)
            case WfRunForked():
                self._note_rows(told.external_events, told.threads)
            case RunWf():
                self._names.add((DefinitionKind.WF_SPEC, told.wf_spec_name))
            case RunWfAndPost():
                self._names.add((DefinitionKind.WF_SPEC, told.wf_spec_name))
                self._names.add((DefinitionKind.EXTERNAL_EVENT_DEF, told.external_event_def))
            case ExternalEvent() | ExternalEventPosted():
                self._names.add((DefinitionKind.EXTERNAL_EVENT_DEF, told.external_event_def))
            case TaskAttemptRequested():
                self._names.add((DefinitionKind.TASK_DEF, told.task_def))
            case _:
                pass

    def _note_rows(self, events: Iterable[WfRunExternalEvent], threads: Iterable[ThreadRun]) -> None:
        """Note the definitions that the rows name with which a fork starts."""
        self._names.update((DefinitionKind.EXTERNAL_EVENT_DEF, it.external_event_def) for it in events)
        tasks = (it.node.task for it in threads)
        self._names.update((DefinitionKind.TASK_DEF, it.task_def) for it in tasks if it is not None)

    def _write_definitions(self) -> None:
        """Write all versions of the definitions that were named, and of those that a WfSpec among them names."""
        names = set(self._names)
        for kind, name in self._names:
            if kind is DefinitionKind.WF_SPEC:
                names |= _named_by_any_version(self._definitions, name)
        for offset, definition in self._source.definition_records():
            if (definition.kind, definition.name) in names:
                self._line(form.DEFINITION, offset=offset, value=self._encoded(definition))
                self._written.definitions += 1


def _named_by_any_version(definitions: Definitions, name: str) -> set[tuple[DefinitionKind, str]]:
    named: set[tuple[DefinitionKind, str]] = set()
    for it in definitions.versions(DefinitionKind.WF_SPEC, name):
        try:
            named |= definitions.named_by(WfSpecId(name, it.major, it.revision))
        except HalterError:  # this version of Halter cannot read it, and will say so when it is needed
            continue
    return named


def _chunks(events: Iterator[Logged]) -> Iterator[list[Logged]]:
    while chunk := list(islice(events, EVENTS_AT_ONCE)):
        yield chunk


def _place(cause: Cause) -> Place:
    return cause.topic, cause.partition, cause.offset
