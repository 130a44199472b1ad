"""WAIT_FOR_THREADS: when it is over, what the failures of those it waits for mean, and who is needed no longer."""

from collections.abc import Iterator
from typing import Literal

from processors.core.records.events import ChildFailureHandled, Event, WaitStarted
from processors.core.records.failures import VAR_SUB_ERROR, child_failed, matching_handler, passed_on
from processors.core.records.model import (
    FAILED,
    TERMINAL,
    Failure,
    FailureClass,
    HaltedByParent,
    Status,
    ThreadRun,
    ThreadType,
    ThreadWait,
    WakeOn,
    WfRun,
)
from processors.core.records.spec import WaitForThreadsNode, WaitStrategy
from processors.core.records.values import ValueProblem, size_of
from processors.core.rules.context import Context
from processors.core.rules.dropping import drop_hopeless_interrupts
from processors.core.rules.failing import fail_node
from processors.core.rules.halting import halt
from processors.core.rules.handlers import spawn_child_failure_handler
from processors.core.rules.nodes.completing import complete_node, fail
from processors.core.rules.nodes.parking import note_wait, park, wait_for_room
from processors.core.rules.nodes.whom_to_wait_for import threads_to_wait_for
from processors.core.rules.room import room_for
from processors.core.rules.scope import ThreadScope
from processors.core.wf_spec.expressions import evaluate


def run_wait_for_threads(run: WfRun, context: Context, thread: ThreadRun, node: WaitForThreadsNode) -> Iterator[Event]:
    """Wait for threads: for ALL or ANY of a list, or for the FIRST of it that ends.

    When the thread comes here, the list is computed once and recorded, as the `waits` of its NodeRun. Afterwards, and
    whenever something may have changed, each thread of the list that was not found done before is looked at, in the
    order of the list (rules list-order-decides, wait-sees-ends-on-resume). It is one of these:

    - *done*: it has completed, or its failure was handled;
    - *failed, with a handler*: `on_child_failure` catches its failure. The handler starts, and from then on its end
      decides instead of the thread's. If there is no room for it the failure counts as unhandled (rule
      child-failures-get-handlers);
    - *failed*: it, its handler, or a thread above it below which it can never resume;
    - *open*: anything else.

    FIRST stops at the first that is done, ALL and FIRST stop at the first that failed. Then `_verdict` says what these
    add up to. If the wait is over, losers are halted and the thread takes an edge. If it failed, so does the node. If
    it goes on, the thread is parked until one of the open threads ends.
    """
    if thread.node.waits is None:
        scope = ThreadScope(run, thread)
        try:
            numbers = threads_to_wait_for(run, thread, evaluate(node.threads, scope))
        except ValueProblem as problem:
            yield from fail(run, thread, VAR_SUB_ERROR, scope.tell(problem))
            return
        yield WaitStarted(thread.number, thread.node.position, numbers)
        note_wait(run, thread)
    waits = thread.node.waits
    assert waits is not None
    # Those that were found done at the last look stay so.
    not_done = run.index.open_waits.get(thread.number, waits)
    done = len(waits) - len(not_done)
    still_open: list[ThreadWait] = []
    handled = set(thread.handled_children)
    culprits = _Culprits(run, thread, handled)
    given, most = 0, context.limits.bytes_per_command // 2
    failed: list[tuple[int, Failure]] = []
    is_crowded = False
    for wait in not_done:
        if _is_done(run, wait, handled):
            done += 1
            if node.strategy is WaitStrategy.FIRST:
                break
            continue
        still_open.append(wait)
        culprit = culprits.of(wait)
        if culprit is None:
            continue
        number, failure = culprit
        if number == wait.thread:
            handler = matching_handler(node.on_child_failure, failure)
            if handler is not None and not room_for(run, context):
                is_crowded = True
            elif handler is not None:
                # This is one rule, which nothing ends amid its work, so handlers whose contents are too much at once
                # start when these have ended. The first can always start, so there is something to wait for.
                content = size_of(failure.content)
                if given and given + content > most:
                    continue
                given += content
                yield from spawn_child_failure_handler(run, thread, run.threads[number], handler.handler)
                continue
        failed.append(culprit)
        if node.strategy is not WaitStrategy.ANY:
            break
    verdict = _verdict(node.strategy, len(waits), done, failed)
    if verdict is True:
        yield from _halt_losers(run, thread, node, waits)
        yield from complete_node(run, thread, node)
    elif verdict is not None:
        yield from fail_node(run, thread, verdict)
    else:
        _park(run, thread, node, still_open, culprits)
        if is_crowded:
            wait_for_room(run, thread)


def _park(
    run: WfRun, thread: ThreadRun, node: WaitForThreadsNode, still_open: list[ThreadWait], culprits: "_Culprits"
) -> None:
    """Have the thread woken when one of those it still waits for ends, or enough of them have.

    When one completes, nothing follows for ALL before the others have completed too. When one fails, nothing follows
    for ANY before the others have failed too.
    """
    run.index.open_waits[thread.number] = still_open
    if node.strategy is WaitStrategy.ALL:
        run.index.left_to_complete[thread.number] = len(set(map(_target, still_open)))
    elif node.strategy is WaitStrategy.ANY and not node.on_child_failure:
        unfailed = {_target(wait) for wait in still_open if culprits.of(wait) is None}
        run.index.left_to_fail[thread.number] = len(unfailed)
    park(run, thread, *((WakeOn.THREAD, w.thread) for w in still_open))
    park(run, thread, *((WakeOn.THREAD, w.handler) for w in still_open if w.handler is not None))


def open_waits(run: WfRun, thread: ThreadRun, node: WaitForThreadsNode) -> list[int]:
    """Return the threads that a wait still depends on, or their handlers; none if it is over once it is looked at."""
    targets: list[int] = []
    handled = set(thread.handled_children)
    culprits = _Culprits(run, thread, handled)
    for wait in run.index.open_waits.get(thread.number, thread.node.waits or ()):
        culprit = culprits.of(wait)
        if culprit is not None:
            number, failure = culprit
            is_handled = number == wait.thread and matching_handler(node.on_child_failure, failure) is not None
            if node.strategy is not WaitStrategy.ANY or is_handled:
                return []
        elif not _is_done(run, wait, handled):
            targets.append(_target(wait))
        elif node.strategy is not WaitStrategy.ALL:
            return []
    return targets


class _Culprits:
    """The failures that make threads count as failed for a wait.

    Asked about many threads, it climbs from each only to where it has been before.
    """

    def __init__(self, run: WfRun, waiter: ThreadRun, handled: set[int]) -> None:
        self._run, self._waiter, self._handled = run, waiter, handled
        self._known: dict[int, tuple[int, Failure] | None] = {}

    def of(self, wait: ThreadWait) -> tuple[int, Failure] | None:
        """Return the failure of a thread that is waited for, and the thread whose failure it is; None if there is none.

        It is its own, that of the handler it got, or that of a thread above it, below which it can never resume (rule
        failures-above-count). A failure of a child is unseen before somebody waits for it (rule
        child-failures-are-unseen-until-waited-for).
        """
        if wait.handled or wait.thread in self._handled:
            return None
        threads, waiter = self._run.threads, self._waiter.number
        way: list[int] = []
        found: tuple[int, Failure] | None = None
        current = threads.get(_target(wait))
        while current is not None and current.number != waiter:
            if current.number in self._known:
                found = self._known[current.number]
                break
            way.append(current.number)
            if current.failure is not None:
                found = current.number, current.failure
                break
            current = None if current.holder is None else threads.get(current.holder)
        self._known.update(dict.fromkeys(way, found))
        return found


def _target(wait: ThreadWait) -> int:
    """Return the thread whose end decides about a wait."""
    return wait.thread if wait.handler is None else wait.handler


def _is_done(run: WfRun, wait: ThreadWait, handled: set[int]) -> bool:
    """Say whether a thread that is waited for has completed, or its failure was handled."""
    if wait.handled or wait.thread in handled:
        return True
    return run.thread_status(wait.thread) is Status.COMPLETED


def _verdict(
    strategy: WaitStrategy, waits: int, done: int, failed: list[tuple[int, Failure]]
) -> Failure | Literal[True] | None:
    """Return True if the wait is over, a Failure if it failed, None if it goes on.

    `failed` is in the order of the list (rules wait-for-all, wait-for-any, wait-for-first).
    """
    match strategy:
        case WaitStrategy.ALL:
            if failed:
                return _propagated(*failed[0])
            return True if done == waits else None
        case WaitStrategy.ANY:
            if done or waits == 0:
                return True
            if len(failed) == waits:
                number, failure = failed[0]
                return child_failed(f"all {waits} threads failed", number, failure, FailureClass.ERROR)
            return None
        case WaitStrategy.FIRST:
            if done or waits == 0:
                return True
            return _propagated(*failed[0]) if failed else None


def _propagated(number: int, failure: Failure) -> Failure:
    """Return the waiting thread's failure for that of another: ERROR becomes CHILD_FAILED, an EXCEPTION keeps its name.

    See also `child_failed` for ANY in `_verdict` (rule waiters-pass-failures-on).
    """
    if failure.failure_class is FailureClass.EXCEPTION:
        return passed_on(number, failure)
    message = f"thread {number} failed: {failure.name}: {failure.message}"
    return child_failed(message, number, failure, FailureClass.ERROR)


def _halt_losers(run: WfRun, thread: ThreadRun, node: WaitForThreadsNode, waits: list[ThreadWait]) -> Iterator[Event]:
    """Halt for good what ANY or FIRST needs no more; what failed meanwhile counts as dealt with.

    A handler is no loser, because the thread it works for goes on only when the handler has completed. The handlers
    that this wait itself has started do lose (rules losers-are-not-needed, handler-is-no-loser).
    """
    if node.strategy is WaitStrategy.ALL:
        return
    reason = HaltedByParent(thread.number, thread.node.position)
    overlooked = []
    handled = set(thread.handled_children)
    for wait in waits:
        for number in (wait.thread, wait.handler):
            loser = None if number is None else run.threads.get(number)
            if loser is None or loser.status in TERMINAL:
                continue
            if loser.type is ThreadType.CHILD or loser.waiter == thread.number:
                yield from halt(run, loser, reason)
        if run.thread_status(wait.thread) in FAILED and wait.thread not in handled:
            overlooked.append(wait.thread)
    if overlooked:
        yield ChildFailureHandled(thread.number, overlooked)
    yield from drop_hopeless_interrupts(run)
