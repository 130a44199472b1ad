"""Reads and runs scenario files. Every problem has its file, line and column."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from halter.files.definition_files import Files, Written, contradictions, read_source, refusals, written
from halter.files.document_kinds import SCENARIO, another_kind
from halter.files.scenario import Scenario
from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import NO_YAML, Problem, UnreadableFile, YamlFile, read_yaml
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import Verdict, judge_definitions, run
from halter.workflow.named import source_named
from processors.core.rules.context import Context
from processors.core.wf_spec.document_problems import DocumentProblem


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """The result of one scenario file."""

    file: str
    name: str | None
    """The name of the scenario; None if the file is no scenario."""
    steps: int
    """The number of steps that went as expected."""
    problems: Sequence[Problem] = ()
    """Everything that is wrong with the document, or the first thing that is not as it expects."""
    log: Sequence[str] = ()
    """The log up to the problem, one line per record."""

    @property
    def ok(self) -> bool:
        """Return True if everything is as the scenario expects."""
        return not self.problems


Judge: TypeAlias = Callable[[Scenario], Verdict]
"""Runs a scenario."""


def in_memory(scenario: Scenario) -> Verdict:
    """Run a scenario in memory."""
    definitions, refused = register(scenario.definitions)
    verdict = judge_definitions(scenario, refused)
    if verdict is not None:
        return verdict
    return run(scenario, MemoryEngine(Context(definitions, scenario.limits), scenario.start_ms), definitions)


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A document that was read: a scenario, or a document that already has its verdict."""

    file: YamlFile | None
    scenario: Scenario | None
    unreadable: FileVerdict | None = None
    definitions: Sequence[Written] = ()

    def judged_by(self, judge: Judge) -> FileVerdict:
        """Return the verdict on this file. Mistakes in the file are part of the verdict, and raise nothing."""
        if self.unreadable is not None:
            return self.unreadable
        assert self.file is not None
        assert self.scenario is not None
        name = self.scenario.name
        if self.scenario.definitions_rejected is None:
            # Definitions are checked here first, because an engine knows no lines. Scenarios that expect a refusal
            # skip this check: only the engine shall refuse their definitions.
            refused = [_refused(one, problem) for one, problem in refusals(self.definitions)]
            refused = refused or [
                one.contradicts(other) for one, other in contradictions(self.definitions) if one.file is not other.file
            ]
            if refused:
                return FileVerdict(self.file.file, name, 0, refused)
        verdict = judge(self.scenario)
        if verdict.problem is None:
            return FileVerdict(self.file.file, name, verdict.steps)
        problem = self.file.problem(verdict.path, verdict.problem, "EXPECTED")
        return FileVerdict(self.file.file, name, verdict.steps, [problem], verdict.log)


def _refused(one: Written, problem: DocumentProblem) -> Problem:
    placed = one.located(problem)
    return replace(placed, message=f"the definitions are refused: {placed.message} [{placed.code}]")


class _Named(Files):
    """What a document names: files of WfSpecs, and files and programs of definitions."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.problems: list[Problem] = []
        """Problems in files and programs of definitions, with their places there."""

    def definitions(self, name: str) -> list[Written]:
        """Return the definitions of a file or program, unchecked. Raises UnreadableFile, NoTarget, NoSuchThing."""
        read = read_source(source_named(name, self.folder))
        if any(problem.code == NO_YAML for problem in read.problems):
            raise UnreadableFile(read.problems)
        self.problems += read.problems
        return read.definitions


def read_file(path: Path) -> ScenarioFile:
    """Read one scenario document. Mistakes in the file raise nothing: they are its verdict."""
    named = _Named(path.parent)
    try:
        file = read_yaml(path)
    except UnreadableFile as error:
        return ScenarioFile(None, None, FileVerdict(str(path), None, 0, error.problems))
    other = another_kind(file.data, path, SCENARIO)
    if other is not None:
        problem = file.problem((), other, "FIELD_MISSING")
        return ScenarioFile(file, None, FileVerdict(file.file, None, 0, [problem]))
    scenario, problems = read_scenario(file.data, named.load, named.definitions)
    if scenario is None or named.problems:
        placed = [file.problem(problem.path, str(problem), problem.code) for problem in problems]
        placed.sort(key=lambda problem: (problem.line, problem.column))
        placed += named.problems
        return ScenarioFile(file, None, FileVerdict(file.file, None, 0, placed))
    definitions = written(scenario.definitions, scenario.sources, file, named)
    return ScenarioFile(file, scenario, definitions=definitions)


def run_file(path: Path, judge: Judge = in_memory) -> FileVerdict:
    """Run one scenario document. Mistakes in the file are part of the verdict, and raise nothing."""
    return read_file(path).judged_by(judge)
