"""The fold of `definition-commands`: which definitions are accepted, on the log and on `definitions`.

One partition of it, so definitions have one order; the owner of shard 0 folds it in the same transactions.
"""

from processors.codec import Codec
from processors.core.commands import DefinitionCommand
from processors.core.definitions import Definitions, decide_definition
from processors.core.events import Cause, Definition
from processors.outputs import OutputRecord


class DefinitionFold:
    """All accepted definitions, as the next command finds them: ahead of `definitions` by the turn in progress."""

    def __init__(self, codec: Codec, task_queues: frozenset[str]) -> None:
        self._codec = codec
        self._task_queues = task_queues
        self._definitions = Definitions()
        self._binds = codec.writes(Definition.__name__, "external_event_defs")

    def restore(self, definition: Definition) -> None:
        """Take a row of `definitions`."""
        self._definitions.apply(definition)

    def fold(self, command: DefinitionCommand, cause: Cause) -> list[OutputRecord]:
        """The outcome on `definition-events`, and the definitions that are new or deleted."""
        outcome, definitions = decide_definition(
            self._definitions, command, cause, self._task_queues, binds=self._binds
        )
        outputs = [OutputRecord("definition-events", 0, outcome.name.encode(), self._codec.encode(outcome))]
        for definition in definitions:
            self._definitions.apply(definition)
            outputs.append(OutputRecord("definitions", 0, definition.key.encode(), self._codec.encode(definition)))
        return outputs
