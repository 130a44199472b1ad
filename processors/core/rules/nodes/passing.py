"""Nodes that nothing is waited for at: ENTRYPOINT, NOP, THROW_EVENT."""

from collections.abc import Iterator

from processors.core.records.events import Event, WorkflowEventThrown
from processors.core.records.failures import VAR_SUB_ERROR
from processors.core.records.model import Status, ThreadRun, WfRun
from processors.core.records.spec import EntrypointNode, NopNode, ThrowEventNode
from processors.core.records.values import ValueProblem, stored
from processors.core.rules.context import Context
from processors.core.rules.interrupts import offer_earlier
from processors.core.rules.nodes.leaving import fail, leave
from processors.core.rules.scope import ThreadScope
from processors.core.wf_spec.expressions import evaluate


def arrive_at_entrypoint(run: WfRun, context: Context, thread: ThreadRun, node: EntrypointNode) -> Iterator[Event]:  # noqa: ARG001
    return offer_earlier(run, context, thread)


def run_entrypoint(run: WfRun, context: Context, thread: ThreadRun, node: EntrypointNode) -> Iterator[Event]:
    yield from offer_earlier(run, context, thread)
    if thread.status is Status.RUNNING:
        yield from leave(run, thread, node)


# (rule passing-nodes)
def run_nop(run: WfRun, context: Context, thread: ThreadRun, node: NopNode) -> Iterator[Event]:  # noqa: ARG001
    return leave(run, thread, node)


# (rule thrown-event-on-log)
def run_throw_event(run: WfRun, context: Context, thread: ThreadRun, node: ThrowEventNode) -> Iterator[Event]:
    definition = context.definitions.workflow_event_def(node.workflow_event_def)
    scope = ThreadScope(run, thread)
    try:
        content = evaluate(node.content, scope)
        content = stored(content, None if definition is None else definition.content_type)
    except ValueProblem as problem:
        yield from fail(run, thread, VAR_SUB_ERROR, scope.tell(problem))
        return
    yield WorkflowEventThrown(thread.number, thread.node.position, node.workflow_event_def, content)
    yield from leave(run, thread, node)
