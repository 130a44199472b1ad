"""Keeping the index of a WfRun: what `evolve` notes there with each event, and how it is made from the rows.

Only `evolve` calls these functions, with an event; `index_of` makes the index anew for a WfRun that was restored. Both
come to the same, which the tests compare. The notes that rules make for themselves, such as which threads to wake, are
not made here.
"""

import bisect
from collections import Counter
from typing import Any

from processors.core.records.model import (
    MANY_REASONS,
    TERMINAL,
    ExternalEventStatus,
    HandlingFailure,
    Index,
    Interrupted,
    ThreadRun,
    ThreadType,
    ThreadWait,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.records.values import size_of


def index_of(run: WfRun, known: Index | None = None) -> Index:
    """Return the index of a WfRun that was restored from its rows; the engine adds what threads are parked on.

    `known` is an index that is right about its ExternalEvents; it may not be used any more.
    """
    index = Index()
    for thread in run.threads.values():
        list_thread(index, thread)
        list_handler(index, thread)
        if len(thread.halt_reasons) >= MANY_REASONS:
            index.reasons[thread.number] = dict(Counter(map(type, thread.halt_reasons)))
        for reason in thread.halt_reasons:
            if isinstance(reason, Interrupted | HandlingFailure) and reason.handler not in run.threads:
                index.gone_handlers.setdefault(thread.number, []).append(reason.handler)
        if thread.node.waits is not None:
            list_waits(index, thread.number, thread.node.waits)
        if thread.status in TERMINAL:
            unlist_live(index, thread)
    for accepted in run.accepted_interrupts:
        list_accepted(index, accepted.thread, accepted.external_event_def, accepted.external_event_id)
    for unstarted in run.unstarted_failure_handlers:
        list_unstarted_handler(index, unstarted.thread)
    if known is not None:
        index.unclaimed, index.unclaimed_for, index.remembered = known.unclaimed, known.unclaimed_for, known.remembered
        index.unclaimed_events, index.unclaimed_bytes = known.unclaimed_events, known.unclaimed_bytes
        return index
    for event in run.external_events.values():
        if event.status is ExternalEventStatus.UNCLAIMED:
            list_unclaimed(index, event)
        else:
            index.remembered.append((event.arrival, *event.key))
    index.remembered.sort()
    return index


def list_thread(index: Index, thread: ThreadRun) -> None:
    """Note a thread that lives."""
    bisect.insort(index.by_spec.setdefault(thread.thread_spec, []), thread.number)
    index.live += 1
    if thread.waiter is not None:
        bisect.insort(index.waiter_handlers.setdefault(thread.waiter, []), thread.number)


def unlist_live(index: Index, thread: ThreadRun) -> None:
    """Note that a thread lives no longer; it may stay, for the threads below it."""
    if remove_from(index.by_spec.get(thread.thread_spec, []), thread.number):
        index.live -= 1


def unlist_thread(index: Index, thread: ThreadRun) -> None:
    """Note that a thread is gone."""
    unlist_live(index, thread)
    if thread.waiter is not None:
        remove_from(index.waiter_handlers.get(thread.waiter, []), thread.number)


def list_handler(index: Index, thread: ThreadRun) -> None:
    """Note a thread below its parent, if it is an Interrupt Handler."""
    if thread.type is ThreadType.INTERRUPT and thread.parent is not None and thread.external_event_def is not None:
        handling = index.handling.setdefault(thread.parent, {})
        handling[thread.external_event_def] = handling.get(thread.external_event_def, 0) + 1


def unlist_handler(index: Index, thread: ThreadRun) -> None:
    """Note that a thread has left its parent, if it was an Interrupt Handler."""
    if thread.type is ThreadType.INTERRUPT and thread.parent is not None and thread.external_event_def is not None:
        handling = index.handling[thread.parent]
        handling[thread.external_event_def] -= 1
        if not handling[thread.external_event_def]:
            del handling[thread.external_event_def]
            if not handling:
                del index.handling[thread.parent]


def count_reason(index: Index, thread: ThreadRun, kind: type[Any], more: int) -> None:
    """Note that a thread has one more HaltReason of a kind, or one less, if these are many."""
    kinds = index.reasons.get(thread.number)
    if len(thread.halt_reasons) < MANY_REASONS:
        if kinds is not None:
            del index.reasons[thread.number]
    elif kinds is None:
        index.reasons[thread.number] = dict(Counter(map(type, thread.halt_reasons)))
    elif kinds.get(kind, 0) + more:
        kinds[kind] = kinds.get(kind, 0) + more
    else:
        del kinds[kind]


def forget_reasons(index: Index, number: int) -> None:
    """Note that a thread has no HaltReasons any more."""
    index.reasons.pop(number, None)
    index.gone_handlers.pop(number, None)


def forget_gone_handler(index: Index, number: int, handler: int) -> None:
    """Note that no HaltReason of a thread speaks any more of a handler that has left."""
    gone = index.gone_handlers.get(number)
    if gone is not None and handler in gone:
        gone.remove(handler)
        if not gone:
            del index.gone_handlers[number]


def list_waits(index: Index, number: int, waits: list[ThreadWait]) -> None:
    """Note the threads that a thread at WAIT_FOR_THREADS waits for."""
    index.waits[number] = {wait.thread: wait for wait in waits}
    for wait in waits:
        index.waited_for.setdefault(wait.thread, set()).add(number)


def forget_waits(index: Index, number: int) -> None:
    """Note that a thread waits for no threads any more."""
    index.open_waits.pop(number, None)
    index.left_to_complete.pop(number, None)
    index.left_to_fail.pop(number, None)
    for waited_for in index.waits.pop(number, ()):
        waiters = index.waited_for[waited_for]
        waiters.discard(number)
        if not waiters:
            del index.waited_for[waited_for]


def list_unclaimed(index: Index, event: WfRunExternalEvent) -> None:
    """Note an ExternalEvent that nothing has taken."""
    event_def, event_id = event.key
    index.unclaimed.setdefault(event_def, {})[event_id] = None
    index.unclaimed_for.setdefault((event_def, event.thread), {})[event_id] = None
    index.unclaimed_events += 1
    index.unclaimed_bytes += size_of(event.content)


def unlist_unclaimed(index: Index, event: WfRunExternalEvent) -> None:
    """Note that an ExternalEvent is unclaimed no longer, if it was until now; its id is remembered."""
    event_def, event_id = event.key
    unclaimed = index.unclaimed.get(event_def)
    if unclaimed and event_id in unclaimed:
        del unclaimed[event_id]
        index.unclaimed_events -= 1
        index.unclaimed_bytes -= size_of(event.content)
        its = (event_def, event.thread)
        del index.unclaimed_for[its][event_id]
        if not index.unclaimed_for[its]:
            del index.unclaimed_for[its]
        bisect.insort(index.remembered, (event.arrival, event_def, event_id))


def list_accepted(index: Index, number: int, event_def: str, event_id: str) -> None:
    """Note an accepted interrupt of a thread, which is the newest of its WfRun."""
    rank = index.pending_ranks.append()
    by_def = index.pending.setdefault(number, {})
    if event_def not in by_def:
        by_def[event_def] = {}
        index.pending_heads.setdefault(number, []).append((rank, event_def))
    by_def[event_def][event_id] = rank
    key = (event_def, event_id)
    index.awaiting[key] = index.awaiting.get(key, 0) + 1


def list_unstarted_handler(index: Index, number: int) -> None:
    """Note a failure handler of a thread that has not started, which is the newest of its WfRun."""
    index.unstarted.setdefault(number, []).append(index.unstarted_ranks.append())


def forget_threads(index: Index) -> None:
    """Note that a WfRun is over and keeps no threads."""
    index.by_spec.clear()
    index.live = 0
    index.handling.clear()
    index.reasons.clear()
    index.gone_handlers.clear()
    index.waits.clear()
    index.waited_for.clear()
    index.open_waits.clear()
    index.left_to_complete.clear()
    index.left_to_fail.clear()
    index.waiter_handlers.clear()
    index.parked.clear()
    index.crowded.clear()


def remove_from(items: list[Any], item: Any) -> bool:
    """Take an item out of an ascending list, if it is there; return whether it was."""
    at = bisect.bisect_left(items, item)
    if at == len(items) or items[at] != item:
        return False
    del items[at]
    return True
