"""TASK: attempts that are sent out, and what the end of the last one makes of the node."""

from collections.abc import Iterator
from typing import Final

from processors.core.records.events import Event, TaskAttemptRequested
from processors.core.records.failures import (
    TASK_ERROR,
    TASK_FAILURE,
    TIMEOUT,
    VAR_ERROR,
    VAR_MUTATION_ERROR,
    VAR_SUB_ERROR,
    failure_of,
)
from processors.core.records.model import TaskRun, TaskRunStatus, TaskStatus, ThreadRun, WfRun
from processors.core.records.spec import TaskNode
from processors.core.records.values import Value, ValueProblem, bounded, check_total, stored
from processors.core.rules.context import Context
from processors.core.rules.failing import fail_node
from processors.core.rules.nodes.completing import complete_node, fail
from processors.core.rules.nodes.expected import seconds_ms
from processors.core.rules.scope import ThreadScope
from processors.core.wf_spec.expressions import evaluate

NO_REPORT: Final = "no report in time"
"""The message of an attempt that its timer ended."""


def run_task(run: WfRun, context: Context, thread: ThreadRun, node: TaskNode) -> Iterator[Event]:
    """Request an attempt, or finish the node after the last one.

    One attempt is out at a time, until its report or its time-out (rule attempt-out-until-report). The next one after a
    back-off is requested here, so only when the thread runs (rule retries-wait-for-resume).
    """
    task = thread.node.task
    if task is None:
        return _request_first(run, context, thread, node)
    match task.status:
        case TaskRunStatus.OUT:
            return iter(())
        case TaskRunStatus.RETRYING:
            if thread.node.timer is not None:
                return iter(())
            return _request(run, context, thread, node, task.attempt + 1, task.input, task.progress)
        case TaskRunStatus.DONE:
            return _finish_task(run, context, thread, node, task)


def _request_first(run: WfRun, context: Context, thread: ThreadRun, node: TaskNode) -> Iterator[Event]:
    """Compute the inputs, which every attempt gets, and request the first (rule task-input-computed-once).

    They are stored as the WfSpec binds the TaskDef (rule task-as-its-wf-spec-binds).
    """
    scope = ThreadScope(run, thread)
    try:
        task_def = context.definitions.task_def(node.task_def, run.wf_spec)
        declared = {} if task_def is None or task_def.input is None else task_def.input
        task_input = {name: stored(evaluate(given, scope), declared.get(name)) for name, given in node.input.items()}
        check_total(task_input.values(), "input")
    except ValueProblem as problem:
        yield from fail(run, thread, VAR_SUB_ERROR, scope.tell(problem))
        return
    yield from _request(run, context, thread, node, 1, task_input)


def _request(
    run: WfRun,
    context: Context,
    thread: ThreadRun,
    node: TaskNode,
    attempt: int,
    task_input: dict[str, Value],
    progress: Value = None,
) -> Iterator[Event]:
    """Send an attempt out; its time-out counts from here (rule attempt-deadline-from-request).

    It goes to the queue of the newest revision (rule task-queue-of-the-newest).
    """
    task_def = context.definitions.task_def(node.task_def)
    if task_def is None:
        yield from fail(run, thread, TASK_ERROR, f"TaskDef {node.task_def!r} is deleted")
        return
    scope = ThreadScope(run, thread)
    try:
        start_by_ms, deadline_ms = _times(run, context, node, scope)
    except ValueProblem as problem:
        yield from fail(run, thread, VAR_ERROR, scope.tell(problem))
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
        start_by_ms=start_by_ms,
        progress=progress,
    )


# (rule queueing-is-not-running)
def _times(run: WfRun, context: Context, node: TaskNode, scope: ThreadScope) -> tuple[int | None, int]:
    """Return until when an attempt that is requested now may wait for its start, and when it times out without one.

    The former is None if its time counts from the request alone. Raises ValueProblem.
    """
    if node.queue_timeout_s is None or node.run_timeout_s is None:
        return None, run.time_ms + seconds_ms(evaluate(node.timeout_s, scope), "timeout_s")
    start_by_ms = run.time_ms + seconds_ms(evaluate(node.queue_timeout_s, scope), "queue_timeout_s")
    deadline_ms = start_by_ms + seconds_ms(evaluate(node.run_timeout_s, scope), "run_timeout_s")
    return (start_by_ms if context.attempt_starts else None), deadline_ms


def request_again(run: WfRun, context: Context, thread: ThreadRun) -> TaskAttemptRequested:
    """Return the request for the attempt that is out, once more, because a fork is another WfRun.

    Whoever does the task begins anew, so the attempt gets its whole time, and what is known of its progress. If its
    time cannot be computed any more, it gets what was left, started or not.
    """
    state, node = thread.node, run.spec_of(thread).nodes[thread.node.node]
    assert isinstance(node, TaskNode)
    assert state.task is not None
    start_by_ms: int | None = None
    try:
        start_by_ms, deadline_ms = _times(run, context, node, ThreadScope(run, thread))
    except ValueProblem:
        deadline_ms = run.time_ms if state.timer is None else state.timer.due_ms
    task_def = context.definitions.task_def(node.task_def)
    return TaskAttemptRequested(
        thread=thread.number,
        position=state.position,
        node=node.name,
        attempt=state.task.attempt,
        task_def=node.task_def,
        queue=None if task_def is None else task_def.queue,
        deadline_ms=deadline_ms,
        input=state.task.input,
        start_by_ms=start_by_ms,
        progress=state.task.progress,
    )


def _finish_task(run: WfRun, context: Context, thread: ThreadRun, node: TaskNode, task: TaskRun) -> Iterator[Event]:
    """Complete the node with the output of a task, or fail it as the last attempt ended.

    An output of the wrong type fails the node too (rules task-output-checked, last-attempt-fails-the-node).
    """
    attempts = f"attempt {task.attempt} of {node.retries + 1}"
    match task.result:
        case TaskStatus.SUCCESS:
            task_def = context.definitions.task_def(node.task_def, run.wf_spec)
            try:
                output = bounded(stored(task.output, None if task_def is None else task_def.output))
            except ValueProblem as problem:
                return fail(run, thread, VAR_MUTATION_ERROR, f"output of task {node.task_def!r}: {problem.unquoted}")
            return complete_node(run, thread, node, output)
        case TaskStatus.EXCEPTION:
            assert task.failure_name is not None
            return fail_node(run, thread, failure_of(task.failure_name, task.message or "", task.content))
        case TaskStatus.TIMEOUT:
            return fail(run, thread, TIMEOUT, f"task {node.task_def!r}, {attempts}: {task.message or NO_REPORT}")
        case TaskStatus.FAILED | None:
            return fail(run, thread, TASK_FAILURE, f"task {node.task_def!r}, {attempts}: {task.message or 'failed'}")
