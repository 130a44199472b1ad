"""Registers the definitions of a scenario in memory, by the engine's own rules."""

from collections.abc import Iterable
from typing import Self

from processors.core.records.commands import DefinitionCommand
from processors.core.records.events import Cause, DefinitionProblem, DefinitionRejected
from processors.core.records.topic_names import DEFINITION_COMMANDS
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.registration import decide_definition


class DefinitionsInMemory(Definitions):
    """Registered definitions, and the number of records that they would be on the topic `definitions`."""

    def __init__(self) -> None:
        super().__init__()
        self.position = 0
        self._commands = 0

    def copy(self) -> Self:
        """Return the same definitions again, at the same position."""
        copied = super().copy()
        copied.position, copied._commands = self.position, self._commands
        return copied

    def register(self, commands: Iterable[DefinitionCommand]) -> list[DefinitionProblem]:
        """Register definitions one after the other, and return all problems of those that are refused."""
        problems: list[DefinitionProblem] = []
        for command in commands:
            cause = Cause(DEFINITION_COMMANDS, 0, self._commands, command.command_id, self.position)
            self._commands += 1
            outcome, accepted = decide_definition(self, command, cause)
            for definition in accepted:
                self.apply(definition)
                self.position += 1
            if isinstance(outcome, DefinitionRejected):
                problems.extend(outcome.problems or [DefinitionProblem(outcome.code, outcome.message)])
        return problems


def register(commands: Iterable[DefinitionCommand]) -> tuple[DefinitionsInMemory, list[DefinitionProblem]]:
    """Register definitions in a new registry. Return the registry, and all problems of those that are refused."""
    definitions = DefinitionsInMemory()
    return definitions, definitions.register(commands)
