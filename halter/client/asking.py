"""Makes the commands of what the callers of a client ask. Sends nothing, and waits for nothing.

`Client` and `AsyncClient` differ in how they wait. What they send is made here, for both.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from halter.client.arguments import Arguments, Given
from halter.client.errors import InvalidArgument
from halter.client.ids import new_id
from halter.client.outcomes import OUTCOME_SECONDS
from processors.core.records.commands import (
    Command,
    CorrelatedEvent,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    RunWf,
    RunWfAndPost,
)
from processors.core.records.values import INT_MAX, INT_MIN

Made = TypeVar("Made")


class NewEvent(NamedTuple):
    """An ExternalEvent that is to be posted. Without an `event_id` it gets a new one."""

    wf_run_id: str
    name: str
    content: Given = None
    event_id: str | None = None
    thread: int | None = None
    operator: str | None = None
    """Who posts it, for people."""
    reason: str | None = None


class Seen(Protocol):
    """What was read of `definitions`."""

    @property
    def position(self) -> int:
        """The position up to which it was read; 0 if nothing was."""


class Asking:
    """Makes commands. All that it raises is an InvalidArgument."""

    def __init__(self, arguments: Arguments, definitions: Seen) -> None:
        self._arguments, self._definitions = arguments, definitions

    def made(self, kind: type[Made], command_id: str | None = None, **fields: Any) -> Made:
        """Make a command with an id of its own, by which the log names it."""
        return self._arguments.command(kind, **fields, command_id=new_id() if command_id is None else command_id)

    def run(
        self,
        wf_spec_name: str,
        variables: Mapping[str, Given] | None,
        wf_run_id: str | None,
        major: int | None,
        revision: int | None,
        definitions_position: int | None,
        operator: str | None = None,
        reason: str | None = None,
    ) -> RunWf:
        """Make a RunWf. A worker has to have read `definitions` as far as this client, or to the position."""
        position = self._definitions.position if definitions_position is None else definitions_position
        return self.made(
            RunWf,
            wf_run_id=new_id() if wf_run_id is None else wf_run_id,
            wf_spec_name=wf_spec_name,
            variables={} if variables is None else variables,
            wf_spec_major=major,
            wf_spec_revision=revision,
            definitions_position=position or None,
            operator=operator,
            reason=reason,
        )

    def run_and_post(
        self,
        wf_spec_name: str,
        event: NewEvent,
        variables: Mapping[str, Given] | None,
        major: int | None,
        revision: int | None,
    ) -> RunWfAndPost:
        """Make a RunWfAndPost. It has no id but that of its event: WfRuns remember few command ids."""
        return self._arguments.command(
            RunWfAndPost,
            wf_run_id=event.wf_run_id,
            wf_spec_name=wf_spec_name,
            external_event_def=event.name,
            external_event_id=new_id() if event.event_id is None else event.event_id,
            variables={} if variables is None else variables,
            content=event.content,
            wf_spec_major=major,
            wf_spec_revision=revision,
            definitions_position=self._definitions.position or None,
            operator=event.operator,
            reason=event.reason,
        )

    def migration(
        self,
        wf_run_id: str,
        major: int,
        revision: int | None,
        command_id: str | None,
        operator: str | None = None,
        reason: str | None = None,
    ) -> MigrateWfRun:
        """Make a MigrateWfRun. A worker has to have read `definitions` as far as this client."""
        return self.made(
            MigrateWfRun,
            command_id,
            wf_run_id=wf_run_id,
            wf_spec_major=major,
            wf_spec_revision=revision,
            definitions_position=self._definitions.position or None,
            operator=operator,
            reason=reason,
        )

    def event(self, event: NewEvent) -> ExternalEvent:
        """Make an ExternalEvent."""
        given: object = event
        if not isinstance(given, NewEvent):
            raise InvalidArgument(f"events: expected NewEvents, found {type(given).__name__}")
        wf_run_id, name, content, event_id, thread, operator, reason = event
        fields: dict[str, Any] = {
            "wf_run_id": wf_run_id,
            "external_event_def": name,
            "external_event_id": new_id() if event_id is None else event_id,
            "content": content,
            "definitions_position": self._definitions.position or None,
        }
        if thread is not None or operator is not None or reason is not None:
            fields |= {"thread": thread, "operator": operator, "reason": reason}
        return self._arguments.command(ExternalEvent, **fields)

    def correlated(self, key: str | int, name: str, content: Given, event_id: str | None) -> CorrelatedEvent:
        """Make a CorrelatedEvent. A number is the key that its decimal digits are."""
        return self._arguments.command(
            CorrelatedEvent,
            correlation_key=_key_text(key),
            external_event_def=name,
            external_event_id=new_id() if event_id is None else event_id,
            content=content,
            definitions_position=self._definitions.position or None,
        )


def _key_text(key: object) -> str:
    """Return a correlation key as text: the value of an Enum that is a text or a number, not its name."""
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, bool) or not isinstance(key, int):
        raise InvalidArgument(f"key: expected text or a whole number, found {type(key).__name__}")
    if not INT_MIN <= key <= INT_MAX:
        raise InvalidArgument("key: expected a whole number of 64 bits, found a larger one")
    return int.__repr__(key)


def seconds_of(wait: float | bool) -> float | None:
    """Return how long to wait for an outcome: not at all (None), OUTCOME_SECONDS (True), or so many seconds."""
    if isinstance(wait, bool):
        return OUTCOME_SECONDS if wait else None
    given: object = wait
    if not isinstance(given, int | float) or not 0 <= given < float("inf"):
        raise InvalidArgument(f"wait: expected True, False or seconds, found {given!r}")
    return given


def id_of(command: Command) -> str:
    """Return the id by which a record is known: an ExternalEvent's, the WfRun's to start, or the command's own."""
    match command:
        case ExternalEvent() | RunWfAndPost():
            return command.external_event_id
        case RunWf() | ForkWfRun():
            return command.wf_run_id
        case _:
            return getattr(command, "command_id", None) or ""


def repeat_id_of(command: Command) -> str | None:
    """Return the id with which a command may be sent again without a second effect; None if it has none."""
    return id_of(command) if isinstance(command, ExternalEvent | RunWf | RunWfAndPost | ForkWfRun) else None


def definition_names_of(command: Command) -> tuple[str, str]:
    """Return the names of the definitions that a command needs: of its ExternalEventDef and of the WfSpec to start.

    An empty text stands for none.
    """
    match command:
        case ExternalEvent():
            return command.external_event_def, ""
        case RunWf():
            return "", command.wf_spec_name
        case RunWfAndPost():
            return command.external_event_def, command.wf_spec_name
        case _:
            return "", ""
