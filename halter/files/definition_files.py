"""Reads and checks YAML files of definitions, as `halter spec put` and `halter spec check` take them.

A file is either one WfSpec document, or has some of `external_events`, `tasks`, `workflow_events` and `wf_specs`, as
the head of a scenario does. Its WfSpecs are written in it, or it names their files.

Several files are one set: a definition in one may refer to a definition in another, whatever the order of the files.
The engine's own code checks them, one definition after the other. A definition that they refer to and do not have may
be registered already, so that is only a hint.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from halter.files.definitions_document import (
    DEFINITION_FIELDS,
    DefinitionSource,
    Origin,
    read_definitions,
    wf_spec_command,
)
from halter.files.document_kinds import DEFINITIONS, WF_SPEC, another_kind
from halter.files.yaml_files import NO_YAML, Problem, UnreadableFile, YamlFile, read_yaml
from processors.core.records.commands import DefinitionCommand, PutTaskDef, PutWfSpec
from processors.core.records.errors import HalterError
from processors.core.records.spec import WfSpec
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.document_problems import DocumentProblem
from processors.core.wf_spec.json_document import parse_json_document
from processors.core.wf_spec.near_names import NearNames
from processors.core.wf_spec.registration import refusals as refused_where
from processors.core.wf_spec.validate import check_document, hints

REFERENCES = frozenset({"TASKDEF_MISSING", "EXT_EVENT_EED_MISSING", "INTERRUPT_EED_MISSING", "WF_EVENT_DEF_MISSING"})
"""Codes of references to definitions that may be registered already."""
DEFINED_TWICE = "DEFINED_TWICE"
"""The code of a name that two files define differently."""


class InvalidDefinitions(HalterError):
    """Files of definitions are not valid. Their author acts; the message has one line for each problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class OtherThanOneWfSpec(HalterError):
    """A file has no WfSpec or several, and a command shows one. Whoever named the file names another one."""


@dataclass(frozen=True, slots=True)
class DefinitionFile:
    """The definitions of a file, in an order in which they can be registered: WfSpecs come last."""

    file: str
    commands: list[DefinitionCommand]


@dataclass(frozen=True, slots=True)
class Written:
    """A definition, and the file and path where it is written."""

    command: DefinitionCommand
    file: Origin
    path: tuple[str | int, ...]

    def located(self, problem: DocumentProblem) -> Problem:
        """A problem of the definition with its line and column, and with its path from the top of the file."""
        whole = DocumentProblem(problem.code, (*self.path, *problem.path), problem.message)
        return self.file.problem(whole.path, str(whole), whole.code)

    def contradicts(self, other: "Written") -> Problem:
        """The problem that another file defines the same name differently."""
        what = f"{type(self.command).__name__.removeprefix('Put')} {self.command.name}"
        location = other.file.problem(other.path, "", DEFINED_TWICE).location
        return self.file.problem(self.path, f"{what} is defined twice, differently: {location}", DEFINED_TWICE)


@dataclass(slots=True)
class CheckedFile:
    """A file of definitions, with its definitions and their problems."""

    file: str
    definitions: list[Written] = field(default_factory=list)
    wf_specs: list[WfSpec] = field(default_factory=list)
    """The WfSpecs that have no problems."""
    problems: list[Problem] = field(default_factory=list)
    """Problems of this file, and of the files that it names."""
    hints: list[Problem] = field(default_factory=list)
    """Probable mistakes, and definitions that have to be registered before."""


class Files:
    """The YAML files that a document names. Each is read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, YamlFile] = {}

    def load(self, name: str) -> object:
        """The content of a file, named from the folder of the document. Raises UnreadableFile."""
        return self[name].data

    def __getitem__(self, name: str) -> YamlFile:
        if name not in self._read:
            self._read[name] = read_yaml(self.folder / name)
        return self._read[name]


def written(
    commands: Iterable[DefinitionCommand], sources: Iterable[DefinitionSource], file: YamlFile, named: Files
) -> list[Written]:
    """Definitions with the file in which each is written: that of the document, or one that it names."""
    return [
        Written(command, source.origin or (file if source.file is None else named[source.file]), source.path)
        for command, source in zip(commands, sources, strict=True)
    ]


Refusal = tuple[Written, DocumentProblem]


def refusals(definitions: Iterable[Written]) -> Iterator[Refusal]:
    """The problems for which definitions would be refused, one after the other, where nothing is registered."""
    written = list(definitions)
    commands = [one.command for one in written]
    declared = {it.name: it.input for it in commands if isinstance(it, PutTaskDef) and it.input is not None}
    for index, found in groupby(refused_where(Definitions(), commands), key=itemgetter(0)):
        for problem in misspelt_joined([it for _, it in found]):
            yield written[index], with_inputs_meant(problem, commands[index], declared)


def misspelt_joined(problems: Sequence[DocumentProblem]) -> list[DocumentProblem]:
    """The problems of one document; a required field and the misspelt one in its place are one problem, not two."""
    missing = {it.path for it in problems if it.code == "FIELD_MISSING"}
    near, found, told = NearNames(), list[DocumentProblem](), set[tuple[str | int, ...]]()
    for it in problems:
        message = it.message
        if it.code == "FIELD_UNKNOWN":
            *whole, name = it.path
            beside = [str(path[-1]) for path in missing - told if path[:-1] == it.path[:-1]]
            if (meant := near.near(name, sorted(beside))) is not None:
                told.add((*whole, meant))
                message += f"; the field {meant}, which is required, is missing"
        found.append(DocumentProblem(it.code, it.path, message))
    return [it for it in found if it.code != "FIELD_MISSING" or it.path not in told]


def with_inputs_meant(
    problem: DocumentProblem, command: DefinitionCommand, declared: Mapping[str, Collection[str]]
) -> DocumentProblem:
    """The problem; one of a task's inputs also says which of them was meant by a misspelt one.

    `declared`: the inputs of the TaskDefs that are beside the WfSpec, by name. With others the problem stays as it is.
    """
    if problem.code != "TASK_ARG_COUNT" or not isinstance(command, PutWfSpec):
        return problem
    node: Any = parse_json_document(command.document)
    for step in problem.path[:-1]:
        node = node[step]
    given, inputs = node.get("input"), declared.get(node["task"], ())
    if not isinstance(given, Mapping):
        return problem
    near, free, message = NearNames(), [it for it in inputs if it not in given], problem.message
    for name in given:
        if name not in inputs and (meant := near.near(name, free)) is not None:
            free.remove(meant)
            message += f"; did you mean {meant}, not {name}?"
    return DocumentProblem(problem.code, problem.path, message)


@runtime_checkable
class Workflow(Protocol):
    """A program that writes definitions, in place of a file."""

    def read(self) -> CheckedFile:
        """Return its definitions, unchecked, and the problems of writing them down."""


def check_files(sources: Sequence[Path | Workflow]) -> list[CheckedFile]:
    """Read and check files of definitions as one set. Their problems are returned, not raised."""
    checked = [read_source(it) for it in sources]
    home = {id(one): file for file in checked for one in file.definitions}
    definitions = in_order([one for file in checked for one in file.definitions])
    alone = all(isinstance(one.command, PutWfSpec) for one in definitions)
    ill_formed = any(file.problems for file in checked)
    wrong = set()
    for one, problem in refusals(definitions):
        file = home[id(one)]
        if problem.code not in REFERENCES:
            wrong.add(id(one))
            file.problems.append(one.located(problem))
        elif not alone and not ill_formed:
            message = f"{problem.message} in these files: register it before (`halter spec put FILE`)"
            file.hints.append(one.located(DocumentProblem(problem.code, problem.path, message)))
    for one in definitions:
        if isinstance(one.command, PutWfSpec) and id(one) not in wrong:
            wf_spec, _ = check_document(parse_json_document(one.command.document), None)
            assert wf_spec is not None, "it was checked"
            file = home[id(one)]
            file.wf_specs.append(wf_spec)
            file.hints += [one.located(hint) for hint in hints(wf_spec)]
    for one, other in contradictions([it for it in definitions if id(it) not in wrong]):
        if home[id(one)] is not home[id(other)]:
            home[id(one)].problems.append(one.contradicts(other))
    for file in checked:
        for found in (file.problems, file.hints):
            found.sort(key=lambda problem: (problem.file != file.file, problem.file, problem.line, problem.column))
    return checked


def contradictions(definitions: Iterable[Written]) -> Iterator[tuple[Written, Written]]:
    """The definitions that differ from the first of their kind and name, each with that first one."""
    first: dict[tuple[type, str], Written] = {}
    for one in definitions:
        other = first.setdefault((type(one.command), one.command.name), one)
        if said(one.command) != said(other.command):
            yield one, other


def said(command: DefinitionCommand) -> DefinitionCommand | str:
    """A definition without problems in a form that does not depend on how it is written."""
    if not isinstance(command, PutWfSpec):
        return command
    wf_spec, _ = check_document(parse_json_document(command.document), None)
    assert wf_spec is not None, "it was checked"
    return wf_spec.document


def in_order(definitions: Iterable[Written]) -> list[Written]:
    """Definitions in an order in which they can be registered: WfSpecs come after all that they may refer to."""
    return sorted(definitions, key=lambda one: isinstance(one.command, PutWfSpec))


def read_source(source: Path | Workflow) -> CheckedFile:
    """Read the definitions of a file or a program, unchecked. Their problems are returned, not raised."""
    return _read(source) if isinstance(source, Path) else source.read()


def _read(path: Path) -> CheckedFile:
    checked = CheckedFile(str(path))
    named = Files(path.parent)
    try:
        file = read_yaml(path)
    except UnreadableFile as error:
        checked.problems += error.problems
        return checked
    if (other := another_kind(file.data, path, WF_SPEC, DEFINITIONS)) is not None:
        checked.problems.append(file.problem((), other, "FIELD_MISSING"))
        return checked
    if not isinstance(file.data, Mapping) or file.data.keys().isdisjoint(DEFINITION_FIELDS):
        checked.definitions = [Written(wf_spec_command(file.data), file, ())]
        return checked
    commands, sources, problems = read_definitions(file.data, named.load)
    checked.problems += [file.problem(problem.path, str(problem), problem.code) for problem in problems]
    # Others are not checked against a definition whose form is wrong.
    wrong = {problem.path[:2] for problem in problems}
    checked.definitions = [it for it in written(commands, sources, file, named) if it.path[:2] not in wrong]
    return checked


def read_definition_files(sources: Sequence[Path | Workflow]) -> list[Written]:
    """Read the definitions of files, in an order in which they can be registered.

    Raises UnreadableFile or InvalidDefinitions, with all problems of all files and their locations.
    """
    checked = check_files(sources)
    problems = [problem for file in checked for problem in file.problems]
    if any(problem.code == NO_YAML for problem in problems):
        raise UnreadableFile(problems)
    if problems:
        raise InvalidDefinitions(problems)
    return in_order(one for file in checked for one in file.definitions)


def read_definition_file(path: Path) -> DefinitionFile:
    """Read the commands of one file, as `read_definition_files` does."""
    return DefinitionFile(str(path), [one.command for one in read_definition_files([path])])


def only_wf_spec(source: Path | Workflow) -> WfSpec:
    """Read the only WfSpec of a file. Raises UnreadableFile, InvalidDefinitions or OtherThanOneWfSpec."""
    (file,) = check_files([source])
    if file.problems:
        raise InvalidDefinitions(file.problems)
    if len(file.wf_specs) != 1:
        found = ", ".join(wf_spec.name for wf_spec in file.wf_specs) or "none"
        raise OtherThanOneWfSpec(f"{file.file}: expected one WfSpec, found {found}")
    return file.wf_specs[0]
