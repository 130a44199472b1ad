"""Why the threads of a WfRun do not move: what holds each, since when, because of which record, and what frees it.

The state says what holds a thread (`processors.core.rules.waiting`), the log since when and because of which record
(`origins`). Here the two are joined, and each hold is followed down: through handlers, children and the threads above,
to the *leaves*, which are what an input can free. The result is data. `why_text` has the words, and the timeline and
other tools use the same data.

A finding names the threads that it rests on by their numbers, and each has a finding of its own: so the data is as
large as the WfRun, however its threads hang together. Pure: it runs no rule on the state, and changes nothing.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Final, TypeAlias, assert_never, cast

from halter.history.origins import Origin, Origins
from halter.history.writers import Writers, WriterSearch
from processors.core.records.commands import RescueThreadRun
from processors.core.records.events import Rejected, ThreadFailed
from processors.core.records.model import (
    TERMINAL,
    Failure,
    Interrupted,
    PendingInterrupt,
    Status,
    ThreadRun,
    ThreadType,
    TimerKind,
    WfRun,
)
from processors.core.records.record import record
from processors.core.records.spec import TaskNode, WaitStrategy
from processors.core.rules.context import Context, DefinitionLookup
from processors.core.rules.decide import decide
from processors.core.rules.waiting import (
    ForChildren,
    ForCondition,
    ForExternalEvent,
    ForHandlersBeside,
    ForOthers,
    ForReport,
    ForRetry,
    ForRoom,
    ForStillness,
    ForThreads,
    ForTime,
    FreedBy,
    Held,
    ToRun,
    Wait,
    for_report,
    moving_below,
    waits_of,
)


@record
class PostEvent:
    """An ExternalEvent of a definition. Addressed to the thread, nobody else can take it."""

    external_event_def: str
    thread: int
    before_ms: int | None = None
    """The time before which it has to come, where the thread waits for it with a time-out."""


@record
class ReportTask:
    """A report of the task attempt that is out, whatever it says."""

    task_def: str
    thread: int
    position: int
    attempt: int


@record
class TimeCome:
    """A timer. The engine fires it itself when it is due."""

    thread: int
    position: int
    kind: TimerKind
    due_ms: int


@record
class ResumeThread:
    """ResumeWfRun for a thread."""

    thread: int


@record
class RescueThread:
    """RescueThreadRun for a thread."""

    thread: int


@record
class Release:
    """ReleaseWfRun."""


@record
class Start:
    """RunWf under this id."""


Freeing: TypeAlias = PostEvent | ReportTask | TimeCome | ResumeThread | RescueThread | Release | Start
"""An input that frees a thread of what holds it."""


class Must(StrEnum):
    """The things that a thread waits for another one to do."""

    END = "END"
    """It ends, or leaves."""
    RUN = "RUN"
    """It runs again."""
    STAND_STILL = "STAND_STILL"
    """It is HALTED, or ends."""


@record
class Hold:
    """One thing that keeps a thread where it is."""

    wait: Wait
    since: Origin | None
    """What brought it about; None if the log no longer has that."""
    external_event: Origin | None = None
    """What took in the ExternalEvent whose handler it waits for. That may have come long before it was accepted."""
    frees: tuple[Freeing, ...] = ()
    """The inputs that end it at once."""
    below: tuple[int, ...] = ()
    """The threads that it waits for."""
    must: Must = Must.END
    """What those must do."""
    any_of: bool = False
    """True if one of those is enough."""
    writers: Writers | None = None
    """Who may make a condition true."""
    for_good: bool = False
    """True if nothing ends it."""
    beside_others: bool = False
    """True if it ends by itself when the other holds of the thread have ended."""
    stillness: bool = False
    """True if it is what keeps the thread from standing still."""

    @property
    def record(self) -> Origin | None:
        """The record that is to blame, as the cause of an event."""
        return self.external_event or self.since

    @property
    def at_latest_ms(self) -> int | None:
        """The time at which it ends whatever comes; None if it may last for ever, or rests on other threads."""
        return min((it.due_ms for it in self.frees if isinstance(it, TimeCome)), default=None)

    @property
    def is_leaf(self) -> bool:
        """True if an input ends it, or nothing does: then it rests on no other thread and no other hold."""
        return bool(self.frees) or not (self.below or self.beside_others)


@record
class Finding:
    """A thread that does not move, and why."""

    thread: int
    thread_spec: str
    status: Status
    node: str
    since: Origin | None
    """What gave it its status, or, while it runs, brought it to its node."""
    holds: tuple[Hold, ...] = ()
    """All of them have to end for the thread to go on. Empty if it has ended."""
    failure: Failure | None = None
    frees: tuple[RescueThread, ...] = ()
    """For a thread that failed: a rescue, if it is not refused."""
    refused: str | None = None
    """For a thread that failed: why it cannot be rescued."""
    leaves_with: int | None = None
    """The loser of ANY or FIRST with which it leaves, itself or one above it. It never runs again."""


class Stage(StrEnum):
    """The stages of a WfRun."""

    NOTHING = "NOTHING"
    """Nothing is known under its id."""
    DELETED = "DELETED"
    """It was deleted, or the ExternalEvents that came for it were, and nothing has come since."""
    NOT_STARTED = "NOT_STARTED"
    """ExternalEvents came for it, and it was not started."""
    RUNNING = "RUNNING"
    QUARANTINED = "QUARANTINED"
    """Its inputs are kept, and its timers do not fire."""
    ENDED = "ENDED"


@record
class Why:
    """What holds a WfRun as a whole, and each of its threads."""

    wf_run_id: str
    stage: Stage
    status: Status | None
    since: Origin | None
    """What brought it to this stage."""
    frees: tuple[Freeing, ...]
    """The inputs that take it out of a stage in which it cannot move."""
    kept_inputs: int
    """The number of inputs that are kept in quarantine."""
    until_ms: int | None
    """The time at which what is left of it is deleted."""
    failure: Failure | None
    """The failure with which it ended."""
    findings: dict[int, Finding]
    """Thread -> why it does not move, ascending."""

    def leaves(self, number: int) -> Iterator[tuple[Finding, Hold | None]]:
        """Yield what a thread rests on in the end, each once: a thread, and the hold of it that is to end.

        If that is nothing, it rests on a condition that only threads could make true which wait for it: that is told.

        Without a hold the thread has ended: its failure stands in the way of the others. First comes what `holds` name
        first.
        """
        todo: list[_Step] = [(number, Must.RUN)]
        seen = {todo[0]}
        told: set[tuple[int, int]] = set()
        in_vain: dict[tuple[int, int], tuple[Finding, Hold]] = {}
        has_leaf = False
        while todo:
            step = todo.pop()
            finding = self.findings[step[0]]
            if not finding.holds:
                has_leaf = True
                yield finding, None
            further: dict[_Step, None] = {}
            for place, hold in enumerate(finding.holds):
                if not _counts(finding, hold, step[1]):
                    continue
                if hold.is_leaf and (step[0], place) not in told:
                    told.add((step[0], place))
                    has_leaf = True
                    yield finding, hold
                elif hold.writers is not None:
                    in_vain[step[0], place] = finding, hold
                further |= dict.fromkeys(it for it in self._ahead(hold) if it not in seen)
            seen.update(further)
            todo += reversed(further)
        if not has_leaf:
            yield from in_vain.values()  # who might make the condition true waits for it

    def way(self, number: int, hold: Hold) -> list[tuple[Finding, Hold | None]] | None:
        """Return the shortest way from a hold of a thread down to a leaf: that hold first; None if it leads to none.

        A hold that ends with the others of its thread leads to none, and one that leads back to its own thread.
        """
        if hold.is_leaf:
            return [(self.findings[number], hold)]
        start: _Step = (number, Must.RUN)
        came_from: dict[_Step, tuple[_Step, Hold] | None] = {start: None}
        todo = deque([(start, hold)])
        in_vain: list[tuple[Finding, Hold | None]] | None = None
        if hold.writers is not None:
            in_vain = [(self.findings[number], hold)]
        while todo:
            step, through = todo.popleft()
            for there in self._ahead(through):
                if there in came_from:
                    continue
                came_from[there] = (step, through)
                finding = self.findings[there[0]]
                holds = [it for it in finding.holds if _counts(finding, it, there[1])]
                leaf = next((it for it in holds if it.is_leaf), None)
                if leaf is not None or not finding.holds:
                    return self._back(came_from, there, leaf)
                condition = next((it for it in holds if it.writers is not None), None)
                if in_vain is None and condition is not None:
                    in_vain = self._back(came_from, there, condition)
                todo += ((there, it) for it in holds)
        return in_vain

    def _back(
        self, came_from: "dict[_Step, tuple[_Step, Hold] | None]", step: "_Step", leaf: Hold | None
    ) -> list[tuple[Finding, Hold | None]]:
        way: list[tuple[Finding, Hold | None]] = [(self.findings[step[0]], leaf)]
        while (before := came_from[step]) is not None:
            step, through = before
            way.append((self.findings[step[0]], through))
        return way[::-1]

    def _ahead(self, hold: Hold) -> "Iterator[_Step]":
        """Yield the threads that a hold waits for, each with what it must do."""
        for number in hold.below:
            finding = self.findings.get(number)
            if finding is None:
                continue
            loser = finding.leaves_with
            yield number if loser is None or hold.must is not Must.END else loser, hold.must


_Step: TypeAlias = tuple[int, Must]
"""A thread, and what it must do."""


def _counts(finding: Finding, hold: Hold, must: Must) -> bool:
    """Return True if a hold keeps a thread from what it must do."""
    match must:
        case Must.RUN:
            return True
        case Must.END:
            return finding.leaves_with is None or not isinstance(hold.wait, Held)
        case Must.STAND_STILL:
            return hold.stillness or finding.status is Status.RUNNING


def why(run: WfRun, origins: Origins) -> Why:
    """Return why a WfRun and each of its threads do not move.

    The WfRun has its WfSpec at hand (`halter.show.wf_run_text.understood`). Without it less is found. `origins` has
    seen the events that led to this state.
    """
    stage, since, frees = _stage(run, origins)
    search = _Search(run, origins)
    ended = None if origins.ended is None else origins.ended.event
    return Why(
        wf_run_id=run.wf_run_id,
        stage=stage,
        status=run.status,
        since=since,
        frees=frees,
        kept_inputs=len(run.kept_inputs),
        until_ms=None if run.timer is None else run.timer.due_ms,
        failure=ended.failure if stage is Stage.ENDED and isinstance(ended, ThreadFailed) else None,
        findings={number: _finding(search, thread) for number, thread in sorted(run.threads.items())
                  if thread.status is not Status.COMPLETED},
    )  # fmt: skip


def _stage(run: WfRun, origins: Origins) -> tuple[Stage, Origin | None, tuple[Freeing, ...]]:
    if run.quarantined_ms is not None:
        return Stage.QUARANTINED, origins.quarantined, (Release(),)
    if run.wf_spec is None:
        if run.external_events:
            return Stage.NOT_STARTED, None, (Start(),)
        return (Stage.NOTHING if origins.deleted is None else Stage.DELETED), origins.deleted, (Start(),)
    if run.status in TERMINAL:
        return Stage.ENDED, origins.ended, ()
    return Stage.RUNNING, origins.started, ()


class _Search:
    """A WfRun and its origins, and what was found out about several threads at once."""

    def __init__(self, run: WfRun, origins: Origins) -> None:
        self.run, self.origins = run, origins
        self.writers = WriterSearch(run)
        self._refusals: dict[int, str | None] = {}

    def refusal(self, number: int) -> str | None:
        """Return why a failed thread cannot be rescued; None if it can."""
        if number not in self._refusals:
            self._refusals[number] = _refusal(self.run, number)
        return self._refusals[number]


def _finding(search: _Search, thread: ThreadRun) -> Finding:
    run, origins = search.run, search.origins
    finding = Finding(
        thread.number, thread.thread_spec, thread.status, thread.node.node, origins.status(thread), (), thread.failure
    )
    if thread.status in TERMINAL:
        refused = search.refusal(thread.number)
        return replace(finding, frees=() if refused else (RescueThread(thread.number),), refused=refused)
    waits = waits_of(run, thread)
    is_held = any(isinstance(it, Held | ForStillness) for it in waits)
    holds: list[Hold] = []
    for wait in waits:
        # What a halted thread will wait for at its node when it runs again does not hold it now.
        delays_halting = thread.status is Status.HALTING and isinstance(wait, ForReport)
        if not is_held or delays_halting or isinstance(wait, Held | ForStillness | ForOthers):
            holds.append(_hold(search, thread, wait))
    if thread.has_lost and thread.task_out:
        holds.append(_hold(search, thread, _report(run, thread)))
    since = origins.arrival(thread) if thread.status is Status.RUNNING else finding.since
    return replace(finding, holds=tuple(holds), since=since, leaves_with=_loser(run, thread))


def _loser(run: WfRun, thread: ThreadRun) -> int | None:
    """Return the nearest loser of ANY or FIRST with which a thread halts, or itself; None if it may run again."""
    current: ThreadRun | None = thread
    while current is not None and current.status not in TERMINAL:
        if current.has_lost:
            return current.number
        current = None if current.holder is None else run.threads.get(current.holder)
    return None


def _report(run: WfRun, thread: ThreadRun) -> ForReport:
    """Return what a loser waits for whose task is out: the rules say only what will never free it."""
    task, node = thread.node.task, None if run.spec is None else run.spec_of(thread).nodes[thread.node.node]
    assert task is not None
    attempts = node.retries + 1 if isinstance(node, TaskNode) else task.attempt
    until_ms = None if thread.node.timer is None else thread.node.timer.due_ms
    return for_report(task, attempts, None, until_ms)


def _hold(search: _Search, thread: ThreadRun, wait: Wait) -> Hold:
    run, origins = search.run, search.origins
    at_node = origins.arrival(thread)
    match wait:
        case Held():
            return _halt(search, thread, wait)
        case ForExternalEvent():
            post = PostEvent(wait.external_event_def, thread.number, wait.until_ms)
            # Once its time is over only the timer counts, which has not fired yet.
            in_time = wait.until_ms is None or run.time_ms < wait.until_ms
            return Hold(wait, at_node, frees=(*((post,) if in_time else ()), *_timer(thread)))
        case ForReport():
            assert thread.node.task is not None
            report = ReportTask(wait.task_def, thread.number, thread.node.position, thread.node.task.attempt)
            since = origins.request(thread)
            known = wait if since is None else replace(wait, since_ms=since.time_ms)
            stillness = thread.status is Status.HALTING
            return Hold(known, since, frees=(report, *_timer(thread)), stillness=stillness)
        case ForRetry():
            return Hold(wait, origins.attempt_end(thread), frees=_timer(thread))
        case ForTime():
            return Hold(wait, at_node, frees=_timer(thread))
        case ForCondition():
            writers = search.writers.of(thread, wait.condition)
            frees = tuple(PostEvent(event_def, number) for event_def, number in writers.external_events)
            nobody = not frees and not writers.threads
            return Hold(
                wait, at_node, frees=frees, below=writers.threads, any_of=True, writers=writers, for_good=nobody
            )
        case ForThreads():
            return Hold(wait, at_node, below=wait.threads, any_of=wait.strategy is not WaitStrategy.ALL)
        case ForRoom():
            live = (it.number for it in run.threads.values() if it.status not in TERMINAL and it is not thread)
            return Hold(wait, at_node, below=tuple(live), any_of=True)
        case ForChildren():
            return Hold(wait, at_node, below=wait.threads)
        case ForHandlersBeside():
            return Hold(wait, at_node, below=_handlers_beside(run, thread, wait))
        case ForOthers():
            return Hold(wait, origins.status(thread), below=wait.threads)
        case ForStillness():
            return Hold(wait, origins.status(thread), below=wait.threads, must=Must.STAND_STILL, stillness=True)
        case ToRun():
            return Hold(wait, at_node, beside_others=True)
        case _:
            assert_never(wait)


def _halt(search: _Search, thread: ThreadRun, held: Held) -> Hold:
    """Return the hold of a halt reason."""
    run, origins = search.run, search.origins
    hold = Hold(held, origins.halt(thread, held.reason))
    match held.reason:
        case PendingInterrupt(external_event_def=event_def, external_event_id=event_id):
            hold = replace(hold, external_event=origins.posted((event_def, event_id)))
        case Interrupted(handler=handler) if (key := origins.interrupting_event(handler)) is not None:
            hold = replace(hold, external_event=origins.posted(key))
    match held.freed_by:
        case FreedBy.HANDLER_ENDS | FreedBy.EARLIER_HANDLER_ENDS:
            return replace(hold, below=held.threads)
        case FreedBy.HOLDER_RUNS:
            return replace(hold, below=held.threads, must=Must.RUN)
        case FreedBy.HOLDER_RESCUED:
            for_good = search.refusal(held.threads[0]) is not None
            return replace(hold, below=held.threads, must=Must.RUN, for_good=for_good)
        case FreedBy.STILLNESS if thread.status is Status.HALTED:
            return replace(hold, below=tuple(_restless(run, thread)), must=Must.STAND_STILL)
        case FreedBy.STILLNESS | FreedBy.OTHER_REASONS_GONE:
            return replace(hold, beside_others=True)
        case FreedBy.RESUME:
            return replace(hold, frees=(ResumeThread(thread.number),))
        case FreedBy.NEVER:
            return replace(hold, for_good=True)


def _timer(thread: ThreadRun) -> tuple[TimeCome, ...]:
    timer = thread.node.timer
    return () if timer is None else (TimeCome(thread.number, thread.node.position, timer.kind, timer.due_ms),)


def _restless(run: WfRun, thread: ThreadRun) -> Iterator[int]:
    """Yield the threads below a HALTED one that must stand still before its next handler starts.

    Its own Interrupt Handlers may go on meanwhile.
    """
    for dependent in run.dependents(thread):
        if dependent.type is ThreadType.INTERRUPT:
            continue
        if dependent.status in (Status.RUNNING, Status.HALTING):
            yield dependent.number
        else:
            yield from moving_below(run, dependent)


def _handlers_beside(run: WfRun, thread: ThreadRun, wait: ForHandlersBeside) -> tuple[int, ...]:
    """Return the handlers after which accepted interrupts get theirs."""
    event_defs = {event_def for event_def, _ in wait.external_events}
    return tuple(
        it.number
        for it in run.dependents(thread)
        if it.type is ThreadType.INTERRUPT and it.external_event_def in event_defs and it.status not in TERMINAL
    )


_NO_DEFINITIONS: Final = Context(cast("DefinitionLookup", None))
"""The context of a command that looks at no definition, as RescueThreadRun does not."""


def _refusal(run: WfRun, number: int) -> str | None:
    """Return why a failed thread cannot be rescued; None if it can.

    The rule itself is asked. It changes nothing before its first event happens, and that is not let happen.
    """
    if run.spec is None or run.threads[number].status is not Status.ERROR:
        return f"thread {number} is {run.threads[number].status}: only a thread in ERROR can be rescued"
    first = next(decide(run, RescueThreadRun(run.wf_run_id, number), _NO_DEFINITIONS, run.time_ms))
    if not isinstance(first, Rejected):
        return None
    return first.message.partition(f"{run.wf_run_id!r}: ")[2]
