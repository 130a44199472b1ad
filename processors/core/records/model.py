"""What is so now: WfRun, ThreadRun and what hangs on them. Values only; what changes them is `evolve`.

The classes have the fields of their schemas, so the state tables are these objects, encoded. A WfRun owns its
ThreadRuns and ExternalEvents; they are changed in place by the fold that owns them and by nobody else.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from processors.core.records.commands import TaskStatus, TimerKind
from processors.core.records.record import record
from processors.core.records.spec import ThreadSpec, WfSpec
from processors.core.records.values import Value


class Status(StrEnum):
    """Status of a ThreadRun; a WfRun's is a projection of its thread 0 (SEMANTICS N10)."""

    RUNNING = "RUNNING"
    HALTING = "HALTING"
    HALTED = "HALTED"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    EXCEPTION = "EXCEPTION"


TERMINAL = frozenset({Status.COMPLETED, Status.ERROR, Status.EXCEPTION})
FAILED = frozenset({Status.ERROR, Status.EXCEPTION})

TRANSITION_CAUSES: Mapping[tuple[Status | None, Status], str] = {
    (None, Status.RUNNING): "spawned",
    (Status.RUNNING, Status.COMPLETED): "EXIT",
    (Status.RUNNING, Status.HALTING): "a first halt reason",
    (Status.HALTING, Status.HALTED): "its task is back and nothing below it moves",
    (Status.HALTED, Status.RUNNING): "the last halt reason is gone",
    (Status.RUNNING, Status.ERROR): "a failure that no handler catches",
    (Status.RUNNING, Status.EXCEPTION): "a failure that no handler catches",
    (Status.HALTING, Status.ERROR): "a handler with halt: false failed, or the WfRun did not settle",
    (Status.HALTING, Status.EXCEPTION): "a handler with halt: false failed",
    (Status.HALTED, Status.ERROR): "its handler failed, or could not be started",
    (Status.HALTED, Status.EXCEPTION): "its handler failed, or could not be started",
    (Status.ERROR, Status.RUNNING): "RescueThreadRun",
}
"""Every change of a ThreadRun's status that may happen, and what brings it about."""

TRANSITIONS = frozenset(TRANSITION_CAUSES)


class ThreadType(StrEnum):
    """Why a ThreadRun exists."""

    ENTRYPOINT = "ENTRYPOINT"
    CHILD = "CHILD"
    INTERRUPT = "INTERRUPT"
    FAILURE_HANDLER = "FAILURE_HANDLER"


class FailureClass(StrEnum):
    """Technical (ERROR) or business (EXCEPTION); it becomes the status of the thread that fails with it."""

    ERROR = "ERROR"
    EXCEPTION = "EXCEPTION"


@record
class Failure:
    """Why a node or thread failed; `cause` is the failure of the thread below that brought it about (SEMANTICS N1)."""

    name: str
    message: str
    failure_class: FailureClass
    content: Value = None
    cause_thread: int | None = None
    """The ThreadRun in which `cause` happened; None where there is no cause."""
    cause: "Failure | None" = None

    def chain(self) -> "Iterator[Failure]":
        """This failure, its cause, the cause of that, …"""
        failure: Failure | None = self
        while failure is not None:
            yield failure
            failure = failure.cause


@record
class PendingInterrupt:
    """An interrupt was accepted; its handler has not started."""

    external_event_def: str
    external_event_id: str

    def __str__(self) -> str:
        return f"PENDING_INTERRUPT({self.external_event_id})"


@record
class Interrupted:
    """An Interrupt Handler runs."""

    handler: int

    def __str__(self) -> str:
        return f"INTERRUPTED({self.handler})"


@record
class PendingFailure:
    """The node failed; its failure handler has not started."""

    position: int

    def __str__(self) -> str:
        return "PENDING_FAILURE"


@record
class HandlingFailure:
    """A failure handler runs."""

    handler: int

    def __str__(self) -> str:
        return f"HANDLING_FAILURE({self.handler})"


@record
class ParentHalted:
    """The thread that this one halts and resumes with is halted, or failed."""

    parent: int

    def __str__(self) -> str:
        return f"PARENT_HALTED({self.parent})"


@record
class ManualHalt:
    """StopWfRun; ResumeWfRun takes it off."""

    def __str__(self) -> str:
        return "MANUAL_HALT"


@record
class HaltedByParent:
    """A loser of WAIT_FOR_THREADS ANY or FIRST; for good."""

    parent: int
    position: int

    def __str__(self) -> str:
        return f"HALTED_BY_PARENT({self.parent})"


HaltReason: TypeAlias = (
    PendingInterrupt | Interrupted | PendingFailure | HandlingFailure | ParentHalted | ManualHalt | HaltedByParent
)


@record
class Timer:
    """Armed on the current node, or on the WfRun; due at `due_ms` (epoch milliseconds)."""

    kind: TimerKind
    due_ms: int


class TaskRunStatus(StrEnum):
    """Where the TaskRun of a TASK node is."""

    OUT = "OUT"
    """An attempt is with a worker: requested, not yet reported or timed out. Only this delays halting (N12)."""
    RETRYING = "RETRYING"
    """The last attempt failed; the next is due at `retry_at_ms`."""
    DONE = "DONE"
    """The last report decides the node."""


@record
class TaskRun:
    """The attempts of one TASK node visit."""

    status: TaskRunStatus
    attempt: int
    task_def: str
    input: dict[str, Value]
    """As evaluated on arrival; every attempt gets the same."""
    retry_at_ms: int | None = None
    result: TaskStatus | None = None
    output: Value = None
    failure_name: str | None = None
    message: str | None = None
    content: Value = None


@dataclass(slots=True)
class ThreadWait:
    """What a WAIT_FOR_THREADS node knows of one thread it waits for."""

    thread: int
    handler: int | None = None
    """The FAILURE_HANDLER started for it (`on_child_failure`)."""
    handled: bool = False
    """That handler has completed: the failed thread counts as successful."""


@dataclass(slots=True)
class NodeRun:
    """The node a ThreadRun is at. `position` counts its visits; earlier ones are history, on the log."""

    position: int
    node: str
    arrived_ms: int
    timer: Timer | None = None
    deadline_ms: int | None = None
    """Of an EXTERNAL_EVENT with a time-out: kept after the timer is gone, to judge what came in time (N11)."""
    matured_seq: int | None = None
    """The seq at which the node's time was over: its timer fired, or it could not be computed; None before."""
    task: TaskRun | None = None
    waits: list[ThreadWait] | None = None
    """WAIT_FOR_THREADS, in the order of its list; None before arrival was recorded."""
    failure: Failure | None = None
    failure_handled: bool = False
    arrival_failure: Failure | None = None
    """What it fails with when its thread runs: that was halted when it came here, and the time cannot be computed."""


@dataclass(slots=True)
class ThreadRun:
    """One thread of a WfRun. Number 0 is the entrypoint; numbers are never used twice."""

    wf_run_id: str
    number: int
    type: ThreadType
    thread_spec: str
    parent: int | None
    """Scope: whose Variables it sees. None for thread 0."""
    status: Status
    node: NodeRun
    started_ms: int
    variables: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)
    """Last output of each node that an expression of the ThreadSpec refers to."""
    halt_reasons: list[HaltReason] = field(default_factory=list)
    """In the order they came; it resumes when none is left."""
    children: list[int] = field(default_factory=list)
    """Live children, handlers included, ascending."""
    waiter: int | None = None
    """For the failure handler of a failed child: the waiting thread it halts and resumes with (N5)."""
    external_event_def: str | None = None
    external_event_id: str | None = None
    """Of an INTERRUPT thread: what triggered it."""
    halts_parent: bool = True
    """False for an INTERRUPT with `halt: false`, which runs beside its parent (N14)."""
    handled_children: list[int] = field(default_factory=list)
    """Failed children that a WAIT_FOR_THREADS has dealt with: EXIT overlooks them."""
    failure: Failure | None = None
    output: Value = None
    ended_ms: int | None = None

    @property
    def holder(self) -> int | None:
        """The thread this one halts and resumes with."""
        return self.waiter if self.waiter is not None else self.parent

    @property
    def has_lost(self) -> bool:
        """Whether ANY or FIRST has halted it for good (4.4)."""
        return HaltedByParent in map(type, self.halt_reasons)

    @property
    def task_out(self) -> bool:
        """Whether an attempt is with a worker, which keeps this thread from being still (N12)."""
        task = self.node.task
        return task is not None and task.status is TaskRunStatus.OUT

    @property
    def node_status(self) -> Status:
        """Status of the current NodeRun (SEMANTICS 2.5), which follows from the thread's."""
        if self.node.failure is not None:
            return Status(self.node.failure.failure_class)
        if self.status is Status.HALTING and not self.task_out:
            return Status.HALTED  # every node but a TASK whose attempt is out halts at once (2.4, N4)
        return self.status


class ExternalEventStatus(StrEnum):
    """What became of an ExternalEvent; in the thread that something happened to it last, where several took it."""

    UNCLAIMED = "UNCLAIMED"
    CLAIMED = "CLAIMED"
    DROPPED = "DROPPED"
    SUPERSEDED = "SUPERSEDED"


@record
class ExternalEventOutcome:
    """What became of an ExternalEvent in one thread."""

    thread: int
    status: ExternalEventStatus
    """CLAIMED: its node took it, or it accepted the interrupt, whose handler is to start or has started. SUPERSEDED and
    DROPPED: its handler never starts.
    """


OUTCOMES_MAX = 100
"""Of an ExternalEvent, that are kept by thread."""


@dataclass(slots=True)
class WfRunExternalEvent:
    """An ExternalEvent as a WfRun keeps it: its content while it may still be used, its id to know a repeat."""

    wf_run_id: str
    external_event_def: str
    external_event_id: str
    status: ExternalEventStatus
    posted_ms: int
    posted_offset: int
    """Offset of its record on `external-events`: orders the events of a WfRun by arrival."""
    posted_seq: int
    """The seq that recorded it; 0 if it came before its WfRun."""
    content: Value = None
    thread: int | None = None
    outcomes: list[ExternalEventOutcome] | None = None
    """Of the threads that took it or were to take it, ascending by number, the first 100 to do so; None where they are
    not kept: it was posted before they were.
    """
    outcomes_left_out: int = 0
    """Of how many threads more there was an outcome."""

    @property
    def key(self) -> "ExternalEventKey":
        """Its identity within the WfRun."""
        return (self.external_event_def, self.external_event_id)


ExternalEventKey: TypeAlias = tuple[str, str]
"""(ExternalEventDef, event id)."""


@record
class RecordHeader:
    """A header of a Kafka record."""

    name: str
    value: bytes


@record
class KeptInput:
    """An input record that came while its WfRun was in quarantine, byte for byte. A row of `kept-inputs`."""

    wf_run_id: str
    topic: str
    """Without the prefix of the installation."""
    partition: int
    offset: int
    number: int
    """1, 2, 3 … in the order in which they came, over all topics. 0: the QuarantineWfRun of a WfRun whose row cannot be
    read.
    """
    timestamp_ms: int
    key: bytes
    value: bytes
    headers: list[RecordHeader] = field(default_factory=list)

    @property
    def size(self) -> int:
        """What it weighs, in bytes."""
        return len(self.key) + len(self.value) + sum(len(it.name) + len(it.value) for it in self.headers)

    @property
    def row_key(self) -> str:
        """Its key on `kept-inputs`."""
        return f"{self.wf_run_id}/{self.topic}/{self.offset}"


@record
class AcceptedInterrupt:
    """An accepted interrupt whose handler has not started, in the WfRun's order of arrival."""

    thread: int
    external_event_def: str
    external_event_id: str


@record
class UnstartedFailureHandler:
    """A failure handler to start once its thread is HALTED."""

    thread: int
    position: int
    handler_spec: str


@record
class WfSpecId:
    """A version of a WfSpec."""

    name: str
    major: int
    revision: int

    def __str__(self) -> str:
        return f"{self.name}:{self.major}.{self.revision}"


NO_INCARNATION = -1
"""Incarnation of a WfRun id under which nothing runs: only ExternalEvents that came early."""


@dataclass(slots=True)
class Changes:
    """Which rows differ from what was last written: what a turn must write, once per row."""

    threads: set[int] = field(default_factory=set)
    external_events: set[ExternalEventKey] = field(default_factory=set)
    left: list[ThreadRun] = field(default_factory=list)
    """Threads that have left the hot state: their last row is written, then a tombstone."""
    forgotten: list[ExternalEventKey] = field(default_factory=list)
    deleted: bool = False
    """A WfRun of this id was deleted: its row goes, unless a new one was started since."""
    released: bool = False
    """Its quarantine ended: the row of an id under which nothing runs goes."""
    kept: list[KeptInput] = field(default_factory=list)
    """Inputs that were kept."""
    decided: list[KeptInput] = field(default_factory=list)
    """Inputs that are kept no longer."""

    def clear(self) -> None:
        """They have been written."""
        self.threads.clear()
        self.external_events.clear()
        self.left.clear()
        self.forgotten.clear()
        self.deleted = self.released = False
        self.kept.clear()
        self.decided.clear()


MANY_REASONS = 16
"""So many HaltReasons of a thread are not looked through; nearly always there is one."""


class Ranks:
    """Where the items of a list are: the list keeps its order, and nobody looks through it for one that is to go.

    Each item has a rank when it is appended; ranks only grow, so they are ascending whatever is taken out.
    """

    __slots__ = ("_next", "_ranks")

    def __init__(self, items: int = 0) -> None:
        self._ranks = list(range(items))
        self._next = items

    def append(self) -> int:
        """The rank of an item that is appended to the list."""
        rank = self._next
        self._ranks.append(rank)
        self._next = rank + 1
        return rank

    def take(self, rank: int) -> int:
        """Where the item of this rank is, which is about to be taken out of the list."""
        at = bisect_left(self._ranks, rank)
        del self._ranks[at]
        return at

    def place_of(self, rank: int) -> int:
        """Where the item of this rank is."""
        return bisect_left(self._ranks, rank)


@dataclass(slots=True)
class Index:
    """Which threads to look at when something happens. Derived from the rows, never written; may name too many."""

    by_spec: dict[str, list[int]] = field(default_factory=dict)
    """ThreadSpec -> its live threads, ascending."""
    reasons: dict[int, dict[type[Any], int]] = field(default_factory=dict)
    """Thread -> how many of each kind of HaltReason are on it, where they are many: they may be a thousand."""
    gone_handlers: dict[int, list[int]] = field(default_factory=dict)
    """Thread -> handlers of its own that have left, of whom a HaltReason of its still speaks."""
    live: int = 0
    """How many these are."""
    pending: dict[int, dict[str, dict[str, int]]] = field(default_factory=dict)
    """Thread -> ExternalEventDef -> ids of its accepted interrupts -> their ranks, in order of arrival."""
    pending_heads: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    """Thread -> rank and ExternalEventDef of those that are the first of their ExternalEventDef, ascending."""
    pending_ranks: Ranks = field(default_factory=Ranks, compare=False)
    """Of `WfRun.accepted_interrupts`."""
    awaiting: dict["ExternalEventKey", int] = field(default_factory=dict)
    """ExternalEvent -> how many accepted interrupts need its content yet."""
    unstarted: dict[int, list[int]] = field(default_factory=dict)
    """Thread -> ranks of its failure handlers that have not started."""
    unstarted_ranks: Ranks = field(default_factory=Ranks, compare=False)
    """Of `WfRun.unstarted_failure_handlers`."""
    handling: dict[int, dict[str, int]] = field(default_factory=dict)
    """Thread -> ExternalEventDef -> how many Interrupt Handlers for it hang below the thread."""
    ended: list[int] = field(default_factory=list)
    """Threads with which accepted interrupts may have become hopeless: to be dropped when the rule at work ends."""
    waiter_handlers: dict[int, list[int]] = field(default_factory=dict)
    """Waiting thread -> the failure handlers of failed children that halt and resume with it, also after the wait;
    those that failed too, for what is below them.
    """
    parked: dict["WakeKey", set[int]] = field(default_factory=dict)
    """What a running thread's node waits for -> those threads."""
    crowded: list[int] = field(default_factory=list, compare=False)
    """Threads at WAIT_FOR_THREADS that found no room for a handler, ascending."""
    unclaimed: dict[str, dict[str, None]] = field(default_factory=dict)
    """ExternalEventDef -> ids of its unclaimed ExternalEvents, in order of arrival."""
    unclaimed_for: dict[tuple[str, int | None], dict[str, None]] = field(default_factory=dict)
    """The same for each thread that they are for; None: for whoever takes them first."""
    unclaimed_events: int = 0
    """How many these are."""
    remembered: list[tuple[int, str, str]] = field(default_factory=list)
    """(offset, ExternalEventDef, id) of those that are unclaimed no longer, in order of arrival: what is forgotten one
    day. Some may still wait for their handler."""
    unclaimed_bytes: int = 0
    """About how much the contents of its unclaimed ExternalEvents take."""
    waits: dict[int, dict[int, ThreadWait]] = field(default_factory=dict)
    """Thread at WAIT_FOR_THREADS -> the threads that it waits for -> what it knows of them."""
    waited_for: dict[int, set[int]] = field(default_factory=dict)
    """Thread -> the threads at WAIT_FOR_THREADS that wait for it."""
    open_waits: dict[int, list[ThreadWait]] = field(default_factory=dict, compare=False)
    """The same without those that were found COMPLETED or handled, which they stay, as of the last look."""
    left_to_complete: dict[int, int] = field(default_factory=dict, compare=False)
    """Thread at WAIT_FOR_THREADS ALL -> how many have to complete before it is looked at again, if none fails."""
    left_to_fail: dict[int, int] = field(default_factory=dict, compare=False)
    """Thread at WAIT_FOR_THREADS ANY that handles no failures -> how many have to fail, if none completes."""
    across: set[int] = field(default_factory=set)
    """Threads that wait for one that is no child of theirs, or have handlers of such a wait: knots need one."""
    staying: set[int] = field(default_factory=set)
    """Threads that would have left, but for what others still have to do with a thread below them."""
    arrivals: set[int] = field(default_factory=set, compare=False)
    """Threads that are halted at a node at which something may be left to do (`arrive_halted`): who restores a WfRun
    cannot know, and looks at them with the next command. A release that let it wait may have left it."""
    steps_left: int = field(default=2**63, compare=False)
    """How much the command that is at work may still compute; set by the engine, spent by expressions."""


class WakeOn(StrEnum):
    """What a waiting node depends on."""

    EXTERNAL_EVENT = "EXTERNAL_EVENT"
    THREAD = "THREAD"
    VARIABLES = "VARIABLES"


WakeKey: TypeAlias = tuple[WakeOn, str | int]
"""(EXTERNAL_EVENT, ExternalEventDef), (THREAD, number) or (VARIABLES, 0)."""


@dataclass(slots=True, eq=False)
class WfRun:
    """One run of a WfSpec, or, while `wf_spec` is None, only a place for ExternalEvents that came before it.

    The fields down to `quarantined_ms` are its row. ThreadRuns, ExternalEvents and kept inputs have rows of their own;
    finished child threads are not here any more: a number that was used and is missing means COMPLETED (N15).
    """

    wf_run_id: str
    incarnation: int = NO_INCARNATION
    """Offset of its RunWf: tells a WfRun from an earlier one under the same id that was deleted."""
    wf_spec: WfSpecId | None = None
    definitions_position: int = 0
    """The position of `definitions` at which it was started."""
    seq: int = 0
    time_ms: int = 0
    """Time of its newest event; never runs backwards."""
    greatest_thread_number: int = -1
    started_ms: int | None = None
    ended_ms: int | None = None
    accepted_interrupts: list[AcceptedInterrupt] = field(default_factory=list)
    """In order of arrival; their handlers have not started (N2)."""
    unstarted_failure_handlers: list[UnstartedFailureHandler] = field(default_factory=list)
    command_ids: list[str] = field(default_factory=list)
    """The last commands decided, oldest first: a repeat is refused."""
    timer: Timer | None = None
    """The end of its retention."""
    final_status: Status | None = None
    """Of a WfRun that is over and keeps no threads any more."""
    quarantined_ms: int | None = None
    """Since when its inputs are kept and not decided; None: they are decided."""

    threads: dict[int, ThreadRun] = field(default_factory=dict)
    """Live threads and failed ones, ascending."""
    external_events: dict[ExternalEventKey, WfRunExternalEvent] = field(default_factory=dict)
    """In order of arrival."""
    kept_inputs: list[KeptInput] = field(default_factory=list)
    """What came during its quarantine, in order."""
    changes: Changes = field(default_factory=Changes)
    index: Index = field(default_factory=Index)
    spec: WfSpec | None = None
    """What `wf_spec` names; put here by the engine, for the rules. `evolve` does not look at it."""

    def spec_of(self, thread: ThreadRun) -> ThreadSpec:
        """The ThreadSpec of a thread."""
        assert self.spec is not None, f"WfRun {self.wf_run_id!r} has no WfSpec at hand"
        return self.spec.threads[thread.thread_spec]

    @property
    def exists(self) -> bool:
        """Whether a WfRun was started under this id and not deleted."""
        return self.wf_spec is not None

    @property
    def status(self) -> Status | None:
        """The projection of thread 0 (N10); None where nothing runs."""
        if self.wf_spec is None or self.final_status is not None:
            return self.final_status
        entrypoint = self.threads.get(0)
        if entrypoint is None:
            return Status.RUNNING  # in quarantine, because its row cannot be read; it is not over, as far as we know
        if entrypoint.status in TERMINAL:
            return entrypoint.status
        if entrypoint.status is Status.HALTED and any(isinstance(r, ManualHalt) for r in entrypoint.halt_reasons):
            return Status.HALTED
        return Status.RUNNING

    def is_held_by(self, thread: ThreadRun, kind: type[Any]) -> bool:
        """Whether a HaltReason of this kind is on a thread."""
        reasons = thread.halt_reasons
        if len(reasons) < MANY_REASONS:
            return kind in map(type, reasons)
        return kind in self.index.reasons[thread.number]

    def was_used(self, number: int) -> bool:
        """Whether a thread of this number was ever spawned."""
        return 0 <= number <= self.greatest_thread_number

    def thread_status(self, number: int) -> Status:
        """Status of a thread that was spawned, also of one that has left: that one is COMPLETED (N15)."""
        if number == 0 and self.final_status is not None:
            return self.final_status
        thread = self.threads.get(number)
        return Status.COMPLETED if thread is None else thread.status

    def ancestors(self, thread: ThreadRun) -> Iterator[ThreadRun]:
        """Parent, its parent, … up to thread 0: the scope of a thread's Variables, without itself."""
        while thread.parent is not None:
            thread = self.threads[thread.parent]
            yield thread

    def dependents(self, thread: ThreadRun) -> Sequence[ThreadRun]:
        """The threads that halt and resume with this one: its children, and the failure handlers of failed children
        that it waits for, or waited for when they lost; ascending. As they are now: a rule may change them.
        """
        holder, numbers = thread.number, thread.children
        handlers = self.index.waiter_handlers.get(holder)
        if handlers:
            numbers = sorted({*numbers, *handlers})
        elif not numbers:
            return ()  # asked for at nearly every event, and nearly always so
        threads = (self.threads.get(number) for number in numbers)
        return [thread for thread in threads if thread is not None and thread.holder == holder]
