"""The meaning of events: the only code that changes the rows of a WfRun.

It refuses nothing and decides nothing. It knows no WfSpec, no limits and no other WfRun, so replaying a log needs
nothing but the log. The WfRun is changed in place, by the fold that owns it; every row that an arm touches is noted in
`changes`. What an arm makes of a released event never changes: new meaning gets a new event (docs/adr/0005).
"""

import bisect
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, assert_never

from processors.core.records.events import (
    ArrivalFailed,
    ChildFailureHandled,
    CorrelationKeyChanged,
    ExternalEventDropped,
    ExternalEventPosted,
    Halt,
    HaltReasonResolved,
    Ignored,
    InputKept,
    InterruptAccepted,
    InterruptDropped,
    InterruptSuperseded,
    LogEntry,
    MigratedThread,
    NodeCompleted,
    NodeFailed,
    RecordSkipped,
    Rejected,
    Resume,
    SkipAccepted,
    SkipLapsed,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptProgressed,
    TaskAttemptRequested,
    TaskAttemptStarted,
    ThreadCompleted,
    ThreadFailed,
    ThreadHalted,
    ThreadRescued,
    ThreadRetired,
    TimerArmed,
    TimerMatured,
    WaitStarted,
    WfRunDeleted,
    WfRunEnded,
    WfRunForked,
    WfRunMigrated,
    WfRunQuarantined,
    WfRunReleased,
    WfRunStarted,
    WorkflowEventThrown,
)
from processors.core.records.model import (
    FAILED,
    MANY_REASONS,
    NO_INCARNATION,
    OUTCOMES_MAX,
    TERMINAL,
    AcceptedInterrupt,
    CorrelationKey,
    ExternalEventKey,
    ExternalEventOutcome,
    ExternalEventStatus,
    Failure,
    HaltedByParent,
    HaltReason,
    HandlingFailure,
    Index,
    Interrupted,
    KeptInput,
    NodeRun,
    PendingFailure,
    PendingInterrupt,
    Status,
    TaskRun,
    TaskRunStatus,
    TaskStatus,
    ThreadRun,
    ThreadType,
    ThreadWait,
    Timer,
    TimerKind,
    UnstartedFailureHandler,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.records.topic_names import WF_COMMANDS
from processors.core.rules.indexing import (
    count_reason,
    forget_gone_handler,
    forget_reasons,
    forget_threads,
    forget_waits,
    index_of,
    list_accepted,
    list_handler,
    list_thread,
    list_unclaimed,
    list_unstarted_handler,
    list_waits,
    remove_from,
    unlist_handler,
    unlist_live,
    unlist_thread,
    unlist_unclaimed,
)
from processors.core.rules.snapshots import copy_of_event, copy_of_thread

COMMAND_IDS_REMEMBERED: Final = 64
"""Number of decided commands of a WfRun that are known again when they are repeated."""


def replay(history: Iterable[LogEntry], run: WfRun) -> WfRun:
    """Fold a WfRun's log, or the rest of it, without running a rule."""
    for entry in history:
        evolve(run, entry)
    return run


def evolve(run: WfRun, entry: LogEntry) -> None:
    """Change the WfRun to what it is after this event."""
    event = entry.event
    if run.wf_spec is not None or type(event) is WfRunStarted:
        run.seq = entry.seq
        run.time_ms = entry.time_ms
    match event:  # the most frequent ones first: arms are tried in order
        case NodeCompleted():
            _complete_node(run, event)
        case Halt(thread=number, reason=reason):
            thread = _change(run, number)
            thread.halt_reasons.append(reason)  # the first makes it halt (rule reasons-add-up)
            if len(thread.halt_reasons) >= MANY_REASONS:
                count_reason(run.index, thread, type(reason), 1)
            if thread.status is Status.RUNNING:
                thread.status = Status.HALTING
            if type(reason) is PendingInterrupt:
                _accept(run, number, reason.external_event_def, reason.external_event_id)
            elif type(reason) is HaltedByParent:
                run.index.ended.append(number)
        case ExternalEventPosted():
            _post(run, entry, event)
        case ThreadHalted(thread=number):
            _change(run, number).status = Status.HALTED
        case SpawnChild():
            _spawn(run, event)
        case ThreadCompleted():
            _complete_thread(run, event)
        case Resume(thread=number):
            thread = _change(run, number)
            thread.status = Status.RUNNING
            if len(thread.halt_reasons) >= MANY_REASONS or number in run.index.gone_handlers:
                forget_reasons(run.index, number)
            thread.halt_reasons = []
        case TaskAttemptRequested():
            node = _change(run, event.thread).node
            node.task = TaskRun(
                TaskRunStatus.OUT,
                event.attempt,
                event.task_def,
                event.input,
                start_by_ms=event.start_by_ms,
                progress=event.progress,
            )
            node.timer = Timer(TimerKind.TASK_TIMEOUT, event.deadline_ms)
        case TaskAttemptEnded():
            _end_attempt(_change(run, event.thread).node, event, run.time_ms)
        case TaskAttemptStarted():
            node = _change(run, event.thread).node
            assert node.task is not None
            node.task = replace(node.task, started_ms=event.started_ms)
            node.timer = Timer(TimerKind.TASK_TIMEOUT, event.deadline_ms)
        case TaskAttemptProgressed():
            node = _change(run, event.thread).node
            assert node.task is not None
            node.task = replace(node.task, progress=event.content)
        case WfRunStarted():
            _start(run, entry, event)
        case WfRunForked():
            _fork(run, event)
        case WfRunMigrated():
            _migrate(run, event)
        case WfRunDeleted():
            _delete(run)
            return
        case InterruptAccepted():
            _accept(run, event.thread, event.external_event_def, event.external_event_id)
        case InterruptDropped():
            _discard_interrupt(run, event, ExternalEventStatus.DROPPED)
        case InterruptSuperseded():
            _discard_interrupt(run, event, ExternalEventStatus.SUPERSEDED)
        case HaltReasonResolved(thread=number, reason=reason):
            thread = _change(run, number)
            thread.halt_reasons.remove(reason)
            count_reason(run.index, thread, type(reason), -1)
            if isinstance(reason, Interrupted | HandlingFailure):
                forget_gone_handler(run.index, number, reason.handler)
        case NodeFailed():
            thread = _change(run, event.thread)
            _claim(run, event)
            _fail_node(thread, event.failure)
            run.unstarted_failure_handlers.append(UnstartedFailureHandler(event.thread, event.position, event.handler))
            list_unstarted_handler(run.index, event.thread)
        case TimerArmed(thread=number, timer=timer):
            node = _change(run, number).node
            node.timer = timer
            if timer.kind is TimerKind.EXTERNAL_EVENT_TIMEOUT:
                node.deadline_ms = timer.due_ms
        case TimerMatured(thread=number):
            node = _change(run, number).node
            node.timer = None
            node.matured_seq = entry.seq
        case ArrivalFailed(thread=number, failure=failure):
            node = _change(run, number).node
            node.arrival_failure = failure
            node.matured_seq = entry.seq
        case WaitStarted(thread=number, threads=threads):
            at_work = _handlers_at_work(run, number)
            waits = [ThreadWait(waited_for, at_work.get(waited_for)) for waited_for in threads]
            _change(run, number).node.waits = waits
            list_waits(run.index, number, waits)
        case ChildFailureHandled(thread=number, children=children):
            _overlook(_change(run, number), children)
        case WorkflowEventThrown():
            pass
        case ThreadFailed(thread=number, failure=failure):
            _claim(run, event)
            _fail_thread(run, _change(run, number), failure)
        case ThreadRetired(thread=number):
            _leave(run, run.threads[number])
        case ThreadRescued():
            _rescue(run, event)
        case WfRunEnded():
            _end(run, event)
        case ExternalEventDropped():
            dropped = _change_event(run, (event.external_event_def, event.external_event_id))
            dropped.status = ExternalEventStatus.DROPPED
            dropped.content = None
        case CorrelationKeyChanged():
            _change_key(run, event)
        case WfRunQuarantined():
            run.quarantined_ms = event.at_ms
        case InputKept():
            _keep(run, entry, event)
            return  # its command has not been decided
        case WfRunReleased():
            _release(run)
        case RecordSkipped():
            return  # nor has this one's
        case Rejected() | Ignored() | SkipAccepted() | SkipLapsed():
            pass
        case _:
            assert_never(event)
    if run.wf_spec is not None and entry.cause.topic == WF_COMMANDS:
        _remember_command(run, entry.cause.command_id)


def _change(run: WfRun, number: int) -> ThreadRun:
    """Return the thread, noted as changed."""
    run.changes.threads.add(number)
    return run.threads[number]


def _remember_command(run: WfRun, command_id: str | None) -> None:
    if command_id is not None and command_id not in run.command_ids:
        run.command_ids.append(command_id)
        del run.command_ids[:-COMMAND_IDS_REMEMBERED]


def _start(run: WfRun, entry: LogEntry, event: WfRunStarted) -> None:
    run.incarnation = entry.incarnation
    run.wf_spec = event.wf_spec
    run.definitions_position = entry.cause.definitions_position
    run.started_ms = run.time_ms
    run.greatest_thread_number = 0
    _add_thread(
        run,
        ThreadRun(
            wf_run_id=run.wf_run_id,
            number=0,
            type=ThreadType.ENTRYPOINT,
            thread_spec=event.thread_spec,
            parent=None,
            status=Status.RUNNING,
            node=NodeRun(position=0, node=event.node, arrived_ms=run.time_ms),
            started_ms=run.time_ms,
            variables=dict(event.variables),
        ),
    )


def _fork(run: WfRun, event: WfRunForked) -> None:
    """Go on from the state of another WfRun, in place of thread 0 as it started.

    What came to the new id before its start comes after what the other WfRun had.
    """
    steps_left = run.index.steps_left
    run.greatest_thread_number = event.greatest_thread_number
    run.accepted_interrupts = list(event.accepted_interrupts)
    run.unstarted_failure_handlers = list(event.unstarted_failure_handlers)
    run.threads = {thread.number: copy_of_thread(thread) for thread in event.threads}
    run.external_events = {it.key: copy_of_event(it) for it in event.external_events} | run.external_events
    run.changes.threads.update(run.threads)
    run.changes.external_events.update(it.key for it in event.external_events)
    run.index = index_of(run)
    run.index.steps_left = steps_left


def _migrate(run: WfRun, event: WfRunMigrated) -> None:
    """Go on by another version (rule migration-goes-on). What rules noted in the index they noted by the one before."""
    steps_left = run.index.steps_left
    run.wf_spec = event.wf_spec
    for migrated in event.threads:
        _migrate_thread(_change(run, migrated.thread), migrated)
    run.index = index_of(run)
    run.index.steps_left = steps_left


def _migrate_thread(thread: ThreadRun, migrated: MigratedThread) -> None:
    for name in migrated.variables_gone:
        del thread.variables[name]
    thread.variables.update(migrated.variables)
    for node in migrated.outputs_gone:
        del thread.outputs[node]
    if migrated.forgets_visit:
        visit = thread.node
        thread.node = NodeRun(
            position=visit.position,
            node=visit.node,
            arrived_ms=visit.arrived_ms,
            failure=visit.failure,
            failure_handled=visit.failure_handled,
        )


def _delete(run: WfRun) -> None:
    """Leave nothing of a WfRun but its id, which is free (rule deleted-id-is-free)."""
    run.changes.left.extend(run.threads.values())
    run.changes.threads.clear()
    run.changes.forgotten.extend(run.external_events)
    run.changes.external_events.clear()
    run.changes.deleted = True
    fresh = WfRun(run.wf_run_id)
    for name in _OWN_FIELDS:
        setattr(run, name, getattr(fresh, name))


_OWN_FIELDS: Final = (
    "incarnation",
    "wf_spec",
    "definitions_position",
    "seq",
    "time_ms",
    "greatest_thread_number",
    "started_ms",
    "ended_ms",
    "accepted_interrupts",
    "unstarted_failure_handlers",
    "command_ids",
    "timer",
    "final_status",
    "quarantined_ms",
    "correlation_keys",
    "threads",
    "external_events",
    "kept_inputs",
    "index",
    "spec",
)
"""All of a WfRun but its id and the note of what must be written."""


def _post(run: WfRun, entry: LogEntry, event: ExternalEventPosted) -> None:
    for old in event.forgotten:
        key = (old.external_event_def, old.external_event_id)
        forgotten = run.external_events.pop(key)
        remove_from(run.index.remembered, (forgotten.arrival, *key))
        run.changes.forgotten.append(key)
        run.changes.external_events.discard(key)
    event_def, event_id = event.external_event_def, event.external_event_id
    run.external_events[event_def, event_id] = WfRunExternalEvent(
        wf_run_id=run.wf_run_id,
        external_event_def=event_def,
        external_event_id=event_id,
        status=ExternalEventStatus.UNCLAIMED,
        posted_ms=entry.time_ms if event.appended_ms is None else event.appended_ms,
        posted_offset=entry.cause.offset,
        posted_seq=entry.seq,
        content=event.content,
        thread=event.thread,
        outcomes=[] if event.keeps_outcomes else None,
    )
    run.changes.external_events.add((event_def, event_id))
    list_unclaimed(run.index, run.external_events[event_def, event_id])


def _change_event(run: WfRun, key: ExternalEventKey) -> WfRunExternalEvent:
    """Return the ExternalEvent, noted as changed; whatever is done with it, it is unclaimed no longer."""
    run.changes.external_events.add(key)
    event = run.external_events[key]
    unlist_unclaimed(run.index, event)
    return event


def _accept(run: WfRun, number: int, event_def: str, event_id: str) -> None:
    run.accepted_interrupts.append(AcceptedInterrupt(number, event_def, event_id))
    list_accepted(run.index, number, event_def, event_id)
    event = _change_event(run, (event_def, event_id))
    event.status = ExternalEventStatus.CLAIMED
    _note_outcome(event, number, ExternalEventStatus.CLAIMED)


def _note_outcome(event: WfRunExternalEvent, number: int, status: ExternalEventStatus, *, is_new: bool = True) -> None:
    """Note what became of an ExternalEvent in a thread, for the first 100 threads (rule outcomes-per-thread).

    It is new there, or takes the place of an earlier outcome.
    """
    outcomes = event.outcomes
    if outcomes is None:
        return
    if not outcomes:
        outcomes.append(ExternalEventOutcome(number, status))
        return
    at = bisect.bisect_left(outcomes, number, key=_thread_of)
    if at < len(outcomes) and outcomes[at].thread == number:
        outcomes[at] = ExternalEventOutcome(number, status)
    elif not is_new:
        pass  # that was left out
    elif len(outcomes) < OUTCOMES_MAX:
        outcomes.insert(at, ExternalEventOutcome(number, status))
    else:
        event.outcomes_left_out += 1


def _thread_of(outcome: ExternalEventOutcome) -> int:
    return outcome.thread


def _take_off_pending(run: WfRun, number: int, key: ExternalEventKey) -> bool:
    """Take an interrupt off the list of those that wait; return whether it was there.

    The content of its event goes with the last thread that waits for it.
    """
    event_def, event_id = key
    index = run.index
    by_def = index.pending.get(number)
    ranks = None if by_def is None else by_def.get(event_def)
    was_accepted = ranks is not None and event_id in ranks
    if by_def is not None and ranks is not None and was_accepted:
        heads, first = index.pending_heads[number], next(iter(ranks.values()))
        rank = ranks.pop(event_id)
        del run.accepted_interrupts[index.pending_ranks.take(rank)]
        if rank == first:
            remove_from(heads, (rank, event_def))
            if ranks:
                bisect.insort(heads, (next(iter(ranks.values())), event_def))
            else:
                del by_def[event_def]
                if not by_def:
                    del index.pending[number], index.pending_heads[number]
        index.awaiting[key] -= 1
        if not index.awaiting[key]:
            del index.awaiting[key]
    if key not in index.awaiting:
        _change_event(run, key).content = None
    return was_accepted


def _discard_interrupt(run: WfRun, event: InterruptDropped | InterruptSuperseded, status: ExternalEventStatus) -> None:
    """Take an interrupt off its thread whose handler will never start."""
    key = (event.external_event_def, event.external_event_id)
    was_accepted = _take_off_pending(run, event.thread, key)
    discarded = _change_event(run, key)
    discarded.status = status
    _note_outcome(discarded, event.thread, status, is_new=not was_accepted)
    if not was_accepted:
        return  # only what was accepted can hold its thread: ten thousand may be dropped where a thousand wait
    reason = PendingInterrupt(event.external_event_def, event.external_event_id)
    thread = run.threads.get(event.thread)
    if thread is not None and run.is_held_by(thread, PendingInterrupt) and reason in thread.halt_reasons:
        _change(run, event.thread).halt_reasons.remove(reason)
        count_reason(run.index, thread, PendingInterrupt, -1)


def _spawn(run: WfRun, event: SpawnChild) -> None:
    """Add a thread, whose number the event says: the next one (rule numbers-in-spawning-order)."""
    parent = _change(run, event.parent)
    parent.children.append(event.thread)
    run.greatest_thread_number = event.thread
    _add_thread(
        run,
        ThreadRun(
            wf_run_id=run.wf_run_id,
            number=event.thread,
            type=event.type,
            thread_spec=event.spec,
            parent=event.parent,
            status=Status.RUNNING,
            node=NodeRun(position=0, node=event.node, arrived_ms=run.time_ms),
            started_ms=run.time_ms,
            variables=dict(event.variables),
            waiter=event.waiter,
            external_event_def=event.external_event_def,
            external_event_id=event.external_event_id,
            halts_parent=event.halts_parent,
        ),
    )
    if event.type is ThreadType.INTERRUPT:
        assert event.external_event_def is not None
        assert event.external_event_id is not None
        key = (event.external_event_def, event.external_event_id)
        _take_off_pending(run, event.parent, key)
        if event.halts_parent:
            _replace(run.index, parent, PendingInterrupt(*key), Interrupted(event.thread))
    elif event.waiter is not None:
        _change(run, event.waiter)
        run.index.waits[event.waiter][event.parent].handler = event.thread
    elif event.type is ThreadType.FAILURE_HANDLER:
        _forget_unstarted_handler(run, event.parent)
        pending = [reason for reason in parent.halt_reasons if type(reason) is PendingFailure]
        _replace(run.index, parent, pending[0], HandlingFailure(event.thread))
        for reason in pending[1:]:
            parent.halt_reasons.remove(reason)
            count_reason(run.index, parent, PendingFailure, -1)


def _replace(index: Index, thread: ThreadRun, old: HaltReason, new: HaltReason) -> None:
    """Put the reason of a handler that has started in the place of the one that it was pending."""
    reasons = thread.halt_reasons
    if len(reasons) < MANY_REASONS:
        reasons[reasons.index(old)] = new
    else:
        # Handlers start in order: nearly always those that run stand before those that wait.
        first = len(reasons) - index.reasons[thread.number][type(old)]
        reasons[first if reasons[first] == old else reasons.index(old)] = new
        count_reason(index, thread, type(old), -1)
        count_reason(index, thread, type(new), 1)


def _complete_node(run: WfRun, event: NodeCompleted) -> None:
    thread = _change(run, event.thread)
    for write in event.writes:
        _change(run, write.thread).variables[write.name] = write.value
    if event.keeps_output:
        thread.outputs[event.node] = event.output
    _claim(run, event)
    if thread.node.waits is not None:
        forget_waits(run.index, event.thread)
    thread.node = NodeRun(position=event.position + 1, node=event.next_node, arrived_ms=run.time_ms)


def _claim(run: WfRun, event: NodeCompleted | NodeFailed | ThreadFailed) -> None:
    """Use up what an EXTERNAL_EVENT node has claimed, also if the node failed on its way out."""
    if event.external_event_def is not None and event.external_event_id is not None:
        claimed = _change_event(run, (event.external_event_def, event.external_event_id))
        claimed.status = ExternalEventStatus.CLAIMED
        claimed.content = None
        _note_outcome(claimed, event.thread, ExternalEventStatus.CLAIMED)


def _fail_node(thread: ThreadRun, failure: Failure) -> None:
    """Note that the node failed: it waits for no time any more."""
    thread.node.failure = failure
    thread.node.failure_handled = False
    thread.node.timer = None


def _end_attempt(node: NodeRun, event: TaskAttemptEnded, time_ms: int) -> None:
    task = node.task
    assert task is not None
    retrying = event.retry_at_ms is not None
    node.task = TaskRun(
        status=TaskRunStatus.RETRYING if retrying else TaskRunStatus.DONE,
        attempt=event.attempt,
        task_def=task.task_def,
        input=task.input if retrying else {},
        retry_at_ms=event.retry_at_ms,
        result=event.status,
        output=event.output,
        failure_name=event.failure_name,
        message=event.message,
        content=event.content,
        progress=task.progress if retrying else None,
    )
    if event.retry_at_ms is not None and event.retry_at_ms > time_ms:
        node.timer = Timer(TimerKind.TASK_BACKOFF, event.retry_at_ms)
    else:
        node.timer = None
    assert not (retrying and event.status in (TaskStatus.SUCCESS, TaskStatus.EXCEPTION))


def _handlers_at_work(run: WfRun, waiter: int) -> dict[int | None, int]:
    """Return, by failed child, the failure handler that an earlier wait of this thread started, before a rescue."""
    handlers = [run.threads[number] for number in run.index.waiter_handlers.get(waiter, ())]
    return {it.parent: it.number for it in reversed(handlers) if it.status not in TERMINAL}


def _overlook(thread: ThreadRun, children: Iterable[int]) -> None:
    """Have the EXIT of a thread overlook these failed children: they were dealt with."""
    known = dict.fromkeys(thread.handled_children)
    thread.handled_children.extend(child for child in dict.fromkeys(children) if child not in known)


def _complete_thread(run: WfRun, event: ThreadCompleted) -> None:
    """Complete a thread; all but thread 0 leave (rule completed-threads-leave)."""
    thread = _change(run, event.thread)
    thread.status = Status.COMPLETED
    thread.output = event.output
    thread.ended_ms = run.time_ms
    if thread.type is ThreadType.FAILURE_HANDLER:
        _note_handled(run, thread)
    if thread.number == 0:
        run.ended_ms = run.time_ms
        unlist_thread(run.index, thread)
    else:
        _leave(run, thread)


def _note_handled(run: WfRun, handler: ThreadRun) -> None:
    """Count what a failure handler has handled as successful, now that the handler has completed."""
    assert handler.parent is not None
    if handler.waiter is not None:
        waiter = _change(run, handler.waiter)
        wait = run.index.waits.get(handler.waiter, {}).get(handler.parent)
        if wait is not None and wait.handler == handler.number:
            wait.handled = True
            _overlook(waiter, [wait.thread])
        return
    failed = _change(run, handler.parent)
    failed.node.failure_handled = True
    if failed.node.waits is not None:
        waited_for = (wait.thread for wait in failed.node.waits)
        _overlook(failed, [number for number in waited_for if run.thread_status(number) in FAILED])


def _fail_thread(run: WfRun, thread: ThreadRun, failure: Failure) -> None:
    thread.status = Status(failure.failure_class)
    thread.failure = failure
    thread.ended_ms = run.time_ms
    thread.halt_reasons = []
    forget_reasons(run.index, thread.number)
    _fail_node(thread, failure)
    _forget_unstarted_handler(run, thread.number)
    unlist_live(run.index, thread)
    run.index.ended.append(thread.number)
    if thread.number == 0:
        run.ended_ms = run.time_ms


def _forget_unstarted_handler(run: WfRun, number: int) -> None:
    """Take the failure handlers of a thread off the list of those that are to start."""
    for rank in run.index.unstarted.pop(number, ()):
        del run.unstarted_failure_handlers[run.index.unstarted_ranks.take(rank)]


def _rescue(run: WfRun, event: ThreadRescued) -> None:
    """Revive a thread at its node, at a new position, or past it (rule rescue-runs-the-node-again)."""
    thread = _change(run, event.thread)
    thread.status = Status.RUNNING
    thread.failure = None
    thread.ended_ms = None
    if event.skip_current_node:
        thread.node.failure_handled = True
    else:
        forget_waits(run.index, event.thread)
        thread.node = NodeRun(position=thread.node.position + 1, node=thread.node.node, arrived_ms=run.time_ms)
    list_thread(run.index, thread)
    if thread.number == 0:
        run.ended_ms = None
        run.timer = None


def _end(run: WfRun, event: WfRunEnded) -> None:
    """End a WfRun; its threads leave unless it is in ERROR (rule ended-wf-run-keeps-a-row)."""
    run.timer = Timer(TimerKind.RETENTION, event.delete_at_ms)
    if event.status is not Status.ERROR:
        run.final_status = event.status
        run.changes.left.extend(run.threads.values())
        run.changes.threads.clear()
        run.threads = {}
        forget_threads(run.index)


def _change_key(run: WfRun, event: CorrelationKeyChanged) -> None:
    """Note another key in another dict: so whoever has the one before sees that something has changed."""
    name = event.external_event_def
    keys = {of: key for of, key in run.correlation_keys.items() if of != name}
    if event.correlation_key is not None or event.problem is not None:
        keys[name] = CorrelationKey(event.correlation_key, event.problem)
    run.correlation_keys = keys


def _keep(run: WfRun, entry: LogEntry, event: InputKept) -> None:
    kept = KeptInput(
        wf_run_id=run.wf_run_id,
        topic=entry.cause.topic,
        partition=entry.cause.partition,
        offset=entry.cause.offset,
        number=run.kept_inputs[-1].number + 1 if run.kept_inputs else 1,
        timestamp_ms=event.timestamp_ms,
        key=event.key,
        value=event.value,
        headers=event.headers,
    )
    run.kept_inputs.append(kept)
    run.changes.kept.append(kept)


def _release(run: WfRun) -> None:
    run.quarantined_ms = None
    run.changes.decided.extend(run.kept_inputs)
    run.changes.kept.clear()
    run.changes.released = True
    run.kept_inputs = []


def _add_thread(run: WfRun, thread: ThreadRun) -> None:
    run.threads[thread.number] = thread
    run.changes.threads.add(thread.number)
    list_thread(run.index, thread)
    list_handler(run.index, thread)


def _leave(run: WfRun, thread: ThreadRun) -> None:
    """Take a thread and all that is left below it out of the hot state."""
    assert thread.parent is not None
    parent = _change(run, thread.parent)
    remove_from(parent.children, thread.number)
    if thread.status in FAILED and thread.number in parent.handled_children:
        parent.handled_children.remove(thread.number)
    if thread.halts_parent and thread.waiter is None and thread.type is not ThreadType.CHILD and parent.halt_reasons:
        run.index.gone_handlers.setdefault(parent.number, []).append(thread.number)
    index = run.index
    leaving = [thread]
    while leaving:
        left = leaving.pop()
        number = left.number
        if left.children:
            leaving.extend(run.threads[child] for child in left.children)
        if number in index.unstarted:
            _forget_unstarted_handler(run, number)
        del run.threads[number]
        run.changes.threads.discard(number)
        run.changes.left.append(left)
        unlist_thread(index, left)
        unlist_handler(index, left)
        if number in index.waits:
            forget_waits(index, number)
        forget_reasons(index, number)
        if number in index.pending:
            index.ended.append(number)


def new_run(wf_run_id: str) -> WfRun:
    """Return what a fold starts from: nothing is known under this id."""
    run = WfRun(wf_run_id)
    assert run.incarnation == NO_INCARNATION
    return run


__all__ = ["evolve", "new_run", "replay"]
