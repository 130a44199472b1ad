"""Makes a scenario document of a history: the same definitions and inputs, and the outcome that was recorded.

The outcome is folded from the recorded events, by `evolve` alone. Whether the rules of this version give it again is
for `scenario_check` to say, which runs the document.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final, NamedTuple

from halter.files.scenario import Scenario
from halter.files.scenario_document import read_scenario
from halter.history.logged import Logged
from halter.history.moments import Moments
from halter.history.scenario_definitions import definitions_of
from halter.history.scenario_outcome import expected_of
from halter.history.source import Source
from halter.history.turns import NoScenario, Turn, last_life, turns_of
from halter.scenarios import found
from halter.scenarios.writing import step_of, text_of
from processors.core.records.commands import (
    DeleteWfRun,
    ForkWfRun,
    RunWf,
    RunWfAndPost,
    TaskWorkerCommand,
    TimerFired,
)
from processors.core.records.events import (
    Event,
    Halt,
    LogEntry,
    Rejected,
    TaskAttemptRequested,
    TaskAttemptStarted,
)
from processors.core.records.model import NO_INCARNATION
from processors.core.records.values import Timestamp, iso_of

_NAMED_FIELDS: Final = ("thread", "node", "status", "code")


class Given(NamedTuple):
    """An input as steps of a document: what is done, and what is expected directly behind it."""

    does: dict[str, Any]
    expects: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A scenario document in its parts."""

    wf_run_id: str
    name: str
    head: dict[str, Any]
    given: Sequence[Given]
    outcome: Sequence[dict[str, Any]]
    """What is expected at the end, one step for each part of it."""
    notes: Sequence[str] = ()
    """What the document lacks, in sentences."""
    tokens: frozenset[tuple[int, str]] = frozenset()
    """The Variables, by thread, whose recorded value is a token in the place of a masked one."""

    @property
    def document(self) -> dict[str, Any]:
        """The document as data."""
        steps = [step for given in self.given for step in (given.does, *given.expects)]
        return {"name": self.name, **self.head, "steps": [*steps, *self.outcome]}

    @property
    def text(self) -> str:
        """The document as YAML."""
        return text_of(self.document)

    def scenario(self) -> Scenario | None:
        """Return the scenario that the document is; None if no such document can be read."""
        return read_scenario(self.document, no_file)[0]


def no_file(name: str) -> object:
    """Refuse to read a file: the WfSpecs of such a document are in it."""
    raise AssertionError(f"a document of a history names no file: {name}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The things that a document may have or not."""

    by_event: bool = False
    """Expect the events of each input, too."""
    to: str | None = None
    """The moment that the last input is to lead to, as `Moments.at` reads it. None: the last one."""
    zone: tzinfo | None = UTC
    """The zone of a time without one. None: that of this machine."""


ALL: Final = Wanted()


def scenario_of(source: Source, wf_run_id: str, wanted: Wanted = ALL) -> Draft:
    """Return the document for the last WfRun of an id.

    Raises NoSuchWfRun, BeginningMissing, NoSuchMoment, NoScenario.
    """
    entries: Sequence[LogEntry] = last_life(source, wf_run_id)
    if wanted.to is not None:
        entries = _up_to(wf_run_id, entries, wanted.to, wanted.zone)
    notes: list[str] = []
    turns = list(turns_of(source, entries, notes))
    if not turns:
        raise NoScenario(f"expected an input of WfRun '{wf_run_id}' that was decided, found none")
    head, later = definitions_of(source, turns)
    start_ms = max(0, turns[0].time_ms)
    head = {"start": iso_of(Timestamp(start_ms)), **head}
    given = list(_given(turns, start_ms, later, notes, by_event=wanted.by_event))
    return Draft(wf_run_id, f"{wf_run_id}, from its history", head, given, *expected_of(wf_run_id, turns, notes))


def _up_to(wf_run_id: str, entries: Sequence[LogEntry], to: str, zone: tzinfo | None) -> Sequence[LogEntry]:
    """Return the events up to a moment, with all that came of the input that led to it."""
    index = Moments(wf_run_id, [Logged(None, it) for it in entries]).at(to, zone)
    if index < 0:
        raise NoScenario(f"--to {to}: expected a moment behind an input, found that before the first event")
    while index + 1 < len(entries) and entries[index + 1].cause == entries[index].cause:
        index += 1
    return entries[: index + 1]


def _given(
    turns: Sequence[Turn],
    start_ms: int,
    later: Mapping[int, list[dict[str, Any]]],
    notes: list[str],
    *,
    by_event: bool,
) -> Iterator[Given]:
    now_ms, wait_ms, left_out, forks, earlier = start_ms, 0, 0, 0, 0
    timers: list[Turn] = []

    def passed() -> Iterator[Given]:
        """Yield the time that has passed since the last step, with the timers that fired in it."""
        nonlocal wait_ms
        if wait_ms or timers:
            yield Given({"clock": f"+{wait_ms}ms"}, [*_expected(timers)] if by_event and timers else [])
        wait_ms = 0
        timers.clear()

    for index, turn in enumerate(turns):
        if index in later:
            yield from passed()
            yield from (Given({"define": define}) for define in later[index])
        if turn.is_without_effect and isinstance(turn.command, DeleteWfRun) and turn.command.incarnation is not None:
            continue  # it was for another WfRun, which a scenario cannot say
        if isinstance(turn.command, TimerFired):
            if turn.is_without_effect:
                continue  # it was stale, and a scenario has no stale timers
            timers.append(turn)
        wait_ms += max(0, turn.time_ms - now_ms)
        now_ms = max(now_ms, turn.time_ms)
        if isinstance(turn.command, ForkWfRun):
            forks += 1  # one that was accepted is no turn at all: see `turns_of`
        if isinstance(turn.command, TimerFired | ForkWfRun):
            continue
        if _can_be_told(turn):
            earlier += any(_is_earlier(entry) for entry in turn.entries)
            yield from passed()
            yield Given(_step(turn), [*_expected([turn])] if by_event else [*_refusal(turn)])
        elif turn.is_refused:
            left_out += 1
        else:
            cause = turn.entries[0].cause
            raise NoScenario(
                f"{cause.topic}[{cause.partition}]@{cause.offset} is about an attempt that is not the newest of its "
                "number: a scenario document cannot tell it from the newest one"
            )
    yield from passed()
    if earlier:
        notes.append(
            f"starts of attempts whose records are older than what was decided before, {earlier} in all: a scenario "
            "document starts them at the time of the WfRun, so they time out later, or count as too late"
        )
    if forks:
        notes.append(f"forks that were rejected are left out, {forks} in all: their source is not in this history")
    if left_out:
        notes.append(
            f"late reports that were rejected are left out, {left_out} in all: a scenario document reports the newest "
            "attempt of a number"
        )


def _step(turn: Turn) -> dict[str, Any]:
    step = step_of(turn.command)
    command = turn.command
    if isinstance(command, RunWf | RunWfAndPost) and turn.is_refused:
        # The version may be why. Where it was accepted, the document has the version that was run and no other.
        version = [str(it) for it in (command.wf_spec_major, command.wf_spec_revision) if it is not None]
        if version:
            start = step["run"] if isinstance(command, RunWf) else step["event"]["start"]
            start["version"] = ".".join(version)
    return step


def _can_be_told(turn: Turn) -> bool:
    """Return True if a step means the attempt that a task worker speaks of: the newest of its thread and number."""
    command = turn.command
    if not isinstance(command, TaskWorkerCommand):
        return True
    for entry in reversed(turn.before):
        event = entry.event
        if (
            isinstance(event, TaskAttemptRequested)
            and event.thread == command.thread
            and event.attempt == command.attempt
        ):
            return (entry.incarnation, event.position) == (command.incarnation, command.position)
    newest = turn.before[-1].incarnation if turn.before else NO_INCARNATION
    return turn.is_refused and command.incarnation == newest


def _is_earlier(entry: LogEntry) -> bool:
    """Return True if a start was judged by a time before that of the WfRun."""
    return isinstance(entry.event, TaskAttemptStarted) and entry.event.started_ms < entry.time_ms


def _expected(turns: Sequence[Turn]) -> Iterator[dict[str, Any]]:
    yield {"expect_events": [_event(entry.event) for turn in turns for entry in turn.entries]}


def _refusal(turn: Turn) -> Iterator[dict[str, Any]]:
    for entry in turn.entries:
        if isinstance(entry.event, Rejected):
            yield {"expect_rejected": {"code": entry.event.code.value}}


def _event(event: Event) -> Any:
    """Return an event with the fields that tell it from others of its name; without times, contents and sentences."""
    shown = found.event(event)
    fields = {name: shown[name] for name in _NAMED_FIELDS if shown.get(name) is not None}
    if isinstance(event, Halt):
        fields["reason"] = shown["reason"]
    name = type(event).__name__
    return {name: fields} if fields else name
