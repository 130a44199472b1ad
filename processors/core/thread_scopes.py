"""Which Variables a ThreadSpec can count on: its own, and those that every way to start it provides.

A thread sees its Variables and those of the threads above it (SEMANTICS 5). A ThreadSpec may be started in several
ways: by START_THREAD nodes, as an interrupt handler, as a failure handler. A Variable is in scope if *every* way
provides it: were one way enough, the WfSpec would be accepted and the thread that was started the other way would fail
at its first use, perhaps weeks later, as a handler of a payment. Ways that no thread can ever take do not count.
"""

from collections.abc import Iterator, Mapping

from processors.core.spec import (
    ListOf,
    OutputRef,
    StartMultipleThreadsNode,
    StartThreadNode,
    ThreadSpec,
    WaitForThreadsNode,
    WfSpec,
)
from processors.core.values import VariableType


def parents_of(wf_spec: WfSpec) -> dict[str, list[str]]:
    """ThreadSpec -> the ThreadSpecs whose threads may be its parent, as far as the entrypoint can lead to them.

    A name that does not exist is left out; somebody else reports it. ThreadSpecs that nothing starts are missing.
    """
    if wf_spec.entrypoint not in wf_spec.threads:
        return {}
    parents: dict[str, dict[str, None]] = {wf_spec.entrypoint: {}}
    waiting = [wf_spec.entrypoint]
    of_any: dict[str, None] = {}
    known, ways = -1, 0
    while known != ways:
        known = ways
        while waiting:
            thread = wf_spec.threads[waiting.pop()]
            of_any.update(dict.fromkeys(_handlers_of_any(thread)))
            for child, parent in _starts(thread):
                _add_way(wf_spec, parents, waiting, child, parent)
        # Whatever something starts may be waited for by its number, and fail.
        started = [name for name, above in parents.items() if above]
        for handler in of_any:
            for failed in started:
                _add_way(wf_spec, parents, waiting, handler, failed)
        ways = sum(map(len, parents.values()))
    return {name: list(above) for name, above in parents.items()}


def _add_way(wf_spec: WfSpec, parents: dict[str, dict[str, None]], waiting: list[str], child: str, parent: str) -> None:
    if child not in wf_spec.threads:
        return
    if child not in parents:
        parents[child] = {}
        waiting.append(child)
    parents[child][parent] = None


def _starts(thread: ThreadSpec) -> Iterator[tuple[str, str]]:
    """What a thread starts, but for `_handlers_of_any`: (child, parent of the child)."""
    for interrupt in thread.interrupts:
        yield interrupt.handler, thread.name
    for node in thread.nodes.values():
        for handler in node.failure_handlers:
            yield handler.handler, thread.name
        match node:
            case StartThreadNode(thread=child) | StartMultipleThreadsNode(thread=child):
                yield child, thread.name
            case WaitForThreadsNode():
                # The handler of a failed child hangs below that child (SEMANTICS 4.2).
                for handler in node.on_child_failure:
                    for failed in _own_children(thread, node) or ():
                        yield handler.handler, failed
            case _:
                pass


def _handlers_of_any(thread: ThreadSpec) -> Iterator[str]:
    """Handlers that may hang below any thread that fails: those of nodes that do not say whom they wait for.

    A number may have come from anywhere: it need not be that of a child, nor of a child of this thread.
    """
    for node in thread.nodes.values():
        if isinstance(node, WaitForThreadsNode) and _own_children(thread, node) is None:
            for handler in node.on_child_failure:
                yield handler.handler


def _own_children(thread: ThreadSpec, node: WaitForThreadsNode) -> list[str] | None:
    """The ThreadSpecs of the threads that a node waits for, if all are outputs of nodes that start them here."""
    parts = node.threads.items if isinstance(node.threads, ListOf) else (node.threads,)
    named = [thread.nodes.get(part.node) for part in parts if isinstance(part, OutputRef) and part.path is None]
    started = [found.thread for found in named if isinstance(found, StartThreadNode | StartMultipleThreadsNode)]
    return sorted(set(started)) if len(started) == len(parts) else None


Scope = Mapping[str, VariableType | None]
"""Variable -> its type; None where ways to start the thread provide different ones (INPUT)."""


def scopes_of(wf_spec: WfSpec, types: Mapping[tuple[str, str], VariableType | None]) -> dict[str, Scope]:
    """ThreadSpec -> what is in scope in each of its threads. ThreadSpecs that nothing starts are missing.

    `types`: (ThreadSpec, Variable) -> its type, None where that is not known.
    """
    parents = parents_of(wf_spec)
    own = {name: {variable: types[name, variable] for variable in wf_spec.threads[name].variables} for name in parents}
    scopes: dict[str, Scope] = {wf_spec.entrypoint: own[wf_spec.entrypoint]} if parents else {}
    # From above to below until nothing changes: a thread not yet reached says nothing, each new way can only take away.
    changed = True
    while changed:
        changed = False
        for name, above in parents.items():
            if name == wf_spec.entrypoint:
                continue  # it is started with nothing above it, whatever else starts it
            provided = [scopes[parent] for parent in above if parent in scopes]
            if provided:
                scope = {**_common(provided), **own[name]}
                if scopes.get(name) != scope:
                    scopes[name] = scope
                    changed = True
    return scopes


def _common(scopes: list[Scope]) -> dict[str, VariableType | None]:
    first, rest = scopes[0], scopes[1:]
    return {
        name: declared if all(scope[name] is declared for scope in rest) else None
        for name, declared in first.items()
        if all(name in scope for scope in rest)
    }
