"""Takes masked values out of what tools show. On the topics they are in clear; see docs.

A Variable is masked by its WfSpec. With it goes what comes from it or leads to it by the words of the WfSpec: inputs of
tasks that refer to it, outputs and payloads that are stored in it. Where the WfSpec is not known, all values go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from processors.core.events import (
    ExternalEventPosted,
    InputKept,
    LogEntry,
    NodeCompleted,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptRequested,
    WfRunStarted,
)
from processors.core.model import ThreadRun, WfRun, WfSpecId
from processors.core.spec import INPUT, Expression, ExternalEventNode, OutputRef, TaskNode, VariableRef, WfSpec, walk
from processors.core.values import Value
from processors.errors import HalterError

REDACTED: Final = "[redacted]"


class WfSpecs(Protocol):
    """Whoever knows the registered WfSpecs."""

    def wf_spec(self, wf_spec_id: WfSpecId) -> WfSpec:
        """A registered version, deleted or not; raises a HalterError if there never was one."""
        ...


@dataclass(frozen=True)
class Secrets:
    """What is masked in a WfSpec, directly or by what is done with it."""

    variables: frozenset[tuple[str, str]]
    """(ThreadSpec, Variable)."""
    names: frozenset[str]
    """The same without the ThreadSpec: a thread sees the Variables of those above it by their names."""
    outputs: frozenset[tuple[str, str]]
    """(ThreadSpec, node)."""
    task_inputs: frozenset[tuple[str, str]]
    """(node, name of the input), whatever the ThreadSpec."""
    external_events: frozenset[str]
    """ExternalEventDefs."""
    everything: bool = False

    @classmethod
    def of(cls, spec: WfSpec) -> "Secrets":
        """Look through a WfSpec."""
        variables = frozenset(
            (thread.name, variable.name)
            for thread in spec.threads.values()
            for variable in thread.variables.values()
            if variable.masked
        )
        names = frozenset(name for _, name in variables)
        outputs = frozenset(
            (thread.name, source.node)
            for thread in spec.threads.values()
            for node in thread.nodes.values()
            for edge in node.edges
            for mutation in edge.mutations
            if mutation.variable in names
            for source in walk(mutation.value)
            if isinstance(source, OutputRef)
        )
        task_inputs = frozenset(
            (node.name, name)
            for thread in spec.threads.values()
            for node in thread.nodes.values()
            if isinstance(node, TaskNode)
            for name, expression in node.input.items()
            if refers_to(expression, names)
        )
        awaited = (
            node.external_event_def
            for thread in spec.threads.values()
            for node in thread.nodes.values()
            if isinstance(node, ExternalEventNode) and (thread.name, node.name) in outputs
        )
        interrupting = (
            interrupt.external_event_def
            for thread in spec.threads.values()
            for interrupt in thread.interrupts
            if (interrupt.handler, INPUT) in variables
        )
        return cls(variables, names, outputs, task_inputs, frozenset((*awaited, *interrupting)))


UNKNOWN: Final = Secrets(frozenset(), frozenset(), frozenset(), frozenset(), frozenset(), everything=True)
"""Of a WfSpec that is not at hand."""


def refers_to(expression: Expression, names: frozenset[str]) -> bool:
    """Whether a Variable of one of these names occurs in it."""
    return any(isinstance(part, VariableRef) and part.name in names for part in walk(expression))


def redacted(value: Value, secret: bool) -> Value:
    """The value, or the word in its place; that there is none is no secret."""
    return REDACTED if secret and value is not None else value


class Redactor:
    """Takes masked values out of the log and the state of WfRuns."""

    def __init__(self, wf_specs: WfSpecs) -> None:
        self._wf_specs = wf_specs
        self._known: dict[WfSpecId, Secrets] = {}

    def entries(self, entries: Iterable[LogEntry]) -> list[LogEntry]:
        """The events of one WfRun id, in order, without their masked values."""
        entries = list(entries)
        log = _Log(UNKNOWN)
        shown = []
        for index, entry in enumerate(entries):
            # What came before its WfRun is judged by the WfSpec that was to come.
            if log.secrets is UNKNOWN or isinstance(entry.event, WfRunStarted):
                log = _Log(self._secrets_of_next_start(entries[index:]))
            shown.append(replace(entry, event=log.redact(entry.event)))
        return shown

    def entries_of(self, run: WfRun | None, entries: Iterable[LogEntry]) -> list[LogEntry]:
        """The newest events of a WfRun whose state is known, without their masked values."""
        secrets = UNKNOWN if run is None else self._secrets(run.wf_spec)
        log = _Log(secrets, {} if run is None else {it.number: it.thread_spec for it in run.threads.values()})
        return [replace(entry, event=log.redact(entry.event)) for entry in entries]

    def _secrets_of_next_start(self, entries: list[LogEntry]) -> Secrets:
        return next((self._secrets(e.event.wf_spec) for e in entries if isinstance(e.event, WfRunStarted)), UNKNOWN)

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
        """The state of a WfRun without its masked values; the one that is given is changed."""
        secrets = self._secrets(run.wf_spec)
        for thread in run.threads.values():
            _redact_thread(thread, secrets)
        for event in run.external_events.values():
            event.content = redacted(
                event.content, secrets.everything or event.external_event_def in secrets.external_events
            )
        run.kept_inputs = [replace(kept, value=REDACTED.encode(), headers=[]) for kept in run.kept_inputs]
        return run


def _redact_thread(thread: ThreadRun, secrets: Secrets) -> None:
    thread.variables = _redact_variables(thread.variables, thread.thread_spec, secrets)
    thread.outputs = {
        node: redacted(value, secrets.everything or (thread.thread_spec, node) in secrets.outputs)
        for node, value in thread.outputs.items()
    }
    task = thread.node.task
    if task is not None:
        thread.node.task = replace(
            task,
            input=_redact_input(task.input, thread.node.node, secrets),
            output=redacted(
                task.output, secrets.everything or (thread.thread_spec, thread.node.node) in secrets.outputs
            ),
        )


def _redact_variables(values: Mapping[str, Value], thread_spec: str, secrets: Secrets) -> dict[str, Value]:
    return {
        name: redacted(value, secrets.everything or (thread_spec, name) in secrets.variables)
        for name, value in values.items()
    }


def _redact_input(values: Mapping[str, Value], node: str, secrets: Secrets) -> dict[str, Value]:
    return {
        name: redacted(value, secrets.everything or (node, name) in secrets.task_inputs)
        for name, value in values.items()
    }


class _Log:
    """The events of one WfRun in their order: which thread is of which ThreadSpec, and at which task."""

    def __init__(self, secrets: Secrets, thread_specs: dict[int, str] | None = None) -> None:
        self.secrets = secrets
        self._thread_specs = {} if thread_specs is None else thread_specs
        self._tasks: dict[int, str] = {}

    def redact(self, event: Any) -> Any:
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
                    replace(write, value=redacted(write.value, self._is_secret(write.thread, write.name)))
                    for write in event.writes
                ]
                return replace(
                    event, writes=writes, output=redacted(event.output, self._is_output(event.thread, event.node))
                )
            case TaskAttemptRequested():
                self._tasks[event.thread] = event.node
                return replace(event, input=_redact_input(event.input, event.node, secrets))
            case TaskAttemptEnded():
                secret = self._is_output(event.thread, self._tasks.get(event.thread, ""))
                return replace(
                    event, output=redacted(event.output, secret), content=redacted(event.content, secrets.everything)
                )
            case InputKept():
                # What is in a whole record cannot be said without decoding it.
                return replace(event, value=REDACTED.encode(), headers=[])
            case _:
                return event

    def _is_secret(self, thread: int, name: str) -> bool:
        spec = self._thread_specs.get(thread)
        known = name in self.secrets.names if spec is None else (spec, name) in self.secrets.variables
        return self.secrets.everything or known

    def _is_output(self, thread: int, node: str) -> bool:
        spec = self._thread_specs.get(thread)
        return self.secrets.everything or any(
            of_node == node and spec in (None, of_spec) for of_spec, of_node in self.secrets.outputs
        )
