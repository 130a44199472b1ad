"""The fold of one partition: input records in, log entries, task requests, dead letters and state rows out.

It joins the pure core to bytes: decodes inputs, keeps the WfRuns of its partition, encodes what came of them. It knows
no Kafka client, no clock and no transaction; the runtime feeds it and writes what it hands out, all of a turn in one
transaction. The same inputs in the same order, at the same positions of `definitions`, give the same output bytes.

State is written once per touched row and turn, by `take_outputs`. Partition 0 folds the definitions too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from itertools import islice
from typing import get_args

from processors.codec import Codec, DecodeError, Record
from processors.codec.registry import RegistryUnavailable
from processors.core.records.commands import (
    Command,
    DefinitionCommand,
    ExternalEvent,
    OperatorCommand,
    RunWf,
    SkipRecord,
    TimerFired,
)
from processors.core.records.events import (
    ArrivalFailed,
    Cause,
    Definition,
    Event,
    ExternalEventPosted,
    Ignored,
    InputKept,
    LogEntry,
    RecordSkipped,
    SkipLapsed,
    TaskAttemptRequested,
    TaskRequest,
    WfRunQuarantined,
    WfRunReleased,
)
from processors.core.records.fold_position import FoldPosition, PendingSkip
from processors.core.records.model import KeptInput, RecordHeader, WfRun
from processors.core.records.topic_names import (
    DEAD_LETTERS,
    DEFINITION_COMMANDS,
    DEFINITIONS,
    EXTERNAL_EVENTS,
    FOLD_POSITIONS,
    OPERATOR_COMMANDS,
    SHARD_STATE,
    TASK_REPORTS,
    WF_COMMANDS,
    WF_EVENTS,
    task_requests_of,
)
from processors.core.rules.context import Context, Limits
from processors.core.rules.decide import EARLY
from processors.core.rules.engine import attach, handle, note
from processors.fold.definition_commands import DefinitionFold
from processors.fold.definitions_view import DefinitionsView
from processors.fold.inputs import (
    DeadLetter,
    DeadLetterReason,
    Headers,
    InputRecord,
    ReadInput,
    dead_letter_record,
    partition_key,
    read_input,
)
from processors.fold.operator_commands import OperatorFold, what_came
from processors.fold.outputs import OutputRecord, check_sizes
from processors.fold.rows import changed_rows, has_rows
from processors.fold.stores import BrokenState, Glance, MemoryStore, Row, StateFiles, WfRuns, WfRunStore
from processors.fold.timers import ArmedTimer, Timers

DEFINITION_PARTITION = 0
"""The owner of this partition folds `definition-commands` as well."""

_INPUTS = (WF_COMMANDS, EXTERNAL_EVENTS, TASK_REPORTS, OPERATOR_COMMANDS)
_EVENT_HEADERS: Mapping[type, Headers] = {event: (("event", event.__name__.encode()),) for event in get_args(Event)}
"""Of a record of the log, so that it can be told without being decoded."""


class ShardFolds:
    """Makes the folds of a worker's partitions; they share the definitions, the codec and the limits."""

    def __init__(
        self,
        partitions: int,
        codec: Codec,
        definitions: DefinitionsView,
        limits: Limits | None = None,
        task_queues: Sequence[str] = (),
        new_fold: "Callable[..., ShardFold] | None" = None,
        new_store: Callable[[int], WfRunStore] = lambda _: MemoryStore(),
        ahead: Executor | None = None,
    ) -> None:
        """`new_fold` takes what ShardFold takes: a scenario has its own, whose timers are not the clock's. `new_store`
        makes the store of a partition. `ahead` decides about definitions while other records are folded.
        """
        self._ahead = ahead
        self._partitions = partitions
        self._codec = codec
        self._context = Context(
            definitions,
            limits or Limits(),
            append_times=codec.writes(ExternalEventPosted.__name__, "appended_ms"),
            arrival_failures=codec.knows(ArrivalFailed.__name__),
            binds_event_defs=codec.writes(Definition.__name__, "external_event_defs"),
            keeps_outcomes=codec.writes(ExternalEventPosted.__name__, "keeps_outcomes"),
        )
        self._inputs = _INPUTS if can_be_operated(codec) else tuple(it for it in _INPUTS if it != OPERATOR_COMMANDS)
        self._task_queues = frozenset(task_queues)
        self._new_fold = new_fold or ShardFold
        self._new_store = new_store

    def input_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        """The co-partitioned inputs, and for one shard `definition-commands`.

        Without `operator-commands` while the state is written as a release that could not say what operators ask for.
        """
        inputs = [(topic, partition) for topic in self._inputs]
        return [*inputs, (DEFINITION_COMMANDS, 0)] if partition == DEFINITION_PARTITION else inputs

    def state_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        """What a shard is restored from."""
        state = [(topic, partition) for topic in SHARD_STATE]
        return [*state, (DEFINITIONS, 0)] if partition == DEFINITION_PARTITION else state

    def describe(self, record: InputRecord) -> tuple[str | None, str | None]:
        """The WfRun that a record is about and what it asks for, as far as can be said. Never raises."""
        try:
            decoded = read_input(record, self._codec, self._partitions)
        except Exception:  # noqa: BLE001  what breaks may be the decoder itself
            decoded = None
        wf_run_id = _wf_run_id(decoded) or (record.key or b"").decode(errors="backslashreplace")
        named = isinstance(decoded, Command | DefinitionCommand | OperatorCommand)
        return wf_run_id or None, type(decoded).__name__ if named else None

    def create(self, partition: int) -> "ShardFold":
        """Return a fold that has no state yet."""
        definition_fold = None
        if partition == DEFINITION_PARTITION:
            definition_fold = DefinitionFold(self._codec, self._task_queues, self._ahead)
        store = self._new_store(partition)
        return self._new_fold(partition, self._partitions, self._codec, self._context, definition_fold, store)


class ShardFold:
    """The WfRuns of one partition and the rules that move them. Implements the runtime's `Fold`."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        codec: Codec,
        context: Context,
        definition_fold: DefinitionFold | None = None,
        store: WfRunStore | None = None,
    ) -> None:
        self._partition = partition
        self._partitions = partitions
        self._codec = codec
        self._context = context
        self._definition_fold = definition_fold
        inputs = _INPUTS if definition_fold is None else (*_INPUTS, DEFINITION_COMMANDS)
        self._operators = OperatorFold(inputs, context.limits, can_be_operated(codec))
        self._offsets: dict[str, int] = {}
        self._definitions_position = 0
        self._store = store or MemoryStore()
        self._runs = WfRuns(partition, self._store, codec, lambda run, index: attach(run, context, index))
        self._touched: dict[str, None] = {}
        self._quarantined: set[str] = set()
        self._timers = Timers(self._store, context.limits)
        self._outputs: list[OutputRecord] = []
        self._moved = False
        self._glance = Glance(partition, codec, context.limits)
        self._unchecked: Iterator[tuple[str, list[Row]]] | None = None
        self._definition_rows: dict[bytes, bytes] = {}
        self.broken: list[BrokenState] = []
        """What was found wrong with restored rows; a command for such a WfRun raises it."""

    @property
    def partition(self) -> int:
        """The number of the shard."""
        return self._partition

    @property
    def offsets(self) -> Mapping[str, int]:
        """The next offset to fold of each input topic."""
        return self._offsets

    @property
    def definitions_position(self) -> int:
        """The position of `definitions` at which the shard was folded last: it must not be folded at an earlier one."""
        return self._definitions_position

    def begin(self, offsets: Mapping[str, int]) -> None:
        """Note where the inputs begin that were never folded, so that the state names every input from now on."""
        self._offsets = {**offsets, **self._offsets}

    @property
    def quarantined(self) -> int:
        """How many WfRuns are in quarantine."""
        return len(self._quarantined)

    def _note_quarantine(self, wf_run_id: str, *, lasts: bool) -> None:
        (self._quarantined.add if lasts else self._quarantined.discard)(wf_run_id)
        self._store.quarantine(wf_run_id, lasts=lasts)

    @property
    def files(self) -> StateFiles | None:
        """What of the state outlives the process."""
        return self._store.files

    @property
    def wf_runs(self) -> Mapping[str, WfRun]:
        """The state, by WfRun id; read it, never change it."""
        return self._runs

    def restore(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Take a record of a state topic: a row, or None for a row that is gone. The last one of a key counts."""
        if topic != DEFINITIONS:
            self._store.put(topic, key, value)
        elif value is not None:
            self._definition_rows[key] = value

    def check(self, at_most: int) -> bool:
        """Look at so many WfRuns, once all rows have come; return whether there are more to look at.

        Rows that are wrong are noted: they are in nobody's way until a command is about their WfRun.
        """
        if self._unchecked is None:
            self._unchecked = self._store.news()
        found = 0
        for found, (wf_run_id, rows) in enumerate(islice(self._unchecked, at_most), 1):  # noqa: B007  counted
            try:
                timers, quarantined = self._glance.at(wf_run_id, rows)
            except BrokenState as error:
                self.broken.append(error)
                quarantined = self._glance.is_quarantined(rows)
            else:
                self._timers.add(timers)
            if quarantined:
                self._note_quarantine(wf_run_id, lasts=True)
        return found == at_most

    def restored(self) -> None:
        """All rows have come. Raises BrokenState where the partition's own rows cannot be read."""
        while self.check(1_000):
            pass
        self._timers.add(self._store.timers(), journaled=True)
        for wf_run_id in self._store.quarantined():
            lasts = self._glance.is_quarantined(self._store.rows(wf_run_id))
            self._note_quarantine(wf_run_id, lasts=lasts)
        position = self._store.position()
        if position is not None:
            self._restore_position(Row(FOLD_POSITIONS, str(self._partition).encode(), position))
        for key, value in self._definition_rows.items():
            row = Row(DEFINITIONS, key, value)
            definition = self._decoded(row)
            if self._definition_fold is None or not isinstance(definition, Definition):
                raise self._glance.broken(row, f"a {type(definition).__name__} does not belong there")
            self._definition_fold.restore(definition)
        self._definition_rows.clear()

    def _restore_position(self, row: Row) -> None:
        position = self._decoded(row)
        if not isinstance(position, FoldPosition):
            raise self._glance.broken(row, f"a {type(position).__name__} does not belong there")
        self._offsets = dict(position.offsets)
        self._definitions_position = position.definitions_position
        self._operators.skips = list(position.skips)
        self._operators.command_ids = list(position.operator_command_ids)

    def _decoded(self, row: Row) -> Record:
        try:
            return self._codec.decode(row.value)
        except DecodeError as error:
            raise self._glance.broken(row, error) from error

    def read(self, record: InputRecord) -> ReadInput:
        """Decode an input record. Changes nothing. Raises RegistryUnavailable."""
        decoded = read_input(record, self._codec, self._partitions)
        # A tuple: `A | B` would be made anew for every record.
        seen = decoded.definitions_position if isinstance(decoded, (RunWf, ExternalEvent)) else None
        return ReadInput(record, decoded, seen or 0)

    def see_coming(self, read: ReadInput) -> None:
        """Note a SkipRecord before its turn: it may be about an operator command that comes before it."""
        if isinstance(read.decoded, SkipRecord):
            self._operators.see_coming(read.decoded, read.record.offset, self._offsets)

    def undecided(self, reads: Sequence[ReadInput]) -> Sequence[ReadInput]:
        """Return the definition commands that are being decided beside the turns, and those behind them."""
        undecided: list[ReadInput] = []
        is_next = True
        for read in reads:
            if read.record.topic == DEFINITION_COMMANDS:
                if undecided or not self._can_be_folded(read, is_next=is_next):
                    undecided.append(read)
                is_next = False
        return undecided

    def _can_be_folded(self, read: ReadInput, *, is_next: bool) -> bool:
        if self._definition_fold is None or not isinstance(read.decoded, DefinitionCommand):
            return True
        return self._definition_fold.can_be_folded(read.record.offset, read.decoded, is_next=is_next)

    # (rule order-within-a-partition)
    def fold(self, read: ReadInput) -> None:
        """Take one input record. Whatever is in it, it has an outcome; an exception is a bug of ours."""
        record, decoded = read.record, read.decoded
        skip, lapsed = self._operators.take_skip(record)
        if skip is not None:
            self._pass_over(read, skip, lapsed)
            return
        if decoded is None:
            decoded = read_input(record, self._codec, self._partitions)
        self._offsets[record.topic] = record.offset + 1
        self._moved = True
        self._lapse(record, decoded, lapsed)
        if isinstance(decoded, DeadLetter):
            self._bury(record, decoded)
        elif isinstance(decoded, Command):
            self._handle(record, decoded)
        elif isinstance(decoded, OperatorCommand):
            self._operate(record, decoded)
        else:
            assert self._definition_fold is not None, f"{record.topic} is not an input of partition {self._partition}"
            assert isinstance(decoded, DefinitionCommand), f"{record.topic} is not folded"
            self._outputs.extend(self._definition_fold.fold(decoded, self._cause(record, decoded.command_id)))

    def _cause(self, record: InputRecord, command_id: str | None) -> Cause:
        position = self._context.definitions.position
        return Cause(record.topic, record.partition, record.offset, command_id, position)

    def _bury(self, record: InputRecord, dead_letter: DeadLetter) -> None:
        letter = dead_letter_record(record, dead_letter)
        self._outputs.append(OutputRecord(DEAD_LETTERS, self._partition, letter.key, letter.value, letter.headers))

    def _handle(self, record: InputRecord, command: Command) -> None:
        run = self._runs.attached(command.wf_run_id)
        cause = self._cause(record, _command_id(command))
        if run.quarantined_ms is not None:
            self._keep(run, record, command, cause)
            return
        log = handle(run, command, cause, record.timestamp_ms, self._context)
        self._write(run, log)
        self._touched[run.wf_run_id] = None
        if isinstance(command, TimerFired):
            self._after_timer(command, log[0], record.timestamp_ms)

    # (rule quarantine-keeps-inputs)
    def _keep(self, run: WfRun, record: InputRecord, command: Command, cause: Cause) -> None:
        """Keep an input of a WfRun in quarantine, or bury it where too much would be kept."""
        assert record.key is not None
        assert record.value is not None
        limits = self._context.limits
        headers = [RecordHeader(name, value) for name, value in record.headers]
        kept = InputKept(record.timestamp_ms, record.key, record.value, headers)
        size = len(record.key) + len(record.value) + sum(len(it.name) + len(it.value) for it in headers)
        in_all = size + sum(it.size for it in run.kept_inputs)
        if len(run.kept_inputs) >= limits.kept_inputs or size > limits.kept_input_bytes or in_all > limits.kept_bytes:
            message = (
                f"WfRun '{run.wf_run_id}' is in quarantine: expected at most {limits.kept_inputs} inputs and "
                f"{limits.kept_bytes} bytes to keep, none larger than {limits.kept_input_bytes}, found "
                f"{len(run.kept_inputs)} that are kept and one of {size} bytes"
            )
            self._bury(record, DeadLetter(DeadLetterReason.QUARANTINE_FULL, message))
            if isinstance(command, TimerFired):
                self._timers.forget(_armed(command))  # its release arms it again
            return
        self._write(run, [note(run, kept, cause, record.timestamp_ms)])
        self._touched[run.wf_run_id] = None

    def _operate(self, record: InputRecord, command: OperatorCommand) -> None:
        """Do what an operator asks for. No WfRun is attached: that alone may run a rule that is broken."""
        about = partition_key(self._partition) if isinstance(command, SkipRecord) else command.wf_run_id
        run = self._runs.readable(about)
        broken = self._runs.broken(about)
        event = self._operators.decide(command, run, record.timestamp_ms, self._offsets, broken)
        kept = tuple(run.kept_inputs)
        self._note(run, event, self._cause(record, command.command_id), record.timestamp_ms)
        if isinstance(event, WfRunReleased):
            run.changes.decided.extend(self._runs.quarantine_notes(about))
            self._decide_kept(run, kept)
        elif isinstance(event, WfRunQuarantined) and self._runs.has_lost_its_row(run):
            run.changes.kept.append(_kept_input(run, record))

    def _note(self, run: WfRun, event: Event, cause: Cause, time_ms: int) -> None:
        self._write(run, [note(run, event, cause, time_ms)])
        # Of a WfRun that cannot be read as a whole too: the next event must not have the same seq.
        if run.exists or isinstance(event, WfRunQuarantined):
            self._runs.hold(run)
        if self._runs.holds(run):
            self._touched[run.wf_run_id] = None

    # (rule release-decides-in-order)
    def _decide_kept(self, run: WfRun, inputs: Sequence[KeptInput]) -> None:
        """Decide what was kept, in order, each with its own time and cause; then its timers are armed again.

        `inputs` of this release alone: `run.changes` also holds those of another release in the same turn.
        """
        for kept in inputs:
            headers = tuple((header.name, header.value) for header in kept.headers)
            record = InputRecord(
                kept.topic, kept.partition, kept.offset, kept.timestamp_ms, kept.key, kept.value, headers
            )
            decoded = read_input(record, self._codec, self._partitions)
            if isinstance(decoded, DeadLetter):
                self._bury(record, decoded)
            else:
                assert isinstance(decoded, Command), f"{kept.row_key}: only commands to WfRuns are kept"
                self._handle(record, decoded)
        self._timers.arm(run, run.threads.values())

    def _lapse(self, record: InputRecord, decoded: object, skips: Sequence[PendingSkip]) -> None:
        """Log what was to be skipped, and is not what came."""
        for skip in skips:
            partition, why = self._partition, what_came(record)
            event = SkipLapsed(skip.topic, partition, skip.offset, skip.timestamp_ms, why, skip.operator)
            run = self._runs.readable(partition_key(partition))
            self._note(run, event, self._cause(record, _command_id(decoded)), record.timestamp_ms)

    def _pass_over(self, read: ReadInput, skip: PendingSkip, lapsed: Sequence[PendingSkip]) -> None:
        """Log that a record is skipped, and bury it."""
        record, decoded = read.record, read.decoded
        try:
            decoded = decoded or read_input(record, self._codec, self._partitions)
        except RegistryUnavailable:
            raise  # what is logged must not depend on whether it answered
        except Exception:  # noqa: BLE001  what an operator skips may be what breaks the decoder
            decoded = None
        self._offsets[record.topic] = record.offset + 1
        self._moved = True
        self._lapse(record, decoded, lapsed)
        named = decoded is not None and not isinstance(decoded, DeadLetter)
        event = RecordSkipped(type(decoded).__name__ if named else None, skip.reason, skip.operator)
        wf_run_id = _wf_run_id(decoded) or partition_key(self._partition)
        run = self._runs.readable(wf_run_id)
        self._note(run, event, self._cause(record, _command_id(decoded)), record.timestamp_ms)
        why = f": {skip.reason}" if skip.reason else ""
        if isinstance(decoded, TimerFired):
            self._timers.fire_again(_armed(decoded), early_by_ms=0)  # it is armed still, as a restart would find
        elif isinstance(decoded, SkipRecord):
            self._operators.passed_over(decoded, self._offsets)
        self._bury(record, DeadLetter(DeadLetterReason.SKIPPED, f"an operator had it skipped{why}"))

    def _write(self, run: WfRun, log: Sequence[LogEntry]) -> None:
        key, partition, outputs = run.wf_run_id.encode(), self._partition, self._outputs
        for entry, value in zip(log, self._codec.encode_log(log), strict=True):
            event = entry.event
            headers = _EVENT_HEADERS[type(event)]
            outputs.append(OutputRecord(WF_EVENTS, partition, key, value, headers, entry.time_ms))
            if isinstance(event, TaskAttemptRequested):
                request = TaskRequest(
                    wf_run_id=run.wf_run_id,
                    incarnation=entry.incarnation,
                    thread=event.thread,
                    position=event.position,
                    attempt=event.attempt,
                    task_def=event.task_def,
                    input=event.input,
                    requested_ms=entry.time_ms,
                    deadline_ms=event.deadline_ms,
                )
                topic = task_requests_of(event.queue)
                outputs.append(OutputRecord(topic, partition, key, self._codec.encode(request)))

    # (rule timer-fires-as-a-record)
    def due_timers(self, now_ms: int, limit: int) -> Sequence[OutputRecord]:
        """TimerFired records for what is due, each once; again after a restore or when one was early."""
        if not self._touched:
            self._runs.age(now_ms)
        fired = (self._fired(timer) for timer in self._timers.take_due(now_ms, limit, self._runs))
        return [
            OutputRecord(WF_COMMANDS, self._partition, command.wf_run_id.encode(), self._codec.encode(command))
            for command in fired
        ]

    def next_timer_ms(self) -> int | None:
        """When the next timer that was not handed out is due."""
        return self._timers.next_ms()

    @staticmethod
    def _fired(timer: ArmedTimer) -> TimerFired:
        return TimerFired(timer.wf_run_id, timer.incarnation, timer.thread, timer.position, timer.kind, timer.due_ms)

    def _after_timer(self, fired: TimerFired, outcome: LogEntry, record_ms: int) -> None:
        timer = _armed(fired)
        if outcome.event == Ignored(type(fired).__name__, EARLY):
            self._timers.fire_again(timer, early_by_ms=fired.due_ms - record_ms)
        else:
            self._timers.forget(timer)

    def take_outputs(self) -> Sequence[OutputRecord]:
        """All that the records since the last call came to: first what happened, then what is so now.

        Raises OutputTooLarge.
        """
        outputs, self._outputs = self._outputs, []
        first_row = len(outputs)
        for wf_run_id in self._touched:
            self._write_rows(self._runs[wf_run_id], outputs)
        self._touched.clear()
        if self._moved:
            self._moved = False
            self._definitions_position = self._context.definitions.position
            position = FoldPosition(
                self._partition,
                dict(self._offsets),
                self._definitions_position,
                list(self._operators.skips),
                list(self._operators.command_ids),
            )
            outputs.append(self._row(FOLD_POSITIONS, str(self._partition), position))
        check_sizes(outputs, self._context.limits.output_bytes)
        put = self._runs.put
        for row in outputs[first_row:]:
            put(row.topic, row.key or b"", row.value)
        return outputs

    def committed(self) -> None:
        """All outputs that were taken are committed: what rests may be dropped."""
        self._store.committed()
        self._runs.rest()

    def _row(self, topic: str, key: str, row: Record | None) -> OutputRecord:
        value = None if row is None else self._codec.encode(row)
        return OutputRecord(topic, self._partition, key.encode(), value)

    def _write_rows(self, run: WfRun, outputs: list[OutputRecord]) -> None:
        """Write the rows that a turn changed, each once, and drop the WfRun if it has none any more."""
        wf_run_id = run.wf_run_id
        for topic, key, record in changed_rows(run, own_row_is_lost=self._runs.has_lost_its_row(run)):
            outputs.append(self._row(topic, key, record))
        self._timers.follow(run)
        run.changes.clear()
        if (run.quarantined_ms is not None) != (wf_run_id in self._quarantined):
            self._note_quarantine(wf_run_id, lasts=run.quarantined_ms is not None)
        is_broken = self._runs.broken(wf_run_id) is not None
        if not has_rows(run) or (is_broken and run.quarantined_ms is None):
            self._runs.remove(wf_run_id)


def can_be_operated(codec: Codec) -> bool:
    """Whether what is written can say what operators ask for."""
    return codec.writes(FoldPosition.__name__, "operator_command_ids")


def _command_id(command: object) -> str | None:
    """What its producer knows a command by."""
    return getattr(command, "command_id", None) or getattr(command, "external_event_id", None)


def _kept_input(run: WfRun, quarantine: InputRecord) -> KeptInput:
    """The QuarantineWfRun as the first of the inputs that are kept: it is told by its topic and never decided."""
    assert quarantine.key is not None
    assert quarantine.value is not None
    return KeptInput(
        wf_run_id=run.wf_run_id,
        topic=quarantine.topic,
        partition=quarantine.partition,
        offset=quarantine.offset,
        number=0,
        timestamp_ms=quarantine.timestamp_ms,
        key=quarantine.key,
        value=quarantine.value,
        headers=[RecordHeader(name, value) for name, value in quarantine.headers],
    )


def _wf_run_id(decoded: object) -> str | None:
    """The WfRun that an input is about; None where it is about none."""
    return getattr(decoded, "wf_run_id", None)


def _armed(fired: TimerFired) -> ArmedTimer:
    """The timer that a TimerFired speaks of."""
    return ArmedTimer(fired.due_ms, fired.wf_run_id, fired.thread, fired.position, fired.kind, fired.incarnation)
