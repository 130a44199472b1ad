"""The recorded inputs of a WfRun in the order in which they were decided, each with the events that came of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from halter.client.errors import BeginningMissing
from halter.client.history import is_whole, lives
from halter.history.source import NoSuchWfRun, Source
from processors.codec import CodecError
from processors.core.records.commands import (
    Command,
    ForkWfRun,
    TaskWorkerCommand,
    TimerFired,
)
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    Cause,
    Ignored,
    InputKept,
    LogEntry,
    RecordSkipped,
    Rejected,
    SkipLapsed,
    WfRunQuarantined,
    WfRunReleased,
)

BY_OPERATORS: Final = (WfRunQuarantined, WfRunReleased, InputKept, RecordSkipped, SkipLapsed)
"""Events of operator commands, which a scenario document does not have."""


class NoScenario(HalterError):
    """A history cannot be told as a scenario document: the message says what is in the way."""


@dataclass(slots=True)
class Turn:
    """A recorded input, and what came of it."""

    command: Command
    entries: list[LogEntry] = field(default_factory=list)
    before: Sequence[LogEntry] = ()
    """The events of the WfRun before it; only of what a task worker says."""

    @property
    def time_ms(self) -> int:
        """The time to which the clock goes before this input. A timer fires when it is due."""
        return self.command.due_ms if isinstance(self.command, TimerFired) else self.entries[0].time_ms

    @property
    def is_refused(self) -> bool:
        """True if it was rejected."""
        return any(isinstance(entry.event, Rejected) for entry in self.entries)

    @property
    def is_without_effect(self) -> bool:
        """True if it was ignored."""
        return all(isinstance(entry.event, Ignored) for entry in self.entries)


def last_life(source: Source, wf_run_id: str) -> list[LogEntry]:
    """Return the events of the last WfRun of an id, with what came before it. Raises NoSuchWfRun, BeginningMissing."""
    entries = [it.entry for it in source.events(wf_run_id)]
    if not entries:
        raise NoSuchWfRun(f"there is no event of a WfRun '{wf_run_id}' {source.where}", wf_run_id)
    begin, end = next((begin, end) for begin, end in reversed(lives(entries)) if begin < end)
    if not is_whole(entries[begin:end]):
        raise BeginningMissing(wf_run_id)
    return entries[begin:end]


def turns_of(source: Source, entries: Sequence[LogEntry], notes: list[str]) -> Iterator[Turn]:
    """Yield the inputs in the order in which they were decided, each with its events."""
    operators = sum(isinstance(it.event, BY_OPERATORS) for it in entries)
    if operators:
        notes.append(
            f"{operators} events of operators are left out: a scenario document has no quarantine and skips no record. "
            "What a quarantine kept comes when it was decided."
        )
    decided = [it for it in entries if not isinstance(it.event, BY_OPERATORS)]
    records = source.records({(it.cause.topic, it.cause.partition, it.cause.offset) for it in decided})
    before: list[LogEntry] = []
    turn: Turn | None = None
    cause: Cause | None = None
    for entry in decided:
        if turn is None or entry.cause != cause:
            if turn is not None:
                yield turn
            cause = entry.cause
            record = records.get((cause.topic, cause.partition, cause.offset))
            where = f"{cause.topic}[{cause.partition}]@{cause.offset}"
            if record is None:
                raise NoScenario(
                    f"expected the record {where}, which caused event {entry.seq}, found that it is gone: a scenario "
                    "needs every input. An export that was made in time has them"
                )
            try:
                command = source.codec.decode(record.value or b"")
            except CodecError as error:
                raise NoScenario(f"expected an input that can be read at {where}: {error}") from error
            if not isinstance(command, Command):
                raise NoScenario(f"expected an input of a WfRun at {where}, found {type(command).__name__}")
            if isinstance(command, ForkWfRun) and not isinstance(entry.event, Rejected):
                its = command.snapshot
                raise NoScenario(
                    f"WfRun '{command.wf_run_id}' is a fork of '{its.wf_run_id}' at event {its.seq}: a scenario "
                    f"document has no such state to begin with. Make one of '{its.wf_run_id}', and fork in it (`fork:`)"
                )
            turn = Turn(command, before=list(before) if isinstance(command, TaskWorkerCommand) else [])
        turn.entries.append(entry)
        before.append(entry)
    if turn is not None:
        yield turn
