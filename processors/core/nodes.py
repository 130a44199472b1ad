"""What each kind of node does when a running thread stands at it (SEMANTICS 1.2, 2.4, 3.2, 4.4).

A node is looked at when its thread runs and something it depends on may have changed; it either yields events or parks
the thread on what it waits for. It is never arrived at twice: an interrupt in between changes nothing (3.2).
"""

from collections.abc import Callable, Generator, Iterator
from typing import Any, Literal

from processors.core.commands import TaskStatus, TimerKind
from processors.core.context import Context
from processors.core.events import (
    ChildFailureHandled,
    Event,
    NodeCompleted,
    SpawnChild,
    TaskAttemptRequested,
    ThreadCompleted,
    TimerArmed,
    VariableWrite,
    WaitStarted,
    WorkflowEventThrown,
)
from processors.core.expressions import condition, evaluate, mutate
from processors.core.failing import fail_node, fail_thread
from processors.core.failures import (
    INTERNAL_ERROR,
    TASK_ERROR,
    TASK_FAILURE,
    TIMEOUT,
    VAR_ERROR,
    VAR_MUTATION_ERROR,
    VAR_SUB_ERROR,
    child_failed,
    failure_of,
    matching_handler,
    passed_on,
)
from processors.core.halting import drop_hopeless_interrupts, halt, is_halted_because_of
from processors.core.interrupts import offer_earlier, room_for, spawn_child_failure_handler
from processors.core.model import (
    FAILED,
    TERMINAL,
    ExternalEventKey,
    Failure,
    FailureClass,
    HaltedByParent,
    Status,
    TaskRun,
    TaskRunStatus,
    ThreadRun,
    ThreadType,
    ThreadWait,
    Timer,
    WakeKey,
    WakeOn,
    WfRun,
)
from processors.core.scope import ThreadScope, starting_variables
from processors.core.spec import (
    INPUT,
    AnyNode,
    Edge,
    EntrypointNode,
    ExitNode,
    ExternalEventNode,
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
from processors.core.values import Timestamp, Value, ValueProblem, check_total, describe, stored, timestamp_of

VARIABLES: WakeKey = (WakeOn.VARIABLES, 0)
DURATION_S_MAX = 1_000 * 366 * 24 * 3600
"""A thousand years: longer times are a mistake, and the sum with a date still fits everywhere."""


def run_node(run: WfRun, context: Context, thread: ThreadRun) -> Iterator[Event]:
    """Take a running thread one node further, if its node is done."""
    node = run.spec_of(thread).nodes[thread.node.node]
    if thread.node.failure is not None:
        assert thread.node.failure_handled, f"thread {thread.number} runs on at a node that failed"
        return _leave_handled(run, thread, node)
    return _RUNNERS[type(node)](run, context, thread, node)


def _park(run: WfRun, thread: ThreadRun, *keys: WakeKey) -> None:
    for key in keys:
        run.index.parked.setdefault(key, set()).add(thread.number)


def _leave(
    run: WfRun, thread: ThreadRun, node: AnyNode, output: Value = None, claimed: ExternalEventKey | None = None
) -> Iterator[Event]:
    """Take the first edge whose condition holds, with its mutations, all or none (4.5)."""
    scope = ThreadScope(run, thread, (node.name, output))
    try:
        edge = _satisfied_edge(node, scope)
        for mutation in edge.mutations:
            name = mutation.variable
            owner = scope.owner(name)
            declared = run.spec_of(owner).variables[name].type
            scope.writes[owner.number, name] = mutate(scope.variable(name), mutation, declared, scope)
        scope.check_room()
    except ValueProblem as problem:
        yield from fail_node(run, thread, failure_of(VAR_SUB_ERROR, f"node {node.name!r}: {problem}"), claimed)
        return
    keeps_output = node.name in run.spec_of(thread).outputs_used
    yield NodeCompleted(
        thread=thread.number,
        position=thread.node.position,
        node=node.name,
        next_node=edge.to,
        writes=[VariableWrite(number, name, value) for (number, name), value in scope.writes.items()],
        output=output if keeps_output else None,
        keeps_output=keeps_output,
        external_event_def=None if claimed is None else claimed[0],
        external_event_id=None if claimed is None else claimed[1],
    )


def _satisfied_edge(node: AnyNode, scope: ThreadScope) -> Edge:
    for edge in node.edges:
        if edge.when is None or condition(edge.when, scope):
            return edge
    raise ValueProblem("no edge's condition holds")


def _leave_handled(run: WfRun, thread: ThreadRun, node: AnyNode) -> Iterator[Event]:
    """Pass on from a node whose failure was handled, or that a rescue skips: edges, but no mutations (4.2, 4.6)."""
    if isinstance(node, ExitNode):
        if all(dependent.status in TERMINAL for dependent in run.dependents(thread)):
            yield from _complete(run, thread, None)
        return
    scope = ThreadScope(run, thread)
    try:
        edge = _satisfied_edge(node, scope)
    except ValueProblem as problem:
        yield from fail_thread(run, thread, failure_of(VAR_SUB_ERROR, f"node {node.name!r}: {problem}"))
        return
    yield NodeCompleted(thread.number, thread.node.position, node.name, edge.to)


def _run_entrypoint(run: WfRun, context: Context, thread: ThreadRun, node: EntrypointNode) -> Iterator[Event]:
    yield from offer_earlier(run, context, thread)
    if thread.status is Status.RUNNING:
        yield from _leave(run, thread, node)


def _run_nop(run: WfRun, context: Context, thread: ThreadRun, node: NopNode) -> Iterator[Event]:  # noqa: ARG001
    return _leave(run, thread, node)


def _fail(run: WfRun, thread: ThreadRun, name: str, message: object, content: Value = None) -> Iterator[Event]:
    return fail_node(run, thread, failure_of(name, f"node {thread.node.node!r}: {message}", content))


def _run_exit(run: WfRun, context: Context, thread: ThreadRun, node: ExitNode) -> Iterator[Event]:  # noqa: ARG001
    """A failing EXIT fails at once; the others wait for every child that can still come to an end (4.4, N8)."""
    scope = ThreadScope(run, thread)
    if node.failure_name is not None:
        try:
            message = "" if node.failure_message is None else evaluate(node.failure_message, scope)
            content = None if node.failure_content is None else evaluate(node.failure_content, scope)
        except ValueProblem as problem:
            yield from _fail(run, thread, VAR_SUB_ERROR, problem)
            return
        text = message if isinstance(message, str) else describe(message)
        yield from fail_node(run, thread, failure_of(node.failure_name, text, content))
        return
    if any(dependent.status not in TERMINAL for dependent in run.dependents(thread)):
        return  # each of them wakes this thread when it ends
    failed = next(
        (
            child
            for child in run.dependents(thread)
            if child.type is ThreadType.CHILD and child.status in FAILED and child.number not in thread.handled_children
        ),
        None,
    )
    if failed is not None:
        assert failed.failure is not None
        message = f"child thread {failed.number} failed: {failed.failure.name}: {failed.failure.message}"
        yield from fail_node(run, thread, child_failed(message, failed.number, failed.failure, FailureClass.ERROR))
        return
    try:
        output = None if node.returns is None else evaluate(node.returns, scope)
    except ValueProblem as problem:
        yield from _fail(run, thread, VAR_ERROR, problem)
        return
    yield from _complete(run, thread, output)


def _complete(run: WfRun, thread: ThreadRun, output: Value) -> Iterator[Event]:
    yield ThreadCompleted(thread.number, output)
    yield from drop_hopeless_interrupts(run)


def _run_task(run: WfRun, context: Context, thread: ThreadRun, node: TaskNode) -> Iterator[Event]:
    task = thread.node.task
    if task is None:
        return _request_first(run, context, thread, node)
    match task.status:
        case TaskRunStatus.OUT:
            return iter(())
        case TaskRunStatus.RETRYING:
            if thread.node.timer is not None:
                return iter(())
            return _request(run, context, thread, node, task.attempt + 1, task.input)
        case TaskRunStatus.DONE:
            return _finish_task(run, context, thread, node, task)


def _request_first(run: WfRun, context: Context, thread: ThreadRun, node: TaskNode) -> Iterator[Event]:
    scope = ThreadScope(run, thread)
    try:
        task_def = context.definitions.task_def(node.task_def)
        declared = {} if task_def is None or task_def.input is None else task_def.input
        task_input = {name: stored(evaluate(given, scope), declared.get(name)) for name, given in node.input.items()}
        check_total(task_input.values(), "input")
    except ValueProblem as problem:
        yield from _fail(run, thread, VAR_SUB_ERROR, problem)
        return
    yield from _request(run, context, thread, node, 1, task_input)


def _request(
    run: WfRun, context: Context, thread: ThreadRun, node: TaskNode, attempt: int, task_input: dict[str, Value]
) -> Iterator[Event]:
    """Send an attempt out; its time-out counts from here (N12)."""
    task_def = context.definitions.task_def(node.task_def)
    if task_def is None:
        yield from _fail(run, thread, TASK_ERROR, f"TaskDef {node.task_def!r} is deleted")
        return
    try:
        deadline_ms = run.time_ms + _seconds_ms(evaluate(node.timeout_s, ThreadScope(run, thread)), "timeout_s")
    except ValueProblem as problem:
        yield from _fail(run, thread, VAR_ERROR, problem)
        return
    yield TaskAttemptRequested(
        thread=thread.number,
        position=thread.node.position,
        node=node.name,
        attempt=attempt,
        task_def=node.task_def,
        queue=task_def.queue,
        deadline_ms=deadline_ms,
        input=task_input,
    )


def _finish_task(run: WfRun, context: Context, thread: ThreadRun, node: TaskNode, task: TaskRun) -> Iterator[Event]:
    attempts = f"attempt {task.attempt} of {node.retries + 1}"
    match task.result:
        case TaskStatus.SUCCESS:
            task_def = context.definitions.task_def(node.task_def)
            try:
                output = stored(task.output, None if task_def is None else task_def.output)
            except ValueProblem as problem:
                return _fail(run, thread, VAR_MUTATION_ERROR, f"output of task {node.task_def!r}: {problem}")
            return _leave(run, thread, node, output)
        case TaskStatus.EXCEPTION:
            assert task.failure_name is not None
            return fail_node(run, thread, failure_of(task.failure_name, task.message or "", task.content))
        case TaskStatus.TIMEOUT:
            return _fail(run, thread, TIMEOUT, f"task {node.task_def!r}, {attempts}: no report in time")
        case _:
            return _fail(run, thread, TASK_FAILURE, f"task {node.task_def!r}, {attempts}: {task.message or 'failed'}")


def _run_external_event(run: WfRun, context: Context, thread: ThreadRun, node: ExternalEventNode) -> Iterator[Event]:  # noqa: ARG001
    """Claim the oldest unclaimed event; one that came before the deadline wins over the time-out (N11)."""
    key = _claimable(run, thread, node.external_event_def)
    if key is not None:
        yield from _leave(run, thread, node, run.external_events[key].content, claimed=key)
        return
    state = thread.node
    if state.matured_seq is not None:
        yield from _fail(run, thread, TIMEOUT, f"no ExternalEvent {node.external_event_def!r} in time")
        return
    if node.timeout_s is not None and state.timer is None:
        try:
            seconds = evaluate(node.timeout_s, ThreadScope(run, thread))
            due_ms = run.time_ms + _seconds_ms(seconds, "timeout_s")
        except ValueProblem as problem:
            yield from _fail(run, thread, VAR_ERROR, problem)
            return
        yield TimerArmed(thread.number, state.position, Timer(TimerKind.EXTERNAL_EVENT_TIMEOUT, due_ms))
    _park(run, thread, (WakeOn.EXTERNAL_EVENT, node.external_event_def))


def _claimable(run: WfRun, thread: ThreadRun, event_def: str) -> ExternalEventKey | None:
    state = thread.node
    for event_id in run.index.unclaimed.get(event_def, ()):
        event = run.external_events[event_def, event_id]
        if state.matured_seq is not None:
            assert state.deadline_ms is not None
            if event.posted_seq > state.matured_seq or event.posted_ms >= state.deadline_ms:
                return None  # it came too late, and so did all after it
        if event.thread in (None, thread.number):
            return event.key
    return None


def _run_sleep(run: WfRun, context: Context, thread: ThreadRun, node: SleepNode) -> Iterator[Event]:  # noqa: ARG001
    """Wait for a time. `until` is looked at again whenever the thread is, so an interrupt may move it (3.2)."""
    state = thread.node
    if state.matured_seq is None:
        try:
            due_ms = _due_ms(run, thread, node)
        except ValueProblem as problem:
            yield from _fail(run, thread, VAR_SUB_ERROR, problem)
            return
        timer = Timer(TimerKind.SLEEP, due_ms)
        # One that is armed ends when it fires, even if the time has come: else it would matter who is looked at.
        if state.timer == timer or due_ms > run.time_ms:
            if state.timer != timer:
                yield TimerArmed(thread.number, state.position, timer)
            if node.seconds is None:
                _park(run, thread, VARIABLES)
            return
    yield from _leave(run, thread, node)


def _due_ms(run: WfRun, thread: ThreadRun, node: SleepNode) -> int:
    scope = ThreadScope(run, thread)
    if node.seconds is not None:
        if thread.node.timer is not None:
            return thread.node.timer.due_ms  # counted from arrival, once
        return run.time_ms + _seconds_ms(evaluate(node.seconds, scope), "seconds")
    if node.until_ms is not None:
        moment = evaluate(node.until_ms, scope)
        if isinstance(moment, Timestamp):
            return moment.epoch_ms
        if type(moment) is int:
            return moment
        raise ValueProblem(f"until: expected TIMESTAMP or INT, found {describe(moment)}")
    assert node.until_iso is not None
    text = evaluate(node.until_iso, scope)
    if not isinstance(text, str):
        raise ValueProblem(f"until_iso: expected STR, found {describe(text)}")
    return timestamp_of(text).epoch_ms


def _seconds_ms(value: Value, field: str) -> int:
    """A number of seconds as milliseconds; raises ValueProblem for anything that is no sensible duration."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= DURATION_S_MAX:
        raise ValueProblem(f"{field}: expected a number of seconds from 0 to {DURATION_S_MAX}, found {describe(value)}")
    return round(value * 1000)


def _run_wait_for_condition(
    run: WfRun,
    context: Context,  # noqa: ARG001
    thread: ThreadRun,
    node: WaitForConditionNode,
) -> Iterator[Event]:
    try:
        holds = condition(node.condition, ThreadScope(run, thread))
    except ValueProblem as problem:
        yield from _fail(run, thread, VAR_SUB_ERROR, problem)
        return
    if holds:
        yield from _leave(run, thread, node)
    else:
        _park(run, thread, VARIABLES)


def _run_throw_event(run: WfRun, context: Context, thread: ThreadRun, node: ThrowEventNode) -> Iterator[Event]:
    definition = context.definitions.workflow_event_def(node.workflow_event_def)
    try:
        content = evaluate(node.content, ThreadScope(run, thread))
        content = stored(content, None if definition is None else definition.content_type)
    except ValueProblem as problem:
        yield from _fail(run, thread, VAR_SUB_ERROR, problem)
        return
    yield WorkflowEventThrown(thread.number, thread.node.position, node.workflow_event_def, content)
    yield from _leave(run, thread, node)


def _run_start_thread(run: WfRun, context: Context, thread: ThreadRun, node: StartThreadNode) -> Iterator[Event]:
    started = yield from _start_children(run, context, thread, node, [{}])
    if started is not None:
        yield from _leave(run, thread, node, started[0])


def _run_start_multiple(
    run: WfRun, context: Context, thread: ThreadRun, node: StartMultipleThreadsNode
) -> Iterator[Event]:
    assert run.spec is not None
    try:
        items = _as_list(evaluate(node.over, ThreadScope(run, thread)), "over")
    except ValueProblem as problem:
        yield from _fail(run, thread, VAR_SUB_ERROR, problem)
        return
    takes_item = INPUT in run.spec.threads[node.thread].variables
    given: list[dict[str, Value]] = [{INPUT: item} if takes_item else {} for item in items]
    started = yield from _start_children(run, context, thread, node, given)
    if started is not None:
        yield from _leave(run, thread, node, started)


def _start_children(
    run: WfRun,
    context: Context,
    thread: ThreadRun,
    node: StartThreadNode | StartMultipleThreadsNode,
    given: list[dict[str, Value]],
) -> Generator[Event, None, list[Value] | None]:
    """Spawn a child for each item, all or none: the node fails if one cannot start (N15). Gives their numbers."""
    assert run.spec is not None
    spec = run.spec.threads[node.thread]
    if not room_for(run, context, len(given)):
        limit = context.limits.live_threads
        yield from _fail(run, thread, INTERNAL_ERROR, f"{len(given)} threads more than the {limit} a WfRun may have")
        return None
    scope = ThreadScope(run, thread)
    try:
        common = {name: evaluate(expression, scope) for name, expression in node.input.items()}
        children = [starting_variables(spec, {**common, **own}) for own in given]
    except ValueProblem as problem:
        yield from _fail(run, thread, VAR_SUB_ERROR, problem)
        return None
    numbers: list[Value] = []
    for variables in children:
        number = run.greatest_thread_number + 1
        numbers.append(number)
        yield SpawnChild(number, thread.number, node.thread, ThreadType.CHILD, spec.entrypoint, variables)
    return numbers


def _run_wait_for_threads(run: WfRun, context: Context, thread: ThreadRun, node: WaitForThreadsNode) -> Iterator[Event]:
    if thread.node.waits is None:
        try:
            numbers = _waited_for(run, thread, evaluate(node.threads, ThreadScope(run, thread)))
        except ValueProblem as problem:
            yield from _fail(run, thread, VAR_SUB_ERROR, problem)
            return
        yield WaitStarted(thread.number, thread.node.position, numbers)
    waits = thread.node.waits
    assert waits is not None
    done: int = 0
    failed: list[tuple[int, Failure]] = []
    for wait in waits:
        culprit = _failure_of(run, thread, wait)
        if culprit is None:
            done += _is_done(run, thread, wait)
            if done and node.strategy is WaitStrategy.FIRST:
                break
            continue
        number, failure = culprit
        if number == wait.thread:
            handler = matching_handler(node.on_child_failure, failure)
            if handler is not None and room_for(run, context):
                yield from spawn_child_failure_handler(run, thread, run.threads[number], handler.handler)
                continue
        failed.append(culprit)
        if node.strategy is not WaitStrategy.ANY:
            break
    verdict = _verdict(node.strategy, len(waits), done, failed)
    if verdict is True:
        yield from _release_losers(run, thread, node, waits)
        yield from _leave(run, thread, node)
    elif verdict is not None:
        yield from fail_node(run, thread, verdict)
    else:
        _park(run, thread, *((WakeOn.THREAD, w.thread) for w in waits))
        _park(run, thread, *((WakeOn.THREAD, w.handler) for w in waits if w.handler is not None))


def _as_list(value: Value, field: str) -> list[Value]:
    if not isinstance(value, list):
        raise ValueProblem(f"{field}: expected JSON_ARR, found {describe(value)}")
    return value


def _waited_for(run: WfRun, thread: ThreadRun, value: Value) -> list[int]:
    above = {thread.number, *(ancestor.number for ancestor in run.ancestors(thread))}
    numbers: list[int] = []
    for number in _as_list(value, "threads"):
        if type(number) is not int or not run.was_used(number):
            raise ValueProblem(f"threads: there is no thread {describe(number)}")
        if number in above:
            raise ValueProblem(
                f"threads: thread {thread.number} cannot wait for itself or a thread above it ({number})"
            )
        child = run.threads.get(number)
        if child is not None and child.status not in TERMINAL and is_halted_because_of(run, child, thread):
            raise ValueProblem(f"threads: thread {number} is halted until thread {thread.number} has ended")
        if number not in numbers:
            numbers.append(number)
    return numbers


def _failure_of(run: WfRun, waiter: ThreadRun, wait: ThreadWait) -> tuple[int, Failure] | None:
    """The failure that makes a thread count as unsuccessful, and whose it is: its own, that of the handler it got
    (4.2), or that of a thread above it, below which it can never resume (N5).
    """
    if wait.handled or wait.thread in waiter.handled_children:
        return None
    current = run.threads.get(wait.thread if wait.handler is None else wait.handler)
    while current is not None and current.number != waiter.number:
        if current.failure is not None:
            return current.number, current.failure
        current = None if current.holder is None else run.threads.get(current.holder)
    return None


def _is_done(run: WfRun, waiter: ThreadRun, wait: ThreadWait) -> bool:
    if wait.handled or wait.thread in waiter.handled_children:
        return True
    return run.thread_status(wait.thread) is Status.COMPLETED


def _verdict(
    strategy: WaitStrategy, waits: int, done: int, failed: list[tuple[int, Failure]]
) -> Failure | Literal[True] | None:
    """True: the wait is over. A Failure: it failed. None: it goes on (4.4)."""
    match strategy:
        case WaitStrategy.ALL:
            if failed:
                return _propagated(*failed[0])
            return True if done == waits else None
        case WaitStrategy.ANY:
            if done or waits == 0:
                return True
            if len(failed) == waits:
                number, failure = failed[0]
                return child_failed(f"all {waits} threads failed", number, failure, FailureClass.ERROR)
            return None
        case WaitStrategy.FIRST:
            if done or waits == 0:
                return True
            return _propagated(*failed[0]) if failed else None


def _propagated(number: int, failure: Failure) -> Failure:
    """A child's failure as its waiting parent's: ERROR becomes CHILD_FAILED, an EXCEPTION keeps its name (4.4, N1)."""
    if failure.failure_class is FailureClass.EXCEPTION:
        return passed_on(number, failure)
    message = f"thread {number} failed: {failure.name}: {failure.message}"
    return child_failed(message, number, failure, FailureClass.ERROR)


def _release_losers(
    run: WfRun, thread: ThreadRun, node: WaitForThreadsNode, waits: list[ThreadWait]
) -> Iterator[Event]:
    """What ANY or FIRST needed no more is halted for good; what failed meanwhile counts as dealt with (4.4)."""
    if node.strategy is WaitStrategy.ALL:
        return
    reason = HaltedByParent(thread.number, thread.node.position)
    overlooked = []
    for wait in waits:
        for number in (wait.thread, wait.handler):
            loser = None if number is None else run.threads.get(number)
            if loser is not None and loser.status not in TERMINAL:
                yield from halt(run, loser, reason)
        if run.thread_status(wait.thread) in FAILED and wait.thread not in thread.handled_children:
            overlooked.append(wait.thread)
    if overlooked:
        yield ChildFailureHandled(thread.number, overlooked)
    yield from drop_hopeless_interrupts(run)


_RUNNERS: dict[type[AnyNode], Callable[[WfRun, Context, ThreadRun, Any], Iterator[Event]]] = {
    EntrypointNode: _run_entrypoint,
    NopNode: _run_nop,
    ExitNode: _run_exit,
    TaskNode: _run_task,
    ExternalEventNode: _run_external_event,
    SleepNode: _run_sleep,
    StartThreadNode: _run_start_thread,
    StartMultipleThreadsNode: _run_start_multiple,
    WaitForThreadsNode: _run_wait_for_threads,
    WaitForConditionNode: _run_wait_for_condition,
    ThrowEventNode: _run_throw_event,
}


def parking_of(run: WfRun, thread: ThreadRun) -> list[WakeKey]:
    """What a restored thread waits for, by its node: more than need be does no harm."""
    node = run.spec_of(thread).nodes[thread.node.node]
    match node:
        case ExternalEventNode():
            return [(WakeOn.EXTERNAL_EVENT, node.external_event_def)]
        case SleepNode() | WaitForConditionNode():
            return [VARIABLES]
        case WaitForThreadsNode():
            waits = thread.node.waits or ()
            return [(WakeOn.THREAD, n) for w in waits for n in (w.thread, w.handler) if n is not None]
        case _:
            return []
