"""Why an ExternalEvent did nothing, or what it did: everything that became of one id, told by the log and the state.

The log says what was decided about it: posted, accepted, handled, claimed, superseded, dropped, rejected, kept,
skipped. For one that is still unclaimed the state says who could take it, and what stands in the way. What the log does
not have may be outside of it: a dead letter, a record that is not folded yet (`Outside`, which Kafka is asked for).
Pure, and data; `why_not_text` has the words.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace
from enum import StrEnum
from typing import TypeAlias

from halter.history.logged import Logged
from halter.history.origins import Origin
from processors.core.records.events import (
    Event,
    ExternalEventDropped,
    ExternalEventPosted,
    Halt,
    InputKept,
    InterruptAccepted,
    InterruptDropped,
    InterruptSuperseded,
    NodeCompleted,
    NodeFailed,
    RecordSkipped,
    Rejected,
    SpawnChild,
    ThreadCompleted,
    ThreadFailed,
    TimerArmed,
    WfRunDeleted,
    WfRunForked,
    WfRunMigrated,
    WfRunStarted,
)
from processors.core.records.failures import TIMEOUT
from processors.core.records.model import (
    TERMINAL,
    ExternalEventKey,
    ExternalEventStatus,
    PendingInterrupt,
    Status,
    ThreadRun,
    ThreadType,
    TimerKind,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.records.record import record
from processors.core.records.spec import ExternalEventNode
from processors.core.records.topic_names import EXTERNAL_EVENTS, WF_COMMANDS
from processors.core.rules.external_events import BEFORE_ITS_WF_RUN
from processors.core.rules.halting import can_resume

Place: TypeAlias = tuple[str, int, int]
"""Topic, partition and offset of a record."""


class Fate(StrEnum):
    """The things that can become of an ExternalEvent, in a thread or as a whole."""

    UNCLAIMED = "UNCLAIMED"
    CLAIMED = "CLAIMED"
    """A node took it."""
    PENDING = "PENDING"
    """A thread accepted it for an interrupt, and its handler has not started."""
    HANDLED = "HANDLED"
    """Its handler has started."""
    SUPERSEDED = "SUPERSEDED"
    DROPPED = "DROPPED"
    CAME_ALONG = "CAME_ALONG"
    """It was decided before its WfRun began as a fork: the log of the source has how."""
    REJECTED = "REJECTED"
    KEPT = "KEPT"
    """It is kept until the quarantine of its WfRun ends."""
    SKIPPED = "SKIPPED"
    """An operator had its record passed over."""
    DELETED = "DELETED"
    """It went with its WfRun, or before a WfRun was started."""
    DEAD_LETTER = "DEAD_LETTER"
    NOT_FOLDED = "NOT_FOLDED"
    FORGOTTEN = "FORGOTTEN"
    """Its record was folded, and the log no longer has what came of it."""
    UNKNOWN = "UNKNOWN"
    """Nobody knows of it."""


class Obstacle(StrEnum):
    """The things that keep an unclaimed ExternalEvent from being taken."""

    NOT_STARTED = "NOT_STARTED"
    """No WfRun was started under its id."""
    OVER = "OVER"
    """The WfRun has ended."""
    NOT_NAMED = "NOT_NAMED"
    """The WfSpec names its ExternalEventDef nowhere."""
    NO_SUCH_THREAD = "NO_SUCH_THREAD"
    """The thread to which it is addressed is not live."""
    NO_LIVE_THREAD = "NO_LIVE_THREAD"
    """No thread is live of a ThreadSpec that would take it."""
    CANNOT_RESUME = "CANNOT_RESUME"
    """A thread that would take it can never run again."""
    CAME_BEFORE = "CAME_BEFORE"
    """It came before the thread that it would interrupt, and the interrupt is not `preemptive`."""
    MISSED = "MISSED"
    """The thread that it would interrupt had ended when it came, or could never run again, and was rescued since."""
    MIGRATED_SINCE = "MIGRATED_SINCE"
    """It came before the WfRun went over to another version, and an interrupt takes what comes from then on."""
    NOT_THERE_YET = "NOT_THERE_YET"
    """A thread would take it at a node at which it is not."""
    HALTED_THERE = "HALTED_THERE"
    """A thread takes it at its node when it runs again."""
    NODE_FAILED = "NODE_FAILED"
    """A thread is at the node that would take it, and that has failed."""
    TOO_LATE = "TOO_LATE"
    """A thread is or was at the node that would take it, whose time was over when it came."""
    BEHIND = "BEHIND"
    """An earlier one is taken first."""
    UNDECIDED = "UNDECIDED"
    """The WfSpec cannot be read."""


@record
class Hindrance:
    """One thing that keeps an unclaimed ExternalEvent from being taken."""

    obstacle: Obstacle
    thread: int | None = None
    thread_spec: str | None = None
    node: str | None = None
    """The node at which it would be taken; for an interrupt there is none."""
    at_node: str | None = None
    """The node at which the thread is."""
    external_event_id: str | None = None
    """The ExternalEvent that is taken first."""
    time_ms: int | None = None
    """The time that was over."""


@record
class Missed:
    """A node that waited for an ExternalEvent until its time was over."""

    thread: int
    thread_spec: str
    node: str
    deadline_ms: int


@record
class Became:
    """One thing that became of an ExternalEvent."""

    fate: Fate
    external_event_def: str | None
    origin: Origin | None = None
    """The event that decided it; None if the log has none."""
    thread: int | None = None
    """The thread in which it was decided."""
    handler: int | None = None
    node: str | None = None
    by: str | None = None
    """The ExternalEvent that superseded it."""
    reason: str | None = None
    """The engine's reason, in its words; of one that came along, what it was: CLAIMED, DROPPED or SUPERSEDED."""
    ended: str | None = None
    """COMPLETED, or the failure of its handler; None while that goes on."""
    hindrances: list[Hindrance] = field(default_factory=list)
    seen: "Seen | None" = None
    """The record, if it is known from outside of the log."""


@record
class Seen:
    """A record with an ExternalEvent of this id that lies on a topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    external_event_def: str | None
    reason: str | None = None
    """For a dead letter: the reason, and what was expected and found."""
    message: str | None = None


@record
class Outside:
    """What lies outside of the log: dead letters, and records of the input topic."""

    dead_letters: tuple[Seen, ...] = ()
    records: tuple[Seen, ...] = ()
    """Those on `external-events` and, of RunWfAndPost, on `wf-commands`, as far as they were looked for."""
    folded: dict[str, int] = field(default_factory=dict)
    """Topic of these two -> the next offset to fold of the WfRun's partition; without one of which nobody knows it."""
    end: dict[str, int] = field(default_factory=dict)
    """Topic -> the offset that the next record there gets."""


@record
class WhyNot:
    """Everything that became of the ExternalEvents with one id."""

    wf_run_id: str
    external_event_id: str
    became: list[Became]
    outside: Outside


def why_not(
    run: WfRun, log: Iterable[Logged], external_event_id: str, outside: Outside, event_def: str | None = None
) -> WhyNot:
    """Return what became of an ExternalEvent of a WfRun, and of each, if several definitions have one of that id.

    `run` is the present state with its WfSpec at hand, `log` what led to it.
    """
    fates = _Fates(external_event_id, event_def)
    for logged in log:
        fates.see(logged)
    became = fates.found
    for key, event in run.external_events.items():
        if key[1] != external_event_id or event_def not in (None, key[0]):
            continue
        if event.status is ExternalEventStatus.UNCLAIMED:
            origin = fates.posted.get(key)
            hindrances = list(hindrances_of(run, event, fates.started, fates.missed, fates.migrated_seq))
            became.append(Became(Fate.UNCLAIMED, key[0], origin, event.thread, hindrances=hindrances))
    became += _outside(outside, became, event_def, fates.nameless)
    return WhyNot(run.wf_run_id, external_event_id, became or [Became(Fate.UNKNOWN, event_def)], outside)


def _outside(
    outside: Outside, known: list[Became], event_def: str | None, nameless: dict[Place, Became]
) -> Iterator[Became]:
    """Yield what became of records that the log does not tell of, or of which it has no id (`nameless`)."""
    told = {(it.origin.cause.topic, it.origin.cause.partition, it.origin.cause.offset) for it in known if it.origin}
    for letter in outside.dead_letters:
        if event_def in (None, letter.external_event_def) or letter.external_event_def is None:
            reason = f"{letter.reason}: {letter.message}"
            yield Became(Fate.DEAD_LETTER, letter.external_event_def, reason=reason, seen=letter)
    for seen in outside.records:
        if (seen.topic, seen.partition, seen.offset) in told or event_def not in (None, seen.external_event_def):
            continue
        if (place := (seen.topic, seen.partition, seen.offset)) in nameless:
            yield replace(nameless[place], external_event_def=seen.external_event_def)
            continue
        is_folded = seen.offset < outside.folded.get(seen.topic, 0)
        if not is_folded or not (known or outside.dead_letters):
            fate = Fate.FORGOTTEN if is_folded else Fate.NOT_FOLDED
            yield Became(fate, seen.external_event_def, seen=seen)


class _Fates:
    """Finds in a log what became of one id."""

    def __init__(self, external_event_id: str, event_def: str | None) -> None:
        self._id, self._def = external_event_id, event_def
        self.found: list[Became] = []
        self.posted: dict[ExternalEventKey, Origin] = {}
        self.started: dict[int, int] = {}
        """Thread -> the seq at which it was started."""
        self.nameless: dict[Place, Became] = {}
        """What became of records on `wf-commands` that are not told by an id: some may be a RunWfAndPost."""
        self.missed: list[Missed] = []
        """The nodes at which nothing came in time, in order."""
        self._nodes: dict[int, tuple[str, str]] = {}
        """Thread -> its ThreadSpec, and the node at which it is."""
        self._deadlines: dict[int, int] = {}
        """Thread -> until when it waits for an ExternalEvent, at its node."""
        self.migrated_seq = 0
        """The seq at which the WfRun last went over to another version; 0 if it never did."""
        self._handlers: dict[int, int] = {}
        """Handler -> its place in `found`."""
        self._first: Logged | None = None

    def see(self, logged: Logged) -> None:
        entry, event, first = logged.entry, logged.entry.event, self._first
        if first is None or first.entry.cause != entry.cause or isinstance(event, ExternalEventPosted):
            first = self._first = logged
        origin = Origin(entry.seq, entry.time_ms, logged.offset, entry.cause, event, first.entry.event)
        self._wait(event)
        match event:
            case ExternalEventPosted() if self._is_it(event.external_event_def, event.external_event_id):
                self._take_off_kept(origin)
                self.posted[event.external_event_def, event.external_event_id] = origin
            case Halt(reason=PendingInterrupt(external_event_def=name, external_event_id=event_id)):
                self._note(Fate.PENDING, name, event_id, origin, event.thread)
            case InterruptAccepted():
                self._note(Fate.PENDING, event.external_event_def, event.external_event_id, origin, event.thread)
            case InterruptSuperseded():
                key = event.external_event_def, event.external_event_id
                self._settle(Became(Fate.SUPERSEDED, key[0], origin, event.thread, by=event.by_external_event_id), key)
            case InterruptDropped():
                key = event.external_event_def, event.external_event_id
                self._settle(Became(Fate.DROPPED, key[0], origin, event.thread, reason=event.reason), key)
            case ExternalEventDropped():
                key = event.external_event_def, event.external_event_id
                self._settle(Became(Fate.DROPPED, key[0], origin, reason=event.reason), key)
            case SpawnChild():
                self.started[event.thread] = entry.seq
                if event.type is ThreadType.INTERRUPT:
                    assert event.external_event_def is not None
                    assert event.external_event_id is not None
                    key = event.external_event_def, event.external_event_id
                    self._settle(Became(Fate.HANDLED, key[0], origin, event.parent, handler=event.thread), key)
            case NodeCompleted() | NodeFailed():
                self._claim(event.external_event_def, event.external_event_id, origin, event.thread, event.node)
            case ThreadFailed():
                self._claim(event.external_event_def, event.external_event_id, origin, event.thread, None)
                failure = event.failure
                self._end(event.thread, f"{failure.name}: {failure.message}" if failure.message else failure.name)
            case ThreadCompleted():
                self._end(event.thread, Status.COMPLETED.value)
            case WfRunStarted():
                self.started = {0: entry.seq}
                self.migrated_seq = 0
            case WfRunMigrated():
                self.migrated_seq = entry.seq
            case WfRunForked():
                self._first = logged  # it says what the record was, which a WfRunStarted does not
                self._fork(replace(origin, first=event), event)
            case WfRunDeleted():
                self._delete(origin)
            case Rejected() | InputKept() | RecordSkipped():
                self._undecided(origin)

    def _wait(self, event: Event) -> None:
        """Note which node of a thread waits for an ExternalEvent, and that its time was over before one came."""
        match event:
            case WfRunStarted():
                self.missed, self._deadlines, self._nodes = [], {}, {0: (event.thread_spec, event.node)}
            case WfRunForked():
                self._nodes = {it.number: (it.thread_spec, it.node.node) for it in event.threads}
                of = {it.number: it.node.deadline_ms for it in event.threads}
                self._deadlines = {thread: deadline_ms for thread, deadline_ms in of.items() if deadline_ms is not None}
            case SpawnChild():
                self._nodes[event.thread] = event.spec, event.node
            case TimerArmed(timer=timer) if timer.kind is TimerKind.EXTERNAL_EVENT_TIMEOUT:
                self._deadlines[event.thread] = timer.due_ms
            case NodeCompleted():
                self._deadlines.pop(event.thread, None)
                thread_spec, _ = self._nodes.get(event.thread, ("", ""))
                self._nodes[event.thread] = thread_spec, event.next_node
            case NodeFailed() | ThreadFailed():
                deadline_ms = self._deadlines.pop(event.thread, None)
                if deadline_ms is not None and event.failure.name == TIMEOUT and event.thread in self._nodes:
                    self.missed.append(Missed(event.thread, *self._nodes[event.thread], deadline_ms))

    def _fork(self, origin: Origin, fork: WfRunForked) -> None:
        """Take in what came along. No seq of this log says when threads that came along were started."""
        self.started = {}
        pending = set()
        for it in fork.accepted_interrupts:
            pending.add((it.external_event_def, it.external_event_id, it.thread))
            self._note(Fate.PENDING, it.external_event_def, it.external_event_id, origin, it.thread)
        for event in fork.external_events:
            if not self._is_it(*event.key):
                continue
            self.posted[event.key] = origin
            decided: list[tuple[int | None, ExternalEventStatus]]
            decided = [(outcome.thread, outcome.status) for outcome in event.outcomes or ()]
            if event.outcomes is None and event.status is not ExternalEventStatus.UNCLAIMED:
                decided = [(None, event.status)]
            for thread, status in decided:
                if (*event.key, thread) not in pending:
                    name = event.external_event_def
                    self.found.append(Became(Fate.CAME_ALONG, name, origin, thread, reason=status.value))

    def _is_it(self, name: str | None, event_id: str | None) -> bool:
        return event_id == self._id and self._def in (None, name)

    def _note(self, fate: Fate, name: str, event_id: str, origin: Origin, thread: int) -> None:
        if self._is_it(name, event_id):
            self.found.append(Became(fate, name, origin, thread))

    def _settle(self, became: Became, key: ExternalEventKey) -> None:
        """Put the outcome of an ExternalEvent in a thread in the place of its acceptance."""
        if not self._is_it(*key):
            return
        for place, it in enumerate(self.found):
            if it.fate is Fate.PENDING and (it.external_event_def, it.thread) == (key[0], became.thread):
                self.found[place] = became
                break
        else:
            place = len(self.found)
            self.found.append(became)
        if became.handler is not None:
            self._handlers[became.handler] = place

    def _claim(self, name: str | None, event_id: str | None, origin: Origin, thread: int, node: str | None) -> None:
        if name is not None and self._is_it(name, event_id):
            self.found.append(Became(Fate.CLAIMED, name, origin, thread, node=node))

    def _end(self, thread: int, how: str) -> None:
        place = self._handlers.pop(thread, None)
        if place is not None:
            self.found[place] = replace(self.found[place], ended=how)

    def _undecided(self, origin: Origin) -> None:
        """Note a record that was refused, kept or skipped. The log has no name of its ExternalEventDef.

        Of an ExternalEvent it has the id, of a RunWfAndPost only where the record is.
        """
        cause = origin.cause
        if cause.topic == EXTERNAL_EVENTS and cause.command_id == self._id:
            if not isinstance(origin.event, InputKept):
                self._take_off_kept(origin)
            self.found.append(_fate_of(origin))
        elif cause.topic == WF_COMMANDS:
            self.nameless[cause.topic, cause.partition, cause.offset] = _fate_of(origin)

    def _take_off_kept(self, origin: Origin) -> None:
        """Forget that a record was kept, which is decided now."""
        self.found = [it for it in self.found if it.fate is not Fate.KEPT or it.origin is None
                      or it.origin.cause.offset != origin.cause.offset]  # fmt: skip

    def _delete(self, origin: Origin) -> None:
        """Note that what was still unclaimed or pending went with its WfRun."""
        settled = {it.external_event_def for it in self.found}
        self.found = [replace(it, fate=Fate.DELETED, origin=origin) if it.fate is Fate.PENDING else it
                      for it in self.found]  # fmt: skip
        self.found += [Became(Fate.DELETED, name, origin) for name, _ in self.posted if name not in settled]
        self.posted.clear()
        self.started.clear()
        self.missed.clear()
        self._handlers.clear()


def _fate_of(origin: Origin) -> Became:
    match origin.event:
        case Rejected() as event:
            return Became(Fate.REJECTED, None, origin, reason=f"{event.code}: {event.message}")
        case RecordSkipped() as event:
            return Became(Fate.SKIPPED, None, origin, reason=event.reason, by=event.operator)
        case _:
            return Became(Fate.KEPT, None, origin)


def hindrances_of(
    run: WfRun,
    event: WfRunExternalEvent,
    started: dict[int, int],
    missed: Sequence[Missed] = (),
    migrated_seq: int = 0,
) -> Iterator[Hindrance]:
    """Yield what keeps an unclaimed ExternalEvent from being taken, thread by thread.

    `started` has the seq at which threads were started, `missed` the nodes at which nothing came in time, as far as
    that is known. `migrated_seq` is that of the latest migration, 0 if there was none.
    """
    if run.wf_spec is None:
        yield Hindrance(Obstacle.NOT_STARTED)
        return
    late = list(_came_too_late(run, event, missed))
    yield from late
    told = {(it.obstacle, it.thread, it.node) for it in late}
    in_the_way = _in_the_way(run, event, started, migrated_seq)
    yield from (it for it in in_the_way if (it.obstacle, it.thread, it.node) not in told)


def _came_too_late(run: WfRun, event: WfRunExternalEvent, missed: Sequence[Missed]) -> Iterator[Hindrance]:
    """Yield the nodes that waited for an ExternalEvent, and no longer when it came. Of one node, the last time."""
    if run.spec is None or event.posted_seq == BEFORE_ITS_WF_RUN:
        return
    found: dict[tuple[int, str], Missed] = {}
    for it in missed:
        spec = run.spec.threads.get(it.thread_spec)
        node = None if spec is None else spec.nodes.get(it.node)
        waited = isinstance(node, ExternalEventNode) and node.external_event_def == event.external_event_def
        if waited and event.thread in (None, it.thread) and it.deadline_ms <= event.posted_ms:
            found[it.thread, it.node] = it
    for it in found.values():
        yield Hindrance(Obstacle.TOO_LATE, it.thread, it.thread_spec, it.node, time_ms=it.deadline_ms)


def _in_the_way(
    run: WfRun, event: WfRunExternalEvent, started: dict[int, int], migrated_seq: int
) -> Iterator[Hindrance]:
    """Yield what keeps an ExternalEvent from being taken now."""
    if run.status in TERMINAL:
        yield Hindrance(Obstacle.OVER)
        return
    if run.spec is None:
        yield Hindrance(Obstacle.UNDECIDED)
        return
    event_def = event.external_event_def
    if event_def not in run.spec.external_event_defs:
        yield Hindrance(Obstacle.NOT_NAMED)
        return
    addressed = None if event.thread is None else run.threads.get(event.thread)
    if event.thread is not None and (addressed is None or addressed.status in TERMINAL):
        yield Hindrance(Obstacle.NO_SUCH_THREAD, event.thread)
        return
    for spec in run.spec.threads.values():
        nodes = [it.name for it in spec.nodes.values()
                 if isinstance(it, ExternalEventNode) and it.external_event_def == event_def]  # fmt: skip
        if not nodes and event_def not in spec.interrupt_of:
            continue
        threads = [it for it in run.threads.values() if it.thread_spec == spec.name and it.status not in TERMINAL
                   and event.thread in (None, it.number)]  # fmt: skip
        if not threads and event.thread is None:
            yield Hindrance(Obstacle.NO_LIVE_THREAD, thread_spec=spec.name, node=nodes[0] if nodes else None)
        for thread in threads:
            yield from _in_thread(run, event, thread, nodes, started, migrated_seq)
    if addressed is not None and event_def not in run.spec_of(addressed).interrupt_of:
        awaited = (it for it in run.spec_of(addressed).nodes.values() if isinstance(it, ExternalEventNode))
        if all(it.external_event_def != event_def for it in awaited):
            yield Hindrance(Obstacle.NOT_NAMED, addressed.number, addressed.thread_spec)


def _in_thread(
    run: WfRun,
    event: WfRunExternalEvent,
    thread: ThreadRun,
    nodes: list[str],
    started: dict[int, int],
    migrated_seq: int,
) -> Iterator[Hindrance]:
    """Yield what keeps a thread from taking an ExternalEvent."""
    at = thread.number, thread.thread_spec
    if not can_resume(run, thread):
        yield Hindrance(Obstacle.CANNOT_RESUME, *at)
        return
    if event.external_event_def in run.spec_of(thread).interrupt_of:
        # Otherwise the thread would have accepted it.
        known = started.get(thread.number)
        before = event.posted_seq < known if known is not None else event.posted_ms < thread.started_ms
        missed = Obstacle.MIGRATED_SINCE if event.posted_seq < migrated_seq else Obstacle.MISSED
        yield Hindrance(Obstacle.CAME_BEFORE if before else missed, *at, time_ms=thread.started_ms)
    for node in nodes:
        if thread.node.node != node:
            yield Hindrance(Obstacle.NOT_THERE_YET, *at, node, thread.node.node)
            continue
        if thread.node.failure is not None or thread.node.arrival_failure is not None:
            yield Hindrance(Obstacle.NODE_FAILED, *at, node, node)
        elif _is_late(event, thread):
            yield Hindrance(Obstacle.TOO_LATE, *at, node, node, time_ms=thread.node.deadline_ms)
        elif (earlier := _taken_before(run, event, thread)) is not None:
            yield Hindrance(Obstacle.BEHIND, *at, node, node, external_event_id=earlier)
        else:
            yield Hindrance(Obstacle.HALTED_THERE, *at, node, node)


def _is_late(event: WfRunExternalEvent, thread: ThreadRun) -> bool:
    """Return True if the time of a thread's node was over when an ExternalEvent came."""
    state = thread.node
    if event.posted_seq == BEFORE_ITS_WF_RUN:
        return False
    if state.matured_seq is not None and event.posted_seq > state.matured_seq:
        return True
    return state.deadline_ms is not None and event.posted_ms >= state.deadline_ms


def _taken_before(run: WfRun, event: WfRunExternalEvent, thread: ThreadRun) -> str | None:
    """Return the oldest unclaimed ExternalEvent that a thread would take before this one."""
    for other in run.external_events.values():
        if other.key == event.key:
            return None
        if (
            other.external_event_def == event.external_event_def
            and other.status is ExternalEventStatus.UNCLAIMED
            and other.thread in (None, thread.number)
            and not _is_late(other, thread)
        ):
            return other.external_event_id
    return None
