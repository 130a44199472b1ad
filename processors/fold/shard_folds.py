"""Makes the folds of a worker's shards, and knows which topics belong to a shard. Implements `FoldFactory`."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from processors.codec import Codec
from processors.core.records.commands import (
    Command,
    CorrelationCommand,
    DefinitionCommand,
    OperatorCommand,
    RunWfAndPost,
)
from processors.core.records.events import (
    ArrivalFailed,
    CorrelationKeyChanged,
    Definition,
    ExternalEventPosted,
    TaskAttemptStarted,
    WfRunForked,
    WfRunMigrated,
)
from processors.core.records.topic_names import (
    CORRELATIONS,
    DEFINITION_COMMANDS,
    DEFINITIONS,
    OPERATOR_COMMANDS,
    SHARD_STATE,
    WF_EVENTS,
)
from processors.core.rules.context import Context, Limits
from processors.fold.census import Census
from processors.fold.contract import DEFINITION_SHARD
from processors.fold.definition_commands import DefinitionFold
from processors.fold.definitions_view import DefinitionsView
from processors.fold.inputs import CORRELATION_INPUTS, SHARD_INPUTS, InputRecord, read_input, wf_run_id_of
from processors.fold.operator_commands import can_be_operated
from processors.fold.shard_fold import ShardFold
from processors.fold.stores import MemoryStore, WfRunStore
from processors.fold.tally import Tally

if TYPE_CHECKING:
    from processors.kafka.tracing import Tracing


class ShardFolds:
    """Makes the folds of a worker's partitions. They share the definitions, the codec and the limits."""

    def __init__(
        self,
        partitions: int,
        codec: Codec,
        definitions: DefinitionsView,
        limits: Limits | None = None,
        task_queues: Sequence[str] = (),
        new_fold: Callable[..., ShardFold] = ShardFold,
        new_store: Callable[[int], WfRunStore] = lambda _: MemoryStore(),
        ahead: Executor | None = None,
        tally: Tally | None = None,
        tracing: "Tracing | None" = None,
    ) -> None:
        """`new_fold` takes what ShardFold takes: a scenario has its own, whose timers are not the clock's. `new_store`
        makes the store of a partition. `ahead` decides about definitions while other records are folded. With a `tally`
        each fold has a census, and with `tracing` it makes spans.
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
            forks=codec.knows(WfRunForked.__name__),
            migrations=codec.knows(WfRunMigrated.__name__),
            run_and_post=codec.knows(RunWfAndPost.__name__),
            keeps_outcomes=codec.writes(ExternalEventPosted.__name__, "keeps_outcomes"),
            attempt_starts=codec.knows(TaskAttemptStarted.__name__),
            correlations=codec.knows(CorrelationKeyChanged.__name__),
        )
        self._inputs = [it for it in SHARD_INPUTS if it != OPERATOR_COMMANDS or can_be_operated(codec)]
        self._state = list(SHARD_STATE)
        if self._context.correlations:
            self._inputs += CORRELATION_INPUTS
            self._state.append(CORRELATIONS)
        self._task_queues = frozenset(task_queues)
        self._new_fold = new_fold
        self._new_store = new_store
        self._tally, self._tracing = tally, tracing
        self._censuses: dict[int, ReferenceType[Census]] = {}
        """Those of folds that are in use: a fold has the only strong reference. A plain dict is copied in one step."""

    def input_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        """Return the co-partitioned inputs, and for one shard `definition-commands`.

        During an upgrade the state is written with the schemas of an earlier release. If these have no field for what
        operators ask for, `operator-commands` is not among the inputs; if they have no correlation keys, the topics of
        these are not.
        """
        inputs = [(topic, partition) for topic in self._inputs]
        return [*inputs, (DEFINITION_COMMANDS, 0)] if partition == DEFINITION_SHARD else inputs

    def state_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        """Return the topics and partitions that a shard is restored from."""
        state = [(topic, partition) for topic in self._state]
        return [*state, (DEFINITIONS, 0)] if partition == DEFINITION_SHARD else state

    def log(self, partition: int) -> tuple[str, int]:
        """Return the topic and partition of a shard's log."""
        return WF_EVENTS, partition

    def describe(self, record: InputRecord) -> tuple[str | None, str | None]:
        """Return the WfRun that a record is about and the command that it holds, as far as known. Never raises."""
        try:
            decoded = read_input(record, self._codec, self._partitions)
        except Exception:  # noqa: BLE001  the decoder itself may be what breaks
            decoded = None
        wf_run_id = wf_run_id_of(decoded) or (record.key or b"").decode(errors="backslashreplace")
        named = isinstance(decoded, Command | DefinitionCommand | OperatorCommand | CorrelationCommand)
        return wf_run_id or None, type(decoded).__name__ if named else None

    def create(self, partition: int) -> ShardFold:
        """Return a fold that has no state yet."""
        definition_fold = None
        if partition == DEFINITION_SHARD:
            definition_fold = DefinitionFold(self._codec, self._task_queues, self._ahead)
        store = self._new_store(partition)
        more: dict[str, Any] = {}
        if self._tally is not None:
            more["census"] = census = Census(self._tally, store)
            self._censuses[partition] = ref(census)
        if self._tracing is not None:
            from processors.fold.tracing import ShardTraces  # it imports OpenTelemetry

            more["traces"] = ShardTraces(self._tracing)
        return self._new_fold(partition, self._partitions, self._codec, self._context, definition_fold, store, **more)

    @property
    def censuses(self) -> Mapping[int, Census]:
        """The census of each partition whose fold is in use or being loaded. Any thread may ask."""
        found = ((partition, reference()) for partition, reference in dict(self._censuses).items())
        return {partition: census for partition, census in found if census is not None}
