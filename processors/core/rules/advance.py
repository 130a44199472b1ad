"""The loop that moves a WfRun until nothing more follows from its state.

A pass starts handlers that may start, then takes every thread that something happened to one step further, in the order
of their numbers. Threads that nothing happened to are not looked at, so they cost nothing. The agenda says whom to look
at; looking at one too many changes nothing.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from processors.core.records.events import Event, WfRunEnded
from processors.core.records.model import TERMINAL, HaltedByParent, Status, ThreadRun, WfRun
from processors.core.rules.agenda import Agenda
from processors.core.rules.context import Context
from processors.core.rules.halting import finish_halting, resume_where_resolved
from processors.core.rules.handlers import launch_failure_handlers, launch_interrupts
from processors.core.rules.knots import untie
from processors.core.rules.nodes import arrive_halted, run_node
from processors.core.rules.retiring import must_stay, retire_where_still
from processors.core.rules.room import room_for

RETENTION_S: Final = 7 * 24 * 3600
"""Seconds for which a WfRun is kept after its end, where its WfSpec does not say."""


def advance(run: WfRun, context: Context, agenda: Agenda) -> Iterator[Event]:
    """Move a WfRun by pass after pass, until one finds nothing to do (rule all-follows-in-one-command).

    Then threads that wait for each other in a circle are looked for, and the end of the WfRun. A generator of events:
    when it goes on after a `yield`, that event has happened.
    """
    yield from _run_passes(run, context, agenda)
    while (run.index.across or run.index.staying) and agenda.touched and not agenda.is_closed:
        seq = run.seq
        if not _wake_free_to_leave(run, agenda):
            yield from untie(run, agenda.touched, agenda.failed)
            if run.seq == seq:
                break
        yield from _run_passes(run, context, agenda)
    if run.timer is None and run.status in TERMINAL and not agenda.is_closed:
        yield from _end(run)


def _wake_free_to_leave(run: WfRun, agenda: Agenda) -> bool:
    """Have the threads looked at again that had to stay and now may leave; return whether there are any."""
    free = [n for n in run.index.staying if n not in run.threads or not must_stay(run, run.threads[n])]
    run.index.staying.difference_update(free)
    for number in free:
        agenda.wake(number)
    return bool(free)


def _run_passes(run: WfRun, context: Context, agenda: Agenda) -> Iterator[Event]:
    """Run passes until one finds nothing to do.

    A pass starts Interrupt Handlers, then failure handlers. Then it takes each thread one step further, by number (rule
    order-of-a-pass).
    """
    launched: set[int] = set()
    while agenda.begin_pass() or (launched and run.accepted_interrupts and not agenda.is_closed):
        if launched and agenda.is_done():
            agenda.woken.update(launched)
            launched.clear()  # all that was launched has come to rest
        if run.accepted_interrupts or run.unstarted_failure_handlers:
            yield from _launch(run, context, agenda, launched)
        else:
            agenda.woken.clear()
        for number in _threads_of_pass(run, context, agenda) if run.index.crowded else agenda.threads():
            thread = run.threads.get(number)
            if thread is not None:
                yield from advance_thread(run, context, thread)
    agenda.end_passes()


def _launch(run: WfRun, context: Context, agenda: Agenda, launched: set[int]) -> Iterator[Event]:
    """Start the handlers that may start now: Interrupt Handlers first."""
    looked_at: set[int] = set()
    yield from _each(launch_interrupts(run, launched, agenda.woken, looked_at), agenda)
    if run.unstarted_failure_handlers:
        yield from _each(launch_failure_handlers(run, context, looked_at), agenda)


def _threads_of_pass(run: WfRun, context: Context, agenda: Agenda) -> Iterator[int]:
    """Yield the threads of this pass, where some found no room for a handler: one that leaves room wakes the next."""
    for number in agenda.threads():
        was_crowded = agenda.take_crowded(run, number)
        yield number
        if was_crowded and room_for(run, context):
            agenda.wake_crowded(run, number)


def _each(rules: Iterator[Iterator[Event]], agenda: Agenda) -> Iterator[Event]:
    """Yield the events of one rule after the other; begin none once the command has become too much."""
    for rule in rules:
        if agenda.is_closed:
            return
        yield from rule


def _end(run: WfRun) -> Iterator[Event]:
    """End a WfRun whose thread 0 has ended, once nothing moves any more (rule over-when-still).

    Its retention begins (rule retention-ends-in-deletion).
    """
    if any(thread.status in (Status.RUNNING, Status.HALTING) for thread in run.threads.values()):
        return
    assert run.spec is not None
    assert run.status is not None
    retention_s = RETENTION_S if run.spec.retention_s is None else run.spec.retention_s
    yield WfRunEnded(run.status, run.time_ms + retention_s * 1000)


def advance_thread(run: WfRun, context: Context, thread: ThreadRun) -> Iterator[Event]:
    """Take one step of one thread, if it has anything to do (rule halted-threads-stand-still)."""
    match thread.status:
        case Status.RUNNING:
            return run_node(run, context, thread)
        case Status.HALTING:
            return chain(arrive_halted(run, context, thread), finish_halting(run, thread))
        case Status.HALTED:
            if run.is_held_by(thread, HaltedByParent):
                return retire_where_still(run, thread)
            return chain(arrive_halted(run, context, thread), resume_where_resolved(run, thread))
        case Status.COMPLETED | Status.ERROR | Status.EXCEPTION:
            return iter(())
