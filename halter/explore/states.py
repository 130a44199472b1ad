"""States of a WfRun as values, and the key that tells them apart.

A state is never changed. `Workbench` lends copies of it to the engine, one after the other, and makes states of what
comes back. A state shares every row that did not change with the state before, and the key of that row with it: what a
step costs depends on what it changed.

Two states have the same key only if whatever may follow is the same for both, but for names that no rule looks at. The
key leaves out

- seq, causes and offsets, except for the order that they stand for;
- the time, except for how far away each timer is;
- the positions of NodeRuns, the messages of failures, and the progress of task attempts;
- the ids of ExternalEvents, but for the order of arrival within an ExternalEventDef, of which a node takes the oldest,
  and among all that are preemptive, which a thread at ENTRYPOINT takes in their order;
- the numbers of threads, except for their order, if the WfSpec cannot see numbers (`sees_numbers`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

from processors.core.records.model import (
    Changes,
    ExternalEventKey,
    ExternalEventStatus,
    Failure,
    HaltedByParent,
    HaltReason,
    HandlingFailure,
    Index,
    Interrupted,
    NodeRun,
    ParentHalted,
    PendingInterrupt,
    TaskRun,
    ThreadRun,
    ThreadWait,
    Timer,
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

_NO_INDEX: Final = Index()
"""The index of a WfRun that has none. Nobody writes to it: `attach` and `evolve` put another one in its place."""


def restored(run: WfRun) -> WfRun:
    """Return a copy that shares no mutable value, without what is not in rows: what a crash leaves."""
    copy = _own_row(run)
    copy.threads = {number: _copied_thread(thread) for number, thread in run.threads.items()}
    copy.external_events = {key: _copied_event(event) for key, event in run.external_events.items()}
    copy.index = Index()
    return copy


# These name every field, in order: a search makes ten copies for each input, and going through the fields of a class
# would take three times as long. A test compares copies field by field.


def _own_row(run: WfRun) -> WfRun:
    """Return a copy of the row alone: without threads, ExternalEvents, index and changes."""
    return WfRun(
        run.wf_run_id,
        run.incarnation,
        run.wf_spec,
        run.definitions_position,
        run.seq,
        run.time_ms,
        run.greatest_thread_number,
        run.started_ms,
        run.ended_ms,
        run.accepted_interrupts.copy(),
        run.unstarted_failure_handlers.copy(),
        run.command_ids.copy(),
        run.timer,
        run.final_status,
        run.quarantined_ms,
        run.correlation_keys.copy(),
        {},
        {},
        run.kept_inputs.copy(),
        Changes(),
        _NO_INDEX,
    )


def _copied_thread(thread: ThreadRun) -> ThreadRun:
    node = thread.node
    return ThreadRun(
        thread.wf_run_id,
        thread.number,
        thread.type,
        thread.thread_spec,
        thread.parent,
        thread.status,
        NodeRun(
            node.position,
            node.node,
            node.arrived_ms,
            node.timer,
            node.deadline_ms,
            node.matured_seq,
            node.task,
            None if node.waits is None else [ThreadWait(it.thread, it.handler, it.handled) for it in node.waits],
            node.failure,
            node.failure_handled,
            node.arrival_failure,
        ),
        thread.started_ms,
        thread.variables.copy(),
        thread.outputs.copy(),
        thread.halt_reasons.copy(),
        thread.children.copy(),
        thread.waiter,
        thread.external_event_def,
        thread.external_event_id,
        thread.halts_parent,
        thread.handled_children.copy(),
        thread.failure,
        thread.output,
        thread.ended_ms,
    )


def _copied_event(event: WfRunExternalEvent) -> WfRunExternalEvent:
    return WfRunExternalEvent(
        event.wf_run_id,
        event.external_event_def,
        event.external_event_id,
        event.status,
        event.posted_ms,
        event.posted_offset,
        event.posted_seq,
        event.content,
        event.thread,
        None if event.outcomes is None else event.outcomes.copy(),
        event.outcomes_left_out,
    )


NOBODY: Final = -1
"""Stands in a key where no thread is named."""
GONE: Final = -2
"""Stands in a key for a thread that has left: whichever it was, it has completed."""
_ThreadKey = tuple[int, tuple[int, ...], bool]
"""A number for a thread without the threads that it names, those, and whether circles may go through it."""


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
        self._renames = not (tells_numbers or sees_numbers(spec))
        self._starting = {
            name: frozenset(
                node.name
                for node in thread.nodes.values()
                if isinstance(node, StartThreadNode | StartMultipleThreadsNode)
            )
            for name, thread in spec.threads.items()
        }
        self._arrivals = {name: thread.arrivals for name, thread in spec.threads.items()}
        preemptive = {name for thread in spec.threads.values() for name in thread.preemptive}
        self._group_of = {name: "" if name in preemptive else name for name in spec.external_event_defs}
        """ExternalEventDef -> those among which the order of arrival counts: its own, and all that are preemptive."""
        self._numbers: dict[tuple[object, ...], int] = {}

    def of_thread(self, thread: ThreadRun) -> _ThreadKey:
        """Return the part of a key that depends on nothing but one thread's row."""
        node, task, failure = thread.node, thread.node.task, thread.failure
        parent, waiter, children = thread.parent, thread.waiter, thread.children
        refs = [thread.number, NOBODY if parent is None else parent, NOBODY if waiter is None else waiter]
        refs += children
        refs += thread.handled_children
        reasons: tuple[object, ...] = ()
        if thread.halt_reasons:
            reasons = tuple([type(reason).__name__ for reason in thread.halt_reasons])
            refs += [_named(reason) for reason in thread.halt_reasons]
        waits: tuple[object, ...] | None = None
        is_across = waiter is not None
        if node.waits is not None:
            waits = tuple([wait.handled for wait in node.waits])
            for wait in node.waits:
                refs.append(wait.thread)
                refs.append(NOBODY if wait.handler is None else wait.handler)
                is_across = is_across or wait.thread not in children
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
            len(children),
            len(thread.handled_children),
            node.node,
            None if node.failure is None else _failure(node.failure),
            node.failure_handled,
            None if node.arrival_failure is None else _failure(node.arrival_failure),
            None if node.timer is None else node.timer.kind._value_,
            None if task is None else _task(task, node.timer),
            waits,
            repr(thread.variables) if thread.variables else "",
            repr(outputs) if outputs else "",
            reasons,
            None if failure is None else _failure(failure),
        )
        number = self._numbers.get(alone)
        if number is None:
            number = self._numbers[alone] = _hashed(repr(alone))
        return number, tuple(refs), is_across

    def of(self, run: WfRun, keys: dict[int, _ThreadKey], now_ms: int, *more: object) -> int:
        """Return the key of a state, of the parts of its threads and of whatever else counts."""
        parts: list[object] = [*more, run.exists, run.timer is not None, run.final_status is not None]
        names: dict[int, int] | None = None
        if not self._renames:
            parts.append(run.greatest_thread_number)
        elif run.greatest_thread_number >= len(keys):
            names = {NOBODY: NOBODY}
            for number in keys:
                names[number] = len(names) - 1
        unclaimed = [it for it in run.external_events.values() if it.status is ExternalEventStatus.UNCLAIMED]
        if len(unclaimed) > 1:
            unclaimed.sort(key=_DEF)  # in the order of arrival within each
        is_across = False
        threads = run.threads
        for number, (own, refs, across) in keys.items():
            parts.append(own)
            parts.append(refs if names is None else tuple([names.get(ref, GONE) for ref in refs]))
            is_across = is_across or across
            thread = threads[number]
            node = thread.node
            if node.timer is not None or node.matured_seq is not None or node.deadline_ms is not None:
                parts.append(_times(node, now_ms, unclaimed))
            elif node.node in self._arrivals[thread.thread_spec]:
                parts.append(now_ms - node.arrived_ms)
        if unclaimed or run.accepted_interrupts:
            self._add_events(parts, run, unclaimed, names)
        for unstarted in run.unstarted_failure_handlers:
            parts.append(_known(names, unstarted.thread))
            parts.append(_hashed(unstarted.handler_spec))
        if is_across and len(threads) > 1:
            # Who came last in a circle is blamed for it.
            arrived = sorted({thread.node.arrived_ms for thread in threads.values()})
            parts.append(tuple([arrived.index(thread.node.arrived_ms) for thread in threads.values()]))
        return hash(tuple(parts))

    def _add_events(
        self, parts: list[object], run: WfRun, unclaimed: list[WfRunExternalEvent], names: dict[int, int] | None
    ) -> None:
        """Add the ExternalEvents that a rule may still ask for: by their order, not by their ids."""
        accepted = {(it.external_event_def, it.external_event_id) for it in run.accepted_interrupts}
        alive: dict[tuple[str, str], int] = {}
        ranks: dict[str, int] = {}
        for key, event in run.external_events.items():
            if event.status is ExternalEventStatus.UNCLAIMED or key in accepted:
                group = self._group_of[key[0]]
                alive[key] = ranks[group] = ranks.get(group, -1) + 1
        if unclaimed:
            parts.append(_hashed(repr([(it.external_event_def, alive[it.key], it.content) for it in unclaimed])))
            parts += [_known(names, it.thread) for it in unclaimed]
        for it in run.accepted_interrupts:
            key = it.external_event_def, it.external_event_id
            parts.append(_known(names, it.thread))
            parts.append(alive[key])
            parts.append(_hashed(repr((it.external_event_def, run.external_events[key].content))))
        for thread in run.threads.values():
            if thread.halt_reasons:
                parts += [alive[it.external_event_def, it.external_event_id] for it in _pending(thread)]


_DEF: Final = attrgetter("external_event_def")


def _known(names: dict[int, int] | None, number: int | None) -> int:
    """Return the name of a thread in a key."""
    if number is None:
        return NOBODY
    return number if names is None else names.get(number, GONE)


def _named(reason: HaltReason) -> int:
    """Return the thread that a halt reason names."""
    match reason:
        case Interrupted() | HandlingFailure():
            return reason.handler
        case ParentHalted() | HaltedByParent():
            return reason.parent
        case _:
            return NOBODY


def _task(task: TaskRun, timer: Timer | None) -> tuple[object, ...]:
    running_ms = None  # while it waits to be started
    if task.start_by_ms is not None and task.started_ms is None and timer is not None:
        running_ms = timer.due_ms - task.start_by_ms
    return (
        running_ms,
        task.status._value_,
        task.attempt,
        None if task.result is None else task.result._value_,
        task.failure_name,
        repr((task.input, task.output, task.content)),
    )


def _pending(thread: ThreadRun) -> Iterator[PendingInterrupt]:
    return (reason for reason in thread.halt_reasons if type(reason) is PendingInterrupt)


@lru_cache(maxsize=100_000)
def _hashed(text: str) -> int:
    """Return a number for a text: the same in every process, which Python's own hash is not."""
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())


def _failure(failure: Failure) -> tuple[object, ...]:
    return (tuple([link.name for link in failure.chain()]), failure.failure_class._value_, repr(failure.content))


def _times(node: NodeRun, now_ms: int, unclaimed: list[WfRunExternalEvent]) -> tuple[object, ...]:
    deadline_ms, matured_seq = node.deadline_ms, node.matured_seq
    return (
        -1 if node.timer is None else node.timer.due_ms - now_ms,
        -1 if deadline_ms is None else tuple([event.posted_ms < deadline_ms for event in unclaimed]),
        -1 if matured_seq is None else tuple([event.posted_seq > matured_seq for event in unclaimed]),
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
        self._events = {key: _copied_event(event) for key, event in state.run.external_events.items()}
        self._used_threads: list[int] = []
        self._used_events: list[ExternalEventKey] = []
        """The rows whose working copies were changed. A next loan gets new ones."""
        self._known: Index | None = None
        """What the index of the state says about its ExternalEvents: it takes long to find out."""

    def lend(self) -> WfRun:
        """Return the WfRun, ready for the engine. It has to come back by `settle` before the next is lent."""
        before = self._state.run
        for number in self._used_threads:
            self._threads[number] = _copied_thread(before.threads[number])
        for key in self._used_events:
            self._events[key] = _copied_event(before.external_events[key])
        self._used_threads, self._used_events = [], []
        run = _own_row(before)
        run.threads = self._threads.copy()
        run.external_events = self._events.copy()
        attach(run, self._context, None if self._known is None else _known_events(self._known))
        if self._known is None:
            self._known = _known_events(run.index)
        return run

    def settle(self, run: WfRun) -> dict[int, _ThreadKey]:
        """Make a value of what the engine has made of the WfRun, and return the parts of its threads for the key.

        Rows that did not change become those of the state before. The engine has noted which did.
        """
        before, changes = self._state.run, run.changes
        changed, kept = changes.threads, self._state.keys
        keys: dict[int, _ThreadKey] = {}
        threads: dict[int, ThreadRun] = {}
        for number, thread in run.threads.items():
            if number in changed:
                keys[number] = self._keys.of_thread(thread)
                threads[number] = thread
            else:
                keys[number] = kept[number]
                threads[number] = before.threads[number]
        run.threads = threads
        self._used_threads = [number for number in changed if number in before.threads]
        self._used_threads += [thread.number for thread in changes.left if thread.number in before.threads]
        events = before.external_events
        if not changes.external_events and not changes.forgotten:
            run.external_events = events
        else:
            touched = changes.external_events
            run.external_events = {
                key: event if key in touched else events[key] for key, event in run.external_events.items()
            }
            self._used_events = [key for key in (*touched, *changes.forgotten) if key in events]
        run.index = _NO_INDEX
        return keys


def _known_events(index: Index) -> Index:
    """Return an index with a copy of what this one says about ExternalEvents."""
    known = Index()
    known.unclaimed = {name: ids.copy() for name, ids in index.unclaimed.items()}
    known.unclaimed_for = {addressed: ids.copy() for addressed, ids in index.unclaimed_for.items()}
    known.remembered = index.remembered.copy()
    known.unclaimed_events, known.unclaimed_bytes = index.unclaimed_events, index.unclaimed_bytes
    return known


def over(run: WfRun) -> bool:
    """Return True if a WfRun is over: thread 0 has ended and nothing moves."""
    return run.timer is not None or (run.status is not None and run.final_status is not None)
