"""Hears which task attempts are of no use any more, and tells those that wait or run here.

A thread of its own follows all partitions of `task-cancellations`, without a group, from the end that they have before
the task worker takes its first request. So it hears of everything that is cancelled while a request of it is here. The
newest cancellations are kept for requests that are read after them. Of nearly all records it looks only at the key.

All this is advice: the task worker does not wait for this thread, and no error of it harms the task worker. If brokers
come and go, it asks them again. Without the topic, or the right to read it, it says so once and ends.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from halter.client import Client
from halter.task_worker.refused_reports import FATAL, PASSING
from halter.task_worker.work import Work, is_of
from processors.codec import CodecError
from processors.core.records.errors import HalterError
from processors.core.records.events import CancellationReason, TaskCancellation, TaskRequest

POLL_SECONDS: Final = 0.2
BATCH: Final = 1_000
REQUEST_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 1.0
KEPT_MAX: Final = 10_000
"""WfRuns whose newest cancellations are kept for requests that are not read yet. With one of each they take 2 MB."""
KEPT_OF_ONE_MAX: Final = 50
"""Cancellations that are kept of one WfRun."""


class Cancellations:
    """The cancellations of an installation, as one run of a task worker hears them."""

    def __init__(self, client: Client, group: str, work: Work, log: Any) -> None:
        """`group` is an id that this principal may use. Nothing is committed under it."""
        self._client, self._group, self._work, self._log = client, group, work, log
        self._topic = client.topics.task_cancellations
        self._kept: OrderedDict[str, tuple[bytes, ...]] = OrderedDict()
        """WfRun -> its newest cancellations. Only our thread changes it."""
        self._closed = threading.Event()
        self._consumer: Consumer | None = None
        self._thread = threading.Thread(target=self._run, name="cancellations", daemon=True)

    def begin(self, is_stopped: Callable[[], bool]) -> None:
        """Find the present end of each partition, and follow from there."""
        try:
            self._client.reader.expect(self._topic)
            self._consumer = Consumer(
                self._client.settings.consumer(
                    group_id=self._group, fetch_wait_max_ms=500, auto_offset_reset="earliest"
                )
            )
            ends = self._ends(self._consumer, is_stopped)
            if ends is not None:
                self._consumer.assign(ends)
                self._thread.start()
        except (KafkaException, HalterError) as error:
            self._give_up(error)
        finally:
            if self._consumer is not None and self._thread.ident is None:
                self._consumer.close()

    def tell_of(self, request: TaskRequest) -> None:
        """Cancel an attempt that has just been read, if its cancellation was read before.

        A WfRun that was stopped may go on since, and the attempt is then of use. What else cancels is final.
        """
        for value in self._kept.get(request.wf_run_id, ()):
            it = self._cancellation(value)
            if it is not None and it.reason is not CancellationReason.STOPPED and is_of(it, request):
                self._work.cancel(it)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_SECONDS)

    def _ends(self, consumer: Consumer, is_stopped: Callable[[], bool]) -> list[TopicPartition] | None:
        """Return the end of each partition; None if told to stop. Raises KafkaException if the cluster refuses us."""
        wanted = [TopicPartition(self._topic, it) for it in range(self._client.topics[self._topic].partitions)]
        while not is_stopped():
            try:
                for it in wanted:
                    it.offset = consumer.get_watermark_offsets(it, REQUEST_SECONDS, cached=False)[1]
            except KafkaException as exception:
                if exception.args[0].code() not in PASSING:
                    raise
                self._closed.wait(AGAIN_SECONDS)
            else:
                return wanted
        return None

    def _run(self) -> None:
        assert self._consumer is not None
        try:
            while not self._closed.is_set():
                for message in self._consumer.consume(BATCH, POLL_SECONDS):
                    self._take(message)
        except (KafkaException, HalterError) as error:
            self._give_up(error)
        finally:
            self._consumer.close()

    def _give_up(self, error: Exception) -> None:
        self._log.warning("cancellations_not_seen", topic=self._topic, reason=str(error))

    def _take(self, message: Message) -> None:
        error, key, value = message.error(), message.key(), message.value()
        if error is not None and (error.code() in FATAL or error.fatal()):
            raise KafkaException(error)
        if error is not None or key is None or value is None:
            return
        wf_run_id = key.decode(errors="replace")
        self._keep(wf_run_id, value)  # first: a request that is read meanwhile finds it here, or is found below
        if self._work.concerns(wf_run_id) and (it := self._cancellation(value)) is not None:
            self._work.cancel(it)

    def _keep(self, wf_run_id: str, value: bytes) -> None:
        self._kept[wf_run_id] = (*self._kept.get(wf_run_id, ()), value)[-KEPT_OF_ONE_MAX:]
        self._kept.move_to_end(wf_run_id)
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    def _cancellation(self, value: bytes) -> TaskCancellation | None:
        with suppress(CodecError):  # a record of a later release
            record = self._client.codec.decode(value)
            if isinstance(record, TaskCancellation):
                return record
        return None
