"""Scenarios in files: read, run in memory, judged; every problem with file, line and column."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from halter.scenarios.definitions import register
from halter.scenarios.document import read_scenario
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import judge_definitions, run
from halter.yaml_files import Problem, UnreadableFile, read_yaml
from processors.core.context import Context


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """What came of one file."""

    file: str
    name: str | None
    """Of the scenario; None where the file is not one."""
    steps: int
    """How many were as expected."""
    problems: Sequence[Problem] = ()
    """All that is wrong with the document, or the one thing that is not as it expects."""
    log: Sequence[str] = ()
    """What had happened by then, one line per record."""

    @property
    def ok(self) -> bool:
        """Whether all is as the scenario expects."""
        return not self.problems


def run_file(path: Path) -> FileVerdict:
    """Run one scenario document in memory; raises nothing for what is in it."""
    try:
        file = read_yaml(path)
        scenario, problems = read_scenario(file.data, lambda name: read_yaml(path.parent / name).data)
    except UnreadableFile as error:
        return FileVerdict(str(path), None, 0, error.problems)
    if scenario is None:
        placed = [file.problem(problem.path, str(problem), problem.code) for problem in problems]
        return FileVerdict(file.file, None, 0, sorted(placed, key=lambda problem: (problem.line, problem.column)))
    definitions, refused = register(scenario.definitions)
    verdict = judge_definitions(scenario, refused)
    if verdict is None:
        engine = MemoryEngine(Context(definitions, scenario.limits), scenario.start_ms)
        verdict = run(scenario, engine, definitions)
    if verdict.problem is None:
        return FileVerdict(file.file, scenario.name, verdict.steps)
    problem = file.problem(verdict.path, verdict.problem, "EXPECTED")
    return FileVerdict(file.file, scenario.name, verdict.steps, [problem], verdict.log)
