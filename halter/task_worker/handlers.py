"""A handler, as a task worker calls it: with its typed parameters filled from the inputs of an attempt.

Knows functions and TaskDefs. It knows no Kafka, and not when or where a handler runs.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin
from weakref import WeakKeyDictionary

from halter.task_worker.shapes import ANY_VALUE, NoShape, Shape, Unfit, hints_of, shape_of, value_of
from halter.task_worker.task import Task, WorkerNotStarted
from processors.core.records.commands import PutTaskDef
from processors.core.records.events import Definition
from processors.core.records.names import NAME_LENGTH_MAX, is_name
from processors.core.records.values import TYPE_NAMES, VariableType
from processors.core.wf_spec.near_names import NearNames

FOR_THE_ATTEMPT: Final = "; annotate it with Task if it is for the attempt"
NAMED: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Handler:
    """What runs the attempts of one TaskDef. `run` returns the output, or a coroutine for it if it `is_async`."""

    task_def: str
    run: Callable[[Task], Any]
    is_async: bool
    mismatches: Callable[[Definition], Iterator[str]] | None = None
    """A sentence for each way in which it does not fit a TaskDef; None if it takes a Task as it comes."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a handler that is filled with an input."""

    name: str
    shape: Shape
    is_required: bool


def expect_task_def(name: object, where: str) -> str:
    """Return the name of a TaskDef. Raises WorkerNotStarted for what cannot be one."""
    if not isinstance(name, str):
        raise WorkerNotStarted(f"{where}, found {kind(name)}")
    if not is_name(name):
        raise WorkerNotStarted(
            f"{where}, of at most {NAME_LENGTH_MAX} letters, digits and - (not first or last), found {name[:80]!r}"
        )
    return name


def kind(thing: object) -> str:
    """Return what a thing is, for sentences."""
    return "None" if thing is None else type(thing).__name__


def is_async(function: Callable[..., Any]) -> bool:
    """Say whether calling a function makes a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def of_task(task_def: str, function: Callable[[Task], Any]) -> Handler:
    """Return the handler for a function of one Task. Its result must be a Value as it is."""
    return Handler(task_def, function, is_async(function))


def typed(task_def: str, function: Callable[..., Any]) -> Handler:
    """Return the handler for a function whose parameters are inputs. Raises WorkerNotStarted if they cannot be."""
    where = f"@task({task_def!r}) {getattr(function, '__name__', 'handler')}"
    try:
        hints = hints_of(_routine(function))
        parameters, takes_task, rest = _parameters(function, hints)
        returns = shape_of(hints["return"]) if "return" in hints else None
    except NoShape as problem:
        raise WorkerNotStarted(f"{where}: {problem}") from problem

    def arguments(task: Task) -> dict[str, Any]:
        filled: dict[str, Any] = dict.fromkeys(takes_task, task)
        for parameter in parameters:
            if parameter.name in task.input:
                filled[parameter.name] = parameter.shape.read(task.input[parameter.name], parameter.name)
            elif parameter.is_required:
                hint = FOR_THE_ATTEMPT if parameter.shape.name == ANY_VALUE else ""
                raise Unfit(f"{parameter.name}: expected {parameter.shape.name}, found no such input{hint}")
        if rest is not None:
            filled |= {name: rest.read(value, name) for name, value in task.input.items() if name not in filled}
        return filled

    def output(returned: Any) -> Any:
        value = value_of(returned)
        found = TYPE_NAMES.get(type(value))  # what no record can hold, and null, are not judged here
        if found is not None and returns is not None and returns.types and not returns.takes(found):
            raise Unfit(f"returned: expected {returns.name}, as it is annotated, found {found}")
        return value

    def run(task: Task) -> Any:
        return output(function(**arguments(task)))

    async def run_async(task: Task) -> Any:
        return output(await function(**arguments(task)))

    def mismatches(definition: Definition) -> Iterator[str]:
        yield from _input_mismatches(definition, parameters, takes_all=bool(takes_task) or rest is not None)
        if returns is not None and definition.output is not None and not returns.gives(definition.output):
            yield f"returns {returns.name}: expected {definition.output}, the output of the TaskDef"

    awaits = is_async(function)
    return Handler(
        task_def, run_async if awaits else run, awaits, lambda it: (f"{where}: {text}" for text in mismatches(it))
    )


def _routine(function: Callable[..., Any]) -> Any:
    """Return what has the annotations of a function. Raises NoShape."""
    called: Any = function if inspect.isroutine(function) else type(function).__call__
    if not hasattr(called, "__module__"):
        raise NoShape(
            f"expected a function, or an object whose class has a __call__ of its own, found {kind(function)}"
        )
    return called


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union: a test may call a handler with None for its Task."""
    return get_args(annotation) if get_origin(annotation) in {Union, UnionType} else ()


def _parameters(
    function: Callable[..., Any], hints: Mapping[str, Any]
) -> tuple[list[Parameter], list[str], Shape | None]:
    """Return the parameters that are inputs, the names of those that take the Task, and the Shape of **others."""
    parameters, takes_task, rest = [], [], None
    for name, it in inspect.signature(function).parameters.items():
        annotation = hints.get(name, Any)
        if it.kind is inspect.Parameter.VAR_KEYWORD:
            rest = shape_of(annotation)
        elif it.kind not in NAMED:
            raise NoShape(f"expected parameters that have the names of inputs, found '{it}', which is filled by place")
        elif Task in (annotation, *_members(annotation)):
            takes_task.append(name)
        else:
            try:
                shape = shape_of(annotation)
            except NoShape as problem:
                raise NoShape(f"parameter {name!r}: {problem}") from None
            parameters.append(Parameter(name, shape, it.default is inspect.Parameter.empty))
    return parameters, takes_task, rest


def _input_mismatches(definition: Definition, parameters: list[Parameter], *, takes_all: bool) -> Iterator[str]:
    declared = definition.input
    if declared is None:
        return
    near = NearNames()
    for parameter in parameters:
        found = declared.get(parameter.name)
        if found is not None and not parameter.shape.takes(found):
            yield f"parameter {parameter.name!r}: expected {found}, as the TaskDef says, found {parameter.shape.name}"
        elif parameter.name in definition.optional and parameter.is_required:
            yield f"parameter {parameter.name!r}: expected a default, as the input is optional, found none"
        elif parameter.name not in declared and parameter.is_required:
            inputs = ", ".join(declared) or "none"
            hint = near.meant(parameter.name, declared) or FOR_THE_ATTEMPT
            yield (
                f"parameter {parameter.name!r}: expected an input of the TaskDef ({inputs}), found none of that name"
                f"{hint}"
            )
    names = {parameter.name for parameter in parameters}
    for name, declared_type in declared.items():
        if name not in names and name not in definition.optional and not takes_all:
            yield f"expected a parameter for the input {name!r} ({declared_type}), found none"


_TASK_DEFS: "WeakKeyDictionary[Callable[..., Any], str]" = WeakKeyDictionary()
"""Function -> the TaskDef whose handler `@worker.task` has made it."""


def remember(task_def: str, function: Callable[..., Any]) -> None:
    """Note that a function is the handler of a TaskDef, so that a workflow may name the task by its function."""
    with suppress(TypeError):  # an object that cannot be a key: a workflow names its TaskDef
        _TASK_DEFS[function] = task_def


def task_def_of(function: object) -> PutTaskDef | None:
    """Return the TaskDef that a handler says by its parameters; None for what is no handler.

    Inputs are not checked if the function takes them as they come; one whose parameter has a default may be left out.
    Raises WorkerNotStarted if an annotation stands for no type of a Variable, or for several.
    """
    name = _TASK_DEFS.get(function) if callable(function) else None
    if name is None:
        return None
    assert callable(function)
    hints = hints_of(_routine(function))
    parameters, takes_task, rest = _parameters(function, hints)
    where = f"@task({name!r}) {getattr(function, '__name__', 'handler')}"
    given = {it.name: _only_type(it.shape, f"{where}: parameter {it.name!r}") for it in parameters}
    takes_all = rest is not None or (bool(takes_task) and not parameters)
    returned = hints.get("return", type(None))
    output = None if returned in (None, type(None), Any) else _only_type(shape_of(returned), f"{where}: returns")
    if takes_all:
        return PutTaskDef(name, None, output)
    return PutTaskDef(name, given, output, optional=[it.name for it in parameters if not it.is_required])


def _only_type(shape: Shape, what: str) -> VariableType:
    if len(shape.types) == 1:
        return next(iter(shape.types))
    found = shape.name if shape.types else "None"
    raise WorkerNotStarted(f"{what}: expected an annotation that stands for one type of a Variable, found {found}")
