"""The definitions that a worker knows: all of the compacted topic `definitions`, up to a position.

The folds of a worker share it. The runtime feeds it between turns, so one position holds during a turn.

A WfSpec may take a tenth of a second to read, and nothing would be folded meanwhile. So an executor reads a WfSpec that
comes, and the position moves past it when that is done. At the start it reads the newest version of each first. Any
other version is read when a fold asks for it.
"""

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress

from processors.codec import Codec
from processors.core.records.errors import HalterError
from processors.core.records.events import Definition
from processors.core.records.model import WfSpecId
from processors.core.records.spec import WfSpec
from processors.core.wf_spec.definitions import Definitions


class BrokenDefinition(HalterError):
    """A record of `definitions` is no Definition. Only the engine writes there, so find out who else did."""


class DefinitionsView:
    """The definitions at `position`, the next offset of `definitions` to read."""

    def __init__(self, codec: Codec, ahead: Executor | None = None) -> None:
        """`ahead` is the executor that reads WfSpecs before a fold asks for them."""
        self._codec = codec
        self._executor = ahead
        self._reading: tuple[bytes, Future[Definitions]] | None = None
        self._definitions = Definitions()
        self.position = 0

    def prepare(self, value: bytes | None) -> bool:
        """Begin to read the next record, so that no fold has to. Return True as soon as it can be applied."""
        if self._executor is None or value is None:
            return True
        if self._reading is None or self._reading[0] != value:
            definition = self._codec.decode(value)
            if not isinstance(definition, Definition) or definition.document is None:
                return True
            self._reading = value, self._executor.submit(read_alone, definition)
        return self._reading[1].done()

    def read_newest(self) -> None:
        """Begin to read the newest version of each WfSpec."""
        if self._executor is not None:
            known = self._definitions.copy()
            names = {definition.name for definition in known.all() if definition.document is not None}
            newest = [found for name in sorted(names) if (found := known.latest_wf_spec(name)) is not None]
            self._read_next(known, newest)

    def _read_next(self, known: Definitions, newest: Sequence[WfSpecId]) -> None:
        """Read them one after the other. Each is a task of its own, so a worker that is told to stop does not wait for
        all.
        """
        if self._executor is not None and newest:
            with suppress(RuntimeError):  # the process ends
                self._executor.submit(self._read_one, known, newest)

    def _read_one(self, known: Definitions, newest: Sequence[WfSpecId]) -> None:
        with suppress(Exception):  # the fold that asks for it meets the error too, and reports it
            self._definitions.learn(newest[0], known.wf_spec(newest[0]))
        self._read_next(known, newest[1:])

    def apply(self, key: bytes, value: bytes | None, next_position: int) -> None:
        """Take one record. Raises BrokenDefinition if it is no Definition."""
        if value is not None:
            definition = self._codec.decode(value)
            if not isinstance(definition, Definition):
                raise BrokenDefinition(
                    f"definitions, key {key!r}: expected a Definition, found {type(definition).__name__}"
                )
            self._definitions.apply(definition)
            reading, self._reading = self._reading, None
            if reading is not None and reading[0] == value and reading[1].exception() is None:
                wf_spec_id = WfSpecId(definition.name, definition.major, definition.revision)
                self._definitions.learn(wf_spec_id, reading[1].result().wf_spec(wf_spec_id))
        self.position = next_position

    def wf_spec(self, wf_spec_id: WfSpecId) -> WfSpec:
        """Return a registered version, deleted or not."""
        return self._definitions.wf_spec(wf_spec_id)

    def latest_wf_spec(self, name: str, major: int | None = None, revision: int | None = None) -> WfSpecId | None:
        """Return the newest version that is not deleted."""
        return self._definitions.latest_wf_spec(name, major, revision)

    def task_def(self, name: str, bound_by: WfSpecId | None = None) -> Definition | None:
        """Return the TaskDef of this name, deleted or not: the revision that a WfSpec binds, or the newest."""
        return self._definitions.task_def(name, bound_by)

    def external_event_def(self, name: str, bound_by: WfSpecId | None = None) -> Definition | None:
        """Return the ExternalEventDef of this name, deleted or not: the revision that a WfSpec binds, or the newest."""
        return self._definitions.external_event_def(name, bound_by)

    def workflow_event_def(self, name: str) -> Definition | None:
        """Return the WorkflowEventDef of this name, deleted or not."""
        return self._definitions.workflow_event_def(name)


def read_alone(definition: Definition) -> Definitions:
    """Read a WfSpec into definitions of its own, from which it can be taken without being read again.

    Raises UnreadableWfSpec.
    """
    alone = Definitions()
    alone.apply(definition)
    alone.wf_spec(WfSpecId(definition.name, definition.major, definition.revision))
    return alone
