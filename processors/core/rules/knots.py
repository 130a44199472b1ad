"""Threads that wait for each other in a circle, which nothing but a failure could end (SEMANTICS N5).

A wait, an EXIT over children, and a thread that is halted until a handler has ended: each needs others to move first.
In a circle of these nobody moves again, so one of them fails. Every circle has a thread in it that waits for one that
is no child of its own; while a WfRun has none of these, nothing is looked at. Circles are looked for when a command has
done all that it can: so it does not matter what closed one, a wait that began, an EXIT that was reached, a thread that
was rescued, or a failure that left ANY with nobody else to wait for.
"""

from collections.abc import Iterable, Iterator

from processors.core.records.events import Event
from processors.core.records.failures import VAR_SUB_ERROR
from processors.core.records.model import TERMINAL, Status, ThreadRun, WfRun
from processors.core.records.spec import ExitNode, WaitForThreadsNode, WaitStrategy
from processors.core.rules.halting import (
    Kept,
    can_resume,
    halted_until,
    holders,
    kept_by_handlers,
    kept_by_waiters,
    nothing_moves_below,
    retire,
)
from processors.core.rules.nodes.exits import pass_exit
from processors.core.rules.nodes.leaving import fail, is_ready_to_exit
from processors.core.rules.nodes.waiting_for_threads import open_waits

NAMED_MAX = 16
"""Of the threads in a circle, in the sentence that tells of it: the last ones."""
_Needs = list[list[int]]
"""What a thread cannot move without: of each of these lists, one thread that moves."""


def untie(run: WfRun, touched: set[int], failed: set[int]) -> Iterator[Event]:
    """If threads wait for each other in a circle, the one among them that came last fails at its node.

    Last by the WfRun's clock, and of those the one with the greatest number; the replay of a log and a restored WfRun
    come to the same. A wait rather than an EXIT, which did not choose whom it waits for. But a thread that only stays
    for others to see that one below it failed has done nothing wrong: it leaves.

    `touched`: the threads that this command has looked at. Whatever closes a circle wakes a thread in it, but for the
    failure of one of several that a thread waits for: nobody looks at that one until it runs, and none is left to it.
    `failed`: the threads that failed by this command, and what is left below them. Those that are kept from leaving are
    looked at by every command: whom they stay for may be anywhere.
    """
    across = run.index.across
    across.difference_update([number for number in touched if number in across and not _has_to_do(run, number)])
    if not across:
        return
    kept = run.index.kept
    starts = sorted(touched.union(kept, _waiters_for(run, failed)))
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
    if kept:
        yield from _let_go(run)


def _waiters_for(run: WfRun, failed: set[int]) -> Iterator[int]:
    for number in failed:
        yield from run.index.waited_for.get(number, ())


def _let_go(run: WfRun) -> Iterator[Event]:
    """The first thread that stays for others to see a failure, and that they wait for, leaves."""
    needs = _needs_of_all(run, sorted(run.index.kept), with_stays=True)
    stuck = _stuck(needs)
    for number in stuck:
        thread = run.threads[number]
        if number in run.index.kept and _stays(run, thread) and _circle(needs, stuck, number):
            node = run.spec_of(thread).nodes[thread.node.node]
            if thread.status is Status.RUNNING and isinstance(node, ExitNode):
                yield from pass_exit(run, thread, node)
            else:
                yield from retire(run, thread)
            return


def _stays(run: WfRun, thread: ThreadRun) -> bool:
    """Whether a thread would leave, but for others that have not seen that one below it failed."""
    if thread.status is Status.RUNNING:
        would_leave = is_ready_to_exit(run, thread)
    else:
        would_leave = thread.status is Status.HALTED and thread.has_lost and nothing_moves_below(run, thread)
    return would_leave and next(kept_by_handlers(run, thread), None) is None


def _has_to_do(run: WfRun, number: int) -> bool:
    """Whether a thread waits for threads, or has still handlers of such a wait."""
    thread = run.threads.get(number)
    if thread is None or thread.status in TERMINAL:
        return False
    return thread.node.waits is not None or bool(_handlers_of_waits(run, number))


def _handlers_of_waits(run: WfRun, waiter: int) -> list[int]:
    handlers = run.index.waiter_handlers.get(waiter, ())
    return [handler for handler in handlers if run.threads[handler].status not in TERMINAL]


def _blame(run: WfRun, thread: ThreadRun) -> tuple[bool, int, int]:
    node = run.spec_of(thread).nodes[thread.node.node]
    return isinstance(node, WaitForThreadsNode), thread.node.arrived_ms, thread.number


def _needs_of_all(run: WfRun, numbers: Iterable[int], *, with_stays: bool) -> dict[int, _Needs]:
    """What these threads need, and what those need, and so on. `with_stays`: also to see that another one failed."""
    needs: dict[int, _Needs] = {}
    kept = Kept(run)
    todo = list(numbers)
    while todo:
        number = todo.pop()
        if number not in needs:
            thread = run.threads.get(number)
            needs[number] = [] if thread is None else _needs(run, thread, kept, with_stays)
            todo.extend(other for group in needs[number] for other in group)
    return needs


def _needs(run: WfRun, thread: ThreadRun, kept: Kept, with_stays: bool) -> _Needs:
    if thread.status is Status.RUNNING:
        return _needs_at_node(run, thread, kept, with_stays)
    if thread.status in TERMINAL:
        return []
    if not can_resume(run, thread):
        loser = _lost_with(run, thread)
        return [] if loser is None else _needs_to_leave(run, loser, kept, with_stays)
    return [*([handler] for handler in halted_until(run, thread)), *_needs_at_node(run, thread, kept, with_stays)]


def _lost_with(run: WfRun, thread: ThreadRun) -> ThreadRun | None:
    """The loser with which a thread leaves; None where one above it has ended, which whoever waits for it sees."""
    lost = None
    for it in (thread, *(run.threads[number] for number in holders(run, thread))):
        if it.status in TERMINAL:
            return None
        if lost is None and it.has_lost:
            lost = it
    return lost


def _needs_at_node(run: WfRun, thread: ThreadRun, kept: Kept, with_stays: bool) -> _Needs:
    """What its node waits for, also if the thread is halted: it will stand there again when it resumes."""
    state = thread.node
    node = run.spec_of(thread).nodes[state.node]
    if isinstance(node, WaitForThreadsNode) and state.failure is None:
        targets = open_waits(run, thread, node)
        if node.strategy is WaitStrategy.ALL:
            return [[target] for target in targets]
        return [targets] if targets else []
    if isinstance(node, ExitNode) and (node.failure_name is None if state.failure is None else state.failure_handled):
        live: _Needs = [[below.number] for below in run.dependents(thread) if below.status not in TERMINAL]
        return [*live, *_needs_to_leave(run, thread, kept, with_stays and not live)]
    return []


def _needs_to_leave(run: WfRun, thread: ThreadRun, kept: Kept, with_stays: bool) -> _Needs:
    needs: _Needs = [[handler] for handler in kept.handlers(thread)]
    if with_stays and not needs:
        needs += [[waiter.number] for waiter in kept_by_waiters(run, thread)]
    return needs


def _stuck(needs: dict[int, _Needs]) -> list[int]:
    """All but those that can move: those that need nothing, those that need only such, and so on; ascending."""
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
    """A way on which a thread waits for itself, itself last; empty if there is none."""
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
