"""Decides definition commands: which definitions are accepted or deleted, and under which version.

WorkflowEventDefs do not change: consumers are written to them. An ExternalEventDef may be put again with another type;
each change is a new revision. TaskDefs and WfSpecs have rules of their own (`task_def_registration`,
`wf_spec_registration`).

A definition that the newest version of a WfSpec names cannot be deleted: the next WfRun would need it.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias, assert_never

from processors.core.records.commands import (
    DefinitionCommand,
    DefinitionKind,
    DeleteDefinition,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
)
from processors.core.records.events import (
    Cause,
    Definition,
    DefinitionAccepted,
    DefinitionProblem,
    DefinitionRejected,
    RejectionCode,
)
from processors.core.records.names import NAME_LENGTH_MAX
from processors.core.records.topic_names import DEFINITION_COMMANDS
from processors.core.wf_spec.definitions import BOUND_KINDS, Definitions, UnreadableWfSpec
from processors.core.wf_spec.document_problems import DocumentProblem
from processors.core.wf_spec.near_names import LISTED_MAX, some_of
from processors.core.wf_spec.refused import Refused, check_name, invalid
from processors.core.wf_spec.task_def_registration import TaskQueues, described, revised, task_def_of
from processors.core.wf_spec.validate import KIND_NAMES
from processors.core.wf_spec.wf_spec_registration import put_wf_spec

PROBLEMS_REPORTED_MAX = 100

PutDefinition: TypeAlias = PutWfSpec | PutTaskDef | PutExternalEventDef | PutWorkflowEventDef
Outcome: TypeAlias = DefinitionAccepted | DefinitionRejected


def decide_definition(
    definitions: Definitions,
    command: DefinitionCommand,
    cause: Cause,
    task_queues: TaskQueues = None,
    *,
    binds: Collection[DefinitionKind] = BOUND_KINDS,
    starts: bool = True,
    correlates: bool = True,
) -> tuple[Outcome, list[Definition]]:
    """Return the outcome of a command, and the definitions to store and `apply`: several only for a deletion.

    `binds` has the kinds of which WfSpecs bind revisions. Earlier releases bound no TaskDefs, 0.1.0 bound no
    ExternalEventDefs either. We decide as they did while their workers run. Without `starts` no WfSpec has bounds for
    queueing and running apart, which 0.2.0 does not know.
    """
    try:
        if isinstance(command, DeleteDefinition):
            return _delete(definitions, command, cause)
        definition = _put(definitions, command, task_queues, binds, starts=starts, correlates=correlates)
    except Refused as refused:
        return _rejected(command, refused, cause), []
    except UnreadableWfSpec as unreadable:
        return _rejected(command, _in_the_way(unreadable), cause), []
    changed = not definitions.holds(definition)
    return _accepted(definition, cause, changed=changed), [definition] if changed else []


def refusals(
    definitions: Definitions, commands: Iterable[DefinitionCommand], task_queues: TaskQueues = None
) -> Iterator[tuple[int, DocumentProblem]]:
    """Yield the problems for which `decide_definition` would refuse some of these commands, taken one after the other.

    Each problem comes with the index of its command and has its place in the definition. `definitions` do not change.
    """
    registered = definitions.copy()
    for index, command in enumerate(commands):
        try:
            found = tried(registered, command, task_queues)
        except Refused as refused:
            for problem in refused.problems or [DocumentProblem(refused.code, (), refused.message)]:
                yield index, problem
        else:
            for definition in found:
                registered.apply(definition)


def tried(definitions: Definitions, command: DefinitionCommand, task_queues: TaskQueues = None) -> list[Definition]:
    """Return the definitions that a command would make or delete if it came now. Raises Refused."""
    try:
        if isinstance(command, DeleteDefinition):
            return _delete(definitions, command, _NOBODY)[1]
        definition = _put(definitions, command, task_queues, BOUND_KINDS)
    except UnreadableWfSpec as unreadable:
        raise _in_the_way(unreadable) from unreadable
    return [] if definitions.holds(definition) else [definition]


def _in_the_way(unreadable: UnreadableWfSpec) -> Refused:
    """Return the refusal of a command for which a WfSpec would have to be read that this release cannot read.

    A later release has accepted it, before workers of this one came back.
    """
    return Refused(
        RejectionCode.FAILED_PRECONDITION,
        f"workers of this release cannot read a WfSpec that a later one has accepted: {unreadable}; upgrade the "
        "workers",
    )


_NOBODY = Cause(DEFINITION_COMMANDS, 0, 0, None, 0)
"""The cause of a command that is only tried."""


def _put(
    definitions: Definitions,
    command: PutDefinition,
    task_queues: TaskQueues,
    binds: Collection[DefinitionKind] = BOUND_KINDS,
    *,
    starts: bool = True,
    correlates: bool = True,
) -> Definition:
    match command:
        case PutWfSpec():
            return put_wf_spec(definitions, command, binds, starts=starts, correlates=correlates)
        case PutTaskDef():
            wanted = task_def_of(command, task_queues)
            if DefinitionKind.TASK_DEF in binds:
                return revised(definitions, wanted)
            return _as_an_earlier_release(definitions, wanted)
        case PutExternalEventDef():
            return _put_external_event_def(definitions, command, binds=DefinitionKind.EXTERNAL_EVENT_DEF in binds)
        case PutWorkflowEventDef():
            return _put_workflow_event_def(definitions, command)
        case _:
            assert_never(command)


def _rejected(command: DefinitionCommand, refused: Refused, cause: Cause) -> DefinitionRejected:
    kind = kind_of(command)
    reported = [DefinitionProblem(problem.code, str(problem)) for problem in refused.problems[:PROBLEMS_REPORTED_MAX]]
    message = f"{KIND_NAMES[kind]} {command.name[:NAME_LENGTH_MAX]!r}: {refused.message}"
    return DefinitionRejected(kind, command.name, refused.code, message, cause, reported)


def kind_of(command: DefinitionCommand) -> DefinitionKind:
    """Return the kind of definition that a command registers or deletes."""
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


def _as_an_earlier_release(definitions: Definitions, wanted: Definition) -> Definition:
    """Return what a TaskDef becomes while workers of an earlier release run: there it never changes."""
    if wanted.optional:
        raise Refused(
            RejectionCode.FAILED_PRECONDITION,
            f"expected no optional inputs while workers of an earlier release run, found {wanted.optional[0]!r}",
        )
    return _unchanging(definitions, wanted)


def _put_workflow_event_def(definitions: Definitions, command: PutWorkflowEventDef) -> Definition:
    check_name(command.name, "a name")
    return _unchanging(
        definitions,
        Definition(DefinitionKind.WORKFLOW_EVENT_DEF, command.name, 0, 0, content_type=command.content_type),
    )


# (rule event-def-changes-by-revision)
def _put_external_event_def(definitions: Definitions, command: PutExternalEventDef, *, binds: bool) -> Definition:
    check_name(command.name, "a name")
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


# (rule workflow-event-def-never-changes)
def _unchanging(definitions: Definitions, wanted: Definition) -> Definition:
    """Return the definition, of a kind that never changes: the one that is registered if it is equal, or a new one."""
    newest = definitions.newest(wanted.kind, wanted.name)
    if newest is None:
        return wanted
    numbered = replace(wanted, major=newest.major, revision=newest.revision)
    if newest.deleted:
        return replace(wanted, major=newest.major + 1)
    if numbered != newest:
        raise Refused(
            RejectionCode.ALREADY_EXISTS, f"expected {_described(newest)} as registered, found {_described(wanted)}"
        )
    return newest


def _described(definition: Definition) -> str:
    """Return the content of a definition that has no document, in words."""
    if definition.kind is DefinitionKind.TASK_DEF:
        return described(definition)
    return f"content {definition.content_type or 'unchecked'}"


# (rule named-definition-not-deleted)
def _delete(definitions: Definitions, command: DeleteDefinition, cause: Cause) -> tuple[Outcome, list[Definition]]:
    kind, name = command.kind, command.name
    newest = definitions.newest(kind, name)
    if newest is None:
        raise Refused(RejectionCode.NOT_FOUND, "expected it to be registered, found none of that name")
    if command.revision is not None and command.major is None:
        raise invalid(f"expected a major version with revision {command.revision}, found none")
    if kind is not DefinitionKind.WF_SPEC:
        if command.major is not None:
            raise invalid(f"expected no version, as only WfSpecs have them, found {command.major}")
        users = [str(user) for user in definitions.users(kind, name)]
        if users and not newest.deleted:
            message = f"expected no WfSpec to use it, found {some_of(users)}"
            raise Refused(RejectionCode.FAILED_PRECONDITION, message)
    versions = [
        definition
        for definition in definitions.versions(kind, name)
        if command.major in (None, definition.major) and command.revision in (None, definition.revision)
    ]
    if not versions:
        every = [f"{found.major}.{found.revision}" for found in definitions.versions(kind, name)]
        known = ", ".join(every if len(every) <= LISTED_MAX else [*every[: LISTED_MAX - 1], "…", every[-1]])
        wanted = f"{command.major}.{'*' if command.revision is None else command.revision}"
        raise Refused(RejectionCode.NOT_FOUND, f"expected version {wanted} to be registered, found {known}")
    deleted = [replace(definition, deleted=True) for definition in versions if not definition.deleted]
    return _accepted(versions[-1], cause, changed=bool(deleted)), deleted
