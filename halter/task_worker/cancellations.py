"""Hears which task attempts are of no use any more, and tells those that wait or run here.

A thread of its own follows all partitions of `task-cancellations`, without a group, from the end that they have before
the task worker takes its first request. So it hears of everything that is cancelled while a request of it is here. The
newest cancellations are kept for requests that are read after them. Of nearly all records it looks only at the key.

All this is advice: the task worker does not wait for this thread, and no error of it harms the task worker
(`side_thread`).
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from halter.client import Client
from halter.task_worker.side_thread import AGAIN_SECONDS, SideThread, end_of, passes, records
from halter.task_worker.work import Work, is_of
from processors.codec import CodecError
from processors.core.records.errors import HalterError
from processors.core.records.events import CancellationReason, TaskCancellation, TaskRequest

KEPT_MAX: Final = 10_000
"""WfRuns whose newest cancellations are kept for requests that are not read yet. With one of each they take 2 MB."""
KEPT_OF_ONE_MAX: Final = 50
"""Cancellations that are kept of one WfRun."""
KEPT_BYTES_MAX: Final = 16 * 1024 * 1024
"""The most bytes of all that are kept."""


class Cancellations:
    """The cancellations of an installation, as one run of a task worker hears them."""

    def __init__(self, client: Client, group: str, work: Work, log: Any) -> None:
        """`group` is an id that this principal may use. Nothing is committed under it."""
        self._client, self._group, self._work = client, group, work
        self._topic = client.topics.task_cancellations
        self._kept: OrderedDict[str, tuple[bytes, ...]] = OrderedDict()
        """WfRun -> its newest cancellations. Only our thread changes it."""
        self._kept_bytes = 0
        self._thread = SideThread(self._topic, "cancellations_not_seen", log)

    def begin(self, is_stopped: Callable[[], bool]) -> None:
        """Find the present end of each partition, and follow from there."""
        consumer: Consumer | None = None
        try:
            self._client.reader.expect(self._topic)
            settings = self._client.settings
            consumer = begun = Consumer(
                settings.consumer(group_id=self._group, fetch_wait_max_ms=500, auto_offset_reset="earliest")
            )
            ends = self._ends(begun, is_stopped)
            if ends is not None:
                begun.assign(ends)
                self._thread.start("cancellations", lambda: begun, self._read)
                consumer = None  # the thread closes it
        except (KafkaException, HalterError) as error:
            self._thread.give_up(error)
        finally:
            if consumer is not None:
                consumer.close()

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
        self._thread.close()

    def _ends(self, consumer: Consumer, is_stopped: Callable[[], bool]) -> list[TopicPartition] | None:
        """Return the end of each partition; None if told to stop. Raises KafkaException if the cluster refuses us."""
        wanted = [TopicPartition(self._topic, it) for it in range(self._client.topics[self._topic].partitions)]
        while not is_stopped():
            try:
                for it in wanted:
                    it.offset = end_of(consumer, it)
            except KafkaException as exception:
                if not passes(exception):
                    raise
                self._thread.is_over.wait(AGAIN_SECONDS)
            else:
                return wanted
        return None

    def _read(self, consumer: Consumer) -> None:
        for message in records(consumer):
            self._take(message)

    def _take(self, message: Message) -> None:
        key, value = message.key(), message.value()
        if key is None or value is None:
            return
        wf_run_id = key.decode(errors="replace")
        self._keep(wf_run_id, value)  # first: a request that is read meanwhile finds it here, or is found below
        if self._work.concerns(wf_run_id) and (it := self._cancellation(value)) is not None:
            self._work.cancel(it)

    def _keep(self, wf_run_id: str, value: bytes) -> None:
        before = self._kept.get(wf_run_id, ())
        kept = self._kept[wf_run_id] = (*before, value)[-KEPT_OF_ONE_MAX:]
        self._kept.move_to_end(wf_run_id)
        self._kept_bytes += sum(map(len, kept)) - sum(map(len, before))
        while len(self._kept) > KEPT_MAX or self._kept_bytes > KEPT_BYTES_MAX:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= sum(map(len, oldest))

    def _cancellation(self, value: bytes) -> TaskCancellation | None:
        with suppress(CodecError):  # a record of a later release
            record = self._client.codec.decode(value)
            if isinstance(record, TaskCancellation):
                return record
        return None
