"""Registers the definitions of a scenario in memory, by the rules by which the engine registers them."""

from collections.abc import Iterable

from processors.core.commands import DefinitionCommand
from processors.core.definitions import Definitions, decide_definition
from processors.core.events import Cause, DefinitionProblem, DefinitionRejected


class DefinitionsInMemory(Definitions):
    """Definitions, and how many records of `definitions` they would be."""

    def __init__(self) -> None:
        super().__init__()
        self.position = 0


def register(commands: Iterable[DefinitionCommand]) -> tuple[DefinitionsInMemory, list[DefinitionProblem]]:
    """The definitions, and all that is wrong with those that were refused."""
    definitions = DefinitionsInMemory()
    problems: list[DefinitionProblem] = []
    for offset, command in enumerate(commands):
        cause = Cause("definition-commands", 0, offset, command.command_id, definitions.position)
        outcome, accepted = decide_definition(definitions, command, cause)
        for definition in accepted:
            definitions.apply(definition)
            definitions.position += 1
        if isinstance(outcome, DefinitionRejected):
            problems.extend(outcome.problems or [DefinitionProblem(outcome.code, outcome.message)])
    return definitions, problems
