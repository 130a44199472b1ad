"""Definitions as they would be if a WfSpec had been another one from the beginning."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from halter.history.deciding import Row
from processors.codec import Codec
from processors.core.records.commands import DefinitionCommand, DefinitionKind, PutWfSpec
from processors.core.records.errors import HalterError
from processors.core.records.events import Cause, Definition, DefinitionRejected
from processors.core.records.topic_names import DEFINITION_COMMANDS
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.registration import decide_definition

Rows = Sequence[tuple[int, Row]]
"""Records of `definitions` with their offsets."""


class NotAChange(HalterError):
    """A file does not change a WfSpec that is registered. Whoever named the file names another one."""


def changed(definitions: Iterable[tuple[int, Row]], commands: Sequence[DefinitionCommand], codec: Codec) -> Rows:
    """Return definitions in which every version of the WfSpecs that are given is the one given.

    What the commands define besides is there from the beginning. Raises NotAChange.
    """
    rows = list(definitions)
    known = Definitions()
    for _, row in rows:
        known.apply(_definition(row, codec))
    added: list[Definition] = []
    changed_to: dict[str, Definition] = {}
    for command in commands:
        if isinstance(command, PutWfSpec) and known.newest(DefinitionKind.WF_SPEC, command.name) is None:
            raise NotAChange(f"expected a WfSpec that is registered, found '{command.name}', of which no WfRun ran")
        outcome, accepted = decide_definition(known, command, Cause(DEFINITION_COMMANDS, 0, 0, None, 0))
        if isinstance(outcome, DefinitionRejected):
            raise NotAChange(f"{outcome.name}: {outcome.message}")
        for definition in accepted:
            known.apply(definition)
        if isinstance(command, PutWfSpec):
            version = known.latest_wf_spec(command.name)
            assert version is not None
            changed_to[command.name] = known.version(version)
        else:
            added += accepted
    if not changed_to:
        raise NotAChange("expected a WfSpec, found none")
    return [
        *((-1, _row(definition, codec)) for definition in added),
        *((offset, _changed(row, changed_to, codec)) for offset, row in rows),
    ]


def _changed(row: Row, changed_to: dict[str, Definition], codec: Codec) -> Row:
    definition = _definition(row, codec)
    to = changed_to.get(definition.name) if definition.kind is DefinitionKind.WF_SPEC else None
    if to is None:
        return row
    events, tasks = to.external_event_defs, to.task_defs
    changed = replace(definition, document=to.document, external_event_defs=events, task_defs=tasks)
    return _row(changed, codec)


def _definition(row: Row, codec: Codec) -> Definition:
    definition = codec.decode(row.value or b"")
    assert isinstance(definition, Definition)
    return definition


def _row(definition: Definition, codec: Codec) -> Row:
    return Row(definition.key.encode(), codec.encode(definition))
