"""WfRuns as values: a test for equality, and a number that tells states apart, times and values included."""

from dataclasses import fields
from operator import attrgetter

from processors.core.records.model import (
    ExternalEventStatus,
    ThreadRun,
    WfRun,
    WfRunExternalEvent,
)

_state = attrgetter(*(item.name for item in fields(WfRun) if item.name not in {"changes", "index", "spec"}))
_NOT_IN_THE_ROW = {"changes", "index", "spec", "threads", "external_events", "kept_inputs"}
_row = attrgetter(*(item.name for item in fields(WfRun) if item.name not in _NOT_IN_THE_ROW))


def same(one: WfRun, other: WfRun) -> bool:
    """Return True if two WfRuns have the same rows, seq and time included."""
    return bool(_state(one) == _state(other))


def same_row(one: WfRun, other: WfRun) -> bool:
    """Return True if the rows of two WfRuns themselves are the same, without their threads and events."""
    return bool(_row(one) == _row(other))


def state_key(run: WfRun) -> int:
    """Return a number for everything that a WfRun's future depends on: without seq, cause and time.

    Of time only the order counts: in which timers are due, which of them are overdue, and which unclaimed event came
    before which deadline. The order of remembered ExternalEvents does not count.
    """
    dues = {thread.node.timer.due_ms for thread in run.threads.values() if thread.node.timer is not None}
    ranks = {due_ms: rank if due_ms > run.time_ms else -1 for rank, due_ms in enumerate(sorted(dues))}
    events = run.external_events.values()
    unclaimed = [event for event in events if event.status is ExternalEventStatus.UNCLAIMED]
    return hash(
        (
            tuple(_thread_key(thread, ranks, unclaimed) for thread in run.threads.values()),
            tuple((*event.key, event.thread) for event in unclaimed),
            frozenset((*event.key, event.status) for event in events),
            tuple(run.accepted_interrupts),
            tuple(run.unstarted_failure_handlers),
            run.greatest_thread_number,
            run.final_status,
            run.timer is None,
        )
    )


def _thread_key(thread: ThreadRun, ranks: dict[int, int], unclaimed: list[WfRunExternalEvent]) -> tuple[object, ...]:
    node, task = thread.node, thread.node.task
    deadline_ms, matured_seq = node.deadline_ms, node.matured_seq
    return (
        thread_key(thread),
        None if task is None else (task.started_ms is None, task.start_by_ms is None),
        None if node.timer is None else ranks[node.timer.due_ms],
        None if deadline_ms is None else tuple(event.posted_ms < deadline_ms for event in unclaimed),
        None if matured_seq is None else tuple(event.posted_seq > matured_seq for event in unclaimed),
    )


def thread_key(thread: ThreadRun) -> tuple[object, ...]:
    """Return a ThreadRun without its times."""
    node = thread.node
    task = node.task
    return (
        (thread.number, thread.type, thread.thread_spec, thread.parent, thread.status, thread.waiter),
        (node.node, node.position, node.failure, node.failure_handled, node.arrival_failure),
        None if node.timer is None else node.timer.kind,
        None if task is None else (task.status, task.attempt, task.result, task.failure_name, repr(task.progress)),
        None if node.waits is None else tuple((wait.thread, wait.handler, wait.handled) for wait in node.waits),
        repr(thread.variables) if thread.variables else "",
        repr(thread.outputs) if thread.outputs else "",
        tuple(thread.halt_reasons),
        tuple(thread.children),
        tuple(thread.handled_children),
        thread.external_event_id,
        thread.failure,
    )
