"""The transactional producer: records and offsets become visible together, or not at all.

A transaction takes effect only with offsets that the group's coordinator accepts from this member in its present
generation (KIP-447). That is the fence. So the transactional id need not be the same after a restart; if it is, an
open transaction of a process that was killed ends at once, and readers need not wait for its time-out.

Once no broker could be reached, the client's `send_offsets_to_transaction` may hang for ever. So a producer that hears
of that is replaced before the next transaction. If a call hangs all the same, it is given up, and its producer with it.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from halter.transform.pending import Place
from halter.transform.records import Output
from processors.kafka.client_errors import lacking, lacking_id, why_given_up
from processors.kafka.settings import Settings
from processors.kafka.topics import RECORD_OVERHEAD_BYTES, Topics
from processors.runtime.group.calls import CALL_SECONDS, KafkaCalls
from processors.runtime.group.clients import WRITER
from processors.runtime.group.transaction import END_SECONDS, FLUSH_SECONDS

T = TypeVar("T")

GIVEN_UP_SECONDS: Final = END_SECONDS + 2.0
"""Time after which a call that ignores its own time-out is given up: before the watchdog would end the process."""

BY_KEY: Final = -1
NOW: Final = 0
ABOUT_THE_RECORD: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_MSG,
        KafkaError.POLICY_VIOLATION,
    }
)
"""Errors by which Kafka refuses a record for what it is. It would refuse it again."""


class Refused(Exception):
    """Kafka refuses a record of the batch for what it is. Which one, the batch does not tell if it has several."""

    def __init__(self, error: KafkaError) -> None:
        super().__init__(error.str())
        self.error = error


class Writer:
    """One transactional producer at a time. After a failure there is another: it ends what the old one left open."""

    def __init__(self, settings: Settings, topics: Topics, transactional_id: str, calls: KafkaCalls) -> None:
        self._settings, self._topics, self._id, self._calls = settings, topics, transactional_id, calls
        self._producer: Producer | None = None
        self._is_ready = False
        self._failed: list[tuple[str, KafkaError]] = []
        """The records that Kafka has not taken: their topics, and why."""
        self._was_away = False
        """True: the producer could reach no broker since it was opened."""

    def open(self) -> None:
        """Take the transactional id. That ends what an earlier holder of it left open.

        Raises KafkaException, perhaps because Kafka is away for a moment: then it may be called again.
        """
        if self._is_ready:
            return
        if self._producer is None:
            own = self._settings.properties
            more = {
                **{key: value for key, value in WRITER.items() if key not in own},
                "message.max.bytes": self._topics.message_bytes_max + RECORD_OVERHEAD_BYTES,
                "transactional.id": self._id,
                "delivery.report.only.error": True,
                "error_cb": self._hear,
            }
            self._producer = Producer({**self._settings.producer(**more), "on_delivery": self._not_delivered})
        try:
            self._calls.once(self._producer.init_transactions, CALL_SECONDS)
        except KafkaException as exception:
            if not exception.args[0].retriable():
                self._producer = None
            raise KafkaException(lacking_id(self._id, exception.args[0])) from exception
        self._is_ready, self._was_away = True, False

    def _hear(self, error: KafkaError) -> None:
        self._was_away |= error.code() == KafkaError._ALL_BROKERS_DOWN
        self._settings.errors(error)

    def _renew_if_it_was_away(self) -> None:
        self._calls.once(self.producer.poll, 0)  # calls `_hear`
        if self._was_away:
            self.discard()
            self.open()

    def _not_delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append((message.topic() or "", error))

    def write(self, outputs: Sequence[Output]) -> None:
        """Begin a transaction, and hand records to Kafka. Returns when it has them. Raises Refused, KafkaException."""
        self._renew_if_it_was_away()
        producer = self.producer
        self._failed.clear()
        self._calls.once(producer.begin_transaction)
        produce = producer.produce
        for topic, key, value, headers, partition, timestamp_ms in outputs:
            # By position, as the workers do. A list of headers is what the client wants.
            more: tuple[Any, ...] = (
                topic,
                value,
                key,
                BY_KEY if partition is None else partition,
                None,
                None,
                timestamp_ms or NOW,
                list(headers) if headers else None,
            )
            try:
                produce(*more)
            except BufferError:
                self._flush()
                produce(*more)
            except KafkaException as exception:
                if exception.args[0].code() in ABOUT_THE_RECORD:
                    raise Refused(exception.args[0]) from exception
                raise KafkaException(lacking("WRITE", topic, exception.args[0])) from exception
        # Before the offsets: with records in flight these take 90 ms instead of 3.
        self._flush()

    def _flush(self) -> None:
        left = self._calls.once(self.producer.flush, FLUSH_SECONDS)
        for _, error in self._failed:
            if error.code() in ABOUT_THE_RECORD:
                raise Refused(error)
        for _, error in self._failed:
            topics = "' or '".join(sorted({topic for topic, _ in self._failed}))
            raise KafkaException(lacking("WRITE", topics, self._calls.once(why_given_up, self.producer, error)))
        if left:
            raise KafkaException(
                KafkaError(KafkaError._TIMED_OUT, f"records were not written within {FLUSH_SECONDS:.0f} s")
            )

    def commit(self, offsets: Mapping[Place, int], metadata: Mapping[str, str], fence: Any) -> None:
        """Make the transaction visible, with the offsets behind the records that it is about. Raises KafkaException.

        `metadata` are stored with the offsets of each topic.
        """
        partitions = [TopicPartition(*place, offset, metadata[place[0]]) for place, offset in offsets.items()]
        send_offsets = self.producer.send_offsets_to_transaction
        self._calls.once(in_time, GIVEN_UP_SECONDS, send_offsets, partitions, fence, END_SECONDS)
        self._calls.once(self.producer.commit_transaction, END_SECONDS)

    def discard(self) -> None:
        """Give the producer up after a failure. The next one aborts its transaction, or completes a commit that began.

        Its own abort is not asked for: after the death of a coordinator it may fail for good.
        """
        if self._producer is not None and self._is_ready:
            self._calls.once(self._producer.purge)
            self._producer, self._is_ready = None, False

    @property
    def producer(self) -> Producer:
        """The producer that is open."""
        assert self._producer is not None, "the producer is used before it was opened"
        return self._producer


def in_time(seconds: float, call: Callable[..., T], *arguments: Any) -> T:
    """Make a call in a thread of its own, and return what it returns. Raises what it raises.

    Raises KafkaException (a time-out) if it has not returned within these seconds. Then the thread is left to itself:
    nothing can end it, and it keeps nobody from ending the process.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call(*arguments))
        except BaseException as failure:  # noqa: BLE001  raised below, in the thread that waits
            answer.set_exception(failure)

    Thread(target=run, name=call.__name__, daemon=True).start()
    if not wait([answer], seconds).done:
        raise KafkaException(
            KafkaError(KafkaError._TIMED_OUT, f"{call.__name__} has not returned within {seconds:g} s")
        )
    return answer.result()
