"""Definitions that were read and registered before: the next test that names the same files gets a copy.

Reading and checking takes longer than most tests of a workflow. A file counts as the same while its time and size do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

from halter.files.definition_files import InvalidDefinitions, Written, read_definition_files, refusals
from halter.files.yaml_files import Problem, YamlFile
from halter.scenarios.definitions import DefinitionsInMemory
from halter.workflow.workflow import Workflow
from processors.core.records.commands import DefinitionKind
from processors.core.records.events import DefinitionProblem
from processors.core.records.model import WfSpecId

Source: TypeAlias = Path | Workflow
Stamps: TypeAlias = dict[Path, tuple[int, int]]
KNOWN_MAX: Final = 64

_KNOWN: dict[tuple[Source, ...], tuple[Stamps, DefinitionsInMemory]] = {}


def registered(sources: Sequence[Source]) -> DefinitionsInMemory:
    """Return a registry with the definitions of files and Workflows. Raises UnreadableFile, InvalidDefinitions."""
    key = tuple(it.absolute() if isinstance(it, Path) else it for it in sources)
    found = _KNOWN.get(key)
    if found is None or any(_stamp(file) != stamp for file, stamp in found[0].items()):
        definitions = DefinitionsInMemory()
        written = register_in(definitions, sources)
        files = {it for it in key if isinstance(it, Path)}
        files |= {Path(it.file.file).absolute() for it in written if isinstance(it.file, YamlFile)}
        for it in definitions.all():
            if it.kind is DefinitionKind.WF_SPEC:
                definitions.wf_spec(WfSpecId(it.name, it.major, it.revision))  # parsed here, and not in each copy
        stamps = {file: stamp for file in files if (stamp := _stamp(file)) is not None}
        if len(_KNOWN) >= KNOWN_MAX:
            _KNOWN.pop(next(iter(_KNOWN)))
        found = _KNOWN[key] = stamps, definitions
    return found[1].copy()


def register_in(definitions: DefinitionsInMemory, sources: Sequence[Source]) -> list[Written]:
    """Register what files and Workflows define, and return it. Raises UnreadableFile, InvalidDefinitions."""
    written = read_definition_files(sources)
    refused = definitions.register(it.command for it in written)
    if refused:
        placed = [one.located(problem) for one, problem in refusals(written)]
        raise InvalidDefinitions(placed or [_placed(written, it) for it in refused])
    return written


def _placed(written: Sequence[Written], problem: DefinitionProblem) -> Problem:
    return written[0].file.problem((), problem.message, problem.code)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
