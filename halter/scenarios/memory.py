"""The fold with nothing around it: an engine in memory, for scenarios, tests and searches.

It does what the owner of a partition does (fold a command, write the rows that changed, keep the log, fire the timers
that are due) with dictionaries in the place of topics. Its clock is set by whoever uses it.
"""

import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from halter.scenarios.comparison import difference
from halter.scenarios.definitions import DefinitionsInMemory
from halter.scenarios.found import WfRunFound
from processors.core.records.commands import Command, DefinitionCommand, ExternalEvent, ReportTaskRun, TimerFired
from processors.core.records.errors import HalterError
from processors.core.records.events import Cause, DefinitionProblem, LogEntry
from processors.core.records.model import (
    TERMINAL,
    Changes,
    ExternalEventKey,
    Index,
    ThreadRun,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.rules.context import Context
from processors.core.rules.engine import attach, handle, new_run, replay
from processors.fold.timers import WHOLE_WF_RUN

TIMERS_PER_STEP_MAX = 100_000
TOPICS: dict[type, str] = {ExternalEvent: "external-events", ReportTaskRun: "task-reports"}
"""The topic of a command, where it is not `wf-commands`."""


class RestoredStateDiffers(HalterError):
    """What was restored is not what was lost: a bug of the engine. Report it with the scenario."""


class TooManyTimers(HalterError):
    """Timers fire without end within one step of the clock. The author of the WfSpec should act."""


Row = TypeVar("Row", ThreadRun, WfRun, WfRunExternalEvent)


def _copy(row: Row) -> Row:
    duplicate: Row = pickle.loads(pickle.dumps(row))  # noqa: S301  what was pickled a moment ago
    return duplicate


@dataclass(slots=True)
class Rows:
    """What was written of one WfRun, as copies."""

    wf_run: WfRun
    threads: dict[int, ThreadRun] = field(default_factory=dict)
    external_events: dict[ExternalEventKey, WfRunExternalEvent] = field(default_factory=dict)
    finished: dict[int, ThreadRun] = field(default_factory=dict)
    """The last row of each thread that has left the hot state."""

    def write(self, run: WfRun) -> None:
        """Copy what has changed since the last time, as a turn writes it, and take note that it was written."""
        changes, run.changes = run.changes, Changes()
        if changes.deleted:
            self.threads, self.external_events, self.finished = {}, {}, {}
        else:
            for thread in changes.left:
                self.threads.pop(thread.number, None)
                self.finished[thread.number] = _copy(thread)
            for key in changes.forgotten:
                self.external_events.pop(key, None)
        for number in changes.threads:
            self.threads[number] = _copy(run.threads[number])
        for key in changes.external_events:
            self.external_events[key] = _copy(run.external_events[key])
        self.wf_run = _copy(replace(run, threads={}, external_events={}, index=Index(), spec=None))

    def restore(self, context: Context) -> WfRun:
        """The WfRun as a new owner of its partition reads it."""
        run = _copy(self.wf_run)
        run.threads = {number: _copy(self.threads[number]) for number in sorted(self.threads)}
        events = sorted(self.external_events.values(), key=lambda event: event.posted_offset)
        run.external_events = {event.key: _copy(event) for event in events}
        return attach(run, context)


class MemoryEngine:
    """Folds commands for any number of WfRuns, one after the other."""

    def __init__(self, context: Context, start_ms: int) -> None:
        self.context = context
        self.time_ms = start_ms
        self.runs: dict[str, WfRun] = {}
        self.rows: dict[str, Rows] = {}
        self.log: list[tuple[Command, list[LogEntry]]] = []
        self._offsets: dict[str, int] = {}

    def put(self, command: Command) -> list[LogEntry]:
        """Append a command to its topic, with the clock's time, and fold it."""
        topic = TOPICS.get(type(command), "wf-commands")
        offset = self._offsets[topic] = self._offsets.get(topic, -1) + 1
        command_id = getattr(command, "command_id", None)
        cause = Cause(topic, 0, offset, command_id, self.context.definitions.position)
        run = self.runs.get(command.wf_run_id)
        if run is None:
            run = self.runs[command.wf_run_id] = new_run(command.wf_run_id)
            self.rows[command.wf_run_id] = Rows(_copy(run))
        entries = handle(run, command, cause, self.time_ms, self.context)
        self.rows[command.wf_run_id].write(run)
        self.log.append((command, entries))
        return entries

    def put_all(self, commands: Iterable[Command]) -> None:
        """Put one after the other."""
        for command in commands:
            self.put(command)

    def register(self, commands: Sequence[DefinitionCommand]) -> list[DefinitionProblem]:
        """Have definitions registered; all that is wrong with those that were refused."""
        definitions = self.context.definitions
        assert isinstance(definitions, DefinitionsInMemory), "these definitions are not this engine's to change"
        return definitions.register(commands)

    def pass_time(self, milliseconds: int) -> list[LogEntry]:
        """Let time pass; timers fire when they are due, in the order (time, WfRun, thread, position, kind)."""
        until_ms = self.time_ms + milliseconds
        entries: list[LogEntry] = []
        for _ in range(TIMERS_PER_STEP_MAX):
            due = min(self.timers(), key=firing_order, default=None)
            if due is None or due.due_ms > until_ms:
                self.time_ms = until_ms
                return entries
            self.time_ms = max(self.time_ms, due.due_ms)
            entries.extend(self.put(due))
        raise TooManyTimers(f"expected at most {TIMERS_PER_STEP_MAX} timers in {milliseconds} ms, found more")

    def timers(self) -> list[TimerFired]:
        """What is armed, as the commands that will be put when it is due."""
        return [timer for run in self.runs.values() for timer in timers_of(run)]

    def find(self, wf_run_id: str) -> WfRunFound | None:
        """A WfRun as its rows show it; None where none exists."""
        run = self.runs.get(wf_run_id)
        if run is None or run.status is None:
            return None
        finished = self.rows[wf_run_id].finished
        return WfRunFound(run.status, run.threads, finished, run.external_events.values(), run.incarnation)

    def crash(self) -> None:
        """Lose the memory and restore it: from the rows and, to compare, from the log alone.

        Raises RestoredStateDiffers if either is not what was lost.
        """
        for wf_run_id, lost in self.runs.items():
            restored = self.rows[wf_run_id].restore(self.context)
            _compare(lost, restored, "its rows")
            _compare(lost, self.replayed(wf_run_id), "its log")
            self.runs[wf_run_id] = restored

    def replayed(self, wf_run_id: str) -> WfRun:
        """The WfRun as its log alone gives it."""
        run = replay(self.log_of(wf_run_id), new_run(wf_run_id))
        return attach(run, self.context)

    def log_of(self, wf_run_id: str) -> list[LogEntry]:
        """The log of one WfRun."""
        return [entry for command, entries in self.log if command.wf_run_id == wf_run_id for entry in entries]


def timers_of(run: WfRun) -> Iterator[TimerFired]:
    """The timers of one WfRun: of its live threads' nodes, and of its retention."""
    for thread in run.threads.values():
        timer = thread.node.timer
        if timer is not None and thread.status not in TERMINAL:
            at = (thread.number, thread.node.position)
            yield TimerFired(run.wf_run_id, run.incarnation, *at, timer.kind, timer.due_ms)
    if run.timer is not None:
        yield TimerFired(run.wf_run_id, run.incarnation, WHOLE_WF_RUN, 0, run.timer.kind, run.timer.due_ms)


def firing_order(timer: TimerFired) -> tuple[int, str, int, int, str]:
    """Timers fire in the order of this key."""
    return timer.due_ms, timer.wf_run_id, timer.thread, timer.position, timer.kind


def _compare(lost: WfRun, restored: WfRun, source: str) -> None:
    differs = difference(lost, restored)
    if differs is not None:
        raise RestoredStateDiffers(f"WfRun {lost.wf_run_id!r} restored from {source} is not what it was: {differs}")
