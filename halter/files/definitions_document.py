"""Reads documents of definitions: `external_events`, `workflow_events`, `tasks` and `wf_specs`.

Such a document stands alone, or is the head of a scenario. This module reads plain data, as YAML gives it, into the
commands that register the definitions. It collects every problem with its place.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from halter.files.yaml_files import Problem
from processors.core.records.commands import (
    DefinitionCommand,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
)
from processors.core.records.errors import HalterError
from processors.core.records.values import VariableType
from processors.core.wf_spec.document_problems import DocumentProblem, Path
from processors.core.wf_spec.document_reader import DocumentReader, Fields
from processors.core.wf_spec.reader import without_texts

DEFINITION_FIELDS = ("external_events", "workflow_events", "tasks", "wf_specs")

LoadWfSpec: TypeAlias = Callable[[str], object]
"""Loads the WfSpec document of a file beside the document. Raises HalterError."""


class Origin(Protocol):
    """Where definitions are written: a file, or a program."""

    def problem(self, path: tuple[str | int, ...], message: str, code: str) -> Problem:
        """Return a problem with what is at a path, or nearest to it."""


@dataclass(frozen=True, slots=True)
class DefinitionSource:
    """The place of a definition: in a file that the document names, or, without one, in the document itself."""

    file: str | None
    path: Path
    origin: Origin | None = None
    """The file or program of definitions that has it, if the document names one under `definitions`."""


def read_definitions(
    document: object, load_wf_spec: LoadWfSpec
) -> tuple[list[DefinitionCommand], list[DefinitionSource], list[DocumentProblem]]:
    """Return the commands that a document of definitions stands for, the source of each, and all problems."""
    reader = DefinitionsReader(load_wf_spec)
    commands = list(reader.definitions(reader.fields(document, (), "a document of definitions", DEFINITION_FIELDS)))
    return commands, reader.sources, reader.problems


def wf_spec_command(document: object) -> PutWfSpec:
    """Return the command that registers a WfSpec document. It takes any data: the engine refuses what is no WfSpec.

    Expressions that are written as text are compiled here, because engines of earlier releases know none (ADR 27).
    """
    document = without_texts(document)
    name = document.get("name") if isinstance(document, Mapping) else None
    return PutWfSpec(name if isinstance(name, str) else "", json.dumps(document, ensure_ascii=False))


class DefinitionsReader(DocumentReader):
    """One pass over a document with definitions.

    Its problems are worded for people who write YAML: a key may be a number, a missing field is reported at its
    mapping, and an optional part may be null.
    """

    def __init__(self, load_wf_spec: LoadWfSpec) -> None:
        super().__init__()
        self.sources: list[DefinitionSource] = []
        self._load_wf_spec = load_wf_spec
        self._named: set[str] = set()

    # The problems.

    def wrong(self, path: Path, expected: str, found: object) -> None:
        """Report a value of the wrong type."""
        self.problem("FIELD_TYPE", path, f"expected {expected}, found {shown(found)}")

    def not_one_of(self, path: Path, choices: Iterable[str], found: object) -> None:
        """Report a value that is none of the choices."""
        names = [str(choice) for choice in choices]
        meant = self.near.meant(found, names)
        self.problem("FIELD_VALUE", path, f"expected one of {', '.join(names)}, found {shown(found)}{meant}")

    def missing(self, path: Path, name: str) -> None:
        """Report a missing field."""
        self.problem("FIELD_MISSING", path, f"expected the field {name}, found none")

    def unknown(self, path: Path, name: str, what: str, known: Iterable[str]) -> None:
        """Report a field that the format does not have."""
        names = tuple(known)
        meant = self.near.meant(name, names)
        has = ", ".join(names) or "none"
        self.problem("FIELD_UNKNOWN", (*path, name), f"{what} has no field {name}{meant}; it has {has}")

    # The values.

    def mapping(self, value: object, path: Path) -> dict[str, Any]:
        """Return the entries of a mapping, with numbers as keys turned into text; none with a problem."""
        if not isinstance(value, Mapping):
            self.wrong(path, "a mapping", value)
            return {}
        texts = {str(key): item for key, item in value.items()}
        if len(texts) < len(value):
            self.wrong(path, "each key once", "one as a number and as text")
        return texts

    def fields(self, value: object, path: Path, what: str, known: Iterable[str]) -> Fields:
        """Return the fields of a mapping that may have the `known` ones; none with a problem."""
        given = super().fields(value, path, what, known)
        assert given is not None  # `mapping` always gives one
        return given

    def fields_or_null(self, value: object, path: Path, what: str, known: Iterable[str]) -> Fields:
        """Return the same for a mapping that may be null."""
        return self.fields({} if value is None else value, path, what, known)

    def entries(self, given: Fields, name: str) -> dict[str, Any]:
        """Return the entries of a field that may be missing or null."""
        value = given.data.get(name)
        return {} if value is None else self.mapping(value, given.path_of(name))

    # The definitions.

    def definitions(self, top: Fields) -> Iterator[DefinitionCommand]:
        """Yield the commands that register the definitions of a document, and note their places."""
        for name, value, path in self._named_definitions(top, "external_events"):
            content = self.fields_or_null(value, path, "an ExternalEventDef", ("type",))
            yield PutExternalEventDef(name, self._type(content, "type"))
        for name, value, path in self._named_definitions(top, "workflow_events"):
            content = self.fields_or_null(value, path, "a WorkflowEventDef", ("type",))
            yield PutWorkflowEventDef(name, self._type(content, "type"))
        for name, value, path in self._named_definitions(top, "tasks"):
            yield self._task_def(name, value, path)
        for one in top.items("wf_specs", self._wf_spec):
            yield from one

    def _named_definitions(self, top: Fields, kind: str) -> Iterator[tuple[str, object, Path]]:
        for name, value in self.entries(top, kind).items():
            path = (*top.path, kind, name)
            self.sources.append(DefinitionSource(None, path))
            yield name, value, path

    def _type(self, definition: Fields, name: str) -> VariableType | None:
        return definition.one_of(name, VariableType, None)

    def _task_def(self, name: str, value: object, path: Path) -> PutTaskDef:
        task = self.fields_or_null(value, path, "a TaskDef", ("queue", "input", "output"))
        declared, optional = None, list[str]()
        if task.has("input"):
            given = self.fields(task.data["input"], task.path_of("input"), "", self.entries(task, "input"))
            inputs = {key: self._input(given, key, optional) for key in given.data}
            declared = {key: declared_type for key, declared_type in inputs.items() if declared_type is not None}
        return PutTaskDef(name, declared, self._type(task, "output"), task.optional_text("queue"), optional=optional)

    def _input(self, given: Fields, name: str, optional: list[str]) -> VariableType | None:
        """Return the type of an input: the type alone, or a mapping that may say that the input is optional."""
        if not isinstance(given.data[name], Mapping):
            return self._type(given, name)
        declared = self.fields(given.data[name], given.path_of(name), "an input", ("type", "optional"))
        if declared.flag("optional", False):
            optional.append(name)
        return self._type(declared, "type") if declared.require("type") else None

    def _wf_spec(self, value: object, path: Path) -> list[PutWfSpec]:
        if not isinstance(value, str):
            self.sources.append(DefinitionSource(None, path))
            return [wf_spec_command(value)]
        if value in self._named:
            self.problem("FIELD_VALUE", path, f"expected each WfSpec document once, found {shown(value)} again")
            return []
        self._named.add(value)
        try:
            document = self._load_wf_spec(value)
        except HalterError as error:
            self.problem("FIELD_VALUE", path, f"expected the name of a WfSpec document, found that {error}")
            return []
        self.sources.append(DefinitionSource(value, ()))
        return [wf_spec_command(document)]


def shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return "true" if value else "false"
        case _:
            text = repr(value)
            return text if len(text) <= 60 else text[:57] + "..."
