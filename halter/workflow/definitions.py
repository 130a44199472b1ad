"""What a workflow names besides its own threads: events, and tasks.

A name as text is registered elsewhere. One of these classes is registered with the workflow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from halter.task_worker.handlers import task_def_of
from halter.workflow.arguments import WrongOperand, items_of, mapping_of, text_of
from halter.workflow.expressions import Type, type_of
from processors.core.records.commands import DefinitionCommand, PutExternalEventDef, PutTaskDef, PutWorkflowEventDef


@dataclass(frozen=True)
class ExternalEventDef:
    """An event that comes from outside. Without a type, its content is not checked."""

    name: str
    type: Type | None = None

    def __post_init__(self) -> None:
        """Check it here, on the line that writes it. Raises WrongOperand."""
        self.command()

    def command(self) -> PutExternalEventDef:
        """Return what registers it."""
        return PutExternalEventDef(text_of("name", self.name), None if self.type is None else type_of(self.type))


@dataclass(frozen=True)
class WorkflowEventDef:
    """An event that `throw` gives to consumers outside. Without a type, its content is not checked."""

    name: str
    type: Type | None = None

    def __post_init__(self) -> None:
        """Check it here, on the line that writes it. Raises WrongOperand."""
        self.command()

    def command(self) -> PutWorkflowEventDef:
        """Return what registers it."""
        return PutWorkflowEventDef(text_of("name", self.name), None if self.type is None else type_of(self.type))


@dataclass(frozen=True)
class TaskDef:
    """A task. Without `input` and `output` they are not checked; its requests go to the `queue`.

    Inputs that are named in `optional` may be left out.
    """

    name: str
    input: Mapping[str, Type] | None = field(default=None, hash=False)
    output: Type | None = None
    queue: str | None = None
    optional: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check it here, on the line that writes it. Raises WrongOperand."""
        self.command()

    def command(self) -> PutTaskDef:
        """Return what registers it."""
        given = self.input
        types = None if given is None else {name: type_of(it) for name, it in mapping_of("input", given).items()}
        output = None if self.output is None else type_of(self.output)
        queue = None if self.queue is None else text_of("queue", self.queue)
        optional = [text_of("a name in optional", it) for it in items_of("optional", self.optional)]
        return PutTaskDef(text_of("name", self.name), types, output, queue, optional=optional)


TaskRef: TypeAlias = str | TaskDef | Callable[..., Any]
"""A task: its name, its TaskDef, or the function that `@worker.task` has made its handler."""
ExternalEventRef: TypeAlias = str | ExternalEventDef
WorkflowEventRef: TypeAlias = str | WorkflowEventDef


def task_named(task: TaskRef) -> tuple[str, DefinitionCommand | None]:
    """Return the name of a task, and what registers its TaskDef: None if that is left to others.

    Raises WrongOperand for what is no task, WorkerNotStarted for a function whose parameters cannot be inputs.
    """
    if isinstance(task, str):
        return task, None
    if isinstance(task, TaskDef):
        return task.name, task.command()
    found = task_def_of(task)
    if found is None:
        raise WrongOperand(
            f"expected the name of a TaskDef, a TaskDef, or a function with @worker.task(…), found {task!r}"
        )
    return found.name, found


def external_event_named(event: ExternalEventRef) -> tuple[str, DefinitionCommand | None]:
    """Return the name of an ExternalEvent, and what registers it: None if that is left to others.

    Raises WrongOperand, also for a WorkflowEventDef: it would be registered, and what waits for it would have none.
    """
    if isinstance(event, WorkflowEventDef):
        raise WrongOperand(f"expected an ExternalEventDef, found WorkflowEventDef {event.name!r}, which is for `throw`")
    return _event_named(event)


def workflow_event_named(event: WorkflowEventRef) -> tuple[str, DefinitionCommand | None]:
    """Return the name of a WorkflowEvent, and what registers it. Raises WrongOperand, also for an ExternalEventDef."""
    if isinstance(event, ExternalEventDef):
        raise WrongOperand(f"expected a WorkflowEventDef to throw, found ExternalEventDef {event.name!r}")
    return _event_named(event)


def _event_named(event: str | ExternalEventDef | WorkflowEventDef) -> tuple[str, DefinitionCommand | None]:
    if isinstance(event, str):
        return event, None
    if isinstance(event, ExternalEventDef | WorkflowEventDef):
        return event.name, event.command()
    raise WrongOperand(f"expected the name of an event or its definition, found {event!r}")
