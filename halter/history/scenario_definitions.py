"""The definitions of a history as a scenario document has them: those in force, when they came into force."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from halter.history.source import Source
from halter.history.turns import NoScenario, Turn
from halter.scenarios.writing import head_of
from processors.core.records.commands import (
    DefinitionCommand,
    DefinitionKind,
    ExternalEvent,
    MigrateWfRun,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
    RunWf,
    RunWfAndPost,
)
from processors.core.records.events import (
    Definition,
    WfRunMigrated,
    WfRunStarted,
)
from processors.core.records.model import WfSpecId
from processors.core.wf_spec.definitions import Definitions


def definitions_of(source: Source, turns: Sequence[Turn]) -> tuple[dict[str, Any], Mapping[int, list[dict[str, Any]]]]:
    """Return the head of the document, and `define` steps by the index of the input before which they come."""
    wanted = _Wanted(source.definitions(), turns)
    positions = [turn.entries[0].cause.definitions_position for turn in turns]
    at: dict[int, list[Definition]] = {}
    seen: set[str] = set()
    for offset, definition in source.definition_records():
        # The topic is compacted: of what was deleted since there may be the deletion only. A document has no deletions.
        is_repeated = definition.deleted and definition.key in seen
        seen.add(definition.key)
        if wanted.includes(definition) and not is_repeated:
            index = next((index for index, position in enumerate(positions) if offset < position), len(turns))
            at.setdefault(min(index, wanted.needed_by(definition)), []).append(definition)
    at.pop(len(turns), None)  # what came after the last input
    there = {WfSpecId(it.name, it.major, it.revision) for many in at.values() for it in many}
    for spec_id in wanted.wf_specs:
        if spec_id not in there:
            raise NoScenario(f"expected WfSpec {spec_id} among the definitions {source.where}, found it gone")
    batches = {index: [head_of(_commands(batch)) for batch in wanted.batches(many)] for index, many in at.items()}
    first, *others = batches.pop(0, [{}])
    return first | head_of((), source.limits), batches | ({0: others} if others else {})


class _Wanted:
    """The definitions that the inputs of a WfRun need."""

    def __init__(self, definitions: Definitions, turns: Sequence[Turn]) -> None:
        self.wf_specs: dict[WfSpecId, int] = {}
        """The versions that were run -> the index of the first input that did."""
        self._names: set[tuple[DefinitionKind, str]] = set()
        self._bound: dict[tuple[DefinitionKind, str], set[str]] = {}
        """Definition -> the keys of the revisions that a WfSpec that was run binds."""
        self._bound_at: dict[str, int] = {}
        """The key of such a revision -> the index of the first input that ran a WfSpec that binds it."""
        for index, turn in enumerate(turns):
            if isinstance(turn.command, ExternalEvent | RunWfAndPost):
                self._names.add((DefinitionKind.EXTERNAL_EVENT_DEF, turn.command.external_event_def))
            for entry in turn.entries:
                if isinstance(entry.event, WfRunStarted | WfRunMigrated):
                    self.wf_specs.setdefault(entry.event.wf_spec, index)
        if not self.wf_specs:
            asked = (turn.command for turn in turns if isinstance(turn.command, RunWf | RunWfAndPost))
            for command in asked:
                latest = definitions.latest_wf_spec(command.wf_spec_name)
                if latest is not None:
                    self.wf_specs.setdefault(latest, 0)
        # A migration names a version, so the document numbers them as they were.
        names = {it.name for it in self.wf_specs} if any(isinstance(it.command, MigrateWfRun) for it in turns) else ()
        versions = (it for name in sorted(names) for it in definitions.versions(DefinitionKind.WF_SPEC, name))
        self._numbered = {WfSpecId(it.name, it.major, it.revision) for it in versions if it.document is not None}
        for spec_id in self._numbered - self.wf_specs.keys():
            self._names |= definitions.named_by(spec_id)
        for spec_id, index in self.wf_specs.items():
            self._names |= definitions.named_by(spec_id)
            for bound in definitions.bindings(spec_id):
                self._bound.setdefault((bound.kind, bound.name), set()).add(bound.key)
                self._bound_at[bound.key] = min(index, self._bound_at.get(bound.key, index))

    def includes(self, definition: Definition) -> bool:
        """Return True if the document has this version of a definition."""
        if definition.kind is DefinitionKind.WF_SPEC:
            spec_id = WfSpecId(definition.name, definition.major, definition.revision)
            return spec_id in self.wf_specs or spec_id in self._numbered
        return (definition.kind, definition.name) in self._names

    def is_bound(self, definition: Definition) -> bool:
        """Return True if a WfSpec that was run binds this revision of a definition."""
        return definition.key in self._bound.get((definition.kind, definition.name), ())

    def batches(self, definitions: Sequence[Definition]) -> Iterator[list[Definition]]:
        """Divide definitions so that each batch has a name once, and what its WfSpecs bind.

        Revisions that nothing can have seen, because others follow at once, are left out.
        """
        newest = {(it.kind, it.name): it for it in definitions}
        batch: dict[tuple[DefinitionKind, str], Definition] = {}
        for it in definitions:
            key = (it.kind, it.name)
            if it is not newest[key] and it.kind is not DefinitionKind.WF_SPEC and not self.is_bound(it):
                continue
            # A newer revision than the one that a WfSpec binds comes behind the WfSpec.
            is_later = any(of is DefinitionKind.WF_SPEC for of, _ in batch) and key in self._bound
            if key in batch or (is_later and not self.is_bound(it)):
                yield [*batch.values()]
                batch = {}
            batch[key] = it
        if batch:
            yield [*batch.values()]

    def needed_by(self, definition: Definition) -> int:
        """Return the index of the input that needs a definition at the latest, whatever its position."""
        if definition.kind is DefinitionKind.WF_SPEC:
            return self.wf_specs.get(WfSpecId(definition.name, definition.major, definition.revision), 2**31)
        if definition.deleted:
            return min(self.wf_specs.values(), default=0)
        return self._bound_at.get(definition.key, 2**31)


def _commands(definitions: Iterable[Definition]) -> Iterator[DefinitionCommand]:
    for it in sorted(definitions, key=lambda it: it.kind is DefinitionKind.WF_SPEC):
        match it.kind:
            case DefinitionKind.WF_SPEC:
                yield PutWfSpec(it.name, it.document or "{}")
            case DefinitionKind.TASK_DEF:
                yield PutTaskDef(it.name, it.input, it.output, it.queue, optional=it.optional)
            case DefinitionKind.EXTERNAL_EVENT_DEF:
                yield PutExternalEventDef(it.name, it.content_type)
            case DefinitionKind.WORKFLOW_EVENT_DEF:
                yield PutWorkflowEventDef(it.name, it.content_type)
