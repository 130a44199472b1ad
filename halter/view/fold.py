"""Folds the log onto the rows that the view has, and writes what follows from it.

It takes the entries of partitions in the order of the log, applies `evolve`, and notes what the log alone tells: tasks,
failures, when a halt reason came. `flush` writes all of that in the transaction that it is given. It runs no rule, and
what it writes does not depend on where one flush ends and the next begins.

Masked values are taken out of the events before they are folded, so they are in no row at all.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from sqlalchemy import Connection, select

from halter.show.masking import UNKNOWN, Secrets
from halter.show.redaction import RedactedLog, Redactor, hidden
from halter.view import tables
from halter.view.projection import (
    Row,
    correlation_key_rows,
    entrypoint_row,
    external_event_row,
    halt_reason_rows,
    searchable_in,
    searchable_rows,
    thread_row,
    wait_rows,
    wf_run_row,
)
from halter.view.state import records_of
from halter.view.writing import Batch, upsert
from processors.codec import Codec
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    ExternalEventPosted,
    Halt,
    InterruptAccepted,
    LogEntry,
    NodeCompleted,
    NodeFailed,
    Rejected,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptRequested,
    TaskAttemptStarted,
    ThreadFailed,
    WfRunDeleted,
    WfRunForked,
    WfRunMigrated,
    WfRunStarted,
)
from processors.core.records.model import (
    ExternalEventKey,
    Failure,
    FailureClass,
    HaltReason,
    PendingInterrupt,
    TaskRunStatus,
    ThreadRun,
    ThreadType,
    WfRun,
    WfSpecId,
)
from processors.core.rules.evolve import evolve, new_run
from processors.core.rules.indexing import index_of
from processors.core.rules.restoring import note_restored
from processors.core.wf_spec.definitions import Definitions
from processors.fold.log_tail import LogBroken, misfit
from processors.fold.rows import RowRecord, changed_rows, has_rows, wf_run_of

REMEMBERED_BYTES: Final = 24 * 1024 * 1024
"""How many bytes of rows are kept decoded. They take up to ten times as many in memory."""
WF_RUN_BYTES: Final = 1_000
"""What a WfRun counts for besides its rows."""
ASKED_AT_ONCE: Final = 500
"""Number of ids in one question to the database."""
NOTHING_SECRET: Final = Secrets()
TaskKey: TypeAlias = tuple[int, int, int]
"""Thread, position of the NodeRun, attempt."""


@dataclass(slots=True)
class _Kept:
    """A WfRun, with what the view knows of it beside its state."""

    run: WfRun
    secrets: Secrets | None = None
    """What is secret in it; None: everything is in the view."""
    redacted: RedactedLog | None = None
    """What takes masked values out of its next event; None if there are none."""
    held: dict[int, list[tuple[HaltReason, int | None]]] = field(default_factory=dict)
    """Thread -> its halt reasons, each with the time since which it has it."""
    out: dict[int, "_Attempt"] = field(default_factory=dict)
    """Thread -> the attempt of a task that is out for it."""
    partition: int = 0
    log_offset: int | None = None
    size: int = WF_RUN_BYTES
    """The bytes of its rows as they were read, and of all that were written since: at least as many as it has."""
    # What came since the last flush:
    changed: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Thread -> time and offset of the last event that changed it."""
    event_offsets: dict[ExternalEventKey, int] = field(default_factory=dict)
    posted: set[ExternalEventKey] = field(default_factory=set)
    forgotten: dict[ExternalEventKey, Row] = field(default_factory=dict)
    """ExternalEvents that the WfRun does not remember any more -> their last rows."""
    purposes: dict[ExternalEventKey, Row] = field(default_factory=dict)
    tasks: dict[TaskKey, Row] = field(default_factory=dict)
    failures: list[Row] = field(default_factory=list)
    forked_from: str | None = None
    deleted: bool = False
    replaced: bool = False
    """True if its rows were put in the place of what there was."""
    masks_more: bool = False
    """True if it has gone over to a version of its WfSpec, which may mask what is in the tables."""
    left_from: int = 0
    """The place in `run.changes.left` from which on it has threads of the WfRun that is there now."""

    def forget_changes(self) -> None:
        """Begin anew, after a flush."""
        self.run.changes.clear()
        self._forget_notes()
        self.deleted = self.replaced = False
        self.left_from = 0

    def _forget_notes(self) -> None:
        for notes in (self.changed, self.event_offsets, self.posted, self.forgotten, self.purposes, self.tasks):
            notes.clear()
        self.failures.clear()
        self.forked_from, self.masks_more = None, False

    def left(self) -> list[ThreadRun]:
        """Return the threads that have left since the last flush, but for those of a WfRun that was deleted."""
        return self.run.changes.left[self.left_from :]

    def forget_history(self) -> None:
        """Forget what came since the last flush: the WfRun is deleted."""
        self._forget_notes()
        self.held.clear()
        self.out.clear()
        self.deleted, self.left_from = True, len(self.run.changes.left)

    def forget_state(self) -> None:
        """Forget the state that was folded: it lacks what the log has no more. What the log alone tells stays noted."""
        self.run = new_run(self.run.wf_run_id)
        self.changed.clear()
        self.event_offsets.clear()
        self.posted.clear()
        self.forgotten.clear()
        self.held.clear()
        self.out.clear()
        self.replaced, self.left_from = True, 0


class Fold:
    """The state of WfRuns as the view has it, and what came to it since it was written last."""

    def __init__(self, codec: Codec, definitions: Callable[[], Definitions], *, with_masked: bool) -> None:
        """`definitions` returns those that are known now. They must have come before what is folded with them."""
        self._codec, self._definitions, self._with_masked = codec, definitions, with_masked
        self._known: dict[str, _Kept] = {}
        self._touched: dict[str, _Kept] = {}
        self._secrets: dict[WfSpecId, Secrets] = {}
        self._events: list[Row] = []
        self._size = 0
        """That of all that are known."""

    @property
    def is_full(self) -> bool:
        """True if so much is known that it is time for a flush, which forgets what it may."""
        return self._size > REMEMBERED_BYTES

    def load(self, connection: Connection, wf_run_ids: Iterable[str]) -> None:
        """Read the state of WfRuns that entries are about to come for."""
        missing = [it for it in dict.fromkeys(wf_run_ids) if it not in self._known]
        for start in range(0, len(missing), ASKED_AT_ONCE):
            self._load(connection, missing[start : start + ASKED_AT_ONCE])

    def _load(self, connection: Connection, ids: list[str]) -> None:
        records = records_of(connection, self._codec, ids)
        since: dict[tuple[str, int, int], int | None] = {}
        found = [it for it in ids if records[it]]
        if found:
            reasons = tables.halt_reasons.c
            asked = select(reasons.wf_run_id, reasons.thread, reasons.position, reasons.since_ms)
            for wf_run_id, thread, position, since_ms in connection.execute(asked.where(reasons.wf_run_id.in_(found))):
                since[wf_run_id, thread, position] = since_ms
        for wf_run_id in ids:
            kept = self._kept_of(wf_run_id, [record for record, _ in records[wf_run_id]], since)
            self._known[wf_run_id] = kept
            self._grow(kept, sum(size for _, size in records[wf_run_id]))
            self._size += WF_RUN_BYTES

    def _grow(self, kept: _Kept, size: int) -> None:
        kept.size += size
        self._size += size

    def _forget(self, wf_run_id: str) -> None:
        self._size -= self._known.pop(wf_run_id).size

    def _kept_of(
        self, wf_run_id: str, records: list[RowRecord], since: Mapping[tuple[str, int, int], int | None]
    ) -> _Kept:
        run = wf_run_of(wf_run_id, records)
        run.index = index_of(run)
        kept = _Kept(run)
        for thread in run.threads.values():
            if thread.halt_reasons:
                kept.held[thread.number] = [
                    (reason, since.get((wf_run_id, thread.number, position)))
                    for position, reason in enumerate(thread.halt_reasons)
                ]
        kept.out = _attempts_out(run)
        self._find_secrets(kept)
        return kept

    def _find_secrets(self, kept: _Kept) -> None:
        """Note what is secret in a WfRun as it stands."""
        if self._with_masked:
            return
        run = kept.run
        kept.secrets = self._secrets_of(run.wf_spec)
        kept.redacted = None
        if kept.secrets != NOTHING_SECRET:
            kept.redacted = RedactedLog(
                kept.secrets,
                hidden,
                {it.number: it.thread_spec for it in run.threads.values()},
                self._secrets_of,
                {it.number: it.node.node for it in run.threads.values() if it.node.task is not None},
            )

    def _secrets_of(self, wf_spec: WfSpecId | None) -> Secrets:
        if wf_spec is None:
            return UNKNOWN
        found = self._secrets.get(wf_spec)
        if found is None:
            try:
                found = Secrets.of(self._definitions().wf_spec(wf_spec))
            except HalterError:
                return UNKNOWN
            self._secrets[wf_spec] = found
        return found

    def take(self, partition: int, log_offset: int, entry: LogEntry) -> None:
        """Take the next entry of a partition's log, of a WfRun that is loaded. Raises LogBroken."""
        kept = self._known[entry.wf_run_id]
        why = misfit(kept.run, entry)
        if why is not None:
            raise LogBroken(f"wf-events[{partition}]@{log_offset}, WfRun '{entry.wf_run_id}': {why}")
        self._note_event(kept, partition, log_offset, entry)
        self._evolve(kept, log_offset, self._without_masked(kept, entry))

    def take_before_rows(self, partition: int, log_offset: int, entry: LogEntry) -> None:
        """Take an entry of a WfRun whose rows come later, by `put_rows`: its first entries may be gone from the log.

        A WfRun whose beginning is on the log is folded. Of others, what the log alone tells is noted.
        """
        kept = self._known[entry.wf_run_id]
        self._note_event(kept, partition, log_offset, entry)
        if misfit(kept.run, entry) is None:
            entry = self._without_masked(kept, entry)
            try:
                self._evolve(kept, log_offset, entry)
            except LookupError:  # of an ExternalEvent that came before its WfRun: the log does not have it any more
                kept.forget_state()
                self._find_secrets(kept)
                self._note(kept, entry, log_offset)
        elif isinstance(entry.event, WfRunDeleted):
            kept.forget_state()
            kept.forget_history()
            self._find_secrets(kept)
        else:
            self._note(kept, self._without_masked(kept, entry), log_offset)

    def put_rows(self, partition: int, wf_run_id: str, records: Iterable[RowRecord]) -> None:
        """Take the rows of a WfRun that is loaded, as they are at the present position of the log.

        If it was folded up to here, they say the same. If not, they are put in the place of what there is.
        """
        kept = self._known[wf_run_id]
        run = wf_run_of(wf_run_id, records)
        if _outline(run) == _outline(kept.run):
            return
        kept.partition = partition
        self._touched[wf_run_id] = kept
        held = {number: dict(reasons) for number, reasons in kept.held.items()}
        kept.forget_state()
        kept.run = run
        run.index = index_of(run)
        self._find_secrets(kept)
        if kept.redacted is not None:
            Redactor(self._definitions(), hidden).run(run)
        run.changes.threads.update(run.threads)
        run.changes.external_events.update(run.external_events)
        run.changes.kept.extend(run.kept_inputs)
        kept.held = {
            it.number: [(reason, held.get(it.number, {}).get(reason)) for reason in it.halt_reasons]
            for it in run.threads.values()
            if it.halt_reasons
        }
        kept.out = _attempts_out(run)
        for key, row in kept.tasks.items():
            out = kept.out.get(key[0])
            if row["status"] == "OUT" and (out is None or out.key != key):
                row["status"] = "CANCELLED"
        for out in kept.out.values():
            row = _task_row(kept, out.key, None)
            row |= {"task_def": out.task_def, "node_name": out.node}
            row |= {"started_ms": out.started_ms, "until_ms": out.until_ms}

    def _note_event(self, kept: _Kept, partition: int, log_offset: int, entry: LogEntry) -> None:
        self._touched[entry.wf_run_id] = kept
        kept.partition, kept.log_offset = partition, log_offset
        self._events.append(event_row(partition, log_offset, entry))

    def _evolve(self, kept: _Kept, log_offset: int, entry: LogEntry) -> None:
        """Change a WfRun by an entry without masked values."""
        run, event = kept.run, entry.event
        if isinstance(event, WfRunDeleted):
            evolve(run, entry)
            kept.forget_history()
            self._find_secrets(kept)
            return
        changes = run.changes
        threads, events = changes.threads, changes.external_events
        changes.threads, changes.external_events = set(), set()
        left_before, forgotten_before = len(changes.left), len(changes.forgotten)
        if isinstance(event, ExternalEventPosted):
            _note_posted(kept, event, log_offset)
        evolve(run, entry)
        if isinstance(event, WfRunMigrated) and not self._with_masked:
            self._mask_anew(kept)
        at = (entry.time_ms, log_offset)
        for number in changes.threads:
            kept.changed[number] = at
            thread = run.threads[number]
            if thread.halt_reasons or number in kept.held:
                _note_reasons(kept, thread, entry.time_ms)
            if number in kept.out or thread.node.task is not None:
                _note_attempt(kept, thread, entry, log_offset)
        for key in changes.external_events:
            kept.event_offsets[key] = log_offset
        for thread in changes.left[left_before:]:
            kept.changed[thread.number] = at
            kept.held.pop(thread.number, None)
            if thread.number in kept.out:
                _note_attempt(kept, thread, entry, log_offset)
            threads.discard(thread.number)
        events.difference_update(changes.forgotten[forgotten_before:])
        threads |= changes.threads
        events |= changes.external_events
        changes.threads, changes.external_events = threads, events
        self._note(kept, entry, log_offset)

    def _without_masked(self, kept: _Kept, entry: LogEntry) -> LogEntry:
        if self._with_masked:
            return entry
        event = entry.event
        if isinstance(event, WfRunStarted):
            kept.secrets = self._secrets_of(event.wf_spec)
            kept.redacted = (
                None if kept.secrets == NOTHING_SECRET else RedactedLog(kept.secrets, hidden, None, self._secrets_of)
            )
        elif isinstance(event, WfRunMigrated):
            self._find_secrets(kept)
            if kept.redacted is None and self._secrets_of(event.wf_spec) != NOTHING_SECRET:
                kept.redacted = RedactedLog(
                    kept.secrets or NOTHING_SECRET,
                    hidden,
                    {it.number: it.thread_spec for it in kept.run.threads.values()},
                    self._secrets_of,
                )
        if kept.redacted is None:
            return entry
        redacted = kept.redacted.redact(event)
        kept.secrets = kept.redacted.secrets
        return LogEntry(entry.wf_run_id, entry.incarnation, entry.seq, entry.time_ms, entry.cause, redacted)

    def _mask_anew(self, kept: _Kept) -> None:
        """Take out what the version masks to which a WfRun has gone over, of all that came before."""
        if kept.secrets in (None, NOTHING_SECRET):
            return
        run, changes = kept.run, kept.run.changes
        kept.masks_more = True
        Redactor(self._definitions(), hidden).run(run)
        changes.threads.update(run.threads)
        changes.external_events.update(run.external_events)
        changes.kept[:] = run.kept_inputs
        log = self._redacted_log(kept, {it.number: it.thread_spec for it in (*kept.left(), *run.threads.values())})
        for thread in kept.left():
            log.thread(thread)
        kept.failures = [_masked_failure(log, row) for row in kept.failures]

    def _redacted_log(self, kept: _Kept, thread_specs: dict[int, str]) -> RedactedLog:
        return RedactedLog(kept.secrets or NOTHING_SECRET, hidden, thread_specs, self._secrets_of)

    def _mask_history(self, connection: Connection, kept: _Kept) -> None:
        """Take out of the tables what a WfRun does not have any more and what is masked now."""
        threads, failures, wf_run_id = tables.thread_runs, tables.failures, kept.run.wf_run_id
        of_threads = select(threads).where(threads.c.wf_run_id == wf_run_id)
        rows = [dict(it) for it in connection.execute(of_threads).mappings()]
        log = self._redacted_log(kept, {row["thread"]: row["thread_spec"] for row in rows})
        hidden_names = self._hidden(kept)
        for row in rows:
            if not row["hot"]:
                own = {name for spec, name in hidden_names or () if spec == row["thread_spec"]}
                values = {} if hidden_names is None else row["variables"] or {}
                row["variables"] = {name: value for name, value in values.items() if name not in own}
                failure = Failure(row["failure_code"] or "", row["failure_message"] or "", FailureClass.ERROR)
                message = log.failure(failure, row["thread"], row["node_name"]).message
                row["failure_message"] = None if row["failure_message"] is None else message
                upsert(connection, threads, [row])
        of_failures = select(failures).where(failures.c.wf_run_id == wf_run_id)
        found = [dict(it) for it in connection.execute(of_failures).mappings()]
        upsert(connection, failures, [_masked_failure(log, row) for row in found])

    @staticmethod
    def _note(kept: _Kept, entry: LogEntry, log_offset: int) -> None:
        """Note what the log alone tells."""
        event = entry.event
        match event:
            case TaskAttemptRequested():
                row = _task_row(kept, (event.thread, event.position, event.attempt), log_offset)
                row |= {"task_def": event.task_def, "node_name": event.node, "status": "OUT"}
                row |= {"requested_ms": entry.time_ms, "until_ms": event.deadline_ms}
            case TaskAttemptStarted():
                row = _task_row(kept, (event.thread, event.position, event.attempt), log_offset)
                row |= _task_of(kept.run, event.thread)
                row |= {"status": "OUT", "started_ms": event.started_ms, "until_ms": event.deadline_ms}
            case TaskAttemptEnded():
                row = _task_row(kept, (event.thread, event.position, event.attempt), log_offset)
                row |= _task_of(kept.run, event.thread)
                row |= {"status": event.status.value, "ended_ms": entry.time_ms, "failure_code": event.failure_name}
            case NodeFailed():
                kept.failures.append(
                    _failure_row(entry, event.thread, event.failure, log_offset, event.node, event.handler)
                )
            case ThreadFailed():
                thread = kept.run.threads.get(event.thread)
                node = None if thread is None else thread.node.node
                kept.failures.append(_failure_row(entry, event.thread, event.failure, log_offset, node, None))
            case Halt(reason=PendingInterrupt() as reason):
                key = (reason.external_event_def, reason.external_event_id)
                kept.purposes.setdefault(key, {})["purpose"] = "INTERRUPT"
            case WfRunForked():
                kept.forked_from = event.source_wf_run_id
            case InterruptAccepted():
                kept.purposes.setdefault((event.external_event_def, event.external_event_id), {})["purpose"] = (
                    "INTERRUPT"
                )
            case SpawnChild(type=ThreadType.INTERRUPT):
                key = (event.external_event_def or "", event.external_event_id or "")
                kept.purposes.setdefault(key, {}).update(purpose="INTERRUPT", handler=event.thread)
            case NodeCompleted() if event.external_event_def is not None and event.external_event_id is not None:
                key = (event.external_event_def, event.external_event_id)
                kept.purposes.setdefault(key, {})["purpose"] = "NODE"
            case _:
                pass

    def flush(self, connection: Connection) -> int:
        """Write everything that came since the last flush. Return the number of rows that were written."""
        batch = Batch()
        batch.events = self._events
        for kept in self._touched.values():
            self._put(batch, kept)
        for kept in self._touched.values():
            if kept.masks_more:
                self._mask_history(connection, kept)
        written = batch.write(connection)
        for wf_run_id, kept in self._touched.items():
            kept.forget_changes()
            if not has_rows(kept.run):
                self._forget(wf_run_id)
        self._events, self._touched = [], {}
        if self.is_full:
            for wf_run_id in list(self._known):  # those first that were read first
                self._forget(wf_run_id)
                if self._size <= REMEMBERED_BYTES // 2:
                    break
        return written

    def _put(self, batch: Batch, kept: _Kept) -> None:
        """Add the rows of one WfRun to a batch."""
        run, changes = kept.run, kept.run.changes
        wf_run_id = run.wf_run_id
        if kept.deleted:
            batch.deleted.append(wf_run_id)
        if kept.replaced:
            batch.replaced.append(wf_run_id)
        for topic, key, record in changed_rows(run, own_row_is_lost=False):
            value = None if record is None else self._codec.encode(record)
            batch.put_state(wf_run_id, topic, key, value)
            self._grow(kept, len(value or b""))
        hidden_names = self._hidden(kept)
        for thread in kept.left():
            batch.threads.append(thread_row(run, thread, hidden_names, *kept.changed[thread.number]))
        for number in sorted(changes.threads):
            thread = run.threads[number]
            changed_ms, offset = kept.changed.get(number, (_last_time(thread), None))
            batch.threads.append(thread_row(run, thread, hidden_names, changed_ms, offset))
        for event_key in sorted(changes.external_events | kept.purposes.keys() | kept.forgotten.keys()):
            event = run.external_events.get(event_key)
            row = kept.forgotten.get(event_key) if event is None else external_event_row(event)
            if row is not None:
                noted = {"purpose": None, "handler": None, **kept.purposes.get(event_key, {})}
                rows = batch.new_external_events if event_key in kept.posted else batch.external_events
                rows.append({**row, **noted, "log_offset": kept.event_offsets.get(event_key)})
        batch.tasks += kept.tasks.values()
        batch.failures += kept.failures
        if run.exists or run.quarantined_ms is not None:
            self._put_own(batch, kept, hidden_names)
        elif not kept.deleted:
            batch.ended_quarantines.append(wf_run_id)

    def _put_own(self, batch: Batch, kept: _Kept, hidden_names: frozenset[tuple[str, str]] | None) -> None:
        run = kept.run
        own = wf_run_row(run, kept.partition, kept.log_offset)
        own["forked_from"] = kept.forked_from
        entrypoint = run.threads.get(0) or next((it for it in kept.left() if it.number == 0), None)
        told = entrypoint_row(run, entrypoint, hidden_names)
        own |= told
        (batch.wf_runs if entrypoint is not None or not run.exists else batch.wf_runs_without_entrypoint).append(own)
        self._attach(run)
        batch.replace(
            "halt_reasons",
            run.wf_run_id,
            [
                row
                for number, held in kept.held.items()
                for row in halt_reason_rows(run.threads[number], [since_ms for _, since_ms in held])
            ],
        )
        batch.replace("waits", run.wf_run_id, list(wait_rows(run)))
        batch.replace("correlation_keys", run.wf_run_id, list(correlation_key_rows(run)))
        if entrypoint is not None:
            names = [] if run.spec is None else searchable_in(run.spec)
            batch.replace("searchable", run.wf_run_id, list(searchable_rows(run, told["variables"], names)))

    def _attach(self, run: WfRun) -> None:
        """Give a WfRun its WfSpec, and where threads wait for each other the notes that say what for."""
        run.spec = None
        if run.wf_spec is not None:
            try:
                run.spec = self._definitions().wf_spec(run.wf_spec)
            except HalterError:
                return
            if run.index.waits or run.index.waiter_handlers:
                run.index = index_of(run)
                note_restored(run)

    def _hidden(self, kept: _Kept) -> frozenset[tuple[str, str]] | None:
        if kept.secrets is None:
            return frozenset()
        return None if kept.secrets.everything else kept.secrets.variables


def _note_posted(kept: _Kept, event: ExternalEventPosted, log_offset: int) -> None:
    """Note an ExternalEvent that is about to be posted, and those that the WfRun forgets for it."""
    for old in event.forgotten:
        key = (old.external_event_def, old.external_event_id)
        kept.forgotten[key] = {**external_event_row(kept.run.external_events[key]), "hot": 0}
        kept.event_offsets[key] = log_offset
    key = (event.external_event_def, event.external_event_id)
    kept.posted.add(key)
    for noted in (kept.forgotten, kept.event_offsets, kept.purposes):
        noted.pop(key, None)  # of one with the same id, which is forgotten


def _outline(run: WfRun) -> tuple[object, ...]:
    """Return what says whether two states of a WfRun are of the same moment."""
    threads = {it.number: (it.status, it.node.position) for it in run.threads.values()}
    events = {key: it.status for key, it in run.external_events.items()}
    return run.incarnation, run.seq, threads, events, run.quarantined_ms, len(run.kept_inputs)


def _last_time(thread: ThreadRun) -> int:
    """Return the last time that the row of a thread has."""
    return max(thread.started_ms, thread.node.arrived_ms, thread.ended_ms or 0)


def _note_reasons(kept: _Kept, thread: ThreadRun, time_ms: int) -> None:
    """Note since when a thread has each of its halt reasons."""
    before = kept.held.get(thread.number, [])
    if not thread.halt_reasons:
        kept.held.pop(thread.number, None)
    elif len(before) != len(thread.halt_reasons) or any(
        known is not reason for (known, _), reason in zip(before, thread.halt_reasons, strict=True)
    ):
        since = dict(before)
        kept.held[thread.number] = [(reason, since.get(reason, time_ms)) for reason in thread.halt_reasons]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt of a task."""

    key: TaskKey
    task_def: str
    node: str
    started_ms: int | None
    until_ms: int | None


def _attempt_out(thread: ThreadRun) -> _Attempt | None:
    """Return the attempt that is out for a thread, if one is."""
    node, task = thread.node, thread.node.task
    if task is None or task.status is not TaskRunStatus.OUT:
        return None
    until_ms = None if node.timer is None else node.timer.due_ms
    key = (thread.number, node.position, task.attempt)
    return _Attempt(key, task.task_def, node.node, task.started_ms, until_ms)


def _attempts_out(run: WfRun) -> dict[int, _Attempt]:
    found = {number: _attempt_out(thread) for number, thread in run.threads.items()}
    return {number: attempt for number, attempt in found.items() if attempt is not None}


def _note_attempt(kept: _Kept, thread: ThreadRun, entry: LogEntry, log_offset: int) -> None:
    """Note which attempt is out for a thread that has changed, and the one for which nobody waits any more."""
    number, event = thread.number, entry.event
    before = kept.out.pop(number, None)
    now = _attempt_out(thread) if number in kept.run.threads else None
    if now is not None:
        kept.out[number] = now
    has_report = isinstance(event, TaskAttemptEnded) and event.thread == number
    if before is not None and (now is None or before.key != now.key) and not has_report:
        row = _task_row(kept, before.key, log_offset)
        row |= {"task_def": before.task_def, "node_name": before.node}
        row |= {"status": "CANCELLED", "ended_ms": entry.time_ms}


def _task_row(kept: _Kept, key: TaskKey, log_offset: int | None) -> Row:
    thread, position, attempt = key
    row = kept.tasks.get(key)
    if row is None:
        row = kept.tasks[key] = {
            "wf_run_id": kept.run.wf_run_id,
            "thread": thread,
            "node_position": position,
            "attempt": attempt,
            "task_def": None,
            "node_name": None,
            "status": "OUT",
            "requested_ms": None,
            "started_ms": None,
            "until_ms": None,
            "ended_ms": None,
            "failure_code": None,
        }
    row["log_offset"] = log_offset
    return row


def _task_of(run: WfRun, number: int) -> Row:
    thread = run.threads.get(number)
    if thread is None:
        return {}
    task = thread.node.task
    return {"node_name": thread.node.node, "task_def": None if task is None else task.task_def}


def _failure_row(
    entry: LogEntry, thread: int, failure: Failure, log_offset: int, node: str | None, handler: str | None
) -> Row:
    *_, last = failure.chain()
    has_cause = last is not failure
    return {
        "wf_run_id": entry.wf_run_id,
        "seq": entry.seq,
        "thread": thread,
        "node_name": node,
        "code": failure.name,
        "failure_class": failure.failure_class.value,
        "message": failure.message,
        "failed_ms": entry.time_ms,
        "handler": handler,
        "cause_thread": failure.cause_thread,
        "cause_code": last.name if has_cause else None,
        "cause_message": last.message if has_cause else None,
        "log_offset": log_offset,
    }


def _masked_failure(log: RedactedLog, row: Row) -> Row:
    """Return the row of a failure without what is secret. Of its causes it has the last one."""
    cause: Failure | None = None
    failure_class = FailureClass(row["failure_class"])
    if row["cause_code"] is not None:
        cause = Failure(row["cause_code"], row["cause_message"], failure_class)
    told = Failure(row["code"], row["message"], failure_class, cause=cause)
    masked = log.failure(told, row["thread"], row["node_name"])
    return {**row, "message": masked.message, "cause_message": masked.cause and masked.cause.message}


def event_row(partition: int, log_offset: int, entry: LogEntry) -> Row:
    """Return the row that says where an event is on the log."""
    event, cause = entry.event, entry.cause
    code: str | None = None
    if isinstance(event, Rejected):
        code = event.code.value
    elif isinstance(event, NodeFailed | ThreadFailed):
        code = event.failure.name
    elif isinstance(event, TaskAttemptEnded):
        code = event.failure_name
    return {
        "partition": partition,
        "log_offset": log_offset,
        "wf_run_id": entry.wf_run_id,
        "incarnation": entry.incarnation,
        "seq": entry.seq,
        "event": type(event).__name__,
        "at_ms": entry.time_ms,
        "thread": getattr(event, "thread", None),
        "cause_topic": cause.topic,
        "cause_partition": cause.partition,
        "cause_offset": cause.offset,
        "code": code,
    }
