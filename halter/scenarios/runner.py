"""Takes a scenario step by step to a verdict.

This module knows what the steps mean, and not how an engine works. The engine in memory and the one on Kafka have the
same few methods, so a document gets the same verdict from both.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol, assert_never

from halter.files.scenario import (
    ABSENT,
    Action,
    Clock,
    Correlate,
    Crash,
    Define,
    Expect,
    ExpectCorrelation,
    ExpectEvents,
    ExpectRejected,
    Fork,
    Post,
    Report,
    ReportProgress,
    Scenario,
    StartTask,
    Step,
)
from halter.scenarios import found
from halter.scenarios.found import WfRunFound
from halter.show.log_text import correlated_lines, transcript
from processors.core.records.commands import (
    Command,
    CorrelatedEvent,
    DefinitionCommand,
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
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    CorrelationDecided,
    CorrelationOutcome,
    DefinitionProblem,
    LogEntry,
    Rejected,
    TaskAttemptRequested,
)
from processors.core.records.model import NO_INCARNATION, Correlation, TaskStatus, WfRunSnapshot, WfSpecId
from processors.core.records.values import Timestamp, Value, ValueProblem, VariableType, timestamp_of
from processors.core.rules.context import DefinitionLookup
from processors.core.wf_spec.document_problems import path_text

Turn = tuple[Command, list[LogEntry]]
"""A command and the log entries that it caused."""


class Engine(Protocol):
    """An engine that a scenario runs on."""

    log: list[Turn]
    """All turns so far, in order."""

    def put_all(self, commands: Sequence[Command]) -> object:
        """Fold commands one after the other. The log gets a turn for each, and for what they let come by key."""

    def correlate(self, command: CorrelatedEvent) -> Sequence[CorrelationDecided]:
        """Take an event by its key, and fold what it becomes: turns on the log. Return what became of it."""

    def correlation(self, event_def: str, key: str) -> Correlation | None:
        """Return what is known of a correlation key; None if nothing is."""

    def register(self, commands: Sequence[DefinitionCommand]) -> Sequence[DefinitionProblem]:
        """Register definitions, and return all problems of those that are refused."""

    def pass_time(self, milliseconds: int) -> object:
        """Let time pass, and fire the timers that are due."""

    def crash(self) -> None:
        """Lose the memory and restore it."""

    def find(self, wf_run_id: str) -> WfRunFound | None:
        """Return a WfRun as it is now; None if it does not exist."""

    def snapshot(self, wf_run_id: str) -> WfRunSnapshot | None:
        """Return the state of a WfRun at this moment; None if it does not exist."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a scenario."""

    steps: int
    """The number of steps that went as expected."""
    problem: str | None = None
    """The step, what was expected and what was found; None if everything was as expected."""
    path: tuple[str | int, ...] = ()
    """The place of that step in the document."""
    log: Sequence[str] = ()
    """The log up to the problem."""

    @property
    def ok(self) -> bool:
        """Return True if everything was as expected."""
        return self.problem is None


class _Unexpected(Exception):
    """Something is not as the scenario expects. `run` makes a verdict of it."""


def run(scenario: Scenario, engine: Engine, definitions: DefinitionLookup) -> Verdict:
    """Run the steps until one is not as expected."""
    runner = _Runner(engine, definitions)
    # What came by a key may go to a WfRun behind any record.
    together = 1 if scenario.correlates else None
    for number, step in enumerate(scenario.steps):
        try:
            records = islice(_records_from(scenario.steps, number), together)
            runner.take(step, records, islice(scenario.steps, number + 1, None))
        except (_Unexpected, HalterError) as problem:
            where = path_text(step.path) + ("" if step.round is None else f" (round {step.round})")
            return Verdict(number, f"{where}: {problem}", step.path, runner.transcript())
    return Verdict(len(scenario.steps))


def _records_from(steps: Sequence[Step], number: int) -> Iterator[Command]:
    """Yield the records from one step on, up to the next step of another kind: an engine may take them at once."""
    for step in islice(steps, number, None):
        if not isinstance(step.does, Post):
            return
        yield step.does.command


def _name_a_refusal(following: Iterable[Step]) -> bool:
    """Return True if one of the expectations that follow directly is that something was refused."""
    for step in following:
        match step.does:
            case ExpectRejected():
                return True
            case ExpectEvents(expected=expected):
                if any(name == Rejected.__name__ for name, _ in expected):
                    return True
            case Expect() | ExpectCorrelation():
                pass
            case _:
                return False
    return False


def judge_definitions(scenario: Scenario, problems: Sequence[DefinitionProblem]) -> Verdict | None:
    """Return the verdict if definitions were refused, or should have been; None if the steps are to be run."""
    codes = [problem.code for problem in problems]
    sentences = _sentences(problems)
    wanted = scenario.definitions_rejected
    if wanted is None:
        return Verdict(0, f"the definitions are refused: {sentences}") if problems else None
    if not problems:
        message = f"expected the definitions to be refused ({wanted.code or 'any code'}), they are accepted"
        return Verdict(0, message, wanted.path)
    if wanted.code is not None and wanted.code not in codes:
        message = f"expected the definitions to be refused with {wanted.code}, found {sentences}"
        return Verdict(0, message, wanted.path)
    return Verdict(0)


def _sentences(problems: Iterable[DefinitionProblem]) -> str:
    return "; ".join(f"{problem.code}: {problem.message}" for problem in problems)


class _Runner:
    """Takes the steps of one scenario on one engine."""

    def __init__(self, engine: Engine, definitions: DefinitionLookup) -> None:
        self._engine, self._definitions = engine, definitions
        self._newest: list[Turn] = []
        """The turns of the step before."""
        self._ahead = 0
        """The number of the engine's newest turns that belong to steps not yet taken."""
        self._correlated: list[tuple[int, CorrelatedEvent, Sequence[CorrelationDecided]]] = []
        """The events that came by key: how many turns were before, and what became of each."""
        self._refused: CorrelationDecided | None = None
        """Why the step before was refused, if an event came by key in it."""
        self._wf_specs: dict[str, WfSpecId] = {}
        """WfRun id -> the WfSpec of its RunWf."""

    @property
    def seen(self) -> Sequence[Turn]:
        """The log up to the newest step that was taken. The engine may be ahead of it."""
        return self._engine.log[: len(self._engine.log) - self._ahead]

    def transcript(self) -> list[str]:
        """Return the log up to the newest step that was taken, as text."""
        lines: list[str] = []
        before = 0
        for turns, command, decided in self._correlated:
            lines += transcript(self.seen[before:turns])
            lines += correlated_lines(command, decided)
            before = turns
        return lines + transcript(self.seen[before:])

    def take(self, step: Step, records: Iterable[Command], following: Iterable[Step]) -> None:
        """Take a step. `records` are the records from this step on, up to the next step of another kind.

        A refusal that none of the steps `following` expects is a failure.
        """
        match step.does:
            case Expect() as wanted:
                self._expect(wanted)
            case ExpectEvents() as wanted:
                self._expect_events(wanted)
            case ExpectRejected() as wanted:
                self._expect_rejected(wanted)
            case ExpectCorrelation() as wanted:
                self._expect_correlation(wanted)
            case action:
                before, self._refused = len(self.seen), None
                self._act(action, records)
                self._newest = [*self.seen[before:]]
                rejected = self._rejected()
                if rejected is not None and not _name_a_refusal(following):
                    raise _Unexpected(f"refused: {rejected.code}: {rejected.message}")

    def _events(self) -> list[Any]:
        return [entry.event for _, entries in self._newest for entry in entries]

    def _rejected(self) -> Rejected | CorrelationDecided | None:
        return self._refused or next((event for event in self._events() if isinstance(event, Rejected)), None)

    def _act(self, action: Action, records: Iterable[Command]) -> None:
        match action:
            case Post() if self._ahead:
                self._ahead -= 1
            case Post():
                together = [self._typed(command) for command in records]
                self._engine.put_all(together)
                self._ahead = len(together) - 1
            case Correlate(command=command):
                definition = self._definitions.external_event_def(command.external_event_def)
                declared = None if definition is None else definition.content_type
                before = len(self.seen)
                decided = self._engine.correlate(replace(command, content=_typed(command.content, declared)))
                self._correlated.append((before, command, decided))
                self._refused = next((it for it in decided if it.outcome is CorrelationOutcome.REJECTED), None)
            case Fork():
                self._engine.put_all([self._fork(action)])
            case StartTask():
                self._engine.put_all([StartTaskRun(action.wf_run_id, *self._attempt(action)[0])])
            case ReportProgress():
                attempt, _ = self._attempt(action)
                self._engine.put_all([ReportTaskProgress(action.wf_run_id, *attempt, action.content)])
            case Report():
                self._engine.put_all([self._report(action)])
            case Clock(milliseconds=milliseconds):
                self._engine.pass_time(milliseconds)
            case Define(commands=commands):
                refused = self._engine.register(commands)
                if refused:
                    raise _Unexpected(f"the definitions are refused: {_sentences(refused)}")
            case Crash():
                self._engine.crash()

    def _typed(self, command: Command) -> Command:
        """Return a command with its values as their declared types keep them (TIMESTAMP, BYTES)."""
        match command:
            case RunWf():
                return replace(command, variables=self._variables(command))
            case RunWfAndPost():
                variables = self._variables(command)  # notes the version, which the content is typed by
                return replace(command, variables=variables, content=self._content(command))
            case ExternalEvent():
                return replace(command, content=self._content(command))
            case DeleteWfRun():
                self._wf_specs.pop(command.wf_run_id, None)
                return command
            case MigrateWfRun():
                self._note_version(command)
                return command
            case (
                ForkWfRun()
                | StartTaskRun()
                | ReportTaskProgress()
                | ReportTaskRun()
                | TimerFired()
                | StopWfRun()
                | ResumeWfRun()
                | RescueThreadRun()
            ):
                return command  # a report is typed where it is made, the others have no values of a declared type
            case _:
                assert_never(command)

    def _variables(self, command: RunWf | RunWfAndPost) -> dict[str, Value]:
        """Return the Variables of a start, and note the WfSpec if it will run."""
        version = command.wf_spec_major, command.wf_spec_revision
        spec_id = self._definitions.latest_wf_spec(command.wf_spec_name, *version)
        if spec_id is None:
            return command.variables
        if command.wf_run_id not in self._wf_specs or self._engine.find(command.wf_run_id) is None:
            self._wf_specs[command.wf_run_id] = spec_id
        spec = self._definitions.wf_spec(spec_id)
        declared = spec.threads[spec.entrypoint].variables
        return {
            name: _typed(value, declared[name].type if name in declared else None)
            for name, value in command.variables.items()
        }

    def _content(self, command: ExternalEvent | RunWfAndPost) -> Value:
        """Return the content of an ExternalEvent."""
        bound_by = self._wf_specs.get(command.wf_run_id)
        definition = self._definitions.external_event_def(command.external_event_def, bound_by)
        return _typed(command.content, None if definition is None else definition.content_type)

    def _note_version(self, command: MigrateWfRun) -> None:
        """Note the WfSpec by which ExternalEvents are read from here on. If it is refused, they hardly are others."""
        known = self._wf_specs.get(command.wf_run_id)
        version = command.wf_spec_major, command.wf_spec_revision
        spec_id = None if known is None else self._definitions.latest_wf_spec(known.name, *version)
        if spec_id is not None:
            self._wf_specs[command.wf_run_id] = spec_id

    def _fork(self, fork: Fork) -> ForkWfRun:
        """Return the command that carries the state of a WfRun at this moment."""
        snapshot = self._engine.snapshot(fork.wf_run_id)
        if snapshot is None:
            raise _Unexpected(f"expected a WfRun {fork.wf_run_id} to fork, found none")
        version = fork.wf_spec_major, fork.wf_spec_revision
        is_new = self._engine.find(fork.to) is None
        spec_id = self._definitions.latest_wf_spec(snapshot.wf_spec.name, *version)
        if is_new:
            self._wf_specs[fork.to] = snapshot.wf_spec if fork.wf_spec_major is None or spec_id is None else spec_id
        return ForkWfRun(fork.to, snapshot, *version)

    def _report(self, report: Report) -> ReportTaskRun:
        """Return the report with the identity of its attempt."""
        attempt, task_def = self._attempt(report)
        bound_by = self._wf_specs.get(report.wf_run_id)
        definition = None if task_def is None else self._definitions.task_def(task_def, bound_by)
        succeeded = report.status is TaskStatus.SUCCESS
        return ReportTaskRun(
            report.wf_run_id,
            *attempt,
            report.status,
            output=_typed(report.output, None if definition is None or not succeeded else definition.output),
            failure_name=report.name,
            message=report.message,
            content=report.content,
        )

    def _attempt(self, said: StartTask | ReportProgress | Report) -> tuple[tuple[int, int, int, int], str | None]:
        """Return incarnation, thread, position and number of the attempt that is out, else of the last one.

        And its TaskDef. If there was no such attempt, the engine is to say so.
        """
        asked = self._last_request(said)
        if asked is not None:
            incarnation, request = asked
            return (incarnation, said.thread, request.position, request.attempt), request.task_def
        run = self._engine.find(said.wf_run_id)
        thread = None if run is None else run.threads.get(said.thread)
        incarnation = NO_INCARNATION if run is None else run.incarnation
        position = 0 if thread is None else thread.node.position
        return (incarnation, said.thread, position, said.attempt or 1), None

    def _last_request(self, report: StartTask | ReportProgress | Report) -> tuple[int, TaskAttemptRequested] | None:
        """Return the newest request that a task worker can speak of, with its incarnation."""
        for command, entries in reversed(self._engine.log):
            if command.wf_run_id != report.wf_run_id:
                continue
            for entry in reversed(entries):
                event = entry.event
                if (
                    isinstance(event, TaskAttemptRequested)
                    and event.thread == report.thread
                    and report.attempt in (None, event.attempt)
                ):
                    return entry.incarnation, event
        return None

    def _expect(self, wanted: Expect) -> None:
        run = self._engine.find(wanted.wf_run_id)
        if wanted.expected.get("status") == ABSENT:
            if run is not None:
                raise _Unexpected(f"expected no WfRun {wanted.wf_run_id}, found one that is {run.status}")
            return
        if run is None:
            raise _Unexpected(f"expected a WfRun {wanted.wf_run_id}, found none")
        problems = list(found.differences(wanted.expected, found.wf_run(run, wanted.expected)))
        if problems:
            raise _Unexpected("; ".join(problems))

    def _expect_events(self, wanted: ExpectEvents) -> None:
        happened = self._events()
        matching = _first_mismatch_between if wanted.others_between else _first_mismatch
        problem = matching(wanted.expected, happened)
        if problem is not None:
            names = ", ".join(type(event).__name__ for event in happened) or "none"
            raise _Unexpected(f"{problem}; the events are {names}")

    def _expect_correlation(self, wanted: ExpectCorrelation) -> None:
        event_def, key = wanted.external_event_def, wanted.correlation_key
        known = self._engine.correlation(event_def, key) or Correlation(key, event_def)
        have = [it.wf_run_id for it in known.wf_runs]
        waiting = [it.external_event_id for it in known.kept]
        for what, expected, here in (("WfRuns", wanted.wf_runs, have), ("events that wait", wanted.waiting, waiting)):
            if expected is not None and list(expected) != here:
                raise _Unexpected(
                    f"correlation key {key} of {event_def}, {what}: expected {_listed(expected)}, found {_listed(here)}"
                )

    def _expect_rejected(self, wanted: ExpectRejected) -> None:
        rejected = self._rejected()
        if rejected is None:
            names = ", ".join(type(event).__name__ for event in self._events()) or "nothing"
            raise _Unexpected(f"expected the record before to be refused, found {names}")
        if wanted.code is not None and rejected.code != wanted.code:
            raise _Unexpected(f"expected a refusal with {wanted.code}, found {rejected.code}: {rejected.message}")


def _typed(value: Value, declared: VariableType | None) -> Value:
    """Return a value of a document as its type keeps it: TIMESTAMP from ISO 8601 or ms, BYTES from base64.

    A value that does not fit its type is returned as it is, for the engine to refuse.
    """
    try:
        match declared, value:
            case VariableType.TIMESTAMP, str():
                return timestamp_of(value)
            case VariableType.TIMESTAMP, int() if not isinstance(value, bool):
                return Timestamp(value)
            case VariableType.BYTES, str():
                return base64.b64decode(value, validate=True)
    except (ValueProblem, binascii.Error):
        pass
    return value


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids) or "none"


def _mismatch(wanted: tuple[str, Mapping[str, Any]], event: Any) -> Iterator[str]:
    name, fields = wanted
    if type(event).__name__ != name:
        yield f"expected {name}, found {type(event).__name__}"
    else:
        yield from found.differences(fields, found.event(event), name)


def _first_mismatch(expected: Sequence[tuple[str, Mapping[str, Any]]], happened: Sequence[Any]) -> str | None:
    for wanted, event in zip(expected, happened, strict=False):
        problem = next(_mismatch(wanted, event), None)
        if problem is not None:
            return problem
    if len(expected) != len(happened):
        return f"expected {len(expected)} events, found {len(happened)}"
    return None


def _first_mismatch_between(expected: Sequence[tuple[str, Mapping[str, Any]]], happened: Sequence[Any]) -> str | None:
    events = iter(happened)
    for wanted in expected:
        if not any(next(_mismatch(wanted, event), None) is None for event in events):
            return f"expected {wanted[0]} {dict(wanted[1]) or ''}".rstrip() + " in its turn, found none"
    return None
