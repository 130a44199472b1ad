"""Writes each record of a log as one line of text, for golden logs, failed scenarios and histories.

    C  ExternalEvent        w1  cancel e1 "too late"
    E  Halt                 #0  PENDING_INTERRUPT(e1)
    E  ThreadHalted         #0
    E  SpawnChild           #1  INTERRUPT on-cancel, under #0, by e1
    R  ExternalEvent        w1  ALREADY_EXISTS: …

C is a command, E an event, R a rejection, I a command that had nothing to do, and #n a thread. The lines have no times,
no seq and no causes: a reader compares what happened, and these are numbers.
"""

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import assert_never

from halter.show.times import iso
from processors.core.records.commands import (
    Command,
    CorrelatedEvent,
    DeleteWfRun,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    ReportTaskProgress,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    RunWfAndPost,
    StartTaskRun,
    StopWfRun,
    TimerFired,
)
from processors.core.records.events import (
    ArrivalFailed,
    ChildFailureHandled,
    CorrelationDecided,
    CorrelationKeyChanged,
    CorrelationOutcome,
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
    LogEntry,
    MigratedThread,
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
    VariableWrite,
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
from processors.core.records.model import Failure, TaskStatus
from processors.core.records.values import Timestamp, Value, to_json, to_text

NAME_WIDTH = 21
VALUE_WIDTH_MAX = 60


def transcript(turns: Iterable[tuple[Command, Iterable[LogEntry]]]) -> list[str]:
    """The lines of commands, each followed by the lines of its events."""
    lines = []
    for command, entries in turns:
        lines.append(command_line(command))
        lines.extend(event_line(entry.event) for entry in entries)
    return lines


def correlated_lines(command: CorrelatedEvent, decided: Iterable[CorrelationDecided]) -> list[str]:
    """The line of an event that came by a correlation key, and those of what became of it."""
    by = f"{command.external_event_def} {command.external_event_id}"
    lines = [_line("C", type(command).__name__, command.correlation_key, by)]
    for it in decided:
        letter = "R" if it.outcome is CorrelationOutcome.REJECTED else "E"
        to = ", ".join(wf_run.wf_run_id for wf_run in it.wf_runs)
        why = f"{it.code}: {it.message}" if it.code is not None else ""
        lines.append(_line(letter, it.outcome, "", f"to {to}" if to else why))
    return lines


def command_line(command: Command) -> str:
    """The line of a command."""
    return _line("C", type(command).__name__, command.wf_run_id, _asked(command))


def event_line(event: Event) -> str:
    """The line of an event."""
    match event:
        case Rejected():
            return _line("R", event.command, "", what_happened(event))
        case Ignored():
            return _line("I", event.command, "", what_happened(event))
        case _:
            return _line("E", type(event).__name__, thread_of(event), what_happened(event))


def thread_of(event: Event) -> str:
    """The thread of an event, as `#1`; empty if the event is about the WfRun or its partition."""
    match event:
        case WfRunStarted():
            return "#0"
        case (
            WfRunForked()
            | WfRunMigrated()
            | WfRunDeleted()
            | WfRunEnded()
            | CorrelationKeyChanged()
            | ExternalEventPosted()
            | ExternalEventDropped()
            | WfRunQuarantined()
            | InputKept()
            | WfRunReleased()
            | SkipAccepted()
            | SkipLapsed()
            | RecordSkipped()
            | Rejected()
            | Ignored()
        ):
            return ""
        case _:
            return f"#{event.thread}"


def _line(mark: str, name: str, who: str, details: str) -> str:
    return f"{mark}  {name + ' ':<{NAME_WIDTH}}{who + '  ' if who else ''}{details}".rstrip()


def _asked(command: Command) -> str:
    match command:
        case RunWf():
            return f"{command.wf_spec_name}{_version(command)}{_values(command.variables)}"
        case RunWfAndPost():
            event = f"{command.external_event_def} {command.external_event_id}{_content(command.content)}"
            return f"{event}, starts {_asked(command.start())}"
        case ForkWfRun():
            other = f", by version {version[1:]}" if (version := _version(command)) else ""
            return f"of {command.snapshot.wf_run_id} at seq {command.snapshot.seq}{other}"
        case ExternalEvent():
            thread = "" if command.thread is None else f" for #{command.thread}"
            return f"{command.external_event_def} {command.external_event_id}{thread}{_content(command.content)}"
        case StartTaskRun():
            return f"#{command.thread} attempt {command.attempt}"
        case ReportTaskProgress():
            return f"#{command.thread} attempt {command.attempt}{_content(command.content)}"
        case ReportTaskRun():
            name = "" if command.failure_name is None else f" {command.failure_name}"
            message = "" if command.message is None else f": {command.message}"
            value = command.output if command.status is TaskStatus.SUCCESS else command.content
            return f"#{command.thread} attempt {command.attempt} {command.status}{name}{message}{_content(value)}"
        case TimerFired():
            return f"#{command.thread} {command.kind}"
        case RescueThreadRun():
            return f"#{command.thread}{' past its node' if command.skip_current_node else ''}"
        case MigrateWfRun():
            return f"to version {_version(command)[1:]}"
        case StopWfRun() | ResumeWfRun():
            return f"#{command.thread}"
        case DeleteWfRun():
            return "" if command.incarnation is None else f"incarnation {command.incarnation}"
        case _:
            assert_never(command)


def _version(command: RunWf | ForkWfRun | MigrateWfRun) -> str:
    return "".join(f":{n}" for n in (command.wf_spec_major, command.wf_spec_revision) if n is not None)


def what_happened(event: Event) -> str:
    """The details of an event, without its name and its thread."""
    match event:
        case Rejected():
            return f"{event.code}: {event.message}"
        case Ignored():
            return event.reason
        case WfRunStarted():
            return f"{event.wf_spec}, {event.thread_spec}{_values(event.variables)}"
        case WfRunForked():
            source = f"{event.source_wf_run_id} at seq {event.source_seq}, {iso(event.source_at_ms)}"
            carried = "".join(f", {it.external_event_id}" for it in event.external_events)
            return f"of {source}: {', '.join(f'#{it.number}' for it in event.threads)}{carried}"
        case WfRunMigrated():
            return f"{event.from_wf_spec} -> {event.wf_spec}{''.join(map(_migrated, event.threads))}"
        case WfRunDeleted():
            return event.reason
        case WfRunEnded():
            return f"{event.status}, kept until {iso(event.delete_at_ms)}"
        case CorrelationKeyChanged():
            problem = "" if event.problem is None else f": {event.problem}"
            return f"{event.external_event_def} {event.correlation_key or 'none'}{problem}"
        case ExternalEventPosted():
            thread = "" if event.thread is None else f" for #{event.thread}"
            return f"{event.external_event_def} {event.external_event_id}{thread}"
        case ExternalEventDropped():
            return f"{event.external_event_def} {event.external_event_id}: {event.reason}"
        case Halt() | HaltReasonResolved():
            return str(event.reason)
        case Resume():
            return "" if event.reason is None else f"after {event.reason}"
        case InterruptAccepted():
            return event.external_event_id
        case InterruptDropped():
            return f"{event.external_event_id}: {event.reason}"
        case InterruptSuperseded():
            return f"{event.external_event_id} by {event.by_external_event_id}"
        case SpawnChild():
            by = "" if event.external_event_id is None else f", by {event.external_event_id}"
            beside = "" if event.halts_parent else ", beside it"
            waiter = "" if event.waiter is None else f", for #{event.waiter}"
            return f"{event.type} {event.spec}, under #{event.parent}{beside}{waiter}{by}{_values(event.variables)}"
        case NodeCompleted():
            claimed = "" if event.external_event_id is None else f", claims {event.external_event_id}"
            output = f", output {shown(event.output)}" if event.keeps_output else ""
            return f"{event.node} -> {event.next_node}{claimed}{output}{_writes(event.writes)}"
        case NodeFailed():
            return f"{event.node}: {failure_text(event.failure)}; handler {event.handler}"
        case ArrivalFailed():
            return f"{event.node}: {failure_text(event.failure)}; fails with it when it runs"
        case TimerArmed() | TimerMatured():
            return f"{event.timer.kind} {iso(event.timer.due_ms)}"
        case TaskAttemptRequested():
            progress = "" if event.progress is None else f", progress {shown(event.progress)}"
            return f"{event.task_def}, attempt {event.attempt}{_values(event.input)}{progress}"
        case TaskAttemptStarted():
            return f"attempt {event.attempt}, until {iso(event.deadline_ms)}"
        case TaskAttemptProgressed():
            return f"attempt {event.attempt}{_content(event.content)}"
        case TaskAttemptEnded():
            name = "" if event.failure_name is None else f" {event.failure_name}"
            again = "" if event.retry_at_ms is None else f", again at {iso(event.retry_at_ms)}"
            message = "" if event.message is None else f": {event.message}"
            value = event.output if event.status is TaskStatus.SUCCESS else event.content
            return f"attempt {event.attempt} {event.status}{name}{message}{again}{_content(value)}"
        case WaitStarted():
            return "for " + (", ".join(f"#{number}" for number in event.threads) or "nobody")
        case ChildFailureHandled():
            return "of " + ", ".join(f"#{number}" for number in event.children)
        case WorkflowEventThrown():
            return f"{event.workflow_event_def}{_content(event.content)}"
        case ThreadCompleted():
            return "" if event.output is None else f"returns {shown(event.output)}"
        case ThreadFailed():
            return f"{event.failure.failure_class} {failure_text(event.failure)}"
        case ThreadRescued():
            return "past its node" if event.skip_current_node else "at its node again"
        case WfRunQuarantined():
            return by_operator(event.operator, event.reason)
        case InputKept():
            return f"{len(event.value)} bytes, from {iso(event.timestamp_ms)}"
        case WfRunReleased():
            return f"{event.inputs} inputs are decided now{by_operator(event.operator, event.reason, before=', ')}"
        case SkipAccepted():
            record = f"{event.topic}[{event.partition}]@{event.offset}"
            return f"{record}{by_operator(event.operator, event.reason, before=', ')}"
        case SkipLapsed():
            return f"{event.topic}[{event.partition}]@{event.offset}: {event.reason}"
        case RecordSkipped():
            name = "a record" if event.command is None else event.command
            return f"{name}{by_operator(event.operator, event.reason, before=', ')}"
        case ThreadHalted() | ThreadRetired():
            return ""
        case _:
            assert_never(event)


def _migrated(changed: MigratedThread) -> str:
    """What a migration changed in one thread."""
    gone = "".join(f", no {name}" for name in changed.variables_gone)
    outputs = "".join(f", no output of {node}" for node in changed.outputs_gone)
    visit = ", its visit of the node forgotten" if changed.forgets_visit else ""
    return f"; #{changed.thread}{_values(changed.variables)}{gone}{outputs}{visit}".replace(", ", " ", 1)


def by_operator(operator: str | None, reason: str | None, before: str = "") -> str:
    """The operator and the reason of an operator command, as far as they are given."""
    words = [f"by {operator}"] if operator else []
    words += [reason] if reason else []
    return before + ": ".join(words) if words else ""


def failure_text(failure: Failure) -> str:
    """A failure and its chain of causes, the nearest first. What a message says of its cause is said there alone."""
    text, chain = "", list(failure.chain())
    for link, cause in zip_longest(chain, chain[1:]):
        message = link.message
        if cause is not None:
            message = message.removesuffix(f": {cause.name}: {cause.message}" if cause.message else f": {cause.name}")
        text += f"{link.name} ({message})" if message else link.name
        if cause is not None:
            text += f" <- #{link.cause_thread} "
    return text


def shown(value: Value) -> str:
    """A value as JSON, cut to VALUE_WIDTH_MAX; a time or bytes as text."""
    text = to_text(value) if isinstance(value, bytes | Timestamp) else to_json(value)
    return text if len(text) <= VALUE_WIDTH_MAX else text[: VALUE_WIDTH_MAX - 1] + "…"


def _content(value: Value) -> str:
    return "" if value is None else f" {shown(value)}"


def _values(values: Mapping[str, Value]) -> str:
    return "".join(f", {name} = {shown(value)}" for name, value in values.items())


def _writes(writes: Iterable[VariableWrite]) -> str:
    return "".join(f", #{write.thread} {write.name} = {shown(write.value)}" for write in writes)
