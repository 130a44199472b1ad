"""Checks one ThreadSpec: its names and their number, its Variables, and which nodes it has."""

from processors.core.records.spec import EntrypointNode, ExitNode, VariableDef
from processors.core.records.values import describe, fits
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.validate.edges import check_edges
from processors.core.wf_spec.validate.handlers import check_failure_handlers, check_interrupts
from processors.core.wf_spec.validate.nodes import check_node
from processors.core.wf_spec.validate.thread_examination import ThreadExamination

NODES_MAX = 1000
VARIABLES_MAX = 500
INTERRUPTS_MAX = 200


def check_thread(thread: ThreadExamination) -> None:
    """Report all that is wrong with a ThreadSpec."""
    whole, spec, path = thread.whole, thread.spec, thread.path
    whole.check_name(spec.name, path)
    whole.check_count(spec.nodes, NODES_MAX, (*path, "nodes"), "nodes")
    whole.check_count(spec.variables, VARIABLES_MAX, (*path, "variables"), "Variables")
    whole.check_count(spec.interrupts, INTERRUPTS_MAX, (*path, "interrupts"), "interrupts")
    _check_variables(thread)
    check_interrupts(thread)
    _check_shape(thread)
    for node in spec.nodes.values():
        node_path = (*path, "nodes", node.name)
        whole.check_name(node.name, node_path)
        check_edges(thread, node, node_path)
        check_failure_handlers(thread, node.failure_handlers, (*node_path, "on_failure"))
        check_node(thread, node, node_path)
    _check_returns(thread)


def _check_variables(thread: ThreadExamination) -> None:
    for variable in thread.spec.variables.values():
        path = (*thread.path, "variables", variable.name)
        thread.whole.check_name(variable.name, path)
        if not fits(variable.default, variable.type):
            thread.report(
                "VAR_DEFAULT_TYPE",
                (*path, "default"),
                f"expected {variable.type}, found {describe(variable.default)}",
            )
        if variable.searchable:
            _check_searchable(thread, variable, (*path, "searchable"))


def _check_searchable(thread: ThreadExamination, variable: VariableDef, path: Path) -> None:
    """Check that a view may have a Variable in an index: it has those of thread 0, and no masked ones."""
    if variable.masked:
        thread.report("VAR_SEARCHABLE", path, "expected no masked Variable, because views do not have these")
    if thread.spec.name != thread.whole.wf_spec.entrypoint:
        message = f"expected a Variable of the entrypoint, {thread.whole.wf_spec.entrypoint}, found one of "
        thread.report("VAR_SEARCHABLE", path, f"{message}{thread.spec.name}")


def _check_shape(thread: ThreadExamination) -> None:
    """Check that there is one ENTRYPOINT, and an EXIT."""
    nodes, path = thread.spec.nodes, (*thread.path, "nodes")
    entrypoints = [name for name, node in nodes.items() if isinstance(node, EntrypointNode)]
    if not entrypoints:
        thread.report("THREAD_NO_ENTRYPOINT", path, "expected one node of kind ENTRYPOINT, found none")
    for name in entrypoints[1:]:
        thread.report(
            "MULTIPLE_ENTRYPOINTS",
            (*path, name, "kind"),
            f"expected one node of kind ENTRYPOINT, found {' and '.join(entrypoints)}",
        )
    if not any(isinstance(node, ExitNode) for node in nodes.values()):
        thread.report("THREAD_NO_EXIT", path, "expected a node of kind EXIT, found none")


def _check_returns(thread: ThreadExamination) -> None:
    """Check that all EXITs that do not fail return the same type, or all nothing."""
    exits = [node for node in thread.spec.nodes.values() if isinstance(node, ExitNode) and node.failure_name is None]
    first: tuple[str, str] | None = None
    for node in exits:
        path = (*thread.path, "nodes", node.name)
        if node.returns is None:
            found: str | None = "nothing"
        else:
            found = thread.types.of(node.returns, (*path, "return"))
        if found is None:
            # Not known, but something: it can only disagree with an EXIT that returns nothing.
            found = first[1] if first is not None and first[1] != "nothing" else "a value"
        if first is None:
            first = (node.name, found)
        elif found != first[1] and not ("a value" in (found, first[1]) and "nothing" not in (found, first[1])):
            thread.report(
                "EXIT_RETURN_MISMATCH",
                (*path, "return"),
                f"expected {first[1]} to be returned as by EXIT {first[0]}, found {found}",
            )
