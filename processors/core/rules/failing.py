"""Failures: what one does to the node, to its thread, and to the threads around it.

Both functions are generators of events. When one goes on after a `yield`, that event has happened.
"""

from collections.abc import Iterator
from typing import Final

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
from processors.core.rules.dropping import drop_hopeless_interrupts
from processors.core.rules.halting import halt

CLIMB_BYTES_MAX: Final = 4 * 1024 * 1024
"""Size of all failures that handlers pass up in one command; those after it lose their contents (rule
chains-are-bounded).
"""


def fail_node(
    run: WfRun, thread: ThreadRun, failure: Failure, claimed: ExternalEventKey | None = None
) -> Iterator[Event]:
    """Fail the current node: a failure handler that catches the failure is asked for, or the thread fails.

    A caught failure puts PENDING_FAILURE on the thread, which halts it (rule caught-failures-halt). A node whose
    failure was handled once, and that fails again on its way out, is not handled a second time: its handler could bring
    it here for ever (rule handled-only-once). An ExternalEvent that the node claimed before is used up.
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
    """Fail a thread, and halt all that is left below it (rule uncaught-failures-fail-the-thread).

    A handler that fails takes its parent along, and so on upward (rule failures-climb-in-one-command). An interrupted
    thread fails with CHILD_FAILED, whatever failure handlers it has (rule failed-interrupt-handlers-fail-the-thread). A
    thread whose failure handler fails, fails with that handler's failure (rule
    failed-failure-handlers-fail-the-thread).
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
            case ThreadType.FAILURE_HANDLER | ThreadType.CHILD | ThreadType.ENTRYPOINT:
                failing = None
    yield from drop_hopeless_interrupts(run)
