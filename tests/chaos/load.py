"""Posts a script: idempotently, repeatedly, and in transactions of which some abort. Each way of producing is a thread.

A producer that fails is made anew, and sends everything again of which it does not know that it arrived, as our users'
producers would. Records that Kafka acknowledged are noted, so that one lost by Kafka is not blamed on a worker.
"""

import os
import queue
import threading
import time
from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import KafkaException, Message, Producer

from processors.kafka.settings import Settings
from tests.chaos.script import Posting, Script, Step, Way
from tests.chaos.tape import RecordAddress

DELIVERY_MS: Final = 120_000
CALL_SECONDS: Final = 30.0
END_SECONDS: Final = 180.0


class Sender:
    """One way of producing, in a thread of its own with a queue of steps."""

    def __init__(self, settings: Settings, name: str, *, tracing: bool) -> None:
        """`tracing`: each record begins a trace, by its header."""
        self.steps: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self.acknowledged: set[RecordAddress] = set()
        self.failures = 0
        self._settings, self._prefix, self._name, self._tracing = settings, settings.prefix, name, tracing
        self._thread = threading.Thread(target=self._run, name=f"load-{name}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Send everything that is queued, and end. Raises TimeoutError."""
        self.steps.put(None)
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError(f"the producer of kind '{self._name}' is not done after {END_SECONDS:.0f} s")

    def _run(self) -> None:
        while (step := self.steps.get()) is not None:
            self.send(step)
        self.finish()

    def send(self, step: Step) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Wait until everything is delivered."""

    def _produce(self, producer: Producer, postings: Iterable[Posting], on_delivery: Any) -> None:
        for posting in postings:
            more: dict[str, Any] = {} if posting.partition < 0 else {"partition": posting.partition}
            if self._tracing:
                more["headers"] = {"traceparent": f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"}
            producer.produce(self._prefix + posting.topic, posting.value, posting.key, on_delivery=on_delivery, **more)

    def _address(self, message: Message) -> RecordAddress:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        return RecordAddress((topic or "").removeprefix(self._prefix), partition or 0, -1 if offset is None else offset)


class Plain(Sender):
    """A sender that sends each step once, or a second time after the first."""

    def __init__(self, settings: Settings, name: str, *, tracing: bool) -> None:
        self._producer = self._new(settings)
        self._open: dict[int, Posting] = {}
        self._number = 0
        super().__init__(settings, name, tracing=tracing)

    @staticmethod
    def _new(settings: Settings) -> Producer:
        return Producer(settings.producer(linger_ms=0, message_timeout_ms=DELIVERY_MS))

    def send(self, step: Step) -> None:
        times = 2 if step.way is Way.AGAIN else 1
        for posting in step.postings * times:
            self._number += 1
            self._open[self._number] = posting
            self._give(self._number, posting)
        self._producer.poll(0)

    def _give(self, number: int, posting: Posting) -> None:
        def delivered(error: Any, message: Message) -> None:
            if error is None:
                self._open.pop(number, None)
                if (address := self._address(message)).offset >= 0:
                    self.acknowledged.add(address)

        self._produce(self._producer, [posting], delivered)

    def finish(self) -> None:
        until = time.monotonic() + END_SECONDS
        while self._open and time.monotonic() < until:
            if self._producer.flush(CALL_SECONDS) == 0 and self._open:
                # librdkafka gave them up. It is not known whether they arrived, so they are sent again.
                self.failures += len(self._open)
                self._producer = self._new(self._settings)
                for number, posting in list(self._open.items()):
                    self._give(number, posting)


class Transactional(Sender):
    """A sender that sends each step as a transaction."""

    def __init__(self, settings: Settings, name: str, *, tracing: bool) -> None:
        self._producer: Producer | None = None
        super().__init__(settings, name, tracing=tracing)

    def send(self, step: Step) -> None:
        until = time.monotonic() + END_SECONDS
        while time.monotonic() < until:
            try:
                self._try(step)
            except KafkaException:
                # Taking the id again aborts the open transaction. A commit that was on its way may still come, and then
                # the same records come a second time. Their ids show that.
                self.failures += 1
                self._producer = None
                time.sleep(0.2)
            else:
                return

    def _try(self, step: Step) -> None:
        if self._producer is None:
            producer = Producer(
                self._settings.producer(
                    linger_ms=0, transactional_id=f"{self._prefix}chaos-load", transaction_timeout_ms=10_000
                )
            )
            producer.init_transactions(CALL_SECONDS)
            self._producer = producer
        addresses: list[RecordAddress] = []

        def delivered(error: Any, message: Message) -> None:
            if error is None:
                addresses.append(self._address(message))

        self._producer.begin_transaction()
        self._produce(self._producer, step.postings, delivered)
        if step.commit:
            self._producer.commit_transaction(CALL_SECONDS)
            self.acknowledged.update(address for address in addresses if address.offset >= 0)
        else:
            self._producer.flush(CALL_SECONDS)
            self._producer.abort_transaction(CALL_SECONDS)


class Load:
    """Posts steps at a rate until it is stopped."""

    def __init__(self, settings: Settings, seed: int, rate: float, *, tracing: bool = False) -> None:
        """`rate` is the steps per second. `tracing`: each record begins a trace."""
        self.steps = self.aborted = 0
        self._script, self._rate, self._settings, self._tracing = Script(seed), rate, settings, tracing
        self._over = threading.Event()
        self._senders: dict[Way, Sender] = {}
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._senders = {
            way: (Transactional if way is Way.TRANSACTION else Plain)(self._settings, way, tracing=self._tracing)
            for way in Way
        }
        self._thread.start()

    def _run(self) -> None:
        begun = time.monotonic()
        for step in self._script:
            if self._over.wait(max(0.0, begun + self.steps / self._rate - time.monotonic())):
                return
            self.steps += 1
            self.aborted += not step.commit
            self._senders[step.way].steps.put(step)

    def stop(self) -> None:
        """Stop posting, and wait until everything is delivered. Raises TimeoutError."""
        self._over.set()
        self._thread.join()
        for sender in self._senders.values():
            sender.end()

    @property
    def acknowledged(self) -> set[RecordAddress]:
        """The addresses of the records that Kafka acknowledged, and committed if they were in a transaction."""
        return {address for sender in self._senders.values() for address in sender.acknowledged.copy()}

    @property
    def failures(self) -> int:
        """The number of times that producers had to send something again."""
        return sum(sender.failures for sender in self._senders.values())
