"""One WfSpec under examination: the problems found so far, and what the checks need to know of it as a whole."""

from collections.abc import Sized

from processors.core.records.commands import DefinitionKind
from processors.core.records.events import Definition
from processors.core.records.names import NAME_LENGTH_MAX, is_inner_name
from processors.core.records.spec import INPUT, WfSpec
from processors.core.wf_spec.document_problems import DocumentProblem, Path, report_to
from processors.core.wf_spec.near_names import NearNames
from processors.core.wf_spec.static_types import Type
from processors.core.wf_spec.thread_scopes import Scope, scopes_of
from processors.core.wf_spec.validate.references import KIND_NAMES, RegisteredDefs, look_up
from processors.core.wf_spec.validate.unread import Unread

THREADS_MAX = 200
REGISTERED_COMPARISONS_MAX = 1_000
"""The most registered names that are compared with one that is not registered, for one document: the worker that looks
at it has other things to do.
"""


class Examination:
    """One WfSpec under examination."""

    def __init__(self, wf_spec: WfSpec, registered: RegisteredDefs | None, unread: Unread) -> None:
        self.wf_spec, self.registered, self.unread = wf_spec, registered, unread
        self.problems: list[DocumentProblem] = []
        self.meant_or_known = NearNames().meant_or_known
        self._near_registered = NearNames(REGISTERED_COMPARISONS_MAX)
        self._names: dict[DefinitionKind, list[str]] = {}
        self.types: dict[tuple[str, str], Type] = {
            (thread.name, variable.name): None if (thread.name, variable.name) in unread.variables else variable.type
            for thread in wf_spec.threads.values()
            for variable in thread.variables.values()
        }
        """(ThreadSpec, Variable) -> its declared type; None where it could not be read."""
        self.variables = list(dict.fromkeys(name for _, name in self.types))
        """The names of all Variables."""
        # More ThreadSpecs than that are refused, and their scopes would only take long.
        self.scopes: dict[str, Scope] = scopes_of(wf_spec, self.types) if len(wf_spec.threads) <= THREADS_MAX else {}
        self.interrupting: dict[str, str] = {}
        """ExternalEventDef -> the first ThreadSpec that registers an interrupt for it; filled by `wf_specs`."""
        self.required: dict[str, list[str]] = {
            thread.name: [variable.name for variable in thread.variables.values() if variable.required]
            for thread in wf_spec.threads.values()
        }
        """ThreadSpec -> the Variables that whoever starts it has to give."""
        self.required_of_handlers = {
            name: " and ".join(variable for variable in required if variable != INPUT)
            for name, required in self.required.items()
        }
        """ThreadSpec -> the Variables that it requires and that no handler is given, in words."""
        self.declared_by: dict[str, list[str]] = {}
        """Variable -> the ThreadSpecs that declare it."""
        for name, variable_name in self.types:
            self.declared_by.setdefault(variable_name, []).append(name)

    def report(self, code: str, path: Path, message: str) -> None:
        """Note a problem; raises EnoughProblems if there are as many as anybody looks for."""
        report_to(self.problems, DocumentProblem(code, path, message))

    def check_name(self, name: str, path: Path) -> None:
        """Check the name of a ThreadSpec, a node, a Variable or an input."""
        if not is_inner_name(name):
            self.report(
                "NAME_INVALID",
                path,
                f"expected a name of at most {NAME_LENGTH_MAX} letters, digits, _ and -, not beginning with -, "
                f"found {name[:200]!r}",
            )

    def check_count(self, things: Sized, most: int, path: Path, what: str) -> None:
        """Check that there are not too many of something."""
        if len(things) > most:
            self.report("LIMIT", path, f"expected at most {most} {what}, found {len(things)}")

    def definition(self, kind: DefinitionKind, name: str, code: str, path: Path) -> Definition | None:
        """Return a definition that the WfSpec refers to; report it if it is not there."""
        if self.registered is None:
            return None
        found = look_up(self.registered, kind, name)
        if found is None or found.deleted:
            if kind not in self._names:
                self._names[kind] = self.registered.names(kind)
            meant = "" if found is not None else self._near_registered.meant(name, self._names[kind])
            gone = f"none of that name{meant}" if found is None else "that it was deleted"
            self.report(code, path, f"expected {KIND_NAMES[kind]} {name!r} to be registered, found {gone}")
            return None
        return found
