"""The fold of one partition: input records in; log entries, what task workers read, dead letters and state rows out.

It joins the pure core to bytes. It knows no Kafka client, no clock and no transaction: the runtime feeds it and writes
its outputs, those of a turn in one transaction. The same inputs in the same order, at the same positions of
`definitions`, give the same output bytes (rule same-records-same-bytes).

A record goes through `read`, which decodes it, and `fold`, which decides it and appends to the outputs. The rows follow
the log: `take_outputs` adds them when it is told to, each row that has changed since the last time, once. The fold of
partition 0 decides about definitions too.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from processors.codec import Codec
from processors.codec.registry import RegistryUnavailable
from processors.core.records.commands import (
    Command,
    CorrelatedEvent,
    CorrelationCommand,
    CorrelationTimerFired,
    DefinitionCommand,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    OperatorCommand,
    RunWf,
    RunWfAndPost,
    SkipRecord,
    TimerFired,
)
from processors.core.records.events import (
    Asked,
    Cause,
    Event,
    Ignored,
    LogEntry,
    RecordSkipped,
    SkipLapsed,
    TaskCancellation,
    WfRunQuarantined,
    WfRunReleased,
)
from processors.core.records.fold_position import FoldPosition, PendingSkip
from processors.core.records.model import Correlation, KeptInput, WfRun
from processors.core.records.topic_names import CORRELATIONS, DEFINITION_COMMANDS, FOLD_POSITIONS, WF_EVENTS, WF_RUNS
from processors.core.rules.context import Context
from processors.core.rules.decide import EARLY
from processors.core.rules.decide.refusals import may_lack_definition
from processors.core.rules.engine import attach, handle, new_run, note
from processors.core.rules.evolve import evolve
from processors.core.rules.indexing import index_of
from processors.fold.census import Census, standing
from processors.fold.correlation_fold import CorrelationFold
from processors.fold.definition_commands import DefinitionFold
from processors.fold.inputs import (
    CORRELATION_INPUTS,
    SHARD_INPUTS,
    DeadLetter,
    DeadLetterReason,
    Headers,
    InputCommand,
    InputRecord,
    ReadInput,
    asked_in,
    command_id_of,
    partition_key,
    read_input,
    wf_run_id_of,
)
from processors.fold.kept_inputs import kept_of, quarantine_full, quarantine_note, record_of
from processors.fold.log_tail import LogTail, misfit
from processors.fold.operator_commands import OperatorFold, can_be_operated, what_came
from processors.fold.output_encoder import OutputEncoder
from processors.fold.outputs import OutputRecord, check_sizes
from processors.fold.restoration import Restoration
from processors.fold.rows import changed_rows, has_rows
from processors.fold.stores import BrokenState, MemoryStore, Row, StateFiles, WfRuns, WfRunStore
from processors.fold.timers import ArmedTimer, Timers

if TYPE_CHECKING:
    from processors.fold.tracing import ShardTraces

_TELL_WHAT_WAS_SEEN: Final = (RunWf, RunWfAndPost, ForkWfRun, ExternalEvent, MigrateWfRun, CorrelatedEvent)
"""Commands that may say how far their producers had read `definitions`. A tuple: `A | B` would be made anew each time.
"""


class ShardFold:
    """The WfRuns of one partition and the rules that move them. Implements the contract's `Fold`."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        codec: Codec,
        context: Context,
        definition_fold: DefinitionFold | None = None,
        store: WfRunStore | None = None,
        census: Census | None = None,
        traces: "ShardTraces | None" = None,
    ) -> None:
        """`census` is told how WfRuns stand, for metrics; without one nothing is counted. `traces` makes spans; without
        one no header is looked at.
        """
        self._partition = partition
        self._partitions = partitions
        self._codec = codec
        self._context = context
        self._definition_fold = definition_fold
        inputs = (*SHARD_INPUTS, *(CORRELATION_INPUTS if context.correlations else ()))
        if definition_fold is not None:
            inputs = (*inputs, DEFINITION_COMMANDS)
        self._operators = OperatorFold(inputs, context.limits, can_be_operated(codec))
        self._offsets: dict[str, int] = {}
        self._definitions_position = 0
        self._store = store or MemoryStore()
        self._census = census
        self._runs = WfRuns(partition, self._store, codec, lambda run, index: attach(run, context, index))
        self._touched: dict[str, None] = {}
        """The WfRuns that were changed since `take_outputs`."""
        self._unwritten: dict[str, None] = {}
        """The WfRuns whose rows are behind."""
        self._rows_follow = rows_may_follow(codec)
        self._names_the_log = False
        """True once the state has a row of `fold-positions` that says from where its log is to be replayed."""
        self._untold = False
        """True if something was folded that the log alone does not tell, so that the rows must not follow later."""
        self._tail: LogTail | None = None
        self._log_position = 0
        self._quarantined: set[str] = set()
        self._timers = Timers(self._store, context.limits)
        if census is not None:
            census.armed = self._timers.by_kind
        self._outputs: list[OutputRecord] = []
        self._moved = False
        """True if records were folded since `take_outputs`."""
        self._behind = False
        """True if records were folded since rows were taken."""
        self._encoder = OutputEncoder(partition, partitions, codec)
        self._traces = traces
        self._correlations = CorrelationFold(partition, partitions, codec, context, self._encoder)
        # Task workers of an earlier release know no such record, and its topics may be all there are.
        self._tells_cancellations = codec.knows(TaskCancellation.__name__)
        self._restoration = Restoration(
            partition, codec, context.limits, self._store, self._timers, definition_fold, self._note_quarantine, census
        )

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
        """The position of `definitions` at which the shard was folded last. It must not be folded at an earlier one."""
        return self._definitions_position

    def begin(self, offsets: Mapping[str, int]) -> None:
        """Note where inputs begin that were never folded, so that the state names every input from now on."""
        self._offsets = {**offsets, **self._offsets}

    @property
    def quarantined(self) -> int:
        """The number of WfRuns in quarantine."""
        return len(self._quarantined)

    def _note_quarantine(self, wf_run_id: str, lasts: bool) -> None:
        (self._quarantined.add if lasts else self._quarantined.discard)(wf_run_id)
        self._store.quarantine(wf_run_id, lasts=lasts)

    @property
    def files(self) -> StateFiles | None:
        """The files of the state, which outlive the process; None if there are none."""
        return self._store.files

    @property
    def wf_runs(self) -> Mapping[str, WfRun]:
        """The state, by WfRun id. Read it, never change it."""
        return self._runs

    @property
    def correlations(self) -> Mapping[str, Correlation]:
        """The correlation keys of the partition, by the keys of their rows, as of the last turn."""
        return self._correlations.rows

    # Loading.

    def restore(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Take a record of a state topic: a row, or None for a row that is gone. The last one of a key counts."""
        if topic == CORRELATIONS:
            self._correlations.restore(key, value)
        else:
            self._restoration.take(topic, key, value)

    @property
    def restores_headers(self) -> bool:
        """Say whether `restore_headers` wants the headers of the rows of WfRuns and of the log."""
        return self._traces is not None

    def restore_headers(self, key: bytes, headers: Headers) -> None:
        """Take the headers of a WfRun's row, or of a record of its log. The last ones of a key count."""
        if self._traces is not None:
            self._traces.restore(key.decode(), headers)

    def check(self, at_most: int) -> bool:
        """Look at the rows of so many WfRuns, once all rows have come. Return True if there may be more to look at."""
        return self._restoration.check(at_most)

    @property
    def broken(self) -> Sequence[BrokenState]:
        """The errors of rows that `check` found to be wrong. A command for such a WfRun raises it again."""
        return self._restoration.broken

    def restored(self) -> None:
        """Look at the rest; all rows have come. Raises BrokenState if the partition's own rows cannot be read."""
        position = self._restoration.finish()
        self._correlations.restored()
        if position is not None:
            if position.log_position is not None:
                self._names_the_log = True
                self._tail = LogTail(position)
                self._log_position = position.log_position
            self._offsets = dict(position.offsets)
            self._definitions_position = position.definitions_position
            self._operators.skips = list(position.skips)
            self._operators.command_ids = list(position.operator_command_ids)

    @property
    def log_position(self) -> int | None:
        """The offset from which the log is to be replayed; None if the rows have everything."""
        return None if self._tail is None else self._log_position

    def replay(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the log from `log_position` on. Raises BrokenState."""
        assert self._tail is not None, "the rows have everything"
        row = Row(WF_EVENTS, key, value or b"")
        entry = self._restoration.log_entry(row)
        if not self._tail.takes(entry.cause):
            return
        wf_run_id = entry.wf_run_id
        run = self._runs.get(wf_run_id)
        if run is None:
            run = new_run(wf_run_id)
            self._runs.hold(run)
        elif wf_run_id not in self._unwritten:
            run.index = index_of(run)
        why = misfit(run, entry)
        if why is not None:
            raise self._restoration.broken_row(row, why)
        if self._census is None:
            evolve(run, entry)
        else:
            before = standing(run)
            evolve(run, entry)
            self._census.moved(before, standing(run))
        self._unwritten[wf_run_id] = None

    def replayed(self) -> None:
        """Go on where the log ends: all records of its tail have come."""
        tail, self._tail = self._tail, None
        if tail is not None:
            self._offsets, self._definitions_position = tail.offsets, tail.definitions_position
            # A worker of an earlier release cannot read a position that names one of the log.
            self._behind = bool(self._unwritten) or not self._rows_follow
            for wf_run_id in self._unwritten:
                self._timers.follow(self._runs[wf_run_id])
                if self._census is not None:
                    self._census.follow_holds(self._runs[wf_run_id])

    def logged(self, position: int) -> None:
        """Note that the log has, before this offset, every entry that was taken before now."""
        self._log_position = position

    # Reading and folding inputs.

    def read(self, record: InputRecord) -> ReadInput:
        """Decode an input record. Changes nothing. Raises RegistryUnavailable."""
        decoded = read_input(record, self._codec, self._partitions)
        if not isinstance(decoded, _TELL_WHAT_WAS_SEEN):
            return ReadInput(record, decoded)
        may_lack = may_lack_definition(decoded, self._context.definitions)
        return ReadInput(record, decoded, decoded.definitions_position or 0, may_lack)

    def see_coming(self, read: ReadInput) -> None:
        """Note a SkipRecord before its turn: it may skip an operator command that comes before it."""
        if isinstance(read.decoded, SkipRecord):
            self._operators.see_coming(read.decoded, read.record.offset, self._offsets)

    def decide_ahead(self, reads: Sequence[ReadInput]) -> Sequence[ReadInput]:
        """Begin to decide dear definition commands beside the turns.

        Returns those that are not decided yet, and those behind them.
        """
        undecided: list[ReadInput] = []
        is_next = True
        for read in reads:
            if read.record.topic == DEFINITION_COMMANDS:
                if undecided or not self._decide_one_ahead(read, is_next=is_next):
                    undecided.append(read)
                is_next = False
        return undecided

    def _decide_one_ahead(self, read: ReadInput, *, is_next: bool) -> bool:
        if self._definition_fold is None or not isinstance(read.decoded, DefinitionCommand):
            return True
        return self._definition_fold.decide_ahead(read.record.offset, read.decoded, is_next=is_next)

    def fold(self, read: ReadInput) -> None:
        """Take the next input record of a topic (rule order-within-a-partition).

        Whatever the record holds, it has an outcome. An exception is a bug.
        """
        record = read.record
        skip, lapsed = self._operators.take_skip(record)
        if skip is not None:
            self._pass_over(read, skip, lapsed)
            return
        decoded = self._decoded(read)
        self._offsets[record.topic] = record.offset + 1
        self._moved = True
        self._lapse(record, decoded, lapsed)
        if isinstance(decoded, DeadLetter):
            self._bury(record, decoded)
        elif isinstance(decoded, Command):
            if self._traces is None:
                self._handle(record, decoded)
            else:
                self._handle_traced(record, decoded, self._traces)
        elif isinstance(decoded, OperatorCommand):
            self._operate(record, decoded)
        elif isinstance(decoded, CorrelationCommand):
            self._untold = True
            cause = self._cause(record, command_id_of(decoded))
            self._outputs.extend(self._correlations.fold(record, decoded, cause))
        else:
            assert self._definition_fold is not None, f"{record.topic} is not an input of partition {self._partition}"
            assert isinstance(decoded, DefinitionCommand), f"{record.topic} is not folded"
            self._untold = True
            self._outputs.extend(self._definition_fold.fold(decoded, self._cause(record, decoded.command_id)))

    def _decoded(self, read: ReadInput) -> InputCommand | DeadLetter:
        """Return what a record holds. If reading it raised before, this raises the same."""
        return read.decoded or read_input(read.record, self._codec, self._partitions)

    def _cause(self, record: InputRecord, command_id: str | None) -> Cause:
        """Return the cause of a record's events (rule event-names-its-cause)."""
        position = self._context.definitions.position
        return Cause(record.topic, record.partition, record.offset, command_id, position)

    def _bury(self, record: InputRecord, dead_letter: DeadLetter) -> None:
        self._untold = True
        self._outputs.append(self._encoder.dead_letter(record, dead_letter))
        if self._census is not None:
            self._census.count("dead_letters", dead_letter.reason)

    def _handle(self, record: InputRecord, command: Command) -> None:
        run = self._runs.attached(command.wf_run_id)
        cause = self._cause(record, command_id_of(command))
        if run.quarantined_ms is not None:
            self._keep(run, record, command, cause)
            return
        cancelled: list[TaskCancellation] | None = [] if self._tells_cancellations else None
        keys, census = run.correlation_keys, self._census
        before = None if census is None else standing(run)
        log = handle(run, command, cause, record.timestamp_ms, self._context, cancelled)
        if census is not None:
            census.decided(run, before, log)
        self._write(run, log, asked_in(command))
        if cancelled:
            self._outputs.extend(self._encoder.cancellations(cancelled))
        if run.correlation_keys is not keys:
            self._outputs.extend(self._encoder.changed_keys(keys, log))
        self._touched[run.wf_run_id] = None
        if isinstance(command, TimerFired):
            self._after_timer(command, log[0], record.timestamp_ms)

    def _handle_traced(self, record: InputRecord, command: Command, traces: "ShardTraces") -> None:
        """Do the same within a span, whose context all outputs carry in their headers."""
        first = len(self._outputs)
        with traces.folding(record, command) as context:
            self._handle(record, command)
        if context:
            self._outputs[first:] = [it._replace(headers=(*it.headers, *context)) for it in self._outputs[first:]]

    def _keep(self, run: WfRun, record: InputRecord, command: Command, cause: Cause) -> None:
        """Keep an input of a WfRun in quarantine (rule quarantine-keeps-inputs). Bury it if too much would be kept."""
        self._untold = True
        kept = kept_of(record)
        full = quarantine_full(run, kept, self._context.limits)
        if full is None:
            self._write(run, [note(run, kept, cause, record.timestamp_ms)], asked_in(command))
            self._touched[run.wf_run_id] = None
        else:
            self._bury(record, full)
            if isinstance(command, TimerFired):
                self._timers.forget(_armed(command))  # its release arms it again

    def _operate(self, record: InputRecord, command: OperatorCommand) -> None:
        """Do what an operator asks for. No WfRun is attached, because that may already run a rule that is broken."""
        about = partition_key(self._partition) if isinstance(command, SkipRecord) else command.wf_run_id
        run = self._runs.readable(about)
        broken = self._runs.broken(about)
        event = self._operators.decide(command, run, record.timestamp_ms, self._offsets, broken)
        kept = tuple(run.kept_inputs)
        asked = None if hasattr(event, "operator") else asked_in(command)  # most of these events say it themselves
        self._note(run, event, self._cause(record, command.command_id), record.timestamp_ms, asked)
        if isinstance(event, WfRunReleased):
            run.changes.decided.extend(self._runs.quarantine_notes(about))
            self._decide_kept(run, kept)
        elif isinstance(event, WfRunQuarantined) and self._runs.has_lost_its_row(run):
            run.changes.kept.append(quarantine_note(run, record))

    def _note(self, run: WfRun, event: Event, cause: Cause, time_ms: int, asked: Asked | None = None) -> None:
        self._untold = True
        before = standing(run)
        entry = note(run, event, cause, time_ms)
        if self._census is not None:
            self._census.decided(run, before, [entry])
        self._write(run, [entry], asked)
        # A WfRun that cannot be read as a whole is held too, or the next event would have the same seq.
        if run.exists or isinstance(event, WfRunQuarantined):
            self._runs.hold(run)
        if self._runs.holds(run):
            self._touched[run.wf_run_id] = None

    def _decide_kept(self, run: WfRun, inputs: Sequence[KeptInput]) -> None:
        """Decide kept inputs in order, each with its own time and cause (rule release-decides-in-order).

        Then timers are armed again. `inputs` are those of this release only: `run.changes` also has those of another
        release in the same turn.
        """
        for kept in inputs:
            record = record_of(kept)
            decoded = read_input(record, self._codec, self._partitions)
            if isinstance(decoded, DeadLetter):
                self._bury(record, decoded)
            else:
                assert isinstance(decoded, Command), f"{kept.row_key}: only commands to WfRuns are kept"
                self._handle(record, decoded)
        self._timers.arm(run, run.threads.values())

    def _lapse(self, record: InputRecord, decoded: object, skips: Sequence[PendingSkip]) -> None:
        """Log the skips that lapse, because another record came than the one to be skipped."""
        for skip in skips:
            partition, why = self._partition, what_came(record)
            event = SkipLapsed(skip.topic, partition, skip.offset, skip.timestamp_ms, why, skip.operator)
            run = self._runs.readable(partition_key(partition))
            self._note(run, event, self._cause(record, command_id_of(decoded)), record.timestamp_ms)

    def _pass_over(self, read: ReadInput, skip: PendingSkip, lapsed: Sequence[PendingSkip]) -> None:
        """Log that a record is skipped, and bury it."""
        record = read.record
        decoded: InputCommand | DeadLetter | None
        try:
            decoded = self._decoded(read)
        except RegistryUnavailable:
            raise  # the log must not depend on whether it answered
        except Exception:  # noqa: BLE001  an operator may skip the very record that breaks the decoder
            decoded = None
        self._offsets[record.topic] = record.offset + 1
        self._moved = True
        self._lapse(record, decoded, lapsed)
        named = decoded is not None and not isinstance(decoded, DeadLetter)
        event = RecordSkipped(type(decoded).__name__ if named else None, skip.reason, skip.operator)
        wf_run_id = wf_run_id_of(decoded) or partition_key(self._partition)
        run = self._runs.readable(wf_run_id)
        self._note(run, event, self._cause(record, command_id_of(decoded)), record.timestamp_ms)
        why = f": {skip.reason}" if skip.reason else ""
        if isinstance(decoded, TimerFired):
            self._timers.fire_again(_armed(decoded), early_by_ms=0)  # it is still armed, as a restart would find
        elif isinstance(decoded, CorrelationTimerFired):
            self._correlations.fire_again(decoded)
        elif isinstance(decoded, SkipRecord):
            self._operators.passed_over(decoded, self._offsets)
        self._bury(record, DeadLetter(DeadLetterReason.SKIPPED, f"an operator had it skipped{why}"))

    def _write(self, run: WfRun, log: Sequence[LogEntry], asked: Asked | None = None) -> None:
        self._outputs.extend(self._encoder.log(run.wf_run_id, log, asked))

    @property
    def is_full(self) -> bool:
        """Say whether so much was posted by keys since `take_outputs` that another turn is to go on."""
        return self._correlations.is_full

    # Timers.

    def due_timers(self, now_ms: int, limit: int) -> Sequence[OutputRecord]:
        """Return timers that are due, as records (rule timer-fires-as-a-record).

        Each is returned once, and again after a restore, or if it was early.
        """
        self._runs.age(now_ms, self._unwritten)
        due = [self._encoder.timer(_fired(timer)) for timer in self._timers.take_due(now_ms, limit, self._runs)]
        return [*due, *self._correlations.due_timers(now_ms, limit - len(due))]

    def next_timer_ms(self) -> int | None:
        """Return when the next timer that was not handed out is due; None without one."""
        times = (self._timers.next_ms(), self._correlations.next_timer_ms())
        return min((it for it in times if it is not None), default=None)

    def _after_timer(self, fired: TimerFired, outcome: LogEntry, record_ms: int) -> None:
        timer = _armed(fired)
        if outcome.event == Ignored(type(fired).__name__, EARLY):
            self._timers.fire_again(timer, early_by_ms=fired.due_ms - record_ms)
        else:
            self._timers.forget(timer)

    # Handing out.

    @property
    def unwritten(self) -> int:
        """The number of WfRuns whose rows are behind; 1 if the position alone has to be written."""
        return len(self._unwritten) or int(self._behind and not self._rows_follow)

    def take_outputs(self, *, rows: bool = True) -> Sequence[OutputRecord]:
        """Return the outputs of the records since the last call: first the log, then the rows that have changed.

        `rows`: whether they are wanted. They come anyway if they must not follow later. Raises OutputTooLarge.
        """
        outputs, self._outputs = self._outputs, []
        if self._traces is not None:
            self._traces.taken()
        outputs += self._correlations.take_rows()
        first_row = len(outputs)
        if self._moved:
            self._moved, self._behind = False, True
            self._definitions_position = self._context.definitions.position
            for wf_run_id in self._touched:
                self._timers.follow(self._runs[wf_run_id])
            self._unwritten.update(self._touched)
            self._touched.clear()
        if self._behind and (rows or self._untold or not self._names_the_log or not self._rows_follow):
            self._take_rows(outputs)
        check_sizes(outputs, self._context.limits.output_bytes)
        put = self._runs.put
        for row in outputs[first_row:]:
            put(row.topic, row.key or b"", row.value)
        return outputs

    def _take_rows(self, outputs: list[OutputRecord]) -> None:
        """Append the rows that have changed, and the position that they stand for."""
        for wf_run_id in self._unwritten:
            self._take_rows_of(self._runs[wf_run_id], outputs)
        self._unwritten.clear()
        self._behind = self._untold = False
        self._names_the_log = self._rows_follow
        position = FoldPosition(
            self._partition,
            dict(self._offsets),
            self._definitions_position,
            list(self._operators.skips),
            list(self._operators.command_ids),
            self._log_position if self._rows_follow else None,
        )
        outputs.append(self._encoder.row(FOLD_POSITIONS, str(self._partition), position))

    def committed(self) -> None:
        """Note that all outputs which were taken are committed, so that resting WfRuns may be dropped."""
        self._store.committed()
        if self._traces is not None:
            self._traces.committed()
        self._runs.rest(self._unwritten)
        if self._census is not None:
            self._census.committed()

    def _take_rows_of(self, run: WfRun, outputs: list[OutputRecord]) -> None:
        """Append the rows of a WfRun that have changed, each once, and drop the WfRun if it has none any more."""
        wf_run_id = run.wf_run_id
        for topic, key, record in changed_rows(run, own_row_is_lost=self._runs.has_lost_its_row(run)):
            outputs.append(self._encoder.row(topic, key, record))
        if self._traces is not None and outputs and outputs[-1].topic == WF_RUNS and outputs[-1].value is not None:
            outputs[-1] = outputs[-1]._replace(headers=self._traces.of(wf_run_id))  # a WfRun's own row comes last
        if self._census is not None:
            self._census.follow(run)
        run.changes.clear()
        if (run.quarantined_ms is not None) != (wf_run_id in self._quarantined):
            self._note_quarantine(wf_run_id, run.quarantined_ms is not None)
        is_broken = self._runs.broken(wf_run_id) is not None
        if not has_rows(run) or (is_broken and run.quarantined_ms is None):
            self._runs.remove(wf_run_id)
            if self._traces is not None:
                self._traces.forget(wf_run_id)


def rows_may_follow(codec: Codec) -> bool:
    """Return True if rows may be written later than the log. During an upgrade those of an earlier release may not."""
    return codec.writes(FoldPosition.__name__, "log_position")


def _fired(timer: ArmedTimer) -> TimerFired:
    """Return a timer as the command that it becomes."""
    return TimerFired(timer.wf_run_id, timer.incarnation, timer.thread, timer.position, timer.kind, timer.due_ms)


def _armed(fired: TimerFired) -> ArmedTimer:
    """Return the timer that became a command."""
    return ArmedTimer(fired.due_ms, fired.wf_run_id, fired.thread, fired.position, fired.kind, fired.incarnation)
