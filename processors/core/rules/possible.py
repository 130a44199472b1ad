"""The states that rules can reach, and those that rules can go on from: what a fork is checked for before it starts.

A snapshot comes in from outside, so nothing in it is believed. Two checks:

- `check_snapshot`: it is the state of one WfRun, and its numbers and times are such.
- `check_state`: the rules could have come to it, and can go on from it. First, the WfSpec by which they go on knows all
  that is in it: parents are there, a wait stands at a node that waits. Then statuses, halt reasons and handlers fit
  each other, all through the tree. Rules take both for granted, and one that does not hold would break them.

Both raise Impossible, with a sentence that names a thread and no value. They take time in proportion to the snapshot,
whatever is in it. The tests hold every state that they come by against them (tests/support/invariants.py).
"""

from collections.abc import Iterable
from typing import Final

from processors.core.records.failures import LINKS_MAX
from processors.core.records.model import (
    FAILED,
    OUTCOMES_MAX,
    TERMINAL,
    ExternalEventStatus,
    Failure,
    HaltedByParent,
    HandlingFailure,
    Interrupted,
    ManualHalt,
    ParentHalted,
    PendingFailure,
    PendingInterrupt,
    Status,
    TaskRun,
    TaskRunStatus,
    TaskStatus,
    ThreadRun,
    ThreadType,
    TimerKind,
    WfRun,
    WfRunExternalEvent,
    WfRunSnapshot,
)
from processors.core.records.names import (
    NAME_LENGTH_MAX,
    check_event_id,
    check_exception_name,
    check_progress,
    check_wf_run_id,
)
from processors.core.records.spec import (
    AnyNode,
    ExternalEventNode,
    SleepNode,
    TaskNode,
    ThreadSpec,
    WaitForThreadsNode,
)
from processors.core.records.values import TIME_MS_MAX, TellableProblem, Value, fits, kind_of
from processors.core.rules.context import Context
from processors.core.rules.snapshots import ends_at_a_moment

NUMBER_MAX: Final = 2**53
"""The greatest number of a thread, a position or an event that is believed: rules still count on from it."""
ATTEMPT_MAX: Final = 2**31 - 2
NAME_SHOWN_MAX: Final = 80
_MOVING: Final = frozenset({Status.RUNNING, Status.HALTING})
_HALTED: Final = frozenset({Status.HALTING, Status.HALTED})
_OTHERS: Final = frozenset({ManualHalt, ParentHalted, HaltedByParent})
"""Halt reasons that are no handler of the thread itself."""


class Impossible(TellableProblem):
    """No rules come to such a state, or none can go on from it."""


# (rule fork-of-a-possible-state)
def check_snapshot(snapshot: WfRunSnapshot) -> None:
    """Check that a snapshot is the state of one WfRun, by itself. Raises Impossible."""
    try:
        check_wf_run_id(snapshot.wf_run_id)
    except TellableProblem as problem:
        raise Impossible(str(problem)) from None
    numbers = {
        "an incarnation": snapshot.incarnation,
        "a seq": snapshot.seq,
        "a greatest number of a thread": snapshot.greatest_thread_number,
    }
    for what, number in numbers.items():
        if not 0 <= number <= NUMBER_MAX:
            raise Impossible(f"expected {what} of 0 to {NUMBER_MAX}, found {number}")
    if not 0 <= snapshot.at_ms <= TIME_MS_MAX:
        raise Impossible(f"expected a moment of 0 to {TIME_MS_MAX} ms, found {snapshot.at_ms}")
    before = -1
    for thread in snapshot.threads:
        if thread.number <= before:
            raise Impossible(f"expected threads in the order of their numbers, found {thread.number} after {before}")
        before = thread.number
    keys = set()
    arrival = -(2**63) - 1
    for event in snapshot.external_events:
        if event.key in keys:
            raise Impossible(f"ExternalEvent {_named(event.external_event_id)} is there twice")
        if event.arrival <= arrival:
            raise Impossible("expected ExternalEvents in the order of arrival, which their numbers do not give")
        keys.add(event.key)
        arrival = event.arrival
    ids = {*(it.wf_run_id for it in snapshot.threads), *(it.wf_run_id for it in snapshot.external_events)}
    for wf_run_id in sorted(ids - {snapshot.wf_run_id}):
        raise Impossible(f"expected rows of one WfRun, found one of {_named(wf_run_id)}")


def check_state(run: WfRun, context: Context) -> None:
    """Check that rules could have come to the state of a WfRun between two commands, and can go on from it.

    They go on by the WfSpec that the WfRun has. Raises Impossible.
    """
    _check_known(run, context)
    _check_consistent(run)


def _check_known(run: WfRun, context: Context) -> None:
    _check_tree(run)
    for thread in run.threads.values():
        _check_program(run, thread)
        _check_node(run, thread)
    _check_pending(run)
    for thread in run.threads.values():
        _check_reasons(run, thread)
    for event in run.external_events.values():
        _check_event(run, event, context)


def _check_consistent(run: WfRun) -> None:
    hanging: dict[int, list[ThreadRun]] = {}
    for thread in run.threads.values():
        if thread.holder is not None:
            hanging.setdefault(thread.holder, []).append(thread)
    handlers = {number: _handlers(thread) for number, thread in run.threads.items()}
    for thread in run.threads.values():
        _check_status(thread)
        _check_wait(run, thread)
        _check_handler(run, thread, handlers)
        _check_holder(run, thread, hanging.get(thread.number, ()), handlers[thread.number])
    _check_stillness(run, handlers)
    _check_outcomes(run)


def _named(name: str) -> str:
    return repr(name[:NAME_SHOWN_MAX])


def _check_value(value: Value, what: str) -> None:
    if not fits(value, None):
        raise Impossible(f"{what}: expected a finite number, found {kind_of(value)} that is none")


# What a WfSpec has to know.


def _check_tree(run: WfRun) -> None:
    """Threads hang below threads that came before them, up to thread 0; so no way upward has an end but that."""
    if 0 not in run.threads:
        raise Impossible("there is no thread 0")
    children: dict[int, list[int]] = {}
    for number, thread in run.threads.items():
        what = f"thread {number}"
        if not run.was_used(number):
            raise Impossible(f"{what}: the greatest number that was used is {run.greatest_thread_number}")
        if (thread.type is ThreadType.ENTRYPOINT) is not (number == 0):
            raise Impossible(f"{what} is {thread.type}: thread 0 is the ENTRYPOINT, and no other is")
        if thread.status is Status.COMPLETED and number != 0:
            raise Impossible(f"{what} is COMPLETED: it would have left")
        if number == 0:
            if thread.parent is not None:
                raise Impossible("thread 0 has a parent")
        elif thread.parent is None or thread.parent not in run.threads or thread.parent >= number:
            raise Impossible(f"{what} has parent {thread.parent}: expected a thread that is there and came before it")
        else:
            children.setdefault(thread.parent, []).append(number)
        _check_waiter(run, thread)
    for number, thread in run.threads.items():
        if thread.children != children.get(number, []):
            raise Impossible(f"thread {number}: its children are not those whose parent it is")
        known = set(thread.handled_children)
        if len(known) != len(thread.handled_children) or not all(map(run.was_used, known)):
            raise Impossible(f"thread {number}: the failed children that were dealt with are no list of threads")


def _check_waiter(run: WfRun, thread: ThreadRun) -> None:
    waiter = thread.waiter
    if waiter is None:
        return
    what = f"thread {thread.number} works for thread {waiter}"
    if thread.type is not ThreadType.FAILURE_HANDLER or not 0 <= waiter < thread.number or waiter == thread.parent:
        raise Impossible(f"{what}: only the failure handler of a failed child works for one that came before it")
    if thread.status not in TERMINAL and waiter not in run.threads:
        raise Impossible(f"{what}, which is not there")
    assert thread.parent is not None
    if thread.status not in TERMINAL and run.threads[thread.parent].failure is None:
        raise Impossible(f"{what}, and thread {thread.parent} has not failed")


def _check_program(run: WfRun, thread: ThreadRun) -> None:
    """The thread runs a ThreadSpec, stands at a node of it, and has its Variables."""
    assert run.spec is not None
    what = f"thread {thread.number}"
    spec = run.spec.threads.get(thread.thread_spec)
    if spec is None:
        raise Impossible(f"{what}: there is no ThreadSpec {_named(thread.thread_spec)}")
    if thread.number == 0 and spec.name != run.spec.entrypoint:
        raise Impossible(f"{what} runs ThreadSpec {spec.name!r}: expected {run.spec.entrypoint!r}, the entrypoint")
    if thread.node.node not in spec.nodes:
        raise Impossible(f"{what}: ThreadSpec {spec.name!r} has no node {_named(thread.node.node)}")
    if thread.variables.keys() != spec.variables.keys():
        name = min(thread.variables.keys() ^ spec.variables.keys())
        its = "has" if name in spec.variables else "has no"
        raise Impossible(f"{what}: ThreadSpec {spec.name!r} {its} Variable {_named(name)}, other than the thread")
    for name, value in thread.variables.items():
        declared = spec.variables[name].type
        if not fits(value, declared):
            raise Impossible(f"{what}: Variable {name!r}: expected {declared}, found {kind_of(value)}")
    for node, value in thread.outputs.items():
        if node not in spec.nodes:
            raise Impossible(f"{what} has an output of node {_named(node)}, which ThreadSpec {spec.name!r} has not")
        _check_value(value, f"{what}, output of node {node!r}")
    _check_value(thread.output, f"{what}, output")
    _check_origin(run, thread, spec)
    for failure in (thread.failure, thread.node.failure, thread.node.arrival_failure):
        _check_failure(failure, what)
    if not 0 <= thread.started_ms <= run.time_ms or not 0 <= (thread.ended_ms or 0) <= run.time_ms:
        raise Impossible(f"{what}: expected that it started and ended between 1970 and the moment")


def _check_origin(run: WfRun, thread: ThreadRun, spec: ThreadSpec) -> None:
    """An Interrupt Handler is one by the InterruptDef of its parent; no other thread comes from an ExternalEvent."""
    what = f"thread {thread.number}"
    event_def = thread.external_event_def
    if thread.type is not ThreadType.INTERRUPT:
        if event_def is not None or thread.external_event_id is not None or not thread.halts_parent:
            raise Impossible(f"{what} is {thread.type}: only an INTERRUPT comes from an ExternalEvent")
        return
    assert thread.parent is not None
    parent = run.threads[thread.parent]
    interrupt = None if event_def is None else run.spec_of(parent).interrupt_of.get(event_def)
    if interrupt is None or thread.external_event_id is None or interrupt.handler != spec.name:
        raise Impossible(
            f"{what}: ThreadSpec {parent.thread_spec!r} has no interrupt by {_named(event_def or '')} "
            f"that ThreadSpec {spec.name!r} handles"
        )
    if interrupt.halt is not thread.halts_parent:
        raise Impossible(f"{what}: its interrupt says halt: {str(interrupt.halt).lower()}, the thread says otherwise")


def _check_failure(failure: Failure | None, what: str) -> None:
    for links, link in enumerate(failure.chain() if failure is not None else (), 1):
        if links > LINKS_MAX:
            raise Impossible(f"{what}: expected at most {LINKS_MAX} failures in a chain of causes")
        if len(link.name) > NAME_LENGTH_MAX:
            raise Impossible(f"{what}: expected names of failures of at most {NAME_LENGTH_MAX} characters")


def _check_node(run: WfRun, thread: ThreadRun) -> None:
    """What the thread waits for fits the node at which it stands."""
    state, node = thread.node, run.spec_of(thread).nodes[thread.node.node]
    what = f"thread {thread.number}, node {node.name!r}"
    if not 0 <= state.position <= NUMBER_MAX:
        raise Impossible(f"{what}: expected a position of 0 to {NUMBER_MAX}, found {state.position}")
    if not 0 <= state.arrived_ms <= run.time_ms:
        raise Impossible(f"{what}: expected that the thread came there between 1970 and the moment")
    if state.matured_seq is not None and not -NUMBER_MAX <= state.matured_seq <= run.seq:
        raise Impossible(f"{what}: its time was over at an event that has not been")
    if state.task is not None:
        _check_task(state.task, node, what)
    _check_timer(thread, node, what)
    is_timed = isinstance(node, SleepNode) or (isinstance(node, ExternalEventNode) and node.timeout_s is not None)
    if state.arrival_failure is not None and not is_timed:
        raise Impossible(f"{what} waits for no time, and the thread has one that could not be computed")
    if state.deadline_ms is not None and (state.deadline_ms < 0 or not isinstance(node, ExternalEventNode)):
        raise Impossible(f"{what} has no deadline, and the thread has one there")
    if state.waits is not None:
        if not isinstance(node, WaitForThreadsNode):
            raise Impossible(f"{what} waits for no threads, and the thread does")
        _check_waits(run, thread, what)
    # When nothing else holds it, it would run on there.
    is_held = any(isinstance(reason, PendingFailure | HandlingFailure) for reason in thread.halt_reasons)
    if thread.status not in TERMINAL and state.failure is not None and not (state.failure_handled or is_held):
        raise Impossible(f"{what} failed, and the thread is {thread.status} for no handler of that")


def _check_task(task: TaskRun, node: AnyNode, what: str) -> None:
    if not isinstance(node, TaskNode) or node.task_def != task.task_def:
        raise Impossible(f"{what} is no TASK of TaskDef {_named(task.task_def)}, and the thread has an attempt of it")
    if not 1 <= task.attempt <= ATTEMPT_MAX:
        raise Impossible(f"{what}: expected attempt 1 to {ATTEMPT_MAX}, found {task.attempt}")
    if task.status is TaskRunStatus.DONE and task.result is TaskStatus.EXCEPTION:
        try:
            check_exception_name(task.failure_name or "")
        except TellableProblem as problem:
            raise Impossible(f"{what}: {problem}") from None
    for value in task.input.values():  # an output is checked when the thread uses it
        _check_value(value, f"{what}, input")
    try:
        check_progress(task.progress)
    except TellableProblem as problem:
        raise Impossible(f"{what}: {problem}") from None
    if task.status is not TaskRunStatus.OUT and (task.start_by_ms, task.started_ms) != (None, None):
        raise Impossible(f"{what}: attempt {task.attempt} is {task.status}, and waits for a start or has begun")
    if task.status is TaskRunStatus.DONE and task.progress is not None:
        raise Impossible(f"{what}: attempt {task.attempt} is {task.status}, and its progress is kept")


def _check_timer(thread: ThreadRun, node: AnyNode, what: str) -> None:
    state = thread.node
    if state.timer is None:
        return
    attempt = None if state.task is None else state.task.status
    is_there = {
        TimerKind.SLEEP: isinstance(node, SleepNode),
        TimerKind.EXTERNAL_EVENT_TIMEOUT: isinstance(node, ExternalEventNode) and node.timeout_s is not None,
        TimerKind.TASK_TIMEOUT: attempt is TaskRunStatus.OUT,
        TimerKind.TASK_BACKOFF: attempt is TaskRunStatus.RETRYING,
    }
    if not is_there.get(state.timer.kind, False):
        raise Impossible(f"{what}: a timer {state.timer.kind} does not belong there")
    if state.timer.due_ms < (0 if ends_at_a_moment(node) else state.arrived_ms):
        raise Impossible(f"{what}: the timer was due before the thread came there")


def _check_waits(run: WfRun, thread: ThreadRun, what: str) -> None:
    seen = set()
    for wait in thread.node.waits or ():
        if wait.thread in seen or not run.was_used(wait.thread) or wait.thread == thread.number:
            raise Impossible(f"{what}: expected to wait for other threads, each once, found {wait.thread}")
        seen.add(wait.thread)
        if wait.handler is None:
            continue
        handler = run.threads.get(wait.handler)
        if not run.was_used(wait.handler) or (
            handler is not None and (handler.waiter, handler.parent) != (thread.number, wait.thread)
        ):
            raise Impossible(f"{what}: thread {wait.handler} is no failure handler of thread {wait.thread} for it")


def _check_pending(run: WfRun) -> None:
    """Handlers that have not started are there for live threads, by what the WfSpec says."""
    assert run.spec is not None
    seen: set[object] = set()
    for accepted in run.accepted_interrupts:
        key = accepted.external_event_def, accepted.external_event_id
        what = f"the interrupt by {_named(key[1])} that waits for its handler"
        thread, event = run.threads.get(accepted.thread), run.external_events.get(key)
        if thread is None or thread.status in TERMINAL:
            raise Impossible(f"{what}: thread {accepted.thread} is not there, or has ended")
        if event is None or event.status is ExternalEventStatus.UNCLAIMED:
            raise Impossible(f"{what}: there is no ExternalEvent {_named(key[1])} that was accepted")
        interrupt = run.spec_of(thread).interrupt_of.get(key[0])
        if interrupt is None:
            raise Impossible(f"{what}: ThreadSpec {thread.thread_spec!r} has no interrupt by {_named(key[0])}")
        if accepted in seen:
            raise Impossible(f"{what} is there twice")
        seen.add(accepted)
    for unstarted in run.unstarted_failure_handlers:
        thread = run.threads.get(unstarted.thread)
        what = f"the failure handler for thread {unstarted.thread} that has not started"
        if thread is None or thread.status not in _HALTED or unstarted.thread in seen:
            raise Impossible(f"{what}: expected a thread that is halted, and one handler for it")
        if thread.node.failure is None or thread.node.position != unstarted.position:
            raise Impossible(f"{what}: expected that its node failed")
        if unstarted.handler_spec not in run.spec.threads:
            raise Impossible(f"{what}: there is no ThreadSpec {_named(unstarted.handler_spec)}")
        seen.add(unstarted.thread)


def _check_reasons(run: WfRun, thread: ThreadRun) -> None:
    """Every halt reason speaks of what is there."""
    reasons = thread.halt_reasons
    if not reasons:
        return
    what = f"thread {thread.number}"
    if len(set(reasons)) < len(reasons):
        raise Impossible(f"{what} has one halt reason twice")
    for reason in reasons:
        match reason:
            case Interrupted(handler=number) | HandlingFailure(handler=number):
                kind = ThreadType.INTERRUPT if isinstance(reason, Interrupted) else ThreadType.FAILURE_HANDLER
                handler = run.threads.get(number)
                holds = handler is not None and handler.parent == thread.number and handler.type is kind
                if handler is None or not holds or handler.waiter is not None or not handler.halts_parent:
                    raise Impossible(f"{what} is held by {reason}, which is no handler that it waits for")
            case ParentHalted(parent=number):
                if number != thread.holder or number not in run.threads:
                    raise Impossible(f"{what} is held by {reason}, with which it does not halt")
            case HaltedByParent(parent=number):
                if not run.was_used(number):
                    raise Impossible(f"{what} is held by {reason}, which there never was")
                # (rules losers-are-not-needed, handler-is-no-loser)
                if thread.type is not ThreadType.CHILD and thread.waiter != number:
                    raise Impossible(f"{what} is held by {reason}, and is no thread that it could do without")
            case PendingFailure(position=position):
                if thread.node.failure is None or position != thread.node.position:
                    raise Impossible(f"{what} is held by {reason}, and its node has not failed")
            case PendingInterrupt() | ManualHalt():
                pass  # its handler is looked for where all pending ones are


def _check_event(run: WfRun, event: WfRunExternalEvent, context: Context) -> None:
    what = f"ExternalEvent {_named(event.external_event_id)}"
    try:
        check_event_id(event.external_event_id)
    except TellableProblem as problem:
        raise Impossible(str(problem)) from None
    if context.definitions.external_event_def(event.external_event_def, run.wf_spec) is None:
        raise Impossible(f"{what}: there is no ExternalEventDef {_named(event.external_event_def)}")
    if not -NUMBER_MAX <= event.posted_seq <= run.seq or not 0 <= event.posted_ms <= TIME_MS_MAX:
        raise Impossible(f"{what}: expected that it was posted before the moment")
    if event.thread is not None and event.thread < 0:
        raise Impossible(f"{what}: expected that it is for a thread from 0 on, found {event.thread}")
    _check_value(event.content, what)
    outcomes = event.outcomes or ()
    before = -1
    for outcome in outcomes:
        if outcome.thread <= before or not run.was_used(outcome.thread):
            raise Impossible(f"{what}: expected outcomes in threads, ascending by number, found {outcome.thread}")
        if outcome.status is ExternalEventStatus.UNCLAIMED:
            raise Impossible(f"{what}: UNCLAIMED is no outcome in a thread")
        before = outcome.thread
    if len(outcomes) > OUTCOMES_MAX or not 0 <= event.outcomes_left_out <= NUMBER_MAX:
        raise Impossible(f"{what}: expected at most {OUTCOMES_MAX} outcomes, and the number of those left out")


# How what is there fits together.


def _handlers(thread: ThreadRun) -> frozenset[int]:
    """Return the handlers of a thread that hold it."""
    return frozenset(r.handler for r in thread.halt_reasons if isinstance(r, Interrupted | HandlingFailure))


def _check_status(thread: ThreadRun) -> None:
    what, status = f"thread {thread.number}", thread.status
    if thread.halt_reasons and status not in _HALTED:
        raise Impossible(f"{what} has a halt reason and is {status}")
    if status is Status.HALTED and not thread.halt_reasons:
        raise Impossible(f"{what} is HALTED for no reason")
    if (thread.ended_ms is not None) is not (status in TERMINAL):
        raise Impossible(f"{what} is {status}: a thread has an end if it has ended")
    failed = None if thread.failure is None else Status(thread.failure.failure_class)
    if failed is not (status if status in FAILED else None):
        raise Impossible(f"{what} is {status}, which its failure does not say")
    if status in TERMINAL and thread.node.timer is not None:
        raise Impossible(f"{what} is {status} and has a timer")
    if status is not Status.COMPLETED and thread.output is not None:
        raise Impossible(f"{what} is {status} and returned something")


def _check_wait(run: WfRun, thread: ThreadRun) -> None:
    """The state of the node is one between two commands."""
    state, node = thread.node, run.spec_of(thread).nodes[thread.node.node]
    what, task, timer = f"thread {thread.number}, node {node.name!r}", state.task, state.timer
    if task is not None and isinstance(node, TaskNode):
        # There may be more attempts than the node has: a version before it may have had more.
        if task.status is TaskRunStatus.OUT and timer is None and thread.status not in TERMINAL:
            raise Impossible(f"{what}: attempt {task.attempt} is out and has no time-out")
        if task.start_by_ms is not None and node.run_timeout_s is None:
            raise Impossible(
                f"{what}: attempt {task.attempt} is to be started in time, which the node does not ask for"
            )
        if task.started_ms is not None and not state.arrived_ms <= task.started_ms <= run.time_ms:
            raise Impossible(f"{what}: expected that its attempt was started between the arrival and the moment")
        if task.started_ms is not None and task.started_ms >= (task.start_by_ms or NUMBER_MAX):
            raise Impossible(f"{what}: its attempt was started too late, and is out")
        start_by_ms = task.start_by_ms if task.started_ms is None else None
        if start_by_ms is not None and timer is not None and timer.due_ms < start_by_ms:
            raise Impossible(f"{what}: its attempt times out before it has to be started")
        if (task.retry_at_ms is not None) is not (task.status is TaskRunStatus.RETRYING):
            raise Impossible(
                f"{what}: attempt {task.attempt} is {task.status}, which the time of the next does not say"
            )
        if thread.status is Status.HALTED and thread.task_out:
            raise Impossible(f"{what}: its attempt is out, and the thread is HALTED")
    if timer is not None and timer.kind is TimerKind.EXTERNAL_EVENT_TIMEOUT and state.deadline_ms != timer.due_ms:
        raise Impossible(f"{what}: the time-out is not due at the deadline")


def _check_handler(run: WfRun, thread: ThreadRun, handlers: dict[int, frozenset[int]]) -> None:
    """A handler holds its thread while it lives, and an Interrupt Handler takes it along when it fails."""
    if thread.type not in (ThreadType.INTERRUPT, ThreadType.FAILURE_HANDLER) or thread.waiter is not None:
        return
    assert thread.parent is not None
    what, parent = f"thread {thread.number}", run.threads[thread.parent]
    if thread.status in FAILED:
        # After a failure handler has failed, its thread may be rescued.
        if thread.type is ThreadType.INTERRUPT and parent.status not in FAILED:
            raise Impossible(f"{what} is an Interrupt Handler and failed, and thread {parent.number} did not")
    elif thread.halts_parent and parent.status not in FAILED and thread.number not in handlers[parent.number]:
        raise Impossible(f"{what} is a handler of thread {parent.number}, which does not wait for it")


def _check_holder(run: WfRun, thread: ThreadRun, hanging: Iterable[ThreadRun], handlers: frozenset[int]) -> None:
    """What hangs on a thread halts and resumes with it."""
    number, status = thread.number, thread.status
    is_held = any(type(reason) in _OTHERS for reason in thread.halt_reasons)
    for handler in handlers:
        if run.threads[handler].status in TERMINAL:
            raise Impossible(f"thread {number} is held by thread {handler}, which has ended")
        if is_held and status is Status.HALTED and run.threads[handler].status is Status.RUNNING:
            raise Impossible(f"thread {handler} is RUNNING, and thread {number} is held by more than handlers")
    for below in hanging:
        if below.status in TERMINAL:
            continue
        halts_along = ParentHalted(number) in below.halt_reasons
        if status is Status.RUNNING:
            if halts_along and below.status is Status.HALTED and not below.has_lost:
                raise Impossible(f"thread {below.number} is halted with thread {number}, which is RUNNING")
        elif (status in TERMINAL or below.type is ThreadType.CHILD or below.waiter == number) and not halts_along:
            raise Impossible(f"thread {number} is {status}, and thread {below.number} is not halted with it")


def _check_stillness(run: WfRun, handlers: dict[int, frozenset[int]]) -> None:
    """Nothing moves below a HALTED thread but its handlers and what is below these.

    From each thread that moves the way leads up to the next that moves, which is looked at for itself.
    """
    seen: set[int] = set()
    for thread in run.threads.values():
        below = thread
        while below.status in _MOVING or below is not thread:
            if below.number in seen or below.holder is None:
                break
            seen.add(below.number)
            above = run.threads.get(below.holder)
            if above is None or above.status in _MOVING:
                break
            if not below.halts_parent and ParentHalted(above.number) not in below.halt_reasons:
                break
            if above.status is Status.HALTED and below.halts_parent and below.number not in handlers[above.number]:
                raise Impossible(f"thread {above.number} is HALTED, and thread {thread.number} below it moves")
            below = above


def _check_outcomes(run: WfRun) -> None:
    """Pending interrupts, the halt reasons that speak of them and the ExternalEvents that they need say the same."""
    pending: set[tuple[int, str, str]] = set()
    for thread in run.threads.values():
        for reason in thread.halt_reasons:
            if isinstance(reason, PendingInterrupt):
                pending.add((thread.number, reason.external_event_def, reason.external_event_id))
    needed = set()
    for it in run.accepted_interrupts:
        key = it.external_event_def, it.external_event_id
        needed.add(key)
        halts = run.spec_of(run.threads[it.thread]).interrupt_of[key[0]].halt
        if halts is not ((it.thread, *key) in pending):
            says = f"the interrupt by {_named(key[1])} waits and says halt: {str(halts).lower()}"
            raise Impossible(f"thread {it.thread}: {says}, the thread says otherwise")
        pending.discard((it.thread, *key))
        event = run.external_events[key]
        if event.outcomes is not None and not event.outcomes_left_out:
            outcome = next((one.status for one in event.outcomes if one.thread == it.thread), None)
            if outcome is not ExternalEventStatus.CLAIMED:
                raise Impossible(f"ExternalEvent {_named(key[1])} was accepted, and its outcome is {outcome}")
    for number, _, event_id in sorted(pending):
        raise Impossible(f"thread {number} is held by an interrupt by {_named(event_id)} that does not wait")
    failing = {it.thread for it in run.unstarted_failure_handlers}
    for thread in run.threads.values():
        if any(isinstance(reason, PendingFailure) for reason in thread.halt_reasons) is not (thread.number in failing):
            raise Impossible(f"thread {thread.number}: a failure handler waits for it if a failure holds it")
    for event in run.external_events.values():
        _check_content(event, is_needed=event.key in needed)


def _check_content(event: WfRunExternalEvent, *, is_needed: bool) -> None:
    what = f"ExternalEvent {_named(event.external_event_id)}"
    if event.status is not ExternalEventStatus.UNCLAIMED:
        if event.content is not None and not is_needed:
            raise Impossible(f"{what} is {event.status}, nothing waits for it, and it has a content")
    elif event.outcomes or event.outcomes_left_out:
        raise Impossible(f"{what} is UNCLAIMED and has an outcome")
