"""Definitions as text: what has changed between two of them, and the revisions of a TaskDef.

Knows definitions. It knows no Kafka, and does not know whether a change is allowed.
"""

from collections.abc import Iterator

from processors.core.records.commands import DefinitionKind
from processors.core.records.events import Definition
from processors.core.records.topic_names import TASK_REQUESTS
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.task_def_registration import described, described_inputs

NAMING_MAX = 20
"""The most versions of WfSpecs that are listed."""


def changes(before: Definition, after: Definition) -> list[str]:
    """Return what is otherwise in a later version of a TaskDef or of an event's definition, one thing each."""
    found = list(_changed_inputs(before, after))
    for what, old, new in (
        ("output", before.output or "unchecked", after.output or "unchecked"),
        ("queue", before.queue or TASK_REQUESTS, after.queue or TASK_REQUESTS),
        ("type", before.content_type or "unchecked", after.content_type or "unchecked"),
    ):
        if old != new:
            found.append(f"{what} {old} → {new}")
    return found


def _changed_inputs(before: Definition, after: Definition) -> Iterator[str]:
    if before.input is None or after.input is None:
        if before.input != after.input:
            yield f"input {described_inputs(before)} → {described_inputs(after)}"
        return
    for name, old in before.input.items():
        if (new := after.input.get(name)) is None:
            yield f"no input {name}"
        elif new is not old:
            yield f"input {name} {old} → {new}"
        elif (name in before.optional) != (name in after.optional):
            yield f"input {name} is {'optional' if name in after.optional else 'required'}"
    for name, new in after.input.items():
        if name not in before.input:
            yield f"new{' optional' * (name in after.optional)} input {name}: {new}"


def task_def_lines(definitions: Definitions, name: str, version: str | None = None) -> Iterator[str]:
    """Yield the revisions of a TaskDef, oldest first, what each has changed, and the WfSpecs that name it.

    Only those of a version (`0`, `0.1`), if one is given. Yields nothing if there are none.
    """
    revisions = definitions.versions(DefinitionKind.TASK_DEF, name)
    wanted = [index for index, it in enumerate(revisions) if version in (None, str(it.major), str(it.version))]
    if not wanted:
        return
    yield f"TaskDef {name}"
    for index in wanted:
        it = revisions[index]
        yield f"  {it.version}  {described(it)}{', deleted' * it.deleted}"
        if index:
            yield from (f"         {change}" for change in changes(revisions[index - 1], it))
    naming = list(definitions.naming(DefinitionKind.TASK_DEF, name))
    for wf_spec_id in naming[-NAMING_MAX:]:
        bound = definitions.task_def(name, wf_spec_id)
        assert bound is not None, "it names it"
        yield f"  named by WfSpec {wf_spec_id}, which binds {bound.version}"
    if not naming:
        yield "  named by no WfSpec"
    elif len(naming) > NAMING_MAX:
        yield f"  and by {len(naming) - NAMING_MAX} other versions of WfSpecs"
