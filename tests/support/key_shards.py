"""Shards over several partitions, without Kafka: what one writes to inputs comes back as records for another.

Their WfRuns have correlation keys, so tests of keys use them.
"""

import json
import random
from collections import defaultdict
from typing import Any

from hypothesis import strategies as st

from processors.codec import Codec
from processors.core.records.commands import (
    CorrelatedEvent,
    DeleteWfRun,
    ExternalEvent,
    PutExternalEventDef,
    PutWfSpec,
    RunWf,
    SkipRecord,
)
from processors.core.records.events import CorrelationDecided, DefinitionAccepted, LogEntry
from processors.core.records.values import VariableType
from processors.core.rules.context import Limits
from processors.fold.definitions_view import DefinitionsView
from processors.fold.inputs import InputRecord, key_of, topic_of
from processors.fold.outputs import OutputRecord
from processors.fold.shard_fold import ShardFold
from processors.fold.shard_folds import ShardFolds
from processors.kafka.partitioner import partition_of
from tests.support.shard_rig import START_MS

DAY_MS = 24 * 60 * 60 * 1000
COMES_BACK = ("external-events", "correlation-commands")


def order(**fields: Any) -> dict[str, Any]:
    """Return a WfSpec whose WfRuns have the key that `order` says for `paid`, and end with `done`."""
    assign = {"to": "exit", "set": [{"var": "order", "op": "ASSIGN", "value": {"var": "INPUT"}}]}
    return {
        "name": "order",
        "entrypoint": "main",
        "correlated_events": {"paid": {"var": "order"}},
        "threads": {
            "main": {
                "variables": {"order": {"type": "STR"}},
                "interrupts": [{"event": "paid", "handler": "on-paid"}, {"event": "rename", "handler": "on-rename"}],
                "nodes": {
                    "start": {"kind": "ENTRYPOINT", "next": "wait"},
                    "wait": {"kind": "EXTERNAL_EVENT", "event": "done", "next": "exit"},
                    "exit": {"kind": "EXIT"},
                },
            },
            "on-paid": {"nodes": {"start": {"kind": "ENTRYPOINT", "next": "exit"}, "exit": {"kind": "EXIT"}}},
            "on-rename": {
                "variables": {"INPUT": {"type": "STR"}},
                "nodes": {"start": {"kind": "ENTRYPOINT", "next": assign}, "exit": {"kind": "EXIT"}},
            },
        },
        **fields,
    }


class Shards:
    """Shards 0 to N - 1 and their topics. What a turn writes to inputs is folded by a later turn."""

    def __init__(self, partitions: int = 3, limits: Limits | None = None) -> None:
        self.codec, self.partitions = Codec.load(), partitions
        self.view = DefinitionsView(self.codec)
        self.factory = ShardFolds(partitions, self.codec, self.view, limits)
        self.now_ms = START_MS
        self.inputs: dict[tuple[str, int], list[InputRecord]] = defaultdict(list)
        self.outputs: list[OutputRecord] = []
        self.tables: dict[int, dict[tuple[str, bytes], bytes]] = defaultdict(dict)
        self.logs: dict[int, list[OutputRecord]] = defaultdict(list)
        self.shards = [self._loaded(number) for number in range(partitions)]
        for command in (
            PutExternalEventDef("paid"),
            PutExternalEventDef("rename", VariableType.STR),
            PutExternalEventDef("done"),
            PutWfSpec("order", json.dumps(order())),
        ):
            self.post(command)
        self.run()
        accepted = [it for it in self.decoded("definition-events") if isinstance(it, DefinitionAccepted)]
        assert len(accepted) == 4

    def post(self, command: Any) -> InputRecord:
        topic, key = topic_of(command), key_of(command).encode()
        partition = command.partition if isinstance(command, SkipRecord) else None
        return self._append(topic, 0 if topic == "definition-commands" else partition, key, self.codec.encode(command))

    def _append(self, topic: str, partition: int | None, key: bytes, value: bytes) -> InputRecord:
        at = partition_of(key, self.partitions) if partition is None else partition
        records = self.inputs[topic, at]
        records.append(InputRecord(topic, at, len(records), self.now_ms, key, value))
        return records[-1]

    def turn(self, number: int, most: int = 1_000, topics: Any = None, *, rows: bool = True) -> bool:
        """Fold what there is for a shard, and return whether there was anything."""
        shard = self.shards[number]
        waiting = []
        for topic, partition in topics or self.factory.input_topics(number):
            records = self.inputs[topic, partition]
            waiting += records[shard.offsets.get(topic, 0) : shard.offsets.get(topic, 0) + most]
        for record in waiting:
            shard.fold(shard.read(record))
        written = shard.take_outputs(rows=rows)
        shard.committed()
        for output in written:
            self._take(number, output)
        shard.logged(len(self.logs[number]))
        return bool(waiting)

    def _take(self, number: int, output: OutputRecord) -> None:
        self.outputs.append(output)
        key = output.key or b""
        if output.topic in COMES_BACK:
            assert output.partition == partition_of(key, self.partitions)
            self._append(output.topic, output.partition, key, output.value or b"")
        elif output.topic == "wf-events":
            self.logs[number].append(output)
        elif output.topic == "definitions":
            self.view.apply(key, output.value, self.view.position + 1)
        elif (output.topic, number) in self.factory.state_topics(number):
            if output.value is None:
                self.tables[number].pop((output.topic, key), None)
            else:
                self.tables[number][output.topic, key] = output.value

    def run(self) -> None:
        """Fold until nothing is left."""
        while sum(self.turn(number) for number in range(self.partitions)):
            pass

    def fire(self) -> None:
        """Let due timers come back as records, and fold them."""
        for number, shard in enumerate(self.shards):
            for it in shard.due_timers(self.now_ms, 100):
                self._append(it.topic, it.partition, it.key or b"", it.value or b"")
                assert it.partition == number
        self.run()

    def _loaded(self, number: int) -> ShardFold:
        shard = self.factory.create(number)
        for (topic, key), value in self.tables[number].items():
            shard.restore(topic, key, value)
        for key, value in self.tables[0].items() if number == 0 else ():
            if key[0] == "definitions":
                shard.restore(*key, value)
        shard.restored()
        if shard.log_position is not None:
            for entry in self.logs[number][shard.log_position :]:
                shard.replay(entry.key or b"", entry.value)
            shard.replayed()
        shard.logged(len(self.logs[number]))
        return shard

    def crash(self) -> None:
        """Go on with shards that know only what is on the topics."""
        self.shards = [self._loaded(number) for number in range(self.partitions)]

    # What there is.

    def decoded(self, topic: str) -> list[Any]:
        return [self.codec.decode(it.value) for it in self.outputs if it.topic == topic and it.value is not None]

    @property
    def decided(self) -> list[CorrelationDecided]:
        return self.decoded("correlation-events")

    def posted(self) -> list[tuple[str, str]]:
        """Return WfRun and event id of all ExternalEvents that came by a key, in the order of their records."""
        return [(it.wf_run_id, it.external_event_id) for it in self.decoded("external-events")]

    def log(self, wf_run_id: str) -> list[LogEntry]:
        return [it for it in self.decoded("wf-events") if it.wf_run_id == wf_run_id]

    def keys(self) -> dict[str, list[str]]:
        """Return the ids of the WfRuns that have each key."""
        rows = {name: row for shard in self.shards for name, row in shard.correlations.items()}
        return {name: [it.wf_run_id for it in row.wf_runs] for name, row in rows.items() if row.wf_runs}

    def dead_letters(self) -> list[dict[str, str]]:
        letters = [it for it in self.outputs if it.topic == "dead-letters"]
        return [{name: value.decode() for name, value in it.headers} for it in letters]


KEYS, IDS = ("A7", "B8"), ("w0", "w1", "w2")
steps = st.lists(
    st.one_of(
        st.builds(
            RunWf, st.sampled_from(IDS), st.just("order"), st.fixed_dictionaries({"order": st.sampled_from(KEYS)})
        ),
        st.builds(CorrelatedEvent, st.sampled_from(KEYS), st.just("paid"), st.sampled_from(["e1", "e2", "e3", "e4"])),
        st.builds(
            ExternalEvent,
            st.sampled_from(IDS),
            st.just("rename"),
            st.uuids().map(str),
            st.sampled_from(["A7", "B8", ""]),
        ),
        st.builds(ExternalEvent, st.sampled_from(IDS), st.just("done"), st.just("d")),
        st.builds(DeleteWfRun, st.sampled_from(IDS)),
    ),
    max_size=25,
)


def after(commands: list[Any], seed: int) -> Shards:
    """Return shards that folded commands in an order that a seed gives, and crashed now and then."""
    chance, shards = random.Random(seed), Shards()
    for command in commands:
        shards.post(command)
        if chance.random() < 0.6:
            number = chance.randrange(3)
            topics = list(shards.factory.input_topics(number))
            chance.shuffle(topics)
            shards.turn(number, chance.randint(1, 3), topics, rows=chance.random() < 0.3)
        if chance.random() < 0.15:
            shards.crash()
    shards.run()
    shards.crash()
    shards.run()
    return shards
