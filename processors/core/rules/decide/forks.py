"""ForkWfRun: a WfRun that starts from the state that another one had."""

from collections.abc import Iterator

from processors.core.records.commands import ForkWfRun
from processors.core.records.events import Event, RejectionCode, WfRunStarted
from processors.core.records.model import TERMINAL, ExternalEventStatus, WfRun, WfSpecId
from processors.core.records.names import NAME_LENGTH_MAX
from processors.core.rules.context import Context
from processors.core.rules.decide.refusals import (
    Refusal,
    check_definitions,
    check_unused,
    version_of_fork,
    version_to_run,
)
from processors.core.rules.external_events import drop_unfit
from processors.core.rules.interrupts import offer
from processors.core.rules.nodes import request_again
from processors.core.rules.possible import Impossible, check_snapshot, check_state
from processors.core.rules.restoring import note_restored
from processors.core.rules.snapshots import forked_from, run_of


def forked(run: WfRun, command: ForkWfRun, context: Context) -> Iterator[Event]:
    """Start a WfRun from a snapshot, under an id that is not used yet. Raises Refusal before the first event.

    Each attempt that is out is requested anew, for a report to the source does not reach the fork (rule
    fork-requests-tasks-anew). ExternalEvents that came to the new id before it was started are taken as if they came
    now (rule fork-takes-early-events).
    """
    spec_id = _checked(run, command, context)
    spec = context.definitions.wf_spec(spec_id)
    early = list(run.external_events.values())
    entrypoint, snapshot = spec.threads[spec.entrypoint], command.snapshot
    # (rule fork-starts-and-forks)
    yield WfRunStarted(spec_id, spec.entrypoint, entrypoint.entrypoint, dict(snapshot.threads[0].variables))
    yield forked_from(snapshot, spec, run.wf_run_id, run.time_ms)
    note_restored(run)
    for thread in run.threads.values():
        if thread.task_out and thread.status not in TERMINAL:
            yield request_again(run, context, thread)
    if context.binds_event_defs:
        yield from drop_unfit(run, context)
    for event in early:
        if event.status is ExternalEventStatus.UNCLAIMED:
            yield from offer(run, context, event)


def _check_room(source: WfRun, context: Context) -> None:
    """Raise Refusal for a state with more live threads than a WfRun may have, as `room` counts them."""
    live = sum(thread.status not in TERMINAL for thread in source.threads.values())
    most, pending = context.limits.live_threads, len(source.accepted_interrupts)
    if live + pending > most:
        raise Refusal(
            RejectionCode.RESOURCE_EXHAUSTED,
            f"expected at most {most} live threads, pending handlers included, found {live} and {pending} pending",
        )


def _checked(run: WfRun, command: ForkWfRun, context: Context) -> WfSpecId:
    """Return the version that the fork runs. Raises Refusal.

    The checks are made in this order, and the first that fails decides (rules fork-of-a-live-run,
    fork-of-a-possible-state, fork-may-run-another-version).
    """
    check_unused(run)
    if not context.forks:
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION, "workers of an earlier release run beside, which cannot read a fork"
        )
    check_definitions(command, context)
    snapshot = command.snapshot
    spec_id = version_to_run(context, *version_of_fork(command))
    try:
        check_snapshot(snapshot)
        source = run_of(snapshot)
        source.wf_spec, source.spec = spec_id, context.definitions.wf_spec(spec_id)
        if source.status in TERMINAL:
            raise Refusal(
                RejectionCode.FAILED_PRECONDITION, f"WfRun {snapshot.wf_run_id!r} was {source.status}: it had ended"
            )
        check_state(source, context)
        _check_room(source, context)
    except Impossible as problem:
        what = f"the state of WfRun {snapshot.wf_run_id[:NAME_LENGTH_MAX]!r} at seq {snapshot.seq}"
        raise Refusal(RejectionCode.INVALID_ARGUMENT, f"{what}, as {spec_id} has it: {problem}") from None
    known = next((key for key in source.external_events if key in run.external_events), None)
    if known is not None:
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION,
            f"ExternalEvent {known[0]!r} {known[1]!r} came for this id before, and the state has one of the same id",
        )
    return spec_id
