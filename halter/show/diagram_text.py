"""Says in short lines what the nodes, edges and interrupts of a WfSpec are, for diagrams. It knows no drawing."""

from collections.abc import Iterator

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
)
from processors.core.wf_spec.expression_text import expression_text, mutation_text

LINES_MAX = 6
"""Largest number of lines of the label of an edge."""


def variable_line(variable: VariableDef) -> str:
    """A Variable with its type."""
    return f"{variable.name}: {variable.type}"


def interrupt_line(interrupt: InterruptDef) -> str:
    """The ExternalEventDef of an interrupt, with what is not usual about it."""
    notes = [] if interrupt.policy is InterruptPolicy.PARALLEL else [interrupt.policy.value]
    notes += [] if interrupt.halt else ["does not halt"]
    notes += ["preemptive"] if interrupt.preemptive else []
    return f"interrupt {interrupt.external_event_def}" + (f" ({', '.join(notes)})" if notes else "")


def starts_of(thread: ThreadSpec) -> Iterator[tuple[str, str, str]]:
    """Yield the threads that the nodes of a ThreadSpec start: node, ThreadSpec and reason."""
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


def _failure(handler: FailureHandlerDef) -> str:
    return f"on {handler.catch or 'any failure'}"


def node_lines(node: AnyNode) -> list[str]:
    """The lines below the name of a node: its kind and what it does. None for an ENTRYPOINT, a NOP and a plain EXIT."""
    match node:
        case EntrypointNode() | NopNode():
            return []
        case ExitNode():
            ending = [f"fails: {node.failure_name}"] if node.failure_name else []
            return ending + ([f"returns {expression_text(node.returns)}"] if node.returns is not None else [])
        case TaskNode():
            return [f"TASK {node.task_def}", *([f"retries {node.retries}"] if node.retries else [])]
        case ExternalEventNode():
            timeout = [] if node.timeout_s is None else [f"timeout {expression_text(node.timeout_s)} s"]
            return [f"EXTERNAL_EVENT {node.external_event_def}", *timeout]
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
            return [f"SLEEP {time}"]
        case StartThreadNode():
            return [f"START_THREAD {node.thread}"]
        case StartMultipleThreadsNode():
            return [f"START_MULTIPLE_THREADS {node.thread}"]
        case WaitForThreadsNode():
            return [f"WAIT_FOR_THREADS {node.strategy}"]
        case WaitForConditionNode():
            return [f"WAIT_FOR_CONDITION {expression_text(node.condition)}"]
        case ThrowEventNode():
            return [f"THROW_EVENT {node.workflow_event_def}"]


def edge_lines(edge: Edge, index: int, node: AnyNode) -> list[str]:
    """The label of an edge: its condition, its mutations, and if there are several edges its place in their order."""
    # Not `1.`, which Mermaid takes for the beginning of a list.
    order = f"{index + 1}: " if len(node.edges) > 1 else ""
    when = [] if edge.when is None else [f"if {expression_text(edge.when)}"]
    lines = [*when, *map(mutation_text, edge.mutations)] or ["else"] * bool(order)
    if len(lines) > LINES_MAX:
        lines[LINES_MAX - 1 :] = [f"… and {len(lines) - LINES_MAX + 1} more"]
    return [order + lines[0], *lines[1:]] if lines else []
