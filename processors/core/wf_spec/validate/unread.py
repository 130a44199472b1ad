"""The parts of a document that could not be read, and the problems that they explain.

Stand-ins are in place of what could not be read. Nothing is reported that might only be wrong with a stand-in.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from processors.core.wf_spec.document_problems import DocumentProblem, Path


class Unread:
    """The parts of a document that could not be read.

    All that they do not explain is reported, beside what is wrong with the structure.
    """

    def __init__(self, problems: Sequence[DocumentProblem]) -> None:
        self._places = {problem.path for problem in problems}
        self._around = {around for path in self._places for around in _beginnings(path)}
        in_threads = [path for path in self._places if path[:1] == ("threads",) and len(path) > 1]
        self._nodes = {path[1] for path in in_threads if path[2:3] == ("nodes",) and _is_form_of_a_node(path)}
        self._unclear = {
            problem.path[:4] for problem in problems if problem.code == "FIELD_UNKNOWN" or problem.path[4:] == ("kind",)
        }
        """Nodes that may have no `next`, or have it under another name."""
        self.variables = {(path[1], path[3]) for path in in_threads if _is_form_of_a_variable(path)}
        """(ThreadSpec, Variable) whose type is not known."""
        self.declarations = {
            path[1]
            for path in in_threads
            if len(path) == 2 or (len(path) == 3 and path[2] not in ("interrupts", "nodes"))
        }
        """ThreadSpecs whose Variables are not known: a field that no ThreadSpec has may stand for them."""

    def explains(self, problem: DocumentProblem) -> bool:
        """Return True if a problem may come from what could not be read."""
        path, code = problem.path, problem.code
        if any(around in self._places for around in _beginnings(path)):
            return True
        if code in _OF_NAMES:
            return False
        if code == "VAR_DEFAULT_TYPE" and (path[1], path[3]) in self.variables:
            return True
        if code in ("VAR_UNKNOWN", "VAR_SCOPE") and self.declarations:
            return True
        if code in _OF_THE_FORM_OF_NODES and path[1] in self._nodes:
            return True
        if code == "NODE_NO_NEXT" and path[:4] in self._unclear:
            return True
        return len(path) > 3 and path in self._around


def _beginnings(path: Path) -> Iterator[Path]:
    """Yield the places around a place, from the top, and itself."""
    return accumulate(((step,) for step in path), initial=())


def _is_form_of_a_node(path: Path) -> bool:
    """Return True if the problem leaves open which kind of node this is, or what it returns."""
    return len(path) == 4 or path[4:5] in (("kind",), ("fail",), ("return",))


def _is_form_of_a_variable(path: Path) -> bool:
    return path[2:3] == ("variables",) and (len(path) == 4 or path[4:5] == ("type",))


_OF_NAMES = frozenset({"NAME_INVALID", "VAR_DUPLICATE", "LIMIT"})
"""Codes of problems that stay, however little is known of what has the name."""
_OF_THE_FORM_OF_NODES = frozenset({"THREAD_NO_ENTRYPOINT", "THREAD_NO_EXIT", "OUTPUT_UNKNOWN", "EXIT_RETURN_MISMATCH"})
"""Codes of problems of a ThreadSpec that go away if the kind of one of its nodes, or what it returns, can be read."""
