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
    parents: dict[str, list[str]] = {}
    if wf_spec.entrypoint not in wf_spec.threads:
        return parents
    parents[wf_spec.entrypoint] = []
    seen, waiting = {wf_spec.entrypoint}, [wf_spec.entrypoint]
    while waiting:
        name = waiting.pop()
        for child, parent in _starts(wf_spec, wf_spec.threads[name]):
            if child not in wf_spec.threads:
                continue
            known = parents.setdefault(child, [])
            if parent not in known:
                known.append(parent)
            if child not in seen:
                seen.add(child)
                waiting.append(child)
    return parents


def _starts(wf_spec: WfSpec, thread: ThreadSpec) -> Iterator[tuple[str, str]]:
    """What a thread starts: (child, parent of the child)."""
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
                    for failed in _awaited(wf_spec, thread, node):
                        yield handler.handler, failed
            case _:
                pass


def _awaited(wf_spec: WfSpec, thread: ThreadSpec, node: WaitForThreadsNode) -> list[str]:
    """The ThreadSpecs of the threads that a node may wait for: those it names, else those its ThreadSpec starts."""
    parts = node.threads.items if isinstance(node.threads, ListOf) else (node.threads,)
    named = [thread.nodes.get(part.node) for part in parts if isinstance(part, OutputRef) and part.path is None]
    started = [found.thread for found in named if isinstance(found, StartThreadNode | StartMultipleThreadsNode)]
    if len(started) == len(parts):
        return sorted(set(started))
    return sorted(_children(thread)) or sorted(
        {child for other in wf_spec.threads.values() for child in _children(other)}
    )


def _children(thread: ThreadSpec) -> set[str]:
    return {
        node.thread for node in thread.nodes.values() if isinstance(node, StartThreadNode | StartMultipleThreadsNode)
    }


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
