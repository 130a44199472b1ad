"""The events of the log: one dataclass for each, named and shaped as its schema. Also what else a fold writes.

`Halt`, `SpawnChild` and `Resume` are the words of the people who use Halter; the other names are past tense. An event
says everything that folding it needs: `evolve` looks up no rule and no WfSpec. A released event keeps its meaning for
ever.
"""

from dataclasses import field
from enum import StrEnum
from typing import TypeAlias

from processors.core.records.commands import DefinitionKind
from processors.core.records.model import (
    AcceptedInterrupt,
    CorrelatedWfRun,
    Failure,
    HaltReason,
    RecordHeader,
    Status,
    TaskStatus,
    ThreadRun,
    ThreadType,
    Timer,
    UnstartedFailureHandler,
    WfRunExternalEvent,
    WfSpecId,
)
from processors.core.records.record import record
from processors.core.records.values import Value, VariableType


# (rule rejection-codes)
class RejectionCode(StrEnum):
    """The reason for which a command was refused."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"


# (rule event-names-its-cause)
@record
class Cause:
    """The input record that made an event happen, and the position of `definitions` at which it was folded."""

    topic: str
    """Without the prefix of the installation."""
    partition: int
    offset: int
    command_id: str | None
    definitions_position: int


@record
class WfRunStarted:
    """Thread 0 exists and stands at its ENTRYPOINT node."""

    wf_spec: WfSpecId
    thread_spec: str
    node: str
    variables: dict[str, Value] = field(default_factory=dict)


@record
class WfRunForked:
    """A WfRun that has just started goes on from the state that another one had, as it has that from here on.

    Its rows are values: `evolve` takes copies. Their times are later by as much as it starts after the moment.
    """

    source_wf_run_id: str
    source_incarnation: int
    source_seq: int
    """The number of the source's newest event at that moment."""
    source_at_ms: int
    greatest_thread_number: int
    accepted_interrupts: list[AcceptedInterrupt] = field(default_factory=list)
    unstarted_failure_handlers: list[UnstartedFailureHandler] = field(default_factory=list)
    threads: list[ThreadRun] = field(default_factory=list)
    """Ascending by number, in place of thread 0 as it started."""
    external_events: list[WfRunExternalEvent] = field(default_factory=list)
    """Those that came along, in order of arrival. Their offsets and seqs are below 0: before all that come now."""


@record
class MigratedThread:
    """What a migration changes in one ThreadRun. Its ThreadSpec, node and position stay."""

    thread: int
    variables: dict[str, Value] = field(default_factory=dict)
    """Variables that it did not have, with the values they start with, and those that are stored as another type now:
    an INT as DOUBLE.
    """
    variables_gone: list[str] = field(default_factory=list)
    outputs_gone: list[str] = field(default_factory=list)
    """Nodes that are no longer there, whose outputs are forgotten."""
    forgets_visit: bool = False
    """True for a thread that has failed at a node which is another now: what is left of its visit is forgotten."""


@record
class WfRunMigrated:
    """The WfRun goes by another version of its WfSpec from here on. Timers, attempts, waits and handlers go on."""

    wf_spec: WfSpecId
    from_wf_spec: WfSpecId
    threads: list[MigratedThread] = field(default_factory=list)
    """The ThreadRuns in which something changes, ascending by number."""


@record
class WfRunDeleted:
    """Only the log of the WfRun is left; its id is free."""

    reason: str


@record
class ExternalEventKeyRef:
    """The name and id of an ExternalEvent of the WfRun."""

    external_event_def: str
    external_event_id: str


@record
class ExternalEventPosted:
    """An ExternalEvent was taken in. It is unclaimed until `Halt`, `InterruptAccepted` or `NodeCompleted` names it."""

    external_event_def: str
    external_event_id: str
    content: Value = None
    thread: int | None = None
    forgotten: list[ExternalEventKeyRef] = field(default_factory=list)
    """ExternalEvents whose ids are no longer remembered from here on: they are old, and more than need be."""
    appended_ms: int | None = None
    """The time of its record, where the WfRun's time is ahead of that because of later records of other topics."""
    keeps_outcomes: bool = False
    """True if its row says what becomes of it in each thread."""


@record
class ExternalEventDropped:
    """A WfRun was started or migrated whose WfSpec cannot take an ExternalEvent that came before: nothing ever will."""

    external_event_def: str
    external_event_id: str
    reason: str


@record
class Halt:
    """A reason was put on a thread. RUNNING becomes HALTING. With PENDING_INTERRUPT, the event is claimed."""

    thread: int
    reason: HaltReason


@record
class ThreadHalted:
    """HALTING became HALTED: the thread's task is back, and nothing below the thread moves."""

    thread: int


@record
class InterruptAccepted:
    """An interrupt with `halt: false` claimed its event; its handler has not started."""

    thread: int
    external_event_def: str
    external_event_id: str


@record
class InterruptDropped:
    """An accepted interrupt will never be handled."""

    thread: int
    external_event_def: str
    external_event_id: str
    reason: str


@record
class InterruptSuperseded:
    """A newer event took the place of one that still waited for its handler (policy `latest`)."""

    thread: int
    external_event_def: str
    external_event_id: str
    by_external_event_id: str


@record
class SpawnChild:
    """A thread exists and stands at its ENTRYPOINT node.

    An INTERRUPT replaces its PENDING_INTERRUPT on the parent by INTERRUPTED, a FAILURE_HANDLER the PENDING_FAILURE by
    HANDLING_FAILURE; the failure handler of a failed child at WAIT_FOR_THREADS leaves the waiting thread running.
    """

    thread: int
    parent: int
    spec: str
    type: ThreadType
    node: str
    variables: dict[str, Value] = field(default_factory=dict)
    external_event_def: str | None = None
    external_event_id: str | None = None
    waiter: int | None = None
    """The thread that waits at WAIT_FOR_THREADS, for the failure handler of its failed child, which is `parent`."""
    halts_parent: bool = True
    """False for an INTERRUPT with `halt: false`."""


@record
class HaltReasonResolved:
    """A halt reason of a thread no longer holds; others do."""

    thread: int
    reason: HaltReason


@record
class Resume:
    """The last halt reason is gone: HALTED became RUNNING."""

    thread: int
    reason: HaltReason | None
    """The reason that went last; None if it was gone before the thread was HALTED."""


@record
class VariableWrite:
    """The new value of a Variable, and the thread that stores it."""

    thread: int
    name: str
    value: Value


@record
class NodeCompleted:
    """A node is done, and the thread stands at the next one, `position` + 1."""

    thread: int
    position: int
    node: str
    next_node: str
    writes: list[VariableWrite] = field(default_factory=list)
    output: Value = None
    """The output, if an expression of the ThreadSpec refers to it; null otherwise."""
    keeps_output: bool = False
    external_event_def: str | None = None
    external_event_id: str | None = None
    """The ExternalEvent that an EXTERNAL_EVENT node claimed."""


@record
class NodeFailed:
    """A node failed and a failure handler will be started for it."""

    thread: int
    position: int
    node: str
    failure: Failure
    handler: str
    """The ThreadSpec of the failure handler."""
    external_event_def: str | None = None
    external_event_id: str | None = None
    """The ExternalEvent that an EXTERNAL_EVENT node claimed before it failed on its way out."""


@record
class TimerArmed:
    """The current node waits for a time. The timer replaces one that the node had."""

    thread: int
    position: int
    timer: Timer


@record
class TimerMatured:
    """The node's timer fired in time."""

    thread: int
    position: int
    timer: Timer


@record
class ArrivalFailed:
    """A halted thread came to a node that waits for a time, and the time cannot be computed. The node fails with this
    failure when the thread runs.
    """

    thread: int
    position: int
    node: str
    failure: Failure


@record
class TaskAttemptRequested:
    """A task attempt is out: a TaskRequest with this content goes to the queue of the task."""

    thread: int
    position: int
    node: str
    attempt: int
    task_def: str
    queue: str | None
    deadline_ms: int
    input: dict[str, Value] = field(default_factory=dict)
    start_by_ms: int | None = None
    """It times out then unless it was started before, and may run as long from its start as `deadline_ms` is later.

    None: its time counts from the request alone.
    """
    progress: Value = None
    """What an earlier attempt of the same visit reported last of how far it was."""


@record
class TaskAttemptStarted:
    """A task worker has begun the task attempt that is out. Its timer is now due at `deadline_ms`."""

    thread: int
    position: int
    attempt: int
    started_ms: int
    """The time of the record that says so. The WfRun's time may be ahead of it, because of records of other topics."""
    deadline_ms: int


@record
class TaskAttemptProgressed:
    """A task worker has said how far the task attempt that is out is; the next attempt is requested with it."""

    thread: int
    position: int
    attempt: int
    content: Value = None


@record
class TaskAttemptEnded:
    """A report, the time-out or a start that came too late ended the task attempt that was out."""

    thread: int
    position: int
    attempt: int
    status: TaskStatus
    output: Value = None
    failure_name: str | None = None
    message: str | None = None
    content: Value = None
    retry_at_ms: int | None = None
    """The time at which the next attempt is due; None if this attempt decides the node."""


@record
class WaitStarted:
    """A WAIT_FOR_THREADS node knows which threads it waits for."""

    thread: int
    position: int
    threads: list[int]


@record
class ChildFailureHandled:
    """A WAIT_FOR_THREADS has dealt with failed children (handled, or ANY needed no more): EXIT ignores them."""

    thread: int
    children: list[int]


@record
class WorkflowEventThrown:
    """A THROW_EVENT node threw an event, for consumers of the log."""

    thread: int
    position: int
    workflow_event_def: str
    content: Value = None


@record
class ThreadCompleted:
    """A thread passed its EXIT. A child leaves the hot state, with all that is left below it."""

    thread: int
    output: Value = None


@record
class ThreadFailed:
    """A thread failed at its current node, for good unless it is rescued. Its status is the failure's class."""

    thread: int
    failure: Failure
    external_event_def: str | None = None
    external_event_id: str | None = None
    """As in `NodeFailed`."""


@record
class ThreadRetired:
    """A loser of WAIT_FOR_THREADS ANY or FIRST is still and leaves the hot state, with all below it."""

    thread: int


@record
class ThreadRescued:
    """A thread in ERROR runs again: it runs its node anew (`position` + 1), or passes on from it."""

    thread: int
    skip_current_node: bool


@record
class WfRunEnded:
    """Thread 0 has ended and nothing below it moves. The WfRun is kept until its retention ends.

    A WfRun in ERROR may be rescued and keeps its threads. COMPLETED and EXCEPTION are final: all threads leave.
    """

    status: Status
    delete_at_ms: int


@record
class CorrelationKeyChanged:
    """The key by which events of an ExternalEventDef find the WfRun is another one from here on."""

    external_event_def: str
    correlation_key: str | None = None
    """None: it has none."""
    problem: str | None = None
    """The reason why the value cannot be a key; None if it can, and if there is no value."""


@record
class WfRunQuarantined:
    """From here on the inputs of the WfRun are kept and not decided, and its timers do not fire.

    The WfRun's own time stands still until it is released: each kept input will be decided with its own time.
    """

    at_ms: int
    """The time at which the operator asked for it."""
    reason: str | None = None
    operator: str | None = None


@record
class InputKept:
    """An input of a WfRun in quarantine was kept, byte for byte. The cause says where it came from."""

    timestamp_ms: int
    """The time of the record, with which it will be decided."""
    key: bytes
    value: bytes
    headers: list[RecordHeader] = field(default_factory=list)


@record
class WfRunReleased:
    """The quarantine is over. The inputs that were kept are decided next, in their order, each with its own cause."""

    at_ms: int
    inputs: int
    """The number of inputs that are decided now."""
    reason: str | None = None
    operator: str | None = None


@record
class SkipAccepted:
    """A record is to be passed over, if it is the next one of its topic. Otherwise a SkipLapsed follows."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    reason: str | None = None
    operator: str | None = None


@record
class SkipLapsed:
    """The record that was to be passed over is not the next one of its topic: the cause is. Nothing was skipped."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    reason: str
    """The record that came in its place, in words."""
    operator: str | None = None


@record
class RecordSkipped:
    """An operator had an input record passed over. The record is the cause, and is on `dead-letters`."""

    command: str | None
    """The name of the command in that record; None if it cannot be read."""
    reason: str | None = None
    operator: str | None = None


@record
class Rejected:
    """A command was refused and changed nothing."""

    command: str
    code: RejectionCode
    message: str


# (rule no-op-is-ignored)
@record
class Ignored:
    """A command had nothing to do: it was a no-op, or a stale or early timer."""

    command: str
    reason: str


Event: TypeAlias = (
    WfRunStarted
    | WfRunForked
    | WfRunMigrated
    | WfRunDeleted
    | ExternalEventPosted
    | ExternalEventDropped
    | Halt
    | ThreadHalted
    | InterruptAccepted
    | InterruptDropped
    | InterruptSuperseded
    | SpawnChild
    | HaltReasonResolved
    | Resume
    | NodeCompleted
    | NodeFailed
    | TimerArmed
    | TimerMatured
    | ArrivalFailed
    | TaskAttemptRequested
    | TaskAttemptStarted
    | TaskAttemptProgressed
    | TaskAttemptEnded
    | WaitStarted
    | ChildFailureHandled
    | WorkflowEventThrown
    | ThreadCompleted
    | ThreadFailed
    | ThreadRetired
    | ThreadRescued
    | WfRunEnded
    | CorrelationKeyChanged
    | WfRunQuarantined
    | InputKept
    | WfRunReleased
    | SkipAccepted
    | SkipLapsed
    | RecordSkipped
    | Rejected
    | Ignored
)


# (rule events-say-who-asked)
@record
class Asked:
    """Who asked for a command and why, for people. No rule looks at it, and no state has it."""

    operator: str | None = None
    reason: str | None = None


@record
class LogEntry:
    """One record of the log: an event, its WfRun, its number in the WfRun's history, its time and its cause."""

    wf_run_id: str
    incarnation: int
    seq: int
    """The number of the event in its incarnation: 1, 2, 3 …; 0 where no WfRun exists to count for."""
    time_ms: int
    cause: Cause
    event: Event
    asked: Asked | None = None
    """Who asked for it, if its command says so: headers of its record, and no part of its value."""


class CorrelationOutcome(StrEnum):
    """The outcome of a record about a correlation key."""

    POSTED = "POSTED"
    """ExternalEvents were posted to WfRuns."""
    KEPT = "KEPT"
    """No WfRun has the key: the event waits for one."""
    EXPIRED = "EXPIRED"
    """No WfRun came in time: the event is on `dead-letters`."""
    REGISTERED = "REGISTERED"
    REMOVED = "REMOVED"
    REJECTED = "REJECTED"
    IGNORED = "IGNORED"


@record
class CorrelationDecided:
    """The outcome of a record about a correlation key, or a part of it: a record of `correlation-events`."""

    correlation_key: str
    external_event_def: str
    time_ms: int
    cause: Cause
    outcome: CorrelationOutcome
    external_event_id: str | None = None
    wf_runs: list[CorrelatedWfRun] = field(default_factory=list)
    """POSTED: those that an ExternalEvent was posted to, in this order. REGISTERED, REMOVED: the one."""
    until_ms: int | None = None
    """KEPT: how long it waits."""
    code: RejectionCode | None = None
    message: str | None = None


@record
class DefinitionProblem:
    """One thing that is wrong with a definition."""

    code: str
    """One of the codes of `validate`, which keep their meaning."""
    message: str
    """A sentence: ThreadSpec, node and field, what was expected and what was found."""


@record
class DefinitionAccepted:
    """A definition command was accepted. `changed` is False if the same definition was registered before."""

    kind: DefinitionKind
    name: str
    major: int
    revision: int
    changed: bool
    cause: Cause


@record
class DefinitionRejected:
    """A definition command was refused, with all that is wrong with it."""

    kind: DefinitionKind
    name: str
    code: str
    """A RejectionCode, or the code of the first problem if the document is at fault."""
    message: str
    cause: Cause
    problems: list[DefinitionProblem] = field(default_factory=list)


@record
class DefinitionVersion:
    """A version of a definition."""

    major: int
    revision: int

    def __str__(self) -> str:
        return f"{self.major}.{self.revision}"


@record
class Definition:
    """An accepted definition: a row of `definitions` under the key kind/name/major.revision."""

    kind: DefinitionKind
    name: str
    major: int
    revision: int
    document: str | None = None
    """WF_SPEC: its document, as the engine writes it."""
    input: dict[str, VariableType] | None = None
    """TASK_DEF: input -> its type; None if inputs are not checked."""
    output: VariableType | None = None
    """TASK_DEF: the type of its output; None if it is not checked."""
    queue: str | None = None
    """TASK_DEF: a named queue; None for `task-requests`."""
    content_type: VariableType | None = None
    """EXTERNAL_EVENT_DEF, WORKFLOW_EVENT_DEF: the type of the content; None if it is not checked."""
    deleted: bool = False
    external_event_defs: dict[str, DefinitionVersion] = field(default_factory=dict)
    """WF_SPEC: the revision of each ExternalEventDef that it names, which was the newest when it was accepted. Empty if
    it names none, and if it was registered before WfSpecs bound revisions.
    """
    optional: list[str] = field(default_factory=list)
    """TASK_DEF: names of the inputs that a WfSpec need not give, sorted."""
    task_defs: dict[str, DefinitionVersion] = field(default_factory=dict)
    """WF_SPEC: the revision of each TaskDef that it names, which was the newest when it was accepted; 0 is left out."""

    @property
    def version(self) -> DefinitionVersion:
        """The version of the definition."""
        return DefinitionVersion(self.major, self.revision)

    @property
    def key(self) -> str:
        """Its key on `definitions`."""
        return f"{self.kind}/{self.name}/{self.major}.{self.revision}"


@record
class TaskRequest:
    """A task attempt to run; its start, its progress and its report repeat wf_run_id, incarnation, thread, position and
    attempt.
    """

    wf_run_id: str
    incarnation: int
    thread: int
    position: int
    attempt: int
    task_def: str
    input: dict[str, Value]
    requested_ms: int
    deadline_ms: int
    """A task worker skips a request that it reads after this time."""
    start_by_ms: int | None = None
    """It times out then unless a StartTaskRun came before; it may run as long from there as `deadline_ms` is later.

    None: no StartTaskRun is needed.
    """
    progress: Value = None
    """What an earlier attempt reported last of how far it was."""


class CancellationReason(StrEnum):
    """The reason why nobody waits any more for what a task attempt comes to."""

    STOPPED = "STOPPED"
    """StopWfRun stopped its thread, or one above."""
    TIMED_OUT = "TIMED_OUT"
    """Its own time-out ended it."""
    FAILED_ABOVE = "FAILED_ABOVE"
    """Its thread failed, or one above."""
    LOST = "LOST"
    """ANY or FIRST did not need its thread, or one above, which is halted for good."""
    DELETED = "DELETED"
    """Its WfRun was deleted."""


# (rule cancellation-is-advice)
@record
class TaskCancellation:
    """Advice to the task worker that has an attempt: its result is of no use. It is named as in its request."""

    wf_run_id: str
    incarnation: int
    thread: int
    position: int
    attempt: int
    task_def: str
    reason: CancellationReason
    cancelled_ms: int
    """Time of the event that cancelled it, in ms since 1970."""
    seq: int
    """Number of that event in the history of the WfRun."""
