"""The one loop that joins decide, advance and evolve: a command in, its events out, the WfRun moved.

Every event is applied before the rule that yielded it goes on, so live folding and replay run the same `evolve` over
the same events in the same order. Nothing here knows Kafka; the fold of a partition, the scenario runner and the
searches all call `handle`.
"""

from collections.abc import Iterator
from typing import Any, Final

from processors.core.records.commands import Command
from processors.core.records.events import (
    Cause,
    Event,
    Halt,
    Ignored,
    LogEntry,
    Rejected,
    TaskCancellation,
    WfRunStarted,
)
from processors.core.records.failures import INTERNAL_ERROR, failure_of
from processors.core.records.model import NO_INCARNATION, TERMINAL, Index, PendingInterrupt, WfRun
from processors.core.rules.advance import advance
from processors.core.rules.agenda import WAKERS, Agenda
from processors.core.rules.bounds import MEASURES, TAKE_EVENTS
from processors.core.rules.cancelling import CANCELS, cancelled_by
from processors.core.rules.context import Context, Limits, WfSpecLookup
from processors.core.rules.correlation_keys import changed_keys
from processors.core.rules.decide import decide, what_follows
from processors.core.rules.evolve import evolve, new_run, replay
from processors.core.rules.failing import fail_thread
from processors.core.rules.indexing import index_of
from processors.core.rules.restoring import note_restored

__all__ = ["attach", "handle", "indexed", "new_run", "note", "replay"]


def handle(
    run: WfRun,
    command: Command,
    cause: Cause,
    time_ms: int,
    context: Context,
    cancelled: list[TaskCancellation] | None = None,
) -> list[LogEntry]:
    """Fold one command: change the WfRun in place and return the log entries, at least one.

    Nothing but the arguments decides what they are (rules every-input-has-outcome, same-records-same-bytes). `time_ms`
    is the time of the command's record (rule time-comes-from-records). The task attempts that the events cancel are
    appended to `cancelled`, if it is given, in the order of the events. An exception from here is a bug: the WfRun is
    then half changed and must be restored.
    """
    log = _Handling(run, cause, time_ms, context, cancelled).handle(command, time_ms)
    following = what_follows(run, command, log[0].event)
    if following is not None:
        log += _Handling(run, cause, time_ms, context, cancelled).handle(following, time_ms)
    return log


def note(run: WfRun, event: Event, cause: Cause, time_ms: int) -> LogEntry:
    """Log what an operator did with a WfRun. No rule is run, so this works where a rule is broken.

    The WfRun's own time does not move: what is decided later is decided as of when it came (rule
    quarantine-stops-time). `time_ms` is for an id under which nothing runs.
    """
    if run.exists:
        entry = LogEntry(run.wf_run_id, run.incarnation, run.seq + 1, run.time_ms, cause, event)
    else:
        entry = LogEntry(run.wf_run_id, NO_INCARNATION, 0, time_ms, cause, event)
    evolve(run, entry)
    return entry


def attach(run: WfRun, context: Context, index: Index | None = None) -> WfRun:
    """Make a WfRun that was restored from its rows, or replayed, ready for `handle`.

    `index` is the one of the last time, if its ExternalEvents are the same as then: they are not looked at again.
    """
    return indexed(run, context.definitions, index)


def indexed(run: WfRun, wf_specs: WfSpecLookup, index: Index | None = None) -> WfRun:
    """Do the same as `attach` for code that only looks at a WfRun, and knows no more definitions than its WfSpec."""
    run.index = index_of(run, index)
    if run.wf_spec is not None:
        run.spec = wf_specs.wf_spec(run.wf_spec)
        note_restored(run)
    return run


_UNDECIDED: Final = (Rejected, Ignored)
"""Outcomes after which nothing follows."""
_NO_LIMITS: Final = Limits(
    events_per_command=2**63,
    bytes_per_event=2**63,
    bytes_per_command=2**63,
    events_in_all=2**63,
    bytes_in_all=2**63,
    steps_per_command=2**63,
)
"""Limits for the end of a WfRun that went beyond the others."""


# (rule time-never-runs-backwards)
class _Handling:
    """One command on its way through the rules, within the limits (rule commands-are-bounded)."""

    __slots__ = (
        "_agenda",
        "_bytes",
        "_bytes_in_all",
        "_cancelled",
        "_cause",
        "_context",
        "_events",
        "_events_in_all",
        "_limits",
        "_log",
        "_run",
        "_time_ms",
        "_too_much",
    )

    def __init__(
        self, run: WfRun, cause: Cause, time_ms: int, context: Context, cancelled: list[TaskCancellation] | None
    ) -> None:
        self._run = run
        self._cause = cause
        self._context = context
        self._limits = context.limits
        self._agenda = Agenda()
        self._log: list[LogEntry] = []
        self._cancelled = cancelled
        self._events = self._bytes = 0  # of this command so far, as the limits count them
        self._events_in_all = self._bytes_in_all = 0  # before the latest ExternalEvent that was taken
        self._too_much: str | None = None
        self._time_ms = time_ms
        if run.wf_spec is not None:
            run.time_ms = self._time_ms = max(run.time_ms, time_ms)  # rules that look at the time see this command's

    def handle(self, command: Command, time_ms: int) -> list[LogEntry]:
        run, log = self._run, self._log
        run.index.steps_left = self._limits.steps_per_command
        self._follow(decide(run, command, self._context, time_ms))
        assert log, f"{type(command).__name__} had no outcome"
        if self._too_much is None and run.wf_spec is not None and type(log[0].event) not in _UNDECIDED:
            for number in run.index.arrivals:
                self._agenda.wake(number)
            run.index.arrivals.clear()
            self._follow(advance(run, self._context, self._agenda))
        if self._too_much is not None:
            self._break_off(self._too_much)
        if run.spec is not None and (run.spec.correlated_events or run.correlation_keys):
            self._follow(changed_keys(run, self._context))
        return log

    # (rules incarnation-is-an-offset, seq-has-no-gap)
    def _follow(self, rules: Iterator[Any]) -> None:
        """Apply and log the events that the rules yield, until it is too much.

        When it is, the rule that is at work comes to its end, and no other begins (rule rules-end-whole). Half a rule
        would leave what nothing could move, like a handler that failed below a thread that did not. Only an event that
        is too large by itself does not happen: a node that writes much to several threads at once, a rule of one event.
        """
        run, cause, time_ms, log, agenda = self._run, self._cause, self._time_ms, self._log, self._agenda
        limits, events, size = self._limits, self._events, self._bytes
        index, cancelled = run.index, self._cancelled
        too_much = False
        event_max, size_max, events_max = limits.bytes_per_event, limits.bytes_per_command, limits.events_per_command
        for event in rules:
            kind = type(event)
            measure = MEASURES.get(kind)
            if measure is not None:
                event_bytes = measure(event)
                size += event_bytes
                if event_bytes > event_max:
                    self._note_too_much(f"{event_bytes} bytes in one event", event)
                    return
                # Work that is too much is a failure, and that is measured.
                too_much = size > size_max or index.steps_left < 0
            if run.wf_spec is not None:
                entry = LogEntry(run.wf_run_id, run.incarnation, run.seq + 1, time_ms, cause, event)
                if kind in CANCELS and cancelled is not None:
                    cancelled.extend(cancelled_by(run, entry))
                evolve(run, entry)
            elif type(event) is WfRunStarted:
                entry = LogEntry(run.wf_run_id, cause.offset, 1, time_ms, cause, event)
                evolve(run, entry)
                run.spec = self._context.definitions.wf_spec(event.wf_spec)
            else:
                entry = LogEntry(run.wf_run_id, NO_INCARNATION, 0, time_ms, cause, event)
                evolve(run, entry)
            log.append(entry)
            wake = WAKERS.get(kind)
            if wake is not None:
                wake(agenda, run, event)
            events += 1
            if kind in TAKE_EVENTS and (
                event.external_event_id is not None if kind is not Halt else type(event.reason) is PendingInterrupt
            ):
                self._count_in_all(events, size, event)
                events = size = 0
                too_much = index.steps_left < 0
            elif too_much or events >= events_max:
                self._note_too_much(self._what(events, size), event)
        self._events, self._bytes = events, size

    def _count_in_all(self, events: int, size: int, newest: Event) -> None:
        """Add what was counted since the ExternalEvent before to the totals of the command."""
        self._events_in_all += events
        self._bytes_in_all += size
        limits = self._limits
        if self._events_in_all > limits.events_in_all or self._bytes_in_all > limits.bytes_in_all:
            self._note_too_much(f"{self._events_in_all} events of {self._bytes_in_all} bytes in one command", newest)

    def _what(self, events: int, size: int) -> str:
        """Say what it is too much of."""
        if self._run.index.steps_left < 0:
            return f"more than {self._limits.steps_per_command} steps of computing in one command"
        if size > self._limits.bytes_per_command:
            return f"{size} bytes in one command"
        return f"{events} events in one command"

    def _note_too_much(self, what: str, newest: Event) -> None:
        """Let no other rule begin. A WfRun that has ended already comes to rest by itself."""
        if self._too_much is None and self._run.threads and self._run.status not in TERMINAL:
            self._too_much = f"did not settle: {what}; the newest is {type(newest).__name__}"
            self._agenda.close()

    def _break_off(self, message: str) -> None:
        """Fail a WfRun that is too much, and nothing else: a WfSpec that loops or swells is its author's mistake."""
        self._agenda = Agenda()  # what was still to be looked at is halted
        self._limits = _NO_LIMITS
        failure = failure_of(INTERNAL_ERROR, message)
        self._follow(fail_thread(self._run, self._run.threads[0], failure))
        self._follow(advance(self._run, self._context, self._agenda))
