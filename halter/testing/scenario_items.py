"""Scenario documents as tests of pytest: one item for each file, which runs it in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest._code.code import ReprFileLocation, TerminalRepr
from _pytest._io import TerminalWriter
from _pytest.pathlib import bestrelpath

from halter.files.yaml_files import Problem
from halter.scenarios.files import FileVerdict, run_file


class NotAsExpected(Exception):
    """A scenario is not as its document expects. Its author looks at the problems and the log."""

    def __init__(self, verdict: FileVerdict) -> None:
        super().__init__("\n".join(map(str, verdict.problems)))
        self.verdict = verdict


class ScenarioFile(pytest.File):
    """A file with a scenario."""

    def collect(self) -> Iterator["ScenarioItem"]:
        """Yield its only item. The document is read when that runs: reading may import programs of its author's."""
        yield ScenarioItem.from_parent(self, name="scenario")


class ScenarioItem(pytest.Item):
    """A scenario."""

    def runtest(self) -> None:
        """Run it in memory."""
        verdict = run_file(self.path)
        if not verdict.ok:
            raise NotAsExpected(verdict)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **more: Any) -> Any:
        """Return the problems with their places, and the log up to there."""
        if isinstance(excinfo.value, NotAsExpected):
            return _Failure(excinfo.value.verdict, self._relative)
        return super().repr_failure(excinfo, *args, **more)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where it is."""
        return self.path, None, f"scenario {self.path.name}"

    def _relative(self, problem: Problem) -> str:
        file = Path(problem.file)
        shown = bestrelpath(self.config.invocation_params.dir, file) if file.is_absolute() else problem.file
        return str(Problem(shown, problem.line, problem.column, problem.message, problem.code))


class _Failure(TerminalRepr):
    """What is printed of a scenario that failed."""

    def __init__(self, verdict: FileVerdict, shown: Any) -> None:
        self._problems = [shown(problem) for problem in verdict.problems]
        self._name, self._log = verdict.name, verdict.log
        first = verdict.problems[0]
        self.reprcrash = ReprFileLocation(first.file, first.line, self._problems[0])
        """What the summary shows in one line."""

    def toterminal(self, tw: TerminalWriter) -> None:
        """Print it."""
        if self._name:
            tw.line(f"scenario: {self._name}")
        for problem in self._problems:
            tw.line(problem, red=True, bold=True)
        if self._log:
            tw.line()
        for line in self._log:
            tw.line(line)
