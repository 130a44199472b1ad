"""How a thread is done with its node: by the first edge that holds, with its mutations, or with a failure."""

from collections.abc import Iterator

from processors.core.records.events import Event, NodeCompleted, VariableWrite
from processors.core.records.failures import VAR_SUB_ERROR, failure_of
from processors.core.records.model import ExternalEventKey, Failure, ThreadRun, WfRun
from processors.core.records.spec import AnyNode, Edge
from processors.core.records.values import TellableProblem, Value, ValueProblem
from processors.core.rules.failing import fail_node, fail_thread
from processors.core.rules.scope import ThreadScope
from processors.core.wf_spec.expressions import condition, mutate


def complete_node(
    run: WfRun, thread: ThreadRun, node: AnyNode, output: Value = None, claimed: ExternalEventKey | None = None
) -> Iterator[Event]:
    """Take the first edge whose condition holds, with its mutations.

    These are written together or not at all, each where its Variable lives (rules mutations-all-or-none,
    write-where-it-lives).
    """
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


def _satisfied_edge(node: AnyNode, scope: ThreadScope) -> Edge:
    """Return the first edge whose condition holds; raises ValueProblem (rule first-edge-that-holds)."""
    for edge in node.edges:
        if edge.when is None or condition(edge.when, scope):
            return edge
    raise TellableProblem("no edge's condition holds")


def complete_handled_node(run: WfRun, thread: ThreadRun, node: AnyNode) -> Iterator[Event]:
    """Pass on from a node whose failure was handled, or that a rescue skips: by an edge, without its mutations.

    The node is not run again (rule handled-nodes-pass-on). An EXIT has no edges: see `exits`.
    """
    scope = ThreadScope(run, thread)
    try:
        edge = _satisfied_edge(node, scope)
    except ValueProblem as problem:
        yield from fail_thread(run, thread, failure_of(VAR_SUB_ERROR, f"node {node.name!r}: {scope.tell(problem)}"))
        return
    yield NodeCompleted(thread.number, thread.node.position, node.name, edge.to)


def fail(run: WfRun, thread: ThreadRun, name: str, message: object, content: Value = None) -> Iterator[Event]:
    """Fail the node that a thread is at, with a failure of a name of LittleHorse's."""
    return fail_node(run, thread, node_failure(thread, name, message, content))


def node_failure(thread: ThreadRun, name: str, message: object, content: Value = None) -> Failure:
    """Return a failure of the node that a thread is at, which its message names."""
    return failure_of(name, f"node {thread.node.node!r}: {message}", content)
