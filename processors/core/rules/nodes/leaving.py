"""How a thread leaves its node: by the first edge that holds, with its mutations, or with a failure (SEMANTICS 4.5)."""

from collections.abc import Iterator

from processors.core.records.events import Event, NodeCompleted, ThreadCompleted, VariableWrite
from processors.core.records.failures import VAR_SUB_ERROR, failure_of
from processors.core.records.model import TERMINAL, ExternalEventKey, Failure, ThreadRun, WfRun
from processors.core.records.spec import AnyNode, Edge, ExitNode
from processors.core.records.values import TellableProblem, Value, ValueProblem
from processors.core.rules.failing import fail_node, fail_thread
from processors.core.rules.halting import drop_hopeless_interrupts, is_kept, retire_with
from processors.core.rules.scope import ThreadScope
from processors.core.wf_spec.expressions import condition, mutate


# (rules write-where-it-lives, mutations-all-or-none)
def leave(
    run: WfRun, thread: ThreadRun, node: AnyNode, output: Value = None, claimed: ExternalEventKey | None = None
) -> Iterator[Event]:
    """Take the first edge whose condition holds, with its mutations, all or none (4.5)."""
    keeps_output = node.name in run.spec_of(thread).outputs_used
    scope = ThreadScope(run, thread, (node.name, output))
    try:
        edge = _satisfied_edge(node, scope)
        if edge.mutations or keeps_output:
            for mutation in edge.mutations:
                name = mutation.variable
                owner = scope.owner(name)
                declared = run.spec_of(owner).variables[name].type
                scope.writes[owner.number, name] = mutate(scope.variable(name), mutation, declared, scope)
            scope.check_room(keeps_output=keeps_output)
    except ValueProblem as problem:
        message = f"node {node.name!r}: {scope.tell(problem)}"
        yield from fail_node(run, thread, failure_of(VAR_SUB_ERROR, message), claimed)
        return
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


# (rule first-edge-that-holds)
def _satisfied_edge(node: AnyNode, scope: ThreadScope) -> Edge:
    for edge in node.edges:
        if edge.when is None or condition(edge.when, scope):
            return edge
    raise TellableProblem("no edge's condition holds")


def leave_handled(run: WfRun, thread: ThreadRun, node: AnyNode) -> Iterator[Event]:
    """Pass on from a node whose failure was handled, or that a rescue skips: edges, but no mutations (4.2, 4.6)."""
    if isinstance(node, ExitNode):
        if may_exit(run, thread):
            yield from complete(run, thread, None)
        return
    scope = ThreadScope(run, thread)
    try:
        edge = _satisfied_edge(node, scope)
    except ValueProblem as problem:
        yield from fail_thread(run, thread, failure_of(VAR_SUB_ERROR, f"node {node.name!r}: {scope.tell(problem)}"))
        return
    yield NodeCompleted(thread.number, thread.node.position, node.name, edge.to)


def fail(run: WfRun, thread: ThreadRun, name: str, message: object, content: Value = None) -> Iterator[Event]:
    """Fail the node that a thread is at, by a name of LittleHorse's."""
    return fail_node(run, thread, node_failure(thread, name, message, content))


def node_failure(thread: ThreadRun, name: str, message: object, content: Value = None) -> Failure:
    """A failure of the node that a thread is at, which its message names."""
    return failure_of(name, f"node {thread.node.node!r}: {message}", content)


def may_exit(run: WfRun, thread: ThreadRun) -> bool:
    """Whether nothing is left that EXIT waits for, of its own or of others that have to do with threads below it."""
    return is_ready_to_exit(run, thread) and not is_kept(run, thread)


# (rule exit-waits-for-children)
def is_ready_to_exit(run: WfRun, thread: ThreadRun) -> bool:
    """Whether nothing of its own is left that EXIT waits for: children that can come to an end (N8), and accepted
    interrupts whose handlers will start beside the thread (N14). Each of them wakes the thread when it ends.
    """
    if thread.number in run.index.pending:
        return False
    return all(dependent.status in TERMINAL for dependent in run.dependents(thread))


def complete(run: WfRun, thread: ThreadRun, output: Value) -> Iterator[Event]:
    """A thread has reached its end."""
    yield from retire_with(run, thread)
    yield ThreadCompleted(thread.number, output)
    yield from drop_hopeless_interrupts(run)
