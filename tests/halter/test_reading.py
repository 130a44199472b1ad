"""What an error about a topic means to whoever reads it."""

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
