"""The builder that a thread function is given: each call writes down a node, an edge or a part of the ThreadSpec.

    def main(thread: Thread) -> None:
        thread.declare(total)
        thread.interrupt(item_added, add_item)
        thread.wait_for_event(checkout, timeout_s=3600)
        with thread.if_(total > 0):
            thread.task(charge_card, cents=total, retries=2)

Nodes follow each other as they are written. At the end of the function stands an EXIT, unless nothing leads there.
Mutations stand on the edge to whatever comes next.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, TypeAlias, TypeVar

from halter.workflow.arguments import (
    WrongOperand,
    backoff_of,
    flag_of,
    items_of,
    kind_of,
    mapping_of,
    number_of,
    text_of,
)
from halter.workflow.definitions import (
    ExternalEventRef,
    TaskRef,
    WorkflowEventRef,
    external_event_named,
    task_named,
    workflow_event_named,
)
from halter.workflow.drafts import EdgeDraft, NodeDraft, ThreadDraft, free_name
from halter.workflow.expressions import (
    Expr,
    Operand,
    Output,
    Type,
    Variable,
    default_of,
    tree_of,
    type_of,
)
from halter.workflow.places import Place, here
from processors.core.records.commands import DefinitionCommand
from processors.core.records.errors import HalterError
from processors.core.records.spec import (
    INPUT,
    TIMEOUT_S,
    AnyNode,
    Backoff,
    EntrypointNode,
    ExitNode,
    Expression,
    ExternalEventNode,
    FailureHandlerDef,
    InterruptDef,
    InterruptPolicy,
    Mutation,
    MutationOperator,
    NopNode,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThrowEventNode,
    VariableDef,
    VariableRef,
    WaitForConditionNode,
    WaitForThreadsNode,
    WaitStrategy,
)

ThreadFunction: TypeAlias = "Callable[[Thread], None]"
"""What writes down a ThreadSpec. Its name, with - for _, is that of the ThreadSpec."""
FailureHandlers: TypeAlias = (
    "ThreadFunction | Mapping[str, ThreadFunction] | Sequence[tuple[str | None, ThreadFunction]]"
)
"""One that catches everything; the name of a failure -> its handler; or such pairs. None catches everything."""
Function = TypeVar("Function", bound="Callable[[Thread], None]")
Given = ParamSpec("Given")
Choice = TypeVar("Choice", bound=StrEnum)
NOTHING_LEADS_HERE: Final = "nothing leads here: it comes behind an exit, a fail or a goto"


class MisplacedStatement(HalterError):
    """A thread function says something where it cannot be said. Whoever wrote the line moves it."""


def thread_name(name: str) -> Callable[[Function], Function]:
    """Give a thread function another name than its own: `@thread_name("add-item")`."""
    text = text_of("the name of a thread", name)

    def named(function: Function) -> Function:
        function.__dict__["halter_thread_name"] = text
        return function

    return named


@dataclass(slots=True)
class _Choice:
    """An if_ whose elif_ or else_ may follow: the node that decides, and the ends of the blocks so far."""

    node: NodeDraft
    ends: list[EdgeDraft] = field(default_factory=list)


@dataclass(slots=True)
class _Loop:
    """A while_: the node that decides, and the ways out by break_."""

    node: NodeDraft
    breaks: list[EdgeDraft] = field(default_factory=list)


class Block(AbstractContextManager[None]):
    """What `with` enters. Until then it stands among those that are forgotten: without `with` it would say nothing."""

    def __init__(self, inner: AbstractContextManager[None], forgotten: "list[Block]", what: str) -> None:
        self._inner, self._forgotten, self.what, self.place = inner, forgotten, what, here()
        forgotten.append(self)

    def __enter__(self) -> None:
        self._forgotten.remove(self)
        self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> bool | None:
        return self._inner.__exit__(kind, raised, at)


def _block(
    method: Callable[Concatenate["Thread", Given], Iterator[None]],
) -> Callable[Concatenate["Thread", Given], AbstractContextManager[None]]:
    """Make a statement of a method that writes what stands before its block, yields, and writes what stands behind."""
    made = contextmanager(method)

    @wraps(method)
    def statement(thread: "Thread", /, *args: Given.args, **kwargs: Given.kwargs) -> AbstractContextManager[None]:
        return Block(made(thread, *args, **kwargs), thread.forgotten, method.__name__)

    return statement


class Thread:
    """Writes down one ThreadSpec."""

    def __init__(
        self,
        draft: ThreadDraft,
        names: Callable[[ThreadFunction], str],
        define: Callable[[DefinitionCommand | None, Place], None],
    ) -> None:
        """`names` gives the name of the ThreadSpec that a function writes; `define` notes what has to be registered."""
        self._draft, self._names, self._define = draft, names, define
        self._open: list[EdgeDraft] = []
        """The ways that lead to whatever is written next."""
        self._choice: _Choice | None = None
        self._loops: list[_Loop] = []
        self.forgotten: list[Block] = []
        """Blocks that no `with` has entered: each is a mistake."""

    # Parts of the ThreadSpec.

    def declare(self, *variables: Variable) -> None:
        """Declare Variables: they exist while the thread does, for it and all threads below."""
        place = here()
        for it in variables:
            if not isinstance(it, Variable):
                raise WrongOperand(f"expected a Variable, found {kind_of(it)}")
            if it.name in self._draft.variables:
                raise MisplacedStatement(f"Variable {it.name!r} is declared twice in this thread")
            declared = VariableDef(it.name, it.type, default_of(it), it.required, it.masked, it.searchable)
            self._draft.variables[it.name] = (declared, place)

    def input(self, type_: Type, *, default: Any = None, required: bool = False, masked: bool = False) -> Variable:
        """Declare INPUT: what an interrupt brings, the content of a failure, or an item of `start_threads`."""
        found = Variable(INPUT, type_of(type_), default=default, required=required, masked=masked)
        self.declare(found)
        return found

    def interrupt(
        self,
        event: ExternalEventRef,
        handler: ThreadFunction,
        *,
        policy: InterruptPolicy | str = InterruptPolicy.PARALLEL,
        halt: bool = True,
        preemptive: bool = False,
    ) -> None:
        """Let an ExternalEvent interrupt the thread: it halts, the handler runs below it, and it resumes."""
        place = here()
        definition = InterruptDef(
            self._event(event, place),
            self._names(handler),
            _one_of(InterruptPolicy, policy),
            flag_of("halt", halt),
            flag_of("preemptive", preemptive),
        )
        self._draft.interrupts.append((definition, place))

    def on_failure(self, node: Output | str, handler: ThreadFunction, *, catch: str | None = None) -> None:
        """Let a handler take failures of a node: those named `catch`, ERROR, EXCEPTION, or any."""
        place, name = here(), _node_name(node)
        if name not in self._draft.nodes:
            raise MisplacedStatement(f"expected a node that is written above, found {name!r}")
        found = FailureHandlerDef(_catch(catch), self._names(handler))
        self._draft.nodes[name].failure_handlers.append((found, place))

    # Nodes.

    def entrypoint(self, name: str = "start") -> Output:
        """Name the ENTRYPOINT, before any other node. Without this call it is `start`."""
        place = here()
        if self._draft.nodes:
            raise MisplacedStatement("expected the entrypoint before all other nodes")
        return self._add(EntrypointNode(name=text_of("name", name)), place)

    def task(
        self,
        task: TaskRef,
        given: Mapping[str, Operand] | None = None,
        /,
        *,
        timeout_s: "Operand | None" = None,
        queue_timeout_s: "Operand | None" = None,
        run_timeout_s: "Operand | None" = None,
        retries: int = 0,
        backoff: Backoff | None = None,
        name: str | None = None,
        **inputs: Operand,
    ) -> Output:
        """Let a task worker do a task. Inputs are given by name, or in a mapping.

        An attempt has `timeout_s` seconds from its request (60), or `queue_timeout_s` until it starts (300) and
        `run_timeout_s` from there (60).
        """
        place = here()
        task_def, command = task_named(task)
        self._define(command, place)
        if timeout_s is not None and (queue_timeout_s is not None or run_timeout_s is not None):
            raise MisplacedStatement("expected timeout_s, or queue_timeout_s and run_timeout_s, found both")
        node = TaskNode(
            name=self._node_name(name, task_def),
            task_def=task_def,
            input=_trees(given, inputs),
            timeout_s=tree_of(TIMEOUT_S if timeout_s is None else timeout_s),
            queue_timeout_s=_optional(queue_timeout_s),
            run_timeout_s=_optional(run_timeout_s),
            retries=number_of("retries", retries),
            backoff=backoff_of(backoff),
        )
        return self._add(node, place)

    def wait_for_event(
        self, event: ExternalEventRef, *, timeout_s: "Operand | None" = None, name: str | None = None
    ) -> Output:
        """Wait for an ExternalEvent; its content is the output. After `timeout_s` seconds the node fails: TIMEOUT."""
        place = here()
        event_name = self._event(event, place)
        node = ExternalEventNode(
            name=self._node_name(name, event_name),
            external_event_def=event_name,
            timeout_s=_optional(timeout_s),
        )
        return self._add(node, place)

    def sleep(self, seconds: Operand, *, name: str | None = None) -> Output:
        """Wait so many seconds."""
        return self._add(SleepNode(name=self._node_name(name, "sleep"), seconds=tree_of(seconds)), here())

    def sleep_until(self, moment: Operand, *, name: str | None = None) -> Output:
        """Wait until a TIMESTAMP, or milliseconds since 1970."""
        return self._add(SleepNode(name=self._node_name(name, "sleep"), until_ms=tree_of(moment)), here())

    def sleep_until_iso(self, moment: Operand, *, name: str | None = None) -> Output:
        """Wait until a time that is text of ISO 8601."""
        return self._add(SleepNode(name=self._node_name(name, "sleep"), until_iso=tree_of(moment)), here())

    def start_thread(
        self,
        thread: ThreadFunction,
        given: Mapping[str, Operand] | None = None,
        /,
        *,
        name: str | None = None,
        **inputs: Operand,
    ) -> Output:
        """Start a child, and go on. Inputs are values of its Variables. The output is the child's number."""
        started = self._names(thread)
        node = StartThreadNode(
            name=self._node_name(name, f"start-{started}"),
            thread=started,
            input=_trees(given, inputs),
        )
        return self._add(node, here())

    def start_threads(
        self,
        thread: ThreadFunction,
        given: Mapping[str, Operand] | None = None,
        /,
        *,
        over: Operand,
        name: str | None = None,
        **inputs: Operand,
    ) -> Output:
        """Start a child for each item of a list, which is its INPUT. The output is the list of their numbers."""
        started = self._names(thread)
        node = StartMultipleThreadsNode(
            name=self._node_name(name, f"start-{started}"),
            thread=started,
            over=tree_of(over),
            input=_trees(given, inputs),
        )
        return self._add(node, here())

    def wait_for_threads(
        self,
        threads: "Operand | Sequence[Operand]",
        *,
        strategy: WaitStrategy | str = WaitStrategy.ALL,
        on_child_failure: FailureHandlers = (),
        name: str | None = None,
    ) -> Output:
        """Wait for threads: a list of outputs of `start_thread`, or the output of `start_threads`."""
        node = WaitForThreadsNode(
            name=self._node_name(name, "wait-for-threads"),
            threads=tree_of(threads),  # type: ignore[arg-type]
            strategy=_one_of(WaitStrategy, strategy),
            on_child_failure=tuple(
                FailureHandlerDef(_catch(it), self._names(one)) for it, one in _pairs(on_child_failure)
            ),
        )
        return self._add(node, here())

    def wait_until(self, condition: Operand, *, name: str | None = None) -> Output:
        """Wait until Variables make a condition true."""
        node = WaitForConditionNode(name=self._node_name(name, "wait-until"), condition=tree_of(condition))
        return self._add(node, here())

    def throw(self, event: WorkflowEventRef, content: Operand = None, *, name: str | None = None) -> Output:
        """Write a WorkflowEvent to the log, for consumers outside."""
        place = here()
        event_name, command = workflow_event_named(event)
        self._define(command, place)
        node = ThrowEventNode(
            name=self._node_name(name, f"throw-{event_name}"), workflow_event_def=event_name, content=tree_of(content)
        )
        return self._add(node, place)

    def nop(self, name: str | None = None) -> Output:
        """Write a node that does nothing: a place to `goto`."""
        return self._add(NopNode(name=self._node_name(name, "nop")), here())

    def exit(self, returns: "Operand | None" = None, *, name: str | None = None) -> Output:
        """End the thread. An expression in `returns` is its result."""
        node = ExitNode(name=self._node_name(name, "exit"), returns=_optional(returns))
        return self._add(node, here(), ends=True)

    def fail(
        self,
        failure: str,
        message: "Operand | None" = None,
        content: "Operand | None" = None,
        *,
        name: str | None = None,
    ) -> Output:
        """End the thread with a failure of this name, which handlers may catch."""
        node = ExitNode(
            name=self._node_name(name, text_of("failure", failure)),
            failure_name=failure,
            failure_message=_optional(message),
            failure_content=_optional(content),
        )
        return self._add(node, here(), ends=True)

    # Mutations.

    def assign(self, variable: Expr, value: Operand) -> None:
        """Give a Variable a value, or the place in it that a path leads to: `assign(address["street"], …)`."""
        self._mutate(MutationOperator.ASSIGN, variable, value)

    def add(self, variable: Expr, value: Operand) -> None:
        """Add a value to a Variable."""
        self._mutate(MutationOperator.ADD, variable, value)

    def subtract(self, variable: Expr, value: Operand) -> None:
        """Subtract a value from a Variable."""
        self._mutate(MutationOperator.SUBTRACT, variable, value)

    def multiply(self, variable: Expr, value: Operand) -> None:
        """Multiply a Variable by a value."""
        self._mutate(MutationOperator.MULTIPLY, variable, value)

    def divide(self, variable: Expr, value: Operand) -> None:
        """Divide a Variable by a value."""
        self._mutate(MutationOperator.DIVIDE, variable, value)

    def pow(self, variable: Expr, value: Operand) -> None:
        """Raise a Variable to a power."""
        self._mutate(MutationOperator.POW, variable, value)

    def extend(self, variable: Expr, value: Operand) -> None:
        """Add one more item to a list, or join a text."""
        self._mutate(MutationOperator.EXTEND, variable, value)

    def and_(self, variable: Expr, value: Operand) -> None:
        """Make a Variable true if it and the value are."""
        self._mutate(MutationOperator.AND, variable, value)

    def or_(self, variable: Expr, value: Operand) -> None:
        """Make a Variable true if it or the value is."""
        self._mutate(MutationOperator.OR, variable, value)

    def remove_if_present(self, variable: Expr, value: Operand) -> None:
        """Take the items that equal a value out of a list."""
        self._mutate(MutationOperator.REMOVE_IF_PRESENT, variable, value)

    def remove_index(self, variable: Expr, index: Operand) -> None:
        """Take the item at an index, which must exist, out of a list."""
        self._mutate(MutationOperator.REMOVE_INDEX, variable, index)

    def remove_key(self, variable: Expr, key: Operand) -> None:
        """Take a key out of a mapping, if it is there."""
        self._mutate(MutationOperator.REMOVE_KEY, variable, key)

    def _mutate(self, operator: MutationOperator, variable: Expr, value: Operand) -> None:
        place, target, tree = here(), _variable(variable), tree_of(value)
        self._begin(place)
        if not self._open:
            raise MisplacedStatement(NOTHING_LEADS_HERE)
        for edge in self._open:
            edge.mutations.append((Mutation(target.name, operator, tree, target.path), place))

    # Ways.

    @_block
    def if_(self, condition: Operand) -> Iterator[None]:
        """Write what is done if a condition holds."""
        place, tree = here(), tree_of(condition)
        edge = self._one_plain_way(place)
        edge.when, edge.place = tree, place
        with self._block(_Choice(edge.node), edge):
            yield

    @_block
    def elif_(self, condition: Operand) -> Iterator[None]:
        """Write what is done if this condition holds and none above it."""
        place, tree = here(), tree_of(condition)
        choice = self._chosen("elif_")
        with self._block(choice, choice.node.way(place, tree)):
            yield

    @_block
    def else_(self) -> Iterator[None]:
        """Write what is done if no condition above holds."""
        place = here()
        choice = self._chosen("else_")
        with self._block(choice, choice.node.way(place)):
            yield
        self._choice, self._open = None, choice.ends

    def or_fail(self) -> None:
        """Say that one of the conditions above must hold: else the node fails, with VAR_SUB_ERROR."""
        choice = self._chosen("or_fail")
        self._choice, self._open = None, choice.ends

    @_block
    def while_(self, condition: Operand) -> Iterator[None]:
        """Write what is done again and again, as long as a condition holds before each round."""
        place, tree = here(), tree_of(condition)
        self._begin(place)
        head = self._node(NopNode(name=self._node_name(None, "while")), place)
        head.edges[0].when = tree
        loop = _Loop(head)
        self._loops.append(loop)
        yield
        self._settle(place)
        self._back_to(loop, place)
        self._loops.pop()
        self._open = [*loop.breaks, head.way(place)]

    def break_(self) -> None:
        """Leave the innermost while_."""
        place = here()
        loop = self._loop("break_")
        self._begin(place)
        loop.breaks += self._open
        self._open = []

    def continue_(self) -> None:
        """Go to the next round of the innermost while_."""
        place = here()
        loop = self._loop("continue_")
        self._begin(place)
        self._back_to(loop, place)

    def goto(self, node: Output | str) -> None:
        """Go on at another node of this thread, by its name or its output. It may be written further down."""
        place = here()
        self._begin(place)
        if not self._open:
            raise MisplacedStatement(NOTHING_LEADS_HERE)
        for edge in self._open:
            edge.to, edge.place = _node_name(node), place
        self._open = []

    def _back_to(self, loop: _Loop, place: Place) -> None:
        if any(edge.node is loop.node for edge in self._open):  # an edge may not point to its own node
            self._node(NopNode(name=self._node_name(None, "again")), place)
        for edge in self._open:
            edge.to = loop.node.node.name
        self._open = []

    def _loop(self, what: str) -> _Loop:
        if not self._loops:
            raise MisplacedStatement(f"expected {what} inside of a while_")
        return self._loops[-1]

    @contextmanager
    def _block(self, choice: _Choice, edge: EdgeDraft) -> Iterator[None]:
        self._choice, self._open = None, [edge]
        yield
        self._settle(edge.place)
        choice.ends += self._open
        self._choice, self._open = choice, []

    def _chosen(self, what: str) -> _Choice:
        if self._choice is None:
            raise MisplacedStatement(f"expected {what} directly behind the block of an if_ or elif_")
        return self._choice

    def _settle(self, place: Place) -> None:
        """End a choice that has no else_: if no condition holds, the thread goes on behind it."""
        if self._choice is not None:
            self._open = [*self._choice.ends, self._choice.node.way(place)]
            self._choice = None

    def _begin(self, place: Place) -> None:
        """Make sure that there is an ENTRYPOINT, and end an open choice."""
        self._settle(place)
        if not self._draft.nodes:
            self._node(EntrypointNode(name="start"), place)

    def _one_plain_way(self, place: Place) -> EdgeDraft:
        """Return the only way here, on which a condition may stand; with a NOP before it if there is none such."""
        self._begin(place)
        if not self._open:
            raise MisplacedStatement(NOTHING_LEADS_HERE)
        if len(self._open) > 1 or not self._open[0].is_plain:
            self._node(NopNode(name=self._node_name(None, "if")), place)
        return self._open[0]

    # Writing a node.

    def _add(self, node: AnyNode, place: Place, *, ends: bool = False) -> Output:
        if not isinstance(node, EntrypointNode):
            self._begin(place)
        self._node(node, place)
        if ends:
            self._draft.nodes[node.name].edges.clear()
            self._open = []
        return Output(node.name)

    def _node(self, node: AnyNode, place: Place) -> NodeDraft:
        self._settle(place)
        if node.name in self._draft.nodes:
            raise MisplacedStatement(
                f"two nodes are named {node.name!r}: {self._draft.nodes[node.name].place} is the other"
            )
        made = self._draft.nodes[node.name] = NodeDraft(node, place)
        for edge in self._open:
            edge.to = node.name
        self._open = [made.way(place)]
        return made

    def _node_name(self, given: str | None, otherwise: str) -> str:
        if isinstance(given, Expr):
            raise WrongOperand('expected a name for the node, found an expression: give inputs as {"name": …}')
        return free_name(otherwise, self._draft.nodes or ("start",)) if given is None else text_of("name", given)

    def _event(self, event: ExternalEventRef, place: Place) -> str:
        name, command = external_event_named(event)
        self._define(command, place)
        return name

    def end(self, place: Place, returned: object = None) -> None:
        """End the ThreadSpec, with an EXIT if anything leads there. `Workflow` calls it.

        Raises MisplacedStatement if the function returned something that would be lost.
        """
        self._begin(place)
        if self._open:
            if returned is not None:
                what = f"expected a thread function that returns nothing, found {kind_of(returned)}"
                raise MisplacedStatement(f"{what}: `thread.exit(value)` makes a value the output of the thread")
            self._add(ExitNode(name=self._node_name(None, "exit")), place, ends=True)


def _trees(given: Mapping[str, Operand] | None, inputs: Mapping[str, Operand]) -> dict[str, Expression]:
    both = inputs if given is None else {**mapping_of("inputs", given), **inputs}
    return {name: tree_of(it) for name, it in both.items()}


def _optional(operand: "Operand | None") -> Expression | None:
    return None if operand is None else tree_of(operand)


def _pairs(handlers: FailureHandlers) -> Iterator[tuple[str | None, ThreadFunction]]:
    if isinstance(handlers, Mapping):
        yield from handlers.items()
    elif callable(handlers):
        yield None, handlers
    else:
        for it in items_of("on_child_failure", handlers):
            if not isinstance(it, list | tuple) or len(it) != 2:
                raise WrongOperand(f"on_child_failure: expected pairs of a name and a handler, found {it!r}")
            yield it[0], it[1]


def _catch(given: str | None) -> str | None:
    return None if given is None else text_of("catch", given)


def _one_of(kind: type[Choice], given: str) -> Choice:
    try:
        return kind(given)
    except ValueError:
        raise WrongOperand(f"expected one of {', '.join(kind)}, found {given!r}") from None


def _node_name(node: Output | str) -> str:
    if isinstance(node, Output):
        return node.node
    if isinstance(node, str):
        return node
    raise WrongOperand(f"expected a node, by its name or its output, found {kind_of(node)}")


def _variable(target: object) -> VariableRef:
    if isinstance(target, Expr) and isinstance(target.tree, VariableRef):
        return target.tree
    raise WrongOperand(f"expected a Variable, or a place in one, found {target!r}")
