"""Registers a WfSpec: whether it is accepted, and under which version.

A WfSpec that equals the newest version registers nothing. A breaking change is a new major version, any other a new
revision. A change is breaking if a caller of RunWf would notice it: a Variable of the entrypoint that it could pass is
gone or has another type, or the set of required Variables differs. The type of a Variable that some version required
never changes (VAR_FROZEN_TYPE).

A WfSpec binds the revisions of ExternalEventDefs and TaskDefs that are the newest when it is accepted: its WfRuns read
their ExternalEvents, give inputs and take outputs by those (ADR 12, ADR 24).
"""

from collections.abc import Collection, Iterator

from processors.core.records.commands import (
    AllowedUpdate,
    DefinitionKind,
    PutWfSpec,
)
from processors.core.records.events import (
    Definition,
    DefinitionVersion,
    RejectionCode,
)
from processors.core.records.model import WfSpecId
from processors.core.records.spec import (
    TaskNode,
    VariableDef,
    WfSpec,
)
from processors.core.records.values import ValueProblem
from processors.core.wf_spec.definitions import BOUND_KINDS, Definitions, named_in
from processors.core.wf_spec.document_problems import PROBLEMS_MAX, DocumentProblem
from processors.core.wf_spec.json_document import parse_json_document
from processors.core.wf_spec.reader import read_wf_spec
from processors.core.wf_spec.refused import Refused
from processors.core.wf_spec.task_def_registration import is_alike
from processors.core.wf_spec.validate import examine
from processors.core.wf_spec.writer import canonical


# (rules equal-wf-spec-registers-nothing, version-never-used-twice)
def put_wf_spec(
    definitions: Definitions, command: PutWfSpec, binds: Collection[DefinitionKind], *, starts: bool, correlates: bool
) -> Definition:
    """Return the version that the command registers, or the newest one if it registers nothing; raises Refused.

    `binds` has the kinds of definitions of which WfSpecs bind revisions. Without `starts` a WfSpec whose tasks have
    bounds of their own for queueing and running is refused, without `correlates` one that has correlated events
    or searchable Variables, which came with the same release.
    """
    name = command.name
    document = _parsed_document(command)
    latest = definitions.latest_wf_spec(name)
    registered = None if latest is None else definitions.wf_spec(latest)
    if (
        latest is not None
        and registered is not None
        and _is_equal(document, registered)
        and not _should_bind_anew(definitions, command, document, latest, binds)
    ):
        return definitions.version(latest)
    wf_spec = _checked_wf_spec(definitions, command, document)
    if not starts:
        _check_no_starts(wf_spec)
    if not correlates and wf_spec.correlated_events:
        raise Refused(
            RejectionCode.FAILED_PRECONDITION,
            "expected no correlated_events: workers of an earlier release run beside, which cannot read them",
        )
    if not correlates and any(it.searchable for of in wf_spec.threads.values() for it in of.variables.values()):
        raise Refused(
            RejectionCode.FAILED_PRECONDITION,
            "expected no searchable Variables: workers of an earlier release run beside, which cannot read them",
        )
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
    bindings = {kind: _bindings(definitions, wf_spec, kind) if kind in binds else {} for kind in BOUND_KINDS}
    return Definition(
        DefinitionKind.WF_SPEC,
        name,
        major,
        revision,
        document=wf_spec.document,
        external_event_defs=bindings[DefinitionKind.EXTERNAL_EVENT_DEF],
        task_defs=bindings[DefinitionKind.TASK_DEF],
    )


def _check_no_starts(wf_spec: WfSpec) -> None:
    """Raise Refused for a WfSpec that workers of an earlier release cannot read."""
    for thread in wf_spec.threads.values():
        for node in thread.nodes.values():
            if isinstance(node, TaskNode) and node.run_timeout_s is not None:
                raise Refused(
                    RejectionCode.FAILED_PRECONDITION,
                    f"expected timeout_s at node {node.name!r} of ThreadSpec {thread.name!r}, found queue_timeout_s "
                    "and run_timeout_s: workers of an earlier release run beside, which cannot read these",
                )


# (rule wf-spec-binds-revisions)
def _bindings(definitions: Definitions, wf_spec: WfSpec, kind: DefinitionKind) -> dict[str, DefinitionVersion]:
    """Return the revisions of a kind of definitions that a WfSpec binds if it is accepted now, by name.

    Of TaskDefs revision 0 is left out, which is bound all the same: so 0.2.0 reads the row.
    """
    names = sorted(name for of, name in named_in(wf_spec) if of is kind)
    newest = ((name, definitions.newest(kind, name)) for name in names)
    return {
        name: definition.version
        for name, definition in newest
        if definition is not None and (kind is not DefinitionKind.TASK_DEF or definition.revision)
    }


# (rule put-again-binds-newest)
def _should_bind_anew(
    definitions: Definitions, command: PutWfSpec, document: object, latest: WfSpecId, binds: Collection[DefinitionKind]
) -> bool:
    """Return True if a WfSpec that equals the newest version is a new revision.

    It is one if an update is allowed, a definition that it binds has changed, and it is still valid with the newest
    revision of that one. Otherwise nothing changes: a deployment may be repeated whatever has become of the
    definitions.
    """
    bound = [it for it in definitions.bindings(latest) if it.kind in binds]
    if command.allowed_update is AllowedUpdate.NONE or all(
        is_alike(it, newest) for it in bound if (newest := definitions.newest(it.kind, it.name)) is not None
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
    """Return True if it is the registered WfSpec. That was checked when it was registered and is not checked again."""
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


def _at_fault(problems: list[DocumentProblem]) -> Refused:
    """Return the refusal of a document; its first problem gives the code."""
    more = ""
    if len(problems) > 1:
        # Whoever has found so many has not looked for the others.
        more = f" (and {'' if len(problems) < PROBLEMS_MAX else 'at least '}{len(problems) - 1} more)"
    return Refused(problems[0].code, f"{problems[0]}{more}", problems)


def _callable_with(wf_spec: WfSpec) -> dict[str, VariableDef]:
    """Return the Variables that RunWf may give, by name."""
    return dict(wf_spec.threads[wf_spec.entrypoint].variables)


# (rule required-type-is-frozen)
def _retyped_frozen(definitions: Definitions, wf_spec: WfSpec) -> Iterator[DocumentProblem]:
    """Yield a problem for each Variable that an earlier version required and that now has another type."""
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
    """Yield each change that a caller of RunWf would notice, in words."""
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
        raise Refused(RejectionCode.ALREADY_EXISTS, message, [DocumentProblem("UPDATE_FORBIDDEN", (), message)])
    if allowed is AllowedUpdate.MINOR_REVISION and breaks:
        message = f"expected no change of {latest} that callers notice; found that {', '.join(breaks)}"
        raise Refused(RejectionCode.FAILED_PRECONDITION, message, [DocumentProblem("UPDATE_BREAKING", (), message)])
