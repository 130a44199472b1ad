"""A tape without Kafka: the engine's shards fold a script turn by turn, as workers that never die would do it.

It is for tests of the verdict, on a right tape and on one that was changed afterwards.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from random import Random
from typing import Final

from processors.codec import Codec
from processors.core.records.commands import ReportTaskRun
from processors.core.records.model import TaskStatus
from processors.core.records.values import Value
from processors.fold.definitions_view import DefinitionsView
from processors.fold.inputs import InputRecord, ReadInput
from processors.fold.outputs import OutputRecord
from processors.fold.shard_folds import ShardFolds
from processors.kafka.partitioner import partition_of
from tests.chaos.avro import decode, row
from tests.chaos.script import Posting, Script, definition_commands, posting
from tests.chaos.tape import INPUTS, LOG, TASK_REQUESTS, TOPICS, Tape, TapeRecord
from tests.chaos.timers import attempt_of

START_MS: Final = 1_767_225_600_000
STEP_MS: Final = 40
"""The time between two turns: as much as between two steps of the load."""
OUTPUTS: Final[Mapping[str, Value]] = {"charge": "a receipt", "load": 7, "compute": 3}
ROWS_SHARE: Final = 0.4
"""How often rows are written with records. They are written with each turn that has none."""
TASK_MS: Final = 800
"""How long an attempt takes, so that others interrupt it."""


class MemoryInstallation:
    """All shards of an installation, and its topics as a tape."""

    def __init__(self, partitions: int = 2, release: str | None = None) -> None:
        """`release` is the version whose schemas are written."""
        self.now_ms = START_MS
        self.tape = Tape(partitions, {topic: defaultdict(list) for topic in TOPICS})
        codec = Codec.load(release=release)
        self._view = DefinitionsView(codec)
        factory = ShardFolds(partitions, codec, self._view)
        self._shards = [factory.create(partition) for partition in range(partitions)]
        self._random = Random(partitions)
        self._folded: dict[tuple[str, int], int] = defaultdict(int)
        self._requested: dict[int, int] = defaultdict(int)

    def run(self, seed: int, steps: int, first: Iterable[Posting] = ()) -> Tape:
        """Post some records and a script, then let time pass until nothing moves."""
        self._turn(map(posting, definition_commands()))
        self._turn(first)
        for step in islice(Script(seed), steps):
            self._turn(step.postings * 2 if step.way == "again" else step.postings if step.commit else ())
        still = 0
        while still < 100:
            still = 0 if self._turn(()) else still + 1
        self.tape.read_at_ms = self.now_ms
        return self.tape

    def _turn(self, postings: Iterable[Posting]) -> int:
        self.now_ms += STEP_MS
        for it in postings:
            self._append(it.topic, self._partition(it), it.key, it.value, self.now_ms)
        for key, report in self._reports():
            self._append("task-reports", partition_of(key, self.tape.partitions), key, report, self.now_ms)
        folded = 0
        for partition, shard in enumerate(self._shards):
            outputs = [*shard.due_timers(self.now_ms, 1_000)]
            for record in self._unfolded(partition):
                shard.fold(ReadInput(record))
                folded += 1
            written = [*shard.take_outputs(rows=self._random.random() < ROWS_SHARE or not folded), *outputs]
            for output in written:
                self._write(output)
            if log := self.tape.topics[LOG][partition]:
                shard.logged(log[-1].offset + 1)
        return folded

    def _reports(self) -> Iterator[tuple[bytes, bytes]]:
        """Report an attempt: every third fails, and every sixth is never reported."""
        for partition, records in list(self.tape.topics[TASK_REQUESTS].items()):
            for record in records[self._requested[partition] :]:
                if record.timestamp_ms > self.now_ms - TASK_MS:
                    break
                self._requested[partition] += 1
                request = decode(record.value or b"")[1]
                luck = (request["position"] + request["attempt"] + request["thread"]) % 6
                if luck == 0 or request["task_def"] == "silent":
                    continue
                status = TaskStatus.FAILED if luck % 3 == 0 else TaskStatus.SUCCESS
                output = OUTPUTS.get(request["task_def"])
                result = None if status is TaskStatus.FAILED else output
                yield record.key or b"", row(ReportTaskRun(*attempt_of(request), status=status, output=result))

    def _partition(self, it: Posting) -> int:
        if it.topic == "definition-commands":
            return 0
        return it.partition if it.partition >= 0 else partition_of(it.key or b"", self.tape.partitions)

    def _append(self, topic: str, partition: int, key: bytes | None, value: bytes | None, time_ms: int) -> None:
        records = self.tape.topics[topic][partition]
        records.append(TapeRecord(len(records), time_ms, key, value))

    def _write(self, output: OutputRecord) -> None:
        records = self.tape.topics[output.topic][output.partition]
        time_ms = self.now_ms if output.timestamp_ms is None else output.timestamp_ms
        records.append(TapeRecord(len(records), time_ms, output.key, output.value, output.headers))
        if output.topic == "definitions":
            self._view.apply(output.key or b"", output.value, len(records))

    def _unfolded(self, partition: int) -> Iterator[InputRecord]:
        for topic in INPUTS:
            if topic == "definition-commands" and partition != 0:
                continue
            records = self.tape.topics[topic][partition]
            for record in records[self._folded[topic, partition] :]:
                yield InputRecord(topic, partition, *record[:4], record.headers)
            self._folded[topic, partition] = len(records)
