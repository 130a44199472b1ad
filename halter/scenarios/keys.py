"""Correlation keys in memory: who has a key, what waits for one, and to whom an event by key goes.

The fold of keys is the one of a worker (`processors.fold.correlation_fold`). This module stands for the topics around
it: it hands on what the fold writes, in order, until nothing is left. It knows nothing of WfRuns but their ids.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from processors.codec import Codec
from processors.core.records.commands import CorrelatedEvent, CorrelationCommand, ExternalEvent
from processors.core.records.events import Cause, CorrelationDecided, LogEntry
from processors.core.records.model import Correlation, CorrelationKey
from processors.core.records.topic_names import (
    CORRELATED_EVENTS,
    CORRELATION_COMMANDS,
    CORRELATION_EVENTS,
    EXTERNAL_EVENTS,
)
from processors.core.rules.context import Context
from processors.fold.correlation_fold import CorrelationFold
from processors.fold.inputs import InputRecord, command_id_of
from processors.fold.output_encoder import OutputEncoder
from processors.fold.outputs import OutputRecord

ONE_PARTITION: Final = (0, 1)
"""Number of the partition, and of partitions."""


class KeysInMemory:
    """The correlation keys of one engine in memory."""

    def __init__(self, context: Context) -> None:
        self._context, self._codec = context, codec()
        self._encoder = OutputEncoder(*ONE_PARTITION, self._codec)
        self._fold = self._new_fold()
        self._rows: dict[bytes, bytes] = {}
        """The rows as they were written: key -> value."""
        self._untaken: deque[CorrelationCommand] = deque()
        """What the fold was told and has not decided."""
        self._offsets: Counter[str] = Counter()

    def _new_fold(self) -> CorrelationFold:
        return CorrelationFold(*ONE_PARTITION, self._codec, self._context, self._encoder)

    def tell(self, keys: Mapping[str, CorrelationKey], log: Sequence[LogEntry]) -> None:
        """Take what the log of one command says of the keys of its WfRun, which had `keys` before."""
        for output in self._encoder.changed_keys(keys, log):
            self._untaken.append(self._decoded(output))

    def posts(self, time_ms: int) -> Iterator[ExternalEvent]:
        """Decide what was told, and yield the ExternalEvents that come of it. More may be told between two of them."""
        while self._untaken:
            yield from self.take(self._untaken.popleft(), time_ms)[1]

    def take(self, command: CorrelationCommand, time_ms: int) -> tuple[list[CorrelationDecided], list[ExternalEvent]]:
        """Decide one record about a key. Return what became of it, and the ExternalEvents that are to be posted."""
        topic = CORRELATED_EVENTS if isinstance(command, CorrelatedEvent) else CORRELATION_COMMANDS
        offset = self._offsets[topic]
        self._offsets[topic] += 1
        key, value = command.correlation_key.encode(), self._codec.encode(command)
        cause = Cause(topic, 0, offset, command_id_of(command), self._context.definitions.position)
        record = InputRecord(topic, 0, offset, time_ms, key, value)
        decided: list[CorrelationDecided] = []
        posted: list[ExternalEvent] = []
        for output in self._fold.fold(record, command, cause):
            if output.topic == CORRELATION_EVENTS:
                decided.append(self._decoded(output))
            elif output.topic == EXTERNAL_EVENTS:
                posted.append(self._decoded(output))
        for row in self._fold.take_rows():
            self._write(row)
        return decided, posted

    def _decoded(self, output: OutputRecord) -> Any:
        return self._codec.decode(output.value or b"")

    def _write(self, row: OutputRecord) -> None:
        key = row.key or b""
        if row.value is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = row.value

    # Time.

    @property
    def due_ms(self) -> int | None:
        """When the next timer of a key is due, in ms of the clock; None without one."""
        return self._fold.next_timer_ms()

    def fire(self, time_ms: int) -> None:
        """Take the first timer that is due. What has waited as long as it may is dropped."""
        for output in self._fold.due_timers(time_ms, 1):
            self._untaken.append(self._decoded(output))

    # What there is.

    def find(self, event_def: str, key: str) -> Correlation | None:
        """Return what is known of a key for an ExternalEventDef; None if nothing is."""
        value = self._rows.get(Correlation(key, event_def).row_key.encode())
        row = None if value is None else self._codec.decode(value)
        assert row is None or isinstance(row, Correlation)
        return row

    def crash(self) -> None:
        """Lose the memory and restore it from the rows."""
        self._fold = self._new_fold()
        for key, value in self._rows.items():
            self._fold.restore(key, value)
        self._fold.restored()


@cache
def codec() -> Codec:
    """Return the codec of records that never leave the process."""
    return Codec.load()
