"""Checks the edges of a node: where they lead, their conditions, and the mutations on them."""

from processors.core.records.spec import AnyNode, EntrypointNode, ExitNode, Mutation, MutationOperator
from processors.core.records.values import VariableType, castable
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.static_types import assignable, operands_of, result_of, shown
from processors.core.wf_spec.validate.thread_examination import ThreadExamination

_CASTABLE = frozenset(
    {
        MutationOperator.ASSIGN,
        MutationOperator.ADD,
        MutationOperator.SUBTRACT,
        MutationOperator.MULTIPLY,
        MutationOperator.DIVIDE,
        MutationOperator.POW,
    }
)
"""Mutations whose value a cast can make fit."""


def check_edges(thread: ThreadExamination, node: AnyNode, path: Path) -> None:
    """Check the edges of the node that stands at `path`."""
    spec = thread.spec
    if not node.edges and not isinstance(node, ExitNode):
        message = "expected the field next (only an EXIT has none), found none"
        thread.report("NODE_NO_NEXT", (*path, "next"), message)
    for index, edge in enumerate(node.edges):
        place = (*path, "next") if len(node.edges) == 1 else (*path, "next", index)
        sink = spec.nodes.get(edge.to)
        to = (*place, "to") if edge.when is not None or edge.mutations else place
        if sink is None:
            known = thread.whole.meant_or_known(edge.to, spec.nodes)
            thread.report("EDGE_MISSING_SINK", to, f"expected a node of {spec.name}{known}, found {edge.to!r}")
        elif edge.to == node.name:
            thread.report("EDGE_SELF_LOOP", to, f"expected another node, found {edge.to!r} itself")
        elif isinstance(sink, EntrypointNode):
            thread.report("EDGE_INTO_ENTRYPOINT", to, f"expected no edge into an ENTRYPOINT, found {edge.to!r}")
        if edge.when is not None:
            thread.expect(edge.when, (*place, "when"), [VariableType.BOOL], "CONDITION_TYPE")
        for number, mutation in enumerate(edge.mutations):
            _check_mutation(thread, mutation, (*place, "set", number))


def _check_mutation(thread: ThreadExamination, mutation: Mutation, path: Path) -> None:
    declared = thread.variable(mutation.variable, (*path, "var"))
    value = thread.types.of(mutation.value, (*path, "value"))
    if mutation.path is not None:
        thread.types.inside(declared, mutation.path, path)
        return
    applicable, result = result_of(mutation.operator, declared, value)
    if not applicable:
        thread.report(
            "MUTATION_TYPE",
            path,
            f"{mutation.operator} of {mutation.variable}: expected {operands_of(mutation.operator)}, "
            f"found {shown(declared)} and {shown(value)}",
        )
    elif declared is not None and not assignable(result, declared):
        assert result is not None
        needs_cast = castable(result, declared) and mutation.operator in _CASTABLE
        thread.report(
            "CAST" if needs_cast else "MUTATION_TYPE",
            path,
            f"{mutation.operator} of {mutation.variable}: expected {declared}, found {result}"
            + (f": write {{cast: […, {declared}]}}" if needs_cast else ""),
        )
