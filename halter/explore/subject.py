"""The subject of an exploration: one WfSpec, registered in memory with the definitions that it needs.

A WfSpec that stands alone in its file names definitions that are registered elsewhere. Those are assumed to have no
types, and the report says so.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from halter.scenarios.definitions import register
from halter.scenarios.writing import head_of
from processors.core.records.commands import (
    DefinitionCommand,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
)
from processors.core.records.errors import HalterError
from processors.core.records.spec import TaskNode, ThrowEventNode, WfSpec
from processors.core.rules.context import Context, Limits
from processors.core.wf_spec.json_document import parse_json_document
from processors.core.wf_spec.validate import check_document

WF_RUN_ID = "w1"
"""The id of the WfRun that is explored."""


class NoSubject(HalterError):
    """The definitions have no WfSpec to explore, or several and none was named. Whoever called chooses one."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A WfSpec with all that it takes to run it."""

    spec: WfSpec
    context: Context
    commands: Sequence[DefinitionCommand]
    """The definitions in an order in which they can be registered."""
    assumed: Sequence[str] = ()
    """The definitions that are assumed, because the files do not have them."""

    @property
    def tasks(self) -> list[str]:
        """The names of its TaskDefs."""
        return [it.name for it in self.commands if isinstance(it, PutTaskDef)]

    def head(self) -> dict[str, Any]:
        """Return the definitions as the head of a scenario document."""
        return head_of(self.commands, self.context.limits)


def subject_of(commands: Iterable[DefinitionCommand], name: str | None = None, limits: Limits | None = None) -> Subject:
    """Return the WfSpec of this name, or the only one, with its definitions. Raises NoSubject."""
    given = list(commands)
    specs = [command for command in given if isinstance(command, PutWfSpec)]
    named = {command.name: command for command in specs}
    if name is None and len(named) != 1:
        found = ", ".join(sorted(named)) or "none"
        raise NoSubject(
            f"expected one WfSpec to explore, found {found}: name one with --spec"
            if named
            else f"expected one WfSpec to explore, found {found}"
        )
    if name is not None and name not in named:
        raise NoSubject(f"--spec: expected one of {', '.join(sorted(named)) or 'no WfSpec at all'}, found {name!r}")
    chosen = named[name] if name is not None else specs[-1]
    others = [it for it in given if not isinstance(it, PutWfSpec)]
    assumed = list(_assumed(chosen, others))
    put = [*others, *assumed, chosen]
    definitions, problems = register(put)
    if problems:
        raise NoSubject("; ".join(f"{problem.code}: {problem.message}" for problem in problems))
    spec_id = definitions.latest_wf_spec(chosen.name)
    assert spec_id is not None
    said = [f"{type(it).__name__.removeprefix('Put')} {it.name}" for it in assumed]
    return Subject(definitions.wf_spec(spec_id), Context(definitions, limits or Limits()), put, said)


def _assumed(chosen: PutWfSpec, others: Iterable[DefinitionCommand]) -> Iterator[DefinitionCommand]:
    """Yield the definitions that a WfSpec names and that are not there."""
    spec, problems = check_document(parse_json_document(chosen.document), None)
    if spec is None:
        raise NoSubject("; ".join(f"{problem.code}: {problem.message}" for problem in problems))
    there = {(type(it), it.name) for it in others}
    nodes = [node for thread in spec.threads.values() for node in thread.nodes.values()]
    wanted: list[DefinitionCommand] = [PutExternalEventDef(name) for name in sorted(spec.external_event_defs)]
    wanted += [PutTaskDef(it) for it in sorted({node.task_def for node in nodes if isinstance(node, TaskNode)})]
    thrown = {node.workflow_event_def for node in nodes if isinstance(node, ThrowEventNode)}
    wanted += [PutWorkflowEventDef(name) for name in sorted(thrown)]
    yield from (it for it in wanted if (type(it), it.name) not in there)
