"""Waits for what became of a record: follows the log from where it ended before the record was sent.

Every event names its cause: the record that made it happen. The outcome of a command is the entries of `wf-events` that
name its record; the outcome of a definition command is one record of `definition-events`. If neither topic has it,
`halter.client.lost_outcomes` finds out why. Sends nothing.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from confluent_kafka import KafkaException, Message

from halter.client.errors import (
    BeginningMissing,
    CommandRejected,
    CorrelatedEventRejected,
    DefinitionRefused,
    InvalidArgument,
    NoOutcome,
    TopicMissing,
)
from halter.client.events_of_wf_run import Placed
from halter.client.log_records import definition_outcome, log_entry
from halter.client.lost_outcomes import DECIDED, OLD_SECONDS, Progress, raise_if_dead_letter
from halter.client.reading import VISIBLE_SECONDS, PartitionReader, follow_until, offset_of
from halter.client.skipping import SkipOutcome
from halter.client.waiting import (
    LOOK_SECONDS,
    EndWait,
    ForkWait,
    OutcomeWait,
    StateWait,
    Wait,
    raise_if_skipped,
    raise_if_without_effect,
)
from halter.client.wf_run_reader import WfRunReader
from processors.codec import Codec
from processors.core.records.commands import DefinitionKind, ForkWfRun, SkipRecord
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    CorrelationDecided,
    CorrelationOutcome,
    DefinitionAccepted,
    DefinitionRejected,
    LogEntry,
    RejectionCode,
    WfRunDeleted,
    WfRunStarted,
)
from processors.core.records.model import WfRun
from processors.core.records.topic_names import CORRELATED_EVENTS, DEFINITION_COMMANDS
from processors.core.wf_spec.definitions import Definitions
from processors.kafka.errors import KafkaUnavailable
from processors.kafka.topics import Topics

OUTCOME_SECONDS: Final = 30.0
WARN_SECONDS: Final = 1.5
"""Time after which a caller hears that no worker decides what he waits for. With the looks, it is after 2 seconds."""
WARN_AGAIN_SECONDS: Final = 30.0
REMEMBERED_MAX: Final = 10_000
NO_DEFINITION: Final = {
    DefinitionKind.WF_SPEC: RejectionCode.NOT_FOUND,
    DefinitionKind.EXTERNAL_EVENT_DEF: RejectionCode.INVALID_ARGUMENT,
}
"""The engine's codes for a definition that is not registered. The second one has other reasons too."""
NO_WF_SPEC: Final = re.compile("there is no WfSpec '([^']+)'")
NONE_THERE: Final = re.compile(r"there is no (WfSpec|ExternalEventDef) '([^']+)'((?: \d+)*)$")
NO_VARIABLE: Final = re.compile("has no Variable '([^']+)'; it has (.+)$")
"""The engine's sentences about names that only its sentence tells: its rules do not guess, as the log keeps them."""
Found = TypeVar("Found")
Result = TypeVar("Result")
Until: TypeAlias = Literal["ended"] | Callable[[WfRun], bool]
"""What a caller waits for: that a WfRun has ended, or that a function says True of its state."""


class Posted:
    """A record that Kafka has. `topic` is without the prefix."""

    __slots__ = (
        "_entries", "_outcomes", "external_event_def", "id", "log_end", "offset", "partition", "repeat_id", "topic",
        "wf_run_id", "wf_spec_name",
    )  # fmt: skip
    # Who posts a million events has a million of these.

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
        external_event_def: str = "",
        wf_spec_name: str = "",
    ) -> None:
        """`log_end`: an offset at which its partition of the log ended before the record was sent.

        `repeat_id`: the id with which the record may be sent again, because only the first of the two takes effect.
        `external_event_def`: that of the event. `wf_spec_name`: the WfSpec to start.
        """
        self.external_event_def, self.wf_spec_name = external_event_def, wf_spec_name
        self.wf_run_id, self.topic, self.partition, self.offset = wf_run_id, topic, partition, offset
        self.log_end, self.repeat_id = log_end, repeat_id
        self.id = own_id
        """The id of the ExternalEvent or of the WfRun to start, else that of the command: as given, else new (UUIDv7).

        Only the first of two ExternalEvents, or of two RunWf, with the same id takes effect. A RunWfAndPost has the id
        of its event.
        """
        self._entries: list[LogEntry] | None = None
        self._outcomes = outcomes

    @property
    def entries(self) -> list[LogEntry]:
        """Its outcome, once somebody has waited for it: the entries of the log that it caused."""
        return [] if self._entries is None else self._entries

    def outcome(self, timeout_s: float = OUTCOME_SECONDS) -> list[LogEntry]:
        """Wait for what became of it: the entries of the log that it caused, in order, at least one.

        Raises CommandRejected if it was refused, CommandSkipped if an operator had it skipped, DeadLettered if it
        could not be taken in, and NoOutcome if nobody decided it in time.
        """
        self._entries = self._outcomes.waited_for(self._outcome_wait(), timeout_s)
        return self._entries

    def until_ended(self, timeout_s: float = OUTCOME_SECONDS) -> WfRun:
        """Wait until its WfRun has ended, and return the state that it had then.

        If the WfRun began before the log does, only its row is left: the state then has no threads. Raises NotEnded if
        it takes longer, CommandSkipped if an operator had this record skipped, and what `outcome` raises if nobody has
        decided it.
        """
        return self._outcomes.waited_for(self._end_wait(), timeout_s)

    def _outcome_wait(self) -> Wait[list[LogEntry]]:
        """Return what `outcome` waits for."""
        return OutcomeWait(self._outcomes, self)

    def _end_wait(self) -> Wait[WfRun]:
        """Return what `until_ended` waits for."""
        return EndWait(self._outcomes, self)

    @property
    def address(self) -> tuple[str, int, int]:
        """Topic, partition and offset."""
        return self.topic, self.partition, self.offset

    def is_cause_of(self, entry: LogEntry) -> bool:
        """Return True if this record caused an event."""
        return (entry.cause.topic, entry.cause.offset) == (self.topic, self.offset)

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
        self.command, self.wf_spec_name = command, command.snapshot.wf_spec.name

    def outcome(self, timeout_s: float = OUTCOME_SECONDS) -> list[LogEntry]:
        """Wait until the new WfRun is started: the events of that, of which the second is its WfRunForked.

        If the same fork was made before, they are those of the first (`is_cause_of` tells), and nothing has changed.
        Raises CommandRejected if another WfRun has the id or none can start from this state, and what `Posted.outcome`
        raises.
        """
        return super().outcome(timeout_s)

    def _outcome_wait(self) -> Wait[list[LogEntry]]:
        """Return what `outcome` waits for."""
        return ForkWait(self._outcomes, self)

    def is_cause_of(self, entry: LogEntry) -> bool:
        """Return True if this record caused an event, and not the one that it repeats."""
        return super().is_cause_of(entry)


@dataclass(frozen=True, slots=True)
class PostedCorrelated:
    """A CorrelatedEvent that Kafka has. `topic` is without the prefix."""

    outcomes: "Outcomes" = field(repr=False)
    id: str
    """The id of the event, and of the ExternalEvents that it becomes: as given, else new (UUIDv7)."""
    correlation_key: str
    partition: int
    offset: int
    ends: "Ends" = field(repr=False)
    topic: str = CORRELATED_EVENTS

    def outcome(self, timeout_s: float = OUTCOME_SECONDS) -> CorrelationDecided:
        """Wait for what became of it: it was posted to `wf_runs`, or is kept for the first WfRun that comes.

        What each WfRun made of its ExternalEvent is in the history of that. Raises CorrelatedEventRejected,
        CommandSkipped if an operator had it skipped, DeadLettered if it could not be taken in, and NoOutcome if nobody
        decided it in time.
        """
        return self.outcomes.of_correlated(self, timeout_s)

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


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
    """The offsets at which topics ended before a record was sent whose outcome is on another topic than the log."""

    events: int
    log: int | None
    """None where the caller may not read the log."""


class Outcomes:
    """Waits for outcomes, and remembers the newest event of each WfRun that one has shown."""

    def __init__(
        self,
        reader: PartitionReader,
        topics: Topics,
        codec: Codec,
        wf_runs: WfRunReader,
        progress: Progress,
        definitions: Callable[[], Definitions],
    ) -> None:
        """`definitions` returns all that there are now."""
        self._reader, self._topics, self._codec, self._progress = reader, topics, codec, progress
        self.wf_runs, self._definitions = wf_runs, definitions
        self.warn: Callable[[str], None] = logging.getLogger("halter").warning
        """Called with a sentence when somebody waits for what no worker decides: every WARN_AGAIN_SECONDS at most."""
        self._warned = float("-inf")
        self._newest: dict[str, tuple[int, int]] = {}

    def newest(self, wf_run_id: str) -> tuple[int, int] | None:
        """Incarnation and seq of the newest event of a WfRun that an outcome has shown; None if there was none."""
        return self._newest.get(wf_run_id)

    def remember(self, entry: LogEntry) -> None:
        """Note that a caller has seen an event."""
        self._newest.pop(entry.wf_run_id, None)
        if entry.seq and not isinstance(entry.event, WfRunDeleted):
            self._newest[entry.wf_run_id] = (entry.incarnation, entry.seq)
            while len(self._newest) > REMEMBERED_MAX:
                self._newest.pop(next(iter(self._newest)), None)

    # Waiting.

    def waited_for(self, wait: Wait[Result], timeout_s: float) -> Result:
        """Read the log until there is what a Wait waits for, or the time is over. Raises what the Wait does."""
        found = wait.result()
        if found is not None:
            return found
        deadline = time.monotonic() + timeout_s
        for message in follow_until(deadline, self._reader, self._topics.wf_events, wait.partition, wait.start):
            if message is None or message.key() in wait.keys:
                entry = None if message is None else self.entry(message)
                if wait.take(entry) and (found := wait.result()) is not None:
                    return found
                if entry is None:
                    wait.look_if_due(timeout_s)
        return wait.late(timeout_s)

    def look(self, address: tuple[str, int, int], waited_s: float, timeout_s: float, comes: str = DECIDED) -> None:
        """Look why a record has no outcome. Raises DeadLettered; warns if no worker has come to it for so long."""
        try:
            self._progress.expect_folded(address, round(waited_s), comes, OLD_SECONDS)
        except NoOutcome as why:
            self._warn(str(why), waited_s, timeout_s)
        else:
            # Its outcome may become visible yet, so only a dead letter is certain.
            with suppress(NoOutcome):
                raise_if_dead_letter(self._reader, self._topics, address)

    def look_for_workers(self, what: str, waited_s: float, timeout_s: float) -> None:
        """Warn if no worker is running while somebody waits for something."""
        members = self._progress.members()
        if members is not None and not members.names:
            self._warn(
                f"{what} does not move: {members.nobody}",
                waited_s,
                timeout_s,
            )

    def _warn(self, sentence: str, waited_s: float, timeout_s: float) -> None:
        now = time.monotonic()
        if waited_s >= WARN_SECONDS and waited_s < timeout_s and now - self._warned > WARN_AGAIN_SECONDS:
            self._warned = now
            self.warn(f"{sentence}. Waiting on, for {timeout_s:g} s in all")

    # Commands.

    def late(self, posted: Posted, waited_s: float, comes: str, over_s: float) -> list[LogEntry]:
        """Look for the outcome of a command once more when the time is over, since `over_s` seconds.

        Raises NoOutcome or DeadLettered.
        """

        def look() -> list[LogEntry]:
            wait = OutcomeWait(self, posted)
            at_end = time.monotonic()
            for message in follow_until(at_end, self._reader, self._topics.wf_events, wait.partition, wait.start):
                is_ours = message is None or message.key() in wait.keys
                if is_ours and wait.take(None if message is None else self.entry(message)):
                    break
            return wait.caused

        return self._late(look, posted.address, waited_s, comes, over_s)

    def with_effect(self, posted: Posted, caused: list[LogEntry]) -> list[LogEntry]:
        """Return the outcome of a command. Raises CommandRejected and CommandSkipped."""
        self.remember(caused[-1])
        try:
            raise_if_without_effect(posted, caused[0])
        except CommandRejected as rejected:
            add_hint(rejected, posted.external_event_def, posted.wf_spec_name, self._definitions)
            raise
        return caused

    def first_of(self, posted: PostedFork) -> list[Placed]:
        """The entries by which a command with the same command id started the present WfRun."""
        first: list[Placed] = []
        for placed in self.wf_runs.events(posted.wf_run_id):
            entry = placed.entry
            if isinstance(entry.event, WfRunStarted):
                first = [placed] if entry.cause.command_id == posted.command.command_id else []
            elif first and entry.cause == first[0].entry.cause:
                first.append(placed)
        return first

    def state_wait(self, wf_run_id: str, until: Until) -> StateWait:
        """Return what waits until a WfRun has ended, or is as a function says. Reads the state now."""
        if until != "ended" and not callable(until):
            raise InvalidArgument(f"until: expected 'ended' or a function of a WfRun, found {until!r}")
        return StateWait(self, wf_run_id, until)

    def row(self, wf_run_id: str) -> WfRun | None:
        """Return a WfRun as its rows and the log behind them say; None if there is nothing under the id."""
        return self.wf_runs.show(wf_run_id, self.newest(wf_run_id))

    def has_ended(self, wf_run_id: str) -> bool:
        """Return True if a WfRun has ended, and is not deleted."""
        run = self.row(wf_run_id)
        return run is not None and run.has_ended

    def as_it_ended(self, wf_run_id: str) -> WfRun:
        """Return a WfRun as it was when it ended: from the log, else its row."""
        try:
            return self.wf_runs.ended(wf_run_id)
        except BeginningMissing:
            row = self.row(wf_run_id)
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

            [outcome] = self._late(look, posted.address, timeout_s, comes)
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
                entry = self.entry(message)
                if posted.is_cause_of(entry):
                    raise_if_without_effect(posted, entry)
                outcome.take(entry)
            elif len(outcome.entries) == 2:
                break
        return outcome

    # Definitions.

    def ends(self) -> Ends:
        """The ends of the topics on which the outcome of a definition command will be."""
        return self._ends(self._topics.definition_events, 0)

    def _ends(self, events: str, partition: int) -> Ends:
        """Return where a topic with outcomes ends, and the log, on which it is if an operator has a record skipped.

        To a principal that may not read the log, that topic is not there.
        """
        end = self._reader.end(events, partition)
        try:
            return Ends(end, self._reader.end(self._topics.wf_events, partition))
        except (KafkaUnavailable, TopicMissing):
            return Ends(end, None)

    def next_definition(
        self, partition: int, offset: int, ends: Ends, timeout_s: float
    ) -> tuple[DefinitionAccepted, Ends]:
        """Wait for the outcome of a definition command, by the offset of its record.

        Return also the ends behind which those of later commands are. Raises DefinitionRefused, and what `of` raises.
        """
        begun = looked = time.monotonic()
        events, address = self._topics.definition_events, (DEFINITION_COMMANDS, partition, offset)
        for message in follow_until(begun + timeout_s, self._reader, events, 0, ends.events):
            if message is None and time.monotonic() - looked > LOOK_SECONDS:
                self._raise_if_found_skipped(address, ends)
                self.look(address, time.monotonic() - begun, timeout_s)
                looked = time.monotonic()
            if message is not None and (accepted := self._accepted(message, offset)) is not None:
                return accepted, ends._replace(events=offset_of(message) + 1)

        def look() -> list[DefinitionAccepted]:
            self._raise_if_found_skipped(address, ends)
            found = (self._accepted(it, offset) for it in self._reader.read(events, 0, ends.events))
            return [it for it in found if it is not None]

        [late] = self._late(look, address, timeout_s)
        return late, ends

    def _accepted(self, message: Message, offset: int) -> DefinitionAccepted | None:
        """The acceptance in a record of definition-events, if it is about the command at an offset.

        Raises DefinitionRefused.
        """
        outcome = definition_outcome(self._codec, message)
        if (outcome.cause.topic, outcome.cause.offset) != (DEFINITION_COMMANDS, offset):
            return None
        if isinstance(outcome, DefinitionRejected):
            raise DefinitionRefused(outcome)
        return outcome

    # Correlated events.

    def ends_of_correlation(self, partition: int) -> Ends:
        """The ends of the partitions on which the outcome of a correlated event will be."""
        return self._ends(self._topics.correlation_events, partition)

    def of_correlated(self, posted: PostedCorrelated, timeout_s: float) -> CorrelationDecided:
        """Wait for the outcome of a correlated event. Raises CorrelatedEventRejected, and what `of_definition` does."""
        begun = looked = time.monotonic()
        address, events = (posted.topic, posted.partition, posted.offset), self._topics.correlation_events
        start = posted.ends.events
        for message in follow_until(begun + timeout_s, self._reader, events, posted.partition, start):
            if message is None and time.monotonic() - looked > LOOK_SECONDS:
                self._raise_if_found_skipped(address, posted.ends)
                self.look(address, time.monotonic() - begun, timeout_s)
                looked = time.monotonic()
            decided = None if message is None else self._correlated(message, posted)
            if decided is not None:
                return decided

        def look() -> list[CorrelationDecided]:
            self._raise_if_found_skipped(address, posted.ends)
            found = (self._correlated(it, posted) for it in self._reader.read(events, posted.partition, start))
            return [it for it in found if it is not None]

        [late] = self._late(look, address, timeout_s)
        return late

    def _correlated(self, message: Message, posted: PostedCorrelated) -> CorrelationDecided | None:
        """The decision in a record of correlation-events, if it is about this event. Raises CorrelatedEventRejected."""
        decided = self._codec.decode(message.value() or b"")
        assert isinstance(decided, CorrelationDecided)
        if (decided.cause.topic, decided.cause.offset) != (posted.topic, posted.offset):
            return None
        if decided.outcome is CorrelationOutcome.REJECTED:
            rejected = CorrelatedEventRejected(decided)
            if self._are_swapped(decided):
                there = f"there is one named '{decided.correlation_key}'"
                rejected.args = (f"{rejected}; {there}: did you swap key and name?",)
            else:
                add_hint(rejected, decided.external_event_def, "", self._definitions)
            raise rejected
        return decided

    def _are_swapped(self, decided: CorrelationDecided) -> bool:
        """Return True if no ExternalEventDef has the name of a refused event, and one has its key as its name."""
        if decided.code is not NO_DEFINITION[DefinitionKind.EXTERNAL_EVENT_DEF]:
            return False
        try:
            registered = self._definitions()
        except (KafkaException, HalterError):  # no right to read them
            return False
        names = (decided.external_event_def, decided.correlation_key)
        name_is_known, key_is_known = (registered.external_event_def(it) is not None for it in names)
        return key_is_known and not name_is_known

    def _raise_if_found_skipped(self, address: tuple[str, int, int], ends: Ends) -> None:
        """Raise CommandSkipped if the log says that an operator had a record skipped."""
        if ends.log is None:
            return
        topic, partition, offset = address
        posted = Posted(self, "", topic, partition, offset, ends.log)
        for message in self._reader.read(self._topics.wf_events, partition, ends.log):
            entry = self.entry(message)
            if posted.is_cause_of(entry):
                raise_if_skipped(posted, entry)

    # The log.

    def _late(
        self,
        look: Callable[[], list[Found]],
        address: tuple[str, int, int],
        waited_s: float,
        comes: str = DECIDED,
        over_s: float = 0.0,
    ) -> list[Found]:
        """Look for the outcome of a record once more when the time is over: it may have been folded in the last moment.

        `comes` is a sentence about what will become of it. Raises NoOutcome or DeadLettered.
        """
        self._progress.expect_folded(address, waited_s, comes, over_s)
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

    def _messages(self, posted: Posted, timeout_s: float) -> Iterator[Message | None]:
        deadline = time.monotonic() + timeout_s
        return follow_until(deadline, self._reader, self._topics.wf_events, posted.partition, posted.log_end)

    def entry(self, message: Message) -> LogEntry:
        """Decode a record of the log. Raises LaterRelease."""
        return log_entry(self._codec, message)


def add_hint(
    rejected: CommandRejected | CorrelatedEventRejected,
    external_event_def: str,
    wf_spec_name: str,
    definitions: Callable[[], Definitions],
) -> None:
    """Add which definition or Variable was probably meant by a name to a refusal, if the name is why.

    An empty name is none.
    """
    if not wf_spec_name and (unknown := NO_WF_SPEC.search(str(rejected))):
        wf_spec_name = unknown[1]  # a migration names a version of whatever its WfRun runs
    if has_no := NO_VARIABLE.search(str(rejected)):
        from halter.client.meant import nearest  # few callers misspell a name

        rejected.args = (f"{rejected}{nearest(has_no[1], has_no[2].split(', '))}",)
        return
    names = {DefinitionKind.EXTERNAL_EVENT_DEF: external_event_def, DefinitionKind.WF_SPEC: wf_spec_name}
    kind = next((kind for kind, name in names.items() if name and rejected.code is NO_DEFINITION[kind]), None)
    if kind is None:
        return
    name = names[kind]
    from halter.client.meant import meant  # few callers misspell a name

    try:
        registered = definitions()
    except (KafkaException, HalterError):  # no right to read them
        return
    if has_come_since(registered, str(rejected)):
        rejected.args = (f"{rejected}; it has been registered since: do it again",)
        return
    if not (kind is DefinitionKind.EXTERNAL_EVENT_DEF and registered.live_versions(kind, name)):
        rejected.args = (f"{rejected}{meant(registered, name, kind)}",)


def has_come_since(registered: Definitions, refusal: str) -> bool:
    """Return True if there is by now what a refusal says there is not: somebody else has registered it meanwhile."""
    missing = NONE_THERE.search(refusal)
    if missing is None:
        return False
    kind, name, version = missing.groups()
    if kind == "WfSpec":
        return registered.latest_wf_spec(name, *map(int, version.split())) is not None
    return bool(registered.live_versions(DefinitionKind.EXTERNAL_EVENT_DEF, name))
