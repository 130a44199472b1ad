"""Sends the commands of operators to Kafka, by an AsyncClient."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from sqlalchemy import Connection

from halter.client.async_client import AsyncClient, asked_by, awaited_by
from halter.client.async_posted import AsyncPosted
from halter.client.client import Client
from halter.client.dead_letters import (
    CannotRetry,
    Retried,
    command_of,
    corrected,
    read_dead_letter,
    retry_and_tell,
)
from halter.client.errors import CommandRejected, CommandSkipped, DeadLettered, NoOutcome
from halter.client.outcomes import Posted
from halter.view.installation import expect_same_installation
from halter.view.kafka import source_of
from halter.view.place import ViewUnavailable
from processors.core.records.commands import Command, ForkWfRun, QuarantineWfRun, ReleaseWfRun
from processors.core.records.events import LogEntry
from processors.kafka.settings import Settings

REACH_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class RetryDeadLetter:
    """Sends the record of a dead letter again. It is no record itself: a retry says who and why in headers."""

    partition: int
    """The partition on dead-letters."""
    offset: int
    corrections: Mapping[str, Any]
    """Other values for fields of its record. Empty: as it was."""
    operator: str | None
    reason: str | None


ConsoleCommand: TypeAlias = Command | QuarantineWfRun | ReleaseWfRun | RetryDeadLetter
Problem: TypeAlias = CommandRejected | CommandSkipped | DeadLettered | NoOutcome


@dataclass(frozen=True, slots=True)
class Sent:
    """A command that Kafka has, and what became of it."""

    topic: str
    partition: int
    offset: int
    entries: list[LogEntry]
    problem: Problem | None = None


class Sender(Protocol):
    """Sends commands for a console."""

    async def reach(self) -> None:
        """Return once Kafka answers. Raises KafkaUnavailable."""

    async def send(self, command: ConsoleCommand, timeout_s: float) -> Sent:
        """Send a command, and wait so long for what becomes of it."""


class KafkaSender:
    """A client of one event loop. Close it in the end."""

    def __init__(self, settings: Settings, reading: Callable[[], AbstractContextManager[Connection]]) -> None:
        """Contacts nobody yet. `reading` gives a connection to the view by which operators choose."""
        self.client = AsyncClient.of(settings)
        self._reading, self._is_same = reading, False

    async def reach(self) -> None:
        """Return once Kafka answers. Without it, a command would wait for minutes.

        Raises KafkaUnavailable, and OtherSource if the view is of another installation.
        """
        await self.client.reach(REACH_S)
        if not self._is_same:
            self._is_same = await asked_by(self.client, self._same_installation)

    def _same_installation(self, client: Client) -> bool:
        """Return True if the view is of this installation, False if there is no view now. Raises OtherSource."""
        source = source_of(client)
        try:
            with self._reading() as connection:
                expect_same_installation(connection, "of the console", source)
        except ViewUnavailable:
            return False  # so nobody has chosen by it
        return True

    async def send(self, command: ConsoleCommand, timeout_s: float) -> Sent:
        """Send a command, and wait so long for what becomes of it. Raises what the client raises for its arguments."""
        if isinstance(command, RetryDeadLetter):
            retried, told = await asked_by(self.client, _retried, command)
            if told is None:
                return Sent(retried.topic, retried.partition, retried.offset, [])
            posted = awaited_by(self.client, told)
        else:
            posted = await self._posted(command)
        problem: Problem | None = None
        try:
            await posted.outcome(timeout_s)
        except (CommandRejected, CommandSkipped, DeadLettered, NoOutcome) as found:
            problem = found
        return Sent(posted.topic, posted.partition, posted.offset, posted.entries, problem)

    async def _posted(self, command: Command | QuarantineWfRun | ReleaseWfRun) -> AsyncPosted:
        client = self.client
        match command:
            case QuarantineWfRun():
                return await client.quarantine(
                    command.wf_run_id, command.reason, command.operator, command_id=command.command_id
                )
            case ReleaseWfRun():
                return await client.release(
                    command.wf_run_id, command.reason, command.operator, command_id=command.command_id
                )
            case ForkWfRun():
                # The client gives it the id that follows from what it forks, by which a repeat is known.
                asked: dict[str, Any] = {"operator": command.operator, "reason": command.reason}
                return await client.fork(command.snapshot, command.wf_run_id, **asked)
            case _:
                return await client.send(command)

    async def close(self) -> None:
        """Let go of Kafka."""
        await self.client.close()


def _retried(client: Client, asked: RetryDeadLetter) -> tuple[Retried, Posted | None]:
    """Retry a dead letter. Raises NoDeadLetter, CannotRetry and RetriedBefore."""
    command = None
    letter = read_dead_letter(client, asked.partition, asked.offset)
    if asked.corrections:
        before = command_of(client, letter)
        if before is None:
            raise CannotRetry(f"the bytes of dead letter {letter.name} are no record that has fields to correct")
        command = corrected(before, asked.corrections)
    return retry_and_tell(client, letter, command, operator=asked.operator, reason=asked.reason)
