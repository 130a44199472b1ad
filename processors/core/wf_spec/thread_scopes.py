"""The Variables that a ThreadSpec can rely on: its own, and those that every way to start it provides.

A thread sees its Variables and those of the threads above it. A ThreadSpec may be started in several ways: by
START_THREAD nodes, as an Interrupt Handler, as a failure handler. A Variable is in scope if *every* way provides it. If
one way were enough, the WfSpec would be accepted, and a thread that was started the other way would fail at its first
use, perhaps weeks later, as the handler of a payment. Ways that no thread can ever take do not count.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from processors.core.records.spec import (
    INPUT,
    ListOf,
    OutputRef,
    StartMultipleThreadsNode,
    StartThreadNode,
    ThreadSpec,
    WaitForThreadsNode,
    WfSpec,
)
from processors.core.records.values import VariableType

_Type: TypeAlias = VariableType | None


# (rule variable-in-scope-of-every-way)
def parents_of(wf_spec: WfSpec) -> dict[str, list[str]]:
    """Return for each ThreadSpec those whose threads may be its parent, as far as the entrypoint can lead to them.

    A name that does not exist is left out; somebody else reports it. ThreadSpecs that nothing starts are missing.
    """
    if wf_spec.entrypoint not in wf_spec.threads:
        return {}
    parents: dict[str, dict[str, None]] = {wf_spec.entrypoint: {}}
    waiting = [wf_spec.entrypoint]
    of_any: dict[str, None] = {}
    joined: set[str] = set()
    """The handlers of `of_any` that hang below all ThreadSpecs in `started`."""
    started: dict[str, None] = {}
    while waiting:
        while waiting:
            thread = wf_spec.threads[waiting.pop()]
            of_any.update(dict.fromkeys(_handlers_of_any(thread)))
            for child, parent in _starts(thread):
                _add_way(wf_spec, parents, waiting, child, parent)
        # Any thread that is started may be waited for by its number, and fail. Then a handler of `of_any` hangs below
        # it. That may be what starts the handler: then it may be waited for too, and so on.
        while True:
            new = [name for name, above in parents.items() if above and name not in started]
            fresh = [handler for handler in of_any if handler not in joined]
            if not new and not fresh:
                break
            started.update(dict.fromkeys(new))
            for handler in of_any:
                for failed in new if handler in joined else list(started):
                    _add_way(wf_spec, parents, waiting, handler, failed)
            joined.update(fresh)
    return {name: list(above) for name, above in parents.items()}


def _add_way(wf_spec: WfSpec, parents: dict[str, dict[str, None]], waiting: list[str], child: str, parent: str) -> None:
    if child not in wf_spec.threads:
        return
    if child not in parents:
        parents[child] = {}
        waiting.append(child)
    parents[child][parent] = None


def _starts(thread: ThreadSpec) -> Iterator[tuple[str, str]]:
    """Yield what a thread starts, except `_handlers_of_any`, as (child, parent of the child)."""
    for interrupt in thread.interrupts:
        yield interrupt.handler, thread.name
    for node in thread.nodes.values():
        for handler in node.failure_handlers:
            yield handler.handler, thread.name
        match node:
            case StartThreadNode(thread=child) | StartMultipleThreadsNode(thread=child):
                yield child, thread.name
            case WaitForThreadsNode(on_child_failure=handlers) if handlers:
                # The handler of a failed child hangs below that child.
                children = _own_children(thread, node) or ()
                for name in dict.fromkeys(handler.handler for handler in handlers):
                    for failed in children:
                        yield name, failed
            case _:
                pass


def _handlers_of_any(thread: ThreadSpec) -> Iterator[str]:
    """Yield the handlers that may hang below any thread that fails: those of nodes that wait for computed numbers.

    Such a number may come from anywhere: it need not be that of a child of this thread.
    """
    for node in thread.nodes.values():
        if isinstance(node, WaitForThreadsNode) and node.on_child_failure and _own_children(thread, node) is None:
            for handler in node.on_child_failure:
                yield handler.handler


def _own_children(thread: ThreadSpec, node: WaitForThreadsNode) -> list[str] | None:
    """Return the ThreadSpecs of the threads that a node waits for, if all are outputs of nodes that start them here."""
    parts = node.threads.items if isinstance(node.threads, ListOf) else (node.threads,)
    named = [thread.nodes.get(part.node) for part in parts if isinstance(part, OutputRef) and part.path is None]
    started = [found.thread for found in named if isinstance(found, StartThreadNode | StartMultipleThreadsNode)]
    return sorted(set(started)) if len(started) == len(parts) else None


class Scope:
    """The Variables that are in scope in the threads of a ThreadSpec, each with its type.

    The type is None where ways to start the thread provide different ones (INPUT), and for a name that several
    ThreadSpecs declare, which is a mistake. A name is one bit, because two hundred ThreadSpecs may stand below each
    other, and each sees the Variables of all above it.
    """

    def __init__(self, names: "_Names", bits: int, own: Mapping[str, VariableType | None], of_input: _Type) -> None:
        self._names, self.bits, self._own, self.of_input = names, bits, own, of_input

    def __contains__(self, name: str) -> bool:
        return self.bits & self._names.bit_of.get(name, 0) != 0

    def __getitem__(self, name: str) -> VariableType | None:
        if name in self._own:
            return self._own[name]
        return self.of_input if name == INPUT else self._names.type_of[name]

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in self._names.bit_of if name in self])

    def __len__(self) -> int:
        return self.bits.bit_count()


class _Names:
    """The names of all Variables of a WfSpec."""

    def __init__(self, types: Mapping[tuple[str, str], VariableType | None]) -> None:
        self.bit_of: dict[str, int] = {}
        self.type_of: dict[str, VariableType | None] = {}
        for (_, name), declared in types.items():
            if name in self.bit_of:
                self.type_of[name] = None
            else:
                self.bit_of[name] = 1 << len(self.bit_of)
                self.type_of[name] = declared

    def bits_of(self, names: Iterable[str]) -> int:
        bits = 0
        for name in names:
            bits |= self.bit_of[name]
        return bits


def scopes_of(wf_spec: WfSpec, types: Mapping[tuple[str, str], VariableType | None]) -> dict[str, Scope]:
    """Return the scope of each ThreadSpec; ThreadSpecs that nothing starts are missing.

    `types`: (ThreadSpec, Variable) -> the type of the Variable, None where it is not known.
    """
    parents = parents_of(wf_spec)
    if not parents:
        return {}
    names = _Names(types)
    own = {name: {variable: types[name, variable] for variable in wf_spec.threads[name].variables} for name in parents}
    own_bits = {name: names.bits_of(own[name]) for name in parents}
    top = wf_spec.entrypoint  # it is started with nothing above it, whatever else starts it
    scopes = {top: Scope(names, own_bits[top], own[top], own[top].get(INPUT))}
    below = [name for name in _from_above(parents, top) if name != top]
    # From above to below until nothing changes: a ThreadSpec that is not reached yet says nothing, and each further way
    # can only take Variables away.
    changed = True
    while changed:
        changed = False
        for name in below:
            provided = [scopes[parent] for parent in parents[name] if parent in scopes]
            if provided:
                first, rest = provided[0], provided[1:]
                bits = first.bits
                for scope in rest:
                    bits &= scope.bits
                of_input = first.of_input if all(scope.of_input is first.of_input for scope in rest) else None
                scope = Scope(names, bits | own_bits[name], own[name], own[name].get(INPUT, of_input))
                before = scopes.get(name)
                if before is None or before.bits != scope.bits or before.of_input is not scope.of_input:
                    scopes[name] = scope
                    changed = True
    return scopes


def _from_above(parents: Mapping[str, Iterable[str]], top: str) -> list[str]:
    """Return the ThreadSpecs in an order in which, except in circles, each comes after all that start it."""
    children: dict[str, list[str]] = {name: [] for name in parents}
    for name, above in parents.items():
        for parent in above:
            if parent in children:  # what does not exist starts nothing
                children[parent].append(name)
    seen, done, way = {top}, [], [(top, iter(children[top]))]
    while way:
        name, rest = way[-1]
        child = next((it for it in rest if it not in seen), None)
        if child is None:
            done.append(name)
            way.pop()
        else:
            seen.add(child)
            way.append((child, iter(children[child])))
    return done[::-1]
