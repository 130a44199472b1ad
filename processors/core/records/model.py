"""The state that follows from the events: WfRun, its ThreadRuns and ExternalEvents, and what they are made of.

The classes have the fields of their schemas: a row of a state topic is one of these objects, encoded. A WfRun owns its
ThreadRuns and ExternalEvents. The fold that owns the WfRun changes them in place, and nobody else does.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from processors.core.records.errors import NotInWfRun
from processors.core.records.record import record
from processors.core.records.spec import ThreadSpec, WfSpec
from processors.core.records.values import Value


class TimerKind(StrEnum):
    """The purpose of a timer."""

    EXTERNAL_EVENT_TIMEOUT = "EXTERNAL_EVENT_TIMEOUT"
    SLEEP = "SLEEP"
    TASK_TIMEOUT = "TASK_TIMEOUT"
    TASK_BACKOFF = "TASK_BACKOFF"
    RETENTION = "RETENTION"


class TaskStatus(StrEnum):
    """The end of a task attempt. TIMEOUT is never reported: the engine's own timer brings it about."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    EXCEPTION = "EXCEPTION"
    TIMEOUT = "TIMEOUT"


class Status(StrEnum):
    """The status of a ThreadRun; that of a WfRun follows from its thread 0."""

    RUNNING = "RUNNING"
    HALTING = "HALTING"
    HALTED = "HALTED"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    EXCEPTION = "EXCEPTION"


TERMINAL: Final = frozenset({Status.COMPLETED, Status.ERROR, Status.EXCEPTION})
FAILED: Final = frozenset({Status.ERROR, Status.EXCEPTION})

# (rule status-changes-are-a-table)
TRANSITION_CAUSES: Final[Mapping[tuple[Status | None, Status], str]] = {
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
"""Every change of a ThreadRun's status that may happen -> what brings it about."""

TRANSITIONS: Final = frozenset(TRANSITION_CAUSES)


class ThreadType(StrEnum):
    """The purpose of a ThreadRun."""

    ENTRYPOINT = "ENTRYPOINT"
    CHILD = "CHILD"
    INTERRUPT = "INTERRUPT"
    FAILURE_HANDLER = "FAILURE_HANDLER"


class FailureClass(StrEnum):
    """The class of a failure, technical (ERROR) or business (EXCEPTION): the status of a thread that fails with it."""

    ERROR = "ERROR"
    EXCEPTION = "EXCEPTION"


@record
class Failure:
    """The failure of a node or thread. `cause` is the failure of the thread below that brought it about."""

    name: str
    message: str
    failure_class: FailureClass
    content: Value = None
    cause_thread: int | None = None
    """The ThreadRun in which `cause` happened; None if there is no cause."""
    cause: "Failure | None" = None

    def chain(self) -> "Iterator[Failure]":
        """Yield this failure, its cause, the cause of that, and so on."""
        failure: Failure | None = self
        while failure is not None:
            yield failure
            failure = failure.cause


@record
class PendingInterrupt:
    """A halt reason: an interrupt was accepted, and its handler has not started."""

    external_event_def: str
    external_event_id: str

    def __str__(self) -> str:
        return f"PENDING_INTERRUPT({self.external_event_id})"


@record
class Interrupted:
    """A halt reason: an Interrupt Handler runs."""

    handler: int

    def __str__(self) -> str:
        return f"INTERRUPTED({self.handler})"


@record
class PendingFailure:
    """A halt reason: the node failed, and its failure handler has not started."""

    position: int

    def __str__(self) -> str:
        return "PENDING_FAILURE"


@record
class HandlingFailure:
    """A halt reason: a failure handler runs."""

    handler: int

    def __str__(self) -> str:
        return f"HANDLING_FAILURE({self.handler})"


@record
class ParentHalted:
    """A halt reason: the thread that this one halts and resumes with is halted, or has failed."""

    parent: int

    def __str__(self) -> str:
        return f"PARENT_HALTED({self.parent})"


@record
class ManualHalt:
    """A halt reason: StopWfRun put it on the thread, ResumeWfRun takes it off."""

    def __str__(self) -> str:
        return "MANUAL_HALT"


@record
class HaltedByParent:
    """A halt reason that never goes: the thread is a loser of WAIT_FOR_THREADS ANY or FIRST."""

    parent: int
    position: int

    def __str__(self) -> str:
        return f"HALTED_BY_PARENT({self.parent})"


HaltReason: TypeAlias = (
    PendingInterrupt | Interrupted | PendingFailure | HandlingFailure | ParentHalted | ManualHalt | HaltedByParent
)

HALT_REASON_KINDS: Final[Mapping[type[HaltReason], str]] = {
    PendingInterrupt: "PENDING_INTERRUPT",
    Interrupted: "INTERRUPTED",
    PendingFailure: "PENDING_FAILURE",
    HandlingFailure: "HANDLING_FAILURE",
    ParentHalted: "PARENT_HALTED",
    ManualHalt: "MANUAL_HALT",
    HaltedByParent: "HALTED_BY_PARENT",
}
"""Halt reason -> the name of its kind, with which its text begins."""


@record
class Timer:
    """A timer of the current node, or of the WfRun; due at `due_ms` (epoch milliseconds)."""

    kind: TimerKind
    due_ms: int


class TaskRunStatus(StrEnum):
    """The state of the TaskRun of a TASK node."""

    OUT = "OUT"
    """An attempt is with a task worker: requested, and neither reported nor timed out. Only this delays halting."""
    RETRYING = "RETRYING"
    """The last attempt failed; the next is due at `retry_at_ms`."""
    DONE = "DONE"
    """The last report decides the node."""


@record
class TaskRun:
    """The attempts of one visit to a TASK node."""

    status: TaskRunStatus
    attempt: int
    task_def: str
    input: dict[str, Value]
    """The inputs as evaluated on arrival; every attempt gets the same."""
    retry_at_ms: int | None = None
    result: TaskStatus | None = None
    output: Value = None
    failure_name: str | None = None
    message: str | None = None
    content: Value = None
    start_by_ms: int | None = None
    """While OUT: the attempt times out then unless it was started before. None if its time counts from the request
    alone.
    """
    started_ms: int | None = None
    """While OUT: when a task worker began the attempt, as far as one has said so."""
    progress: Value = None
    """What an attempt reported last of how far it was; None once DONE."""


@dataclass(slots=True)
class ThreadWait:
    """The knowledge that a WAIT_FOR_THREADS node has of one thread that it waits for."""

    thread: int
    handler: int | None = None
    """The FAILURE_HANDLER that was started for it (`on_child_failure`)."""
    handled: bool = False
    """True if that handler has completed: the failed thread counts as successful."""


@dataclass(slots=True)
class NodeRun:
    """The node at which a ThreadRun is. `position` counts its visits to nodes; earlier visits are on the log only."""

    position: int
    node: str
    arrived_ms: int
    timer: Timer | None = None
    deadline_ms: int | None = None
    """The deadline of an EXTERNAL_EVENT with a time-out. It outlives the timer, to judge what came in time."""
    matured_seq: int | None = None
    """The seq at which the node's time was over, because its timer fired or could not be computed; None before."""
    task: TaskRun | None = None
    waits: list[ThreadWait] | None = None
    """The threads that a WAIT_FOR_THREADS waits for, in the order of its list; None before `WaitStarted`."""
    failure: Failure | None = None
    failure_handled: bool = False
    arrival_failure: Failure | None = None
    """The failure of the node once its thread runs: the thread arrived halted, and the time cannot be computed."""


@dataclass(slots=True)
class ThreadRun:
    """One thread of a WfRun. Number 0 is the entrypoint; numbers are never used twice."""

    wf_run_id: str
    number: int
    type: ThreadType
    thread_spec: str
    parent: int | None
    """The thread whose Variables it sees; None for thread 0."""
    status: Status
    node: NodeRun
    started_ms: int
    variables: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)
    """Node -> its last output, of the nodes that an expression of the ThreadSpec refers to."""
    halt_reasons: list[HaltReason] = field(default_factory=list)
    """The halt reasons in the order in which they came; the thread resumes when none is left."""
    children: list[int] = field(default_factory=list)
    """Live children, handlers included, ascending."""
    waiter: int | None = None
    """For the failure handler of a failed child: the waiting thread, with which it halts and resumes."""
    external_event_def: str | None = None
    external_event_id: str | None = None
    """The ExternalEvent that started an INTERRUPT thread."""
    halts_parent: bool = True
    """False for an INTERRUPT with `halt: false`, which runs beside its parent."""
    handled_children: list[int] = field(default_factory=list)
    """Failed children that a WAIT_FOR_THREADS has dealt with: EXIT ignores them."""
    failure: Failure | None = None
    output: Value = None
    ended_ms: int | None = None

    # (rule child-handlers-halt-with-waiter)
    @property
    def holder(self) -> int | None:
        """The thread that this one halts and resumes with."""
        return self.waiter if self.waiter is not None else self.parent

    @property
    def has_lost(self) -> bool:
        """True if ANY or FIRST has halted it for good."""
        return HaltedByParent in map(type, self.halt_reasons)

    # (rule only-tasks-delay-halting)
    @property
    def task_out(self) -> bool:
        """True if an attempt is with a task worker, which keeps this thread from being still."""
        task = self.node.task
        return task is not None and task.status is TaskRunStatus.OUT

    # (rule node-status-follows-thread)
    @property
    def node_status(self) -> Status:
        """The status of the current NodeRun, which follows from its failure and the thread's status."""
        if self.node.failure is not None:
            return Status(self.node.failure.failure_class)
        if self.status is Status.HALTING and not self.task_out:
            return Status.HALTED  # every node but a TASK whose attempt is out halts at once
        return self.status


class ExternalEventStatus(StrEnum):
    """The outcome of an ExternalEvent; where several threads took it, the latest in any of them."""

    UNCLAIMED = "UNCLAIMED"
    CLAIMED = "CLAIMED"
    DROPPED = "DROPPED"
    SUPERSEDED = "SUPERSEDED"


@record
class ExternalEventOutcome:
    """The outcome of an ExternalEvent in one thread."""

    thread: int
    status: ExternalEventStatus
    """CLAIMED: the thread's node took it, or the thread accepted the interrupt; its handler will start or has started.
    SUPERSEDED and DROPPED: the handler never starts.
    """


OUTCOMES_MAX: Final = 100
"""The most outcomes of one ExternalEvent that are kept by thread."""


@dataclass(slots=True)
class WfRunExternalEvent:
    """An ExternalEvent as its WfRun stores it: the content while it may still be used, the id to know a repeat."""

    wf_run_id: str
    external_event_def: str
    external_event_id: str
    status: ExternalEventStatus
    posted_ms: int
    posted_offset: int
    """The offset of its record: on `external-events`, or on `wf-commands` of a RunWfAndPost. Below 0 if it came along
    with a fork.
    """
    posted_seq: int
    """The seq of its ExternalEventPosted; 0 if it came before its WfRun; below 0 if it came along with a fork."""
    content: Value = None
    thread: int | None = None
    outcomes: list[ExternalEventOutcome] | None = None
    """The outcomes in the threads that took it or were to take it, ascending by number: of the first 100 to do so.
    None if they are not kept, because the event was posted before outcomes were.
    """
    outcomes_left_out: int = 0
    """The number of further threads in which there was an outcome."""

    @property
    def key(self) -> "ExternalEventKey":
        """Its identity within the WfRun."""
        return (self.external_event_def, self.external_event_id)

    # (rule arrival-across-topics)
    @property
    def arrival(self) -> int:
        """Its place in the order in which the ExternalEvents of a WfRun came.

        What came before the WfRun came on one topic, and its offsets order it. What came to the WfRun came on two,
        whose offsets say nothing of each other.
        """
        return self.posted_offset if self.posted_seq <= 0 else _BEYOND_OFFSETS + self.posted_seq


_BEYOND_OFFSETS: Final = 2**61
"""More than any offset."""

ExternalEventKey: TypeAlias = tuple[str, str]
"""ExternalEventDef and event id."""


@record
class RecordHeader:
    """A header of a Kafka record."""

    name: str
    value: bytes


HEADER_BYTES: Final = 8
"""The most that a header in a row has besides its name and value: their lengths."""


def size_of_headers(headers: Iterable[RecordHeader]) -> int:
    """Return the bytes that headers take in a row at most: an empty one takes room too, and may come in millions."""
    return sum(len(it.name.encode()) + len(it.value) + HEADER_BYTES for it in headers)


@record
class KeptInput:
    """An input record that came while its WfRun was in quarantine, byte for byte: a row of `kept-inputs`."""

    wf_run_id: str
    topic: str
    """Without the prefix of the installation."""
    partition: int
    offset: int
    number: int
    """1, 2, 3 … in the order in which the inputs came, over all topics. 0 for the QuarantineWfRun of a WfRun whose row
    cannot be read.
    """
    timestamp_ms: int
    key: bytes
    value: bytes
    headers: list[RecordHeader] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The bytes of key, value and headers."""
        return len(self.key) + len(self.value) + size_of_headers(self.headers)

    @property
    def row_key(self) -> str:
        """Its key on `kept-inputs`."""
        return f"{self.wf_run_id}/{self.topic}/{self.offset}"


@record
class CorrelationKey:
    """The key by which events of an ExternalEventDef find a WfRun, or the reason why its value cannot be one."""

    key: str | None = None
    problem: str | None = None


@record
class CorrelatedWfRun:
    """A WfRun that has a correlation key."""

    wf_run_id: str
    incarnation: int


@record
class KeptCorrelatedEvent:
    """A CorrelatedEvent that waits for a WfRun to register its key, byte for byte."""

    external_event_id: str
    offset: int
    timestamp_ms: int
    until_ms: int
    """From then on it waits no longer."""
    value: bytes
    headers: list[RecordHeader] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The bytes of its value and its headers, as its row has them: an empty header takes room too."""
        return len(self.value) + size_of_headers(self.headers)


@record
class RememberedEventId:
    """The id of a CorrelatedEvent that was posted, and when."""

    external_event_id: str
    at_ms: int


@record
class Correlation:
    """One key of one ExternalEventDef, a row of `correlations`: the WfRuns that have it, and what came for it."""

    correlation_key: str
    external_event_def: str
    wf_runs: list[CorrelatedWfRun] = field(default_factory=list)
    """In the order in which they registered it."""
    kept: list[KeptCorrelatedEvent] = field(default_factory=list)
    """Events that came while no WfRun had it, in order of arrival."""
    remembered: list[RememberedEventId] = field(default_factory=list)
    """Ids of events that were posted, oldest first: a repeat is refused."""

    @property
    def row_key(self) -> str:
        """Its key on `correlations`."""
        return f"{self.external_event_def}/{self.correlation_key}"


@record
class AcceptedInterrupt:
    """An accepted interrupt whose handler has not started."""

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


@record
class WfRunSnapshot:
    """The state of a WfRun at a moment, as its rows would have it: what a fork of it starts from."""

    wf_run_id: str
    incarnation: int
    seq: int
    """The number of its newest event at that moment."""
    at_ms: int
    """The moment, not before that event: what is left of a timer is counted from here."""
    wf_spec: WfSpecId
    greatest_thread_number: int
    accepted_interrupts: list[AcceptedInterrupt] = field(default_factory=list)
    unstarted_failure_handlers: list[UnstartedFailureHandler] = field(default_factory=list)
    threads: list[ThreadRun] = field(default_factory=list)
    """Ascending by number."""
    external_events: list[WfRunExternalEvent] = field(default_factory=list)
    """In order of arrival."""


NO_INCARNATION: Final = -1
"""The incarnation of a WfRun id under which nothing was started: there are only ExternalEvents that came early."""


@dataclass(slots=True)
class Changes:
    """The rows that differ from what was last written. A turn writes each of them once."""

    threads: set[int] = field(default_factory=set)
    external_events: set[ExternalEventKey] = field(default_factory=set)
    left: list[ThreadRun] = field(default_factory=list)
    """Threads that have left the hot state: their last row is written, then a tombstone."""
    forgotten: list[ExternalEventKey] = field(default_factory=list)
    deleted: bool = False
    """True if a WfRun of this id was deleted: its row goes, unless a new one was started since."""
    released: bool = False
    """True if its quarantine ended: the row of an id under which nothing was started goes."""
    kept: list[KeptInput] = field(default_factory=list)
    """Inputs that were kept in quarantine."""
    decided: list[KeptInput] = field(default_factory=list)
    """Inputs that are kept no longer."""

    def clear(self) -> None:
        """Forget the changes, which have been written."""
        self.threads.clear()
        self.external_events.clear()
        self.left.clear()
        self.forgotten.clear()
        self.deleted = self.released = False
        self.kept.clear()
        self.decided.clear()


MANY_REASONS: Final = 16
"""From so many halt reasons of one thread on, they are counted by kind (`Index.reasons`) and not looked through."""
NAMED_MAX: Final = 10
"""The most threads that a message names."""


class Ranks:
    """The places of a list's items, so that an item can be taken out without a search, and the list keeps its order.

    Each item gets a rank when it is appended. Ranks only grow, so they are ascending whatever is taken out.
    """

    __slots__ = ("_next", "_ranks")

    def __init__(self, items: int = 0) -> None:
        self._ranks = list(range(items))
        self._next = items

    def append(self) -> int:
        """Take note of an item that is appended to the list; return its rank."""
        rank = self._next
        self._ranks.append(rank)
        self._next = rank + 1
        return rank

    def take(self, rank: int) -> int:
        """Take note that the item of this rank is taken out of the list; return the place where it was."""
        at = bisect_left(self._ranks, rank)
        del self._ranks[at]
        return at

    def place_of(self, rank: int) -> int:
        """Return the place of the item of this rank."""
        return bisect_left(self._ranks, rank)


@dataclass(slots=True)
class Index:
    """The threads to look at when something happens. Derived from the rows and never written; it may name too many."""

    by_spec: dict[str, list[int]] = field(default_factory=dict)
    """ThreadSpec -> its live threads, ascending."""
    reasons: dict[int, dict[type[Any], int]] = field(default_factory=dict)
    """Thread -> kind of HaltReason -> how many are on the thread, where they are many: they may be a thousand."""
    gone_handlers: dict[int, list[int]] = field(default_factory=dict)
    """Thread -> handlers of its own that have left, while one of its HaltReasons still names them."""
    live: int = 0
    """The number of live threads."""
    pending: dict[int, dict[str, dict[str, int]]] = field(default_factory=dict)
    """Thread -> ExternalEventDef -> ids of its accepted interrupts -> their ranks, in order of arrival."""
    pending_heads: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    """Thread -> rank and ExternalEventDef of the first accepted interrupt of each ExternalEventDef, ascending."""
    pending_ranks: Ranks = field(default_factory=Ranks, compare=False)
    """The places of the items of `WfRun.accepted_interrupts`."""
    awaiting: dict["ExternalEventKey", int] = field(default_factory=dict)
    """ExternalEvent -> how many accepted interrupts still need its content."""
    unstarted: dict[int, list[int]] = field(default_factory=dict)
    """Thread -> ranks of its failure handlers that have not started."""
    unstarted_ranks: Ranks = field(default_factory=Ranks, compare=False)
    """The places of the items of `WfRun.unstarted_failure_handlers`."""
    handling: dict[int, dict[str, int]] = field(default_factory=dict)
    """Thread -> ExternalEventDef -> how many Interrupt Handlers for it hang below the thread."""
    ended: list[int] = field(default_factory=list)
    """Threads with which accepted interrupts may have become hopeless: those are dropped when the rule at work ends."""
    waiter_handlers: dict[int, list[int]] = field(default_factory=dict)
    """Waiting thread -> the failure handlers of failed children that halt and resume with it, also after the wait.
    Failed ones are among them, because of the threads below them.
    """
    parked: dict["WakeKey", set[int]] = field(default_factory=dict)
    """Event, thread or Variables that nodes of running threads wait for -> those threads."""
    crowded: list[int] = field(default_factory=list, compare=False)
    """Threads at WAIT_FOR_THREADS that found no room for a handler, ascending."""
    unclaimed: dict[str, dict[str, None]] = field(default_factory=dict)
    """ExternalEventDef -> ids of its unclaimed ExternalEvents, in order of arrival."""
    unclaimed_for: dict[tuple[str, int | None], dict[str, None]] = field(default_factory=dict)
    """ExternalEventDef and the thread that is addressed, None for no thread -> ids as in `unclaimed`."""
    unclaimed_events: int = 0
    """The number of unclaimed ExternalEvents."""
    remembered: list[tuple[int, str, str]] = field(default_factory=list)
    """Offset, ExternalEventDef and id of the ExternalEvents that are unclaimed no longer, in order of arrival. They are
    remembered, to refuse repeats, until they are old; some may still wait for their handler.
    """
    unclaimed_bytes: int = 0
    """About how many bytes the contents of its unclaimed ExternalEvents take."""
    waits: dict[int, dict[int, ThreadWait]] = field(default_factory=dict)
    """Thread at WAIT_FOR_THREADS -> the threads that it waits for -> what it knows of them."""
    waited_for: dict[int, set[int]] = field(default_factory=dict)
    """Thread -> the threads at WAIT_FOR_THREADS that wait for it."""
    open_waits: dict[int, list[ThreadWait]] = field(default_factory=dict, compare=False)
    """`waits` without the threads that were found COMPLETED or handled at the last look: they stay so."""
    left_to_complete: dict[int, int] = field(default_factory=dict, compare=False)
    """Thread at WAIT_FOR_THREADS ALL -> how many have to complete before it is looked at again, if none fails."""
    left_to_fail: dict[int, int] = field(default_factory=dict, compare=False)
    """Thread at WAIT_FOR_THREADS ANY that handles no failures -> how many have to fail, if none completes."""
    across: set[int] = field(default_factory=set)
    """Threads that wait for one that is no child of theirs, or have handlers of such a wait: each circle has one."""
    staying: set[int] = field(default_factory=set)
    """Threads that would have left, but for what others still have to do with a thread below them."""
    arrivals: set[int] = field(default_factory=set, compare=False)
    """Threads that are halted at a node at which something may be left to do (`arrive_halted`). Whoever restores a
    WfRun cannot know that, so the next command looks at them; an earlier release may have left it undone.
    """
    steps_left: int = field(default=2**63, compare=False)
    """The steps that the command at work may still compute; set by the engine, spent by expressions."""


class WakeOn(StrEnum):
    """The kind of thing that a waiting node depends on."""

    EXTERNAL_EVENT = "EXTERNAL_EVENT"
    THREAD = "THREAD"
    VARIABLES = "VARIABLES"


WakeKey: TypeAlias = tuple[WakeOn, str | int]
"""A kind and a name: (EXTERNAL_EVENT, ExternalEventDef), (THREAD, number) or (VARIABLES, 0)."""


@dataclass(slots=True, eq=False)
class WfRun:
    """One run of a WfSpec, or, while `wf_spec` is None, only a place for ExternalEvents that came before it.

    The fields down to `correlation_keys` are its row. ThreadRuns, ExternalEvents and kept inputs have rows of their
    own. Child threads that have completed are not here any more: a number that was used and is missing means COMPLETED.
    """

    wf_run_id: str
    incarnation: int = NO_INCARNATION
    """The offset of its RunWf: it tells a WfRun from an earlier one under the same id that was deleted."""
    wf_spec: WfSpecId | None = None
    definitions_position: int = 0
    """The position of `definitions` at which it was started."""
    seq: int = 0
    time_ms: int = 0
    """The time of its newest event; it never runs backwards."""
    greatest_thread_number: int = -1
    started_ms: int | None = None
    ended_ms: int | None = None
    accepted_interrupts: list[AcceptedInterrupt] = field(default_factory=list)
    """The accepted interrupts whose handlers have not started, in the order in which they were accepted."""
    unstarted_failure_handlers: list[UnstartedFailureHandler] = field(default_factory=list)
    command_ids: list[str] = field(default_factory=list)
    """Ids of the last commands that were decided, oldest first: a repeat is refused."""
    timer: Timer | None = None
    """The end of its retention."""
    final_status: Status | None = None
    """The status of a WfRun that is over and keeps no threads any more; None before."""
    quarantined_ms: int | None = None
    """The time since which its inputs are kept and not decided; None if they are decided."""
    correlation_keys: dict[str, CorrelationKey] = field(default_factory=dict)
    """ExternalEventDef -> the key by which its events find the WfRun. Never changed in place."""

    threads: dict[int, ThreadRun] = field(default_factory=dict)
    """Number -> thread, ascending: live threads and failed ones."""
    external_events: dict[ExternalEventKey, WfRunExternalEvent] = field(default_factory=dict)
    """The ExternalEvents, in order of arrival."""
    kept_inputs: list[KeptInput] = field(default_factory=list)
    """The inputs that came during its quarantine, in order."""
    changes: Changes = field(default_factory=Changes)
    index: Index = field(default_factory=Index)
    spec: WfSpec | None = None
    """The WfSpec that `wf_spec` names; put here for the rules. `evolve` does not look at it."""

    def __repr__(self) -> str:
        """Return what tells this WfRun from others. Its rows may have megabytes."""
        version = "not started" if self.wf_spec is None else f"{self.wf_spec} {self.status}"
        return f"<WfRun {self.wf_run_id!r}: {version}, {len(self.threads)} threads, seq {self.seq}>"

    def thread(self, which: int | str = 0) -> ThreadRun:
        """Return the thread of a number, or the newest one of a ThreadSpec, of those that are here.

        Raises NotInWfRun.
        """
        for number in sorted(self.threads, reverse=True):
            if which in (number, self.threads[number].thread_spec):
                return self.threads[number]
        raise NotInWfRun(
            f"expected thread {which!r} in WfRun {self.wf_run_id!r}, found {self._threads_here()}; threads that have "
            "completed beside others leave it, and its history has them"
        )

    def _threads_here(self) -> str:
        if self.wf_spec is None:
            return "that it has not started"
        if not self.threads:
            return f"only its row: it is {self.status}, and its threads are gone"
        newest = sorted(self.threads.values(), key=lambda it: it.number)[-NAMED_MAX:]
        return ", ".join(f"{it.number} ({it.thread_spec})" for it in newest)

    @property
    def variables(self) -> Mapping[str, Value]:
        """The Variables of thread 0. Raises NotInWfRun."""
        return self.thread(0).variables

    @property
    def output(self) -> Value:
        """What thread 0 has returned; None before. Raises NotInWfRun."""
        return self.thread(0).output

    @property
    def failure(self) -> Failure | None:
        """Why thread 0 has failed; None if it has not. Raises NotInWfRun."""
        return self.thread(0).failure

    def spec_of(self, thread: ThreadRun) -> ThreadSpec:
        """Return the ThreadSpec of a thread."""
        assert self.spec is not None, f"WfRun {self.wf_run_id!r} has no WfSpec at hand"
        return self.spec.threads[thread.thread_spec]

    @property
    def exists(self) -> bool:
        """True if a WfRun was started under this id and not deleted."""
        return self.wf_spec is not None

    @property
    def has_ended(self) -> bool:
        """True if it is over, also in ERROR: then it keeps its threads, and a rescue takes the end back."""
        return self.timer is not None

    # (rule wf-run-shows-thread-0)
    @property
    def status(self) -> Status | None:
        """The status, which follows from thread 0; None where nothing was started."""
        if self.wf_spec is None or self.final_status is not None:
            return self.final_status
        entrypoint = self.threads.get(0)
        if entrypoint is None:
            return Status.RUNNING  # in quarantine because its row cannot be read; as far as we know it is not over
        if entrypoint.status in TERMINAL:
            return entrypoint.status
        if entrypoint.status is Status.HALTED and any(isinstance(r, ManualHalt) for r in entrypoint.halt_reasons):
            return Status.HALTED
        return Status.RUNNING

    def is_held_by(self, thread: ThreadRun, kind: type[Any]) -> bool:
        """Return True if a HaltReason of this kind is on a thread."""
        reasons = thread.halt_reasons
        if len(reasons) >= MANY_REASONS:
            return kind in self.index.reasons[thread.number]
        for reason in reasons:  # noqa: SIM110  `any` makes a generator, for what is nearly always one reason
            if type(reason) is kind:
                return True
        return False

    def was_used(self, number: int) -> bool:
        """Return True if a thread of this number was ever spawned."""
        return 0 <= number <= self.greatest_thread_number

    # (rule left-counts-as-completed)
    def thread_status(self, number: int) -> Status:
        """Return the status of a thread that was spawned; one that has left counts as COMPLETED."""
        if number == 0 and self.final_status is not None:
            return self.final_status
        thread = self.threads.get(number)
        return Status.COMPLETED if thread is None else thread.status

    def ancestors(self, thread: ThreadRun) -> Iterator[ThreadRun]:
        """Yield the parent, its parent, … up to thread 0: the threads whose Variables a thread sees besides its own."""
        while thread.parent is not None:
            thread = self.threads[thread.parent]
            yield thread

    def dependents(self, thread: ThreadRun) -> Sequence[ThreadRun]:
        """Return the threads that halt and resume with this one, ascending: its children, and the failure handlers of
        failed children that it waits for, or waited for when they lost.

        The list is a copy, because a rule that goes through it may change who depends on the thread.
        """
        holder, numbers = thread.number, thread.children
        handlers = self.index.waiter_handlers.get(holder)
        if handlers:
            numbers = sorted({*numbers, *handlers})
        elif not numbers:
            return ()  # asked for at nearly every event, and nearly always so
        threads = (self.threads.get(number) for number in numbers)
        return [thread for thread in threads if thread is not None and thread.holder == holder]
