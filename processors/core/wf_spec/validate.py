"""Says what is wrong with a WfSpec before it is registered: every rule of SEMANTICS 6 and N13, each with its code.

Documents come here after `documents` has found their structure sound. All problems are reported, each with its place
(ThreadSpec, node, field) and with what was expected and what was found. CODES says what each code stands for.

Not refused, because a WfSpec with it runs as written: nodes that nothing leads to and ThreadSpecs that nothing starts
(`hints` reports those), and comparing values that can never be equal.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Protocol

from processors.core.records.commands import DefinitionKind
from processors.core.records.events import Definition
from processors.core.records.failures import HAPPENING, RESERVED, is_of_the_engine
from processors.core.records.names import is_exception_name
from processors.core.records.spec import (
    INPUT,
    AnyNode,
    EntrypointNode,
    ExitNode,
    Expression,
    ExternalEventNode,
    FailureHandlerDef,
    InterruptDef,
    ListOf,
    Literal,
    Mutation,
    MutationOperator,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThreadSpec,
    ThrowEventNode,
    WaitForConditionNode,
    WaitForThreadsNode,
    WfSpec,
)
from processors.core.records.values import (
    ValueProblem,
    VariableType,
    castable,
    describe,
    timestamp_of,
)
from processors.core.records.values import fits as value_fits
from processors.core.wf_spec.document_problems import DocumentProblem, EnoughProblems, Path, report_to
from processors.core.wf_spec.json_document import DOCUMENT_BYTES_MAX, utf8_size
from processors.core.wf_spec.near_names import NearNames
from processors.core.wf_spec.reader import SECONDS_MAX, read_as_far_as_possible
from processors.core.wf_spec.static_types import StaticTypes, Type, assignable, fits, operands_of, result_of, shown
from processors.core.wf_spec.thread_scopes import Scope, parents_of, scopes_of

NAME_LENGTH_MAX = 128
THREADS_MAX = 200
NODES_MAX = 1000
VARIABLES_MAX = 500
INTERRUPTS_MAX = 200

NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?")
"""Of definitions and failures, which are seen outside."""
INNER_NAME = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_]*")
"""Of ThreadSpecs, nodes, Variables and inputs."""

CODES = {
    # Structure, found by `documents`.
    "DOCUMENT": "The document is not JSON, too large, or says a key twice.",
    "FIELD_UNKNOWN": "A field that the format does not have.",
    "FIELD_MISSING": "A field that must be there is not.",
    "FIELD_TYPE": "A field is of the wrong type.",
    "FIELD_VALUE": "A field's value is none of those that it can have.",
    "EXPRESSION_FORM": "A mapping in place of an expression is none.",
    "LIMIT": "Too many, too long or too deep.",
    # Names and references.
    "WF_NAME": "The WfSpec's name is not [A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?.",
    "NAME_INVALID": "Another name is not formed as names are.",
    "NO_ENTRYPOINT_THREAD": "`entrypoint` names no ThreadSpec.",
    "THREAD_NO_ENTRYPOINT": "A ThreadSpec has no ENTRYPOINT node.",
    "MULTIPLE_ENTRYPOINTS": "A ThreadSpec has more than one ENTRYPOINT node.",
    "THREAD_NO_EXIT": "A ThreadSpec has no EXIT node.",
    "EDGE_INTO_ENTRYPOINT": "An edge leads into an ENTRYPOINT node.",
    "EDGE_SELF_LOOP": "An edge points to its own node.",
    "EDGE_MISSING_SINK": "An edge leads to a node that does not exist.",
    "NODE_NO_NEXT": "A node that is no EXIT leads nowhere.",
    # Variables and expressions.
    "VAR_DUPLICATE": "Two ThreadSpecs declare a Variable of one name; only INPUT may repeat.",
    "VAR_UNKNOWN": "No ThreadSpec declares the Variable.",
    "VAR_SCOPE": "The Variable is not in scope, at least if the thread is started in one of its ways.",
    "VAR_DEFAULT_TYPE": "A default is not of the Variable's type.",
    "VAR_FROZEN_TYPE": "The type of a required Variable of the entrypoint differs from an earlier version's.",
    "OUTPUT_UNKNOWN": "An expression refers to the output of a node that does not exist or has none.",
    "EXPRESSION_TYPE": "An operator, cast or path cannot take what it is given.",
    "FORMAT_ARGS": "A format names an argument that is not there.",
    "CONDITION_TYPE": "A condition is not BOOL.",
    "MUTATION_TYPE": "A mutation's operator cannot take the Variable or the value.",
    "CAST": "A value needs an explicit cast.",
    # Interrupts.
    "INTERRUPT_EED_MISSING": "The interrupt's ExternalEventDef is not registered.",
    "INTERRUPT_HANDLER_MISSING": "The interrupt's handler is no ThreadSpec.",
    "INTERRUPT_HANDLER_VARS": "The handler requires a Variable other than INPUT.",
    "INTERRUPT_EED_ALSO_NODE": "An EXTERNAL_EVENT node waits for an event that is an interrupt.",
    "INTERRUPT_EED_MULTI_THREAD": "A second ThreadSpec registers an interrupt for the event.",
    "INTERRUPT_DUPLICATE": "A ThreadSpec registers two interrupts for one event.",
    "INTERRUPT_INPUT_TYPE": "The handler's INPUT has another type than the ExternalEventDef.",
    # Nodes.
    "EXT_EVENT_EED_MISSING": "The node's ExternalEventDef is not registered.",
    "TASKDEF_MISSING": "The TaskDef is not registered.",
    "TASK_ARG_COUNT": "The inputs are not those of the TaskDef.",
    "TASK_ARG_TYPE": "An input is not of the TaskDef's type.",
    "WF_EVENT_DEF_MISSING": "The WorkflowEventDef is not registered.",
    "WF_EVENT_TYPE": "The content is not of the WorkflowEventDef's type.",
    "TIMEOUT_TYPE": "A time-out is not INT seconds, or not a possible number of them.",
    "SLEEP_TYPE": "A SLEEP's time is not of its type, or not a possible one.",
    "START_THREAD_SELF": "A ThreadSpec starts itself.",
    "START_THREAD_MISSING": "The ThreadSpec to start does not exist.",
    "START_THREAD_INPUTS": "The inputs are not those of the ThreadSpec to start.",
    "START_MULTIPLE": "As the START_THREAD codes, for START_MULTIPLE_THREADS; or `over` is no JSON_ARR.",
    "WAIT_THREADS_TYPE": "What to wait for is no list of thread numbers.",
    "FAILURE_HANDLER_MISSING": "A failure handler is no ThreadSpec.",
    "FAILURE_HANDLER_VARS": "A failure handler requires a Variable other than INPUT.",
    "FAILURE_NAME_RESERVED": "An EXIT fails with a name that is the engine's.",
    "FAILURE_NAME_INVALID": "A failure's name is not formed as names are, or no such failure exists.",
    "EXIT_RETURN_MISMATCH": "The EXITs of a ThreadSpec return different types, or only some return.",
    # Versions, found by `definitions`.
    "UPDATE_BREAKING": "A change that callers would notice, where only a new revision was allowed.",
    "UPDATE_FORBIDDEN": "A change, where none was allowed.",
}
"""Every code that a WfSpec may be refused with; they keep their meaning."""


REGISTERED_COMPARISONS_MAX = 1_000
"""Of names that are registered, for one document: the worker that looks at it has other things to do."""


class RegisteredDefs(Protocol):
    """The definitions that a WfSpec may refer to; deleted ones count as not there."""

    def task_def(self, name: str) -> Definition | None:
        """The TaskDef of this name."""
        ...

    def external_event_def(self, name: str) -> Definition | None:
        """The ExternalEventDef of this name."""
        ...

    def workflow_event_def(self, name: str) -> Definition | None:
        """The WorkflowEventDef of this name."""
        ...

    def names(self, kind: DefinitionKind) -> list[str]:
        """The names of all that are there."""
        ...


KIND_NAMES = {
    DefinitionKind.WF_SPEC: "WfSpec",
    DefinitionKind.TASK_DEF: "TaskDef",
    DefinitionKind.EXTERNAL_EVENT_DEF: "ExternalEventDef",
    DefinitionKind.WORKFLOW_EVENT_DEF: "WorkflowEventDef",
}


def look_up(registered: RegisteredDefs, kind: DefinitionKind, name: str) -> Definition | None:
    """The definition of a kind that WfSpecs refer to."""
    match kind:
        case DefinitionKind.TASK_DEF:
            return registered.task_def(name)
        case DefinitionKind.EXTERNAL_EVENT_DEF:
            return registered.external_event_def(name)
        case DefinitionKind.WORKFLOW_EVENT_DEF:
            return registered.workflow_event_def(name)
        case DefinitionKind.WF_SPEC:
            return None


def check_document(document: object, registered: RegisteredDefs | None) -> tuple[WfSpec | None, list[DocumentProblem]]:
    """The WfSpec of a document, or all that is wrong with it, in its structure and in what it says.

    Without `registered`, references to definitions are not checked.
    """
    wf_spec, problems = examine(document, registered)
    return (None if problems else wf_spec), problems


# (rules all-problems-reported, wf-spec-is-checked)
def examine(document: object, registered: RegisteredDefs | None) -> tuple[WfSpec | None, list[DocumentProblem]]:
    """As `check_document`, with the WfSpec as far as it could be read also where something is wrong."""
    wf_spec, problems = read_as_far_as_possible(document)
    if wf_spec is None:
        return None, problems
    unread = Unread(problems)
    validation = _Validation(wf_spec, registered, unread)
    problems += [problem for problem in validation.run() if not unread.explains(problem)]
    if not problems:
        problems += _as_it_is_stored(wf_spec)
    return wf_spec, problems


def _as_it_is_stored(wf_spec: WfSpec) -> list[DocumentProblem]:
    """The document as the engine writes it may be longer than as it came; what is stored has to be readable again."""
    try:
        size = utf8_size(wf_spec.document)
    except ValueProblem as problem:
        return [DocumentProblem("DOCUMENT", (), str(problem))]
    if size <= DOCUMENT_BYTES_MAX:
        return []
    return [DocumentProblem("DOCUMENT", (), f"expected at most {DOCUMENT_BYTES_MAX} bytes of JSON, found {size}")]


class Unread:
    """What of a document could not be read, so that stand-ins are in its place, and what those may bring about.

    Nothing is reported that might only be wrong with a stand-in; all else is, beside what is wrong with the structure.
    """

    def __init__(self, problems: Sequence[DocumentProblem] = ()) -> None:
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
        """ThreadSpecs whose Variables are not known: a field that a ThreadSpec has not may stand for them."""

    def explains(self, problem: DocumentProblem) -> bool:
        """Whether a problem may come of what could not be read."""
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
    """The place itself and those around it."""
    return accumulate(((step,) for step in path), initial=())


def _is_form_of_a_node(path: Path) -> bool:
    """Whether the problem leaves open what kind of node this is, or what it returns."""
    return len(path) == 4 or path[4:5] in (("kind",), ("fail",), ("return",))


def _is_form_of_a_variable(path: Path) -> bool:
    return path[2:3] == ("variables",) and (len(path) == 4 or path[4:5] == ("type",))


_OF_NAMES = frozenset({"NAME_INVALID", "VAR_DUPLICATE", "LIMIT"})
"""What is wrong however little is known of what has the name."""
_OF_THE_FORM_OF_NODES = frozenset({"THREAD_NO_ENTRYPOINT", "THREAD_NO_EXIT", "OUTPUT_UNKNOWN", "EXIT_RETURN_MISMATCH"})
"""What a node may bring about in its ThreadSpec if its kind, or what it returns, could not be read."""


def validate(wf_spec: WfSpec, registered: RegisteredDefs | None) -> list[DocumentProblem]:
    """All that is wrong with a WfSpec. Without `registered`, references to definitions are not checked."""
    return _Validation(wf_spec, registered, Unread()).run()


def hints(wf_spec: WfSpec) -> list[DocumentProblem]:
    """What is probably a mistake in a valid WfSpec, though it may be registered."""
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


class _Validation:
    """One WfSpec under examination."""

    def __init__(self, wf_spec: WfSpec, registered: RegisteredDefs | None, unread: Unread) -> None:
        self.wf_spec, self.registered, self.unread = wf_spec, registered, unread
        self.problems: list[DocumentProblem] = []
        self.of = NearNames().meant_or_known
        self.near_registered = NearNames(REGISTERED_COMPARISONS_MAX)
        self.names: dict[DefinitionKind, list[str]] = {}
        self.types: dict[tuple[str, str], Type] = {
            (thread.name, variable.name): None if (thread.name, variable.name) in unread.variables else variable.type
            for thread in wf_spec.threads.values()
            for variable in thread.variables.values()
        }
        self.variables = list(dict.fromkeys(name for _, name in self.types))
        # More than that is refused, and would only take long.
        self.scopes = scopes_of(wf_spec, self.types) if len(wf_spec.threads) <= THREADS_MAX else {}
        self.declaring: dict[str, str] = {}
        self.interrupting: dict[str, str] = {}
        self.required: dict[str, list[str]] = {
            thread.name: [variable.name for variable in thread.variables.values() if variable.required]
            for thread in wf_spec.threads.values()
        }
        self.required_of_handlers = {
            name: " and ".join(variable for variable in required if variable != INPUT)
            for name, required in self.required.items()
        }
        self.declared_by: dict[str, list[str]] = {}
        for name, variable_name in self.types:
            self.declared_by.setdefault(variable_name, []).append(name)

    def report(self, code: str, path: Path, message: str) -> None:
        report_to(self.problems, DocumentProblem(code, path, message))

    def run(self) -> list[DocumentProblem]:
        """All that is wrong, or as much of it as anybody looks for."""
        with suppress(EnoughProblems):
            self._run()
        return self.problems

    def _run(self) -> None:
        wf_spec = self.wf_spec
        if not is_name(wf_spec.name):
            self.report("WF_NAME", ("name",), f"expected {_NAME_IN_WORDS}, found {wf_spec.name[:200]!r}")
        if wf_spec.entrypoint not in wf_spec.threads:
            known = self.of(wf_spec.entrypoint, wf_spec.threads)
            message = f"expected the name of a ThreadSpec{known}, found {wf_spec.entrypoint!r}"
            self.report("NO_ENTRYPOINT_THREAD", ("entrypoint",), message)
        self.count(wf_spec.threads, THREADS_MAX, ("threads",), "ThreadSpecs")
        for thread in wf_spec.threads.values():
            self._declare(thread)
        for thread in wf_spec.threads.values():
            _ThreadValidation(self, thread).run()

    def _declare(self, thread: ThreadSpec) -> None:
        """What has to be unique in the whole WfSpec."""
        path = ("threads", thread.name)
        for variable in thread.variables.values():
            if variable.name != INPUT and self.declaring.setdefault(variable.name, thread.name) != thread.name:
                self.report(
                    "VAR_DUPLICATE",
                    (*path, "variables", variable.name),
                    f"expected a name that no other ThreadSpec uses, found one of {self.declaring[variable.name]}",
                )
        for index, interrupt in enumerate(thread.interrupts):
            event = interrupt.external_event_def
            if self.interrupting.setdefault(event, thread.name) != thread.name:
                self.report(
                    "INTERRUPT_EED_MULTI_THREAD",
                    (*path, "interrupts", index, "event"),
                    f"expected one ThreadSpec with an interrupt for {event!r}, found it in "
                    f"{self.interrupting[event]} too",
                )

    def name(self, name: str, path: Path) -> None:
        if not INNER_NAME.fullmatch(name) or len(name) > NAME_LENGTH_MAX:
            self.report(
                "NAME_INVALID",
                path,
                f"expected a name of at most {NAME_LENGTH_MAX} letters, digits, _ and -, not beginning with -, "
                f"found {name[:200]!r}",
            )

    def count(self, things: Iterable[object], most: int, path: Path, what: str) -> None:
        found = len(list(things))
        if found > most:
            self.report("LIMIT", path, f"expected at most {most} {what}, found {found}")

    def definition(self, kind: DefinitionKind, name: str, code: str, path: Path) -> Definition | None:
        """A definition that the WfSpec refers to; reports when it is not there."""
        if self.registered is None:
            return None
        found = look_up(self.registered, kind, name)
        if found is None or found.deleted:
            if kind not in self.names:
                self.names[kind] = self.registered.names(kind)
            meant = "" if found is not None else self.near_registered.meant(name, self.names[kind])
            gone = f"none of that name{meant}" if found is None else "that it was deleted"
            self.report(code, path, f"expected {KIND_NAMES[kind]} {name!r} to be registered, found {gone}")
            return None
        return found


class _ThreadValidation:
    """One ThreadSpec under examination."""

    def __init__(self, whole: _Validation, thread: ThreadSpec) -> None:
        self.whole, self.thread = whole, thread
        self.wf_spec = whole.wf_spec
        self.report, self.of = whole.report, whole.of
        self.path: Path = ("threads", thread.name)
        # A ThreadSpec that nothing starts is not blamed for what nobody provides.
        self.scope: Scope | None = whole.scopes.get(thread.name)
        self.types = StaticTypes(self.variable, self.output, self.report)

    def run(self) -> None:
        self.whole.name(self.thread.name, self.path)
        self.whole.count(self.thread.nodes, NODES_MAX, (*self.path, "nodes"), "nodes")
        self.whole.count(self.thread.variables, VARIABLES_MAX, (*self.path, "variables"), "Variables")
        self.whole.count(self.thread.interrupts, INTERRUPTS_MAX, (*self.path, "interrupts"), "interrupts")
        self._variables()
        self._interrupts()
        self._shape()
        for node in self.thread.nodes.values():
            path = (*self.path, "nodes", node.name)
            self.whole.name(node.name, path)
            self._edges(node, path)
            self._failure_handlers(node.failure_handlers, (*path, "on_failure"))
            self._kind(node, path)
        self._returns()

    def variable(self, name: str, path: Path) -> Type:
        """Type of a Variable as this thread sees it."""
        if self.scope is not None and name in self.scope:
            return self.scope[name]
        declaring = self.whole.declared_by.get(name, ())
        if not declaring:
            self.report(
                "VAR_UNKNOWN",
                path,
                f"expected a declared Variable{self.of(name, self.whole.variables)}, found {name!r}",
            )
            return None
        if self.scope is not None:
            self.report(
                "VAR_SCOPE",
                path,
                f"expected a Variable that {self.thread.name} sees however it is started{self.of(None, self.scope)}, "
                f"found {name!r} of {' and '.join(declaring)}",
            )
        return self.whole.types[declaring[0], name] if len(declaring) == 1 else None

    def output(self, name: str, path: Path) -> Type:
        """Type of a node's output."""
        node = self.thread.nodes.get(name)
        if node is None:
            self.report(
                "OUTPUT_UNKNOWN",
                path,
                f"expected a node of {self.thread.name}{self.of(name, self.thread.nodes)}, found {name!r}",
            )
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

    def _variables(self) -> None:
        for variable in self.thread.variables.values():
            path = (*self.path, "variables", variable.name)
            self.whole.name(variable.name, path)
            if not value_fits(variable.default, variable.type):
                self.report(
                    "VAR_DEFAULT_TYPE",
                    (*path, "default"),
                    f"expected {variable.type}, found {describe(variable.default)}",
                )

    # (rule one-thread-spec-per-interrupt)
    def _interrupts(self) -> None:
        seen: set[str] = set()
        for index, interrupt in enumerate(self.thread.interrupts):
            path = (*self.path, "interrupts", index)
            event = interrupt.external_event_def
            definition = self.whole.definition(
                DefinitionKind.EXTERNAL_EVENT_DEF, event, "INTERRUPT_EED_MISSING", (*path, "event")
            )
            if event in seen:
                self.report(
                    "INTERRUPT_DUPLICATE",
                    (*path, "event"),
                    f"expected one interrupt for {event!r} in {self.thread.name}, found a second",
                )
            seen.add(event)
            self._interrupt_handler(interrupt, definition, (*path, "handler"))

    def _interrupt_handler(self, interrupt: InterruptDef, event: Definition | None, path: Path) -> None:
        handler = self._handler(interrupt.handler, "INTERRUPT_HANDLER", path)
        if handler is None or event is None or event.content_type is None or INPUT not in handler.variables:
            return
        found = self.whole.types[handler.name, INPUT]
        if found is not None and found is not event.content_type:
            self.report(
                "INTERRUPT_INPUT_TYPE",
                path,
                f"expected INPUT of {handler.name} to be {event.content_type} as ExternalEventDef {event.name!r}, "
                f"found {found}",
            )

    # (rule handler-requires-only-input)
    def _handler(self, name: str, code: str, path: Path) -> ThreadSpec | None:
        """A handler's ThreadSpec, which must not require what nobody gives it."""
        handler = self.wf_spec.threads.get(name)
        if handler is None:
            self.report(
                f"{code}_MISSING",
                path,
                f"expected the name of a ThreadSpec{self.of(name, self.wf_spec.threads)}, found {name!r}",
            )
            return None
        required = self.whole.required_of_handlers[name]
        if required:
            self.report(
                f"{code}_VARS",
                path,
                f"expected a handler that requires no Variable but INPUT, found {name!r} requires {required}",
            )
        return handler

    def _shape(self) -> None:
        entrypoints = [name for name, node in self.thread.nodes.items() if isinstance(node, EntrypointNode)]
        path = (*self.path, "nodes")
        if not entrypoints:
            self.report("THREAD_NO_ENTRYPOINT", path, "expected one node of kind ENTRYPOINT, found none")
        for name in entrypoints[1:]:
            self.report(
                "MULTIPLE_ENTRYPOINTS",
                (*path, name, "kind"),
                f"expected one node of kind ENTRYPOINT, found {' and '.join(entrypoints)}",
            )
        if not any(isinstance(node, ExitNode) for node in self.thread.nodes.values()):
            self.report("THREAD_NO_EXIT", path, "expected a node of kind EXIT, found none")

    def _edges(self, node: AnyNode, path: Path) -> None:
        if not node.edges and not isinstance(node, ExitNode):
            message = "expected the field next (only an EXIT has none), found none"
            self.report("NODE_NO_NEXT", (*path, "next"), message)
        for index, edge in enumerate(node.edges):
            place = (*path, "next") if len(node.edges) == 1 else (*path, "next", index)
            sink = self.thread.nodes.get(edge.to)
            to = (*place, "to") if edge.when is not None or edge.mutations else place
            if sink is None:
                self.report(
                    "EDGE_MISSING_SINK",
                    to,
                    f"expected a node of {self.thread.name}{self.of(edge.to, self.thread.nodes)}, found {edge.to!r}",
                )
            elif edge.to == node.name:
                self.report("EDGE_SELF_LOOP", to, f"expected another node, found {edge.to!r} itself")
            elif isinstance(sink, EntrypointNode):
                self.report("EDGE_INTO_ENTRYPOINT", to, f"expected no edge into an ENTRYPOINT, found {edge.to!r}")
            if edge.when is not None:
                self._expect(edge.when, (*place, "when"), [VariableType.BOOL], "CONDITION_TYPE")
            for number, mutation in enumerate(edge.mutations):
                self._mutation(mutation, (*place, "set", number))

    def _mutation(self, mutation: Mutation, path: Path) -> None:
        declared = self.variable(mutation.variable, (*path, "var"))
        value = self.types.of(mutation.value, (*path, "value"))
        if mutation.path is not None:
            self.types.inside(declared, mutation.path, path)
            return
        applicable, result = result_of(mutation.operator, declared, value)
        if not applicable:
            self.report(
                "MUTATION_TYPE",
                path,
                f"{mutation.operator} of {mutation.variable}: expected {operands_of(mutation.operator)}, "
                f"found {shown(declared)} and {shown(value)}",
            )
        elif declared is not None and not assignable(result, declared):
            assert result is not None
            needs_cast = castable(result, declared) and mutation.operator in _CASTABLE
            self.report(
                "CAST" if needs_cast else "MUTATION_TYPE",
                path,
                f"{mutation.operator} of {mutation.variable}: expected {declared}, found {result}"
                + (f": write {{cast: […, {declared}]}}" if needs_cast else ""),
            )

    def _failure_handlers(self, handlers: tuple[FailureHandlerDef, ...], path: Path) -> None:
        for index, handler in enumerate(handlers):
            self._handler(handler.handler, "FAILURE_HANDLER", (*path, index, "handler"))
            catch = handler.catch
            if catch is None or catch in _CATCHABLE or (catch not in RESERVED and is_exception_name(catch)):
                continue
            self.report(
                "FAILURE_NAME_INVALID",
                (*path, index, "catch"),
                f"expected ERROR, EXCEPTION, a failure of the engine ({', '.join(sorted(HAPPENING))}) or a "
                f"failure name, found {catch!r}",
            )

    def _kind(self, node: AnyNode, path: Path) -> None:
        match node:
            case ExitNode():
                self._exit(node, path)
            case TaskNode():
                self._task(node, path)
            case ExternalEventNode():
                self._external_event(node, path)
            case SleepNode():
                self._sleep(node, path)
            case StartThreadNode():
                self._start(node, path)
            case StartMultipleThreadsNode():
                self._expect(node.over, (*path, "over"), [VariableType.JSON_ARR], "START_MULTIPLE")
                self._start(node, path)
            case WaitForThreadsNode():
                self._wait_for_threads(node, path)
            case WaitForConditionNode():
                self._expect(node.condition, (*path, "condition"), [VariableType.BOOL], "CONDITION_TYPE")
            case ThrowEventNode():
                self._throw_event(node, path)
            case _:
                pass

    def _expect(
        self, expression: Expression, path: Path, wanted: list[VariableType], code: str, *, null: bool = False
    ) -> Type:
        """Check the type of an expression; null, where it is written down, only where it means something."""
        found = self.types.of(expression, path)
        is_null = isinstance(expression, Literal) and expression.value is None
        if (is_null and not null) or (found is not None and not any(fits(found, one) for one in wanted)):
            self.report(
                code,
                path,
                f"expected {' or '.join(wanted)}, found "
                f"{describe(expression.value) if isinstance(expression, Literal) else found}",
            )
        return found

    def _exit(self, node: ExitNode, path: Path) -> None:
        name = node.failure_name
        if name is not None:
            place = (*path, "fail", "name")
            if is_of_the_engine(name):
                self.report("FAILURE_NAME_RESERVED", place, f"expected a name of your own, found the engine's {name}")
            elif not is_name(name):
                self.report("FAILURE_NAME_INVALID", place, f"expected {_NAME_IN_WORDS}, found {name[:200]!r}")
        for field, expression in (("message", node.failure_message), ("content", node.failure_content)):
            if expression is not None:
                self.types.of(expression, (*path, "fail", field))

    def _returns(self) -> None:
        """All EXITs that do not fail return the same type, or all nothing."""
        exits = [
            node for node in self.thread.nodes.values() if isinstance(node, ExitNode) and node.failure_name is None
        ]
        first: tuple[str, str] | None = None
        for node in exits:
            path = (*self.path, "nodes", node.name)
            if node.returns is None:
                found: str | None = "nothing"
            else:
                found = self.types.of(node.returns, (*path, "return"))
            if found is None:
                # Not known, but something: it can only disagree with an EXIT that returns nothing.
                found = first[1] if first is not None and first[1] != "nothing" else "a value"
            if first is None:
                first = (node.name, found)
            elif found != first[1] and not ("a value" in (found, first[1]) and "nothing" not in (found, first[1])):
                self.report(
                    "EXIT_RETURN_MISMATCH",
                    (*path, "return"),
                    f"expected {first[1]} to be returned as by EXIT {first[0]}, found {found}",
                )

    def _task(self, node: TaskNode, path: Path) -> None:
        self._seconds(node.timeout_s, (*path, "timeout_s"), "TIMEOUT_TYPE", lowest=1)
        definition = self.whole.definition(DefinitionKind.TASK_DEF, node.task_def, "TASKDEF_MISSING", (*path, "task"))
        declared = None if definition is None else definition.input
        if declared is not None and set(declared) != set(node.input):
            self.report(
                "TASK_ARG_COUNT",
                (*path, "input"),
                f"expected the inputs of TaskDef {node.task_def!r}: {', '.join(declared) or 'none'}; "
                f"found {', '.join(node.input) or 'none'}",
            )
        for name, expression in node.input.items():
            self.whole.name(name, (*path, "input", name))
            wanted = None if declared is None else declared.get(name)
            self._input(expression, wanted, (*path, "input", name), "TASK_ARG_TYPE")

    def _input(self, expression: Expression, wanted: Type, path: Path, code: str) -> None:
        """An input is stored as it is given: unlike an assignment it turns nothing into STR."""
        found = self.types.of(expression, path)
        if not fits(found, wanted):
            self.report(code, path, f"expected {wanted}, found {found}")

    def _seconds(self, expression: Expression, path: Path, code: str, lowest: int) -> None:
        found = self._expect(expression, path, [VariableType.INT], code)
        if isinstance(expression, Literal) and found is VariableType.INT:
            seconds = expression.value
            assert isinstance(seconds, int)
            if not lowest <= seconds <= SECONDS_MAX:
                self.report(code, path, f"expected seconds from {lowest} to {SECONDS_MAX}, found {seconds}")

    def _external_event(self, node: ExternalEventNode, path: Path) -> None:
        event = node.external_event_def
        self.whole.definition(DefinitionKind.EXTERNAL_EVENT_DEF, event, "EXT_EVENT_EED_MISSING", (*path, "event"))
        if event in self.whole.interrupting:
            self.report(
                "INTERRUPT_EED_ALSO_NODE",
                (*path, "event"),
                f"expected an event that is no interrupt, found {event!r}, an interrupt of "
                f"{self.whole.interrupting[event]}",
            )
        if node.timeout_s is not None:
            self._seconds(node.timeout_s, (*path, "timeout_s"), "TIMEOUT_TYPE", lowest=0)

    def _sleep(self, node: SleepNode, path: Path) -> None:
        if node.seconds is not None:
            self._seconds(node.seconds, (*path, "seconds"), "SLEEP_TYPE", lowest=0)
        if node.until_ms is not None:
            self._expect(node.until_ms, (*path, "until"), [VariableType.INT, VariableType.TIMESTAMP], "SLEEP_TYPE")
        if node.until_iso is not None:
            place = (*path, "until_iso")
            self._expect(node.until_iso, place, [VariableType.STR], "SLEEP_TYPE")
            if isinstance(node.until_iso, Literal) and isinstance(node.until_iso.value, str):
                try:
                    timestamp_of(node.until_iso.value)
                except ValueProblem as problem:
                    self.report("SLEEP_TYPE", place, f"expected ISO 8601, found that {problem}")

    def _start(self, node: StartThreadNode | StartMultipleThreadsNode, path: Path) -> None:
        """What a node starts, and what it gives it. One code for each mistake, or START_MULTIPLE for all."""
        multiple = isinstance(node, StartMultipleThreadsNode)
        code = "START_MULTIPLE" if multiple else "START_THREAD_INPUTS"
        child = self.wf_spec.threads.get(node.thread)
        if child is None:
            self.report(
                "START_MULTIPLE" if multiple else "START_THREAD_MISSING",
                (*path, "thread"),
                f"expected the name of a ThreadSpec{self.of(node.thread, self.wf_spec.threads)}, found {node.thread!r}",
            )
        elif child.name == self.thread.name:
            self.report(
                "START_MULTIPLE" if multiple else "START_THREAD_SELF",
                (*path, "thread"),
                f"expected another ThreadSpec, found {child.name!r} itself",
            )
        for name, expression in node.input.items():
            place = (*path, "input", name)
            known = child is None or name in child.variables or child.name in self.whole.unread.declarations
            if child is not None and not known:
                self.report(
                    code,
                    place,
                    f"expected a Variable of {child.name}{self.of(name, child.variables)}, found {name!r}",
                )
            if multiple and name == INPUT:
                self.report(code, place, "expected INPUT to be left out (it is the item of `over`), found it")
            declared = None if child is None else self.whole.types.get((child.name, name))
            self._input(expression, declared, place, code)
        for name in () if child is None else self.whole.required[child.name]:
            if name not in node.input and not (multiple and name == INPUT):
                self.report(code, (*path, "input"), f"expected a value for the required Variable {name}, found none")

    def _wait_for_threads(self, node: WaitForThreadsNode, path: Path) -> None:
        self._failure_handlers(node.on_child_failure, (*path, "on_child_failure"))
        place = (*path, "threads")
        match node.threads:
            case ListOf(items):
                for index, item in enumerate(items):
                    self._expect(item, (*place, index), [VariableType.INT], "WAIT_THREADS_TYPE")
            case Literal(list() as numbers):
                for index, number in enumerate(numbers):
                    if type(number) is not int:
                        self.report("WAIT_THREADS_TYPE", (*place, index), f"expected INT, found {describe(number)}")
            case _:
                self._expect(node.threads, place, [VariableType.JSON_ARR], "WAIT_THREADS_TYPE")

    def _throw_event(self, node: ThrowEventNode, path: Path) -> None:
        definition = self.whole.definition(
            DefinitionKind.WORKFLOW_EVENT_DEF, node.workflow_event_def, "WF_EVENT_DEF_MISSING", (*path, "event")
        )
        wanted = None if definition is None else definition.content_type
        self._input(node.content, wanted, (*path, "content"), "WF_EVENT_TYPE")


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
_CLASSES = frozenset({"ERROR", "EXCEPTION"})
_CATCHABLE = _CLASSES | (RESERVED - {"CHILD_FAILURE"})
_NAME_IN_WORDS = f"a name of at most {NAME_LENGTH_MAX} letters, digits and - (not first or last)"


# (rule names-of-definitions)
def is_name(name: str) -> bool:
    """Whether a definition or a failure may have this name."""
    return NAME.fullmatch(name) is not None and len(name) <= NAME_LENGTH_MAX
