"""What a WfSpec computes: Variables, outputs of nodes, and operators on them.

    total + item["quantity"] * item["price_cents"]      # add, multiply, a path
    (total > 0) & ~items.contains(item)                 # conditions: & | ~ instead of and, or, not

An Expr holds a tree of the core. The WfRun computes it, not Python: in the program it has no value, so `if total > 0:`
raises WrongOperand, a TypeError that says what to write.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from halter.workflow.arguments import WrongOperand, encodable, flag_of, text_of
from processors.core.records.spec import (
    Cast,
    Expression,
    Format,
    JsonPath,
    ListOf,
    Literal,
    Operation,
    Operator,
    OutputRef,
    VariableRef,
)
from processors.core.records.values import Timestamp, Value, VariableType
from processors.core.wf_spec.expression_forms import EXPRESSION_DEPTH_MAX
from processors.core.wf_spec.expression_parser import ExpressionTextProblem, parse_expression
from processors.core.wf_spec.json_document import DOCUMENT_BYTES_MAX

TYPES: Final[Mapping[Any, VariableType]] = {
    int: VariableType.INT,
    float: VariableType.DOUBLE,
    bool: VariableType.BOOL,
    str: VariableType.STR,
    bytes: VariableType.BYTES,
    dict: VariableType.JSON_OBJ,
    list: VariableType.JSON_ARR,
    datetime: VariableType.TIMESTAMP,
    Timestamp: VariableType.TIMESTAMP,
}
"""The types of Python that stand for types of Variables."""
Type: TypeAlias = type | VariableType
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
PARTS_MAX: Final = DOCUMENT_BYTES_MAX // 2
"""No document has room for more parts of an expression."""
TEXT_SHOWN: Final = 80
"""The most characters of a text that a sentence repeats."""
NO_VALUE: Final = (
    "an expression has no value in the program: the WfRun computes it. Write `with thread.if_(…):` or "
    "`with thread.while_(…):` for a decision, and & | ~ for and, or, not"
)


class Expr:
    """An expression of a WfSpec. Operators make larger ones.

    Each is a Variable, an Output or a Computed. None of these is a subclass of another: Python would let `b > a` stand
    for `a < b` where the class of b is a subclass of that of a.
    """

    __slots__ = ("tree",)

    def __init__(self, tree: Expression) -> None:
        self.tree = tree

    def __getitem__(self, step: str | int) -> "Expr":
        """Return the value at a key or an index: `item["price"]`, `items[0]`."""
        return Computed(_with_step(self.tree, step))

    def __add__(self, other: "Operand") -> "Expr":
        return add(self, other)

    def __radd__(self, other: "Operand") -> "Expr":
        return add(other, self)

    def __sub__(self, other: "Operand") -> "Expr":
        return _operation(Operator.SUBTRACT, self, other)

    def __rsub__(self, other: "Operand") -> "Expr":
        return _operation(Operator.SUBTRACT, other, self)

    def __mul__(self, other: "Operand") -> "Expr":
        return multiply(self, other)

    def __rmul__(self, other: "Operand") -> "Expr":
        return multiply(other, self)

    def __truediv__(self, other: "Operand") -> "Expr":
        """Divide. INT by INT drops the fraction, as everywhere in a WfSpec."""
        return _operation(Operator.DIVIDE, self, other)

    def __rtruediv__(self, other: "Operand") -> "Expr":
        return _operation(Operator.DIVIDE, other, self)

    def __neg__(self) -> "Expr":
        """Return 0 less the value, as the text `-total` does."""
        return _operation(Operator.SUBTRACT, 0, self)

    def __eq__(self, other: "Operand") -> "Expr":  # type: ignore[override]
        return _operation(Operator.EQ, self, other)

    def __ne__(self, other: "Operand") -> "Expr":  # type: ignore[override]
        return _operation(Operator.NE, self, other)

    def __lt__(self, other: "Operand") -> "Expr":
        return _operation(Operator.LT, self, other)

    def __le__(self, other: "Operand") -> "Expr":
        return _operation(Operator.LE, self, other)

    def __gt__(self, other: "Operand") -> "Expr":
        return _operation(Operator.GT, self, other)

    def __ge__(self, other: "Operand") -> "Expr":
        return _operation(Operator.GE, self, other)

    def __and__(self, other: "Operand") -> "Expr":
        return and_(self, other)

    def __rand__(self, other: "Operand") -> "Expr":
        return and_(other, self)

    def __or__(self, other: "Operand") -> "Expr":
        return or_(self, other)

    def __ror__(self, other: "Operand") -> "Expr":
        return or_(other, self)

    def __invert__(self) -> "Expr":
        return _operation(Operator.NOT, self)

    def contains(self, item: "Operand") -> "Expr":
        """Say whether a list has an item, a mapping a key, or a text a part."""
        return _operation(Operator.IN, item, self)

    def lacks(self, item: "Operand") -> "Expr":
        """Say the opposite of `contains`."""
        return _operation(Operator.NOT_IN, item, self)

    def size(self) -> "Expr":
        """Return the number of items, keys, characters or bytes."""
        return _operation(Operator.SIZE_OF, self)

    def cast(self, type_: Type) -> "Expr":
        """Return the value as another type."""
        return Computed(Cast(self.tree, type_of(type_)))

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> NoReturn:
        raise WrongOperand(NO_VALUE)

    def __iter__(self) -> Iterator[NoReturn]:
        raise WrongOperand(
            "an expression has no items in the program: `thread.start_threads(…, over=…)` starts one each"
        )

    def __contains__(self, _: object) -> NoReturn:
        raise WrongOperand("write `items.contains(item)`: `in` needs a value, and the WfRun computes it")

    if not TYPE_CHECKING:  # a type checker refuses these by itself, as long as it sees none of them

        def __len__(self):
            raise WrongOperand("an expression has no length in the program: write `items.size()`")

        def __index__(self):
            raise WrongOperand(
                "an expression is no number in the program: write `it.cast(int)` for another type, and "
                "`with thread.while_(…):` to do something so many times"
            )

        __int__ = __float__ = __index__

        def __setitem__(self, step, _):
            raise WrongOperand(f"an expression does not change in the program: write `thread.assign(it[{step!r}], …)`")

        def __floordiv__(self, _):
            raise WrongOperand("write `/`, which drops the fraction of INT by INT")

        def __mod__(self, _):
            raise WrongOperand("a WfSpec has no remainder")

        def __pow__(self, _):
            raise WrongOperand("an expression has no power: write `thread.pow(it, 2)`, which changes a Variable")

    def __str__(self) -> str:
        raise WrongOperand('an expression has no text in the program: write `format_("… {0}", it)` or `it.cast(str)`')

    def __format__(self, _: str) -> str:
        return str(self)

    def __repr__(self) -> str:
        from processors.core.wf_spec.writer import expression_document  # for people only

        return f"<{expression_document(self.tree)}>"


Operand: TypeAlias = "Expr | Value"
"""What an expression may be made of: an expression, or a value that stands for itself."""


class Computed(Expr):
    """What operators make. Raises WrongOperand if it is too deep or too large: its line is known here."""

    __slots__ = ()

    def __init__(self, tree: Expression) -> None:
        super().__init__(tree)
        levels, parts = _extent(tree, {})
        if levels > EXPRESSION_DEPTH_MAX or parts > PARTS_MAX:
            found = (
                f"at most {EXPRESSION_DEPTH_MAX} deep, found more"
                if levels > EXPRESSION_DEPTH_MAX
                else f"of at most {PARTS_MAX:,} parts, found {parts:,}"
            )
            raise WrongOperand(f"expected expressions {found}: assign a part of it to a Variable, and go on with that")


def _extent(tree: Expression, seen: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return the levels of expressions below this one, none of which was too deep itself, and its parts as written.

    A part may stand in many places, as in `x = x + x` again and again. It is looked at once.
    """
    match tree:
        case Format(args=inner) | Operation(operands=inner) | ListOf(items=inner):
            pass
        case Cast(operand=part):
            inner = (part,)
        case _:
            return 0, 1
    known = seen.get(id(tree))
    if known is None:
        below = [_extent(it, seen) for it in inner]
        levels = 1 + max((levels for levels, _ in below), default=0)
        known = seen[id(tree)] = levels, 1 + sum(parts for _, parts in below)
    return known


class Variable(Expr):
    """A Variable of a thread. It exists in the threads that `declare` it, and in all threads below those."""

    __slots__ = ("default", "masked", "name", "required", "searchable", "type")

    def __init__(
        self,
        name: str,
        type_: Type,
        *,
        default: Any = None,
        required: bool = False,
        masked: bool = False,
        searchable: bool = False,
    ) -> None:
        """`default` is a value of the type; tools hide a `masked` Variable; RunWf must give a `required` one.

        A view finds WfRuns quickly by a `searchable` one, of the entrypoint.
        """
        super().__init__(VariableRef(text_of("the name of a Variable", name)))
        self.name, self.type, self.default = name, type_of(type_), default
        self.required, self.masked = flag_of("required", required), flag_of("masked", masked)
        self.searchable = flag_of("searchable", searchable)
        default_of(self)

    if not TYPE_CHECKING:  # a type checker refuses it by itself: the sum is no Variable

        def __iadd__(self, _):
            """`total += 1` would give the name to another expression, and the WfRun would know nothing of it."""
            raise WrongOperand(f"a Variable changes in the WfRun: write `thread.add({self.name}, …)`, or subtract …")

        __isub__ = __imul__ = __itruediv__ = __iadd__


class Output(Expr):
    """The output of a node in its latest run. It names the node too, for `goto` and `on_failure`."""

    __slots__ = ("node",)

    def __init__(self, node: str) -> None:
        super().__init__(OutputRef(text_of("the name of a node", node)))
        self.node = node


def variable(name: str) -> Expr:
    """Refer to a Variable by its name alone."""
    return Computed(VariableRef(text_of("the name of a Variable", name)))


def output(node: str) -> Output:
    """Refer to the output of a node by its name alone, for one that is written further down."""
    return Output(node)


def literal(value: Value) -> Expr:
    """Return a value that stands for itself, as expression. Raises WrongOperand."""
    return Computed(Literal(_plain(value)))


def expr(text: str) -> Expr:
    """Return the expression that a text says: `expr("total + INPUT.quantity")`. Raises WrongOperand."""
    try:
        return Computed(parse_expression(text_of("an expression", text)).tree)
    except ExpressionTextProblem as problem:
        raise WrongOperand(f"{text[:TEXT_SHOWN]!r}: {problem}") from None


def list_(*items: Operand) -> Expr:
    """Return a list, as expression: `list_(a, b).contains(c)`. Elsewhere a list of Python does."""
    return Computed(tree_of(items))  # type: ignore[arg-type]


def format_(template: str, *args: Operand) -> Expr:
    """Return a text: `format_("Hello {0}", name)`. Only `{number}` is special."""
    return Computed(Format(text_of("template", template), tuple(tree_of(it) for it in args)))


def add(*operands: Operand) -> Expr:
    """Add two or more operands in one step, as `{add: [a, b, c]}`. `a + b + c` is two steps with the same result."""
    return _operation(Operator.ADD, *operands)


def multiply(*operands: Operand) -> Expr:
    """Multiply two or more operands in one step."""
    return _operation(Operator.MULTIPLY, *operands)


def and_(*operands: Operand) -> Expr:
    """Say whether all are true. Operands after the first that is false are not evaluated."""
    return _operation(Operator.AND, *operands)


def or_(*operands: Operand) -> Expr:
    """Say whether one is true. Operands after the first that is true are not evaluated."""
    return _operation(Operator.OR, *operands)


def type_of(type_: Type) -> VariableType:
    """Return the type of a Variable that a type of Python stands for. Raises WrongOperand."""
    if isinstance(type_, VariableType):
        return type_
    try:
        return TYPES[type_]
    except (KeyError, TypeError):
        known = ", ".join(dict.fromkeys(it.__name__ for it in TYPES))
        raise WrongOperand(f"expected a type of a Variable ({known}), found {type_!r}") from None


def default_of(declared: Variable) -> Value:
    """Return the default of a Variable as Value. Raises WrongOperand for what no Variable can hold."""
    default = declared.default
    if isinstance(default, datetime):
        if default.tzinfo is None:
            raise WrongOperand(f"default of {declared.name!r}: expected a datetime with a zone, found one without")
        return Timestamp((default - EPOCH) // timedelta(milliseconds=1))
    if isinstance(default, bytes | Timestamp):
        return default
    try:
        return _plain(default)
    except WrongOperand as error:
        raise WrongOperand(f"default of {declared.name!r}: {error}") from None


def tree_of(operand: Operand) -> Expression:
    """Return the tree of an operand. Raises WrongOperand for what no expression can be made of."""
    if isinstance(operand, Expr):
        return operand.tree
    if isinstance(operand, list | tuple):
        items = tuple(tree_of(it) for it in operand)
        if all(isinstance(it, Literal) for it in items):
            return Literal([it.value for it in items if isinstance(it, Literal)])
        return ListOf(items)
    return Literal(_plain(operand))


def _plain(value: object) -> Value:
    if isinstance(value, dict):
        if any(not isinstance(key, str) for key in value):
            raise WrongOperand("expected a mapping whose keys are text")
        return {encodable(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Expr):
        raise WrongOperand(
            "expected a mapping of values: an expression cannot stand inside a mapping; build it in a Variable: "
            '`thread.assign(order["cents"], cents)`'
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise WrongOperand(f"expected a number that JSON has, found {value}")
    if isinstance(value, str):
        return encodable(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    raise WrongOperand(
        f"expected an expression or a value of JSON, found {type(value).__name__}: give other values by a Variable"
    )


def _operation(operator: Operator, *operands: Operand) -> Expr:
    return Computed(Operation(operator, tuple(tree_of(it) for it in operands)))


def _with_step(tree: Expression, step: object) -> Expression:
    if isinstance(step, bool) or not isinstance(step, str | int):
        raise WrongOperand(f"expected a key (text) or an index (a number), found {type(step).__name__}")
    if isinstance(step, str):
        encodable(step)
    if isinstance(tree, VariableRef):
        return VariableRef(tree.name, _longer(tree.path, step))
    if isinstance(tree, OutputRef):
        return OutputRef(tree.node, _longer(tree.path, step))
    raise WrongOperand("expected a Variable or an output before [ ]: a WfSpec looks into nothing else")


def _longer(path: JsonPath | None, step: str | int) -> JsonPath:
    return JsonPath((*(() if path is None else path.steps), step))
