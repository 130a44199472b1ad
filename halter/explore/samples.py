"""Sample values: what ExternalEvents may contain, what tasks may report, and what a WfRun may start with.

Values decide where a WfSpec goes, and nobody can try all of them. These are tried: null, one value of the declared
type with the parts that the WfSpec looks at, and the constants that it compares the value with, with ± 1 for numbers.
Of a value that nothing looks at one sample is enough. An author who knows better gives values in the claims document.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from processors.core.records.spec import (
    INPUT,
    Expression,
    ExternalEventNode,
    JsonPath,
    Literal,
    MutationOperator,
    Operation,
    Operator,
    OutputRef,
    TaskNode,
    VariableDef,
    VariableRef,
    WfSpec,
    expressions_of,
    walk,
)
from processors.core.records.values import Timestamp, Value, VariableType, fits, is_number, stored
from processors.core.rules.context import DefinitionLookup

SAMPLES_MAX = 6
"""The most values of one source that are tried, unless the author gives them."""
STARTS_MAX = 8
"""The most ways to start the WfRun that are tried, unless the author gives them."""
A_TIME = Timestamp(1_767_225_600_000)

_ALONE: Mapping[VariableType | None, tuple[Value, ...]] = {
    None: ("text",),
    VariableType.INT: (1,),
    VariableType.DOUBLE: (1.5,),
    VariableType.BOOL: (True, False),
    VariableType.STR: ("text",),
    VariableType.BYTES: (b"bytes",),
    VariableType.JSON_OBJ: ({},),
    VariableType.JSON_ARR: ([],),
    VariableType.TIMESTAMP: (A_TIME,),
}
"""Declared type -> values of it, if the WfSpec looks at no part of them."""
_COMPARING = frozenset(
    {Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE, Operator.IN, Operator.NOT_IN}
)
_Place = tuple[str, ...]
"""Where a value is kept: ("variable", name), ("input", ThreadSpec) or ("output", ThreadSpec, node)."""
_Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """The values that are tried."""

    events: Mapping[str, tuple[Value, ...]]
    """ExternalEventDef -> contents."""
    outputs: Mapping[tuple[str, str], tuple[Value, ...]]
    """ThreadSpec and TASK node -> outputs."""
    starts: tuple[Mapping[str, Value], ...]
    """Variables of thread 0, one set for each way to start the WfRun."""


@dataclass(slots=True)
class Given:
    """The values that the author gives; each takes the place of all that would be tried."""

    events: dict[str, list[Value]] = field(default_factory=dict)
    tasks: dict[str, list[Value]] = field(default_factory=dict)
    variables: dict[str, list[Value]] = field(default_factory=dict)


@dataclass(slots=True)
class _Use:
    """What the WfSpec looks at in a value."""

    looked_at: bool = False
    constants: dict[_Steps, list[Value]] = field(default_factory=dict)
    """Path -> constants that the value there is compared with; empty if it is used otherwise."""


def samples_of(spec: WfSpec, definitions: DefinitionLookup, given: Given) -> Samples:
    """Return the values to try for a WfSpec."""
    uses = _uses(spec)
    events = {}
    for name in sorted(spec.external_event_defs):
        definition = definitions.external_event_def(name)
        declared = None if definition is None else definition.content_type
        events[name] = _values(given.events.get(name), declared, uses.get(("event", name)))
    outputs = {}
    for thread in spec.threads.values():
        for node in thread.nodes.values():
            if isinstance(node, TaskNode):
                task_def = definitions.task_def(node.task_def)
                declared = None if task_def is None else task_def.output
                use = uses.get(("output", thread.name, node.name))
                outputs[thread.name, node.name] = _values(given.tasks.get(node.task_def), declared, use)
    return Samples(events, outputs, tuple(_starts(spec, uses, given.variables)))


def _values(given: list[Value] | None, declared: VariableType | None, use: _Use | None) -> tuple[Value, ...]:
    if given is not None:
        return tuple(given)
    if use is None or not use.looked_at:
        return (None,)
    return _different((None, *_shaped(declared, use)))[:SAMPLES_MAX]


def _starts(spec: WfSpec, uses: Mapping[_Place, _Use], given: Mapping[str, list[Value]]) -> Iterator[dict[str, Value]]:
    """Yield one start of ordinary values, then those that differ from it in one Variable."""
    declared = spec.threads[spec.entrypoint].variables
    choices: dict[str, tuple[Value, ...]] = {}
    for name, variable in declared.items():
        use = uses.get(("variable", name), _Use())
        if name in given:
            choices[name] = tuple(given[name])
        elif variable.required:
            choices[name] = _different(_shaped(variable.type, use))
        elif use.constants.get(()):
            choices[name] = _different((variable.default, *_shaped(variable.type, use)))
    first = {name: values[0] for name, values in choices.items() if values}
    yield _without_defaults(first, declared)
    count = 1
    for name, values in choices.items():
        for value in values[1:]:
            if count == STARTS_MAX and name not in given:
                break
            count += 1
            yield _without_defaults({**first, name: value}, declared)


def _without_defaults(variables: Mapping[str, Value], declared: Mapping[str, VariableDef]) -> dict[str, Value]:
    return {
        name: value for name, value in variables.items() if declared[name].required or value != declared[name].default
    }


def _shaped(declared: VariableType | None, use: _Use) -> Iterator[Value]:
    """Yield values of a type that have the parts that are looked at."""
    inside = {steps: constants for steps, constants in use.constants.items() if steps}
    if inside and declared in (None, VariableType.JSON_OBJ, VariableType.JSON_ARR):
        first: dict[_Steps, Value] = {}
        for steps, constants in inside.items():
            first[steps] = next(_near(constants), 1)
        yield _built(first)
        for steps, constants in inside.items():
            for value in list(_near(constants))[1:]:
                yield _built({**first, steps: value})
        if declared is not None:
            yield from _ALONE[declared]
        return
    constants = use.constants.get((), [])
    for value in _near(constants):
        if fits(value, declared):
            yield stored(value, declared)
    yield from _ALONE[declared]


def _near(constants: Iterable[Value]) -> Iterator[Value]:
    for constant in constants:
        yield constant
        if isinstance(constant, int | float) and not isinstance(constant, bool):
            yield from (near for near in (constant - 1, constant + 1) if is_number(near))


def _built(parts: Mapping[_Steps, Value]) -> Value:
    """Return JSON with these values at these paths; the first of two paths that contradict each other wins."""
    whole: Any = None
    for steps, value in parts.items():
        whole = _with(whole, steps, value)
    result: Value = whole
    return result


def _with(whole: Any, steps: _Steps, value: Value) -> Any:
    if not steps:
        return value if whole is None else whole
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        items = list(whole) if isinstance(whole, list) else []
        items += [None] * (min(step, 16) + 1 - len(items))
        if step < len(items):
            items[step] = _with(items[step], rest, value)
        return items
    fields = dict(whole) if isinstance(whole, dict) else {}
    fields[step] = _with(fields.get(step), rest, value)
    return fields


def _different(values: Iterable[Value]) -> tuple[Value, ...]:
    return tuple({repr(value): value for value in values}.values())


def _uses(spec: WfSpec) -> dict[_Place, _Use]:
    """Return, by source of a value, what is looked at in it, wherever assignments carry it."""
    looked = _looked_at(spec)
    carried: dict[_Place, set[_Place]] = {}
    for thread in spec.threads.values():
        for interrupt in thread.interrupts:
            carried.setdefault(("event", interrupt.external_event_def), set()).add(("input", interrupt.handler))
        for node in thread.nodes.values():
            if isinstance(node, ExternalEventNode):
                source = ("event", node.external_event_def)
                carried.setdefault(source, set()).add(("output", thread.name, node.name))
            for edge in node.edges:
                for mutation in edge.mutations:
                    place = _place(thread.name, mutation.value)
                    if place is not None and mutation.operator is MutationOperator.ASSIGN and mutation.path is None:
                        carried.setdefault(place[0], set()).add(("variable", mutation.variable))
    sources = {place for place in (*carried, *looked) if place[0] in ("event", "output", "variable")}
    return {source: _gathered(source, carried, looked) for source in sources}


def _gathered(source: _Place, carried: Mapping[_Place, set[_Place]], looked: Mapping[_Place, _Use]) -> _Use:
    gathered = _Use()
    reached, waiting = {source}, [source]
    while waiting:
        place = waiting.pop()
        use = looked.get(place)
        if use is not None:
            gathered.looked_at = True
            for steps, constants in use.constants.items():
                gathered.constants.setdefault(steps, []).extend(constants)
        for other in sorted(carried.get(place, ())):
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    return gathered


def _looked_at(spec: WfSpec) -> dict[_Place, _Use]:
    uses: dict[_Place, _Use] = {}
    for thread in spec.threads.values():
        for node in thread.nodes.values():
            for outermost in expressions_of(node):
                for expression in walk(outermost):
                    place = _place(thread.name, expression)
                    if place is not None:
                        use = uses.setdefault(place[0], _Use())
                        use.looked_at = True
                        use.constants.setdefault(place[1], [])
                    elif isinstance(expression, Operation) and expression.operator in _COMPARING:
                        _compare(thread.name, expression, uses)
    return uses


def _compare(thread: str, operation: Operation, uses: dict[_Place, _Use]) -> None:
    constants: list[Value] = []
    for operand in operation.operands:
        if isinstance(operand, Literal):
            value = operand.value
            items = operation.operator in (Operator.IN, Operator.NOT_IN) and isinstance(value, list)
            constants.extend(value if items and isinstance(value, list) else [value])
    for operand in operation.operands:
        place = _place(thread, operand)
        if place is not None:
            use = uses.setdefault(place[0], _Use())
            use.looked_at = True
            use.constants.setdefault(place[1], []).extend(constants)


def _place(thread: str, expression: Expression) -> tuple[_Place, _Steps] | None:
    path: JsonPath | None
    match expression:
        case VariableRef(name=name, path=path):
            place: _Place = ("input", thread) if name == INPUT else ("variable", name)
        case OutputRef(node=node, path=path):
            place = ("output", thread, node)
        case _:
            return None
    return place, () if path is None else path.steps
