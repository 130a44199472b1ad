"""A ThreadSpec while it is written: nodes whose edges do not all lead somewhere yet.

Knows no thread function: `thread` decides which nodes and edges there are.
"""

from collections.abc import Container
from dataclasses import dataclass, field, replace

from halter.workflow.places import Place
from processors.core.records.spec import (
    AnyNode,
    Edge,
    Expression,
    FailureHandlerDef,
    InterruptDef,
    Mutation,
    ThreadSpec,
    VariableDef,
)
from processors.core.wf_spec.document_problems import Path


@dataclass(slots=True, eq=False)
class EdgeDraft:
    """A way out of a node. `to` is None until it is known where it leads."""

    node: "NodeDraft"
    place: Place
    when: Expression | None = None
    to: str | None = None
    mutations: list[tuple[Mutation, Place]] = field(default_factory=list)

    @property
    def is_plain(self) -> bool:
        """Say whether a condition may still be put on it."""
        return self.when is None and not self.mutations


@dataclass(slots=True, eq=False)
class NodeDraft:
    """A node, and its ways out in their order."""

    node: AnyNode
    place: Place
    edges: list[EdgeDraft] = field(default_factory=list)
    failure_handlers: list[tuple[FailureHandlerDef, Place]] = field(default_factory=list)

    def way(self, place: Place, when: Expression | None = None) -> EdgeDraft:
        """Add a way out, behind those that there are."""
        edge = EdgeDraft(self, place, when)
        self.edges.append(edge)
        return edge

    def done(self) -> AnyNode:
        """Return the node with its edges."""
        return replace(
            self.node,
            edges=tuple(Edge(it.to or "", it.when, tuple(one for one, _ in it.mutations)) for it in self.edges),
            failure_handlers=tuple(it for it, _ in self.failure_handlers),
        )


@dataclass(slots=True, eq=False)
class ThreadDraft:
    """A ThreadSpec that is being written."""

    name: str
    place: Place
    variables: dict[str, tuple[VariableDef, Place]] = field(default_factory=dict)
    interrupts: list[tuple[InterruptDef, Place]] = field(default_factory=list)
    nodes: dict[str, NodeDraft] = field(default_factory=dict)

    def done(self) -> ThreadSpec:
        """Return the ThreadSpec."""
        return ThreadSpec(
            self.name,
            {name: it for name, (it, _) in self.variables.items()},
            tuple(it for it, _ in self.interrupts),
            {name: it.done() for name, it in self.nodes.items()},
        )

    def places(self) -> dict[Path, Place]:
        """Return where each part of its document was written; one that is missing was written with its whole."""
        top: Path = ("threads", self.name)
        found: dict[Path, Place] = {top: self.place}
        found |= {(*top, "variables", name): place for name, (_, place) in self.variables.items()}
        found |= {(*top, "interrupts", index): place for index, (_, place) in enumerate(self.interrupts)}
        for name, node in self.nodes.items():
            path: Path = (*top, "nodes", name)
            found[path] = node.place
            for index, (_, place) in enumerate(node.failure_handlers):
                found[*path, "on_failure", index] = place
            for index, edge in enumerate(node.edges):
                # Both forms: a problem of an only edge may be told with the index, or as the document has it.
                for at in ((*path, "next", index), *(((*path, "next"),) if len(node.edges) == 1 else ())):
                    found[at] = edge.place
                    found |= {(*at, "set", one): place for one, (_, place) in enumerate(edge.mutations)}
        return found


def free_name(wanted: str, taken: Container[str]) -> str:
    """Return the name for a node that is given none: `wanted`, or with the first number that makes it another."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
