"""The parts of a WfSpec: ThreadSpecs of nodes and edges, Variables, interrupts. They have the shape of LittleHorse's.

Values only. `reader` reads them from a document, `validate` says what is wrong with one, `expressions` computes. The
rules see validated WfSpecs only: every name in them refers to something.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from processors.core.records.values import Value, VariableType

INPUT: Final = "INPUT"
"""The reserved Variable: the payload of an interrupt, the content of a failure, an item of START_MULTIPLE_THREADS."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that stands for itself."""

    value: Value


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path such as `$.a.b[0]`: the keys and indexes to follow."""

    steps: tuple[str | int, ...]

    def __str__(self) -> str:
        return "$" + "".join(
            f"[{step}]"
            if isinstance(step, int)
            else f".{step}"
            if _PLAIN_KEY.fullmatch(step)
            else f"[{json.dumps(step)}]"
            for step in self.steps
        )


_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][-A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class VariableRef:
    """The value of a Variable in scope, or the value inside it that a path leads to."""

    name: str
    path: JsonPath | None = None


@dataclass(frozen=True, slots=True)
class OutputRef:
    """The output of the most recent run of a node of this ThreadSpec."""

    node: str
    path: JsonPath | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A template such as `Hello {0}`, and its arguments."""

    template: str
    args: tuple["Expression", ...]


class Operator(StrEnum):
    """The operators of expressions, by their key in a document."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    IN = "in"
    NOT_IN = "not_in"
    AND = "and"
    OR = "or"
    NOT = "not"
    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    SIZE_OF = "size_of"


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator and its operands."""

    operator: Operator
    operands: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """A value that is cast to another type."""

    operand: "Expression"
    target: VariableType


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list some of whose items are computed."""

    items: tuple["Expression", ...]


Expression: TypeAlias = Literal | VariableRef | OutputRef | Format | Operation | Cast | ListOf


class MutationOperator(StrEnum):
    """The way in which an edge changes a Variable."""

    ASSIGN = "ASSIGN"
    ADD = "ADD"
    EXTEND = "EXTEND"
    SUBTRACT = "SUBTRACT"
    MULTIPLY = "MULTIPLY"
    DIVIDE = "DIVIDE"
    POW = "POW"
    AND = "AND"
    OR = "OR"
    REMOVE_IF_PRESENT = "REMOVE_IF_PRESENT"
    REMOVE_INDEX = "REMOVE_INDEX"
    REMOVE_KEY = "REMOVE_KEY"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One `set` of an edge: Variable (or the value inside it that `path` leads to) := old `operator` value."""

    variable: str
    operator: MutationOperator
    value: Expression
    path: JsonPath | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A way to another node: its condition, and the mutations on it."""

    to: str
    when: Expression | None = None
    mutations: tuple[Mutation, ...] = ()


@dataclass(frozen=True, slots=True)
class FailureHandlerDef:
    """The ThreadSpec that certain failures start: `catch` is ERROR, EXCEPTION, a failure's name, or None for any."""

    catch: str | None
    handler: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The fields that all nodes have."""

    name: str
    edges: tuple[Edge, ...] = ()
    failure_handlers: tuple[FailureHandlerDef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrypointNode(Node):
    """The node at which a thread starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NopNode(Node):
    """A node that does nothing but have edges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitNode(Node):
    """A node that ends the thread: plainly, with a return value, or with a failure."""

    returns: Expression | None = None
    failure_name: str | None = None
    failure_message: Expression | None = None
    failure_content: Expression | None = None


# (rule back-off-between-attempts)
@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait between attempts: attempt n+1 goes out min(base·multiplier^(n-1), max) ms after attempt n ended."""

    base_ms: int
    multiplier: float
    max_ms: int

    def delay_ms(self, attempts_made: int) -> int:
        """Return the delay before the next attempt, in milliseconds."""
        if self.base_ms == 0:
            return 0
        try:
            return int(min(self.base_ms * self.multiplier ** (attempts_made - 1), self.max_ms))
        except OverflowError:
            return self.max_ms


TIMEOUT_S: Final = 60
QUEUE_TIMEOUT_S: Final = 300
RUN_TIMEOUT_S: Final = 60
"""The bounds of a TASK that gives one of `queue_timeout_s` and `run_timeout_s`, for the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNode(Node):
    """A node whose task a task worker does.

    Its attempts are timed out either by `timeout_s` from the request, or by the other two: `queue_timeout_s` until the
    start, and `run_timeout_s` from there. Then neither of these is None, and `timeout_s` is the default.
    """

    task_def: str
    input: Mapping[str, Expression] = field(default_factory=dict)
    timeout_s: Expression = Literal(TIMEOUT_S)
    queue_timeout_s: Expression | None = None
    run_timeout_s: Expression | None = None
    retries: int = 0
    backoff: Backoff | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalEventNode(Node):
    """A node that waits for an ExternalEvent, whose content is its output."""

    external_event_def: str
    timeout_s: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepNode(Node):
    """A node that waits for a time; exactly one of its three fields is set."""

    seconds: Expression | None = None
    until_ms: Expression | None = None
    until_iso: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartThreadNode(Node):
    """A node that spawns a child, whose number is its output."""

    thread: str
    input: Mapping[str, Expression] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartMultipleThreadsNode(Node):
    """A node that spawns a child for each item of an array; its output is the list of their numbers."""

    thread: str
    over: Expression
    input: Mapping[str, Expression] = field(default_factory=dict)


class WaitStrategy(StrEnum):
    """The condition on which a WAIT_FOR_THREADS passes: all, any or the first of the threads."""

    ALL = "ALL"
    ANY = "ANY"
    FIRST = "FIRST"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForThreadsNode(Node):
    """A node that waits for threads; the expression `threads` gives the list of their numbers."""

    threads: Expression
    strategy: WaitStrategy = WaitStrategy.ALL
    on_child_failure: tuple[FailureHandlerDef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForConditionNode(Node):
    """A node that waits until Variables make a condition true."""

    condition: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrowEventNode(Node):
    """A node that writes a WorkflowEvent to the log, for consumers outside."""

    workflow_event_def: str
    content: Expression = Literal(None)


AnyNode: TypeAlias = (
    EntrypointNode
    | NopNode
    | ExitNode
    | TaskNode
    | ExternalEventNode
    | SleepNode
    | StartThreadNode
    | StartMultipleThreadsNode
    | WaitForThreadsNode
    | WaitForConditionNode
    | ThrowEventNode
)


class InterruptPolicy(StrEnum):
    """The effect of a second event while the first is pending or handled."""

    PARALLEL = "parallel"
    SERIAL = "serial"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class InterruptDef:
    """An interrupt: while a thread of this ThreadSpec is live, such an ExternalEvent starts the handler below it."""

    external_event_def: str
    handler: str
    policy: InterruptPolicy = InterruptPolicy.PARALLEL
    halt: bool = True
    preemptive: bool = False


@dataclass(frozen=True, slots=True)
class VariableDef:
    """A Variable that a thread stores from its start."""

    name: str
    type: VariableType
    default: Value = None
    required: bool = False
    masked: bool = False
    searchable: bool = False
    """True if a view has its value as a column of an index (halter/view), so that WfRuns are found by it quickly."""


@dataclass(frozen=True)
class ThreadSpec:
    """The program of a ThreadRun: its Variables, interrupts and nodes."""

    name: str
    variables: Mapping[str, VariableDef]
    interrupts: tuple[InterruptDef, ...]
    nodes: Mapping[str, AnyNode]

    # The fields below follow from those above. Every step of a thread asks for them, so they are found once. Not by
    # cached_property: mypyc takes that for a property.
    entrypoint: str = field(init=False, repr=False, compare=False)
    """The name of the ENTRYPOINT node; empty in a ThreadSpec that is refused for having none."""
    interrupt_of: Mapping[str, InterruptDef] = field(init=False, repr=False, compare=False)
    """ExternalEventDef -> InterruptDef."""
    preemptive: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The ExternalEventDefs whose earlier, unclaimed ExternalEvents interrupt a thread that starts."""
    arrivals: frozenset[str] = field(init=False, repr=False, compare=False)
    """The nodes that do something at arrival also for a halted thread: they take early ExternalEvents, or their time
    begins to count.
    """
    outputs_used: frozenset[str] = field(init=False, repr=False, compare=False)
    """The nodes whose output some expression of this ThreadSpec refers to; no other output is kept."""

    def __post_init__(self) -> None:
        """Find the fields that follow from the others."""
        entrypoint = next((name for name, node in self.nodes.items() if isinstance(node, EntrypointNode)), "")
        object.__setattr__(self, "entrypoint", entrypoint)
        object.__setattr__(self, "interrupt_of", {it.external_event_def: it for it in self.interrupts})
        object.__setattr__(self, "preemptive", tuple(it.external_event_def for it in self.interrupts if it.preemptive))
        arrivals = frozenset(name for name, node in self.nodes.items() if self._begins_at_arrival(node))
        object.__setattr__(self, "arrivals", arrivals)
        used = frozenset(it.node for it in self.expressions() if isinstance(it, OutputRef))
        object.__setattr__(self, "outputs_used", used)

    def _begins_at_arrival(self, node: AnyNode) -> bool:
        match node:
            case EntrypointNode():
                return bool(self.preemptive)
            case ExternalEventNode():
                return node.timeout_s is not None
            case _:
                return isinstance(node, SleepNode)

    def expressions(self) -> Iterator[Expression]:
        """Yield every expression in it, nested ones included."""
        for node in self.nodes.values():
            for expression in expressions_of(node):
                yield from walk(expression)


@dataclass(frozen=True)
class WfSpec:
    """A workflow: its ThreadSpecs, and the one that it starts with. `document` is the JSON that the engine writes."""

    name: str
    entrypoint: str
    threads: Mapping[str, ThreadSpec]
    retention_s: int | None = None
    document: str = ""
    correlated_events: Mapping[str, Expression] = field(default_factory=dict)
    """ExternalEventDef -> the key by which its events find a WfRun, over the Variables of the entrypoint."""
    interrupting: Mapping[str, str] = field(init=False, repr=False, compare=False)
    """ExternalEventDef -> the one ThreadSpec that registers an interrupt for it."""
    external_event_defs: frozenset[str] = field(init=False, repr=False, compare=False)
    """The ExternalEventDefs that its interrupts and its EXTERNAL_EVENT nodes name."""

    def __post_init__(self) -> None:
        """Find the fields that follow from the others, once."""
        threads = self.threads.values()
        nodes = (node for thread in threads for node in thread.nodes.values())
        awaited = {node.external_event_def for node in nodes if isinstance(node, ExternalEventNode)}
        interrupting = {it.external_event_def: thread.name for thread in threads for it in thread.interrupts}
        object.__setattr__(self, "interrupting", interrupting)
        object.__setattr__(self, "external_event_defs", frozenset(awaited | interrupting.keys()))


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield an expression and all expressions inside it."""
    yield expression
    match expression:
        case Format(args=inner) | Operation(operands=inner) | ListOf(items=inner):
            for part in inner:
                yield from walk(part)
        case Cast(operand=part):
            yield from walk(part)


def expressions_of(node: AnyNode) -> Iterator[Expression]:
    """Yield the outermost expressions of a node and its edges."""
    for edge in node.edges:
        if edge.when is not None:
            yield edge.when
        for mutation in edge.mutations:
            yield mutation.value
    optional: tuple[Expression | None, ...] = ()
    match node:
        case ExitNode():
            optional = (node.returns, node.failure_message, node.failure_content)
        case TaskNode():
            optional = (node.timeout_s, node.queue_timeout_s, node.run_timeout_s, *node.input.values())
        case ExternalEventNode():
            optional = (node.timeout_s,)
        case SleepNode():
            optional = (node.seconds, node.until_ms, node.until_iso)
        case StartThreadNode():
            optional = tuple(node.input.values())
        case StartMultipleThreadsNode():
            optional = (node.over, *node.input.values())
        case WaitForThreadsNode():
            optional = (node.threads,)
        case WaitForConditionNode():
            optional = (node.condition,)
        case ThrowEventNode():
            optional = (node.content,)
        case EntrypointNode() | NopNode():
            pass
    yield from (expression for expression in optional if expression is not None)
