"""The client: posts commands and ExternalEvents, says what became of them, and reads WfRuns.

    with Client("localhost:9092") as client:
        client.put_external_event_def("cancel", VariableType.STR)
        client.put_wf_spec(document)
        client.run("order", {"total": 5}, wf_run_id="order-41", wait=True)
        client.post("order-41", "cancel", "too late", wait=5)
        client.get("order-41", until="ended", timeout_s=60)

When a call returns, Kafka has the record on enough brokers. What became of it is on the log, and `wait` waits for it
there. This module puts the parts together: `halter.client.asking` makes commands, `halter.client.sending` sends them,
`halter.client.outcomes` waits for what became of them, `halter.client.wf_run_reader` reads WfRuns, and
`halter.client.following` follows the log.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from io import IOBase
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar, Unpack, cast, overload

from halter.client.arguments import Arguments, Given
from halter.client.asking import Asking, NewEvent, definition_names_of, id_of, repeat_id_of, seconds_of
from halter.client.batch import Batch
from halter.client.connecting import CONNECT_SECONDS, Connection, settings_of
from halter.client.definitions_seen import DefinitionsSeen
from halter.client.errors import CommandRejected, DefinitionRefused, InvalidArgument, RecordTooLarge, UpgradeNotOver
from halter.client.following import Follow, Follower, Since
from halter.client.forking import Reset, fork_command_id, fork_to_reset, remove_the_reset, what_is_large
from halter.client.history import History
from halter.client.ids import new_id
from halter.client.log_ends import LogEnds
from halter.client.lost_outcomes import Progress, folded
from halter.client.migrating import tried
from halter.client.outcomes import (
    OUTCOME_SECONDS,
    Outcomes,
    Posted,
    PostedCorrelated,
    PostedFork,
    PostedSkip,
    Registered,
    Until,
    add_hint,
)
from halter.client.reading import FROM_THE_START, PartitionReader
from halter.client.sending import BY_KEY, Sender, Sending
from halter.client.skipping import check_partition, time_to_skip
from halter.client.wf_run_reader import WfRunReader
from halter.client.workers import Workers
from processors.codec import Codec
from processors.core.records.commands import (
    Command,
    DefinitionCommand,
    DefinitionKind,
    DeleteDefinition,
    DeleteWfRun,
    ForkWfRun,
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
    SkipRecord,
    StopWfRun,
)
from processors.core.records.events import Asked, Definition, LogEntry, TaskRequest
from processors.core.records.model import Correlation, TaskStatus, WfRun, WfRunSnapshot, WfSpecId
from processors.core.records.spec import WfSpec
from processors.core.records.values import Value, VariableType
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.document_problems import DocumentProblem
from processors.core.wf_spec.near_names import some_of
from processors.fold.inputs import InputCommand, key_of, topic_of
from processors.kafka.partitioner import partition_of
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics
from processors.kafka.trace_context import Context

if TYPE_CHECKING:
    from halter.files.definition_files import Workflow

Made = TypeVar("Made")
READ_BY_ALL: Final = ("WfRun", "ThreadRun", "FoldPosition", "Definition")
"""Rows are in single-object encoding, so no registry is asked for them."""
MOVED: Final = {"run_wf": "run", "post_external_event": "post", "show": "get"}
"""The names that methods had in 0.2.0."""
PostedParts: TypeAlias = tuple[Outcomes, str, str, int, int, int]
"""The arguments of a Posted."""


class Client:
    """A connection to an installation of Halter. Several threads may use it; close it in the end.

    It remembers how far it has read `definitions`, and its RunWfs say so. A WfSpec that it has put can therefore be run
    at once: a worker that has not read as far yet waits with the command.
    """

    def __init__(self, bootstrap: str | None = None, **connection: Unpack[Connection]) -> None:
        """Connect by what is given here alone: an address (default: that of the file, else localhost:9092) and more.

        Contacts nobody yet. Raises InvalidArgument and SettingsError. `from_env` reads variables too.
        """
        self._use(settings_of(bootstrap, {}, **connection))
        self.reader.answer_s = CONNECT_SECONDS

    @classmethod
    def from_env(
        cls, bootstrap: str | None = None, env: Mapping[str, str] = os.environ, **connection: Unpack[Connection]
    ) -> Self:
        """Connect as the commands do, by KAFKA_* and HALTER_* variables. What is given here counts before them."""
        client = cls.of(settings_of(bootstrap, env, **connection))
        client.reader.answer_s = CONNECT_SECONDS
        return client

    @classmethod
    def of(cls, settings: Settings, topics: Topics | None = None, codec: Codec | None = None) -> Self:
        """Connect by Settings that are loaded already, perhaps with topics and codec that were made of them."""
        client = cls.__new__(cls)
        client._use(settings, topics, codec)
        return client

    def _use(self, settings: Settings, topics: Topics | None = None, codec: Codec | None = None) -> None:
        self.settings = settings
        self.topics = settings.topics() if topics is None else topics
        self.codec = settings.codec() if codec is None else codec
        self.reader = PartitionReader(settings, self.topics)
        self.wf_runs = WfRunReader(self.reader, self.topics, self.codec)
        self._arguments = Arguments(self.codec)
        self._sender = Sender(settings, self.topics, self.reader)
        self._log_ends = LogEnds(self.reader, self.topics)
        self.workers = Workers(settings, self.topics)
        progress = Progress(self.reader, self.topics, self.codec, self.workers.members)
        self._definitions = DefinitionsSeen(self.reader, self.topics, self.codec)
        self._outcomes = Outcomes(
            self.reader, self.topics, self.codec, self.wf_runs, progress, self._definitions.newest
        )
        self._asking = Asking(self._arguments, self._definitions)

    def warn_with(self, warn: Callable[[str], None]) -> None:
        """Call this with the sentences for whoever waits in vain, instead of logging them as `halter`.

        After two seconds he hears that no worker decides what he waits for, if that is so, and why. Whoever follows a
        WfRun hears that no broker is there any more.
        """
        self._outcomes.warn = self.reader.warn = warn

    def reach(self, seconds: float, *, to_send: bool = True) -> None:
        """Return once Kafka answers. Raises KafkaUnavailable if it refuses us, or has not answered by then.

        `to_send=False`: the caller will only read, so nothing is connected for sending yet.
        """
        # Each client of librdkafka lets 50 ms pass between its first two connections. So both that are needed first
        # begin at once, and what nearly every caller reads is prepared meanwhile.
        begun = time.monotonic()
        self.reader.connect("read_committed")
        if to_send:
            self._sender.connect()
        else:
            self.reader.connect("read_uncommitted")
        self.codec.prepare_to_read(READ_BY_ALL)
        # What that took counts, since somebody waits. Kafka has half of the time all the same.
        self.reader.reach(seconds, max(begun + seconds, time.monotonic() + seconds / 2))
        self.reader.connect("read_uncommitted")

    def put_wf_spec(
        self, document: WfSpec | Mapping[str, Any] | str, name: str | None = None, timeout_s: float = OUTCOME_SECONDS
    ) -> Registered:
        """Register a WfSpec: the WfSpec itself, or its document as data or as JSON text (then with its name).

        Raises DefinitionRefused with all that is wrong with it.
        """
        text, own = self._arguments.wf_spec_document(document)
        command = self._made(PutWfSpec, name=name or own, document=text)
        return self.put(command, timeout_s)

    def put_task_def(
        self,
        name: str,
        input: Mapping[str, VariableType] | None = None,  # noqa: A002  the schema's name for it
        output: VariableType | None = None,
        queue: str | None = None,
        timeout_s: float = OUTCOME_SECONDS,
        *,
        optional: list[str] | None = None,
    ) -> Registered:
        """Register a TaskDef, or a change that task workers and WfRuns can bear.

        Without `input`, the engine does not check what a task is given. A WfSpec need not give inputs that `optional`
        names.
        """
        optional = [] if optional is None else optional
        made = self._made(PutTaskDef, name=name, input=input, output=output, queue=queue, optional=optional)
        return self.put(made, timeout_s)

    def put_external_event_def(
        self, name: str, content_type: VariableType | None = None, timeout_s: float = OUTCOME_SECONDS
    ) -> Registered:
        """Register an ExternalEventDef. Without a type, the engine does not check the contents of its events."""
        made = self._made(PutExternalEventDef, name=name, content_type=content_type)
        return self.put(made, timeout_s)

    def put_workflow_event_def(
        self, name: str, content_type: VariableType | None = None, timeout_s: float = OUTCOME_SECONDS
    ) -> Registered:
        """Register a WorkflowEventDef. Without a type, the engine does not check the contents of its events."""
        made = self._made(PutWorkflowEventDef, name=name, content_type=content_type)
        return self.put(made, timeout_s)

    def delete_definition(
        self,
        kind: DefinitionKind,
        name: str,
        *,
        major: int | None = None,
        revision: int | None = None,
        timeout_s: float = OUTCOME_SECONDS,
    ) -> Registered:
        """Delete a definition: nothing new may name or run it. WfRuns and WfSpecs that have it keep it.

        Of a WfSpec, all versions, those of a major version, or one. Deleting what is deleted changes nothing. Raises
        DefinitionRefused if there is none, or the newest version of a WfSpec names it.
        """
        return self.put(DeleteDefinition(kind, name, major, revision), timeout_s)

    def refusals(self, commands: Iterable[DefinitionCommand]) -> list[tuple[int, DocumentProblem]]:
        """Return why definitions would be refused if they were put now, in this order.

        Each problem comes with the index of its command. The rules are the engine's own, and nothing is sent. If the
        list is empty, all would be accepted, unless somebody registers something in between.
        """
        from processors.core.wf_spec.registration import refusals  # most clients put no definition

        return list(refusals(self.definitions(), commands, frozenset(self.topics.task_queues)))

    def register(self, *sources: "str | Path | Workflow", timeout_s: float = OUTCOME_SECONDS) -> list[Registered]:
        """Register Workflows, and the definitions in files: WfSpec documents, or as `halter spec put` takes them.

        Nothing is registered if the engine would refuse any of them. Raises InvalidDefinitions with all that is wrong,
        UnreadableFile, and what `put` raises, within `timeout_s` for each definition. If somebody registers something
        in between, DefinitionRefused is about the first that is refused, and says which are registered.
        """
        from halter.client.refused import why_refused
        from halter.files.definition_files import InvalidDefinitions, Workflow, read_definition_files  # few read files

        for it in cast("tuple[object, ...]", sources):
            # An open file can `read`, too.
            if not isinstance(it, str | Path | Workflow) or isinstance(it, IOBase | type):
                found = f"the class {it.__name__}" if isinstance(it, type) else type(it).__name__
                raise InvalidArgument(f"expected the path of a file, or a Workflow, found {found}")
        written = read_definition_files([Path(it) if isinstance(it, str) else it for it in sources])
        problems = [written[index].located(it) for index, it in self.refusals(one.command for one in written)]
        if problems:
            raise InvalidDefinitions(problems)
        done = [*self.put_all([one.command for one in written], timeout_s)]
        registered = [it for it in done if isinstance(it, Registered)]
        for index, first in enumerate(done):
            if isinstance(first, DefinitionRefused):
                names = some_of([f"'{it.accepted.name}'" for it in registered])
                why = why_refused(self, [one.command for one in written], [index])
                first.args = (f"{first}; {why}; {len(registered)} of {len(done)} are registered: {names}",)
                raise first
        return registered

    def put_all(
        self, commands: Iterable[DefinitionCommand], timeout_s: float = OUTCOME_SECONDS
    ) -> Iterator[Registered | DefinitionRefused]:
        """Post definition commands one behind the other, and yield what became of each: in their order.

        All are sent before the first answer comes. They are decided in this order, each by what those before it have
        come to; one that is refused stops none behind it. Raises what `put` raises but for a refusal. Then those whose
        outcome was not yielded yet may become registered all the same.
        """
        made = [self._with_id(it) for it in commands]
        values, ends = [self.check(it) for it in made], self._outcomes.ends()
        sent_at = self._definitions.position
        on_their_way = [self._sender.begin(command, value) for command, value in zip(made, values, strict=True)]
        for command, sending in zip(made, on_their_way, strict=True):
            partition, offset = self._sender.until_placed(sending)
            deadline = time.monotonic() + timeout_s
            try:
                accepted, ends = self._outcomes.next_definition(partition, offset, ends, timeout_s)
            except DefinitionRefused as refused:
                yield refused
            else:
                yield Registered(accepted, self._definitions.until_visible(command, accepted, deadline, sent_at))

    def _with_id(self, command: DefinitionCommand) -> DefinitionCommand:
        return replace(command, command_id=new_id()) if getattr(command, "command_id", "") is None else command

    def put(self, command: DefinitionCommand, timeout_s: float = OUTCOME_SECONDS) -> Registered:
        """Post a definition command, and wait until everybody can see its outcome and the definition.

        A command without an id gets one. Raises DefinitionRefused, and what `Posted.outcome` raises.
        """
        (done,) = self.put_all([command], timeout_s)
        if isinstance(done, DefinitionRefused):
            raise done
        return done

    def definitions(self) -> Definitions:
        """All definitions that there are now."""
        return self._definitions.newest()

    @property
    def definitions_position(self) -> int:
        """The offset of `definitions` up to which this client has read it. It grows when definitions have changed."""
        return self._definitions.position

    def external_event_def(self, wf_run_id: str, name: str, start: WfSpecId | None = None) -> Definition | None:
        """The ExternalEventDef by which the engine would check an event for this WfRun id now.

        It is the one that the WfSpec of the WfRun binds, if the WfRun has been started; else the one that
        `start` binds, the version to start for it; else the newest.
        """
        definitions = self.definitions()
        if len(definitions.versions(DefinitionKind.EXTERNAL_EVENT_DEF, name)) < 2:
            return definitions.external_event_def(name)
        run = self.row(wf_run_id)
        # Read again: the WfSpec may be newer than the definitions that were read.
        return self.definitions().external_event_def(name, start if run is None or run.wf_spec is None else run.wf_spec)

    def run(
        self,
        wf_spec_name: str,
        variables: Mapping[str, Given] | None = None,
        *,
        wf_run_id: str | None = None,
        major: int | None = None,
        revision: int | None = None,
        definitions_position: int | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> Posted:
        """Start a WfRun. Without an id it gets a new one (`Posted.wf_run_id`); a second one with that id is refused.

        `definitions_position` is the position of `definitions` that a worker has to have read before it decides the
        command. By default it is the position that this client has read. `wait` is explained at `send`.
        """
        command = self._asking.run(
            wf_spec_name, variables, wf_run_id, major, revision, definitions_position, operator, reason
        )
        return self._send(command, wait)

    def post(
        self,
        wf_run_id: str,
        name: str,
        content: Given = None,
        *,
        event_id: str | None = None,
        thread: int | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> Posted:
        """Post an ExternalEvent. A second one with the same id is refused: give an id that comes from its source.

        Without one it gets a new id (`Posted.id`). `thread`: only this ThreadRun may take it.
        """
        event = NewEvent(wf_run_id, name, content, event_id, thread, operator, reason)
        return self._send(self._asking.event(event), wait)

    def run_and_post(
        self,
        wf_spec_name: str,
        wf_run_id: str,
        name: str,
        content: Given = None,
        *,
        event_id: str | None = None,
        variables: Mapping[str, Given] | None = None,
        major: int | None = None,
        revision: int | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> Posted:
        """Start a WfRun if there is none with this id, and post an ExternalEvent behind its start: in one record.

        A WfRun that is there, running or ended, only takes the event, whatever its WfSpec. If the start or the event is
        refused, neither happens. A second record with the same event id is refused, and starts nothing. Events that
        `post` has sent may be taken before or after it, for they come on another topic.
        """
        event = NewEvent(wf_run_id, name, content, event_id, None, operator, reason)
        return self._send(self._asking.run_and_post(wf_spec_name, event, variables, major, revision), wait)

    def post_correlated(
        self,
        key: str | int,
        name: str,
        content: Given = None,
        *,
        event_id: str | None = None,
        wait: float | bool = False,
    ) -> PostedCorrelated:
        """Post an ExternalEvent to every WfRun that has a correlation key for it; it waits for one if none has.

        A second one with the same id for the same key is refused: give an id that comes from its source. `wait` is as
        in `send`, and `PostedCorrelated.outcome` says which WfRuns it went to.
        """
        seconds, command = seconds_of(wait), self._asking.correlated(key, name, content, event_id)
        value, partition = self._arguments.encoded_made(command), self._partition_of_key(command.correlation_key)
        ends = self._outcomes.ends_of_correlation(partition)
        placed, event_id = self._sender.send(command, value), command.external_event_id
        posted = PostedCorrelated(self._outcomes, event_id, command.correlation_key, *placed, ends)
        if seconds is not None:
            posted.outcome(seconds)
        return posted

    def correlation(self, key: str | int, name: str) -> Correlation | None:
        """What is known of a correlation key for an ExternalEventDef: which WfRuns have it, and what waits for one.

        None if nothing is. It reads all keys of one partition.
        """
        wanted = self._asking.correlated(key, name, None, None)
        self._arguments.check_names(wanted)
        row_key = Correlation(wanted.correlation_key, name).row_key.encode()
        found: bytes | None = None
        partition = self._partition_of_key(wanted.correlation_key)
        for message in self.reader.read(self.topics.correlations, partition, FROM_THE_START):
            if message.key() == row_key:
                found = message.value()
        row = None if found is None else self.codec.decode(found)
        assert row is None or isinstance(row, Correlation)
        return row

    def _partition_of_key(self, key: str) -> int:
        return partition_of(key.encode(), self.topics.partitions)

    def post_many(self, events: Iterable[NewEvent]) -> list[Posted]:
        """Post many ExternalEvents in their order, and return when Kafka has all of them.

        `events` may be a generator of millions: no more than 10,000 events are in memory at a time, besides what is
        returned. Raises PartlyPosted if some cannot be posted, such as one that is too large. All others are posted
        then, unless Kafka has ceased to answer: then none is posted any more.
        """
        if not isinstance(events, Iterable):
            raise InvalidArgument(f"events: expected NewEvents, found {type(events).__name__}")
        batch = Batch(self._sender, self._outcomes, self._log_ends, self.topics, events)
        for event in events:
            if batch.broken is not None:
                batch.fail(batch.broken, event)
                continue
            try:
                command = self._asking.event(event)
                value = self._arguments.encoded_made(command)
            except InvalidArgument as refused:
                batch.fail(refused, event)
            else:
                batch.send(command, value)
        return batch.end()

    def stop(
        self,
        wf_run_id: str,
        thread: int = 0,
        *,
        command_id: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> Posted:
        """Put MANUAL_HALT on a ThreadRun."""
        asked = {"operator": operator, "reason": reason}
        return self._send(self._made(StopWfRun, command_id, wf_run_id=wf_run_id, thread=thread, **asked), wait)

    def resume(
        self,
        wf_run_id: str,
        thread: int = 0,
        *,
        command_id: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> Posted:
        """Take MANUAL_HALT off a ThreadRun."""
        asked = {"operator": operator, "reason": reason}
        return self._send(self._made(ResumeWfRun, command_id, wf_run_id=wf_run_id, thread=thread, **asked), wait)

    def rescue(
        self,
        wf_run_id: str,
        thread: int = 0,
        *,
        skip_current_node: bool = False,
        command_id: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> Posted:
        """Revive a ThreadRun that is in ERROR."""
        command = self._made(
            RescueThreadRun,
            command_id,
            wf_run_id=wf_run_id,
            thread=thread,
            skip_current_node=skip_current_node,
            operator=operator,
            reason=reason,
        )
        return self._send(command, wait)

    def migrate(
        self,
        wf_run_id: str,
        major: int,
        revision: int | None = None,
        *,
        command_id: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> Posted:
        """Let a WfRun go on by another version of its WfSpec: the newest of a major version, or exactly one."""
        return self._send(self._asking.migration(wf_run_id, major, revision, command_id, operator, reason), wait)

    def try_migration(self, wf_run_id: str, major: int, revision: int | None = None) -> list[LogEntry]:
        """Return the events that `migrate` would bring about now. The rule is the engine's own, and nothing is sent.

        Raises CommandRejected if it would be refused now.
        """
        command = self._asking.migration(wf_run_id, major, revision, None)
        definitions = self.definitions()
        try:
            return tried(command, self.row(wf_run_id), definitions, self.codec)
        except CommandRejected as rejected:
            add_hint(rejected, "", "", lambda: definitions)
            raise

    def fork(
        self,
        snapshot: WfRunSnapshot,
        wf_run_id: str,
        *,
        major: int | None = None,
        revision: int | None = None,
        operator: str | None = None,
        reason: str | None = None,
    ) -> PostedFork:
        """Start a WfRun from the state that another one had at a moment (`halter.history.forking` finds it).

        It runs the version of the WfSpec that the other one ran, or that of `major` and `revision`. The same fork may
        be posted again. Raises RecordTooLarge, and says what makes the state so large.
        """
        command = ForkWfRun(
            wf_run_id,
            snapshot,
            major,
            revision,
            self._definitions.position or None,
            fork_command_id(snapshot, wf_run_id, major, revision),
            operator,
            reason,
        )
        try:
            self.check(command)
        except RecordTooLarge:
            raise RecordTooLarge(what_is_large(command, self.codec)) from None
        return PostedFork(command, *self._post(command))

    def reset(
        self,
        snapshot: WfRunSnapshot,
        wf_run_id: str | None = None,
        timeout_s: float = OUTCOME_SECONDS,
        *,
        operator: str | None = None,
        reason: str | None = None,
    ) -> Reset:
        """Let a WfRun go on from an earlier moment: fork it, wait for that, and then delete it.

        Without an id the new WfRun gets one that follows from the moment. After an error or a crash, call it again with
        the same arguments: it does what is left to do. Raises CannotFork, and what `fork` and `Posted.outcome` raise.
        """
        asked = Asked(operator, reason)
        forked = fork_to_reset(self, snapshot, wf_run_id, timeout_s, asked)
        return Reset(forked, remove_the_reset(self, snapshot, timeout_s, asked))

    def delete(
        self,
        wf_run_id: str,
        incarnation: int | None = None,
        *,
        command_id: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
        wait: float | bool = False,
    ) -> Posted:
        """Delete a WfRun and its ExternalEvents. Its id is free again, and the log keeps what happened.

        With an incarnation, no other WfRun of that id is deleted.
        """
        asked = {"operator": operator, "reason": reason}
        command = self._made(DeleteWfRun, command_id, wf_run_id=wf_run_id, incarnation=incarnation, **asked)
        return self._send(command, wait)

    def quarantine(
        self,
        wf_run_id: str,
        reason: str | None = None,
        operator: str | None = None,
        *,
        command_id: str | None = None,
    ) -> Posted:
        """Have the engine keep the inputs of a WfRun and not decide them, so that its partition goes on."""
        asked = {"wf_run_id": wf_run_id, "reason": reason, "operator": operator}
        return self._operate_wf_run(self._made(QuarantineWfRun, command_id, **asked))

    def release(
        self,
        wf_run_id: str,
        reason: str | None = None,
        operator: str | None = None,
        *,
        command_id: str | None = None,
    ) -> Posted:
        """End a quarantine: the engine decides what it has kept."""
        asked = {"wf_run_id": wf_run_id, "reason": reason, "operator": operator}
        return self._operate_wf_run(self._made(ReleaseWfRun, command_id, **asked))

    def skip(
        self, topic: str, partition: int, offset: int, reason: str | None = None, operator: str | None = None
    ) -> PostedSkip:
        """Have the engine skip the next record of a partition. The topic is named without the prefix.

        Raises CannotSkip if the record is not the next one, is folded already, or is not there.
        """
        self._arguments.check_fields(
            SkipRecord, topic=topic, partition=partition, offset=offset, reason=reason, operator=operator
        )
        self._expect_operators()
        check_partition(self.topics, topic, partition)
        positions = folded(self.reader, self.topics, self.codec, partition)
        time_ms = time_to_skip(self.reader, self.topics, positions, topic, partition, offset)
        command = SkipRecord(topic, partition, offset, time_ms, reason, new_id(), operator)
        return PostedSkip(command, *self._post(command, partition))

    def _made(self, kind: type[Made], command_id: str | None = None, **fields: Any) -> Made:
        """Make a command with an id of its own, by which the log names it."""
        return self._asking.made(kind, command_id, **fields)

    def _operate_wf_run(self, command: QuarantineWfRun | ReleaseWfRun) -> Posted:
        self._expect_operators()
        posted = self._post(command, partition_of(command.wf_run_id.encode(), self.topics.partitions))
        return Posted(*posted, own_id=command.command_id or "")

    def _expect_operators(self) -> None:
        if self.topics.operator_commands not in {topic.name for topic in self.topics.all}:
            raise UpgradeNotOver(
                f"expected workers of this version alone, found HALTER_SCHEMAS={self.settings.schemas}: operator "
                "commands are not read while workers of that release may run (docs/upgrades.md)"
            )

    def report_task(
        self,
        request: TaskRequest,
        status: TaskStatus,
        output: Value = None,
        *,
        failure_name: str | None = None,
        message: str | None = None,
        content: Given = None,
    ) -> Posted:
        """Report what became of a task attempt, as a task worker does (see `halter.task_worker`)."""
        return self._send(
            self._arguments.command(
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

    def send(self, command: Command, wait: float | bool = False) -> Posted:
        """Send a command, and return when Kafka has it on enough brokers.

        With `wait`, return when a worker has decided it: True waits for 30 seconds, a number for so many. Then
        `Posted.entries` has its outcome, and what `Posted.outcome` raises is raised.
        """
        self.check(command)
        return self._send(command, wait)

    def _send(self, command: Command, wait: float | bool = False) -> Posted:
        """Send a command that was made of checked arguments."""
        seconds = seconds_of(wait)
        posted = Posted(*self._post(command), repeat_id_of(command), id_of(command), *definition_names_of(command))
        if seconds is not None:
            posted.outcome(seconds)
        return posted

    def _post(self, command: Command | OperatorCommand, partition: int | None = None) -> PostedParts:
        """Note where the log ends, and then send a command: by its key, or to a partition."""
        value = self._arguments.encoded_made(command)
        key = key_of(command)
        expected = partition_of(key.encode(), self.topics.partitions) if partition is None else partition
        log_end = self._log_ends.of(expected)
        sent_to, offset = self._sender.send(command, value, BY_KEY if partition is None else partition)
        return self._outcomes, key, topic_of(command), sent_to, offset, log_end

    def _posted(self, command: Command, partition: int, offset: int, log_end: int) -> Posted:
        """Return a command that Kafka has."""
        key, topic = key_of(command), topic_of(command)
        named = repeat_id_of(command), id_of(command), *definition_names_of(command)
        return Posted(self._outcomes, key, topic, partition, offset, log_end, *named)

    def post_all(self, commands: Iterable[InputCommand], timestamp_ms: int | None = None) -> int:
        """Send many commands in order, and return their number when Kafka has all of them.

        `timestamp_ms` is their time on topics that keep the producer's time, which only those of scenarios do. Raises
        NotDelivered if one is not there; the others may be.
        """
        sending = [self.send_soon(it, timestamp_ms) for it in commands]
        self.until_delivered(sending)
        return len(sending)

    def send_soon(
        self,
        command: InputCommand,
        timestamp_ms: int | None = None,
        value: bytes | None = None,
        told: Callable[[Sending], None] | None = None,
        parent: Context | None = None,
    ) -> Sending:
        """Hand a command to librdkafka, which sends it at once and in order, and wait for nothing.

        `value` is the command as `check` has encoded it. `told` is called once Kafka has it or has not taken it, by
        whatever thread waits for a record then, or calls `poll_sent`. `parent` is the trace context that it carries on,
        if that is not the one of the active span.
        """
        value = self.check(command) if value is None else value
        return self._sender.begin(command, value, timestamp_ms, told=told, parent=parent)

    def poll_sent(self, seconds: float) -> None:
        """Tell of records that have arrived; wait so long if none has."""
        self._sender.poll(seconds)

    def prepare_to_send(self, topic: str) -> None:
        """Return once `send_soon` has nothing to ask Kafka before it sends to a topic.

        Else it asks with the first record, which is lost if Kafka is away for ten seconds then. Raises TopicMissing,
        PartitionsDiffer and KafkaUnavailable, also if Kafka says that this principal may not write there.
        """
        self._sender.prepare(topic)
        self._sender.expect_right(topic)

    def until_delivered(self, sending: Iterable[Sending]) -> None:
        """Wait until Kafka has these records. Raises NotDelivered if one is not there; the others may be."""
        self._sender.until_delivered(sending)

    def check(self, command: InputCommand) -> bytes:
        """Encode a command. Raises InvalidArgument if the engine would make a dead letter of it."""
        return self._arguments.encoded(command)

    @overload
    def get(self, wf_run_id: str, *, until: None = None) -> WfRun | None: ...

    @overload
    def get(self, wf_run_id: str, *, until: Until, timeout_s: float = OUTCOME_SECONDS) -> WfRun: ...

    def get(self, wf_run_id: str, *, until: Until | None = None, timeout_s: float = OUTCOME_SECONDS) -> WfRun | None:
        """The state of a WfRun, from its rows and the log behind them; None if there is nothing under that id.

        It is at least as new as every outcome that this client has waited for. One that has ended is as it was then,
        with its threads, as long as the log has its beginning. With `until`, wait until the WfRun has ended or is
        deleted, and return it as it was then; or until it is as a function says, which sees the state after each event.
        Raises NotEnded and NotYet if that takes longer than `timeout_s`.
        """
        if until is None:
            row = self.row(wf_run_id)
            return row if row is None or row.final_status is None else self._outcomes.as_it_ended(wf_run_id)
        return self._outcomes.waited_for(self._outcomes.state_wait(wf_run_id, until), timeout_s)

    def row(self, wf_run_id: str) -> WfRun | None:
        """The state of a WfRun as its rows have it; None if there is nothing under that id.

        It differs from `get` where the WfRun has ended: the threads are gone, and the log need not be read for them.
        """
        return self._outcomes.row(wf_run_id)

    def ended(self, wf_run_id: str) -> WfRun:
        """The state of a WfRun when it ended, replayed from the log. Raises BeginningMissing if the log lacks some."""
        return self.wf_runs.ended(wf_run_id)

    def history(self, wf_run_id: str, *, from_start: bool = False) -> History:
        """The events of a WfRun that the log still has, in order, one list for each incarnation.

        The log is read from the time at which the present WfRun began. With `from_start` all of it is read, and earlier
        WfRuns of the same id are in the history too.
        """
        return self.wf_runs.history(wf_run_id, from_start=from_start)

    def follow(self, wf_run_id: str | None = None, *, since: Since = "now", timeout_s: float | None = None) -> Follow:
        """Follow the log: iterate over the events of a WfRun id, or of all WfRuns, as they come.

        `since`: "now", "beginning", a time that has a zone, or an offset: of the partition of the WfRun, or of each
        partition (`Follow.positions`). The iteration ends when no event has come for `timeout_s`; None: never. Values
        that a WfSpec masks are as they are on the log.
        """
        return Follow(self._follower(wf_run_id, since), timeout_s)

    def _follower(self, wf_run_id: str | None, since: Since) -> Follower:
        return Follower(self.reader, self.topics, self.codec, self.wf_runs, wf_run_id, since)

    def close(self) -> None:
        """Close the connections. Kafka has what was posted. From now on every call that asks it raises ClientClosed."""
        self._sender.close()
        self.reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    if not TYPE_CHECKING:  # a type checker is to refuse the old names, and all others that there are not

        def __getattr__(self, name: str) -> Any:
            """Find a method by its name in 0.2.0, which works until 0.4.0."""
            if (now := MOVED.get(name)) is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            warnings.warn(f"Client.{name} is now Client.{now}; the old name goes in 0.4.0", DeprecationWarning, 2)
            return getattr(self, now)
