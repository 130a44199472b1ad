"""Waits for what became of a record: follows the log from where it ended before the record was sent.

Every event names its cause: the record that made it happen. The outcome of a command is the entries of `wf-events` that
name its record; the outcome of a definition command is one record of `definition-events`. If neither topic has it,
`halter.client.lost_outcomes` finds out why. Sends nothing.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from confluent_kafka import Message

from halter.client.errors import (
    BeginningMissing,
    CommandRejected,
    CommandSkipped,
    DefinitionRefused,
    InvalidArgument,
    NoOutcome,
    NotEnded,
    NotYet,
    TopicMissing,
)
from halter.client.events_of_wf_run import Placed
from halter.client.lost_outcomes import AGAIN, DECIDED, expect_folded, raise_if_dead_letter, what_comes
from halter.client.reading import VISIBLE_SECONDS, PartitionReader, follow_until
from halter.client.skipping import SkipOutcome
from halter.client.wf_run_reader import WfRunReader
from processors.codec import Codec
from processors.core.records.commands import ForkWfRun, SkipRecord
from processors.core.records.events import (
    DefinitionAccepted,
    DefinitionRejected,
    LogEntry,
    RecordSkipped,
    Rejected,
    RejectionCode,
    SkipLapsed,
    WfRunDeleted,
    WfRunEnded,
    WfRunStarted,
)
from processors.core.records.model import WfRun
from processors.core.records.topic_names import DEFINITION_COMMANDS
from processors.fold.inputs import partition_key
from processors.kafka.errors import KafkaUnavailable
from processors.kafka.topics import Topics

OUTCOME_SECONDS: Final = 30.0
SKIPPED_SECONDS: Final = 1.0
"""Time between two looks at whether an operator has skipped the definition command whose outcome is waited for."""
REMEMBERED_MAX: Final = 10_000
Found = TypeVar("Found")
Until: TypeAlias = Literal["ended"] | Callable[[WfRun], bool]
"""What a caller waits for: that a WfRun has ended, or that a function says True of its state."""


class Posted:
    """A record that Kafka has. `topic` is without the prefix."""

    def __init__(
        self,
        outcomes: "Outcomes",
        wf_run_id: str,
        topic: str,
        partition: int,
        offset: int,
        log_end: int,
        repeat_id: str | None = None,
        own_id: str = "",
    ) -> None:
        """`log_end`: an offset at which its partition of the log ended before the record was sent.

        `repeat_id`: the id with which the record may be sent again, because only the first of the two takes effect.
        """
        self.wf_run_id, self.topic, self.partition, self.offset = wf_run_id, topic, partition, offset
        self.log_end, self.repeat_id = log_end, repeat_id
        self.id = own_id
        """The id of the ExternalEvent or of the WfRun to start, else that of the command: as given, else new (UUIDv7).

        Only the first of two ExternalEvents, or of two RunWf, with the same id takes effect.
        """
        self.entries: list[LogEntry] = []
        """Its outcome, once somebody has waited for it: the entries of the log that it caused."""
        self._outcomes = outcomes

    def outcome(self, timeout_s: float = OUTCOME_SECONDS) -> list[LogEntry]:
        """Wait for what became of it: the entries of the log that it caused, in order, at least one.

        Raises CommandRejected if it was refused, CommandSkipped if an operator had it skipped, DeadLettered if it
        could not be taken in, and NoOutcome if nobody decided it in time.
        """
        self.entries = self._outcomes.of(self, timeout_s)
        return self.entries

    def until_ended(self, timeout_s: float = OUTCOME_SECONDS) -> WfRun:
        """Wait until its WfRun has ended, and return the state that it had then.

        If the WfRun began before the log does, only its row is left: the state then has no threads. Raises NotEnded if
        it takes longer, and CommandSkipped if an operator had this record skipped.
        """
        return self._outcomes.until_ended(self, timeout_s)

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class PostedSkip(Posted):
    """A SkipRecord that Kafka has."""

    def __init__(self, command: SkipRecord, *posted: Any) -> None:
        super().__init__(*posted)
        self.command = command

    def outcome(self, timeout_s: float = OUTCOME_SECONDS) -> list[LogEntry]:
        """Wait until the record is skipped: its SkipAccepted, and its RecordSkipped.

        Raises CommandRejected if it was refused, NotSkipped if another record came in its place and NoOutcome if
        neither came in time.
        """
        return self._outcomes.of_skip(self, timeout_s)


class PostedFork(Posted):
    """A ForkWfRun that Kafka has."""

    def __init__(self, command: ForkWfRun, *posted: Any) -> None:
        super().__init__(*posted)
        self.command = command

    def outcome(self, timeout_s: float = OUTCOME_SECONDS) -> list[LogEntry]:
        """Wait until the new WfRun is started: the events of that, of which the second is its WfRunForked.

        If the same fork was made before, they are those of the first (`is_cause_of` tells), and nothing has changed.
        Raises CommandRejected if another WfRun has the id or none can start from this state, and what `Posted.outcome`
        raises.
        """
        return self._outcomes.of_fork(self, timeout_s)

    def is_cause_of(self, entry: LogEntry) -> bool:
        """Return True if this record caused an event, and not the one that it repeats."""
        return _is_caused_by(entry, self)


@dataclass(frozen=True, slots=True)
class Registered:
    """A definition that was accepted, and the position of `definitions` at which everybody finds it."""

    accepted: DefinitionAccepted
    position: int

    @property
    def version(self) -> str:
        """`major.revision`."""
        return f"{self.accepted.major}.{self.accepted.revision}"


class Ends(NamedTuple):
    """The offsets at which topics ended before a definition command was sent."""

    events: int
    log: int | None
    """None where the caller may not read the log."""


class Outcomes:
    """Waits for outcomes, and remembers the newest event of each WfRun that one has shown."""

    def __init__(self, reader: PartitionReader, topics: Topics, codec: Codec, wf_runs: WfRunReader) -> None:
        self._reader, self._topics, self._codec, self._wf_runs = reader, topics, codec, wf_runs
        self._newest: dict[str, tuple[int, int]] = {}

    def newest(self, wf_run_id: str) -> tuple[int, int] | None:
        """Incarnation and seq of the newest event of a WfRun that an outcome has shown; None if there was none."""
        return self._newest.get(wf_run_id)

    def _remember(self, entry: LogEntry) -> None:
        self._newest.pop(entry.wf_run_id, None)
        if entry.seq and not isinstance(entry.event, WfRunDeleted):
            self._newest[entry.wf_run_id] = (entry.incarnation, entry.seq)
            if len(self._newest) > REMEMBERED_MAX:
                del self._newest[next(iter(self._newest))]

    # Commands.

    def of(self, posted: Posted, timeout_s: float, comes: str | None = None) -> list[LogEntry]:
        """Wait for the outcome of a command. `comes` says what will become of it (default: of `posted.repeat_id`)."""
        caused = self._caused(posted, timeout_s)
        if not caused:
            comes = what_comes(posted.repeat_id) if comes is None else comes
            caused = self._late(lambda: self._caused(posted, 0), _address(posted), timeout_s, comes)
        self._remember(caused[-1])
        _raise_if_without_effect(posted, caused[0])
        return caused

    def of_fork(self, posted: PostedFork, timeout_s: float) -> list[LogEntry]:
        """Wait for the outcome of a fork, or find that of the same fork before."""
        try:
            return self.of(posted, timeout_s, AGAIN)
        except CommandRejected as rejected:
            if rejected.code is not RejectionCode.ALREADY_EXISTS:
                raise
            first = self._first_with_id(posted)
            if not first:
                raise
            posted.log_end = first[0].offset
            return [placed.entry for placed in first]

    def _first_with_id(self, posted: PostedFork) -> list[Placed]:
        """The entries by which a command with the same command id started the present WfRun."""
        first: list[Placed] = []
        for placed in self._wf_runs.events(posted.wf_run_id):
            entry = placed.entry
            if isinstance(entry.event, WfRunStarted):
                first = [placed] if entry.cause.command_id == posted.command.command_id else []
            elif first and entry.cause == first[0].entry.cause:
                first.append(placed)
        return first

    def _caused(self, posted: Posted, timeout_s: float) -> list[LogEntry]:
        """The entries of the log that a record caused; none if there are none at its end when the time is over."""
        caused: list[LogEntry] = []
        for entry in self._entries(posted, timeout_s):
            if entry is None:
                # The events of a record are written in one transaction, which becomes visible as a whole.
                if caused:
                    break
            elif isinstance(entry.event, SkipLapsed):
                continue  # the outcome of a skip
            elif _is_caused_by(entry, posted):
                caused.append(entry)
            elif caused:
                break
        return caused

    def until_ended(self, posted: Posted, timeout_s: float) -> WfRun:
        """Wait until the WfRun of a command has ended."""
        decided = ended_before = False
        for entry in self._entries(posted, timeout_s):
            if entry is None:
                # The WfRun that ended may be an earlier one of the same id.
                if decided and ended_before and self._has_ended(posted.wf_run_id):
                    return self._as_it_ended(posted.wf_run_id)
                ended_before = ended_before and not decided
                continue
            if _is_caused_by(entry, posted):
                _raise_if_skipped(posted, entry)
                decided = True
            if isinstance(entry.event, WfRunEnded | WfRunDeleted):
                if decided:
                    self._remember(entry)
                    return self._as_it_ended(posted.wf_run_id)
                ended_before = True
        if ended_before and self._has_ended(posted.wf_run_id):
            return self._as_it_ended(posted.wf_run_id)
        raise NotEnded(
            f"WfRun '{posted.wf_run_id}' has not ended within {timeout_s:g} s; "
            f"`halter show {posted.wf_run_id}` shows what it waits for"
        )

    def until(self, wf_run_id: str, until: Until, timeout_s: float) -> WfRun:
        """Wait until a WfRun has ended, or is as a function says. Raises NotEnded and NotYet."""
        if until != "ended" and not callable(until):
            raise InvalidArgument(f"until: expected 'ended' or a function of a WfRun, found {until!r}")
        deadline = time.monotonic() + timeout_s
        run: WfRun | None = None
        existed = False
        for state in self._wf_runs.states(wf_run_id):
            if state is not None:
                was_deleted, existed = existed and not state.exists, state.exists
                if until == "ended" and (was_deleted or _has_ended(state)):
                    return self._as_it_ended(wf_run_id)
                if until != "ended" and until(state):
                    return state
                run = state
            if time.monotonic() > deadline:
                break
        found = f"it is {run.status}" if run is not None and run.exists else "nothing was started under that id"
        late = f"within {timeout_s:g} s: {found}"
        if until == "ended":
            raise NotEnded(f"WfRun '{wf_run_id}' has not ended {late}")
        raise NotYet(f"WfRun '{wf_run_id}' has not become as it was to be {late}")

    def _has_ended(self, wf_run_id: str) -> bool:
        run = self._wf_runs.show(wf_run_id, self.newest(wf_run_id))
        return run is not None and _has_ended(run)

    def _as_it_ended(self, wf_run_id: str) -> WfRun:
        try:
            return self._wf_runs.ended(wf_run_id)
        except BeginningMissing:
            row = self._wf_runs.show(wf_run_id, self.newest(wf_run_id))
            if row is None:
                raise
            return row

    # Skips.

    def of_skip(self, posted: PostedSkip, timeout_s: float) -> list[LogEntry]:
        """Wait for the outcome of a SkipRecord."""
        outcome = self._skip_seen(posted, timeout_s)
        skipped = f"{posted.command.topic}[{posted.partition}]@{posted.command.offset}"
        if outcome.accepted is None:
            comes = (
                f"Kafka has the skip: as soon as a worker runs, {skipped} is passed over, whether it breaks a rule or "
                "not, unless it is decided before the skip is"
            )

            def look() -> list[SkipOutcome]:
                found = self._skip_seen(posted, 0)
                return [found] if found.accepted else []

            [outcome] = self._late(look, _address(posted), timeout_s, comes)
        if len(outcome.entries) == 2:
            return outcome.entries
        raise NoOutcome(
            f"{skipped} is to be skipped, and its partition has not reached it within {timeout_s:g} s: the worker's "
            "log says what it waits for"
        )

    def _skip_seen(self, posted: PostedSkip, timeout_s: float) -> SkipOutcome:
        """Gather the outcome of a skip from the log until it is complete, or until the time is over.

        Raises CommandRejected, CommandSkipped and NotSkipped.
        """
        outcome = SkipOutcome(posted.command, posted.offset)
        for message in self._messages(posted, timeout_s):
            if message is not None:
                entry = self._entry(message)
                if _is_caused_by(entry, posted):
                    _raise_if_without_effect(posted, entry)
                outcome.take(entry)
            elif len(outcome.entries) == 2:
                break
        return outcome

    # Definitions.

    def ends(self) -> Ends:
        """The ends of the topics on which the outcome of a definition command will be.

        To a principal that may not read the log, that topic is not there.
        """
        events = self._reader.end(self._topics.definition_events, 0)
        try:
            return Ends(events, self._reader.end(self._topics.wf_events, 0))
        except (KafkaUnavailable, TopicMissing):
            return Ends(events, None)

    def of_definition(self, partition: int, offset: int, ends: Ends, timeout_s: float) -> DefinitionAccepted:
        """Wait for the outcome of a definition command, by the offset of its record.

        Raises DefinitionRefused, and what `of` raises.
        """
        looked = time.monotonic()
        events = self._topics.definition_events
        for message in follow_until(looked + timeout_s, self._reader, events, 0, ends.events):
            if message is None and time.monotonic() - looked > SKIPPED_SECONDS:
                self._raise_if_definition_skipped(partition, offset, ends)
                looked = time.monotonic()
            accepted = None if message is None else self._accepted(message, offset)
            if accepted is not None:
                return accepted

        def look() -> list[DefinitionAccepted]:
            self._raise_if_definition_skipped(partition, offset, ends)
            found = (self._accepted(it, offset) for it in self._reader.read(events, 0, ends.events))
            return [it for it in found if it is not None]

        [late] = self._late(look, (DEFINITION_COMMANDS, partition, offset), timeout_s)
        return late

    def _accepted(self, message: Message, offset: int) -> DefinitionAccepted | None:
        """The acceptance in a record of definition-events, if it is about the command at an offset.

        Raises DefinitionRefused.
        """
        outcome = self._codec.decode(message.value() or b"")
        assert isinstance(outcome, DefinitionAccepted | DefinitionRejected)
        if (outcome.cause.topic, outcome.cause.offset) != (DEFINITION_COMMANDS, offset):
            return None
        if isinstance(outcome, DefinitionRejected):
            raise DefinitionRefused(outcome)
        return outcome

    def _raise_if_definition_skipped(self, partition: int, offset: int, ends: Ends) -> None:
        """Raise CommandSkipped if the log says that an operator had a definition command skipped."""
        if ends.log is None:
            return
        posted = Posted(self, "", DEFINITION_COMMANDS, partition, offset, ends.log)
        for message in self._reader.read(self._topics.wf_events, partition, ends.log):
            entry = self._entry(message)
            if _is_caused_by(entry, posted):
                _raise_if_skipped(posted, entry)

    # The log.

    def _late(
        self,
        look: Callable[[], list[Found]],
        address: tuple[str, int, int],
        waited_s: float,
        comes: str = DECIDED,
    ) -> list[Found]:
        """Look for the outcome of a record once more when the time is over: it may have been folded in the last moment.

        `comes` is a sentence about what will become of it. Raises NoOutcome or DeadLettered.
        """
        expect_folded(self._reader, self._topics, self._codec, address, waited_s, comes)
        # A transaction does not become visible in all its partitions at the same moment.
        deadline = time.monotonic() + VISIBLE_SECONDS
        while True:
            is_last = time.monotonic() > deadline
            found = look()
            if found:
                return found
            raise_if_dead_letter(self._reader, self._topics, address)
            if is_last:
                topic, partition, offset = address
                raise NoOutcome(
                    f"{topic}[{partition}]@{offset} is folded, and neither wf-events nor dead-letters has its outcome: "
                    "was the topic emptied?"
                )

    def _entries(self, posted: Posted, timeout_s: float) -> Iterator[LogEntry | None]:
        """The entries of the log that may be about a record; None each time that there are no more for the moment.

        Entries about a record that was skipped because it could not be read have the key of its partition.
        """
        keys = posted.wf_run_id.encode(), partition_key(posted.partition).encode()
        for message in self._messages(posted, timeout_s):
            if message is None:
                yield None
            elif message.key() in keys:
                yield self._entry(message)

    def _messages(self, posted: Posted, timeout_s: float) -> Iterator[Message | None]:
        deadline = time.monotonic() + timeout_s
        return follow_until(deadline, self._reader, self._topics.wf_events, posted.partition, posted.log_end)

    def _entry(self, message: Message) -> LogEntry:
        entry = self._codec.decode(message.value() or b"")
        assert isinstance(entry, LogEntry)
        return entry


def _has_ended(run: WfRun) -> bool:
    return run.final_status is not None


def _address(posted: Posted) -> tuple[str, int, int]:
    return posted.topic, posted.partition, posted.offset


def _is_caused_by(entry: LogEntry, posted: Posted) -> bool:
    return (entry.cause.topic, entry.cause.offset) == (posted.topic, posted.offset)


def _raise_if_skipped(posted: Posted, entry: LogEntry) -> None:
    if isinstance(entry.event, RecordSkipped):
        raise CommandSkipped(str(posted), entry, entry.event)


def _raise_if_without_effect(posted: Posted, entry: LogEntry) -> None:
    if isinstance(entry.event, Rejected):
        raise CommandRejected(entry, entry.event)
    _raise_if_skipped(posted, entry)
