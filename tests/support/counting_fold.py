"""The smallest fold that can prove a runtime wrong: it counts the records of each key, over all inputs.

Every record becomes one event on `wf-events`, with its cause and the key's count, and one row in `wf-runs`. So a count
that is doubled, missing or out of order shows on the log, whatever the reason. Inputs are JSON objects. These fields
have effects:

- `boom`: the fold raises;
- `requires`: the position of `definitions` that the producer saw; the event has the position that the fold saw;
- `timer_ms`: arms a timer, which comes back on `wf-commands` as a record with `fired`;
- `slow_s`: the fold takes that long.
"""

import time
from collections.abc import Mapping, Sequence

import orjson

from processors.fold.inputs import Headers, InputRecord, ReadInput
from processors.fold.outputs import OutputRecord

WF_COMMANDS, WF_EVENTS, WF_RUNS, TIMERS = "wf-commands", "wf-events", "wf-runs", "thread-runs"
DEFINITION_COMMANDS, DEFINITIONS, FOLD_POSITIONS = "definition-commands", "definitions", "fold-positions"
SHARED_INPUTS = (WF_COMMANDS, "external-events", "task-reports")


class RuleBroke(Exception):
    """The exception that a bug in a rule raises."""


class CountingDefinitions:
    """The shared view of definitions: name -> value."""

    def __init__(self) -> None:
        self.position = 0
        self.values: dict[bytes, bytes | None] = {}
        self._begun: dict[bytes, float] = {}

    def prepare(self, value: bytes | None) -> bool:
        """Apply a definition, after the seconds that it names itself."""
        if value is None or b'"read_s"' not in value:
            return True
        begun = self._begun.setdefault(value, time.monotonic())
        return time.monotonic() - begun >= float(orjson.loads(value)["read_s"])

    def read_newest(self) -> None:
        pass

    def apply(self, key: bytes, value: bytes | None, next_position: int) -> None:
        self.values[key], self.position = value, next_position


class CountingFactory:
    """Makes counting folds over the real topics."""

    def __init__(self, definitions: CountingDefinitions) -> None:
        self.definitions = definitions

    def input_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        own = [(DEFINITION_COMMANDS, 0)] if partition == 0 else []
        return [*((topic, partition) for topic in SHARED_INPUTS), *own]

    def state_topics(self, partition: int) -> Sequence[tuple[str, int]]:
        own = [(DEFINITIONS, 0)] if partition == 0 else []
        return [*((topic, partition) for topic in (WF_RUNS, TIMERS, FOLD_POSITIONS)), *own]

    def log(self, partition: int) -> tuple[str, int]:
        return WF_EVENTS, partition

    def describe(self, record: InputRecord) -> tuple[str | None, str | None]:
        return (record.key or b"").decode() or None, None

    def create(self, partition: int) -> "CountingFold":
        return CountingFold(partition, self.definitions)


class CountingFold:
    """A fold that counts per key."""

    def __init__(self, partition: int, definitions: CountingDefinitions) -> None:
        self.partition = partition
        self.offsets: dict[str, int] = {}
        self.definitions_position = 0
        self._definitions = definitions
        self._counts: dict[bytes, int] = {}
        self._timers: dict[bytes, int] = {}
        self._handed_out: set[bytes] = set()
        self._events: list[OutputRecord] = []
        self._changed: dict[bytes, None] = {}

    broken = ()
    files = None
    quarantined = 0
    is_full = False
    restores_headers = False

    def restore(self, topic: str, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._timers.pop(key, None)
            return
        match topic:
            case "wf-runs":
                self._counts[key] = orjson.loads(value)["count"]
            case "thread-runs":
                self._timers[key] = orjson.loads(value)["due_ms"]
            case "fold-positions":
                self.offsets = orjson.loads(value)
                self.definitions_position = self.offsets.pop(DEFINITIONS, 0)

    def restore_headers(self, key: bytes, headers: Headers) -> None:
        pass

    def check(self, at_most: int) -> bool:  # noqa: ARG002
        return False

    def restored(self) -> None:
        assert not self._events

    def begin(self, offsets: Mapping[str, int]) -> None:
        self.offsets = {**offsets, **self.offsets}

    def read(self, record: InputRecord) -> ReadInput:
        value = record.value or b"{}"
        seen = int(orjson.loads(value).get("requires", 0)) if b'"requires"' in value else 0
        return ReadInput(record, None, seen, may_lack_definition=b'"lacks"' in value)

    def see_coming(self, read: ReadInput) -> None:
        pass

    def decide_ahead(self, reads: Sequence[ReadInput]) -> Sequence[ReadInput]:  # noqa: ARG002
        return []

    def fold(self, read: ReadInput) -> None:
        record = read.record
        key, fields = record.key or b"", orjson.loads(record.value or b"{}")
        if fields.get("boom"):
            raise RuleBroke("told to")
        if slow := fields.get("slow_s"):
            time.sleep(slow)
        self.offsets[record.topic] = record.offset + 1
        if record.topic == DEFINITION_COMMANDS:
            self._events.append(OutputRecord(DEFINITIONS, 0, key, record.value))
            return
        count = self._counts[key] = self._counts.get(key, 0) + 1
        self._changed[key] = None
        event = {
            "key": key.decode(),
            "count": count,
            "cause": [record.topic, record.partition, record.offset],
            "definitions": self._definitions.position if fields.keys() & {"requires", "lacks"} else None,
            "input": fields,
        }
        headers = (("event", b"Counted"),)
        self._events.append(OutputRecord(WF_EVENTS, self.partition, key, orjson.dumps(event), headers))
        if "timer_ms" in fields:
            self._timers[key] = fields["timer_ms"]
            row = orjson.dumps({"due_ms": fields["timer_ms"]})
            self._events.append(OutputRecord(TIMERS, self.partition, key, row))
        if "fired" in fields and key in self._timers:
            del self._timers[key]
            self._handed_out.discard(key)
            self._events.append(OutputRecord(TIMERS, self.partition, key, None))

    def due_timers(self, now_ms: int, limit: int) -> Sequence[OutputRecord]:
        due = [key for key, due_ms in self._timers.items() if due_ms <= now_ms and key not in self._handed_out][:limit]
        self._handed_out.update(due)
        return [OutputRecord(WF_COMMANDS, self.partition, key, b'{"fired":true}') for key in due]

    def next_timer_ms(self) -> int | None:
        return min((due for key, due in self._timers.items() if key not in self._handed_out), default=None)

    unwritten = 0
    log_position = None

    def replay(self, key: bytes, value: bytes | None) -> None:  # noqa: ARG002  it has nothing to replay
        raise AssertionError("the rows have everything")

    def replayed(self) -> None:
        pass

    def logged(self, position: int) -> None:
        pass

    def take_outputs(self, *, rows: bool) -> Sequence[OutputRecord]:
        rows = [OutputRecord(WF_RUNS, self.partition, key, self._row(key)) for key in self._changed]
        self.definitions_position = self._definitions.position
        position = orjson.dumps({**self.offsets, DEFINITIONS: self.definitions_position})
        outputs = [*self._events, *rows, OutputRecord(FOLD_POSITIONS, self.partition, b"%d" % self.partition, position)]
        self._events, self._changed = [], {}
        return outputs

    def committed(self) -> None:
        pass  # a turn that is folded meanwhile may have broken off, and left events that nobody takes

    def _row(self, key: bytes) -> bytes:
        return orjson.dumps({"count": self._counts[key]})


def count_of(row: bytes) -> int:
    """Return a row of `wf-runs`."""
    fields: Mapping[str, int] = orjson.loads(row)
    return fields["count"]
