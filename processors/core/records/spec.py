"""What a WfSpec is: ThreadSpecs of nodes and edges, Variables, interrupts. Shaped like LittleHorse's.

Values only. `documents` reads them from a document, `validate` says what is wrong with one, `expressions` computes.
A WfSpec in here has been validated: every name refers to something.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from processors.core.records.values import Value, VariableType

INPUT = "INPUT"
"""The reserved Variable: an interrupt's payload, a failure's content, an item of START_MULTIPLE_THREADS."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that stands for itself."""

    value: Value


@dataclass(frozen=True, slots=True)
class JsonPath:
    """`$.a.b[0]`, as the keys and indexes to follow."""

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


_PLAIN_KEY = re.compile(r"[A-Za-z_][-A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class VariableRef:
    """The value of a Variable in scope, or what a path leads to inside it."""

    name: str
    path: JsonPath | None = None


@dataclass(frozen=True, slots=True)
class OutputRef:
    """The output of the most recent run of a node of this ThreadSpec."""

    node: str
    path: JsonPath | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """`Hello {0}` with its arguments put in."""

    template: str
    args: tuple["Expression", ...]


class Operator(StrEnum):
    """Operators of expressions, by their key in a document."""

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
    """An operator on its operands."""

    operator: Operator
    operands: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """A value as another type."""

    operand: "Expression"
    target: VariableType


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list some of whose items are computed."""

    items: tuple["Expression", ...]


Expression: TypeAlias = Literal | VariableRef | OutputRef | Format | Operation | Cast | ListOf


class MutationOperator(StrEnum):
    """How an edge changes a Variable (SEMANTICS 5)."""

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
    """One `set` of an edge: Variable (or what `path` leads to inside it) := old `operator` value."""

    variable: str
    operator: MutationOperator
    value: Expression
    path: JsonPath | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """Where to go next, when, and what to change on the way."""

    to: str
    when: Expression | None = None
    mutations: tuple[Mutation, ...] = ()


ANY_FAILURE = None
"""`catch` left out: any failure."""


@dataclass(frozen=True, slots=True)
class FailureHandlerDef:
    """Which failures (ERROR, EXCEPTION, a failure name; None: any) start which ThreadSpec."""

    catch: str | None
    handler: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What all nodes have."""

    name: str
    edges: tuple[Edge, ...] = ()
    failure_handlers: tuple[FailureHandlerDef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrypointNode(Node):
    """Where a thread starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NopNode(Node):
    """Does nothing: a place for edges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitNode(Node):
    """Ends the thread: plainly, with a return value, or with a failure."""

    returns: Expression | None = None
    failure_name: str | None = None
    failure_message: Expression | None = None
    failure_content: Expression | None = None


# (rule back-off-between-attempts)
@dataclass(frozen=True, slots=True)
class Backoff:
    """Attempt n+1 waits min(base·multiplier^(n-1), max) ms."""

    base_ms: int
    multiplier: float
    max_ms: int

    def delay_ms(self, attempts_made: int) -> int:
        """Delay before the next attempt, in milliseconds."""
        if self.base_ms == 0:
            return 0
        try:
            return int(min(self.base_ms * self.multiplier ** (attempts_made - 1), self.max_ms))
        except OverflowError:
            return self.max_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNode(Node):
    """A task worker does it."""

    task_def: str
    input: Mapping[str, Expression] = field(default_factory=dict)
    timeout_s: Expression = Literal(60)
    retries: int = 0
    backoff: Backoff | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalEventNode(Node):
    """Waits for an ExternalEvent; its content is the output."""

    external_event_def: str
    timeout_s: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepNode(Node):
    """Waits for a time; exactly one of the three is set."""

    seconds: Expression | None = None
    until_ms: Expression | None = None
    until_iso: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartThreadNode(Node):
    """Spawns a child; its number is the output."""

    thread: str
    input: Mapping[str, Expression] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartMultipleThreadsNode(Node):
    """Spawns a child for each item of an array; their numbers are the output."""

    thread: str
    over: Expression
    input: Mapping[str, Expression] = field(default_factory=dict)


class WaitStrategy(StrEnum):
    """When a WAIT_FOR_THREADS is done (SEMANTICS 4.4)."""

    ALL = "ALL"
    ANY = "ANY"
    FIRST = "FIRST"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForThreadsNode(Node):
    """Waits for children; `threads` gives the list of their numbers."""

    threads: Expression
    strategy: WaitStrategy = WaitStrategy.ALL
    on_child_failure: tuple[FailureHandlerDef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForConditionNode(Node):
    """Waits until Variables make a condition true."""

    condition: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrowEventNode(Node):
    """Tells the outside."""

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
    """What a second event does while the first is pending or handled (SEMANTICS N3)."""

    PARALLEL = "parallel"
    SERIAL = "serial"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class InterruptDef:
    """While a thread of this ThreadSpec is live, such an ExternalEvent starts the handler below it."""

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


@dataclass(frozen=True)
class ThreadSpec:
    """What a ThreadRun does."""

    name: str
    variables: Mapping[str, VariableDef]
    interrupts: tuple[InterruptDef, ...]
    nodes: Mapping[str, AnyNode]

    # What follows from these is asked at every step of a thread, so it is found once. Not by cached_property: mypyc
    # takes that for a property.
    entrypoint: str = field(init=False, repr=False, compare=False)
    """Name of its ENTRYPOINT node; empty in one that is refused for having none."""
    interrupt_of: Mapping[str, InterruptDef] = field(init=False, repr=False, compare=False)
    """ExternalEventDef -> InterruptDef."""
    preemptive: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """ExternalEventDefs whose earlier, unclaimed ExternalEvents interrupt a thread that starts (N14)."""
    arrivals: frozenset[str] = field(init=False, repr=False, compare=False)
    """Nodes that do something at arrival also for a thread that is halted: that take early ExternalEvents, or whose
    time begins to count."""
    outputs_used: frozenset[str] = field(init=False, repr=False, compare=False)
    """Nodes whose output some expression of this ThreadSpec refers to; no other output is kept."""

    def __post_init__(self) -> None:
        """Find what follows."""
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
        """Every expression in it, nested ones included."""
        for node in self.nodes.values():
            for expression in expressions_of(node):
                yield from walk(expression)


@dataclass(frozen=True)
class WfSpec:
    """A workflow: its ThreadSpecs and which one is the entrypoint. `document` is the canonical JSON it came from."""

    name: str
    entrypoint: str
    threads: Mapping[str, ThreadSpec]
    retention_s: int | None = None
    document: str = ""
    interrupting: Mapping[str, str] = field(init=False, repr=False, compare=False)
    """ExternalEventDef -> the one ThreadSpec that registers an interrupt for it."""
    external_event_defs: frozenset[str] = field(init=False, repr=False, compare=False)
    """The ExternalEventDefs that it names: of its interrupts, and of its EXTERNAL_EVENT nodes."""

    def __post_init__(self) -> None:
        """Find what follows, once."""
        threads = self.threads.values()
        nodes = (node for thread in threads for node in thread.nodes.values())
        awaited = {node.external_event_def for node in nodes if isinstance(node, ExternalEventNode)}
        interrupting = {it.external_event_def: thread.name for thread in threads for it in thread.interrupts}
        object.__setattr__(self, "interrupting", interrupting)
        object.__setattr__(self, "external_event_defs", frozenset(awaited | interrupting.keys()))


def walk(expression: Expression) -> Iterator[Expression]:
    """An expression and everything inside it."""
    yield expression
    match expression:
        case Format(args=inner) | Operation(operands=inner) | ListOf(items=inner):
            for part in inner:
                yield from walk(part)
        case Cast(operand=part):
            yield from walk(part)


def expressions_of(node: AnyNode) -> Iterator[Expression]:
    """The outermost expressions of a node and its edges."""
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
            optional = (node.timeout_s, *node.input.values())
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
