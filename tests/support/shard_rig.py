"""A shard without Kafka: it feeds it records as the runtime does, keeps its outputs, and restores it from those.

The tables are compacted as in Kafka: the latest value of each key, and nothing for a tombstone.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from processors.codec import Codec
from processors.core.records.events import LogEntry
from processors.core.records.fold_position import FoldPosition
from processors.core.records.topic_names import FOLD_POSITIONS, OPERATOR_COMMANDS, WF_EVENTS
from processors.core.rules.context import Limits
from processors.fold.definitions_view import DefinitionsView
from processors.fold.inputs import InputRecord, ReadInput, key_of, topic_of
from processors.fold.outputs import OutputRecord
from processors.fold.shard_fold import ShardFold
from processors.fold.shard_folds import ShardFolds
from processors.fold.stores import MemoryStore, StatePosition, WfRunStore
from processors.fold.tally import Tally
from processors.kafka.tracing import Tracing

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""


CHECKPOINT_TURNS = 3
"""How often a store with files is told where the state topics end."""


class ShardRig:
    """Shard 0 of an installation with one partition, and its topics."""

    awaits_definitions = True
    """True if a record that needs definitions which have not come is a mistake of the test."""

    def __init__(
        self,
        limits: Limits | None = None,
        queues: Iterable[str] = (),
        release: str | None = None,
        new_store: Callable[[int], WfRunStore] = lambda _: MemoryStore(),
        codec: Codec | None = None,
        tally: Tally | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.codec = codec or Codec.load(release=release)
        self.view = DefinitionsView(self.codec)
        self.factory = ShardFolds(
            1, self.codec, self.view, limits, tuple(queues), new_store=new_store, tally=tally, tracing=tracing
        )
        self.shard: ShardFold = self.factory.create(0)
        self.inputs: list[InputRecord] = []
        self.outputs: list[OutputRecord] = []
        self.tables: dict[str, dict[bytes, bytes]] = {topic: {} for topic, _ in self.factory.state_topics(0)}
        self.logs: dict[str, list[tuple[bytes, bytes | None]]] = {topic: [] for topic in self.tables}
        """The state topics before they are compacted."""
        self.log_records: list[tuple[bytes, bytes | None]] = []
        """The records of `wf-events`."""
        self.turns = 0
        if self.shard.files is not None:
            self.shard = self.restored()
        self.now_ms = START_MS
        self._ends: dict[str, int] = {}

    def record(self, topic: str, key: bytes | None, value: bytes | None) -> InputRecord:
        """Return the next record of an input topic."""
        offset = self._ends.get(topic, 0)
        self._ends[topic] = offset + 1
        return InputRecord(topic, 0, offset, self.now_ms, key, value)

    def command(self, command: Any) -> InputRecord:
        """Return a command as the record that carries it."""
        return self.record(topic_of(command), key_of(command).encode(), self.codec.encode(command))

    def read(self, record: InputRecord) -> ReadInput:
        """Read a record as the runtime does as soon as it is polled."""
        read = self.shard.read(record)
        if record.topic == OPERATOR_COMMANDS:
            self.shard.see_coming(read)
        return read

    def turn(self, *records: Any, rows: bool = True) -> list[Any]:
        """Fold records or commands in one turn, and return what came of them, decoded if it is a record of ours.

        Without `rows` the rows follow with a later turn.
        """
        for item in records:
            record = item if isinstance(item, InputRecord) else self.command(item)
            self.inputs.append(record)
            read = self.read(record)
            assert read.definitions_position <= self.view.position or not self.awaits_definitions
            self.shard.fold(read)
        written = list(self.shard.take_outputs(rows=rows))
        self.shard.committed()
        self.log_records += [(it.key or b"", it.value) for it in written if it.topic == WF_EVENTS]
        self.shard.logged(len(self.log_records))
        self.outputs.extend(written)
        for output in written:
            if output.topic == "definitions":
                assert output.key is not None
                self.view.apply(output.key, output.value, self.view.position + 1)
            table = self.tables.get(output.topic)
            if table is not None and output.key is not None:
                self.logs[output.topic].append((output.key, output.value))
                if output.value is None:
                    table.pop(output.key, None)
                else:
                    table[output.key] = output.value
        self.turns += 1
        if self.shard.files is not None and self.turns % CHECKPOINT_TURNS == 0:
            self.shard.files.checkpoint(self.ends())
        return [
            self.codec.decode(output.value)
            for output in written
            if output.value is not None and output.topic != "dead-letters"
        ]

    def log(self, *records: Any) -> list[LogEntry]:
        """Fold records in one turn, and return the log entries."""
        return [record for record in self.turn(*records) if isinstance(record, LogEntry)]

    def events(self, *records: Any) -> list[str]:
        """Fold records in one turn, and return the names of the events."""
        return [type(entry.event).__name__ for entry in self.log(*records)]

    def fire_due(self) -> list[LogEntry]:
        """Let due timers of the shard come back as records."""
        due = self.shard.due_timers(self.now_ms, 100)
        return self.log(*(self.record(output.topic, output.key, output.value) for output in due))

    def ends(self) -> dict[str, StatePosition]:
        """Return where the state topics end."""
        return {topic: StatePosition(len(log)) for topic, log in self.logs.items()}

    def restored(self) -> ShardFold:
        """Return a new shard with the state of the topics: everything left of them, or what its files do not have."""
        if self.shard.files is not None:
            self.shard.files.close()
        shard = self.factory.create(0)
        if shard.files is None:
            for topic, rows in self.tables.items():
                for key, value in rows.items():
                    shard.restore(topic, key, value)
        else:
            starts = shard.files.resume({"topics": "of this rig"}, self.ends())
            for topic, log in self.logs.items():
                for key, latest in log[starts.get(topic, StatePosition(0)).offset :]:
                    shard.restore(topic, key, latest)
        shard.restored()
        if shard.log_position is not None:
            for key, value in self.log_records[shard.log_position :]:
                shard.replay(key, value)
            shard.replayed()
        shard.logged(len(self.log_records))
        return shard

    def position(self) -> FoldPosition | None:
        """Return the position of the rows, without where the log was when they were written; None if there are none."""
        value = self.tables[FOLD_POSITIONS].get(b"0")
        if value is None:
            return None
        position = self.codec.decode(value)
        assert isinstance(position, FoldPosition)
        return replace(position, log_position=None)

    def crash(self) -> None:
        """Go on with a shard that knows only the tables."""
        self.shard = self.restored()
