"""No call of a writer hangs: a producer whose brokers were away is replaced, and a call that hangs is given up."""

import threading
from contextlib import suppress

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from halter.transform import writer as module
from halter.transform.loop import PASSING
from halter.transform.writer import GIVEN_UP_SECONDS, Writer, in_time
from processors.kafka.settings import Settings
from processors.runtime.group.calls import STUCK_SECONDS, KafkaCalls
from processors.runtime.group.readiness import Readiness
from processors.runtime.group.transaction import END_SECONDS
from tests.support.waiting import wait_until


def test_a_producer_that_could_reach_no_broker_is_replaced_before_the_next_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CALL_SECONDS", 5.0)
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1})  # librdkafka's own, in memory
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    settings = Settings.load(None, {}, {"bootstrap.servers": f"{broker.host}:{broker.port}"}, logs=False)
    writer = Writer(settings, settings.topics(), "one", KafkaCalls(Readiness()))
    writer.open()
    first = writer.producer
    writer.write([])
    assert writer.producer is first
    monkeypatch.setattr(module, "CALL_SECONDS", 0.05)
    del broker, cluster

    def is_replaced() -> bool:
        with suppress(KafkaException):  # nobody is there
            writer.write([])
        return writer.producer is not first

    wait_until("another producer", is_replaced, 10)


def test_a_call_that_does_not_return_is_a_time_out_after_which_the_loop_tries_again() -> None:
    ends = threading.Event()
    with pytest.raises(KafkaException) as raised:
        in_time(0.01, ends.wait)
    ends.set()
    assert raised.value.args[0].code() == KafkaError._TIMED_OUT
    assert KafkaError._TIMED_OUT in PASSING
    assert END_SECONDS < GIVEN_UP_SECONDS < STUCK_SECONDS - 1, "between its own time-out and the watchdog's"


def test_a_call_that_returns_or_raises_does_so_in_the_thread_that_waits() -> None:
    assert in_time(10, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        in_time(10, divmod, 7, 0)
