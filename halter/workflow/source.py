"""The other way: a WfSpec as a program whose Workflow is equal to it.

For whoever moves from YAML to Python. Loops are written with goto: a WfSpec has edges, and what they were meant as is
not in it.
"""

import builtins
import keyword
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Final

from halter.workflow import expressions
from halter.workflow.drafts import free_name
from halter.workflow.expressions import TYPES
from halter.workflow.thread import Thread
from processors.core.records.errors import HalterError
from processors.core.records.spec import (
    INPUT,
    TIMEOUT_S,
    AnyNode,
    Cast,
    Edge,
    EntrypointNode,
    ExitNode,
    Expression,
    ExternalEventNode,
    FailureHandlerDef,
    Format,
    InterruptPolicy,
    ListOf,
    Literal,
    Mutation,
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
from processors.core.records.values import Timestamp, Value, VariableType

WIDTH: Final = 118
SIGNS: Final[Mapping[Operator, str]] = {
    Operator.ADD: "+",
    Operator.SUBTRACT: "-",
    Operator.MULTIPLY: "*",
    Operator.DIVIDE: "/",
    Operator.EQ: "==",
    Operator.NE: "!=",
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
    Operator.AND: "&",
    Operator.OR: "|",
}
OF_MANY: Final[Mapping[Operator, str]] = {
    Operator.ADD: "add",
    Operator.MULTIPLY: "multiply",
    Operator.AND: "and_",
    Operator.OR: "or_",
}
"""Functions for more than two operands."""
NAMES_OF_TYPES: Final[Mapping[VariableType, str]] = {
    declared: it.__name__ for it, declared in reversed(list(TYPES.items()))
}
METHODS: Final[Mapping[str, str]] = {"AND": "and_", "OR": "or_"}


class NotWritable(HalterError):
    """A WfSpec cannot be written as a program. Whoever has it keeps the document, or changes what is named."""


def source_of(wf_spec: WfSpec) -> str:
    """Return a program that makes a Workflow equal to a WfSpec. Raises NotWritable."""
    return _Program(wf_spec).text()


@dataclass
class _Names:
    """Identifiers, each used once."""

    taken: set[str] = field(default_factory=set)

    def new(self, name: str) -> str:
        wanted = "".join(it if it.isascii() and (it.isalnum() or it == "_") else "_" for it in name)
        if not wanted or wanted[0].isdigit():
            wanted = f"_{wanted}"
        if keyword.iskeyword(wanted) or keyword.issoftkeyword(wanted) or hasattr(builtins, wanted):
            wanted += "_"
        found, number = wanted, 1
        while found in self.taken:
            number += 1
            found = f"{wanted}_{number}"
        self.taken.add(found)
        return found


class _Program:
    """Writes one WfSpec."""

    def __init__(self, wf_spec: WfSpec) -> None:
        self._wf_spec = wf_spec
        self._imports = {"Thread", "Variable", "Workflow"}
        names = _Names({"Backoff", "Timestamp", "datetime", "thread", "workflow", *vars(expressions), *self._imports})
        names.taken.add("thread_name")
        self._variables = {
            name: names.new(name) for thread in wf_spec.threads.values() for name in thread.variables if name != INPUT
        }
        self._functions = {name: names.new(name) for name in wf_spec.threads}
        self._names = names
        self._outputs: dict[str, str] = {}
        """Nodes of the thread that is written, whose output has an identifier by now."""
        self._locals = names
        self._input = ""
        """The identifier of INPUT in the thread that is written."""

    def text(self) -> str:
        threads = list(self._wf_spec.threads.values())
        declared = [
            f"{self._variables[name]} = {self._variable('Variable', [_text(name)], it)}"
            for thread in threads
            for name, it in thread.variables.items()
            if name != INPUT
        ]
        functions = ["\n".join(self._function(thread)) for thread in reversed(threads)]
        options = [_text(self._wf_spec.name), self._functions[self._wf_spec.entrypoint]]
        if self._wf_spec.retention_s is not None:
            options.append(f"retention_s={self._wf_spec.retention_s}")
        if keys := self._wf_spec.correlated_events:
            written = ", ".join(f"{_text(name)}: {self._expression(key)}" for name, key in keys.items())
            options.append(f"correlated_events={{{written}}}")
        if also := [self._functions[name] for name in self._wf_spec.threads if name not in self._started()]:
            options.append(f"also=[{', '.join(also)}]")
        made = _call("workflow = Workflow", options)
        heads = []
        if "datetime" in self._imports:
            heads.append("from datetime import datetime\n")
            self._imports.discard("datetime")
        heads.append(_call("from halter.workflow import ", sorted(self._imports), parentheses=False))
        parts = ["\n".join(heads), "\n".join(declared), *(f"\n{it}" for it in functions), f"\n{made}"]
        return "\n\n".join(it for it in parts if it) + "\n"

    def _started(self) -> set[str]:
        """Return the ThreadSpecs that are found from the entrypoint."""
        found: set[str] = set()
        todo = [self._wf_spec.entrypoint]
        while todo:
            name = todo.pop()
            if name in found:
                continue
            found.add(name)
            thread = self._wf_spec.threads[name]
            todo += [it.handler for it in thread.interrupts]
            for node in thread.nodes.values():
                todo += [it.handler for it in node.failure_handlers]
                if isinstance(node, StartThreadNode | StartMultipleThreadsNode):
                    todo.append(node.thread)
                if isinstance(node, WaitForThreadsNode):
                    todo += [it.handler for it in node.on_child_failure]
        return found

    # One thread.

    def _function(self, thread: ThreadSpec) -> Iterator[str]:
        function = self._functions[thread.name]
        self._outputs, self._input, self._locals = {}, "", _Names(set(self._names.taken))
        if function.replace("_", "-") != thread.name:
            self._imports.add("thread_name")
            yield f"@thread_name({_text(thread.name)})"
        yield f"def {function}(thread: Thread) -> None:"
        yield from (_indented(it) for it in self._body(thread))

    def _body(self, thread: ThreadSpec) -> Iterator[str]:
        if plain := [self._variables[name] for name in thread.variables if name != INPUT]:
            yield _call("thread.declare", plain)
        if (given := thread.variables.get(INPUT)) is not None:
            self._input = self._locals.new("given")
            yield f"{self._input} = {self._variable('thread.input', [], given)}"
        for it in thread.interrupts:
            options = [_text(it.external_event_def), self._functions[it.handler]]
            options += [f"policy={_text(it.policy.value)}"] if it.policy is not InterruptPolicy.PARALLEL else []
            options += [] if it.halt else ["halt=False"]
            options += ["preemptive=True"] if it.preemptive else []
            yield _call("thread.interrupt", options)
        order = sorted(thread.nodes.values(), key=lambda node: not isinstance(node, EntrypointNode))
        used: list[str] = []
        for node, following in zip(order, [*order[1:], None], strict=True):
            is_implied = isinstance(node, EntrypointNode) and node.name == "start" and not node.failure_handlers
            if not is_implied:
                yield self._node(thread, node, used)
            used.append(node.name)
            for handler in node.failure_handlers:
                caught = [] if handler.catch is None else [f"catch={_text(handler.catch)}"]
                yield _call("thread.on_failure", [_text(node.name), self._functions[handler.handler], *caught])
            yield from self._ways(node, None if following is None else following.name)

    def _node(self, thread: ThreadSpec, node: AnyNode, used: list[str]) -> str:
        method, wanted, options = self._statement(node)
        if node.name != free_name(wanted, used or ("start",)) or (isinstance(node, EntrypointNode)):
            options.append(_text(node.name) if method in {"nop", "entrypoint"} else f"name={_text(node.name)}")
        call = f"thread.{method}"
        if node.name in thread.outputs_used:
            name = self._locals.new(node.name)
            statement = _call(f"{name} = {call}", options)
            self._outputs[node.name] = name
            return statement
        return _call(call, options)

    def _statement(self, node: AnyNode) -> tuple[str, str, list[str]]:
        """Return the method that writes a node, the name that it would give it, and the arguments."""
        match node:
            case EntrypointNode():
                return "entrypoint", "start", []
            case NopNode():
                return "nop", "nop", []
            case ExitNode(failure_name=None):
                return "exit", "exit", self._optional(returns=node.returns)
            case ExitNode():
                more = self._optional(message=node.failure_message, content=node.failure_content)
                return "fail", node.failure_name or "", [_text(node.failure_name), *more]
            case TaskNode():
                options = [_text(node.task_def), *self._inputs(node.input, Thread.task)]
                if node.timeout_s != Literal(TIMEOUT_S):
                    options.append(f"timeout_s={self._expression(node.timeout_s)}")
                options += self._optional(queue_timeout_s=node.queue_timeout_s, run_timeout_s=node.run_timeout_s)
                if node.retries:
                    options.append(f"retries={node.retries}")
                if node.backoff is not None:
                    self._imports.add("Backoff")
                    it = node.backoff
                    options.append(f"backoff=Backoff({it.base_ms}, {_text(it.multiplier)}, {it.max_ms})")
                return "task", node.task_def, options
            case ExternalEventNode():
                options = [_text(node.external_event_def), *self._optional(timeout_s=node.timeout_s)]
                return "wait_for_event", node.external_event_def, options
            case SleepNode(seconds=None, until_ms=None):
                assert node.until_iso is not None
                return "sleep_until_iso", "sleep", [self._expression(node.until_iso)]
            case SleepNode(seconds=None):
                assert node.until_ms is not None
                return "sleep_until", "sleep", [self._expression(node.until_ms)]
            case SleepNode():
                assert node.seconds is not None
                return "sleep", "sleep", [self._expression(node.seconds)]
            case StartThreadNode():
                options = [self._functions[node.thread], *self._inputs(node.input, Thread.start_thread)]
                return "start_thread", f"start-{node.thread}", options
            case StartMultipleThreadsNode():
                options = [self._functions[node.thread], f"over={self._expression(node.over)}"]
                options += self._inputs(node.input, Thread.start_threads)
                return "start_threads", f"start-{node.thread}", options
            case WaitForThreadsNode():
                options = [self._expression(node.threads)]
                if node.strategy is not WaitStrategy.ALL:
                    options.append(f"strategy={_text(node.strategy.value)}")
                if node.on_child_failure:
                    options.append(f"on_child_failure=[{', '.join(map(self._pair, node.on_child_failure))}]")
                return "wait_for_threads", "wait-for-threads", options
            case WaitForConditionNode():
                return "wait_until", "wait-until", [self._expression(node.condition)]
            case ThrowEventNode():
                options = [_text(node.workflow_event_def)]
                if node.content != Literal(None):
                    options.append(self._expression(node.content))
                return "throw", f"throw-{node.workflow_event_def}", options

    def _pair(self, handler: FailureHandlerDef) -> str:
        return f"({_text(handler.catch)}, {self._functions[handler.handler]})"

    def _optional(self, **given: Expression | None) -> list[str]:
        return [f"{name}={self._expression(it)}" for name, it in given.items() if it is not None]

    def _inputs(self, inputs: Mapping[str, Expression], method: Callable[..., Any]) -> list[str]:
        written = {name: self._expression(it) for name, it in inputs.items()}
        own = signature(method).parameters
        if all(name.isidentifier() and not keyword.iskeyword(name) and name not in own for name in written):
            return [f"{name}={it}" for name, it in written.items()]
        return ["{" + ", ".join(f"{_text(name)}: {it}" for name, it in written.items()) + "}"]

    def _variable(self, call: str, options: list[str], it: VariableDef) -> str:
        options = [*options, self._type(it.type)]
        if it.default is not None:
            options.append(f"default={self._value(it.default)}")
        options += ["required=True"] if it.required else []
        options += ["masked=True"] if it.masked else []
        options += ["searchable=True"] if it.searchable else []
        return _call(call, options)

    def _type(self, declared: VariableType) -> str:
        name = NAMES_OF_TYPES[declared]
        if name == "datetime":
            self._imports.add(name)
        return name

    # The ways out of a node.

    def _ways(self, node: AnyNode, following: str | None) -> Iterator[str]:
        if isinstance(node, ExitNode):
            return
        last = len(node.edges) - 1
        for index, edge in enumerate(node.edges):
            if edge.when is None and index < last:
                raise NotWritable(
                    f"threads.{node.name}: expected the edge without a condition to be the last, since it is always "
                    f"taken; found another behind it, to '{node.edges[index + 1].to}'"
                )
            if edge.when is None and index == 0:
                yield from self._way(edge, following)
                return
            if edge.when is None:
                if edge.mutations or edge.to != following:
                    yield "with thread.else_():"
                    yield from (_indented(it) for it in self._way(edge, following, inside=True))
                return
            yield f"with thread.{'elif_' if index else 'if_'}({self._expression(edge.when)}):"
            yield from (_indented(it) for it in self._way(edge, following, inside=True))
        yield "thread.or_fail()"

    def _way(self, edge: Edge, following: str | None, *, inside: bool = False) -> Iterator[str]:
        for mutation in edge.mutations:
            yield self._mutation(mutation)
        if edge.to != following:
            yield f"thread.goto({_text(edge.to)})"
        elif inside and not edge.mutations:
            yield "pass"

    def _mutation(self, mutation: Mutation) -> str:
        method = METHODS.get(mutation.operator.value, mutation.operator.value.lower())
        target = self._reference(VariableRef(mutation.variable, mutation.path))
        return _call(f"thread.{method}", [target, self._expression(mutation.value)])

    # Expressions.

    def _expression(self, tree: Expression) -> str:
        match tree:
            case Literal(value):
                return self._value(value)
            case ListOf(items):
                return f"[{', '.join(self._expression(it) for it in items)}]"
            case _:
                return self._expr(tree)

    def _expr(self, tree: Expression) -> str:
        """Write what is an Expr in the program, and no value of Python."""
        match tree:
            case Literal(value):
                self._imports.add("literal")
                return f"literal({self._value(value)})"
            case ListOf(items):
                self._imports.add("list_")
                return f"list_({', '.join(self._expression(it) for it in items)})"
            case VariableRef() | OutputRef():
                return self._reference(tree)
            case Format(template, args):
                self._imports.add("format_")
                return _call("format_", [_text(template), *(self._expression(it) for it in args)])
            case Cast(operand, target):
                return f"{self._operand(operand)}.cast({self._type(target)})"
            case Operation(operator, operands):
                return self._operation(operator, operands)

    def _operation(self, operator: Operator, operands: tuple[Expression, ...]) -> str:
        first, *others = operands
        if operator is Operator.NOT:
            return f"~{self._operand(first)}"
        if operator is Operator.SIZE_OF:
            return f"{self._operand(first)}.size()"
        if operator in {Operator.IN, Operator.NOT_IN}:
            method = "contains" if operator is Operator.IN else "lacks"
            return f"{self._operand(others[0])}.{method}({self._expression(first)})"
        if len(others) > 1:
            self._imports.add(OF_MANY[operator])
            return _call(OF_MANY[operator], [self._expression(it) for it in operands])
        right = self._value(others[0].value) if isinstance(others[0], Literal) else self._operand(others[0])
        return f"{self._operand(first)} {SIGNS[operator]} {right}"

    def _operand(self, tree: Expression) -> str:
        text = self._expr(tree)
        of_two = isinstance(tree, Operation) and tree.operator in SIGNS and len(tree.operands) == 2
        is_not = isinstance(tree, Operation) and tree.operator is Operator.NOT
        return f"({text})" if of_two or is_not else text

    def _reference(self, ref: VariableRef | OutputRef) -> str:
        steps = "" if ref.path is None else "".join(f"[{_text(step)}]" for step in ref.path.steps)
        if isinstance(ref, OutputRef):
            if ref.node in self._outputs:
                return self._outputs[ref.node] + steps
            self._imports.add("output")
            return f"output({_text(ref.node)}){steps}"
        name = self._input if ref.name == INPUT and self._input else self._variables.get(ref.name)
        if name is None:
            self._imports.add("variable")
            return f"variable({_text(ref.name)}){steps}"
        return name + steps

    def _value(self, value: Value) -> str:
        if isinstance(value, Timestamp):
            self._imports.add("Timestamp")
            return f"Timestamp({value.epoch_ms})"
        return _text(value)


def _call(called: str, arguments: list[str], *, parentheses: bool = True) -> str:
    line = f"{called}({', '.join(arguments)})" if parentheses else called + ", ".join(arguments)
    if len(line) <= WIDTH and "\n" not in line:
        return line
    inner = "".join(f"{_indented(it)},\n" for it in arguments)
    return f"{called}(\n{inner})"


def _text(value: object) -> str:
    """Return a value of JSON, or BYTES, as it is written in a program: as `repr`, with double quotes."""
    match value:
        case str():
            text = repr(value)
            return text if '"' in value or "'" in value else f'"{text[1:-1]}"'
        case list():
            return f"[{', '.join(map(_text, value))}]"
        case dict():
            return "{" + ", ".join(f"{_text(key)}: {_text(it)}" for key, it in value.items()) + "}"
        case _:
            return repr(value)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in text.split("\n"))
