"""Threads that wait for each other in a circle, which nothing but a failure could end.

A wait, an EXIT over children, and a thread that is halted until a handler has ended: each needs others to move first.
In a circle of these nobody moves again, so one of them fails. Every circle has a thread in it that waits for one that
is no child of its own. While a WfRun has no such thread, nothing is looked at. Circles are looked for when a command
has done all that it can. So it does not matter what closed one: a wait that began, an EXIT that was reached, a thread
that was rescued, or a failure that left ANY with nobody else to wait for.
"""

from collections.abc import Iterable, Iterator

from processors.core.records.events import Event
from processors.core.records.failures import VAR_SUB_ERROR
from processors.core.records.model import TERMINAL, Status, ThreadRun, WfRun
from processors.core.records.spec import ExitNode, WaitForThreadsNode, WaitStrategy
from processors.core.rules.halting import can_resume, halted_until, holders, nothing_moves_below
from processors.core.rules.nodes.completing import fail
from processors.core.rules.nodes.exits import has_to_wait, is_ready_to_exit, pass_exit
from processors.core.rules.nodes.waiting_for_threads import open_waits
from processors.core.rules.retiring import Stays, retire, stays_for_handlers, stays_for_waiters

NAMED_MAX = 16
"""Number of threads of a circle that the failure's message names: the last ones."""
_Needs = list[list[int]]
"""The threads that a thread cannot move without: one that moves, out of each of these lists."""


def untie(run: WfRun, touched: set[int], failed: set[int]) -> Iterator[Event]:
    """Fail the thread that came last among those that wait for each other in a circle (rule circles-are-ended).

    It came last by the WfRun's clock, and has the greatest number of those with the same time. So the replay of a log
    and a restored WfRun come to the same. A wait is blamed rather than an EXIT, which did not choose what it waits for.
    A thread that only stays for others to see that one below it failed has done nothing wrong: it leaves (rule
    stays-in-circles-leave).

    `touched` are the threads that this command has looked at. Closing a circle wakes a thread in it, with one
    exception: if T waits for several threads and one of them fails, T is not looked at before it runs, or before none
    of them is left to it. So the search also begins at the threads that wait for one in `failed`: those that failed by
    this command, and what is left below them. Every command searches from the threads that must stay as well, because
    the threads that they stay for may be anywhere.
    """
    across = run.index.across
    across.difference_update([number for number in touched if number in across and not _has_to_do(run, number)])
    if not across:
        return
    staying = run.index.staying
    starts = sorted(touched.union(staying, _waiters_for(run, failed)))
    needs = _needs_of_all(run, starts, with_stays=False)
    stuck = _stuck(needs)
    candidates = [run.threads[number] for number in stuck if run.threads[number].status is Status.RUNNING]
    for thread in sorted(candidates, key=lambda it: _blame(run, it), reverse=True):
        circle = _circle(needs, stuck, thread.number)
        if circle:
            way = " for ".join(map(str, circle[-NAMED_MAX:]))
            message = f"thread {thread.number} would wait for itself for ever: {thread.number} waits for {way}"
            yield from fail(run, thread, VAR_SUB_ERROR, message)
            return
    if staying:
        yield from _let_go(run)


def _waiters_for(run: WfRun, failed: set[int]) -> Iterator[int]:
    """Yield the threads at WAIT_FOR_THREADS that wait for one of these."""
    for number in failed:
        yield from run.index.waited_for.get(number, ())


def _let_go(run: WfRun) -> Iterator[Event]:
    """Let the first thread in a circle leave that only stays until others have seen a failure."""
    needs = _needs_of_all(run, sorted(run.index.staying), with_stays=True)
    stuck = _stuck(needs)
    for number in stuck:
        thread = run.threads[number]
        if number in run.index.staying and _stays(run, thread) and _circle(needs, stuck, number):
            node = run.spec_of(thread).nodes[thread.node.node]
            if thread.status is Status.RUNNING and isinstance(node, ExitNode):
                yield from pass_exit(run, thread, node)
            else:
                yield from retire(run, thread)
            return


def _stays(run: WfRun, thread: ThreadRun) -> bool:
    """Say whether a thread would leave, but stays for others that have not seen that one below it failed."""
    if thread.status is Status.RUNNING:
        would_leave = is_ready_to_exit(run, thread)
    else:
        would_leave = thread.status is Status.HALTED and thread.has_lost and nothing_moves_below(run, thread)
    return would_leave and next(stays_for_handlers(run, thread), None) is None


def _has_to_do(run: WfRun, number: int) -> bool:
    """Say whether a thread waits for threads, or still has handlers of such a wait."""
    thread = run.threads.get(number)
    if thread is None or thread.status in TERMINAL:
        return False
    return thread.node.waits is not None or bool(_handlers_of_waits(run, number))


def _handlers_of_waits(run: WfRun, waiter: int) -> list[int]:
    handlers = run.index.waiter_handlers.get(waiter, ())
    return [handler for handler in handlers if run.threads[handler].status not in TERMINAL]


def _blame(run: WfRun, thread: ThreadRun) -> tuple[bool, int, int]:
    """Return the key by which the thread that is to fail is the greatest."""
    node = run.spec_of(thread).nodes[thread.node.node]
    return isinstance(node, WaitForThreadsNode), thread.node.arrived_ms, thread.number


def _needs_of_all(run: WfRun, numbers: Iterable[int], *, with_stays: bool) -> dict[int, _Needs]:
    """Return what these threads need, what those need in turn, and so on.

    `with_stays`: a thread that stays until others have seen a failure needs these too.
    """
    needs: dict[int, _Needs] = {}
    stays = Stays(run)
    todo = list(numbers)
    while todo:
        number = todo.pop()
        if number not in needs:
            thread = run.threads.get(number)
            needs[number] = [] if thread is None else _needs(run, thread, stays, with_stays)
            todo.extend(other for group in needs[number] for other in group)
    return needs


def _needs(run: WfRun, thread: ThreadRun, stays: Stays, with_stays: bool) -> _Needs:
    """Return what has to move before a thread can: for one that can never resume, before it can leave."""
    if thread.status is Status.RUNNING:
        return _needs_at_node(run, thread, stays, with_stays)
    if thread.status in TERMINAL:
        return []
    if not can_resume(run, thread):
        loser = _lost_with(run, thread)
        return [] if loser is None else _needs_to_leave(run, loser, stays, with_stays)
    return [*([handler] for handler in halted_until(run, thread)), *_needs_at_node(run, thread, stays, with_stays)]


def _lost_with(run: WfRun, thread: ThreadRun) -> ThreadRun | None:
    """Return the loser with which a thread leaves; None if there is none.

    There is none either where a thread above it has ended: a thread that waits for it sees that.
    """
    lost = None
    for it in (thread, *(run.threads[number] for number in holders(run, thread))):
        if it.status in TERMINAL:
            return None
        if lost is None and it.has_lost:
            lost = it
    return lost


def _needs_at_node(run: WfRun, thread: ThreadRun, stays: Stays, with_stays: bool) -> _Needs:
    """Return what its node waits for, also if the thread is halted: it will stand there again when it resumes."""
    state = thread.node
    node = run.spec_of(thread).nodes[state.node]
    if isinstance(node, WaitForThreadsNode) and state.failure is None:
        targets = open_waits(run, thread, node)
        if node.strategy is WaitStrategy.ALL:
            return [[target] for target in targets]
        return [targets] if targets else []
    if isinstance(node, ExitNode) and has_to_wait(thread, node):
        live: _Needs = [[below.number] for below in run.dependents(thread) if below.status not in TERMINAL]
        return [*live, *_needs_to_leave(run, thread, stays, with_stays and not live)]
    return []


def _needs_to_leave(run: WfRun, thread: ThreadRun, stays: Stays, with_stays: bool) -> _Needs:
    """Return what has to move before a thread may leave: those for which it must stay."""
    needs: _Needs = [[handler] for handler in stays.handlers(thread)]
    if with_stays and not needs:
        needs += [[waiter.number] for waiter in stays_for_waiters(run, thread)]
    return needs


def _stuck(needs: dict[int, _Needs]) -> list[int]:
    """Return the threads that cannot move, ascending.

    Those that need nothing can move, then those that need only such, and so on.
    """
    lacking = {number: len(groups) for number, groups in needs.items()}
    needed_by: dict[int, list[tuple[int, int]]] = {}
    for number, groups in needs.items():
        for place, group in enumerate(groups):
            for other in group:
                needed_by.setdefault(other, []).append((number, place))
    met: set[tuple[int, int]] = set()
    movable = [number for number, lacks in lacking.items() if not lacks]
    while movable:
        for need in needed_by.get(movable.pop(), ()):
            if need not in met:
                met.add(need)
                lacking[need[0]] -= 1
                if not lacking[need[0]]:
                    movable.append(need[0])
    return sorted(number for number, lacks in lacking.items() if lacks)


def _circle(needs: dict[int, _Needs], stuck: Iterable[int], number: int) -> list[int]:
    """Return a way on which a thread waits for itself, itself last; empty if there is none."""
    among = set(stuck)
    came_from: dict[int, int] = {}
    todo = [number]
    while todo:
        current = todo.pop()
        for other in (it for group in needs[current] for it in group if it in among and it not in came_from):
            came_from[other] = current
            todo.append(other)
    if number not in came_from:
        return []
    circle = [number]
    while (before := came_from[circle[-1]]) != number:
        circle.append(before)
    return circle[::-1]
