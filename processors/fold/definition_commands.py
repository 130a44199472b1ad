"""The fold of `definition-commands`: decides which definitions are accepted, for the log and for `definitions`.

The topic has one partition, so definitions have one order. The owner of shard 0 folds it in the same transactions.

Reading a WfSpec may take half a second, in which the worker would fold nothing else. So an executor decides a dear
command ahead of its fold, and the runtime gives the command to a turn when that is done. The outcome is the same: only
the commands of this fold change these definitions, and none of them is folded in between.
"""

from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Final

from processors.codec import Codec
from processors.core.records.commands import (
    DefinitionCommand,
    DefinitionKind,
    DeleteDefinition,
    PutTaskDef,
    PutWfSpec,
)
from processors.core.records.events import Cause, CorrelationKeyChanged, Definition, TaskAttemptStarted
from processors.core.records.topic_names import DEFINITION_COMMANDS, DEFINITION_EVENTS, DEFINITIONS
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.registration import Outcome, decide_definition
from processors.fold.outputs import OutputRecord

DEAR: Final = (PutWfSpec, PutTaskDef, DeleteDefinition)
"""Commands that read WfSpecs: the one that they bring, or those that may name the definition that changes or goes."""
BOUND_IN: Final = {DefinitionKind.EXTERNAL_EVENT_DEF: "external_event_defs", DefinitionKind.TASK_DEF: "task_defs"}
"""Kind -> the field in which the row of a WfSpec says which revisions it binds. Schemas of earlier releases lack it."""
NO_CAUSE: Final = Cause(DEFINITION_COMMANDS, 0, 0, None, 0)
"""Cause of an outcome that was found ahead. The position of `definitions` at which it will be folded is not known yet.
"""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The outcome of the command at an offset, decided or being decided."""

    offset: int
    outcome: Future[tuple[Outcome, list[Definition]]]


class DefinitionFold:
    """All accepted definitions as the next command finds them, in one order (rule definitions-have-one-order).

    They are ahead of `definitions` by the turn in progress.
    """

    def __init__(self, codec: Codec, task_queues: frozenset[str], ahead: Executor | None = None) -> None:
        """`ahead` decides dear commands before they are folded; without it they are decided when they are folded."""
        self._codec = codec
        self._executor = ahead
        self._ahead: Ahead | None = None
        self._task_queues = task_queues
        self._definitions = Definitions()
        self._binds = [kind for kind, field in BOUND_IN.items() if codec.writes(Definition.__name__, field)]
        self._starts = codec.knows(TaskAttemptStarted.__name__)
        self._correlates = codec.knows(CorrelationKeyChanged.__name__)

    def restore(self, definition: Definition) -> None:
        """Take a row of `definitions`."""
        self._definitions.apply(definition)

    def decide_ahead(self, offset: int, command: DefinitionCommand, *, is_next: bool) -> bool:
        """Begin to decide a dear command, if all before it are folded (`is_next`).

        Return True as soon as folding the command will not hold up other records. Called again until then.
        """
        if self._executor is None or not isinstance(command, DEAR):
            return True
        if self._ahead is not None and self._ahead.offset == offset:
            return self._ahead.outcome.done()
        if is_next:
            self._ahead = Ahead(offset, self._executor.submit(self._decide, command, NO_CAUSE))
        return False

    def fold(self, command: DefinitionCommand, cause: Cause) -> list[OutputRecord]:
        """Return the outcome for `definition-events`, and the definitions that are new or deleted."""
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
        return decide_definition(
            self._definitions,
            command,
            cause,
            self._task_queues,
            binds=self._binds,
            starts=self._starts,
            correlates=self._correlates,
        )
