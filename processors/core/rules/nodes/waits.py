"""Nodes that wait for an ExternalEvent, a time or a condition: EXTERNAL_EVENT, SLEEP, WAIT_FOR_CONDITION."""

from collections.abc import Iterator

from processors.core.records.events import ArrivalFailed, Event, TimerArmed
from processors.core.records.failures import TIMEOUT, VAR_ERROR, VAR_SUB_ERROR
from processors.core.records.model import (
    ExternalEventKey,
    ThreadRun,
    Timer,
    TimerKind,
    WakeOn,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.records.spec import Expression, ExternalEventNode, SleepNode, WaitForConditionNode
from processors.core.records.values import Timestamp, ValueProblem, describe, kind_of, timestamp_of
from processors.core.rules.context import Context
from processors.core.rules.external_events import BEFORE_ITS_WF_RUN, content_of
from processors.core.rules.failing import fail_node
from processors.core.rules.nodes.completing import complete_node, fail, node_failure
from processors.core.rules.nodes.expected import seconds_ms
from processors.core.rules.nodes.parking import VARIABLES, park
from processors.core.rules.scope import ThreadScope
from processors.core.wf_spec.expressions import condition, evaluate


def arrive_at_external_event(
    run: WfRun, context: Context, thread: ThreadRun, node: ExternalEventNode
) -> Iterator[Event]:
    """Arm the time-out: it counts from arrival, whatever happens to the thread then (rule time-counts-from-arrival)."""
    assert node.timeout_s is not None
    if _is_not_timed(thread, context):
        scope = ThreadScope(run, thread)
        try:
            timer = _timeout(thread, node.timeout_s, scope)
        except ValueProblem as problem:
            yield _failed(thread, VAR_ERROR, scope.tell(problem))
        else:
            yield TimerArmed(thread.number, thread.node.position, timer)


def arrive_at_sleep(run: WfRun, context: Context, thread: ThreadRun, node: SleepNode) -> Iterator[Event]:
    """Arm the timer of a SLEEP: its time counts from arrival too. A time that has passed is due at once."""
    if _is_not_timed(thread, context):
        scope = ThreadScope(run, thread)
        try:
            due_ms = max(_due_ms(thread, node, scope), thread.node.arrived_ms)
        except ValueProblem as problem:
            yield _failed(thread, VAR_SUB_ERROR, scope.tell(problem))
        else:
            yield TimerArmed(thread.number, thread.node.position, Timer(TimerKind.SLEEP, due_ms))


def _is_not_timed(thread: ThreadRun, context: Context) -> bool:
    """Say whether the node's time is still to be computed; where workers of 0.1.0 fold too, that is when it runs."""
    state = thread.node
    return context.arrival_failures and state.timer is None and state.matured_seq is None and state.failure is None


def _failed(thread: ThreadRun, name: str, message: str) -> ArrivalFailed:
    """Return that the time cannot be computed; it fails the node when the thread runs (rule arrival-failure-waits)."""
    state = thread.node
    return ArrivalFailed(thread.number, state.position, state.node, node_failure(thread, name, message))


def run_external_event(run: WfRun, context: Context, thread: ThreadRun, node: ExternalEventNode) -> Iterator[Event]:
    """Claim the oldest unclaimed event that came in time, also one that came before the thread did.

    Without such an event the node fails once its time-out is over (rules early-event-kept, event-wait-times-out).
    """
    if node.timeout_s is not None and run.time_ms > thread.node.arrived_ms:
        # It is armed by now, unless it was halted and 0.1.0 let its time wait.
        yield from arrive_at_external_event(run, context, thread, node)
    key = _claimable(run, thread, node.external_event_def)
    if key is not None:
        yield from complete_node(run, thread, node, content_of(run, context, run.external_events[key]), claimed=key)
        return
    state = thread.node
    if state.arrival_failure is not None:
        yield from fail_node(run, thread, state.arrival_failure)
        return
    if state.matured_seq is not None:
        yield from fail(run, thread, TIMEOUT, f"no ExternalEvent {node.external_event_def!r} in time")
        return
    if node.timeout_s is not None and state.timer is None:
        scope = ThreadScope(run, thread)
        try:
            timer = _timeout(thread, node.timeout_s, scope)
        except ValueProblem as problem:
            yield from fail(run, thread, VAR_ERROR, scope.tell(problem))
            return
        yield TimerArmed(thread.number, state.position, timer)
    park(run, thread, (WakeOn.EXTERNAL_EVENT, node.external_event_def))


def _timeout(thread: ThreadRun, timeout_s: Expression, scope: ThreadScope) -> Timer:
    due_ms = thread.node.arrived_ms + seconds_ms(evaluate(timeout_s, scope), "timeout_s")
    return Timer(TimerKind.EXTERNAL_EVENT_TIMEOUT, due_ms)


def _claimable(run: WfRun, thread: ThreadRun, event_def: str) -> ExternalEventKey | None:
    """Return the oldest event that names this thread or no thread.

    Only what came in time counts (rules oldest-event-claimed, claim-respects-the-address).
    """
    found = [
        event for its in (None, thread.number) if (event := _oldest_in_time(run, thread, event_def, its)) is not None
    ]
    return min(found, key=lambda event: event.arrival).key if found else None


def _oldest_in_time(run: WfRun, thread: ThreadRun, event_def: str, its: int | None) -> WfRunExternalEvent | None:
    """Return the oldest event for a thread, or for anybody, that came in time; such a one wins over the time-out.

    In time is what came before the deadline, by the records' times, and was folded before the timer fired (rules
    event-in-time-wins, event-at-deadline-is-late). So it makes no difference whether the owner was busy, or down, when
    the timer was due. What came before its WfRun was there at arrival.
    """
    state = thread.node
    for event_id in run.index.unclaimed_for.get((event_def, its), ()):
        event = run.external_events[event_def, event_id]
        if event.posted_seq == BEFORE_ITS_WF_RUN:
            return event
        if state.matured_seq is not None and event.posted_seq > state.matured_seq:
            return None  # it came too late, and so did all after it
        if state.deadline_ms is None or event.posted_ms < state.deadline_ms:
            return event
    return None


def run_sleep(run: WfRun, context: Context, thread: ThreadRun, node: SleepNode) -> Iterator[Event]:  # noqa: ARG001
    """Wait for a time (rule sleep-until-a-time).

    `until` and `until_iso` are computed again whenever the thread is looked at, so a handler may move the end (rule
    sleep-follows-its-variable).
    """
    state = thread.node
    if state.arrival_failure is not None:
        yield from fail_node(run, thread, state.arrival_failure)
        return
    if state.matured_seq is None:
        scope = ThreadScope(run, thread)
        try:
            due_ms = _due_ms(thread, node, scope)
        except ValueProblem as problem:
            yield from fail(run, thread, VAR_SUB_ERROR, scope.tell(problem))
            return
        timer = Timer(TimerKind.SLEEP, due_ms)
        # A timer that is armed ends the SLEEP when it fires, also if the time has come: otherwise it would matter which
        # threads are looked at.
        if state.timer == timer or due_ms > run.time_ms:
            if state.timer != timer:
                yield TimerArmed(thread.number, state.position, timer)
            if node.seconds is None:
                park(run, thread, VARIABLES)
            return
    yield from complete_node(run, thread, node)


def _due_ms(thread: ThreadRun, node: SleepNode, scope: ThreadScope) -> int:
    """Return when a SLEEP ends; raises ValueProblem."""
    if node.seconds is not None:
        if thread.node.timer is not None:
            return thread.node.timer.due_ms  # counted from arrival, once
        return thread.node.arrived_ms + seconds_ms(evaluate(node.seconds, scope), "seconds")
    if node.until_ms is not None:
        moment = evaluate(node.until_ms, scope)
        if isinstance(moment, Timestamp):
            return moment.epoch_ms
        if type(moment) is int:
            return moment
        expected = "until: expected TIMESTAMP or INT, found"
        raise ValueProblem(f"{expected} {describe(moment)}", f"{expected} {kind_of(moment)}")
    assert node.until_iso is not None
    text = evaluate(node.until_iso, scope)
    if not isinstance(text, str):
        raise ValueProblem(
            f"until_iso: expected STR, found {describe(text)}", f"until_iso: expected STR, found {kind_of(text)}"
        )
    return timestamp_of(text).epoch_ms


def run_wait_for_condition(
    run: WfRun,
    context: Context,  # noqa: ARG001
    thread: ThreadRun,
    node: WaitForConditionNode,
) -> Iterator[Event]:
    """Wait until a condition is true: it is computed again after each write (rule condition-looked-at-again)."""
    scope = ThreadScope(run, thread)
    try:
        holds = condition(node.condition, scope)
    except ValueProblem as problem:
        yield from fail(run, thread, VAR_SUB_ERROR, scope.tell(problem))
        return
    if holds:
        yield from complete_node(run, thread, node)
    else:
        park(run, thread, VARIABLES)
