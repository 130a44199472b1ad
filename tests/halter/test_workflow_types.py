"""What a workflow in Python says to a thing of a wrong type: a sentence with the line, for every parameter there is."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from halter import InvalidDefinitions
from halter import workflow as room
from halter.workflow import Backoff, Expr, Thread, Variable, Workflow
from halter.workflow.arguments import WrongOperand

total = Variable("total", int, default=0)


def child(_: Thread) -> None:
    pass


class Odd:
    """Something that nothing takes."""


ODD: Final = Odd()
OF_MANY_TYPES: Final[Sequence[object]] = (
    ODD, Odd, None, True, 7, 1.5, "q", b"b", [1], [[1, 2]], [ODD], {"a": 1}, {"a": ODD}, {1: 2}, {"q"}, total, child,
    Backoff(ODD, 2, 3), Backoff(1, ODD, 3), Backoff(1, 2, ODD),  # type: ignore[arg-type]
)  # fmt: skip
RIGHT: Final[Mapping[str, Any]] = {
    "args": "b", "entrypoint": child, "event": "e", "failure": "f", "handler": child, "name": "n", "node": "above",
    "over": [1], "task": "t", "template": "{0}", "text": "total", "thread": child, "threads": [1], "type_": int,
    "variable": total,
}  # fmt: skip
"""What is right for a parameter; 1 for others."""
RAW: Final = re.compile(r"\b\w+(Error|Exception): ")
"""A mistake as Python says it."""
STATEMENTS: Final = [name for name in vars(Thread) if not name.startswith("_") and name not in {"end", "forgotten"}]
MADE: Final = [name for name in room.__all__ if callable(getattr(room, name)) and name not in {
    "Backoff", "Expr", "Output", "Thread", "Timestamp"
}]  # fmt: skip
OF_EXPRESSIONS: Final = [name for name, it in vars(Expr).items() if inspect.isfunction(it) and name != "__init__"]


def parameters_of(called: Callable[..., object]) -> list[inspect.Parameter]:
    return [it for it in inspect.signature(called).parameters.values() if it.name != "self"]


def of(names: Sequence[str], owner: object) -> list[tuple[str, str]]:
    """Return the parameters of each."""
    return [(name, it.name) for name in names for it in parameters_of(getattr(owner, name))]


def arguments_of(
    called: Callable[..., object], parameter: str, value: object
) -> tuple[list[object], dict[str, object]]:
    """Return what to call something with, so that only one parameter may be wrong."""
    by_place: list[object] = []
    by_name: dict[str, object] = {}
    for it in parameters_of(called):
        if it.name != parameter and (it.default is not it.empty or it.kind in {it.VAR_POSITIONAL, it.VAR_KEYWORD}):
            continue
        argument = value if it.name == parameter else RIGHT.get(it.name, 1)
        if it.kind in {it.POSITIONAL_ONLY, it.VAR_POSITIONAL} or it.name == "template":
            by_place.append(argument)
        else:
            by_name["a" if it.kind is it.VAR_KEYWORD else it.name] = argument
    return by_place, by_name


@pytest.mark.parametrize(("statement", "parameter"), of(STATEMENTS, Thread))
def test_a_statement_says_a_sentence_with_its_line(statement: str, parameter: str) -> None:
    for value in OF_MANY_TYPES:
        by_place, by_name = arguments_of(getattr(Thread, statement), parameter, value)

        def main(thread: Thread) -> None:
            thread.declare(Variable("other", int))
            if statement != "entrypoint":
                thread.task("t", name="above")
            getattr(thread, statement)(*by_place, **by_name)  # noqa: B023

        try:
            Workflow("w", main).commands()
        except InvalidDefinitions as invalid:
            for it in invalid.problems:
                assert Path(it.file).absolute() == Path(__file__), it
                assert RAW.search(it.message) is None, it
        else:
            assert value is not ODD


def is_refused(called: Callable[[], object]) -> bool:
    """Call something, and say whether it is refused: then in a sentence."""
    try:
        called()
    except WrongOperand as wrong:
        sentence = str(wrong)
    else:
        return False
    assert RAW.search(sentence) is None
    return True


@pytest.mark.parametrize(("name", "parameter"), of(MADE, room))
def test_what_is_made_outside_of_thread_functions_says_a_sentence(name: str, parameter: str) -> None:
    for value in OF_MANY_TYPES:
        by_place, by_name = arguments_of(getattr(room, name), parameter, value)
        refused = is_refused(lambda: getattr(room, name)(*by_place, **by_name))  # noqa: B023
        assert refused or value is not ODD


@pytest.mark.parametrize(("name", "parameter"), of(OF_EXPRESSIONS, Expr))
def test_an_expression_says_a_sentence(name: str, parameter: str) -> None:
    for value in OF_MANY_TYPES:
        by_place, by_name = arguments_of(getattr(Expr, name), parameter, value)
        refused = is_refused(lambda: getattr(total, name)(*by_place, **by_name))  # noqa: B023
        assert refused or value is not ODD


def test_a_function_that_cannot_be_called_with_the_thread_is_told_where_it_is_named() -> None:
    def of_none() -> None:
        pass

    def main(thread: Thread) -> None:
        thread.start_thread(of_none)  # type: ignore[arg-type]

    with pytest.raises(InvalidDefinitions) as refused:
        Workflow("w", main).commands()
    [problem] = refused.value.problems
    assert problem.line == main.__code__.co_firstlineno + 1
    assert problem.message == "expected a thread function, which takes the thread alone, found of_none() -> None"
