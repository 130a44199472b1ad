"""The definitions that a WfSpec may refer to."""

from typing import Protocol

from processors.core.records.commands import DefinitionKind
from processors.core.records.events import Definition


class RegisteredDefs(Protocol):
    """The definitions that a WfSpec may refer to; deleted ones count as not there."""

    def task_def(self, name: str) -> Definition | None:
        """Return the TaskDef of this name, deleted or not."""
        ...

    def external_event_def(self, name: str) -> Definition | None:
        """Return the ExternalEventDef of this name, deleted or not."""
        ...

    def workflow_event_def(self, name: str) -> Definition | None:
        """Return the WorkflowEventDef of this name, deleted or not."""
        ...

    def names(self, kind: DefinitionKind) -> list[str]:
        """Return the names of all definitions of a kind that are not deleted."""
        ...


KIND_NAMES = {
    DefinitionKind.WF_SPEC: "WfSpec",
    DefinitionKind.TASK_DEF: "TaskDef",
    DefinitionKind.EXTERNAL_EVENT_DEF: "ExternalEventDef",
    DefinitionKind.WORKFLOW_EVENT_DEF: "WorkflowEventDef",
}


def look_up(registered: RegisteredDefs, kind: DefinitionKind, name: str) -> Definition | None:
    """Return the definition of this kind and name; None if there is none. No WfSpec refers to a WfSpec."""
    match kind:
        case DefinitionKind.TASK_DEF:
            return registered.task_def(name)
        case DefinitionKind.EXTERNAL_EVENT_DEF:
            return registered.external_event_def(name)
        case DefinitionKind.WORKFLOW_EVENT_DEF:
            return registered.workflow_event_def(name)
        case DefinitionKind.WF_SPEC:
            return None
