"""Interrupts: which threads accept an ExternalEvent. When their handlers start is in `handlers`.

Functions that bring something about are generators of events. When one goes on after a `yield`, that event has
happened.
"""

from collections.abc import Iterator

from processors.core.records.events import Event, InterruptAccepted, InterruptDropped, InterruptSuperseded
from processors.core.records.model import AcceptedInterrupt, PendingInterrupt, ThreadRun, WfRun, WfRunExternalEvent
from processors.core.records.spec import InterruptPolicy
from processors.core.rules.context import Context
from processors.core.rules.halting import can_resume, halt
from processors.core.rules.room import room_for


def offer(run: WfRun, context: Context, event: WfRunExternalEvent) -> Iterator[Event]:
    """Offer a new ExternalEvent to the threads that registered an interrupt for it, ascending by number.

    Every thread that can ever run again accepts it (rule all-threads-accept); if the event names a thread, only that
    one does (rule addressed-to-one-thread). An event that no thread accepts stays unclaimed. Threads for whose handler
    there is no room come last: otherwise the first thing to happen to the event could be that it is dropped, with its
    content (rule no-room-drops-the-interrupt).
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
    """Offer a thread that stands at ENTRYPOINT the unclaimed ExternalEvents that came before it did.

    It takes those of its InterruptDefs that are `preemptive`, in the order of arrival across them (rule
    preemptive-takes-earlier-events). Where the policy is `latest`, the newest takes the place of all the others at
    once: they are superseded and never accepted (rule preemptive-latest-takes-newest).
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
    earlier.sort(key=lambda event: event.arrival)
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
    """Return the id of a newer event that waits already, with policy `latest`, if 0.1.0 let it overtake this one."""
    for accepted in _superseded_by(run, thread, event):
        newer = run.external_events[event.external_event_def, accepted.external_event_id]
        if newer.arrival > event.arrival:
            return newer.external_event_id
    return None


def _has_room(run: WfRun, context: Context, thread: ThreadRun, event: WfRunExternalEvent) -> bool:
    return room_for(run, context, 1 - len(_superseded_by(run, thread, event)))


def _beyond_the_cap(context: Context, thread: ThreadRun, event: WfRunExternalEvent) -> InterruptDropped:
    limit = context.limits.live_threads
    what = f"the WfRun may have {limit} live threads, pending handlers included"
    return InterruptDropped(thread.number, *event.key, what)


def _accept(run: WfRun, thread: ThreadRun, event: WfRunExternalEvent) -> Iterator[Event]:
    """Let a thread accept an event, which halts it (rule accepting-halts-the-thread).

    With `halt: false` it is not halted (rule halt-false-runs-beside).
    """
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
    """Return what the event supersedes: with policy `latest`, all that waits for a handler of its InterruptDef.

    So only the newest waits (rule policy-latest).
    """
    event_def = event.external_event_def
    if run.spec_of(thread).interrupt_of[event_def].policy is not InterruptPolicy.LATEST:
        return []
    waiting = run.index.pending.get(thread.number, {}).get(event_def, {})
    return [AcceptedInterrupt(thread.number, event_def, event_id) for event_id in waiting]
