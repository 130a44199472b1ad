"""Rules that look at every thread, where those of the core look up in the index whom something may concern.

They are slow, and simple enough to be right. Tests compare the core's results with theirs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from processors.core.records.events import Event, InterruptDropped
from processors.core.records.model import FAILED, ParentHalted, Status, ThreadRun, WfRun
from processors.core.rules import advance, failing, halting, knots, retiring
from processors.core.rules.agenda import Agenda
from processors.core.rules.context import Context
from processors.core.rules.halting import can_resume
from processors.core.rules.handlers import launch_failure_handlers, launch_interrupts
from processors.core.rules.knots import untie
from processors.core.rules.nodes import exits, waiting_for_threads


@contextmanager
def looking_everywhere() -> Iterator[None]:
    """Make the rules look at every thread during the block."""
    with (
        patch.object(advance, "launch_interrupts", _launch_interrupts),
        patch.object(advance, "launch_failure_handlers", _launch_failure_handlers),
        patch.object(Agenda, "wake_for_room", _wake_for_room),
        patch.object(Agenda, "wake_holders", _wake_holders),
        patch.object(advance, "untie", _untie),
        patch.object(halting, "nothing_moves_below", _nothing_moves_below),
        patch.object(retiring, "nothing_moves_below", _nothing_moves_below),
        patch.object(knots, "nothing_moves_below", _nothing_moves_below),
        patch.object(retiring, "drop_hopeless_interrupts", _drop_hopeless_interrupts),
        patch.object(failing, "drop_hopeless_interrupts", _drop_hopeless_interrupts),
        patch.object(exits, "drop_hopeless_interrupts", _drop_hopeless_interrupts),
        patch.object(waiting_for_threads, "drop_hopeless_interrupts", _drop_hopeless_interrupts),
    ):
        yield


def _launch_interrupts(
    run: WfRun, launched: set[int], woken: set[int], looked_at: set[int]
) -> Iterator[Iterator[Event]]:
    yield from launch_interrupts(run, launched, set(run.threads), looked_at)


def _launch_failure_handlers(run: WfRun, context: Context, woken: set[int]) -> Iterator[Iterator[Event]]:
    woken.update(run.threads)
    yield from launch_failure_handlers(run, context, woken)


def _wake_for_room(agenda: Agenda, run: WfRun) -> None:
    for number in run.index.crowded:
        agenda.wake(number)


def _nothing_moves_below(run: WfRun, thread: ThreadRun) -> bool:
    above_and_below = [(thread, dependent) for dependent in run.dependents(thread)]
    while above_and_below:
        above, dependent = above_and_below.pop()
        if not dependent.halts_parent and ParentHalted(above.number) not in dependent.halt_reasons:
            continue
        if dependent.status in (Status.RUNNING, Status.HALTING):
            return False
        above_and_below.extend((dependent, further) for further in run.dependents(dependent))
    return True


def _untie(run: WfRun, touched: set[int], failed: set[int]) -> Iterator[Event]:
    yield from untie(run, set(run.threads), failed)


def _wake_holders(agenda: Agenda, run: WfRun, thread: ThreadRun) -> None:
    holder = thread.holder
    while holder is not None and (above := run.threads.get(holder)) is not None:
        agenda.wake(holder)
        holder = above.holder


def _drop_hopeless_interrupts(run: WfRun) -> Iterator[Event]:
    for accepted in list(run.accepted_interrupts):
        thread = run.threads.get(accepted.thread)
        if thread is None or not can_resume(run, thread):
            status = "left" if thread is None else thread.status
            can_never = thread is not None and thread.status not in FAILED
            why = f"thread {accepted.thread} " + ("can never resume" if can_never else f"is {status}")
            yield InterruptDropped(accepted.thread, accepted.external_event_def, accepted.external_event_id, why)
