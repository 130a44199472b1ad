"""Reads a WfSpec from its document, and writes the document of a WfSpec.

A document is plain data: mappings, lists and scalars, from YAML or from JSON text. What is wrong with its structure
(a field that does not exist, a missing one, one of the wrong type) is collected, all of it, each with the place where
it is. What the names in it refer to, and whether types fit, is for `validate` to say.

`canonical` writes what this reads.
"""

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias, TypeVar

from processors.core.records.spec import (
    AnyNode,
    Backoff,
    Cast,
    Edge,
    EntrypointNode,
    ExitNode,
    Expression,
    ExternalEventNode,
    FailureHandlerDef,
    Format,
    InterruptDef,
    InterruptPolicy,
    JsonPath,
    ListOf,
    Literal,
    Mutation,
    MutationOperator,
    NopNode,
    Operation,
    Operator,
    OutputRef,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThreadSpec,
    ThrowEventNode,
    VariableDef,
    VariableRef,
    WaitForConditionNode,
    WaitForThreadsNode,
    WaitStrategy,
    WfSpec,
)
from processors.core.records.values import (
    VALUE_DEPTH_MAX,
    Timestamp,
    Value,
    ValueProblem,
    VariableType,
    bounded,
    is_number,
    timestamp_of,
)
from processors.core.wf_spec.near_names import NearNames
from processors.core.wf_spec.writer import document_text

DOCUMENT_BYTES_MAX = 256 * 1024
DOCUMENT_DEPTH_MAX = 200
"""Of JSON text. Checked after Python's own limit, and said alike: where that one is depends on the caller's stack."""
EXPRESSION_DEPTH_MAX = 32
PATH_STEPS_MAX = 32
RETRIES_MAX = 1000
SECONDS_MAX = 100 * 365 * 24 * 3600
"""Of a retention: a hundred years."""
MILLISECONDS_MAX = 1000 * SECONDS_MAX

PROBLEMS_MAX = 1000
"""Of a document, for each of the two who look for them: nobody reads more, and each takes time to find and to tell."""
MESSAGE_LENGTH_MAX = 1000
PATH_LENGTH_MAX = 400
"""Of a problem's sentence and the text of its place: all that is wrong with a document has to fit into one record."""
STEP_LENGTH_MAX = 80

Path: TypeAlias = tuple[str | int, ...]
"""Where something is in a document: keys and indexes from the top."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    """One thing that is wrong with a document, and where. Its author should act.

    The sentence is cut at MESSAGE_LENGTH_MAX: it may tell names of the document, and those may be of any length.
    """

    code: str
    path: Path
    message: str

    def __post_init__(self) -> None:
        if len(self.message) > MESSAGE_LENGTH_MAX:
            object.__setattr__(self, "message", self.message[: MESSAGE_LENGTH_MAX - 1] + "…")

    def __str__(self) -> str:
        return f"{path_text(self.path)}: {self.message}"


def path_text(path: Path) -> str:
    """`threads.main.nodes.pay.next[0].set[1].op`; an unusual key is written `["as this"]`, a long one is cut."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        key = step if len(step) <= STEP_LENGTH_MAX else step[: STEP_LENGTH_MAX - 1] + "…"
        if _PLAIN_KEY.fullmatch(step):
            text += f".{key}" if text else key
        else:
            text += f"[{json.dumps(key, ensure_ascii=False)}]"
    if len(text) > PATH_LENGTH_MAX:
        text = text[: PATH_LENGTH_MAX - 1] + "…"
    return text or "document"


def parse_json_document(text: str) -> object:
    """Plain data from JSON text; raises ValueProblem for what is not JSON, too large, too deep or says a key twice."""
    size = utf8_size(text)
    if size > DOCUMENT_BYTES_MAX:
        raise ValueProblem(f"expected a document of at most {DOCUMENT_BYTES_MAX} bytes, found {size}")
    try:
        data: object = json.loads(text, object_pairs_hook=_object_without_duplicates, parse_int=_integer)
    except ValueError as exc:
        raise ValueProblem(f"expected a JSON document, found {exc}") from exc
    except RecursionError as exc:
        raise _too_deep() from exc
    containers = _containers([data])
    for _ in range(DOCUMENT_DEPTH_MAX):
        containers = _containers(
            part for item in containers for part in (item.values() if isinstance(item, dict) else item)
        )
    if containers:
        raise _too_deep()
    if "\\u" in text:
        utf8_size(json.dumps(data, ensure_ascii=False))
    return data


def utf8_size(text: str) -> int:
    """How many bytes a text is; raises ValueProblem for half of a surrogate pair, which no encoding takes.

    It can be written in JSON, as `"\\ud800"`, but cannot be stored.
    """
    try:
        return len(text.encode())
    except UnicodeEncodeError as exc:
        raise ValueProblem(f"expected text, found half of a surrogate pair ({text[exc.start]!r})") from exc


def _containers(items: Iterable[object]) -> list[dict[str, object] | list[object]]:
    return [item for item in items if isinstance(item, dict | list)]


def _too_deep() -> ValueProblem:
    return ValueProblem(f"expected a JSON document of at most {DOCUMENT_DEPTH_MAX} levels, found more")


def _integer(text: str) -> int | float:
    # Python refuses to read thousands of digits; such a number fits nowhere, which the reader says with its place.
    return int(text) if len(text) < 30 else math.inf


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    data = dict(pairs)
    if len(data) < len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = next(name for name in times if times[name] > 1)
        raise ValueError(f"the key {twice!r} twice in one object")
    return data


def parse_json_path(text: str) -> JsonPath:
    """`$.a.b[0]`, `$["a key"]`; raises ValueProblem."""
    steps: list[str | int] = []
    position = 1
    while position < len(text):
        match = _PATH_STEP.match(text, position)
        if match is None:
            break
        key, index, quoted = match.groups()
        if key is not None:
            steps.append(key)
        elif index is not None:
            steps.append(int(index))
        else:
            steps.append(_unquoted(quoted))
        position = match.end()
    if not text.startswith("$") or position != len(text):
        raise ValueProblem(f'expected a JSON path such as $.a.b[0] or $["a key"], found {text[:80]!r}')
    if len(steps) > PATH_STEPS_MAX:
        raise ValueProblem(f"expected a JSON path of at most {PATH_STEPS_MAX} steps, found {len(steps)}")
    return JsonPath(tuple(steps))


_PATH_STEP = re.compile(
    r"""\.([^.\[\]\s"']+) | \[([0-9]{1,9})\] | \[("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\]""", re.VERBOSE
)


def _unquoted(quoted: str) -> str:
    if quoted.startswith("'"):
        quoted = '"' + quoted[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    try:
        text: str = json.loads(quoted)
    except ValueError:
        raise ValueProblem(f"expected a quoted key of a JSON path, found {quoted[:80]}") from None
    return text


def read_wf_spec(document: object) -> tuple[WfSpec | None, list[DocumentProblem]]:
    """The WfSpec of a document, or all that is wrong with its structure."""
    wf_spec, problems = read_as_far_as_possible(document)
    return (None if problems else wf_spec), problems


def read_as_far_as_possible(document: object) -> tuple[WfSpec | None, list[DocumentProblem]]:
    """As `read_wf_spec`, but what has problems is there in a form that lets the rest be validated: a stand-in.

    None only where there are no ThreadSpecs to be found, or so much is wrong that nobody looks any further.
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


_Enumeration = TypeVar("_Enumeration", bound=StrEnum)
_Item = TypeVar("_Item")
_MISSING = object()


class _Fields:
    """One mapping of a document: hands out its fields by type and reports those that are not as they should be.

    A field with a problem gives a stand-in of its type, so that reading goes on and finds the next problem.
    """

    def __init__(self, reader: "_Reader", data: Mapping[str, object], path: Path) -> None:
        self.reader, self.data, self.path = reader, data, path

    def has(self, name: str) -> bool:
        return name in self.data

    def given(self, name: str, required: bool = False) -> object:
        value = self.data.get(name, _MISSING)
        if value is _MISSING and required:
            self.reader.problem("FIELD_MISSING", (*self.path, name), f"expected the field {name}, found none")
        return value

    def text(self, name: str) -> str:
        value = self.given(name, required=True)
        if value is _MISSING:
            return ""
        return self.reader.text(value, (*self.path, name))

    def optional_text(self, name: str) -> str | None:
        return self.text(name) if self.has(name) else None

    def flag(self, name: str, default: bool) -> bool:
        value = self.given(name)
        if value is _MISSING:
            return default
        if not isinstance(value, bool):
            self.reader.wrong((*self.path, name), "true or false", value)
            return default
        return value

    def integer(self, name: str, default: int, lowest: int, highest: int) -> int:
        value = self.given(name)
        if value is _MISSING:
            return default
        if type(value) is not int or not lowest <= value <= highest:
            self.reader.wrong((*self.path, name), f"a whole number from {lowest} to {highest}", value)
            return default
        return value

    def number(self, name: str, default: float, lowest: float, highest: float) -> float:
        value = self.given(name)
        if value is _MISSING:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool) or not lowest <= value <= highest:
            self.reader.wrong((*self.path, name), f"a number from {lowest:g} to {highest:g}", value)
            return default
        return float(value)

    def one_of(self, name: str, choices: type[_Enumeration], default: _Enumeration) -> _Enumeration:
        value = self.given(name)
        return default if value is _MISSING else self.reader.one_of(value, (*self.path, name), choices, default)

    def expression(self, name: str) -> Expression:
        value = self.given(name, required=True)
        return Literal(None) if value is _MISSING else self.reader.expression(value, (*self.path, name))

    def optional_expression(self, name: str) -> Expression | None:
        return self.expression(name) if self.has(name) else None

    def expressions(self, name: str) -> dict[str, Expression]:
        def read(_name: str, value: object, path: Path) -> Expression:
            return self.reader.expression(value, path)

        return self.entries(name, read)

    def entries(
        self, name: str, read: Callable[[str, object, Path], _Item], *, required: bool = False
    ) -> dict[str, _Item]:
        """A mapping of names that the author chose."""
        value = self.given(name, required)
        path = (*self.path, name)
        data = None if value is _MISSING else self.reader.mapping(value, path)
        return {key: read(key, item, (*path, key)) for key, item in (data or {}).items()}

    def items(self, name: str, read: Callable[[object, Path], _Item]) -> tuple[_Item, ...]:
        """A list."""
        value = self.given(name)
        path = (*self.path, name)
        if value is _MISSING:
            return ()
        if not isinstance(value, list):
            self.reader.wrong(path, "a list", value)
            return ()
        return tuple(read(item, (*path, index)) for index, item in enumerate(value))


class EnoughProblems(Exception):
    """PROBLEMS_MAX are found; never leaves the core."""


def report_to(problems: list[DocumentProblem], problem: DocumentProblem) -> None:
    """Note a problem; raises EnoughProblems if there are as many as anybody looks for."""
    problems.append(problem)
    if len(problems) >= PROBLEMS_MAX:
        raise EnoughProblems


class _Reader:
    """One pass over a document; collects its problems."""

    def __init__(self) -> None:
        self.problems: list[DocumentProblem] = []
        self.near = NearNames()

    def problem(self, code: str, path: Path, message: str) -> None:
        report_to(self.problems, DocumentProblem(code, path, message))

    def wrong(self, path: Path, expected: str, found: object) -> None:
        self.problem("FIELD_TYPE", path, f"expected {expected}, found {_shown(found)}")

    def text(self, value: object, path: Path) -> str:
        if not isinstance(value, str):
            self.wrong(path, "text", value)
            return ""
        return value

    def one_of(self, value: object, path: Path, choices: type[_Enumeration], default: _Enumeration) -> _Enumeration:
        chosen = next((choice for choice in choices if choice.value == value), None)
        if chosen is not None:
            return chosen
        self.problem(
            "FIELD_VALUE", path, f"expected {_listed(choices)}, found {_shown(value)}{self.near.meant(value, choices)}"
        )
        return default

    def mapping(self, value: object, path: Path) -> dict[str, object] | None:
        """The mapping itself, its keys all text; None with a problem otherwise."""
        if not isinstance(value, Mapping):
            self.wrong(path, "a mapping", value)
            return None
        texts = {key: item for key, item in value.items() if isinstance(key, str)}
        if len(texts) < len(value):
            odd = next(key for key in value if not isinstance(key, str))
            self.wrong(path, "keys that are text", odd)
        return texts

    def fields(self, value: object, path: Path, what: str, known: Iterable[str]) -> _Fields | None:
        """A mapping whose fields are given by the format."""
        data = self.mapping(value, path)
        if data is None:
            return None
        known = tuple(known)
        for name in data:
            if name not in known:
                self.problem(
                    "FIELD_UNKNOWN",
                    (*path, name),
                    f"{what} has no field {name}{self.near.meant(name, known)}; it has {_listed(known, 'and')}",
                )
        return _Fields(self, data, path)

    def wf_spec(self, document: object) -> WfSpec | None:
        fields = self.fields(document, (), "a WfSpec", ("name", "entrypoint", "retention_s", "threads"))
        if fields is None:
            return None
        retention_s = fields.integer("retention_s", -1, 0, SECONDS_MAX) if fields.has("retention_s") else None
        return WfSpec(
            name=fields.text("name"),
            entrypoint=fields.text("entrypoint"),
            threads=fields.entries("threads", self.thread, required=True),
            retention_s=retention_s,
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
        fields = self.fields(value, path, "a Variable", ("type", "default", "required", "masked"))
        if fields is None:
            return VariableDef(name, VariableType.STR)
        if not fields.has("type"):
            fields.given("type", required=True)
        declared = fields.one_of("type", VariableType, VariableType.STR)
        return VariableDef(
            name,
            declared,
            default=self.default(fields.given("default"), (*path, "default"), declared),
            required=fields.flag("required", False),
            masked=fields.flag("masked", False),
        )

    def default(self, value: object, path: Path, declared: VariableType) -> Value:
        """A default as the type keeps it: TIMESTAMP from ISO 8601 or epoch ms, BYTES from base64."""
        if value is _MISSING:
            return None
        plain = self.literal(value, path)
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
            self.problem("FIELD_VALUE", path, f"expected BYTES as base64, found {_shown(plain)}")
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
        kind = data.get("kind", _MISSING)
        form = _KINDS.get(kind) if isinstance(kind, str) else None
        if form is None:
            if kind is _MISSING:
                self.problem("FIELD_MISSING", (*path, "kind"), "expected the field kind, found none")
            else:
                self.problem(
                    "FIELD_VALUE",
                    (*path, "kind"),
                    f"expected {_listed(_KINDS)}, found {_shown(kind)}{self.near.meant(kind, _KINDS)}",
                )
            form = _Form(lambda _reader, _fields: NopNode(name=""))
            fields: _Fields | None = _Fields(self, data, path)  # which fields it has, its kind would say
        else:
            known = ("kind", *form.fields, *(() if kind == "EXIT" else ("next",)), "on_failure")
            fields = self.fields(data, path, f"a node of kind {kind}", known)
        assert fields is not None
        node = form.read(self, fields)
        edges = () if kind == "EXIT" else self.edges(fields.given("next"), (*path, "next"))
        return replace(node, name=name, edges=edges, failure_handlers=fields.items("on_failure", self.failure_handler))

    def edges(self, value: object, path: Path) -> tuple[Edge, ...]:
        if value is _MISSING:
            return ()
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
        return Edge(fields.text("to"), fields.optional_expression("when"), fields.items("set", self.mutation))

    def mutation(self, value: object, path: Path) -> Mutation:
        fields = self.fields(value, path, "a mutation", ("var", "path", "op", "value"))
        if fields is None:
            return Mutation("", MutationOperator.ASSIGN, Literal(None))
        if not fields.has("op"):
            fields.given("op", required=True)
        return Mutation(
            variable=fields.text("var"),
            operator=fields.one_of("op", MutationOperator, MutationOperator.ASSIGN),
            value=fields.expression("value"),
            path=self.json_path(fields),
        )

    def failure_handler(self, value: object, path: Path) -> FailureHandlerDef:
        fields = self.fields(value, path, "a failure handler", ("catch", "handler"))
        if fields is None:
            return FailureHandlerDef(None, "")
        return FailureHandlerDef(fields.optional_text("catch"), fields.text("handler"))

    def json_path(self, fields: _Fields) -> JsonPath | None:
        text = fields.optional_text("path")
        if text is None:
            return None
        try:
            path = parse_json_path(text)
        except ValueProblem as exc:
            self.problem("FIELD_VALUE", (*fields.path, "path"), str(exc))
            return None
        return path if path.steps else None

    def literal(self, value: object, path: Path) -> Value:
        """A value that stands for itself, as JSON; None with a problem for anything else."""
        try:
            return bounded(self._plain(value, path, 0))
        except ValueProblem as exc:
            self.problem("FIELD_VALUE", path, str(exc))
            return None

    def _plain(self, value: object, path: Path, depth: int, *step: int | str) -> Value:
        """`step`: from `path` to the value; there may be a hundred thousand values that need no path of their own."""
        if depth > VALUE_DEPTH_MAX:
            raise ValueProblem(f"JSON that nests more than {VALUE_DEPTH_MAX} deep")
        match value:
            case None | bool() | str():
                return value
            case int() | float() if is_number(value):
                return value
            case int() | float():
                raise ValueProblem(f"expected a number of 64 bits, found {_shown(value)}")
            case list():
                here = (*path, *step)
                return [self._plain(item, here, depth + 1, index) for index, item in enumerate(value)]
            case Mapping():
                here = (*path, *step)
                data = self.mapping(value, here) or {}
                return {name: self._plain(item, here, depth + 1, name) for name, item in data.items()}
            case _:
                raise ValueProblem(f"expected a JSON value, found {_shown(value)}")

    def expression(self, value: object, path: Path, depth: int = 0) -> Expression:
        """An expression; the literal null with a problem where it is none."""
        if depth > EXPRESSION_DEPTH_MAX:
            self.problem("LIMIT", path, f"expected expressions at most {EXPRESSION_DEPTH_MAX} deep, found more")
            return Literal(None)
        if isinstance(value, list):
            items = tuple(self.expression(item, (*path, index), depth + 1) for index, item in enumerate(value))
            return _list_of(items)
        if not isinstance(value, Mapping):
            return Literal(self.literal(value, path))
        data = self.mapping(value, path) or {}
        form = next((name for name in data if name in _EXPRESSIONS), None)
        if form is None:
            keys = [f"`{name}`" for name in data][:5]
            self.problem(
                "EXPRESSION_FORM",
                path,
                f"expected a mapping with one of {', '.join(_EXPRESSIONS)}, found {', '.join(keys) or 'none'}"
                f"{self.near.meant(next(iter(data), None), _EXPRESSIONS)}; a mapping that stands for itself is written "
                "{literal: …}",
            )
            return Literal(None)
        fields = self.fields(data, path, f"an expression with {form}", (form, *_EXPRESSIONS[form]))
        assert fields is not None
        return self._expression_of_form(form, fields, (*path, form), depth)

    def _expression_of_form(self, form: str, fields: _Fields, path: Path, depth: int) -> Expression:
        operand = fields.data[form]
        match form:
            case "literal":
                return Literal(self.literal(operand, path))
            case "var":
                return VariableRef(fields.text("var"), self.json_path(fields))
            case "output":
                return OutputRef(fields.text("output"), self.json_path(fields))
            case "format":
                return Format(fields.text("format"), self._args(fields, depth + 1))
            case "cast":
                if not isinstance(operand, list) or len(operand) != 2:
                    self.wrong(path, "a list of a value and a type", operand)
                    return Literal(None)
                target = self.one_of(operand[1], (*path, 1), VariableType, VariableType.STR)
                return Cast(self.expression(operand[0], (*path, 0), depth + 1), target)
            case _:
                return self._operation(Operator(form), operand, path, depth)

    def _args(self, fields: _Fields, depth: int) -> tuple[Expression, ...]:
        def read(value: object, path: Path) -> Expression:
            return self.expression(value, path, depth)

        return fields.items("args", read)

    def _operation(self, operator: Operator, operand: object, path: Path, depth: int) -> Expression:
        lowest, highest = OPERANDS[operator]
        if isinstance(operand, list):
            found = operand
        elif highest == 1:
            found = [operand]
        else:
            self.wrong(path, "a list of operands", operand)
            return Literal(None)
        if not lowest <= len(found) <= highest:
            wanted = str(lowest) if lowest == highest else f"{lowest} or more"
            self.problem("FIELD_VALUE", path, f"expected {wanted} operands of {operator}, found {len(found)}")
            return Literal(None)
        if len(found) == 1 and not isinstance(operand, list):
            return Operation(operator, (self.expression(operand, path, depth + 1),))
        return Operation(
            operator,
            tuple(self.expression(item, (*path, index), depth + 1) for index, item in enumerate(found)),
        )


def _list_of(items: tuple[Expression, ...]) -> Expression:
    if all(isinstance(item, Literal) for item in items):
        return Literal([item.value for item in items if isinstance(item, Literal)])
    return ListOf(items)


_MANY = 1000
OPERANDS: dict[Operator, tuple[int, int]] = {
    **dict.fromkeys(Operator, (2, 2)),
    **dict.fromkeys((Operator.AND, Operator.OR, Operator.ADD, Operator.MULTIPLY), (2, _MANY)),
    **dict.fromkeys((Operator.NOT, Operator.SIZE_OF), (1, 1)),
}
"""How many operands an operator takes, at least and at most."""

_EXPRESSIONS: dict[str, tuple[str, ...]] = {
    "var": ("path",),
    "output": ("path",),
    "literal": (),
    "format": ("args",),
    "cast": (),
    **{operator.value: () for operator in Operator},
}
"""The key that makes a mapping an expression, and what may stand beside it."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How a kind of node is read: from its fields, beside those that all nodes have."""

    read: "Callable[[_Reader, _Fields], AnyNode]"
    fields: tuple[str, ...] = ()


def _exit(reader: _Reader, fields: _Fields) -> AnyNode:
    if not fields.has("fail"):
        return ExitNode(name="", returns=fields.optional_expression("return"))
    if fields.has("return"):
        reader.problem("FIELD_VALUE", fields.path, "expected fail or return, found both")
    path = (*fields.path, "fail")
    fail = reader.fields(fields.data["fail"], path, "fail", ("name", "message", "content"))
    if fail is None:
        return ExitNode(name="")
    return ExitNode(
        name="",
        failure_name=fail.text("name"),
        failure_message=fail.optional_expression("message"),
        failure_content=fail.optional_expression("content"),
    )


def _task(reader: _Reader, fields: _Fields) -> AnyNode:
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
    return TaskNode(
        name="",
        task_def=fields.text("task"),
        input=fields.expressions("input"),
        timeout_s=fields.expression("timeout_s") if fields.has("timeout_s") else Literal(60),
        retries=fields.integer("retries", 0, 0, RETRIES_MAX),
        backoff=backoff,
    )


def _sleep(reader: _Reader, fields: _Fields) -> AnyNode:
    forms = [name for name in ("seconds", "until", "until_iso") if fields.has(name)]
    if len(forms) != 1:
        found = _listed(forms, "and") if forms else "none"
        reader.problem("FIELD_VALUE", fields.path, f"expected one of seconds, until and until_iso, found {found}")
    return SleepNode(
        name="",
        seconds=fields.optional_expression("seconds"),
        until_ms=fields.optional_expression("until"),
        until_iso=fields.optional_expression("until_iso"),
    )


_KINDS: dict[str, _Form] = {
    "ENTRYPOINT": _Form(lambda _reader, _fields: EntrypointNode(name="")),
    "EXIT": _Form(_exit, ("fail", "return")),
    "NOP": _Form(lambda _reader, _fields: NopNode(name="")),
    "TASK": _Form(_task, ("task", "input", "timeout_s", "retries", "backoff")),
    "EXTERNAL_EVENT": _Form(
        lambda _reader, fields: ExternalEventNode(
            name="",
            external_event_def=fields.text("event"),
            timeout_s=fields.optional_expression("timeout_s"),
        ),
        ("event", "timeout_s"),
    ),
    "SLEEP": _Form(_sleep, ("seconds", "until", "until_iso")),
    "START_THREAD": _Form(
        lambda _reader, fields: StartThreadNode(
            name="", thread=fields.text("thread"), input=fields.expressions("input")
        ),
        ("thread", "input"),
    ),
    "START_MULTIPLE_THREADS": _Form(
        lambda _reader, fields: StartMultipleThreadsNode(
            name="",
            thread=fields.text("thread"),
            over=fields.expression("over"),
            input=fields.expressions("input"),
        ),
        ("thread", "over", "input"),
    ),
    "WAIT_FOR_THREADS": _Form(
        lambda reader, fields: WaitForThreadsNode(
            name="",
            threads=fields.expression("threads"),
            strategy=fields.one_of("strategy", WaitStrategy, WaitStrategy.ALL),
            on_child_failure=fields.items("on_child_failure", reader.failure_handler),
        ),
        ("threads", "strategy", "on_child_failure"),
    ),
    "WAIT_FOR_CONDITION": _Form(
        lambda _reader, fields: WaitForConditionNode(name="", condition=fields.expression("condition")),
        ("condition",),
    ),
    "THROW_EVENT": _Form(
        lambda _reader, fields: ThrowEventNode(
            name="",
            workflow_event_def=fields.text("event"),
            content=fields.expression("content") if fields.has("content") else Literal(None),
        ),
        ("event", "content"),
    ),
}


def _shown(value: object) -> str:
    """What was found, for a sentence."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "...")
        case float() if math.isnan(value):
            return "NaN"
        case int() | float():
            return repr(value) if abs(value) < 1e30 else "a number beyond 64 bits"
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def _listed(names: Iterable[str], word: str = "or") -> str:
    texts = [str(name) for name in names]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {word} {texts[-1]}"
