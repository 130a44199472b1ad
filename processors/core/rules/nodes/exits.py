"""EXIT: where a thread completes or fails, and what it waits for before (SEMANTICS 4.4)."""

from collections.abc import Iterator

from processors.core.records.events import Event
from processors.core.records.failures import VAR_ERROR, VAR_SUB_ERROR, child_failed, failure_of
from processors.core.records.model import FAILED, FailureClass, ThreadRun, ThreadType, WfRun
from processors.core.records.spec import ExitNode
from processors.core.records.values import ValueProblem, describe
from processors.core.rules.context import Context
from processors.core.rules.failing import fail_node
from processors.core.rules.nodes.leaving import complete, fail, may_exit
from processors.core.rules.scope import ThreadScope
from processors.core.wf_spec.expressions import evaluate


# (rule failing-exit-fails-at-once)
def run_exit(run: WfRun, context: Context, thread: ThreadRun, node: ExitNode) -> Iterator[Event]:  # noqa: ARG001
    """A failing EXIT fails at once; the others wait for every child that can still come to an end (4.4, N8)."""
    if node.failure_name is not None:
        scope = ThreadScope(run, thread)
        try:
            message = "" if node.failure_message is None else evaluate(node.failure_message, scope)
            content = None if node.failure_content is None else evaluate(node.failure_content, scope)
        except ValueProblem as problem:
            yield from fail(run, thread, VAR_SUB_ERROR, scope.tell(problem))
            return
        text = message if isinstance(message, str) else describe(message)
        yield from fail_node(run, thread, failure_of(node.failure_name, text, content))
        return
    if may_exit(run, thread):
        yield from pass_exit(run, thread, node)


# (rule exit-returns-a-value)
def pass_exit(run: WfRun, thread: ThreadRun, node: ExitNode) -> Iterator[Event]:
    """What an EXIT does once it waits for nothing: the thread ends."""
    if thread.node.failure_handled:
        yield from complete(run, thread, None)
        return
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
    scope = ThreadScope(run, thread)
    try:
        output = None if node.returns is None else evaluate(node.returns, scope)
    except ValueProblem as problem:
        yield from fail(run, thread, VAR_ERROR, scope.tell(problem))
        return
    yield from complete(run, thread, output)
