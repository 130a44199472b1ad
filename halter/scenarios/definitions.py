"""Registers the definitions of a scenario in memory, by the rules by which the engine registers them."""

from collections.abc import Iterable

from processors.core.records.commands import DefinitionCommand
from processors.core.records.events import Cause, DefinitionProblem, DefinitionRejected
from processors.core.wf_spec.definitions import Definitions, decide_definition


class DefinitionsInMemory(Definitions):
    """Definitions, and how many records of `definitions` they would be."""

    def __init__(self) -> None:
        super().__init__()
        self.position = 0
        self._commands = 0

    def register(self, commands: Iterable[DefinitionCommand]) -> list[DefinitionProblem]:
        """Take them one after the other; all that is wrong with those that were refused."""
        problems: list[DefinitionProblem] = []
        for command in commands:
            cause = Cause("definition-commands", 0, self._commands, command.command_id, self.position)
            self._commands += 1
            outcome, accepted = decide_definition(self, command, cause)
            for definition in accepted:
                self.apply(definition)
                self.position += 1
            if isinstance(outcome, DefinitionRejected):
                problems.extend(outcome.problems or [DefinitionProblem(outcome.code, outcome.message)])
        return problems


def register(commands: Iterable[DefinitionCommand]) -> tuple[DefinitionsInMemory, list[DefinitionProblem]]:
    """The definitions, and all that is wrong with those that were refused."""
    definitions = DefinitionsInMemory()
    return definitions, definitions.register(commands)
