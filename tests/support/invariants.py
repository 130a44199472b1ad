"""Invariants of a WfRun that hold after every command: the rules of docs/rules, written a second time.

This module shares no code with the rules under test, except that it asks them whether they have anything left to do.
What a fork is checked for before it starts, it asks `possible`, which no rule does. So each state that a test comes by
is one that a fork could start from.
"""

from collections import Counter
from collections.abc import Collection, Iterator

from processors.core.records.events import (
    ExternalEventPosted,
    Halt,
    InterruptAccepted,
    InterruptDropped,
    InterruptSuperseded,
    LogEntry,
    NodeCompleted,
    NodeFailed,
    Rejected,
    Resume,
    SpawnChild,
    TaskAttemptStarted,
    ThreadCompleted,
    ThreadFailed,
    ThreadHalted,
    ThreadRetired,
    WfRunEnded,
    WfRunForked,
    WfRunMigrated,
)
from processors.core.records.model import (
    FAILED,
    TERMINAL,
    TRANSITIONS,
    CorrelationKey,
    ExternalEventKey,
    ExternalEventStatus,
    HaltedByParent,
    HaltReason,
    HandlingFailure,
    Index,
    Interrupted,
    ManualHalt,
    ParentHalted,
    PendingFailure,
    PendingInterrupt,
    Status,
    ThreadRun,
    ThreadType,
    WfRun,
)
from processors.core.records.names import CORRELATION_KEY_LENGTH_MAX
from processors.core.records.spec import (
    EntrypointNode,
    ExitNode,
    ExternalEventNode,
    InterruptPolicy,
    Literal,
    SleepNode,
    TaskNode,
    VariableRef,
    WaitForConditionNode,
    WaitForThreadsNode,
)
from processors.core.rules.advance import advance_thread
from processors.core.rules.context import Context
from processors.core.rules.evolve import evolve
from processors.core.rules.handlers import launch_failure_handlers, launch_interrupts
from processors.core.rules.indexing import index_of
from processors.core.rules.possible import Impossible, check_state

MOVING = frozenset({Status.RUNNING, Status.HALTING})
Transition = tuple[Status | None, Status]


_OUTCOMES = {
    "pending": ExternalEventStatus.CLAIMED,
    "handled": ExternalEventStatus.CLAIMED,
    "dropped": ExternalEventStatus.DROPPED,
    "superseded": ExternalEventStatus.SUPERSEDED,
}
"""The end of an accepted interrupt -> the outcome that its ExternalEvent has in the thread."""


class Violated(AssertionError):
    """An invariant does not hold. The message names it, and what was found."""


def check(holds: bool, rule: str, found: object) -> None:
    """Raise Violated unless the invariant holds."""
    if not holds:
        raise Violated(f"{rule}; found {brief(found) if isinstance(found, ThreadRun) else found}")


class Watch:
    """Folds the log beside the engine, one event at a time, and checks what must hold at each of them."""

    def __init__(self, run: WfRun, context: Context) -> None:
        self.run = run
        """A copy of the WfRun that `evolve` alone moves."""
        self._context = context
        self.seen: set[Transition] = set()
        self.became: dict[tuple[int, str, str], str] = {}
        """(thread, ExternalEventDef, event id) of each accepted interrupt -> what became of it."""
        self._outcomes = _outcomes_in(run)
        """ExternalEvent -> thread -> its outcome there, in the order in which the threads got it."""
        self._touched: set[ExternalEventKey] = set()
        """The ExternalEvents that the present command has affected."""
        self.has_migrated = False
        """True once the WfRun has gone over to another version."""
        self._accepting: list[tuple[int, str, str]] = []
        """The threads that must accept the ExternalEvent of the present command."""

    def see(self, entries: list[LogEntry]) -> None:
        """Fold the outcome of one command."""
        check(bool(entries), "every command has an outcome", entries)
        for entry in entries:
            self._count(entry)
            before = {number: thread.status for number, thread in self.run.threads.items()}
            self._before(entry)
            evolve(self.run, entry)
            is_migrated = isinstance(entry.event, WfRunMigrated)
            if self.run.wf_spec is not None and (self.run.spec is None or is_migrated):
                self.run.spec = self._context.definitions.wf_spec(self.run.wf_spec)
            self.has_migrated |= is_migrated
            self._after(entry, before)

    def _count(self, entry: LogEntry) -> None:
        if entry.incarnation < 0:
            check(entry.seq == 0, "seq is 0 where no WfRun exists", entry)
        elif self.run.exists:
            check(entry.seq == self.run.seq + 1, "seq has no gap", (self.run.seq, entry))
        else:
            check(entry.seq == 1, "seq starts at 1", entry)

    def _before(self, entry: LogEntry) -> None:
        event = entry.event
        match event:
            case ExternalEventPosted():
                self._outcomes[event.external_event_def, event.external_event_id] = {}
                self._accepting = [
                    (number, event.external_event_def, event.external_event_id)
                    for number, thread in self.run.threads.items()
                    if event.thread in (None, number)
                    and event.external_event_def in self.run.spec_of(thread).interrupt_of
                    and not ended_or_final(self.run, thread)
                ]
            case NodeCompleted() | NodeFailed() | ThreadFailed() if event.external_event_def is not None:
                assert event.external_event_id is not None
                claimed = self.run.external_events[event.external_event_def, event.external_event_id]
                check(claimed.status is ExternalEventStatus.UNCLAIMED, "an ExternalEvent is claimed once", claimed)
                check(claimed.thread in (None, event.thread), "only whom it is for claims an ExternalEvent", claimed)
            case SpawnChild(type=ThreadType.INTERRUPT):
                self._before_handler(event)
            case ThreadCompleted(thread=number) | ThreadRetired(thread=number):
                self._before_leaving(self.run.threads[number])
            case TaskAttemptStarted():
                node = self.run.threads[event.thread].node
                check(node.task is not None and node.task.started_ms is None, "the first start counts", event)
                prolongs = node.timer is None or event.deadline_ms > node.timer.due_ms
                check(not prolongs, "a start prolongs nothing (rule queueing-is-not-running)", (node.timer, event))
            case WfRunEnded():
                moving = [number for number, thread in self.run.threads.items() if thread.status in MOVING]
                check(not moving, "retention starts when the last thread is still (rule over-when-still)", moving)
            case ThreadHalted(thread=number):
                moving = [t.number for t in moving_below(self.run, self.run.threads[number])]
                rule = "a thread is HALTED only when nothing below it moves (rule still-before-halted)"
                check(not moving, rule, (number, moving))
                rule = "a thread is HALTED only when its task is back (rule still-before-halted)"
                check(not self.run.threads[number].task_out, rule, self.run.threads[number])

    def _before_leaving(self, thread: ThreadRun) -> None:
        """A thread is about to leave with all threads below it: they cannot go on, and their waiters know it."""
        moving = [other.number for other in live_below(self.run, thread) if other.status in MOVING]
        rule = "nothing moves below a thread that leaves: EXIT waits for losers too (rule exit-waits-for-children)"
        check(not moving, rule, moving)
        if not thread.number:
            return
        leaving = {other.number for other in below(self.run, thread)}
        going_on = [n for n in leaving if not ended_or_final(self.run, self.run.threads[n])]
        rule = "what leaves with a thread could not go on (rule stays-for-handlers-elsewhere)"
        check(not going_on, rule, (thread.number, going_on))
        failed = {n for n in leaving if self.run.threads[n].status in FAILED}
        for waiter in _unaware(self.run, failed):
            # Unless it could never be seen: its waiter is held until this thread has left.
            held = thread.number in _reached(self.run, waiter)
            rule = "whoever waits for a failed thread sees that it failed (rule stays-until-failure-seen)"
            check(held, rule, (thread.number, brief(waiter)))

    def _before_handler(self, event: SpawnChild) -> None:
        """An Interrupt Handler is about to start: its thread is still, its policy allows it, and it is its turn."""
        parent = self.run.threads[event.parent]
        interrupts = self.run.spec_of(parent).interrupt_of
        assert event.external_event_def is not None
        interrupt = interrupts[event.external_event_def]
        check(interrupt.halt is event.halts_parent, "an InterruptDef says whether its handler halts", event)
        held = [r for r in parent.halt_reasons if isinstance(r, ManualHalt | ParentHalted | HaltedByParent)]
        check(not held, "no handler starts while something else holds its thread", parent)
        if event.halts_parent:
            check(parent.status is Status.HALTED, "a handler starts when its thread is HALTED", parent)
            handlers = {r.handler for r in parent.halt_reasons if isinstance(r, Interrupted)}
            # Nothing else holds it, so its handlers with `halt: false` need not stand still, whatever they do.
            beside = {t.number for t in hanging(self.run, parent) if not t.halts_parent}
            below = moving_below(self.run, parent)
            moving = [t.number for t in below if not (set(line(self.run, t)) & (handlers | beside))]
            check(not moving, "a handler starts when nothing but handlers of its thread moves below it", moving)
        if interrupt.policy is not InterruptPolicy.PARALLEL:
            at_work = [
                other.number
                for other in self.run.threads.values()
                if (other.parent, other.external_event_def) == (parent.number, event.external_event_def)
                and other.status not in TERMINAL
            ]
            check(not at_work, "one handler at a time, where the policy is serial or latest", (parent.number, at_work))
        key = (parent.number, event.external_event_def, event.external_event_id)
        for number, older_def, older_id in self._pending():
            if (number, older_def, older_id) == key:
                break
            older = interrupts[older_def] if number == parent.number else None
            free = older is interrupt or (older is not None and older.policy is InterruptPolicy.PARALLEL)
            overtaken = older is not None and free and older.halt is interrupt.halt
            check(not overtaken, "handlers start in the order of arrival", (older_id, event.external_event_id))

    def _pending(self) -> list[tuple[int, str, str]]:
        """Return the accepted interrupts whose handlers have not started, in the order in which they were accepted."""
        return [key for key, what in self.became.items() if what == "pending"]

    def _take_over(self) -> None:
        """Know what a fork has brought along: nothing of it is a change."""
        self.became = {
            (a.thread, a.external_event_def, a.external_event_id): "pending" for a in self.run.accepted_interrupts
        }
        self._outcomes = _outcomes_in(self.run)

    def _after(self, entry: LogEntry, before: dict[int, Status]) -> None:
        if isinstance(entry.event, WfRunForked):
            self._take_over()
            return
        for number, thread in self.run.threads.items():
            old = before.get(number)
            if old is not thread.status:
                self.seen.add((old, thread.status))
                check((old, thread.status) in TRANSITIONS, "status changes are in the table", (number, entry.event))
        left = [t for t in self.run.changes.left if t.number in before]
        for thread in left:
            change = (before[thread.number], thread.status)
            if change[0] is not change[1]:
                self.seen.add(change)
                check(change in TRANSITIONS, "status changes are in the table", (thread.number, entry.event))
        self._note_interrupt(entry)
        if isinstance(entry.event, NodeCompleted | NodeFailed | ThreadFailed) and entry.event.external_event_def:
            assert entry.event.external_event_id is not None
            claimed = self.run.external_events[entry.event.external_event_def, entry.event.external_event_id]
            check(claimed.status is ExternalEventStatus.CLAIMED, "what was used is CLAIMED", claimed)
            self._note_outcome(claimed.key, entry.event.thread, ExternalEventStatus.CLAIMED)
        if isinstance(entry.event, Resume):
            thread = self.run.threads[entry.event.thread]
            check(not live_handlers(self.run, thread), "a thread runs again after its last handler", thread)

    def _note_interrupt(self, entry: LogEntry) -> None:
        match entry.event:
            case Halt(thread=number, reason=PendingInterrupt() as reason):
                self._accept(number, reason.external_event_def, reason.external_event_id)
            case InterruptAccepted(thread=number) as event:
                self._accept(number, event.external_event_def, event.external_event_id)
            case SpawnChild(type=ThreadType.INTERRUPT) as event:
                assert event.external_event_def is not None
                assert event.external_event_id is not None
                self._note_fate(event.parent, event.external_event_def, event.external_event_id, "handled")
            case InterruptDropped(thread=number) as event:
                self._note_fate(number, event.external_event_def, event.external_event_id, "dropped")
            case InterruptSuperseded(thread=number) as event:
                newer = self._arrival(event.external_event_def, event.by_external_event_id)
                older = self._arrival(event.external_event_def, event.external_event_id)
                check(older < newer, "an event is superseded by one that came later", (number, event))
                self._note_fate(number, event.external_event_def, event.external_event_id, "superseded")

    def _accept(self, number: int, event_def: str, event_id: str) -> None:
        arrival = self._arrival(event_def, event_id)
        later = [
            other_id
            for other, other_def, other_id in self.became
            if (other, other_def) == (number, event_def) and self._arrival(other_def, other_id) > arrival
        ]
        rule = "a thread takes events of an ExternalEventDef in the order of arrival (rule handlers-in-arrival-order)"
        check(not later, rule, (number, event_def, event_id, later))
        self._note_fate(number, event_def, event_id, "pending")

    def _arrival(self, event_def: str, event_id: str) -> int:
        """Return the position of an ExternalEvent in the order of arrival; before all others if it is forgotten."""
        event = self.run.external_events.get((event_def, event_id))
        return -(2**63) if event is None else event.arrival

    def _note_fate(self, number: int, event_def: str, event_id: str, what: str) -> None:
        key = (number, event_def, event_id)
        old = self.became.get(key)
        not_handled = {"dropped", "superseded"}
        allowed = {None: {"pending", *not_handled}, "pending": {"handled", *not_handled}}.get(old, set())
        check(what in allowed, "an accepted interrupt gets one handler, or is dropped, or superseded", (key, old, what))
        self.became[key] = what
        self._note_outcome((event_def, event_id), number, _OUTCOMES[what])

    def _note_outcome(self, key: ExternalEventKey, number: int, outcome: ExternalEventStatus) -> None:
        self._outcomes.setdefault(key, {})[number] = outcome
        self._touched.add(key)

    def _check_outcomes(self) -> None:
        for key in self._touched:
            event, outcomes = self.run.external_events.get(key), self._outcomes[key]
            if event is not None and event.outcomes is not None:
                kept = sorted(list(outcomes.items())[:100])
                found = [(outcome.thread, outcome.status) for outcome in event.outcomes]
                rule = "the row of an ExternalEvent says what became of it in each thread, or how many are left out"
                check((found, event.outcomes_left_out) == (kept, len(outcomes) - len(kept)), rule, (event, outcomes))
        self._touched.clear()

    def end_of_command(self) -> None:
        """Between commands, the pending interrupts are those that the WfRun says are pending."""
        self._check_outcomes()
        accepting, self._accepting = self._accepting, []
        if not self.run.exists:
            self.became.clear()
            self._outcomes.clear()
            return
        for key in accepting:
            check(key in self.became, "who registered for an ExternalEvent and can go on accepts it", key)
        pending = sorted(self._pending())
        listed = sorted((a.thread, a.external_event_def, a.external_event_id) for a in self.run.accepted_interrupts)
        check(
            pending == listed, "every accepted interrupt is pending, handled, dropped or superseded", (pending, listed)
        )
        for (number, event_def), times in Counter((number, event_def) for number, event_def, _ in pending).items():
            check(number in self.run.threads, "nothing is pending for a thread that has ended", (number, event_def))
            policy = self.run.spec_of(self.run.threads[number]).interrupt_of[event_def].policy
            newest = times == 1 or policy is not InterruptPolicy.LATEST
            check(newest, "only the newest waits, where the policy is latest", (number, event_def, times))


def _outcomes_in(run: WfRun) -> dict[ExternalEventKey, dict[int, ExternalEventStatus]]:
    return {
        key: {outcome.thread: outcome.status for outcome in event.outcomes or ()}
        for key, event in run.external_events.items()
    }


def below(run: WfRun, thread: ThreadRun) -> Iterator[ThreadRun]:
    """Yield all threads in whose scope a thread is: those that leave with it."""
    for other in run.threads.values():
        if other.parent == thread.number:
            yield other
            yield from below(run, other)


def _unaware(run: WfRun, failed: Collection[int]) -> Iterator[ThreadRun]:
    """Yield the threads that wait for one of these, can go on, and have not dealt with its failure."""
    for waiter in run.threads.values():
        if waiter.node.failure is None and not ended_or_final(run, waiter):
            open_waits = {wait.thread for wait in waiter.node.waits or () if not wait.handled}
            if not open_waits.isdisjoint(failed) and not (open_waits & {*failed}) <= {*waiter.handled_children}:
                yield waiter


def _reached(run: WfRun, thread: ThreadRun) -> set[int]:
    """Return everything that a thread may depend on, in any way."""
    reached: set[int] = set()
    todo = [thread]
    while todo:
        current = todo.pop()
        numbers = {other.number for other in hanging(run, current)}
        for number in line(run, current):
            reasons = run.threads[number].halt_reasons
            numbers |= {r.handler for r in reasons if isinstance(r, Interrupted | HandlingFailure)}
        numbers |= {n for wait in current.node.waits or () for n in (wait.thread, wait.handler) if n is not None}
        numbers |= {other.number for other in _keeping(run, current)}
        todo += [run.threads[n] for n in numbers - reached if n in run.threads]
        reached |= numbers
    return reached


def _keeping(run: WfRun, thread: ThreadRun) -> list[ThreadRun]:
    """Return the threads that depend on a thread that would leave with this one: handlers below it, and waiters."""
    leaving = list(below(run, thread))
    handlers = [other for other in leaving if not ended_or_final(run, other)]
    return handlers or list(_unaware(run, {other.number for other in leaving if other.status in FAILED}))


def ended_or_final(run: WfRun, thread: ThreadRun) -> bool:
    """Return True if a thread has ended, or is HALTED for good."""
    return thread.status in TERMINAL or _final(run, thread)


def brief(thread: ThreadRun) -> str:
    """Return a thread as text for a message."""
    reasons = ", ".join(map(str, thread.halt_reasons))
    return f"#{thread.number} {thread.type} {thread.status} at {thread.node.node} [{reasons}]"


def line(run: WfRun, thread: ThreadRun) -> Iterator[int]:
    """Yield the thread and those above it."""
    current: ThreadRun | None = thread
    while current is not None:
        yield current.number
        holder = current.waiter if current.waiter is not None else current.parent
        current = None if holder is None else run.threads.get(holder)


def hanging(run: WfRun, thread: ThreadRun) -> list[ThreadRun]:
    """Return the threads that halt and resume with this one."""
    return [
        other
        for other in run.threads.values()
        if thread.number == (other.waiter if other.waiter is not None else other.parent)
    ]


def live_below(run: WfRun, thread: ThreadRun) -> Iterator[ThreadRun]:
    """Yield all threads that halt with a thread, at any depth, except those that a failed thread has left behind."""
    for other in hanging(run, thread):
        if other.status not in TERMINAL:
            yield other
            yield from live_below(run, other)


def moving_below(run: WfRun, thread: ThreadRun) -> Iterator[ThreadRun]:
    """Yield all threads that move below a thread, at any depth; handlers with `halt: false` only if asked to halt."""
    for other in hanging(run, thread):
        if not other.halts_parent and ParentHalted(thread.number) not in other.halt_reasons:
            continue
        if other.status in MOVING:
            yield other
        yield from moving_below(run, other)


def live_handlers(run: WfRun, thread: ThreadRun) -> list[ThreadRun]:
    """Return the handlers of a thread that keep it halted."""
    return [
        other
        for other in hanging(run, thread)
        if other.status not in TERMINAL
        and other.waiter is None
        and ((other.type is ThreadType.INTERRUPT and other.halts_parent) or other.type is ThreadType.FAILURE_HANDLER)
    ]


def check_between_commands(run: WfRun, context: Context, *, has_migrated: bool = False) -> None:
    """Check everything that must hold between two commands.

    `has_migrated`: the time of a node may be that of another version, by which it was armed.
    """
    if not run.exists:
        return
    for thread in run.threads.values():
        _check_thread(run, thread)
        _check_entrypoint(run, thread)
        _check_time(run, thread, has_migrated=has_migrated)
    _check_live(run)
    _check_index(run)
    _check_keys(run)
    _check_nothing_to_do(run, context)
    stuck = sorted(stuck_threads(run))
    check(not stuck, "no thread is stuck (rule circles-are-ended)", [brief(run.threads[n]) for n in stuck])
    if run.threads:
        try:
            check_state(run, context)
        except Impossible as problem:
            raise Violated(f"no rules could reach the state: {problem}") from problem


def _check_keys(run: WfRun) -> None:
    """Check the correlation keys that are the value of a Variable. What others give is not computed here."""
    if run.spec is None or run.quarantined_ms is not None:
        return
    found = run.correlation_keys
    if run.timer is not None:  # its retention has begun: before, a thread below one that has failed may be halting
        check(not found, "a WfRun that has ended has no key (rule keys-end-with-the-wf-run)", found)
        return
    check(found.keys() <= run.spec.correlated_events.keys(), "keys are of events that the WfSpec names", found)
    for name, expression in run.spec.correlated_events.items():
        if isinstance(expression, VariableRef):
            value = run.threads[0].variables[expression.name]
            wanted = None if value is None else CorrelationKey(str(value))
            if isinstance(value, str) and not 0 < len(value) <= CORRELATION_KEY_LENGTH_MAX:
                is_so = name in found and found[name].key is None
            else:
                is_so = found.get(name) == wanted
            check(is_so, "a key follows its Variable (rule keys-follow-variables)", (name, value, found))


def _check_thread(run: WfRun, thread: ThreadRun) -> None:
    if thread.status is Status.RUNNING:
        check(not _is_kept_waiting(run, thread), "who waits for an ExternalEvent that is there claims it", thread)
        check(not live_handlers(run, thread), "a thread does not run beside its handlers", thread.number)
    if thread.status is Status.HALTED:
        handlers = {r.handler for r in thread.halt_reasons if isinstance(r, Interrupted | HandlingFailure)}
        # A handler that runs beside the thread may be asked to halt when the thread is already HALTED.
        handlers |= {other.number for other in hanging(run, thread) if not other.halts_parent}
        moving = [t.number for t in moving_below(run, thread) if not (set(line(run, t)) & handlers)]
        check(not moving, "nothing moves below a HALTED thread but its handlers", (thread.number, moving))
    if thread.status in TERMINAL:
        pending = [a for a in run.accepted_interrupts if a.thread == thread.number]
        check(not pending, "nothing is pending for a thread that has ended", pending)


def _is_kept_waiting(run: WfRun, thread: ThreadRun) -> bool:
    node = run.spec_of(thread).nodes[thread.node.node]
    return (
        isinstance(node, ExternalEventNode)
        and node.timeout_s is None
        and any(
            event.external_event_def == node.external_event_def
            and event.status is ExternalEventStatus.UNCLAIMED
            and event.thread in (None, thread.number)
            for event in run.external_events.values()
        )
    )


def _check_entrypoint(run: WfRun, thread: ThreadRun) -> None:
    """Events before the start of a thread count for it from then on, even while it is halted at its first node."""
    spec = run.spec_of(thread)
    is_leaving = thread.node.failure_handled
    if ended_or_final(run, thread) or is_leaving or not isinstance(spec.nodes[thread.node.node], EntrypointNode):
        return
    early = [
        event.external_event_id
        for event in run.external_events.values()
        if event.status is ExternalEventStatus.UNCLAIMED
        and event.thread in (None, thread.number)
        and event.external_event_def in spec.preemptive
    ]
    rule = "who enters ENTRYPOINT takes what came before at once (rule preemptive-takes-earlier-events)"
    check(not early, rule, (brief(thread), early))


def _check_time(run: WfRun, thread: ThreadRun, *, has_migrated: bool) -> None:
    """The time of a node counts from the arrival at it, even if the thread was halted there then."""
    node, state = run.spec_of(thread).nodes[thread.node.node], thread.node
    if state.failure is not None or state.failure_handled or ended_or_final(run, thread):
        return
    match node:
        case SleepNode():
            duration = node.seconds
        case ExternalEventNode(timeout_s=duration) if duration is not None:
            pass
        case _:
            return
    is_timed = state.timer is not None or state.matured_seq is not None
    check(is_timed, "who waits for a time knows it from arrival on (rule time-counts-from-arrival)", thread)
    if state.timer is not None and isinstance(duration, Literal) and not has_migrated:
        assert isinstance(duration.value, int)
        wanted_ms = state.arrived_ms + duration.value * 1000
        check(state.timer.due_ms == wanted_ms, "time counts from arrival", (brief(thread), state))
        check(state.deadline_ms in (None, wanted_ms), "the deadline is when the time-out is due", brief(thread))
    check(
        state.arrival_failure is None or state.timer is None, "what cannot be computed is not waited for", brief(thread)
    )


def _check_live(run: WfRun) -> None:
    live = sorted(n for n, thread in run.threads.items() if thread.status not in TERMINAL)
    listed = sorted(n for numbers in run.index.by_spec.values() for n in numbers)
    check(live == listed, "the index lists the live threads", (live, listed))


def _check_index(run: WfRun) -> None:
    """The numbers noted event by event are those of the rows."""
    live, fresh = (_index_key(index) for index in (run.index, index_of(run)))
    check(live == fresh, "the index says what the rows say", (live, fresh))


def _index_key(index: Index) -> tuple[object, ...]:
    pending = {number: {name: list(ids) for name, ids in by_def.items()} for number, by_def in index.pending.items()}
    by_spec = {name: numbers for name, numbers in index.by_spec.items() if numbers}
    unclaimed = {name: list(ids) for name, ids in index.unclaimed.items() if ids}
    unclaimed_for = {key: list(ids) for key, ids in index.unclaimed_for.items()}
    unstarted = {number: len(ranks) for number, ranks in index.unstarted.items()}
    of_each = (
        unstarted,
        unclaimed_for,
        index.unclaimed_events,
        index.unclaimed_bytes,
        index.waits,
        index.reasons,
        index.gone_handlers,
    )
    return pending, index.awaiting, index.handling, by_spec, index.live, unclaimed, *of_each


def _check_nothing_to_do(run: WfRun, context: Context) -> None:
    """The agenda missed nothing: rules that look at every thread find nothing more to do."""
    for number in sorted(run.threads):
        event = next(iter(advance_thread(run, context, run.threads[number])), None)
        check(event is None, "nothing is left to do after a command", (number, event))
    event = next(iter(launch_interrupts(run, set(), set(run.threads), set())), None) or next(
        iter(launch_failure_handlers(run, context, set(run.threads))), None
    )
    check(event is None, "no handler is left to start after a command", event)


def stuck_threads(run: WfRun) -> set[int]:
    """Return live threads that nothing can ever move: not the outside, not an operator, not what they wait for."""
    live = {n for n, thread in run.threads.items() if thread.status not in TERMINAL}
    final = {n for n in live if _final(run, run.threads[n])}
    movable: set[int] = set()
    while True:
        more = {n for n in live - movable if _can_move(run, run.threads[n], movable)}
        if not more:
            return live - final - movable
        movable |= more


def _final(run: WfRun, thread: ThreadRun) -> bool:
    current: ThreadRun | None = thread
    while current is not None:
        if current is not thread and current.status in TERMINAL:
            return True
        if any(isinstance(reason, HaltedByParent) for reason in current.halt_reasons):
            return True
        holder = current.waiter if current.waiter is not None else current.parent
        current = None if holder is None else run.threads.get(holder)
    return False


def _can_move(run: WfRun, thread: ThreadRun, movable: set[int]) -> bool:
    match thread.status:
        case Status.RUNNING:
            return _node_can_move(run, thread, movable)
        case Status.HALTING:
            return thread.task_out or any(t.task_out or t.number in movable for t in moving_below(run, thread))
        case _:
            if any(isinstance(reason, HaltedByParent) for reason in thread.halt_reasons):
                # Then it leaves.
                return any(
                    t.task_out or t.number in movable for t in (*moving_below(run, thread), *_keeping(run, thread))
                )
            return all(_reason_can_go(run, thread, reason, movable) for reason in thread.halt_reasons)


def _node_can_move(run: WfRun, thread: ThreadRun, movable: set[int]) -> bool:
    node = run.spec_of(thread).nodes[thread.node.node]
    match node:
        case ExternalEventNode() | WaitForConditionNode():
            return True
        case SleepNode():
            return thread.node.timer is not None
        case TaskNode():
            return thread.task_out or thread.node.timer is not None
        case WaitForThreadsNode():
            waits = thread.node.waits or []
            open_waits = [w for w in waits if not w.handled and run.thread_status(w.thread) is not Status.COMPLETED]
            targets = [w.handler if w.handler is not None else w.thread for w in open_waits]
            return bool(targets) and any(n in movable for n in targets)
        case ExitNode():
            live = [other.number for other in hanging(run, thread) if other.status not in TERMINAL]
            live = live or [other.number for other in _keeping(run, thread)]
            return bool(live) and all(number in movable for number in live)
        case _:
            return False  # it ends within the command that reaches it


def _reason_can_go(run: WfRun, thread: ThreadRun, reason: HaltReason, movable: set[int]) -> bool:
    """Return True if something that can happen resolves a halt reason. What should have resolved it does not count."""
    match reason:
        case ManualHalt():
            return True  # an operator holds it
        case Interrupted(handler=number) | HandlingFailure(handler=number):
            return number in movable
        case ParentHalted(parent=number):
            parent = run.threads[number]
            if parent.status is Status.RUNNING:
                return False
            if not _is_own_handler(parent, thread):
                return number in movable
            # A failure handler goes on after the last interrupt handler; an interrupt handler waits for no other.
            interrupts = _interrupts(parent) if thread.type is ThreadType.FAILURE_HANDLER else []
            return _all_can_go(run, parent, [*_not_handlers(parent), *interrupts], movable)
        case PendingInterrupt():
            held_by = _not_handlers(thread)
            if held_by:
                return _all_can_go(run, thread, held_by, movable)
            # Its policy makes it wait for another handler, or the threads below a failure handler still move.
            waits_for = [*live_handlers(run, thread), *moving_below(run, thread)]
            return any(other.number in movable for other in waits_for)
        case PendingFailure():
            return _all_can_go(run, thread, [*_not_handlers(thread), *_interrupts(thread)], movable)
        case HaltedByParent():
            return False


def _all_can_go(run: WfRun, thread: ThreadRun, reasons: list[HaltReason], movable: set[int]) -> bool:
    """Return True if there is something to wait for, and all of it can happen."""
    return bool(reasons) and all(_reason_can_go(run, thread, reason, movable) for reason in reasons)


def _interrupts(thread: ThreadRun) -> list[HaltReason]:
    return [reason for reason in thread.halt_reasons if isinstance(reason, Interrupted | PendingInterrupt)]


def _not_handlers(thread: ThreadRun) -> list[HaltReason]:
    handlers = Interrupted | HandlingFailure | PendingInterrupt | PendingFailure
    return [reason for reason in thread.halt_reasons if not isinstance(reason, handlers)]


def _is_own_handler(parent: ThreadRun, thread: ThreadRun) -> bool:
    reasons = (r for r in parent.halt_reasons if isinstance(r, Interrupted | HandlingFailure))
    return any(r.handler == thread.number for r in reasons)


def check_rejections_change_nothing(entries: list[LogEntry]) -> None:
    """A refusal is the only event of its command."""
    if any(isinstance(entry.event, Rejected) for entry in entries):
        check(len(entries) == 1, "a command that is refused brings nothing else about", entries)
