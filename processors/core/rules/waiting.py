"""Waits of a thread, as values: which ExternalEvent, task, time, condition or threads, and what holds it.

The rules park a thread; this looks at where they left it and says what has to happen for it to go on. It changes
nothing and decides nothing. Tools call it on rows that they read, which may be of neighbouring moments: a thread that
another one speaks of may be missing, and then less is said. `knots` asks a narrower question of the same kind: which
threads have to move before this one can. It works with bare numbers, because it asks that of all threads at once.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import TypeAlias, assert_never

from processors.core.records.failures import matching_handler
from processors.core.records.model import (
    FAILED,
    TERMINAL,
    Failure,
    HaltedByParent,
    HaltReason,
    HandlingFailure,
    Interrupted,
    ManualHalt,
    ParentHalted,
    PendingFailure,
    PendingInterrupt,
    Status,
    TaskRun,
    TaskRunStatus,
    ThreadRun,
    ThreadType,
    WfRun,
)
from processors.core.records.record import record
from processors.core.records.spec import (
    AnyNode,
    EntrypointNode,
    ExitNode,
    Expression,
    ExternalEventNode,
    InterruptPolicy,
    Literal,
    NopNode,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThrowEventNode,
    WaitForConditionNode,
    WaitForThreadsNode,
    WaitStrategy,
)
from processors.core.rules.halting import held_by_handlers_only
from processors.core.rules.nodes.exits import has_to_wait
from processors.core.rules.nodes.waiting_for_threads import open_waits
from processors.core.rules.retiring import stays_for_handlers, stays_for_waiters


@record
class ForExternalEvent:
    """An ExternalEvent of a definition; until the node times out."""

    external_event_def: str
    since_ms: int
    until_ms: int | None


@record
class ForReport:
    """The report of a task attempt that is out; until it times out."""

    task_def: str
    attempt: int
    attempts: int
    since_ms: int | None
    """None where the rows do not say when the attempt was requested."""
    until_ms: int | None
    """If it waits to be started: when it times out if nobody says that it was."""
    start_by_ms: int | None
    """The time by which it must be started, while it is in the queue; None from its start, or if it is not bounded."""
    started_ms: int | None
    """None if nobody has said that it was started."""


@record
class ForRetry:
    """The next attempt of a task, after its back-off."""

    task_def: str
    attempt: int
    attempts: int
    until_ms: int


@record
class ForTime:
    """A time. `until_ms` is None where an earlier release left it to be computed when the thread runs."""

    since_ms: int
    until_ms: int | None


@record
class ForCondition:
    """Variables that make a condition true."""

    condition: Expression
    since_ms: int


@record
class ForThreads:
    """Threads to end: those that are still open, or the failure handlers that run for them."""

    strategy: WaitStrategy
    threads: tuple[int, ...]
    since_ms: int


@record
class ForRoom:
    """Fewer live threads: there is no room for the failure handlers of these."""

    threads: tuple[int, ...]


@record
class ForChildren:
    """At EXIT: all children that can still end."""

    threads: tuple[int, ...]
    since_ms: int


@record
class ForHandlersBeside:
    """At EXIT: accepted interrupts whose handlers will start beside the thread."""

    external_events: tuple[tuple[str, str], ...]
    since_ms: int


@record
class ForOthers:
    """To leave: threads elsewhere that still have to do with a thread that would leave too."""

    threads: tuple[int, ...]


@record
class ForStillness:
    """To be HALTED: the threads below it that move, to be still."""

    threads: tuple[int, ...]


@record
class ToRun:
    """Only to run: its node waits for nothing, or what it waited for is there.

    With a failure, the node then fails: its time could not be computed when the thread came there.
    """

    failure: Failure | None


class FreedBy(StrEnum):
    """The thing that takes a halt reason off a thread, or lets its handler start."""

    HANDLER_ENDS = "HANDLER_ENDS"
    """The handler of `threads` completes."""
    STILLNESS = "STILLNESS"
    """The thread's task is back and nothing below it moves: then the handler starts."""
    EARLIER_HANDLER_ENDS = "EARLIER_HANDLER_ENDS"
    """The handler of `threads`, of an ExternalEvent before it, completes: then its own starts."""
    OTHER_REASONS_GONE = "OTHER_REASONS_GONE"
    """Nothing else holds the thread any more: then the handler starts."""
    HOLDER_RUNS = "HOLDER_RUNS"
    """The thread of `threads`, with which it is halted, runs again."""
    HOLDER_RESCUED = "HOLDER_RESCUED"
    """The thread of `threads`, with which it is halted, has failed: only a rescue revives that one."""
    RESUME = "RESUME"
    """ResumeWfRun."""
    NEVER = "NEVER"
    """It is halted for good."""


@record
class Held:
    """A halt reason, and what frees the thread of it."""

    reason: HaltReason
    freed_by: FreedBy
    threads: tuple[int, ...] = ()


Wait: TypeAlias = (
    ForExternalEvent
    | ForReport
    | ForRetry
    | ForTime
    | ForCondition
    | ForThreads
    | ForRoom
    | ForChildren
    | ForHandlersBeside
    | ForOthers
    | ForStillness
    | ToRun
    | Held
)


def waits_of(run: WfRun, thread: ThreadRun) -> list[Wait]:
    """Return what has to happen for a thread to go on; empty if it has ended.

    For a halted thread these are what holds it, and then what it will wait for where it stands.
    """
    if thread.status in TERMINAL:
        return []
    waits: list[Wait] = []
    if thread.status is not Status.RUNNING:
        waits += (_held(run, thread, reason) for reason in thread.halt_reasons)
        moving = tuple(moving_below(run, thread))
        if moving and (thread.status is Status.HALTING or thread.has_lost):
            waits.append(ForStillness(moving))
        if thread.has_lost:
            others = _others(run, thread)
            return [*waits, ForOthers(others)] if others and not moving else waits
    at_node = list(_at_node(run, thread))
    if not at_node and waits and run.spec is not None:
        at_node.append(ToRun(thread.node.arrival_failure))
    return [*waits, *at_node]


def moving_below(run: WfRun, thread: ThreadRun) -> list[int]:
    """Return the nearest threads below that are not still, ascending."""
    moving: list[int] = []
    above_and_below = [(thread, dependent) for dependent in run.dependents(thread)]
    while above_and_below:
        above, dependent = above_and_below.pop()
        if not dependent.halts_parent and ParentHalted(above.number) not in dependent.halt_reasons:
            continue
        if dependent.status in (Status.RUNNING, Status.HALTING):
            moving.append(dependent.number)
        else:
            above_and_below.extend((dependent, further) for further in run.dependents(dependent))
    return sorted(moving)


def _held(run: WfRun, thread: ThreadRun, reason: HaltReason) -> Held:
    """Return a halt reason with what frees the thread of it."""
    match reason:
        case Interrupted(handler=handler) | HandlingFailure(handler=handler):
            return Held(reason, FreedBy.HANDLER_ENDS, (handler,))
        case ParentHalted(parent=number):
            holder = run.threads.get(number)
            has_failed = holder is not None and holder.status in FAILED
            return Held(reason, FreedBy.HOLDER_RESCUED if has_failed else FreedBy.HOLDER_RUNS, (number,))
        case PendingInterrupt(external_event_def=event_def):
            if not held_by_handlers_only(thread):
                return Held(reason, FreedBy.OTHER_REASONS_GONE)
            earlier = _earlier_handler(run, thread, event_def)
            return Held(reason, FreedBy.EARLIER_HANDLER_ENDS, earlier) if earlier else Held(reason, FreedBy.STILLNESS)
        case PendingFailure():
            has_others = any(not isinstance(it, PendingFailure) for it in thread.halt_reasons)
            return Held(reason, FreedBy.OTHER_REASONS_GONE if has_others else FreedBy.STILLNESS)
        case ManualHalt():
            return Held(reason, FreedBy.RESUME)
        case HaltedByParent():
            return Held(reason, FreedBy.NEVER)


def _earlier_handler(run: WfRun, thread: ThreadRun, event_def: str) -> tuple[int, ...]:
    """Return the running handler for which the next one of its InterruptDef waits, if its policy has it wait."""
    interrupt = None if run.spec is None else run.spec_of(thread).interrupt_of.get(event_def)
    if interrupt is None or interrupt.policy is InterruptPolicy.PARALLEL:
        return ()
    return tuple(
        it.number
        for it in run.dependents(thread)
        if it.type is ThreadType.INTERRUPT and it.external_event_def == event_def and it.status not in TERMINAL
    )


def _others(run: WfRun, thread: ThreadRun) -> tuple[int, ...]:
    """Return the threads for which a thread must stay."""
    if not thread.children and not run.index.waiter_handlers.get(thread.number):
        return ()
    handlers = {it.number for it in stays_for_handlers(run, thread)}
    return tuple(sorted(handlers | {it.number for it in stays_for_waiters(run, thread)}))


def _at_node(run: WfRun, thread: ThreadRun) -> Iterator[Wait]:
    """Yield what a thread waits for where it stands."""
    state = thread.node
    if state.task is not None:
        yield from _task(run, thread)
        return
    if run.spec is None:
        return
    node = run.spec_of(thread).nodes[state.node]
    match node:
        case ExitNode():
            yield from _exit(run, thread, node)
        case _ if state.failure is not None or state.arrival_failure is not None:
            return  # it goes on, or fails, when it runs
        case ExternalEventNode():
            until_ms = state.deadline_ms if state.timer is None else state.timer.due_ms
            yield ForExternalEvent(node.external_event_def, state.arrived_ms, until_ms)
        case SleepNode() if state.matured_seq is None:
            yield ForTime(state.arrived_ms, None if state.timer is None else state.timer.due_ms)
        case WaitForConditionNode():
            yield ForCondition(node.condition, state.arrived_ms)
        case WaitForThreadsNode():
            threads = open_waits(run, thread, node)
            crowded = tuple(_crowded(run, thread, node))
            if threads:
                yield ForThreads(node.strategy, tuple(threads), state.arrived_ms)
            if crowded:
                yield ForRoom(crowded)
        case SleepNode() | TaskNode() | EntrypointNode() | NopNode() | ThrowEventNode():
            return  # it goes on, or is requested, when it runs
        case StartThreadNode() | StartMultipleThreadsNode():
            return  # likewise
        case _:
            assert_never(node)


def _crowded(run: WfRun, thread: ThreadRun, node: WaitForThreadsNode) -> Iterator[int]:
    """Yield the failed threads whose failure handlers have not started: there was no room for them."""
    for wait in thread.node.waits or ():
        failed = run.threads.get(wait.thread)
        if failed is None or failed.failure is None or wait.handler is not None or wait.handled:
            continue
        if failed.number not in thread.handled_children and matching_handler(node.on_child_failure, failed.failure):
            yield failed.number


def _task(run: WfRun, thread: ThreadRun) -> Iterator[Wait]:
    state = thread.node
    task = state.task
    assert task is not None
    node = None if run.spec is None else run.spec_of(thread).nodes[state.node]
    attempts = node.retries + 1 if isinstance(node, TaskNode) else task.attempt
    until_ms = None if state.timer is None else state.timer.due_ms
    if task.status is TaskRunStatus.OUT:
        yield for_report(task, attempts, _requested_ms(thread, node), until_ms)
    elif task.status is TaskRunStatus.RETRYING and until_ms is not None:
        yield ForRetry(task.task_def, task.attempt + 1, attempts, until_ms)


def for_report(task: TaskRun, attempts: int, since_ms: int | None, until_ms: int | None) -> ForReport:
    """Return what a thread waits for whose attempt is out."""
    start_by_ms = task.start_by_ms if task.started_ms is None else None
    return ForReport(task.task_def, task.attempt, attempts, since_ms, until_ms, start_by_ms, task.started_ms)


def _requested_ms(thread: ThreadRun, node: AnyNode | None) -> int | None:
    """Return when an attempt went out: as long before its deadline as its time-out takes, if that is a constant.

    Its deadline is that of its start, if that has one.
    """
    task, timer = thread.node.task, thread.node.timer
    if isinstance(node, TaskNode) and task is not None and timer is not None:
        bound: Expression | None = node.timeout_s
        until_ms: int | None = timer.due_ms
        if node.queue_timeout_s is not None:
            bound, until_ms = node.queue_timeout_s, task.start_by_ms
        if isinstance(bound, Literal) and isinstance(bound.value, int | float) and until_ms is not None:
            return until_ms - round(bound.value * 1000)
    return thread.node.arrived_ms if task is not None and task.attempt == 1 else None


def _exit(run: WfRun, thread: ThreadRun, node: ExitNode) -> Iterator[Wait]:
    state = thread.node
    if not has_to_wait(thread, node):
        return
    children = tuple(it.number for it in run.dependents(thread) if it.status not in TERMINAL)
    if children:
        yield ForChildren(children, state.arrived_ms)
    beside = tuple(
        (it.external_event_def, it.external_event_id) for it in run.accepted_interrupts if it.thread == thread.number
    )
    if beside:
        yield ForHandlersBeside(beside, state.arrived_ms)
    if not children and not beside and (others := _others(run, thread)):
        yield ForOthers(others)
