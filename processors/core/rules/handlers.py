"""Handlers: when an Interrupt Handler and a failure handler start, and with what.

A thread that accepts an ExternalEvent (`interrupts`), or whose node fails (`failing`), only gets a handler that is
pending. Here handlers start, once their threads are still. That is also where there may be no room for one.

Functions that bring something about are generators of events. When one goes on after a `yield`, that event has
happened.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterator

from processors.core.records.events import Event, SpawnChild
from processors.core.records.failures import VAR_SUB_ERROR, failure_of
from processors.core.records.model import TERMINAL, ExternalEventKey, Status, ThreadRun, ThreadType, WfRun
from processors.core.records.spec import InterruptDef, InterruptPolicy
from processors.core.records.values import Value
from processors.core.rules.context import Context
from processors.core.rules.failing import fail_node, fail_thread
from processors.core.rules.halting import FAILURE_REASONS, is_still_but_for_interrupts, only_handlers_hold
from processors.core.rules.room import room_for
from processors.core.rules.scope import handler_variables


def launch_interrupts(
    run: WfRun, launched: set[int], woken: set[int], looked_at: set[int]
) -> Iterator[Iterator[Event]]:
    """Start Interrupt Handlers in the order in which their events were accepted (rule handlers-in-arrival-order).

    Each start is a rule by itself. `launched` holds the threads for which one was started in this pass or the passes
    before, and grows. None is started for them: the next handler of a thread starts when what the one before brought
    about has come to rest, which `advance` sees (rule one-handler-starts-at-a-time). If that one failed, so has the
    thread, and the next is dropped.

    Looks only at the threads in `woken`: something has happened to these since they were looked at. The set may grow
    meanwhile. A thread that comes too late for its place in the order stays there for the next pass. While there are
    failure handlers to start, `looked_at` gets all that were in it.
    """
    pending_heads = run.index.pending_heads
    heads: list[tuple[int, int]] = []
    missed: set[int] = set()
    reached = -1
    while woken or heads:
        for number in woken:
            if number in pending_heads and _may_launch_any(run, number):
                _push_head(run, number, reached, heads)
                if pending_heads[number][0][0] <= reached:
                    missed.add(number)
        if run.unstarted_failure_handlers:
            looked_at.update(woken)
        woken.clear()
        if not heads:
            break
        reached, number = heapq.heappop(heads)
        thread = run.threads.get(number)
        event_def = _head_at(run, number, reached)
        if thread is None or number in launched or event_def is None:
            continue
        interrupt = run.spec_of(thread).interrupt_of[event_def]
        if not _may_launch(run, thread, interrupt):
            _push_head(run, number, reached, heads)
            continue
        ids = run.index.pending[number][event_def]
        launched.add(number)
        key = (event_def, next(iter(ids)))
        content = run.external_events[key].content
        yield _spawn_handler(
            run, thread, interrupt.handler, ThreadType.INTERRUPT, content, key=key, halts_parent=interrupt.halt
        )
    woken.update(missed)


def _may_launch_any(run: WfRun, number: int) -> bool:
    """Say whether a handler of a thread may start as far as its status and its halt reasons go."""
    thread = run.threads.get(number)
    return thread is not None and thread.status not in TERMINAL and only_handlers_hold(run, thread)


def _push_head(run: WfRun, number: int, after: int, heads: list[tuple[int, int]]) -> None:
    """Put the next accepted interrupt of a thread on the heap, as rank and thread.

    It is the next after a rank, among those that are the first of their ExternalEventDef.
    """
    of_thread = run.index.pending_heads.get(number, ())
    at = bisect_left(of_thread, (after + 1, ""))
    if at < len(of_thread):
        heapq.heappush(heads, (of_thread[at][0], number))


def _head_at(run: WfRun, number: int, rank: int) -> str | None:
    """Return the ExternalEventDef of which this rank is the first; None if it is that no more."""
    of_thread = run.index.pending_heads.get(number, ())
    at = bisect_left(of_thread, (rank, ""))
    return of_thread[at][1] if at < len(of_thread) and of_thread[at][0] == rank else None


def _may_launch(run: WfRun, thread: ThreadRun, interrupt: InterruptDef) -> bool:
    """Say whether the next handler of an InterruptDef may start in a thread.

    Not while anything but handlers holds the thread (rule held-interrupts-wait), and only once it is still (rule
    handlers-start-when-still) unless the InterruptDef says `halt: false`. Policies bind the handlers of one
    InterruptDef in one thread: `serial` and `latest` have one at a time (rules policy-parallel, policy-serial,
    policy-latest, policies-do-not-mix).
    """
    if thread.status in TERMINAL or not only_handlers_hold(run, thread):
        return False
    handled = run.index.handling.get(thread.number, {})
    if interrupt.policy is not InterruptPolicy.PARALLEL and interrupt.external_event_def in handled:
        return False
    if not interrupt.halt:
        return True
    return thread.status is Status.HALTED and is_still_but_for_interrupts(run, thread)


def launch_failure_handlers(run: WfRun, context: Context, woken: set[int]) -> Iterator[Iterator[Event]]:
    """Start the failure handlers whose threads are HALTED for nothing but failures, in the order in which these failed.

    Each start is a rule by itself (rule failure-handlers-start-when-still). Where there is no room for a handler, the
    failure stays unhandled and the thread fails with it (rule no-room-leaves-failures-unhandled).

    Looks only at the threads in `woken`: something has happened to these since they were looked at. That is enough,
    because no such start lets another one start.
    """
    unstarted = run.index.unstarted
    for rank, number in sorted((unstarted[number][0], number) for number in woken if number in unstarted):
        thread = run.threads.get(number)
        if thread is None or number not in unstarted:
            continue  # it left or failed with one before it
        if thread.status is not Status.HALTED or not all(
            isinstance(reason, FAILURE_REASONS) for reason in thread.halt_reasons
        ):
            continue
        if not is_still_but_for_interrupts(run, thread):
            continue
        failure = thread.node.failure
        assert failure is not None
        if room_for(run, context):
            handler = run.unstarted_failure_handlers[run.index.unstarted_ranks.place_of(rank)].handler_spec
            yield _spawn_handler(run, thread, handler, ThreadType.FAILURE_HANDLER, failure.content)
        else:
            yield fail_thread(run, thread, failure)


def spawn_child_failure_handler(run: WfRun, waiter: ThreadRun, child: ThreadRun, handler_spec: str) -> Iterator[Event]:
    """Start the failure handler of a failed child at WAIT_FOR_THREADS: below that child, whose Variables it sees."""
    assert child.failure is not None
    content = child.failure.content
    yield from _spawn_handler(run, child, handler_spec, ThreadType.FAILURE_HANDLER, content, waiter=waiter.number)


def _spawn_handler(
    run: WfRun,
    parent: ThreadRun,
    spec_name: str,
    thread_type: ThreadType,
    content: Value,
    *,
    key: ExternalEventKey | None = None,
    waiter: int | None = None,
    halts_parent: bool = True,
) -> Iterator[Event]:
    """Spawn a handler as a child of the thread that it serves (rule handler-is-a-child).

    A content that does not fit its `INPUT` fails the handler at its first node (rule unfit-input-fails-the-handler).
    """
    assert run.spec is not None
    spec = run.spec.threads[spec_name]
    variables, problem = handler_variables(spec, content)
    number = run.greatest_thread_number + 1
    yield SpawnChild(
        thread=number,
        parent=parent.number,
        spec=spec_name,
        type=thread_type,
        node=spec.entrypoint,
        variables=variables,
        external_event_def=None if key is None else key[0],
        external_event_id=None if key is None else key[1],
        waiter=waiter,
        halts_parent=halts_parent,
    )
    if problem is not None:
        yield from fail_node(run, run.threads[number], failure_of(VAR_SUB_ERROR, str(problem)))
