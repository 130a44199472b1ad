"""Follows the topics of an installation as a consumer: outcomes, rows, task requests, definitions. Committed only.

This module knows topics and records, and no rule. Any other consumer of the topics would find the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition

# Public names that its type hints forget.
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from processors.codec import Codec
from processors.core.records.commands import CorrelationTimerFired, ExternalEvent, TimerFired
from processors.core.records.events import (
    CorrelationDecided,
    DefinitionAccepted,
    DefinitionRejected,
    LogEntry,
    TaskRequest,
)
from processors.core.records.fold_position import FoldPosition
from processors.core.records.model import Correlation, ThreadRun, WfRun, WfRunExternalEvent
from processors.core.records.topic_names import (
    CORRELATED_EVENTS,
    CORRELATION_COMMANDS,
    DEFINITION_COMMANDS,
    EXTERNAL_EVENTS,
    TASK_REPORTS,
    WF_COMMANDS,
)
from processors.fold.definitions_view import DefinitionsView
from processors.fold.log_tail import wf_run_at_end
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics

FETCH_WAIT_MS: Final = 5
"""How long the broker may hold a fetch. Kept short: after each record the view waits for the end of the partition."""

BATCH: Final = 1_000
REQUEST_SECONDS: Final = 10.0
_CO_PARTITIONED: Final = (WF_COMMANDS, EXTERNAL_EVENTS, TASK_REPORTS)
RecordAddress = tuple[str, int]
"""Topic without the prefix, and offset. Every topic has one partition here."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The identity of a task attempt, as a request has it and a report must name it."""

    wf_run_id: str
    incarnation: int
    thread: int
    position: int
    number: int


class View:
    """A consumer of all topics of an installation, each with one partition. A context manager."""

    def __init__(self, settings: Settings, topics: Topics, codec: Codec) -> None:
        self._settings, self._codec, self._prefix = settings, codec, topics.prefix
        self.definitions = DefinitionsView(codec)
        self.definition_outcomes: dict[int, DefinitionAccepted | DefinitionRejected] = {}
        """Offset of a definition command -> its outcome."""
        self.posted: dict[str, list[int]] = {
            topic: [] for topic in (*_CO_PARTITIONED, CORRELATED_EVENTS, CORRELATION_COMMANDS, DEFINITION_COMMANDS)
        }
        """Topic without the prefix -> the offsets of the records posted to it, in order; not those of timers."""
        self.events: dict[int, ExternalEvent] = {}
        """Offset -> ExternalEvent, those that came by key included."""
        self.decided: dict[RecordAddress, list[CorrelationDecided]] = {}
        """Address of a record about a correlation key -> what became of it."""
        self.correlations: dict[bytes, Correlation] = {}
        """Key of a row -> the row."""
        self.fired: list[tuple[int, TimerFired]] = []
        """The timers that have fired, each with the offset of its record."""
        self.fired_of_keys: list[int] = []
        """The offsets of the timers of correlation keys that have fired."""
        self.requests: dict[Attempt, TaskRequest] = {}
        self.dead_letters: dict[RecordAddress, str] = {}
        """Address of a record on dead-letters -> why it is there."""
        self._outcomes: dict[RecordAddress, list[LogEntry]] = {}
        self._newest: RecordAddress | None = None
        self._log: dict[str, list[tuple[int, LogEntry]]] = {}
        """WfRun id -> its entries, each with its offset."""
        self._decided: dict[str, int] = {}
        """Topic without the prefix -> the last offset whose outcome is on the log."""
        self._position: FoldPosition | None = None
        self._rows: dict[str, WfRun] = {}
        self._threads: dict[str, dict[int, ThreadRun]] = {}
        self._external_events: dict[str, dict[bytes, WfRunExternalEvent]] = {}
        self._finished: dict[str, dict[int, ThreadRun]] = {}
        self._taking: dict[str, Callable[[Message], None]] = {
            topics.wf_events: self._take_entry,
            **dict.fromkeys(
                (*topics.inputs, topics.correlated_events, topics.correlation_commands, topics.definition_commands),
                self._take_input,
            ),
            topics.correlation_events: self._take_decided,
            topics.correlations: self._take_correlation,
            topics.definition_events: self._take_definition_outcome,
            topics.definitions: self._take_definition,
            topics.wf_runs: self._take_wf_run,
            topics.thread_runs: self._take_thread_run,
            topics.wf_run_external_events: self._take_external_event,
            topics.fold_positions: self._take_position,
            topics.dead_letters: self._take_dead_letter,
            **dict.fromkeys((topics.task_requests, *topics.task_queues.values()), self._take_request),
        }
        self._log_topic = topics.wf_events
        self._log_is_at_end = False
        self._read = dict.fromkeys(self._taking, 0)
        self._admin = AdminClient(settings.admin())
        self._consumer = Consumer(
            settings.consumer(group_id=topics.reader_group, enable_partition_eof=True, fetch_wait_max_ms=FETCH_WAIT_MS)
        )
        # Asked now, the consumer knows the leaders of the partitions; finding out while fetching takes half a second.
        self._consumer.list_topics(timeout=REQUEST_SECONDS)
        self._consumer.assign([TopicPartition(topic, 0, 0) for topic in self._taking])

    def poll(self, seconds: float) -> None:
        """Read the records that have come. If none has, wait for the first for so many seconds."""
        first = self._consumer.poll(seconds)
        for message in [] if first is None else [first, *self._consumer.consume(BATCH, 0)]:
            topic, offset = message.topic(), message.offset()
            assert topic is not None
            assert offset is not None
            error = message.error()
            if error is None:
                self._taking[topic](message)
                self._read[topic] = offset + 1
                self._log_is_at_end = self._log_is_at_end and topic != self._log_topic
            elif error.code() == KafkaError._PARTITION_EOF:
                self._read[topic] = offset
                self._log_is_at_end = self._log_is_at_end or topic == self._log_topic
            else:
                raise self._settings.explain(KafkaException(error), f"reading '{topic}'")

    def ends(self) -> dict[str, int]:
        """Return the offsets at which the topics end now, open transactions included."""
        partitions = [TopicPartition(topic, 0) for topic in self._taking]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        with self._settings.explaining("asking for the ends of topics", self._admin):
            found = self._admin.list_offsets(
                dict.fromkeys(partitions, latest),
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
                request_timeout=REQUEST_SECONDS,
            )
            return {partition.topic: future.result().offset for partition, future in found.items()}

    def has_read(self, ends: dict[str, int]) -> bool:
        """Return True if everything before those ends was read."""
        return all(self._read[topic] >= end for topic, end in ends.items())

    def rows_have_followed(self) -> bool:
        """Return True if the rows have everything that the log has, as far as it was read."""
        folded = {} if self._position is None else self._position.offsets
        return all(folded.get(topic, 0) > offset for topic, offset in self._decided.items())

    def outcome(self, address: RecordAddress) -> list[LogEntry] | None:
        """Return the entries that a record caused; None as long as they are not known, or not all of them."""
        if address == self._newest and not self._log_is_at_end:
            return None
        return self._outcomes.get(address)

    def wf_run(self, wf_run_id: str) -> WfRun | None:
        """Return a WfRun assembled from its rows and the log behind them; None if there is nothing under its id.

        Right if the rows have followed, or nothing is written any more.
        """
        own = self._rows.get(wf_run_id)
        threads = self._threads.get(wf_run_id, {}).values()
        events = self._external_events.get(wf_run_id, {}).values()
        behind = None if self._position is None else self._position.log_position
        log = [] if behind is None else self._log.get(wf_run_id, [])
        tail = (entry for offset, entry in log if offset >= (behind or 0))
        return wf_run_at_end(wf_run_id, [*([] if own is None else [own]), *threads, *events], self._position, tail)

    def wf_runs(self) -> Iterable[WfRun]:
        """Return all WfRuns."""
        runs = (self.wf_run(wf_run_id) for wf_run_id in dict.fromkeys((*self._rows, *self._log)))
        return (run for run in runs if run is not None)

    def finished(self, wf_run_id: str) -> dict[int, ThreadRun]:
        """Return the last rows of the threads that have left the hot state."""
        return self._finished.get(wf_run_id, {})

    def forget_finished(self, wf_run_id: str) -> None:
        """Forget the finished threads of a deleted WfRun: its tombstones look like those of threads that finish."""
        self._finished.pop(wf_run_id, None)

    def _decoded(self, message: Message) -> Any:
        value = message.value()
        return None if value is None else self._codec.decode(value)

    def _take_entry(self, message: Message) -> None:
        entry: LogEntry = self._decoded(message)
        self._log.setdefault(entry.wf_run_id, []).append((message.offset() or 0, entry))
        self._decided[entry.cause.topic] = max(self._decided.get(entry.cause.topic, 0), entry.cause.offset)
        self._newest = (entry.cause.topic, entry.cause.offset)
        self._outcomes.setdefault(self._newest, []).append(entry)

    def _take_input(self, message: Message) -> None:
        topic, offset, command = message.topic(), message.offset(), self._decoded(message)
        assert topic is not None
        assert offset is not None
        if isinstance(command, TimerFired):
            self.fired.append((offset, command))
        elif isinstance(command, CorrelationTimerFired):
            self.fired_of_keys.append(offset)
        else:
            if isinstance(command, ExternalEvent):
                self.events[offset] = command
            self.posted[topic.removeprefix(self._prefix)].append(offset)

    def _take_decided(self, message: Message) -> None:
        decided: CorrelationDecided = self._decoded(message)
        self.decided.setdefault((decided.cause.topic, decided.cause.offset), []).append(decided)

    def _take_correlation(self, message: Message) -> None:
        row: Correlation | None = self._decoded(message)
        if row is None:
            self.correlations.pop(key_of(message), None)
        else:
            self.correlations[key_of(message)] = row

    def _take_definition_outcome(self, message: Message) -> None:
        outcome: DefinitionAccepted | DefinitionRejected = self._decoded(message)
        self.definition_outcomes[outcome.cause.offset] = outcome

    def _take_definition(self, message: Message) -> None:
        offset = message.offset()
        assert offset is not None
        self.definitions.apply(key_of(message), message.value(), offset + 1)

    def _take_wf_run(self, message: Message) -> None:
        wf_run_id = key_of(message).decode()
        row: WfRun | None = self._decoded(message)
        if row is None:
            self._rows.pop(wf_run_id, None)
        else:
            self._rows[wf_run_id] = row

    def _take_thread_run(self, message: Message) -> None:
        wf_run_id, _, number = key_of(message).decode().rpartition("/")
        row: ThreadRun | None = self._decoded(message)
        threads = self._threads.setdefault(wf_run_id, {})
        if row is not None:
            threads[int(number)] = row
        elif (last := threads.pop(int(number), None)) is not None:
            self._finished.setdefault(wf_run_id, {})[last.number] = last

    def _take_external_event(self, message: Message) -> None:
        key = key_of(message)
        row: WfRunExternalEvent | None = self._decoded(message)
        rows = self._external_events.setdefault(key.decode().partition("/")[0], {})
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row

    def _take_position(self, message: Message) -> None:
        self._position = self._decoded(message)

    def _take_request(self, message: Message) -> None:
        request: TaskRequest = self._decoded(message)
        attempt = Attempt(request.wf_run_id, request.incarnation, request.thread, request.position, request.attempt)
        self.requests[attempt] = request

    def _take_dead_letter(self, message: Message) -> None:
        headers = {name: value.decode() for name, value in message.headers() or ()}  # type: ignore[str-unpack,union-attr]
        address = headers["halter.topic"], int(headers["halter.offset"])
        self.dead_letters[address] = f"{headers['halter.reason']}: {headers['halter.message']}"

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def key_of(message: Message) -> bytes:
    """Return the key of a record. All records of Halter's topics have one."""
    key = message.key()
    assert isinstance(key, bytes)
    return key
