"""All definitions, and the fold of `definition-commands`: which are accepted, and under which version.

Every version is kept, the deleted ones too: a WfRun keeps the WfSpec it was started with, and the TaskDefs and events
that WfSpec names. Deleted means that nothing new may refer to it: no RunWf, no WfSpec that is registered from now on.

Versions of a WfSpec: one equal to the newest registers nothing; a breaking change is a new major version, any other a
new revision. Breaking is what a caller of RunWf would notice: a Variable of the entrypoint that it could pass is gone
or has another type, or which ones are required has changed. The type of a Variable that some version required never
changes (VAR_FROZEN_TYPE). TaskDefs and WorkflowEventDefs do not change, workers and consumers are written to them.

An ExternalEventDef may be put again with another type: each change is a new revision. A WfSpec binds the revisions that
are the newest where it is accepted, and its WfRuns read their ExternalEvents by those (ADR 12). One that was registered
before WfSpecs bound anything binds what there was when they began to: until then each put was a new major version.

A definition that the newest version of a WfSpec names cannot be deleted: the next WfRun would need it.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import inf
from typing import TypeAlias, assert_never

from processors.core.records.commands import (
    AllowedUpdate,
    DefinitionCommand,
    DefinitionKind,
    DeleteDefinition,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
)
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    Cause,
    Definition,
    DefinitionAccepted,
    DefinitionProblem,
    DefinitionRejected,
    DefinitionVersion,
    RejectionCode,
)
from processors.core.records.model import WfSpecId
from processors.core.records.names import NAME_LENGTH_MAX, is_inner_name, is_name
from processors.core.records.spec import (
    TaskNode,
    ThrowEventNode,
    VariableDef,
    WfSpec,
)
from processors.core.records.topic_names import DEFINITION_COMMANDS, TASK_REQUESTS
from processors.core.records.values import ValueProblem, VariableType
from processors.core.wf_spec.document_problems import PROBLEMS_MAX, DocumentProblem
from processors.core.wf_spec.json_document import parse_json_document
from processors.core.wf_spec.reader import read_wf_spec
from processors.core.wf_spec.validate import KIND_NAMES, examine
from processors.core.wf_spec.writer import canonical

PROBLEMS_REPORTED_MAX = 100
TASK_INPUTS_MAX = 200
LISTED_MAX = 10
"""Of WfSpecs or versions that a sentence names."""

PutDefinition: TypeAlias = PutWfSpec | PutTaskDef | PutExternalEventDef | PutWorkflowEventDef
Outcome: TypeAlias = DefinitionAccepted | DefinitionRejected
Version: TypeAlias = tuple[int, int]
"""(major, revision)."""


class UnreadableWfSpec(HalterError):
    """A version of a WfSpec is not on `definitions`, or not one this engine can read.

    Whoever upgraded the engine or touched that topic should act: WfRuns of this version cannot go on.
    """


# (rule deleted-is-for-nothing-new)
@dataclass(slots=True)
class _Versions:
    """The versions of one definition: there may be thousands."""

    by_version: dict[Version, Definition] = field(default_factory=dict)
    known: list[Version] = field(default_factory=list)
    """Ascending."""
    live: list[Version] = field(default_factory=list)
    """Those that are not deleted, ascending."""

    def copy(self) -> "_Versions":
        return _Versions(dict(self.by_version), list(self.known), list(self.live))

    def apply(self, definition: Definition) -> Definition | None:
        """Take in a version, and give what was known of it before."""
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
"""Of a definition that is not registered; never changed."""


class Definitions:
    """All definitions there are. Changed in place by `apply`; parses a WfSpec when it is first asked for."""

    def __init__(self) -> None:
        self._versions: dict[tuple[DefinitionKind, str], _Versions] = {}
        self._wf_specs: dict[WfSpecId, WfSpec] = {}
        self._named: dict[WfSpecId, frozenset[tuple[DefinitionKind, str]]] = {}

    def copy(self) -> "Definitions":
        """The same definitions again, to see what would come of a command."""
        copied = Definitions()
        copied._versions = {key: versions.copy() for key, versions in self._versions.items()}
        copied._wf_specs = dict(self._wf_specs)
        copied._named = dict(self._named)
        return copied

    def apply(self, definition: Definition) -> None:
        """Take in an accepted definition, or a deletion: the same again with `deleted`."""
        before = self._versions.setdefault((definition.kind, definition.name), _Versions()).apply(definition)
        if before is not None and before.document != definition.document:
            wf_spec_id = WfSpecId(definition.name, definition.major, definition.revision)
            self._wf_specs.pop(wf_spec_id, None)
            self._named.pop(wf_spec_id, None)

    def learn(self, wf_spec_id: WfSpecId, wf_spec: WfSpec) -> None:
        """Take what a registered version says from who has read it, instead of reading it when it is asked for."""
        self._wf_specs.setdefault(wf_spec_id, wf_spec)

    # (rule wf-run-keeps-its-version)
    def wf_spec(self, wf_spec_id: WfSpecId) -> WfSpec:
        """A registered version, deleted or not; raises UnreadableWfSpec."""
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
        """The newest version that is not deleted: of all, of a major version, or exactly the one named."""
        live = self._of(DefinitionKind.WF_SPEC, name).live
        if revision is None:
            found = _last(live, major)
        elif major is None:
            found = max((version for version in live if version[1] == revision), default=None)
        else:
            last = _last(live, major, revision)
            found = last if last == (major, revision) else None
        return None if found is None else WfSpecId(name, *found)

    def task_def(self, name: str) -> Definition | None:
        """The TaskDef of this name, deleted or not: WfRuns keep theirs."""
        return self.newest(DefinitionKind.TASK_DEF, name)

    def external_event_def(self, name: str, bound_by: WfSpecId | None = None) -> Definition | None:
        """The ExternalEventDef of this name, deleted or not: the revision that a WfSpec binds, if one is given that
        names it, else the newest.
        """
        versions = self._of(DefinitionKind.EXTERNAL_EVENT_DEF, name)
        if not versions.known:
            return None
        newest = versions.known[-1]
        bound = None if bound_by is None else self._binding(bound_by, name, newest)
        return versions.by_version[newest if bound is None else bound]

    def _binding(self, wf_spec_id: WfSpecId, name: str, newest: Version) -> Version | None:
        """The revision of an ExternalEventDef that a WfSpec binds; None if it does not name it."""
        bindings = self.version(wf_spec_id).external_event_defs
        if bindings:
            bound = bindings.get(name)
            return None if bound is None else (bound.major, bound.revision)
        if name not in self.wf_spec(wf_spec_id).external_event_defs:
            return None
        return newest[0], 0  # from before bindings: see the module's theory

    def bindings(self, wf_spec_id: WfSpecId) -> dict[str, Definition]:
        """The ExternalEventDefs that a WfSpec names, as it binds them, by name."""
        names = sorted(self.wf_spec(wf_spec_id).external_event_defs)
        bound = ((name, self.external_event_def(name, wf_spec_id)) for name in names)
        return {name: definition for name, definition in bound if definition is not None}

    def workflow_event_def(self, name: str) -> Definition | None:
        """The WorkflowEventDef of this name, deleted or not."""
        return self.newest(DefinitionKind.WORKFLOW_EVENT_DEF, name)

    def newest(self, kind: DefinitionKind, name: str) -> Definition | None:
        """The newest version, deleted or not."""
        versions = self._of(kind, name)
        return versions.by_version[versions.known[-1]] if versions.known else None

    def versions(self, kind: DefinitionKind, name: str) -> list[Definition]:
        """All versions, deleted or not, oldest first."""
        versions = self._of(kind, name)
        return [versions.by_version[version] for version in versions.known]

    def holds(self, definition: Definition) -> bool:
        """Whether it is registered just so."""
        known = self._of(definition.kind, definition.name).by_version
        return known.get((definition.major, definition.revision)) == definition

    def last_revision(self, wf_spec_id: WfSpecId) -> int:
        """The greatest revision of the major version of a registered WfSpec, deleted or not."""
        last = _last(self._of(DefinitionKind.WF_SPEC, wf_spec_id.name).known, wf_spec_id.major)
        assert last is not None
        return last[1]

    def version(self, wf_spec_id: WfSpecId) -> Definition:
        """A registered version of a WfSpec, deleted or not."""
        versions = self._versions[DefinitionKind.WF_SPEC, wf_spec_id.name].by_version
        return versions[wf_spec_id.major, wf_spec_id.revision]

    def live_versions(self, kind: DefinitionKind, name: str) -> list[Version]:
        """The versions that are not deleted, oldest first."""
        return list(self._of(kind, name).live)

    def names(self, kind: DefinitionKind) -> list[str]:
        """The names of those of a kind that are not deleted, sorted."""
        return sorted(name for (of, name), versions in self._versions.items() if of is kind and versions.live)

    def all(self) -> Iterator[Definition]:
        """Every version of every definition, sorted by kind, name and version."""
        for key in sorted(self._versions):
            yield from self.versions(*key)

    def users(self, kind: DefinitionKind, name: str) -> Iterator[WfSpecId]:
        """The WfSpecs whose newest live version names a definition, sorted."""
        for wf_spec_name in self.names(DefinitionKind.WF_SPEC):
            latest = self.latest_wf_spec(wf_spec_name)
            if latest is not None and (kind, name) in self._named_by(latest):
                yield latest

    def _named_by(self, wf_spec_id: WfSpecId) -> frozenset[tuple[DefinitionKind, str]]:
        """The definitions that a WfSpec names: looked for once."""
        named = self._named.get(wf_spec_id)
        if named is None:
            named = self._named[wf_spec_id] = frozenset(_named_by(self.wf_spec(wf_spec_id)))
        return named

    def _of(self, kind: DefinitionKind, name: str) -> _Versions:
        return self._versions.get((kind, name), _NONE)


def _last(versions: list[Version], major: int | None, revision: float = inf) -> Version | None:
    """The newest of these, which are ascending: of all, or of a major version, up to a revision."""
    at = len(versions) if major is None else bisect_right(versions, (major, revision))
    return versions[at - 1] if at and major in (None, versions[at - 1][0]) else None


TaskQueues: TypeAlias = frozenset[str] | None
"""The named queues that topics.yaml declares; None: whatever a TaskDef names is taken to be declared."""


def decide_definition(
    definitions: Definitions,
    command: DefinitionCommand,
    cause: Cause,
    task_queues: TaskQueues = None,
    *,
    binds: bool = True,
) -> tuple[Outcome, list[Definition]]:
    """The outcome of a command, and the definitions to store and `apply`: several only for a deletion.

    Without `binds` as 0.1.0 decided it, while there are workers of it: WfSpecs bind no ExternalEventDefs.
    """
    try:
        if isinstance(command, DeleteDefinition):
            return _delete(definitions, command, cause)
        definition = _put(definitions, command, task_queues, binds=binds)
    except _Refused as refused:
        return _rejected(command, refused, cause), []
    changed = not definitions.holds(definition)
    return _accepted(definition, cause, changed=changed), [definition] if changed else []


def refusals(
    definitions: Definitions, commands: Iterable[DefinitionCommand], task_queues: TaskQueues = None
) -> Iterator[tuple[int, DocumentProblem]]:
    """Take commands one after the other, as the fold would, and leave `definitions` as they are: the problems for which
    `decide_definition` would refuse some, each with the index of its command and its place in the definition.
    """
    registered = definitions.copy()
    for index, command in enumerate(commands):
        try:
            if isinstance(command, DeleteDefinition):
                _, found = _delete(registered, command, _NOBODY)
            else:
                found = [_put(registered, command, task_queues, binds=True)]
        except _Refused as refused:
            for problem in refused.problems or [DocumentProblem(refused.code, (), refused.message)]:
                yield index, problem
        else:
            for definition in found:
                registered.apply(definition)


_NOBODY = Cause(DEFINITION_COMMANDS, 0, 0, None, 0)
"""The cause of what is only tried."""


def _put(definitions: Definitions, command: PutDefinition, task_queues: TaskQueues, *, binds: bool) -> Definition:
    match command:
        case PutWfSpec():
            return _put_wf_spec(definitions, command, binds=binds)
        case PutTaskDef():
            return _put_task_def(definitions, command, task_queues)
        case PutExternalEventDef():
            return _put_external_event_def(definitions, command, binds=binds)
        case PutWorkflowEventDef():
            return _put_workflow_event_def(definitions, command)
        case _:
            assert_never(command)


class _Refused(Exception):
    """Carries why a command is refused to the one place that says so."""

    def __init__(self, code: str, message: str, problems: Iterable[DocumentProblem] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.problems = code, message, list(problems)


def _rejected(command: DefinitionCommand, refused: _Refused, cause: Cause) -> DefinitionRejected:
    kind = kind_of(command)
    reported = [DefinitionProblem(problem.code, str(problem)) for problem in refused.problems[:PROBLEMS_REPORTED_MAX]]
    message = f"{KIND_NAMES[kind]} {command.name[:NAME_LENGTH_MAX]!r}: {refused.message}"
    return DefinitionRejected(kind, command.name, refused.code, message, cause, reported)


def kind_of(command: DefinitionCommand) -> DefinitionKind:
    """What a command registers or deletes."""
    match command:
        case PutWfSpec():
            return DefinitionKind.WF_SPEC
        case PutTaskDef():
            return DefinitionKind.TASK_DEF
        case PutExternalEventDef():
            return DefinitionKind.EXTERNAL_EVENT_DEF
        case PutWorkflowEventDef():
            return DefinitionKind.WORKFLOW_EVENT_DEF
        case DeleteDefinition():
            return command.kind


def _accepted(definition: Definition, cause: Cause, *, changed: bool) -> DefinitionAccepted:
    return DefinitionAccepted(definition.kind, definition.name, definition.major, definition.revision, changed, cause)


# (rules equal-wf-spec-registers-nothing, version-never-used-twice)
def _put_wf_spec(definitions: Definitions, command: PutWfSpec, *, binds: bool) -> Definition:
    name = command.name
    document = _parsed_document(command)
    latest = definitions.latest_wf_spec(name)
    registered = None if latest is None else definitions.wf_spec(latest)
    if (
        latest is not None
        and registered is not None
        and _is_equal(document, registered)
        and not (binds and _should_bind_anew(definitions, command, document, latest))
    ):
        return definitions.version(latest)
    wf_spec = _checked_wf_spec(definitions, command, document)
    newest = definitions.newest(DefinitionKind.WF_SPEC, name)
    if newest is None:
        major, revision = 0, 0
    elif latest is None or registered is None:
        # All versions are deleted: a new beginning, under a number that was never used.
        major, revision = newest.major + 1, 0
    else:
        breaks = list(_breaking_changes(registered, wf_spec))
        _check_update_allowed(command.allowed_update, latest, breaks)
        if breaks:
            major, revision = newest.major + 1, 0
        else:
            major = latest.major
            revision = 1 + definitions.last_revision(latest)
    bindings = _bindings(definitions, wf_spec) if binds else {}
    return Definition(
        DefinitionKind.WF_SPEC, name, major, revision, document=wf_spec.document, external_event_defs=bindings
    )


# (rule wf-spec-binds-revisions)
def _bindings(definitions: Definitions, wf_spec: WfSpec) -> dict[str, DefinitionVersion]:
    """What a WfSpec that is accepted now binds."""
    newest = ((name, definitions.external_event_def(name)) for name in sorted(wf_spec.external_event_defs))
    return {name: definition.version for name, definition in newest if definition is not None}


# (rule put-again-binds-newest)
def _should_bind_anew(definitions: Definitions, command: PutWfSpec, document: object, latest: WfSpecId) -> bool:
    """Whether one that equals the newest version is a new revision: it may be updated, an ExternalEventDef that it
    names has changed, and it can be bound to what that is now. Else it stays as it is: a deployment may be repeated
    whatever has become of the definitions.
    """
    bound = definitions.bindings(latest)
    if command.allowed_update is AllowedUpdate.NONE or all(
        definition.version == newest.version
        for name, definition in bound.items()
        if (newest := definitions.external_event_def(name)) is not None
    ):
        return False
    _, problems = examine(document, definitions)
    return not problems


def _parsed_document(command: PutWfSpec) -> object:
    try:
        return parse_json_document(command.document)
    except ValueProblem as problem:
        raise _at_fault([DocumentProblem("DOCUMENT", (), str(problem))]) from problem


def _is_equal(document: object, registered: WfSpec) -> bool:
    """Whether it is the WfSpec that is registered; that was checked then, whatever has become of what it refers to."""
    wf_spec, _ = read_wf_spec(document)
    return wf_spec is not None and canonical(wf_spec) == canonical(registered)


def _checked_wf_spec(definitions: Definitions, command: PutWfSpec, document: object) -> WfSpec:
    wf_spec, problems = examine(document, definitions)
    if wf_spec is not None:
        if wf_spec.name != command.name and not any(problem.path == ("name",) for problem in problems):
            message = f"expected {command.name!r} as in the command, found {wf_spec.name!r}"
            problems.append(DocumentProblem("WF_NAME", ("name",), message))
        untyped = {problem.path for problem in problems}
        problems += [
            problem
            for problem in _retyped_frozen(definitions, wf_spec)
            if problem.path not in untyped and problem.path[:-1] not in untyped
        ]
    if wf_spec is None or problems:
        raise _at_fault(problems)
    return wf_spec


def _at_fault(problems: list[DocumentProblem]) -> _Refused:
    """The document is to blame: its first problem gives the code."""
    more = ""
    if len(problems) > 1:
        # Whoever has found so many has not looked for the others.
        more = f" (and {'' if len(problems) < PROBLEMS_MAX else 'at least '}{len(problems) - 1} more)"
    return _Refused(problems[0].code, f"{problems[0]}{more}", problems)


def _callable_with(wf_spec: WfSpec) -> dict[str, VariableDef]:
    """The Variables that RunWf may give."""
    return dict(wf_spec.threads[wf_spec.entrypoint].variables)


# (rule required-type-is-frozen)
def _retyped_frozen(definitions: Definitions, wf_spec: WfSpec) -> Iterator[DocumentProblem]:
    """Variables that some version required, under another type."""
    now = _callable_with(wf_spec) if wf_spec.entrypoint in wf_spec.threads else {}
    seen: set[str] = set()
    for version in definitions.live_versions(DefinitionKind.WF_SPEC, wf_spec.name):
        earlier = WfSpecId(wf_spec.name, *version)
        for name, variable in _callable_with(definitions.wf_spec(earlier)).items():
            if variable.required and name in now and now[name].type is not variable.type and name not in seen:
                seen.add(name)
                path = ("threads", wf_spec.entrypoint, "variables", name, "type")
                message = f"expected {variable.type} as in {earlier}, which required it, found {now[name].type}"
                yield DocumentProblem("VAR_FROZEN_TYPE", path, message)


# (rule breaking-change-is-major)
def _breaking_changes(before: WfSpec, after: WfSpec) -> Iterator[str]:
    """What a caller of RunWf would notice."""
    old, new = _callable_with(before), _callable_with(after)
    for name, variable in old.items():
        if name not in new:
            yield f"{name} is gone"
        elif new[name].type is not variable.type:
            yield f"{name} is {new[name].type}, it was {variable.type}"
        elif new[name].required != variable.required:
            yield f"{name} is {'' if new[name].required else 'no longer '}required"
    for name, variable in new.items():
        if name not in old and variable.required:
            yield f"{name} is new and required"


# (rule update-no-further-than-allowed)
def _check_update_allowed(allowed: AllowedUpdate, latest: WfSpecId, breaks: list[str]) -> None:
    if allowed is AllowedUpdate.NONE:
        message = f"expected it to equal {latest}, as no update is allowed; found a change"
        raise _Refused(RejectionCode.ALREADY_EXISTS, message, [DocumentProblem("UPDATE_FORBIDDEN", (), message)])
    if allowed is AllowedUpdate.MINOR_REVISION and breaks:
        message = f"expected no change of {latest} that callers notice; found that {', '.join(breaks)}"
        raise _Refused(RejectionCode.FAILED_PRECONDITION, message, [DocumentProblem("UPDATE_BREAKING", (), message)])


# (rule task-queue-is-declared)
def _put_task_def(definitions: Definitions, command: PutTaskDef, task_queues: TaskQueues) -> Definition:
    if command.queue is not None and task_queues is not None and command.queue not in task_queues:
        known = ", ".join(sorted(task_queues)) or "none"
        where = "topics.yaml, or in the file that HALTER_TOPICS names"
        raise _invalid(f"no queue {command.queue!r} is declared in {where}; named are: {known}")
    _check_name(command.name, "a name")
    if command.queue is not None:
        _check_name(command.queue, "a queue's name")
    if command.input is not None:
        if len(command.input) > TASK_INPUTS_MAX:
            raise _invalid(f"expected at most {TASK_INPUTS_MAX} inputs, found {len(command.input)}")
        for name in command.input:
            if not is_inner_name(name):
                raise _invalid(f"expected inputs named by letters, digits, _ and -, found {name[:200]!r}")
    wanted = Definition(
        DefinitionKind.TASK_DEF,
        command.name,
        0,
        0,
        input=command.input,
        output=command.output,
        queue=command.queue,
    )
    return _unchanging(definitions, wanted)


def _put_workflow_event_def(definitions: Definitions, command: PutWorkflowEventDef) -> Definition:
    _check_name(command.name, "a name")
    return _unchanging(
        definitions,
        Definition(DefinitionKind.WORKFLOW_EVENT_DEF, command.name, 0, 0, content_type=command.content_type),
    )


# (rule event-def-changes-by-revision)
def _put_external_event_def(definitions: Definitions, command: PutExternalEventDef, *, binds: bool) -> Definition:
    _check_name(command.name, "a name")
    kind = DefinitionKind.EXTERNAL_EVENT_DEF
    newest = definitions.newest(kind, command.name)
    if newest is not None and not newest.deleted and newest.content_type is command.content_type:
        return newest
    if newest is None:
        major, revision = 0, 0
    elif binds:
        # Also after a deletion: a major version of its own would be what WfSpecs from before bindings bind.
        major, revision = newest.major, newest.revision + 1
    else:
        major, revision = newest.major + 1, 0
    return Definition(kind, command.name, major, revision, content_type=command.content_type)


# (rule task-def-never-changes)
def _unchanging(definitions: Definitions, wanted: Definition) -> Definition:
    """A definition of a kind that never changes: what is registered and equal, or a new one."""
    newest = definitions.newest(wanted.kind, wanted.name)
    if newest is None:
        return wanted
    numbered = replace(wanted, major=newest.major, revision=newest.revision)
    if newest.deleted:
        return replace(wanted, major=newest.major + 1)
    if numbered != newest:
        raise _Refused(
            RejectionCode.ALREADY_EXISTS, f"expected {_described(newest)} as registered, found {_described(wanted)}"
        )
    return newest


def _described(definition: Definition) -> str:
    """What is in a definition that has no document."""
    if definition.kind is DefinitionKind.TASK_DEF:
        inputs = "unchecked" if definition.input is None else _types(definition.input)
        output = definition.output or "unchecked"
        return f"input {inputs}, output {output}, queue {definition.queue or TASK_REQUESTS}"
    return f"content {definition.content_type or 'unchecked'}"


def _types(types: dict[str, VariableType]) -> str:
    return "{" + ", ".join(f"{name}: {declared}" for name, declared in types.items()) + "}"


def _check_name(name: str, what: str) -> None:
    if not is_name(name):
        raise _invalid(
            f"expected {what} of at most {NAME_LENGTH_MAX} letters, digits and - (not first or last), "
            f"found {name[:200]!r}"
        )


def _invalid(message: str) -> _Refused:
    return _Refused(RejectionCode.INVALID_ARGUMENT, message)


# (rule named-definition-not-deleted)
def _delete(definitions: Definitions, command: DeleteDefinition, cause: Cause) -> tuple[Outcome, list[Definition]]:
    kind, name = command.kind, command.name
    newest = definitions.newest(kind, name)
    if newest is None:
        raise _Refused(RejectionCode.NOT_FOUND, "expected it to be registered, found none of that name")
    if command.revision is not None and command.major is None:
        raise _invalid(f"expected a major version with revision {command.revision}, found none")
    if kind is not DefinitionKind.WF_SPEC:
        if command.major is not None:
            raise _invalid(f"expected no version, as only WfSpecs have them, found {command.major}")
        users = [str(user) for user in definitions.users(kind, name)]
        if users and not newest.deleted:
            more = f" and {len(users) - LISTED_MAX} more" if len(users) > LISTED_MAX else ""
            found = ", ".join(users[:LISTED_MAX]) + more
            raise _Refused(RejectionCode.FAILED_PRECONDITION, f"expected no WfSpec to use it, found {found}")
    versions = [
        definition
        for definition in definitions.versions(kind, name)
        if command.major in (None, definition.major) and command.revision in (None, definition.revision)
    ]
    if not versions:
        every = [f"{found.major}.{found.revision}" for found in definitions.versions(kind, name)]
        known = ", ".join(every if len(every) <= LISTED_MAX else [*every[: LISTED_MAX - 1], "…", every[-1]])
        wanted = f"{command.major}.{'*' if command.revision is None else command.revision}"
        raise _Refused(RejectionCode.NOT_FOUND, f"expected version {wanted} to be registered, found {known}")
    deleted = [replace(definition, deleted=True) for definition in versions if not definition.deleted]
    return _accepted(versions[-1], cause, changed=bool(deleted)), deleted


def _named_by(wf_spec: WfSpec) -> set[tuple[DefinitionKind, str]]:
    """The definitions that a WfSpec names."""
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
