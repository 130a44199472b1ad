"""The census of a partition: how its WfRuns stand, and what holds their threads, counted as they move.

A fold that is given one tells it of each command that it has decided, and of each WfRun whose rows it writes. So a
question costs nothing that grows with the number of WfRuns, and the answer is right from the first turn after a load. A
census belongs to its fold: when the partition is taken or loaded anew, it is gone with it.

What is counted since the start of the process (rejections, attempts) goes to the `Tally` of the worker, once it is
committed. After an abort, what a turn on top of the aborted one had counted may be counted twice.

Knows the core's records and how a store keeps a note of a WfRun. Knows no clock and no library for metrics. Only the
thread that folds changes a census; any thread may read it.
"""

import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from processors.core.records.events import (
    LogEntry,
)
from processors.core.records.model import (
    HALT_REASON_KINDS,
    HaltReason,
    HandlingFailure,
    Interrupted,
    PendingInterrupt,
    Status,
    ThreadRun,
    TimerKind,
    WfRun,
)
from processors.fold.tally import COUNTED, Key, Tally

_NOTHING: Final[Mapping[int, Any]] = {}
HELD_SLACK: Final = 64
"""A heap is made anew when it has more than twice the entries that count, and this many more."""

Standing: TypeAlias = tuple[str, Status]
"""How a WfRun stands: the name of its WfSpec and its status."""
_RUNNING: Final = Status.RUNNING


def standing(run: WfRun) -> Standing | None:
    """Return how a WfRun stands; None if nothing was started under its id.

    Asked for before and after each command, so the usual answer is found first.
    """
    wf_spec = run.wf_spec
    if wf_spec is None:
        return None
    status = run.final_status
    if status is None:
        entrypoint = run.threads.get(0)
        if entrypoint is None or entrypoint.status is _RUNNING:
            return wf_spec.name, _RUNNING
        status = run.status or _RUNNING
    return wf_spec.name, status


class Notes(Protocol):
    """Where a census keeps what it knows of each WfRun, beside its rows, if anything is kept."""

    def keep_standings(self) -> bool:
        """Begin to keep them, before the rows of a load come. Return False if nothing outlives the process."""
        ...

    def standing(self, wf_run_id: str, note: bytes | None) -> None:
        """Keep a note with the rows that are put now; None if there is no WfRun any more."""

    def standings(self) -> Iterable[tuple[str, bytes]]:
        """Return the notes of the WfRuns that were not among the `news` of the load."""
        ...


class Census:
    """How the WfRuns of one partition stand."""

    def __init__(self, tally: Tally, notes: Notes) -> None:
        self._tally, self._notes = tally, notes
        self._stand: dict[Standing, int] = {}
        self._held: dict[str, dict[int, dict[str, int]]] = {}
        """WfRun -> thread -> kind of halt reason -> since when, in ms. Only threads that something holds are here."""
        self._by_reason: dict[str, int] = {}
        self._oldest: dict[str, list[tuple[int, str, int]]] = {}
        """Kind -> a heap of since when, WfRun and thread. Its first entry always counts, others may not."""
        self._pending: dict[Key, int] = {}
        self.armed: Mapping[TimerKind, int] = {}
        """The armed timers of each kind, put here by the fold, which counts them itself."""
        self._keeps = notes.keep_standings()

    # Questions, from any thread.

    def wf_runs(self) -> dict[Standing, int]:
        """Return the number of WfRuns by how they stand."""
        return {it: count for it, count in dict(self._stand).items() if count > 0}

    def held(self) -> dict[str, tuple[int, int]]:
        """Return for each kind of halt reason how many threads it holds, and since when the first of them, in ms."""
        found = {}
        for kind, count in dict(self._by_reason).items():
            first = self._oldest.get(kind, ())[:1]  # in one step: the thread that folds may take it out
            if count > 0 and first:
                found[kind] = count, first[0][0]
        return found

    # What the fold tells.

    def decided(self, run: WfRun, before: Standing | None, log: Sequence[LogEntry]) -> None:
        """Count what a command has come to. `before` is how the WfRun stood."""
        after = standing(run)
        if after != before:
            self.moved(before, after)
        for entry in log:
            kind = type(entry.event)
            if kind in COUNTED:
                self.count(*COUNTED[kind](self._tally, run, entry.event))

    def moved(self, before: Standing | None, after: Standing | None) -> None:
        """Count a WfRun as it stands now."""
        stand = self._stand
        if before is not None:
            stand[before] = stand.get(before, 0) - 1
        if after is not None:
            stand[after] = stand.get(after, 0) + 1

    def count(self, *key: str) -> None:
        """Count something of which only the number since the start is asked for."""
        self._pending[key] = self._pending.get(key, 0) + 1

    def follow(self, run: WfRun) -> None:
        """Take the changes of a WfRun whose rows are written now, which `run.changes` has."""
        self.follow_holds(run)
        if self._keeps:
            self._keep_note(run.wf_run_id, standing(run))

    def follow_holds(self, run: WfRun) -> None:
        """Take from the changes of a WfRun what holds its threads. Its rows need not be written yet."""
        wf_run_id, changes = run.wf_run_id, run.changes
        held = self._held.get(wf_run_id, _NOTHING)
        if held:
            for thread in changes.left:
                if thread.number in held:
                    self._hold(wf_run_id, thread.number, {})
        for number in changes.threads:
            changed = run.threads.get(number)
            if changed is not None and (changed.halt_reasons or number in held):
                self._hold(wf_run_id, number, self._reasons(run, changed))

    def committed(self) -> None:
        """Add to the tally what was counted."""
        if self._pending:
            pending, self._pending = self._pending, {}
            self._tally.add(pending)

    # A load.

    def restored(self, wf_run_id: str, found: Standing | None, run: WfRun | None) -> None:
        """Take a WfRun whose rows a load has looked at. `run` is there if something may hold a thread of it."""
        self.moved(None, found)
        if run is not None:
            for thread in run.threads.values():
                if thread.halt_reasons:
                    self._hold(wf_run_id, thread.number, self._reasons(run, thread))
        if self._keeps:
            self._keep_note(wf_run_id, found)

    def restored_from_notes(self) -> None:
        """Take the WfRuns of which a store with files has notes, because their rows have not changed since."""
        for wf_run_id, note in self._notes.standings():
            status, name, held = _read(note)
            self.moved(None, (name, Status(status)))
            for number, reasons in held.items():
                self._hold(wf_run_id, int(number), reasons)

    # Halt reasons.

    def _reasons(self, run: WfRun, thread: ThreadRun) -> dict[str, int]:
        """Return since when the reasons of a thread hold it, the first of each kind.

        A reason that was there before keeps its time, because the rows do not tell it for every kind.
        """
        known = self._held.get(run.wf_run_id, _NOTHING).get(thread.number, {})
        found: dict[str, int] = {}
        for reason in thread.halt_reasons:
            kind = HALT_REASON_KINDS[type(reason)]
            since = since_ms(run, reason)
            found[kind] = min(since, found.get(kind, since), known.get(kind, since))
        return found

    def _hold(self, wf_run_id: str, number: int, reasons: dict[str, int]) -> None:
        of_wf_run = self._held.setdefault(wf_run_id, {})
        before = of_wf_run.pop(number, {})
        if reasons:
            of_wf_run[number] = reasons
        elif not of_wf_run:
            del self._held[wf_run_id]
        for kind in before.keys() - reasons.keys():
            self._by_reason[kind] -= 1
        for kind, since in reasons.items():
            if kind not in before:
                self._by_reason[kind] = self._by_reason.get(kind, 0) + 1
            if before.get(kind) != since:
                heapq.heappush(self._oldest.setdefault(kind, []), (since, wf_run_id, number))
        for kind in before.keys() | reasons.keys():
            self._tidy(kind)

    def _tidy(self, kind: str) -> None:
        """See to it that the first entry of a heap counts, and that most entries do."""
        heap = self._oldest[kind]
        while heap and not self._counts(kind, heap[0]):
            heapq.heappop(heap)
        if len(heap) > 2 * self._by_reason[kind] + HELD_SLACK:
            heap = [entry for entry in heap if self._counts(kind, entry)]
            heapq.heapify(heap)
            self._oldest[kind] = heap

    def _counts(self, kind: str, entry: tuple[int, str, int]) -> bool:
        since, wf_run_id, number = entry
        return self._held.get(wf_run_id, _NOTHING).get(number, {}).get(kind) == since

    # Notes.

    def _keep_note(self, wf_run_id: str, stands: Standing | None) -> None:
        if stands is None:
            self._notes.standing(wf_run_id, None)
            return
        note, held = f"{stands[1]} {stands[0]}", self._held.get(wf_run_id)
        self._notes.standing(wf_run_id, (f"{note}\n{json.dumps(held)}" if held else note).encode())


def _read(note: bytes) -> tuple[str, str, dict[str, dict[str, int]]]:
    """Return a note's status, WfSpec and halt reasons by thread."""
    first, _, held = note.decode().partition("\n")
    status, _, name = first.partition(" ")
    return status, name, json.loads(held) if held else {}


def since_ms(run: WfRun, reason: HaltReason) -> int:
    """Return since when a halt reason is there, as far as the rows tell: at the latest since the WfRun's newest event.

    For a handler that runs, that is its start. For an accepted interrupt it is the post of its ExternalEvent.
    """
    if isinstance(reason, Interrupted | HandlingFailure):
        handler = run.threads.get(reason.handler)
        if handler is not None:
            return handler.started_ms
    elif isinstance(reason, PendingInterrupt):
        event = run.external_events.get((reason.external_event_def, reason.external_event_id))
        if event is not None:
            return event.posted_ms
    return run.time_ms
