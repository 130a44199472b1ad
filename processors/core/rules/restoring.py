"""The notes that rules have of a WfRun whose rows came from elsewhere: restored, or carried along by a fork.

Rows do not say whom to wake by what. Here that is found out for all threads at once. Naming too many does no harm.
"""

from processors.core.records.model import TERMINAL, Status, ThreadRun, WfRun
from processors.core.records.spec import ExitNode
from processors.core.rules.halting import can_resume
from processors.core.rules.nodes import may_arrive_halted, note_wait, park_restored


def note_restored(run: WfRun) -> None:
    """Note for a WfRun whose index is as its rows say what its threads wait for, and what may be left to do."""
    for thread in run.threads.values():
        if thread.node.waits is not None:
            note_wait(run, thread)
        if thread.status is Status.RUNNING:
            park_restored(run, thread)
        elif thread.status not in TERMINAL and may_arrive_halted(run, thread):
            run.index.arrivals.add(thread.number)
    # Where the end of a rule was cut off they were not dropped yet.
    run.index.ended.extend(number for number in run.index.pending if not _can_resume(run, number))
    run.index.across.update(run.index.waiter_handlers)
    if run.index.across:
        run.index.staying.update(number for number, thread in run.threads.items() if _may_have_to_stay(run, thread))


def _can_resume(run: WfRun, number: int) -> bool:
    thread = run.threads.get(number)
    return thread is not None and can_resume(run, thread)


def _may_have_to_stay(run: WfRun, thread: ThreadRun) -> bool:
    """Say whether a thread may be one that would leave, but for others: `advance` finds out."""
    if thread.status is Status.RUNNING:
        return isinstance(run.spec_of(thread).nodes[thread.node.node], ExitNode)
    return thread.has_lost
