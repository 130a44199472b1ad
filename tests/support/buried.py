"""Dead letters on a real Kafka: produces records that workers cannot take, and finds their dead letters."""

from typing import Any

from confluent_kafka import Producer

from halter.client import Client
from halter.client.dead_letters import DeadLetterRead, as_dead_letter
from halter.client.reading import FROM_THE_START, offset_of
from processors.kafka.partitioner import partition_of
from tests.support.waiting import wait_until


def letters(client: Client) -> list[DeadLetterRead]:
    """All dead letters, the newest of each partition last."""
    topic = client.topics.dead_letters
    read = (client.reader.read(topic, it, FROM_THE_START) for it in range(client.topics.partitions))
    return [letter for messages in read for it in messages if (letter := as_dead_letter(it)) is not None]


def buried(client: Client, value: bytes, key: bytes) -> DeadLetterRead:
    """Produce a record that workers cannot take, and return its dead letter."""
    placed: list[Any] = []
    producer = Producer(client.settings.producer())
    partition = partition_of(key, client.topics.partitions)
    topic, told = client.topics.external_events, lambda _, it: placed.append(it)
    producer.produce(topic, value, key, partition, headers=[("source", b"shop")], on_delivery=told)
    producer.flush(10)
    offset = offset_of(placed[0])

    def found() -> list[DeadLetterRead]:
        return [it for it in letters(client) if (it.source_partition, it.source_offset) == (partition, offset)]

    wait_until("there is the dead letter", found, 20)
    return found()[0]
