"""All definitions and their versions.

Every version is kept, the deleted ones too: a WfRun keeps the WfSpec it was started with, and the TaskDefs and events
that this WfSpec names. Deleted means that nothing new may refer to it: no RunWf, and no WfSpec that is registered from
now on. Which definitions are accepted, and under which version, `registration` decides.

A WfSpec binds revisions of the ExternalEventDefs and TaskDefs that it names. One that was registered before WfSpecs
bound them binds the ones that were the newest when they began to: until then each put was a new major version.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Final, Self, TypeAlias

from processors.core.records.commands import (
    DefinitionKind,
)
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    Definition,
    DefinitionVersion,
)
from processors.core.records.model import WfSpecId
from processors.core.records.spec import (
    TaskNode,
    ThrowEventNode,
    WfSpec,
)
from processors.core.records.values import ValueProblem
from processors.core.wf_spec.json_document import parse_json_document
from processors.core.wf_spec.reader import read_wf_spec

Version: TypeAlias = tuple[int, int]
"""Major version and revision."""


BOUND_MAX: Final = 16_384
"""Number of answers about what WfSpecs bind that are remembered."""


BOUND_KINDS: Final = (DefinitionKind.EXTERNAL_EVENT_DEF, DefinitionKind.TASK_DEF)
"""The kinds of definitions of which a WfSpec binds revisions."""


class UnreadableWfSpec(HalterError):
    """A version of a WfSpec is not on `definitions`, or this engine cannot read it.

    Whoever upgraded the engine or touched that topic should act: the WfRuns of this version cannot go on.
    """


# (rule deleted-is-for-nothing-new)
@dataclass(slots=True)
class _Versions:
    """The versions of one definition, of which there may be thousands."""

    by_version: dict[Version, Definition] = field(default_factory=dict)
    known: list[Version] = field(default_factory=list)
    """Ascending."""
    live: list[Version] = field(default_factory=list)
    """The versions that are not deleted, ascending."""

    def copy(self) -> "_Versions":
        return _Versions(dict(self.by_version), list(self.known), list(self.live))

    def apply(self, definition: Definition) -> Definition | None:
        """Take in a version; return it as it was known before."""
        version = (definition.major, definition.revision)
        before = self.by_version.get(version)
        self.by_version[version] = definition
        if before is None:
            insort(self.known, version)
        if not definition.deleted and (before is None or before.deleted):
            insort(self.live, version)
        elif definition.deleted and before is not None and not before.deleted:
            del self.live[bisect_left(self.live, version)]
        return before


_NONE = _Versions()
"""The versions of a definition that is not registered; never changed."""


class Definitions:
    """All definitions there are. Only `apply` changes them; a WfSpec is parsed when it is first asked for."""

    def __init__(self) -> None:
        self._versions: dict[tuple[DefinitionKind, str], _Versions] = {}
        self._wf_specs: dict[WfSpecId, WfSpec] = {}
        self._named: dict[WfSpecId, frozenset[tuple[DefinitionKind, str]]] = {}
        self._bound: dict[tuple[DefinitionKind, str, str, int, int], Definition] = {}
        """What was found to be bound by a WfSpec. Every ExternalEvent and task asks, so it is not looked for each time.
        """

    def copy(self) -> Self:
        """Return the same definitions again, to try a command on them."""
        copied = type(self)()
        copied._versions = {key: versions.copy() for key, versions in self._versions.items()}
        copied._wf_specs = dict(self._wf_specs)
        copied._named = dict(self._named)
        return copied

    def apply(self, definition: Definition) -> None:
        """Take in an accepted definition, or a deletion, which is the same definition with `deleted`."""
        self._bound.clear()
        before = self._versions.setdefault((definition.kind, definition.name), _Versions()).apply(definition)
        if before is not None and before.document != definition.document:
            wf_spec_id = WfSpecId(definition.name, definition.major, definition.revision)
            self._wf_specs.pop(wf_spec_id, None)
            self._named.pop(wf_spec_id, None)

    def learn(self, wf_spec_id: WfSpecId, wf_spec: WfSpec) -> None:
        """Remember a registered version that somebody has parsed already, so that it is not parsed here."""
        self._wf_specs.setdefault(wf_spec_id, wf_spec)

    # (rule wf-run-keeps-its-version)
    def wf_spec(self, wf_spec_id: WfSpecId) -> WfSpec:
        """Return a registered version, deleted or not; raises UnreadableWfSpec."""
        found = self._wf_specs.get(wf_spec_id)
        if found is None:
            found = self._wf_specs[wf_spec_id] = self._parsed(wf_spec_id)
        return found

    def _parsed(self, wf_spec_id: WfSpecId) -> WfSpec:
        versions = self._of(DefinitionKind.WF_SPEC, wf_spec_id.name).by_version
        definition = versions.get((wf_spec_id.major, wf_spec_id.revision))
        if definition is None or definition.document is None:
            raise UnreadableWfSpec(f"expected WfSpec {wf_spec_id} among the definitions, found none")
        try:
            wf_spec, problems = read_wf_spec(parse_json_document(definition.document))
        except ValueProblem as problem:
            raise UnreadableWfSpec(f"WfSpec {wf_spec_id}: {problem}") from problem
        if wf_spec is None:
            raise UnreadableWfSpec(f"WfSpec {wf_spec_id}: {'; '.join(map(str, problems))}")
        return wf_spec

    # (rule newest-version-is-run)
    def latest_wf_spec(self, name: str, major: int | None = None, revision: int | None = None) -> WfSpecId | None:
        """Return the newest version that is not deleted: of all, of a major version, or exactly the one named."""
        live = self._of(DefinitionKind.WF_SPEC, name).live
        if revision is None:
            found = _last(live, major)
        elif major is None:
            found = max((version for version in live if version[1] == revision), default=None)
        else:
            last = _last(live, major, revision)
            found = last if last == (major, revision) else None
        return None if found is None else WfSpecId(name, *found)

    def task_def(self, name: str, bound_by: WfSpecId | None = None) -> Definition | None:
        """Return the TaskDef of this name, deleted or not: WfRuns keep theirs.

        It is the revision that the WfSpec `bound_by` binds, if one is given and names the TaskDef; else the newest.
        """
        return self._newest_or_bound(DefinitionKind.TASK_DEF, name, bound_by)

    def external_event_def(self, name: str, bound_by: WfSpecId | None = None) -> Definition | None:
        """Return the ExternalEventDef of this name, deleted or not: as `task_def`."""
        return self._newest_or_bound(DefinitionKind.EXTERNAL_EVENT_DEF, name, bound_by)

    def _newest_or_bound(self, kind: DefinitionKind, name: str, bound_by: WfSpecId | None) -> Definition | None:
        if bound_by is None:
            return self.newest(kind, name)
        asked = (kind, name, bound_by.name, bound_by.major, bound_by.revision)
        found = self._bound.get(asked)
        if found is None:
            versions = self._of(kind, name)
            if not versions.known:
                return None
            newest = versions.known[-1]
            found = versions.by_version[self._binding(bound_by, kind, name, newest) or newest]
            if len(self._bound) >= BOUND_MAX:
                self._bound.clear()
            self._bound[asked] = found
        return found

    def _binding(self, wf_spec_id: WfSpecId, kind: DefinitionKind, name: str, newest: Version) -> Version | None:
        """Return the revision of a definition that a WfSpec binds; None if it does not name it."""
        bound = _bindings_in(self.version(wf_spec_id), kind).get(name)
        if bound is not None:
            return bound.major, bound.revision
        # Its row need not say revision 0, and does not if it was registered before WfSpecs bound this kind: see the top
        # of the module.
        return (newest[0], 0) if (kind, name) in self.named_by(wf_spec_id) else None

    def bindings(self, wf_spec_id: WfSpecId) -> list[Definition]:
        """Return the ExternalEventDefs and TaskDefs that a WfSpec names, as it binds them, by kind and name."""
        named = sorted((kind, name) for kind, name in self.named_by(wf_spec_id) if kind in BOUND_KINDS)
        bound = (self._newest_or_bound(kind, name, wf_spec_id) for kind, name in named)
        return [definition for definition in bound if definition is not None]

    def workflow_event_def(self, name: str) -> Definition | None:
        """Return the WorkflowEventDef of this name, deleted or not."""
        return self.newest(DefinitionKind.WORKFLOW_EVENT_DEF, name)

    def newest(self, kind: DefinitionKind, name: str) -> Definition | None:
        """Return the newest version, deleted or not; None if there is none."""
        versions = self._of(kind, name)
        return versions.by_version[versions.known[-1]] if versions.known else None

    def versions(self, kind: DefinitionKind, name: str) -> list[Definition]:
        """Return all versions, deleted or not, oldest first."""
        versions = self._of(kind, name)
        return [versions.by_version[version] for version in versions.known]

    def holds(self, definition: Definition) -> bool:
        """Return True if exactly this is registered."""
        known = self._of(definition.kind, definition.name).by_version
        return known.get((definition.major, definition.revision)) == definition

    def last_revision(self, wf_spec_id: WfSpecId) -> int:
        """Return the greatest revision of the major version of a registered WfSpec, deleted or not."""
        last = _last(self._of(DefinitionKind.WF_SPEC, wf_spec_id.name).known, wf_spec_id.major)
        assert last is not None
        return last[1]

    def version(self, wf_spec_id: WfSpecId) -> Definition:
        """Return a registered version of a WfSpec, deleted or not."""
        versions = self._versions[DefinitionKind.WF_SPEC, wf_spec_id.name].by_version
        return versions[wf_spec_id.major, wf_spec_id.revision]

    def live_versions(self, kind: DefinitionKind, name: str) -> list[Version]:
        """Return the versions that are not deleted, oldest first."""
        return list(self._of(kind, name).live)

    def names(self, kind: DefinitionKind) -> list[str]:
        """Return the names of the definitions of a kind that are not deleted, sorted."""
        return sorted(name for (of, name), versions in self._versions.items() if of is kind and versions.live)

    def all(self) -> Iterator[Definition]:
        """Yield every version of every definition, sorted by kind, name and version."""
        for key in sorted(self._versions):
            yield from self.versions(*key)

    def users(self, kind: DefinitionKind, name: str) -> Iterator[WfSpecId]:
        """Yield the newest live version of each WfSpec, if that version names the definition; sorted by name."""
        for wf_spec_name in self.names(DefinitionKind.WF_SPEC):
            latest = self.latest_wf_spec(wf_spec_name)
            if latest is not None and (kind, name) in self.named_by(latest):
                yield latest

    def naming(self, kind: DefinitionKind, name: str) -> Iterator[WfSpecId]:
        """Yield every live version of a WfSpec that names a definition; sorted by name and version."""
        for wf_spec_name in self.names(DefinitionKind.WF_SPEC):
            for version in self.live_versions(DefinitionKind.WF_SPEC, wf_spec_name):
                wf_spec_id = WfSpecId(wf_spec_name, *version)
                if (kind, name) in self.named_by(wf_spec_id):
                    yield wf_spec_id

    def named_by(self, wf_spec_id: WfSpecId) -> frozenset[tuple[DefinitionKind, str]]:
        """Return the definitions that a WfSpec names; found once for each WfSpec."""
        named = self._named.get(wf_spec_id)
        if named is None:
            named = self._named[wf_spec_id] = frozenset(named_in(self.wf_spec(wf_spec_id)))
        return named

    def _of(self, kind: DefinitionKind, name: str) -> _Versions:
        return self._versions.get((kind, name), _NONE)


def _last(versions: list[Version], major: int | None, revision: float = inf) -> Version | None:
    """Return the newest of these ascending versions: of all, or of a major version, up to a revision."""
    at = len(versions) if major is None else bisect_right(versions, (major, revision))
    return versions[at - 1] if at and major in (None, versions[at - 1][0]) else None


def _bindings_in(row: Definition, kind: DefinitionKind) -> dict[str, DefinitionVersion]:
    """Return the versions of definitions of a kind that the row of a WfSpec binds, by name."""
    match kind:
        case DefinitionKind.EXTERNAL_EVENT_DEF:
            return row.external_event_defs
        case DefinitionKind.TASK_DEF:
            return row.task_defs
        case _:
            return {}


def named_in(wf_spec: WfSpec) -> set[tuple[DefinitionKind, str]]:
    """Return the definitions that a WfSpec names."""
    named = {(DefinitionKind.EXTERNAL_EVENT_DEF, name) for name in wf_spec.external_event_defs}
    for thread in wf_spec.threads.values():
        for node in thread.nodes.values():
            match node:
                case TaskNode():
                    named.add((DefinitionKind.TASK_DEF, node.task_def))
                case ThrowEventNode():
                    named.add((DefinitionKind.WORKFLOW_EVENT_DEF, node.workflow_event_def))
                case _:
                    pass
    return named
