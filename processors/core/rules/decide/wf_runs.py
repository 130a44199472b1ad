"""RunWf, RunWfAndPost, StopWfRun, ResumeWfRun and DeleteWfRun: what begins, holds and removes a WfRun."""

from collections.abc import Iterator

from processors.core.records.commands import DeleteWfRun, ResumeWfRun, RunWf, RunWfAndPost, StopWfRun
from processors.core.records.events import (
    Event,
    HaltReasonResolved,
    Ignored,
    RejectionCode,
    Resume,
    WfRunDeleted,
    WfRunStarted,
)
from processors.core.records.model import TERMINAL, ManualHalt, Status, WfRun
from processors.core.records.values import ValueProblem
from processors.core.rules.context import Context
from processors.core.rules.decide.posting import checked_content
from processors.core.rules.decide.refusals import Refusal, check_definitions, check_unused, named_thread, version_to_run
from processors.core.rules.halting import halt
from processors.core.rules.scope import starting_variables


def started(run: WfRun, command: RunWf, context: Context) -> WfRunStarted:
    """Return the start of a WfRun, under an id that is not used yet. Raises Refusal."""
    check_unused(run)
    check_definitions(command, context)
    spec_id = version_to_run(context, command.wf_spec_name, command.wf_spec_major, command.wf_spec_revision)
    spec = context.definitions.wf_spec(spec_id)
    entrypoint = spec.threads[spec.entrypoint]
    try:
        variables = starting_variables(entrypoint, command.variables)
    except ValueProblem as problem:
        raise Refusal(RejectionCode.INVALID_ARGUMENT, str(problem)) from None
    return WfRunStarted(spec_id, spec.entrypoint, entrypoint.entrypoint, variables)


def check_release(context: Context) -> None:
    """Raise Refusal while workers run that would take ExternalEvents of two topics in another order."""
    if not context.run_and_post:
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION,
            "workers of an earlier release run beside, which order ExternalEvents by the offsets of one topic",
        )


# (rule start-and-post-all-or-nothing)
def started_for(run: WfRun, command: RunWfAndPost, context: Context) -> WfRunStarted:
    """Return the start of a WfRun to which an ExternalEvent is posted next. Raises Refusal if either is refused.

    An ExternalEvent of this id that came before the WfRun stays, and is not posted again.
    """
    start, event = started(run, command.start(), context), command.event()
    if not is_posted(run, command):
        checked_content(run, event, context, start.wf_spec)
    return start


# (rule start-and-post-repeat)
def is_posted(run: WfRun, command: RunWfAndPost) -> bool:
    """Return True if the ExternalEvent of the command was posted, as far as the WfRun remembers."""
    return (command.external_event_def, command.external_event_id) in run.external_events


def stopped(run: WfRun, command: StopWfRun) -> Iterator[Event]:
    """Put MANUAL_HALT on a thread (rule stops-hold-until-resumed). Raises Refusal."""
    thread = named_thread(run, command)
    if thread is None or thread.status in TERMINAL or ManualHalt() in thread.halt_reasons:
        yield Ignored(StopWfRun.__name__, f"thread {command.thread} has ended or is stopped already")
    else:
        yield from halt(run, thread, ManualHalt())


def resumed(run: WfRun, command: ResumeWfRun) -> Event:
    """Return what takes MANUAL_HALT off a thread; other reasons stay. Raises Refusal."""
    thread = named_thread(run, command)
    if thread is None or ManualHalt() not in thread.halt_reasons:
        return Ignored(ResumeWfRun.__name__, f"thread {command.thread} is not stopped")
    if thread.status is Status.HALTED and len(thread.halt_reasons) == 1:
        return Resume(thread.number, ManualHalt())
    return HaltReasonResolved(thread.number, ManualHalt())


# (rule delete-may-name-the-incarnation)
def deleted(run: WfRun, command: DeleteWfRun) -> Event:
    """Return the deletion of a WfRun, or of the ExternalEvents that came for an id under which nothing runs."""
    if command.incarnation not in (None, run.incarnation):
        return Ignored(DeleteWfRun.__name__, f"incarnation {command.incarnation} of WfRun {run.wf_run_id!r} is gone")
    if run.exists or run.external_events:
        return WfRunDeleted("DeleteWfRun")
    return Ignored(DeleteWfRun.__name__, f"there is no WfRun {run.wf_run_id!r}")
