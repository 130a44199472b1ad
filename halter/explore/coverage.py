"""What a search reached: nodes, edges, ThreadSpecs and handlers. What it never reached follows from that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from processors.core.records.events import LogEntry, NodeCompleted, SpawnChild, WfRunStarted
from processors.core.records.model import ThreadRun, ThreadType
from processors.core.records.spec import Edge, ExternalEventNode, ThreadSpec, WaitForConditionNode, WfSpec
from processors.core.wf_spec.expression_text import expression_text

_REACHES: Final = frozenset({NodeCompleted, SpawnChild, WfRunStarted})


@dataclass(slots=True)
class Coverage:
    """What was reached so far."""

    ambiguous: frozenset[tuple[str, str]] = frozenset()
    """ThreadSpec and node of nodes with several edges to one node, which what they write tells apart."""
    threads: set[str] = field(default_factory=set)
    """ThreadSpecs that were started."""
    nodes: set[tuple[str, str]] = field(default_factory=set)
    edges: set[tuple[str, ...]] = field(default_factory=set)
    """ThreadSpec, node, the node after it; of an ambiguous node also the Variables that the edge writes."""
    handlers: set[tuple[str, str]] = field(default_factory=set)
    """ThreadSpec and ExternalEventDef of each InterruptDef whose handler was started."""

    def see(self, before: Mapping[int, ThreadRun], entries: Sequence[LogEntry]) -> dict[int, str]:
        """Note what one input brought about; return the ThreadSpecs of the threads that it started."""
        started: dict[int, str] = {}
        for entry in entries:
            event = entry.event
            kind = type(event)
            if kind not in _REACHES:
                continue
            if isinstance(event, NodeCompleted):
                number = event.thread
                name = started[number] if number in started else before[number].thread_spec
                if (name, event.node) in self.ambiguous:
                    written = dict.fromkeys(write.name for write in event.writes)
                    self.edges.add((name, event.node, event.next_node, *written))
                self.edges.add((name, event.node, event.next_node))
                self.nodes.add((name, event.next_node))
            elif isinstance(event, SpawnChild):
                started[event.thread] = event.spec
                self.threads.add(event.spec)
                self.nodes.add((event.spec, event.node))
                if event.type is ThreadType.INTERRUPT and event.external_event_def is not None:
                    parent = event.parent
                    above = started[parent] if parent in started else before[parent].thread_spec
                    self.handlers.add((above, event.external_event_def))
            elif isinstance(event, WfRunStarted):
                started[0] = event.thread_spec
                self.threads.add(event.thread_spec)
                self.nodes.add((event.thread_spec, event.node))
        return started

    def add(self, other: "Coverage") -> None:
        """Add what another search of the same WfSpec reached."""
        self.threads |= other.threads
        self.nodes |= other.nodes
        self.edges |= other.edges
        self.handlers |= other.handlers

    def never(self, spec: WfSpec) -> "Iterator[Never]":
        """Yield what was never reached, each thing once: of a ThreadSpec that never starts no node is named."""
        for thread in spec.threads.values():
            if thread.name not in self.threads:
                yield Never(
                    "not-started", (thread.name,), f"ThreadSpec {thread.name} is never started within the bounds"
                )
                continue
            for interrupt in thread.interrupts:
                name = interrupt.external_event_def
                if (thread.name, name) not in self.handlers:
                    sentence = f"interrupt {name} of ThreadSpec {thread.name} is never handled within the bounds"
                    yield Never("not-handled", (thread.name, name), sentence)
            yield from self._of_nodes(thread)

    def _of_nodes(self, thread: ThreadSpec) -> "Iterator[Never]":
        passed = {at for name, at, *_ in self.edges if name == thread.name}
        unpassed = {edge.to for node in thread.nodes.values() if node.name not in passed for edge in node.edges}
        for node in thread.nodes.values():
            where = f"node {node.name} of ThreadSpec {thread.name}"
            if (thread.name, node.name) not in self.nodes:
                # Behind a node that is never passed no other is named: that one is.
                if node.name not in unpassed:
                    yield Never("not-reached", (thread.name, node.name), f"{where} is never reached within the bounds")
                continue
            taken = {edge[2:] for edge in self.edges if edge[:2] == (thread.name, node.name)}
            if not taken and isinstance(node, WaitForConditionNode):
                condition = expression_text(node.condition)
                yield Never("not-true", (thread.name, node.name), f"{where} never passes: {condition}")
            elif not taken and isinstance(node, ExternalEventNode):
                sentence = f"{where} never gets its ExternalEvent {node.external_event_def}"
                yield Never("not-reached", (thread.name, node.name, "next"), sentence)
            elif not taken and node.edges:
                yield Never("not-reached", (thread.name, node.name, "next"), f"{where} is never passed")
            for edge in node.edges:
                way = (edge.to, *_written(edge)) if (thread.name, node.name) in self.ambiguous else (edge.to,)
                if edge.when is not None and taken and way not in taken:
                    condition = expression_text(edge.when)
                    sentence = f"{where} never takes this edge to {edge.to}, its condition is never true: {condition}"
                    yield Never("not-true", (thread.name, node.name, *way), sentence)


def _written(edge: Edge) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mutation.variable for mutation in edge.mutations))


def ambiguous(spec: WfSpec) -> frozenset[tuple[str, str]]:
    """Return the nodes with several edges to one node that write different Variables.

    Not those with failure handlers: who passes on from a handled failure takes an edge and writes nothing.
    """
    found = set()
    for thread in spec.threads.values():
        for node in thread.nodes.values():
            ways = {(edge.to, *_written(edge)) for edge in node.edges}
            if len(ways) > len({edge.to for edge in node.edges}) and not node.failure_handlers:
                found.add((thread.name, node.name))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Never:
    """Something that was never reached."""

    kind: str
    where: tuple[str, ...]
    sentence: str
