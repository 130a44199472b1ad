"""Who could make the condition of a WAIT_FOR_CONDITION true: threads and ExternalEvents that may write its Variables.

The WfSpec says it. A thread counts if it, or one that it would start, can write one of the Variables; an ExternalEvent
if the handler that it would start can. Nobody is named who cannot; whether somebody who is named will, nobody knows.
"""

from collections.abc import Iterator
from typing import Final

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

NAMED_MAX: Final = 100
"""Most threads, and most ExternalEvents, that are named for one condition."""


@record
class Writers:
    """Who may write the Variables of a condition."""

    variables: tuple[str, ...]
    threads: tuple[int, ...]
    """Live threads, ascending."""
    external_events: tuple[tuple[str, int], ...]
    """ExternalEventDefs, each with a live thread that it would interrupt."""
    left_out: int = 0
    """The number of threads and ExternalEvents that are not named: of each, the first hundred are."""


class WriterSearch:
    """Finds the writers for the conditions of one WfRun; those of a Variable once for all threads."""

    def __init__(self, run: WfRun) -> None:
        self._run = run
        self._found: dict[tuple[int, str], tuple[list[int], list[tuple[str, int]]]] = {}

    def of(self, thread: ThreadRun, condition: Expression) -> Writers:
        """Return who may make the condition true at which a thread waits."""
        variables = sorted({part.name for part in walk(condition) if isinstance(part, VariableRef)})
        threads: set[int] = set()
        events: set[tuple[str, int]] = set()
        for name in variables:
            owner = _owner(self._run, thread, name)
            if owner is not None:
                its_threads, its_events = self._of_variable(owner, name)
                threads.update(its_threads)
                events.update(its_events)
        threads.discard(thread.number)  # it stands still
        left_out = max(0, len(threads) - NAMED_MAX) + max(0, len(events) - NAMED_MAX)
        named = tuple(sorted(threads)[:NAMED_MAX]), tuple(sorted(events)[:NAMED_MAX])
        return Writers(tuple(variables), *named, left_out)

    def _of_variable(self, owner: ThreadRun, name: str) -> tuple[list[int], list[tuple[str, int]]]:
        """Return the threads that may write a Variable of a thread, and the ExternalEvents whose handlers may."""
        run, key = self._run, (owner.number, name)
        if key not in self._found:
            assert run.spec is not None
            leading = _leading_to(run.spec, name)
            writing = {it.name for it in run.spec.threads.values()
                       if _writes(it, name) or not leading.isdisjoint(_started_by(it))}  # fmt: skip
            seeing = [it for it in run.threads.values() if can_resume(run, it) and _owner(run, it, name) is owner]
            threads = [it.number for it in seeing if it.thread_spec in writing]
            events = [(interrupt.external_event_def, it.number) for it in seeing
                      for interrupt in run.spec_of(it).interrupts if interrupt.handler in leading]  # fmt: skip
            self._found[key] = threads, events
        return self._found[key]


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
