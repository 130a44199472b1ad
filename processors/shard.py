"""The fold of one partition: input records in, log entries, task requests, dead letters and state rows out.

It joins the pure core to bytes: decodes inputs, keeps the WfRuns of its partition, encodes what came of them. It knows
no Kafka client, no clock and no transaction; the runtime feeds it and writes what it hands out, all of a turn in one
transaction. The same inputs in the same order, at the same positions of `definitions`, give the same output bytes.

State is written once per touched row and turn, by `take_outputs`. Partition 0 folds the definitions too.
"""

from collections.abc import Callable, Mapping, Sequence

from processors.codec import Codec, Record
from processors.core.commands import Command, DefinitionCommand, ExternalEvent, RunWf, TimerFired
from processors.core.context import Context, Limits
from processors.core.decide import EARLY
from processors.core.engine import attach, handle, new_run
from processors.core.events import (
    Cause,
    Definition,
    Ignored,
    LogEntry,
    TaskAttemptRequested,
    TaskRequest,
)
from processors.core.evolve import WF_COMMANDS
from processors.core.model import ExternalEventKey, ThreadRun, WfRun, WfRunExternalEvent
from processors.definition_fold import DefinitionFold
from processors.definitions_view import DefinitionsView
from processors.errors import HalterError
from processors.fold_position import FoldPosition
from processors.inputs import (
    EXTERNAL_EVENTS,
    TASK_REPORTS,
    DeadLetter,
    InputCommand,
    InputRecord,
    dead_letter_record,
    read_input,
)
from processors.outputs import OutputRecord
from processors.timers import ArmedTimer, Timers

DEFINITION_PARTITION = 0
"""The owner of this partition folds `definition-commands` as well."""

_INPUTS = (WF_COMMANDS, EXTERNAL_EVENTS, TASK_REPORTS)
_STATE = ("wf-runs", "thread-runs", "wf-run-external-events", "fold-positions")


class BrokenState(HalterError):
    """A row of a state topic cannot be read, or rows do not fit together. Nothing was folded; look at that row."""


class ShardFactory:
    """Makes the folds of a worker's partitions; they share the definitions, the codec and the limits."""

    def __init__(
        self,
        partitions: int,
        codec: Codec,
        definitions: DefinitionsView,
        limits: Limits | None = None,
        task_queues: Sequence[str] = (),
        shard: "Callable[..., Shard] | None" = None,
    ) -> None:
        """`shard` makes a shard of what Shard takes: for scenarios, whose timers are not the clock's."""
        self._partitions = partitions
        self._codec = codec
        self._context = Context(definitions, limits or Limits())
        self._task_queues = frozenset(task_queues)
        self._shard = shard or Shard

    def input_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        """The co-partitioned inputs, and for one shard `definition-commands`."""
        inputs = [(topic, partition) for topic in _INPUTS]
        return [*inputs, ("definition-commands", 0)] if partition == DEFINITION_PARTITION else inputs

    def state_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        """What a shard is restored from."""
        state = [(topic, partition) for topic in _STATE]
        return [*state, ("definitions", 0)] if partition == DEFINITION_PARTITION else state

    def create(self, partition: int) -> "Shard":
        """A shard that knows nothing yet."""
        definition_fold = None
        if partition == DEFINITION_PARTITION:
            definition_fold = DefinitionFold(self._codec, self._task_queues)
        return self._shard(partition, self._partitions, self._codec, self._context, definition_fold)


class Shard:
    """The WfRuns of one partition and the rules that move them. Implements the runtime's `Fold`."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        codec: Codec,
        context: Context,
        definition_fold: DefinitionFold | None = None,
    ) -> None:
        self._partition = partition
        self._partitions = partitions
        self._codec = codec
        self._context = context
        self._definition_fold = definition_fold
        self._offsets: dict[str, int] = {}
        self._definitions_position = 0
        self._runs: dict[str, WfRun] = {}
        self._detached: set[str] = set()
        """Restored WfRuns that no command has touched yet: their index is built when one does."""
        self._touched: dict[str, None] = {}
        self._timers = Timers()
        self._outputs: list[OutputRecord] = []
        self._moved = False
        self._read: dict[tuple[str, int], InputCommand | DeadLetter] = {}
        """What was decoded ahead of its fold, to see which definitions it needs; by topic and offset."""
        self._rows: dict[str, list[ThreadRun | WfRunExternalEvent]] = {}

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
    def wf_runs(self) -> Mapping[str, WfRun]:
        """The state, by WfRun id; read it, never change it."""
        return self._runs

    def restore(self, topic: str, key: bytes, value: bytes) -> None:
        """Take the latest row of one key. Raises BrokenState for one that cannot be read."""
        try:
            row = self._codec.decode(value)
        except HalterError as error:
            raise BrokenState(f"{topic}[{self._partition}], key {key!r}: {error}") from error
        match row:
            case WfRun():
                self._runs[row.wf_run_id] = row
                self._detached.add(row.wf_run_id)
            case ThreadRun() | WfRunExternalEvent():
                self._rows.setdefault(row.wf_run_id, []).append(row)
            case FoldPosition():
                self._offsets = dict(row.offsets)
                self._definitions_position = row.definitions_position
            case Definition() if self._definition_fold is not None:
                self._definition_fold.restore(row)
            case _:
                raise BrokenState(
                    f"{topic}[{self._partition}], key {key!r}: a {type(row).__name__} does not belong there"
                )

    def restored(self) -> None:
        """Put the rows together. Raises BrokenState where a ThreadRun has no WfRun, or a WfRun no thread 0."""
        for wf_run_id, rows in self._rows.items():
            run = self._runs.get(wf_run_id)
            if run is None:
                run = self._runs[wf_run_id] = new_run(wf_run_id)
                self._detached.add(wf_run_id)
            threads = sorted((row for row in rows if isinstance(row, ThreadRun)), key=lambda thread: thread.number)
            events = sorted(
                (row for row in rows if isinstance(row, WfRunExternalEvent)), key=lambda event: event.posted_offset
            )
            run.threads = {thread.number: thread for thread in threads}
            run.external_events = {event.key: event for event in events}
        self._rows.clear()
        for run in self._runs.values():
            self._timers.arm(run, run.threads.values())
            if (run.exists and run.final_status is None) != (0 in run.threads):
                raise BrokenState(
                    f"partition {self._partition}: WfRun {run.wf_run_id!r} has "
                    f"{'no thread 0' if run.exists else 'ThreadRuns but no row of its own'}"
                )

    def required_definitions(self, record: InputRecord) -> int:
        """The position of `definitions` that the producer of a RunWf or an ExternalEvent saw; 0 for all else."""
        decoded = self._read[record.topic, record.offset] = read_input(record, self._codec, self._partitions)
        return (decoded.definitions_position or 0) if isinstance(decoded, RunWf | ExternalEvent) else 0

    def fold(self, record: InputRecord) -> None:
        """Take one input record. Whatever is in it, it has an outcome; an exception is a bug of ours."""
        decoded = self._read.pop((record.topic, record.offset), None)
        if decoded is None:
            decoded = read_input(record, self._codec, self._partitions)
        self._offsets[record.topic] = record.offset + 1
        self._moved = True
        if isinstance(decoded, DeadLetter):
            self._bury(record, decoded)
        elif isinstance(decoded, Command):
            self._handle(record, decoded)
        else:
            assert self._definition_fold is not None, f"{record.topic} is not an input of partition {self._partition}"
            assert isinstance(decoded, DefinitionCommand), f"{record.topic} is not folded"
            self._outputs.extend(self._definition_fold.fold(decoded, self._cause(record, decoded.command_id)))

    def _cause(self, record: InputRecord, command_id: str | None) -> Cause:
        position = self._context.definitions.position
        return Cause(record.topic, record.partition, record.offset, command_id, position)

    def _bury(self, record: InputRecord, dead_letter: DeadLetter) -> None:
        letter = dead_letter_record(record, dead_letter)
        self._outputs.append(OutputRecord("dead-letters", self._partition, letter.key, letter.value, letter.headers))

    def _handle(self, record: InputRecord, command: Command) -> None:
        run = self._run(command.wf_run_id)
        command_id = getattr(command, "command_id", None) or getattr(command, "external_event_id", None)
        cause = self._cause(record, command_id)
        log = handle(run, command, cause, record.timestamp_ms, self._context)
        for entry in log:
            self._write(run, entry)
        self._touched[run.wf_run_id] = None
        if isinstance(command, TimerFired):
            self._after_timer(command, log[0], record.timestamp_ms)

    def _run(self, wf_run_id: str) -> WfRun:
        run = self._runs.get(wf_run_id)
        if run is None:
            run = self._runs[wf_run_id] = new_run(wf_run_id)
        elif wf_run_id in self._detached:
            self._detached.discard(wf_run_id)
            attach(run, self._context)
        return run

    def _write(self, run: WfRun, entry: LogEntry) -> None:
        event = entry.event
        key = run.wf_run_id.encode()
        name = type(event).__name__.encode()
        self._outputs.append(
            OutputRecord(
                "wf-events", self._partition, key, self._codec.encode(entry), (("event", name),), entry.time_ms
            )
        )
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
            topic = "task-requests" if event.queue is None else f"task-requests-{event.queue}"
            self._outputs.append(OutputRecord(topic, self._partition, key, self._codec.encode(request)))

    def due_timers(self, now_ms: int, limit: int) -> Sequence[OutputRecord]:
        """TimerFired records for what is due, each once; again after a restore or when one was early."""
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
        timer = ArmedTimer(fired.due_ms, fired.wf_run_id, fired.thread, fired.position, fired.kind, fired.incarnation)
        if outcome.event == Ignored(type(fired).__name__, EARLY):
            self._timers.fire_again(timer, early_by_ms=fired.due_ms - record_ms)
        else:
            self._timers.settle(timer)

    def take_outputs(self) -> Sequence[OutputRecord]:
        """All that the records since the last call came to: first what happened, then what is so now."""
        outputs, self._outputs = self._outputs, []
        for wf_run_id in self._touched:
            self._write_rows(self._runs[wf_run_id], outputs)
        self._touched.clear()
        if self._moved:
            self._moved = False
            self._definitions_position = self._context.definitions.position
            position = FoldPosition(self._partition, dict(self._offsets), self._definitions_position)
            outputs.append(self._row("fold-positions", str(self._partition), position))
        return outputs

    def _row(self, topic: str, key: str, row: Record | None) -> OutputRecord:
        value = None if row is None else self._codec.encode(row)
        return OutputRecord(topic, self._partition, key.encode(), value)

    def _write_rows(self, run: WfRun, outputs: list[OutputRecord]) -> None:
        """The rows that differ, each once: what is gone goes first, since a deleted id may be in use again."""
        changes, wf_run_id = run.changes, run.wf_run_id
        for thread in changes.left:
            key = f"{wf_run_id}/{thread.number}"
            if not changes.deleted:
                outputs.append(self._row("thread-runs", key, thread))
            outputs.append(self._row("thread-runs", key, None))
        events: list[tuple[ExternalEventKey, WfRunExternalEvent | None]] = [(key, None) for key in changes.forgotten]
        events += [(key, run.external_events[key]) for key in sorted(changes.external_events)]
        outputs.extend(self._row("wf-run-external-events", "/".join((wf_run_id, *key)), row) for key, row in events)
        changed = [run.threads[number] for number in sorted(changes.threads)]
        outputs.extend(self._row("thread-runs", f"{wf_run_id}/{thread.number}", thread) for thread in changed)
        if run.exists:
            outputs.append(self._row("wf-runs", wf_run_id, run))
            self._timers.arm(run, changed)
        elif changes.deleted:
            outputs.append(self._row("wf-runs", wf_run_id, None))
        changes.clear()
        if not run.exists and not run.external_events:
            del self._runs[wf_run_id]
