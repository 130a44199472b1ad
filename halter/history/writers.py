"""Who could make the condition of a WAIT_FOR_CONDITION true: threads and ExternalEvents that may write its Variables.

The WfSpec says it. A thread counts if it, or one that it would start, can write one of the Variables; an ExternalEvent
if the handler that it would start can. Nobody is named who cannot; whether somebody who is named will, nobody knows.
"""

from collections.abc import Iterator

from processors.core.records.model import ThreadRun, WfRun
from processors.core.records.record import record
from processors.core.records.spec import (
    Expression,
    StartMultipleThreadsNode,
    StartThreadNode,
    ThreadSpec,
    VariableRef,
    WaitForThreadsNode,
    WfSpec,
    walk,
)
from processors.core.rules.halting import can_resume


@record
class Writers:
    """Who may write the Variables of a condition."""

    variables: tuple[str, ...]
    threads: tuple[int, ...]
    """Live threads, ascending."""
    external_events: tuple[tuple[str, int], ...]
    """ExternalEventDefs, each with a live thread that it would interrupt."""


def writers_of(run: WfRun, thread: ThreadRun, condition: Expression) -> Writers:
    """Return who may make the condition true at which a thread waits."""
    assert run.spec is not None
    variables = sorted({part.name for part in walk(condition) if isinstance(part, VariableRef)})
    threads: set[int] = set()
    events: set[tuple[str, int]] = set()
    for name in variables:
        owner = _owner(run, thread, name)
        if owner is None:
            continue
        leading = _leading_to(run.spec, name)
        for other in run.threads.values():
            if not can_resume(run, other) or _owner(run, other, name) is not owner:
                continue
            spec = run.spec_of(other)
            if other is not thread and (_writes(spec, name) or not leading.isdisjoint(_started_by(spec))):
                threads.add(other.number)
            events |= {(it.external_event_def, other.number) for it in spec.interrupts if it.handler in leading}
    return Writers(tuple(variables), tuple(sorted(threads)), tuple(sorted(events)))


def _owner(run: WfRun, thread: ThreadRun, name: str) -> ThreadRun | None:
    """Return the thread that stores a Variable as this one sees it."""
    return next((it for it in (thread, *run.ancestors(thread)) if name in it.variables), None)


def _writes(spec: ThreadSpec, name: str) -> bool:
    edges = (edge for node in spec.nodes.values() for edge in node.edges)
    return any(mutation.variable == name for edge in edges for mutation in edge.mutations)


def _started_by(spec: ThreadSpec) -> Iterator[str]:
    """Yield the ThreadSpecs that a thread may start at its nodes."""
    for node in spec.nodes.values():
        yield from (it.handler for it in node.failure_handlers)
        if isinstance(node, StartThreadNode | StartMultipleThreadsNode):
            yield node.thread
        elif isinstance(node, WaitForThreadsNode):
            yield from (it.handler for it in node.on_child_failure)


def _leading_to(spec: WfSpec, name: str) -> set[str]:
    """Return the ThreadSpecs whose threads, or threads below them, may write a Variable that is stored above them."""
    sees = {it.name: it for it in spec.threads.values() if name not in it.variables}
    leading = {it.name for it in sees.values() if _writes(it, name)}
    while True:
        before = len(leading)
        for it in sees.values():
            handlers = (interrupt.handler for interrupt in it.interrupts)
            if not leading.isdisjoint((*_started_by(it), *handlers)):
                leading.add(it.name)
        if len(leading) == before:
            return leading
