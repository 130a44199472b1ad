"""The fold of `definition-commands`: which definitions are accepted, on the log and on `definitions`.

One partition of it, so definitions have one order; the owner of shard 0 folds it in the same transactions.

To read a WfSpec may take half a second, in which nothing else of the worker would be folded. So a command that is dear
is decided ahead of its fold, by an executor, and the runtime gives it to a turn when that is done. What it comes to is
the same: these definitions change by the commands of this fold alone, and none of them is folded in between.
"""

from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Final

from processors.codec import Codec
from processors.core.records.commands import DefinitionCommand, DeleteDefinition, PutWfSpec
from processors.core.records.events import Cause, Definition
from processors.core.records.topic_names import DEFINITION_COMMANDS, DEFINITION_EVENTS, DEFINITIONS
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.registration import Outcome, decide_definition
from processors.fold.outputs import OutputRecord

DEAR: Final = (PutWfSpec, DeleteDefinition)
"""Commands that read WfSpecs: their own, or those that may name what is deleted."""
NO_CAUSE: Final = Cause(DEFINITION_COMMANDS, 0, 0, None, 0)
"""Of an outcome that was found ahead: at which position of `definitions` it will be folded is not known yet."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The outcome of the command at an offset, there or on its way."""

    offset: int
    outcome: Future[tuple[Outcome, list[Definition]]]


# (rule definitions-have-one-order)
class DefinitionFold:
    """All accepted definitions, as the next command finds them: ahead of `definitions` by the turn in progress."""

    def __init__(self, codec: Codec, task_queues: frozenset[str], ahead: Executor | None = None) -> None:
        """`ahead` decides what is dear before it is folded; without it that is done when it is folded."""
        self._codec = codec
        self._executor = ahead
        self._ahead: Ahead | None = None
        self._task_queues = task_queues
        self._definitions = Definitions()
        self._binds = codec.writes(Definition.__name__, "external_event_defs")

    def restore(self, definition: Definition) -> None:
        """Take a row of `definitions`."""
        self._definitions.apply(definition)

    def can_be_folded(self, offset: int, command: DefinitionCommand, *, is_next: bool) -> bool:
        """Say whether the fold of a command will not hold up what else is to be folded.

        `is_next`: all before it are folded. Then a dear one begins to be decided.
        """
        if self._executor is None or not isinstance(command, DEAR):
            return True
        if self._ahead is not None and self._ahead.offset == offset:
            return self._ahead.outcome.done()
        if is_next:
            self._ahead = Ahead(offset, self._executor.submit(self._decide, command, NO_CAUSE))
        return False

    def fold(self, command: DefinitionCommand, cause: Cause) -> list[OutputRecord]:
        """The outcome on `definition-events`, and the definitions that are new or deleted."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.offset == cause.offset:
            outcome, definitions = ahead.outcome.result()
            outcome = replace(outcome, cause=cause)
        else:
            outcome, definitions = self._decide(command, cause)
        outputs = [OutputRecord(DEFINITION_EVENTS, 0, outcome.name.encode(), self._codec.encode(outcome))]
        for definition in definitions:
            self._definitions.apply(definition)
            outputs.append(OutputRecord(DEFINITIONS, 0, definition.key.encode(), self._codec.encode(definition)))
        return outputs

    def _decide(self, command: DefinitionCommand, cause: Cause) -> tuple[Outcome, list[Definition]]:
        return decide_definition(self._definitions, command, cause, self._task_queues, binds=self._binds)
