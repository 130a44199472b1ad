"""Names an input record in a sentence: what it was, by the first event that it brought about, and where it is.

ExternalEvent item-added e2 (external-events[3]@4711)

A RunWfAndPost is named as what it does, on `wf-commands`: the RunWf that brought about the start and what came of it,
then the ExternalEvent.
"""

from halter.history.origins import Origin
from processors.core.records.events import (
    Cause,
    Event,
    ExternalEventPosted,
    Halt,
    HaltReasonResolved,
    Ignored,
    InputKept,
    RecordSkipped,
    Rejected,
    Resume,
    TaskAttemptEnded,
    TaskAttemptProgressed,
    TaskAttemptStarted,
    ThreadRescued,
    TimerMatured,
    WfRunDeleted,
    WfRunForked,
    WfRunMigrated,
    WfRunQuarantined,
    WfRunReleased,
    WfRunStarted,
)
from processors.core.records.model import ManualHalt, TaskStatus
from processors.core.records.topic_names import TASK_REPORTS, WF_COMMANDS


def place_text(topic: str, partition: int, offset: int) -> str:
    """Where a record is: `external-events[3]@4711`."""
    return f"{topic}[{partition}]@{offset}"


def record_text(origin: Origin) -> str:
    """An input record with its place."""
    return named(origin.first, origin.cause)


def named(first: Event, cause: Cause) -> str:
    """An input record with its place. `first` is the first event that it brought about."""
    place = place_text(cause.topic, cause.partition, cause.offset)
    told = _what(first, cause)
    if cause.command_id is None or cause.command_id in told:
        return f"{told} ({place})"
    return f"{told} {cause.command_id} ({place})"


def _what(first: Event, cause: Cause) -> str:
    """The name of the command, with what it was about as far as the log says."""
    match first:
        case ExternalEventPosted():
            return f"ExternalEvent {first.external_event_def} {first.external_event_id}"
        case TaskAttemptStarted():
            return f"the start of attempt {first.attempt} in #{first.thread}"
        case TaskAttemptProgressed():
            return f"the progress of attempt {first.attempt} in #{first.thread}"
        case TaskAttemptEnded(status=TaskStatus.TIMEOUT) if cause.topic == TASK_REPORTS:
            return f"the start, too late, of attempt {first.attempt} in #{first.thread}"
        case TaskAttemptEnded() if cause.topic == TASK_REPORTS:
            return f"the report of attempt {first.attempt} in #{first.thread}"
        case TaskAttemptEnded():
            return f"the time-out of attempt {first.attempt} in #{first.thread}"
        case TimerMatured():
            return f"timer {first.timer.kind} of #{first.thread}"
        case WfRunStarted():
            return "RunWf"
        case WfRunForked():
            return f"ForkWfRun of {first.source_wf_run_id}"
        case Halt(reason=ManualHalt()):
            return "StopWfRun"
        case Resume(reason=ManualHalt()) | HaltReasonResolved(reason=ManualHalt()):
            return "ResumeWfRun"
        case ThreadRescued():
            return "RescueThreadRun"
        case WfRunMigrated():
            return f"MigrateWfRun to {first.wf_spec}"
        case WfRunQuarantined():
            return f"QuarantineWfRun{_by(first.operator)}"
        case WfRunReleased():
            return f"ReleaseWfRun{_by(first.operator)}"
        case WfRunDeleted() if cause.topic == WF_COMMANDS and cause.command_id is not None:
            return "DeleteWfRun"
        case Rejected() | Ignored():
            return first.command
        case RecordSkipped():
            return first.command or "a record"
        case InputKept():
            return "a kept input"
        case _:
            return "a record"


def _by(operator: str | None) -> str:
    return "" if operator is None else f" by {operator}"
