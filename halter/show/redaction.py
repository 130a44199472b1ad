"""Takes masked values out of the events and the rows that tools show. On the topics they stay readable.

`halter.show.masking` says what is secret in a WfSpec. If the WfSpec is not known, all values are taken out; if a thread
is not known, all values that would be secret in any thread.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar, assert_never

from halter.show.masking import UNKNOWN, Secrets
from processors.core.records.commands import (
    ExternalEvent,
    ForkWfRun,
    ReportTaskProgress,
    ReportTaskRun,
    RunWf,
    RunWfAndPost,
)
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    ArrivalFailed,
    ChildFailureHandled,
    CorrelationKeyChanged,
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
from processors.core.records.model import NO_INCARNATION, Failure, ThreadRun, WfRun, WfRunExternalEvent, WfSpecId
from processors.core.records.values import Value
from processors.core.rules.context import WfSpecLookup
from processors.core.rules.snapshots import copy_of_thread

REDACTED: Final = "[redacted]"


Hide: TypeAlias = Callable[[Value], Value]
"""Returns what stands in the place of a masked value."""
Command_ = TypeVar("Command_", bound=object)


def hidden(_: Value) -> Value:
    """Return REDACTED for any value."""
    return REDACTED


class Numbered:
    """Hides values and tells different ones apart: `[redacted 1]`, `[redacted 2]`; equal values get the same number.

    For outputs that say whether a masked value has changed. The numbers are in order of appearance.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, value: Value) -> Value:
        number = self._numbers.setdefault(repr(value), len(self._numbers) + 1)
        return f"{REDACTED[:-1]} {number}]"


def redacted(value: Value, secret: bool, hide: Hide = hidden) -> Value:
    """The value, or what hides it if it is secret. A null is no secret."""
    return hide(value) if secret and value is not None else value


class Redactor:
    """Takes masked values out of the log and the state of WfRuns."""

    def __init__(self, wf_specs: WfSpecLookup, hide: Hide = hidden) -> None:
        """`hide` says what stands in the place of a masked value."""
        self._wf_specs, self._hide = wf_specs, hide
        self._known: dict[WfSpecId, Secrets] = {}

    def entries(self, entries: Iterable[LogEntry]) -> list[LogEntry]:
        """The events of one WfRun id without their masked values. They must be in the order of the log."""
        return list(self.stream(entries))

    def stream(self, entries: Iterable[LogEntry]) -> Iterator[LogEntry]:
        """The events of one WfRun id without their masked values, one after the other, in the order of the log.

        ExternalEvents that came before their WfRun are held back until it starts: its WfSpec says what is masked.
        """
        for entry, log in self.judged(entries):
            yield replace(entry, event=log.redact(entry.event))

    def judged(self, entries: Iterable[LogEntry]) -> Iterator[tuple[LogEntry, "RedactedLog"]]:
        """The events of one WfRun id, each with what takes the masked values out of it and out of its cause.

        Redact each before you ask for the next. If the beginning of a WfRun is missing, everything is secret.
        """
        early: list[LogEntry] = []
        incarnation, log = NO_INCARNATION, self._log(UNKNOWN)
        for entry in entries:
            if entry.incarnation == NO_INCARNATION:
                early.append(entry)
                continue
            if entry.incarnation != incarnation or early:
                before = self._log_from(entry)
                yield from ((it, before) for it in early)
                if entry.incarnation != incarnation:
                    incarnation, log = entry.incarnation, self._log_from(entry)
                early = []
            yield entry, log
        log = self._log(UNKNOWN)
        yield from ((it, log) for it in early)

    def following(self) -> Callable[[LogEntry], LogEntry]:
        """Return what takes masked values out of one event after the other, while they happen.

        Nothing is held back. So all values of ExternalEvents that come before their WfRun are taken out.
        """
        incarnation, log = NO_INCARNATION, self._log(UNKNOWN)

        def redact(entry: LogEntry) -> LogEntry:
            nonlocal incarnation, log
            if entry.incarnation != incarnation:
                incarnation, log = entry.incarnation, self._log_from(entry)
            return replace(entry, event=log.redact(entry.event))

        return redact

    def _log_from(self, first: LogEntry) -> "RedactedLog":
        secrets = self._secrets(first.event.wf_spec) if isinstance(first.event, WfRunStarted) else UNKNOWN
        return self._log(secrets)

    def _log(self, secrets: Secrets, thread_specs: dict[int, str] | None = None) -> "RedactedLog":
        return RedactedLog(secrets, self._hide, thread_specs, self._secrets)

    def entries_of(self, run: WfRun | None, entries: Iterable[LogEntry]) -> list[LogEntry]:
        """The newest events of a WfRun whose state is known, without their masked values.

        Everything is secret in those before a migration that is among them.
        """
        newest = list(entries)
        is_before = any(isinstance(entry.event, WfRunMigrated) for entry in newest)
        secrets = UNKNOWN if run is None or is_before else self._secrets(run.wf_spec)
        log = self._log(secrets, {} if run is None else {it.number: it.thread_spec for it in run.threads.values()})
        return [replace(entry, event=log.redact(entry.event)) for entry in newest]

    def _secrets(self, wf_spec: WfSpecId | None) -> Secrets:
        if wf_spec is None:
            return UNKNOWN
        if wf_spec not in self._known:
            try:
                self._known[wf_spec] = Secrets.of(self._wf_specs.wf_spec(wf_spec))
            except HalterError:
                return UNKNOWN
        return self._known[wf_spec]

    def run(self, run: WfRun) -> WfRun:
        """Take the masked values out of the state of a WfRun: out of the object that is given, which is returned."""
        secrets = self._secrets(run.wf_spec)
        log = self._log(secrets, {it.number: it.thread_spec for it in run.threads.values()})
        for thread in run.threads.values():
            log.thread(thread)
        for event in run.external_events.values():
            event.content = log.hide(event.content, log.is_secret(event.external_event_def))
        run.kept_inputs = [replace(kept, value=REDACTED.encode(), headers=[]) for kept in run.kept_inputs]
        return run


class RedactedLog:
    """Knows from the events of one WfRun, in their order, the ThreadSpec of each thread and the task it is at."""

    def __init__(
        self,
        secrets: Secrets,
        hide: Hide,
        thread_specs: dict[int, str] | None = None,
        secrets_of: Callable[[WfSpecId], Secrets] = lambda _: UNKNOWN,
        tasks: dict[int, str] | None = None,
    ) -> None:
        """`secrets_of` says what is secret in the version that a migration takes the WfRun to.

        `tasks` are the nodes of threads that are at a task: thread -> node.
        """
        self.secrets, self._hide, self._secrets_of = secrets, hide, secrets_of
        self._thread_specs = {} if thread_specs is None else thread_specs
        self._tasks = {} if tasks is None else tasks

    def redact(self, event: Event) -> Event:
        """An event without its masked values."""
        secrets = self.secrets
        match event:
            case WfRunStarted():
                self._thread_specs[0] = event.thread_spec
                return replace(event, variables=self._variables(event.variables, event.thread_spec))
            case WfRunForked():
                self._thread_specs = {it.number: it.thread_spec for it in event.threads}
                self._tasks = {it.number: it.node.node for it in event.threads if it.node.task is not None}
                threads, events = self._rows(event.threads, event.external_events)
                return replace(event, threads=threads, external_events=events)
            case WfRunMigrated():
                self.secrets = self._secrets_of(event.wf_spec)
                changed = [
                    replace(it, variables=self._variables(it.variables, self._spec(it.thread))) for it in event.threads
                ]
                return replace(event, threads=changed)
            case SpawnChild():
                self._thread_specs[event.thread] = event.spec
                return replace(event, variables=self._variables(event.variables, event.spec))
            case ExternalEventPosted():
                return replace(event, content=self.hide(event.content, self.is_secret(event.external_event_def)))
            case NodeCompleted():
                writes = [
                    replace(write, value=self.hide(write.value, secrets.variable(self._spec(write.thread), write.name)))
                    for write in event.writes
                ]
                secret = secrets.output(self._spec(event.thread), event.node)
                return replace(event, writes=writes, output=self.hide(event.output, secret))
            case TaskAttemptRequested():
                self._tasks[event.thread] = event.node
                secret = secrets.progress(self._spec(event.thread), event.node)
                return replace(
                    event, input=self._input(event.input, event.node), progress=self.hide(event.progress, secret)
                )
            case TaskAttemptProgressed():
                secret = secrets.progress(self._spec(event.thread), self._tasks.get(event.thread))
                return replace(event, content=self.hide(event.content, secret))
            case TaskAttemptEnded():
                at = self._spec(event.thread), self._tasks.get(event.thread)
                return replace(
                    event,
                    output=self.hide(event.output, secrets.output(*at)),
                    content=self.hide(event.content, secrets.content(*at)),
                )
            case NodeFailed() | ArrivalFailed():
                return replace(event, failure=self.failure(event.failure, event.thread, event.node))
            case ThreadFailed():
                return replace(event, failure=self.failure(event.failure, event.thread))
            case ThreadCompleted():
                return replace(event, output=self.hide(event.output, secrets.returned(self._spec(event.thread))))
            case WorkflowEventThrown():
                secret = secrets.everything or event.workflow_event_def in secrets.thrown
                return replace(event, content=self.hide(event.content, secret))
            case InputKept():
                # Only decoding would tell what is in a whole record.
                return replace(event, value=REDACTED.encode(), headers=[])
            case (
                WfRunDeleted()
                | ExternalEventDropped()
                | Halt()
                | ThreadHalted()
                | InterruptAccepted()
                | InterruptDropped()
                | InterruptSuperseded()
                | HaltReasonResolved()
                | Resume()
                | TimerArmed()
                | TimerMatured()
                | TaskAttemptStarted()
                | WaitStarted()
                | ChildFailureHandled()
                | ThreadRetired()
                | ThreadRescued()
                | WfRunEnded()
                | CorrelationKeyChanged()  # of Variables that are not masked
                | WfRunQuarantined()
                | WfRunReleased()
                | SkipAccepted()
                | SkipLapsed()
                | RecordSkipped()
                | Rejected()
                | Ignored()
            ):
                return event  # has no values
            case _:
                assert_never(event)

    def hide(self, value: Value, secret: bool) -> Value:
        """The value, or what hides it if it is secret."""
        return redacted(value, secret, self._hide)

    def thread(self, thread: ThreadRun) -> None:
        """Take the masked values out of a row of a thread: out of the object that is given."""
        spec, node, secrets = thread.thread_spec, thread.node, self.secrets
        thread.variables = self._variables(thread.variables, spec)
        thread.outputs = {name: self.hide(value, secrets.output(spec, name)) for name, value in thread.outputs.items()}
        thread.output = self.hide(thread.output, secrets.returned(spec))
        if thread.failure is not None:
            thread.failure = self.failure(thread.failure, thread.number, node.node)
        if node.failure is not None:
            node.failure = self.failure(node.failure, thread.number, node.node)
        if node.arrival_failure is not None:
            node.arrival_failure = self.failure(node.arrival_failure, thread.number, node.node)
        if node.task is not None:
            node.task = replace(
                node.task,
                input=self._input(node.task.input, node.node),
                output=self.hide(node.task.output, secrets.output(spec, node.node)),
                content=self.hide(node.task.content, secrets.content(spec, node.node)),
                progress=self.hide(node.task.progress, secrets.progress(spec, node.node)),
            )

    def _rows(
        self, threads: Iterable[ThreadRun], events: Iterable[WfRunExternalEvent]
    ) -> tuple[list[ThreadRun], list[WfRunExternalEvent]]:
        """Copies of rows that come along with a fork, without the masked values."""
        copies = [copy_of_thread(it) for it in threads]
        log = RedactedLog(self.secrets, self._hide, {it.number: it.thread_spec for it in copies})
        for thread in copies:
            log.thread(thread)
        return copies, [
            replace(it, content=self.hide(it.content, self.is_secret(it.external_event_def))) for it in events
        ]

    def command(self, command: Command_, thread_spec: str | None) -> Command_:
        """A command without its masked values, before the first of the events that it caused is redacted.

        `thread_spec` is the one that the command started; None if it started nothing: then all its Variables are
        secret.
        """
        match command:
            case RunWf() if thread_spec is not None:
                return replace(command, variables=self._variables(command.variables, thread_spec))
            case RunWf():
                return replace(command, variables={name: self.hide(it, True) for name, it in command.variables.items()})
            case RunWfAndPost():
                variables = self.command(command.start(), thread_spec).variables
                return replace(command, variables=variables, content=self.command(command.event(), None).content)
            case ForkWfRun(snapshot=snapshot):
                threads, events = self._rows(snapshot.threads, snapshot.external_events)
                return replace(command, snapshot=replace(snapshot, threads=threads, external_events=events))
            case ExternalEvent():
                return replace(command, content=self.hide(command.content, self.is_secret(command.external_event_def)))
            case ReportTaskProgress():
                at = self._spec(command.thread), self._tasks.get(command.thread)
                return replace(command, content=self.hide(command.content, self.secrets.progress(*at)))
            case ReportTaskRun():
                at = self._spec(command.thread), self._tasks.get(command.thread)
                return replace(
                    command,
                    output=self.hide(command.output, self.secrets.output(*at)),
                    content=self.hide(command.content, self.secrets.content(*at)),
                )
            case _:
                return command  # has no values

    def is_secret(self, external_event_def: str) -> bool:
        """Say whether the contents of these ExternalEvents are secret."""
        return self.secrets.external_event(external_event_def)

    def _variables(self, values: Mapping[str, Value], thread_spec: str | None) -> dict[str, Value]:
        return {name: self.hide(value, self.secrets.variable(thread_spec, name)) for name, value in values.items()}

    def _input(self, values: Mapping[str, Value], node: str) -> dict[str, Value]:
        secrets = self.secrets
        return {
            name: self.hide(value, secrets.everything or (node, name) in secrets.task_inputs)
            for name, value in values.items()
        }

    def failure(self, failure: Failure, thread: int | None, node: str | None = None) -> Failure:
        """A failure of a thread, at a node if it is known, without what is secret in it.

        If the message or content of its cause is taken out, so is its own, which may repeat it.
        """
        spec = self._spec(thread)
        cause = None if failure.cause is None else self.failure(failure.cause, failure.cause_thread)
        below = failure.cause
        quotes = self.secrets.quotes(failure.name, spec, node) or (
            cause is not None and below is not None and cause.message != below.message
        )
        secret = (
            quotes
            or self.secrets.content(spec, node)
            or (cause is not None and below is not None and cause.content is not below.content)
        )
        return replace(
            failure,
            message=str(self.hide(failure.message, bool(failure.message) and quotes)),
            content=self.hide(failure.content, secret),
            cause=cause,
        )

    def _spec(self, thread: int | None) -> str | None:
        return None if thread is None else self._thread_specs.get(thread)
