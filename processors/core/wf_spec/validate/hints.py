"""Hints for the author of a valid WfSpec."""

from processors.core.records.spec import WfSpec
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
        reached, waiting = {thread.entrypoint}, [thread.entrypoint]
        while waiting:
            for edge in thread.nodes[waiting.pop()].edges:
                if edge.to not in reached:
                    reached.add(edge.to)
                    waiting.append(edge.to)
        found += [
            DocumentProblem("NODE_UNREACHABLE", (*path, "nodes", name), "expected a way to it, found none")
            for name in thread.nodes
            if name not in reached
        ]
    return found
