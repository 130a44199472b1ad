"""What was asked: each command's own effect, or why it is refused (SEMANTICS 7).

`decide` yields the command's first events; what follows from them is for `advance`. Every command has an outcome: an
effect, `Rejected` (code and sentence) or `Ignored`. A generator: an event that is yielded is true when it goes on.
"""

from collections.abc import Iterator
from itertools import islice
from typing import assert_never

from processors.core.records.commands import (
    Command,
    DeleteWfRun,
    ExternalEvent,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    StopWfRun,
    TaskStatus,
    TimerFired,
    TimerKind,
)
from processors.core.records.events import (
    Event,
    ExternalEventKeyRef,
    ExternalEventPosted,
    HaltReasonResolved,
    Ignored,
    Rejected,
    RejectionCode,
    Resume,
    TaskAttemptEnded,
    ThreadRescued,
    TimerMatured,
    WfRunDeleted,
    WfRunStarted,
)
from processors.core.records.model import (
    FAILED,
    TERMINAL,
    ManualHalt,
    ParentHalted,
    Status,
    TaskRunStatus,
    ThreadRun,
    ThreadType,
    Timer,
    WfRun,
)
from processors.core.records.names import check_event_id, check_exception_name, check_wf_run_id
from processors.core.records.spec import ExitNode, TaskNode, WaitForThreadsNode
from processors.core.records.values import (
    VALUE_BYTES_MAX,
    TellableProblem,
    Timestamp,
    ValueProblem,
    fits,
    iso_of,
    kind_of,
    size_of,
    stored,
)
from processors.core.rules.context import Context, Limits
from processors.core.rules.external_events import drop_unfit, misfit
from processors.core.rules.halting import halt
from processors.core.rules.interrupts import offer
from processors.core.rules.scope import starting_variables

FORGETTABLE_LOOKED_AT_MAX = 64
"""Of the oldest settled ExternalEvents, at each new one: some may wait long for their handler."""
HANDLERS = frozenset({ThreadType.INTERRUPT, ThreadType.FAILURE_HANDLER})


_HAVE_IDENTITIES = (ExternalEvent, ReportTaskRun, TimerFired)
"""Commands that are known again by what they say, not by a command id."""


# (rule rejection-changes-nothing)
class Refusal(Exception):
    """A command cannot be taken as it is; becomes a `Rejected` event."""

    def __init__(self, code: RejectionCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def decide(run: WfRun, command: Command, context: Context, time_ms: int) -> Iterator[Event]:
    """The events that a command itself brings about. `time_ms` is its record's; the WfRun's may be ahead of it."""
    name = type(command).__name__
    try:
        if not run.exists:
            check_id(command.wf_run_id)
        _check_repeat(run, command)
        match command:
            case RunWf():
                yield _run_wf(run, command, context)
                if context.binds_event_defs:
                    yield from drop_unfit(run, context)
            case ExternalEvent():
                yield _posted(run, command, context, time_ms)
                if run.exists and run.status not in TERMINAL:
                    key = (command.external_event_def, command.external_event_id)
                    yield from offer(run, context, run.external_events[key])
            case ReportTaskRun():
                yield _reported(run, command)
            case TimerFired():
                yield _fired(run, command, context, time_ms)
            case StopWfRun():
                thread = _thread(run, command)
                if thread is None or thread.status in TERMINAL or ManualHalt() in thread.halt_reasons:
                    yield Ignored(name, f"thread {command.thread} has ended or is stopped already")
                else:
                    yield from halt(run, thread, ManualHalt())
            case ResumeWfRun():
                thread = _thread(run, command)
                if thread is None or ManualHalt() not in thread.halt_reasons:
                    yield Ignored(name, f"thread {command.thread} is not stopped")
                elif thread.status is Status.HALTED and len(thread.halt_reasons) == 1:
                    yield Resume(thread.number, ManualHalt())
                else:
                    yield HaltReasonResolved(thread.number, ManualHalt())
            case RescueThreadRun():
                yield from _rescued(run, command)
            case DeleteWfRun():
                if run.exists or run.external_events:
                    yield WfRunDeleted("DeleteWfRun")
                else:
                    yield Ignored(name, f"there is no WfRun {run.wf_run_id!r}")
            case _:
                assert_never(command)
    except Refusal as refusal:
        yield Rejected(name, refusal.code, f"{name} for WfRun {command.wf_run_id!r}: {refusal}")


def check_id(wf_run_id: str) -> None:
    """Raises Refusal for what cannot be the id of a WfRun."""
    try:
        check_wf_run_id(wf_run_id)
    except TellableProblem as problem:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, str(problem)) from None


# (rule command-id-decided-once)
def _check_repeat(run: WfRun, command: Command) -> None:
    """A command whose id was decided lately is not decided again (DESIGN 3)."""
    if isinstance(command, _HAVE_IDENTITIES):
        return
    if command.command_id is not None and command.command_id in run.command_ids:
        raise Refusal(RejectionCode.ALREADY_EXISTS, f"command id {command.command_id!r} was decided before")


def _existing(run: WfRun) -> None:
    if not run.exists:
        raise Refusal(RejectionCode.NOT_FOUND, "there is no such WfRun")


def _thread(run: WfRun, command: StopWfRun | ResumeWfRun | RescueThreadRun) -> ThreadRun | None:
    """The thread a command names; None for one that has completed and left."""
    _existing(run)
    if not run.was_used(command.thread):
        raise Refusal(
            RejectionCode.INVALID_ARGUMENT,
            f"there is no thread {command.thread}; the greatest number is {run.greatest_thread_number}",
        )
    return run.threads.get(command.thread)


# (rule wf-run-id-used-once)
def _run_wf(run: WfRun, command: RunWf, context: Context) -> WfRunStarted:
    if run.exists:
        since = iso_of(Timestamp(run.started_ms or 0))
        raise Refusal(RejectionCode.ALREADY_EXISTS, f"the WfRun was started at {since}; it is {run.status}")
    _check_definitions(command, context)
    definitions = context.definitions
    spec_id = definitions.latest_wf_spec(command.wf_spec_name, command.wf_spec_major, command.wf_spec_revision)
    if spec_id is None:
        version = "".join(f" {n}" for n in (command.wf_spec_major, command.wf_spec_revision) if n is not None)
        raise Refusal(RejectionCode.NOT_FOUND, f"there is no WfSpec {command.wf_spec_name!r}{version}")
    spec = definitions.wf_spec(spec_id)
    entrypoint = spec.threads[spec.entrypoint]
    try:
        variables = starting_variables(entrypoint, command.variables)
    except ValueProblem as problem:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, str(problem)) from None
    return WfRunStarted(spec_id, spec.entrypoint, entrypoint.entrypoint, variables)


def _check_definitions(command: RunWf | ExternalEvent, context: Context) -> None:
    """Whoever feeds the fold has waited for the position that the producer saw, if there is such a position."""
    wanted, reached = command.definitions_position, context.definitions.position
    if wanted is not None and wanted > reached:
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION, f"position {wanted} of definitions was not reached; it is {reached}"
        )


# (rules event-id-used-once, event-for-any-id, event-content-checked, unclaimed-events-bounded)
def _posted(run: WfRun, command: ExternalEvent, context: Context, time_ms: int) -> ExternalEventPosted:
    """An ExternalEvent is taken in for any valid id, run or not: it may come before its WfRun (SEMANTICS 7)."""
    _check_definitions(command, context)
    definition = context.definitions.external_event_def(command.external_event_def, run.wf_spec)
    if definition is None:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, f"there is no ExternalEventDef {command.external_event_def!r}")
    event_id = command.external_event_id
    try:
        check_event_id(event_id)
    except TellableProblem as problem:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, str(problem)) from None
    if (command.external_event_def, event_id) in run.external_events:
        raise Refusal(
            RejectionCode.ALREADY_EXISTS, f"ExternalEvent {command.external_event_def!r} {event_id!r} was posted before"
        )
    if not fits(command.content, definition.content_type):
        if definition is context.definitions.external_event_def(definition.name):
            sentence = f"expected {definition.content_type or 'a value'}, found {kind_of(command.content)}"
        else:  # who looks at the definitions sees another one
            sentence = misfit(run, definition, command.content)
        raise Refusal(
            RejectionCode.INVALID_ARGUMENT, f"content of ExternalEvent {command.external_event_def!r}: {sentence}"
        )
    content = stored(command.content, definition.content_type)
    unclaimed = run.index.unclaimed_events
    if unclaimed >= context.limits.unclaimed_events:
        raise Refusal(RejectionCode.RESOURCE_EXHAUSTED, f"{unclaimed} ExternalEvents are unclaimed already")
    size, most = size_of(content), context.limits.unclaimed_bytes
    if size > VALUE_BYTES_MAX:
        raise Refusal(
            RejectionCode.INVALID_ARGUMENT,
            f"content of ExternalEvent {command.external_event_def!r}: "
            f"expected at most {VALUE_BYTES_MAX} bytes, found {size} as it is written",
        )
    if run.index.unclaimed_bytes + size > most:
        found = f"found {run.index.unclaimed_bytes} in {unclaimed} and {size} in this one"
        raise Refusal(
            RejectionCode.RESOURCE_EXHAUSTED, f"expected at most {most} bytes in unclaimed ExternalEvents, {found}"
        )
    late = context.append_times and run.exists and time_ms < run.time_ms
    return ExternalEventPosted(
        command.external_event_def,
        event_id,
        content,
        command.thread,
        _forgettable(run, context),
        appended_ms=time_ms if late else None,
        keeps_outcomes=context.keeps_outcomes,
    )


# (rule event-id-remembered)
def _forgettable(run: WfRun, context: Context) -> list[ExternalEventKeyRef]:
    """Settled events that need not be remembered any longer: a few at each new one keep their number where it is."""
    limits = context.limits
    surplus = len(run.external_events) + 1 - limits.remembered_events
    if surplus <= 0:
        return []
    forgettable: list[ExternalEventKeyRef] = []
    for _, event_def, event_id in islice(run.index.settled, FORGETTABLE_LOOKED_AT_MAX):
        event = run.external_events[event_def, event_id]
        if len(forgettable) >= min(surplus, 2) or event.posted_ms > run.time_ms - limits.remembered_ms:
            break
        if event.key not in run.index.awaiting:
            forgettable.append(ExternalEventKeyRef(event.external_event_def, event.external_event_id))
    return forgettable


# (rule report-names-its-attempt)
def _reported(run: WfRun, report: ReportTaskRun) -> TaskAttemptEnded:
    _existing(run)
    what = f"report for attempt {report.attempt} at position {report.position} of thread {report.thread}"
    if report.incarnation != run.incarnation:
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION,
            f"{what}: it is for incarnation {report.incarnation}, the WfRun is incarnation {run.incarnation}",
        )
    if not run.was_used(report.thread):
        raise Refusal(RejectionCode.INVALID_ARGUMENT, f"{what}: there is no such thread")
    thread = run.threads.get(report.thread)
    over = Refusal(RejectionCode.FAILED_PRECONDITION, f"{what}: that attempt is over")
    if thread is None or thread.status in TERMINAL or report.position < thread.node.position:
        raise over
    task = thread.node.task
    if report.position > thread.node.position or task is None or not 1 <= report.attempt <= task.attempt:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, f"{what}: there was no such attempt")
    if report.attempt < task.attempt or task.status is not TaskRunStatus.OUT:
        raise over
    if report.status is TaskStatus.TIMEOUT:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, f"{what}: TIMEOUT is not for workers to report")
    if report.status is TaskStatus.EXCEPTION:
        name = report.failure_name or ""
        try:
            check_exception_name(name)
        except TellableProblem:
            sentence = f"{what}: {name[:80]!r} is no name for a business exception"
            raise Refusal(RejectionCode.INVALID_ARGUMENT, sentence) from None
    return TaskAttemptEnded(
        thread=report.thread,
        position=report.position,
        attempt=report.attempt,
        status=report.status,
        output=report.output if report.status is TaskStatus.SUCCESS else None,
        failure_name=report.failure_name if report.status is TaskStatus.EXCEPTION else None,
        message=report.message,
        content=report.content if report.status is TaskStatus.EXCEPTION else None,
        retry_at_ms=_retry_at(run, thread, report.status),
    )


# (rule failed-attempt-is-retried)
def _retry_at(run: WfRun, thread: ThreadRun, status: TaskStatus) -> int | None:
    """When the next attempt is due; None if there is none. Only FAILED and TIMEOUT are retried (2.6)."""
    node = run.spec_of(thread).nodes[thread.node.node]
    assert isinstance(node, TaskNode)
    assert thread.node.task is not None
    attempt = thread.node.task.attempt
    if status not in (TaskStatus.FAILED, TaskStatus.TIMEOUT) or attempt > node.retries:
        return None
    return run.time_ms + (0 if node.backoff is None else node.backoff.delay_ms(attempt))


# (rules stale-timer-ignored, timers-go-on-while-halted)
def _fired(run: WfRun, fired: TimerFired, context: Context, time_ms: int) -> Event:
    """A timer does something only if it is armed exactly as it says, and due (SEMANTICS 7, DESIGN 5)."""
    name = type(fired).__name__
    if not run.exists and run.external_events and fired.incarnation == run.incarnation:
        return _never_started(run, fired, context, time_ms)
    if run.incarnation != fired.incarnation or not run.exists:
        return Ignored(name, "its WfRun is gone")
    timer = Timer(fired.kind, fired.due_ms)
    if fired.kind is TimerKind.RETENTION:
        return _retention_ended(run, timer)
    thread = run.threads.get(fired.thread)
    if (
        thread is None
        or thread.status in TERMINAL
        or thread.node.position != fired.position
        or thread.node.timer != timer
    ):
        return Ignored(name, "the timer is not armed any more")
    if run.time_ms < fired.due_ms:
        return Ignored(name, EARLY)
    if fired.kind is not TimerKind.TASK_TIMEOUT:
        return TimerMatured(thread.number, fired.position, timer)
    assert thread.node.task is not None
    return TaskAttemptEnded(
        thread=thread.number,
        position=fired.position,
        attempt=thread.node.task.attempt,
        status=TaskStatus.TIMEOUT,
        message="no report in time",
        retry_at_ms=_retry_at(run, thread, TaskStatus.TIMEOUT),
    )


# (rule retention-ends-in-deletion)
def _retention_ended(run: WfRun, timer: Timer) -> Event:
    if run.timer != timer:
        return Ignored(TimerFired.__name__, "the timer is not armed any more")
    if run.time_ms < timer.due_ms:
        return Ignored(TimerFired.__name__, EARLY)
    return WfRunDeleted("its retention ended")


def unstarted_until_ms(run: WfRun, limits: Limits) -> int:
    """Until when ExternalEvents are kept that came for an id under which nothing was started."""
    latest = next(reversed(run.external_events.values()))
    return latest.posted_ms + limits.unstarted_ms


# (rule unstarted-events-end)
def _never_started(run: WfRun, fired: TimerFired, context: Context, time_ms: int) -> Event:
    due_ms = unstarted_until_ms(run, context.limits)
    if fired.kind is not TimerKind.RETENTION or fired.due_ms != due_ms:
        return Ignored(TimerFired.__name__, "the timer is not armed any more")
    if time_ms < due_ms:
        return Ignored(TimerFired.__name__, EARLY)
    since = iso_of(Timestamp(due_ms - context.limits.unstarted_ms))
    return WfRunDeleted(f"it was not started, and its latest ExternalEvent came at {since}")


EARLY = "early: by the WfRun's time the timer is not due yet"
"""Why a `TimerFired` is ignored although its timer stays armed: its owner fires it again."""


def _rescued(run: WfRun, command: RescueThreadRun) -> Iterator[Event]:
    """Revive a thread, and above it those that failed at a wait for it (SEMANTICS 4.6)."""
    thread = _thread(run, command)
    what = f"thread {command.thread}"
    if thread is None or thread.status is not Status.ERROR:
        status = run.thread_status(command.thread)
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"{what} is {status}: only a thread in ERROR can be rescued")
    if thread.type in HANDLERS:
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"{what} is a handler: its failure is final")
    if _failed_by_interrupt_handler(run, thread):
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"{what} failed with its Interrupt Handler, which is final")
    for below in run.dependents(thread):
        if below.type in HANDLERS and below.waiter is None and below.halts_parent and below.status not in TERMINAL:
            raise Refusal(
                RejectionCode.FAILED_PRECONDITION,
                f"{what} failed while its handler, thread {below.number}, had not ended: it would run beside it",
            )
    if any(child.number in ancestor.handled_children for child, ancestor in _lineage(run, thread)):
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"{what} failed and was dealt with above")
    if any(_is_being_dealt_with(run, failed) for failed in (thread, *run.ancestors(thread))):
        raise Refusal(RejectionCode.FAILED_PRECONDITION, f"{what} failed and is being dealt with above")
    yield ThreadRescued(thread.number, command.skip_current_node)
    revived = thread
    while revived.parent is not None:
        parent = run.threads[revived.parent]
        if parent.status is not Status.ERROR or parent.type in HANDLERS:
            break  # the failure of a handler is final, also from below (N1)
        if not _failed_waiting_for(run, parent, revived):
            break
        yield ThreadRescued(parent.number, skip_current_node=False)
        revived = parent
    holder = None if revived.holder is None else run.threads[revived.holder]
    if holder is not None and holder.status is not Status.RUNNING:
        yield from halt(run, revived, ParentHalted(holder.number))


def _is_being_dealt_with(run: WfRun, thread: ThreadRun) -> bool:
    """Whether a thread has failed and a WAIT_FOR_THREADS has started a failure handler for it that has not ended."""
    handlers = (run.threads[child] for child in thread.children)
    return thread.status in FAILED and any(it.waiter is not None and it.status not in TERMINAL for it in handlers)


def _failed_by_interrupt_handler(run: WfRun, thread: ThreadRun) -> bool:
    failure = thread.failure
    if failure is None or failure.cause_thread is None:
        return False
    below = run.threads.get(failure.cause_thread)
    return below is not None and below.type is ThreadType.INTERRUPT and below.parent == thread.number


def _lineage(run: WfRun, thread: ThreadRun) -> Iterator[tuple[ThreadRun, ThreadRun]]:
    """Each thread with its parent, upward."""
    for ancestor in run.ancestors(thread):
        yield thread, ancestor
        thread = ancestor


def _failed_waiting_for(run: WfRun, parent: ThreadRun, child: ThreadRun) -> bool:
    """Whether a thread failed at a wait or an EXIT because that child, or the handler of its failure there, had failed,
    and not with a handler of its own.
    """
    node = run.spec_of(parent).nodes[parent.node.node]
    if not isinstance(node, WaitForThreadsNode | ExitNode) or parent.failure is None:
        return False
    of_child = {child.number, *(w.handler for w in parent.node.waits or () if w.thread == child.number)}
    cause = parent.failure.cause_thread
    return cause is not None and cause in of_child and not _failed_by_interrupt_handler(run, parent)
