"""The state of a WfRun as a value: taken at a moment, and as a fork of it has it (docs/adr/0018).

A snapshot is what the rows would have. It is told from the WfRun: rows are copied, and values in them never change. A
fork keeps the numbers of threads and the positions of nodes. What counts on from its source's log is counted anew: its
times, its ExternalEvents' places in the order of arrival, and the seqs that are compared with those of new events.
"""

from dataclasses import replace

from processors.core.records.events import WfRunForked
from processors.core.records.model import (
    NodeRun,
    TaskRun,
    ThreadRun,
    Timer,
    WfRun,
    WfRunExternalEvent,
    WfRunSnapshot,
)
from processors.core.records.spec import AnyNode, SleepNode, WfSpec
from processors.core.records.values import INT_MAX, INT_MIN
from processors.core.rules.external_events import BEFORE_ITS_WF_RUN


def snapshot_of(run: WfRun, at_ms: int | None = None) -> WfRunSnapshot:
    """Return the state of a WfRun that was started, as it is at `at_ms` (epoch ms; its newest event's time by default).

    Its quarantine, its kept inputs and the ids of its commands are no part of it. The caller sees to it that no command
    is half folded: between two events of one, a WfRun is not at rest, and no fork starts from that.
    """
    assert run.wf_spec is not None, f"WfRun {run.wf_run_id!r} was not started"
    return WfRunSnapshot(
        wf_run_id=run.wf_run_id,
        incarnation=run.incarnation,
        seq=run.seq,
        at_ms=run.time_ms if at_ms is None else at_ms,
        wf_spec=run.wf_spec,
        greatest_thread_number=run.greatest_thread_number,
        accepted_interrupts=list(run.accepted_interrupts),
        unstarted_failure_handlers=list(run.unstarted_failure_handlers),
        threads=[copy_of_thread(thread) for thread in run.threads.values()],
        external_events=[copy_of_event(event) for event in run.external_events.values()],
    )


def run_of(snapshot: WfRunSnapshot) -> WfRun:
    """Return the WfRun whose state a snapshot is, with rows of its own. Its index is empty and it has no spec."""
    return WfRun(
        wf_run_id=snapshot.wf_run_id,
        incarnation=snapshot.incarnation,
        wf_spec=snapshot.wf_spec,
        seq=snapshot.seq,
        time_ms=snapshot.at_ms,
        greatest_thread_number=snapshot.greatest_thread_number,
        accepted_interrupts=list(snapshot.accepted_interrupts),
        unstarted_failure_handlers=list(snapshot.unstarted_failure_handlers),
        threads={thread.number: copy_of_thread(thread) for thread in snapshot.threads},
        external_events={event.key: copy_of_event(event) for event in snapshot.external_events},
    )


def forked_from(snapshot: WfRunSnapshot, spec: WfSpec, wf_run_id: str, time_ms: int) -> WfRunForked:
    """Return the event by which a new WfRun, which starts at `time_ms`, goes on from a snapshot.

    As much is left of each timer as was at the moment (rule fork-keeps-remaining-time). A SLEEP until a moment ends at
    that moment. ExternalEvents come along, before all that come to the fork (rule fork-carries-external-events). `spec`
    has every node that the threads are at.
    """
    later_ms = time_ms - snapshot.at_ms
    known = len(snapshot.external_events)
    return WfRunForked(
        source_wf_run_id=snapshot.wf_run_id,
        source_incarnation=snapshot.incarnation,
        source_seq=snapshot.seq,
        source_at_ms=snapshot.at_ms,
        greatest_thread_number=snapshot.greatest_thread_number,
        accepted_interrupts=list(snapshot.accepted_interrupts),
        unstarted_failure_handlers=list(snapshot.unstarted_failure_handlers),
        threads=[
            replace(
                thread,
                wf_run_id=wf_run_id,
                node=_node(thread, spec, snapshot.seq, later_ms),
                started_ms=thread.started_ms + later_ms,
                ended_ms=_later(thread.ended_ms, later_ms),
            )
            for thread in snapshot.threads
        ],
        external_events=[
            replace(
                event,
                wf_run_id=wf_run_id,
                posted_ms=event.posted_ms + later_ms,
                posted_offset=place - known,
                posted_seq=BEFORE_ITS_WF_RUN
                if event.posted_seq == BEFORE_ITS_WF_RUN
                else _before(event.posted_seq, snapshot.seq),
            )
            for place, event in enumerate(snapshot.external_events)
        ],
    )


def _node(thread: ThreadRun, spec: WfSpec, seq: int, later_ms: int) -> NodeRun:
    node, timer = thread.node, thread.node.timer
    if timer is not None and not ends_at_a_moment(spec.threads[thread.thread_spec].nodes[node.node]):
        timer = Timer(timer.kind, min(timer.due_ms + later_ms, INT_MAX))
    return replace(
        node,
        arrived_ms=node.arrived_ms + later_ms,
        timer=timer,
        deadline_ms=_later(node.deadline_ms, later_ms),
        matured_seq=None if node.matured_seq is None else _before(node.matured_seq, seq),
        task=None if node.task is None else _task(node.task, later_ms),
    )


def _task(task: TaskRun, later_ms: int) -> TaskRun:
    return replace(
        task,
        retry_at_ms=_later(task.retry_at_ms, later_ms),
        start_by_ms=_later(task.start_by_ms, later_ms),
        started_ms=_later(task.started_ms, later_ms),
    )


def ends_at_a_moment(node: AnyNode) -> bool:
    """Say whether a node waits until a moment that its Variables say, however long that is from its arrival."""
    return isinstance(node, SleepNode) and node.seconds is None


def _later(time_ms: int | None, by_ms: int) -> int | None:
    """Return a time as a fork has it. What came in may have any time of 64 bits."""
    return None if time_ms is None else max(INT_MIN, min(time_ms + by_ms, INT_MAX))


def _before(number: int, seq: int) -> int:
    """Return a seq of the source counted back from the moment: its newest event was -1, the one before it -2."""
    return number - seq - 1


def copy_of_thread(thread: ThreadRun) -> ThreadRun:
    """Return a thread of its own, which can be changed."""
    node, waits = thread.node, thread.node.waits
    return replace(
        thread,
        node=replace(node, waits=None if waits is None else [replace(wait) for wait in waits]),
        variables=dict(thread.variables),
        outputs=dict(thread.outputs),
        halt_reasons=list(thread.halt_reasons),
        children=list(thread.children),
        handled_children=list(thread.handled_children),
    )


def copy_of_event(event: WfRunExternalEvent) -> WfRunExternalEvent:
    """Return an ExternalEvent of its own, which can be changed."""
    return replace(event, outcomes=None if event.outcomes is None else list(event.outcomes))
