"""Says whether threads that wait can ever go on.

A state is quiet if nothing is on its way: no task attempt, no timer, nothing that was stopped. Only ExternalEvents can
move it. Whether they can is tried out from there: first by some long walks, on which ExternalEvents come again and
again, without end. Threads that no walk has moved are looked at in every order of inputs, with as many ExternalEvents
of each ExternalEventDef as there are live threads, or as the bounds allow if that is more.

To go on is to leave a node or to fail at it. A thread that only fails because its Interrupt Handler did, or whose WfRun
fails, does not go on. Threads below one that has failed are left out: their end is decided.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from halter.explore.inputs import Inputs, TooManyTimers, take
from halter.explore.states import Keys, State, Workbench, over
from halter.explore.subject import Subject
from processors.core.records.events import (
    LogEntry,
    NodeCompleted,
    NodeFailed,
    ThreadCompleted,
    ThreadFailed,
    ThreadRetired,
    WfRunEnded,
)
from processors.core.records.model import (
    FAILED,
    TERMINAL,
    Changes,
    Failure,
    ManualHalt,
    Status,
    ThreadRun,
    ThreadType,
    WfRun,
)
from processors.core.records.spec import VariableRef, WaitForConditionNode, WfSpec, walk

WALKS_MAX: Final = 12
WALK_STEPS: Final = 60


def is_quiet(run: WfRun) -> bool:
    """Return True if only an ExternalEvent can move a WfRun that is not over."""
    if not run.exists or over(run):
        return False
    for thread in run.threads.values():
        if thread.status not in TERMINAL and (
            thread.node.timer is not None or thread.task_out or ManualHalt() in thread.halt_reasons
        ):
            return False
    return True


NamesSeen = Mapping[tuple[str, str], Sequence[str]]
"""ThreadSpec and node of each WAIT_FOR_CONDITION -> the Variables that its condition sees."""


def seen_by_conditions(spec: WfSpec) -> NamesSeen:
    """Return the Variables that the conditions of a WfSpec see."""
    return {
        (thread.name, node.name): sorted({it.name for it in walk(node.condition) if isinstance(it, VariableRef)})
        for thread in spec.threads.values()
        for node in thread.nodes.values()
        if isinstance(node, WaitForConditionNode)
    }


def quiet_kind(run: WfRun, seen: NamesSeen) -> object:
    """Return what quiet states have in common of which one is probed: where threads stand, and what conditions see."""
    kinds: set[object] = set()
    for thread in run.threads.values():
        names = seen.get((thread.thread_spec, thread.node.node))
        values = None if names is None else repr([_seen(run, thread, name) for name in names])
        held = tuple([type(reason).__name__ for reason in thread.halt_reasons])
        kinds.add((thread.thread_spec, thread.node.node, thread.status, held, values))
    return frozenset(kinds)


def _seen(run: WfRun, thread: ThreadRun, name: str) -> object:
    for above in (thread, *run.ancestors(thread)):
        if name in above.variables:
            return above.variables[name]
    return None


@dataclass(slots=True)
class Unmoved:
    """The threads that nothing has moved so far."""

    numbers: set[int]
    """Their numbers."""
    may_fail: bool = False
    """True if the WfRun can end with a failure."""

    def see(self, run: WfRun, entries: list[LogEntry]) -> None:
        """Take out the threads that an input has moved."""
        for entry in entries:
            event = entry.event
            match event:
                case NodeCompleted() | NodeFailed() | ThreadCompleted() | ThreadRetired():
                    self.numbers.discard(event.thread)
                case ThreadFailed() if not _failed_by_handler(run, event.failure):
                    self.numbers.discard(event.thread)
                case WfRunEnded():
                    self.may_fail = self.may_fail or event.status is not Status.COMPLETED
        if run.final_status in (None, Status.COMPLETED):
            self.numbers.difference_update(thread.number for thread in run.changes.left)


def unmoved(subject: Subject, inputs: Inputs, quiet: State, states_max: int) -> tuple[Unmoved | None, int]:
    """Return the threads that cannot go on from a quiet state, and how many states were looked at to know it.

    None in their place if that is more than may be looked at.
    """
    left = Unmoved({number for number, thread in quiet.run.threads.items() if _counts(quiet.run, thread)})
    start = replace(quiet, posted=(0,) * len(inputs.event_defs), stops=inputs.bounds.stops)
    steps = 0
    for pace in range(WALKS_MAX):
        if not left.numbers or steps >= states_max:
            break
        steps += _walk(subject, inputs, start, left, pace)
    if not left.numbers:
        return left, steps
    live = sum(thread.status not in TERMINAL for thread in quiet.run.threads.values())
    seen = _every_order(subject, inputs.up_to(live), start, left, states_max - steps)
    return (None if seen is None else left), steps + (states_max if seen is None else seen)


def _counts(run: WfRun, thread: ThreadRun) -> bool:
    return thread.status not in TERMINAL and not any(above.status in FAILED for above in run.ancestors(thread))


def _failed_by_handler(run: WfRun, failure: Failure) -> bool:
    """Return True if a thread failed because its Interrupt Handler did."""
    rows = {thread.number: thread for thread in run.changes.left} | run.threads
    culprit = None if failure.cause_thread is None else rows.get(failure.cause_thread)
    return culprit is not None and culprit.type is ThreadType.INTERRUPT


def _walk(subject: Subject, inputs: Inputs, start: State, left: Unmoved, pace: int) -> int:
    """Take one input after the other; return how many were tried.

    Each walk steps through the choices at a pace of its own; where there are no more choices than the pace says, it
    takes the same one again and again. An input with which the WfRun fails is passed over for the next one.
    """
    keys = Keys(subject.spec, tells_numbers=True)
    state = replace(start, keys={number: keys.of_thread(thread) for number, thread in start.run.threads.items()})
    tried = 0
    for step in range(WALK_STEPS):
        choices = list(inputs.of(state))
        bench = Workbench(state, subject.context, keys)
        for place in range(len(choices)):
            taken = choices[(step * pace + pace + place) % len(choices)]
            run = bench.lend()
            tried += 1
            try:
                entries, now_ms = take(run, taken, state.depth, state.now_ms, subject.context)
            except TooManyTimers:
                return tried
            left.see(run, entries)
            if not left.numbers:
                return tried
            parts = bench.settle(run)
            run.changes = Changes()
            if run.status not in FAILED:
                state = replace(state, run=run, now_ms=now_ms, keys=parts, depth=state.depth + 1)
                break
        else:
            return tried
        if over(state.run):
            return tried
    return tried


def _every_order(subject: Subject, inputs: Inputs, start: State, left: Unmoved, states_max: int) -> int | None:
    """Search on from a quiet state; return how many states there are, None if there are too many."""
    keys = Keys(subject.spec, tells_numbers=True)
    start = replace(start, keys={number: keys.of_thread(thread) for number, thread in start.run.threads.items()})
    seen = {keys.of(start.run, start.keys, start.now_ms, start.posted)}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        bench = Workbench(state, subject.context, keys)
        for taken in inputs.of(state):
            run = bench.lend()
            try:
                entries, now_ms = take(run, taken, state.depth, state.now_ms, subject.context)
            except TooManyTimers:
                return None
            left.see(run, entries)
            if not left.numbers:
                return len(seen)
            parts = bench.settle(run)
            run.changes = Changes()
            posted = inputs.posted(state, taken)
            key = keys.of(run, parts, now_ms, posted)
            if key not in seen:
                seen.add(key)
                waiting.append(replace(start, run=run, now_ms=now_ms, keys=parts, posted=posted, depth=state.depth + 1))
        if len(seen) > states_max:
            return None
    return len(seen)
