"""Logs the reports of a task worker that had no effect: each is sent without waiting, and may be refused or skipped.

A thread of its own follows `wf-events`, but only in partitions that have undecided reports. It leaves a partition when
all its reports are decided; reports of one partition are folded in order, so an outcome shows that all reports before
are decided too. Of most records it reads only the first ten bytes.

The task worker does not wait for this thread, and no error of it harms the task worker (`side_thread`).
"""

import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from halter.task_worker.side_thread import AGAIN_SECONDS, REQUEST_SECONDS, SideThread, end_of, passes, records
from processors.codec import Codec, CodecError
from processors.core.records.events import LogEntry, RecordSkipped, Rejected, TaskAttemptEnded, TaskRequest
from processors.core.records.topic_names import TASK_REPORTS
from processors.kafka.settings import Settings

CLOCKS_DIFFER_MS: Final = 10_000
"""Largest difference between the clocks of two brokers. The log is read from that long before the first report."""
UNDECIDED_MAX: Final = 10_000
"""Largest number of undecided reports of a partition. If nobody folds, the oldest are forgotten."""
UNDECIDED_SECONDS_MAX: Final = 600.0
WITHOUT_EFFECT: Final = frozenset({Rejected.__name__, RecordSkipped.__name__})
"""Events that say that a record changed nothing. Ignored is left out: no report is ever ignored."""
OUTCOMES: Final = WITHOUT_EFFECT | {TaskAttemptEnded.__name__}
"""The outcomes of a report. Each is the first event that it causes."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """A report that Kafka has and whose outcome is not known."""

    partition: int
    offset: int
    time_ms: int
    request: TaskRequest
    since: float


class RefusedReports:
    """Waits for the outcomes of reports, and logs those that had no effect. Starts its thread at the first report."""

    def __init__(self, settings: Settings, codec: Codec, topic: str, group: str, log: Any) -> None:
        """`topic` is the name of wf-events on the cluster."""
        self._settings, self._codec, self._topic, self._group, self._log = settings, codec, topic, group, log
        self._new: deque[Undecided] = deque(maxlen=UNDECIDED_MAX)
        self._undecided: dict[int, deque[Undecided]] = {}
        """Reports of each partition, in order."""
        self._unread: dict[int, int] = {}
        """The time from which on to read, for each partition that is not read yet."""
        self._thread = SideThread(topic, "refused_reports_not_seen", log)

    def expect(self, report: Message, request: TaskRequest) -> None:
        """Note a report that was delivered. The thread does the rest."""
        if self._thread.is_over.is_set():
            self._new.clear()
            return
        partition, offset = report.partition(), report.offset()
        if partition is None or offset is None:
            return
        self._new.append(Undecided(partition, offset, report.timestamp()[1], request, time.monotonic()))
        self._thread.wanted.set()
        self._thread.start("refused-reports", self._new_consumer, self._follow)

    def close(self) -> None:
        """End the thread."""
        self._thread.close()

    def _new_consumer(self) -> Consumer:
        return Consumer(self._settings.consumer(group_id=self._group, fetch_wait_max_ms=500))

    def _follow(self, consumer: Consumer) -> None:
        self._remember()
        if not self._undecided:
            self._thread.wanted.wait()
            self._thread.wanted.clear()
            return
        if self._unread and not self._begins(consumer):
            self._thread.is_over.wait(AGAIN_SECONDS)
            return
        for message in records(consumer):
            with suppress(CodecError):  # a record of a later release
                self._take(message)
        self._leave_decided(consumer)

    def _remember(self) -> None:
        """Take over the reports that were delivered meanwhile."""
        while self._new:
            report = self._new.popleft()
            if report.partition not in self._undecided:
                self._undecided[report.partition] = deque(maxlen=UNDECIDED_MAX)
                self._unread[report.partition] = report.time_ms - CLOCKS_DIFFER_MS
            self._undecided[report.partition].append(report)

    def _begins(self, consumer: Consumer) -> bool:
        """Begin to read partitions that are not read yet. Return False if Kafka has not said from where on."""
        try:
            consumer.incremental_assign(self._starts(consumer))
        except KafkaException as exception:
            if not passes(exception):
                raise
            return False
        self._unread.clear()
        return True

    def _starts(self, consumer: Consumer) -> list[TopicPartition]:
        """The offsets from which on to read partitions. Raises KafkaException."""
        # Ask for the ends first: if no record is late enough yet, all that come after this answer must be read.
        ends = {it: end_of(consumer, TopicPartition(self._topic, it)) for it in self._unread}
        wanted = [TopicPartition(self._topic, partition, time_ms) for partition, time_ms in self._unread.items()]
        starts = consumer.offsets_for_times(wanted, REQUEST_SECONDS)
        for start in starts:
            if start.error is not None:
                raise KafkaException(start.error)
            if start.offset < 0:
                start.offset = ends[start.partition]
        return starts

    def _take(self, message: Message) -> None:
        value, partition = message.value(), message.partition()
        assert partition is not None
        undecided = self._undecided.get(partition)
        if value is None or not undecided:
            return
        name = self._codec.record_name(value)
        if name not in OUTCOMES:
            return
        (cause,) = self._codec.peek(value, name, ("cause",))
        if cause.topic != TASK_REPORTS:
            return
        while undecided and undecided[0].offset <= cause.offset:
            report = undecided.popleft()
            if name in WITHOUT_EFFECT and report.offset == cause.offset:
                entry = self._codec.decode(value)
                assert isinstance(entry, LogEntry)
                assert isinstance(entry.event, Rejected | RecordSkipped)
                self._tell(report.request, entry.event)

    def _tell(self, request: TaskRequest, event: Rejected | RecordSkipped) -> None:
        whose = {"wf_run_id": request.wf_run_id, "task_def": request.task_def, "attempt": request.attempt}
        match event:
            case Rejected():
                self._log.warning("report_refused", **whose, code=str(event.code), reason=event.message)
            case RecordSkipped():
                self._log.warning("report_skipped", **whose, operator=event.operator, reason=event.reason)

    def _leave_decided(self, consumer: Consumer) -> None:
        """Leave the partitions that have no undecided reports, or only old ones."""
        long_ago = time.monotonic() - UNDECIDED_SECONDS_MAX
        over = [
            partition for partition, reports in self._undecided.items() if not reports or reports[-1].since < long_ago
        ]
        if over:
            consumer.incremental_unassign([TopicPartition(self._topic, partition) for partition in over])
            for partition in over:
                del self._undecided[partition]
