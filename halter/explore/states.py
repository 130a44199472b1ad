"""States of a WfRun as values, and the key that tells them apart.

A state is never changed. `Workbench` lends copies of it to the engine, one after the other, and makes states of what
comes back. A state shares every row that did not change with the state before, and the key of that row with it: what a
step costs depends on what it changed.

Two states have the same key only if whatever may follow is the same for both, but for names that no rule looks at. The
key leaves out

- seq, causes and offsets, except for the order that they stand for;
- the time, except for how far away each timer is;
- the positions of NodeRuns, and the messages of failures;
- the ids of ExternalEvents that were used up;
- the numbers of threads, except for their order, if the WfSpec cannot see numbers (`sees_numbers`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from hashlib import blake2b
from operator import attrgetter
from typing import Any, TypeVar

from processors.core.records.model import (
    Changes,
    ExternalEventStatus,
    Failure,
    Index,
    NodeRun,
    PendingInterrupt,
    Status,
    ThreadRun,
    ThreadWait,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.records.spec import (
    Expression,
    ListOf,
    Literal,
    OutputRef,
    StartMultipleThreadsNode,
    StartThreadNode,
    WaitForThreadsNode,
    WfSpec,
    expressions_of,
    walk,
)
from processors.core.rules.context import Context
from processors.core.rules.engine import attach

Row = TypeVar("Row", WfRun, ThreadRun, NodeRun, ThreadWait, WfRunExternalEvent)


def _duplicating(row_type: type[Row]) -> Callable[[Row], Row]:
    """Return a function that makes another row of the same values, with lists and dictionaries of its own."""
    values = attrgetter(*(item.name for item in fields(row_type)))
    return lambda row: row_type(*[value.copy() if type(value) in _CHANGING else value for value in values(row)])


_CHANGING = frozenset({list, dict})
_duplicate_run = _duplicating(WfRun)
_duplicate_thread = _duplicating(ThreadRun)
_duplicate_node = _duplicating(NodeRun)
_duplicate_wait = _duplicating(ThreadWait)
_duplicate_event = _duplicating(WfRunExternalEvent)


def restored(run: WfRun) -> WfRun:
    """Return a copy that shares no mutable value, without what is not in rows: what a crash leaves."""
    copy = _own_row(run)
    copy.threads = {number: _copied_thread(thread) for number, thread in run.threads.items()}
    copy.external_events = {key: _duplicate_event(event) for key, event in run.external_events.items()}
    return copy


def _own_row(run: WfRun) -> WfRun:
    copy = _duplicate_run(run)
    copy.changes = Changes()
    copy.index = Index()
    copy.spec = None
    return copy


def _copied_thread(thread: ThreadRun) -> ThreadRun:
    copy = _duplicate_thread(thread)
    copy.node = _duplicate_node(thread.node)
    if thread.node.waits is not None:
        copy.node.waits = [_duplicate_wait(wait) for wait in thread.node.waits]
    return copy


_Refs = tuple[int | None, ...]
_ThreadKey = tuple[int, _Refs]
"""A number for a thread without the threads that it names, and those."""


@dataclass(slots=True)
class State:
    """A WfRun between two inputs, and what a search has used up on the way to it."""

    run: WfRun
    """Nobody changes it. It has no index and no changes: those of a working copy are its own."""
    now_ms: int
    keys: dict[int, _ThreadKey]
    """Thread -> its part of the key."""
    posted: tuple[int, ...]
    """How many ExternalEvents of each ExternalEventDef have come."""
    stops: int
    """How many stops have come."""
    promised: int
    """One bit for each `eventually` that was true already."""
    key: int
    depth: int
    last: ThreadRun | None = None
    """Thread 0 of a WfRun that is over and keeps no threads."""


class Keys:
    """The keys of the states of one WfSpec."""

    def __init__(self, spec: WfSpec, *, tells_numbers: bool = False) -> None:
        """With `tells_numbers`, states are told apart by the numbers of their threads too."""
        self._spec = spec
        self._renames = not (tells_numbers or sees_numbers(spec))
        self._starting = {
            name: frozenset(
                node.name
                for node in thread.nodes.values()
                if isinstance(node, StartThreadNode | StartMultipleThreadsNode)
            )
            for name, thread in spec.threads.items()
        }
        self._numbers: dict[tuple[object, ...], int] = {}

    def of_thread(self, thread: ThreadRun) -> _ThreadKey:
        """Return the part of a key that depends on nothing but one thread's row."""
        node, task = thread.node, thread.node.task
        refs: list[int | None] = [thread.number, thread.parent, thread.waiter]
        refs += thread.children
        reasons = []
        for reason in thread.halt_reasons:
            reasons.append(type(reason).__name__)
            number = getattr(reason, "handler", None)
            refs.append(getattr(reason, "parent", None) if number is None else number)
        refs += thread.handled_children
        waits: list[object] | None = None
        if node.waits is not None:
            waits = [len(node.waits)]
            for wait in node.waits:
                refs.append(wait.thread)
                refs.append(wait.handler)
                waits.append(wait.handled)
        outputs: dict[str, Any] = thread.outputs
        if outputs and self._renames:
            outputs = {}
            for name, value in thread.outputs.items():
                if name not in self._starting[thread.thread_spec]:
                    outputs[name] = value
                    continue
                numbers: list[Any] = value if isinstance(value, list) else [value]
                outputs[name] = len(numbers)
                refs += numbers
        alone = (
            thread.type._value_,  # what Enum makes of `.value` and of a hash takes as long as all the rest
            thread.thread_spec,
            thread.status._value_,
            thread.external_event_def,
            thread.halts_parent,
            (len(thread.children), len(thread.handled_children)),
            node.node,
            None if node.failure is None else _failure(node.failure),
            node.failure_handled,
            None if node.arrival_failure is None else _failure(node.arrival_failure),
            None if node.timer is None else node.timer.kind._value_,
            None
            if task is None
            else (
                task.status._value_,
                task.attempt,
                None if task.result is None else task.result._value_,
                task.failure_name,
                repr((task.input, task.output, task.content)),
            ),
            None if waits is None else tuple(waits),
            repr(thread.variables) if thread.variables else "",
            repr(outputs) if outputs else "",
            tuple(reasons),
            None if thread.failure is None else _failure(thread.failure),
        )
        number = self._numbers.get(alone)
        if number is None:
            # The same in every process, which Python's own hash of a text is not.
            digest = blake2b(repr(alone).encode(errors="surrogatepass"), digest_size=8).digest()
            number = self._numbers[alone] = int.from_bytes(digest)
        return number, tuple(refs)

    def of(self, run: WfRun, keys: dict[int, _ThreadKey], now_ms: int, *more: object) -> int:
        """Return the key of a state, of the parts of its threads and of whatever else counts."""
        alive, unclaimed = self._events(run)
        names: dict[int | None, int] | None = None
        if self._renames:
            names = {number: rank for rank, number in enumerate(run.threads)}
            names[None] = -1
        parts: list[object] = []
        for number, thread in run.threads.items():
            own, refs = keys[number]
            parts.append(own)
            # A number that no thread has any more stands for one that has completed.
            parts.append(refs if names is None else tuple([names.get(ref, -2) for ref in refs]))
            node = thread.node
            if node.timer is not None or node.matured_seq is not None or node.deadline_ms is not None:
                parts.append(_times(node, now_ms, unclaimed))
            elif node.node in self._spec.threads[thread.thread_spec].arrivals:
                parts.append(now_ms - node.arrived_ms)
            if thread.halt_reasons:
                parts += [alive[it.external_event_def, it.external_event_id] for it in _pending(thread)]
        if unclaimed:
            parts.append(_hashed(repr([(it.external_event_def, it.content, it.thread) for it in unclaimed])))
        parts.append(len(unclaimed))
        for accepted in run.accepted_interrupts:
            event_key = accepted.external_event_def, accepted.external_event_id
            parts.append(accepted.thread if names is None else names.get(accepted.thread, -2))
            parts.append(alive[event_key])
            parts.append(_hashed(repr((accepted.external_event_def, run.external_events[event_key].content))))
        for unstarted in run.unstarted_failure_handlers:
            parts.append(unstarted.thread if names is None else names.get(unstarted.thread, -2))
            parts.append(_hashed(unstarted.handler_spec))
        if names is None:
            parts.append(run.greatest_thread_number)
        if run.final_status is not None:
            parts.append(_hashed(run.final_status._value_))
        parts.append(run.exists)
        parts.append(run.timer is not None)
        if len(run.threads) > 1 and self._waits_across(run):
            arrived = sorted({thread.node.arrived_ms for thread in run.threads.values()})
            parts.append(tuple(arrived.index(thread.node.arrived_ms) for thread in run.threads.values()))
        return hash((*parts, *more))

    def _events(self, run: WfRun) -> tuple[dict[tuple[str, str], int], list[WfRunExternalEvent]]:
        """Return ranks, in the order of arrival, of the ExternalEvents that a rule may still ask for."""
        alive: dict[tuple[str, str], int] = {}
        unclaimed: list[WfRunExternalEvent] = []
        accepted = {(it.external_event_def, it.external_event_id) for it in run.accepted_interrupts}
        for key, event in run.external_events.items():
            if event.status is ExternalEventStatus.UNCLAIMED:
                unclaimed.append(event)
                alive[key] = len(alive)
            elif key in accepted:
                alive[key] = len(alive)
        return alive, unclaimed

    def _waits_across(self, run: WfRun) -> bool:
        """Say whether some thread may wait for one that is no child of its own: circles look at arrival times."""
        for thread in run.threads.values():
            if thread.waiter is not None:
                return True
            if thread.node.waits is not None:
                children = thread.children
                for wait in thread.node.waits:
                    if wait.thread in run.threads and wait.thread not in children:
                        return True
        return False


def _pending(thread: ThreadRun) -> Iterator[PendingInterrupt]:
    return (reason for reason in thread.halt_reasons if type(reason) is PendingInterrupt)


def _hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())


def _failure(failure: Failure) -> tuple[object, ...]:
    return (tuple([link.name for link in failure.chain()]), failure.failure_class._value_, repr(failure.content))


def _times(node: NodeRun, now_ms: int, unclaimed: list[WfRunExternalEvent]) -> tuple[object, ...]:
    deadline_ms, matured_seq = node.deadline_ms, node.matured_seq
    return (
        None if node.timer is None else node.timer.due_ms - now_ms,
        None if deadline_ms is None else tuple([event.posted_ms < deadline_ms for event in unclaimed]),
        None if matured_seq is None else tuple([event.posted_seq > matured_seq for event in unclaimed]),
    )


def sees_numbers(spec: WfSpec) -> bool:
    """Return True if the WfSpec may look at the number of a thread in another way than to wait for that thread.

    Then WfRuns that differ only in the numbers of their threads may go on differently.
    """
    for thread in spec.threads.values():
        starting = {
            node.name for node in thread.nodes.values() if isinstance(node, StartThreadNode | StartMultipleThreadsNode)
        }
        for node in thread.nodes.values():
            for expression in expressions_of(node):
                if isinstance(node, WaitForThreadsNode) and expression is node.threads:
                    if not _only_outputs_of(expression, starting):
                        return True
                elif any(isinstance(it, OutputRef) and it.node in starting for it in walk(expression)):
                    return True
    return False


def _only_outputs_of(expression: Expression, starting: set[str]) -> bool:
    match expression:
        case OutputRef(node=node, path=None):
            return node in starting
        case ListOf(items=items):
            return all(_only_outputs_of(item, starting) for item in items)
        case Literal(value=list(items)):
            return not items
        case _:
            return False


class Workbench:
    """Working copies of one state, for one input after the other."""

    def __init__(self, state: State, context: Context, keys: Keys) -> None:
        self._state, self._context, self._keys = state, context, keys
        self._threads = {number: _copied_thread(thread) for number, thread in state.run.threads.items()}
        self._events = {key: _duplicate_event(event) for key, event in state.run.external_events.items()}

    def lend(self) -> WfRun:
        """Return the WfRun, ready for the engine. It has to come back by `settle` before the next is lent."""
        run = _own_row(self._state.run)
        run.threads = self._threads.copy()
        run.external_events = self._events.copy()
        return attach(run, self._context)

    def settle(self, run: WfRun) -> dict[int, _ThreadKey]:
        """Make a value of what the engine has made of the WfRun, and return the parts of its threads for the key.

        Rows that did not change become those of the state before. The engine has noted which did.
        """
        before, changes = self._state.run, run.changes
        keys: dict[int, _ThreadKey] = {}
        for number, thread in run.threads.items():
            if number in changes.threads:
                keys[number] = self._keys.of_thread(thread)
            else:
                run.threads[number] = before.threads[number]
                keys[number] = self._state.keys[number]
        for key in run.external_events:
            if key not in changes.external_events:
                run.external_events[key] = before.external_events[key]
        for number in (*changes.threads, *[thread.number for thread in changes.left]):
            if number in before.threads:
                self._threads[number] = _copied_thread(before.threads[number])
        for key in (*changes.external_events, *changes.forgotten):
            if key in before.external_events:
                self._events[key] = _duplicate_event(before.external_events[key])
        run.index = Index()
        return keys


def over(run: WfRun) -> bool:
    """Return True if a WfRun is over: thread 0 has ended and nothing moves."""
    return run.timer is not None or (run.status is not None and run.final_status is not None)


def is_live(thread: ThreadRun) -> bool:
    """Return True if a thread can still end."""
    return thread.status not in _TERMINAL


_TERMINAL = frozenset({Status.COMPLETED, Status.ERROR, Status.EXCEPTION})
