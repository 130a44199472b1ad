"""Interrupts: which threads accept an ExternalEvent, and when a handler starts (SEMANTICS 3, N2, N3, N6, N7, N14, N15).

All functions are generators: an event that is yielded is true when the function goes on.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterator

from processors.core.records.events import (
    Event,
    InterruptAccepted,
    InterruptDropped,
    InterruptSuperseded,
    SpawnChild,
)
from processors.core.records.failures import VAR_SUB_ERROR, failure_of
from processors.core.records.model import (
    TERMINAL,
    AcceptedInterrupt,
    ExternalEventKey,
    PendingInterrupt,
    Status,
    ThreadRun,
    ThreadType,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.records.spec import InterruptDef, InterruptPolicy
from processors.core.records.values import Value
from processors.core.rules.context import Context
from processors.core.rules.failing import fail_node, fail_thread
from processors.core.rules.halting import (
    FAILURE_REASONS,
    can_resume,
    halt,
    only_handlers_hold,
    rests_but_for_interrupts,
)
from processors.core.rules.scope import handler_variables


def live_threads(run: WfRun) -> int:
    """How many threads count for the cap: all that are not terminal, handlers included (N15)."""
    return run.index.live


def room_for(run: WfRun, context: Context, threads: int = 1) -> bool:
    """Whether so many more threads may live; an accepted interrupt has its handler's place already (N15)."""
    return live_threads(run) + len(run.accepted_interrupts) + threads <= context.limits.live_threads


def offer(run: WfRun, context: Context, event: WfRunExternalEvent) -> Iterator[Event]:
    """Offer a new ExternalEvent to the threads that registered an interrupt for it, ascending (3.1, step 2).

    All that can ever run again accept it; one that nobody accepts stays unclaimed (N9). Threads for whose handler there
    is no room come last: what happened to the event first would else be that it was dropped, with its content (N15).
    """
    assert run.spec is not None
    thread_spec = run.spec.interrupting.get(event.external_event_def)
    if thread_spec is None:
        return
    beyond: list[ThreadRun] = []
    for number in list(run.index.by_spec.get(thread_spec, ())):
        thread = run.threads[number]
        if event.thread not in (None, number) or not can_resume(run, thread):
            continue
        if _has_room(run, context, thread, event):
            yield from _accept(run, thread, event)
        else:
            beyond.append(thread)
    for thread in beyond:
        yield _beyond_the_cap(context, thread, event)


def offer_earlier(run: WfRun, context: Context, thread: ThreadRun) -> Iterator[Event]:
    """A thread that stands at ENTRYPOINT takes the unclaimed ExternalEvents that came before it did, where it asked for
    them (N14): in the order of arrival, across its InterruptDefs (N2).

    Where the policy is `latest`, the newest takes the place of all the others at once: they are never accepted.
    """
    spec = run.spec_of(thread)
    if not spec.preemptive:
        return
    unclaimed = run.index.unclaimed_for
    earlier = [
        run.external_events[event_def, event_id]
        for event_def in spec.preemptive
        for its in (None, thread.number)
        for event_id in unclaimed.get((event_def, its), ())
    ]
    if not earlier:
        return
    earlier.sort(key=lambda event: event.posted_offset)
    latest = [it for it in spec.preemptive if spec.interrupt_of[it].policy is InterruptPolicy.LATEST]
    older: dict[str, list[WfRunExternalEvent]] = {event_def: [] for event_def in latest}
    newest = {event.external_event_def: event for event in earlier if event.external_event_def in older}
    for event in earlier:
        event_def = event.external_event_def
        if newest.get(event_def, event) is not event:
            older[event_def].append(event)
            continue
        its_older = older.get(event_def, [])
        newer_id = _taken_out_of_turn(run, thread, event)
        if newer_id is not None:
            for it in (*its_older, event):
                yield InterruptSuperseded(thread.number, *it.key, newer_id)
        elif _has_room(run, context, thread, event):
            yield from _accept(run, thread, event)
            for it in its_older:
                yield InterruptSuperseded(thread.number, *it.key, event.external_event_id)
        else:
            for it in (*its_older, event):
                yield _beyond_the_cap(context, thread, it)


def _taken_out_of_turn(run: WfRun, thread: ThreadRun, event: WfRunExternalEvent) -> str | None:
    """Policy `latest`: the newer event that waits already, if 0.1.0 let it overtake this one."""
    for accepted in _superseded_by(run, thread, event):
        newer = run.external_events[event.external_event_def, accepted.external_event_id]
        if newer.posted_offset > event.posted_offset:
            return newer.external_event_id
    return None


def _has_room(run: WfRun, context: Context, thread: ThreadRun, event: WfRunExternalEvent) -> bool:
    return room_for(run, context, 1 - len(_superseded_by(run, thread, event)))


def _beyond_the_cap(context: Context, thread: ThreadRun, event: WfRunExternalEvent) -> InterruptDropped:
    limit = context.limits.live_threads
    what = f"the WfRun may have {limit} live threads, pending handlers included"
    return InterruptDropped(thread.number, *event.key, what)


def _accept(run: WfRun, thread: ThreadRun, event: WfRunExternalEvent) -> Iterator[Event]:
    interrupt = run.spec_of(thread).interrupt_of[event.external_event_def]
    key = event.key
    older = _superseded_by(run, thread, event)
    if interrupt.halt:
        yield from halt(run, thread, PendingInterrupt(*key))
    else:
        yield InterruptAccepted(thread.number, *key)
    for accepted in older:
        yield InterruptSuperseded(thread.number, accepted.external_event_def, accepted.external_event_id, key[1])


def _superseded_by(run: WfRun, thread: ThreadRun, event: WfRunExternalEvent) -> list[AcceptedInterrupt]:
    """Policy `latest`: the accepted interrupts of this InterruptDef whose handlers have not started (N3)."""
    event_def = event.external_event_def
    if run.spec_of(thread).interrupt_of[event_def].policy is not InterruptPolicy.LATEST:
        return []
    waiting = run.index.pending.get(thread.number, {}).get(event_def, {})
    return [AcceptedInterrupt(thread.number, event_def, event_id) for event_id in waiting]


def launch_interrupts(
    run: WfRun, launched: set[int], woken: set[int], looked_at: set[int]
) -> Iterator[Iterator[Event]]:
    """Start handlers in order of arrival, none for the threads in `launched`, which grows by those that get one. Each
    is a rule by itself.

    The next handler of a thread starts when the one before has come to rest: if that one failed, so has the thread, and
    the next is dropped (N2, N6).

    Looks at the threads in `woken` alone, which something has happened to since they were looked at; it may grow
    meanwhile, and what comes too late for its place in the order is left there. While there are failure handlers to
    start, `looked_at` gets all that were in it.
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
    thread = run.threads.get(number)
    return thread is not None and thread.status not in TERMINAL and only_handlers_hold(run, thread)


def _push_head(run: WfRun, number: int, after: int, heads: list[tuple[int, int]]) -> None:
    """Note the next accepted interrupt of a thread that is the first of its ExternalEventDef: rank and thread."""
    of_thread = run.index.pending_heads.get(number, ())
    at = bisect_left(of_thread, (after + 1, ""))
    if at < len(of_thread):
        heapq.heappush(heads, (of_thread[at][0], number))


def _head_at(run: WfRun, number: int, rank: int) -> str | None:
    """The ExternalEventDef of which this rank is the first, if it is that yet."""
    of_thread = run.index.pending_heads.get(number, ())
    at = bisect_left(of_thread, (rank, ""))
    return of_thread[at][1] if at < len(of_thread) and of_thread[at][0] == rank else None


def _may_launch(run: WfRun, thread: ThreadRun, interrupt: InterruptDef) -> bool:
    if thread.status in TERMINAL or not only_handlers_hold(run, thread):
        return False  # stopped, or an ancestor is halted: it waits (N7)
    handled = run.index.handling.get(thread.number, {})
    if interrupt.policy is not InterruptPolicy.PARALLEL and interrupt.external_event_def in handled:
        return False
    if not interrupt.halt:
        return True
    return thread.status is Status.HALTED and rests_but_for_interrupts(run, thread)


def launch_failure_handlers(run: WfRun, context: Context, woken: set[int]) -> Iterator[Iterator[Event]]:
    """Start the failure handlers whose threads are HALTED for nothing but failures (N5), in the order in which these
    failed. Each is a rule by itself.

    Looks at the threads in `woken` alone, which something has happened to since they were looked at: no such start
    lets another one start.
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
        if not rests_but_for_interrupts(run, thread):
            continue
        failure = thread.node.failure
        assert failure is not None
        if room_for(run, context):
            handler = run.unstarted_failure_handlers[run.index.unstarted_ranks.place_of(rank)].handler_spec
            yield _spawn_handler(run, thread, handler, ThreadType.FAILURE_HANDLER, failure.content)
        else:
            yield fail_thread(run, thread, failure)  # beyond the cap it stays unhandled (N15)


def spawn_child_failure_handler(run: WfRun, waiter: ThreadRun, child: ThreadRun, handler_spec: str) -> Iterator[Event]:
    """Start the failure handler of a failed child at WAIT_FOR_THREADS: below that child for scope (4.2, N5)."""
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
