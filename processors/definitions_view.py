"""What a worker knows of the definitions: all of the compacted topic `definitions`, up to a position.

Shared by the folds of a worker. The runtime feeds it between turns, so that one position holds during a turn.
"""

from processors.codec import Codec
from processors.core.definitions import Definitions
from processors.core.events import Definition
from processors.core.model import WfSpecId
from processors.core.spec import WfSpec
from processors.errors import HalterError


class BrokenDefinition(HalterError):
    """A record of `definitions` is none. Only the engine writes there: find out who else did."""


class DefinitionsView:
    """The definitions at `position`, the next offset of `definitions` to read."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._definitions = Definitions()
        self.position = 0

    def apply(self, key: bytes, value: bytes | None, next_position: int) -> None:
        """Take one record. Raises BrokenDefinition for one that is none."""
        if value is not None:
            definition = self._codec.decode(value)
            if not isinstance(definition, Definition):
                raise BrokenDefinition(
                    f"definitions, key {key!r}: expected a Definition, found {type(definition).__name__}"
                )
            self._definitions.apply(definition)
        self.position = next_position

    def wf_spec(self, wf_spec_id: WfSpecId) -> WfSpec:
        """A registered version, deleted or not."""
        return self._definitions.wf_spec(wf_spec_id)

    def latest_wf_spec(self, name: str, major: int | None = None, revision: int | None = None) -> WfSpecId | None:
        """The newest version that is not deleted."""
        return self._definitions.latest_wf_spec(name, major, revision)

    def task_def(self, name: str) -> Definition | None:
        """The TaskDef of this name, deleted or not: WfRuns keep theirs."""
        return self._definitions.task_def(name)

    def external_event_def(self, name: str, bound_by: WfSpecId | None = None) -> Definition | None:
        """The ExternalEventDef of this name, deleted or not: the revision that a WfSpec binds, or the newest."""
        return self._definitions.external_event_def(name, bound_by)

    def workflow_event_def(self, name: str) -> Definition | None:
        """The WorkflowEventDef of this name, deleted or not."""
        return self._definitions.workflow_event_def(name)
