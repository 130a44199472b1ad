"""Produces the records of commands, and waits until Kafka has them.

Knows topics and keys, and not what becomes of a record.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicCollection

from halter.client.errors import ClientClosed, NotDelivered, PlaceUnknown
from halter.client.reading import REQUEST_SECONDS, PartitionReader, expect_wanted
from processors.fold.inputs import InputCommand, key_of, topic_of
from processors.kafka.client_errors import lacking
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics
from processors.kafka.trace_context import Context

if TYPE_CHECKING:
    from processors.kafka.tracing import SentSpan

DELIVERY_SECONDS: Final = 30.0
RIGHT_SECONDS: Final = 2.0
POLL_SECONDS: Final = 0.05
NOW: Final = 0
"""librdkafka's word for the time at which it is given a record."""
BY_KEY: Final = -1
"""librdkafka's word for the partition that the key says."""
GIVEN_UP: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._FATAL})
"""What librdkafka says of a record after the error that has ended its producer."""


@dataclass(slots=True)
class Sending:
    """A record on its way to Kafka. `Client.until_delivered` waits for its arrival."""

    topic: str
    kind: str
    key: str = ""
    told: Callable[["Sending"], None] | None = None
    """Called in the thread that polls the producer, when Kafka has the record or has not taken it."""
    error: KafkaError | None = None
    message: Message | None = None
    span: "SentSpan | None" = None
    """Its span, if tracing is on."""

    @property
    def what(self) -> str:
        """What it is, for sentences."""
        return f"{self.kind} of {self.key!r}"

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Take the delivery report of librdkafka."""
        self.error, self.message = error, message
        if self.span is not None:
            self.span.delivered(error, message)
        if self.told is not None:
            self.told(self)


class Sender:
    """A producer of commands. Safe to use from several threads."""

    def __init__(self, settings: Settings, topics: Topics, reader: PartitionReader) -> None:
        self._settings, self._topics, self._reader = settings, topics, reader
        self._tracing = settings.tracing()
        self._open: Producer | None = None
        self._is_closed = False
        self._is_known = False
        """True once the producer knows a broker."""
        self._is_ended = False
        self._ended_by: KafkaError | None = None
        """The error that has ended a producer for good, such as that the principal may write nowhere."""
        self._opening = Lock()

    @property
    def _producer(self) -> Producer:
        if (producer := self._open) is not None and not self._is_ended:  # `close` makes it None
            return producer
        with self._opening:
            if self._is_closed:
                raise ClientClosed("this Client is closed")
            if self._is_ended and not (self._open and len(self._open)):  # all that it had is reported: another may try
                self._open, self._is_known, self._is_ended = None, False, False
            if self._open is None:
                # A person may be waiting.
                timeout_ms = int(DELIVERY_SECONDS * 1000)
                self._open = Producer(self._settings.producer(linger_ms=0, message_timeout_ms=timeout_ms))
            return self._open

    def connect(self) -> None:
        """Begin to connect, and wait for nothing. Who does not call it waits when the first record is sent."""
        _ = self._producer

    def send(self, command: InputCommand, value: bytes, partition: int = BY_KEY) -> tuple[int, int]:
        """Produce one record and wait for its delivery report: partition and offset. Raises PlaceUnknown."""
        return self.until_placed(self.begin(command, value, partition=partition))

    def begin(
        self,
        command: InputCommand,
        value: bytes,
        timestamp_ms: int | None = None,
        partition: int = BY_KEY,
        told: Callable[[Sending], None] | None = None,
        parent: Context | None = None,
    ) -> Sending:
        """Hand a record to librdkafka, which sends it at once and in order, and wait for nothing."""
        sending = self.sending(command, told, parent)
        self.prepare(sending.topic)
        expect_wanted()
        while not self.offer(sending, value, timestamp_ms, partition):
            self.poll(POLL_SECONDS)
        return sending

    def sending(
        self,
        command: InputCommand,
        told: Callable[[Sending], None] | None = None,
        parent: Context | None = None,
    ) -> Sending:
        """Return a command as a record that is not on its way yet.

        `parent` is the context of the span that sends it; None: the span that is active here.
        """
        sending = Sending(self._topics.prefix + topic_of(command), type(command).__name__, key_of(command), told)
        if self._tracing is not None:
            sending.span = self._tracing.send(sending.topic, sending.kind, sending.key, parent)
        return sending

    def is_prepared(self, topic: str) -> bool:
        """Return True if `prepare` has nothing to wait for."""
        return self._is_known and self._reader.is_as_expected(topic)

    def prepare(self, topic: str) -> None:
        """Return once a topic is found to be as we believe, and the producer knows a broker."""
        self._reader.expect(topic, "WRITE")
        if not self._is_known:
            with self._settings.explaining(f"writing to '{topic}'", self._producer):
                # A new producer that is given a record before it knows a broker takes half a second for it. It asks for
                # its producer id whenever a broker has told it about topics. The first answer may come before it is
                # connected to the broker by its own name. Then it asks for the id half a second later, or a second.
                for _ in range(2):
                    self._producer.list_topics(topic, REQUEST_SECONDS)
                self._is_known = True

    def expect_right(self, topic: str) -> None:
        """Raise KafkaUnavailable if Kafka says that we may not write a topic. If it is silent, the first record tells.

        For whoever would do much in vain until then.
        """
        from confluent_kafka.admin import AdminClient  # few ask

        admin = AdminClient(self._settings.admin())  # what it has not answered yet ends with it
        asked = admin.describe_topics(
            TopicCollection([topic]), include_authorized_operations=True, request_timeout=RIGHT_SECONDS
        )
        try:
            rights = asked[topic].result(RIGHT_SECONDS).authorized_operations
        except (KafkaException, FutureTimeout):
            return
        if rights and not any(it.name == "WRITE" for it in rights):
            refused = lacking("WRITE", topic, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
            raise self._settings.explain(KafkaException(refused), f"writing to '{topic}'")

    def offer(self, sending: Sending, value: bytes, timestamp_ms: int | None = None, partition: int = BY_KEY) -> bool:
        """Hand a record to librdkafka, which sends it in order. Return False if its queue is full: poll, and repeat."""
        producer = self._producer
        try:
            producer.produce(
                sending.topic,
                key=sending.key.encode(),
                value=value,
                partition=partition,
                on_delivery=sending.report,
                timestamp=timestamp_ms or NOW,
                headers=None if sending.span is None else [*sending.span.context],
            )
        except BufferError:
            return False
        except KafkaException as exception:
            self._poll(producer, 0)  # calls error_cb with the reasons
            reason = KafkaException(self._reason(exception.args[0], sending.topic))
            raise self._settings.explain(reason, f"writing to '{sending.topic}'") from exception
        return True

    def poll(self, seconds: float) -> None:
        """Call back about records that have arrived; wait so long if none has."""
        self._poll(self._producer, seconds)

    def _poll(self, producer: Producer, seconds: float) -> None:
        """Have a producer call back. Of the error that ends it, librdkafka tells here; then it gives up its records."""
        try:
            producer.poll(seconds)
        except KafkaException as exception:
            if not exception.args[0].fatal():
                raise
            self._ended_by, self._is_ended = exception.args[0], True

    def _reason(self, error: KafkaError, topic: str) -> KafkaError:
        """Return why a record did not arrive, where librdkafka says only that its producer has ended."""
        if error.code() in GIVEN_UP and self._ended_by is not None:
            error = self._ended_by
        return lacking("WRITE", topic, error)

    def poll_until_idle(self, is_over: Callable[[], bool]) -> None:
        """Call back about records until none is on its way, or the caller says that it is over."""
        producer = self._producer
        while len(producer) and not is_over():
            self._poll(producer, POLL_SECONDS)

    def until_delivered(self, sending: Iterable[Sending]) -> None:
        """Wait until Kafka has these records. Raises NotDelivered if one is not there; the others may be."""
        for one in sending:
            self._wait(one)
            self.arrived(one)

    def until_placed(self, sending: Sending) -> tuple[int, int]:
        """Wait until Kafka has a record: its partition and offset. Raises NotDelivered and PlaceUnknown."""
        self._wait(sending)
        return self.place_of(sending)

    def _wait(self, sending: Sending) -> None:
        while sending.message is None:  # ended by librdkafka, which reports a failure after DELIVERY_SECONDS
            expect_wanted()
            self.poll(POLL_SECONDS)

    def arrived(self, sending: Sending) -> Message:
        """Return what librdkafka says about a record that it has reported. Raises NotDelivered."""
        assert sending.message is not None
        if sending.error is not None:
            sending.error = self._reason(sending.error, sending.topic)
            reason = self._settings.errors.sentence(sending.error)
            raise NotDelivered(f"{sending.what} to '{sending.topic}': {reason}")
        return sending.message

    def place_of(self, sending: Sending) -> tuple[int, int]:
        """Return partition and offset of a record that was reported. Raises NotDelivered and PlaceUnknown."""
        message = self.arrived(sending)
        found, offset = message.partition(), message.offset()
        assert found is not None
        if offset is None:
            raise PlaceUnknown(
                f"{sending.what} is on '{sending.topic}', partition {found}, but Kafka has not said at which offset: "
                "its outcome will be on the log, and cannot be waited for"
            )
        return found, offset

    def close(self) -> None:
        """Send what is on its way, and let go of Kafka. A second time does nothing."""
        with self._opening:
            self._is_closed, producer, self._open = True, self._open, None
        if producer is None:
            return
        with suppress(KafkaException):  # it has ended for good, and whoever waits for its records is told
            producer.flush(DELIVERY_SECONDS)
        if self._tracing is not None:
            self._tracing.flush()
        if not self._reader.has_answered:  # it may still look up the name of a broker, and to let go waits for that
            last = [producer]
            del producer
            Thread(target=last.clear, name="halter-close", daemon=True).start()
