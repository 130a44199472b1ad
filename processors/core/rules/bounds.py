"""The bounds of a command: how much an event counts against them, and which events begin the count anew.

Only the payload values are measured, because they are what can be large. The rest of an event is some hundred bytes.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from processors.core.records.events import (
    ArrivalFailed,
    ChildFailureHandled,
    CorrelationKeyChanged,
    Event,
    ExternalEventDropped,
    ExternalEventPosted,
    Halt,
    HaltReasonResolved,
    Ignored,
    InputKept,
    InterruptAccepted,
    InterruptDropped,
    InterruptSuperseded,
    NodeCompleted,
    NodeFailed,
    RecordSkipped,
    Rejected,
    Resume,
    SkipAccepted,
    SkipLapsed,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptProgressed,
    TaskAttemptRequested,
    TaskAttemptStarted,
    ThreadCompleted,
    ThreadFailed,
    ThreadHalted,
    ThreadRescued,
    ThreadRetired,
    TimerArmed,
    TimerMatured,
    WaitStarted,
    WfRunDeleted,
    WfRunEnded,
    WfRunForked,
    WfRunMigrated,
    WfRunQuarantined,
    WfRunReleased,
    WfRunStarted,
    WorkflowEventThrown,
)
from processors.core.records.failures import size_of_failure
from processors.core.records.values import Value, size_of


def _of_writes(event: NodeCompleted) -> int:
    size = size_of(event.output)
    for write in event.writes:
        size += size_of(write.value)
    return size


def _of_failure(event: NodeFailed | ThreadFailed | ArrivalFailed) -> int:
    return size_of_failure(event.failure)


def _of_all(values: Iterable[Value]) -> int:
    size = 0
    for value in values:
        size += size_of(value)
    return size


def _of_request(event: TaskAttemptRequested) -> int:
    size = _of_all(event.input.values())
    return size if event.progress is None else size + size_of(event.progress)


def _of_fork(event: WfRunForked) -> int:
    size = _of_all(it.content for it in event.external_events)
    for thread in event.threads:
        size += _of_all(thread.variables.values()) + _of_all(thread.outputs.values())
        task = thread.node.task
        if task is not None:
            size += _of_all(task.input.values()) + _of_all((task.output, task.content, task.message))
            if task.progress is not None:
                size += size_of(task.progress)
        for failure in (thread.failure, thread.node.failure, thread.node.arrival_failure):
            if failure is not None:
                size += size_of_failure(failure)
    return size


def _of_migration(event: WfRunMigrated) -> int:
    """Names count too: there may be a thousand threads, each with all the names of its ThreadSpec."""
    size = 0
    for it in event.threads:
        size += _of_all(it.variables.values()) + _of_all((*it.variables, *it.variables_gone, *it.outputs_gone))
    return size


# Asked at every event, so each has a function of its own instead of a list of its values.
MEASURES: Final[dict[type[Event], Callable[[Any], int]]] = {
    ArrivalFailed: _of_failure,
    ExternalEventPosted: lambda event: size_of(event.content),
    NodeCompleted: _of_writes,
    NodeFailed: _of_failure,
    SpawnChild: lambda event: _of_all(event.variables.values()),
    TaskAttemptEnded: lambda event: _of_all((event.output, event.content, event.message, event.failure_name)),
    TaskAttemptProgressed: lambda event: size_of(event.content),
    TaskAttemptRequested: _of_request,
    ThreadCompleted: lambda event: size_of(event.output),
    ThreadFailed: _of_failure,
    WfRunForked: _of_fork,
    WfRunMigrated: _of_migration,
    WfRunStarted: lambda event: _of_all(event.variables.values()),
    WorkflowEventThrown: lambda event: size_of(event.content),
}
"""By class of an event: a function that says about how many bytes of payload it carries."""

WEIGHS_NOTHING: Final[frozenset[type[Event]]] = frozenset(
    {
        *(WfRunDeleted, WfRunEnded, ExternalEventDropped, InterruptAccepted, InterruptDropped, InterruptSuperseded),
        *(Halt, ThreadHalted, HaltReasonResolved, Resume, TimerArmed, TimerMatured, WaitStarted, ChildFailureHandled),
        *(ThreadRetired, ThreadRescued, WfRunQuarantined, InputKept, WfRunReleased, SkipAccepted, SkipLapsed),
        *(TaskAttemptStarted, CorrelationKeyChanged, RecordSkipped, Rejected, Ignored),
    }
)
"""The other events. They carry no payload, or one that comes from a single record and is bounded there."""

TAKE_EVENTS: Final[frozenset[type[Event]]] = frozenset(
    {
        *(ExternalEventDropped, NodeCompleted, NodeFailed, ThreadFailed),
        *(Halt, InterruptAccepted, InterruptSuperseded, InterruptDropped, SpawnChild),
    }
)
"""Events that may take an ExternalEvent: claim it for a node; accept, supersede, drop or handle it as an interrupt.

A thread takes each ExternalEvent once, so no command does so without end. The limits count anew at each, and bound the
work between two (rule bounds-count-anew).
"""

TAKE_NO_EVENT: Final[frozenset[type[Event]]] = frozenset(
    {
        *(
            WfRunStarted,
            WfRunForked,
            WfRunMigrated,
            WfRunDeleted,
            WfRunEnded,
            ExternalEventPosted,
            ThreadHalted,
            HaltReasonResolved,
            Resume,
        ),
        *(TimerArmed, TimerMatured, ArrivalFailed, WaitStarted),
        *(TaskAttemptRequested, TaskAttemptStarted, TaskAttemptProgressed, TaskAttemptEnded),
        *(
            ChildFailureHandled,
            WorkflowEventThrown,
            ThreadCompleted,
            ThreadRetired,
            ThreadRescued,
            CorrelationKeyChanged,
        ),
        *(WfRunQuarantined, InputKept, WfRunReleased, SkipAccepted, SkipLapsed, RecordSkipped, Rejected, Ignored),
    }
)
"""The other events."""
