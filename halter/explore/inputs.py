"""The inputs that may come next in a state, within the bounds of a search.

Everything comes at once, or right after a timer: time passes to the next timer that is due, as the step `clock` of a
scenario lets it pass. With `between` it may also stop just before that timer. ExternalEvents come to the WfRun, not to
one of its threads; with `by_key` those that have a correlation key come only while the WfRun has one. Task attempts
succeed with each sample output, fail, or end with each exception that the WfSpec catches, or with one that it does not.
Their time-outs are timers. They are started where that moves the time-out. No rule looks at their progress, so none is
reported.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Final

from halter.explore.samples import Samples
from halter.explore.states import State, over
from halter.explore.subject import WF_RUN_ID, Subject
from halter.scenarios.memory import firing_order, timers_of
from processors.core.records.commands import (
    Command,
    ExternalEvent,
    ReportTaskRun,
    ResumeWfRun,
    RunWf,
    StartTaskRun,
    StopWfRun,
)
from processors.core.records.events import Cause, LogEntry
from processors.core.records.failures import is_of_the_engine
from processors.core.records.model import TERMINAL, ManualHalt, TaskStatus, ThreadRun, WfRun
from processors.core.records.record import record
from processors.core.records.spec import FailureHandlerDef, WaitForThreadsNode, WfSpec
from processors.core.rules.context import Context
from processors.core.rules.correlation_keys import NO_KEY
from processors.core.rules.engine import handle

OTHER_EXCEPTION: Final = "other-exception"
"""The exception of a task that no handler catches by its name."""
TIMERS_MAX: Final = 1_000
"""The most timers that may fire at one moment: more are a loop of the WfSpec, which the engine bounds by command."""


@record
class Bounds:
    """The most that may come on one path."""

    events: int = 1
    """ExternalEvents of each ExternalEventDef."""
    before: int = 0
    """How many of them may come before the WfRun."""
    stops: int = 0
    """How many StopWfRun, of any thread."""
    between: bool = False
    """True if time may also pass until just before a timer, so that inputs come late and new timers still later."""
    by_key: bool = False
    """True if ExternalEvents for which the WfSpec has a correlation key come by key alone."""


@record
class Input:
    """An input: a command, or, without one, time that passes until the next timer is due."""

    command: Command | None
    wait_ms: int = 0
    stops: int = 0
    posted: int | None = None
    """The place of its ExternalEventDef in `Inputs.event_defs`."""
    key: str | None = None
    """The correlation key by which its ExternalEvent comes."""


class TooManyTimers(Exception):
    """Timers fire at one moment without end."""


class Inputs:
    """What may come in any state of a WfRun."""

    def __init__(self, subject: Subject, samples: Samples, bounds: Bounds) -> None:
        self._subject, self._spec, self._samples, self.bounds = subject, subject.spec, samples, bounds
        self.event_defs = tuple(samples.events)
        self._made: dict[tuple[object, ...], list[Input]] = {}
        """Inputs that were made before: a search asks for the same ones again and again, and keeps millions."""
        self._exceptions = (*exceptions_of(subject.spec), OTHER_EXCEPTION)

    def of(self, state: State) -> Iterator[Input]:
        """Yield everything that may come next, in a fixed order."""
        run = state.run
        if not run.exists:
            for start in self._samples.starts:
                yield Input(RunWf(WF_RUN_ID, self._spec.name, dict(start)))
            if sum(state.posted) < self.bounds.before:
                yield from self._events(state)
            return
        if over(run):
            return
        due_ms: int | None = None
        for thread in run.threads.values():
            if thread.status in TERMINAL:
                continue
            timer = thread.node.timer
            if timer is not None and (due_ms is None or timer.due_ms < due_ms):
                due_ms = timer.due_ms
            if thread.task_out:
                yield from self._starts(run, thread)
                yield from self._reports(run, thread)
            if ManualHalt() in thread.halt_reasons:
                yield Input(ResumeWfRun(WF_RUN_ID, thread.number))
            elif state.stops < self.bounds.stops:
                yield Input(StopWfRun(WF_RUN_ID, thread.number), stops=1)
        yield from self._events(state)
        if due_ms is not None:
            left_ms = max(0, due_ms - state.now_ms)
            yield Input(None, left_ms)
            if self.bounds.between and left_ms > 1:
                yield Input(None, left_ms - 1)

    def up_to(self, events: int) -> "Inputs":
        """Return the same with at least this number of ExternalEvents of each ExternalEventDef."""
        return Inputs(self._subject, self._samples, replace(self.bounds, events=max(events, self.bounds.events)))

    def posted(self, state: State, taken: Input) -> tuple[int, ...]:
        """Return how many ExternalEvents of each ExternalEventDef have come after an input."""
        if taken.posted is None:
            return state.posted
        return tuple([number + (place == taken.posted) for place, number in enumerate(state.posted)])

    def _events(self, state: State) -> Iterator[Input]:
        for place, name in enumerate(self.event_defs):
            posted, key = state.posted[place], None
            if self.bounds.by_key and name in self._spec.correlated_events:
                # Without a key it waits, and comes as soon as there is one: as one that comes then.
                key = state.run.correlation_keys.get(name, NO_KEY).key
                if key is None:
                    continue
            if posted < self.bounds.events:
                number = 1 + sum([name == known for known, _ in state.run.external_events])
                made = self._made.get((place, number, key))
                if made is None:
                    event_id, contents = f"{name}-{number}", self._samples.events[name]
                    events = [ExternalEvent(WF_RUN_ID, name, event_id, content) for content in contents]
                    made = [Input(event, posted=place, key=key) for event in events]
                    self._made[place, number, key] = made
                yield from made

    def _starts(self, run: WfRun, thread: ThreadRun) -> Iterator[Input]:
        """Yield the start of an attempt that has to be started in time. One that need not, changes nothing."""
        node = thread.node
        assert node.task is not None
        if node.task.start_by_ms is not None and node.task.started_ms is None:
            attempt = (WF_RUN_ID, run.incarnation, thread.number, node.position, node.task.attempt)
            made = self._made.get(attempt)
            if made is None:
                made = self._made[attempt] = [Input(StartTaskRun(*attempt))]
            yield from made

    def _reports(self, run: WfRun, thread: ThreadRun) -> Iterator[Input]:
        node = thread.node
        assert node.task is not None
        attempt = (WF_RUN_ID, run.incarnation, thread.number, node.position, node.task.attempt)
        made = self._made.get((thread.thread_spec, node.node, *attempt))
        if made is None:
            outputs = self._samples.outputs[thread.thread_spec, node.node]
            reports = [ReportTaskRun(*attempt, TaskStatus.SUCCESS, output) for output in outputs]
            reports.append(ReportTaskRun(*attempt, TaskStatus.FAILED))
            reports += [ReportTaskRun(*attempt, TaskStatus.EXCEPTION, failure_name=it) for it in self._exceptions]
            made = self._made[(thread.thread_spec, node.node, *attempt)] = [Input(report) for report in reports]
        yield from made


def exceptions_of(spec: WfSpec) -> Sequence[str]:
    """Return the names of exceptions that some failure handler of a WfSpec catches by name, sorted."""
    caught: set[str] = set()
    for thread in spec.threads.values():
        for node in thread.nodes.values():
            handlers: list[FailureHandlerDef] = [*node.failure_handlers]
            if isinstance(node, WaitForThreadsNode):
                handlers += node.on_child_failure
            caught.update(it.catch for it in handlers if it.catch is not None and not is_of_the_engine(it.catch))
    return sorted(caught)


def take(run: WfRun, taken: Input, offset: int, now_ms: int, context: Context) -> tuple[list[LogEntry], int]:
    """Let an input come to a WfRun that may be changed; return the log entries and the time afterwards.

    `offset` orders it after all that came before. When time passes, every timer fires that is due then.
    """
    cause = Cause("inputs", 0, offset, None, context.definitions.position)
    if taken.command is not None:
        return handle(run, taken.command, cause, now_ms, context), now_ms
    until_ms = now_ms + taken.wait_ms
    entries: list[LogEntry] = []
    for fired in count():
        due = min(timers_of(run), key=firing_order, default=None)
        if due is None or due.due_ms > until_ms:
            return entries, until_ms
        if fired == TIMERS_MAX:
            break
        entries += handle(run, due, cause, max(now_ms, due.due_ms), context)
    raise TooManyTimers
