"""The commands: one dataclass for each input record, named and shaped as its schema.

A command asks for something and may be refused. It carries what the fold may not make itself: ids and, in its record,
the time. `operator` and `reason` say who asks for it and why: they are for people, and no rule looks at them.
"""

from dataclasses import field
from enum import StrEnum
from typing import TypeAlias

from processors.core.records.model import TaskStatus, TimerKind, WfRunSnapshot
from processors.core.records.record import record
from processors.core.records.values import Value, VariableType


@record
class RunWf:
    """Start a WfRun of a WfSpec; its id is the idempotency key. Without a version, the newest is taken."""

    wf_run_id: str
    wf_spec_name: str
    variables: dict[str, Value] = field(default_factory=dict)
    wf_spec_major: int | None = None
    wf_spec_revision: int | None = None
    definitions_position: int | None = None
    """The position of `definitions` that the producer saw. A fold that is behind it waits."""
    command_id: str | None = None
    operator: str | None = None
    reason: str | None = None


@record
class RunWfAndPost:
    """Start a WfRun if none has this id, and post an ExternalEvent behind its start: one record for both.

    The ExternalEvent's id is the idempotency key. The start has the fields of RunWf, the event those of ExternalEvent.
    """

    wf_run_id: str
    wf_spec_name: str
    external_event_def: str
    external_event_id: str
    variables: dict[str, Value] = field(default_factory=dict)
    content: Value = None
    wf_spec_major: int | None = None
    wf_spec_revision: int | None = None
    definitions_position: int | None = None
    """As in RunWf."""
    command_id: str | None = None
    operator: str | None = None
    reason: str | None = None

    def start(self) -> RunWf:
        """Return the start alone."""
        version = self.wf_spec_major, self.wf_spec_revision
        return RunWf(
            self.wf_run_id, self.wf_spec_name, self.variables, *version, self.definitions_position, self.command_id
        )

    def event(self) -> "ExternalEvent":
        """Return the ExternalEvent alone, for any thread."""
        return ExternalEvent(
            self.wf_run_id,
            self.external_event_def,
            self.external_event_id,
            self.content,
            definitions_position=self.definitions_position,
        )


@record
class ForkWfRun:
    """Start a WfRun from the state that another one had at a moment; the new id is the idempotency key."""

    wf_run_id: str
    snapshot: WfRunSnapshot
    wf_spec_major: int | None = None
    """Without a major version and a revision, the WfRun runs the version of the snapshot."""
    wf_spec_revision: int | None = None
    definitions_position: int | None = None
    """As in RunWf, for a WfSpec that was registered just now."""
    command_id: str | None = None
    operator: str | None = None
    reason: str | None = None


@record
class StopWfRun:
    """Put MANUAL_HALT on a ThreadRun."""

    wf_run_id: str
    thread: int = 0
    command_id: str | None = None
    operator: str | None = None
    reason: str | None = None


@record
class ResumeWfRun:
    """Take MANUAL_HALT off a ThreadRun."""

    wf_run_id: str
    thread: int = 0
    command_id: str | None = None
    operator: str | None = None
    reason: str | None = None


@record
class RescueThreadRun:
    """Revive a ThreadRun in ERROR: run its node again, or pass on from it."""

    wf_run_id: str
    thread: int = 0
    skip_current_node: bool = False
    command_id: str | None = None
    operator: str | None = None
    reason: str | None = None


@record
class MigrateWfRun:
    """Let a WfRun go on by another version of its WfSpec."""

    wf_run_id: str
    wf_spec_major: int
    wf_spec_revision: int | None = None
    """None: the newest of the major version."""
    definitions_position: int | None = None
    """As in RunWf, for a WfSpec that was registered just now."""
    command_id: str | None = None
    operator: str | None = None
    reason: str | None = None


@record
class DeleteWfRun:
    """Forget a WfRun and its ExternalEvents; the id may be used again."""

    wf_run_id: str
    command_id: str | None = None
    incarnation: int | None = None
    """The incarnation that is to go; another one stays. None: whichever is there."""
    operator: str | None = None
    reason: str | None = None


@record
class TimerFired:
    """A timer is due. Written by the owner of the partition; names the timer exactly: a stale one does no harm."""

    wf_run_id: str
    incarnation: int
    thread: int
    position: int
    kind: TimerKind
    due_ms: int


@record
class ExternalEvent:
    """Something happened outside. (WfRun, ExternalEventDef, id) is the idempotency key."""

    wf_run_id: str
    external_event_def: str
    external_event_id: str
    content: Value = None
    thread: int | None = None
    definitions_position: int | None = None
    """As in RunWf, for an event of an ExternalEventDef that was registered just now."""
    operator: str | None = None
    reason: str | None = None


@record
class StartTaskRun:
    """A task worker has begun a task attempt; it repeats the identity of the request."""

    wf_run_id: str
    incarnation: int
    thread: int
    position: int
    attempt: int


@record
class ReportTaskProgress:
    """How far a task attempt is, for the attempt that may come after it; it repeats the identity of the request."""

    wf_run_id: str
    incarnation: int
    thread: int
    position: int
    attempt: int
    content: Value = None
    """At most `PROGRESS_BYTES_MAX`, as `size_of` measures it."""


@record
class ReportTaskRun:
    """The answer of a task worker; it repeats the identity of the request."""

    wf_run_id: str
    incarnation: int
    thread: int
    position: int
    attempt: int
    status: TaskStatus
    output: Value = None
    failure_name: str | None = None
    """The name of a business exception (EXCEPTION)."""
    message: str | None = None
    content: Value = None


class AllowedUpdate(StrEnum):
    """The most that a WfSpec may differ from the newest version of its name. An equal one is always accepted."""

    ALL = "ALL"
    MINOR_REVISION = "MINOR_REVISION"
    """Only in ways that callers of RunWf do not notice: no new major version."""
    NONE = "NONE"


@record
class PutWfSpec:
    """Register a WfSpec: its document as JSON text (docs: WfSpec document)."""

    name: str
    document: str
    command_id: str | None = None
    allowed_update: AllowedUpdate = AllowedUpdate.ALL


@record
class PutTaskDef:
    """Register a TaskDef: the queue that its requests go to, the types of its inputs and of its output."""

    name: str
    input: dict[str, VariableType] | None = None
    """Input -> its type, in order; None if inputs are not checked."""
    output: VariableType | None = None
    queue: str | None = None
    command_id: str | None = None
    optional: list[str] = field(default_factory=list)
    """Names of the inputs that a WfSpec need not give."""


@record
class PutExternalEventDef:
    """Register an ExternalEventDef; without a type its content is not checked."""

    name: str
    content_type: VariableType | None = None
    command_id: str | None = None


@record
class PutWorkflowEventDef:
    """Register a WorkflowEventDef, an event that THROW_EVENT nodes throw."""

    name: str
    content_type: VariableType | None = None
    command_id: str | None = None


class DefinitionKind(StrEnum):
    """The kinds of definitions."""

    WF_SPEC = "WF_SPEC"
    TASK_DEF = "TASK_DEF"
    EXTERNAL_EVENT_DEF = "EXTERNAL_EVENT_DEF"
    WORKFLOW_EVENT_DEF = "WORKFLOW_EVENT_DEF"


@record
class DeleteDefinition:
    """Allow no new use of a definition; WfRuns that run keep theirs. Without a version, of all versions of a WfSpec."""

    kind: DefinitionKind
    name: str
    major: int | None = None
    revision: int | None = None
    command_id: str | None = None


@record
class QuarantineWfRun:
    """Keep the inputs of a WfRun without folding them, so that its partition goes on."""

    wf_run_id: str
    reason: str | None = None
    command_id: str | None = None
    operator: str | None = None
    """The person who asks for it, for people to read."""


@record
class ReleaseWfRun:
    """End a quarantine: decide the inputs that were kept, in order."""

    wf_run_id: str
    command_id: str | None = None
    reason: str | None = None
    operator: str | None = None


@record
class SkipRecord:
    """Pass over one input record, on the log: the next one of its topic, if it has this offset and this time."""

    topic: str
    """Without the prefix of the installation."""
    partition: int
    offset: int
    timestamp_ms: int | None = None
    """The LogAppendTime of the record: one with another time is not the one that the operator saw. None is refused."""
    reason: str | None = None
    command_id: str | None = None
    operator: str | None = None


@record
class CorrelatedEvent:
    """Something happened outside, for every WfRun that has a key.

    (ExternalEventDef, key, id) is the idempotency key.
    """

    correlation_key: str
    external_event_def: str
    external_event_id: str
    content: Value = None
    definitions_position: int | None = None
    """As in ExternalEvent."""


@record
class RegisterCorrelationKey:
    """A WfRun has a correlation key from here on. Written by the worker that says so on the log."""

    correlation_key: str
    external_event_def: str
    wf_run_id: str
    incarnation: int


@record
class RemoveCorrelationKey:
    """A WfRun no longer has a correlation key. Written by the worker that says so on the log."""

    correlation_key: str
    external_event_def: str
    wf_run_id: str
    incarnation: int


@record
class CorrelationTimerFired:
    """What waits under a key has waited as long as it may. Written by the owner of the partition."""

    correlation_key: str
    external_event_def: str
    due_ms: int


TaskWorkerCommand: TypeAlias = StartTaskRun | ReportTaskProgress | ReportTaskRun
"""What a task worker says of an attempt, which it names by WfRun, incarnation, thread, position and attempt."""

Command: TypeAlias = (
    RunWf
    | RunWfAndPost
    | ForkWfRun
    | StopWfRun
    | ResumeWfRun
    | RescueThreadRun
    | MigrateWfRun
    | DeleteWfRun
    | TimerFired
    | ExternalEvent
    | StartTaskRun
    | ReportTaskProgress
    | ReportTaskRun
)
"""A command that the fold of one partition takes."""

DefinitionCommand: TypeAlias = PutWfSpec | PutTaskDef | PutExternalEventDef | PutWorkflowEventDef | DeleteDefinition
CorrelationCommand: TypeAlias = CorrelatedEvent | RegisterCorrelationKey | RemoveCorrelationKey | CorrelationTimerFired
"""A command about a correlation key: whoever owns the partition of the key folds it."""
OperatorCommand: TypeAlias = QuarantineWfRun | ReleaseWfRun | SkipRecord
"""A command that the fold takes before all else of a turn: it gets a partition past a record that breaks a rule."""
