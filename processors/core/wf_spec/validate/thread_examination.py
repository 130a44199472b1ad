"""One ThreadSpec under examination: what the names in it refer to, and which types its expressions have."""

from processors.core.records.spec import (
    INPUT,
    Expression,
    ExternalEventNode,
    Literal,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThreadSpec,
)
from processors.core.records.values import VariableType, describe
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.static_types import StaticTypes, Type, fits
from processors.core.wf_spec.thread_scopes import Scope
from processors.core.wf_spec.validate.examination import Examination


class ThreadExamination:
    """One ThreadSpec under examination, as a part of its WfSpec."""

    def __init__(self, whole: Examination, spec: ThreadSpec) -> None:
        self.whole, self.spec = whole, spec
        self.path: Path = ("threads", spec.name)
        # A ThreadSpec that nothing starts is not blamed for what nobody provides.
        self._scope: Scope | None = whole.scopes.get(spec.name)
        self.types = StaticTypes(self.variable, self.output, self.report)

    def report(self, code: str, path: Path, message: str) -> None:
        """Note a problem; raises EnoughProblems if there are as many as anybody looks for."""
        self.whole.report(code, path, message)

    def variable(self, name: str, path: Path) -> Type:
        """Return the type of a Variable as this thread sees it; report one that it does not see."""
        if self._scope is not None and name in self._scope:
            return self._scope[name]
        declaring = self.whole.declared_by.get(name, ())
        if name == INPUT and (self._scope is not None or not declaring):
            # Each ThreadSpec has an INPUT of its own, so neither the name nor the type of another's is of use.
            self.report(
                "VAR_SCOPE" if declaring else "VAR_UNKNOWN",
                path,
                f"expected {self.spec.name} to declare INPUT (`variables: {{INPUT: {{type: …}}}}`; in Python, "
                "`thread.input(…)` comes first), found no declaration",
            )
            return None
        if not declaring:
            known = self.whole.meant_or_known(name, self.whole.variables)
            self.report("VAR_UNKNOWN", path, f"expected a declared Variable{known}, found {name!r}")
            return None
        if self._scope is not None:
            known = self.whole.meant_or_known(None, self._scope)
            self.report(
                "VAR_SCOPE",
                path,
                f"expected a Variable that {self.spec.name} sees however it is started{known}, "
                f"found {name!r} of {' and '.join(declaring)}",
            )
        return self.whole.types[declaring[0], name] if len(declaring) == 1 else None

    def output(self, name: str, path: Path) -> Type:
        """Return the type of a node's output; report a node that is not there or has none."""
        node = self.spec.nodes.get(name)
        if node is None:
            known = self.whole.meant_or_known(name, self.spec.nodes)
            self.report("OUTPUT_UNKNOWN", path, f"expected a node of {self.spec.name}{known}, found {name!r}")
            return None
        registered = self.whole.registered
        match node:
            case TaskNode():
                task_def = None if registered is None else registered.task_def(node.task_def)
                return None if task_def is None else task_def.output
            case ExternalEventNode():
                event = None if registered is None else registered.external_event_def(node.external_event_def)
                return None if event is None else event.content_type
            case StartThreadNode():
                return VariableType.INT
            case StartMultipleThreadsNode():
                return VariableType.JSON_ARR
            case _:
                self.report(
                    "OUTPUT_UNKNOWN",
                    path,
                    f"expected a node that has an output (TASK, EXTERNAL_EVENT, START_THREAD or "
                    f"START_MULTIPLE_THREADS), found {name!r}",
                )
                return None

    def expect(self, expression: Expression, path: Path, wanted: list[VariableType], code: str) -> Type:
        """Check and return the type of an expression, which must not be the literal null."""
        found = self.types.of(expression, path)
        is_null = isinstance(expression, Literal) and expression.value is None
        if is_null or (found is not None and not any(fits(found, one) for one in wanted)):
            self.report(
                code,
                path,
                f"expected {' or '.join(wanted)}, found "
                f"{describe(expression.value) if isinstance(expression, Literal) else found}",
            )
        return found

    def expect_input(self, expression: Expression, wanted: Type, path: Path, code: str) -> None:
        """Check the type of an input. It is stored as it is given: unlike an assignment it turns nothing into STR."""
        found = self.types.of(expression, path)
        if not fits(found, wanted):
            self.report(code, path, f"expected {wanted}, found {found}")
