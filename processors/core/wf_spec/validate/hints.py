"""Hints for the author of a valid WfSpec."""

from collections.abc import Iterator

from processors.core.records.spec import AnyNode, ExitNode, OutputRef, ThreadSpec, WfSpec, expressions_of, walk
from processors.core.wf_spec.document_problems import DocumentProblem
from processors.core.wf_spec.thread_scopes import parents_of


def hints(wf_spec: WfSpec) -> list[DocumentProblem]:
    """Return what is probably a mistake in a valid WfSpec, though it may be registered."""
    found = []
    started = parents_of(wf_spec)
    for thread in wf_spec.threads.values():
        path = ("threads", thread.name)
        if thread.name not in started:
            found.append(DocumentProblem("THREAD_UNUSED", path, "expected something to start it, found nothing"))
        reached = _reached(thread, thread.entrypoint)
        found += [
            DocumentProblem("NODE_UNREACHABLE", (*path, "nodes", name), "expected a way to it, found none")
            for name in thread.nodes
            if name not in reached
        ]
        found += _outputs_that_handlers_take_away(wf_spec, thread)
    return found


def _reached(thread: ThreadSpec, start: str) -> set[str]:
    """Return the nodes to which edges lead from a node, and the node."""
    reached, waiting = {start}, [start]
    while waiting:
        for edge in thread.nodes[waiting.pop()].edges:
            if edge.to not in reached:
                reached.add(edge.to)
                waiting.append(edge.to)
    return reached


def _outputs_that_handlers_take_away(wf_spec: WfSpec, thread: ThreadSpec) -> Iterator[DocumentProblem]:
    """Tell who reads the output of a node that has none if its failure was handled (rule latest-output-of-a-node)."""
    for node in thread.nodes.values():
        handler = next((it.handler for it in node.failure_handlers if _may_complete(wf_spec, it.handler)), None)
        if handler is None:
            continue
        behind = set[str]().union(*(_reached(thread, edge.to) for edge in node.edges))
        for reader in thread.nodes.values():
            if reader.name in behind and reader is not node and _reads(reader, node.name):
                yield DocumentProblem(
                    "OUTPUT_MAY_BE_MISSING",
                    ("threads", thread.name, "nodes", reader.name),
                    f"reads the output of '{node.name}', which has none after its failure handler {handler}: this node "
                    "then fails; a Variable that node and handler write has a value either way",
                )


def _may_complete(wf_spec: WfSpec, name: str) -> bool:
    """Say whether a failure handler may end without a failure, so that its thread goes on."""
    handler = wf_spec.threads[name]
    reached = (handler.nodes[it] for it in _reached(handler, handler.entrypoint))
    return any(isinstance(it, ExitNode) and it.failure_name is None for it in reached)


def _reads(reader: AnyNode, node: str) -> bool:
    return any(isinstance(part, OutputRef) and part.node == node for it in expressions_of(reader) for part in walk(it))
