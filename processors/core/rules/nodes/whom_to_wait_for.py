"""The threads that a WAIT_FOR_THREADS names, and those that it may not wait for."""

from processors.core.records.model import TERMINAL, ThreadRun, ThreadType, WfRun
from processors.core.records.values import Value, ValueProblem, describe
from processors.core.rules.halting import holders, upward
from processors.core.rules.nodes.expected import list_of


def threads_to_wait_for(run: WfRun, thread: ThreadRun, value: Value) -> list[int]:
    """Return the numbers in a list of threads, each once; raises ValueProblem (rule whom-to-wait-for).

    A thread may wait for any thread that was spawned, also for one that has left. It may not wait for itself, nor for a
    thread above it, nor for one that stands still until this thread has ended: these would wait for each other.
    """
    above: set[int] | None = None
    branch_above = _BranchAbove(run, thread)
    numbers: dict[int, None] = {}
    for number in list_of(value, "threads"):
        if type(number) is not int or not run.was_used(number):
            raise ValueProblem(f"threads: there is no thread {describe(number)}")
        if above is None and number <= thread.number:  # those above it came before it
            above = {thread.number, *(ancestor.number for ancestor in run.ancestors(thread)), *holders(run, thread)}
        if above is not None and number in above:
            raise ValueProblem(
                f"threads: thread {thread.number} cannot wait for itself or a thread above it ({number})"
            )
        child = run.threads.get(number)
        if child is not None and child.status not in TERMINAL and branch_above.halts(child):
            raise ValueProblem(f"threads: thread {number} is halted until thread {thread.number} has ended")
        numbers[number] = None
    return list(numbers)


class _BranchAbove:
    """Tells which threads stand still until a given thread has ended.

    They do where that thread is, or is below, a handler of a thread above them. What is below another Interrupt Handler
    does not stand still, because Interrupt Handlers run side by side. Asked about many threads, it climbs from each
    only to where it has been before.
    """

    def __init__(self, run: WfRun, thread: ThreadRun) -> None:
        self._run, self._lowest = run, thread
        self._handler_below: dict[int, ThreadRun] | None = None
        """Each thread above it -> the thread through which it hangs there; None before somebody asks."""
        self._known: dict[int, bool] = {}

    def halts(self, other: ThreadRun) -> bool:
        """Say whether the other, which lives, stands still until the thread has ended."""
        way: list[int] = []
        answer = False
        for branch, above in upward(self._run, other):
            known = self._known.get(branch.number)
            if known is not None:
                answer = known
                break
            way.append(branch.number)
            if above is self._lowest:
                break  # what is below it is halted for nothing above that it is not
            if self._handler_below is None:
                self._handler_below = {it.number: child for child, it in upward(self._run, self._lowest)}
            handler = self._handler_below.get(above.number)
            if handler is not None:  # here both ways join
                answer = (
                    handler is not branch and _holds_its_thread(handler) and branch.type is not ThreadType.INTERRUPT
                )
                break
        self._known.update(dict.fromkeys(way, answer))
        return answer


def _holds_its_thread(handler: ThreadRun) -> bool:
    """Say whether the thread above a handler stands still until the handler has ended."""
    if handler.type is ThreadType.INTERRUPT:
        return handler.halts_parent
    return handler.type is ThreadType.FAILURE_HANDLER and handler.waiter is None
