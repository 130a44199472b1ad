"""All errors of the client. The message of each says what was expected and found; its docstring says who acts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from processors.core.records.errors import HalterError
from processors.core.records.events import (
    CorrelationDecided,
    DefinitionRejected,
    LogEntry,
    RecordSkipped,
    Rejected,
    RejectionCode,
    SkipLapsed,
)

OLDER_WORKERS: Final = (
    ". A worker of an earlier release than this client has read it: upgrade the workers first, or set HALTER_SCHEMAS "
    "to their release (docs/upgrades.md)"
)

# Before a record is sent.


class InvalidArgument(HalterError, ValueError):
    """No record can hold this argument, or no WfRun can have it. Whoever wrote the call corrects it."""


class RecordTooLarge(InvalidArgument):
    """A record is larger than an input may be. Whoever made its payload keeps it elsewhere and sends a reference."""


class ClientClosed(HalterError):
    """The client was closed and no longer asks Kafka. Whoever wrote the call makes another client, or closes later."""


class UpgradeNotOver(HalterError):
    """Workers of an earlier release may still run, and they do not read operator commands. End the upgrade first."""


class TopicMissing(HalterError):
    """The cluster has no such topic. An operator runs `halter topics apply`, or corrects the prefix."""


class PartitionsDiffer(HalterError):
    """The cluster has another number of partitions than we believe. An operator corrects HALTER_PARTITIONS."""


class CannotFork(HalterError):
    """No WfRun can start from this state, or not under this id. Whoever asked takes what the message names instead."""


class CannotSkip(HalterError):
    """This record cannot be skipped. The operator reads the message of the worker again: it names the record."""


class NoSuchPartition(CannotSkip):
    """There is no such partition. Whoever typed it reads the message of the worker again."""


# While a record is sent.


class PartlyPosted(HalterError):
    """Some records of a batch were not posted; all others were. Whoever made the batch does what their errors say.

    `posted` has what was posted (Posted, of an AsyncClient AsyncPosted) and None for the others, in the order of the
    batch; `failures` has the error of each of the others, by its index.
    """

    def __init__(self, posted: Sequence[Any], failures: Mapping[int, HalterError], what: str = "") -> None:
        """`what` says which event the first one is that was not posted."""
        first, why = next(iter(failures.items()))
        super().__init__(
            f"{len(failures)} of {len(posted)} records were not posted; the first is record {first}"
            f"{f' ({what})' if what else ''}: {why}"
        )
        self.posted, self.failures = posted, failures


class NotDelivered(HalterError):
    """Kafka did not take a record, or has not said so in time, and the message says why. Post it again by the same id.

    If the time was over, Kafka may have it. A second ExternalEvent or RunWf with the id is refused.
    """


class PlaceUnknown(HalterError):
    """Kafka has a record and has not said where, which may happen when it was sent again. Do not post it again."""


# While the log is followed.


class OffsetGone(HalterError):
    """The log no longer has the offset from which it was to be followed. The caller decides where to go on."""


class LaterRelease(HalterError):
    """A worker of a later release has written what this program cannot read. Upgrade the program."""


# What became of a record.


class CommandRejected(HalterError):
    """The engine refused a command, and nothing has changed. `code` and the message say why."""

    def __init__(self, entry: LogEntry, rejected: Rejected) -> None:
        super().__init__(f"{rejected.code}: {rejected.message}")
        self.entry = entry
        self._code = rejected.code

    @property
    def code(self) -> RejectionCode:
        """Why the engine refused it."""
        return self._code


class CorrelatedEventRejected(HalterError):
    """The engine refused a CorrelatedEvent, and nothing has changed. `code` and the message say why."""

    def __init__(self, decided: CorrelationDecided) -> None:
        super().__init__(f"{decided.code}: {decided.message}")
        self.decided = decided

    @property
    def code(self) -> RejectionCode:
        """Why the engine refused it."""
        assert self.decided.code is not None, "what is refused has a code"
        return self.decided.code


class CommandSkipped(HalterError):
    """An operator skipped a record, so that it is not decided. Send it again once the error that it caused is fixed."""

    def __init__(self, record: str, entry: LogEntry, skipped: RecordSkipped) -> None:
        by = f" by {skipped.operator}" if skipped.operator else ""
        why = f" ({skipped.reason})" if skipped.reason else ""
        super().__init__(
            f"{record} was skipped{by}{why} and has no effect. It is on dead-letters: send it again once the error "
            "that it caused is fixed"
        )
        self.entry = entry


class DefinitionRefused(HalterError):
    """The engine refused a definition. `rejected.problems` has all that is wrong with it."""

    def __init__(self, rejected: DefinitionRejected) -> None:
        problems = [problem.message for problem in rejected.problems] or [rejected.message]
        super().__init__(f"{rejected.kind} {rejected.name!r} was refused: {rejected.code}: {'; '.join(problems)}")
        self.rejected = rejected

    @property
    def code(self) -> str:
        """Why the engine refused it. Each of `rejected.problems` has a code of its own."""
        return self.rejected.code


class NotSkipped(HalterError):
    """Another record came than the one that was to be skipped: nothing was skipped. `entry` is the SkipLapsed."""

    def __init__(self, entry: LogEntry, lapsed: SkipLapsed) -> None:
        where = f"{lapsed.topic}[{lapsed.partition}]@{lapsed.offset}"
        super().__init__(f"{where} was not skipped, and nothing else was: {lapsed.reason}")
        self.entry = entry


class DeadLettered(HalterError):
    """The engine could not take a record, and nothing has changed. Whoever produced it corrects it. `reason` is the
    engine's.
    """

    def __init__(self, record: str, reason: str, message: str) -> None:
        hint = OLDER_WORKERS if reason == "UNKNOWN_SCHEMA" else ""
        super().__init__(f"{record} could not be taken in, and is on dead-letters: {reason}: {message}{hint}")
        self.reason = reason

    @property
    def code(self) -> str:
        """The engine's reason."""
        return self.reason


class NoOutcome(HalterError):
    """Kafka has the record, and no worker has decided it yet. It will be decided: check that a worker runs."""


class NotYet(HalterError):
    """A WfRun is not as the caller waits for it, within the time that was given. Look at it, or wait longer."""


class NotEnded(HalterError):
    """A WfRun takes longer than the caller was ready to wait. That is no failure: look what it waits for."""


class BeginningMissing(HalterError):
    """The log no longer has the beginning of a WfRun. The caller shows what its rows say, if there are any."""

    def __init__(self, wf_run_id: str) -> None:
        super().__init__(
            f"the log no longer has the beginning of WfRun '{wf_run_id}': "
            "what its threads and Variables were at its end cannot be told"
        )
