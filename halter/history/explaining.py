"""Explains a difference: the two events, and the states after them, without masked values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from halter.client.history import is_whole, lives
from halter.history.difference import Change, differences, value_changes
from halter.history.found import Difference, Kind
from halter.history.source import Source
from halter.show.plain import plain
from halter.show.redaction import Redactor
from processors.codec import Codec, DecodeError
from processors.core.records.events import LogEntry
from processors.core.records.model import WfRun
from processors.core.rules.context import WfSpecLookup
from processors.core.rules.evolve import new_run, replay


@dataclass(frozen=True, slots=True)
class Explained:
    """A difference with what people need to understand it."""

    difference: Difference
    recorded: LogEntry | None
    decided: LogEntry | None
    fields: Sequence[Change] = ()
    """What differs between the two events, if they are of one kind."""
    state: Sequence[Change] = ()
    """What differs between the states after them."""
    notes: Sequence[str] = field(default_factory=list)


def explained(
    difference: Difference, source: Source, definitions: WfSpecLookup, codec: Codec, *, unmask: bool = False
) -> Explained:
    """Explain a difference with the events that a source has of its WfRun. `definitions` tell what is masked."""
    recorded, decided = (_entry(value, codec) for value in (difference.recorded, difference.decided))
    before, whole = _before(difference, source)
    notes: list[str] = []
    states: list[WfRun | None] = []
    shown: list[LogEntry | None] = []
    for entry in (recorded, decided):
        entries = [*before, *([] if entry is None else [entry])]
        if not unmask:
            entries = Redactor(definitions).entries(entries)
        shown.append(None if entry is None else entries[-1])
        states.append(_state(difference.wf_run_id, entries) if whole else None)
    fields = list(_fields(*shown))
    if not fields and difference.kind is Kind.OTHER_VALUE:
        notes.append("a masked value differs: --unmask shows it")
    one, other = states
    changes = differences(one, other) if one is not None and other is not None else []
    if one is None or other is None:
        notes.append("the states cannot be told: the log does not have all events of the WfRun before this one")
    return Explained(difference, shown[0], shown[1], fields, changes, notes)


def _entry(value: bytes | None, codec: Codec) -> LogEntry | None:
    try:
        entry = None if value is None else codec.decode(value)
    except DecodeError:
        return None
    return entry if isinstance(entry, LogEntry) else None


def _before(difference: Difference, source: Source) -> tuple[list[LogEntry], bool]:
    """Return the events of the WfRun before a difference, and whether they are all that count."""
    entries: list[LogEntry] = []
    of_cause = 0
    found = False
    for logged in source.events(difference.wf_run_id, previous=True):
        if difference.offset is not None and logged.offset is not None and logged.offset >= difference.offset:
            found = True
            break
        is_of_cause = logged.entry.cause == difference.cause
        if (of_cause and not is_of_cause) or (is_of_cause and of_cause >= difference.before):
            found = True
            break
        of_cause += is_of_cause
        entries.append(logged.entry)
    if not found and not of_cause:
        return [], False
    if not entries:
        return [], True
    begin, _ = lives(entries)[-1]
    return list(entries[begin:]), is_whole(entries[begin:])


def _state(wf_run_id: str, entries: Iterable[LogEntry]) -> WfRun | None:
    try:
        return replay(entries, new_run(wf_run_id))
    except Exception:  # noqa: BLE001  an event that was never decided may fit no state
        return None


def _fields(recorded: LogEntry | None, decided: LogEntry | None) -> Iterable[Change]:
    if recorded is None or decided is None or type(recorded.event) is not type(decided.event):
        return ()
    return value_changes((), plain(recorded), plain(decided))
