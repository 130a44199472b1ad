"""Variables that are read before anything wrote them.

A Variable without a default starts as null. Whoever reads it then computes with null, which is rarely meant. `Suspects`
finds the inputs after which that may have happened, quickly and too often. `first_reads` folds the path to one of them
again, computes what the nodes computed, and sees exactly what was read.

A WAIT_FOR_CONDITION is left out: it waits for a Variable to be written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from halter.explore.inputs import Input, take
from halter.explore.subject import WF_RUN_ID, Subject
from processors.core.records.events import (
    Event,
    LogEntry,
    NodeCompleted,
    NodeFailed,
    SpawnChild,
    TaskAttemptRequested,
    ThreadCompleted,
    ThreadFailed,
    WfRunStarted,
    WorkflowEventThrown,
)
from processors.core.records.model import ThreadRun, WfRun
from processors.core.records.spec import (
    INPUT,
    AnyNode,
    ExitNode,
    Expression,
    Mutation,
    MutationOperator,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThrowEventNode,
    VariableRef,
    WfSpec,
    walk,
)
from processors.core.records.values import Value, ValueProblem
from processors.core.rules.engine import attach, new_run
from processors.core.rules.evolve import evolve
from processors.core.wf_spec.expressions import condition, evaluate, mutate

_COMPUTES: Final = (
    NodeCompleted,
    NodeFailed,
    TaskAttemptRequested,
    ThreadCompleted,
    ThreadFailed,
    WorkflowEventThrown,
)
"""The events before which the expressions of a node were computed."""
Where = tuple[str, str, str]
"""ThreadSpec, node, and the Variable that it reads."""


@dataclass(frozen=True, slots=True)
class Read:
    """A Variable that was read before anything wrote it."""

    where: Where
    thread: int
    event: str
    has_node: bool
    """True if the event names the node."""


class Suspects:
    """The nodes that may read a Variable before anything wrote it, as far as nobody has seen it yet."""

    def __init__(self, spec: WfSpec) -> None:
        declared = [variable for thread in spec.threads.values() for variable in thread.variables.values()]
        starts_null = {it.name for it in declared if it.default is None and not it.required and it.name != INPUT}
        self._left: dict[tuple[str, str], set[str]] = {}
        for thread in spec.threads.values():
            for node in thread.nodes.values():
                names = set(_names_read(node)) & starts_null
                if names:
                    self._left[thread.name, node.name] = names

    def __bool__(self) -> bool:
        return bool(self._left)

    def confirmed(self, where: Where) -> None:
        """Look for this no longer."""
        spec, node, name = where
        names = self._left.get((spec, node))
        if names is not None:
            names.discard(name)
            if not names:
                del self._left[spec, node]

    def among(
        self, before: WfRun, after: WfRun, entries: Sequence[LogEntry], started: Mapping[int, str]
    ) -> Iterator[Where]:
        """Yield what may have been read by one input."""
        for entry in entries:
            event: Any = entry.event
            if type(event) not in _COMPUTES:
                continue
            number: int = event.thread
            thread = before.threads.get(number)
            spec = started.get(number) if thread is None else thread.thread_spec
            node = getattr(event, "node", None) or _node_at_the_end(after, number)
            if spec is None or node is None:
                continue
            for name in list(self._left.get((spec, node), ())):
                if thread is None or _value(before, thread, name) is None:
                    yield spec, node, name


def _node_at_the_end(run: WfRun, number: int) -> str | None:
    thread = run.threads.get(number)
    if thread is None:
        thread = next((it for it in run.changes.left if it.number == number), None)
    return None if thread is None else thread.node.node


def _value(run: WfRun, thread: ThreadRun, name: str) -> Value:
    for above in (thread, *run.ancestors(thread)):
        if name in above.variables:
            return above.variables[name]
    return None


def _names_read(node: AnyNode) -> Iterator[str]:
    expressions = list(_computed(node))
    for edge in node.edges:
        expressions += [] if edge.when is None else [edge.when]
        for mutation in edge.mutations:
            expressions.append(mutation.value)
            if _reads_old(mutation):
                yield mutation.variable
    for outermost in expressions:
        yield from (it.name for it in walk(outermost) if isinstance(it, VariableRef))


def _reads_old(mutation: Mutation) -> bool:
    return mutation.operator is not MutationOperator.ASSIGN or mutation.path is not None


def _computed(node: AnyNode) -> Iterator[Expression]:
    """Yield the expressions of a node itself that are computed once, at one of `_COMPUTES`."""
    match node:
        case TaskNode():
            yield from node.input.values()
        case StartThreadNode():
            yield from node.input.values()
        case StartMultipleThreadsNode():
            yield node.over
            yield from node.input.values()
        case ThrowEventNode():
            yield node.content
        case ExitNode():
            yield from (it for it in (node.returns, node.failure_message, node.failure_content) if it is not None)
        case _:
            pass


def first_reads(subject: Subject, path: Sequence[Input], start_ms: int) -> list[Read]:
    """Fold a path again; return what its last input read that nothing had written."""
    live = attach(new_run(WF_RUN_ID), subject.context)
    mirror = _Mirror(subject)
    now_ms, reads = start_ms, list[Read]()
    for offset, taken in enumerate(path):
        entries, now_ms = take(live, taken, offset, now_ms, subject.context)
        reads = [read for entry in entries for read in mirror.follow(entry)]
    return list({read.where: read for read in reads}.values())


class _Mirror:
    """A WfRun that follows the log, and notes what was written."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.run = new_run(WF_RUN_ID)
        self.written: set[tuple[int, str]] = set()

    def follow(self, entry: LogEntry) -> Iterator[Read]:
        """Compute what was computed before an event, yield what that read unwritten, and fold the event."""
        event = entry.event
        if isinstance(event, _COMPUTES):
            yield from self._reads(event)
        evolve(self.run, entry)
        match event:
            case WfRunStarted():
                self.run.spec = self._subject.spec
                self._note(0, event.variables)
            case SpawnChild():
                self._note(event.thread, event.variables)
            case NodeCompleted():
                self.written.update((write.thread, write.name) for write in event.writes)

    def _note(self, number: int, variables: Mapping[str, Value]) -> None:
        self.written.update((number, name) for name, value in variables.items() if value is not None)

    def _reads(self, event: Any) -> Iterator[Read]:
        thread = self.run.threads[event.thread]
        if thread.node.failure is not None:
            return  # its failure was handled: the node is not computed again
        node = self.run.spec_of(thread).nodes[thread.node.node]
        scope = _Scope(self, thread, event)
        try:
            if not isinstance(node, TaskNode) or isinstance(event, TaskAttemptRequested) or thread.node.task is None:
                for expression in _computed(node):
                    evaluate(expression, scope)
            if isinstance(event, NodeCompleted | NodeFailed | ThreadFailed):
                self._pass_on(node, scope)
        except ValueProblem:
            pass  # what was read until then was read
        for name in scope.unwritten:
            where = (thread.thread_spec, thread.node.node, name)
            yield Read(where, thread.number, type(event).__name__, hasattr(event, "node"))

    def _pass_on(self, node: AnyNode, scope: "_Scope") -> None:
        for edge in node.edges:
            if edge.when is None or condition(edge.when, scope):
                for mutation in edge.mutations:
                    owner = scope.owner(mutation.variable)
                    declared = self.run.spec_of(owner).variables[mutation.variable].type
                    old = scope.variable(mutation.variable) if _reads_old(mutation) else None
                    scope.writes[owner.number, mutation.variable] = mutate(old, mutation, declared, scope)
                return


class _Scope:
    """The values that a thread sees, with a note of those that nothing has written."""

    def __init__(self, mirror: _Mirror, thread: ThreadRun, event: Event) -> None:
        self._mirror, self._reading, self._event = mirror, thread, event
        self.writes: dict[tuple[int, str], Value] = {}
        self.unwritten: dict[str, None] = {}

    def spend(self, steps: int) -> None:
        """Count nothing: the engine has counted."""

    def owner(self, name: str) -> ThreadRun:
        """Return the nearest thread that stores a Variable; raises ValueProblem."""
        for thread in (self._reading, *self._mirror.run.ancestors(self._reading)):
            if name in thread.variables:
                return thread
        raise ValueProblem(f"no Variable {name}")

    def variable(self, name: str) -> Value:
        """Return the value of a Variable, and note it if nothing has written it; raises ValueProblem."""
        owner = self.owner(name)
        key = (owner.number, name)
        if key in self.writes:
            return self.writes[key]
        definition = self._mirror.run.spec_of(owner).variables[name]
        starts_null = definition.default is None and not definition.required and name != INPUT
        if starts_null and key not in self._mirror.written:
            self.unwritten[name] = None
        return owner.variables[name]

    def output(self, node: str) -> Value:
        """Return the output of a node; raises ValueProblem."""
        event = self._event
        if isinstance(event, NodeCompleted) and node == event.node and event.keeps_output:
            return event.output
        if node not in self._reading.outputs:
            raise ValueProblem(f"no output of {node}")
        return self._reading.outputs[node]
