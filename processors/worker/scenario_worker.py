"""The parts of a worker that runs a scenario (`halter scenario run --bootstrap`): its time and its topics.

The fold, the transactions and the restore are those of every worker. These differ: its input records bring their own
time (CreateTime), which the scenario sets; timers fire one at a time, each when the scenario lets it; limits and task
queues are the scenario's. All of that comes on standard input: one line of JSON that says what to work for, then one
line for each timer that may fire. When standard input ends, the process that ran the scenario is gone.

Such a worker refuses the topics of a real installation, since those keep the broker's time.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from processors.core.records.commands import CorrelationTimerFired, TimerFired
from processors.core.records.events import LogEntry
from processors.core.records.topic_names import CORRELATION_COMMANDS, EXTERNAL_EVENTS, QUEUE_PREFIX
from processors.core.rules.context import Limits
from processors.fold.inputs import ReadInput
from processors.fold.outputs import OutputRecord
from processors.fold.shard_fold import ShardFold
from processors.kafka.topics import Kind, Topics
from processors.runtime.group.clock import CLOCK

SLOT: Final = "scenario"
PARTITIONS: Final = 1
"""One shard, so that all outputs of a scenario have one order."""

LOOK_AGAIN_MS: Final = 5
"""The time that a worker with armed timers waits for records before it looks whether a timer may fire."""

OUT_AND_IN: Final = (CORRELATION_COMMANDS, EXTERNAL_EVENTS)
"""What a fold writes there is an input again. It has the time of the record that it comes of."""

UNLIMITED: Final = "9223372036854775807"


@dataclass(frozen=True, slots=True)
class Assignment:
    """The scenario that a worker works for: the first line of its standard input."""

    prefix: str
    queues: tuple[str, ...]
    limits: Limits

    def line(self) -> bytes:
        """Return it as one line."""
        fields = {"prefix": self.prefix, "queues": list(self.queues), "limits": asdict(self.limits)}
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> "Assignment":
        """Return the assignment of which `line` made a line."""
        fields: Mapping[str, Any] = json.loads(line)
        return cls(fields["prefix"], tuple(fields["queues"]), Limits(**fields["limits"]))


def topics_for(topics: Topics, queues: Iterable[str]) -> Topics:
    """Return the topics of a scenario: inputs keep the time of their records, nothing is too old, queues are added."""
    requests = topics[topics.task_requests]
    added = {queue: topics.prefix + QUEUE_PREFIX + queue for queue in queues if queue not in topics.task_queues}
    everything = [
        *topics.all,
        *(replace(requests, name=name, declared_name=QUEUE_PREFIX + queue) for queue, name in added.items()),
    ]
    timeless = []
    for topic in everything:
        configs = dict(topic.configs)
        if topic.kind is Kind.INPUT:
            configs["message.timestamp.type"] = "CreateTime"
            configs["message.timestamp.after.max.ms"] = UNLIMITED
        if "retention.ms" in configs:
            configs["retention.ms"] = "-1"
        timeless.append(replace(topic, configs=configs))
    return replace(topics, all=tuple(timeless), task_queues={**topics.task_queues, **added})


class ScenarioClock:
    """The time up to which one timer may fire; None: none may. The thread that reads standard input sets it."""

    def __init__(self) -> None:
        self.until_ms: int | None = None

    @staticmethod
    def line(until_ms: int) -> bytes:
        """Return the line that lets one timer fire that is due by then."""
        return json.dumps({"fire_until_ms": until_ms}).encode() + b"\n"

    def follow(self, lines: Iterable[bytes]) -> None:
        """Take line after line. The process ends with them."""
        for line in lines:
            self.until_ms = json.loads(line)["fire_until_ms"]
        os._exit(0)


class ScenarioFold(ShardFold):
    """A fold whose timers fire when the clock lets one, with the clock's time as the time of their records."""

    def __init__(self, clock: ScenarioClock, *parts: Any) -> None:
        super().__init__(*parts)
        self._clock = clock
        self._is_fired = False

    def due_timers(self, now_ms: int, limit: int) -> Sequence[OutputRecord]:  # noqa: ARG002  the scenario tells the time
        """Return one timer at most, and no other before that one is folded: each finds what the one before has left."""
        until_ms = self._clock.until_ms
        if until_ms is None or self._is_fired:
            return []
        timers = [record._replace(timestamp_ms=until_ms) for record in super().due_timers(until_ms, 1)]
        self._is_fired = bool(timers)
        return timers

    def next_timer_ms(self) -> int | None:
        """Return when to look again: the times of timers are not those of the clock on the wall."""
        return None if super().next_timer_ms() is None else CLOCK.now_ms() + LOOK_AGAIN_MS

    def fold(self, read: ReadInput) -> None:
        """Take a record. Inputs that come of it have its time."""
        first = len(self._outputs)
        super().fold(read)
        for at in range(first, len(self._outputs)):
            if self._outputs[at].topic in OUT_AND_IN:
                self._outputs[at] = self._outputs[at]._replace(timestamp_ms=read.record.timestamp_ms)
        if isinstance(read.decoded, CorrelationTimerFired):
            self._timer_is_folded()

    def _after_timer(self, fired: TimerFired, outcome: LogEntry, record_ms: int) -> None:
        super()._after_timer(fired, outcome, record_ms)
        self._timer_is_folded()

    def _timer_is_folded(self) -> None:
        self._clock.until_ms, self._is_fired = None, False
