"""Makes the data of a timeline: what is in the page beside its scripts.

It folds the events with `evolve`, one after the other, and notes for each event what it changed. The state is a flat
set of fields: `r.status` is the status of the WfRun, `t3.node` the node of thread 3, `v3.total` its Variable `total`,
and `x2.status` the status of the third ExternalEvent. A change is a field and its new value; null means that the field
is gone. The page keeps the changes of each field in order, so it finds the state at any event without folding.

It is given the events as they may be seen: whoever calls it has taken masked values out of them. It runs no rule on the
state, and asks `halter.history.why` why each thread does not move.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from halter.client.history import is_whole, lives
from halter.history.logged import Logged
from halter.history.origins import Origins
from halter.history.why import why
from halter.history.why_text import sentences
from halter.show.history import cause_text
from halter.show.log_text import failure_text, thread_of, what_happened
from halter.show.plain import plain
from halter.show.times import iso
from halter.show.waiting_text import NO_BREAK, wait_text
from halter.timeline.texts import cut, plain_text, sentence, value_text
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    Event,
    ExternalEventDropped,
    ExternalEventPosted,
    Halt,
    HaltReasonResolved,
    InterruptAccepted,
    InterruptDropped,
    InterruptSuperseded,
    NodeCompleted,
    NodeFailed,
    Resume,
    SpawnChild,
    ThreadFailed,
    WfRunForked,
    WfRunMigrated,
    WfRunStarted,
)
from processors.core.records.model import (
    TERMINAL,
    Changes,
    ExternalEventKey,
    HaltedByParent,
    HaltReason,
    HandlingFailure,
    Interrupted,
    ParentHalted,
    PendingInterrupt,
    TaskRunStatus,
    ThreadRun,
    ThreadType,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.records.values import Value
from processors.core.rules.context import WfSpecLookup
from processors.core.rules.evolve import evolve, new_run
from processors.core.rules.waiting import waits_of

FORMAT: Final = 1
"""The version of the data. The page refuses another one."""

EXPLAINED_MAX: Final = 32
"""After an event, all threads are asked why they do not move, if they are no more than this. If they are more, only
those near a change are asked what they wait for."""

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "ExternalEvents": ("ExternalEventPosted", "ExternalEventDropped", "CorrelationKeyChanged"),
    "Halts": (
        "Halt", "ThreadHalted", "Resume", "HaltReasonResolved", "InterruptAccepted", "InterruptDropped",
        "InterruptSuperseded",
    ),
    "Threads": (
        "WfRunStarted", "WfRunForked", "WfRunMigrated", "WfRunDeleted", "WfRunEnded", "SpawnChild", "ThreadCompleted",
        "ThreadFailed", "ThreadRetired", "ThreadRescued", "ChildFailureHandled",
    ),
    "Nodes": (
        "NodeCompleted", "NodeFailed", "ArrivalFailed", "TimerArmed", "TimerMatured", "WaitStarted",
        "WorkflowEventThrown",
    ),
    "Tasks": ("TaskAttemptRequested", "TaskAttemptStarted", "TaskAttemptProgressed", "TaskAttemptEnded"),
    "Refused": ("Rejected", "Ignored"),
    "Operators": (
        "WfRunQuarantined", "InputKept", "WfRunReleased", "SkipAccepted", "SkipLapsed", "RecordSkipped",
    ),
}  # fmt: skip
"""The kinds of events, by what a reader looks for."""


def recording(
    wf_run_id: str, logged: Iterable[Logged], wf_specs: WfSpecLookup, *, where: str = "", masked: bool = True
) -> dict[str, Any]:
    """The data of the last WfRun under an id: of its own events, and of ExternalEvents that came before it.

    `where` says where the events were read, and `masked` whether masked values were taken out of them. If the log no
    longer has the beginning of the WfRun, the page has the events that are left, and no states.
    """
    log = list(logged)
    entries = [it.entry for it in log]
    start, end = lives(entries)[-1]
    recorder = _Recorder(wf_run_id, wf_specs if is_whole(entries[start:end]) else None)
    for it in log[start:end]:
        recorder.take(it)
    return recorder.data(where, masked=masked, earlier=start)


@dataclass(slots=True)
class _Values:
    """The values of the page, each once."""

    texts: list[str | list[Any]] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        """Return the number of a value, given as its JSON."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.texts)
            self.texts.append(cut(text))
        return number


@dataclass(slots=True)
class _Seen:
    """The fields of a thread as they were last noted."""

    fields: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Value] = field(default_factory=dict)


class _Recorder:
    """Folds events and notes what each changes."""

    def __init__(self, wf_run_id: str, wf_specs: WfSpecLookup | None) -> None:
        self._run = new_run(wf_run_id)
        self._origins = Origins()
        self._wf_specs = wf_specs
        self._values = _Values()
        self._causes: dict[str, int] = {}
        self._kinds: dict[str, int] = {}
        self._events: list[list[Any]] = []
        self._threads: dict[int, dict[str, Any]] = {}
        self._external: dict[ExternalEventKey, int] = {}
        self._posted: list[dict[str, Any]] = []
        self._arrows: list[list[Any]] = []
        self._versions: list[str] = []
        """The versions of the WfSpec that the WfRun has gone by, in order."""
        self._seen: dict[int, _Seen] = {}
        self._of_run: dict[str, Any] = {}
        self._of_external: dict[int, dict[str, Any]] = {}

    def take(self, logged: Logged) -> None:
        """Fold one more event."""
        entry = logged.entry
        event, number = entry.event, len(self._events)
        self._introduce(event, number)
        changed: dict[str, Any] = {}
        if self._wf_specs is not None:
            changed = self._fold(logged)
            self._draw(event, number)
        kind = self._kinds.setdefault(type(event).__name__, len(self._kinds))
        cause = self._causes.setdefault(cause_text(entry.cause), len(self._causes))
        thread = thread_of(event)
        self._events.append(
            [
                entry.seq,
                entry.time_ms,
                kind,
                int(thread[1:]) if thread else -1,
                cause,
                sentence(what_happened(event)),
                self._values.number(plain_text(plain(event))),
                changed,
            ]
        )

    def data(self, where: str, *, masked: bool, earlier: int) -> dict[str, Any]:
        """The data of all events that were taken."""
        run = self._run
        groups = {kind: group for group, kinds in GROUPS.items() for kind in kinds}
        return {
            "format": FORMAT,
            "wfRun": sentence(run.wf_run_id),
            "wfSpec": ", then ".join(self._versions) or None,
            "where": sentence(where),
            "masked": masked,
            "earlier": earlier,
            "whole": self._wf_specs is not None,
            "kinds": [[name, groups[name]] for name in self._kinds],
            "groups": [group for group in GROUPS if any(groups[name] == group for name in self._kinds)],
            "causes": [sentence(text) for text in self._causes],
            "values": self._values.texts,
            "threads": list(self._threads.values()),
            "external": self._posted,
            "arrows": self._arrows,
            "events": self._events,
        }

    def _introduce(self, event: Event, number: int) -> None:
        """Note a thread or an ExternalEvent that begins with this event."""
        match event:
            case WfRunStarted():
                named = {"number": 0, "spec": sentence(event.thread_spec), "type": str(ThreadType.ENTRYPOINT)}
                self._threads[0] = named | {"parent": None}
                self._versions = [sentence(str(event.wf_spec))]
            case WfRunMigrated():
                self._versions.append(sentence(str(event.wf_spec)))
            case WfRunForked():
                for row in event.threads[1:]:
                    self._add_thread(row.number, row.thread_spec, row.type, row.parent, row)
                for external in event.external_events:
                    self._add_external(external, number)
            case SpawnChild():
                self._add_thread(event.thread, event.spec, event.type, event.parent, event)
            case ExternalEventPosted():
                self._add_external(event, number)
            case _:
                thread = int(thread_of(event)[1:] or -1)
                if self._wf_specs is None and thread >= 0 and thread not in self._threads:
                    # The log no longer says how it began.
                    self._threads[thread] = {"number": thread, "spec": "", "type": "", "parent": None}

    def _add_thread(
        self, number: int, spec: str, kind: ThreadType, parent: int | None, by: SpawnChild | ThreadRun
    ) -> None:
        told = {"number": number, "spec": sentence(spec), "type": str(kind)}
        told |= {"parent": parent if parent in self._threads else None}
        if by.external_event_id is not None:
            told["by"] = sentence(f"{by.external_event_def} {by.external_event_id}")
        self._threads[number] = told

    def _add_external(self, external: ExternalEventPosted | WfRunExternalEvent, number: int) -> None:
        key = external.external_event_def, external.external_event_id
        self._external[key] = len(self._posted)
        name, event_id = map(sentence, key)
        self._posted.append(
            {"def": name, "id": event_id, "at": number, "content": self._values.number(_json(external.content))}
        )

    def _fold(self, logged: Logged) -> dict[str, Any]:
        """Fold an event; return the fields that it changed."""
        run, event = self._run, logged.entry.event
        evolve(run, logged.entry)
        self._origins.see(logged)
        if isinstance(event, WfRunStarted | WfRunMigrated):
            self._understand()
        changes, run.changes = run.changes, Changes()
        changed = _differing(self._of_run, _wf_run_fields(run), "r.")
        for left in changes.left:
            changed |= self._thread_changes(left)
            changed[f"t{left.number}.gone"] = True
            changed |= self._words(left.number, None)
        for number in changes.threads:
            changed |= self._thread_changes(run.threads[number])
        changed |= self._explained(changes)
        for key in changes.external_events:
            changed |= self._external_changes(key)
        for key in changes.forgotten:
            changed[f"x{self._external[key]}.status"] = None
            self._of_external.pop(self._external[key], None)
        return changed

    def _understand(self) -> None:
        """Give the WfRun its WfSpec, which says what its threads wait for. Without it, less is said."""
        assert self._wf_specs is not None
        assert self._run.wf_spec is not None
        try:
            self._run.spec = self._wf_specs.wf_spec(self._run.wf_spec)
        except HalterError:
            self._run.spec = None

    def _explained(self, changes: Changes) -> dict[str, Any]:
        """Return why threads do not move, where that is another sentence than before."""
        run, changed = self._run, dict[str, Any]()
        if len(run.threads) <= EXPLAINED_MAX:
            told = dict(sentences(why(run, self._origins), run, None))
            for number in run.threads:
                changed |= self._words(number, told.get(number))
            return changed
        for number in self._near(changes.threads | {it.parent for it in changes.left if it.parent is not None}):
            waits = waits_of(run, run.threads[number])
            changed |= self._words(number, "; ".join(wait_text(it, run, run.threads[number], None) for it in waits))
        return changed

    def _near(self, numbers: Iterable[int]) -> Sequence[int]:
        """The live threads that may have to say something else when these have changed."""
        run, near = self._run, set[int]()
        for number in numbers:
            thread = run.threads.get(number)
            near.update(run.index.waited_for.get(number, ()))
            if thread is not None:
                near.add(number)
                near.update(it.number for it in run.ancestors(thread))
                near.update(it.number for it in run.dependents(thread))
        return sorted(near & run.threads.keys())

    def _thread_changes(self, thread: ThreadRun) -> dict[str, Any]:
        number = thread.number
        seen = self._seen.setdefault(number, _Seen())
        changed = _differing(seen.fields, self._thread_fields(thread), f"t{number}.")
        for name, value in thread.variables.items():
            if name not in seen.variables or seen.variables[name] is not value:
                seen.variables[name] = value
                changed[f"v{number}.{sentence(name)}"] = self._values.number(_json(value))
        for name in [it for it in seen.variables if it not in thread.variables]:  # a migration took it away
            del seen.variables[name]
            changed[f"v{number}.{sentence(name)}"] = None
        return changed

    def _thread_fields(self, thread: ThreadRun) -> dict[str, Any]:
        node, fields = thread.node, dict[str, Any]()
        fields["status"] = str(thread.status)
        fields["node"] = sentence(node.node)
        fields["position"] = node.position
        fields["reasons"] = [sentence(str(reason)) for reason in thread.halt_reasons] or None
        if node.task is not None and node.task.status is not TaskRunStatus.DONE and thread.status not in TERMINAL:
            state = "" if node.task.status is TaskRunStatus.OUT else ", backs off"
            fields["task"] = sentence(f"{node.task.task_def}, attempt {node.task.attempt}{state}")
        if node.timer is not None and thread.status not in TERMINAL:
            fields["timer"] = f"{node.timer.kind} {iso(node.timer.due_ms)}"
        if thread.failure is not None:
            fields["failure"] = sentence(failure_text(thread.failure))
        if thread.output is not None:
            fields["output"] = self._values.number(_json(thread.output))
        return fields

    def _words(self, number: int, words: str | None) -> dict[str, Any]:
        shown = None if not words else sentence(words.replace(NO_BREAK, " "))
        seen = self._seen.setdefault(number, _Seen())
        if shown == seen.fields.get("why"):
            return {}
        seen.fields["why"] = shown
        return {f"t{number}.why": shown}

    def _external_changes(self, key: ExternalEventKey) -> dict[str, Any]:
        number, event = self._external[key], self._run.external_events[key]
        told: dict[str, Any] = {"status": str(event.status)}
        if event.outcomes:
            told["outcomes"] = [f"#{it.thread} {it.status}" for it in event.outcomes]
        return _differing(self._of_external.setdefault(number, {}), told, f"x{number}.")

    def _draw(self, event: Event, number: int) -> None:
        """Note the arrows that begin or end with this event: from where, to which thread, and what happened."""
        for source, thread, what in _arrows(event):
            start = source if isinstance(source, int) else f"x{self._external[source]}"
            if isinstance(source, int) and source not in self._threads:
                continue
            self._arrows.append([number, start, thread, what])


def _arrows(event: Event) -> Iterator[tuple[int | ExternalEventKey, int, str]]:
    """Yield from which thread or ExternalEvent an event leads to a thread, and what happened."""
    match event:
        case SpawnChild():
            yield event.parent, event.thread, "starts"
        case Halt(thread=number, reason=PendingInterrupt() as reason):
            yield (reason.external_event_def, reason.external_event_id), number, "interrupts"
        case Halt(thread=number, reason=ParentHalted(parent=holder) | HaltedByParent(parent=holder)):
            yield holder, number, "halts"
        case InterruptAccepted():
            yield (event.external_event_def, event.external_event_id), event.thread, "interrupts"
        case Resume(thread=number, reason=reason) | HaltReasonResolved(thread=number, reason=reason):
            by = _freed_by(reason)
            if by is not None:
                yield by, number, "resumes" if isinstance(event, Resume) else "lets go"
        case NodeCompleted() | NodeFailed():
            if event.external_event_def is not None and event.external_event_id is not None:
                yield (event.external_event_def, event.external_event_id), event.thread, "is taken"
        case ThreadFailed():
            if event.failure.cause_thread is not None:
                yield event.failure.cause_thread, event.thread, "fails"
        case InterruptDropped() | InterruptSuperseded() | ExternalEventDropped() | _:
            pass


def _freed_by(reason: HaltReason | None) -> int | None:
    """The thread whose end or resume took a halt reason off."""
    match reason:
        case Interrupted(handler=number) | HandlingFailure(handler=number) | ParentHalted(parent=number):
            return number
        case _:
            return None


def _wf_run_fields(run: WfRun) -> dict[str, Any]:
    fields: dict[str, Any] = {"status": None if run.status is None else str(run.status)}
    if run.wf_spec is not None:
        fields["wfSpec"] = sentence(str(run.wf_spec))
    if run.quarantined_ms is not None:
        fields["quarantined"] = iso(run.quarantined_ms)
    if run.kept_inputs:
        fields["kept"] = len(run.kept_inputs)
    return fields


def _differing(seen: dict[str, Any], told: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the fields that are told and were not seen so, and those that were seen and are gone. Remembers them."""
    changed = {name: value for name, value in told.items() if seen.get(name) != value}
    changed |= {name: None for name in seen if name != "why" and seen[name] is not None and name not in told}
    seen.update(changed)
    return {prefix + name: value for name, value in changed.items()}


def _json(value: Value) -> str:
    return value_text(value)
