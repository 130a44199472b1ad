"""What is secret in a WfSpec: its masked Variables, what comes from them, and what leads to them by its words.

A value is followed from a masked Variable through inputs of threads and tasks, writes of edges, outputs, return values,
thrown events and failures, however many steps that takes; and back from one to the output or payload that is stored in
it. What a task worker makes of its input is its own affair: a secret in there is the worker's to leave out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from processors.core.records.failures import VAR_ERROR, VAR_MUTATION_ERROR, VAR_SUB_ERROR
from processors.core.records.spec import (
    INPUT,
    AnyNode,
    ExitNode,
    Expression,
    ExternalEventNode,
    Mutation,
    OutputRef,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThreadSpec,
    ThrowEventNode,
    VariableRef,
    WaitForThreadsNode,
    WfSpec,
    expressions_of,
    walk,
)

QUOTING = frozenset({VAR_ERROR, VAR_MUTATION_ERROR, VAR_SUB_ERROR})
"""Failures of the engine's own whose messages quote the values that did not do."""

Place = tuple[str, str]
"""(ThreadSpec, its Variable or node)."""


@dataclass(frozen=True)
class Secrets:
    """What is masked in a WfSpec, directly or by what is done with it."""

    variables: frozenset[Place] = frozenset()
    outputs: frozenset[Place] = frozenset()
    """Of nodes."""
    task_inputs: frozenset[Place] = frozenset()
    """(node, name of the input), whatever the ThreadSpec."""
    external_events: frozenset[str] = frozenset()
    """ExternalEventDefs."""
    returns: frozenset[str] = frozenset()
    """ThreadSpecs."""
    thrown: frozenset[str] = frozenset()
    """WorkflowEventDefs."""
    failures: frozenset[str] = frozenset()
    """Names of failures that an EXIT gives a message or content."""
    quoting: frozenset[Place] = frozenset()
    """Nodes at which the engine's own failures may quote a value."""
    contents: frozenset[Place] = frozenset()
    """TASK nodes the content of whose failure is stored."""
    everything: bool = False

    @classmethod
    def of(cls, spec: WfSpec) -> "Secrets":
        """Look through a WfSpec."""
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
        """Whether it is secret; None: in a thread of which we do not know what it is."""
        return self._is_in(self.variables, thread_spec, name)

    def output(self, thread_spec: str | None, node: str | None) -> bool:
        """As `variable`; None: whichever node it was."""
        return self._is_in(self.outputs, thread_spec, node)

    def quotes(self, failure_name: str, thread_spec: str | None, node: str | None) -> bool:
        """Whether the message of a failure may have a secret."""
        return failure_name in self.failures or (
            (failure_name in QUOTING or self.everything) and self._is_in(self.quoting, thread_spec, node)
        )

    def content(self, thread_spec: str | None, node: str | None) -> bool:
        """Whether the content of a failure that a task worker reported is a secret."""
        return self._is_in(self.contents, thread_spec, node)

    def returned(self, thread_spec: str | None) -> bool:
        """Whether what a thread returns is a secret."""
        return self.everything or (bool(self.returns) if thread_spec is None else thread_spec in self.returns)

    def _is_in(self, places: frozenset[Place], thread_spec: str | None, name: str | None) -> bool:
        return self.everything or any(thread_spec in (None, of) and name in (None, what) for of, what in places)


UNKNOWN = Secrets(everything=True)
"""Of a WfSpec that is not at hand."""


@dataclass
class _Search:
    """Follows secrets through a WfSpec until there are no more."""

    spec: WfSpec
    variables: set[Place] = field(default_factory=set)
    outputs: set[Place] = field(default_factory=set)
    task_inputs: set[Place] = field(default_factory=set)
    external_events: set[str] = field(default_factory=set)
    returns: set[str] = field(default_factory=set)
    thrown: set[str] = field(default_factory=set)
    failures: set[str] = field(default_factory=set)
    contents: set[Place] = field(default_factory=set)

    def to_the_end(self) -> None:
        """Each round adds something, and there is only so much."""
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

    # Back from what is masked.

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
        """What a node and its edges store, and whether it goes to a masked Variable."""
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

    # On from what is secret.

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
            case ThrowEventNode() if self._tells(thread, node.content):
                self.thrown.add(node.workflow_event_def)
            case ExitNode():
                self._leave(thread, node)
        if self._may_fail_with_a_secret(thread, node):
            handlers = {it.handler for it in node.failure_handlers}
            if isinstance(node, WaitForThreadsNode):
                handlers |= {it.handler for it in node.on_child_failure}
            self.variables |= {
                (handler, INPUT) for handler in handlers if INPUT in self.spec.threads[handler].variables
            }

    def _leave(self, thread: ThreadSpec, node: ExitNode) -> None:
        if node.returns is not None and self._tells(thread, node.returns):
            self.returns.add(thread.name)
        told = (it for it in (node.failure_message, node.failure_content) if it is not None)
        if node.failure_name is not None and any(self._tells(thread, it) for it in told):
            self.failures.add(node.failure_name)

    def _may_fail_with_a_secret(self, thread: ThreadSpec, node: AnyNode) -> bool:
        """With a content, that is; failures of children come up where they are waited for."""
        if isinstance(node, ExitNode | WaitForThreadsNode) and (self.failures or self.contents):
            return True
        return (thread.name, node.name) in self.contents

    # Questions.

    def quoting(self) -> Iterator[Place]:
        """Nodes that have to do with a secret."""
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

    def _owners(self, thread: ThreadSpec, name: str) -> set[Place]:
        """The Variables that a thread may mean by a name: its own, else that of any which may be above it."""
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
