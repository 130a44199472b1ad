"""What an error about a topic means to whoever reads it."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from halter.client.errors import TopicMissing
from halter.client.reading import PartitionReader
from processors.kafka.errors import KafkaUnavailable
from processors.kafka.settings import Settings


@pytest.fixture
def reader() -> PartitionReader:
    settings = Settings.load(None, {}, {"bootstrap.servers": "127.0.0.1:1"})
    return PartitionReader(settings, settings.topics())


@pytest.mark.parametrize("code", [KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION])
def test_a_topic_that_was_there_is_not_missing_because_no_broker_is_reached(reader: PartitionReader, code: int) -> None:
    """Otherwise a process of bindings ends when its connections are cut, and tells people to create topics."""
    with pytest.raises(TopicMissing):
        reader.raise_about(KafkaException(KafkaError(code)), "definitions")
    reader._as_expected.add("definitions")
    with pytest.raises(KafkaUnavailable, match="'definitions' is, which was there before"):
        reader.raise_about(KafkaException(KafkaError(code)), "definitions")
    with pytest.raises(TopicMissing):
        reader.raise_about(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)), "definitions")


def test_whoever_follows_hears_once_that_no_broker_is_there_and_again_the_next_time(
    reader: PartitionReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, nothing = ([], {("wf-events", 0): 5}), ([], {})
    told: list[str] = []

    def some(_: object) -> Iterator[Any]:
        yield from (end, nothing)
        reader._settings.errors(KafkaError(KafkaError._TRANSPORT, "Connection refused"))
        yield nothing  # one connection of several
        reader._settings.errors(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        yield from (nothing, nothing, end, nothing)
        reader._settings.errors(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        yield from (nothing, nothing)

    answers = some(None)
    monkeypatch.setattr(reader, "some", lambda _: next(answers))
    reader.warn = told.append
    counts = [len(told) for _, _ in zip(range(9), reader._arriving(cast("Any", None), "wf-events", 0), strict=False)]
    assert counts == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert all(it.startswith("reading wf-events[0] at 127.0.0.1:1") and "Connection refused" in it for it in told)
