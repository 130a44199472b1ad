"""Draws a WfSpec as a Mermaid flowchart: ThreadSpecs as boxes, nodes, edges, and who starts which ThreadSpec.

Solid arrows are edges; dotted ones start a thread: a START_THREAD node its child, an interrupt or a failure its
handler. An interrupt stands in the box of the ThreadSpec that it interrupts. All arrows go from node to node: Mermaid
refuses one from a box into itself, and a ThreadSpec may be its own handler.
"""

from collections.abc import Iterator

from halter.show.diagram_text import edge_lines, interrupt_line, node_lines, starts_of, variable_line
from processors.core.records.spec import (
    AnyNode,
    EntrypointNode,
    ExitNode,
    ExternalEventNode,
    NopNode,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThrowEventNode,
    WaitForConditionNode,
    WaitForThreadsNode,
    WfSpec,
)

TEXT_LENGTH_MAX = 60
"""Largest length of a line of a label. A longer one is cut."""


def mermaid(wf_spec: WfSpec) -> str:
    """The text of the diagram, for ```mermaid blocks and every tool that draws Mermaid."""
    return "\n".join(_lines(wf_spec)) + "\n"


def _lines(wf_spec: WfSpec) -> Iterator[str]:
    # The ids are our own: Mermaid takes some names for syntax, such as `end`.
    thread_ids = {name: f"t{number}" for number, name in enumerate(wf_spec.threads)}
    node_ids = {
        (thread.name, node): f"{thread_ids[thread.name]}n{number}"
        for thread in wf_spec.threads.values()
        for number, node in enumerate(thread.nodes)
    }
    entry_ids = {name: node_ids[name, thread.entrypoint] for name, thread in wf_spec.threads.items()}
    yield "flowchart TD"
    for name, thread in wf_spec.threads.items():
        title = f"{name} (entrypoint)" if name == wf_spec.entrypoint else name
        yield f"  subgraph {thread_ids[name]}[{_quoted(title, *map(variable_line, thread.variables.values()))}]"
        for node in thread.nodes.values():
            yield f"    {node_ids[name, node.name]}{_shape(node)}"
        for number, interrupt in enumerate(thread.interrupts):
            yield f"    {thread_ids[name]}i{number}[/{_quoted(interrupt_line(interrupt))}/]"
        for node in thread.nodes.values():
            for index, edge in enumerate(node.edges):
                yield f"    {_arrow(node_ids[name, node.name], node_ids[name, edge.to], edge_lines(edge, index, node))}"
        yield "  end"
    for name, thread in wf_spec.threads.items():
        for number, interrupt in enumerate(thread.interrupts):
            yield f"  {thread_ids[name]}i{number} -.-> {entry_ids[interrupt.handler]}"
        for source, started, text in starts_of(thread):
            yield f"  {node_ids[name, source]} -. {_quoted(text)} .-> {entry_ids[started]}"


def _arrow(source: str, target: str, lines: list[str]) -> str:
    return f"{source} -- {_quoted(*lines)} --> {target}" if lines else f"{source} --> {target}"


def _shape(node: AnyNode) -> str:
    label = _quoted(node.name, *node_lines(node))
    match node:
        case EntrypointNode():
            return f"(({label}))"
        case ExitNode():
            return f"((({label})))"
        case NopNode():
            return f"{{{label}}}"
        case TaskNode():
            return f"[{label}]"
        case ExternalEventNode() | SleepNode() | WaitForThreadsNode() | WaitForConditionNode():
            return f"{{{{{label}}}}}"
        case StartThreadNode() | StartMultipleThreadsNode():
            return f"[[{label}]]"
        case ThrowEventNode():
            return f">{label}]"


def _quoted(*lines: str) -> str:
    """A label in quotes. Characters that Mermaid takes for syntax are written as entity codes."""
    cut = (line if len(line) <= TEXT_LENGTH_MAX else line[: TEXT_LENGTH_MAX - 1] + "…" for line in lines)
    return '"' + "<br/>".join(_escaped(line) for line in cut) + '"'


def _escaped(text: str) -> str:
    return "".join(_ENTITIES.get(character, character if character.isprintable() else " ") for character in text)


_ENTITIES = {character: f"#{ord(character)};" for character in '"#&<>`*~;%$\\'}
