"""Finds what is secret in a WfSpec: its masked Variables, what is computed from them, and what is stored in them.

A value is followed from a masked Variable through inputs of threads and tasks, writes of edges, outputs, return values,
thrown events and failures, over any number of steps. It is also followed back, to the output or payload that is stored
in the Variable. The output of a task is not followed from its input: a task worker that was given a secret has to leave
it out of what it returns. Its progress is: that is for its next attempt, not for the WfRun.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import assert_never

from processors.core.records.failures import VAR_ERROR, VAR_MUTATION_ERROR, VAR_SUB_ERROR
from processors.core.records.spec import (
    INPUT,
    AnyNode,
    EntrypointNode,
    ExitNode,
    Expression,
    ExternalEventNode,
    Mutation,
    NopNode,
    OutputRef,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThreadSpec,
    ThrowEventNode,
    VariableRef,
    WaitForConditionNode,
    WaitForThreadsNode,
    WfSpec,
    expressions_of,
    walk,
)

QUOTING = frozenset({VAR_ERROR, VAR_MUTATION_ERROR, VAR_SUB_ERROR})
"""Failures of the engine whose messages quote the values that did not fit."""

SpecItem = tuple[str, str]
"""A ThreadSpec, and the name of a Variable or node in it."""


@dataclass(frozen=True)
class Secrets:
    """The secrets of a WfSpec, by the item that holds them."""

    variables: frozenset[SpecItem] = frozenset()
    outputs: frozenset[SpecItem] = frozenset()
    """Outputs, by node."""
    task_inputs: frozenset[SpecItem] = frozenset()
    """Inputs of tasks: the node, in whichever ThreadSpec, and the name of the input."""
    external_events: frozenset[str] = frozenset()
    """ExternalEventDefs whose payload is secret."""
    returns: frozenset[str] = frozenset()
    """ThreadSpecs whose return value is secret."""
    thrown: frozenset[str] = frozenset()
    """WorkflowEventDefs whose content is secret."""
    failures: frozenset[str] = frozenset()
    """Names of failures to which an EXIT gives a secret message or content."""
    quoting: frozenset[SpecItem] = frozenset()
    """Nodes at which a failure of the engine may quote a secret."""
    contents: frozenset[SpecItem] = frozenset()
    """TASK nodes whose failure has a content that is stored in a masked Variable."""
    everything: bool = False

    @classmethod
    def of(cls, spec: WfSpec) -> "Secrets":
        """Find the secrets of a WfSpec."""
        search = _Search(spec)
        search.to_the_end()
        return cls(
            frozenset(search.variables),
            frozenset(search.outputs),
            frozenset(search.task_inputs),
            frozenset(search.external_events),
            frozenset(search.returns),
            frozenset(search.thrown),
            frozenset(search.failures),
            frozenset(search.quoting()),
            frozenset(search.contents),
        )

    def variable(self, thread_spec: str | None, name: str) -> bool:
        """Return True if a Variable is secret; without a ThreadSpec, if one of that name is secret in any."""
        return self._is_in(self.variables, thread_spec, name)

    def output(self, thread_spec: str | None, node: str | None) -> bool:
        """Return True if the output of a node is secret; without a node, if that of any is."""
        return self._is_in(self.outputs, thread_spec, node)

    def quotes(self, failure_name: str, thread_spec: str | None, node: str | None) -> bool:
        """Return True if the message of a failure may quote a secret."""
        return failure_name in self.failures or (
            (failure_name in QUOTING or self.everything) and self._is_in(self.quoting, thread_spec, node)
        )

    def content(self, thread_spec: str | None, node: str | None) -> bool:
        """Return True if the content of a failure that a task worker reported is secret."""
        return self._is_in(self.contents, thread_spec, node)

    def external_event(self, name: str) -> bool:
        """Return True if the payload of an ExternalEvent is secret."""
        return self.everything or name in self.external_events

    def progress(self, thread_spec: str | None, node: str | None) -> bool:
        """Return True if the progress of a task is secret: what the task gets, returns or fails with is.

        That may be in it.
        """
        gets = any(node in (None, of) for of, _ in self.task_inputs)
        return gets or self.output(thread_spec, node) or self.content(thread_spec, node)

    def returned(self, thread_spec: str | None) -> bool:
        """Return True if the return value of a thread is secret."""
        return self.everything or (bool(self.returns) if thread_spec is None else thread_spec in self.returns)

    def _is_in(self, items: frozenset[SpecItem], thread_spec: str | None, name: str | None) -> bool:
        return self.everything or any(thread_spec in (None, of) and name in (None, what) for of, what in items)


UNKNOWN = Secrets(everything=True)
"""The secrets of a WfSpec that cannot be read: everything is secret."""


@dataclass
class _Search:
    """Follows secrets through a WfSpec until there are no more."""

    spec: WfSpec
    variables: set[SpecItem] = field(default_factory=set)
    outputs: set[SpecItem] = field(default_factory=set)
    task_inputs: set[SpecItem] = field(default_factory=set)
    external_events: set[str] = field(default_factory=set)
    returns: set[str] = field(default_factory=set)
    thrown: set[str] = field(default_factory=set)
    failures: set[str] = field(default_factory=set)
    contents: set[SpecItem] = field(default_factory=set)

    def to_the_end(self) -> None:
        """Search until a round finds nothing more. Each round before adds something, and a WfSpec is finite."""
        threads = self.spec.threads.values()
        self.variables |= {(it.name, variable.name) for it in threads for variable in it.variables.values()
                           if variable.masked}  # fmt: skip
        self._what_leads_there()
        before = -1
        while before != (before := self._size()):
            for thread in threads:
                for node in thread.nodes.values():
                    self._follow(thread, node)

    def _size(self) -> int:
        found = (self.variables, self.outputs, self.task_inputs, self.returns, self.thrown, self.failures)
        return sum(len(it) for it in found)

    # Back from masked Variables to what is stored in them.

    def _what_leads_there(self) -> None:
        for thread, node in self._nodes():
            for target, expression in self._stored(thread, node):
                if target:
                    self._sources(thread, expression)
        for thread, node in self._nodes():
            if isinstance(node, ExternalEventNode) and (thread.name, node.name) in self.outputs:
                self.external_events.add(node.external_event_def)
            if isinstance(node, TaskNode) and any(self._has_secret_input(it.handler) for it in node.failure_handlers):
                self.contents.add((thread.name, node.name))
        for thread in self.spec.threads.values():
            self.external_events |= {
                it.external_event_def for it in thread.interrupts if self._has_secret_input(it.handler)
            }

    def _stored(self, thread: ThreadSpec, node: AnyNode) -> Iterator[tuple[bool, Expression]]:
        """The expressions that a node and its edges store, each with True if it goes to a masked Variable."""
        for mutation in self._mutations(node):
            yield self._is_secret(thread, mutation.variable), mutation.value
        if isinstance(node, StartThreadNode | StartMultipleThreadsNode):
            for name, expression in node.input.items():
                yield (node.thread, name) in self.variables, expression
        if isinstance(node, StartMultipleThreadsNode):
            yield self._has_secret_input(node.thread), node.over

    def _sources(self, thread: ThreadSpec, expression: Expression) -> None:
        for part in walk(expression):
            if isinstance(part, OutputRef):
                self.outputs.add((thread.name, part.node))
            elif isinstance(part, VariableRef) and part.name == INPUT and INPUT in thread.variables:
                self.variables.add((thread.name, INPUT))

    def _has_secret_input(self, thread_spec: str) -> bool:
        return (thread_spec, INPUT) in self.variables

    # On from secrets to what is computed from them.

    def _follow(self, thread: ThreadSpec, node: AnyNode) -> None:
        for mutation in self._mutations(node):
            if self._tells(thread, mutation.value):
                self.variables |= self._owners(thread, mutation.variable)
        match node:
            case TaskNode():
                self.task_inputs |= {(node.name, name) for name, it in node.input.items() if self._tells(thread, it)}
            case StartThreadNode() | StartMultipleThreadsNode():
                self.variables |= {(node.thread, name) for name, it in node.input.items() if self._tells(thread, it)}
                if isinstance(node, StartMultipleThreadsNode) and self._tells(thread, node.over):
                    self.variables.add((node.thread, INPUT))
            case ThrowEventNode():
                if self._tells(thread, node.content):
                    self.thrown.add(node.workflow_event_def)
            case ExitNode():
                self._follow_exit(thread, node)
            case (
                EntrypointNode()
                | NopNode()
                | ExternalEventNode()
                | SleepNode()
                | WaitForThreadsNode()
                | WaitForConditionNode()
            ):
                pass  # they store nothing but by the mutations of their edges
            case _:
                assert_never(node)
        if self._may_fail_with_a_secret(thread, node):
            handlers = {it.handler for it in node.failure_handlers}
            if isinstance(node, WaitForThreadsNode):
                handlers |= {it.handler for it in node.on_child_failure}
            self.variables |= {
                (handler, INPUT) for handler in handlers if INPUT in self.spec.threads[handler].variables
            }

    def _follow_exit(self, thread: ThreadSpec, node: ExitNode) -> None:
        if node.returns is not None and self._tells(thread, node.returns):
            self.returns.add(thread.name)
        told = (it for it in (node.failure_message, node.failure_content) if it is not None)
        if node.failure_name is not None and any(self._tells(thread, it) for it in told):
            self.failures.add(node.failure_name)

    def _may_fail_with_a_secret(self, thread: ThreadSpec, node: AnyNode) -> bool:
        """Return True if a node may fail with a secret content. One that waits may fail with that of a child."""
        if isinstance(node, ExitNode | WaitForThreadsNode) and (self.failures or self.contents):
            return True
        return (thread.name, node.name) in self.contents

    # Questions about what was found.

    def quoting(self) -> Iterator[SpecItem]:
        """The nodes that read, store or pass on a secret."""
        for thread, node in self._nodes():
            tells = any(self._tells(thread, expression) for expression in expressions_of(node))
            changes = any(self._is_secret(thread, mutation.variable) for mutation in self._mutations(node))
            starts = isinstance(node, StartThreadNode | StartMultipleThreadsNode) and any(
                of == node.thread for of, _ in self.variables
            )
            entered = node.name == thread.entrypoint and self._has_secret_input(thread.name)
            if tells or changes or starts or entered or (thread.name, node.name) in self.outputs:
                yield thread.name, node.name

    def _nodes(self) -> Iterator[tuple[ThreadSpec, AnyNode]]:
        return ((thread, node) for thread in self.spec.threads.values() for node in thread.nodes.values())

    @staticmethod
    def _mutations(node: AnyNode) -> Iterator[Mutation]:
        return (mutation for edge in node.edges for mutation in edge.mutations)

    def _owners(self, thread: ThreadSpec, name: str) -> set[SpecItem]:
        """The Variables that a name may mean in a thread: its own, or otherwise that of any thread above it."""
        if name in thread.variables:
            return {(thread.name, name)}
        return {(above.name, name) for above in self.spec.threads.values() if name in above.variables}

    def _is_secret(self, thread: ThreadSpec, name: str) -> bool:
        return not self.variables.isdisjoint(self._owners(thread, name))

    def _tells(self, thread: ThreadSpec, expression: Expression) -> bool:
        return any(
            (isinstance(part, VariableRef) and self._is_secret(thread, part.name))
            or (isinstance(part, OutputRef) and (thread.name, part.node) in self.outputs)
            for part in walk(expression)
        )
