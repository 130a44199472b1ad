"""What a worker measures of its turns, for metrics: rates, times, and how far each of its shards is behind.

Each field has one thread that writes it, the Kafka thread or the event loop. Any thread may read it, at any time, and
nobody waits. A worker that answers no probes has no Measures.

How far a shard is behind follows from what the client knows of each partition of its inputs (`behind`), so no broker is
asked. The oldest record that is not folded is the first one of the newest turn, until the client says that everything
there is was folded.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from processors.measuring import LONG_SECONDS, Histogram
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.names import ShardTopics
from processors.runtime.turn.figures import Figures
from processors.runtime.turn.pauses import Pauses
from processors.runtime.turn.shards import OwnedShard
from processors.runtime.turn.turn import Turn


class Measures:
    """The measurements of one worker."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        self._clock = clock
        self.figures = Figures()
        self.records: Counter[str] = Counter()
        """Topic, without the prefix -> records that were folded, and whose outputs are committed."""
        self.turn_seconds, self.fold_seconds, self.commit_seconds = Histogram(), Histogram(), Histogram()
        self.load_seconds = Histogram(LONG_SECONDS)
        self._lag: dict[tuple[str, int], int] = {}
        self._oldest_ms: dict[int, int] = {}

    # Questions.

    def lag(self, shards: Collection[int]) -> Mapping[tuple[str, int], int]:
        """Return for these shards how many offsets each of their inputs, by topic and partition, is behind.

        0 if every record was folded: the marks of transactions alone do not count.
        """
        return {place: offsets for place, offsets in dict(self._lag).items() if place[1] in shards}

    def oldest_seconds(self, shards: Collection[int]) -> Mapping[int, float]:
        """Return the age of the oldest record that is not folded, by shard; 0 where there is none."""
        oldest, now_ms = dict(self._oldest_ms), self._clock.now_ms()
        return {shard: max(0, now_ms - oldest.get(shard, now_ms)) / 1_000 for shard in shards}

    # What the parts of the runtime tell.

    def began(self, turn: Turn) -> None:
        """Note a turn that was polled."""
        turn.begun = self._clock.monotonic()
        for part in turn.parts:
            if part.reads:
                self._oldest_ms[part.shard.number] = part.reads[0].record.timestamp_ms

    def committed(self, turn: Turn, seconds: float) -> None:
        """Note a turn that was committed, in so many seconds."""
        self.commit_seconds.observe(seconds)
        self.turn_seconds.observe(self._clock.monotonic() - turn.begun)
        for part in turn.parts:
            self.records.update([read.record.topic for read in part.reads[: part.folded]])

    def heard(self, statistics: str, shards: Collection[OwnedShard], names: ShardTopics, pauses: Pauses) -> None:
        """Take what the client says of its partitions: librdkafka's statistics, in JSON. Nothing is being folded.

        From a paused shard nearly nothing is fetched, so the client does not know how far it is behind: it keeps the
        last value, with the record at which it stands.
        """
        topics: Mapping[str, Any] = json.loads(statistics).get("topics", {})
        lag: dict[tuple[str, int], int] = {}
        oldest_ms: dict[int, int] = {}
        for shard in shards:
            stops = pauses.of(shard.number).stops if shard.number in pauses else None
            for topic, number in names.inputs(shard.number):
                logical = names.logical(topic)
                if stops is not None:
                    folded = shard.fold.offsets[logical]
                    stands = stops.get(logical, folded - 1) + 1 - folded
                    lag[logical, shard.number] = max(stands, self._lag.get((logical, shard.number), 0))
                    continue
                of_partition = topics.get(topic, {}).get("partitions", {}).get(str(number))
                if of_partition is not None:
                    lag[logical, shard.number] = behind(of_partition, shard.fold.offsets[logical])
            if any(lag.get((names.logical(topic), shard.number)) for topic, _ in names.inputs(shard.number)):
                oldest_ms[shard.number] = self._oldest_ms.get(shard.number, self._clock.now_ms())
        self._lag, self._oldest_ms = lag, oldest_ms


def behind(of_partition: Mapping[str, int], folded: int) -> int:
    """Return how many offsets of a partition are not folded. `folded` is the next offset to fold.

    The end of a partition that is written in transactions has marks, which nobody can fold. So what counts is whether
    the client has given out everything up to the end, and whether that was folded.
    """
    end = of_partition.get("ls_offset", -1)
    has_read_all = of_partition.get("next_offset", -1) >= end and not of_partition.get("fetchq_cnt", 0)
    if has_read_all and of_partition.get("app_offset", -1) <= folded:
        return 0
    return max(0, end - folded)
