"""Rules of asking a cluster about its topics. tests/broker/test_topic_admin.py tests the answers."""

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from processors.kafka import topic_check
from processors.kafka.topic_check import PASSING, patiently


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> AdminClient:
    """Return a client of a cluster that is not there."""
    monkeypatch.setattr(topic_check, "ATTEMPT_S", 0.05)
    return AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})


@pytest.mark.parametrize("code", sorted(PASSING))
def test_what_passes_is_asked_again(admin: AdminClient, code: int) -> None:
    answers = iter([code, code, None])

    def ask(_: float) -> str:
        if (answer := next(answers)) is not None:
            raise KafkaException(KafkaError(answer))
        return "three brokers"

    assert patiently(admin, ask) == "three brokers"


def test_what_does_not_pass_is_told_at_once(admin: AdminClient) -> None:
    asked: list[float] = []

    def ask(seconds: float) -> None:
        asked.append(seconds)
        raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))

    with pytest.raises(KafkaException):
        patiently(admin, ask)
    assert len(asked) == 1


def test_what_does_not_pass_within_the_time_is_told(admin: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_check, "TIMEOUT_S", 0.1)

    def ask(_: float) -> None:
        raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))

    with pytest.raises(KafkaException) as raised:
        patiently(admin, ask)
    assert raised.value.args[0].code() == KafkaError.NOT_LEADER_FOR_PARTITION
