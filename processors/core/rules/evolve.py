"""What an event means: the only code that changes a WfRun. Total, free of rules, and quick.

It knows no WfSpec, no limits and no other WfRun, so replaying a log needs nothing but the log. The WfRun is changed in
place, by the fold that owns it; every row that an arm touches is noted in `changes`. What an arm does to a released
event never changes (STYLE): new meaning gets a new event.
"""

import bisect
from collections import Counter
from collections.abc import Iterable
from typing import Any, assert_never

from processors.core.records.commands import TaskStatus, TimerKind
from processors.core.records.events import (
    ArrivalFailed,
    ChildFailureHandled,
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
    NodeCompleted,
    NodeFailed,
    RecordSkipped,
    Rejected,
    Resume,
    SkipAccepted,
    SkipLapsed,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptRequested,
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
    ThreadRun,
    ThreadType,
    ThreadWait,
    Timer,
    UnstartedFailureHandler,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.records.topic_names import WF_COMMANDS
from processors.core.records.values import size_of

COMMAND_IDS_REMEMBERED = 64
"""How many decided commands of a WfRun are known again when they are repeated (DESIGN 3)."""
"""The input topic of commands, whose ids are remembered; the workers' group shares out its partitions."""


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
            thread.halt_reasons.append(reason)
            if len(thread.halt_reasons) >= MANY_REASONS:
                _count_reason(run.index, thread, type(reason), 1)
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
                _forget_reasons(run.index, number)
            thread.halt_reasons = []
        case TaskAttemptRequested():
            node = _change(run, event.thread).node
            node.task = TaskRun(TaskRunStatus.OUT, event.attempt, event.task_def, event.input)
            node.timer = Timer(TimerKind.TASK_TIMEOUT, event.deadline_ms)
        case TaskAttemptEnded():
            _end_attempt(_change(run, event.thread).node, event, run.time_ms)
        case WfRunStarted():
            _start(run, entry, event)
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
            _count_reason(run.index, thread, type(reason), -1)
            if isinstance(reason, Interrupted | HandlingFailure):
                _forget_gone_handler(run.index, number, reason.handler)
        case NodeFailed():
            thread = _change(run, event.thread)
            _claim(run, event)
            _fail_node(thread, event.failure)
            run.unstarted_failure_handlers.append(UnstartedFailureHandler(event.thread, event.position, event.handler))
            _list_unstarted_handler(run.index, event.thread)
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
            _list_waits(run.index, number, waits)
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
    """The thread, noted as changed."""
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


# (rule deleted-id-is-free)
def _delete(run: WfRun) -> None:
    run.changes.left.extend(run.threads.values())
    run.changes.threads.clear()
    run.changes.forgotten.extend(run.external_events)
    run.changes.external_events.clear()
    run.changes.deleted = True
    fresh = WfRun(run.wf_run_id)
    for name in _OWN_FIELDS:
        setattr(run, name, getattr(fresh, name))


_OWN_FIELDS = (
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
        _remove(run.index.remembered, (forgotten.posted_offset, *key))
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
    _list_unclaimed(run.index, run.external_events[event_def, event_id])


def _change_event(run: WfRun, key: ExternalEventKey) -> WfRunExternalEvent:
    """The ExternalEvent, noted as changed; whatever is done with it, it is unclaimed no longer."""
    run.changes.external_events.add(key)
    event = run.external_events[key]
    unclaimed = run.index.unclaimed.get(key[0])
    if unclaimed and key[1] in unclaimed:
        del unclaimed[key[1]]
        run.index.unclaimed_events -= 1
        run.index.unclaimed_bytes -= size_of(event.content)
        its = (key[0], event.thread)
        del run.index.unclaimed_for[its][key[1]]
        if not run.index.unclaimed_for[its]:
            del run.index.unclaimed_for[its]
        bisect.insort(run.index.remembered, (event.posted_offset, *key))
    return event


def _list_unclaimed(index: Index, event: WfRunExternalEvent) -> None:
    event_def, event_id = event.key
    index.unclaimed.setdefault(event_def, {})[event_id] = None
    index.unclaimed_for.setdefault((event_def, event.thread), {})[event_id] = None
    index.unclaimed_events += 1
    index.unclaimed_bytes += size_of(event.content)


def _accept(run: WfRun, number: int, event_def: str, event_id: str) -> None:
    run.accepted_interrupts.append(AcceptedInterrupt(number, event_def, event_id))
    _list_accepted(run.index, number, event_def, event_id)
    event = _change_event(run, (event_def, event_id))
    event.status = ExternalEventStatus.CLAIMED
    _note_outcome(event, number, ExternalEventStatus.CLAIMED)


def _list_accepted(index: Index, number: int, event_def: str, event_id: str) -> None:
    rank = index.pending_ranks.append()
    by_def = index.pending.setdefault(number, {})
    if event_def not in by_def:
        by_def[event_def] = {}
        index.pending_heads.setdefault(number, []).append((rank, event_def))
    by_def[event_def][event_id] = rank
    key = (event_def, event_id)
    index.awaiting[key] = index.awaiting.get(key, 0) + 1


def _note_outcome(event: WfRunExternalEvent, number: int, status: ExternalEventStatus, *, is_new: bool = True) -> None:
    """Keep what became of an ExternalEvent in a thread, which is new there or takes the place of an earlier outcome."""
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
    """Take an interrupt off the waiting list; its event's content goes with the last thread that waited for it. Return
    whether it was on the list.
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
            _remove(heads, (rank, event_def))
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
    key = (event.external_event_def, event.external_event_id)
    was_accepted = _take_off_pending(run, event.thread, key)
    discarded = _change_event(run, key)
    discarded.status = status
    _note_outcome(discarded, event.thread, status, is_new=not was_accepted)
    reason = PendingInterrupt(event.external_event_def, event.external_event_id)
    thread = run.threads.get(event.thread)
    if thread is not None and run.is_held_by(thread, PendingInterrupt) and reason in thread.halt_reasons:
        _change(run, event.thread).halt_reasons.remove(reason)
        _count_reason(run.index, thread, PendingInterrupt, -1)


def _spawn(run: WfRun, event: SpawnChild) -> None:
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
            _count_reason(run.index, parent, PendingFailure, -1)


def _replace(index: Index, thread: ThreadRun, old: HaltReason, new: HaltReason) -> None:
    reasons = thread.halt_reasons
    if len(reasons) < MANY_REASONS:
        reasons[reasons.index(old)] = new
    else:
        # Handlers start in order: nearly always those that run stand before those that wait.
        first = len(reasons) - index.reasons[thread.number][type(old)]
        reasons[first if reasons[first] == old else reasons.index(old)] = new
        _count_reason(index, thread, type(old), -1)
        _count_reason(index, thread, type(new), 1)


def _count_reason(index: Index, thread: ThreadRun, kind: type[Any], more: int) -> None:
    """Note that a thread has one more HaltReason of a kind, or one less, if these are many."""
    kinds = index.reasons.get(thread.number)
    if len(thread.halt_reasons) < MANY_REASONS:
        if kinds is not None:
            del index.reasons[thread.number]
    elif kinds is None:
        index.reasons[thread.number] = dict(Counter(map(type, thread.halt_reasons)))
    elif kinds.get(kind, 0) + more:
        kinds[kind] = kinds.get(kind, 0) + more
    else:
        del kinds[kind]


def _forget_reasons(index: Index, number: int) -> None:
    index.reasons.pop(number, None)
    index.gone_handlers.pop(number, None)


def _forget_gone_handler(index: Index, number: int, handler: int) -> None:
    gone = index.gone_handlers.get(number)
    if gone is not None and handler in gone:
        gone.remove(handler)
        if not gone:
            del index.gone_handlers[number]


def _complete_node(run: WfRun, event: NodeCompleted) -> None:
    thread = _change(run, event.thread)
    for write in event.writes:
        _change(run, write.thread).variables[write.name] = write.value
    if event.keeps_output:
        thread.outputs[event.node] = event.output
    _claim(run, event)
    if thread.node.waits is not None:
        _forget_waits(run.index, event.thread)
    thread.node = NodeRun(position=event.position + 1, node=event.next_node, arrived_ms=run.time_ms)


def _claim(run: WfRun, event: NodeCompleted | NodeFailed | ThreadFailed) -> None:
    """What an EXTERNAL_EVENT node claimed is used up, also if the node failed on its way out (2.5)."""
    if event.external_event_def is not None and event.external_event_id is not None:
        claimed = _change_event(run, (event.external_event_def, event.external_event_id))
        claimed.status = ExternalEventStatus.CLAIMED
        claimed.content = None
        _note_outcome(claimed, event.thread, ExternalEventStatus.CLAIMED)


def _fail_node(thread: ThreadRun, failure: Failure) -> None:
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
    )
    if event.retry_at_ms is not None and event.retry_at_ms > time_ms:
        node.timer = Timer(TimerKind.TASK_BACKOFF, event.retry_at_ms)
    else:
        node.timer = None
    assert not (retrying and event.status in (TaskStatus.SUCCESS, TaskStatus.EXCEPTION))


def _handlers_at_work(run: WfRun, waiter: int) -> dict[int | None, int]:
    """Failed child -> the failure handler that an earlier wait of this thread, before a rescue, has started for it."""
    handlers = [run.threads[number] for number in run.index.waiter_handlers.get(waiter, ())]
    return {it.parent: it.number for it in reversed(handlers) if it.status not in TERMINAL}


def _list_waits(index: Index, number: int, waits: list[ThreadWait]) -> None:
    index.waits[number] = {wait.thread: wait for wait in waits}
    for wait in waits:
        index.waited_for.setdefault(wait.thread, set()).add(number)


def _forget_waits(index: Index, number: int) -> None:
    index.open_waits.pop(number, None)
    index.left_to_complete.pop(number, None)
    index.left_to_fail.pop(number, None)
    for waited_for in index.waits.pop(number, ()):
        waiters = index.waited_for[waited_for]
        waiters.discard(number)
        if not waiters:
            del index.waited_for[waited_for]


def _overlook(thread: ThreadRun, children: Iterable[int]) -> None:
    known = dict.fromkeys(thread.handled_children)
    thread.handled_children.extend(child for child in dict.fromkeys(children) if child not in known)


def _complete_thread(run: WfRun, event: ThreadCompleted) -> None:
    thread = _change(run, event.thread)
    thread.status = Status.COMPLETED
    thread.output = event.output
    thread.ended_ms = run.time_ms
    if thread.type is ThreadType.FAILURE_HANDLER:
        _note_handled(run, thread)
    if thread.number == 0:
        run.ended_ms = run.time_ms
        _unlist(run.index, thread)
    else:
        _leave(run, thread)


def _note_handled(run: WfRun, handler: ThreadRun) -> None:
    """A failure handler has completed: what it handled counts as successful from here on."""
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
    _forget_reasons(run.index, thread.number)
    _fail_node(thread, failure)
    _forget_unstarted_handler(run, thread.number)
    _unlist_live(run.index, thread)
    run.index.ended.append(thread.number)
    if thread.number == 0:
        run.ended_ms = run.time_ms


def _list_unstarted_handler(index: Index, number: int) -> None:
    index.unstarted.setdefault(number, []).append(index.unstarted_ranks.append())


def _forget_unstarted_handler(run: WfRun, number: int) -> None:
    for rank in run.index.unstarted.pop(number, ()):
        del run.unstarted_failure_handlers[run.index.unstarted_ranks.take(rank)]


def _rescue(run: WfRun, event: ThreadRescued) -> None:
    thread = _change(run, event.thread)
    thread.status = Status.RUNNING
    thread.failure = None
    thread.ended_ms = None
    if event.skip_current_node:
        thread.node.failure_handled = True
    else:
        _forget_waits(run.index, event.thread)
        thread.node = NodeRun(position=thread.node.position + 1, node=thread.node.node, arrived_ms=run.time_ms)
    _list(run.index, thread)
    if thread.number == 0:
        run.ended_ms = None
        run.timer = None


# (rule ended-wf-run-keeps-a-row)
def _end(run: WfRun, event: WfRunEnded) -> None:
    run.timer = Timer(TimerKind.RETENTION, event.delete_at_ms)
    if event.status is not Status.ERROR:
        run.final_status = event.status
        run.changes.left.extend(run.threads.values())
        run.changes.threads.clear()
        run.threads = {}
        run.index.by_spec.clear()
        run.index.live = 0
        run.index.handling.clear()
        run.index.reasons.clear()
        run.index.gone_handlers.clear()
        run.index.waits.clear()
        run.index.waited_for.clear()
        run.index.open_waits.clear()
        run.index.left_to_complete.clear()
        run.index.left_to_fail.clear()
        run.index.waiter_handlers.clear()
        run.index.parked.clear()
        run.index.crowded.clear()


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
    _list(run.index, thread)
    _list_handler(run.index, thread)


def _leave(run: WfRun, thread: ThreadRun) -> None:
    """Take a thread and all that is left below it out of the hot state."""
    assert thread.parent is not None
    parent = _change(run, thread.parent)
    _remove(parent.children, thread.number)
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
        _unlist(index, left)
        _unlist_handler(index, left)
        if number in index.waits:
            _forget_waits(index, number)
        _forget_reasons(index, number)
        if number in index.pending:
            index.ended.append(number)


def _list_handler(index: Index, thread: ThreadRun) -> None:
    if thread.type is ThreadType.INTERRUPT and thread.parent is not None and thread.external_event_def is not None:
        handling = index.handling.setdefault(thread.parent, {})
        handling[thread.external_event_def] = handling.get(thread.external_event_def, 0) + 1


def _unlist_handler(index: Index, thread: ThreadRun) -> None:
    if thread.type is ThreadType.INTERRUPT and thread.parent is not None and thread.external_event_def is not None:
        handling = index.handling[thread.parent]
        handling[thread.external_event_def] -= 1
        if not handling[thread.external_event_def]:
            del handling[thread.external_event_def]
            if not handling:
                del index.handling[thread.parent]


def _list(index: Index, thread: ThreadRun) -> None:
    bisect.insort(index.by_spec.setdefault(thread.thread_spec, []), thread.number)
    index.live += 1
    if thread.waiter is not None:
        bisect.insort(index.waiter_handlers.setdefault(thread.waiter, []), thread.number)


def _unlist_live(index: Index, thread: ThreadRun) -> None:
    if _remove(index.by_spec.get(thread.thread_spec, []), thread.number):
        index.live -= 1


def _unlist(index: Index, thread: ThreadRun) -> None:
    _unlist_live(index, thread)
    if thread.waiter is not None:
        _remove(index.waiter_handlers.get(thread.waiter, []), thread.number)


def _remove(items: list[Any], item: Any) -> bool:
    """Take an item out of an ascending list, if it is there; whether it was."""
    at = bisect.bisect_left(items, item)
    if at == len(items) or items[at] != item:
        return False
    del items[at]
    return True


def index_of(run: WfRun, known: Index | None = None) -> Index:
    """The index of a WfRun that was restored from its rows (what threads are parked on is the engine's to add).

    `known`: one that says of its ExternalEvents what is true; it may not be used any more.
    """
    index = Index()
    for thread in run.threads.values():
        _list(index, thread)
        _list_handler(index, thread)
        if len(thread.halt_reasons) >= MANY_REASONS:
            index.reasons[thread.number] = dict(Counter(map(type, thread.halt_reasons)))
        for reason in thread.halt_reasons:
            if isinstance(reason, Interrupted | HandlingFailure) and reason.handler not in run.threads:
                index.gone_handlers.setdefault(thread.number, []).append(reason.handler)
        if thread.node.waits is not None:
            _list_waits(index, thread.number, thread.node.waits)
        if thread.status in TERMINAL:
            _unlist_live(index, thread)
    for accepted in run.accepted_interrupts:
        _list_accepted(index, accepted.thread, accepted.external_event_def, accepted.external_event_id)
    for unstarted in run.unstarted_failure_handlers:
        _list_unstarted_handler(index, unstarted.thread)
    if known is not None:
        index.unclaimed, index.unclaimed_for, index.remembered = known.unclaimed, known.unclaimed_for, known.remembered
        index.unclaimed_events, index.unclaimed_bytes = known.unclaimed_events, known.unclaimed_bytes
        return index
    for event in run.external_events.values():
        if event.status is ExternalEventStatus.UNCLAIMED:
            _list_unclaimed(index, event)
        else:
            index.remembered.append((event.posted_offset, *event.key))
    index.remembered.sort()
    return index


def new_run(wf_run_id: str) -> WfRun:
    """What a fold starts from: nothing is known under this id."""
    run = WfRun(wf_run_id)
    assert run.incarnation == NO_INCARNATION
    return run


__all__ = ["evolve", "index_of", "new_run", "replay"]
