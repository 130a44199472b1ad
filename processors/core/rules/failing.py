"""What a failure does: to the node, to its thread, to the threads around it (SEMANTICS 4.2, 4.3, N1, N6).

All functions are generators: an event that is yielded is true when the function goes on.
"""

from collections.abc import Iterator

from processors.core.records.events import Event, NodeFailed, ThreadFailed
from processors.core.records.failures import (
    child_failed,
    matching_handler,
    passed_on,
    size_of_failure,
    without_contents,
)
from processors.core.records.model import (
    TERMINAL,
    ExternalEventKey,
    Failure,
    ParentHalted,
    PendingFailure,
    ThreadRun,
    ThreadType,
    WfRun,
)
from processors.core.rules.halting import drop_hopeless_interrupts, halt

CLIMB_BYTES_MAX = 4 * 1024 * 1024
"""Of failures that one handler after the other passes up: from then on they have no contents."""


def fail_node(
    run: WfRun, thread: ThreadRun, failure: Failure, claimed: ExternalEventKey | None = None
) -> Iterator[Event]:
    """The current node fails: a matching failure handler is asked for, or the thread fails.

    A node whose failure was handled once, and that fails again on its way out, is not handled a second time: its
    handler could bring it here for ever. An ExternalEvent that it claimed before is used up.
    """
    node = thread.node
    handler = None
    if node.failure is None:
        handler = matching_handler(run.spec_of(thread).nodes[node.node].failure_handlers, failure)
    if handler is None:
        yield from fail_thread(run, thread, failure, claimed)
        return
    event_def, event_id = claimed or (None, None)
    yield NodeFailed(thread.number, node.position, node.node, failure, handler.handler, event_def, event_id)
    yield from halt(run, thread, PendingFailure(node.position))


def fail_thread(
    run: WfRun, thread: ThreadRun, failure: Failure, claimed: ExternalEventKey | None = None
) -> Iterator[Event]:
    """The thread fails. All that is left below it is halted; a failed handler takes its parent along.

    An interrupted thread fails with CHILD_FAILED, whatever failure handlers it has (N1); a thread whose failure
    handler fails, fails with that handler's failure (4.2).
    """
    failing: ThreadRun | None = thread
    size = 0
    while failing is not None and failing.status not in TERMINAL:
        event_def, event_id = (claimed or (None, None)) if failing is thread else (None, None)
        size += size_of_failure(failure)
        if size > CLIMB_BYTES_MAX:
            failure = without_contents(failure)
        yield ThreadFailed(failing.number, failure, event_def, event_id)
        for dependent in run.dependents(failing):
            yield from halt(run, dependent, ParentHalted(failing.number))
        number = failing.number
        parent = None if failing.parent is None else run.threads[failing.parent]
        match failing.type:
            case ThreadType.INTERRUPT:
                message = f"Interrupt Handler {number} failed: {failure.name}: {failure.message}"
                failing, failure = parent, child_failed(message, number, failure, failure.failure_class)
            case ThreadType.FAILURE_HANDLER if failing.waiter is None:
                failing, failure = parent, passed_on(number, failure)
            case _:
                failing = None
    yield from drop_hopeless_interrupts(run)
