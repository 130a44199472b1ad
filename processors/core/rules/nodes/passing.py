"""Nodes that wait for nothing: ENTRYPOINT, NOP, THROW_EVENT (rule passing-nodes)."""

from collections.abc import Iterator

from processors.core.records.events import Event, WorkflowEventThrown
from processors.core.records.failures import VAR_SUB_ERROR
from processors.core.records.model import Status, ThreadRun, WfRun
from processors.core.records.spec import EntrypointNode, NopNode, ThrowEventNode
from processors.core.records.values import ValueProblem, stored
from processors.core.rules.context import Context
from processors.core.rules.interrupts import offer_earlier
from processors.core.rules.nodes.completing import complete_node, fail
from processors.core.rules.scope import ThreadScope
from processors.core.wf_spec.expressions import evaluate


def arrive_at_entrypoint(run: WfRun, context: Context, thread: ThreadRun, node: EntrypointNode) -> Iterator[Event]:  # noqa: ARG001
    """Take the early events that the thread asked for, also while it is halted."""
    return offer_earlier(run, context, thread)


def run_entrypoint(run: WfRun, context: Context, thread: ThreadRun, node: EntrypointNode) -> Iterator[Event]:
    """Take the early events that the thread asked for; go on if none of them halts it."""
    yield from offer_earlier(run, context, thread)
    if thread.status is Status.RUNNING:
        yield from complete_node(run, thread, node)


def run_nop(run: WfRun, context: Context, thread: ThreadRun, node: NopNode) -> Iterator[Event]:  # noqa: ARG001
    """Go on."""
    return complete_node(run, thread, node)


def run_throw_event(run: WfRun, context: Context, thread: ThreadRun, node: ThrowEventNode) -> Iterator[Event]:
    """Write an event with its content on the log, and go on (rule thrown-event-on-log)."""
    definition = context.definitions.workflow_event_def(node.workflow_event_def)
    scope = ThreadScope(run, thread)
    try:
        content = evaluate(node.content, scope)
        content = stored(content, None if definition is None else definition.content_type)
    except ValueProblem as problem:
        yield from fail(run, thread, VAR_SUB_ERROR, scope.tell(problem))
        return
    yield WorkflowEventThrown(thread.number, thread.node.position, node.workflow_event_def, content)
    yield from complete_node(run, thread, node)
