"""The client: posts commands and ExternalEvents, and says what became of them.

    with Client(settings) as client:
        client.put_external_event_def("cancel", VariableType.STR)
        client.put_wf_spec(document)
        client.run_wf("order", {"total": 5}, wf_run_id="order-41").outcome()
        client.post_external_event("order-41", "cancel", "too late").outcome()

What is posted is durable when the call returns; what became of it is on the log, and `outcome` waits for it there: the
end of the log is noted before a record is sent, and read from then on until an entry names that record as its cause.
Knows topics, keys and ids; decides nothing.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeAlias, TypeVar

from confluent_kafka import KafkaError, Message, Producer

from halter.client.ids import new_id
from halter.client.inspection import BeginningMissing, History, WfRunReader
from halter.client.lost_outcomes import DeadLettered, NoOutcome, expect_folded, folded, raise_if_dead_letter
from halter.client.reading import FROM_THE_START, PartitionReader, PartitionsDiffer, TopicMissing
from halter.client.skipping import (
    CannotSkip,
    NoSuchPartition,
    NotSkipped,
    SkipOutcome,
    check_place,
    time_to_skip,
)
from processors.codec import Codec
from processors.core.records.commands import (
    Command,
    DefinitionCommand,
    DefinitionKind,
    DeleteWfRun,
    ExternalEvent,
    OperatorCommand,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
    QuarantineWfRun,
    ReleaseWfRun,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    SkipRecord,
    StopWfRun,
    TaskStatus,
)
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    Definition,
    DefinitionAccepted,
    DefinitionRejected,
    LogEntry,
    RecordSkipped,
    Rejected,
    RejectionCode,
    SkipLapsed,
    TaskRequest,
    WfRunDeleted,
    WfRunEnded,
)
from processors.core.records.model import WfRun
from processors.core.records.names import check_names
from processors.core.records.spec import WfSpec
from processors.core.records.topic_names import DEFINITION_COMMANDS, OPERATOR_COMMANDS
from processors.core.records.values import OversizedValue, TellableProblem, Value, VariableType, check_value, to_json
from processors.core.wf_spec.definitions import Definitions, refusals
from processors.core.wf_spec.document_problems import DocumentProblem
from processors.core.wf_spec.json_document import DOCUMENT_DEPTH_MAX
from processors.core.wf_spec.writer import document_text
from processors.fold.inputs import VALUE_BYTES_MAX, check_command, key_of, partition_key, topic_of
from processors.kafka.errors import KafkaUnavailable
from processors.kafka.partitioner import partition_of
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics

OUTCOME_SECONDS: Final = 30.0
DELIVERY_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
SKIPPED_SECONDS: Final = 1.0
"""So long a definition's outcome is waited for before somebody looks whether an operator had it skipped."""
VISIBLE_SECONDS: Final = 5.0
"""So long all partitions of a transaction become visible, of which one is."""
Made = TypeVar("Made")
DefinitionOutcome: TypeAlias = DefinitionAccepted | DefinitionRejected
Found = TypeVar("Found")
REMEMBERED_MAX: Final = 10_000
NOW: Final = 0
"""librdkafka's word for the time at which it is given a record."""
BY_KEY: Final = -1
"""librdkafka's word for the partition that the key says."""


class NotDelivered(HalterError):
    """Kafka did not take a record; the message says why. It is not known to anybody: post it again."""


class PlaceUnknown(HalterError):
    """Kafka has a record, but has not said where, as may happen when it was sent again. Do not post it again."""


class UpgradeNotOver(HalterError):
    """Workers of an earlier release may still run, and operator commands are not read. End the upgrade first."""


class InvalidArgument(HalterError, ValueError):
    """An argument can be no part of a record, or no WfRun can have it. Whoever wrote the call corrects it."""


class ClientClosed(HalterError):
    """A client was closed, and asks Kafka nothing any more. Whoever wrote the call makes another, or closes later."""


class RecordTooLarge(InvalidArgument):
    """A record is larger than an input may be. Whoever made its payload keeps it elsewhere and sends a reference."""


class NotEnded(HalterError):
    """A WfRun goes on longer than somebody was ready to wait. That is no failure: look what it waits for."""


class CommandRejected(HalterError):
    """The engine refused a command, and nothing has changed. `code` and the message say why."""

    def __init__(self, entry: LogEntry, rejected: Rejected) -> None:
        super().__init__(f"{rejected.code}: {rejected.message}")
        self.entry = entry
        self.code: RejectionCode = rejected.code


class CommandSkipped(HalterError):
    """An operator had a record passed over: nobody decides it. Send it again once what broke on it is mended."""

    def __init__(self, place: str, entry: LogEntry, skipped: RecordSkipped) -> None:
        by = f" by {skipped.operator}" if skipped.operator else ""
        why = f" ({skipped.reason})" if skipped.reason else ""
        super().__init__(
            f"{place} was skipped{by}{why} and has no effect: it is on dead-letters; once what broke on it is mended, "
            "send it again"
        )
        self.entry = entry


class DefinitionRefused(HalterError):
    """The engine refused a definition. `rejected.problems` has all that is wrong with it."""

    def __init__(self, rejected: DefinitionRejected) -> None:
        problems = [problem.message for problem in rejected.problems] or [rejected.message]
        super().__init__(f"{rejected.kind} {rejected.name!r} was refused: {rejected.code}: {'; '.join(problems)}")
        self.rejected = rejected


@dataclass(frozen=True, slots=True)
class Put:
    """A definition that was accepted, and the position of `definitions` at which everybody finds it."""

    accepted: DefinitionAccepted
    position: int

    @property
    def version(self) -> str:
        """`major.revision`."""
        return f"{self.accepted.major}.{self.accepted.revision}"


class Posted:
    """A record that Kafka has. `topic` is without the prefix."""

    def __init__(self, client: "Client", wf_run_id: str, topic: str, partition: int, offset: int, log_end: int) -> None:
        self.wf_run_id, self.topic, self.partition, self.offset = wf_run_id, topic, partition, offset
        self._client, self._log_end = client, log_end

    def outcome(self, timeout_s: float = OUTCOME_SECONDS) -> list[LogEntry]:
        """Wait for what became of it: the entries of the log that it caused, in order, never none.

        Raises CommandRejected if it was refused, CommandSkipped if an operator had it passed over, and NoOutcome if
        nobody decided it in time, DeadLettered if it could not be taken in.
        """
        return self._client._outcome(self, self._log_end, timeout_s)

    def until_ended(self, timeout_s: float = OUTCOME_SECONDS) -> WfRun:
        """Wait until its WfRun has ended, and give its state as it was then. Raises NotEnded if that takes longer,
        and CommandSkipped if an operator had this record passed over.

        Of a WfRun that began before the log does, only its row is left: it has no threads.
        """
        return self._client._until_ended(self, self._log_end, timeout_s)

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class PostedSkip(Posted):
    """A SkipRecord that Kafka has."""

    def __init__(self, command: SkipRecord, *posted: Any) -> None:
        super().__init__(*posted)
        self.command = command

    def outcome(self, timeout_s: float = OUTCOME_SECONDS) -> list[LogEntry]:
        """Wait until the record is passed over: its SkipAccepted, and its RecordSkipped.

        Raises CommandRejected if it was refused, NotSkipped if another record came in its place and NoOutcome if
        neither came in time.
        """
        return self._client._skip_outcome(self, self._log_end, timeout_s)


@dataclass(slots=True)
class Sending:
    """A record on its way; `Client.until_delivered` waits for its arrival."""

    topic: str
    what: str
    error: KafkaError | None = None
    message: Message | None = None

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Be its `on_delivery`."""
        self.error, self.message = error, message


class _Closed:
    """Stands where a closed client had something that asks Kafka, and is of no use."""

    def __getattr__(self, _: str) -> NoReturn:
        raise ClientClosed("this Client is closed")


@contextmanager
def _as_invalid_argument() -> Iterator[None]:
    try:
        yield
    except OversizedValue as problem:
        raise RecordTooLarge(str(problem)) from None
    except TellableProblem as problem:
        raise InvalidArgument(str(problem)) from None


def keys_of(posted: Posted) -> tuple[bytes, bytes]:
    """The keys that entries about a record may have: a skipped one that nobody can read is its partition's affair."""
    return posted.wf_run_id.encode(), partition_key(posted.partition).encode()


def raise_if_skipped(posted: Posted, entry: LogEntry) -> None:
    """Raise CommandSkipped if that is what an entry says."""
    if isinstance(entry.event, RecordSkipped):
        raise CommandSkipped(str(posted), entry, entry.event)


def raise_if_without_effect(posted: Posted, entry: LogEntry) -> None:
    """Raise CommandRejected or CommandSkipped if that is what an entry says."""
    if isinstance(entry.event, Rejected):
        raise CommandRejected(entry, entry.event)
    raise_if_skipped(posted, entry)


class Client:
    """One connection to an installation of Halter. Safe to use from several threads; close it in the end.

    It remembers the newest definitions it has seen, and its RunWfs name them: a WfSpec that it has put can be run at
    once, whichever worker gets the command.
    """

    def __init__(self, settings: Settings, topics: Topics | None = None, codec: Codec | None = None) -> None:
        """Raises InvalidArgument for what is no Settings."""
        if not isinstance(settings, Settings):
            raise InvalidArgument(
                "Client: expected Settings (processors.kafka.settings.Settings.load(…)), found "
                f"{'None' if settings is None else type(settings).__name__}"
            )
        self.settings = settings
        self.topics = settings.topics() if topics is None else topics
        self.codec = settings.codec() if codec is None else codec
        self.reader = PartitionReader(settings, self.topics)
        self.wf_runs = WfRunReader(self.reader, self.topics, self.codec)
        self._producer = Producer(
            settings.producer(linger_ms=0, message_timeout_ms=int(DELIVERY_SECONDS * 1000))  # a person may be waiting
        )
        self._definitions = Definitions()
        self._definitions_position = 0
        self._newest: dict[str, tuple[int, int]] = {}
        """WfRun id -> (incarnation, seq) of the newest event that an outcome showed us."""

    def reach(self, seconds: float) -> None:
        """Return once Kafka answers. Raises KafkaUnavailable if it refuses us, or has not answered by then."""
        self.settings.reach(self._producer, self.topics.wf_events, seconds)

    def put_wf_spec(
        self, document: WfSpec | Mapping[str, Any] | str, name: str | None = None, timeout_s: float = OUTCOME_SECONDS
    ) -> Put:
        """Register a WfSpec: itself, or its document as data or JSON text (then with its name).

        Raises DefinitionRefused with all that is wrong with it.
        """
        match document:
            case WfSpec():
                text, own = document_text(document), document.name
            case Mapping():
                with _as_invalid_argument():
                    check_value(data := dict(document), "document", depth_max=DOCUMENT_DEPTH_MAX)
                text, own = to_json(data), data.get("name", "")
            case _:
                text, own = document, ""
        return self.put(self._made(PutWfSpec, name=name or own, document=text, command_id=new_id()), timeout_s)

    def put_task_def(
        self,
        name: str,
        input: Mapping[str, VariableType] | None = None,  # noqa: A002  the schema's name for it
        output: VariableType | None = None,
        queue: str | None = None,
        timeout_s: float = OUTCOME_SECONDS,
    ) -> Put:
        """Register a TaskDef; without `input` what a task is given is not checked."""
        made = self._made(PutTaskDef, name=name, input=input, output=output, queue=queue, command_id=new_id())
        return self.put(made, timeout_s)

    def put_external_event_def(
        self, name: str, content_type: VariableType | None = None, timeout_s: float = OUTCOME_SECONDS
    ) -> Put:
        """Register an ExternalEventDef; without a type its content is not checked."""
        made = self._made(PutExternalEventDef, name=name, content_type=content_type, command_id=new_id())
        return self.put(made, timeout_s)

    def put_workflow_event_def(
        self, name: str, content_type: VariableType | None = None, timeout_s: float = OUTCOME_SECONDS
    ) -> Put:
        """Register a WorkflowEventDef."""
        made = self._made(PutWorkflowEventDef, name=name, content_type=content_type, command_id=new_id())
        return self.put(made, timeout_s)

    def refusals(self, commands: Iterable[DefinitionCommand]) -> list[tuple[int, DocumentProblem]]:
        """Why definitions would be refused, put in this order where what is registered now is: each problem with the
        index of its command. The rules are the engine's own, and nothing is sent.

        Empty: all would be accepted, unless somebody registers something in between.
        """
        return list(refusals(self.definitions(), commands, frozenset(self.topics.task_queues)))

    def put(self, command: DefinitionCommand, timeout_s: float = OUTCOME_SECONDS) -> Put:
        """Post a definition command and wait until its outcome, and the definition, can be seen by everybody.

        One without an id gets one. Raises DefinitionRefused, or as `Posted.outcome` does.
        """
        if getattr(command, "command_id", "") is None:
            command = replace(command, command_id=new_id())
        value = self.check(command)
        events = self.topics.definition_events
        events_end, log_end = self.reader.end(events, 0), self._log_end_if_readable()
        partition, offset = self._send(self.topics.definition_commands, command, value)
        looked = time.monotonic()
        deadline = looked + timeout_s
        for message in self._until(deadline, events, 0, events_end):
            if message is None and time.monotonic() - looked > SKIPPED_SECONDS:
                self._raise_if_skipped(DEFINITION_COMMANDS, partition, offset, log_end)
                looked = time.monotonic()
            outcome = None if message is None else self._definition_outcome(message, offset)
            if outcome is not None:
                return self._put(outcome, deadline)

        def look() -> list[DefinitionOutcome]:
            self._raise_if_skipped(DEFINITION_COMMANDS, partition, offset, log_end)
            found = (self._definition_outcome(it, offset) for it in self.reader.read(events, 0, events_end))
            return [it for it in found if it is not None]

        [late] = self._late(look, (DEFINITION_COMMANDS, partition, offset), timeout_s)
        return self._put(late, deadline)

    def _put(self, outcome: DefinitionOutcome, deadline: float) -> Put:
        if isinstance(outcome, DefinitionRejected):
            raise DefinitionRefused(outcome)
        return Put(outcome, self._until_visible(outcome, max(deadline, time.monotonic() + VISIBLE_SECONDS)))

    def _definition_outcome(self, message: Message, offset: int) -> DefinitionOutcome | None:
        """What a record of definition-events says of the command at an offset."""
        outcome = self.codec.decode(message.value() or b"")
        assert isinstance(outcome, DefinitionAccepted | DefinitionRejected)
        of_it = outcome.cause.topic == DEFINITION_COMMANDS and outcome.cause.offset == offset
        return outcome if of_it else None

    def _log_end_if_readable(self) -> int | None:
        """None for who may not read the log, as definers might not before: to them the topic is not there."""
        try:
            return self.reader.end(self.topics.wf_events, 0)
        except (KafkaUnavailable, TopicMissing):
            return None

    def _raise_if_skipped(self, topic: str, partition: int, offset: int, log_end: int | None) -> None:
        """Raise CommandSkipped if an operator had a record passed over whose outcome is waited for elsewhere."""
        if log_end is None:
            return
        for message in self.reader.read(self.topics.wf_events, partition, log_end):
            entry = self.codec.decode(message.value() or b"")
            assert isinstance(entry, LogEntry)
            if isinstance(entry.event, RecordSkipped) and (entry.cause.topic, entry.cause.offset) == (topic, offset):
                raise CommandSkipped(f"{topic}[{partition}]@{offset}", entry, entry.event)

    def _until_visible(self, accepted: DefinitionAccepted, deadline: float) -> int:
        """Partitions of one transaction do not become visible at the same moment."""
        key = Definition(accepted.kind, accepted.name, accepted.major, accepted.revision).key.encode()
        topic, found = self.topics.definitions, not accepted.changed
        for message in self._until(deadline, topic, 0, FROM_THE_START if not found else self._start_of_definitions()):
            if message is None:
                if found:
                    return self._definitions_position
                continue
            self._learn(message)
            found = found or message.key() == key
        raise NoOutcome(f"{accepted.kind} {accepted.name!r} was accepted, but does not appear on '{topic}'")

    def definitions(self) -> Definitions:
        """All definitions that there are now."""
        for message in self.reader.read(self.topics.definitions, 0, self._start_of_definitions()):
            self._learn(message)
        return self._definitions

    def external_event_def(self, wf_run_id: str, name: str) -> Definition | None:
        """The ExternalEventDef by which an event for this id is checked now: as the WfSpec of its WfRun binds it, if it
        has been started, else the newest.
        """
        definitions = self.definitions()
        if len(definitions.versions(DefinitionKind.EXTERNAL_EVENT_DEF, name)) < 2:
            return definitions.external_event_def(name)
        run = self.show(wf_run_id)
        # Read again: the WfSpec may be newer than what was known.
        return self.definitions().external_event_def(name, None if run is None else run.wf_spec)

    def _start_of_definitions(self) -> int:
        return self._definitions_position or FROM_THE_START

    def _learn(self, message: Message) -> None:
        offset = message.offset()
        assert offset is not None
        if offset < self._definitions_position:
            return
        self._definitions_position = offset + 1
        if (value := message.value()) is not None:
            definition = self.codec.decode(value)
            assert isinstance(definition, Definition)
            self._definitions.apply(definition)

    def run_wf(
        self,
        wf_spec_name: str,
        variables: Mapping[str, Value] | None = None,
        *,
        wf_run_id: str | None = None,
        major: int | None = None,
        revision: int | None = None,
        definitions_position: int | None = None,
    ) -> Posted:
        """Start a WfRun; without an id it gets a new one (`Posted.wf_run_id`).

        `definitions_position`: a worker that knows less of `definitions` waits until it knows that much; by default
        what this client has seen.
        """
        position = self._definitions_position if definitions_position is None else definitions_position
        return self.post(
            self._made(
                RunWf,
                wf_run_id=new_id() if wf_run_id is None else wf_run_id,
                wf_spec_name=wf_spec_name,
                variables={} if variables is None else variables,
                wf_spec_major=major,
                wf_spec_revision=revision,
                definitions_position=position or None,
                command_id=new_id(),
            )
        )

    def post_external_event(
        self,
        wf_run_id: str,
        name: str,
        content: Value = None,
        *,
        event_id: str | None = None,
        thread: int | None = None,
    ) -> Posted:
        """Post an ExternalEvent. The id tells a repeat from a second event: give one that comes from its source."""
        unique_id = new_id() if event_id is None else event_id
        seen = self._definitions_position or None
        return self.post(
            self._made(
                ExternalEvent,
                wf_run_id=wf_run_id,
                external_event_def=name,
                external_event_id=unique_id,
                content=content,
                thread=thread,
                definitions_position=seen,
            )
        )

    def stop(self, wf_run_id: str, thread: int = 0) -> Posted:
        """Put MANUAL_HALT on a ThreadRun."""
        return self.post(self._made(StopWfRun, wf_run_id=wf_run_id, thread=thread, command_id=new_id()))

    def resume(self, wf_run_id: str, thread: int = 0) -> Posted:
        """Take MANUAL_HALT off a ThreadRun."""
        return self.post(self._made(ResumeWfRun, wf_run_id=wf_run_id, thread=thread, command_id=new_id()))

    def rescue(self, wf_run_id: str, thread: int = 0, *, skip_current_node: bool = False) -> Posted:
        """Revive a ThreadRun that is in ERROR."""
        return self.post(
            self._made(
                RescueThreadRun,
                wf_run_id=wf_run_id,
                thread=thread,
                skip_current_node=skip_current_node,
                command_id=new_id(),
            )
        )

    def delete(self, wf_run_id: str) -> Posted:
        """Forget a WfRun; its id is free again."""
        return self.post(self._made(DeleteWfRun, wf_run_id=wf_run_id, command_id=new_id()))

    def quarantine(self, wf_run_id: str, reason: str | None = None, operator: str | None = None) -> Posted:
        """Have the inputs of a WfRun kept instead of decided, so that its partition goes on without it."""
        return self._operate_wf_run(
            self._made(QuarantineWfRun, wf_run_id=wf_run_id, reason=reason, command_id=new_id(), operator=operator)
        )

    def release(self, wf_run_id: str, reason: str | None = None, operator: str | None = None) -> Posted:
        """End a quarantine: what was kept is decided."""
        return self._operate_wf_run(
            self._made(ReleaseWfRun, wf_run_id=wf_run_id, reason=reason, command_id=new_id(), operator=operator)
        )

    def skip(
        self, topic: str, partition: int, offset: int, reason: str | None = None, operator: str | None = None
    ) -> PostedSkip:
        """Have the record at which its partition stands passed over; the topic is named without the prefix.

        Raises CannotSkip if it is not that one, is folded or not there.
        """
        self._check_arguments(
            SkipRecord, topic=topic, partition=partition, offset=offset, reason=reason, operator=operator
        )
        self._expect_operators()
        check_place(self.topics, topic, partition)
        time_ms = time_to_skip(self.reader, self.topics, self._folded(partition), topic, partition, offset)
        command = SkipRecord(topic, partition, offset, time_ms, reason, new_id(), operator)
        return PostedSkip(command, *self._operate(command, partition))

    def _expect_operators(self) -> None:
        if self.topics.operator_commands not in {topic.name for topic in self.topics.all}:
            raise UpgradeNotOver(
                f"expected workers of this version alone, found HALTER_SCHEMAS={self.settings.schemas}: operator "
                "commands are not read while workers of that release may run (docs/upgrades.md)"
            )

    def _operate_wf_run(self, command: QuarantineWfRun | ReleaseWfRun) -> Posted:
        self._expect_operators()
        return Posted(*self._operate(command, partition_of(command.wf_run_id.encode(), self.topics.partitions)))

    def _operate(self, command: OperatorCommand, partition: int) -> tuple["Client", str, str, int, int, int]:
        """What a Posted of it takes."""
        value = self.check(command)
        self._check_names(command)
        key = key_of(command)
        log_end = self.reader.end(self.topics.wf_events, partition)
        _, offset = self._send(self.topics.operator_commands, command, value, partition)
        return self, key, OPERATOR_COMMANDS, partition, offset, log_end

    def report_task(
        self,
        request: TaskRequest,
        status: TaskStatus,
        output: Value = None,
        *,
        failure_name: str | None = None,
        message: str | None = None,
        content: Value = None,
    ) -> Posted:
        """Report what became of a task attempt, as a task worker does (see `halter.task_worker.worker`)."""
        return self.post(
            self._made(
                ReportTaskRun,
                wf_run_id=request.wf_run_id,
                incarnation=request.incarnation,
                thread=request.thread,
                position=request.position,
                attempt=request.attempt,
                status=status,
                output=output,
                failure_name=failure_name,
                message=message,
                content=content,
            )
        )

    def post(self, command: Command) -> Posted:
        """Send a command and return when Kafka has it, on enough brokers."""
        value = self.check(command)
        self._check_names(command)
        wf_run_id = command.wf_run_id
        topic = topic_of(command)
        log_end = self.reader.end(self.topics.wf_events, partition_of(wf_run_id.encode(), self.topics.partitions))
        partition, offset = self._send(self.topics.prefix + topic, command, value)
        return Posted(self, wf_run_id, topic, partition, offset, log_end)

    def post_all(self, commands: Iterable[Command | DefinitionCommand], timestamp_ms: int | None = None) -> int:
        """Send many commands, in order, and return how many when Kafka has all of them. Their outcomes are on the log.

        `timestamp_ms` is their time where topics keep the producer's, which only those of scenarios do. Raises
        NotDelivered if any is not there; the others may be.
        """
        sending = [self.send_soon(it, timestamp_ms) for it in commands]
        self.until_delivered(sending)
        return len(sending)

    def send_soon(
        self, command: Command | DefinitionCommand, timestamp_ms: int | None = None, value: bytes | None = None
    ) -> Sending:
        """Hand a command to librdkafka, which sends it at once and in order, and wait for nothing.

        `value`: the bytes of it that `check` gave.
        """
        value = self.check(command) if value is None else value
        return self._begin(self.topics.prefix + topic_of(command), command, value, timestamp_ms)

    def until_delivered(self, sending: Iterable[Sending]) -> None:
        """Wait until Kafka has these. Raises NotDelivered if any is not there; the others may be."""
        for sent in sending:
            self._delivered(sent)

    def check(self, command: Command | DefinitionCommand | OperatorCommand) -> bytes:
        """The bytes of a command. Raises InvalidArgument if it could not be taken in: it would be a dead letter."""
        with _as_invalid_argument():
            check_command(command, self.codec)
        value = self.codec.encode(command)
        if len(value) > VALUE_BYTES_MAX:
            raise RecordTooLarge(
                f"{type(command).__name__}: expected at most {VALUE_BYTES_MAX} bytes, found {len(value)}"
            )
        return value

    @staticmethod
    def _check_names(command: Command | OperatorCommand) -> None:
        """Raises InvalidArgument for ids and names that are refused whatever the WfRun is like."""
        with _as_invalid_argument():
            check_names(command)

    def _check_arguments(self, kind: type, **fields: Any) -> None:
        """Raises InvalidArgument for what can be no field of a command."""
        with _as_invalid_argument():
            self.codec.check_arguments(kind, fields)

    def _made(self, kind: type[Made], **fields: Any) -> Made:
        """A command of these arguments, whatever somebody gave. Raises InvalidArgument."""
        self._check_arguments(kind, **fields)
        return kind(**{name: dict(it) if isinstance(it, Mapping) else it for name, it in fields.items()})

    def _send(
        self,
        topic: str,
        command: Command | DefinitionCommand | OperatorCommand,
        value: bytes,
        partition: int = BY_KEY,
    ) -> tuple[int, int]:
        """Produce one record and wait for its delivery report: (partition, offset). Raises PlaceUnknown."""
        sending = self._begin(topic, command, value, partition=partition)
        message = self._delivered(sending)
        found, offset = message.partition(), message.offset()
        assert found is not None
        if offset is None:
            raise PlaceUnknown(
                f"{sending.what} is on '{topic}', partition {found}, but Kafka has not said at which offset: "
                "what becomes of it will be on the log, and cannot be waited for"
            )
        return found, offset

    def _begin(
        self,
        topic: str,
        command: Command | DefinitionCommand | OperatorCommand,
        value: bytes,
        timestamp_ms: int | None = None,
        partition: int = BY_KEY,
    ) -> Sending:
        key = key_of(command)
        self.reader.expect(topic)
        sending = Sending(topic, f"{type(command).__name__} of {key!r}")
        with self._settings_explain(topic):
            while True:
                try:
                    self._producer.produce(
                        topic,
                        key=key.encode(),
                        value=value,
                        partition=partition,
                        on_delivery=sending.report,
                        timestamp=timestamp_ms or NOW,
                    )
                    return sending
                except BufferError:  # librdkafka's queue is full: let it empty
                    self._producer.poll(POLL_SECONDS)

    def _delivered(self, sending: Sending) -> Message:
        while sending.message is None:  # ended by librdkafka, which reports a failure after DELIVERY_SECONDS
            self._producer.poll(POLL_SECONDS)
        if sending.error is not None:
            reason = self.settings.errors.sentence(sending.error)
            raise NotDelivered(f"{sending.what} to '{sending.topic}': {reason}")
        return sending.message

    def _settings_explain(self, topic: str) -> Any:
        return self.settings.explaining(f"writing to '{topic}'", self._producer)

    def _outcome(self, posted: Posted, log_end: int, timeout_s: float) -> list[LogEntry]:
        caused = self._caused(posted, log_end, timeout_s)
        if not caused:
            place = (posted.topic, posted.partition, posted.offset)
            caused = self._late(lambda: self._caused(posted, log_end, 0), place, timeout_s)
        self._remember(caused[-1])
        raise_if_without_effect(posted, caused[0])
        return caused

    def _caused(self, posted: Posted, log_end: int, timeout_s: float) -> list[LogEntry]:
        """The entries of the log that a record caused; none if there are none at its end when the time is over."""
        caused: list[LogEntry] = []
        keys, deadline = keys_of(posted), time.monotonic() + timeout_s
        for message in self._until(deadline, self.topics.wf_events, posted.partition, log_end):
            if message is None:
                # What a record caused is one transaction, and that is visible as a whole.
                if caused:
                    break
                continue
            if message.key() not in keys:
                continue
            entry = self.codec.decode(message.value() or b"")
            assert isinstance(entry, LogEntry)
            if isinstance(entry.event, SkipLapsed):
                continue  # what became of somebody's skip
            if (entry.cause.topic, entry.cause.offset) == (posted.topic, posted.offset):
                caused.append(entry)
            elif caused:
                break
        return caused

    def _late(
        self,
        look: Callable[[], list[Found]],
        place: tuple[str, int, int],
        waited_s: float,
        comes: str | None = None,
    ) -> list[Found]:
        """The outcome of a record for which somebody waited in vain, if it was folded in the last moment.

        `comes`: what will become of it otherwise, where that is more than a decision. Raises NoOutcome or DeadLettered.
        """
        expect_folded(self.reader, self.topics, self.codec, place, waited_s, comes)
        # Partitions of one transaction do not become visible at the same moment.
        deadline = time.monotonic() + VISIBLE_SECONDS
        while True:
            is_last = time.monotonic() > deadline
            found = look()
            if found:
                return found
            raise_if_dead_letter(self.reader, self.topics, place)
            if is_last:
                topic, partition, offset = place
                raise NoOutcome(
                    f"{topic}[{partition}]@{offset} is folded, and neither wf-events nor dead-letters has what became "
                    "of it: was the topic emptied?"
                )

    def _skip_outcome(self, posted: PostedSkip, log_end: int, timeout_s: float) -> list[LogEntry]:
        outcome = self._skip_seen(posted, log_end, timeout_s)
        skipped = f"{posted.command.topic}[{posted.partition}]@{posted.command.offset}"
        if outcome.accepted is None:
            comes = (
                f"Kafka has the skip: as soon as a worker runs, {skipped} is passed over, whether it breaks a rule or "
                "not, unless it is decided before the skip is"
            )

            def look() -> list[SkipOutcome]:
                found = self._skip_seen(posted, log_end, 0)
                return [found] if found.accepted else []

            [outcome] = self._late(look, (posted.topic, posted.partition, posted.offset), timeout_s, comes)
        if len(outcome.entries) == 2:
            return outcome.entries
        raise NoOutcome(
            f"{skipped} is to be skipped, and its partition "
            f"has not come to it within {timeout_s:g} s: look in the worker's log what else it waits for"
        )

    def _skip_seen(self, posted: PostedSkip, log_end: int, timeout_s: float) -> SkipOutcome:
        """What the log says of a skip: all that it ever will, or what is there when the time is over.

        Raises CommandRejected, CommandSkipped and NotSkipped.
        """
        outcome = SkipOutcome(posted.command, posted.offset)
        for message in self._until(time.monotonic() + timeout_s, self.topics.wf_events, posted.partition, log_end):
            if message is not None:
                entry = self.codec.decode(message.value() or b"")
                assert isinstance(entry, LogEntry)
                if (entry.cause.topic, entry.cause.offset) == (posted.topic, posted.offset):
                    raise_if_without_effect(posted, entry)
                outcome.take(entry)
            elif len(outcome.entries) == 2:
                break
        return outcome

    def _until_ended(self, posted: Posted, log_end: int, timeout_s: float) -> WfRun:
        keys, deadline = keys_of(posted), time.monotonic() + timeout_s
        for message in self._until(deadline, self.topics.wf_events, posted.partition, log_end):
            if message is None or message.key() not in keys:
                continue
            entry = self.codec.decode(message.value() or b"")
            assert isinstance(entry, LogEntry)
            if (entry.cause.topic, entry.cause.offset) == (posted.topic, posted.offset):
                raise_if_skipped(posted, entry)
            if isinstance(entry.event, WfRunEnded | WfRunDeleted):
                self._remember(entry)
                return self._as_it_ended(posted.wf_run_id)
        raise NotEnded(
            f"WfRun '{posted.wf_run_id}' has not ended within {timeout_s:g} s; "
            f"`halter show {posted.wf_run_id}` shows what it waits for"
        )

    def _as_it_ended(self, wf_run_id: str) -> WfRun:
        try:
            return self.ended(wf_run_id)
        except BeginningMissing:
            row = self.show(wf_run_id)
            if row is None:
                raise
            return row

    def _remember(self, entry: LogEntry) -> None:
        self._newest.pop(entry.wf_run_id, None)
        if entry.seq and not isinstance(entry.event, WfRunDeleted):
            self._newest[entry.wf_run_id] = (entry.incarnation, entry.seq)
            if len(self._newest) > REMEMBERED_MAX:
                del self._newest[next(iter(self._newest))]

    def _until(self, deadline: float, topic: str, partition: int, start: int) -> Iterator[Message | None]:
        """Follow a partition until a moment."""
        for message in self.reader.follow(topic, partition, start):
            yield message
            if message is None and time.monotonic() > deadline:
                return

    def _folded(self, partition: int) -> Mapping[str, int]:
        return folded(self.reader, self.topics, self.codec, partition)

    def show(self, wf_run_id: str) -> WfRun | None:
        """The state of a WfRun, from its rows; None where there is nothing under that id.

        It is at least as new as any outcome that this client has waited for.
        """
        return self.wf_runs.show(wf_run_id, self._newest.get(wf_run_id))

    def ended(self, wf_run_id: str) -> WfRun:
        """A WfRun that is over, as it was when it ended. Raises BeginningMissing where the log does not have it all."""
        return self.wf_runs.ended(wf_run_id)

    def history(self, wf_run_id: str, *, from_start: bool = False) -> History:
        """Every event of a WfRun that the log still has, in order, incarnations apart.

        The log is read from the time at which the WfRun of now began; `from_start`: all that there is, with what was
        before it under this id.
        """
        return self.wf_runs.history(wf_run_id, from_start=from_start)

    def close(self) -> None:
        """Let go of Kafka. What was posted is there; nothing waits in here. Whatever asks Kafka raises ClientClosed
        from now on.
        """
        if isinstance(self._producer, _Closed):
            return
        self._producer.flush(DELIVERY_SECONDS)
        self.reader.close()
        closed: Any = _Closed()
        self.reader = self.wf_runs = self._producer = closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


__all__ = [
    "CannotSkip",
    "Client",
    "ClientClosed",
    "CommandRejected",
    "CommandSkipped",
    "DeadLettered",
    "DefinitionKind",
    "DefinitionRefused",
    "InvalidArgument",
    "NoOutcome",
    "NoSuchPartition",
    "NotDelivered",
    "NotEnded",
    "NotSkipped",
    "PartitionsDiffer",
    "PlaceUnknown",
    "Posted",
    "PostedSkip",
    "Put",
    "RecordTooLarge",
    "Sending",
    "Settings",
]
