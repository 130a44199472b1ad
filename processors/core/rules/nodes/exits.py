"""EXIT: where a thread completes or fails, and what it waits for before."""

from collections.abc import Iterator

from processors.core.records.events import Event, ThreadCompleted
from processors.core.records.failures import VAR_ERROR, VAR_SUB_ERROR, child_failed, failure_of
from processors.core.records.model import FAILED, TERMINAL, FailureClass, ThreadRun, ThreadType, WfRun
from processors.core.records.spec import ExitNode
from processors.core.records.values import Value, ValueProblem, describe
from processors.core.rules.context import Context
from processors.core.rules.dropping import drop_hopeless_interrupts
from processors.core.rules.failing import fail_node
from processors.core.rules.nodes.completing import fail
from processors.core.rules.retiring import must_stay, note_stay, retire_with
from processors.core.rules.scope import ThreadScope
from processors.core.wf_spec.expressions import evaluate


def run_exit(run: WfRun, context: Context, thread: ThreadRun, node: ExitNode) -> Iterator[Event]:  # noqa: ARG001
    """Fail at once where the EXIT says so (rule failing-exit-fails-at-once); otherwise end the thread when it may."""
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
    yield from exit_when_ready(run, thread, node)


def has_to_wait(thread: ThreadRun, node: ExitNode) -> bool:
    """Say whether the thread waits at this EXIT at all: where it is about to fail, it waits for nobody."""
    state = thread.node
    return node.failure_name is None if state.failure is None else state.failure_handled


def exit_when_ready(run: WfRun, thread: ThreadRun, node: ExitNode) -> Iterator[Event]:
    """Let a thread pass its EXIT once nothing is left that it waits for (rule exit-waits-for-children).

    Then it may still have to stay for others, which have to do with threads below it.
    """
    if not is_ready_to_exit(run, thread):
        return
    if must_stay(run, thread):
        note_stay(run, thread)
    else:
        yield from pass_exit(run, thread, node)


def is_ready_to_exit(run: WfRun, thread: ThreadRun) -> bool:
    """Say whether nothing of a thread's own is left that its EXIT waits for.

    It waits for children that can come to an end, and for accepted interrupts whose handlers will start beside the
    thread. Each of them wakes the thread when it ends.
    """
    if thread.number in run.index.pending:
        return False
    return all(dependent.status in TERMINAL for dependent in run.dependents(thread))


def pass_exit(run: WfRun, thread: ThreadRun, node: ExitNode) -> Iterator[Event]:
    """End a thread at an EXIT that waits for nothing any more.

    The thread fails if a child of its has failed and no wait has dealt with that (rule exit-sees-failed-children).
    Otherwise it completes with what the EXIT returns (rule exit-returns-a-value).
    """
    if thread.node.failure_handled:
        yield from _complete_thread(run, thread, None)
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
    yield from _complete_thread(run, thread, output)


def _complete_thread(run: WfRun, thread: ThreadRun, output: Value) -> Iterator[Event]:
    yield from retire_with(run, thread)
    yield ThreadCompleted(thread.number, output)
    yield from drop_hopeless_interrupts(run)
