"""The cap on live threads: whether there is room for more of them in a WfRun."""

from processors.core.records.model import WfRun
from processors.core.rules.context import Context


def room_for(run: WfRun, context: Context, threads: int = 1) -> bool:
    """Say whether so many more threads may live (rule live-threads-are-capped).

    All that are not terminal count, handlers included. An accepted interrupt has its handler's place already.
    """
    return run.index.live + len(run.accepted_interrupts) + threads <= context.limits.live_threads
