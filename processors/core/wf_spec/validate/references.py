"""The definitions that a WfSpec may refer to."""

from typing import Protocol

from processors.core.records.commands import DefinitionKind
from processors.core.records.events import Definition


class RegisteredDefs(Protocol):
    """The definitions that a WfSpec may refer to; deleted ones count as not there."""

    def task_def(self, name: str) -> Definition | None:
        """The TaskDef of this name."""
        ...

    def external_event_def(self, name: str) -> Definition | None:
        """The ExternalEventDef of this name."""
        ...

    def workflow_event_def(self, name: str) -> Definition | None:
        """The WorkflowEventDef of this name."""
        ...

    def names(self, kind: DefinitionKind) -> list[str]:
        """The names of all that are there."""
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
