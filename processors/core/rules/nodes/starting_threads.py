"""Nodes that start children: START_THREAD, START_MULTIPLE_THREADS."""

from collections.abc import Generator, Iterator

from processors.core.records.events import Event, SpawnChild
from processors.core.records.failures import INTERNAL_ERROR, VAR_SUB_ERROR
from processors.core.records.model import ThreadRun, ThreadType, WfRun
from processors.core.records.spec import INPUT, StartMultipleThreadsNode, StartThreadNode
from processors.core.records.values import Value, ValueProblem, size_of
from processors.core.rules.context import Context
from processors.core.rules.nodes.completing import complete_node, fail
from processors.core.rules.nodes.expected import list_of
from processors.core.rules.room import room_for
from processors.core.rules.scope import ThreadScope, starting_variables
from processors.core.wf_spec.expressions import evaluate


def run_start_thread(run: WfRun, context: Context, thread: ThreadRun, node: StartThreadNode) -> Iterator[Event]:
    """Start one child; the node's output is its number (rule start-thread-gives-number)."""
    started = yield from _start_children(run, context, thread, node, ThreadScope(run, thread), [{}])
    if started is not None:
        yield from complete_node(run, thread, node, started[0])


def run_start_multiple(
    run: WfRun, context: Context, thread: ThreadRun, node: StartMultipleThreadsNode
) -> Iterator[Event]:
    """Start a child for each item of a list; the output is the list of their numbers (rule one-child-per-item)."""
    assert run.spec is not None
    scope = ThreadScope(run, thread)
    try:
        items = list_of(evaluate(node.over, scope), "over")
    except ValueProblem as problem:
        yield from fail(run, thread, VAR_SUB_ERROR, scope.tell(problem))
        return
    takes_item = INPUT in run.spec.threads[node.thread].variables
    given: list[dict[str, Value]] = [{INPUT: item} if takes_item else {} for item in items]
    started = yield from _start_children(run, context, thread, node, scope, given)
    if started is not None:
        yield from complete_node(run, thread, node, started)


def _start_children(
    run: WfRun,
    context: Context,
    thread: ThreadRun,
    node: StartThreadNode | StartMultipleThreadsNode,
    scope: ThreadScope,
    given: list[dict[str, Value]],
) -> Generator[Event, None, list[Value] | None]:
    """Spawn a child for each of `given`, all or none, and return their numbers (rule children-start-all-or-none).

    If one cannot start, the node fails, and None is returned.
    """
    assert run.spec is not None
    spec = run.spec.threads[node.thread]
    if not room_for(run, context, len(given)):
        limit = context.limits.live_threads
        yield from fail(run, thread, INTERNAL_ERROR, f"{len(given)} threads more than the {limit} a WfRun may have")
        return None
    try:
        common = {name: evaluate(expression, scope) for name, expression in node.input.items()}
        children = [starting_variables(spec, {**common, **own}) for own in given]
    except ValueProblem as problem:
        yield from fail(run, thread, VAR_SUB_ERROR, scope.tell(problem))
        return None
    # All or none, also where the command would end in between because they are too much.
    limits = context.limits
    size, most = sum(size_of(value) for it in children for value in it.values()), limits.bytes_per_command // 2
    if size > most:
        message = f"the Variables of {len(children)} threads take {size} bytes, expected at most {most}"
        yield from fail(run, thread, INTERNAL_ERROR, message)
        return None
    numbers: list[Value] = []
    for variables in children:
        number = run.greatest_thread_number + 1
        numbers.append(number)
        yield SpawnChild(number, thread.number, node.thread, ThreadType.CHILD, spec.entrypoint, variables)
    return numbers
