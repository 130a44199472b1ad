"""One run of a task worker: a member of the group of its queue, from joining to leaving.

The thread of the caller polls and commits. Handlers run in the threads of `Runners`. What is sent about them, and when
their requests are finished, `Reports` says in a thread of its own. So a slow handler holds up neither the group nor
another handler, and nothing is committed before Kafka has the report. `Cancellations` hears in another thread which
attempts are of no use any more.

When the group gives partitions to another task worker, attempts that run go on. For a short while we wait for them, so
that they need not run again, then we commit.
"""

import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from halter.client import Client
from halter.client.registry import until_answered, until_prepared
from halter.client.workers import id_of_task_worker
from halter.task_worker.attempts import Attempts
from halter.task_worker.cancellations import Cancellations
from halter.task_worker.conduct import Conduct
from halter.task_worker.handlers import Handler
from halter.task_worker.members import OtherMembers
from halter.task_worker.refused_reports import RefusedReports
from halter.task_worker.reports import Reports
from halter.task_worker.runners import Runners
from halter.task_worker.running import Running
from halter.task_worker.task_defs import check_task_defs
from halter.task_worker.work import Attempt, Counts, PartitionId, Work, WorkFigures
from processors.codec import DecodeError
from processors.core.records.commands import ReportTaskProgress, ReportTaskRun, StartTaskRun
from processors.core.records.errors import HalterError
from processors.core.records.events import TaskCancellation, TaskRequest
from processors.kafka.headers import headers_of
from processors.kafka.trace_context import NO_CONTEXT, context_of

POLL_SECONDS: Final = 0.1
BATCH: Final = 500
"""Requests that are taken before commits are looked at."""
GIVEN_UP_LISTED_MAX: Final = 10
ROOM_SECONDS: Final = 0.02
"""Time to wait for room before partitions are paused."""
UNCOMMITTED_MAX: Final = 500
"""Largest number of requests that are finished and not committed. After a death another task worker does them again."""
COMMIT_SECONDS: Final = 0.5
"""Longest time between two commits."""
REVOKE_SECONDS: Final = 3.0
"""Time that attempts have to end when their partition goes to another task worker, which runs the others again."""
REQUEST_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 30.0
"""Time without a word of the group after which another consumer joins in the place of ours. One whose broker stood
still just after it had joined was seen to hear nothing for minutes: Kafka's client waits for a lost answer for as long
as a rebalance may take. A rebalance takes less, unless a task worker of the group is stuck: so the time doubles.
"""
SILENT_SECONDS_MAX: Final = 300.0
SESSION_MS: Final = 10_000
"""Unless set, the time after which the group gives up a task worker that was killed. librdkafka's own is 45 s."""
NEEDED: Final = frozenset(
    it.__name__ for it in (TaskRequest, StartTaskRun, ReportTaskProgress, ReportTaskRun, TaskCancellation)
)
"""The records that a task worker reads and writes."""


class UnreadableRequest(HalterError):
    """A record of the queue is none that this release reads. Whoever runs task workers upgrades them if the engine is
    newer; else he sets the offset of the group behind the record, which the engine has not written.
    """


class Session:
    """Takes, runs and reports tasks, until told to stop."""

    def __init__(
        self,
        client: Client,
        handlers: Mapping[str, Handler],
        *,
        topic: str,
        group: str,
        concurrency: int,
        grace_s: float,
        counts_s: float | None,
        follow_reports: bool,
        stopped: threading.Event,
        log: Any,
        clock_ms: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._client, self._topic, self._stopped, self._log = client, topic, stopped, log
        self._group, self._concurrency = group, concurrency
        self._monotonic, self._grace_s, self._counts_s = monotonic, grace_s, counts_s
        self._work = Work(concurrency, lambda: Running(self._reports.progress_of))
        self._attempts = Attempts(handlers, client.check, log)
        self._failure: BaseException | None = None
        self._revoke_s = REVOKE_SECONDS
        self._commit_at = self._count_at = self._grace_until = monotonic()
        self._has_started = False
        self.is_joined = False
        """True while the group has given us our partitions, perhaps none."""
        self._silent_s, self._join_again_at = SILENT_SECONDS, 0.0
        self._refused = None
        if follow_reports:
            self._refused = RefusedReports(client.settings, client.codec, client.topics.wf_events, group, log)
        self._reports = Reports(client, self._work, self._refused, self._fail, log, monotonic)
        self._tracing = client.settings.tracing()
        self._conduct, run, run_async = self._conducted(clock_ms)
        self._runners = Runners(self._work, concurrency, lambda it: self._attempts.is_async(it.request), run, run_async)
        self._cancellations = Cancellations(client, group, self._work, log)
        self._client_id = id_of_task_worker(handlers)
        self._others = OtherMembers(client.workers, group, topic, self._client_id, log)
        self._consumer = self._new_consumer()

    def _new_consumer(self) -> Consumer:
        settings, more = self._client.settings, dict[str, Any]()
        if "session.timeout.ms" not in getattr(settings, "properties", {}):
            more["session_timeout_ms"] = SESSION_MS
        if "client.id" not in getattr(settings, "properties", {}):
            more["client_id"] = self._client_id
        return Consumer(
            settings.consumer(
                group_id=self._group,
                # A new group begins at the oldest request. Requests past their deadline are passed over.
                auto_offset_reset="earliest",
                fetch_wait_max_ms=50,
                **more,
            )
        )

    def _conducted(
        self, clock_ms: Callable[[], int]
    ) -> tuple[Conduct, Callable[[Attempt], None], Callable[[Attempt], Awaitable[None]]]:
        """Return what takes attempts to their report, and the functions that run one: in spans, if tracing is on."""
        parts = self._attempts, self._work
        if self._tracing is None:
            conduct = Conduct(*parts, self._reports, clock_ms, self._log, self._fail)
            return conduct, conduct.run, conduct.run_async
        from halter.task_worker.tracing import TracedConduct, TracedReports  # they import OpenTelemetry

        conduct = Conduct(*parts, TracedReports(self._reports), clock_ms, self._log, self._fail)
        traced = TracedConduct(conduct, self._tracing, self._topic, self._group)
        return conduct, traced.run, traced.run_async

    @property
    def counts(self) -> Counts:
        """What became of attempts so far."""
        return self._work.counts

    @property
    def figures(self) -> WorkFigures:
        """What metrics tell beside the counts."""
        return WorkFigures(self._concurrency, self._work.waiting, self._work.times)

    def run(self) -> bool:
        """Take and run tasks until told to stop. Return False if attempts still ran when the grace was over.

        Raises KafkaUnavailable if the cluster refuses us, TopicMissing or PartitionsDiffer if its topics are not as we
        believe, WorkerNotStarted if handlers do not fit their TaskDefs, UnreadableRequest for a record that is none.
        """
        try:
            with self._client.settings.explaining(f"taking tasks from '{self._topic}'", self._consumer):
                self._client.reader.expect(self._topic)
                self._client.prepare_to_send(self._client.topics.task_reports)
                check_task_defs(self._client, self._attempts.handlers.values(), self._topic, self._log)
                # If the report cannot be written, the task is done in vain.
                until_prepared(self._client.codec, self._log, NEEDED, self._stopped.is_set)
                self._log.info(
                    "started",
                    queue=self._topic,
                    group=self._group,
                    tasks=sorted(self._attempts.handlers),
                    concurrency=self._concurrency,
                )
                self._reports.begin()
                self._has_started = True
                self._cancellations.begin(self._stopped.is_set)  # before: what is cancelled from now on is heard of
                self._join()
                while not self._is_over():
                    self._turn()
                left = self._drain()
                if self._failure is not None:
                    raise self._failure
                return not left
        finally:
            self._leave()

    def _join(self) -> None:
        self._join_again_at = self._monotonic() + self._silent_s
        self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def _join_anew_if_silent(self) -> None:
        """Take another consumer if the group has said nothing for long. Attempts that run go on."""
        if self.is_joined or self._monotonic() < self._join_again_at:
            return
        self._log.warning("group_is_silent", group=self._group, seconds=self._silent_s, then="another consumer joins")
        # In a thread, because it may wait for the same answer.
        threading.Thread(target=self._consumer.close, name="leaves-group", daemon=True).start()
        self._silent_s = min(2 * self._silent_s, SILENT_SECONDS_MAX)
        self._consumer = self._new_consumer()
        self._join()

    def _is_over(self) -> bool:
        return self._stopped.is_set() or self._failure is not None

    # The caller's thread: polls, commits.

    def _turn(self) -> None:
        """Take requests if there are any, and commit what is finished if it is time."""
        self._work.wait_for_room(ROOM_SECONDS)
        self._steer()
        # One by one: a record that `poll` returns after a rebalance is of a partition that is ours.
        taken, message = 0, self._consumer.poll(POLL_SECONDS)
        while message is not None:
            self._take(message)
            self._runners.fill()
            taken += 1
            if taken == BATCH or self._is_over() or not self._work.wait_for_room(0):
                break
            message = self._consumer.poll(0)
        self._keep_books()
        self._join_anew_if_silent()

    def _keep_books(self) -> None:
        now = self._monotonic()
        if self._work.finished >= UNCOMMITTED_MAX or now >= self._commit_at:
            self._commit()
            self._commit_at = now + COMMIT_SECONDS
        if self._counts_s is not None and now >= self._count_at + self._counts_s:
            self._count_at = now
            self._log.info("counts", **self.counts.as_dict())

    def _steer(self) -> None:
        """Pause partitions of which enough requests wait, and resume others."""
        pause, resume = self._work.flow()
        if pause:
            self._consumer.pause(_partitions(pause))
        if resume:
            self._consumer.resume(_partitions(resume))

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() in (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
                return
            raise KafkaException(error)
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        value, codec = message.value() or b"", self._client.codec
        try:
            record = until_answered(lambda: codec.decode(value), self._log, self._stopped.is_set)
        except DecodeError as error:
            raise UnreadableRequest(f"{topic}[{partition}]@{offset}: {error}") from error
        if record is None:
            return  # told to stop: the request stays in the queue
        request = record if isinstance(record, TaskRequest) and record.task_def in self._attempts.handlers else None
        context = NO_CONTEXT if self._tracing is None else context_of(headers_of(message) or ())
        self._work.take((topic, partition), offset, request, len(value), context)
        if request is not None:
            self._cancellations.tell_of(request)

    def _commit(self) -> None:
        due = self._work.to_commit()
        if not due:
            return
        refused = self._refusals(
            TopicPartition(topic, partition, offset, metadata) for (topic, partition), (offset, metadata) in due.items()
        )
        if any(error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE for error in refused.values()):
            # These brokers are told to take less than others. A hand-over then repeats what is finished out of order.
            refused = self._refusals(TopicPartition(*id_, due[id_][0]) for id_ in refused)
        if refused:
            # Perhaps others have our partitions now. They run these requests again, and the engine refuses the second
            # reports.
            self._work.not_committed(refused)
            self._log.warning("offsets_not_committed", reason=str(next(iter(refused.values()))))

    def _refusals(self, offsets: Iterable[TopicPartition]) -> dict[PartitionId, KafkaError]:
        """Commit offsets. Return the partitions of which they were refused, each with the reason."""
        asked = list(offsets)
        try:
            answered = self._consumer.commit(offsets=asked, asynchronous=False)
        except KafkaException as exception:  # all were refused
            return dict.fromkeys(_ids(asked), exception.args[0])
        return {(it.topic, it.partition): it.error for it in answered if it.error is not None}

    # Rebalances: called in `poll` and `close`.

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if consumer is not self._consumer:
            return  # one that was given up
        starts: dict[PartitionId, tuple[int | None, str | None]] = {}
        for it in self._committed(consumer, partitions):
            starts[it.topic, it.partition] = (it.offset if it.offset >= 0 else None, it.metadata)
        self._work.assigned(starts)
        self.is_joined, self._silent_s = True, SILENT_SECONDS
        self._log.info("partitions_assigned", partitions=sorted(it.partition for it in partitions))
        self._others.look()

    def _committed(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Ask for the committed offsets, where reading begins. Without an answer the first record says where."""
        try:
            return consumer.committed(partitions, REQUEST_SECONDS)
        except KafkaException as exception:
            self._log.warning("offsets_not_read", reason=str(exception.args[0]))
            return [TopicPartition(it.topic, it.partition) for it in partitions]

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Commit before another task worker gets our partitions, so that it does not run the same requests again."""
        if consumer is not self._consumer:
            return
        ids = _ids(partitions)
        self._is_apart()
        self._work.drop_waiting(ids)
        self._work.wait_finished(ids, self._revoke_s)
        self._commit()
        self._give_up(consumer, ids)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Forget partitions that others may have already: nothing can be committed for them."""
        if consumer is not self._consumer:
            return
        self._is_apart()
        self._give_up(consumer, _ids(partitions))
        self._log.warning("partitions_lost", partitions=sorted(it.partition for it in partitions))

    def _give_up(self, consumer: Consumer, ids: list[PartitionId]) -> None:
        if paused := self._work.given_up(ids):
            consumer.resume(_partitions(paused))

    def _is_apart(self) -> None:
        self.is_joined, self._join_again_at = False, self._monotonic() + self._silent_s

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error

    # The end.

    def _drain(self) -> int:
        """Start nothing any more, and wait for what runs. Return how many attempts are given up."""
        self._work.over()
        if out := len(self._work.unfinished()):
            self._log.info("stopping", running=out, grace_s=self._grace_s)
        self._grace_until = self._monotonic() + self._grace_s
        while self._failure is None and self._monotonic() < self._grace_until and self._work.unfinished():
            self._steer()
            self._consumer.poll(0)  # for rebalances: what it returns is not taken, and so not committed
            self._work.wait_finished(set(self._work.unfinished()), POLL_SECONDS)
            self._keep_books()
        left = len(self._work.unfinished())
        if left:
            records = self._work.unfinished_records(GIVEN_UP_LISTED_MAX)
            self._log.warning(
                "attempts_given_up",
                running=left,
                grace_s=self._grace_s,
                records=records,
                then="they run again elsewhere",
            )
        self._commit()
        return left

    def _leave(self) -> None:
        """Leave the group at once: another task worker gets our partitions in the next rebalance."""
        self._work.over()
        self._revoke_s = 0.0
        self._consumer.poll(0)  # a consumer that is closed while a rebalance waits for its answer may stand still
        self._consumer.close()
        self._attempts.are_given_up = True
        self._runners.close()
        if threads := self._runners.wait_threads(max(0.0, self._grace_until - self._monotonic())):
            self._log.warning("threads_given_up", running=threads, grace_s=self._grace_s)
        self._cancellations.close()
        self._reports.close()
        if self._refused is not None:
            self._refused.close()
        if self._has_started:
            self._log.info("stopped", **self.counts.as_dict())


def _partitions(ids: list[PartitionId]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic, partition in ids]


def _ids(partitions: list[TopicPartition]) -> list[PartitionId]:
    return [(it.topic, it.partition) for it in partitions]
