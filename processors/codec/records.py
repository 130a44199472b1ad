"""The class of each record. A class has the name of its record; an enum has the record's symbols as members."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias, get_args

from processors.core.records import commands, events, model
from processors.core.records.fold_position import FoldPosition, PendingSkip
from processors.core.records.values import Timestamp, VariableType

Record: TypeAlias = (
    commands.Command
    | commands.DefinitionCommand
    | commands.OperatorCommand
    | commands.CorrelationCommand
    | events.LogEntry
    | events.DefinitionAccepted
    | events.DefinitionRejected
    | events.Definition
    | events.TaskRequest
    | events.TaskCancellation
    | events.CorrelationDecided
    | model.Correlation
    | model.WfRun
    | model.ThreadRun
    | model.WfRunExternalEvent
    | model.KeptInput
    | FoldPosition
)
"""A record that stands alone on a topic. A `LogEntry` is written as the record that is named after its event."""

EVENTS: Final[Mapping[str, type]] = {event.__name__: event for event in get_args(events.Event)}
"""Record name -> class, for the records of the log."""

PARTS: Final[Mapping[str, type]] = {
    part.__name__: part
    for part in (
        *get_args(model.HaltReason),
        Timestamp,
        events.Cause,
        events.DefinitionProblem,
        events.DefinitionVersion,
        events.ExternalEventKeyRef,
        events.MigratedThread,
        events.VariableWrite,
        model.AcceptedInterrupt,
        model.CorrelatedWfRun,
        model.CorrelationKey,
        model.ExternalEventOutcome,
        model.Failure,
        model.NodeRun,
        model.KeptCorrelatedEvent,
        model.RecordHeader,
        model.RememberedEventId,
        model.TaskRun,
        model.ThreadWait,
        model.Timer,
        model.UnstartedFailureHandler,
        model.WfRunSnapshot,
        model.WfSpecId,
        PendingSkip,
    )
}
"""Record name -> class, for records that occur only inside others."""

RECORDS: Final[Mapping[str, type]] = {
    record.__name__: record for record in get_args(Record) if record is not events.LogEntry
}
"""Record name -> class, for records that stand alone on a topic, except those of the log."""

CLASSES: Final[Mapping[str, type]] = {**RECORDS, **EVENTS, **PARTS}

ENUMS: Final[Mapping[str, type[StrEnum]]] = {
    enum.__name__: enum
    for enum in (
        VariableType,
        commands.AllowedUpdate,
        commands.DefinitionKind,
        events.CancellationReason,
        events.CorrelationOutcome,
        events.RejectionCode,
        model.ExternalEventStatus,
        model.FailureClass,
        model.Status,
        model.TaskRunStatus,
        model.TaskStatus,
        model.ThreadType,
        model.TimerKind,
    )
}

HEADER: Final = ("wf_run_id", "incarnation", "seq", "time_ms", "cause")
"""The fields of `LogEntry` with which every record of the log begins, in this order; the event's own follow."""

JSON: Final = "Json"
"""The record that holds a dict or a list of a Value; the only one without a class."""

UNKNOWN: Final = "UNKNOWN"
"""First symbol of every enum. A reader with an older schema reads a symbol that is new to it as this one."""
