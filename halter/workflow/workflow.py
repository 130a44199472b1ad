"""A workflow as a whole: from its thread functions to a WfSpec that can be registered, or to all that is wrong with it.

cart = Workflow("cart", main)
client.register(cart)
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from typing import Any, cast

from halter.files.definition_files import CheckedFile, Written, only_wf_spec, read_definition_files
from halter.files.yaml_files import Problem
from halter.workflow.arguments import WrongOperand, items_of, kind_of, number_of, text_of
from halter.workflow.definitions import ExternalEventDef, external_event_named
from halter.workflow.drafts import ThreadDraft
from halter.workflow.expressions import TYPES, Expr, Operand, tree_of
from halter.workflow.places import Place, here, place_at, raised_at
from halter.workflow.thread import MisplacedStatement, Thread, ThreadFunction
from processors.core.records.commands import DefinitionCommand, PutWfSpec
from processors.core.records.errors import HalterError
from processors.core.records.spec import WfSpec
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.near_names import NearNames
from processors.core.wf_spec.writer import document_of, document_text

STATEMENT = "STATEMENT"
"""The code of a statement that cannot be written down, or not where it stands."""
CAST_OF_DOCUMENTS = re.compile(r"write \{cast: \[…, (\w+)\]\}")
"""What a problem says that a document should say. A program says it otherwise."""
UNEXPECTED = re.compile(r"Thread\.(\w+)\(\) got an unexpected keyword argument '(\w+)'$")
"""How Python says that a statement has no such argument, unless it names one that may be meant."""

OTHER_NAMES = {
    "append": "extend",
    "delete": "remove_key",
    "execute": "task",
    "insert": "extend",
    "pop": "remove_index",
    "remove": "remove_if_present",
    "return_": "exit",
    "set": "assign",
    "spawn_thread": "start_thread",
}
"""What people call a statement of a Thread, by Python or LittleHorse, where its own name is not near."""


@dataclass(frozen=True)
class Program:
    """The program that wrote a workflow: for a part of a document, the line that says it."""

    places: dict[Path, Place]
    """The whole is the empty path."""

    def problem(self, path: tuple[str | int, ...], message: str, code: str) -> Problem:
        """A problem with a part of the document, at the line that wrote it or what is around it."""
        place = next(self.places[path[:length]] for length in range(len(path), -1, -1) if path[:length] in self.places)
        return Problem(place.file, place.line, 1, CAST_OF_DOCUMENTS.sub(_cast_of_programs, message), code)


@dataclass
class _Building:
    """What is found while thread functions run."""

    names: dict[ThreadFunction, str] = field(default_factory=dict)
    functions: list[ThreadFunction] = field(default_factory=list)
    """In the order in which they are named. It grows while they run."""
    threads: dict[str, ThreadDraft] = field(default_factory=dict)
    definitions: dict[tuple[type, str], tuple[DefinitionCommand, Place]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class Workflow:
    """A WfSpec that thread functions write. It is made when it is first asked for, and only once."""

    def __init__(
        self,
        name: str,
        entrypoint: ThreadFunction,
        *,
        retention_s: int | None = None,
        correlated_events: "Mapping[ExternalEventDef | str, Operand] | None" = None,
        also: Iterable[ThreadFunction] = (),
    ) -> None:
        """`entrypoint` writes thread 0; the threads that it names follow. `also`: threads that nothing starts yet.

        `retention_s` seconds after its end a WfRun is forgotten; a week if it is None. `correlated_events`: by which
        key events find a WfRun, an expression over the Variables of the entrypoint. Raises WrongOperand.
        """
        self._place, self.name = here(), text_of("the name of a Workflow", name)
        self.retention_s = None if retention_s is None else number_of("retention_s", retention_s)
        self._entrypoint, self._also = entrypoint, tuple(items_of("also", also))
        for function in (self._entrypoint, *self._also):
            _check_thread_function(function)
        keys = {} if correlated_events is None else correlated_events
        if not isinstance(keys, Mapping):
            raise WrongOperand(f"correlated_events: expected a mapping, found {kind_of(keys)}")
        self._keys = {external_event_named(it)[0]: tree_of(key) for it, key in keys.items()}

    @cached_property
    def wf_spec(self) -> WfSpec:
        """The WfSpec. Raises InvalidDefinitions with every problem and its line."""
        return only_wf_spec(self)

    @property
    def document(self) -> dict[str, Any]:
        """The WfSpec as a document: what a YAML file would hold. Raises InvalidDefinitions."""
        return document_of(self.wf_spec)

    def commands(self) -> list[DefinitionCommand]:
        """Return what registers the workflow and all that it defines. Raises InvalidDefinitions."""
        return [it.command for it in read_definition_files([self])]

    def read(self) -> CheckedFile:
        """Return the definitions as they are written down, not yet checked, in place of a file."""
        file, definitions, problems = self._written
        return CheckedFile(file, list(definitions), problems=list(problems))

    @cached_property
    def _written(self) -> tuple[str, list[Written], list[Problem]]:
        """The file that makes the workflow, what the thread functions wrote, and what they could not write."""
        building = _Building()
        entrypoint = self._written_down(building)
        if building.problems:
            return self._place.file, [], building.problems
        threads = {name: it.done() for name, it in building.threads.items()}
        spec = WfSpec(self.name, entrypoint, threads, self.retention_s, correlated_events=self._keys)
        document = document_text(spec)
        definitions = [Written(it, Program({(): place}), ()) for it, place in building.definitions.values()]
        program = Program(self._places(building))
        return self._place.file, [*definitions, Written(PutWfSpec(self.name, document), program, ())], []

    def _written_down(self, building: _Building) -> str:
        """Run every thread function once, and return the name of the first."""
        entrypoint = _name_in(building, self._entrypoint)
        for one in self._also:
            _name_in(building, one)
        for function in building.functions:
            place, name = _place_of(function), building.names[function]
            draft = building.threads[name] = ThreadDraft(name, place)
            thread = Thread(
                draft,
                lambda it: _name_in(building, it),
                lambda command, at: _define(building, command, at),
            )
            try:
                thread.end(place, _returned_by(function, thread))
            except Exception as error:  # noqa: BLE001  a mistake of Python is told with its line, as any other
                at = raised_at(error, place)
                building.problems.append(Problem(at.file, at.line, 1, _told(error), STATEMENT))
            for it in thread.forgotten:
                what = f"expected `with` before thread.{it.what}(…), found none"
                building.problems.append(Problem(it.place.file, it.place.line, 1, what, STATEMENT))
        return entrypoint

    def _places(self, building: _Building) -> dict[Path, Place]:
        found: dict[Path, Place] = {(): self._place}
        for draft in building.threads.values():
            found |= draft.places()
        return found

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r}>"


def _define(building: _Building, command: DefinitionCommand | None, place: Place) -> None:
    if command is None:
        return
    key = (type(command), command.name)
    other, where = building.definitions.setdefault(key, (command, place))
    if other != command:
        what = f"{type(command).__name__.removeprefix('Put')} {command.name}"
        raise MisplacedStatement(f"{what} is defined twice, differently: {where}")


def _name_in(building: _Building, function: ThreadFunction) -> str:
    """Return the name of the ThreadSpec that a function writes, and note that it has to be written."""
    _check_thread_function(function)
    if function in building.names:
        return building.names[function]
    name = getattr(function, "halter_thread_name", None) or getattr(function, "__name__", "thread").replace("_", "-")
    if name in building.names.values():
        raise MisplacedStatement(f"two thread functions are named {name!r}: give one a @thread_name")
    building.names[function] = name
    building.functions.append(function)
    return str(name)


def _check_thread_function(function: object) -> None:
    """Raise WrongOperand for what cannot be called with a Thread."""
    if not callable(function) or isinstance(function, type):
        raise WrongOperand(f"expected a thread function, found {kind_of(function)}")
    try:
        signature(function).bind(None)
    except TypeError:
        name = getattr(function, "__name__", kind_of(function))
        raise WrongOperand(
            f"expected a thread function, which takes the thread alone, found {name}{signature(function)}"
        ) from None
    except ValueError:  # one of C's, whose parameters nobody knows
        return


def _returned_by(function: ThreadFunction, thread: Thread) -> object:
    """Run a thread function, and return what it returns. Raises WrongOperand if calling it does not run it."""
    returned: object = cast("Callable[[Thread], object]", function)(thread)
    if isinstance(returned, Coroutine | Generator):
        returned.close()  # or Python warns of it too
    if isinstance(returned, Awaitable | Generator | AsyncGenerator):
        found = "one with `yield`" if isinstance(returned, Generator | AsyncGenerator) else "`async def`"
        raise WrongOperand(f"expected a thread function that runs when it is called, found {found}: write `def` alone")
    return returned


def _place_of(function: Callable[..., object]) -> Place:
    code = getattr(function, "__code__", None)
    return here() if code is None else place_at(code.co_filename, code.co_firstlineno)


def _cast_of_programs(said: re.Match[str]) -> str:
    kind = next(kind for kind, type_ in TYPES.items() if type_ == said[1])
    return f"write `.cast({kind.__name__})`"


def _told(error: Exception) -> str:
    """Return the sentence for what a statement raised, with the attribute that was meant, as a traceback has it."""
    if isinstance(error, HalterError):
        return str(error)
    meant = ""
    if isinstance(error, AttributeError) and error.name:
        other = OTHER_NAMES.get(error.name) if isinstance(error.obj, Thread) else None
        names = (it for it in dir(error.obj) if not it.startswith("_"))
        meant = NearNames().meant(error.name, names) if other is None else f" (did you mean {other}?)"
        if not meant and isinstance(error.obj, Expr):
            meant = f': write ["{error.name}"] for a value inside'
    if (found := UNEXPECTED.search(str(error))) and (statement := getattr(Thread, found[1], None)) is not None:
        meant = NearNames().meant_or_known(found[2], [it for it in signature(statement).parameters if it != "self"])
    return f"{type(error).__name__}: {error}{meant}"
