"""Rules of calls that fail, without a Kafka: what a client would raise is raised here."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.readiness import Readiness, State


def test_a_call_that_fails_for_good_after_it_was_waited_for_ends_the_waiting() -> None:
    readiness = Readiness()
    readiness.lives(State.FOLDING)
    errors = [KafkaError(KafkaError._TIMED_OUT), KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)]
    states: list[State] = []

    def call() -> None:
        states.append(readiness.snapshot.state)
        raise KafkaException(errors.pop(0))

    with pytest.raises(KafkaException):
        KafkaCalls(readiness).until_answered(call, again_for=frozenset({KafkaError._TIMED_OUT}))
    assert states == [State.FOLDING, State.WAITING_FOR_KAFKA]
    assert readiness.snapshot.state is State.FOLDING


def test_a_call_that_a_fatal_error_has_interrupted_says_so_though_the_client_lost_its_exception() -> None:
    def flush() -> None:
        # As confluent-kafka's does when its producer is fenced meanwhile.
        raise SystemError("<built-in method flush> returned NULL without setting an exception")

    with pytest.raises(KafkaException, match="flush was interrupted") as raised:
        KafkaCalls(Readiness()).once(flush)
    assert raised.value.args[0].code() == KafkaError._FATAL
