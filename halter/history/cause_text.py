"""Says in words and as data what a record was and what it caused, which `tracing` finds out.

external-events[3]@4711 at 2026-01-01T00:00:04.210Z: C  ExternalEvent        cart-1  item-added e2
it caused 5 events of cart-1:
   57  E  ExternalEventPosted  item-added e2
"""

from collections.abc import Iterator
from typing import Any, get_args

from halter.history.logged import Logged
from halter.history.origins import Origin
from halter.history.record_text import place_text, record_text
from halter.history.tracing import Back, Traced
from halter.show.history import cause_text, entry_data, seq_text
from halter.show.log_text import command_line, event_line
from halter.show.plain import plain
from halter.show.times import iso
from processors.core.records.commands import Command
from processors.core.records.events import DefinitionAccepted, LogEntry, TaskCancellation, TaskRequest, WfRunForked
from processors.fold.inputs import InputRecord

EVENTS_MAX = 200
"""Most events that are told of one record. The others are counted; `--json` has all."""


def traced_lines(told: Traced) -> Iterator[str]:
    """The lines about an input record and what it caused."""
    yield f"{place_text(*told.place)}{_when(told)}: {_what(told)}"
    if told.asked is not None:
        yield f"asked for by event {seq_text(told.asked.entry)}: {_event(told.asked)}"
    if told.definition is not None:
        outcome = told.definition
        words = "accepted" if isinstance(outcome, DefinitionAccepted) else f"rejected: {outcome.message}"
        yield f"it was {words}"
        return
    events = told.effects.events
    if not events:
        yield "it is not on the log: it caused nothing yet, is a dead letter, or the log no longer has its events"
        return
    for fork in (it.entry.event for it in events if isinstance(it.entry.event, WfRunForked)):
        source, seq = fork.source_wf_run_id, fork.source_seq
        yield f"it goes on from event {seq} of {source}: `halter cause --wf-run {source} --event {seq}`"
    yield f"it caused {_number(len(events), 'event')} of {told.wf_run_id}:"
    yield from (f"  {seq_text(it.entry):>6}  {event_line(it.entry.event)}" for it in events[:EVENTS_MAX])
    if len(events) > EVENTS_MAX:
        yield f"  and {len(events) - EVENTS_MAX} more"
    if told.effects.answers:
        yield "what came back for these:"
    for answer in told.effects.answers:
        entry = answer.event.entry
        origin = Origin(entry.seq, entry.time_ms, answer.event.offset, entry.cause, entry.event, entry.event)
        yield (
            f"  {seq_text(answer.effect.entry):>6}  {_event(answer.effect)}: {record_text(origin)}, event "
            f"{seq_text(entry)}"
        )


def back_line(told: Back, place: tuple[str, int, int]) -> str:
    """The line about something that was caused: what it is, and which event wrote it."""
    here = place_text(*place)
    by = "" if told.event is None else f" of event {seq_text(told.event.entry)} of {told.wf_run_id}"
    match told.what:
        case LogEntry():
            return f"{here} is event {seq_text(told.what)} of {told.wf_run_id}: {_event(Logged(None, told.what))}"
        case TaskRequest():
            attempt = f"attempt {told.what.attempt} in #{told.what.thread}"
            return f"{here} is the TaskRequest for {told.what.task_def}, {attempt}{by}"
        case TaskCancellation():
            attempt = f"attempt {told.what.attempt} in #{told.what.thread}"
            return f"{here} is the TaskCancellation ({told.what.reason}) of {told.what.task_def}, {attempt}{by}"
        case InputRecord():
            return f"{here} is a dead letter"
        case _:
            return f"{here} is a {type(told.what).__name__}{by}"


def _when(told: Traced) -> str:
    """The time at which Kafka appended the record, and its key."""
    return "" if told.record is None else f" at {iso(told.record.timestamp_ms)}"


def _what(told: Traced) -> str:
    if told.problem is not None:
        return f"a dead letter: {told.problem}"
    if told.record is None:
        first = told.effects.events[0].entry if told.effects.events else None
        named = "" if first is None else f", {cause_text(first.cause)} in the log"
        return f"the record is not there any more{named}"
    if isinstance(told.command, get_args(Command)):
        return _unpadded(command_line(told.command))
    return type(told.command).__name__


def _event(logged: Logged) -> str:
    return _unpadded(event_line(logged.entry.event))


def _unpadded(line: str) -> str:
    """The line of a command or event without its letter, and without the column of its name."""
    name, _, rest = line[3:].partition(" ")
    return f"{name} {rest.lstrip()}".rstrip()


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def traced_data(told: Traced) -> dict[str, Any]:
    """An input record and what it caused, as plain JSON data."""
    topic, partition, offset = told.place
    found = told.record
    return {
        "record": {"topic": topic, "partition": partition, "offset": offset},
        "time": None if found is None else iso(found.timestamp_ms),
        "key": None if found is None or found.key is None else found.key.decode(errors="replace"),
        "command": None if told.command is None else type(told.command).__name__,
        "fields": plain(told.command),
        "dead_letter": told.problem,
        "wf_run_id": told.wf_run_id,
        "asked_for_by": _logged_data(told.asked),
        "events": [_logged_data(it) for it in told.effects.events],
        "answers": [
            {"effect": it.effect.entry.seq, "event": _logged_data(it.event)} for it in told.effects.answers
        ],
        "definition": None if told.definition is None
        else {"outcome": type(told.definition).__name__, **plain(told.definition)},
    }  # fmt: skip


def _logged_data(logged: Logged | None) -> dict[str, Any] | None:
    return None if logged is None else {"offset": logged.offset, **entry_data(logged.entry)}
