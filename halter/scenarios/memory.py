"""An engine in memory, for scenarios, tests and searches: the fold alone.

It does what the owner of a partition does: it folds commands, writes the rows that changed, keeps the log, and fires
the timers that are due. Dictionaries stand for topics. The caller sets its clock. Events by correlation key reach their
WfRuns before the call returns that let them go there.
"""

import math
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from halter.scenarios.comparison import difference
from halter.scenarios.definitions import DefinitionsInMemory
from halter.scenarios.found import WfRunFound
from halter.scenarios.keys import KeysInMemory
from processors.core.records.commands import Command, CorrelatedEvent, DefinitionCommand, ExternalEvent, TimerFired
from processors.core.records.errors import HalterError
from processors.core.records.events import Cause, CorrelationDecided, DefinitionProblem, LogEntry, TaskCancellation
from processors.core.records.model import (
    TERMINAL,
    Changes,
    Correlation,
    ExternalEventKey,
    Index,
    ThreadRun,
    WfRun,
    WfRunExternalEvent,
    WfRunSnapshot,
)
from processors.core.rules.context import Context
from processors.core.rules.engine import attach, handle, new_run, replay
from processors.core.rules.snapshots import snapshot_of
from processors.fold.inputs import command_id_of, topic_of
from processors.fold.timers import WHOLE_WF_RUN

TIMERS_PER_STEP_MAX = 100_000
REPORT_IT = "a bug of the engine, report it with the scenario"
"""The topics of commands that do not go to `wf-commands`."""


class RestoredStateDiffers(HalterError):
    """The restored state differs from the lost one: a bug of the engine. Report it with the scenario."""


class TooManyTimers(HalterError):
    """Too many timers fire within one step of the clock, probably in a loop. The author of the WfSpec should act."""


Row = TypeVar("Row", ThreadRun, WfRun, WfRunExternalEvent)


def _copy(row: Row) -> Row:
    duplicate: Row = pickle.loads(pickle.dumps(row))  # noqa: S301  pickled in the same line
    return duplicate


@dataclass(slots=True)
class Rows:
    """The rows of one WfRun as they were written: copies, which later changes of the WfRun do not touch."""

    wf_run: WfRun
    threads: dict[int, ThreadRun] = field(default_factory=dict)
    external_events: dict[ExternalEventKey, WfRunExternalEvent] = field(default_factory=dict)
    finished: dict[int, ThreadRun] = field(default_factory=dict)
    """The last row of each thread that has left the hot state."""

    def write(self, run: WfRun) -> None:
        """Copy the rows that changed since the last call, as a turn writes them, and clear the list of changes."""
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
        """Return the WfRun as a new owner of its partition reads it."""
        run = _copy(self.wf_run)
        run.threads = {number: _copy(self.threads[number]) for number in sorted(self.threads)}
        events = sorted(self.external_events.values(), key=lambda event: event.arrival)
        run.external_events = {event.key: _copy(event) for event in events}
        return attach(run, context)


class MemoryEngine:
    """An engine that folds commands for any number of WfRuns, one after the other."""

    def __init__(self, context: Context, start_ms: int) -> None:
        self.context = context
        self.time_ms = start_ms
        self.runs: dict[str, WfRun] = {}
        self.rows: dict[str, Rows] = {}
        self.log: list[tuple[Command, list[LogEntry]]] = []
        self.cancellations: list[TaskCancellation] = []
        """What task workers were told of attempts, in order."""
        self._offsets: dict[str, int] = {}
        self._keys: KeysInMemory | None = None
        """None until a WfRun has a key, or an event comes by one."""

    def put(self, command: Command) -> list[LogEntry]:
        """Append a command to its topic with the time of the clock, and fold it. Return its log entries.

        What waited for a key that the WfRun now has is posted and folded too: `log` has it behind the command.
        """
        entries = self.fold(command)
        self._post(())
        return entries

    def correlate(self, command: CorrelatedEvent) -> list[CorrelationDecided]:
        """Take an event by its correlation key, and fold what it becomes. Return what became of it."""
        decided, posted = self._known_keys().take(command, self.time_ms)
        self._post(posted)
        return decided

    def _known_keys(self) -> KeysInMemory:
        if self._keys is None:
            self._keys = KeysInMemory(self.context)
        return self._keys

    def _post(self, events: Iterable[ExternalEvent]) -> None:
        """Fold ExternalEvents that came by key, and those that come of what they change."""
        for event in events:
            self.fold(event)
        if self._keys is not None:
            for event in self._keys.posts(self.time_ms):
                self.fold(event)

    def fold(self, command: Command) -> list[LogEntry]:
        """Fold one command, and tell the owner of keys what it says of them."""
        topic = topic_of(command)
        offset = self._offsets[topic] = self._offsets.get(topic, -1) + 1
        cause = Cause(topic, 0, offset, command_id_of(command), self.context.definitions.position)
        run = self.runs.get(command.wf_run_id)
        if run is None:
            run = self.runs[command.wf_run_id] = new_run(command.wf_run_id)
            self.rows[command.wf_run_id] = Rows(_copy(run))
        keys = run.correlation_keys
        entries = handle(run, command, cause, self.time_ms, self.context, self.cancellations)
        if run.correlation_keys is not keys:
            self._known_keys().tell(keys, entries)
        self.rows[command.wf_run_id].write(run)
        self.log.append((command, entries))
        return entries

    def put_all(self, commands: Iterable[Command]) -> None:
        """Put commands one after the other."""
        for command in commands:
            self.put(command)

    def register(self, commands: Sequence[DefinitionCommand]) -> list[DefinitionProblem]:
        """Register definitions, and return all problems of those that are refused."""
        definitions = self.context.definitions
        assert isinstance(definitions, DefinitionsInMemory), "these definitions are not this engine's to change"
        return definitions.register(commands)

    def pass_time(self, milliseconds: int) -> list[LogEntry]:
        """Let time pass. Timers fire when they are due, in the order (time, WfRun, thread, position, kind).

        Those of keys fire behind those of WfRuns. Return the log entries of the timers of WfRuns.
        """
        until_ms = self.time_ms + milliseconds
        entries: list[LogEntry] = []
        for _ in range(TIMERS_PER_STEP_MAX):
            due = min(self.timers(), key=firing_order, default=None)
            due_ms, key_due_ms = math.inf if due is None else due.due_ms, self._key_due_ms
            if min(due_ms, key_due_ms) > until_ms:
                self.time_ms = until_ms
                return entries
            self.time_ms = max(self.time_ms, int(min(due_ms, key_due_ms)))
            if due is not None and due_ms <= key_due_ms:
                entries.extend(self.put(due))
            elif self._keys is not None:
                self._keys.fire(self.time_ms)
                self._post(())
        raise too_many_timers(TIMERS_PER_STEP_MAX, milliseconds)

    @property
    def due_ms(self) -> float:
        """When the next timer is due, in ms of the clock; infinite if none is armed."""
        return min(self._key_due_ms, *(timer.due_ms for timer in self.timers()), math.inf)

    @property
    def _key_due_ms(self) -> float:
        due_ms = None if self._keys is None else self._keys.due_ms
        return math.inf if due_ms is None else due_ms

    def timers(self) -> list[TimerFired]:
        """Return all armed timers of WfRuns, as the commands that are put when they are due."""
        return [timer for run in self.runs.values() for timer in timers_of(run)]

    def find(self, wf_run_id: str) -> WfRunFound | None:
        """Return a WfRun as its rows show it; None if it does not exist."""
        run = self.runs.get(wf_run_id)
        if run is None or run.status is None:
            return None
        finished = self.rows[wf_run_id].finished
        return WfRunFound(run.status, run.threads, finished, run.external_events.values(), run.incarnation)

    def correlation(self, event_def: str, key: str) -> Correlation | None:
        """Return what is known of a correlation key for an ExternalEventDef; None if nothing is."""
        return None if self._keys is None else self._keys.find(event_def, key)

    def snapshot(self, wf_run_id: str) -> WfRunSnapshot | None:
        """Return the state of a WfRun at the time of the clock; None if it does not exist."""
        run = self.runs.get(wf_run_id)
        return None if run is None or not run.exists else snapshot_of(run, max(run.time_ms, self.time_ms))

    def crash(self) -> None:
        """Lose the memory and restore it from the rows. The log alone is replayed too, to compare.

        Raises RestoredStateDiffers if either differs from the lost state.
        """
        for wf_run_id, lost in self.runs.items():
            restored = self.rows[wf_run_id].restore(self.context)
            _compare(lost, restored, "its rows")
            _compare(lost, self.replayed(wf_run_id), "its log")
            self.runs[wf_run_id] = restored
        if self._keys is not None:
            self._keys.crash()

    def replayed(self, wf_run_id: str) -> WfRun:
        """Return the WfRun that a replay of its log gives."""
        run = replay(self.log_of(wf_run_id), new_run(wf_run_id))
        return attach(run, self.context)

    def log_of(self, wf_run_id: str) -> list[LogEntry]:
        """Return the log of one WfRun."""
        return [entry for command, entries in self.log if command.wf_run_id == wf_run_id for entry in entries]


def timers_of(run: WfRun) -> Iterator[TimerFired]:
    """Yield the timers of one WfRun: those of its live threads' nodes, and that of its retention."""
    for thread in run.threads.values():
        timer = thread.node.timer
        if timer is not None and thread.status not in TERMINAL:
            at = (thread.number, thread.node.position)
            yield TimerFired(run.wf_run_id, run.incarnation, *at, timer.kind, timer.due_ms)
    if run.timer is not None:
        yield TimerFired(run.wf_run_id, run.incarnation, WHOLE_WF_RUN, 0, run.timer.kind, run.timer.due_ms)


def too_many_timers(most: int, milliseconds: int) -> TooManyTimers:
    """Return the error for more timers within one step of the clock."""
    return TooManyTimers(
        f"expected at most {most} timers in {milliseconds} ms, found more: look for a loop of timers in the WfSpec"
    )


def firing_order(timer: TimerFired) -> tuple[int, str, int, int, str]:
    """Return the key by which timers are ordered to fire."""
    return timer.due_ms, timer.wf_run_id, timer.thread, timer.position, timer.kind


def _compare(lost: WfRun, restored: WfRun, source: str) -> None:
    differs = difference(lost, restored)
    if differs is not None:
        raise RestoredStateDiffers(
            f"expected WfRun {lost.wf_run_id!r} restored from {source} to be as before the crash, found a difference "
            f"({differs}): {REPORT_IT}"
        )
