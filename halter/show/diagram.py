"""Draws a WfSpec as a Mermaid flowchart: ThreadSpecs as boxes, nodes, edges, and who starts which ThreadSpec.

Solid arrows are edges; dotted ones start a thread: a START_THREAD node its child, an interrupt or a failure its
handler. An interrupt stands in the box of the ThreadSpec that it interrupts. All arrows go from node to node: Mermaid
refuses one from a box into itself, and a ThreadSpec may be its own handler.
"""

from collections.abc import Iterator

from halter.show.expression_text import expression_text, mutation_text
from processors.core.records.spec import (
    AnyNode,
    Edge,
    EntrypointNode,
    ExitNode,
    ExternalEventNode,
    FailureHandlerDef,
    InterruptDef,
    InterruptPolicy,
    NopNode,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThreadSpec,
    ThrowEventNode,
    VariableDef,
    WaitForConditionNode,
    WaitForThreadsNode,
    WfSpec,
)

TEXT_LENGTH_MAX = 60
"""Largest length of a line of a label. A longer one is cut."""
LINES_MAX = 6
"""Largest number of lines of the label of an edge."""


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
        yield f"  subgraph {thread_ids[name]}[{_quoted(title, *map(_variable, thread.variables.values()))}]"
        for node in thread.nodes.values():
            yield f"    {node_ids[name, node.name]}{_shape(node)}"
        for number, interrupt in enumerate(thread.interrupts):
            yield f"    {thread_ids[name]}i{number}[/{_quoted(_interrupt(interrupt))}/]"
        for node in thread.nodes.values():
            for index, edge in enumerate(node.edges):
                yield f"    {_arrow(node_ids[name, node.name], node_ids[name, edge.to], _edge(edge, index, node))}"
        yield "  end"
    for name, thread in wf_spec.threads.items():
        for number, interrupt in enumerate(thread.interrupts):
            yield f"  {thread_ids[name]}i{number} -.-> {entry_ids[interrupt.handler]}"
        for source, started, text in _starts(thread):
            yield f"  {node_ids[name, source]} -. {_quoted(text)} .-> {entry_ids[started]}"


def _variable(variable: VariableDef) -> str:
    return f"{variable.name}: {variable.type}"


def _arrow(source: str, target: str, lines: list[str]) -> str:
    return f"{source} -- {_quoted(*lines)} --> {target}" if lines else f"{source} --> {target}"


def _starts(thread: ThreadSpec) -> Iterator[tuple[str, str, str]]:
    """The threads that the nodes of a ThreadSpec start: node, ThreadSpec and reason."""
    for node in thread.nodes.values():
        match node:
            case StartThreadNode():
                yield node.name, node.thread, "starts"
            case StartMultipleThreadsNode():
                yield node.name, node.thread, f"starts one for each of {expression_text(node.over)}"
            case WaitForThreadsNode():
                for handler in node.on_child_failure:
                    yield node.name, handler.handler, f"child: {_failure(handler)}"
            case _:
                pass
        for handler in node.failure_handlers:
            yield node.name, handler.handler, _failure(handler)


def _interrupt(interrupt: InterruptDef) -> str:
    notes = [] if interrupt.policy is InterruptPolicy.PARALLEL else [interrupt.policy.value]
    notes += [] if interrupt.halt else ["does not halt"]
    notes += ["preemptive"] if interrupt.preemptive else []
    return f"interrupt {interrupt.external_event_def}" + (f" ({', '.join(notes)})" if notes else "")


def _failure(handler: FailureHandlerDef) -> str:
    return f"on {handler.catch or 'any failure'}"


def _shape(node: AnyNode) -> str:
    match node:
        case EntrypointNode():
            return f"(({_quoted(node.name)}))"
        case ExitNode():
            ending = [f"fails: {node.failure_name}"] if node.failure_name else []
            ending += [f"returns {expression_text(node.returns)}"] if node.returns is not None else []
            return f"((({_quoted(node.name, *ending)})))"
        case NopNode():
            return f"{{{_quoted(node.name)}}}"
        case TaskNode():
            retries = [f"retries {node.retries}"] if node.retries else []
            return f"[{_quoted(node.name, f'TASK {node.task_def}', *retries)}]"
        case ExternalEventNode():
            timeout = [] if node.timeout_s is None else [f"timeout {expression_text(node.timeout_s)} s"]
            return f"{{{{{_quoted(node.name, f'EXTERNAL_EVENT {node.external_event_def}', *timeout)}}}}}"
        case SleepNode():
            time = next(
                f"{word} {expression_text(given)}{unit}"
                for word, given, unit in (
                    ("for", node.seconds, " s"),
                    ("until", node.until_ms, ""),
                    ("until", node.until_iso, ""),
                )
                if given is not None
            )
            return f"{{{{{_quoted(node.name, f'SLEEP {time}')}}}}}"
        case StartThreadNode():
            return f"[[{_quoted(node.name, f'START_THREAD {node.thread}')}]]"
        case StartMultipleThreadsNode():
            return f"[[{_quoted(node.name, f'START_MULTIPLE_THREADS {node.thread}')}]]"
        case WaitForThreadsNode():
            return f"{{{{{_quoted(node.name, f'WAIT_FOR_THREADS {node.strategy}')}}}}}"
        case WaitForConditionNode():
            return f"{{{{{_quoted(node.name, f'WAIT_FOR_CONDITION {expression_text(node.condition)}')}}}}}"
        case ThrowEventNode():
            return f">{_quoted(node.name, f'THROW_EVENT {node.workflow_event_def}')}]"


def _edge(edge: Edge, index: int, node: AnyNode) -> list[str]:
    """The label of an edge: its condition, its mutations, and if there are several edges its place in their order."""
    # Not `1.`, which Mermaid takes for the beginning of a list.
    order = f"{index + 1}: " if len(node.edges) > 1 else ""
    when = [] if edge.when is None else [f"if {expression_text(edge.when)}"]
    lines = [*when, *map(mutation_text, edge.mutations)] or ["else"] * bool(order)
    if len(lines) > LINES_MAX:
        lines[LINES_MAX - 1 :] = [f"… and {len(lines) - LINES_MAX + 1} more"]
    return [order + lines[0], *lines[1:]] if lines else []


def _quoted(*lines: str) -> str:
    """A label in quotes. Characters that Mermaid takes for syntax are written as entity codes."""
    cut = (line if len(line) <= TEXT_LENGTH_MAX else line[: TEXT_LENGTH_MAX - 1] + "…" for line in lines)
    return '"' + "<br/>".join(_escaped(line) for line in cut) + '"'


def _escaped(text: str) -> str:
    return "".join(_ENTITIES.get(character, character if character.isprintable() else " ") for character in text)


_ENTITIES = {character: f"#{ord(character)};" for character in '"#&<>`*~;%$\\'}
