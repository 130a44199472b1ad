"""Reads a WfSpec from its document: plain data, mappings, lists and scalars, from YAML or from JSON text.

Everything that is wrong with the document's structure is collected, each problem with its place (`document_reader`).
`validate` says what the names in it refer to, and whether types fit. `writer` writes what this reads.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from processors.core.records.spec import (
    QUEUE_TIMEOUT_S,
    RUN_TIMEOUT_S,
    TIMEOUT_S,
    AnyNode,
    Backoff,
    Edge,
    EntrypointNode,
    ExitNode,
    ExternalEventNode,
    FailureHandlerDef,
    InterruptDef,
    InterruptPolicy,
    Literal,
    Mutation,
    MutationOperator,
    NopNode,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThreadSpec,
    ThrowEventNode,
    VariableDef,
    WaitForConditionNode,
    WaitForThreadsNode,
    WaitStrategy,
    WfSpec,
)
from processors.core.records.values import Timestamp, Value, ValueProblem, VariableType, timestamp_of
from processors.core.wf_spec.document_problems import DocumentProblem, EnoughProblems, Path, report_to
from processors.core.wf_spec.document_reader import Fields, listed, shown
from processors.core.wf_spec.expression_parser import parse_mutation
from processors.core.wf_spec.expression_reader import ExpressionReader
from processors.core.wf_spec.writer import document_of, document_text

RETRIES_MAX = 1000
SECONDS_MAX = 100 * 365 * 24 * 3600
"""Longest retention and longest time-out: a hundred years."""
MILLISECONDS_MAX = 1000 * SECONDS_MAX


def read_wf_spec(document: object) -> tuple[WfSpec | None, list[DocumentProblem]]:
    """Return the WfSpec of a document, or all that is wrong with its structure."""
    wf_spec, problems = read_as_far_as_possible(document)
    return (None if problems else wf_spec), problems


def without_texts(document: object) -> object:
    """Return a document that says the same without text in place of expressions and mutations.

    It is the document itself if it has none, or if something is wrong with its structure.
    """
    reader = _Reader()
    try:
        wf_spec = reader.wf_spec(document)
    except EnoughProblems:
        return document
    return document_of(wf_spec) if wf_spec is not None and reader.text_length and not reader.problems else document


def read_as_far_as_possible(document: object) -> tuple[WfSpec | None, list[DocumentProblem]]:
    """Do as `read_wf_spec`, but also return the WfSpec where there are problems, so that the rest can be validated.

    Stand-ins are in place of what could not be read. The WfSpec is None only where no ThreadSpecs can be found, or so
    much is wrong that nobody looks any further.
    """
    reader = _Reader()
    try:
        wf_spec = reader.wf_spec(document)
    except EnoughProblems:
        return None, reader.problems
    if not reader.problems and wf_spec is not None:
        return replace(wf_spec, document=document_text(wf_spec)), []
    without_threads = any(problem.path in ((), ("threads",)) for problem in reader.problems)
    return (None if without_threads else wf_spec), reader.problems


class _Reader(ExpressionReader):
    """One pass over the document of a WfSpec; collects its problems."""

    def problem(self, code: str, path: Path, message: str) -> None:
        """Note a problem; raises EnoughProblems if there are as many as anybody looks for."""
        report_to(self.problems, DocumentProblem(code, path, message))

    def wf_spec(self, document: object) -> WfSpec | None:
        known = ("name", "entrypoint", "retention_s", "correlated_events", "threads")
        fields = self.fields(document, (), "a WfSpec", known)
        if fields is None:
            return None
        retention_s = fields.integer("retention_s", -1, 0, SECONDS_MAX) if fields.has("retention_s") else None
        return WfSpec(
            name=fields.text("name"),
            entrypoint=fields.text("entrypoint"),
            threads=fields.entries("threads", self.thread, required=True),
            retention_s=retention_s,
            correlated_events=fields.entries("correlated_events", self.named_expression),
        )

    def thread(self, name: str, value: object, path: Path) -> ThreadSpec:
        fields = self.fields(value, path, "a ThreadSpec", ("variables", "interrupts", "nodes"))
        if fields is None:
            return ThreadSpec(name, {}, (), {})
        return ThreadSpec(
            name,
            variables=fields.entries("variables", self.variable),
            interrupts=fields.items("interrupts", self.interrupt),
            nodes=fields.entries("nodes", self.node, required=True),
        )

    def variable(self, name: str, value: object, path: Path) -> VariableDef:
        fields = self.fields(value, path, "a Variable", ("type", "default", "required", "masked", "searchable"))
        if fields is None:
            return VariableDef(name, VariableType.STR)
        fields.require("type")
        declared = fields.one_of("type", VariableType, VariableType.STR)
        return VariableDef(
            name,
            declared,
            default=self.default(fields, declared),
            required=fields.flag("required", False),
            masked=fields.flag("masked", False),
            searchable=fields.flag("searchable", False),
        )

    def default(self, fields: Fields, declared: VariableType) -> Value:
        """Read a default as its type stores it: TIMESTAMP from ISO 8601 or epoch ms, BYTES from base64."""
        plain = fields.optional("default", self.literal)
        path = fields.path_of("default")
        try:
            if declared is VariableType.TIMESTAMP and isinstance(plain, str):
                return timestamp_of(plain)
            if declared is VariableType.TIMESTAMP and type(plain) is int:
                return Timestamp(plain)
            if declared is VariableType.BYTES and isinstance(plain, str):
                return base64.b64decode(plain, validate=True)
        except ValueProblem as exc:
            self.problem("FIELD_VALUE", path, str(exc))
            return None
        except binascii.Error:
            self.problem("FIELD_VALUE", path, f"expected BYTES as base64, found {shown(plain)}")
            return None
        if declared is VariableType.DOUBLE and type(plain) is int:
            return float(plain)
        return plain

    def interrupt(self, value: object, path: Path) -> InterruptDef:
        known = ("event", "handler", "policy", "halt", "preemptive")
        fields = self.fields(value, path, "an interrupt", known)
        if fields is None:
            return InterruptDef("", "")
        return InterruptDef(
            external_event_def=fields.text("event"),
            handler=fields.text("handler"),
            policy=fields.one_of("policy", InterruptPolicy, InterruptPolicy.PARALLEL),
            halt=fields.flag("halt", True),
            preemptive=fields.flag("preemptive", False),
        )

    def node(self, name: str, value: object, path: Path) -> AnyNode:
        data = self.mapping(value, path)
        if data is None:
            return NopNode(name=name)
        kind = data.get("kind")
        form = _KINDS.get(kind) if isinstance(kind, str) else None
        fields: Fields | None
        if form is None:
            fields = Fields(self, data, path)  # only its kind could say which fields it has
            if fields.require("kind"):
                self.not_one_of(fields.path_of("kind"), _KINDS, kind)
            form = _Form(lambda _reader, _fields: NopNode(name=""))
        else:
            known = ("kind", *form.fields, *(() if kind == "EXIT" else ("next",)), "on_failure")
            fields = self.fields(data, path, f"a node of kind {kind}", known)
        assert fields is not None
        node = form.read(self, fields)
        edges = None if kind == "EXIT" else fields.optional("next", self.edges)
        handlers = fields.items("on_failure", self.failure_handler)
        return replace(node, name=name, edges=edges or (), failure_handlers=handlers)

    def edges(self, value: object, path: Path) -> tuple[Edge, ...]:
        if not isinstance(value, list):
            return (self.edge(value, path),)
        return tuple(self.edge(item, (*path, index)) for index, item in enumerate(value))

    def edge(self, value: object, path: Path) -> Edge:
        if isinstance(value, str):
            return Edge(value)
        if not isinstance(value, Mapping):
            self.wrong(path, "the name of a node, or a mapping with the field to", value)
            return Edge("")
        fields = self.fields(value, path, "an edge", ("to", "when", "set"))
        assert fields is not None
        to = fields.text("to")
        return Edge(to, fields.optional("when", self.expression), self.mutations(fields))

    def mutations(self, fields: Fields) -> tuple[Mutation, ...]:
        if isinstance(fields.data.get("set"), str):
            return (self.mutation(fields.data["set"], fields.path_of("set")),)
        return fields.items("set", self.mutation)

    def mutation(self, value: object, path: Path) -> Mutation:
        if isinstance(value, str):
            return self.compiled_mutation(value, path)
        fields = self.fields(value, path, "a mutation", ("var", "path", "op", "value"))
        if fields is None:
            return Mutation("", MutationOperator.ASSIGN, Literal(None))
        fields.require("op")
        return Mutation(
            variable=fields.text("var"),
            operator=fields.one_of("op", MutationOperator, MutationOperator.ASSIGN),
            value=self.expression_of(fields, "value"),
            path=self.json_path(fields),
        )

    def compiled_mutation(self, text: str, path: Path) -> Mutation:
        part = self.parsed(parse_mutation, text, path)
        return Mutation("", MutationOperator.ASSIGN, Literal(None)) if part is None else part.mutation

    def failure_handler(self, value: object, path: Path) -> FailureHandlerDef:
        fields = self.fields(value, path, "a failure handler", ("catch", "handler"))
        if fields is None:
            return FailureHandlerDef(None, "")
        return FailureHandlerDef(fields.optional_text("catch"), fields.text("handler"))


@dataclass(frozen=True, slots=True)
class _Form:
    """The way to read one kind of node, and the fields that it has beside those of all nodes."""

    read: "Callable[[_Reader, Fields], AnyNode]"
    fields: tuple[str, ...] = ()


def _exit(reader: _Reader, fields: Fields) -> AnyNode:
    if not fields.has("fail"):
        return ExitNode(name="", returns=fields.optional("return", reader.expression))
    if fields.has("return"):
        reader.problem("FIELD_VALUE", fields.path, "expected fail or return, found both")
    path = (*fields.path, "fail")
    fail = reader.fields(fields.data["fail"], path, "fail", ("name", "message", "content"))
    if fail is None:
        return ExitNode(name="")
    return ExitNode(
        name="",
        failure_name=fail.text("name"),
        failure_message=fail.optional("message", reader.expression),
        failure_content=fail.optional("content", reader.expression),
    )


def _task(reader: _Reader, fields: Fields) -> AnyNode:
    backoff = None
    if fields.has("backoff"):
        path = (*fields.path, "backoff")
        given = reader.fields(fields.data["backoff"], path, "backoff", ("base_ms", "multiplier", "max_ms"))
        if given is not None:
            backoff = Backoff(
                base_ms=given.integer("base_ms", 1000, 0, MILLISECONDS_MAX),
                multiplier=given.number("multiplier", 2.0, 1.0, 1000.0),
                max_ms=given.integer("max_ms", 60_000, 0, MILLISECONDS_MAX),
            )
    bounds = [name for name in ("queue_timeout_s", "run_timeout_s") if fields.has(name)]
    if bounds and fields.has("timeout_s"):
        message = (
            f"expected timeout_s, or queue_timeout_s and run_timeout_s, found timeout_s and {listed(bounds, 'and')}"
        )
        reader.problem("FIELD_VALUE", fields.path, message)
    queue_timeout_s = fields.optional("queue_timeout_s", reader.expression) or Literal(QUEUE_TIMEOUT_S)
    run_timeout_s = fields.optional("run_timeout_s", reader.expression) or Literal(RUN_TIMEOUT_S)
    return TaskNode(
        name="",
        task_def=fields.text("task"),
        input=fields.entries("input", reader.named_expression),
        timeout_s=fields.optional("timeout_s", reader.expression) or Literal(TIMEOUT_S),
        queue_timeout_s=queue_timeout_s if bounds else None,
        run_timeout_s=run_timeout_s if bounds else None,
        retries=fields.integer("retries", 0, 0, RETRIES_MAX),
        backoff=backoff,
    )


def _sleep(reader: _Reader, fields: Fields) -> AnyNode:
    forms = [name for name in ("seconds", "until", "until_iso") if fields.has(name)]
    if len(forms) != 1:
        message = f"expected one of seconds, until and until_iso, found {listed(forms, 'and')}"
        reader.problem("FIELD_VALUE", fields.path, message)
    return SleepNode(
        name="",
        seconds=fields.optional("seconds", reader.expression),
        until_ms=fields.optional("until", reader.expression),
        until_iso=fields.optional("until_iso", reader.expression),
    )


_KINDS: dict[str, _Form] = {
    "ENTRYPOINT": _Form(lambda _reader, _fields: EntrypointNode(name="")),
    "EXIT": _Form(_exit, ("fail", "return")),
    "NOP": _Form(lambda _reader, _fields: NopNode(name="")),
    "TASK": _Form(_task, ("task", "input", "timeout_s", "queue_timeout_s", "run_timeout_s", "retries", "backoff")),
    "EXTERNAL_EVENT": _Form(
        lambda reader, fields: ExternalEventNode(
            name="",
            external_event_def=fields.text("event"),
            timeout_s=fields.optional("timeout_s", reader.expression),
        ),
        ("event", "timeout_s"),
    ),
    "SLEEP": _Form(_sleep, ("seconds", "until", "until_iso")),
    "START_THREAD": _Form(
        lambda reader, fields: StartThreadNode(
            name="", thread=fields.text("thread"), input=fields.entries("input", reader.named_expression)
        ),
        ("thread", "input"),
    ),
    "START_MULTIPLE_THREADS": _Form(
        lambda reader, fields: StartMultipleThreadsNode(
            name="",
            thread=fields.text("thread"),
            over=reader.expression_of(fields, "over"),
            input=fields.entries("input", reader.named_expression),
        ),
        ("thread", "over", "input"),
    ),
    "WAIT_FOR_THREADS": _Form(
        lambda reader, fields: WaitForThreadsNode(
            name="",
            threads=reader.expression_of(fields, "threads"),
            strategy=fields.one_of("strategy", WaitStrategy, WaitStrategy.ALL),
            on_child_failure=fields.items("on_child_failure", reader.failure_handler),
        ),
        ("threads", "strategy", "on_child_failure"),
    ),
    "WAIT_FOR_CONDITION": _Form(
        lambda reader, fields: WaitForConditionNode(name="", condition=reader.expression_of(fields, "condition")),
        ("condition",),
    ),
    "THROW_EVENT": _Form(
        lambda reader, fields: ThrowEventNode(
            name="",
            workflow_event_def=fields.text("event"),
            content=fields.optional("content", reader.expression) or Literal(None),
        ),
        ("event", "content"),
    ),
}
