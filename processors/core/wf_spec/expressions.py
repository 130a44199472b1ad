"""Computes the value of an expression, and the new value that a mutation gives a Variable.

Knows values and the grammar of `spec`. The caller knows where Variables and node outputs are kept, and gives access by
a `Scope`. Whatever a WfSpec or a payload contains, the answer is a value or a ValueProblem, never another exception. No
given value is changed: a mutation copies what it changes, along the JSON path and nothing else.

Work is counted in steps. The scope is told of it, and ends it where it is too much (Limits).

LittleHorse leaves some cases open, which we decide: INT divided by INT drops the fraction (toward zero, as in Java);
AND and OR stop at the first operand that decides; a path that leads nowhere is a problem when it is read; EQ of two
types is false, except that INT and DOUBLE compare as numbers, also inside JSON.
"""

import math
import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol

from processors.core.records.spec import (
    Cast,
    Expression,
    Format,
    JsonPath,
    ListOf,
    Literal,
    Mutation,
    MutationOperator,
    Operation,
    Operator,
    OutputRef,
    VariableRef,
)
from processors.core.records.values import (
    CHARACTERS_PER_STEP,
    VALUE_BYTES_MAX,
    Timestamp,
    Value,
    ValueProblem,
    VariableType,
    assigned,
    bounded,
    cast,
    checked_int,
    describe,
    kind_of,
    size_of,
    to_text,
    type_of,
    weighed,
)


class Scope(Protocol):
    """The Variables and outputs that an expression may refer to: those of one thread and of the threads above it."""

    def variable(self, name: str) -> Value:
        """Return the value of a Variable; raises ValueProblem if none of that name is in scope."""
        ...

    def output(self, node: str) -> Value:
        """Return the output of the most recent run of a node in this thread; raises ValueProblem if it has not run."""
        ...

    def spend(self, steps: int) -> None:
        """Count work that is done; raises TooMuchWork if it is more than a command may do."""
        ...


def evaluate(expression: Expression, scope: Scope) -> Value:
    """Return the value of an expression; raises ValueProblem."""
    return _EVALUATORS[type(expression)](expression, scope)


# (rule condition-is-bool)
def condition(expression: Expression, scope: Scope) -> bool:
    """Return the value of a condition, a BOOL; raises ValueProblem for anything else, null included."""
    scope.spend(1)
    value = evaluate(expression, scope)
    if value is True or value is False:
        return value
    expected = "expected a condition to be BOOL, found"
    raise ValueProblem(f"{expected} {describe(value)}", f"{expected} {kind_of(value)}")


def mutate(old: Value, mutation: Mutation, declared: VariableType, scope: Scope) -> Value:
    """Return the Variable's new value, of its declared type; raises ValueProblem. The old value is not changed.

    With a JSON path the value at that path changes and keeps its type; a key that is not there yet is added.
    """
    operand = evaluate(mutation.value, scope)
    path = mutation.path
    if path is None or not path.steps:
        new = _operated(old, mutation.operator, operand)
        if mutation.operator in _SHRINKING:
            scope.spend(1 + size_of(old) // 8)
        elif mutation.operator is MutationOperator.ASSIGN or type(new) not in _SIZED:
            scope.spend(1)
        else:
            scope.spend(1 + weighed(new))
        return assigned(new, declared)
    new = _changed_at(old, path, 0, mutation.operator, operand)
    scope.spend(1 + weighed(new) + _weight(operand))
    return new


# (rule path-leads-somewhere)
def follow(value: Value, path: JsonPath) -> Value:
    """Return the value that a JSON path leads to; raises ValueProblem if a key or an index is not there."""
    for depth, step in enumerate(path.steps):
        try:
            value = _container(value, path, depth)[step]
        except LookupError:
            raise ValueProblem(_nowhere(path, depth, value)) from None
    return value


# (rule equal-by-type-and-value)
def equal(left: Value, right: Value) -> bool:
    """Return True if two values are the same: by type and value, INT and DOUBLE by value, JSON by its parts."""
    return _compared(left, right) > 0


def _compared(left: Value, right: Value) -> int:
    """Compare two values; return the number of steps that it took, negative if they are not the same."""
    pairs, steps = [(left, right)], 0
    while pairs:
        one, other = pairs.pop()
        steps += 1
        kind = type(one)
        if kind is not type(other):
            # Python's own == will not do: for it True is 1.
            if not (kind in _NUMBERS and type(other) in _NUMBERS and one == other):
                return -steps
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return -steps
            pairs.extend(zip(one, other, strict=True))
        elif isinstance(one, dict) and isinstance(other, dict):
            steps += len(one)
            if one.keys() != other.keys():
                return -steps
            pairs.extend((item, other[key]) for key, item in one.items())
        else:
            if isinstance(one, str | bytes):
                steps += len(one) // CHARACTERS_PER_STEP
            if one != other:
                return -steps
    return steps


def _literal(expression: Literal, scope: Scope) -> Value:  # noqa: ARG001  all evaluators are called alike
    return expression.value


def _variable(expression: VariableRef, scope: Scope) -> Value:
    value = scope.variable(expression.name)
    return value if expression.path is None else follow(value, expression.path)


def _output(expression: OutputRef, scope: Scope) -> Value:
    value = scope.output(expression.node)
    return value if expression.path is None else follow(value, expression.path)


def _format(expression: Format, scope: Scope) -> Value:
    args = [to_text(evaluate(arg, scope)) for arg in expression.args]
    parts, length = [], 0
    for part in template_parts(expression.template):
        if isinstance(part, int) and part >= len(args):
            raise ValueProblem(f"format {expression.template!r} has {len(args)} args")
        text = args[part] if isinstance(part, int) else part
        parts.append(text)
        length += len(text)
        if length > VALUE_BYTES_MAX:  # before it is joined, as a small template may name a large argument often
            raise ValueProblem(f"a format of more than {VALUE_BYTES_MAX} bytes")
    scope.spend(1 + len(parts) + sum(len(arg) // CHARACTERS_PER_STEP for arg in args) + length // CHARACTERS_PER_STEP)
    return bounded("".join(parts))


def _list(expression: ListOf, scope: Scope) -> Value:
    value: Value = [_json_item(evaluate(item, scope)) for item in expression.items]
    scope.spend(1 + weighed(value))
    return value


def _cast(expression: Cast, scope: Scope) -> Value:
    operand = evaluate(expression.operand, scope)
    value = cast(operand, expression.target)
    scope.spend(1 + weighed(value) + _weight(operand))
    return value


# (rule logic-stops-early)
def _operation(expression: Operation, scope: Scope) -> Value:
    operands = expression.operands
    scope.spend(len(operands))
    decides = _DECIDING.get(expression.operator)
    if decides is not None:
        for operand in operands:
            if _bool(evaluate(operand, scope), expression.operator) is decides:
                return decides
        return not decides
    value = evaluate(operands[0], scope)
    unary = _UNARY.get(expression.operator)
    if unary is not None:
        return unary(value)
    compares = _COMPARING.get(expression.operator)
    if compares is not None:
        for operand in operands[1:]:
            steps = compares(value, evaluate(operand, scope))
            scope.spend(abs(steps))
            value = steps > 0
        return value
    binary = _BINARY[expression.operator]
    for operand in operands[1:]:
        other = evaluate(operand, scope)
        if type(value) in _SIZED or type(other) in _SIZED:
            scope.spend(_weight(value) + _weight(other))
        value = binary(value, other)
    return value


_EVALUATORS: Final[dict[type, Callable[[Any, Scope], Value]]] = {
    Literal: _literal,
    VariableRef: _variable,
    OutputRef: _output,
    Format: _format,
    ListOf: _list,
    Cast: _cast,
    Operation: _operation,
}

_PLACEHOLDER: Final = re.compile(r"\{([0-9]{1,4})\}")


@lru_cache(maxsize=4096)
def template_parts(template: str) -> tuple[str | int, ...]:
    """Return the pieces of a format: text, and numbers of args. Only `{number}` is special."""
    parts = _PLACEHOLDER.split(template)
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts) if index % 2 or part)


_NUMBERS: Final = frozenset({int, float})
_SIZED: Final = frozenset({str, bytes, list, dict})


def _weight(value: Value) -> int:
    """Return the number of steps that it takes to copy a value, or to go through its text."""
    if isinstance(value, str | bytes):
        return len(value) // CHARACTERS_PER_STEP
    return len(value) if isinstance(value, list | dict) else 0


def _bool(value: Value, name: str) -> bool:
    if value is True or value is False:
        return value
    raise _unfit(name, "BOOL", value)


def _finite(value: Any) -> float:
    number: float = value
    if not math.isfinite(number):
        raise ValueProblem(f"the result {number} is not a finite DOUBLE")
    return number


def _unfit(name: str, wanted: str, *found: Value) -> ValueProblem:
    return ValueProblem(
        f"{name} expected {wanted}, found {' and '.join(map(describe, found))}",
        f"{name} expected {wanted}, found {' and '.join(map(kind_of, found))}",
    )


# (rule null-is-no-operand)
def _numeric(left: Value, right: Value) -> bool:
    return type(left) in _NUMBERS and type(right) in _NUMBERS


def _add(left: Value, right: Value, name: str = "add") -> Value:
    if type(left) is int and type(right) is int:
        return checked_int(left + right)
    if _numeric(left, right):
        return _finite(left + right)  # type: ignore[operator]
    if isinstance(left, str) and isinstance(right, str | int | float | Timestamp):
        return bounded(left + to_text(right))
    if isinstance(left, bytes) and isinstance(right, bytes):
        return bounded(left + right)
    if isinstance(left, Timestamp) and type(right) is int:
        return Timestamp(checked_int(left.epoch_ms + right))
    raise _unfit(name, "numbers, STR and a primitive, BYTES, or TIMESTAMP and INT", left, right)


def _subtract(left: Value, right: Value) -> Value:
    if type(left) is int and type(right) is int:
        return checked_int(left - right)
    if _numeric(left, right):
        return _finite(left - right)  # type: ignore[operator]
    if isinstance(left, Timestamp):
        if isinstance(right, Timestamp):
            return checked_int(left.epoch_ms - right.epoch_ms)
        if type(right) is int:
            return Timestamp(checked_int(left.epoch_ms - right))
    raise _unfit("subtract", "numbers, or TIMESTAMP and INT or TIMESTAMP", left, right)


def _multiply(left: Value, right: Value) -> Value:
    if type(left) is int and type(right) is int:
        return checked_int(left * right)
    if _numeric(left, right):
        return _finite(left * right)  # type: ignore[operator]
    raise _unfit("multiply", "numbers", left, right)


# (rule int-division-drops-fraction)
def _divide(left: Value, right: Value) -> Value:
    if not _numeric(left, right):
        raise _unfit("divide", "numbers", left, right)
    if right == 0:
        raise ValueProblem(f"division of {describe(left)} by zero")
    if type(left) is int and type(right) is int:
        quotient = abs(left) // abs(right)
        return checked_int(quotient if (left < 0) == (right < 0) else -quotient)
    return _dividing(operator.truediv, left, right)


def _power(left: Value, right: Value) -> Value:
    if not _numeric(left, right):
        raise _unfit("POW", "numbers", left, right)
    if type(left) is int and type(right) is int:
        if right < 0:
            raise ValueProblem(f"POW expected an exponent of at least 0 for an INT, found {right}")
        # 2^64 is out of range already. Look before computing a number of a billion digits.
        if abs(left) > 1 and right > 64:
            raise ValueProblem(f"{left} to the power of {right} does not fit into a 64-bit INT")
        return checked_int(left**right)
    return _dividing(operator.pow, left, right)


def _dividing(function: Callable[[Any, Any], Any], left: Value, right: Value) -> float:
    try:
        result = function(left, right)
    except (OverflowError, ZeroDivisionError):
        result = math.inf
    if isinstance(result, complex):
        raise ValueProblem(f"POW of {describe(left)} and {describe(right)} is not a real number")
    return _finite(result)


def _comparison(name: str, compare: Callable[[Any, Any], bool]) -> Callable[[Value, Value], bool]:
    def compared(left: Value, right: Value) -> bool:
        kind = type(left)
        if (kind is type(right) and kind in _ORDERED) or _numeric(left, right):
            return compare(left, right)
        raise _unfit(name, "two numbers, two STR or two TIMESTAMP", left, right)

    return compared


_ORDERED: Final = frozenset({int, float, str, Timestamp})


def _found(item: Value, container: Value) -> int:
    """Look for an item; return the number of steps that it took, negative if it is not there."""
    steps = 1
    match container:
        case None:
            return -steps
        case list():
            for member in container:
                compared = _compared(item, member)
                steps += abs(compared)
                if compared > 0:
                    return steps
            return -steps
        case dict() if isinstance(item, str):
            return steps if item in container else -steps
        case str() if isinstance(item, str):
            steps += len(container) // CHARACTERS_PER_STEP
            return steps if item in container else -steps
        case _:
            raise _unfit("in", "an item and a JSON_ARR, or STR and a JSON_OBJ or STR", item, container)


def _not(value: Value) -> bool:
    return not _bool(value, "not")


def _size_of(value: Value) -> int:
    if isinstance(value, str | bytes | list | dict):
        return len(value)
    raise _unfit("size_of", "JSON_ARR, JSON_OBJ, STR or BYTES", value)


_DECIDING: Final[dict[Operator, bool]] = {Operator.AND: False, Operator.OR: True}
_UNARY: Final[dict[Operator, Callable[[Value], Value]]] = {Operator.NOT: _not, Operator.SIZE_OF: _size_of}
_COMPARING: Final[dict[Operator, Callable[[Value, Value], int]]] = {
    Operator.EQ: _compared,
    Operator.NE: lambda left, right: -_compared(left, right),
    Operator.IN: _found,
    Operator.NOT_IN: lambda left, right: -_found(left, right),
}
"""Operators whose functions return the number of steps that they took, positive for true and negative for false."""
_BINARY: Final[dict[Operator, Callable[[Value, Value], Value]]] = {
    Operator.LT: _comparison("lt", operator.lt),
    Operator.LE: _comparison("le", operator.le),
    Operator.GT: _comparison("gt", operator.gt),
    Operator.GE: _comparison("ge", operator.ge),
    Operator.ADD: _add,
    Operator.SUBTRACT: _subtract,
    Operator.MULTIPLY: _multiply,
    Operator.DIVIDE: _divide,
}


def _operated(old: Value, mutation_operator: MutationOperator, operand: Value) -> Value:
    return _MUTATORS[mutation_operator](old, operand)


def _extend(old: Value, operand: Value) -> Value:
    if isinstance(old, list):
        return [*old, _json_item(operand)]
    if isinstance(old, str | bytes):
        return _add(old, operand, "EXTEND")
    raise _unfit("EXTEND", "a JSON_ARR and an item, or STR and a primitive", old, operand)


def _and(old: Value, operand: Value) -> Value:
    return _bool(old, "AND") and _bool(operand, "AND")


def _or(old: Value, operand: Value) -> Value:
    return _bool(old, "OR") or _bool(operand, "OR")


def _remove_if_present(old: Value, operand: Value) -> Value:
    if not isinstance(old, list):
        raise _unfit("REMOVE_IF_PRESENT", "a JSON_ARR", old)
    return [item for item in old if not equal(item, operand)]


def _remove_index(old: Value, operand: Value) -> Value:
    if not isinstance(old, list) or type(operand) is not int:
        raise _unfit("REMOVE_INDEX", "a JSON_ARR and an INT", old, operand)
    if not 0 <= operand < len(old):
        raise ValueProblem(f"REMOVE_INDEX expected an index below {len(old)}, found {operand}")
    return old[:operand] + old[operand + 1 :]


def _remove_key(old: Value, operand: Value) -> Value:
    if not isinstance(old, dict) or not isinstance(operand, str):
        raise _unfit("REMOVE_KEY", "a JSON_OBJ and a STR", old, operand)
    return {key: item for key, item in old.items() if key != operand}


_MUTATORS: Final[dict[MutationOperator, Callable[[Value, Value], Value]]] = {
    MutationOperator.ASSIGN: lambda _old, operand: operand,
    MutationOperator.ADD: _add,
    MutationOperator.EXTEND: _extend,
    MutationOperator.SUBTRACT: _subtract,
    MutationOperator.MULTIPLY: _multiply,
    MutationOperator.DIVIDE: _divide,
    MutationOperator.POW: _power,
    MutationOperator.AND: _and,
    MutationOperator.OR: _or,
    MutationOperator.REMOVE_IF_PRESENT: _remove_if_present,
    MutationOperator.REMOVE_INDEX: _remove_index,
    MutationOperator.REMOVE_KEY: _remove_key,
}

_REMOVING: Final = frozenset({MutationOperator.REMOVE_IF_PRESENT, MutationOperator.REMOVE_KEY})
_SHRINKING: Final = _REMOVING | {MutationOperator.REMOVE_INDEX}


# (rule mutation-at-a-path)
def _changed_at(old: Value, path: JsonPath, depth: int, mutation_operator: MutationOperator, operand: Value) -> Value:
    """Return a copy of `old`, the value at `depth` of the path, with a new value at the end of the path."""
    if depth == len(path.steps):
        new = _operated(old, mutation_operator, operand)
        kind = type_of(old)
        return _json_item(new if kind is None else assigned(new, kind))
    container, step = _container(old, path, depth), path.steps[depth]
    absent = isinstance(container, dict) and step not in container
    if absent and depth + 1 == len(path.steps):
        if mutation_operator in _REMOVING:
            return old  # nothing is there to be removed from
        if mutation_operator is not MutationOperator.REMOVE_INDEX:
            return {**container, step: _json_item(operand)}
    try:
        inner = container[step]
    except LookupError:
        raise ValueProblem(_nowhere(path, depth, old)) from None
    copy = container.copy()
    copy[step] = _changed_at(inner, path, depth + 1, mutation_operator, operand)
    changed: Value = copy
    return changed


def _container(value: Value, path: JsonPath, depth: int) -> Any:
    """Return the value itself if the next step of the path can be taken in it; raises ValueProblem otherwise."""
    step = path.steps[depth]
    if isinstance(step, str) if isinstance(value, dict) else (isinstance(value, list) and isinstance(step, int)):
        return value
    wanted = "JSON_OBJ" if isinstance(step, str) else "JSON_ARR"
    raise ValueProblem(f"{path}: expected a {wanted} at {JsonPath(path.steps[:depth])}, found {describe(value)}")


def _nowhere(path: JsonPath, depth: int, value: Value) -> str:
    found = f"only {len(value)} items" if isinstance(value, list) else "no such key"
    return f"{path}: expected something at {JsonPath(path.steps[: depth + 1])}, found {found}"


def _json_item(value: Value) -> Value:
    """Return the value itself if JSON can hold it; raises ValueProblem otherwise."""
    if isinstance(value, bytes | Timestamp):
        raise ValueProblem(f"JSON cannot hold {describe(value)}: cast it to STR")
    return _finite(value) if isinstance(value, float) else value
