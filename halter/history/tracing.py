"""Follows a record through a Source: what it was, what it caused, and what it was asked for by.

`causes` has what is pure about it. Here it is decided what to read: the record, and the log of the WfRun that its key
names. Where the record is gone, the log still says what it caused.
"""

from collections.abc import Iterator
from dataclasses import replace

from halter.client.log_records import definition_outcome, log_entry
from halter.client.reading import FROM_THE_START
from halter.history.causes import (
    Effects,
    asked_by,
    effects_of,
    origin_of_dead_letter,
    origin_of_kept,
    place_of,
    written_by,
)
from halter.history.live import Live
from halter.history.logged import Logged
from halter.history.outside import record_at
from halter.history.source import Place, Source
from halter.show.masking import UNKNOWN
from halter.show.redaction import RedactedLog, Redactor, hidden
from processors.codec import CodecError
from processors.core.records.commands import TaskWorkerCommand, TimerFired
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    DefinitionAccepted,
    DefinitionRejected,
    LogEntry,
    TaskRequest,
    WfRunStarted,
)
from processors.core.records.model import KeptInput
from processors.core.records.record import record
from processors.core.records.topic_names import DEAD_LETTERS, DEFINITION_COMMANDS
from processors.fold.inputs import INPUT_TOPICS, DeadLetter, InputRecord, read_input


class NoSuchRecord(HalterError):
    """A record is not there, and nothing tells of it. Whoever typed its place corrects it."""


@record
class Traced:
    """An input record and what it caused."""

    place: Place
    record: InputRecord | None
    """None if it is not there any more."""
    command: object | None
    """The record decoded, masked values taken out; None if it is gone or cannot be read."""
    problem: str | None
    """The reason why it cannot be read, as its dead letter says it."""
    wf_run_id: str | None
    """The WfRun that it is about; None for a definition."""
    effects: Effects
    asked: Logged | None
    """The event that asked for it: for a report the request, for a timer what armed it. Masked as the effects are."""
    definition: DefinitionAccepted | DefinitionRejected | None = None
    """For a definition command: its outcome."""


@record
class Back:
    """Something that was caused, on its way back to its record."""

    what: object
    """The log entry, task request or row, or the dead letter as it lies there."""
    place: Place | None
    """The place of the input record; None if nobody knows it."""
    event: Logged | None
    """The event that wrote it; None for a dead letter."""
    wf_run_id: str | None


def traced(source: Source, place: Place, wf_run_id: str | None = None, *, unmask: bool = False) -> Traced:
    """Return an input record and what it caused. Raises NoSuchRecord and NoSuchTopic.

    `wf_run_id` is the WfRun that it is known to be about, in case the record is gone.
    """
    topic, partition, offset = place
    # Of Kafka, `record_at` says what is wrong with the place.
    found = record_at(source.client, *place) if isinstance(source, Live) else source.record(*place)
    if wf_run_id is None and topic != DEFINITION_COMMANDS:
        wf_run_id = _wf_run_of(source, place) if found is None or not found.key else found.key.decode(errors="replace")
    log = [] if wf_run_id is None else list(source.events(wf_run_id, previous=True))
    shown = log if unmask else _shown(source, log)
    effects = effects_of(shown, place)
    definition = _definition_outcome(source, place) if topic == DEFINITION_COMMANDS else None
    if found is None and not effects.events and definition is None:
        raise NoSuchRecord(
            f"expected a record {topic}[{partition}]@{offset} {source.where}, found none, and no event that it caused"
        )
    command, problem = _decoded(source, found)
    asked = asked_by(shown, command) if isinstance(command, TaskWorkerCommand | TimerFired) else None
    if not unmask:
        command = _redacted(source, log, place, command)
    return Traced(place, found, command, problem, wf_run_id, effects, asked, definition)


def _decoded(source: Source, found: InputRecord | None) -> tuple[object | None, str | None]:
    if found is None:
        return None, None
    read = read_input(found, source.codec, source.partitions)
    return (None, f"{read.reason}: {read.message}") if isinstance(read, DeadLetter) else (read, None)


def _shown(source: Source, log: list[Logged]) -> list[Logged]:
    """Return the log without masked values."""
    entries = Redactor(source.definitions()).entries(it.entry for it in log)
    return [replace(logged, entry=entry) for logged, entry in zip(log, entries, strict=True)]


def _shown_at(source: Source, logged: Logged) -> Logged:
    """Return an event of the log without masked values. What comes before it says which of its values are masked."""
    log = list(source.events(logged.entry.wf_run_id, previous=True))
    for shown in _shown(source, log):
        if shown.offset == logged.offset:
            return shown
    event = RedactedLog(UNKNOWN, hidden).redact(logged.entry.event)
    return replace(logged, entry=replace(logged.entry, event=event))


def _redacted(source: Source, log: list[Logged], place: Place, command: object | None) -> object | None:
    """Return a command without its masked values: as it is redacted before the first event that it caused."""
    redactor = Redactor(source.definitions())
    entries = [it.entry for it in log]
    for entry, redacted in redactor.judged(entries):
        if place_of(entry.cause) == place:
            spec = entry.event.thread_spec if isinstance(entry.event, WfRunStarted) else None
            return redacted.command(command, spec)
        redacted.redact(entry.event)
    return RedactedLog(UNKNOWN, hidden).command(command, None)


def _wf_run_of(source: Source, place: Place) -> str | None:
    """Return the WfRun whose log has an event that a record caused; None if none has."""
    if isinstance(source, Live):
        entries = _partition_of_the_log(source, place[1])
        return next((entry.wf_run_id for entry in entries if place_of(entry.cause) == place), None)
    for wf_run_id in source.wf_run_ids():
        if any(place_of(it.entry.cause) == place for it in source.events(wf_run_id, previous=True)):
            return wf_run_id
    return None


def _partition_of_the_log(source: Live, partition: int) -> Iterator[LogEntry]:
    client = source.client
    for message in client.reader.read(client.topics.wf_events, partition, FROM_THE_START):
        yield log_entry(client.codec, message)


def _definition_outcome(source: Source, place: Place) -> DefinitionAccepted | DefinitionRejected | None:
    if not isinstance(source, Live):
        return None
    client = source.client
    for message in client.reader.read(client.topics.definition_events, 0, FROM_THE_START):
        outcome = definition_outcome(client.codec, message)
        if place_of(outcome.cause) == place:
            return outcome
    return None


def back_from(source: Live, place: Place, *, unmask: bool = False) -> Back:
    """Return what lies at a place that is no input, with the event and the input record that brought it about.

    Masked values are taken out of an event unless `unmask` is given. Raises NoSuchRecord and NoSuchTopic.
    """
    topic, partition, offset = place
    found = record_at(source.client, *place)
    if found is None:
        raise NoSuchRecord(f"the record {topic}[{partition}]@{offset} {source.where} is not there any more")
    if topic == DEAD_LETTERS:
        return Back(found, origin_of_dead_letter(found.headers), None, None)
    if found.value is None:
        raise NoSuchRecord(f"{topic}[{partition}]@{offset} {source.where} is a tombstone: the row was deleted")
    try:
        what = source.client.codec.decode(found.value)
    except CodecError as error:
        raise NoSuchRecord(f"{topic}[{partition}]@{offset} {source.where} is no record of ours: {error}") from error
    if isinstance(what, LogEntry):
        event = Logged(offset, what) if unmask else _shown_at(source, Logged(offset, what))
        return Back(event.entry, place_of(what.cause), event, what.wf_run_id)
    if isinstance(what, DefinitionAccepted | DefinitionRejected):
        return Back(what, place_of(what.cause), None, None)
    wf_run_id = getattr(what, "wf_run_id", None)
    if isinstance(what, KeptInput):
        return Back(what, origin_of_kept(what), None, wf_run_id)
    log = [] if wf_run_id is None else list(source.events(wf_run_id, previous=True))
    log = log if unmask else _shown(source, log)
    writer = asked_by(log, what) if isinstance(what, TaskRequest) else written_by(log, what)
    return Back(what, None if writer is None else place_of(writer.entry.cause), writer, wf_run_id)


def is_input(topic: str) -> bool:
    """Return True for a topic whose records cause something."""
    return topic in INPUT_TOPICS
