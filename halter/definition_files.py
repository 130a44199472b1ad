"""YAML files of definitions, as `halter spec put` takes them: what they register, or all that is wrong with them.

A file is either one WfSpec document, or has some of `external_events`, `tasks`, `workflow_events` and `wf_specs`, as
the head of a scenario does; its WfSpecs are written there in full or named by their files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from halter.scenarios.document import DEFINITION_FIELDS, read_definitions
from halter.yaml_files import Problem, YamlFile, read_yaml
from processors.core.commands import DefinitionCommand, PutWfSpec
from processors.core.documents import DocumentProblem, parse_json_document
from processors.core.validate import check_document
from processors.core.values import ValueProblem
from processors.errors import HalterError


class InvalidDefinitions(HalterError):
    """A file of definitions is not valid. Its author should act; the message has one line for each problem."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class DefinitionFile:
    """What a file registers, in an order in which it can be: what a WfSpec refers to comes before it."""

    file: str
    commands: list[DefinitionCommand]


def read_definition_file(path: Path) -> DefinitionFile:
    """Read a file and check its form, and that of its WfSpecs. What its names refer to is for the engine to check.

    Raises UnreadableFile or InvalidDefinitions, with all problems and where they are.
    """
    file = read_yaml(path)
    if isinstance(file.data, Mapping) and file.data.keys().isdisjoint(DEFINITION_FIELDS):
        return DefinitionFile(file.file, [_bare_wf_spec(file)])
    elsewhere: list[Problem] = []

    def load(name: str) -> object:
        loaded = read_yaml(path.parent / name)
        elsewhere.extend(_problems(loaded, loaded.data, ()))
        return loaded.data

    commands, found = read_definitions(file.data, load)
    problems = [_placed(file, problem) for problem in found]
    written_here = file.data.get("wf_specs") if isinstance(file.data, Mapping) else None
    for index, document in enumerate(written_here if isinstance(written_here, list) else []):
        if isinstance(document, Mapping):
            problems += _problems(file, document, ("wf_specs", index))
    problems += elsewhere
    if problems:
        raise InvalidDefinitions(problems)
    return DefinitionFile(file.file, commands)


def _bare_wf_spec(file: YamlFile) -> PutWfSpec:
    problems = _problems(file, file.data, ())
    if problems:
        raise InvalidDefinitions(problems)
    assert isinstance(file.data, Mapping)
    return PutWfSpec(file.data["name"], json.dumps(file.data, ensure_ascii=False))


def _problems(file: YamlFile, document: object, path: tuple[str | int, ...]) -> list[Problem]:
    """All that is wrong with a WfSpec document, without what it refers to; also what is lost on the way as JSON."""
    _, problems = check_document(document, None)
    if not problems:
        try:
            parse_json_document(json.dumps(document, ensure_ascii=False))
        except (ValueProblem, ValueError, TypeError) as error:
            problems = [DocumentProblem("DOCUMENT", (), str(error))]
    placed = [_placed(file, DocumentProblem(it.code, (*path, *it.path), it.message)) for it in problems]
    return sorted(placed, key=lambda problem: (problem.line, problem.column))


def _placed(file: YamlFile, problem: DocumentProblem) -> Problem:
    return file.problem(problem.path, str(problem), problem.code)
