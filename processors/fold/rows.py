"""The rows of a WfRun on the state topics: which there are, under which keys; and how a WfRun comes back from them.

The fold writes the rows that a turn changed and restores WfRuns from them. The tools, which show a WfRun, read the same
topics. Knows records; knows no bytes and no store.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias, TypeVar, assert_never

from processors.core.records.model import ExternalEventKey, KeptInput, ThreadRun, WfRun, WfRunExternalEvent
from processors.core.records.topic_names import (
    KEPT_INPUTS,
    OPERATOR_COMMANDS,
    THREAD_RUNS,
    WF_RUN_EXTERNAL_EVENTS,
    WF_RUNS,
)
from processors.core.rules.evolve import new_run

T = TypeVar("T")
RowRecord: TypeAlias = WfRun | ThreadRun | WfRunExternalEvent | KeptInput
RowChange: TypeAlias = tuple[str, str, RowRecord | None]
"""Topic, key and record of a row that a turn wrote; None in place of the record for a row that is gone."""

RECORD_OF: Final[Mapping[str, type[RowRecord]]] = {
    WF_RUNS: WfRun,
    THREAD_RUNS: ThreadRun,
    WF_RUN_EXTERNAL_EVENTS: WfRunExternalEvent,
    KEPT_INPUTS: KeptInput,
}
"""Topic of rows -> the record that each of its rows is."""


def external_event_row_key(wf_run_id: str, key: ExternalEventKey) -> str:
    """Return the key of the row of an ExternalEvent."""
    event_def, event_id = key
    return f"{wf_run_id}/{event_def}/{event_id}"


def changed_rows(run: WfRun, *, own_row_is_lost: bool) -> Iterator[RowChange]:
    """Yield the rows that `run.changes` says must be written, in the order of the log.

    Rows that are gone come before those that are there, because a deleted id may be in use again. If the WfRun's own
    row is lost, it is not written: the row of `kept-inputs` says that the WfRun is in quarantine.
    """
    changes, wf_run_id = run.changes, run.wf_run_id
    for thread in changes.left:
        key = f"{wf_run_id}/{thread.number}"
        if not changes.deleted:
            yield THREAD_RUNS, key, thread
        yield THREAD_RUNS, key, None
    for forgotten in changes.forgotten:
        yield WF_RUN_EXTERNAL_EVENTS, external_event_row_key(wf_run_id, forgotten), None
    for changed in sorted(changes.external_events):
        yield WF_RUN_EXTERNAL_EVENTS, external_event_row_key(wf_run_id, changed), run.external_events[changed]
    for number in sorted(changes.threads):
        yield THREAD_RUNS, f"{wf_run_id}/{number}", run.threads[number]
    for kept in changes.decided:
        yield KEPT_INPUTS, kept.row_key, None
    for kept in changes.kept:
        yield KEPT_INPUTS, kept.row_key, kept
    if run.exists:
        yield WF_RUNS, wf_run_id, run
    elif own_row_is_lost:
        pass
    elif run.quarantined_ms is not None:
        yield WF_RUNS, wf_run_id, run
    elif changes.deleted or changes.released:
        yield WF_RUNS, wf_run_id, None


def wf_run_of(wf_run_id: str, records: Iterable[RowRecord]) -> WfRun:
    """Return the WfRun that has these rows, given in any order; a new one if there are none."""
    own: WfRun | None = None
    threads: list[ThreadRun] = []
    events: list[WfRunExternalEvent] = []
    kept: list[KeptInput] = []
    for record in records:
        if isinstance(record, ThreadRun):
            threads.append(record)
        elif isinstance(record, WfRun):
            own = record
        elif isinstance(record, WfRunExternalEvent):
            events.append(record)
        elif isinstance(record, KeptInput):
            kept.append(record)
        else:
            assert_never(record)
    run = new_run(wf_run_id) if own is None else own
    run.threads = {thread.number: thread for thread in _in_order(threads, lambda thread: thread.number)}
    run.external_events = {event.key: event for event in _in_order(events, lambda event: event.arrival)}
    _put_kept(run, _in_order(kept, lambda kept_input: kept_input.number))
    return run


def has_rows(run: WfRun) -> bool:
    """Return True if there is something under the id of this WfRun: the WfRun, ExternalEvents or a quarantine."""
    return run.exists or bool(run.external_events) or run.quarantined_ms is not None


def _put_kept(run: WfRun, kept: Iterable[KeptInput]) -> None:
    run.kept_inputs = []
    for kept_input in kept:
        if kept_input.topic != OPERATOR_COMMANDS:
            run.kept_inputs.append(kept_input)
        elif run.quarantined_ms is None:
            # It was put into quarantine while its own row could not be read. That row may be mended since.
            run.quarantined_ms = kept_input.timestamp_ms


def _in_order(records: list[T], by: Callable[[T], int]) -> list[T]:
    # Nearly always there is one.
    return sorted(records, key=by) if len(records) > 1 else records
