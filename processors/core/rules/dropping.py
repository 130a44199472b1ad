"""Accepted interrupts that no handler can start for any more: they are recorded as dropped."""

from collections.abc import Iterator

from processors.core.records.events import Event, InterruptDropped
from processors.core.records.model import FAILED, TERMINAL, WfRun


def drop_hopeless_interrupts(run: WfRun) -> Iterator[Event]:
    """Record as dropped every accepted interrupt whose thread has ended or can never resume, in their order.

    The log shows each (rule hopeless-interrupts-are-dropped). `evolve` notes in `index.ended` the threads that ended or
    lost. This rule looks below them, and empties the note.
    """
    ended, pending = run.index.ended, run.index.pending
    if not ended:
        return
    hopeless: list[tuple[int, int, str, str]] = []
    while ended and pending:
        number = ended.pop()
        for event_def, ids in pending.get(number, {}).items():
            hopeless.extend((rank, number, event_def, event_id) for event_id, rank in ids.items())
        thread = run.threads.get(number)
        if thread is not None:
            # What is below one that ended before was dropped then.
            ended.extend(it.number for it in run.dependents(thread) if it.status not in TERMINAL and not it.has_lost)
    ended.clear()
    for _, number, event_def, event_id in sorted(set(hopeless)):
        thread = run.threads.get(number)
        status = "left" if thread is None else thread.status
        can_never = thread is not None and thread.status not in FAILED
        why = f"thread {number} can never resume" if can_never else f"thread {number} is {status}"
        yield InterruptDropped(number, event_def, event_id, why)
