"""Reads all topics again at the end of the demo, and checks what Halter promises.

    one outcome     every input record either caused entries on the log, all together in one place, or is one dead
                    letter, byte for byte; never both and never neither; and every outcome has an input
    no gaps         the events of a WfRun are numbered 1, 2, 3 …
    one request     every task attempt that the log requests is on task-requests once
    replay = rows   a replay of the log gives exactly the rows of the state topics
    folded to the end   the fold's positions are at the ends of its inputs

Rows follow the log, so this waits for them first. It uses nothing that was counted while the demo ran. It knows the
topics and `processors.core.rules.engine.replay`, and none of the code that wrote the topics.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Message

from halter.client.reading import FROM_THE_START, PartitionReader
from halter.demo.feed import RecordAddress
from halter.demo.watch import dead_letter_headers, source_of
from halter.scenarios.comparison import difference
from processors.codec import Codec
from processors.core.records.events import (
    DefinitionAccepted,
    DefinitionRejected,
    Ignored,
    LogEntry,
    Rejected,
    TaskAttemptRequested,
    TaskRequest,
)
from processors.core.records.fold_position import FoldPosition
from processors.core.records.model import NO_INCARNATION, ThreadRun, WfRun, WfRunExternalEvent
from processors.core.records.topic_names import DEAD_LETTERS, DEFINITION_COMMANDS, WF_EVENTS
from processors.core.rules.engine import new_run, replay
from processors.core.rules.indexing import index_of
from processors.fold.log_tail import LogTail
from processors.fold.rows import RowRecord, wf_run_of
from processors.kafka.topics import Topics

PROBLEMS_KEPT: Final = 20
ROWS_SECONDS: Final = 10.0
"""Time that rows may take to follow the log, once nothing else is to be folded: many times what a worker takes."""
LOOK_SECONDS: Final = 0.1
TWICE: Final = "{} has a second outcome at {}"

Attempt = tuple[str, int, int, int, int]


@dataclass
class Check:
    """One promise: how often it was checked, and where it does not hold."""

    promise: str
    looked_at: int = 0
    broken: int = 0
    problems: list[str] = field(default_factory=list)

    def expect(self, holds: bool, problem: str, *parts: object) -> None:
        """Check once. If the promise does not hold, the parts fill the `{}` of the problem."""
        self.looked_at += 1
        if not holds:
            self.broken += 1
            if len(self.problems) < PROBLEMS_KEPT:
                self.problems.append(problem.format(*parts))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Inputs that were refused for the same reason: their number, and one of them as an example."""

    what: str
    code: str
    count: int
    example: str
    address: RecordAddress


@dataclass
class Ledger:
    """The records of all topics, sorted for the checks. `LedgerReader.read` makes it."""

    inputs: dict[RecordAddress, Message] = field(default_factory=dict)
    outcomes: dict[RecordAddress, list[LogEntry]] = field(default_factory=dict)
    definition_outcomes: dict[RecordAddress, DefinitionAccepted | DefinitionRejected] = field(default_factory=dict)
    dead_letters: dict[RecordAddress, Message] = field(default_factory=dict)
    histories: dict[str, list[LogEntry]] = field(default_factory=dict)
    """WfRun id -> its entries, in order."""
    checks: list[Check] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Return True if every promise holds."""
        return all(not check.broken for check in self.checks)

    @property
    def events(self) -> Iterator[LogEntry]:
        """Yield all entries of the log."""
        for entries in self.histories.values():
            yield from entries

    def refusals(self) -> list[Refusal]:
        """Return the inputs that were rejected, ignored or dead-lettered, grouped by reason."""
        counts: Counter[tuple[str, str]] = Counter()
        examples: dict[tuple[str, str], tuple[str, RecordAddress]] = {}
        for address, entries in self.outcomes.items():
            event = entries[0].event
            if isinstance(event, Rejected):
                kind, sentence = (f"Rejected {event.code}", event.command), event.message
            elif isinstance(event, Ignored):
                kind, sentence = ("Ignored", event.command), event.reason
            else:
                continue
            counts[kind] += 1
            examples.setdefault(kind, (sentence, address))
        for address, message in self.dead_letters.items():
            headers = dead_letter_headers(message)
            kind = (f"dead letter {headers['reason']}", headers["topic"])
            counts[kind] += 1
            examples.setdefault(kind, (headers["message"], address))
        return [Refusal(what, code, counts[code, what], *examples[code, what]) for code, what in sorted(counts)]


class LedgerReader:
    """Reads all topics of an installation once, and checks them."""

    def __init__(self, reader: PartitionReader, topics: Topics, codec: Codec) -> None:
        self._reader, self._topics, self._codec = reader, topics, codec
        self._ledger = Ledger()
        self._requests: Counter[Attempt] = Counter()
        self._rows: dict[str, list[RowRecord]] = {}
        self._positions: dict[int, FoldPosition] = {}

    def read(self) -> Ledger:
        """Read all topics, then check every promise."""
        self._read_inputs()
        self._read_log()
        self._read_outcomes_of_definitions()
        self._read_dead_letters()
        self._read_task_requests()
        self._read_rows()
        self._ledger.checks = [
            self._one_outcome(),
            self._no_gaps(),
            self._one_request(),
            self._replay_equals_rows(),
            self._folded_to_the_end(),
        ]
        return self._ledger

    def wait_for_rows(self, seconds: float = ROWS_SECONDS) -> None:
        """Wait until the rows have followed the log. If they have not in time, the checks say what is missing."""
        deadline = time.monotonic() + seconds
        for partition in range(self._topics.partitions):
            while self._rows_are_behind(partition) and time.monotonic() < deadline:
                time.sleep(LOOK_SECONDS)

    def _rows_are_behind(self, partition: int) -> bool:
        newest: FoldPosition | None = None
        for message in self._reader.read(self._topics.fold_positions, partition, FROM_THE_START):
            row = self._codec.decode(message.value() or b"")
            assert isinstance(row, FoldPosition)
            newest = row
        if newest is None or newest.log_position is None:
            return False
        tail = LogTail(newest)
        log = self._reader.read(self._topics.wf_events, partition, newest.log_position)
        return any(tail.takes(self._entry(message).cause) for message in log)

    def _entry(self, message: Message) -> LogEntry:
        entry = self._codec.decode(message.value() or b"")
        assert isinstance(entry, LogEntry)
        return entry

    def _messages(self, topic: str) -> Iterator[Message]:
        for partition in range(self._topics[topic].partitions):
            yield from self._reader.read(topic, partition, FROM_THE_START)

    def _logical(self, topic: str) -> str:
        return topic.removeprefix(self._topics.prefix)

    def _read_inputs(self) -> None:
        for topic in (*self._topics.inputs, self._topics.definition_commands):
            for message in self._messages(topic):
                self._ledger.inputs[address_of(message, self._logical(topic))] = message

    def _read_log(self) -> None:
        check = self._together = Check("what one input caused stands together on the log, once")
        previous: tuple[int, RecordAddress] | None = None
        for message in self._messages(self._topics.wf_events):
            entry = self._entry(message)
            cause = (entry.cause.topic, entry.cause.partition, entry.cause.offset)
            entries = self._ledger.outcomes.setdefault(cause, [])
            here = (message.partition() or 0, cause)
            where = (WF_EVENTS, *here[:1], message.offset() or 0)
            check.expect(not entries or here == previous, TWICE, spelled(cause), spelled(where))
            entries.append(entry)
            previous = here
            self._ledger.histories.setdefault(entry.wf_run_id, []).append(entry)

    def _read_outcomes_of_definitions(self) -> None:
        for message in self._messages(self._topics.definition_events):
            outcome = self._codec.decode(message.value() or b"")
            assert isinstance(outcome, DefinitionAccepted | DefinitionRejected)
            address = (DEFINITION_COMMANDS, 0, outcome.cause.offset)
            first = address not in self._ledger.definition_outcomes
            self._together.expect(first, TWICE, spelled(address), f"definition-events@{message.offset()}")
            self._ledger.definition_outcomes[address] = outcome

    def _read_dead_letters(self) -> None:
        for message in self._messages(self._topics.dead_letters):
            address = source_of(message)
            where = address_of(message, DEAD_LETTERS)
            self._together.expect(address not in self._ledger.dead_letters, TWICE, spelled(address), spelled(where))
            self._ledger.dead_letters[address] = message

    def _read_task_requests(self) -> None:
        for message in self._messages(self._topics.task_requests):
            it = self._codec.decode(message.value() or b"")
            assert isinstance(it, TaskRequest)
            self._requests[it.wf_run_id, it.incarnation, it.thread, it.position, it.attempt] += 1

    def _read_rows(self) -> None:
        for topic in self._topics.state:
            latest: dict[bytes, bytes | None] = {}
            for message in self._messages(topic):
                latest[message.key() or b""] = message.value()
            for value in latest.values():
                if value is None:
                    continue
                row = self._codec.decode(value)
                if isinstance(row, FoldPosition):
                    self._positions[row.partition] = row
                else:
                    assert isinstance(row, WfRun | ThreadRun | WfRunExternalEvent)
                    self._rows.setdefault(row.wf_run_id, []).append(row)

    def _one_outcome(self) -> Check:
        ledger = self._ledger
        check = Check("every input has exactly one outcome", broken=self._together.broken)
        check.problems = list(self._together.problems)
        for address, message in ledger.inputs.items():
            found = sum(address in kind for kind in (ledger.outcomes, ledger.definition_outcomes, ledger.dead_letters))
            check.expect(found == 1, "{} has {} outcomes", spelled(address), found)
            entries = ledger.outcomes.get(address, [])
            if any(isinstance(entry.event, Rejected | Ignored) for entry in entries):
                check.expect(len(entries) == 1, "{} was refused and had effects", spelled(address))
            if (dead := ledger.dead_letters.get(address)) is not None:
                same = (dead.key() or b"", dead.value()) == (message.key() or b"", message.value())
                check.expect(same, "{} was changed on its way to dead-letters", spelled(address))
        for address in (*ledger.outcomes, *ledger.definition_outcomes, *ledger.dead_letters):
            check.expect(address in ledger.inputs, "{} has an outcome, but is not there", spelled(address))
        check.looked_at = len(ledger.inputs)
        return check

    def _no_gaps(self) -> Check:
        check = Check("the events of each WfRun are numbered 1, 2, 3 … without a gap")
        for wf_run_id, entries in self._ledger.histories.items():
            newest: dict[int, int] = {}
            for entry in entries:
                expected = 0 if entry.incarnation == NO_INCARNATION else newest.get(entry.incarnation, 0) + 1
                check.expect(
                    entry.seq == expected, "WfRun {}: expected event {}, found {}", wf_run_id, expected, entry.seq
                )
                newest[entry.incarnation] = entry.seq
        return check

    def _one_request(self) -> Check:
        check = Check("every task attempt was requested exactly once")
        wanted: Counter[Attempt] = Counter()
        for entry in self._ledger.events:
            event = entry.event
            if isinstance(event, TaskAttemptRequested):
                wanted[entry.wf_run_id, entry.incarnation, event.thread, event.position, event.attempt] += 1
        for attempt in wanted.keys() | self._requests.keys():
            on_log, requested = wanted[attempt], self._requests[attempt]
            sentence = "attempt {}: {} times on the log, {} times on task-requests"
            check.expect((on_log, requested) == (1, 1), sentence, attempt, on_log, requested)
        return check

    def _replay_equals_rows(self) -> Check:
        check = Check("replaying the log of each WfRun gives its rows")
        for wf_run_id in self._ledger.histories.keys() | self._rows.keys():
            problem = self._differs(wf_run_id)
            check.expect(problem is None, "WfRun {}: {}", wf_run_id, problem)
        return check

    def _differs(self, wf_run_id: str) -> str | None:
        rows = self._rows.get(wf_run_id, [])
        from_rows = wf_run_of(wf_run_id, rows)
        try:
            replayed = replay(self._ledger.histories.get(wf_run_id, []), new_run(wf_run_id))
        except Exception as error:  # noqa: BLE001  a wrong log may break the replay anywhere
            return f"its log cannot be replayed: {error!r}"
        if not rows:
            return None if not replayed.exists and not replayed.external_events else "it has no rows"
        from_rows.index, replayed.index = index_of(from_rows), index_of(replayed)
        if not from_rows.exists:
            # A WfRun that was not started has no row of its own: only its ExternalEvents have rows.
            return None if from_rows.external_events == replayed.external_events else "its ExternalEvents differ"
        return difference(replayed, from_rows)

    def _folded_to_the_end(self) -> Check:
        check = Check("all inputs are folded to their ends")
        for topic, partition, offset in self._ledger.inputs:
            position = self._positions.get(partition)
            folded = 0 if position is None else position.offsets.get(topic, 0)
            check.expect(folded > offset, "{}: folded up to {}", spelled((topic, partition, offset)), folded)
        return check


def address_of(message: Message, topic: str) -> RecordAddress:
    """Return the address of a record. `topic` is its topic without the prefix."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return topic, partition, offset


def spelled(address: RecordAddress) -> str:
    """Return an address as text: `external-events[3]@41`."""
    return f"{address[0]}[{address[1]}]@{address[2]}"
