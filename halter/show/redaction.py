"""Takes masked values out of the events and the rows that tools show. On the topics they stay readable.

`halter.show.masking` says what is secret in a WfSpec. If the WfSpec is not known, all values are taken out; if a thread
is not known, all values that would be secret in any thread.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, assert_never

from halter.show.masking import UNKNOWN, Secrets
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    ArrivalFailed,
    ChildFailureHandled,
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
    TaskAttemptRequested,
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
    WfRunQuarantined,
    WfRunReleased,
    WfRunStarted,
    WorkflowEventThrown,
)
from processors.core.records.model import NO_INCARNATION, Failure, ThreadRun, WfRun, WfSpecId
from processors.core.records.values import Value
from processors.core.rules.context import WfSpecLookup

REDACTED: Final = "[redacted]"


def redacted(value: Value, secret: bool) -> Value:
    """The value, or REDACTED if it is secret. A null is no secret."""
    return REDACTED if secret and value is not None else value


class Redactor:
    """Takes masked values out of the log and the state of WfRuns."""

    def __init__(self, wf_specs: WfSpecLookup) -> None:
        self._wf_specs = wf_specs
        self._known: dict[WfSpecId, Secrets] = {}

    def entries(self, entries: Iterable[LogEntry]) -> list[LogEntry]:
        """The events of one WfRun id without their masked values. They must be in the order of the log."""
        entries = list(entries)
        log = _Log(UNKNOWN)
        shown = []
        incarnation: int | None = None
        for index, entry in enumerate(entries):
            if entry.incarnation != incarnation:
                incarnation = entry.incarnation
                log = _Log(self._secrets_of(entries[index:]))
            shown.append(replace(entry, event=log.redact(entry.event)))
        return shown

    def entries_of(self, run: WfRun | None, entries: Iterable[LogEntry]) -> list[LogEntry]:
        """The newest events of a WfRun whose state is known, without their masked values."""
        secrets = UNKNOWN if run is None else self._secrets(run.wf_spec)
        log = _Log(secrets, {} if run is None else {it.number: it.thread_spec for it in run.threads.values()})
        return [replace(entry, event=log.redact(entry.event)) for entry in entries]

    def _secrets_of(self, entries: list[LogEntry]) -> Secrets:
        """The secrets of the incarnation of the first of these entries.

        ExternalEvents that came before their WfRun are judged by the WfSpec that it was then started with. If the
        beginning of the incarnation is missing, everything is secret.
        """
        start = next((entry for entry in entries if isinstance(entry.event, WfRunStarted)), None)
        if start is None or entries[0].incarnation not in (NO_INCARNATION, start.incarnation):
            return UNKNOWN
        assert isinstance(start.event, WfRunStarted)
        return self._secrets(start.event.wf_spec)

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
        log = _Log(secrets, {it.number: it.thread_spec for it in run.threads.values()})
        for thread in run.threads.values():
            _redact_thread(thread, secrets, log)
        for event in run.external_events.values():
            event.content = redacted(
                event.content, secrets.everything or event.external_event_def in secrets.external_events
            )
        run.kept_inputs = [replace(kept, value=REDACTED.encode(), headers=[]) for kept in run.kept_inputs]
        return run


def _redact_thread(thread: ThreadRun, secrets: Secrets, log: "_Log") -> None:
    spec, node = thread.thread_spec, thread.node
    thread.variables = _redact_variables(thread.variables, spec, secrets)
    thread.outputs = {name: redacted(value, secrets.output(spec, name)) for name, value in thread.outputs.items()}
    thread.output = redacted(thread.output, secrets.returned(spec))
    if thread.failure is not None:
        thread.failure = log.failure(thread.failure, thread.number, node.node)
    if node.failure is not None:
        node.failure = log.failure(node.failure, thread.number, node.node)
    if node.arrival_failure is not None:
        node.arrival_failure = log.failure(node.arrival_failure, thread.number, node.node)
    if node.task is not None:
        node.task = replace(
            node.task,
            input=_redact_input(node.task.input, node.node, secrets),
            output=redacted(node.task.output, secrets.output(spec, node.node)),
            content=redacted(node.task.content, secrets.content(spec, node.node)),
        )


def _redact_variables(values: Mapping[str, Value], thread_spec: str, secrets: Secrets) -> dict[str, Value]:
    return {name: redacted(value, secrets.variable(thread_spec, name)) for name, value in values.items()}


def _redact_input(values: Mapping[str, Value], node: str, secrets: Secrets) -> dict[str, Value]:
    return {
        name: redacted(value, secrets.everything or (node, name) in secrets.task_inputs)
        for name, value in values.items()
    }


class _Log:
    """Knows from the events of one WfRun, in their order, the ThreadSpec of each thread and the task it is at."""

    def __init__(self, secrets: Secrets, thread_specs: dict[int, str] | None = None) -> None:
        self.secrets = secrets
        self._thread_specs = {} if thread_specs is None else thread_specs
        self._tasks: dict[int, str] = {}

    def redact(self, event: Event) -> Event:
        secrets = self.secrets
        match event:
            case WfRunStarted():
                self._thread_specs[0] = event.thread_spec
                return replace(event, variables=_redact_variables(event.variables, event.thread_spec, secrets))
            case SpawnChild():
                self._thread_specs[event.thread] = event.spec
                return replace(event, variables=_redact_variables(event.variables, event.spec, secrets))
            case ExternalEventPosted():
                secret = secrets.everything or event.external_event_def in secrets.external_events
                return replace(event, content=redacted(event.content, secret))
            case NodeCompleted():
                writes = [
                    replace(write, value=redacted(write.value, secrets.variable(self._spec(write.thread), write.name)))
                    for write in event.writes
                ]
                secret = secrets.output(self._spec(event.thread), event.node)
                return replace(event, writes=writes, output=redacted(event.output, secret))
            case TaskAttemptRequested():
                self._tasks[event.thread] = event.node
                return replace(event, input=_redact_input(event.input, event.node, secrets))
            case TaskAttemptEnded():
                at = self._spec(event.thread), self._tasks.get(event.thread)
                return replace(
                    event,
                    output=redacted(event.output, secrets.output(*at)),
                    content=redacted(event.content, secrets.content(*at)),
                )
            case NodeFailed() | ArrivalFailed():
                return replace(event, failure=self.failure(event.failure, event.thread, event.node))
            case ThreadFailed():
                return replace(event, failure=self.failure(event.failure, event.thread))
            case ThreadCompleted():
                return replace(event, output=redacted(event.output, secrets.returned(self._spec(event.thread))))
            case WorkflowEventThrown():
                secret = secrets.everything or event.workflow_event_def in secrets.thrown
                return replace(event, content=redacted(event.content, secret))
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
                | WaitStarted()
                | ChildFailureHandled()
                | ThreadRetired()
                | ThreadRescued()
                | WfRunEnded()
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

    def failure(self, failure: Failure, thread: int | None, node: str | None = None) -> Failure:
        """A failure of a thread, at a node if it is known, without what is secret in it.

        If the message or content of its cause is taken out, so is its own, which may repeat it.
        """
        spec = self._spec(thread)
        cause = None if failure.cause is None else self.failure(failure.cause, failure.cause_thread)
        quotes = self.secrets.quotes(failure.name, spec, node) or (cause is not None and cause.message == REDACTED)
        secret = quotes or self.secrets.content(spec, node) or (cause is not None and cause.content == REDACTED)
        return replace(
            failure,
            message=REDACTED if quotes and failure.message else failure.message,
            content=redacted(failure.content, secret),
            cause=cause,
        )

    def _spec(self, thread: int | None) -> str | None:
        return None if thread is None else self._thread_specs.get(thread)
