"""WfSpec documents in files: read, checked, every problem with file, line and column.

What a document may say is `processors.core.wf_spec.reader`' and `validate`'s; where it stands is `yaml_files`'.
"""

from dataclasses import dataclass
from pathlib import Path

from halter.files.yaml_files import Problem, UnreadableFile, YamlFile, read_yaml
from processors.core.records.errors import HalterError
from processors.core.records.spec import WfSpec
from processors.core.wf_spec.document_problems import DocumentProblem
from processors.core.wf_spec.validate import RegisteredDefs, check_document, hints


class InvalidWfSpec(HalterError):
    """A WfSpec document is not valid. Its author should act; the message has one line for each problem."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class CheckedWfSpec:
    """A WfSpec document and what was found in it: a WfSpec, or problems; and what looks like a mistake but is none."""

    file: str
    wf_spec: WfSpec | None
    problems: list[Problem]
    hints: list[Problem]


def check_wf_spec_file(path: Path, registered: RegisteredDefs | None = None) -> CheckedWfSpec:
    """Read and check a WfSpec document; raises nothing for what is in the file.

    Without `registered`, references to TaskDefs, ExternalEventDefs and WorkflowEventDefs are left to the engine.
    """
    try:
        file = read_yaml(path)
    except UnreadableFile as error:
        return CheckedWfSpec(str(path), None, error.problems, [])
    wf_spec, problems = check_document(file.data, registered)
    found_hints = [] if wf_spec is None else hints(wf_spec)
    return CheckedWfSpec(file.file, wf_spec, _placed(file, problems), _placed(file, found_hints))


def load_wf_spec_document(path: Path, registered: RegisteredDefs | None = None) -> WfSpec:
    """The WfSpec of a document; raises InvalidWfSpec with all that is wrong with it."""
    checked = check_wf_spec_file(path, registered)
    if checked.wf_spec is None:
        raise InvalidWfSpec(checked.problems)
    return checked.wf_spec


def _placed(file: YamlFile, problems: list[DocumentProblem]) -> list[Problem]:
    placed = [file.problem(problem.path, str(problem), problem.code) for problem in problems]
    return sorted(placed, key=lambda problem: (problem.line, problem.column))
